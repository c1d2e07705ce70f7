"""Checks of parameters that are numbers, flags or names."""

from collections.abc import Collection
from fractions import Fraction
from numbers import Integral, Real
from typing import Any

import numpy as np

from aefast._base.errors import shown

LONGEST_TEXT = 10_000  # number of characters of a parameter that error messages show
MOST_LEVELS = 8  # number of lists within lists in a parameter
LARGEST_SIZE = 2**31 - 1  # maximum of n_features and n_components: BLAS has 32-bit integers


def check_sizes(**sizes: int) -> None:
    """Raise ValueError unless sizes that reach BLAS are at least 1 and fit its integers."""
    for name, size in sizes.items():
        if not 1 <= size <= LARGEST_SIZE:
            raise ValueError(
                f"{name} must be in [1, {LARGEST_SIZE}] (BLAS counts with 32-bit integers), got "
                f"{size}"
            )


def as_integer(value: Any, name: str) -> int:
    """Return an int from any integer but a bool."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, got {shown(value)}")
    check_representable(value, name, integer=True)
    return int(value)


def check_number(value: Any, name: str) -> None:
    """Raise TypeError for a value that is not a real number."""
    if not isinstance(value, Real) or isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be a number, got {shown(value)}")
    check_representable(value, name)


def check_representable(value, name, *, integer=False, levels=MOST_LEVELS):
    """ValueError for a number, or one within lists, tuples and dicts, that float64 cannot hold; for
    an integer that 64 bits cannot hold, where only integers are expected; for texts and nestings
    that no error message could show.
    """
    if value is None:
        return
    if isinstance(value, (list, tuple, dict)):
        if levels == 0:
            raise ValueError(f"{name} must not have so many lists within lists")
        for part in value.values() if isinstance(value, dict) else value:
            check_representable(part, name, levels=levels - 1)
    elif isinstance(value, (str, bytes)):
        if len(value) > LONGEST_TEXT:
            raise ValueError(f"{name} must not be a text of {len(value)} characters")
    elif isinstance(value, (int, Fraction)) and not isinstance(value, bool):
        try:
            size = abs(float(value))
        except OverflowError:
            size = np.inf
        if size == np.inf or (integer and not -(2**63) <= value < 2**63):
            limit = "64 bits" if integer else "float64"
            # not the number itself: Python refuses to write long ones
            raise ValueError(f"{name} must fit {limit}, got a number of some 2**{_exponent(value)}")


def check_representable_parameters(values, constraints):
    """Raise the errors of `check_representable` for parameters of an estimator, by name.

    Fractions are refused too: scikit-learn's comparisons fail for them without a name.
    """
    for name, value in values.items():
        if isinstance(value, (int, Fraction, tuple, list, dict, str, bytes)):
            rules = constraints.get(name, ())
            types = [getattr(rule, "type", None) for rule in rules]
            check_representable(value, name, integer=Integral in types and Real not in types)
            if isinstance(value, Fraction):
                raise TypeError(f"{name} must be an int or a float, got {value!r}")


def _exponent(value):
    return int(abs(value)).bit_length() - 1


def as_flag(value: Any, name: str) -> bool:
    """Return whether a value is true; ValueError for one that is neither true nor false."""
    try:
        return bool(value)
    except Exception:  # of arrays, tables, missing values of pandas
        raise ValueError(f"{name} must be True or False, got {shown(value)}") from None


def check_name(value: Any, name: str, choices: Collection[str]) -> None:
    """Raise ValueError unless a value is one of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {list(choices)}, got {shown(value)}")
