"""Number of components of probabilistic PCA by the likelihood of held-out rows with gaps."""

import functools

import numpy as np

from aefast._base import threads
from aefast._base.types import Array
from aefast.linear import completed, dimension
from aefast.linear.observed import PackedRows

# Relative rise of the log-likelihood at which iterations end: held-out rows tell models apart by
# far more.
LEAST_RISE = 1e-5
MOST_ITERATIONS = 100  # of EM for one fold and one number of components


class _Fold:
    """Rows of a fold and rows to fit to, in one unit, and the moments reached so far.

    The moments of the last fit are the start of the next one: the distribution of completed rows
    depends little on the number of components.
    """

    def __init__(self, rows: Array, weight: Array, is_held_out: Array, start: completed.Moments):
        self.fitted, self.held_out = ~is_held_out, is_held_out
        self.rows, self.weight, self.moments = rows, weight, start

    def score(self, k: int, floor: float, max_iter: int, n_threads: int | None) -> float:
        """Return the log-likelihood of the fold's rows, for k components fitted to the others."""
        packed = self._packed(self.fitted, k, n_threads)
        most = min(max_iter, MOST_ITERATIONS)
        best, _, _ = completed.converged(packed, self.moments, k, floor, LEAST_RISE, most)
        self.moments = best.moments
        return self._packed(self.held_out, k, n_threads).moments(best.at).log_likelihood

    def _packed(self, which: Array, k: int, n_threads: int | None) -> PackedRows:
        d = self.rows.shape[1]
        is_fitted = which is self.fitted
        rows, weight = self.rows[which], self.weight[which]
        return PackedRows(rows, weight, np.zeros(d), np.ones(d), k, n_threads, is_fitted)


@threads.with_same_bits
def search(
    rows: Array,
    weight: Array,
    means: Array,
    n_folds: int,
    smallest_noise: float,
    max_iter: int,
    n_threads: int | None,
    *,
    is_fewest: bool = False,
) -> int:
    """Return the number of components, from 1 to d − 1, of greatest held-out likelihood.

    Models are fitted for d − 1 and for each number that a bisection tries. With `is_fewest`, return
    the fewest components whose likelihood is within one standard error of the greatest.

    Parameters
    ----------
    rows : ndarray (n, d)
        NaN is a missing entry. Row i is in fold ``i mod n_folds``, and every column is observed
        outside every fold.
    weight : ndarray (n,)
        Positive weights.
    means : ndarray (d,)
        Means of the observed entries.
    n_folds : int
    smallest_noise : float
        Least noise variance, as a fraction of the mean variance.
    max_iter : int
    n_threads : int or None
    """
    d = rows.shape[1]
    if d < 3:
        return 1
    unit = np.sqrt(np.nanmean(np.square(rows - means))) or 1.0
    scaled = (rows - means) / unit
    of_fold = np.arange(len(rows)) % n_folds
    folds = []
    for fold in range(n_folds):
        filled = np.where(np.isnan(scaled), 0.0, scaled)[of_fold != fold]
        share = weight[of_fold != fold] / weight[of_fold != fold].sum()
        mean = share @ filled
        C = ((filled - mean) * share[:, None]).T @ (filled - mean)
        start = completed.Moments(mean, C)
        folds.append(_Fold(scaled, weight, of_fold == fold, start))

    weights = np.bincount(of_fold, weight)
    n_observed = np.bincount(of_fold, weight * (~np.isnan(rows)).sum(axis=1))

    @functools.cache
    def scores(k: int) -> Array:
        of_folds = [fold.score(k, smallest_noise, max_iter, n_threads) for fold in folds]
        return np.array(of_folds) - n_observed * np.log(unit)

    # Columns that repeat one another let the likelihood fall and rise again, up to all components.
    of_all = scores(d - 1).sum()
    best = dimension.highest(lambda k: scores(k).sum(), 1, d - 1)
    best = best if scores(best).sum() >= of_all else d - 1
    if not is_fewest:
        return best
    least = dimension.least_within_one_error(scores(best), weights)
    return dimension.first(lambda k: scores(k).sum() >= least, 1, best)
