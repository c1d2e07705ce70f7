"""Common methods of estimators from sufficient statistics: fit, partial_fit, fit_statistics."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from aefast._base import arrays as check
from aefast._base.errors import table_name
from aefast._base.foreign_names import ForeignNames
from aefast._base.moments import SufficientStatistics, statistics_of
from aefast._base.partitions import Partitions, statistics_of_partitions
from aefast._base.streams import opened
from aefast._base.types import Array, Table


def check_fitted(name, *parameters):
    """Raise a ValueError if a fitted parameter is not finite.

    Estimators call this function before they set a fitted attribute.

    Parameters
    ----------
    name : str or TableName
        Name of the rows in the error.
    *parameters : ndarray or float
    """
    if not all(np.isfinite(parameter).all() for parameter in parameters):
        raise ValueError(
            f"parameters fitted to {name} are not finite in float64: scale {name} to a range whose "
            "squares are"
        )


class StatisticsMixin(ForeignNames, ABC):
    """Mixin of estimators that are fitted from sufficient statistics."""

    n_threads: int | None
    n_features_in_: int
    feature_names_in_: Array
    _statistics: SufficientStatistics | None
    _validate_params: Callable[[], None]

    @abstractmethod
    def _fit_statistics(self, statistics, name="X"):
        """Set the fitted attributes, `n_samples_seen_` among them, or raise before any is set.

        `name` is the name of the rows in messages.
        """

    def _can_fit(self, statistics):
        """Return whether the rows that `partial_fit` has seen so far are enough for a fit."""
        return statistics.weight_sum_ > 0

    def fit(self, X: Table, y: object = None, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the model to the rows of X, in one pass.

        Parameters
        ----------
        X : array-like, CSR matrix or stream (n_samples, n_features)
        y : ignored
        sample_weight : array-like (n_samples,), optional
            Not negative: a row of weight 2 counts as two rows.

        Returns
        -------
        self
        """
        self._validate_params()
        X = opened(X)
        rows = check.estimator_table(self, X, reset=True)
        name = table_name(X)
        statistics = self._statistics_of(rows, sample_weight, name)
        made = self._apart()
        made._fit_statistics(statistics, name)
        check.remember_features(made, X)
        made._statistics = statistics
        return self._become(made)

    def partial_fit(
        self, X: Table, y: object = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Add rows, so that the estimator is fitted to all rows so far.

        The result is that of `fit` on all rows together. The first rows may be too few or too much
        alike for a fit: their statistics are kept then, and the estimator is fitted once there are
        enough rows.

        Parameters
        ----------
        X, y, sample_weight
            Rows and weights, as for `fit`.

        Returns
        -------
        self
        """
        self._validate_params()
        goes_on = getattr(self, "_statistics", None) is not None
        if not goes_on and hasattr(self, "n_samples_seen_"):
            raise ValueError(
                "partial_fit cannot go on: this estimator was loaded from a file, or fitted with "
                "missing entries or without a matrix of "
                "features by features, and has no statistics; save SufficientStatistics, or fit "
                "anew"
            )
        X = opened(X)
        rows = check.estimator_table(self, X, reset=not goes_on)
        name = table_name(X, self if goes_on else None)
        statistics = self._statistics_of(rows, sample_weight, name)
        if goes_on:
            statistics = self._statistics + statistics
        made = self._apart()
        if self._can_fit(statistics):
            made._fit_statistics(statistics, name)
        if not goes_on:
            check.remember_features(made, X)
        made._statistics = statistics
        return self._become(made)

    def fit_statistics(self, statistics: SufficientStatistics) -> Self:
        """Fit the model to the rows that statistics have seen; the rows are not needed.

        Parameters
        ----------
        statistics : SufficientStatistics
            Statistics of the rows. They are copied, and `partial_fit` can add to the copy.

        Returns
        -------
        self
        """
        self._validate_params()
        if not isinstance(statistics, SufficientStatistics):
            raise TypeError(
                f"statistics must be SufficientStatistics, got {type(statistics).__name__}"
            )
        made, statistics = self._apart(), statistics.copy()
        made._fit_statistics(statistics)
        made.n_features_in_ = statistics.n_features_in_
        vars(made).pop("feature_names_in_", None)
        if hasattr(statistics, "feature_names_in_"):
            made.feature_names_in_ = statistics.feature_names_in_
        made._statistics = statistics
        return self._become(made)

    def _fit_partitions(self, partitions: Partitions) -> Self:
        """Fit the model to rows in partitions, from their merged statistics."""
        self._validate_params()
        return self.fit_statistics(statistics_of_partitions(partitions, self.n_threads))

    def _apart(self):
        """Return an estimator with the same attributes, on which a fit sets the fitted ones.

        This estimator keeps its model until `_become` takes all of them at once: neither an error
        nor an interrupt leaves parts of two models.
        """
        made = object.__new__(type(self))
        vars(made).update(vars(self))
        return made

    def _become(self, made):
        """Take the attributes that a fit has changed on `made`; return self."""
        mine, its = vars(self), vars(made)
        changed = {name: value for name, value in its.items() if mine.get(name, self) is not value}
        for name in mine.keys() - its.keys():
            del mine[name]
        mine.update(changed)
        return self

    def __sklearn_is_fitted__(self):
        return hasattr(self, "n_samples_seen_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()  # type: ignore[misc]  # the estimator's
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _statistics_of(self, rows, sample_weight, name, **options):
        options |= {"n_threads": self.n_threads, "name": name}
        return statistics_of(rows, sample_weight, **options)


def units_of(variance: Array) -> tuple[Array, Array]:
    """Return standard deviations (d,) of columns, and the mask (d,) of columns that vary.

    A constant column gets a thousandth of the root of the mean variance, as its unit.
    """
    mean = variance.mean()
    varies = variance > np.finfo(np.float64).eps ** 2 * mean
    return np.sqrt(np.where(varies, variance, 1e-6 * mean)), varies
