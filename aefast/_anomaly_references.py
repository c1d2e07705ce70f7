"""The default model of `AnomalyDetector`: distances to sets of reference rows."""

from typing import Any, NamedTuple, Self

import numpy as np

from aefast._base.missing import has_missing
from aefast._base.nearest import MOST_RANK, nearest_references
from aefast._base.saving import NUMBER, SIZE
from aefast._base.types import Array

SHARE_OF_RANK = 16  # the rank of the reference is m / 16: 6 % of the rows may be alike anomalies
NATS_OF_SWITCH = 3.0  # of the other of two values: −log p where 95 % of the predictions are right
ROWS_AT_A_TIME = 1 << 18  # entries (row, set, column) that are gathered together


class Slots(NamedTuple):
    """Places of reference rows, filled by rows of a stream.

    Each place holds a row drawn with a probability proportional to its weight, independently of
    the other places, of all rows seen so far.
    """

    rows: Array  # (B, m, d), NaN where missing
    low: Array  # (d,), least and greatest entries of all rows seen; NaN where all are missing
    high: Array
    weight: float  # of all rows seen

    @classmethod
    def filled(cls, shape: tuple[int, int], rows: Array, weight: Array, order: Array, random: Any):
        empty = np.full(rows.shape[1], np.nan, rows.dtype)
        start = cls(np.empty((*shape, rows.shape[1]), rows.dtype), empty, empty, 0.0)
        return start.with_rows(rows, weight, order, random)

    def with_rows(self, rows: Array, weight: Array, order: Array, random: Any) -> Self:
        """Return the places after more rows.

        `order` sorts rows by their contents, so that draws do not depend on how rows are arranged,
        and a row of weight 2 is drawn as two equal rows are.
        """
        total = self.weight + weight.sum()
        ends = np.cumsum(weight[order])
        at = random.random_sample(self.rows.shape[:2]) * total
        is_new = at >= self.weight
        drawn = np.searchsorted(ends, at[is_new] - self.weight, side="right")
        filled = self.rows.copy()
        filled[is_new] = rows[order[np.minimum(drawn, len(order) - 1)]]
        low = np.fmin(self.low, np.fmin.reduce(rows, axis=0))
        high = np.fmax(self.high, np.fmax.reduce(rows, axis=0))
        return type(self)(filled, low, high, float(total))


class References:
    """Sets of reference rows, and the distances of rows to them in nats.

    Attributes
    ----------
    slots : Slots
    share : ndarray (d,)
        Factor of each column: 1, and less for columns of a group that codes one variable.
    centre, scale : ndarray (d,)
        Median and unit of each column.
    usual : ndarray (d,) or None
        Mean surprise of observed entries of held-out rows, which missing entries are given.
    """

    STATE = {"n_sets": SIZE, "n_references": SIZE, "weight": NUMBER}

    def __init__(self, slots: Slots, share: Array, usual: Array | None = None) -> None:
        self.slots, self.share, self.usual = slots, share, usual
        rows = slots.rows.reshape(-1, slots.rows.shape[2]).astype(np.float64, copy=False)
        self.centre, self.scale = _units(rows, slots.low, slots.high)
        varies = self.scale > 0
        self.factor = np.where(varies, share / np.where(varies, self.scale, 1.0), 0.0)
        units = (slots.rows.astype(np.float64, copy=False) - self.centre) * self.factor
        self.references = np.where(np.isnan(units), 0.0, units)  # a missing entry is the median
        self.rank = max(1, min(MOST_RANK, round(slots.rows.shape[1] / SHARE_OF_RANK)))

    def with_rows(self, rows: Array, weight: Array, order: Array, random: Any) -> "References":
        return References(self.slots.with_rows(rows, weight, order, random), self.share)

    # ---- of rows (n, d) ----

    def strangeness(self, rows: Array, name: str, n_threads: int | None) -> Array:
        """Return the mean distance to the references of the sets, in nats (n,)."""
        distance, _ = self._nearest(rows, name, n_threads)
        found = distance.mean(axis=1)
        if self.usual is not None and has_missing(rows):
            found += np.isnan(rows) @ self.usual
        return found

    def surprise(self, rows: Array, name: str, n_threads: int | None) -> tuple[Array, Array]:
        """Return each entry's part of the distance, NaN where missing, and its expectation.

        The expectation (n, d) is the median of the sets' references, in the units of rows.
        """
        _, place = self._nearest(rows, name, n_threads)
        parts, expected = np.empty(rows.shape), np.empty(rows.shape)
        sets, step = np.arange(place.shape[1]), max(1, ROWS_AT_A_TIME // self.references[:, 0].size)
        for first in range(0, len(rows), step):
            part = slice(first, first + step)
            nearest = self.references[sets, place[part]]  # (rows, B, d)
            own = (rows[part].astype(np.float64, copy=False) - self.centre) * self.factor
            parts[part] = np.abs(own[:, None] - nearest).mean(axis=1)
            expected[part] = np.median(nearest, axis=1)
        divisor = np.where(self.factor > 0, self.factor, 1.0)
        return parts, self.centre + expected / divisor

    def codes(self, rows: Array) -> Array:
        """Return the rows in units of their columns, with the medians in gaps."""
        units = (rows.astype(np.float64, copy=False) - self.centre) * self.factor
        return np.where(np.isnan(units), 0.0, units)

    def _nearest(self, rows, name, n_threads):
        units = self.centre, self.factor
        options = {"name": name, "n_threads": n_threads}
        return nearest_references(rows, self.references, units, self.rank, **options)

    # ---- in a file ----

    def saved_state(self) -> dict[str, Any]:
        n_sets, m, _ = self.slots.rows.shape
        return {"n_sets": n_sets, "n_references": m, "weight": self.slots.weight}


def _units(rows: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """Return the median and the unit of each column, 0 for constant ones.

    The unit of a column is ``√(a r)``, the geometric mean of its mean absolute deviation a from the
    median and its range r, times a factor that is one for all columns, so that a is the unit of the
    median column: distances are −log p of Laplace's density then, but for constants. Heavy tails
    make a small and r large. A column of two values has the unit ``r / 3``.
    """
    with np.errstate(invalid="ignore"):
        counts = (~np.isnan(rows)).sum(axis=0)
    filled = np.where(counts > 0, rows, 0.0)
    least, most = np.nanmin(filled, axis=0), np.nanmax(filled, axis=0)
    if np.isnan(filled).any():
        centre = np.nanmedian(filled, axis=0)
    else:
        centre = np.median(filled, axis=0)
    # halves, so that no difference of two numbers overflows
    deviation = np.nanmean(np.abs(filled / 2 - centre / 2), axis=0)
    extent = most / 2 - least / 2
    is_two = (((filled == least) | (filled == most)) | np.isnan(filled)).all(axis=0)
    unit = np.sqrt(deviation) * np.sqrt(extent)
    is_real = ~is_two & (unit > 0)
    if is_real.any():
        unit = unit * np.median(deviation[is_real] / unit[is_real])
    unit = np.where(is_real, unit, extent / NATS_OF_SWITCH)
    # a column that varies, but not in the references
    spread = np.nan_to_num(high / 2 - low / 2)
    unit = np.where(unit > 0, unit, spread / NATS_OF_SWITCH)
    limits = np.finfo(np.float64)
    unit = np.where(unit >= limits.tiny, unit, 0.0)  # whose inverse would overflow
    with np.errstate(over="ignore"):
        return centre, np.minimum(2 * unit, limits.max)
