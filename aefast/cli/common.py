"""Arguments that several commands have, reading of models and data, and reports."""

import argparse
import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

import aefast

MODEL_NAME = "model.safetensors"
METRICS_NAME = "metrics.json"
MOST_PICTURED_ROWS = 1000
DATA_HELP = (
    "what to read: .csv, .tsv or .txt (also .gz, .zst), .parquet, .feather, .arrow, .npy "
    "(memory-mapped), an array of a .npz file as FILE.npz:KEY; a folder or a 'pattern*' of such "
    "files with equal columns; - for standard input; or 'digits', the 1797 handwritten digits of 8 "
    "x 8 pixels that come with scikit-learn. One row is one sample; the further dimensions of an "
    "array are flattened"
)
TABLE_HELP = "the file to write: .csv, .parquet or .npy; - for CSV on standard output"


def describe(command, run, details="", options=None):
    """Set the function that runs a command, and add details to its description.

    `options` maps names of estimators' parameters to the options that set them, for errors.
    """
    command.description += f" {details}"
    command.set_defaults(run=run, options=options or {})


# ---- arguments ----


def add_reading(command):
    """Add the options of the reader."""
    add = command.add_argument_group("reading DATA").add_argument
    add(
        "--columns",
        type=names,
        metavar="NAME,...",
        help="read these alone; a number from 1 where columns have no names",
    )
    add("--drop", type=names, metavar="NAME,...", default=(), help="do not read these")
    add("--id", metavar="NAME", help="the column that names the rows; it is written with results")
    add_text(add)
    add_scale(command)


def add_text(add):
    """Add the options of how text files are written."""
    add("--delimiter", type=delimiter, metavar="C", help="of a text file; by default found out")
    add("--decimal", metavar="C", help="'.' or ',' in a text file; by default found out")
    add("--encoding", metavar="E", help="of a text file; by default UTF-8")
    add(
        "--na",
        action="append",
        default=[],
        metavar="TEXT",
        help="a field that stands for a missing value, besides empty ones, NA, nan and null; may "
        "be given again",
    )
    add(
        "--dates",
        choices=("dmy", "mdy"),
        help="the order of day and month in dates as 1/2/2024; by default the one that fits the "
        "whole column",
    )
    add(
        "--header",
        action=argparse.BooleanOptionalAction,
        help="whether a text file begins with names of columns; by default, if its first row has "
        "no number",
    )


def names(text):
    """Return names divided by commas; a name with a comma stands within quotes."""
    import csv

    return tuple(name.strip() for name in next(csv.reader([text], skipinitialspace=True), ()))


def delimiter(text):
    return {"\\t": "\t", "tab": "\t"}.get(text, text)


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


def add_checkpoints(command):
    """Add the options of checkpoints."""
    add = command.add_argument
    add(
        "--checkpoint",
        metavar="FILE",
        help="store in FILE how far training is; a command that is run again after it was killed "
        "goes on from there, with the same result",
    )
    add(
        "--checkpoint-every",
        metavar="T",
        default="10 min",
        help="time as '30 s', '10 min' or '2 h', number of steps, or epoch (default: %(default)s)",
    )
    add("--resume", action="store_true", help="refuse to start anew where FILE is not there")


def add_training(command):
    """Add the options of checkpoints and of progress."""
    add_checkpoints(command)
    command.add_argument(
        "--progress",
        choices=("bar", "lines"),
        default="bar",
        help="how training is shown; lines: one for each epoch, for files of logs (default: "
        "%(default)s)",
    )


def checkpoint_options(arguments):
    """Return the parameters of estimators that belong to the options of `add_checkpoints`."""
    every = arguments.checkpoint_every
    if arguments.resume and arguments.checkpoint is None:
        raise ValueError("--resume: say from which file with --checkpoint FILE")
    return {
        "checkpoint": arguments.checkpoint,
        "checkpoint_every": int(every) if every.isdecimal() else every,
        "resume": True if arguments.resume else "auto",
    }


