"""Arguments that several commands have, and reading of models and data from files."""

import argparse
import os

import aefast

MODEL_NAME = "model.safetensors"
METRICS_NAME = "metrics.json"
MOST_PICTURED_ROWS = 1000
DATA_HELP = (
    "what to read: a .npy file (memory-mapped), an array of a .npz file as FILE.npz:KEY, a .csv "
    "file of numbers (with or without a header; a first column without a name in it has names of "
    "rows), or 'digits', the 1797 handwritten digits of 8 x 8 pixels that come with scikit-learn. "
    "One row is one sample; the further dimensions of an array are flattened"
)


def describe(command, run, details=""):
    """Set the function that runs a command, and add details to its description."""
    command.description += f" {details}"
    command.set_defaults(run=run)


def add_scale(command):
    command.add_argument(
        "--scale",
        action="store_true",
        help="divide uint8 values by 255, in a float32 copy; a model fitted with it needs it for "
        "all data",
    )


def add_threads(command):
    command.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="at most; by default the cores this process may use",
    )


def add_seed(command, seeded):
    """Add --seed; `seeded` says which random choices follow from it."""
    command.add_argument(
        "--seed", type=int, default=0, metavar="N", help=f"of {seeded} (default: %(default)s)"
    )


def add_folder(command, name):
    """Add --out, the folder of results, which has this name by default."""
    command.add_argument(
        "--out", metavar="DIR", default=name, help="the folder (default: %(default)s)"
    )


def test_fraction(text):
    fraction = float(text)
    if not 0 <= fraction < 1:
        raise argparse.ArgumentTypeError(f"expected a number in [0, 1), got {text}")
    return fraction


def image_shape(text):
    try:
        shape = () if text == "none" else tuple(int(size) for size in text.split("x"))
    except ValueError:
        shape = (0,)
    if shape and (min(shape) < 1 or len(shape) not in (2, 3) or shape[2:] not in ((), (3,))):
        raise argparse.ArgumentTypeError(f"expected HxW, HxWx3 or none, got {text!r}")
    return shape


def model_path(name):
    return os.path.join(name, MODEL_NAME) if os.path.isdir(name) else name


def read_model_and_data(arguments):
    from sklearn.utils import get_tags  # which --help does not need

    model = aefast.load(model_path(arguments.model))
    if not hasattr(model, "set_params"):
        raise ValueError(
            f"{arguments.model} holds {type(model).__name__}, which is no model of rows"
        )
    model.set_params(n_threads=arguments.threads)._validate_params()
    table = read_data(arguments, missing=get_tags(model).input_tags.allow_nan)
    names = getattr(model, "feature_names_in_", None)
    if names is not None and table.feature_names not in (None, tuple(names)):
        raise ValueError(
            f"{arguments.data}: expected the columns that the model was fitted on, "
            f"{_listed(names)}; got {_listed(table.feature_names)}"
        )
    return model, table


def _listed(names):
    text = ", ".join(names)
    return text if len(text) <= 1000 else f"{text[:1000]}..., {len(names)} columns"


def inputs_of(arguments):
    """Paths of the files that a command with the arguments MODEL and DATA reads."""
    from aefast.cli import data_files

    return model_path(arguments.model), data_files.data_path(arguments.data)


def read_data(arguments, writeable=False, missing=False):
    from aefast.cli import data_files  # imports NumPy, which --help does not need

    table = data_files.read_table(arguments.data, writeable, missing)
    return table.scaled() if arguments.scale else table
