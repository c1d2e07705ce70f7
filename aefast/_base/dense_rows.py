"""Sums over dense rows about a reference point, in slices between which Ctrl-C is noticed."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from aefast._base import arrays as check
from aefast._base import threads
from aefast._base._rows import BAD_ROWS
from aefast._base._statistics import Accumulator
from aefast._base.errors import bad_row_error, too_large_error
from aefast._base.passes import Pace, slices
from aefast._base.sparse_rows import as_dense
from aefast._base.streams import StreamedRows
from aefast._base.types import Array
from aefast._base.visits import order_of

# The number of rows in a slice is a multiple of SLICE_UNIT, and so of the kernel's blocks and
# slabs: results have the same bits however rows are sliced.
SLICE_UNIT = 1024
SLICE_ENTRIES = 1 << 26  # largest number of entries in a slice


class BadRows(NamedTuple):
    """A slice of rows with an entry or a product that is not finite."""

    rows: Any
    first_row: int  # number of the first of them in the table


def add_scatter(
    X: Any,
    weight: Array | None,
    reference: Array,
    sums: Array,
    scatter: Array,
    n_threads: int | None,
) -> BadRows | None:
    """Add the sums of rows about the reference point, slice by slice, each of them made dense.

    Returns the first slice with an entry or a product that is not finite, or None. Nothing is added
    where there is such a slice.
    """
    n, d = X.shape
    if isinstance(X, StreamedRows):
        n_threads = X.threads_beside(n_threads, 2.0 * d)
    n_threads = threads.effective_n_threads(n_threads, float(n) * d * d)
    accumulator = Accumulator(reference, n_threads)
    for rows, part in _slices(X):
        status = accumulator.add(as_dense(rows), None if weight is None else weight[part])
        if status & BAD_ROWS:
            return BadRows(rows, part.start)
    accumulator.finish(sums, scatter)
    return None


def _slices(X: Any) -> Iterator[tuple[Any, slice]]:
    """Yield slices of all rows, and their places in the table."""
    pace = Pace(SLICE_UNIT, most=SLICE_ENTRIES // X.shape[1])
    if not isinstance(X, StreamedRows):
        for part in slices(X.shape[0], pace, X):
            yield X[part], part
        return
    for table, places, numbers in order_of(X, len(X), unit=SLICE_UNIT).visits(pace):
        part = slice(int(numbers[0]), int(numbers[-1]) + 1)
        yield table[int(places[0]) : int(places[-1]) + 1], part


def unusable_error(rows: Array, reference: Array, first_row: int, name: str) -> ValueError:
    """Return the error for rows with an entry or a difference that is not finite."""
    dtype = reference.dtype
    if np.isfinite(rows.astype(dtype, copy=False)).all():
        return too_large_error(f"differences of rows of {name}", dtype)
    return bad_row_error(rows, name, check.ANYWHERE, dtype, first_row=first_row)
