"""Coding of dates and times: days, and points on the circles of the year, the week and the day."""

import numpy as np

from aefast._base import saving
from aefast._base.saving import Check, is_list_of
from aefast._base.types import Array
from aefast.tables.coding import Coding
from aefast.tables.columns import TIME, Column
from aefast.tables.summary import DAY, RESOLUTIONS, Summary

YEAR = 365.2425 * DAY


class Dates(Coding):
    """Dates: days since the first one, and points on the circles of the year, the week and the day.

    Circles are of the local time. A circle is left out where the dates do not go round it. Times of
    a day have its circle alone.
    """

    kind = "dates"
    checks = {
        "first": saving.NUMBER,
        "last": saving.NUMBER,
        "resolution": saving.COUNT,
        "circles": Check(is_list_of(lambda c: c in ("year", "week", "day")), "a list of circles"),
        "offset": saving.NUMBER,
        "offset_error": saving.NUMBER,
    }
    first: float
    last: float
    resolution: int
    circles: list
    offset: float
    offset_error: float

    @classmethod
    def fitted(cls, summary: Summary) -> "Dates":
        span = summary.high - summary.low
        is_time = summary.kind == TIME
        circles = []
        if not is_time:
            if span >= YEAR and (summary.months > 0).sum() > 1:
                circles.append("year")
            if span >= 7 * DAY and (summary.weekdays > 0).sum() > 1:
                circles.append("week")
        if is_time or summary.high_time > summary.low_time:
            circles.append("day")
        low, high = summary.low_offset, summary.high_offset
        return cls(
            summary.label,
            summary.dtype,
            "date",
            first=float(summary.low),
            last=float(summary.high),
            resolution=RESOLUTIONS[summary.resolution],
            circles=circles,
            offset=float(low + high) / 2,
            offset_error=float(high - low) / 2,
        )

    def _prepare(self) -> None:
        is_time = self.dtype.kind == TIME
        if self.resolution not in RESOLUTIONS or not self.first < self.last:
            raise ValueError("expected a first date before the last, and a resolution")
        if len(set(self.circles)) != len(self.circles) or (is_time and self.circles != ["day"]):
            raise ValueError(f"expected circles of dates, got {self.circles}")

    @property
    def names(self) -> list[str]:
        parts = [f"{self.label}_{c}_{part}" for c in self.circles for part in ("sin", "cos")]
        return [*([str(self.label)] if self.has_days else []), *parts]

    @property
    def output(self) -> list[tuple[str, list[int]]]:
        return [("gaussian_diagonal", list(range(len(self.names))))]

    def encode(self, column: Column) -> Array:
        local = column.values if column.local is None else column.local
        parts = [] if column.kind == TIME else [(column.values - self.first) / DAY]
        for circle in self.circles:
            angle = 2 * np.pi * _turns(local, circle)
            parts += [np.sin(angle), np.cos(angle)]
        return np.column_stack(parts)

    def decode(self, matrix: Array, random: np.random.RandomState | None = None) -> Column:
        of_day = None
        if "day" in self.circles:
            of_day = np.arctan2(matrix[:, -2], matrix[:, -1]) / (2 * np.pi) % 1 * DAY
        if self.dtype.kind == TIME:
            assert of_day is not None
            values = of_day
        else:
            values = matrix[:, 0] * DAY + self.first
            if of_day is not None:
                values = self._at_time(values, of_day)
        with np.errstate(invalid="ignore"):
            values = np.rint(values / self.resolution) * self.resolution
        return self._column(values % DAY if self.dtype.kind == TIME else values)

    @property
    def has_days(self) -> bool:
        """Whether the first column has days, as it has for all but times of a day."""
        return self.dtype.kind != TIME

    def _at_time(self, values: Array, of_day: Array) -> Array:
        """Return the dates nearest to `values` at a local time of the day.

        Dates that have this time already, but for rounding and changes of the clock, stay.
        """
        away = (of_day - (values + self.offset) + DAY / 2) % DAY - DAY / 2
        exact = np.abs(away) <= self.offset_error + 1000  # a millisecond
        return np.where(exact, values, values + away)


def _turns(local: Array, circle: str) -> Array:
    """Return the part of the circle that has passed, in [0, 1)."""
    if circle == "day":
        return local % DAY / DAY
    if circle == "week":
        return (local + 3 * DAY) % (7 * DAY) / (7 * DAY)
    missing = np.isnan(local)
    days = np.floor(np.where(missing, 0, local) / DAY).astype("M8[D]")
    start = days.astype("M8[Y]")
    length = ((start + 1).astype("M8[D]") - start.astype("M8[D]")).astype(np.float64)
    passed = local / DAY - start.astype("M8[D]").astype(np.float64)
    return passed / length
