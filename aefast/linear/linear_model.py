"""What estimators share that are fitted from sufficient statistics: `fit`, `partial_fit`,
`fit_statistics`.
"""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from aefast._base import arrays as check
from aefast._base.errors import table_name
from aefast._base.moments import SufficientStatistics, TooFewRowsError, statistics_of
from aefast._base.types import Table


def check_fitted(name, *parameters):
    """ValueError, before any of them is kept, where a fitted parameter is not finite.

    Parameters
    ----------
    name : str or TableName
        Of the rows.
    *parameters : ndarray or float
    """
    if not all(np.isfinite(parameter).all() for parameter in parameters):
        raise ValueError(
            f"parameters fitted to {name} are not finite in float64: scale {name} to a range whose "
            "squares are"
        )


class StatisticsMixin(ABC):
    """What is fitted from sufficient statistics."""

    n_threads: int | None
    n_features_in_: int
    _statistics: SufficientStatistics | None
    _validate_params: Callable[[], None]

    @abstractmethod
    def _fit_statistics(self, statistics, name="X"):
        """Set the attributes, `n_samples_seen_` among them, or raise before any is set.

        Messages call the rows `name`.
        """

    def fit(self, X: Table, y: object = None, sample_weight: ArrayLike | None = None) -> Self:
        """Fits to the rows of X, in one pass.

        Parameters
        ----------
        X : array-like or CSR matrix (n_samples, n_features)
        y : ignored
        sample_weight : array-like (n_samples,), optional
            Not negative: a row of weight 2 counts as two rows.

        Returns
        -------
        self
        """
        self._validate_params()
        rows = check.estimator_table(self, X, reset=True)
        name = table_name(X)
        statistics = self._statistics_of(rows, sample_weight, name)
        self._fit_statistics(statistics, name)
        check.remember_features(self, X)
        self._statistics = statistics
        return self

    def partial_fit(
        self, X: Table, y: object = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Adds rows: afterwards the estimator is what `fit` makes of all rows together. The first
        ones may be too few or too much alike to be fitted to: they are kept then, and the estimator
        is not fitted before more have come.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

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
        rows = check.estimator_table(self, X, reset=not goes_on)
        name = table_name(X, self if goes_on else None)
        statistics = self._statistics_of(rows, sample_weight, name)
        if goes_on:
            statistics = self._statistics + statistics
        with contextlib.suppress(TooFewRowsError):
            self._fit_statistics(statistics, name)
        if not goes_on:
            check.remember_features(self, X)
        self._statistics = statistics
        return self

    def fit_statistics(self, statistics: SufficientStatistics) -> Self:
        """Fits to the rows that statistics have seen, without them.

        Parameters
        ----------
        statistics : SufficientStatistics
            Not changed; `partial_fit` can add to it.

        Returns
        -------
        self
        """
        self._validate_params()
        if not isinstance(statistics, SufficientStatistics):
            raise TypeError(
                f"statistics must be SufficientStatistics, got {type(statistics).__name__}"
            )
        statistics = statistics.copy()
        self._fit_statistics(statistics)
        self.n_features_in_ = statistics.n_features_in_
        if hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        self._statistics = statistics
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
