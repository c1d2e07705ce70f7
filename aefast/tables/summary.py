"""What one pass over the rows finds about a column: enough to infer its role and its coding."""

from typing import Any

import numpy as np

from aefast._base.arrays import ANYWHERE
from aefast._base.errors import TableName, entry_error
from aefast._base.types import Array
from aefast.tables.columns import DATE, EMPTY, NUMBER, OF_LEVELS, TIME, Column, Dtype, plain_number

HOUR = 3_600_000_000  # microseconds
DAY = 24 * HOUR
# resolutions of dates, in microseconds
RESOLUTIONS = (DAY, HOUR, 60_000_000, 1_000_000, 1000, 1)


class Summary:
    """Sums over one column, to which each batch of rows is added.

    Parameters
    ----------
    label : str or int
    as_levels : bool
        Whether numbers are counted as levels.
    """

    def __init__(self, label: Any, as_levels: bool = False) -> None:
        self.label, self.as_levels = label, as_levels
        self.dtype = Dtype(EMPTY, "")
        self.n_rows = self.n_missing = 0
        self.counts: dict[Any, int] = {}  # of levels
        self.categories: list = []  # of categorical types, in order of the batches
        self.low, self.high = np.inf, -np.inf
        self.is_whole = True
        self.n_distinct = 0  # of numbers: 0, 1, 2 or more
        self.is_row_number = True
        self.moments = Moments()
        self.log_moments = Moments()
        self.resolution = 0  # index in RESOLUTIONS
        self.low_time, self.high_time = np.inf, -np.inf  # of the day, in microseconds
        self.months, self.weekdays = np.zeros(12, np.int64), np.zeros(7, np.int64)
        self.low_offset, self.high_offset = np.inf, -np.inf  # of the local time from UTC

    @property
    def kind(self) -> str:
        return self.dtype.kind

    @property
    def n_observed(self) -> int:
        return self.n_rows - self.n_missing

    def add(self, column: Column, name: str) -> None:
        """Add the rows of a batch.

        Raises ValueError for infinite entries, and for a type other than that of earlier batches.
        """
        first_row = self.n_rows
        self.n_rows += len(column.values)
        self.n_missing += int(column.missing.sum())
        if column.kind == EMPTY:
            self.is_row_number = False
            if not self.dtype.name:
                self.dtype = column.dtype
            return
        if self.kind == EMPTY:
            self.dtype = column.dtype
        elif self.kind != column.kind or self.dtype.zone != column.dtype.zone:
            raise ValueError(
                f"column {str(self.label)!r} of {name} is {self.kind} first and {column.kind} "
                f"from row {first_row} on"
            )
        if column.kind in (NUMBER, DATE):
            check_finite(column, name, first_row)
        if column.kind in OF_LEVELS or (self.as_levels and column.kind == NUMBER):
            self._add_levels(column.of_levels())
            return
        self.dtype = self.dtype._replace(digits=_larger(self.dtype.digits, column.dtype.digits))
        values = column.values[~column.missing]
        if len(values):
            self.low, self.high = min(self.low, values.min()), max(self.high, values.max())
            if column.kind in (DATE, TIME):
                local = values if column.local is None else column.local[~column.missing]
                self._add_dates(values, local)
            else:
                self._add_numbers(values, first_row, len(column.values))

    def _add_levels(self, column: Column) -> None:
        assert column.levels is not None
        codes = column.values[~column.missing].astype(np.int64)
        counts = np.bincount(codes, minlength=len(column.levels)).tolist()
        for level, count in zip(column.levels, counts, strict=True):
            if count:
                self.counts[level] = self.counts.get(level, 0) + count
        if column.dtype.categories is not None:
            merged = list(dict.fromkeys([*self.categories, *column.dtype.categories]))
            self.categories = merged
            self.dtype = self.dtype._replace(
                categories=merged, ordered=self.dtype.ordered and column.dtype.ordered
            )

    def _add_numbers(self, values: Array, first_row: int, n_rows: int) -> None:
        whole = np.rint(values) == values
        self.is_whole &= bool(whole.all())
        if self.n_distinct <= 2:
            self._add_few(values)
        if self.is_row_number and self.is_whole and len(values) == n_rows:
            if first_row == 0:
                self._first = values[0]
            expected = self._first + first_row + np.arange(n_rows)
            self.is_row_number = self._first in (0, 1) and bool((values == expected).all())
        else:
            self.is_row_number = False
        self.moments.add(values)
        if self.low >= 0:  # of x + 1 where there are zeros, which only counts need
            self.log_moments.add(np.log(values if self.low > 0 else values + 1))

    def _add_few(self, values: Array) -> None:
        """Count two distinct numbers as levels, until there are more."""
        if len(np.unique(values[:1000])) <= 2:
            levels, counts = np.unique(values, return_counts=True)
            for level, count in zip(map(plain_number, levels), counts.tolist(), strict=True):
                self.counts[level] = self.counts.get(level, 0) + count
            self.n_distinct = len(self.counts)
        else:
            self.n_distinct = 3
        if self.n_distinct > 2:
            self.n_distinct, self.counts = 3, {}

    def _add_dates(self, values: Array, local: Array) -> None:
        while (values % RESOLUTIONS[self.resolution]).any():
            self.resolution += 1
        of_day = local % DAY
        self.low_time = min(self.low_time, of_day.min())
        self.high_time = max(self.high_time, of_day.max())
        self.low_offset = min(self.low_offset, (local - values).min())
        self.high_offset = max(self.high_offset, (local - values).max())
        days = np.floor(local / DAY).astype("M8[D]")
        months = days.astype("M8[M]").astype(np.int64) % 12
        self.months += np.bincount(months, minlength=12)
        weekdays = (days.astype(np.int64) + 3) % 7  # 1970 began on a Thursday
        self.weekdays += np.bincount(weekdays, minlength=7)


