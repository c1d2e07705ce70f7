"""Missing entries (NaN) of rows, searched slice by slice."""

from collections.abc import Iterator

import numpy as np

from aefast._base.arrays import ANYWHERE, real_type
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


def observed_units(rows: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Return means, standard deviations and a constancy mask (d,) of each column's entries.

    NaN counts nothing. Sums are of entries mapped to [−1, 1], so that none overflows. A column
    whose entries are equal, or of which none is observed, has the deviation 0; without an observed
    entry its mean is NaN.

    Parameters
    ----------
    rows : ndarray (n, d)
        Finite but for NaN.
    weight : ndarray (n,)
        Positive.
    """
    d = rows.shape[1]
    low, high = np.full(d, np.nan), np.full(d, np.nan)
    for _, part in _slices(rows):
        low = np.fmin(low, np.fmin.reduce(part, axis=0))
        high = np.fmax(high, np.fmax.reduce(part, axis=0))
    centre, reach = low / 2 + high / 2, high / 2 - low / 2
    varies = reach > 0
    unit = np.where(varies, reach, 1.0)
    sums, totals, squares = np.zeros(d), np.zeros(d), np.zeros(d)
    for first, part in _slices(rows):
        mapped, w = (part / unit - centre / unit), weight[first : first + len(part)]
        sums += w @ np.where(np.isnan(mapped), 0.0, mapped)
        totals += w @ ~np.isnan(part)
    means = sums / np.where(totals > 0, totals, 1.0)
    for first, part in _slices(rows):
        residuals = (part / unit - centre / unit) - means
        squares += weight[first : first + len(part)] @ np.where(
            np.isnan(residuals), 0, residuals**2
        )
    deviations = unit * np.sqrt(squares / np.where(totals > 0, totals, 1.0))
    varies &= deviations >= np.finfo(np.float64).tiny
    return (
        np.where(varies, centre + unit * means, np.where(np.isnan(centre), 0.0, centre)),
        np.where(varies, deviations, 0.0),
        varies,
    )


def with_gaps(rows: Array, missing_values: float, name: str) -> Array:
    """Return rows of a real type in which NaN, and nothing else, is a missing entry.

    Parameters
    ----------
    rows : ndarray (n, d)
    missing_values : float
        What stands for a missing entry: NaN or a number, with which NaN is no valid entry.
    name : str
        Name of the table in the ValueError for infinite entries and NaN.
    """
    real = real_type(rows.dtype)
    if np.isnan(missing_values):
        rows = rows.astype(real, copy=False)
        check_no_infinity(rows, name)
        return rows
    missing = rows == missing_values
    rows = rows.astype(real)
    if (bad := np.argwhere(np.isnan(rows) & ~missing)).size:
        raise entry_error(np.nan, name, (bad[0][0], bad[0][1]), ANYWHERE, rows.dtype)
    rows[missing] = np.nan
    check_no_infinity(rows, name)
    return rows
