"""Factor analysis by maximum likelihood, from the covariance alone."""

import warnings
from numbers import Integral, Real

import numpy as np
from scipy import linalg
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from aefast._base import arrays as check
from aefast._base import checkpoints, krylov, scalars, threads
from aefast._base.by_parts import takes_streams
from aefast._base.errors import column_labels, table_name
from aefast._base.foreign_names import hints
from aefast._base.given_results import into
from aefast._base.replay import confirm_once
from aefast._base.saving import Tensor
from aefast._base.types import Array, PathLike, Reals, Table
from aefast._base.warnings import warn, warn_of_iterations
from aefast.linear import foreign_names, number_of_factors, observed
from aefast.linear.factor_model import FactorModel
from aefast.linear.factor_report import FactorReport
from aefast.linear.factor_scores import bartlett_scores
from aefast.linear.gaussian import LinearGaussian
from aefast.linear.linear_model import units_of
from aefast.linear.minimum_residuals import mean_log_likelihood, minimize_residuals
from aefast.linear.number_of_factors import NumberOfFactors
from aefast.linear.profile import CorrelationOfRows, maximize_profile, starting_noise
from aefast.linear.rotation import (
    ROTATIONS,
    fixed_signs,
    options_of_json,
    options_to_json,
    rotate,
    rotation_options,
)

# Numbers of features, and of features for each row and of rows for each factor, from which a fit
# multiplies with the rows: the covariance would take more time and memory.
WIDE_FROM = 2000
COLUMNS_PER_ROW = 2
ROWS_PER_FACTOR = 10