class Moments:
    """Sums of powers of numbers, in units of the first ones."""

    def __init__(self) -> None:
        self.n, self.sums = 0, np.zeros(4)
        self.centre, self.unit = 0.0, 1.0

    def add(self, values: Array) -> None:
        with np.errstate(all="ignore"):
            if self.n == 0:
                self.centre = float(np.median(values))
                spread = float(np.abs(values / 4 - self.centre / 4).max()) * 4
                self.unit = spread if 0 < spread < np.inf else 1.0
            scaled = values / self.unit - self.centre / self.unit
            power = np.ones_like(scaled)
            for index in range(4):
                power *= scaled
                self.sums[index] += power.sum()
        self.n += len(values)

    def central(self) -> tuple[float, float, float, float]:
        """Return mean, variance, skewness and excess kurtosis; the last two 0 without variance."""
        m1, m2, m3, m4 = self.sums / max(self.n, 1)
        variance = m2 - m1**2
        mean = self.centre + self.unit * m1
        if not variance > 1e-12 * max(m2, 1e-300) or not np.isfinite(variance):
            return mean, 0.0, 0.0, 0.0
        third = m3 - 3 * m1 * m2 + 2 * m1**3
        fourth = m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4
        with np.errstate(over="ignore"):
            return (
                mean,
                float(variance * self.unit * self.unit),
                float(third / variance**1.5),
                float(fourth / variance**2 - 3),
            )


def check_finite(column: Column, name: str, first_row: int = 0) -> None:
    """Raise ValueError for the first infinite entry, with its row and the column's name."""
    bad = np.flatnonzero(np.isinf(column.values))
    if len(bad):
        value, row = column.values[bad[0]], first_row + int(bad[0])
        named = TableName(name, [str(column.label)])
        if column.dtype.kind == DATE:
            raise ValueError(
                f"Input {name} contains a date out of range at row {row}, column "
                f"{str(column.label)!r}: expected years 1 to 9999"
            )
        raise entry_error(value, named, (row, 0), ANYWHERE, np.dtype(np.float64))


def _larger(one: int | None, other: int | None) -> int | None:
    return one if other is None else other if one is None else max(one, other)
