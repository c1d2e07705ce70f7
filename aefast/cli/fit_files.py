"""`aefast fit` with --dask or --workers: files are partitions, which a cluster trains on."""

import json
import time
from pathlib import Path

import aefast
from aefast.cli import report as reports
from aefast.cli.cluster import engine_of_files
from aefast.cli.common import METRICS_NAME, MODEL_NAME, report, training_options
from aefast.networks.training.report import JUDGED_ROWS
from aefast.tables.outputs import check_can_write
from aefast.tables.sources import paths_of

METHODS = ("auto", "rounds", "averaging", "lbfgs")


def add_method(command):
    """Add the options of training on partitions."""
    add = command.add_argument
    add(
        "--method",
        choices=METHODS,
        default="auto",
        help="with --dask or --workers: rounds, gradients of all files for each step; averaging, "
        "steps of each file, whose results are averaged; lbfgs, with --solver lbfgs; auto, rounds "
        "unless the solver is lbfgs",
    )
    add(
        "--local-steps",
        type=int,
        metavar="N",
        help="with --method averaging: steps of a file between two averages (default: 16)",
    )


def fit_files(arguments, new_model):
    """Train on files where they are read; return whether the fit beats the column means.

    `new_model` makes an estimator and its numbers of epochs of the arguments and column names.
    """
    given = {
        "--test-fraction": arguments.test_fraction,
        "--validation": arguments.validation,
        "--role": arguments.role,
    }
    for name, value in given.items():
        if value:
            raise ValueError(
                f"{name} is of a table in memory: with --dask or --workers, files of numbers are "
                "trained on (--early-stopping holds rows of each out)"
            )
    out = Path(arguments.out)
    check_can_write(out, (MODEL_NAME, METRICS_NAME), paths_of(arguments.data))
    stopped = None
    with engine_of_files(arguments) as engine:
        model, epochs = new_model(arguments, engine.columns)
        model.set_params(**epochs, **training_options(arguments))
        started = time.perf_counter()
        try:
            model._fit_partitions(engine, arguments.method, arguments.local_steps)
        except (KeyboardInterrupt, FloatingPointError) as exception:
            if not hasattr(model, "n_epochs_"):
                raise
            stopped = exception
        seconds = time.perf_counter() - started
        n_rows = sum(engine.sizes)
    model.set_params(verbose=0, checkpoint=None)
    out.mkdir(parents=True, exist_ok=True)
    model.save(out / MODEL_NAME)
    of_fit = model.fit_report_
    after, means = of_fit.get("loss"), of_fit.get("constant_loss")
    losses = {"train": {"after": after, "column_means": means}}
    subsets = {"train": range(n_rows)}
    metrics = reports.metrics(arguments, model, subsets, losses, seconds, stopped)
    names = ("method", "n_partitions", "n_shares", "share_rows", "local_steps")
    metrics |= {name: of_fit[name] for name in names if name in of_fit}
    with aefast.model_file.replacing(out / METRICS_NAME) as file:
        file.write(json.dumps(metrics, indent=2, allow_nan=False).encode() + b"\n")
    if stopped is not None:
        reason = str(stopped) or f"interrupted after {reports.n_passes(model)} whole epochs"
        raise type(stopped)(f"{reason}; the model reached is saved in {out}") from stopped
    report(arguments, _summary(arguments, metrics), metrics)
    return reports.beats_the_means(losses)


def _summary(arguments, metrics):
    losses = metrics["loss"]["train"]
    sizes = " → ".join(map(str, metrics["layer_sizes"]))
    return "\n".join(
        [
            f"{arguments.data}: {metrics['n_rows']['train']:,} rows of {metrics['n_features']:,} "
            f"features in {metrics['n_partitions']} files, {metrics['method']}",
            f"loss in nats per row: {losses['after']:.4f}, column means "
            f"{losses['column_means']:.4f} (of up to {JUDGED_ROWS} training rows)",
            f"{metrics['n_epochs']} epochs of {sizes} units in {metrics['seconds']:.2f} s: "
            f"{metrics['rows_per_second']:,.0f} rows/s",
            f"{arguments.out}: {MODEL_NAME}, {METRICS_NAME}",
        ]
    )
