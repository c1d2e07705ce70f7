"""Roles of columns: inferred from types and values, or chosen by the user."""

import re
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral
from typing import Any

from aefast._base.errors import shown
from aefast.tables.columns import (
    BOOLEAN,
    CATEGORY,
    DATE,
    DURATION,
    EMPTY,
    NUMBER,
    OF_LEVELS,
    TEXT,
    TIME,
)
from aefast.tables.frames import NUMPY, Table, label_list
from aefast.tables.summary import Summary

REAL, COUNT, POSITIVE = NUMERIC = ("real", "count", "positive")
BINARY, CATEGORICAL, ORDERED = LEVELLED = ("binary", "category", "ordered")
DATED, DROP = "date", "drop"
IDENTIFIER, CONSTANT, NOTHING = "identifier", "constant", "empty"
CHOICES = (*NUMERIC, *LEVELLED, DATED, DROP)
LEFT_OUT = {  # roles of columns that are left out, and why
    IDENTIFIER: "an identifier",
    CONSTANT: "constant",
    NOTHING: "no observed entry",
    DROP: "as roles says",
}
ROLES = (*NUMERIC, *LEVELLED, DATED, *LEFT_OUT)

_WRITTEN_DATE = re.compile(r"\s*(\d{4}([-/.])\d\d?\2\d\d?|\d\d?([-/.])\d\d?\3\d{4})([ T]\d|\s*$)")
SKEWED = 1.0  # skewness from which positive numbers are taken as amounts
COUNT_SKEW = 0.5  # least skewness of counts: codes such as days of a month have none
LEAST_ROWS = 20  # of a column of row numbers, or of an identifier
IDENTIFIER_SHARE = 0.5  # of texts that are distinct


def inferred_role(column: Summary) -> str:
    """Return the role that type and values suggest."""
    if column.n_observed == 0:
        return NOTHING
    if column.kind in OF_LEVELS:
        return _of_levels(column)
    if column.low == column.high:
        return CONSTANT
    return DATED if column.kind in (DATE, TIME) else _of_numbers(column)


def _of_levels(column: Summary) -> str:
    n_levels = len(column.counts)
    if n_levels == 1:
        return CONSTANT
    if column.dtype.ordered and n_levels > 2:
        return ORDERED
    if n_levels == 2 and column.n_observed > 2:
        return BINARY
    is_text = column.kind == TEXT and column.n_observed >= LEAST_ROWS
    if is_text and n_levels > IDENTIFIER_SHARE * column.n_observed:
        return IDENTIFIER
    return CATEGORICAL


def _of_numbers(column: Summary) -> str:
    if column.kind == NUMBER and column.is_whole and column.n_distinct == 2:
        return BINARY
    if column.kind == NUMBER and column.is_row_number and column.n_rows >= LEAST_ROWS:
        return IDENTIFIER
    mean, variance, skewness, _ = column.moments.central()
    if column.is_whole and 0 <= column.low <= 1 and skewness > COUNT_SKEW and variance > mean:
        return COUNT
    if column.low > 0 and skewness > SKEWED:
        of_log = column.log_moments.central()[2]
        if abs(of_log) < skewness / 2:
            return POSITIVE
    return REAL


def has_written_dates(column: Summary) -> bool:
    """Return whether all texts of a column look like dates."""
    texts = column.counts if column.kind == TEXT else ()
    return bool(texts) and all(_WRITTEN_DATE.match(str(text)) for text in texts)


# ---- chosen roles ----


def chosen_roles(roles: Any, table: Table, name: str) -> dict[Any, Any]:
    """Return the role of each column that `roles` names: one of CHOICES, or a list of levels.

    Parameters
    ----------
    roles : dict, list of pairs or None
        {columns: role}, or pairs (role, columns) for columns that no dict can have as keys.
    table : Table
        The first rows; callables are called with its frame.
    name : str
        Name of the table in errors.
    """
    if roles is None:
        return {}
    if isinstance(roles, Mapping):
        pairs = [(role, columns) for columns, role in roles.items()]
    else:
        pairs = list(roles)
    chosen: dict[Any, Any] = {}
    for pair in pairs:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(f"roles as a list holds pairs (role, columns), got {shown(pair)}")
        role, columns = pair
        _check_role(role)
        for label in columns_of(columns, table, f"roles of {name}"):
            if label in chosen and chosen[label] != role:
                raise ValueError(
                    f"roles names column {label!r} twice: as {chosen[label]!r} and as {role!r}"
                )
            chosen[label] = role
    return chosen


