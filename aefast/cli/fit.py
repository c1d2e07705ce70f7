"""Command `aefast fit`: train an autoencoder on a file."""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np

import aefast
from aefast.cli import report as reports
from aefast.cli import streamed, variants
from aefast.cli.cluster import add_cluster, is_asked
from aefast.cli.common import (
    DATA_HELP,
    METRICS_NAME,
    MODEL_NAME,
    MOST_PICTURED_ROWS,
    add_reading,
    add_training,
    describe,
    image_shape,
    read_data,
    report,
    test_fraction,
    training_options,
)
from aefast.cli.fit_files import add_method, fit_files
from aefast.cli.fit_parameters import DESTINATIONS, PARAMETERS, add_parameters
from aefast.cli.held_out import hold_out
from aefast.cli.table_models import add_roles, encoded, texts_of
from aefast.tables.outputs import check_can_write
from aefast.tables.sources import paths_of

_PICTURE_NAMES = ("filters.png", "reconstructions.png", "loss.png")

_EPOCHS = ("max_epochs", "pretrain_epochs")
_TEST_FRACTION = 0.1


def add_fit(command):
    describe(
        command,
        _fit,
        "Rows of DATA chosen at random are held out: the autoencoder is tested on them and never "
        "sees them in training. "
        f"What comes of it goes to one folder: {MODEL_NAME}, {METRICS_NAME} and, with matplotlib, "
        f"{', '.join(_PICTURE_NAMES)}. Ctrl-C ends the training and saves what there is.",
        {name: flags.split()[0] for flags, name, *_ in PARAMETERS},
    )
    add = command.add_argument
    add("data", metavar="DATA", help=DATA_HELP)
    add("--out", metavar="DIR", default="aefast-model", help="the folder (default: %(default)s)")
    add(
        "--test-fraction",
        type=test_fraction,
        metavar="F",
        help=f"share of rows held out (default: {_TEST_FRACTION}). They change places with the "
        "last rows, in memory; with 0 a .npy file is only mapped, and may be larger than memory",
    )
    add(
        "--validation",
        metavar="DATA",
        help="rows, as DATA's, on which the loss is watched after each epoch; --early-stopping "
        "then sets no training rows aside",
    )
    add_training(command)
    add(
        "--image-shape",
        type=image_shape,
        metavar="HxW",
        help="draw features as images of this shape (28x28, or 32x32x3 for colour), or as a table "
        "(none); by default the shape of DATA's rows, and a square where the number of features is "
        "one of at least 64",
    )
    add("--no-plots", action="store_true", help="draw no pictures")
    add("--quiet", action="store_true", help="no progress, no summary")
    add_cluster(command)
    add_method(command)
    add_reading(command)
    streamed.add_stream(command)
    add_roles(command)
    add_parameters(command.add_argument_group("the autoencoder and its training"))


def _new_model(arguments, feature_names):
    """Return the estimator with its numbers of epochs set to 0, and the numbers of epochs."""
    estimator = aefast.StackedAutoencoder if arguments.layer_sizes else aefast.Autoencoder
    known = estimator().get_params(deep=False)
    parameters = {}
    for flags, name, default, _ in PARAMETERS:
        value = getattr(arguments, DESTINATIONS.get(name, name))
        if name in known:
            parameters[name] = value
        elif value != default:
            where = "one layer: not with" if arguments.layer_sizes else "several layers: give"
            raise ValueError(f"{flags.split()[-1]} belongs to {where} --layers")
    parameters["output"] = variants.with_column_numbers(arguments.output, feature_names)
    epochs = {name: parameters[name] for name in _EPOCHS if name in known}
    return estimator(**(parameters | dict.fromkeys(epochs, 0))), epochs


