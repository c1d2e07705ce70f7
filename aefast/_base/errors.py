"""Errors about entries of the user's rows: which entry, its row and column, what was expected."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

import numpy as np

from aefast._base.streams import NamedRows, StreamedRows

LONGEST_SHOWN = 500  # number of characters of a value in an error


class TableName(str):
    """Name of a table in error messages, with the names of its columns if there are any.

    Code that reads the rows passes the name on as it would a plain string.

    Parameters
    ----------
    name : str
        "X", for example.
    columns : sequence of str or None
    place : callable or None
        Tells where the row of a number stands, as "row 5 (part.parquet, row 2)".
    """

    __slots__ = ("columns", "place")
    columns: Sequence[str] | None
    place: Callable[[int], str] | None

    def __new__(
        cls,
        name: str,
        columns: Sequence[str] | None = None,
        place: Callable[[int], str] | None = None,
    ) -> Self:
        made = super().__new__(cls, name)
        made.columns, made.place = columns, place
        return made


_PLAIN = TableName("X")


def shown(value: Any) -> str:
    """Return the text of a value for an error, shortened; its type where it has none."""
    try:
        text = repr(value)
    except Exception:  # of an integer too long to write, of lists too deep, of any user's class
        return f"an object of type {type(value).__name__}"
    return shortened(text)


def shortened(text: str) -> str:
    """Return the beginning of a text that is too long for an error."""
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def table_name(X: Any, estimator: Any = None, *, name: str = "X") -> TableName:
    """Return the name of the user's X for errors.

    The name carries X's column names if these are strings, else those that a fitted estimator has
    seen.
    """
    columns = getattr(X, "columns", None)
    if columns is None or not all(isinstance(column, str) for column in columns):
        columns = getattr(estimator, "feature_names_in_", None)
        if columns is None and X is None and name == "X":
            return _PLAIN
    return TableName(name, columns, X.place if isinstance(X, (NamedRows, StreamedRows)) else None)


def row_label(name: str, row: Any) -> str:
    """Return a row's label in errors: "row 3", with its place where it comes from a file."""
    place = getattr(name, "place", None)
    return f"row {row}" if place is None else place(int(row))


def column_label(name: str, column: Any) -> str:
    """Return a column's label in errors: 3, or 'delay' where the table's columns have names."""
    columns = getattr(name, "columns", None)
    return str(int(column)) if columns is None else repr(str(columns[column]))


def column_labels(name: str, columns: Iterable[Any]) -> str:
    """Return the labels of some columns, separated by commas."""
    return ", ".join(column_label(name, column) for column in columns)


def too_large_error(what: str, dtype: np.dtype[Any]) -> ValueError:
    """Return the error for finite entries from which `what` overflow."""
    advice = "scale X down, or pass float64" if dtype == np.float32 else "scale X down"
    return ValueError(f"{what} overflow {dtype}: {advice}")


def overflow_of_row(
    what: str, results: Any, dtype: np.dtype[Any], rows: Any, name: str, first_row: int = 0
) -> FloatingPointError:
    """Return the error for finite rows with a result that is not finite in a type.

    It names the first such row, the result's column where there are several, and the row's greatest
    entry.

    Parameters
    ----------
    what : str
        What overflows, such as "a result".
    results : ndarray (n,) or (n, k)
    dtype : dtype
    rows : ndarray or CSR matrix (n, d)
    name : str or TableName
    first_row : int
        The number of the first of these rows in the user's table.
    """
    with np.errstate(over="ignore"):
        row, *column = np.argwhere(~np.isfinite(results.astype(dtype)))[0]
    entries = rows[[row]]
    entries = entries.toarray()[0] if hasattr(entries, "toarray") else entries[0]
    sizes = np.abs(entries.astype(np.float64))
    greatest = int(np.nanargmax(sizes)) if not np.isnan(sizes).all() else 0
    place = "".join(f", column {int(c)}" for c in column)
    advice = f"pass {name} as float64, or scale it down" if dtype == np.float32 else "scale it down"
    return FloatingPointError(
        f"{what} overflows {dtype} at row {first_row + row}{place}, though {name} is finite: "
        f"column {column_label(name, greatest)} of the row is {entries[greatest]:g}; {advice}"
    )


def bad_row_error(
    rows: Any,
    name: str,
    domain: tuple[Any, Any],
    dtype: np.dtype[Any],
    *,
    output: Iterable[Any] | None = None,
    first_row: int = 0,
    missing: bool = False,
    units: tuple[Any, Any] | None = None,
    numbers: Any = None,
) -> ValueError:
    """Return the error for rows that a kernel cannot use; it names the first invalid entry.

    Parameters
    ----------
    rows : ndarray or SparseRows (n, d)
    name : str or TableName
    domain : (low, high)
        Numbers or arrays (d,).
    dtype : dtype
        Real type of the computation.
    output : sequence or None
        The distributions of columns: objects with `columns` (None: all) and a `name`.
    first_row : int
        The number of the first of these rows in the user's table.
    missing : bool
        Whether NaN is allowed.
    units : (shift, factor) or None
        Arrays (d,) with which the kernel scales entries.
    numbers : ndarray of int or None
        The numbers of these rows in the user's table, where they are not adjacent.
    """
    low, high = domain
    step = max(1, (1 << 20) // rows.shape[1])
    for first in range(0, len(rows), step):
        given = rows[first : first + step]
        given = part = given.toarray() if hasattr(given, "toarray") else given
        with np.errstate(over="ignore", invalid="ignore"):
            part = (part if units is None else (part - units[0]) * units[1]).astype(dtype)
        good = np.isfinite(part) & (part >= low) & (part <= high)
        bad = np.argwhere(~(good | np.isnan(part)) if missing else ~good)
        if len(bad):
            row, column = bad[0]
            value = given[row, column]
            ends = [np.broadcast_to(end, rows.shape[1])[column] for end in domain]
            number = first_row + first + row if numbers is None else numbers[first + row]
            place = number, column
            return entry_error(value, name, place, ends, dtype, _output_at(output, column))
    return ValueError(f"Input {name} changed while it was read")


def _output_at(output: Iterable[Any] | None, column: Any) -> str | None:
    """Return the name of a column's distribution."""
    for segment in output or ():
        if segment.columns is None or column in segment.columns:
            return segment.name
    return None


def entry_error(
    value: Any,
    name: str,
    place: tuple[Any, Any],
    domain: Sequence[Any],
    dtype: np.dtype[Any],
    output: str | None = None,
) -> ValueError:
    """Return the error for the entry at `place`, (row, column).

    The entry is not finite, or not in its domain.
    """
    row, column = place
    where = f"at {row_label(name, row)}, column {column_label(name, column)}"
    if np.isnan(value):
        return ValueError(f"Input {name} contains NaN {where}: expected finite numbers")
    if np.isinf(value):
        return ValueError(
            f"Input {name} contains infinity ({value}) {where}: expected finite numbers"
        )
    if not np.isfinite(dtype.type(value)):
        return ValueError(f"Input {name} contains a value too large for {dtype} ({value}) {where}")
    low, high = domain
    if low <= value <= high:  # and so is finite, unless it is scaled
        return ValueError(
            f"Input {name} contains a value too far from those of the fit for {dtype} ({value}) "
            f"{where}"
        )
    expected = f"in [{low:g}, {high:g}]" if low in (0, 1) or low < 0 else "above 0"
    what = "Negative values in data: " if value < 0 <= low else ""
    return ValueError(
        f"{what}output={output!r} expects values of {name} {expected}, got {value} {where}"
    )
