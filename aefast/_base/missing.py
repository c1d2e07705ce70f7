"""Missing entries (NaN) of rows, searched slice by slice."""

from collections.abc import Iterator

import numpy as np

from aefast._base.arrays import ANYWHERE
from aefast._base.errors import entry_error
from aefast._base.types import Array

ENTRIES_AT_A_TIME = 1 << 20


def has_missing(rows: Array) -> bool:
    """Return whether an entry is NaN."""
    return any(np.isnan(part).any() for _, part in _slices(rows))


def check_no_infinity(rows: Array, name: str) -> None:
    """Raise ValueError for the first infinite entry; NaN is allowed."""
    for first, part in _slices(rows):
        bad = np.argwhere(np.isinf(part))
        if len(bad):
            row, column = bad[0]
            value = part[row, column]
            raise entry_error(value, name, (first + row, column), ANYWHERE, rows.dtype)


def is_incomplete(rows: Array, name: str) -> bool:
    """Return whether rows that a kernel could not use have missing entries.

    Raises ValueError where rows with missing entries have infinite ones too.
    """
    if not has_missing(rows):
        return False
    check_no_infinity(rows, name)
    return True


def observed_means(rows: Array) -> tuple[Array, Array]:
    """Return means and counts (d,) of each column's entries that are not NaN.

    The mean of a column without such an entry is 0.
    """
    sums, counts = np.zeros(rows.shape[1]), np.zeros(rows.shape[1], np.int64)
    for _, part in _slices(rows):
        observed = ~np.isnan(part)
        sums += np.where(observed, part, 0).sum(axis=0, dtype=np.float64)
        counts += observed.sum(axis=0)
    return sums / np.maximum(counts, 1), counts


def _slices(rows: Array) -> Iterator[tuple[int, Array]]:
    """Return pairs (number of the first row, rows) of successive slices."""
    step = max(1, ENTRIES_AT_A_TIME // rows.shape[1])
    return ((first, rows[first : first + step]) for first in range(0, len(rows), step))