def training_options(arguments):
    """Return the parameters of estimators that belong to the options of `add_training`."""
    shown = {"bar": 1, "lines": 2}[arguments.progress]
    return checkpoint_options(arguments) | {"verbose": 0 if arguments.quiet else shown}


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


# ---- models and data ----


def model_path(name):
    return os.path.join(name, MODEL_NAME) if os.path.isdir(name) else name


def inputs_of(arguments):
    """Return the paths that a command with the arguments MODEL and DATA reads."""
    from aefast.tables.sources import paths_of

    model = getattr(arguments, "model", None)
    return [*([] if model is None else [model_path(model)]), *paths_of(arguments.data)]


def text_of(arguments):
    """Return what the options of `add_text` say."""
    from aefast.tables.dialects import Text  # imports NumPy, which --help does not need

    return Text(
        arguments.delimiter,
        arguments.decimal,
        arguments.encoding,
        arguments.header,
        tuple(arguments.na),
        arguments.dates,
    )


def read_data(
    arguments, *, writeable=False, gaps=False, hint="", wanted=None, texts=(), numeric=False
):
    """Read DATA, and tell on standard error what the reader has decided.

    Parameters
    ----------
    arguments : argparse.Namespace
    writeable, gaps, hint, numeric : bool, bool, str, bool
        As in `aefast.tables.readers.Options`.
    wanted : sequence of str, optional
        Columns of a model.
    texts : sequence of str
        Columns to take as text.
    """
    from aefast.tables.readers import Options, read_table  # NumPy, which --help does not need
    from aefast.tables.selection import Choice

    table = read_table(
        arguments.data,
        Options(
            Choice(arguments.columns, arguments.drop, arguments.id, wanted),
            text_of(arguments),
            texts,
            writeable,
            gaps,
            hint,
            numeric,
            show=not getattr(arguments, "quiet", False),
        ),
    )
    for notice in table.notices:
        note(arguments, notice)
    return table.scaled() if arguments.scale else table


def read_model_and_data(arguments):
    """Return the model, and DATA as the model takes it: its columns, in its order."""
    from sklearn.utils import get_tags  # which --help does not need

    from aefast.cli.table_models import texts_of_model

    model = aefast.load(model_path(arguments.model))
    if not hasattr(model, "set_params"):
        raise ValueError(
            f"{arguments.model} holds {type(model).__name__}, which is no model of rows"
        )
    if "n_threads" in model.get_params(deep=False):
        model.set_params(n_threads=arguments.threads)._validate_params()
    wanted = getattr(model, "feature_names_in_", None)
    is_of_tables = hasattr(model, "encoder_")
    table = read_data(
        arguments,
        gaps=is_of_tables or get_tags(model).input_tags.allow_nan,
        hint=" (the model takes no missing values)",
        wanted=None if wanted is None else [str(name) for name in wanted],
        texts=texts_of_model(model),
        numeric=not is_of_tables,
    )
    table = dataclasses.replace(table, rows=table.frame()) if is_of_tables else table
    return model, table


# ---- reports ----


def note(arguments, text):
    """Tell something that is no error on standard error, unless the user wants quiet."""
    if getattr(arguments, "quiet", False) or sys.stderr is None:
        return
    with contextlib.suppress(OSError):
        print(f"aefast: note: {text}", file=sys.stderr)


def report(arguments, text: str, facts: Mapping[str, Any]) -> None:
    """Print a report: with --json the facts, otherwise the text, unless results are printed."""
    if arguments.json:
        print(json.dumps(_plain(facts), indent=2, allow_nan=False))
    elif text and not getattr(arguments, "quiet", False) and getattr(arguments, "out", "") != "-":
        print(text)


def _plain(value):
    """Return a value in types of JSON; numbers that are not finite become null."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, bool | str | int) or value is None:
        return value
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value)