def _fit(arguments):
    if arguments.stream:
        return streamed.fit(arguments, _new_model)
    if is_asked(arguments):
        return 0 if fit_files(arguments, _new_model) else streamed.EXIT_POOR
    for name, given in (
        ("--method", arguments.method != "auto"),
        ("--local-steps", arguments.local_steps),
    ):
        if given:
            raise ValueError(f"{name} is of files on a cluster: give --dask or --workers")
    if arguments.test_fraction is None:
        arguments.test_fraction = _TEST_FRACTION
    table = read_data(
        arguments,
        writeable=arguments.test_fraction > 0,
        gaps=arguments.missing == "mask",
        hint=" (--missing mask takes it as missing)",
        texts=texts_of(arguments.role),
    )
    mixed = encoded(table, arguments) if table.is_frame or arguments.role else None
    table = table if mixed is None else mixed.table
    validation = _validation_rows(arguments, table, mixed)
    shape = _checked_image_shape(arguments.image_shape, table)
    out = Path(arguments.out)
    names = (MODEL_NAME, METRICS_NAME, *_PICTURE_NAMES)
    others = () if arguments.validation is None else paths_of(arguments.validation)
    check_can_write(out, names, [*paths_of(arguments.data), *others])
    model, epochs = _new_model(arguments, table.feature_names)
    if mixed is not None:
        mixed.set_parameters(model)
    init, sizes = model.init, _sizes(model)
    model.set_params(init="glorot")  # the rows are only checked here
    if sizes == {"n_components": "auto"}:
        model.set_params(n_components=model.top_k or 1)
    _initialise_on_all(model, table, arguments.scale)
    train, test = hold_out(table.rows, arguments.test_fraction, arguments.random_state)
    subsets = {"train": train, "test": test} if len(test) else {"train": train}
    model.set_params(init=init, **sizes)
    losses = reports.losses_before(model.fit(train), subsets)

    held_out = _HeldOut(test)
    model.set_params(**epochs, **training_options(arguments), callbacks=held_out)
    seconds, stopped = _train(model, train, validation)
    model.set_params(verbose=0, checkpoint=None, callbacks=None)
    if table.feature_names is not None and mixed is None:
        model.feature_names_in_ = np.array(table.feature_names, dtype=object)
    out.mkdir(parents=True, exist_ok=True)
    (model if mixed is None else mixed.whole(model, train)).save(out / MODEL_NAME)
    if mixed is not None:
        model.feature_names_in_ = np.array(table.feature_names, dtype=object)  # for pictures

    for name, rows in subsets.items():
        losses[name]["after"] = reports.mean_loss(model, rows)
    metrics = reports.metrics(arguments, model, subsets, losses, seconds, stopped)
    metrics["held_out_loss_curve"] = held_out.curve
    with aefast.model_file.replacing(out / METRICS_NAME) as file:
        file.write(json.dumps(metrics, indent=2, allow_nan=False).encode() + b"\n")
    if stopped is not None:
        reason = str(stopped) or f"interrupted after {reports.n_passes(model)} whole epochs"
        raise type(stopped)(f"{reason}; the model reached is saved in {out}") from stopped
    written = f"{MODEL_NAME}, {METRICS_NAME}"
    if not arguments.no_plots:
        labels = _labels(table, arguments)[-len(test) or None :]
        baseline = losses["test" if len(test) else "train"]["column_means"]
        curves = held_out.curve, baseline
        written += _draw(model, subsets.get("test", train), labels, shape, curves, out)
    report(arguments, reports.summary(arguments, metrics, written), metrics)
    return 0 if reports.beats_the_means(losses) else streamed.EXIT_POOR


def _sizes(model):
    """Return the parameter for the numbers of hidden units, by name."""
    name = "layer_sizes" if hasattr(model, "layer_sizes") else "n_components"
    return {name: getattr(model, name)}


def _initialise_on_all(model, table, is_scaled):
    """Check all rows before rows are exchanged, so that errors name rows by their place in DATA."""
    try:
        model.fit(table.rows)
    except ValueError as error:
        if table.rows.dtype == np.uint8 and not is_scaled:
            raise ValueError(f"{error} (--scale divides uint8 values by 255)") from error
        raise


def _checked_image_shape(image_shape, table):
    if image_shape is None:
        return table.image_shape
    n_features = table.rows.shape[1]
    if image_shape and math.prod(image_shape) != n_features:
        raise ValueError(
            f"--image-shape: expected {n_features} pixels, one for each feature, got "
            f"{'x'.join(map(str, image_shape))}, which has {math.prod(image_shape)}"
        )
    return image_shape


def _validation_rows(arguments, table, mixed):
    """Return the rows of --validation, or None."""
    if arguments.validation is None:
        return None
    given = argparse.Namespace(**{**vars(arguments), "data": arguments.validation})
    options = {"gaps": arguments.missing == "mask", "texts": texts_of(arguments.role)}
    found = read_data(given, **options)
    if mixed is not None:
        return mixed.encoder.transform(found.frame())
    names = table.feature_names, found.feature_names
    if None not in names and names[0] != names[1]:
        raise ValueError(f"--validation: expected the columns of {arguments.data}, in their order")
    return found.rows


def _train(model, rows, validation):
    """Fit, and return the seconds and the exception that ended training early, or None.

    The model is usable after either exception.
    """
    started, stopped = time.perf_counter(), None
    try:
        model.fit(rows, X_val=validation)
    except (KeyboardInterrupt, FloatingPointError) as exception:
        stopped = exception
    return time.perf_counter() - started, stopped


class _HeldOut:
    """A callback that records the mean loss of held-out rows, of a thousand at most."""

    def __init__(self, rows):
        self.curve: list[float] = []
        self._rows = rows[:: math.ceil(len(rows) / MOST_PICTURED_ROWS)] if len(rows) else None

    def __call__(self, epoch, loss, validation_loss, estimator):
        if self._rows is not None:
            mean = reports.mean_loss(estimator, self._rows)
            self.curve.append(loss if mean is None else mean)


def _labels(table, arguments):
    """Return names of the rows in the order in which `hold_out` has put them."""
    order = np.arange(len(table))[:, np.newaxis]
    hold_out(order, arguments.test_fraction, arguments.random_state)
    return table.labels(order[:, 0])


def _draw(model, rows, labels, image_shape, curves, out):
    """Draw the pictures and return the text that continues the list of written files."""
    from aefast import plotting
    from aefast.plotting import layers

    is_deep = isinstance(model, aefast.StackedAutoencoder)
    step = math.ceil(len(rows) / MOST_PICTURED_ROWS)
    rows, labels = rows[::step], labels[::step]
    try:
        figures = (
            layers.layers(model, rows, image_shape)
            if is_deep
            else plotting.filters(model, image_shape, rows),
            plotting.reconstructions(model, rows, image_shape, labels),
            (layers.losses if is_deep else plotting.loss)(model, *curves),
        )
    except ImportError as error:
        return f"\nno pictures: {error}"
    for name, figure in zip(_PICTURE_NAMES, figures, strict=True):
        plotting.save(figure, out / name)
    return ", " + ", ".join(_PICTURE_NAMES)
