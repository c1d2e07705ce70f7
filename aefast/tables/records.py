"""Records of streams: adjacent rows as engines decode them, which become rows of a matrix."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from aefast._base import _rows
from aefast._base.types import Array
from aefast.tables.arrow_files import is_numeric
from aefast.tables.optional import arrow, has_arrow

# Rows whose columns are interleaved together: their part of the matrix stays in the cache.
_INTERLEAVED = 1 << 10


class ArrayRecords:
    """Rows of an array.

    Parameters
    ----------
    rows : ndarray (n, d)
    places : sequence of int or None
        Numbers of the columns that are read.
    """

    def __init__(self, rows: Array, places: Sequence[int] | None = None) -> None:
        self._rows = rows
        self._places = None if places is None else list(places)

    @property
    def n_rows(self) -> int:
        return len(self._rows)

    def fill(self, out: Array, first: int) -> None:
        part = self._rows[first : first + len(out)]
        with np.errstate(over="ignore"):
            out[...] = part if self._places is None else part[:, self._places]


class TableRecords:
    """Rows of a batch of records of Arrow; nulls become NaN."""

    def __init__(self, batch: Any) -> None:
        self.n_rows = batch.num_rows
        self._columns = [np.ascontiguousarray(_numbers(column)) for column in batch.columns]

    def fill(self, out: Array, first: int) -> None:
        if all(column.dtype == out.dtype for column in self._columns):
            _rows.interleave(self._columns, out, first)
            return
        with np.errstate(over="ignore"):
            for at in range(0, len(out), _INTERLEAVED):
                part = out[at : at + _INTERLEAVED]
                begin, end = first + at, first + at + len(part)
                for j, column in enumerate(self._columns):
                    part[:, j] = column[begin:end]

    @staticmethod
    def type_of(name: str, schema: Any, columns: Sequence[str] | None = None) -> np.dtype[Any]:
        """Return the type of a matrix of some columns; ValueError for one without numbers."""
        types = arrow(name).types
        narrow = True
        for column in schema.names if columns is None else columns:
            kind = schema.field(column).type
            if not (is_numeric(kind) or types.is_boolean(kind)):
                raise ValueError(
                    f"{name}: column {column!r}: expected numbers or truth values, got {kind}: "
                    "leave it out (aefast.stream(..., columns=[...])), or encode the table with "
                    "aefast.TableEncoder"
                )
            narrow &= types.is_float32(kind) or types.is_boolean(kind) or types.is_uint8(kind)
        return np.dtype(np.float32 if narrow else np.float64)


def _numbers(column: Any) -> Array:
    """Return the numbers of a column of Arrow, without a copy where it has no nulls."""
    types = arrow("tables").types
    if types.is_null(column.type):
        return np.full(len(column), np.nan)
    if types.is_boolean(column.type):
        column = column.cast("uint8")
    elif types.is_decimal(column.type):
        column = column.cast("float64")
    return column.to_numpy(zero_copy_only=False)


def as_arrow_table(item: Any) -> Any:
    """Return a frame as a table of pyarrow where that is installed; None for others.

    Frames of pandas whose columns have other names than texts are none.
    """
    kind = type(item).__module__.partition(".")[0]
    if kind not in ("pyarrow", "polars", "pandas") or not has_arrow():
        return None
    pa = arrow("tables")
    if isinstance(item, pa.RecordBatch):
        return pa.Table.from_batches([item])
    if isinstance(item, pa.Table):
        return item
    if kind == "polars" and hasattr(item, "to_arrow"):
        return item.to_arrow()
    are_texts = hasattr(item, "columns") and all(isinstance(name, str) for name in item.columns)
    if kind != "pandas" or not are_texts or not item.columns.is_unique:
        return None
    if any(hasattr(dtype, "sparse") or str(dtype).startswith("Sparse") for dtype in item.dtypes):
        return None
    try:
        return pa.Table.from_pandas(item, preserve_index=False)
    except (pa.ArrowException, TypeError):  # objects of several types: NumPy says which
        return None
