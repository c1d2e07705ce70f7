"""Codings of numbers and of columns that are left out, and the table of all codings."""

from typing import Any

import numpy as np

from aefast._base import saving
from aefast._base.saving import FLAG, Check, optional
from aefast._base.types import Array
from aefast.tables.coding import Coding, is_level, unseen_share
from aefast.tables.columns import DURATION, Column
from aefast.tables.dates import Dates
from aefast.tables.levels import Levels, Ordered
from aefast.tables.roles import COUNT, POSITIVE, REAL
from aefast.tables.summary import Summary

HEAVY_TAILS = 3.0  # excess kurtosis from which a real column has Student's distribution
SMALL_COUNTS = 20.0  # largest mean of counts that are read as they are
LARGEST = 1e300
SECOND = 1_000_000


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
        if self.role == COUNT:
            values = np.maximum(values, 0.0)
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


class LeftOut(Coding):
    """A column that the matrix leaves out; constants come back."""

    kind = "left out"
    checks = {"value": Check(lambda v: v is None or is_level(v), "a level, a number or null")}
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
