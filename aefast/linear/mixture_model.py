"""Common base of mixtures of factor analysers and of probabilistic PCA."""

import numpy as np
from scipy import sparse
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    DensityMixin,
    TransformerMixin,
)
from sklearn.utils.validation import check_is_fitted

from aefast._base import arrays as check
from aefast._base import checkpoints, scalars, threads
from aefast._base.by_parts import takes_streams
from aefast._base.errors import overflow_of_row, table_name
from aefast._base.exchange import ToOnnx
from aefast._base.foreign_names import ForeignNames
from aefast._base.given_results import GivenResults, into
from aefast._base.random import random_state_of
from aefast._base.saving import COUNT, CURVE, FLAG, NUMBER, SIZE, Check, Saved, Tensor, is_count
from aefast._base.types import Array, PathLike, RandomState, Reals, Table
from aefast.linear import patterns
from aefast.linear.likelihoods import LikelihoodMixin
from aefast.linear.linear_model import check_fitted
from aefast.linear.mixture_fit import Mixture, chunks, joint_log_densities, normalised
from aefast.linear.mixture_fitting import MixtureFitting, as_sizes


class LinearMixture(
    GivenResults,
    ForeignNames,
    MixtureFitting,
    ToOnnx,
    LikelihoodMixin,
    Saved,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    DensityMixin,
    BaseEstimator,
):
    """Mixture of M linear factor models: ``p(x) = Σ_m π_m N(x | μ_m, W_mᵀ W_m + Ψ_m)``.

    A subclass says whether the noise is isotropic.
    """

    # ---- fitted state ----

    def _count_parameters(self, n_mixtures, k):
        return n_mixtures * self._n_parameters_of_component(k) + n_mixtures - 1

    def _n_parameters_of_component(self, k):
        """Return the number of free parameters of one component's density."""
        d = self.n_features_in_
        n_noise = 1 if self._is_isotropic else d
        return d * k - k * (k - 1) // 2 + n_noise + d

    def _set_fitted(self, search):
        """Set the fitted attributes from the best fit of a search."""
        fitted, mixture = search.best, search.best.mixture
        order = np.argsort(-mixture.weights, kind="stable")
        mixture = _with_principal_loadings(Mixture(*(part[order] for part in mixture)))
        check_fitted("X", *mixture)
        self.converged_ = fitted.converged
        self.n_iter_ = fitted.n_iter
        self.log_likelihood_curve_ = [float(value) for value in fitted.curve]
        self.lower_bound_ = self.log_likelihood_curve_[-1]
        self.sizes_tried_ = [(M, k, float(bic)) for M, k, bic in search.tried]
        self._set_mixture(mixture)

    def _set_mixture(self, mixture):
        """Set the parameters of the distribution."""
        self.weights_, self.means_, self.components_ = mixture.weights, mixture.means, mixture.W
        self.noise_variance_ = mixture.psi[:, 0].copy() if self._is_isotropic else mixture.psi
        self.n_mixtures_, self.n_components_ = mixture.W.shape[:2]
        self._gaussians = mixture.gaussians()

    def __sklearn_is_fitted__(self):
        return hasattr(self, "weights_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    # ---- components of rows ----

    @takes_streams
    def predict(self, X: Table) -> Array:
        """Return the component of greatest posterior probability for each row.

        Parameters
        ----------
        X : array-like or CSR matrix (n_samples, n_features)
            NaN is a missing entry.

        Returns
        -------
        labels : ndarray of int (n_samples,)
        """
        return self._joint(X).argmax(axis=1)

    @takes_streams
    def predict_proba(self, X: Table) -> Reals:
        """Return the posterior probabilities ``p(m | x)`` of the components: responsibilities.

        Parameters
        ----------
        X : array-like or CSR matrix (n_samples, n_features)
            NaN is a missing entry; the probabilities are given the observed entries of the row.

        Returns
        -------
        probabilities : ndarray (n_samples, n_mixtures)
            float64; each row adds up to 1.
        """
        return normalised(self._joint(X))[1]

    # ---- likelihoods ----

    @takes_streams
    def score_samples(self, X: Table, *, out: Array | PathLike | None = None) -> Reals:
        """Return ``log p(x)`` of each row.

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
            Where log p is finite but beyond float64.
        """
        return into(out, X, lambda part: normalised(self._joint(part))[0])

    def _n_parameters(self):
        return self._count_parameters(self.n_mixtures_, self.n_components_)

    # ---- other methods of the distribution ----

    @takes_streams
    def transform(self, X: Table, *, out: Array | PathLike | None = None) -> Reals:
        """Return the posterior means of each component's factors, times its probability.

        Entry (m, j) of a row is ``E[z_m h_j | x] = p(m | x) E[h_j | x, m]``, where z_m is 1 for
        rows of component m and 0 for others: the codes of the other components are close to 0.

        Parameters
        ----------
        X : array-like or CSR matrix (n_samples, n_features)
            NaN is a missing entry; the means of such a row are given the observed entries.
        out : ndarray, path or None, default=None
            C-contiguous array for the result, instead of a new one; a memory map for results that
            are larger than memory. Its content is undefined after an error. Or the path of a .npy
            or .parquet file, which is then what is returned.

        Returns
        -------
        H : ndarray (n_samples, n_mixtures * n_components)
            The factors of component 0, then those of component 1, ...; float32 for float32, uint8
            and bool input, float64 otherwise.
        """
        return into(out, X, self._codes_of)

    def _codes_of(self, X):
        shares = self.predict_proba(X)
        rows = check.estimator_table(self, X, reset=False)
        return self._codes(rows, shares, table_name(X, self))

    @takes_streams
    def reconstruct(self, X: Table, *, out: Array | PathLike | None = None) -> Reals:
        """Return ``Σ_m p(m | x) (E[h | x, m] W_m + μ_m)`` of each row.

        Parameters
        ----------
        X : array-like or CSR matrix (n_samples, n_features)
            NaN is a missing entry.
        out : ndarray, path or None, default=None
            As for `transform`.

        Returns
        -------
        X_hat : ndarray (n_samples, n_features)
        """
        return into(out, X, self._reconstructions_of)

    def _reconstructions_of(self, X):
        shares = self.predict_proba(X)
        rows, name = check.estimator_table(self, X, reset=False), table_name(X, self)
        return self._means(rows, shares, name).astype(check.real_type(rows.dtype), copy=False)

    @takes_streams
    def impute(self, X: Table) -> Reals:
        """Return X with missing entries (NaN) replaced by their conditional means.

        The mean of an entry given the observed entries of its row is that of `reconstruct`.

        Parameters
        ----------
        X : array-like or CSR matrix (n_samples, n_features)

        Returns
        -------
        X_imputed : ndarray or CSR matrix (n_samples, n_features)
            A copy of X, in which observed entries do not change. All entries of a sparse matrix are
            observed.
        """
        joint = self._joint(X)
        rows = check.estimator_table(self, X, reset=False)
        if sparse.issparse(rows):
            return rows.copy()
        imputed = rows.astype(check.real_type(rows.dtype))
        places = np.flatnonzero(np.isnan(imputed).any(axis=1))
        shares, some = normalised(joint[places])[1], rows[places]
        if len(places):
            means = self._means(some, shares, table_name(X, self))
            imputed[places] = np.where(np.isnan(some), means, some)
        return imputed

    def sample(
        self, n_samples: int = 1, random_state: RandomState | None = None
    ) -> tuple[Reals, Array]:
        """Draw rows: a component, then its factors, then x.

        Parameters
        ----------
        n_samples : int, default=1
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        X : ndarray (n_samples, n_features)
            float64.
        labels : ndarray of int (n_samples,)
            Component of each row.
        """
        check_is_fitted(self)
        n_samples = scalars.as_integer(n_samples, "n_samples")
        if n_samples < 1:
            raise ValueError(f"n_samples must be at least 1, got {n_samples}")
        random = random_state_of(random_state)
        labels = random.choice(len(self.weights_), n_samples, p=self.weights_)
        X = np.empty((n_samples, self.n_features_in_))
        with threads.same_bits():
            for m, of in enumerate(self._gaussians):
                places = np.flatnonzero(labels == m)
                h = random.standard_normal((len(places), len(of.W)))
                noise = random.standard_normal((len(places), of.n_features))
                X[places] = h @ of.W + of.mean + noise * np.sqrt(of.psi)
        return X, labels

    def get_covariance(self) -> Reals:
        """Return the covariances ``W_mᵀ W_m + Ψ_m`` of the components.

        Returns
        -------
        covariances : ndarray (n_mixtures, n_features, n_features)
        """
        check_is_fitted(self)
        return np.array([gaussian.covariance() for gaussian in self._gaussians])

    # ---- implementation ----

    @threads.with_same_bits
    def _joint(self, X):
        """Return ``log π_m p(x_o | m)`` (n, M) of each row."""
        check_is_fitted(self)
        gaussians, weights = self._gaussians, self.weights_
        rows, name = check.estimator_table(self, X, reset=False), table_name(X, self)
        joint = np.empty((rows.shape[0], len(gaussians)))
        arguments = gaussians, np.log(weights), self.n_threads, name
        for part in chunks(rows):
            try:
                some = rows[part].toarray() if sparse.issparse(rows) else rows[part]
                joint[part] = joint_log_densities(some, *arguments)
            except (ValueError, FloatingPointError):
                if not sparse.issparse(rows) and len(some) < len(rows):
                    joint_log_densities(rows, *arguments)  # the error gives the row of the table
                raise
        return joint

    def _codes(self, rows, shares, name):
        """Return the result of `transform` for rows whose responsibilities are known."""
        M, k = self.components_.shape[:2]
        codes = np.empty((rows.shape[0], M, k), check.real_type(rows.dtype))
        for m, gaussian in enumerate(self._gaussians):
            means = gaussian.posterior_means(rows, self.n_threads, name)
            if means is None:
                means = patterns.posteriors_of_rows(rows, gaussian, False, name)[0]
            codes[:, m] = shares[:, m, None] * means
        return codes.reshape(rows.shape[0], M * k)

    @threads.with_same_bits
    def _means(self, rows, shares, name):
        """Return the result of `reconstruct` in float64, for rows of known responsibilities."""
        W = self.components_.reshape(-1, self.n_features_in_)
        codes = self._codes(rows, shares, name)
        with np.errstate(over="ignore", invalid="ignore"):
            means = shares @ self.means_ + codes.astype(np.float64, copy=False) @ W
        if not np.isfinite(means).all():
            raise overflow_of_row("a reconstruction", means, means.dtype, rows, name)
        return means

    @property
    def _n_features_out(self):
        return self.n_mixtures_ * self.n_components_

    # ---- in a file ----

    _structured_parameters = ("n_mixtures", "n_components")
    _parameters_of_process = checkpoints.PARAMETERS

    def _saved_parameters(self):
        parameters = super()._saved_parameters()
        for name in self._structured_parameters:
            value = parameters[name]
            if isinstance(value, (list, tuple, np.ndarray)):
                parameters[name] = [int(size) for size in value]
        return parameters

    @classmethod
    def _parameter_of_json(cls, name, value):
        if name in cls._structured_parameters and isinstance(value, (list, dict)):
            as_sizes(value, name)
        return value

    def _saved_state(self):
        return {
            "n_features": self.n_features_in_,
            "n_mixtures": int(self.n_mixtures_),
            "n_components": int(self.n_components_),
            "n_samples_seen": int(self.n_samples_seen_),
            "n_iter": int(self.n_iter_),
            "converged": bool(self.converged_),
            "lower_bound": float(self.lower_bound_),
            "log_likelihood_curve": [float(value) for value in self.log_likelihood_curve_],
            "sizes_tried": [list(size) for size in self.sizes_tried_],
        }

    @classmethod
    def _state_checks(cls):
        return {
            "n_features": SIZE,
            "n_mixtures": SIZE,
            "n_components": SIZE,
            "n_samples_seen": COUNT,
            "n_iter": COUNT,
            "converged": FLAG,
            "lower_bound": NUMBER,
            "log_likelihood_curve": CURVE,
            "sizes_tried": _SIZES_TRIED,
        }

    @classmethod
    def _tensor_layout(cls, state):
        M, k, d = state["n_mixtures"], state["n_components"], state["n_features"]
        return {
            "weights": Tensor((M,), "F64"),
            "means": Tensor((M, d), "F64"),
            "components": Tensor((M, k, d), "F64"),
            "noise_variance": Tensor((M,) if cls._is_isotropic else (M, d), "F64"),
        }

    def _saved_tensors(self):
        names = ("weights", "means", "components", "noise_variance")
        return {name: getattr(self, f"{name}_") for name in names}

    def _restore(self, state, tensors):
        weights, psi = tensors["weights"], tensors["noise_variance"]
        if not ((weights > 0).all() and abs(weights.sum() - 1) < 1e-9):
            raise ValueError("expected positive weights of sum 1")
        if not (psi > 0).all():
            raise ValueError("expected positive noise variances")
        if state["n_components"] > state["n_features"]:
            raise ValueError("it has more factors than features")
        self.n_features_in_ = d = state["n_features"]
        for name in ("n_samples_seen", "n_iter", "converged", "lower_bound"):
            setattr(self, f"{name}_", state[name])
        self.log_likelihood_curve_ = state["log_likelihood_curve"]
        self.sizes_tried_ = [tuple(size) for size in state["sizes_tried"]]
        psi = np.repeat(psi[:, None], d, axis=1) if self._is_isotropic else psi
        self._set_mixture(Mixture(weights, tensors["means"], tensors["components"], psi))
        for gaussian in self._gaussians:
            gaussian.check_finite()


def _is_size_tried(value):
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(map(is_count, value[:2]))
        and isinstance(value[2], float)
        and bool(np.isfinite(value[2]))
    )


_SIZES_TRIED = Check(
    lambda value: isinstance(value, list) and all(map(_is_size_tried, value)),
    "a list of [n_mixtures, n_components, bic]",
)


@threads.with_same_bits
def _with_principal_loadings(mixture):
    """Return the mixture with loadings rotated so that ``W_m Ψ_m⁻¹ W_mᵀ`` is diagonal, falling.

    The loading that is largest beside the noise of its column is positive for each factor.
    """
    root = np.sqrt(mixture.psi)[:, None, :]
    _, s, vectors = np.linalg.svd(mixture.W / root, full_matrices=False)
    places = np.abs(vectors).argmax(axis=2)[:, :, None]
    signs = np.where(np.take_along_axis(vectors, places, axis=2) < 0, -1.0, 1.0)
    return mixture._replace(W=signs * s[:, :, None] * vectors * root)
