"""Codings: how the values of one column become columns of a matrix, and come back.

Entries that are missing are NaN in all columns of their coding. So are values that the fit has not
seen: the encoder of a model knows nothing of them. Their surprise is no matter of the model, but
that of one more class, of probability

    p₀ = (s + 1) / (n + 2)

with n the number of observed entries of the fit and s that of values seen once: the estimate of
Good (1953) of what has not been seen, kept between 0 and 1. Other values have the probability of
the model times 1 − p₀. `log_terms` are the logarithms of these factors.
"""

from typing import Any, ClassVar

import numpy as np

from aefast._base import saving
from aefast._base.saving import FLAG, Check, check_entries, is_count, is_list_of, optional
from aefast._base.types import Array
from aefast.tables.columns import BOOLEAN, DURATION, NUMBER, TIME, Column, Dtype, level_numbers
from aefast.tables.roles import BINARY, COUNT, ORDERED, POSITIVE, REAL
from aefast.tables.summary import DAY, RESOLUTIONS, Summary

HEAVY_TAILS = 3.0  # excess kurtosis from which a real column has Student's distribution
SMALL_COUNTS = 20.0  # largest mean of counts that are read as they are
LARGEST = 1e300
YEAR = 365.2425 * DAY
SECOND = 1_000_000


def _is_level(value: Any) -> bool:
    return isinstance(value, (str, bool, int)) or (
        isinstance(value, float) and bool(np.isfinite(value))
    )


LEVELS = Check(is_list_of(_is_level), "a list of strings, numbers or booleans")
COUNTS = Check(is_list_of(is_count), "a list of counts")


class Coding:
    """Base of codings: the column's label and type, and what the fit has found."""

    checks: ClassVar[dict[str, Check]]  # of the state in a file
    kind: ClassVar[str]  # name in files

    def __init__(self, label: Any, dtype: Dtype, role: str, **state: Any) -> None:
        self.label, self.dtype, self.role = label, dtype, role
        self.state = state
        self.__dict__.update(state)
        self._prepare()

    def _prepare(self) -> None:
        """Check that the state is consistent, and compute what follows from it."""

    @classmethod
    def restored(cls, label: Any, dtype: Dtype, role: str, state: dict[str, Any]) -> "Coding":
        check_entries(f"coding of {label!r}", state, cls.checks)
        return cls(label, dtype, role, **state)

    # ---- of each coding ----

    @property
    def names(self) -> list[str]:
        """Names of the columns of the matrix."""
        return [str(self.label)]

    @property
    def output(self) -> list[tuple[str, list[int]]]:
        """Distributions and the columns, counted from this coding's first one."""
        raise NotImplementedError

    def encode(self, column: Column) -> Array:
        """Return the columns (n, width) of the matrix."""
        raise NotImplementedError

    def decode(self, matrix: Array, random: np.random.RandomState | None = None) -> Column:
        """Return the column of some rows of the matrix: the likeliest value, or a draw."""
        raise NotImplementedError

    def log_terms(self, column: Column) -> Array:
        """Return the logarithms (n,) of the factors of p of each entry, 0 for missing ones."""
        return np.zeros(len(column.values))

    def _column(self, values: Array, levels: list | None = None) -> Column:
        """Return the column with these values; numbers and booleans are no levels any more."""
        if levels and self.dtype.kind in (NUMBER, BOOLEAN):
            codes = np.nan_to_num(values).astype(np.int64)
            values = np.where(np.isnan(values), np.nan, np.array(levels, np.float64)[codes])
            levels = [False, True] if self.dtype.kind == BOOLEAN else None
        return Column(self.label, self.dtype, values, levels)


def unseen_share(n: int, n_single: int = 0) -> float:
    """Return p₀, the probability of values that the fit has not seen."""
    return (n_single + 1) / (n + 2)


