"""Observed entries of rows that are hidden, to compare how well models predict them."""

from typing import NamedTuple, Self

import numpy as np

from aefast._base.types import Array

HIDDEN_SHARE = 0.1
MOST_ROWS = 2000
FEWEST_ROWS = 5
TAILS = 4.0  # degrees of freedom of the log score
COVERED, COVERED_WITHIN = 0.9, 1.6448536269514722  # a share of the normal distribution, its bound


class Variables(NamedTuple):
    """Columns that are missing together, such as those of a one-hot group."""

    of_column: Array  # (d,), the number of each column's variable, ascending from 0
    is_real: Array  # (d,), whether the column is a number, of which intervals are asked

    def random_mask(self, n: int, share: float, random: np.random.RandomState) -> Array:
        """Return a mask (n, d) of entries, equal for the columns of a variable."""
        drawn = random.random_sample((n, int(self.of_column[-1]) + 1)) < share
        return drawn[:, self.of_column]


def random_mask(
    shape: tuple[int, ...], share: float, random: np.random.RandomState, variables: Variables | None
) -> Array:
    """Return a mask of entries, of whole variables where columns are not their own ones."""
    if variables is None:
        return random.random_sample(shape) < share
    return variables.random_mask(shape[0], share, random)


class HiddenEntries(NamedTuple):
    """Rows of which some observed entries are hidden."""

    seen: Array  # (n, d), NaN where missing or hidden
    hidden: Array  # (n, d), boolean
    truth: Array  # (n, d), the rows before
    weight: Array  # (n,)
    is_real: Array  # (d,), whether the column is a number, of which intervals are asked

    @classmethod
    def of(
        cls,
        rows: Array,
        weight: Array,
        random: np.random.RandomState,
        variables: Variables | None = None,
    ) -> Self | None:
        """Hide a tenth of the observed entries of MOST_ROWS rows at most.

        Columns whose entries are all alike then are left out. None where too little is left.
        """
        n = len(rows)
        if n > MOST_ROWS:
            chosen = np.sort(random.permutation(n)[:MOST_ROWS])
            rows, weight = rows[chosen], weight[chosen]
        hidden = ~np.isnan(rows) & random_mask(rows.shape, HIDDEN_SHARE, random, variables)
        seen = np.where(hidden, np.nan, rows)
        kept = np.fmax.reduce(seen, axis=0) > np.fmin.reduce(seen, axis=0)
        if n < FEWEST_ROWS or kept.sum() < 2 or not hidden[:, kept].any():
            return None
        is_real = np.ones(len(kept), bool) if variables is None else variables.is_real
        return cls(seen[:, kept], hidden[:, kept], rows[:, kept], weight, is_real[kept])

    def score(self, filled: Array, deviations: Array) -> float:
        """Return the weighted mean log score of predictions of hidden entries; greater is better.

        The density is Student's t with TAILS degrees of freedom, constants left out, which a few
        odd entries do not rule. It depends on `deviations` too, so that a model whose noise is too
        small, since it has too many parameters for its rows, is not chosen.
        """
        squares = np.square(self._standardised(filled, deviations))
        scores = -0.5 * (TAILS + 1) * np.log1p(squares / TAILS) - np.log(deviations[self.hidden])
        return float(np.average(scores, weights=self._weights()))

    def spread(self, filled: Array, deviations: Array) -> float:
        """Return the factor of deviations with which 90 % intervals hold 90 % of hidden entries.

        It is at least 1. Only entries of numbers count.
        """
        is_asked = np.broadcast_to(self.is_real, self.hidden.shape)[self.hidden]
        if not is_asked.any():
            return 1.0
        sizes = np.abs(self._standardised(filled, deviations))[is_asked]
        weight = self._weights()[is_asked]
        order = np.argsort(sizes, kind="stable")
        share = np.cumsum(weight[order]) / weight.sum()
        quantile = sizes[order][np.searchsorted(share, COVERED * (1 - 1e-12))]
        return max(1.0, float(quantile) / COVERED_WITHIN)

    def _standardised(self, filled, deviations):
        return (filled - self.truth)[self.hidden] / deviations[self.hidden]

    def _weights(self):
        return np.repeat(self.weight, self.hidden.sum(axis=1))
