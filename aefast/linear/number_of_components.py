"""Number of components of probabilistic PCA, where it is not given as an integer."""

from numbers import Integral
from typing import Any

import numpy as np

from aefast._base import arrays as check
from aefast._base.errors import column_label
from aefast._base.moments import statistics_of
from aefast._base.partitions import first_rows, threads_of
from aefast.linear import dimension, held_out
from aefast.linear.dimension import SMALLEST_NOISE

CROSS_VALIDATED = ("cv", "cv-1se")
N_FOLDS = 5  # number of folds with these n_components


def folds_of_part(part, first_of, n_folds, n_threads):
    """Return the statistics of each fold's rows in a partition.

    Row i of all is in fold ``i mod n_folds``; `first_of` has the first row of each partition.
    """
    first, options = first_of[part.number], {"n_threads": n_threads, "name": part.name}
    weight = part.sample_weight
    picks = [slice((fold - first) % n_folds, None, n_folds) for fold in range(n_folds)]
    return [
        statistics_of(
            part.X[pick], None if weight is None else weight[pick], table=part.X, **options
        )
        for pick in picks
    ]


def added_folds(first, second):
    return [mine + its for mine, its in zip(first, second, strict=True)]


class NumberOfComponents:
    """Mixin of `ProbabilisticPCA`: choice of k by a rule that `n_components` names."""

    n_components: Any
    max_iter: int
    n_threads: int | None
    _means_of_observed: Any

    def _n_components(self, values, statistics):
        """Return the number of components for these eigenvalues of the covariance."""
        if self.n_components is None:
            rank = statistics._rank(values)
            most = min(statistics.n_samples_ - 1, len(values) - 1, rank)
            return max(1, most)
        if self.n_components in CROSS_VALIDATED:
            raise ValueError(f"n_components={self.n_components!r} needs rows: use fit")
        if self.n_components == "mle":
            return dimension.minka(values[: statistics._rank(values)], statistics.weight_sum_)
        if isinstance(self.n_components, Integral):
            return int(self.n_components)
        share = np.cumsum(values) / values.sum()
        return min(len(values), 1 + int(np.searchsorted(share, self.n_components)))

    def _cross_validated(self, table, sample_weight, name):
        """Return the number of components and the statistics of all rows, by cross-validation.

        Return None where an entry is missing.
        """
        n = table.shape[0]
        n_folds = min(N_FOLDS, n)
        self._check_folds(n)
        weight = check.as_row_weights(sample_weight, n)
        options = {"n_threads": self.n_threads, "name": name, "none_if_missing": True}
        options["table"] = table
        folds = [
            statistics_of(
                table[i::n_folds], None if weight is None else weight[i::n_folds], **options
            )
            for i in range(n_folds)
        ]
        if any(fold is None for fold in folds):
            return None
        return self._of_folds(folds)

    def _folds_of_partitions(self, partitions):
        """Return the statistics of folds of rows in partitions."""
        n_folds = min(N_FOLDS, sum(partitions.sizes))
        self._check_folds(sum(partitions.sizes))
        arguments = first_rows(partitions), n_folds, threads_of(self.n_threads, partitions)
        return partitions.reduce(folds_of_part, added_folds, *arguments)

    def _check_folds(self, n):
        if n < 2:
            raise ValueError(
                f"n_components={self.n_components!r} needs at least 2 samples, got n_samples = {n}"
            )

    def _of_folds(self, folds):
        """Return the number of components of greatest held-out likelihood, and all statistics."""
        whole = sum(folds[1:], folds[0])
        whole._check_variance()
        pairs = [(whole - fold, fold) for fold in folds if 0 < fold.weight_sum_ < whole.weight_sum_]
        pairs = [(train, fold) for train, fold in pairs if np.trace(train.scatter_) > 0]
        scores = np.array([dimension.held_out_scores(train, fold) for train, fold in pairs])
        best = int(np.argmax(scores.sum(axis=0))) if len(pairs) else 0
        if self.n_components == "cv-1se" and len(pairs) > 1:
            weights = np.array([fold.weight_sum_ for _, fold in pairs])
            least = dimension.least_within_one_error(scores[:, best], weights)
            best = int(np.flatnonzero(scores.sum(axis=0) >= least)[0])
        return 1 + best, whole

    def _searched(self, rows, weight, name):
        """Return the number of components of greatest held-out likelihood, with missing entries."""
        n_folds = min(N_FOLDS, len(rows))
        if n_folds < 2:
            raise ValueError(
                f"n_components={self.n_components!r} needs at least 2 samples, got n_samples = "
                f"{len(rows)}"
            )
        of_fold = np.arange(len(rows)) % n_folds
        is_observed = ~np.isnan(rows)
        for fold in range(n_folds):
            if not (is_seen := is_observed[of_fold != fold].any(axis=0)).all():
                column = column_label(name, np.argmin(is_seen))
                raise ValueError(
                    f"column {column} of X is observed in too few rows for "
                    f"n_components={self.n_components!r}: one fold has all of them"
                )

        means = self._means_of_observed(rows, name)
        least = SMALLEST_NOISE, self.max_iter, self.n_threads
        return held_out.search(
            rows, weight, means, n_folds, *least, is_fewest=self.n_components == "cv-1se"
        )