class Numbers(Coding):
    """One column of numbers, or of their logarithms; durations in seconds.

    Amounts, and counts with a mean above SMALL_COUNTS, are read as log(x + offset), so that noise
    and distances are in proportion to them. The density of x is that of the logarithm divided by
    x + offset, which `log_terms` hold.
    """

    kind = "numbers"
    checks = {"n_observed": saving.COUNT, "heavy": FLAG, "offset": optional(saving.NUMBER)}
    n_observed: int
    heavy: bool  # whether tails are heavy
    offset: float | None  # of logarithms; None: numbers themselves

    @classmethod
    def fitted(cls, summary: Summary, role: str) -> "Numbers":
        moments, offset = summary.moments, None
        if role == POSITIVE:
            moments, offset = summary.log_moments, 0.0
        elif role == COUNT and moments.central()[0] > SMALL_COUNTS:
            moments, offset = summary.log_moments, 1.0
        heavy = moments.central()[3] > HEAVY_TAILS
        n = summary.n_observed
        return cls(summary.label, summary.dtype, role, n_observed=n, heavy=heavy, offset=offset)

    def _prepare(self) -> None:
        if self.offset not in {POSITIVE: (0.0,), COUNT: (None, 1.0)}.get(self.role, (None,)):
            raise ValueError(f"expected no logarithm of x + {self.offset} for {self.role!r}")

    @property
    def output(self) -> list[tuple[str, list[int]]]:
        if self.role == COUNT and self.offset is None:
            return [("negative_binomial", [0])]
        return [("student_t" if self.heavy else "gaussian_diagonal", [0])]

    @property
    def _unit(self) -> float:
        return SECOND if self.dtype.kind == DURATION else 1.0

    def encode(self, column: Column) -> Array:
        values = np.where(self._is_outside(column), np.nan, column.values / self._unit)
        values = values if self.offset is None else np.log(values + self.offset)
        return np.asarray(values).reshape(-1, 1)

    def _is_outside(self, column: Column) -> Array:
        if self.role == COUNT:
            return np.asarray(column.values < 0)
        return np.asarray((column.values <= 0) & (self.role == POSITIVE))

    def decode(self, matrix: Array, random: np.random.RandomState | None = None) -> Column:
        values = matrix[:, 0]
        if self.offset is not None:
            with np.errstate(over="ignore"):
                values = np.minimum(np.exp(values), LARGEST) - self.offset
        return self._column(values * self._unit)

    def log_terms(self, column: Column) -> Array:
        if self.role == REAL:
            return super().log_terms(column)
        p, outside = unseen_share(self.n_observed), self._is_outside(column)
        terms = np.full(len(outside), np.log1p(-p))
        if self.offset is not None:
            inside = np.where(outside | column.missing, 1.0, column.values / self._unit)
            terms -= np.log(inside + self.offset)
        terms[outside] = np.log(p)
        return np.where(column.missing, 0.0, terms)


