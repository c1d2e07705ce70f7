"""What is reported of a fitted factor analysis: loadings, shares of the variance, tables."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from aefast._base import scalars, threads
from aefast._base.moments import SufficientStatistics
from aefast.linear import summary_text
from aefast.linear.goodness_of_fit import GoodnessOfFit, goodness_of_fit

Doubles = NDArray[np.float64]


class FactorReport:
    """Mixin of `FactorAnalysis`: results in units of the columns' standard deviations."""

    components_: Doubles
    noise_variance_: Doubles
    factor_covariance_: Doubles
    get_covariance: Any
    get_params: Any
    n_samples_seen_: int
    n_iter_: int
    _statistics: SufficientStatistics | None

    # ---- attributes ----

    @property
    def loadings_(self) -> Doubles:
        """Pattern matrix (n_features, n_components)."""
        deviations = self._deviations()
        return (self.components_ / deviations).T

    @property
    @threads.with_same_bits
    def structure_(self) -> Doubles:
        """Structure matrix (n_features, n_components): correlations of columns and factors."""
        loadings = self.loadings_
        return loadings @ self.factor_covariance_

    @property
    def uniquenesses_(self) -> Doubles:
        """Shares (n_features,) of the columns' variances that are noise."""
        deviations = self._deviations()
        return self.noise_variance_ / np.square(deviations)

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
        ss_loadings = self.ss_loadings_
        return ss_loadings / len(self.noise_variance_)

    # ---- tables ----

    def goodness_of_fit(self, statistics: SufficientStatistics | None = None) -> GoodnessOfFit:
        """Return the χ² test of fit, RMSEA, Tucker & Lewis' index, CFI and SRMR.

        Parameters
        ----------
        statistics : SufficientStatistics, optional
            Statistics of the rows that the model is compared with; by default of those that it was
            fitted to. χ² is a test only for the latter, and for `method="ml"`.

        Returns
        -------
        GoodnessOfFit
            A named tuple, whose documentation defines each of them.

        Raises
        ------
        ValueError
            Where the rows' correlation matrix is singular, rows are too few, or there are no
            statistics: after a fit with missing entries, and in a model from a file.
        """
        check_is_fitted(self)
        if statistics is None:
            statistics = getattr(self, "_statistics", None)
            if statistics is None:
                raise ValueError(
                    "this model was fitted with missing entries or loaded from a file, and has no "
                    "statistics of its rows: pass SufficientStatistics of complete rows"
                )
        if not isinstance(statistics, SufficientStatistics):
            raise TypeError(
                f"statistics must be SufficientStatistics, got {type(statistics).__name__}"
            )
        k, d = self.components_.shape
        if statistics.n_features_in_ != d:
            raise ValueError(f"statistics must be of {d} features, got {statistics.n_features_in_}")
        return goodness_of_fit(statistics, self.get_covariance(), k)

    def loadings_frame(self, *, sort: bool = False) -> Any:
        """Return the pattern matrix as a pandas DataFrame.

        Parameters
        ----------
        sort : bool, default=False
            Whether the rows are ordered by the factor of their largest loading, and by the size of
            this loading within each factor.

        Returns
        -------
        frame : pandas.DataFrame (n_features, n_components)
            Rows are named as the columns of X (x0, x1, ... where these had no names), columns F1,
            F2, ...

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        import pandas

        order = self._order(scalars.as_flag(sort, "sort"))
        names = np.array(self._feature_labels(), dtype=object)
        return pandas.DataFrame(
            self.loadings_[order], index=names[order].tolist(), columns=self._factor_labels()
        )

    def summary(self, *, cutoff: float = 0.1, sort: bool = False) -> str:
        """Return the usual table of a factor analysis, as text.

        Parameters
        ----------
        cutoff : float, default=0.1
            Loadings of smaller magnitude are left blank.
        sort : bool, default=False
            Whether rows are ordered as by `loadings_frame`.

        Returns
        -------
        text : str
            Loadings, communalities, uniquenesses, sums of squared loadings with shares of the
            variance, correlations of factors, and the test of fit. Python's prompt shows it in
            lines.
        """
        scalars.check_number(cutoff, "cutoff")
        order = self._order(scalars.as_flag(sort, "sort"))
        k, d = self.components_.shape
        parameters = self.get_params(deep=False)
        try:
            fit: GoodnessOfFit | str = self.goodness_of_fit()
        except ValueError as error:
            fit = str(error)
        parts = (
            summary_text.heading(parameters, d, k, self.n_samples_seen_),
            summary_text.loadings(
                [self._feature_labels()[j] for j in order],
                self._factor_labels(),
                self.loadings_[order],
                self.communalities_[order],
                self.uniquenesses_[order],
                float(cutoff),
            ),
            summary_text.shares(self._factor_labels(), self.ss_loadings_, d),
            summary_text.correlations(self._factor_labels(), self.factor_covariance_),
            summary_text.test_of_fit(fit),
        )
        return summary_text.Text("\n\n".join(part for part in parts if part))

    def _feature_labels(self):
        names = getattr(self, "feature_names_in_", None)
        d = self.components_.shape[1]
        return [f"x{j}" for j in range(d)] if names is None else [str(name) for name in names]

    def _factor_labels(self):
        return [f"F{i + 1}" for i in range(len(self.components_))]

    def _order(self, is_sorted):
        """Return the order of the columns of X in a table."""
        magnitude = np.abs(self.loadings_)
        if not is_sorted:
            return np.arange(len(magnitude))
        return np.lexsort((-magnitude.max(axis=1), magnitude.argmax(axis=1)))

    def _deviations(self):
        check_is_fitted(self)
        W0 = self._gaussian.W0  # type: ignore[attr-defined]  # the model's
        return np.sqrt(np.square(W0).sum(axis=0) + self.noise_variance_)
