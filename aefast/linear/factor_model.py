"""Common base of probabilistic PCA and factor analysis, which differ in how they are fitted."""

import inspect
from abc import abstractmethod
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from aefast._base import arrays as check
from aefast._base import checkpoints, scalars, threads
from aefast._base.by_parts import takes_streams
from aefast._base.checkpoints import Checkpoint, identified, interval_of
from aefast._base.errors import column_label, overflow_of_row, table_name
from aefast._base.exchange import ToOnnx
from aefast._base.float_range import without_unit
from aefast._base.given_results import GivenResults, into
from aefast._base.missing import observed_means
from aefast._base.moments import SufficientStatistics
from aefast._base.progress import iterations
from aefast._base.projection import project
from aefast._base.random import random_state_of
from aefast._base.replay import confirm_once, stages_of
from aefast._base.saving import COUNT, CURVE, SIZE, Saved, Tensor
from aefast._base.streams import StreamedRows, opened
from aefast._base.types import Array, PathLike, RandomState, Reals, Table
from aefast.linear import patterns
from aefast.linear.gaussian import LinearGaussian
from aefast.linear.likelihoods import LikelihoodMixin
from aefast.linear.linear_model import StatisticsMixin, check_fitted

_ROWS_FILLED = 1 << 14  # number of rows whose missing entries are filled together


