"""Leading eigenpairs of the covariance of rows, from products with the rows alone: wide tables have no room for the covariance."""

from typing import NamedTuple

import numpy as np
from scipy import linalg, sparse
from sklearn.utils import check_random_state

from aefast import _validation as check
from aefast._sparse import SparseProducts

EXTRA = 10  # columns of a block beyond the components asked for
MOST_BLOCKS = 8  # in the basis, before it is restarted from its best vectors


class Found(NamedTuple):
    values: np.ndarray  # (k,), falling
    vectors: np.ndarray  # (k, d)
    total: float  # variance
    mean: np.ndarray  # (d,)
    n_iter: int  # passes over the rows, there and back


class _DenseProducts:
    """``X B`` and ``Xᵀ Y``, of rows that are converted some at a time."""

    ROWS = 4096

    def __init__(self, X):
        self.X, self.shape = X, X.shape

    def times(self, B):
        B = B.astype(check.real_type(self.X.dtype), copy=False)
        return np.vstack([self.X[part] @ B for part in self._parts()])

    def transposed_times(self, Y):
        Y = Y.astype(check.real_type(self.X.dtype), copy=False)
        return sum((self.X[part].T @ Y[part]).astype(np.float64) for part in self._parts())

    def _parts(self):
        return [slice(i, i + self.ROWS) for i in range(0, len(self.X), self.ROWS)]


def _moments(X):
    """(mean, total variance) of the columns; ValueError for entries that are not finite."""
    n = X.shape[0]
    if sparse.issparse(X):
        values = X.data.astype(np.float64, copy=False)
        mean = np.bincount(X.indices, values, X.shape[1]) / n
        return mean, float((values**2).sum() / n - (mean**2).sum())
    mean = check.scan_rows(X, np.arange(n), "gaussian", check.real_type(X.dtype), None)
    step = max(1, (1 << 20) // X.shape[1])
    parts = (X[i : i + step].astype(np.float64) - mean for i in range(0, n, step))
    return mean, float(sum((part**2).sum() for part in parts) / n)


def leading_eigenpairs(X, k, tol, max_iter, random_state, n_threads):
    """The k largest eigenvalues of ``C = (X − mean)ᵀ(X − mean) / n`` and their vectors, by block Lanczos with full orthogonalisation and thick restarts.

    A step multiplies a block Q of vectors by C, which takes two products with X; ``C B`` of the whole basis B is kept, so that Rayleigh-Ritz needs none. Ends
    when ``‖C v − λ v‖ ≤ tol λ`` for all k pairs, or after max_iter steps, with a ConvergenceWarning (Golub & Van Loan 2013, §10.3.6; Halko et al. 2011).

    Parameters
    ----------
    X : ndarray or CSR matrix (n, d)
    k : int
    tol : float
    max_iter : int
    random_state : as of scikit-learn
    n_threads : int or None

    Returns
    -------
    Found
    """
    mean, total = _moments(X)
    if not total > 0:
        raise ValueError(
            f"the rows have no variance: expected at least 2 different ones, got n_samples = {X.shape[0]}"
        )
    products = SparseProducts(X, n_threads) if sparse.issparse(X) else _DenseProducts(X)
    (n, d), width = X.shape, min(k + EXTRA, *X.shape)

    def times_covariance(Q):
        Y = products.times(Q).astype(np.float64, copy=False) - mean @ Q
        return (products.transposed_times(Y) - np.outer(mean, Y.sum(axis=0))) / n

    random = check_random_state(random_state)
    Q = linalg.qr(random.standard_normal((d, width)), mode="economic")[0]
    basis, image = Q, times_covariance(Q)
    for n_iter in range(1, max_iter + 1):
        values, U = linalg.eigh(_symmetric(basis.T @ image))
        values, U = values[::-1], U[:, ::-1]
        leading = U[:, :width]
        ritz, ritz_image = basis @ leading, image @ leading
        residuals = ritz_image - ritz * values[:width]
        errors = np.linalg.norm(residuals[:, :k], axis=0)
        if (errors <= tol * np.maximum(values[:k], total / d * tol)).all():
            break
        if n_iter == max_iter:
            check.warn_of_iterations(max_iter)
            break
        if basis.shape[1] + width > min(d, MOST_BLOCKS * width):
            basis, image = ritz, ritz_image
        Q = _orthogonal_to(basis, residuals)
        if Q.shape[1] == 0:
            break
        basis, image = np.hstack([basis, Q]), np.hstack([image, times_covariance(Q)])
    return Found(np.maximum(values[:k], 0.0), ritz[:, :k].T, total, mean, n_iter)


def _symmetric(A):
    return 0.5 * (A + A.T)


def _orthogonal_to(basis, block):
    """An orthonormal basis of what a block adds to the span of another one."""
    norms = np.linalg.norm(block, axis=0)
    block = block[:, norms > 0] / norms[norms > 0]
    for _ in range(2):
        block = block - basis @ (basis.T @ block)
        Q, R, _ = linalg.qr(block, mode="economic", pivoting=True)
        size = np.abs(np.diagonal(R))
        block = Q[:, size > 1e-10] if len(size) else Q
    return block
