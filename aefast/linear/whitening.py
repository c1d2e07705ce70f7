"""Whitening: linear maps to uncorrelated columns of variance 1."""

from numbers import Integral, Real

import numpy as np
from scipy import linalg
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from aefast._base import arrays as check
from aefast._base import scalars, threads
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
from aefast.linear.rotation import fixed_signs


class Whitening(
    GivenResults,
    ToOnnx,
    StatisticsMixin,
    Saved,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Linear map to uncorrelated columns of variance 1, from one pass over the rows.

    With the covariance ``C = U Λ Uᵀ`` (divided by n, columns of U its eigenvectors) and
    ``D = (Λ + epsilon)^-½``:

        "zca": ``Z = (X − mean) U D Uᵀ``, the whitened rows that are nearest to the centred rows
        "pca": ``Z = (X − mean) U D``, columns in the order of falling variance

    Parameters
    ----------
    method : {"zca", "pca"}, default="zca"
    epsilon : float, default=1e-5
        Constant added to each variance, in squared units of X: directions of less variance stay
        below 1. For image patches with values in [0, 1], 1e-2 to 1e-1 limits the amplification of
        noise in the finest details. With 0, directions without variance become 0; rounding counts
        as no variance, and float32, uint8 and bool rows are multiplied in float32.
    n_components : int or None, default=None
        Number of leading directions to retain; other directions become 0 ("zca") or are left out
        ("pca"). None retains all.
    n_threads : int or None, default=None
        Number of threads, as for `Autoencoder`.

    Attributes
    ----------
    mean_ : ndarray (n_features,)
    components_ : ndarray (n_features, n_features) or (n_components, n_features)
        The whitening matrix: ``Z = (X − mean_) components_ᵀ``.
    explained_variance_ : ndarray (n_components,)
        Λ in descending order; float64, as all attributes.
    n_samples_seen_ : int
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only where X has string column names.

    References
    ----------
    .. [1] Bell & Sejnowski (1997), The "independent components" of natural scenes are edge filters.
    .. [2] Kessy, Lewin & Strimmer (2018), Optimal whitening and decorrelation.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from aefast import Whitening
    >>> Z = Whitening("pca", epsilon=0.0, n_components=40).fit_transform(load_digits().data)
    >>> bool(abs(Z.T @ Z / len(Z)).round(8).trace() == 40)
    True
    """

    _parameter_constraints: dict = {
        "method": [StrOptions({"zca", "pca"})],
        "epsilon": [Interval(Real, 0, None, closed="left")],
        "n_components": [None, Interval(Integral, 1, scalars.LARGEST_SIZE, closed="both")],
        "n_threads": [None, Interval(Integral, 1, threads.MOST_THREADS, closed="both")],
    }

    @hints(foreign_names.WHITENING)
    def __init__(
        self,
        method: str = "zca",
        *,
        epsilon: float = 1e-5,
        n_components: int | None = None,
        n_threads: int | None = None,
    ) -> None:
        self.method = method
        self.epsilon = epsilon
        self.n_components = n_components
        self.n_threads = n_threads

    @threads.with_same_bits
    def _fit_statistics(self, statistics, name="X"):
        d = statistics.n_features_in_
        k = d if self.n_components is None else self.n_components
        if k > d:
            raise ValueError(f"n_components must be at most n_features = {d}, got {k}")
        variance, U = linalg.eigh(statistics.covariance())
        rounding = statistics._rounding(variance)
        variance, U = np.maximum(variance[::-1][:k], 0.0), fixed_signs(U[:, ::-1][:, :k].T)
        scale = np.sqrt(variance + self.epsilon)
        if self.epsilon == 0:
            scale[variance <= rounding] = np.inf
        back = np.where(np.isinf(scale), 0.0, scale)
        whiten = (1.0 / scale)[:, None] * U
        components, inverse = whiten, back[:, None] * U
        if self.method == "zca":
            components, inverse = U.T @ components, U.T @ inverse
        check_fitted(name, components, inverse)
        self.components_, self._inverse = components, inverse
        self.mean_, self.explained_variance_ = statistics.mean_, variance
        self.n_samples_seen_ = statistics.n_samples_

    @takes_streams
    def transform(self, X: Table, *, out: Array | PathLike | None = None) -> Reals:
        """Return whitened rows.

        Parameters
        ----------
        X : array-like or CSR matrix (n_samples, n_features)
        out : ndarray, path or None, default=None
            C-contiguous array for the result, instead of a new one; a memory map for results that
            are larger than memory. Its content is undefined after an error. Or the path of a .npy
            or .parquet file, which is then what is returned.

        Returns
        -------
        Z : ndarray (n_samples, n_features) or, with method="pca", (n_samples, n_components)
            float32 for float32, uint8 and bool input, float64 otherwise.
        """
        return into(out, X, self._whitened)

    def _whitened(self, X):
        check_is_fitted(self)
        rows = check.estimator_table(self, X, reset=False)
        name = table_name(X, self)
        return project(rows, self.mean_, self.components_.T, name=name, n_threads=self.n_threads)

    def inverse_transform(self, Z: Table) -> Reals:
        """Return ``Z U (Λ + epsilon)^½ Uᵀ + mean`` ("pca": ``Z (Λ + epsilon)^½ Uᵀ + mean``).

        The result is the inverse of `transform`, except for directions that were left out.

        Parameters
        ----------
        Z : array-like or CSR matrix (n_samples, n_features)
            With method="pca" (n_samples, n_components).

        Returns
        -------
        X : ndarray (n_samples, n_features)
        """
        check_is_fitted(self)
        whitened = check.as_table(Z, "Z")
        width = len(self.components_)
        if whitened.shape[1] != width:
            raise ValueError(f"Z must have {width} columns, got shape {whitened.shape}")
        zeros = np.zeros(width)
        return project(
            whitened, zeros, self._inverse, offset=self.mean_, name="Z", n_threads=self.n_threads
        )

    @property
    def _n_features_out(self):
        return len(self.components_)

    # ---- in a file ----

    _file_format = "aefast whitening"

    def _saved_state(self):
        k, d = len(self.components_), self.n_features_in_
        return {
            "n_features": d,
            "n_outputs": k,
            "n_directions": len(self.explained_variance_),
            "n_samples_seen": int(self.n_samples_seen_),
        }

    def _saved_tensors(self):
        return {
            "mean": self.mean_,
            "components": self.components_,
            "inverse": self._inverse,
            "explained_variance": self.explained_variance_,
        }

    @classmethod
    def _state_checks(cls):
        return {
            "n_features": SIZE,
            "n_outputs": SIZE,
            "n_directions": SIZE,
            "n_samples_seen": COUNT,
        }

    @classmethod
    def _tensor_layout(cls, state):
        d, k = state["n_features"], state["n_outputs"]
        shapes = {"mean": (d,), "components": (k, d), "inverse": (k, d)}
        shapes["explained_variance"] = (state["n_directions"],)
        return {name: Tensor(shape, "F64") for name, shape in shapes.items()}

    def _restore(self, state, tensors):
        self.n_features_in_ = state["n_features"]
        self.n_samples_seen_ = state["n_samples_seen"]
        self.mean_, self.components_ = tensors["mean"], tensors["components"]
        self._inverse = tensors["inverse"]
        self.explained_variance_ = tensors["explained_variance"]
