"""The command `aefast`: fit an autoencoder to a file, then encode, reconstruct and score files with it."""

import argparse
import json
import math
import os
import sys
import time
import warnings
from pathlib import Path

import numpy as np

import aefast
from aefast import _autoencoder, _report, _tables
from aefast.model_file import replacing

_MODEL_NAME = "model.safetensors"
_METRICS_NAME = "metrics.json"
_PICTURE_NAMES = ("filters.png", "reconstructions.png", "loss.png")
_MOST_PICTURED_ROWS = 1000
_EXIT_ERROR = 2  # argparse's own
_EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it
_USER_ERRORS = (ValueError, TypeError, OSError, MemoryError, FloatingPointError, ImportError)


def main(argv=None):
    """Run the command `aefast`.

    Parameters
    ----------
    argv : list of str, optional
        The arguments; by default those of the process.

    Returns
    -------
    int
        The exit code: 0; 2 after an error, which one line on stderr tells; 130 when interrupted.
    """
    arguments = _parser().parse_args(argv)
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        # the header of a CSV file is compared with the model's names here; the arrays passed on have none
        warnings.filterwarnings("ignore", "X does not have valid feature names", UserWarning)
        try:
            arguments.run(arguments)
            sys.stdout.flush()
        except BrokenPipeError:
            # whoever read our output has left (`| head`): no error, but nowhere to flush to either
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except KeyboardInterrupt as interrupt:
            message = interrupt.args[0] if interrupt.args else "interrupted"
            print(f"aefast: {message}", file=sys.stderr)
            return _EXIT_INTERRUPTED
        except _USER_ERRORS as error:
            print(f"aefast: error: {_on_one_line(error)}", file=sys.stderr)
            return _EXIT_ERROR
    return 0


def _on_one_line(error):
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


def _show_warning(message, *_):
    print(f"aefast: warning: {_on_one_line(message)}", file=sys.stderr)


# ---- arguments ----

# Options that are constructor parameters: flags, parameter, help. Types and defaults are the constructor's.
_PARAMETERS = (
    ("-k --components", "n_components", "hidden units"),
    ("--output", "output", "the data's distribution: gaussian, or bernoulli for values in [0, 1]"),
    ("--untied", "tied", "give the decoder weights of its own"),
    ("--epochs", "max_epochs", "passes over the training rows, at most"),
    ("--batch-size", "batch_size", "rows in a training step"),
    ("--solver", "solver", "optimizer"),
    ("--learning-rate", "learning_rate", "step size of the optimizer"),
    ("--momentum", "momentum", "of sgd"),
    ("--nesterov", "nesterov", "Nesterov's momentum for sgd"),
    ("--alpha", "alpha", "L2 penalty: 1/2 alpha ||W||^2 is added to the loss"),
    ("--early-stopping", "early_stopping", "watch the loss on training rows set aside for that"),
    ("--validation-fraction", "validation_fraction", "share of training rows set aside for that"),
    ("--patience", "n_epochs_no_change", "epochs without improvement after which training stops"),
    ("--tol", "tol", "least improvement of the loss, in nats; 0 runs all epochs"),
    ("--seed", "random_state", "of initial weights, shuffles and held-out rows"),
    ("--threads", "n_threads", "at most; by default the cores this process may use"),
)
_OTHER_DEFAULTS = {"max_epochs": 30, "random_state": 0}


def _parser():
    parser = argparse.ArgumentParser(
        prog="aefast", description="Train autoencoders on CPUs, and use them."
    )
    parser.add_argument("--version", action="version", version=f"aefast {aefast.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_fit(commands)
    for name, run, summary, details in _USERS_OF_A_MODEL:
        _add_user_of_a_model(_add_command(commands, name, run, summary, details), name)
    info = _add_command(commands, "info", _info, "describe this build of aefast, or a model")
    info.add_argument(
        "model", metavar="MODEL", nargs="?", help="a model file, or the folder of a fit"
    )
    return parser


def _add_command(commands, name, run, summary, details=""):
    command = commands.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}. {details}"
    )
    command.set_defaults(run=run)
    return command