class Levels(Coding):
    """Levels: one column of 0 and 1 for two of them, else one column for each, of which one is 1.

    Levels beyond `n_classes` − 1 are one class together, the last: levels are in descending order
    of frequency then. A level of that class has its share of the class' probability.
    """

    kind = "levels"
    checks = {"levels": LEVELS, "counts": COUNTS, "n_classes": saving.COUNT}
    levels: list
    counts: list
    n_classes: int

    @classmethod
    def fitted(cls, summary: Summary, role: str, most: int) -> "Levels":
        found = summary.counts
        known = [level for level in summary.categories if level in found]
        levels = known or sorted(found, key=lambda level: (isinstance(level, str), level))
        if len(levels) > most:
            levels = sorted(levels, key=lambda level: -found[level])
        return cls(
            summary.label,
            summary.dtype,
            role,
            levels=levels,
            counts=[found[level] for level in levels],
            n_classes=min(len(levels), most),
        )

    def _prepare(self) -> None:
        n, most = len(self.levels), self.n_classes
        if len(set(self.levels)) != n or len(self.counts) != n or not 2 <= most <= n:
            raise ValueError(f"expected distinct levels, their counts and {most} classes")
        if min(self.counts) < 1 or (self.role == BINARY and n != 2):
            raise ValueError("expected levels that have been seen, two of a binary column")
        self._class_of = np.minimum(np.arange(n), most - 1)
        totals = np.bincount(self._class_of, self.counts)
        self._log_share = np.log(np.array(self.counts) / totals[self._class_of])
        p = unseen_share(sum(self.counts), self.counts.count(1))
        self._log_unseen, self._log_seen = np.log(p), np.log1p(-p)

    @property
    def names(self) -> list[str]:
        if self.role == BINARY:
            plain = set(self.levels) == {0, 1}
            return [str(self.label) if plain else f"{self.label}_{self.levels[1]}"]
        names = [f"{self.label}_{level}" for level in self.levels[: self.n_classes]]
        if self.n_classes < len(self.levels):
            names[-1] = f"{self.label}_other"
        return names

    @property
    def output(self) -> list[tuple[str, list[int]]]:
        if self.role == BINARY:
            return [("bernoulli", [0])]
        return [("categorical", list(range(self.n_classes)))]

    def _numbers(self, column: Column) -> Array:
        """Return the numbers of the entries' levels, NaN for those that are not known."""
        column = column.of_levels()
        assert column.levels is not None
        place = np.append(level_numbers(column.levels, self.levels), np.nan)
        return place[np.where(column.missing, -1, np.nan_to_num(column.values)).astype(np.int64)]

    def encode(self, column: Column) -> Array:
        numbers = self._numbers(column)
        if self.role == BINARY:
            return numbers[:, np.newaxis]
        known = ~np.isnan(numbers)
        matrix = np.full((len(numbers), self.n_classes), np.nan)
        matrix[known] = 0
        rows = np.flatnonzero(known)
        matrix[rows, self._class_of[numbers[rows].astype(np.int64)]] = 1
        return matrix

    def decode(self, matrix: Array, random: np.random.RandomState | None = None) -> Column:
        missing = np.asarray(np.isnan(matrix).any(axis=1))
        matrix = np.where(missing[:, np.newaxis], 0.0, matrix)
        if self.role == BINARY:
            numbers = (matrix[:, 0] > 0.5).astype(np.int64)
        else:
            numbers = matrix.argmax(axis=1)  # of the last class: its most frequent level
            rest = np.flatnonzero(numbers == self.n_classes - 1)
            others = np.array(self.counts[self.n_classes - 1 :], np.float64)
            if random is not None and len(others) > 1:
                numbers[rest] += random.choice(len(others), len(rest), p=others / others.sum())
        return self._column(np.where(missing, np.nan, numbers), self.levels)

    def log_terms(self, column: Column) -> Array:
        numbers = self._numbers(column)
        known = ~np.isnan(numbers)
        terms = np.full(len(numbers), self._log_unseen)
        terms[known] = self._log_seen + self._log_share[numbers[known].astype(np.int64)]
        return np.where(column.missing, 0.0, terms)

    def class_shares(self, matrix: Array) -> Array:
        """Return the probability (n,) of the level that `decode` returns."""
        if self.role == BINARY:
            return np.maximum(matrix[:, 0], 1 - matrix[:, 0])
        share = np.exp(self._log_share[self.n_classes - 1])
        return np.max(matrix * np.append(np.ones(self.n_classes - 1), share), axis=1)


