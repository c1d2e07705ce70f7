"""Linear denoising autoencoder in closed form, with the corruption marginalised."""

import warnings
from numbers import Integral, Real

import numpy as np
from scipy import linalg
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from aefast._base import arrays as check
from aefast._base import threads
from aefast._base.by_parts import takes_streams
from aefast._base.errors import table_name
from aefast._base.exchange import ToOnnx
from aefast._base.foreign_names import hints
from aefast._base.given_results import GivenResults, into
from aefast._base.projection import project
from aefast._base.saving import COUNT, SIZE, Saved, Tensor
from aefast._base.types import Array, PathLike, Reals, Table
from aefast.linear import foreign_names
from aefast.linear.linear_model import StatisticsMixin, check_fitted

_THREADS = [None, Interval(Integral, 1, threads.MOST_THREADS, closed="both")]


def _solved(A, B, corruption):
    """Return A⁻¹ B for a positive definite A, which a small corruption may leave singular."""
    with warnings.catch_warnings():
        # 1 / condition below epsilon: no digit of the solution is known
        warnings.simplefilter("error", linalg.LinAlgWarning)
        try:
            return linalg.solve(A, B, assume_a="pos")
        except (linalg.LinAlgError, linalg.LinAlgWarning):
            raise ValueError(
                f"corruption = {corruption} is too small: the columns of X are dependent, and the "
                "equations singular to rounding"
            ) from None


class MarginalizedAutoencoder(
    GivenResults,
    ToOnnx,
    StatisticsMixin,
    Saved,
    OneToOneFeatureMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Linear denoising autoencoder in closed form, with the corruption integrated out.

    The result is that of training on infinitely many corrupted copies of the rows. Corruption sets
    each entry to 0 with probability p. The map ``X̂ = X̃ Aᵀ + b`` that minimises
    ``E ‖x − x̃ Aᵀ − b‖²``, averaged over rows and corruptions, depends only on the mean μ and the
    covariance C (divided by n):

        ``Aᵀ = [(1 − p) C + p diag(E x²)]⁻¹ C``,   ``b = μ − (1 − p) μ Aᵀ``

    Parameters
    ----------
    corruption : float in (0, 1), default=0.5
        p, the probability that an entry is set to 0.
    activation : {"tanh", "identity"}, default="tanh"
        Activation applied to the output of `transform`. A deep autoencoder is a scikit-learn
        pipeline of several, each fitted to the output of the previous one.
    n_threads : int or None, default=None
        Number of threads, as for `Autoencoder`.

    Attributes
    ----------
    coef_ : ndarray (n_features, n_features)
        A, float64.
    intercept_ : ndarray (n_features,)
        b, float64.
    mean_ : ndarray (n_features,)
    n_samples_seen_ : int
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only where X has string column names.

    Notes
    -----
    Columns that are 0 in every row have zero weights.

    References
    ----------
    .. [1] Chen, Xu, Weinberger & Sha (2012), Marginalized denoising autoencoders for domain
       adaptation, eqs. 3 and 6.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from aefast import MarginalizedAutoencoder
    >>> X = load_digits().data / 16
    >>> MarginalizedAutoencoder(0.3).fit_transform(X).shape
    (1797, 64)
    """

    _parameter_constraints: dict = {
        "corruption": [Interval(Real, 0, 1, closed="neither")],
        "activation": [StrOptions({"tanh", "identity"})],
        "n_threads": _THREADS,
    }
    _file_format = "aefast marginalized autoencoder"
    # names of the fitted arrays, without "_", and their numbers of dimensions
    _tensors = {"coef": 2, "intercept": 1, "mean": 1}

    @hints(foreign_names.MARGINALIZED_AUTOENCODER)
    def __init__(
        self, corruption: float = 0.5, *, activation: str = "tanh", n_threads: int | None = None
    ) -> None:
        self.corruption = corruption
        self.activation = activation
        self.n_threads = n_threads

    @threads.with_same_bits
    def _fit_statistics(self, statistics, name="X"):
        C, mean, p = statistics.covariance(), statistics.mean_, self.corruption
        with np.errstate(over="ignore"):
            squares = np.diagonal(C) + mean**2
        check_fitted(name, squares)
        lives = squares > 0
        A_T = np.zeros_like(C)
        if lives.any():
            scale = np.sqrt(squares[lives])
            kept = C[np.ix_(lives, lives)] / np.outer(scale, scale)
            solved = _solved((1 - p) * kept + p * np.eye(len(kept)), kept, p)
            A_T[np.ix_(lives, lives)] = solved * (scale / scale[:, None])
        intercept = mean - (1 - p) * mean @ A_T
        check_fitted(name, A_T, intercept)
        self.coef_, self.mean_ = np.ascontiguousarray(A_T.T), mean
        self.intercept_ = intercept
        self.n_samples_seen_ = statistics.n_samples_

    @takes_streams
    def reconstruct(self, X: Table, *, out: Array | PathLike | None = None) -> Reals:
        """Return the reconstructions ``X Aᵀ + b``.

        Parameters
        ----------
        X : array-like or CSR matrix (n_samples, n_features)
            Clean or corrupted rows.
        out : ndarray, path or None, default=None
            C-contiguous array for the result, instead of a new one; a memory map for results that
            are larger than memory. Its content is undefined after an error. Or the path of a .npy
            or .parquet file, which is then what is returned.

        Returns
        -------
        X_hat : ndarray (n_samples, n_features)
            float32 for float32, uint8 and bool input, float64 otherwise.
        """
        return into(out, X, self._reconstructed)

    def _reconstructed(self, X):
        check_is_fitted(self)
        rows = check.estimator_table(self, X, reset=False)
        A_T = self.coef_.T
        with threads.same_bits():
            offset = self.intercept_ + self.coef_ @ self.mean_
        name = table_name(X, self)
        return project(rows, self.mean_, A_T, offset=offset, name=name, n_threads=self.n_threads)

    @takes_streams
    def transform(self, X: Table, *, out: Array | PathLike | None = None) -> Reals:
        """Return ``tanh(X Aᵀ + b)``, or ``X Aᵀ + b`` with activation="identity".

        Parameters
        ----------
        X : array-like or CSR matrix (n_samples, n_features)
        out : ndarray, path or None, default=None
            As for `reconstruct`.

        Returns
        -------
        H : ndarray (n_samples, n_features)
        """
        H = self.reconstruct(X, out=out)
        return np.tanh(H, out=H) if self.activation == "tanh" else H

    # ---- files ----

    def _saved_state(self):
        return {"n_features": self.n_features_in_, "n_samples_seen": int(self.n_samples_seen_)}

    def _saved_tensors(self):
        return {name: getattr(self, f"{name}_") for name in self._tensors}

    @classmethod
    def _state_checks(cls):
        return {"n_features": SIZE, "n_samples_seen": COUNT}

    @classmethod
    def _tensor_layout(cls, state):
        d = state["n_features"]
        return {name: Tensor((d,) * n_dims, "F64") for name, n_dims in cls._tensors.items()}

    def _restore(self, state, tensors):
        self.n_features_in_ = state["n_features"]
        self.n_samples_seen_ = state["n_samples_seen"]
        for name, tensor in tensors.items():
            setattr(self, f"{name}_", tensor)
