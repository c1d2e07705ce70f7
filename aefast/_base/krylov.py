"""Leading eigenpairs of the covariance of rows, from products with the rows alone.

The covariance of a wide table would not fit in memory.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from scipy import linalg, sparse
from sklearn.utils import check_random_state

from aefast._base import arrays as check
from aefast._base import threads
from aefast._base.checkpoint_files import Stored
from aefast._base.checkpoints import check_tensors
from aefast._base.errors import too_large_error
from aefast._base.float_range import USUAL_EXPONENT, without_unit
from aefast._base.passes import Pace, slices
from aefast._base.progress import iteration
from aefast._base.reference_point import FAR
from aefast._base.replay import Kept, confirm_once
from aefast._base.saving import COUNT, FLAG, check_entries
from aefast._base.scan import scan_rows
from aefast._base.sparse_rows import SparseProducts, has_small_means
from aefast._base.types import Array, RandomState
from aefast._base.warnings import warn_of_iterations

EXTRA = 10  # columns of a block beyond the number of components asked for
BLOCK_UNIT = 16  # the number of columns of a block is a multiple: whole cache lines
SMALLEST_NEW = 1e-12  # least squared length of a unit vector's new part, for which it is added
_LANCZOS = {"n_iter": COUNT, "converged": FLAG}  # checks of the state in a checkpoint
MOST_BLOCKS = 8  # largest number of blocks in the basis, before a restart from its best vectors


class Found(NamedTuple):
    """Leading eigenpairs of a covariance."""

    values: Array  # (k,), descending
    vectors: Array  # (k, d), one eigenvector a row
    total: float  # total variance
    mean: Array  # (d,)
    n_iter: int  # products with the covariance, each of which reads the rows twice


class DenseCovariance:
    """Products ``C Q`` for dense rows, centred in slices; a missing entry counts as the mean.

    Rows of float32 are centred by the mean in two parts, of which the first is rounded to float32:
    the difference with it is exact where a mean is large beside the spread, and the second part
    is what rounding left out of the mean. Where `variances` (d,) are given and all means are small
    beside them, rows are centred within the products, as sparse rows are, without a copy.
    """

    ENTRIES = 1 << 22  # of a slice of rows

    def __init__(
        self,
        X: Array,
        weight: Array,
        mean: Array,
        has_missing: bool,
        variances: Array | None = None,
    ) -> None:
        self.X, self.mean = X, mean.astype(check.real_type(X.dtype))
        self.rest = (mean - self.mean).astype(self.mean.dtype)
        self.weight, self.has_missing = weight / weight.sum(), has_missing
        self.is_near = (
            variances is not None
            and X.dtype == self.mean.dtype
            and not has_missing
            and bool((mean**2 <= FAR * variances).all())
        )

    def centred(self, part: slice) -> Array:
        """Return the centred rows of a slice, in the real type of the computation."""
        rows = self.X[part] - self.mean
        if self.rest.any():
            rows -= self.rest
        if self.has_missing:
            rows[np.isnan(rows)] = 0
        return rows

    def times(self, Q: Array) -> Array:
        out = np.zeros_like(Q)
        Q = Q.astype(self.mean.dtype, copy=False)
        for part in slices(
            len(self.X), Pace.fixed(max(1, self.ENTRIES // self.X.shape[1])), self.X
        ):
            weight = self.weight[part, None].astype(Q.dtype, copy=False)
            rows = self.X[part] if self.is_near else self.centred(part)
            Y = rows @ Q
            if self.is_near:
                Y -= self.mean @ Q
            Y *= weight
            out += rows.T @ Y
            if self.is_near:
                out -= np.outer(self.mean, Y.sum(axis=0))
        return out


class SparseCovariance:
    """Products ``C Q`` for sparse rows, which are centred within both products.

    With the mean m and ``Y = diag(w) (X Q − 1 (m Q)) / Σ w`` the product is ``Xᵀ Y − mᵀ (1 Y)``.
    Columns without a zero are centred by themselves beforehand. In every other column the mean is
    at most √n standard deviations, so that little is lost to it in float64; rows of float32 are
    multiplied in float64 too unless all of these means are small.
    """

    def __init__(self, X: Any, weight: Array, mean: Array, n_threads: int | None) -> None:
        n, d = X.shape
        is_full = np.bincount(X.indices, minlength=d) == n
        reference = np.where(is_full, mean, 0.0)
        self.mean = mean - reference
        if reference.any():
            data = X.data.astype(np.float64) - reference[X.indices]
            X = sparse.csr_matrix((data.astype(X.dtype), X.indices, X.indptr), X.shape)
        if not has_small_means(X, weight, FAR):
            X = X.astype(np.float64, copy=False)
        self.products = SparseProducts(X, n_threads)
        self.weight = (weight / weight.sum())[:, None]

    def times(self, Q: Array) -> Array:
        dtype = self.products.dtype
        Y = self.products.times(Q, minus=self.mean @ Q) * self.weight.astype(dtype)
        product = self.products.transposed_times(Y).astype(np.float64, copy=False)
        return product - np.outer(self.mean, Y.sum(axis=0, dtype=np.float64))


def _mean_and_variance(
    X: Any, weight: Array, means: Array | None, name: str
) -> tuple[Array, float] | None:
    """Return the mean (d,) and the total variance, or None where an entry is missing.

    The variance is computed about the mean, in a second pass. With `means`, missing entries count
    as these. Raises ValueError for infinite entries.
    """
    n, d = X.shape
    weight_sum = weight.sum()
    if sparse.issparse(X):
        values = X.data.astype(np.float64, copy=False)
        of_entries = np.repeat(weight, np.diff(X.indptr))
        # Zeros of a column weigh what its entries do not; a column without zeros has no rounding.
        stored = np.bincount(X.indices, of_entries, d)
        is_full = np.bincount(X.indices, minlength=d) == n
        zeros = np.where(is_full, 0.0, np.maximum(weight_sum - stored, 0.0))
        mean = np.bincount(X.indices, of_entries * values, d) / weight_sum
        mean += (
            np.where(
                is_full, np.bincount(X.indices, of_entries * (values - mean[X.indices]), d), 0.0
            )
            / weight_sum
        )
        with np.errstate(over="ignore"):
            squares = of_entries @ np.square(values - mean[X.indices]) + zeros @ mean**2
        return mean, float(squares / weight_sum)
    mean, dtype = means, check.real_type(X.dtype)
    if means is None:
        found = scan_rows(X, n, dtype, None, name=name, sample_weight=weight, none_if_missing=True)
        if found is None:
            return None
        mean = found.means
    pace, total = Pace.fixed(max(1, (1 << 20) // d)), 0.0
    with np.errstate(over="ignore"):
        for part in slices(n, pace, X):
            squares = np.square(X[part].astype(np.float64) - mean)
            total += float(weight[part] @ np.nansum(squares, axis=1))
    return mean, total / float(weight_sum)


def checked_moments(
    X: Any, weight: Array, means: Array | None, name: str
) -> tuple[Array, float] | None:
    """Return the mean (d,) and the total variance, or None where an entry is missing.

    Parameters are those of `leading_eigenpairs`. Raises ValueError for infinite entries, and where
    the variance is 0 or its squares overflow or underflow float64.
    """
    moments = _mean_and_variance(X, weight, means, name)
    if moments is None:
        return None
    total = moments[1]
    if not np.isfinite(total):
        raise too_large_error("the squares of X", np.dtype(np.float64))
    if not total > 0:
        raise ValueError(
            "the rows have no variance: expected at least 2 different ones, got n_samples = "
            f"{X.shape[0]}"
        )
    if total < np.finfo(np.float64).tiny * X.shape[1]:
        raise ValueError(f"the squares of {name} underflow float64: scale {name} up")
    return moments


@threads.with_same_bits
def leading_eigenpairs(
    X: Any,
    k: int,
    tol: float,
    max_iter: int,
    random_state: RandomState | None,
    n_threads: int | None,
    *,
    weight: Array | None = None,
    means: Array | None = None,
    name: str = "X",
    confirms: bool = False,
) -> Found | None:
    """Return the k largest eigenvalues and eigenvectors of the covariance of rows.

    The covariance is ``C = Σ w (x − mean)(x − mean)ᵀ / Σ w``, the method block Lanczos with full
    orthogonalisation and thick restarts (Golub & Van Loan 2013, §10.3.6; Halko et al. 2011). A step
    multiplies a block Q of vectors by C, which takes two products with X; ``C B`` of the whole
    basis B is stored, so that the Rayleigh-Ritz procedure needs no further product. Iterations end
    when ``‖C v − λ v‖² ≤ tol λ²`` for all k pairs (an eigenvalue's error is quadratic in that
    norm), or after max_iter steps, with a ConvergenceWarning.

    Parameters
    ----------
    X : ndarray or CSR matrix (n, d)
    k : int
    tol : float
    max_iter : int
    random_state : int, RandomState instance or None
    n_threads : int or None
    weight : ndarray (n,), optional
        w, not negative and not all zero; default 1.
    means : ndarray (d,), optional
        Means of the observed entries of the columns. Where given, entries of X may be missing
        (NaN), and count as the mean of their column.
    name : str or TableName
        Name of X in errors.
    confirms : bool
        Whether a checkpoint of the fit knows the rows by these means.

    Returns
    -------
    Found or None
        None where an entry of X is missing and no means are given.
    """
    weight = np.ones(X.shape[0]) if weight is None else without_unit(weight)[0]
    moments = checked_moments(X, weight, means, name)
    if moments is None:
        return None
    mean, total = moments
    if confirms:
        confirm_once(column_means=mean)
    if sparse.issparse(X):
        C: Any = SparseCovariance(X, weight, mean, n_threads)
    else:
        C = DenseCovariance(X, weight, mean, means is not None)
    # Iterations work with unit² C, whose entries and their squares neither underflow nor overflow.
    exponent = math.frexp(total)[1] // 2
    unit = 1.0 if abs(exponent) <= USUAL_EXPONENT // 2 else math.ldexp(1.0, -exponent)
    total *= unit**2
    basis = starting_block(X.shape[1], k, check_random_state(random_state), min(X.shape))
    floor = total / X.shape[1]
    times, kept = lambda Q: unit * C.times(unit * Q), Kept("Lanczos")
    found = block_lanczos(times, basis, k, tol, floor, max_iter, kept)
    if not found.converged:
        warn_of_iterations(max_iter)
    values, total = np.maximum(found.values[:k], 0.0) / unit**2, total / unit**2
    return Found(values, found.vectors[:, :k].T, total, mean, found.n_iter)


class RowsCovariance(NamedTuple):
    """Covariance of rows that is known by its products."""

    C: DenseCovariance | SparseCovariance
    mean: Array  # (d,)
    variances: Array  # (d,)


def covariance_of_rows(
    X: Any, weight: Array | None, n_threads: int | None, name: str
) -> RowsCovariance | None:
    """Return the covariance of rows, or None where an entry is missing.

    Parameters and errors are those of `leading_eigenpairs`.
    """
    weight = np.ones(X.shape[0]) if weight is None else without_unit(weight)[0]
    moments = checked_moments(X, weight, None, name)
    if moments is None:
        return None
    mean, share = moments[0], weight / weight.sum()
    if sparse.issparse(X):
        # A zero adds mean²; a column without zeros has no such term, nor its rounding.
        zeros = np.where(np.bincount(X.indices, minlength=X.shape[1]) == X.shape[0], 0.0, mean**2)
        squares = np.square(X.data - mean[X.indices]) - zeros[X.indices]
        of_entries = np.repeat(share, np.diff(X.indptr))
        variances = np.maximum(np.bincount(X.indices, of_entries * squares, X.shape[1]) + zeros, 0)
        return RowsCovariance(SparseCovariance(X, weight, mean, n_threads), mean, variances)
    variances = np.zeros(X.shape[1])
    for part in slices(len(X), Pace.fixed(max(1, (1 << 20) // X.shape[1])), X):
        variances += share[part] @ np.square(X[part].astype(np.float64) - mean)
    C = DenseCovariance(X, weight, mean, False, variances)
    return RowsCovariance(C, mean, variances)


def starting_block(d: int, k: int, random: Any, most: int) -> Array:
    """Return a random orthonormal block (d, k + some columns), of at most `most` columns."""
    width = min(-(-(k + EXTRA) // BLOCK_UNIT) * BLOCK_UNIT, most)
    return linalg.qr(random.standard_normal((d, width)), mode="economic")[0]


class Ritz(NamedTuple):
    """Approximate eigenpairs, as many as a block has columns, and how they were found."""

    values: Array  # (width,), descending
    vectors: Array  # (d, width), one eigenvector a column
    n_iter: int  # products of a block
    converged: bool


def block_lanczos(
    times: Callable[[Array], Array],
    block: Array,
    k: int,
    tol: float,
    floor: float,
    max_iter: int,
    kept: Kept | None = None,
) -> Ritz:
    """Return the leading eigenpairs of a symmetric positive semidefinite matrix A.

    Parameters
    ----------
    times : callable
        Returns ``A Q`` for a block Q of columns.
    block : ndarray (d, width)
        Orthonormal columns to start from, at least k: random ones, or the eigenvectors of a matrix
        near A.
    k : int
    tol, floor : float
        A pair (λ, v) is accepted where ``‖A v − λ v‖² ≤ tol max(λ, floor)²``. It is a certificate:
        the norm bounds the distance of λ from an eigenvalue.
    max_iter : int
    kept : Kept or None
        Where basis and image are stored.
    """
    d, width = block.shape
    n_before, basis, image = 0, block, None
    if kept is not None and kept.found is not None:
        if kept.is_over:
            return _end_of(kept.found, d, width)
        n_before, basis, image = _place_of(kept.found, d, width)
    image = times(block) if image is None else image
    for n_iter in range(n_before + 1, max_iter + 1):
        values, U = linalg.eigh(_symmetric(basis.T @ image))
        values, U = values[::-1][:width], U[:, ::-1][:, :width]
        ritz, ritz_image = basis @ U, image @ U
        residuals = ritz_image - ritz * values
        errors = np.linalg.norm(residuals[:, :k], axis=0)
        iteration(residual=float(errors.max(initial=0.0)))
        is_found = (errors**2 <= tol * np.maximum(values[:k], floor) ** 2).all()
        if is_found or n_iter == max_iter:
            break
        if basis.shape[1] + width > min(d, MOST_BLOCKS * width):
            basis, image = ritz, ritz_image
        Q = _orthogonal_to(basis, residuals)
        if Q.shape[1] == 0:
            is_found = True
            break
        # in the order in which a checkpoint has them, so that products have the same bits
        basis = np.ascontiguousarray(np.hstack([basis, Q]))
        image = np.ascontiguousarray(np.hstack([image, times(Q)]))
        if kept is not None:
            kept.keep(n_iter, partial(_saved, n_iter, {"basis": basis, "image": image}))
    if kept is not None:
        kept.end(*_saved(n_iter, {"values": values, "vectors": ritz}, bool(is_found)))
    return Ritz(values, ritz, n_iter, bool(is_found))


def _saved(
    n_iter: int, tensors: dict[str, Array], converged: bool = False
) -> tuple[dict[str, Any], dict[str, Array]]:
    return {"n_iter": n_iter, "converged": converged}, tensors


def _place_of(found: Stored, d: int, width: int) -> tuple[int, Array, Array]:
    """Return the number of iterations, basis and image of a checkpoint."""
    check_entries("Lanczos", found.state, _LANCZOS)
    columns = found.tensors["basis"].shape[-1] if "basis" in found.tensors else 0
    blank = np.empty((d, columns))
    check_tensors(found.tensors, {"basis": blank, "image": blank})
    if not width <= columns <= d:
        raise ValueError(f"expected a basis of {width} to {d} vectors, got {columns}")
    return found.state["n_iter"], found.tensors["basis"], found.tensors["image"]


def _end_of(found: Stored, d: int, width: int) -> Ritz:
    check_entries("Lanczos", found.state, _LANCZOS)
    check_tensors(found.tensors, {"values": np.empty(width), "vectors": np.empty((d, width))})
    values, vectors = found.tensors["values"], found.tensors["vectors"]
    return Ritz(values, vectors, found.state["n_iter"], found.state["converged"])


def _symmetric(A: Array) -> Array:
    return 0.5 * (A + A.T)


def _orthogonal_to(basis: Array, block: Array) -> Array:
    """Return an orthonormal basis of what a block adds to the span of `basis`.

    The block is orthogonalised through its Gram matrix, twice for orthogonality to rounding.
    """
    norms = np.linalg.norm(block, axis=0)
    block = block[:, norms > 0] / norms[norms > 0]
    for _ in range(2):
        block = block - basis @ (basis.T @ block)
        values, U = linalg.eigh(block.T @ block)
        kept = values > SMALLEST_NEW
        block = block @ (U[:, kept] / np.sqrt(values[kept]))
    return block
