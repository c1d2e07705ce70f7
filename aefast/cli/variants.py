"""Parsers of arguments with a special syntax: outputs, layer sizes, corruption, sparsity."""

import argparse
import re

from aefast.networks._autoencoder import PENALTIES

OUTPUT_HELP = (
    "the data's distribution: a name (gaussian, bernoulli, poisson, ...; the guide has all), a "
    "name with its option, as 'huber(delta=2)', or several with their columns, as "
    "'poisson:visits,3;bernoulli:4-8;categorical:9-12'"
)
SPARSITY_HELP = "penalty on the code: " + " or ".join(
    ":".join((name, *([row["parameter"].upper()] if row["parameter"] else ()), "WEIGHT"))
    for name, row in PENALTIES.items()
)
_NAME = re.compile(r"\s*(\w+)\s*(?:\(\s*(\w+)\s*=\s*([^)]+)\))?\s*")


def auto_or(kind):
    """Return a parser of "auto" and of numbers of a type."""

    def parse(text):
        return text if text == "auto" else kind(text)

    parse.__name__ = kind.__name__  # for argparse's errors
    return parse


def number(text):
    """Return an int, or a float for a number with a decimal point or an exponent."""
    try:
        return int(text)
    except ValueError:
        return float(text)


def name_or_none(text):
    """Return a name, or None for "none"."""
    return None if text.lower() == "none" else text


def output(text):
    """Return the parameter `output`; columns are numbers, names or inclusive ranges."""
    parts = [part for part in text.split(";") if part.strip()]
    if len(parts) == 1 and ":" not in text:
        return _distribution(text)
    pairs = [part.partition(":") for part in parts]
    if not all(columns.strip() for _, _, columns in pairs):
        raise argparse.ArgumentTypeError(f"expected columns for each distribution, got {text!r}")
    return [(_distribution(name), _columns(columns)) for name, _, columns in pairs]


def _distribution(text):
    found = _NAME.fullmatch(text)
    if not found:
        raise argparse.ArgumentTypeError(f"expected NAME or NAME(option=value), got {text!r}")
    name, option, value = found.groups()
    return name if option is None else (name, {option: _number(value, text)})


def _columns(text):
    columns: list[int | str] = []
    for part in text.split(","):
        part = part.strip()
        ends = re.fullmatch(r"(\d+)-(\d+)", part)
        if ends:
            columns.extend(range(int(ends[1]), int(ends[2]) + 1))
        else:
            columns.append(int(part) if part.isdecimal() else part)
    return columns


def layers(text):
    """Return the parameter `layer_sizes`."""
    if text == "auto":
        return text
    try:
        return tuple(int(size) for size in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected N,N,... as 500,250,30, got {text!r}") from None


def corruption(text):
    kind, _, level = text.partition(":")
    return kind, _number(level, text)


def sparsity(text):
    kind, *numbers = text.split(":")
    return kind, *(_number(number, text) for number in numbers)


def _number(text, whole):
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number in {whole!r}, got {text!r}") from None


def with_column_numbers(output, names):
    """Replace the column names in an `output` by numbers, because the rows to fit have no names."""
    if not isinstance(output, list):
        return output
    return [
        (distribution, [_number_of(c, names) for c in columns]) for distribution, columns in output
    ]


def _number_of(column, names):
    if not isinstance(column, str):
        return column
    if names is None or column not in names:
        raise ValueError(f"--output names column {column!r}, which DATA does not have")
    return list(names).index(column)
