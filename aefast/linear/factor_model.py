"""What probabilistic PCA and factor analysis have in common: everything but how they are fitted."""

from abc import abstractmethod
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from aefast._base import arrays as check
from aefast._base.errors import column_label, table_name
from aefast._base.missing import observed_means
from aefast._base.moments import SufficientStatistics, without_unit
from aefast._base.projection import project
from aefast._base.saving import COUNT, CURVE, SIZE, Saved, Tensor
from aefast._base.types import RandomState, Reals, Table
from aefast.linear import patterns
from aefast.linear.gaussian import LinearGaussian
from aefast.linear.linear_model import StatisticsMixin, check_fitted

_ROWS_FILLED = 1 << 14  # at a time


class FactorModel(
    StatisticsMixin, Saved, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator
):
    """``h ~ N(0, Φ)``, ``x = h W + μ + noise``. A subclass fits, sets `mean_`, `components_`,
    `noise_variance_`, and counts its parameters.
    """

    # ---- fitting ----

    def fit(self, X: Table, y: object = None, sample_weight: ArrayLike | None = None) -> Self:
        """Fits to the rows of X: from their sufficient statistics, in one pass; by EM where entries
        are missing.

        Parameters
        ----------
        X : array-like or CSR matrix (n_samples, n_features)
            NaN is a missing entry.
        y : ignored
        sample_weight : array-like (n_samples,), optional
            Not negative: a row of weight 2 counts as two rows.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For infinite entries, columns without an observed entry, rows without variance, bad
            parameters.
        """
        self._validate_params()
        table, name = check.estimator_table(self, X, reset=True), table_name(X)
        is_complete, statistics = self._fit_complete(table, sample_weight, name)
        if not is_complete:
            weight = check.as_row_weights(sample_weight, len(table))
            rows, weight = patterns.of_positive_weight(table, weight)
            self._fit_missing(rows, without_unit(weight)[0], name)
            self.n_samples_seen_ = len(table)
        self._statistics = statistics
        check.remember_features(self, X)
        return self

    def _fit_complete(self, table, sample_weight, name):
        """Fits to rows of which no entry is missing.

        Returns
        -------
        is_complete : bool
            False: an entry is missing, and nothing has been fitted.
        statistics : SufficientStatistics or None
            Of the rows, where they were made.
        """
        statistics = self._statistics_of(table, sample_weight, name, none_if_missing=True)
        if statistics is None:
            return False, None
        self._fit_statistics(statistics, name)
        return True, statistics

    @abstractmethod
    def _fit_missing(self, rows, weight, name):
        """Fits to rows of which entries are missing (NaN), of positive weights."""

    @abstractmethod
    def _n_parameters(self):
        """Free parameters of the fitted distribution."""

    def _means_of_observed(self, rows, name):
        """Of the columns of rows with missing entries, from which EM starts."""
        means, counts = observed_means(rows)
        if not counts.all():
            column = int(np.flatnonzero(counts == 0)[0])
            raise ValueError(
                f"column {column_label(name, column)} of X has no observed entry: leave it out, "
                "there is nothing to learn of it"
            )
        return means

    def _statistics_of_filled(self, rows, means, weight):
        """Statistics of the rows with their columns' means in place of what is missing."""
        filled = SufficientStatistics(rows.shape[1], n_threads=self.n_threads)
        for first in range(0, len(rows), _ROWS_FILLED):
            part = slice(first, first + _ROWS_FILLED)
            X = rows[part].astype(np.float64)
            filled.update(np.where(np.isnan(X), means, X), weight[part])
        return filled

    def _set_fitted(self, **attributes):
        """Sets the attributes that a fit has found, and the distribution that they describe."""
        arrays = ("mean_", "components_", "noise_variance_")
        check_fitted("X", *(attributes[name] for name in arrays))
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

    def transform(self, X: Table) -> Reals:
        """Posterior means ``E[h | x] = (x − μ) Ψ⁻¹ Wᵀ (Φ⁻¹ + W Ψ⁻¹ Wᵀ)⁻¹``.

        Parameters
        ----------
        X : array-like or CSR matrix (n_samples, n_features)
            NaN is a missing entry: then the mean given the observed ones.

        Returns
        -------
        H : ndarray (n_samples, n_components)
            float32 for float32, uint8 and bool input, float64 otherwise.
        """
        return self._posterior(X)[0]

    def posterior(self, X: Table) -> tuple[Reals, Reals]:
        """Mean and covariance of the factors given each row.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
            NaN is a missing entry.

        Returns
        -------
        mean : ndarray (n_samples, n_components)
            As `transform` gives it.
        covariance : ndarray (n_components, n_components), or (n_samples, n_components,
            n_components) where entries are missing
            ``(Φ⁻¹ + W Ψ⁻¹ Wᵀ)⁻¹``, the same for every complete row; float64.
        """
        mean, covariances = self._posterior(X, with_covariances=True)
        return mean, covariances

    def inverse_transform(self, H: ArrayLike) -> Reals:
        """Means of p(x | h): ``h W + μ``.

        Parameters
        ----------
        H : array-like (n_samples, n_components)

        Returns
        -------
        X_hat : ndarray (n_samples, n_features)
        """
        check_is_fitted(self)
        H = check.as_rows(H, "H")
        k = len(self.components_)
        if H.shape[1] != k:
            raise ValueError(
                f"H must have {k} columns, one for each component, got shape {H.shape}"
            )
        W, zeros = self.components_, np.zeros(k)
        return project(H, zeros, W, offset=self.mean_, name="H", n_threads=self.n_threads)

    def reconstruct(self, X: Table) -> Reals:
        """``inverse_transform(transform(X))``: ``E[x' | x]`` of a row with the same factors, which
        shrinks towards the mean.

        Parameters
        ----------
        X : array-like or CSR matrix (n_samples, n_features)

        Returns
        -------
        X_hat : ndarray (n_samples, n_features)
        """
        return self.inverse_transform(self._posterior(X)[0])

    def impute(self, X: Table) -> Reals:
        """X with each missing entry (NaN) replaced by its mean given the observed entries of its
        row, ``E[h | x_o] W + μ``.

        Parameters
        ----------
        X : array-like (n_samples, n_features)

        Returns
        -------
        X_imputed : ndarray (n_samples, n_features)
            A copy; observed entries as they are.
        """
        rows = self._rows(X)
        imputed = rows.astype(check.real_type(rows.dtype))
        missing = np.isnan(imputed)
        if missing.any():
            means = self.inverse_transform(self._posterior(X)[0])
            imputed[missing] = means[missing]
        return imputed

    def sample(self, n_samples: int = 1, random_state: RandomState | None = None) -> Reals:
        """Draws rows: h from N(0, Φ), then x from p(x | h).

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
        n_samples = check.as_integer(n_samples, "n_samples")
        if n_samples < 1:
            raise ValueError(f"n_samples must be at least 1, got {n_samples}")
        random, gaussian = check_random_state(random_state), self._gaussian
        h = random.standard_normal((n_samples, len(gaussian.W0)))
        noise = random.standard_normal((n_samples, gaussian.n_features))
        return h @ gaussian.W0 + gaussian.mean + noise * np.sqrt(gaussian.psi)

    # ---- likelihoods ----

    def score_samples(self, X: Table) -> Reals:
        """``log p(x)`` of each row, the factors integrated out: ``x ~ N(μ, Wᵀ Φ W + Ψ)``.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
            Of a row with missing entries (NaN), log p of the observed ones: 0 where there is none.

        Returns
        -------
        log_likelihood : ndarray (n_samples,)
            In nats, constants included; float64.
        """
        return self._distances(X)[1]

    def score(self, X: Table, y: object = None) -> float:
        """Mean of `score_samples`; greater is better.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
        y : ignored

        Returns
        -------
        log_likelihood : float
        """
        return float(self.score_samples(X).mean())

    def mahalanobis(self, X: Table) -> Reals:
        """Squared Mahalanobis distances ``(x − μ) Σ⁻¹ (x − μ)ᵀ``, as scikit-learn's covariance
        estimators give them.

        Parameters
        ----------
        X : array-like (n_samples, n_features)
            Of a row with missing entries (NaN), the distance of the observed ones.

        Returns
        -------
        distance : ndarray (n_samples,)
            Under the model chi-squared, with as many degrees of freedom as entries are observed;
            float64.
        """
        return self._distances(X)[0]

    def aic(self, X: Table) -> float:
        """Akaike's criterion of X, ``2 p − 2 Σ log p(x)`` with p free parameters; smaller is
        better.

        Parameters
        ----------
        X : array-like (n_samples, n_features)

        Returns
        -------
        aic : float
        """
        return 2.0 * self._n_parameters() - 2.0 * float(self.score_samples(X).sum())

    def bic(self, X: Table) -> float:
        """Bayes' criterion of X, ``p log n − 2 Σ log p(x)`` with p free parameters; smaller is
        better.

        Parameters
        ----------
        X : array-like (n_samples, n_features)

        Returns
        -------
        bic : float
        """
        log_p = self.score_samples(X)
        return self._n_parameters() * float(np.log(len(log_p))) - 2.0 * float(log_p.sum())

    def get_covariance(self) -> Reals:
        """``Wᵀ Φ W + Ψ`` (n_features, n_features), float64."""
        check_is_fitted(self)
        return self._gaussian.covariance()

    def get_precision(self) -> Reals:
        """The inverse of `get_covariance`, by Woodbury's identity."""
        check_is_fitted(self)
        return self._gaussian.precision()

    # ---- how ----

    def _rows(self, X):
        check_is_fitted(self)
        return check.estimator_rows(self, X, reset=False)

    def _posterior(self, X, with_covariances=False):
        check_is_fitted(self)
        gaussian = self._gaussian
        rows = check.estimator_table(self, X, reset=False)
        means = gaussian.posterior_means(rows, self.n_threads, table_name(X, self))
        if means is not None:
            return means, gaussian.posterior_covariance
        k, L = len(gaussian.W0), gaussian.L
        means = np.empty((len(rows), k), check.real_type(rows.dtype))
        covariances = np.empty((len(rows), k, k)) if with_covariances else None
        for part, block in patterns.blocks(rows, gaussian.mean, k):
            post = patterns.posterior(block, gaussian.W0, gaussian.psi)
            means[part][block.places] = post.means @ L.T
            if covariances is not None:
                covariances[part][block.places] = (L @ post.covariances @ L.T)[block.of_row]
        return means, covariances

    def _distances(self, X):
        """(squared distances, log-likelihoods)"""
        rows, gaussian = self._rows(X), self._gaussian
        distances = gaussian.mahalanobis(rows, self.n_threads, table_name(X, self))
        if distances is not None:
            return distances, gaussian.log_likelihood(distances)
        distances, log_p = np.empty(len(rows)), np.empty(len(rows))
        for part, block in patterns.blocks(rows, gaussian.mean, len(gaussian.W0)):
            post = patterns.posterior(block, gaussian.W0, gaussian.psi)
            distances[part][block.places] = post.distances
            log_p[part][block.places] = patterns.log_likelihoods(block, post)
        return distances, log_p

    # ---- in a file ----

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
