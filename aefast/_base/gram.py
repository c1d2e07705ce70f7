"""Eigenpairs of the covariance of few rows of many columns, from the products of rows with rows.

With the centred rows ``Y = diag(w / Σ w)^½ (X − mean)``, the covariance ``Yᵀ Y`` (d, d) and the
Gram matrix ``Y Yᵀ`` (n, n) have the same eigenvalues, but for zeros; an eigenvector u of the latter
gives the eigenvector ``Yᵀ u / λ^½`` of the former.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import linalg, sparse

from aefast._base import arrays as check
from aefast._base import threads
from aefast._base._statistics import Accumulator
from aefast._base.float_range import USUAL_EXPONENT, without_unit
from aefast._base.krylov import checked_moments
from aefast._base.passes import Pace, slices
from aefast._base.types import Array

BLOCK_ENTRIES = 1 << 23  # entries of a block of columns
SLAB = 1024  # columns of a block are a multiple, so that sums do not depend on its size
FEW = 4  # eigenpairs are found without the others where there are fewer than this part of them


class GramSpectrum:
    """Eigenvalues of the covariance of n rows, n < d, and eigenvectors on demand.

    It has what `SufficientStatistics` tell of a spectrum, for the choice of a number of components.

    Parameters
    ----------
    X : ndarray or CSR matrix (n, d)
    weight : ndarray (n,) or None
        Not negative and not all zero.
    k : int or None
        Number of leading eigenvalues; None: all n.
    n_threads : int or None
    moments : tuple
        Mean (d,) and total variance of the rows.

    Attributes
    ----------
    values : ndarray (k,) or (n,)
        Eigenvalues, descending.
    total : float
        Total variance.
    mean : ndarray (d,)
    """

    def __init__(
        self,
        X: Any,
        weight: Array | None,
        k: int | None,
        n_threads: int | None,
        moments: tuple[Array, float],
    ) -> None:
        n, d = self.shape = X.shape
        self.X = X.tocsc() if sparse.issparse(X) else X
        self.dtype = check.real_type(X.dtype)
        self.mean, self.total = moments
        self.n_samples_, self.weight_sum_ = n, float(n if weight is None else weight.sum())
        weight = np.ones(n) if weight is None else without_unit(weight)[0]
        exponent = math.frexp(self.total)[1] // 2
        self.unit = 1.0 if abs(exponent) <= USUAL_EXPONENT // 2 else math.ldexp(1.0, -exponent)
        self.root = self.unit * np.sqrt(weight / weight.sum())
        n_threads = threads.effective_n_threads(n_threads, float(n) * n * d)
        accumulator = Accumulator(np.zeros(n, self.dtype), n_threads)
        for _, block in self._blocks():
            accumulator.add(block)
        gram = np.zeros((n, n))
        accumulator.finish(np.zeros(n), gram)
        few = None if k is None or FEW * k > n else [n - k, n - 1]
        with threads.same_bits():
            values, vectors = linalg.eigh(gram, subset_by_index=few, check_finite=False)
        self.values = np.maximum(values[::-1][:k], 0.0) / self.unit**2
        self._vectors = vectors[:, ::-1]

    def _blocks(self) -> Iterator[tuple[slice, Array]]:
        """Yield blocks (c, n) of columns of Y, each as a row, in the unit of computation."""
        n, d = self.shape
        step = max(1, BLOCK_ENTRIES // (n * SLAB)) * SLAB
        for part in slices(d, Pace.fixed(step)):
            block = self.X[:, part]
            block = block.toarray() if sparse.issparse(block) else block
            centred = (block.astype(np.float64, copy=False) - self.mean[part]) * self.root[:, None]
            yield part, np.ascontiguousarray(centred.T, self.dtype)

    def vectors(self, k: int) -> Array:
        """Return the k leading eigenvectors (k, d), one a row; 0 for an eigenvalue of 0."""
        out, U = np.empty((k, self.shape[1])), self._vectors[:, :k]
        with threads.same_bits():
            for part, block in self._blocks():
                out[:, part] = (block @ U.astype(self.dtype)).T
            norms = np.linalg.norm(out, axis=1)
        return out / np.where(norms > 0, norms, 1.0)[:, None]

    def _rank(self, values: Array) -> int:
        """Return the number of eigenvalues that are larger than rounding."""
        error = self.shape[1] * np.finfo(np.float64).eps * values.max()
        if self.dtype == np.float32:
            error = max(error, float(np.finfo(np.float32).eps) * values.sum())
        return int((values > error).sum())


def spectrum(
    X: Any, weight: Array | None, k: int | None, n_threads: int | None, name: str
) -> GramSpectrum | None:
    """Return the `GramSpectrum` of rows, or None where an entry is missing.

    Raises ValueError for infinite entries, and for rows without variance or whose squares overflow
    or underflow.
    """
    of_rows = np.ones(X.shape[0]) if weight is None else without_unit(weight)[0]
    moments = checked_moments(X, of_rows, None, name)
    return None if moments is None else GramSpectrum(X, weight, k, n_threads, moments)
