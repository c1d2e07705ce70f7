"""Data frames as tables of numbers, or an error with the names of the columns that are not."""

from typing import Any

import numpy as np

from aefast._base.foreign_arrays import refuse_collection
from aefast._base.types import Array


def numeric_frame(X: Any, name: str, advice: str) -> Any:
    """Return X, in which columns of Python objects are numbers where X is a data frame.

    Anything but a data frame of pandas or polars stays as it is: arrays are checked where they are
    converted.

    Parameters
    ----------
    X : object
        The user's table. It is not changed.
    name : str
        Name of the table in errors.
    advice : str
        What to do with other columns, as the end of the error's sentence.

    Raises
    ------
    ValueError
        For columns that are not numeric, with their names.
    """
    refuse_collection(X, name)
    if not _is_frame(X):
        return X
    refused, converted = _other_columns(X)
    if refused:
        shown = ", ".join(refused[:10]) + (", ..." if len(refused) > 10 else "")
        raise ValueError(f"{name} must have numeric columns, got {shown}: {advice}")
    if converted:
        X = X.copy(deep=False)
        for j, values in converted.items():
            X.isetitem(j, values)
    return X


def columns_of_other_types(X: Any) -> list[str]:
    """Return names and types of a data frame's columns that are not numeric."""
    return _other_columns(X)[0] if _is_frame(X) else []


def _is_frame(X: Any) -> bool:
    return hasattr(X, "columns") and hasattr(X, "dtypes") and getattr(X, "ndim", 2) == 2


def _other_columns(X: Any) -> tuple[list[str], dict[int, Array]]:
    """Return names and types of columns that are not numeric, and objects that are numbers."""
    refused, converted = [], {}
    for j, (label, dtype) in enumerate(zip(X.columns, X.dtypes, strict=True)):
        numbers = _numbers_of_objects(X.iloc[:, j]) if str(dtype) == "object" else None
        if numbers is not None:
            converted[j] = numbers
        elif not _is_numeric(dtype):
            refused.append(f"{str(label)!r} ({dtype})")
    return refused, converted


def _is_numeric(dtype: Any) -> bool:
    """Return whether a type of a column is of real numbers or booleans."""
    is_numeric = getattr(dtype, "is_numeric", None)  # of polars
    if callable(is_numeric):
        return bool(is_numeric()) or str(dtype) in ("Boolean", "Null")
    return getattr(dtype, "kind", "O") in "biuf"


def _numbers_of_objects(column: Any) -> Array | None:
    """Return a pandas column of numbers and missing values in float64, None for another one."""
    missing = np.asarray(column.isna())
    values = np.asarray(column)[~missing]
    if any(isinstance(value, (str, bytes)) for value in values):
        return None
    numbers = np.full(len(missing), np.nan)
    try:
        numbers[~missing] = values.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    return numbers