def _check_role(role: Any) -> None:
    if isinstance(role, str) and role in CHOICES:
        return
    is_levels = isinstance(role, (list, tuple)) and len(role) >= 2
    if is_levels and all(isinstance(level, (str, int, float)) for level in role):
        if len(set(role)) == len(role):
            return
    raise ValueError(
        f"roles: a role must be one of {list(CHOICES)}, or a list of at least two distinct levels "
        f"in order, got {shown(role)}"
    )


def columns_of(columns: Any, table: Table, what: str) -> list:
    """Return the labels of the columns that a user names.

    Parameters
    ----------
    columns : str, int, slice, callable, or list or tuple of names, integers or booleans
        Integers are positions. A slice of names has both ends, as in pandas; a callable, such as
        scikit-learn's make_column_selector, gets the frame and returns any of these.
    """
    labels = table.labels
    if callable(columns):
        return columns_of(_called(columns, table), table, what)
    if isinstance(columns, slice):
        return _of_slice(columns, labels, what)
    if isinstance(columns, str) or columns in _integers(labels):
        columns = [columns]
    elif isinstance(columns, Integral) and not isinstance(columns, bool):
        columns = [columns]
    elif not isinstance(columns, Iterable):
        raise TypeError(f"{what} must name columns, got {shown(columns)}")
    columns = list(columns)
    if columns and all(type(value).__name__ in ("bool", "bool_") for value in columns):
        if len(columns) != len(labels):
            raise ValueError(
                f"{what}: a mask of columns must have {len(labels)} entries, got {len(columns)}"
            )
        return [label for label, is_in in zip(labels, columns, strict=True) if is_in]
    return [_label_of(column, labels, what) for column in columns]


def _integers(labels: list) -> list:
    return [label for label in labels if isinstance(label, Integral)]


def _called(columns: Callable[[Any], Any], table: Table) -> Any:
    if table.library == NUMPY and hasattr(columns, "dtype_include"):
        raise ValueError("make_column_selector needs a data frame, got an array")
    return columns(table.native)


def _of_slice(columns: slice, labels: list, what: str) -> list:
    if not isinstance(columns.start, str) and not isinstance(columns.stop, str):
        return labels[columns]
    if columns.step is not None:
        raise ValueError(f"{what}: a slice of names has no step, got {columns!r}")
    ends = [
        None if end is None else labels.index(_label_of(end, labels, what))
        for end in (columns.start, columns.stop)
    ]
    return labels[ends[0] : None if ends[1] is None else ends[1] + 1]


def _label_of(column: Any, labels: list, what: str) -> Any:
    if column in labels:
        return column
    if isinstance(column, Integral) and not isinstance(column, bool) and not _integers(labels):
        if -len(labels) <= int(column) < len(labels):
            return labels[int(column)]
    raise ValueError(f"{what}: there is no column {column!r}; columns are {label_list(labels)}")


def check_suits(column: Summary, role: Any) -> None:
    """Raise ValueError where a chosen role does not suit the type of a column."""
    kind = column.kind
    suits = {
        **dict.fromkeys(NUMERIC, (NUMBER, DURATION, EMPTY)),
        **dict.fromkeys(LEVELLED, (NUMBER, BOOLEAN, TEXT, CATEGORY, EMPTY)),
        DATED: (DATE, TIME, EMPTY),
    }
    if not isinstance(role, str):
        role = ORDERED
    if role != DROP and kind not in suits[role]:
        raise ValueError(
            f"roles: column {column.label!r} is {kind}, it cannot have the role {role!r}"
        )
    if role == COUNT and column.low < 0:
        raise ValueError(
            f"roles: column {column.label!r} cannot have the role 'count': its least entry is "
            f"{column.low:g}"
        )
    if role == POSITIVE and column.low <= 0:
        raise ValueError(
            f"roles: column {column.label!r} cannot have the role 'positive': its least entry is "
            f"{column.low:g}"
        )
    if role == BINARY and len(column.counts) > 2:
        raise ValueError(
            f"roles: column {column.label!r} cannot have the role 'binary': it has "
            f"{len(column.counts)} distinct values"
        )