def _add_fit(commands):
    command = _add_command(
        commands,
        "fit",
        _fit,
        "train an autoencoder",
        "Rows of DATA chosen at random are held out: the autoencoder is tested on them and never sees them in training. "
        f"What comes of it goes to one folder: {_MODEL_NAME}, {_METRICS_NAME} and, with matplotlib, "
        f"{', '.join(_PICTURE_NAMES)}. Ctrl-C ends the training and saves what there is.",
    )
    add = command.add_argument
    add("data", metavar="DATA", help=_tables.DATA_HELP)
    add("--out", metavar="DIR", default="aefast-model", help="the folder (default: %(default)s)")
    add(
        "--test-fraction",
        type=_test_fraction,
        metavar="F",
        default=0.1,
        help="share of rows held out (default: %(default)s). They change places with the last rows, in memory; with 0 "
        "a .npy file is only mapped, and may be larger than memory",
    )
    _add_scale(command)
    add(
        "--image-shape",
        type=_image_shape,
        metavar="HxW",
        help="draw features as images of this shape (28x28, or 32x32x3 for colour), or as a table (none); by default the "
        "shape of DATA's rows, and a square where the number of features is one of at least 64",
    )
    add("--no-plots", action="store_true", help="draw no pictures")
    add("--quiet", action="store_true", help="no progress, no summary")
    _add_parameters(command.add_argument_group("the autoencoder and its training"))


def _add_parameters(group):
    defaults = aefast.Autoencoder().get_params(deep=False) | _OTHER_DEFAULTS
    choices = {"output": _autoencoder.OUTPUTS, "solver": _autoencoder.SOLVERS}
    for flags, name, description in _PARAMETERS:
        default = defaults[name]
        settings = {"dest": name, "default": default, "help": description}
        if isinstance(default, bool):
            settings["action"] = "store_false" if default else "store_true"
        else:
            settings["type"] = int if default is None else type(default)
            settings["help"] += "" if default is None else " (default: %(default)s)"
            settings |= {"choices": choices[name]} if name in choices else {"metavar": "N"}
        group.add_argument(*flags.split(), **settings)


def _add_user_of_a_model(command, name):
    add = command.add_argument
    add("model", metavar="MODEL", help="a model file, or the folder of a fit")
    add("data", metavar="DATA", help=_tables.DATA_HELP)
    if name == "score":
        add("-o", "--out", metavar="S.csv", help="the file to write; by default standard output")
    else:
        add("-o", "--out", metavar="FILE.npy", required=True, help="the file to write")
    _add_scale(command)
    add(
        "--threads",
        type=int,
        metavar="N",
        help="at most; by default the cores this process may use",
    )


def _add_scale(command):
    command.add_argument(
        "--scale",
        action="store_true",
        help="divide uint8 values by 255, in a float32 copy; a model fitted with it needs it for all data",
    )


def _test_fraction(text):
    fraction = float(text)
    if not 0 <= fraction < 1:
        raise argparse.ArgumentTypeError(f"expected a number in [0, 1), got {text}")
    return fraction


def _image_shape(text):
    try:
        shape = () if text == "none" else tuple(int(size) for size in text.split("x"))
    except ValueError:
        shape = (0,)
    if shape and (min(shape) < 1 or len(shape) not in (2, 3) or shape[2:] not in ((), (3,))):
        raise argparse.ArgumentTypeError(f"expected HxW, HxWx3 or none, got {text!r}")
    return shape


# ---- fit ----


def _fit(arguments):
    table = _read_data(arguments, writeable=arguments.test_fraction > 0)
    image_shape = _checked_image_shape(arguments.image_shape, table)
    out = Path(arguments.out)
    _tables.check_can_write(out, (_MODEL_NAME, _METRICS_NAME, *_PICTURE_NAMES))
    model = aefast.Autoencoder(**{name: getattr(arguments, name) for _, name, _ in _PARAMETERS})
    _initialise_on_all(model, table, arguments.scale)
    train, test = _tables.hold_out(table.rows, arguments.test_fraction, arguments.random_state)
    parts = {"train": train, "test": test} if len(test) else {"train": train}
    losses = _report.losses_before(model.fit(train), parts)

    model.set_params(max_epochs=arguments.max_epochs, verbose=0 if arguments.quiet else 1)
    seconds, stopped = _train(model, train)
    model.set_params(verbose=0)
    if table.feature_names is not None:
        model.feature_names_in_ = np.array(table.feature_names, dtype=object)
    out.mkdir(parents=True, exist_ok=True)
    model.save(out / _MODEL_NAME)

    for name, rows in parts.items():
        losses[name]["after"] = _report.mean_loss(model, rows)
    metrics = _report.metrics(arguments, model, parts, losses, seconds, stopped)
    with replacing(out / _METRICS_NAME) as file:
        file.write(json.dumps(metrics, indent=2, allow_nan=False).encode() + b"\n")
    if stopped is not None:
        reason = str(stopped) or f"interrupted after {model.n_epochs_} whole epochs"
        raise type(stopped)(f"{reason}; the model reached is saved in {out}") from stopped
    written = f"{_MODEL_NAME}, {_METRICS_NAME}"
    if not arguments.no_plots:
        written += _draw(model, parts.get("test", train), image_shape, out)
    if not arguments.quiet:
        print(_report.summary(arguments, metrics, written))


