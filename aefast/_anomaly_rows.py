"""Rows of `AnomalyDetector`: the matrix of a table, and which rows calibrate."""

from typing import Any, NamedTuple, Self

import numpy as np

from aefast._base.types import Array

MOST_CALIBRATION = 2000  # rows that are kept: p-values are then as small as 0.0005
MOST_COPIES = 8  # mean weight up to which rows of whole weights are repeated
MOST_EXPLAINED = 500  # of these, whose surprise is computed variable by variable
_LEVEL = (0.05, 0.95)  # ends of the intervals of residuals


class Given(NamedTuple):
    """Rows that a fit is given, without those of weight 0."""

    rows: Array  # (n, d)
    weight: Array
    labels: Array | None
    keys: Array  # which sort rows by their contents
    is_held_out: Array  # whether the model does not see the row

    @classmethod
    def of(cls, rows: Array, weight: Array, labels: Array | None, seed: int, share: float) -> Self:
        """Return the rows, of which about this share is left out, never labelled ones, nor all."""
        if (weight != 1).any():
            chosen = np.flatnonzero(weight)
            counts = weight[chosen]
            if (counts == np.rint(counts)).all() and counts.sum() <= MOST_COPIES * len(weight):
                chosen = np.repeat(chosen, counts.astype(np.int64))  # of which some are left out
                counts = np.ones(len(chosen))
            rows, weight = rows[chosen], counts
            labels = None if labels is None else labels[chosen]
        keys = content_keys(rows, seed)
        is_held_out = uniform_of_keys(keys, seed) < share
        if labels is not None:
            is_held_out &= np.isnan(labels)
        if is_held_out.all():
            is_held_out[:] = False
        return cls(rows, weight, labels, keys, is_held_out)


class Calibration(NamedTuple):
    """Rows on which scores are compared, at most MOST_CALIBRATION of those that were left out.

    Of more rows, those with the greatest keys ``u^(1/w)`` stay, with u uniform and w the weight
    (Efraimidis & Spirakis 2006).
    """

    rows: Array  # (c, d)
    weight: Array  # (c,)
    keys: Array  # (c,)
    is_held_out: bool

    @classmethod
    def empty(cls, d: int, dtype: Any = np.float64) -> Self:
        return cls(np.empty((0, d), dtype), np.empty(0), np.empty(0), True)

    def with_rows(self, rows: Array, weight: Array, seed: int) -> Self:
        uniform = uniform_of_keys(content_keys(rows, seed), seed)
        all_keys = np.concatenate([self.keys, uniform ** (1 / weight)])
        kept = np.sort(np.argsort(-all_keys, kind="stable")[:MOST_CALIBRATION])
        joined = np.concatenate([self.rows, rows])[kept]
        weights = np.concatenate([self.weight, weight])[kept]
        return type(self)(joined, weights, all_keys[kept], self.is_held_out)


class Usual(NamedTuple):
    """What a model finds on the calibration rows."""

    strangeness: Array  # (c,), rising
    weight: Array  # (c,), of these rows
    surprise: Array  # (d,), mean of each column's observed entries
    low: Array  # (d,), the 5 % and 95 % quantiles of residuals x − expected
    high: Array

    @classmethod
    def of(cls, model: Any, calibration: Calibration, n_threads: int | None) -> Self:
        """Return what is usual of variables; the strangeness of rows is set later."""
        rows = calibration.rows[:MOST_EXPLAINED]
        parts, expected = model.surprise(rows, "X", n_threads)
        observed = ~np.isnan(parts)
        weight = observed * calibration.weight[:MOST_EXPLAINED, None]
        totals = weight.sum(axis=0)
        mean = np.where(observed, parts, 0.0) * weight
        mean = mean.sum(axis=0) / np.where(totals > 0, totals, 1.0)
        residuals = np.where(observed, rows - expected, np.nan)
        residuals[:, ~observed.any(axis=0)] = 0.0
        low, high = np.nanquantile(residuals, _LEVEL, axis=0)
        return cls(np.empty(0), np.empty(0), mean, low, high)

    def with_strangeness(self, strangeness: Array, weight: Array) -> Self:
        order = np.argsort(strangeness, kind="stable")
        return self._replace(strangeness=strangeness[order], weight=weight[order])

    def p_values(self, strangeness: Array) -> Array:
        """Return ``(1 + Σ w [s_i ≥ s]) / (1 + Σ w)`` of each row over the calibration rows."""
        above = np.append(np.cumsum(self.weight[::-1])[::-1], 0.0)
        place = np.searchsorted(self.strangeness, strangeness, side="left")
        return (1 + above[place]) / (1 + above[0])

    def threshold(self, rate: float) -> float:
        """Return the least strangeness that a row must exceed for a p-value of at most `rate`."""
        above = np.cumsum(self.weight[::-1])[::-1]
        allowed = rate * (1 + above[0]) - 1
        fits = np.flatnonzero(above <= allowed * (1 + 1e-12))
        place = len(self.strangeness) - 1 if len(fits) == 0 else max(fits[0] - 1, 0)
        return float(self.strangeness[place])


def content_keys(rows: Array, seed: int) -> Array:
    """Return a number for each row that follows from its entries alone.

    Rows are sorted by it where draws must not depend on how they are arranged.
    """
    d = rows.shape[1]
    factors = np.random.RandomState(seed).uniform(0.5, 1.5, d) / (2 * d)
    keys, step = np.empty(len(rows)), max(1, (1 << 20) // d)
    for first in range(0, len(rows), step):
        part = rows[first : first + step].astype(np.float64)
        part[np.isnan(part)] = 0.5
        keys[first : first + step] = (part * factors).sum(axis=1)
    return keys + 0.0  # of -0 and 0


def uniform_of_keys(keys: Array, seed: int) -> Array:
    """Return a number in [0, 1) for each row, which follows from its key and the seed.

    Of rows with one key, the first, the second, … have numbers of their own.
    """
    order = np.argsort(keys, kind="stable")
    of_order = keys[order]
    begins = np.flatnonzero(np.append(True, of_order[1:] != of_order[:-1]))
    sizes = np.diff(np.append(begins, len(keys)))
    copies = np.empty(len(keys), np.uint64)
    copies[order] = np.arange(len(keys)) - np.repeat(begins, sizes)
    bits = keys.view(np.uint64)
    with np.errstate(over="ignore"):  # splitmix64 (Steele, Lea & Flood 2014), three times
        for added in (np.uint64(seed), copies, np.uint64(0)):
            bits = bits + added + np.uint64(0x9E3779B97F4A7C15)
            bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            bits = bits ^ (bits >> np.uint64(31))
    return (bits >> np.uint64(11)) * 2.0**-53


def weighted_threshold(strangeness: Array, weight: Array, share: float) -> float:
    """Return the strangeness that rows of at most this share of the weight exceed."""
    order = np.argsort(-strangeness, kind="stable")
    beyond = np.cumsum(weight[order])
    place = np.searchsorted(beyond, share * beyond[-1] * (1 + 1e-9), side="right")
    return float(strangeness[order[min(place, len(order) - 1)]])