class FactorAnalysis(FactorReport, NumberOfFactors, FactorModel):
    """Factor analysis: ``x = h W + μ + noise``, ``h ~ N(0, I)``, with a noise variance per column.

    The noise of column j has the variance ψ_j. The fit maximises ``Σ log p(x)``,
    ``x ~ N(μ, Wᵀ W + Ψ)``, with the factors h integrated out. The data enter only through their
    covariance (divided by n): one pass over the rows is followed by L-BFGS on the likelihood as a
    function of log ψ, since the best W for each ψ is known in closed form (Jöreskog 1967). With
    missing entries the likelihood of the observed ones is maximised by a few iterations of EM and
    L-BFGS in all parameters.

    Parameters
    ----------
    n_components : int, "parallel", "bic", "cv" or None, default=None
        k, the number of factors. "parallel" or None: parallel analysis, the number of eigenvalues
        of the correlation matrix beyond the 95 % quantiles of those of independent columns. "bic":
        the k of least Bayesian criterion. "cv": the k of greatest likelihood of held-out rows (5
        folds of every fifth row). "bic" and "cv" try k = 1, 2, ... until two in a row bring no
        improvement. At least 1 and at most the number that d columns can identify, the largest k
        with ``(d − k)² ≥ d + k`` (Ledermann's bound). Where entries are missing, parallel analysis
        takes the mean of the column for them, and the two others fit each k by EM.
    method : {"ml", "minres"}, default="ml"
        Maximum likelihood, or minimum residuals: least squares of the correlations off the
        diagonal (Harman & Jones 1966), which needs complete rows and no normal distribution.
    rotation : str or None, default=None
        Rotation of the loadings, in units of standard deviations, towards simple structure:
        "varimax", "quartimax" and "equamax" keep the factors uncorrelated; "promax", "oblimin",
        "geomin" and "target" let them be correlated (`factor_covariance_`). Several starts are
        tried, and second derivatives certify the minimum. Without rotation ``W Ψ⁻¹ Wᵀ`` (for
        "minres" ``W Wᵀ``, of standardised columns) is diagonal with descending entries.
    rotation_options : dict or None, default=None
        "normalize": whether the loadings of each column are scaled to length 1 for the rotation
        (Kaiser's normalisation), by default for "varimax", "quartimax", "equamax" and "promax".
        "power" of "promax", default 4. "gamma" of "oblimin", at most 0, default 0 (quartimin).
        "epsilon" of "geomin", default 0.01. "target" of "target": an array (n_features,
        n_components) of loadings, NaN where an entry is free. "orthogonal" of "geomin" and
        "target": whether the factors stay uncorrelated, default False.
    scores : {"regression", "bartlett"}, default="regression"
        What `transform` returns: posterior means (Thomson's regression scores), or Bartlett's
        weighted least squares ``(x − μ) Ψ⁻¹ Wᵀ (W Ψ⁻¹ Wᵀ)⁻¹``, unbiased for given factors and of
        greater variance.
    min_noise : float in (0, 1), default=1e-6
        Least noise variance of a column, as a fraction of its variance. It keeps the likelihood of
        Heywood cases finite; a warning names the columns that reach it.
    tol : float, default=1e-8
        Iterations end when the mean log-likelihood rises by less than a thousandth of tol, relative
        to its magnitude (with missing entries by less than 1e-11 too), or when its gradient
        vanishes.
    max_iter : int, default=1000
        Largest number of iterations.
    checkpoint : str, path-like or None, default=None
    checkpoint_every : int, "epoch" or str, default="10 min"
    resume : bool or "auto", default="auto"
        As for `Autoencoder`: `fit` goes on from this file after the process has ended, with the
        bits of a fit that has not been interrupted. Steps and epochs are evaluations of the
        likelihood.
    n_threads : int or None, default=None
        Number of threads, as for `Autoencoder`.
    verbose : int, default=0
        1: show the iterations of solvers.

    Attributes
    ----------
    components_ : ndarray (n_components, n_features)
        W, the loadings; float64, as all attributes.
    noise_variance_ : ndarray (n_features,)
        ψ, the uniquenesses.
    mean_ : ndarray (n_features,)
    factor_covariance_ : ndarray (n_components, n_components)
        Φ of ``h ~ N(0, Φ)``: the factors' correlations. The identity unless the rotation is
        oblique.
    loadings_ : ndarray (n_features, n_components)
        Pattern matrix: loadings in units of the columns' standard deviations in the model.
    structure_ : ndarray (n_features, n_components)
        Structure matrix ``loadings_ Φ``: the columns' correlations with the factors.
    communalities_, uniquenesses_ : ndarray (n_features,)
        Shares of each column's variance from the factors and from the noise; their sum is 1.
    ss_loadings_ : ndarray (n_components,)
        Sums of squared loadings (oblique: of products of pattern and structure); their sum is that
        of the communalities.
    explained_variance_ratio_ : ndarray (n_components,)
        ``ss_loadings_ / n_features``.
    log_likelihood_curve_ : list of float
        Mean log-likelihood (nats) of the training rows after each iteration; never decreasing.
        With "minres", that of the result alone.
    n_iter_ : int
    n_samples_seen_ : int
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only where X has string column names.

    Notes
    -----
    Each column is scaled to unit variance for the fit, so that the result does not depend on units.
    Constant columns have zero loadings and the least noise variance.

    References
    ----------
    .. [1] Jöreskog (1967), Some contributions to maximum likelihood factor analysis.
    .. [2] Rubin & Thayer (1982), EM algorithms for ML factor analysis.
    .. [3] Liu, Rubin & Wu (1998), Parameter expansion to accelerate EM.
    .. [4] Jennrich (2002), A simple general method for oblique rotation.
    .. [5] Bernaards & Jennrich (2005), Gradient projection algorithms and software for arbitrary
       rotation criteria in factor analysis.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from aefast import FactorAnalysis
    >>> model = FactorAnalysis(1).fit(load_iris().data)
    >>> model.components_.shape, model.noise_variance_.shape
    ((1, 4), (4,))
    """

    _parameter_constraints: dict = {
        "n_components": [
            None,
            Interval(Integral, 1, scalars.LARGEST_SIZE, closed="both"),
            StrOptions(set(number_of_factors.CHOICES)),
        ],
        "method": [StrOptions({"ml", "minres"})],
        "rotation": [None, StrOptions(set(ROTATIONS))],
        "rotation_options": [None, dict],
        "scores": [StrOptions({"regression", "bartlett"})],
        "min_noise": [Interval(Real, 0, 1, closed="neither")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        **checkpoints.CONSTRAINTS,
        "n_threads": [None, Interval(Integral, 1, threads.MOST_THREADS, closed="both")],
        "verbose": ["verbose"],
    }

    @hints(foreign_names.FACTOR_ANALYSIS)
    def __init__(
        self,
        n_components: int | str | None = None,
        *,
        method: str = "ml",
        rotation: str | None = None,
        rotation_options: dict | None = None,
        scores: str = "regression",
        min_noise: float = 1e-6,
        tol: float = 1e-8,
        max_iter: int = 1000,
        checkpoint: PathLike | None = None,
        checkpoint_every: int | str = "10 min",
        resume: bool | str = "auto",
        n_threads: int | None = None,
        verbose: int | bool = 0,
    ) -> None:
        self.n_components = n_components
        self.method = method
        self.rotation = rotation
        self.rotation_options = rotation_options
        self.scores = scores
        self.min_noise = min_noise
        self.tol = tol
        self.max_iter = max_iter
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.resume = resume
        self.n_threads = n_threads
        self.verbose = verbose

    # ---- fitting ----

    @threads.with_same_bits
    def _fit_statistics(self, statistics, name="X", k=None):
        """Fit from statistics; k is the number of factors where it is known already."""
        statistics._check_variance()
        correlation, scale, varies = self._correlation(statistics)
        k = self._n_components(correlation, varies, statistics) if k is None else k
        self._rotation_options(len(scale), k)
        W, psi, curve, n_iter, converged = self._optimum(correlation, k, varies)
        if not converged:
            warn_of_iterations(self.max_iter)
        self._warn_of_heywood(psi[varies], np.flatnonzero(varies), name)
        curve = [value - float(np.log(scale).sum()) for value in curve]
        self._set_loadings(
            statistics.mean_, W, psi, scale, curve, statistics.n_samples_, n_iter=n_iter
        )

    def _fit_complete(self, table, sample_weight, name):
        n, d = table.shape
        k = self.n_components
        is_wide = d >= max(WIDE_FROM, COLUMNS_PER_ROW * n)
        if self.method == "ml" and is_wide and isinstance(k, Integral) and ROWS_PER_FACTOR * k <= n:
            weight = check.as_row_weights(sample_weight, n)
            if weight is not None and not weight.any():
                raise ValueError("all weights are zero: there is nothing to fit to")
            return self._fit_wide(table, weight, name), None
        return super()._fit_complete(table, sample_weight, name)

    @threads.with_same_bits
    def _fit_wide(self, table, weight, name):
        """Fit by products with the rows and return True, or return False if an entry is missing."""
        found = krylov.covariance_of_rows(table, weight, self.n_threads, name)
        if found is None:
            return False
        (n, d), k = table.shape, int(self.n_components)
        self._rotation_options(d, k)
        confirm_once(column_means=found.mean)
        scale, varies = units_of(found.variances)
        correlation = CorrelationOfRows(found.C, scale, varies)
        W, psi, curve, n_iter, converged = self._optimum(correlation, k, varies)
        if not converged:
            warn_of_iterations(self.max_iter)
        self._warn_of_heywood(psi[varies], np.flatnonzero(varies), name)
        curve = [value - float(np.log(scale).sum()) for value in curve]
        self._set_loadings(found.mean, W, psi, scale, curve, n, n_iter=n_iter)
        return True

    def _correlation(self, statistics):
        """Return the correlation matrix, the columns' units, and the mask of columns that vary."""
        covariance = statistics.covariance()
        scale, varies = units_of(np.diagonal(covariance))
        correlation = covariance / np.outer(scale, scale)
        correlation[~varies, :] = correlation[:, ~varies] = 0.0
        return correlation, scale, varies

    def _optimum(self, correlation, k, varies):
        """Return W, ψ, the curve, the number of iterations, and whether they converged."""
        if self.method == "ml":
            found = maximize_profile(
                correlation, k, varies, self.min_noise, self.tol, self.max_iter
            )
            return found.W, found.psi, found.curve, len(found.curve), found.converged
        floor = self.min_noise
        start = np.clip(starting_noise(correlation, k), 2 * floor, 1.0)
        W, psi, n_iter, converged = minimize_residuals(
            correlation, k, start, varies, floor, self.max_iter
        )
        return W, psi, [mean_log_likelihood(correlation, W, psi)], n_iter, converged

    def _fitted_gaussian(self, statistics, k):
        """Return the distribution of k factors fitted to statistics, without a warning."""
        correlation, scale, varies = self._correlation(statistics)
        W, psi, *_ = self._optimum(correlation, k, varies)
        return LinearGaussian(statistics.mean_, W * scale, psi * scale**2)

    @threads.with_same_bits
    def _fit_missing(self, rows, weight, name):
        if self.method != "ml":
            raise ValueError(
                f"method={self.method!r} needs complete rows: X has missing entries, for which "
                "method='ml' is fitted by EM"
            )
        k = self.n_components
        if k in ("bic", "cv"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                k = number_of_factors.by_em(rows, weight, k, self._fitted_by_em, name)
        means = self._means_of_observed(rows, name)
        filled = self._statistics_of_filled(rows, means, weight)
        filled._check_variance()
        scale, varies = units_of(np.diagonal(filled.covariance()))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            start = FactorAnalysis(k, min_noise=self.min_noise, tol=1e-3, n_threads=self.n_threads)
            start._fit_statistics(filled, name)
        floor = self.min_noise * scale**2
        mean, W, psi, curve, converged = observed.maximize(
            rows,
            weight,
            (start.mean_, start.components_, np.maximum(start.noise_variance_, floor)),
            False,
            floor,
            self.tol,
            self.max_iter,
            self.n_threads,
        )
        if not converged:
            warn_of_iterations(self.max_iter)
        self._warn_of_heywood((psi / scale**2)[varies], np.flatnonzero(varies), name)
        U = linalg.eigh((W / psi) @ W.T)[1]
        W = U[:, ::-1].T @ W
        scale = np.sqrt(np.square(W).sum(axis=0) + psi)  # the model's, which differ from the rows'
        self._set_loadings(mean, W / scale, psi / scale**2, scale, curve, len(rows))

    def _warn_of_heywood(self, psi, columns, name):
        at_bound = columns[psi <= self.min_noise * (1 + 1e-6)]
        if len(at_bound):
            shown = column_labels(name, at_bound[:10]) + (", ..." if len(at_bound) > 10 else "")
            warn(
                f"Heywood case: the noise variance of column(s) {shown} is at its bound, "
                f"min_noise={self.min_noise} of "
                "the column's variance: the factors explain it altogether. Fewer components, or "
                "columns that are no copies of others, help",
                ConvergenceWarning,
            )

    def _rotation_options(self, d, k):
        return rotation_options(self.rotation, self.rotation_options, (d, k))

    def _set_loadings(self, mean, W, psi, scale, curve, n_samples, n_iter=None):
        """Set the fitted attributes from W and psi of columns in units of `scale`.

        In these units signs, order and rotation do not depend on the units of X.
        """
        k, d = W.shape
        W, Phi = rotate(fixed_signs(W), self.rotation, self._rotation_options(d, k))
        self._set_fitted(
            mean_=mean,
            components_=W * scale,
            noise_variance_=psi * scale**2,
            factor_covariance_=Phi,
            log_likelihood_curve_=curve,
            n_iter_=len(curve) if n_iter is None else n_iter,
            n_samples_seen_=n_samples,
        )

    @takes_streams
    def transform(self, X: Table, *, out: Array | PathLike | None = None) -> Reals:
        """Return factor scores: posterior means, or Bartlett's with ``scores="bartlett"``.

        Parameters
        ----------
        X : array-like or CSR matrix (n_samples, n_features)
            NaN is a missing entry; the scores of such a row follow from the observed entries.
        out : ndarray, path or None, default=None
            C-contiguous array for the result, instead of a new one; a memory map for results that
            are larger than memory. Its content is undefined after an error. Or the path of a .npy
            or .parquet file, which is then what is returned.

        Returns
        -------
        H : ndarray (n_samples, n_components)
            float32 for float32, uint8 and bool input, float64 otherwise.
        """
        if self.scores != "bartlett":
            return super().transform(X, out=out)
        return into(out, X, self._bartlett_scores)

    def _bartlett_scores(self, X):
        check_is_fitted(self)
        rows = check.estimator_table(self, X, reset=False)
        return bartlett_scores(rows, self._gaussian, self.n_threads, table_name(X, self))

    def _n_parameters(self):
        k, d = self.components_.shape
        return number_of_factors.n_parameters(d, k)

    # ---- in a file ----

    _file_format = "aefast factor analysis"
    _structured_parameters = ("rotation_options",)

    def _saved_parameters(self):
        parameters = super()._saved_parameters()
        return parameters | {"rotation_options": options_to_json(self.rotation_options)}

    @classmethod
    def _parameter_of_json(cls, name, value):
        return options_of_json(value) if name == "rotation_options" else value

    def _check_restored(self):
        super()._check_restored()
        k, d = self.components_.shape
        self._rotation_options(d, k)

    @classmethod
    def _tensor_layout(cls, state):
        d, k = state["n_features"], state["n_components"]
        return super()._tensor_layout(state) | {
            "noise_variance": Tensor((d,), "F64"),
            "factor_covariance": Tensor((k, k), "F64"),
        }

    def _saved_tensors(self):
        return super()._saved_tensors() | {
            "noise_variance": self.noise_variance_,
            "factor_covariance": self.factor_covariance_,
        }

    def _restore(self, state, tensors):
        psi, Phi = tensors["noise_variance"], tensors["factor_covariance"]
        if not (psi > 0).all():
            raise ValueError("expected positive noise variances")
        if not (np.allclose(Phi, Phi.T) and linalg.eigvalsh(Phi).min() > 0):
            raise ValueError("expected a positive definite factor covariance")
        super()._restore(state, tensors)
