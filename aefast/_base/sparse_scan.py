"""Checks of rows in CSR form, and statistics of their columns, in time of the stored entries."""

from typing import Any

import numpy as np

from aefast._base import _runtime
from aefast._base.sparse_rows import SparseRows
from aefast._base.types import Array


class SparseSums:
    """Weighted sums, counts and extremes of columns, gathered slice by slice.

    Parameters
    ----------
    n_features : int
    absent_missing : bool
        Whether entries that are not stored are missing; otherwise they are zeros.
    """

    def __init__(self, n_features: int, absent_missing: bool) -> None:
        d, self.absent_missing = n_features, absent_missing
        self.sums, self.stored = np.zeros(d), np.zeros(d)  # of weight x, of weight
        self.low, self.high = np.full(d, np.inf), np.full(d, -np.inf)
        self.counts = np.zeros(d, np.int64)
        self.n_rows, self.total = 0, 0.0

    def add(self, rows: SparseRows, weight: Array | None, domain: Any, dtype: Any) -> int | None:
        """Add rows (n, d) with weights (n,), or return the first row that is not in the domain.

        Nothing is added then. Entries are checked in the type of the computation.
        """
        d = len(self.sums)
        columns, values = rows.stored
        with np.errstate(over="ignore"):
            values = values.astype(dtype, copy=False)
        low, high = (end[columns] if isinstance(end, np.ndarray) else end for end in domain)
        good = np.isfinite(values) & (values >= low) & (values <= high)
        bad: list[int] = (
            [] if good.all() else [int(np.repeat(np.arange(len(rows)), rows.counts)[~good][0])]
        )
        if not self.absent_missing:
            bad += self._rows_without_a_column(rows, domain)
        if bad:
            return min(bad)
        share = np.ones(len(rows)) if weight is None else weight
        share = np.repeat(share, rows.counts)
        values = values.astype(np.float64, copy=False)
        self.sums += np.bincount(columns, share * values, d)
        self.stored += np.bincount(columns, share, d)
        self.counts += np.bincount(columns, minlength=d)
        np.minimum.at(self.low, columns, values)
        np.maximum.at(self.high, columns, values)
        self.n_rows += len(rows)
        self.total += float(len(rows) if weight is None else weight.sum())
        return None

    def _rows_without_a_column(self, rows: SparseRows, domain: Any) -> list[int]:
        """Return the first row that does not store a column whose domain has no 0, in a list."""
        low, high = (np.broadcast_to(end, len(self.sums)) for end in domain)
        needed = np.flatnonzero((low > 0) | (high < 0))
        if not len(needed):
            return []
        is_needed = np.zeros(len(self.sums), bool)
        is_needed[needed] = True
        columns, _ = rows.stored
        of_entries = np.repeat(np.arange(len(rows)), rows.counts)
        found = np.bincount(of_entries[is_needed[columns]], minlength=len(rows))
        lacking = np.flatnonzero(found < len(needed))
        return [int(lacking[0])] if len(lacking) else []

    def means(self) -> Array:
        """Return the weighted means (d,) of observed entries; 0 where there is none."""
        weights = self.stored if self.absent_missing else np.full_like(self.sums, self.total)
        with _runtime.IeeeArithmetic():
            return np.divide(self.sums, weights, out=np.zeros_like(self.sums), where=weights > 0)

    @property
    def n_missing(self) -> int:
        """Number of columns with a missing entry, or whose rows have no weight."""
        if not self.absent_missing:
            return 0 if self.total > 0 else len(self.sums)
        return int((self.stored < self.total * (1 - 1e-12)).sum() or self.total <= 0)

    @property
    def extremes(self) -> tuple[Array, Array]:
        """Least and greatest entries (d,), of the zeros too unless these are missing."""
        low, high = self.low.copy(), self.high.copy()
        if not self.absent_missing:
            has_zeros = self.counts < self.n_rows
            low[has_zeros] = np.minimum(low[has_zeros], 0)
            high[has_zeros] = np.maximum(high[has_zeros], 0)
        return low, high


def column_spreads(
    rows: SparseRows, weight: Array | None, means: Array
) -> tuple[Array, Array, Array]:
    """Return standard deviations about the means, and least and greatest entries (d,).

    Entries that are not stored are zeros, or missing. Squares are of entries divided by the largest
    distance in their column, so that none overflows.
    """
    d = rows.shape[1]
    columns, values = rows.stored
    values = values.astype(np.float64, copy=False)
    share = np.ones(len(rows)) if weight is None else weight
    total, share = float(share.sum()), np.repeat(share, rows.counts)
    sums = SparseSums(d, rows.absent_missing)
    sums.add(rows, weight, (-np.inf, np.inf), np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        distance = np.abs(values - means[columns])
        largest = np.zeros(d)
        np.maximum.at(largest, columns, distance)
        stored = np.bincount(columns, share, d)
        absent = np.zeros(d) if rows.absent_missing else np.maximum(total - stored, 0)
        absent[sums.counts == len(rows)] = 0
        largest = np.where(absent > 0, np.maximum(largest, np.abs(means)), largest)
        unit = np.where(largest > 0, largest, 1)
        squares = np.bincount(columns, share * (distance / unit[columns]) ** 2, d)
        squares = squares + absent * (means / unit) ** 2
        counts = stored + absent
        spread = largest * np.sqrt(squares / np.where(counts > 0, counts, 1))
    return spread, *sums.extremes
