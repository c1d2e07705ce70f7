"""Number of factors: by parallel analysis, by BIC, by the likelihood of held-out rows."""

from typing import Any

import numpy as np
from scipy import linalg
from sklearn.base import clone

from aefast._base import arrays as check
from aefast._base import threads
from aefast._base.errors import column_label
from aefast._base.moments import statistics_of
from aefast._base.replay import confirm_once
from aefast.linear.dimension import above_parallel, parallel_eigenvalues

CHOICES = ("parallel", "bic", "cv")
N_FOLDS = 5
PATIENCE = 2  # numbers of factors without a better score after which a search ends


def most_factors(d):
    """Return Ledermann's bound for d columns, at least 1: the most factors that are identified.

    It is the largest k with ``(d − k)² ≥ d + k``.
    """
    return max(1, int((2 * d + 1 - np.sqrt(8 * d + 1)) / 2))


def by_parallel(R, n):
    """Return the number of eigenvalues of the correlation matrix R above parallel analysis' line.

    At least 1, at most Ledermann's bound and one less than the number of rows.
    """
    values = linalg.eigvalsh(R)[::-1]
    most = min(most_factors(len(R)), max(1, int(n) - 1))
    return min(max(1, above_parallel(values, parallel_eigenvalues(n, len(R)))), most)


def n_parameters(d, k):
    """Return the number of free parameters of k factors in d columns, means included."""
    return d * k - k * (k - 1) // 2 + 2 * d


def highest(score, most):
    """Return the k of highest score(k): from 1 on, until PATIENCE of them bring no better one."""
    best, best_score = 1, -np.inf
    for k in range(1, most + 1):
        found = score(k)
        if found > best_score:
            best, best_score = k, found
        elif k - best >= PATIENCE:
            break
    return best


# ---- held-out rows ----


def n_folds(n):
    """Return the number of folds for n rows; ValueError for a single row."""
    if n < 2:
        raise ValueError(f"n_components='cv' needs at least 2 samples, got n_samples = {n}")
    return min(N_FOLDS, n)


def fold_statistics(table, sample_weight, n_threads, name):
    """Return statistics of the folds of rows, of every fifth row each; None if an entry is NaN."""
    n = table.shape[0]
    count = n_folds(n)
    weight = check.as_row_weights(sample_weight, n)
    options = {"n_threads": n_threads, "name": name, "none_if_missing": True, "table": table}
    folds = []
    for i in range(count):
        part = None if weight is None else weight[i::count]
        fold = statistics_of(table[i::count], part, **options)
        if fold is None:
            return None
        folds.append(fold)
    return folds


def by_held_out(folds, whole, fit):
    """Return the k of highest log-likelihood of the folds, each held out from the others.

    Parameters
    ----------
    folds : list of SufficientStatistics
    whole : SufficientStatistics
        Their sum.
    fit : callable
        ``fit(statistics, k)`` returns a fitted `LinearGaussian`.
    """
    pairs = [(whole - fold, fold) for fold in folds if 0 < fold.weight_sum_ < whole.weight_sum_]
    pairs = [(train, fold) for train, fold in pairs if train._has_variance()]

    def score(k):
        return sum(held_out_log_likelihood(fit(train, k), fold) for train, fold in pairs)

    return highest(score, most_factors(whole.n_features_in_))


def held_out_log_likelihood(gaussian, statistics):
    """Return ``Σ w log p(x)`` of the rows of statistics."""
    delta = statistics.mean_ - gaussian.mean
    C = statistics.covariance() + np.outer(delta, delta)
    distance = float((C * gaussian.precision()).sum())
    return statistics.weight_sum_ * float(gaussian.log_likelihood(distance))


def by_em(rows, weight, criterion, fit, name):
    """Return the number of factors for rows with missing entries, of which each fit is by EM.

    Parameters
    ----------
    rows : ndarray (n, d)
    weight : ndarray (n,)
    criterion : {"bic", "cv"}
    fit : callable
        ``fit(rows, weight, k)`` returns a fitted `FactorAnalysis`.
    name : str or TableName
        Name of the rows in errors.
    """
    n, d = rows.shape
    if criterion == "bic":

        def score(k):
            log_p = float(weight @ fit(rows, weight, k).score_samples(rows))
            return 2 * log_p - n_parameters(d, k) * np.log(weight.sum())

        return highest(score, most_factors(d))
    of_fold = np.arange(n) % n_folds(n)
    for fold in range(of_fold.max() + 1):
        is_seen = (~np.isnan(rows[of_fold != fold])).any(axis=0)
        if not is_seen.all():
            raise ValueError(
                f"column {column_label(name, np.argmin(is_seen))} of X is observed in too few rows "
                "for n_components='cv': one fold has all of them"
            )

    def held_out(k):
        total = 0.0
        for fold in range(of_fold.max() + 1):
            out = of_fold == fold
            model = fit(rows[~out], weight[~out], k)
            total += float(weight[out] @ model.score_samples(rows[out]))
        return total

    return highest(held_out, most_factors(d))


# ---- as the estimator has it ----


class NumberOfFactors:
    """Mixin of `FactorAnalysis`: the choice of its number of factors."""

    n_components: Any
    n_threads: int | None
    _fit_statistics: Any
    _fitted_gaussian: Any
    _optimum: Any

    def _fit_complete(self, table, sample_weight, name):
        if self.n_components != "cv":
            return super()._fit_complete(  # type: ignore[misc]  # the model's
                table, sample_weight, name
            )
        folds = fold_statistics(table, sample_weight, self.n_threads, name)
        if folds is None:
            return False, None
        whole = sum(folds[1:], folds[0])
        whole._check_variance()
        confirm_once(column_means=whole.mean_)
        with threads.same_bits():
            k = by_held_out(folds, whole, self._fitted_gaussian)
        self._fit_statistics(whole, name, k)
        return True, whole

    def _fitted_by_em(self, rows, weight, k):
        # its checkpoint is a part of this fit's
        plain = {"n_components": k, "rotation": None, "rotation_options": None, "checkpoint": None}
        return clone(self).set_params(**plain).fit(rows, sample_weight=weight)

    def _n_components(self, correlation, varies, statistics):
        """Return the number of factors, checked or chosen."""
        d, n = len(correlation), statistics.weight_sum_
        if self.n_components == "cv":
            raise ValueError("n_components='cv' needs rows: use fit")
        if self.n_components == "bic":

            def score(k):
                log_p = n * self._optimum(correlation, k, varies)[2][-1]
                return 2 * log_p - n_parameters(d, k) * np.log(n)

            return highest(score, min(most_factors(varies.sum()), max(1, int(n) - 1)))
        if self.n_components is None or self.n_components == "parallel":
            return by_parallel(correlation[np.ix_(varies, varies)], n)
        if self.n_components > d:
            raise ValueError(
                f"n_components must be at most n_features = {d}, got {self.n_components}"
            )
        return int(self.n_components)
