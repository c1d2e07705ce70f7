"""What is reported of a fitted factor analysis: loadings, shares of the variance, tables."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from aefast._base import threads

Doubles = NDArray[np.float64]


class FactorReport:
    """Mixin of `FactorAnalysis`: results in units of the columns' standard deviations."""

    components_: Doubles
    noise_variance_: Doubles
    factor_covariance_: Doubles
    get_covariance: Any

    @property
    def loadings_(self) -> Doubles:
        """Pattern matrix (n_features, n_components)."""
        return (self.components_ / self._deviations()).T

    @property
    @threads.with_same_bits
    def structure_(self) -> Doubles:
        """Structure matrix (n_features, n_components): correlations of columns and factors."""
        return self.loadings_ @ self.factor_covariance_

    @property
    def uniquenesses_(self) -> Doubles:
        """Shares (n_features,) of the columns' variances that are noise."""
        return self.noise_variance_ / np.square(self._deviations())

    @property
    def communalities_(self) -> Doubles:
        """Shares (n_features,) of the columns' variances that the factors explain."""
        return (self.loadings_ * self.structure_).sum(axis=1)

    @property
    def ss_loadings_(self) -> Doubles:
        """Sums of squared loadings (n_components,)."""
        return (self.loadings_ * self.structure_).sum(axis=0)

    @property
    def explained_variance_ratio_(self) -> Doubles:
        """Shares (n_components,) of the variance of all standardised columns."""
        return self.ss_loadings_ / len(self.noise_variance_)

    def _deviations(self):
        check_is_fitted(self)
        W0 = self._gaussian.W0  # type: ignore[attr-defined]  # the model's
        return np.sqrt(np.square(W0).sum(axis=0) + self.noise_variance_)