def _initialise_on_all(model, table, is_scaled):
    """Checks all rows, while they stand where an error message says they do."""
    try:
        model.set_params(max_epochs=0).fit(table.rows)
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


def _train(model, rows):
    """Fit. Returns the seconds it took, and what ended it early, which leaves the model usable."""
    started, stopped = time.perf_counter(), None
    try:
        model.fit(rows)
    except (KeyboardInterrupt, FloatingPointError) as exception:
        stopped = exception
    return time.perf_counter() - started, stopped


def _draw(model, rows, image_shape, out):
    """Draw the pictures. Returns how the list of files written goes on."""
    from aefast import plotting

    rows = rows[:: math.ceil(len(rows) / _MOST_PICTURED_ROWS)]
    try:
        figures = (
            plotting.filters(model, image_shape, rows),
            plotting.reconstructions(model, rows, image_shape),
            plotting.loss(model),
        )
    except ImportError as error:
        return f"\nno pictures: {error}"
    for name, figure in zip(_PICTURE_NAMES, figures, strict=True):
        plotting.save(figure, out / name)
    return ", " + ", ".join(_PICTURE_NAMES)


# ---- using a model ----


def _encode(arguments):
    _tables.check_can_write_file(arguments.out)
    model, table = _read_model_and_data(arguments)
    _tables.write_array(arguments.out, model.transform(table.rows))


def _reconstruct(arguments):
    _tables.check_can_write_file(arguments.out)
    model, table = _read_model_and_data(arguments)
    X_hat = model.reconstruct(table.rows)
    _tables.write_array(arguments.out, X_hat.reshape(len(X_hat), *table.row_shape))


def _score(arguments):
    if arguments.out is not None:
        _tables.check_can_write_file(arguments.out)
    model, table = _read_model_and_data(arguments)
    columns = {
        "reconstruction_error": model.reconstruction_error(table.rows),
        "log_likelihood": model.score_samples(table.rows),
    }
    if arguments.out is None:
        _tables.write_columns(sys.stdout, columns)
    else:
        with replacing(arguments.out) as file:
            _tables.write_columns(file, columns)


def _info(arguments):
    if arguments.model is None:
        facts = aefast.build_info()
    else:
        facts = _report.model_facts(_model_path(arguments.model))
    width = max(map(len, facts))
    for name, value in facts.items():
        text = ", ".join(value) if isinstance(value, list) else value
        print(f"{name:<{width}}  {text}")


def _model_path(name):
    return os.path.join(name, _MODEL_NAME) if os.path.isdir(name) else name


def _read_model_and_data(arguments):
    model = aefast.load(_model_path(arguments.model))
    model.set_params(n_threads=arguments.threads)._validate_params()
    table = _read_data(arguments)
    names = getattr(model, "feature_names_in_", None)
    if names is not None and table.feature_names not in (None, tuple(names)):
        raise ValueError(
            f"{arguments.data}: expected the columns that the model was fitted on, {', '.join(names)}; "
            f"got {', '.join(table.feature_names)}"
        )
    return model, table


def _read_data(arguments, writeable=False):
    table = _tables.read_table(arguments.data, writeable)
    return table.scaled() if arguments.scale else table


_USERS_OF_A_MODEL = (
    ("encode", _encode, "write the codes of DATA, (rows, components), to a .npy file", ""),
    (
        "reconstruct",
        _reconstruct,
        "write the reconstruction of DATA, in its shape, to a .npy file",
        "",
    ),
    (
        "score",
        _score,
        "tell how anomalous each row of DATA is, as CSV",
        "One line for each row of DATA, in order. reconstruction_error is the anomaly score: the training loss of the row "
        "in nats, HIGHER = MORE ANOMALOUS. log_likelihood is log p(x | mu(h(x))) in nats, constants included: the other "
        "way round, lower = more anomalous.",
    ),
)