class FactorModel(
    GivenResults,
    ToOnnx,
    LikelihoodMixin,
    StatisticsMixin,
    Saved,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Linear factor model ``x = h W + μ + noise``, ``h ~ N(0, Φ)``.

    A subclass implements the fit, which sets `mean_`, `components_` and `noise_variance_`, and
    counts the free parameters.
    """

    checkpoint: PathLike | None
    checkpoint_every: int | str

    # ---- fitting ----

    def fit(self, X: Table, y: object = None, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the model to the rows of X.

        Complete rows are fitted to in one pass, from their sufficient statistics; rows with missing
        entries iteratively, by pattern.

        Parameters
        ----------
        X : array-like, CSR matrix or stream (n_samples, n_features)
            NaN is a missing entry; a stream must have complete rows.
        y : ignored
        sample_weight : array-like (n_samples,), optional
            Not negative: a row of weight 2 counts as two rows.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For infinite entries, columns without an observed entry, rows without variance, invalid
            parameters, or a checkpoint of another fit.
        """
        self._validate_params()
        interval_of(self.checkpoint_every)
        return self._fit(X, sample_weight, Checkpoint.of(self))

    def _fit(self, X, sample_weight, checkpoint):
        X = opened(X, whole=not self._fits_streams())
        table, name = check.estimator_table(self, X, reset=True), table_name(X)
        made = self._apart()
        if checkpoint is not None:
            weight = check.as_row_weights(sample_weight, table.shape[0])
            tables, names = {"X": table, "sample_weight": weight}, check.feature_names(X)
            seed = identified(checkpoint, getattr(self, "random_state", 0), tables, names)
            if hasattr(self, "random_state"):
                made.random_state = seed
        with iterations(self.verbose, type(self).__name__), stages_of(checkpoint):
            fit = FactorModel if isinstance(table, StreamedRows) else type(self)  # from statistics
            is_complete, statistics = fit._fit_complete(made, table, sample_weight, name)
            if not is_complete:
                weight = check.as_row_weights(sample_weight, len(table))
                rows, weight = patterns.of_positive_weight(table, weight)
                made._fit_missing(rows, without_unit(weight)[0], name)
                made.n_samples_seen_ = len(table)
        made._statistics = statistics
        check.remember_features(made, X)
        if checkpoint is not None:
            checkpoint.end()
        if hasattr(self, "random_state"):
            made.random_state = self.random_state
        return self._become(made)

    def _fit_complete(self, table, sample_weight, name):
        """Fit the model to rows, unless an entry is missing.

        Returns
        -------
        is_complete : bool
            False where an entry is missing; nothing has been fitted then.
        statistics : SufficientStatistics or None
            Statistics of the rows, if the fit has used them.
        """
        statistics = self._statistics_of(table, sample_weight, name, none_if_missing=True)
        if statistics is None:
            return False, None
        confirm_once(column_means=statistics.mean_)
        self._fit_statistics(statistics, name)
        return True, statistics

    def _fits_streams(self):
        """Return whether sufficient statistics are enough for a fit, so that one pass is."""
        return True

    def _can_fit(self, statistics):
        return statistics._has_variance()

    @abstractmethod
    def _fit_missing(self, rows, weight, name):
        """Fit the model to rows of positive weights with missing entries (NaN)."""

    def _means_of_observed(self, rows, name):
        """Return means of the observed entries of columns, from which EM starts."""
        means, counts = observed_means(rows)
        if not counts.all():
            column = int(np.flatnonzero(counts == 0)[0])
            raise ValueError(
                f"column {column_label(name, column)} of X has no observed entry: leave it out, "
                "there is nothing to learn of it"
            )
        confirm_once(column_means=means)
        return means

    def _statistics_of_filled(self, rows, means, weight):
        """Return statistics of rows whose missing entries are replaced by the columns' means."""
        filled = SufficientStatistics(rows.shape[1], n_threads=self.n_threads)
        for first in range(0, len(rows), _ROWS_FILLED):
            part = slice(first, first + _ROWS_FILLED)
            X = rows[part].astype(np.float64)
            filled.update(np.where(np.isnan(X), means, X), weight[part])
        return filled

    def _set_fitted(self, **attributes):
        """Set the attributes that a fit has found, and the distribution that they describe.

        Raises ValueError, before any is set, if a parameter is not finite.
        """
        # Restoring from a file sets and checks some of these parameters beforehand.
        names = {"mean_", "components_", "noise_variance_"} & attributes.keys()
        check_fitted("X", *(attributes[name] for name in names))
        for name, value in attributes.items():
            setattr(self, name, value)
        psi = np.broadcast_to(self.noise_variance_, self.mean_.shape).astype(np.float64)
        Phi = getattr(self, "factor_covariance_", None)
        is_identity = Phi is None or np.array_equal(Phi, np.eye(len(Phi)))
        self._gaussian = LinearGaussian(
            self.mean_, self.components_, psi, None if is_identity else Phi
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    @property
    def _n_features_out(self):
        return len(self.components_)

    # ---- codes ----

    @takes_streams
    def transform(self, X: Table, *, out: Array | PathLike | None = None) -> Reals:
        """Return posterior means ``E[h | x] = (x − μ) Ψ⁻¹ Wᵀ (Φ⁻¹ + W Ψ⁻¹ Wᵀ)⁻¹``.

        Parameters
        ----------
        X : array-like or CSR matrix (n_samples, n_features)
            NaN is a missing entry; the mean of such a row is given the observed entries.
        out : ndarray, path or None, default=None
            C-contiguous array for the result, instead of a new one; a memory map for results that
            are larger than memory. Its content is undefined after an error. Or the path of a .npy
            or .parquet file, which is then what is returned.

        Returns
        -------
        H : ndarray (n_samples, n_components)
            float32 for float32, uint8 and bool input, float64 otherwise.
        """
        return into(out, X, lambda part: self._posterior(part)[0])

    def posterior(self, X: Table) -> tuple[Reals, Reals]:
        """Return mean and covariance of the factors given each row.

        Parameters
        ----------
        X : array-like or CSR matrix (n_samples, n_features)
            NaN is a missing entry.

        Returns
        -------
        mean : ndarray (n_samples, n_components)
            The result of `transform`.
        covariance : ndarray (n_components, n_components)
            ``(Φ⁻¹ + W Ψ⁻¹ Wᵀ)⁻¹``, the same for every complete row; float64. Where entries of X are
            missing, the shape is (n_samples, n_components, n_components).
        """
        X = opened(X, whole=True)  # one covariance may be that of all rows
        mean, covariances = self._posterior(X, with_covariances=True)
        return mean, covariances

    def inverse_transform(self, H: Table) -> Reals:
        """Return the means ``h W + μ`` of p(x | h).

        Parameters
        ----------
        H : array-like or CSR matrix (n_samples, n_components)

        Returns
        -------
        X_hat : ndarray (n_samples, n_features)
        """
        check_is_fitted(self)
        codes, gaussian = check.as_table(H, "H"), self._gaussian
        k = len(gaussian.W)
        if codes.shape[1] != k:
            raise ValueError(
                f"H must have {k} columns, one for each component, got shape {codes.shape}"
            )
        options = {"offset": gaussian.mean, "name": "H", "n_threads": self.n_threads}
        return project(codes, np.zeros(k), gaussian.W, **options)

    @takes_streams
    def reconstruct(self, X: Table, *, out: Array | PathLike | None = None) -> Reals:
        """Return ``inverse_transform(transform(X))``.

        With posterior means as codes this is ``E[x' | x]`` of a row x' with the same factors, which
        shrinks towards the mean.

        Parameters
        ----------
        X : array-like or CSR matrix (n_samples, n_features)
        out : ndarray, path or None, default=None
            As for `transform`.

        Returns
        -------
        X_hat : ndarray (n_samples, n_features)
        """
        return into(out, X, lambda part: self.inverse_transform(self.transform(part)))

    @takes_streams
    def impute(self, X: Table) -> Reals:
        """Return X with missing entries (NaN) replaced by their conditional means.

        The mean of an entry given the observed entries of its row is ``E[h | x_o] W + μ``.

        Parameters
        ----------
        X : array-like or CSR matrix (n_samples, n_features)

        Returns
        -------
        X_imputed : ndarray or CSR matrix (n_samples, n_features)
            A copy of X, in which observed entries do not change. All entries of a sparse matrix are
            observed.
        """
        rows = self._table(X)
        if sparse.issparse(rows):
            return rows.copy()
        imputed = rows.astype(check.real_type(rows.dtype))
        if not np.isfinite(imputed).all():
            means = self.inverse_transform(self._posterior(X)[0])  # refuses infinite entries
            imputed = np.where(np.isnan(imputed), means, imputed)
        return imputed

    def sample(self, n_samples: int = 1, random_state: RandomState | None = None) -> Reals:
        """Draw rows: h from N(0, Φ), then x from p(x | h).

        Parameters
        ----------
        n_samples : int, default=1
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        X : ndarray (n_samples, n_features)
            float64.
        """
        check_is_fitted(self)
        n_samples = scalars.as_integer(n_samples, "n_samples")
        if n_samples < 1:
            raise ValueError(f"n_samples must be at least 1, got {n_samples}")
        random, gaussian = random_state_of(random_state), self._gaussian
        with threads.same_bits():
            h = random.standard_normal((n_samples, len(gaussian.W0)))
            noise = random.standard_normal((n_samples, gaussian.n_features))
            return h @ gaussian.W0 + gaussian.mean + noise * np.sqrt(gaussian.psi)

    # ---- likelihoods ----

    @takes_streams
    def score_samples(self, X: Table, *, out: Array | PathLike | None = None) -> Reals:
        """Return ``log p(x)`` of each row, where ``x ~ N(μ, Wᵀ Φ W + Ψ)``.

        Parameters
        ----------
        X : array-like or CSR matrix (n_samples, n_features)
            For a row with missing entries (NaN) the result is log p of its observed entries, 0
            where there is none.
        out : ndarray, path or None, default=None
            As for `transform`.

        Returns
        -------
        log_likelihood : ndarray (n_samples,)
            In nats, constants included; float64.

        Raises
        ------
        FloatingPointError
            Where log p is finite but beyond float64, as −1e320 for an entry of 1e160.
        """
        return into(out, X, lambda part: self._distances(part)[1])

    @takes_streams
    def mahalanobis(self, X: Table) -> Reals:
        """Return squared Mahalanobis distances ``(x − μ) Σ⁻¹ (x − μ)ᵀ``.

        scikit-learn's covariance estimators have this method too.

        Parameters
        ----------
        X : array-like or CSR matrix (n_samples, n_features)
            For a row with missing entries (NaN) the result is the distance of its observed entries.

        Returns
        -------
        distance : ndarray (n_samples,)
            float64. Under the model a distance is chi-squared, with as many degrees of freedom as
            the row has observed entries.

        Raises
        ------
        FloatingPointError
            Where a distance overflows float64.
        """
        return self._distances(X)[0]

    def get_covariance(self) -> Reals:
        """Return the covariance ``Wᵀ Φ W + Ψ`` (n_features, n_features) in float64."""
        check_is_fitted(self)
        return self._gaussian.covariance()

    def get_precision(self) -> Reals:
        """Return the inverse of `get_covariance`, computed by Woodbury's identity."""
        check_is_fitted(self)
        return self._gaussian.precision()

    # ---- implementation ----

    def _table(self, X):
        check_is_fitted(self)
        return check.estimator_table(self, X, reset=False)

    def _posterior(self, X, with_covariances=False):
        """Return posterior means, and the covariance or covariances (see `posterior`)."""
        rows, gaussian = self._table(X), self._gaussian
        means = gaussian.posterior_means(rows, self.n_threads, table_name(X, self))
        if means is not None:
            return means, gaussian.posterior_covariance
        return patterns.posteriors_of_rows(rows, gaussian, with_covariances, table_name(X, self))

    def _distances(self, X):
        """Return squared Mahalanobis distances (n,) and log-likelihoods (n,)."""
        rows, gaussian = self._table(X), self._gaussian
        distances = gaussian.mahalanobis(rows, self.n_threads, table_name(X, self))
        if distances is not None:
            return distances, gaussian.log_likelihood(distances)
        distances, log_p = patterns.distances_of_rows(rows, gaussian)
        if not np.isfinite(distances).all():
            name = table_name(X, self)
            raise overflow_of_row("a squared distance", distances, distances.dtype, rows, name)
        return distances, log_p

    # ---- in a file ----

    _file_version = 2
    _parameters_of_process = checkpoints.PARAMETERS

    @classmethod
    def _upgrade(cls, version, parameters, state):
        if version < 2:  # some parameters came later, and what they do by default is in no file
            for name, parameter in inspect.signature(cls.__init__).parameters.items():
                if name not in ("self", *cls._parameters_of_process):
                    parameters.setdefault(name, parameter.default)

    def _saved_state(self):
        return {
            "n_features": self.n_features_in_,
            "n_components": len(self.components_),
            "n_samples_seen": int(self.n_samples_seen_),
            "n_iter": int(self.n_iter_),
            "log_likelihood_curve": [float(value) for value in self.log_likelihood_curve_],
        }

    @classmethod
    def _state_checks(cls):
        return {
            "n_features": SIZE,
            "n_components": SIZE,
            "n_samples_seen": COUNT,
            "n_iter": COUNT,
            "log_likelihood_curve": CURVE,
        }

    @classmethod
    def _tensor_layout(cls, state):
        d, k = state["n_features"], state["n_components"]
        return {"mean": Tensor((d,), "F64"), "components": Tensor((k, d), "F64")}

    def _saved_tensors(self):
        return {"mean": self.mean_, "components": self.components_}

    def _restore(self, state, tensors):
        names = ("n_samples_seen", "n_iter", "log_likelihood_curve")
        fitted = {f"{name}_": state[name] for name in names}
        fitted |= {f"{name}_": tensor for name, tensor in tensors.items()}
        self.n_features_in_ = state["n_features"]
        self._set_fitted(**fitted)
        self._gaussian.check_finite()
