"""Command `aefast report`: a page of HTML about a model and rows."""

import json
import os
from pathlib import Path

import aefast
from aefast.cli.common import (
    DATA_HELP,
    METRICS_NAME,
    add_reading,
    add_threads,
    describe,
    image_shape,
    inputs_of,
    model_path,
    read_model_and_data,
    report,
)
from aefast.cli.report import model_facts
from aefast.tables.outputs import check_can_write_file


def add_report(command):
    describe(
        command,
        _report,
        "One page that needs no other file and no network: a summary, curves, what units stand "
        "for, the best and the worst reconstructions, the strangest rows with their strangest "
        "columns, the use of the codes and a map of them, and the columns' parts of the score.",
    )
    add = command.add_argument
    add("model", metavar="MODEL", help="a model file, or the folder of a fit")
    add("data", metavar="DATA", help=DATA_HELP)
    add(
        "-o",
        "--out",
        metavar="FILE",
        default="report.html",
        help="the page (default: %(default)s)",
    )
    add(
        "--image-shape",
        type=image_shape,
        metavar="HxW",
        help="draw features as images of this shape, or as a table (none); by default the shape of "
        "DATA's rows, and a square where the number of features is one of at least 64",
    )
    add_threads(command)
    add_reading(command)


def _report(arguments):
    from aefast.plotting import report as write_report

    check_can_write_file(arguments.out, inputs_of(arguments))
    model, table = read_model_and_data(arguments)
    shape = table.image_shape if arguments.image_shape is None else arguments.image_shape
    facts = {"data": arguments.data, "aefast": aefast.__version__}
    path = model_path(arguments.model)
    facts |= {name: value for name, value in model_facts(path).items() if name in ("file", "loss")}
    metrics = Path(path).parent / METRICS_NAME
    if os.path.isdir(arguments.model) and metrics.exists():
        facts["seconds of the fit"] = json.loads(metrics.read_text("utf-8")).get("seconds", "")
    labels = table.labels(range(len(table)))
    write_report(model, table.rows, arguments.out, image_shape=shape, labels=labels, facts=facts)
    told = {"data": arguments.data, "n_rows": len(table), "out": arguments.out}
    report(arguments, arguments.out, told)