class Ordered(Coding):
    """Ordered levels: a column for each step between neighbours, 1 where the entry is above it.

    Of more than `n_classes` levels, neighbours are one class, such that the classes have about the
    same number of entries.
    """

    kind = "ordered"
    checks = {"levels": LEVELS, "counts": COUNTS, "class_of": COUNTS}
    levels: list
    counts: list
    class_of: list

    @classmethod
    def fitted(cls, summary: Summary, order: list | None, most: int) -> "Ordered":
        """`order` are all levels in order where the user has given them.

        Raises ValueError for entries that are not among these.
        """
        found = summary.counts
        if order is None:
            known = summary.categories or sorted(found)
        else:
            known = order
            strange = [level for level in found if level not in known]
            if strange:
                raise ValueError(
                    f"column {summary.label!r} has {strange[0]!r}, which is not among its levels "
                    f"{order!r} in roles"
                )
        levels = [level for level in known if level in found]
        counts = np.array([found[level] for level in levels])
        class_of = np.arange(len(levels))
        if len(levels) > most:
            middle = (np.cumsum(counts) - counts / 2) / counts.sum()
            class_of = np.unique(np.floor(middle * most), return_inverse=True)[1]
        return cls(
            summary.label,
            summary.dtype,
            ORDERED,
            levels=levels,
            counts=counts.tolist(),
            class_of=class_of.tolist(),
        )

    def _prepare(self) -> None:
        n, steps = len(self.levels), np.diff(self.class_of)
        if len(set(self.levels)) != n or not len(self.counts) == len(self.class_of) == n >= 2:
            raise ValueError("expected distinct levels, their counts and classes")
        if min(self.counts) < 1 or self.class_of[0] != 0 or not np.isin(steps, (0, 1)).all():
            raise ValueError("expected classes 0, 1, … of neighbouring levels that have been seen")
        self._class = np.array(self.class_of)
        self._n_steps = int(self._class[-1])
        totals = np.bincount(self._class, self.counts)
        self._log_share = np.log(np.array(self.counts) / totals[self._class])
        best = [np.flatnonzero(self._class == c) for c in range(self._n_steps + 1)]
        self._members = best
        self._likeliest = np.array([m[np.argmax(np.array(self.counts)[m])] for m in best])
        p = unseen_share(sum(self.counts), self.counts.count(1))
        self._log_unseen, self._log_seen = np.log(p), np.log1p(-p)

    @property
    def names(self) -> list[str]:
        last = [self.levels[members[-1]] for members in self._members[:-1]]
        return [f"{self.label}>{level}" for level in last]

    @property
    def output(self) -> list[tuple[str, list[int]]]:
        return [("bernoulli", list(range(self._n_steps)))]

    _numbers = Levels._numbers
    log_terms = Levels.log_terms

    def encode(self, column: Column) -> Array:
        numbers = self._numbers(column)  # type: ignore[misc]
        known = ~np.isnan(numbers)
        matrix = np.full((len(numbers), self._n_steps), np.nan)
        classes = self._class[numbers[known].astype(np.int64)]
        matrix[known] = classes[:, np.newaxis] > np.arange(self._n_steps)
        return matrix

    def decode(self, matrix: Array, random: np.random.RandomState | None = None) -> Column:
        """Return the likeliest level; in draws, the steps below the first one that is not taken."""
        missing = np.isnan(matrix).any(axis=1)
        if random is not None:
            below = np.cumprod(matrix > 0.5, axis=1)
            classes = below.sum(axis=1)
        else:
            classes = self.class_probabilities(matrix).argmax(axis=1)
        numbers = self._likeliest[classes]
        if random is not None:
            for c, members in enumerate(self._members):
                rows = np.flatnonzero(classes == c)
                weights = np.array(self.counts)[members]
                numbers[rows] = random.choice(members, len(rows), p=weights / weights.sum())
        return self._column(np.where(missing, np.nan, numbers), self.levels)

    def class_probabilities(self, matrix: Array) -> Array:
        """Return p (n, number of classes) from the probabilities of being above each step."""
        with np.errstate(divide="ignore"):
            above = np.log(np.clip(matrix, 1e-300, 1))
            below = np.log(np.clip(1 - matrix, 1e-300, 1))
        zeros = np.zeros((len(matrix), 1))
        log_p = np.hstack([zeros, np.cumsum(above, axis=1)])
        log_p += np.hstack([np.cumsum(below[:, ::-1], axis=1)[:, ::-1], zeros])
        log_p = np.nan_to_num(log_p, nan=0.0)
        p = np.exp(log_p - log_p.max(axis=1, keepdims=True))
        return p / p.sum(axis=1, keepdims=True)

    def class_shares(self, matrix: Array) -> Array:
        """Return the probability (n,) of the level that `decode` returns."""
        p = self.class_probabilities(matrix)
        share = np.exp(self._log_share[self._likeliest])
        return (p * share)[np.arange(len(p)), p.argmax(axis=1)]


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
        return [*([] if self.dtype.kind == TIME else [str(self.label)]), *parts]

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


class LeftOut(Coding):
    """A column that the matrix leaves out; constants come back."""

    kind = "left out"
    checks = {"value": Check(lambda v: v is None or _is_level(v), "a level, a number or null")}
    value: Any

    @classmethod
    def fitted(cls, summary: Summary, role: str) -> "LeftOut":
        value = None
        if role == "constant":
            value = next(iter(summary.counts)) if summary.counts else float(summary.low)
        return cls(summary.label, summary.dtype, role, value=value)

    @property
    def names(self) -> list[str]:
        return []

    @property
    def output(self) -> list[tuple[str, list[int]]]:
        return []

    def encode(self, column: Column) -> Array:
        return np.empty((len(column.values), 0))

    def decode(self, matrix: Array, random: np.random.RandomState | None = None) -> Column:
        n, is_level = len(matrix), self.dtype.kind in ("text", "category", "boolean")
        if self.value is None:
            return self._column(np.full(n, np.nan), [] if is_level else None)
        if is_level:
            return self._column(np.zeros(n), [self.value])
        return self._column(np.full(n, float(self.value)))


CODINGS: dict[str, type[Coding]] = {
    coding.kind: coding for coding in (Numbers, Levels, Ordered, Dates, LeftOut)
}
