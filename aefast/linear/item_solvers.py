"""Closed form of `ItemAutoencoder`: Gram matrix, inverse in place, sparse columns.

One matrix of items by items is allocated. Its upper triangle holds ``Xᵀ X + l2 I``, then the
inverse; its lower one keeps the Gram matrix for the columns that are refitted.
"""

from typing import Any

import numpy as np
from scipy import sparse

from aefast._base import _items, memory, scalars, threads
from aefast._base.passes import Pace, slices
from aefast._base.progress import iteration, iterations, note
from aefast._base.sparse_rows import SparseProducts, csr_arrays
from aefast._base.types import Array

BLOCK = 512  # rows and columns of a block that NumPy transposes or divides
NOTED_BYTES = 1 << 30  # a matrix from this size on is told to users who want to see progress
OPERATIONS_A_SECOND = 2e10  # speed from which the size of the first slice is estimated
ENOUGH = 1e-3  # error of the equations up to which float32 has digits enough


def check_memory(n_items: int, dtype: Any, verbose: Any) -> None:
    """Raise MemoryError where a matrix of items by items has no room; tell its size if large."""
    n_bytes = n_items**2 * np.dtype(dtype).itemsize
    narrower = "precision='float32' takes half; " if np.dtype(dtype) == np.float64 else ""
    memory.check_room(
        n_bytes,
        f"the matrix of {n_items:,} × {n_items:,} items in {np.dtype(dtype)}",
        f"{narrower}n_components=128, say, takes {memory.as_text(128 * 4 * n_items)}; or leave out "
        "rare items",
    )
    if n_bytes >= NOTED_BYTES:
        note(verbose, f"a matrix of {n_items:,} × {n_items:,} items: {memory.as_text(n_bytes)}")


def gram(X: Any, weight: Array | None, dtype: Any, n_threads: int | None) -> Array:
    """Return a matrix (d, d) with the upper triangle of ``Σ w x xᵀ`` over the rows of a CSR matrix.

    Sums are in float64, the result in `dtype`.
    """
    n, d = X.shape
    if n > scalars.LARGEST_SIZE:
        raise ValueError(f"at most {scalars.LARGEST_SIZE} users are supported, got {n}")
    begin, columns, values = csr_arrays(X.astype(dtype, copy=False))
    places = sparse.csr_array((np.arange(X.nnz), X.indices, X.indptr), shape=X.shape).tocsc()
    by_column = (
        np.ascontiguousarray(places.indptr, np.int64),
        np.ascontiguousarray(places.indices, np.int32),
        np.ascontiguousarray(places.data, np.int64),
    )
    G = np.empty((d, d), dtype)
    cost = X.nnz / d * (X.nnz / n) + d  # of a row of G
    team = threads.effective_n_threads(n_threads, cost * d)
    for part in slices(d, Pace.expecting(64, 64 * cost / 1e9)):
        _items.gram(begin, columns, values, *by_column, weight, G, part.start, part.stop, team)
    return G


def invert(A: Array, diagonal: Array, n_threads: int | None, verbose: Any) -> bool:
    """Replace the upper triangle of a positive definite A (d, d) by that of ``−A⁻¹``, in place.

    Returns False where A is singular to rounding.
    """
    d = len(A)
    team = threads.effective_n_threads(n_threads, 1.0 * d**3)
    inversion = _items.Inversion(A, diagonal, team)
    n_items = inversion.n_items
    with threads.single_threaded_blas(), iterations(verbose, "inverse"):
        for block in range(inversion.n_blocks):
            cost = d**3 / inversion.n_blocks / n_items / OPERATIONS_A_SECOND
            for part in slices(n_items, Pace.expecting(1, cost or 1e-9)):
                if inversion.step(block, part.start, part.stop):
                    return False
            iteration(blocks=inversion.n_blocks)
    return True


def _squares(d: int) -> Any:
    """Yield pairs of slices that cut the upper triangle of a matrix (d, d) into blocks."""
    for i in range(0, d, BLOCK):
        for j in range(i, d, BLOCK):
            yield slice(i, min(d, i + BLOCK)), slice(j, min(d, j + BLOCK))


def mirror(A: Array) -> None:
    """Copy the upper triangle of A (d, d) to the lower one."""
    for rows, columns in _squares(len(A)):
        if rows == columns:
            A[rows, columns] = np.triu(A[rows, columns]) + np.triu(A[rows, columns], 1).T
        else:
            A[columns, rows] = A[rows, columns].T


def divide(A: Array) -> Array:
    """Turn the upper triangle of −P into ``B_ij = −P_ij / P_jj`` with a diagonal of 0, in place.

    Returns the diagonal of P.
    """
    P = -np.diagonal(A)
    for rows, columns in _squares(len(A)):
        block = A[rows, columns]
        if rows == columns:
            block = np.triu(block, 1) + np.triu(block, 1).T
            A[rows, columns] = block / P[columns]
        else:
            A[columns, rows] = block.T / P[rows]
            A[rows, columns] = block / P[columns]
    return P


def sparse_columns(A: Array, diagonal: Array, n_kept: int, n_threads: int | None) -> Any:
    """Return a CSC matrix of the largest entries of each column of B, refitted; None if singular.

    The upper triangle of A is that of −P, the lower one that of the Gram matrix.
    """
    d = len(A)
    rows = np.empty((d, n_kept), np.int32)
    for first in range(0, d, BLOCK):
        J = slice(first, min(d, first + BLOCK))
        sizes = np.empty((d, J.stop - first), A.dtype)
        sizes[:first] = A[:first, J]
        sizes[J] = np.triu(A[J, J], 1) + np.triu(A[J, J], 1).T
        sizes[J.stop :] = A[J, J.stop :].T
        np.abs(sizes, out=sizes)
        sizes[np.arange(first, J.stop), np.arange(J.stop - first)] = -1  # never itself
        largest = np.argpartition(-sizes, n_kept - 1, axis=0)[:n_kept]
        rows[J] = np.sort(largest, axis=0).T
    begin = np.arange(d + 1, dtype=np.int64) * n_kept
    values = np.empty(d * n_kept, A.dtype)
    cost = n_kept**3 / 3.0 + n_kept**2
    team = threads.effective_n_threads(n_threads, cost * d)
    for part in slices(d, Pace.expecting(1, cost / 2e9)):
        if _items.refit(
            A, diagonal, begin, rows.ravel(), n_kept, values, part.start, part.stop, team
        ):
            return None
    return sparse.csc_array((values, rows.ravel(), begin), shape=(d, d))


def error_of_equations(
    B: Array, P: Array, X: Any, weight: Array | None, l2: float, n_threads: int | None
) -> float:
    """Return the relative error of ``(Xᵀ X + l2 I)(I − B) v = v / diag P`` for a vector of ±1."""
    v = np.where(np.random.default_rng(0).random(len(B)) < 0.5, -1.0, 1.0)
    with threads.same_bits():
        u = v - (B @ v.astype(B.dtype)).astype(np.float64)
    products = SparseProducts(X.astype(np.float64), n_threads)
    Y = products.times(u[:, None])
    if weight is not None:
        Y *= weight[:, None]
    left = products.transposed_times(Y)[:, 0] + l2 * u
    return float(np.sqrt(np.mean((left * P / v - 1) ** 2)))
