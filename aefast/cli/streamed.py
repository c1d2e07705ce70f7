"""Option --stream: tables larger than memory, read pass by pass, and results written in parts."""

import json
import math
import time
from pathlib import Path

import numpy as np

import aefast
from aefast.cli.common import (
    EXIT_POOR,
    METRICS_NAME,
    MODEL_NAME,
    model_path,
    report,
    training_options,
)
from aefast.tables.outputs import check_can_write, check_can_write_table
from aefast.tables.sources import paths_of


def add_stream(command):
    add = command.add_argument_group("tables larger than memory").add_argument
    add(
        "--stream",
        action="store_true",
        help="read DATA pass by pass: files, a folder or a pattern of Parquet, Arrow or text with "
        "numbers alone",
    )
    add(
        "--memory",
        metavar="SIZE",
        default="256 MiB",
        help="memory for rows of --stream, as '1 GB' (default: %(default)s)",
    )


def stream_of(arguments, data=None, wanted=None):
    """Return DATA as a stream of the columns that are wanted, or of all but those to drop."""
    for name in ("scale", "id"):
        if getattr(arguments, name, None):
            raise ValueError(f"--{name} does not go with --stream")
    memory = arguments.memory
    memory = int(memory) if memory.isdecimal() else memory
    source = arguments.data if data is None else data
    columns = list(arguments.columns) if arguments.columns else None
    rows = aefast.stream(source, columns=columns, memory=memory)
    if arguments.drop:
        unknown = [name for name in arguments.drop if name not in (rows.columns or ())]
        if unknown:
            raise ValueError(f"--drop: {source} has no columns {unknown}")
        columns = [name for name in rows.columns or () if name not in arguments.drop]
    if wanted is not None and rows.columns is not None:
        columns = list(wanted)
    return aefast.stream(source, columns=columns, memory=memory)


# ---- apply ----


def apply(arguments, method):
    """Run a method of rows of MODEL on the stream DATA, and write its results to --out."""
    model, rows = _model_and_rows(arguments)
    if not hasattr(model, method):
        raise ValueError(f"{arguments.model} holds {type(model).__name__}, which has no {method}")
    getattr(model, method)(rows, out=arguments.out)
    report(arguments, "", {"data": arguments.data, "n_rows": len(rows), "out": arguments.out})


def score(arguments, scores_of):
    """Write the columns of `scores_of(model, rows)` for each row of the stream DATA."""
    from aefast.tables.stream_writers import write_parts

    model, rows = _model_and_rows(arguments)
    names: list[str] = []

    def parts():
        for part in rows.parts():
            columns = scores_of(model, part)
            names[:] = columns
            yield np.column_stack(list(columns.values()))

    n_rows = write_parts(arguments.out, parts(), lambda width: names)
    report(arguments, "", {"data": arguments.data, "n_rows": n_rows, "out": arguments.out})


def _model_and_rows(arguments):
    if not arguments.out.lower().endswith((".npy", ".parquet")):
        raise ValueError("--stream writes .npy and .parquet files: name one with --out")
    check_can_write_table(arguments.out, [model_path(arguments.model), *paths_of(arguments.data)])
    model = aefast.load(model_path(arguments.model))
    model.set_params(n_threads=arguments.threads)
    wanted = getattr(model, "feature_names_in_", None)
    return model, stream_of(arguments, wanted=None if wanted is None else list(map(str, wanted)))


# ---- fit ----


def fit(arguments, new_model):
    """Train on the stream DATA, and write the model and its metrics to the folder --out."""
    out, rows = Path(arguments.out), stream_of(arguments)
    validation = None
    if arguments.validation is not None:
        validation = stream_of(arguments, arguments.validation, rows.columns)
    check_can_write(out, (MODEL_NAME, METRICS_NAME), paths_of(arguments.data))
    model, epochs = new_model(arguments, rows.columns)
    model.set_params(**epochs, **training_options(arguments))
    began, stopped = time.perf_counter(), None
    try:
        model.fit(rows, X_val=validation)
    except (KeyboardInterrupt, FloatingPointError) as error:
        if not model.__sklearn_is_fitted__():
            raise
        stopped = error
    seconds = time.perf_counter() - began
    model.set_params(verbose=0, checkpoint=None, callbacks=None)
    out.mkdir(parents=True, exist_ok=True)
    model.save(out / MODEL_NAME)
    metrics = {
        "data": arguments.data,
        "n_rows": len(rows),
        "n_features": rows.n_columns,
        "seconds": seconds,
        "interrupted": stopped is not None,
        **{name: value for name, value in model.fit_report_.items() if name != "n_logarithms"},
        "loss_curve": model.loss_curve_,
        "validation_loss_curve": model.validation_loss_curve_,
    }
    with aefast.model_file.replacing(out / METRICS_NAME) as file:
        file.write(json.dumps(metrics, indent=2, allow_nan=False).encode() + b"\n")
    if stopped is not None:
        raise type(stopped)(f"interrupted; the model reached is saved in {out}") from stopped
    report(arguments, _summary(arguments, metrics), metrics)
    loss, constant = metrics.get("loss", math.inf), metrics.get("constant_loss", math.inf)
    return 0 if loss <= constant + 1e-6 * abs(constant) else EXIT_POOR


def _summary(arguments, metrics):
    lines = [
        f"{arguments.data}: {metrics['n_rows']:,} rows of {metrics['n_features']:,} features",
        f"loss of training rows {metrics['loss']:.4g} nats, of the column means "
        f"{metrics['constant_loss']:.4g} nats",
        f"{metrics['n_epochs']} epochs in {metrics['seconds']:.1f} s "
        f"({metrics['n_epochs'] * metrics['n_rows'] / metrics['seconds']:,.0f} rows/s)",
        f"{arguments.out}: {MODEL_NAME}, {METRICS_NAME}",
    ]
    return "\n".join(lines)
