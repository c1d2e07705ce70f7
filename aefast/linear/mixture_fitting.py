"""Fits of mixtures: checks of sizes and rows, and the search for the best mixture."""

from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning

from aefast._base import arrays as check
from aefast._base import scalars, threads
from aefast._base.checkpoints import Checkpoint, interval_of
from aefast._base.errors import column_label, shown, table_name
from aefast._base.float_range import without_unit
from aefast._base.missing import observed_means
from aefast._base.moments import SufficientStatistics, statistics_of
from aefast._base.partitions import (
    Partitions,
    fingerprint_of_partitions,
    set_features,
    statistics_of_partitions,
)
from aefast._base.streams import opened
from aefast._base.types import Array, RandomState, Table
from aefast._base.warnings import warn, warn_of_iterations
from aefast.linear import patterns
from aefast.linear.linear_model import StatisticsMixin, units_of
from aefast.linear.mixture_fit import chunks
from aefast.linear.mixture_rows import (
    RowsOfPartitions,
    RowsOfTable,
    combined_weights,
    weights_of_part,
)
from aefast.linear.mixture_search import Options, Rows, Search


class MixtureFitting:
    """Methods of a mixture's fit."""

    _is_isotropic: bool
    n_mixtures: Any
    n_components: Any
    min_noise: float
    tol: float
    max_iter: int
    n_init: int
    random_state: RandomState | None
    checkpoint_every: int | str
    n_threads: int | None
    verbose: int | bool
    n_mixtures_: int
    _count_parameters: Any
    _validate_params: Any
    predict: Any

    def fit(self, X: Table, y: object = None, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the mixture to the rows of X by EM.

        Parameters
        ----------
        X : array-like or CSR matrix (n_samples, n_features)
            NaN is a missing entry. CSR matrices and memory maps are read in slices, streams as a
            whole.
        y : ignored
        sample_weight : array-like (n_samples,), optional
            Not negative: a row of weight 2 counts as two rows.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For infinite entries, columns without an observed entry, rows without variance, fewer
            rows than components, or invalid parameters.
        KeyboardInterrupt
            After Ctrl-C. The estimator keeps the best parameters so far, where there are any.
        """
        X, search = opened(X, whole=True), self._new_search()  # EM takes many passes
        table, name = check.estimator_table(self, X, reset=True), table_name(X)
        weight = check.as_row_weights(sample_weight, table.shape[0])
        self._check_shape(table.shape, search)
        made = StatisticsMixin._apart(self)  # type: ignore[arg-type]
        check.remember_features(made, X)
        made.n_samples_seen_ = table.shape[0]
        if search.checkpoint is not None:
            search.identify({"X": table, "sample_weight": weight}, check.feature_names(X))
        search.rows = self._prepared(table, weight, name)
        return self._searched(made, search)

    def _fit_partitions(self, partitions: Partitions) -> Self:
        """Fit the mixture to complete rows in partitions, one call of the engine an iteration."""
        search, shape = self._new_search(), (sum(partitions.sizes), partitions.n_features)
        self._check_shape(shape, search)
        made = StatisticsMixin._apart(self)  # type: ignore[arg-type]
        set_features(made, partitions)
        made.n_samples_seen_ = shape[0]
        if search.checkpoint is not None:
            search.identify({"X": fingerprint_of_partitions(partitions)}, partitions.columns)
        search.rows = self._prepared_partitions(partitions)
        return self._searched(made, search)

    def _new_search(self):
        """Return a `Search` without rows, after the checks of parameters."""
        self._validate_params()
        interval_of(self.checkpoint_every)
        options = Options(
            self._is_isotropic, self.tol, self.max_iter, self.n_init, self.n_threads, self.verbose
        )
        checkpoint, sizes = Checkpoint.of(self), self._sizes()
        return Search(options, sizes, self.random_state, self._count_parameters, checkpoint)

    def _searched(self, made, search):
        """Make the search that has its rows, and take what it finds; return self."""
        search.n_parameters = made._count_parameters
        try:
            search()
        except KeyboardInterrupt:
            search.keep_interrupted()
            if search.best is not None:
                made._set_fitted(search)
                StatisticsMixin._become(self, made)  # type: ignore[arg-type]
            raise
        made._set_fitted(search)
        made._warn(search)
        return StatisticsMixin._become(self, made)  # type: ignore[arg-type]

    def fit_predict(
        self, X: Table, y: object = None, sample_weight: ArrayLike | None = None
    ) -> Array:
        """Fit the mixture to the rows of X and return the component of each row.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

        Returns
        -------
        labels : ndarray of int (n_samples,)
        """
        return self.fit(X, y, sample_weight).predict(X)

    def _sizes(self):
        """Return the numbers of components to try, None for "bic", and those of factors."""
        return as_sizes(self.n_mixtures, "n_mixtures"), as_sizes(self.n_components, "n_components")

    def _check_shape(self, shape, search):
        (n, d), (sizes, k_values) = shape, search.sizes
        if max(k_values) > d:
            raise ValueError(f"n_components must be at most n_features = {d}, got {max(k_values)}")
        if sizes is not None and max(sizes) > n:
            raise ValueError(f"n_mixtures must be at most n_samples = {n}, got {max(sizes)}")

    @threads.with_same_bits
    def _prepared(self, table, weight, name):
        """Return checked rows as `Rows`."""
        statistics = statistics_of(
            table, weight, n_threads=self.n_threads, name=name, none_if_missing=True
        )
        is_complete = statistics is not None
        if not is_complete:
            table, weight = patterns.of_positive_weight(table, weight)
            statistics = self._statistics_of_filled(table, weight, name)
        statistics._check_variance()
        row_weight = 1.0
        if weight is not None:
            scaled, exponent = without_unit(weight)
            row_weight = _weight_of_row(weight.sum(), np.count_nonzero(weight), exponent)
            weight = scaled
        source = RowsOfTable(table, weight, is_complete, self.n_threads)
        return self._described(source, statistics, row_weight)

    @threads.with_same_bits
    def _prepared_partitions(self, partitions):
        """Return rows in partitions as `Rows`."""
        statistics = statistics_of_partitions(partitions, self.n_threads)
        statistics._check_variance()
        total, n_counted, largest = partitions.reduce(weights_of_part, combined_weights)
        exponent, row_weight = 0, 1.0
        if total != statistics.n_samples_:
            exponent = without_unit(np.array([largest]))[1]
            row_weight = _weight_of_row(total, n_counted, exponent)
        weight_sum = float(np.ldexp(total, -exponent))
        source = RowsOfPartitions(partitions, weight_sum, exponent, self.n_threads)
        return self._described(source, statistics, row_weight)

    def _described(self, source, statistics, row_weight):
        """Return `Rows` of a source with these statistics."""
        covariance = statistics.covariance()
        variance = np.diagonal(covariance)
        scale, _ = units_of(variance)
        if self._is_isotropic:
            floor, scale = np.full(len(scale), variance.mean()), np.ones(len(scale))
        else:
            floor = scale**2
        rank = max(1, statistics._rank(np.linalg.eigvalsh(covariance / np.outer(scale, scale))))
        return Rows(
            source,
            statistics.mean_,
            covariance,
            scale,
            self.min_noise * floor,
            rank,
            row_weight,
        )

    def _statistics_of_filled(self, rows, weight, name):
        """Return statistics of rows whose missing entries are replaced by the columns' means."""
        means, counts = observed_means(rows)
        if not counts.all():
            column = column_label(name, int(np.flatnonzero(counts == 0)[0]))
            raise ValueError(
                f"column {column} of X has no observed entry: leave it out, there is nothing to "
                "learn of it"
            )
        filled = SufficientStatistics(rows.shape[1], n_threads=self.n_threads)
        for part in chunks(rows):
            X = rows[part].astype(np.float64)
            filled.update(np.where(np.isnan(X), means, X), weight[part])
        return filled

    def _warn(self, search):
        fitted = search.best
        if fitted.n_removed:
            warn(
                f"{fitted.n_removed} of {fitted.n_removed + self.n_mixtures_} components lost "
                "their rows and were removed: fewer components, or fewer factors, help",
                ConvergenceWarning,
            )
        if not fitted.converged:
            warn_of_iterations(self.max_iter)


def _weight_of_row(total, n_counted, exponent):
    """Return what counts as one row: 1, or the mean weight where it is less."""
    return float(np.ldexp(min(1.0, total / n_counted), -exponent))


def as_sizes(value, name):
    """Return a parameter as a list of sizes, or None for "bic"."""
    if isinstance(value, str):
        return None
    is_list = isinstance(value, (list, tuple, np.ndarray))
    sizes = list(value) if is_list else [value]
    for size in sizes:
        is_integer = isinstance(size, Integral) and not isinstance(size, (bool, np.bool_))
        if not (is_integer and 1 <= size <= scalars.LARGEST_SIZE):
            raise ValueError(
                f"{name} must be an integer in [1, {scalars.LARGEST_SIZE}] or a list of them, got "
                f"{shown(value)}"
            )
    if not sizes:
        raise ValueError(f"{name} must have at least one size, got {shown(value)}")
    return [int(size) for size in sizes]
