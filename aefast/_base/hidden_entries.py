"""Observed entries of rows that are hidden, to compare how well models predict them."""

from typing import NamedTuple, Self

import numpy as np

from aefast._base.types import Array

HIDDEN_SHARE = 0.1
MOST_ROWS = 2000
FEWEST_ROWS = 5
TAILS = 4.0  # degrees of freedom of the log score
COVERED, COVERED_WITHIN = 0.9, 1.6448536269514722  # a share of the normal distribution, its bound


class HiddenEntries(NamedTuple):
    """Rows of which some observed entries are hidden."""

    seen: Array  # (n, d), NaN where missing or hidden
    hidden: Array  # (n, d), boolean
    truth: Array  # (n, d), the rows before
    weight: Array  # (n,)

    @classmethod
    def of(cls, rows: Array, weight: Array, random: np.random.RandomState) -> Self | None:
        """Hide a tenth of the observed entries of MOST_ROWS rows at most.

        Columns whose entries are all alike then are left out. None where too little is left.
        """
        n = len(rows)
        if n > MOST_ROWS:
            chosen = np.sort(random.permutation(n)[:MOST_ROWS])
            rows, weight = rows[chosen], weight[chosen]
        hidden = ~np.isnan(rows) & (random.random_sample(rows.shape) < HIDDEN_SHARE)
        seen = np.where(hidden, np.nan, rows)
        kept = np.fmax.reduce(seen, axis=0) > np.fmin.reduce(seen, axis=0)
        if n < FEWEST_ROWS or kept.sum() < 2 or not hidden[:, kept].any():
            return None
        return cls(seen[:, kept], hidden[:, kept], rows[:, kept], weight)

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

        It is at least 1.
        """
        sizes, weight = np.abs(self._standardised(filled, deviations)), self._weights()
        order = np.argsort(sizes, kind="stable")
        share = np.cumsum(weight[order]) / weight.sum()
        quantile = sizes[order][np.searchsorted(share, COVERED * (1 - 1e-12))]
        return max(1.0, float(quantile) / COVERED_WITHIN)

    def _standardised(self, filled, deviations):
        return (filled - self.truth)[self.hidden] / deviations[self.hidden]

    def _weights(self):
        return np.repeat(self.weight, self.hidden.sum(axis=1))
