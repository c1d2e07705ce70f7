"""Kernels for CSR matrices: sums of outer products, and products with dense matrices.

scipy.sparse is imported where a matrix is made or looked for: `aefast.ops` does without it.
"""

from typing import Any, NamedTuple

import numpy as np

from aefast._base import _statistics, threads
from aefast._base.types import Array


def csr_arrays(X: Any) -> tuple[Array, Array, Array]:
    """Return (row_begin, columns, values) in the types that kernels read.

    An array of the matrix that has the type already is not copied.
    """
    return (
        np.ascontiguousarray(X.indptr, np.int64),
        np.ascontiguousarray(X.indices, np.int32),
        np.ascontiguousarray(X.data),
    )


def as_dense(rows: Any) -> Any:
    """Return rows as an ndarray, which dense rows are already."""
    from scipy import sparse

    return rows.toarray() if sparse.issparse(rows) else rows


def check_widths(rows: Any, n_features: int) -> None:
    """Raise ValueError unless rows have as many columns as a model reads.

    Another thread may have fitted the estimator since its checks. Kernels compare dense rows
    themselves.
    """
    if rows.shape[1] != n_features:
        raise ValueError(
            f"a model that reads rows of {n_features} columns got rows of {rows.shape[1]}: the "
            "estimator must not be fitted to other columns while it is used"
        )


def has_small_means(X: Any, weight: Array | None, far: float) -> bool:
    """Return whether ``E x² ≤ far · var x`` for every column.

    Sums of squares that are not centred then lose no more than a digit or so to the means.
    """
    weight = np.ones(X.shape[0]) if weight is None else weight
    of_entries = np.repeat(weight, np.diff(X.indptr))
    d, total = X.shape[1], weight.sum()
    data = X.data.astype(np.float64, copy=False)
    with np.errstate(over="ignore", invalid="ignore"):  # sums that overflow are not small
        mean = np.bincount(X.indices, of_entries * data, d) / total
        square = np.bincount(X.indices, of_entries * data**2, d) / total
        return bool((square <= far * (square - mean**2)).all())


def add_scatter(
    X: Any, weight: Array | None, sums: Array, scatter: Array, n_threads: int | None
) -> None:
    """Compute ``sums += Σ w x`` (d,) and ``scatter += Σ w x xᵀ`` (d, d) in float64."""
    check_widths(X, len(sums))
    work = 2.0 * X.nnz * max(1, X.nnz // X.shape[0])
    n_threads = threads.effective_n_threads(n_threads, work)
    upper = np.zeros_like(scatter)
    _statistics.add_sparse(*csr_arrays(X), weight, sums, upper, n_threads)
    scatter += upper
    np.fill_diagonal(upper, 0.0)
    scatter += upper.T


class SparseRows:
    """Rows in CSR form as kernels of networks and of sparse coding read them.

    Slices of rows are views, whatever the type of the arrays: memory maps too.

    Parameters
    ----------
    row_begin : ndarray (n + 1,) of int64
        Entries of row i are at the places row_begin[i] to row_begin[i + 1] − 1.
    indices : ndarray of int32 or int64
        Columns, ascending within each row.
    values : ndarray of float32 or float64
    n_features : int
    absent_missing : bool, default=False
        Whether entries that are not stored are missing; otherwise they are 0.
    """

    __slots__ = ("absent_missing", "indices", "row_begin", "shape", "values")
    ndim = 2

    def __init__(
        self,
        row_begin: Array,
        indices: Array,
        values: Array,
        n_features: int,
        absent_missing: bool = False,
    ) -> None:
        self.row_begin, self.indices, self.values = row_begin, indices, values
        self.shape, self.absent_missing = (len(row_begin) - 1, n_features), absent_missing

    @classmethod
    def of(cls, X: Any, absent_missing: bool = False) -> "SparseRows":
        """Return the rows of a CSR matrix that `arrays.as_csr` has checked, without a copy."""
        indices = X.indices if X.indices.dtype in _INDEX_TYPES else X.indices.astype(np.int64)
        indices, values = (np.require(a, requirements=["C", "A"]) for a in (indices, X.data))
        begin = np.ascontiguousarray(X.indptr, np.int64)
        return cls(begin, indices, values, X.shape[1], absent_missing)

    @property
    def dtype(self) -> Any:
        return self.values.dtype

    @property
    def size(self) -> int:
        """Number of entries, stored or not."""
        return self.shape[0] * self.shape[1]

    @property
    def nnz(self) -> int:
        """Number of stored entries."""
        return int(self.row_begin[-1] - self.row_begin[0])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> "SparseRows":
        """Return some rows: a view for a slice of adjacent rows, otherwise a copy."""
        begin, n = self.row_begin, len(self)
        if isinstance(rows, slice):
            first, last, step = rows.indices(n)
            if step == 1:
                part = begin[first : max(last, first) + 1]
                return SparseRows(part, self.indices, self.values, *self._rest)
        rows = np.arange(n)[rows]
        counts = begin[rows + 1] - begin[rows]
        new = np.concatenate([[0], np.cumsum(counts)])
        places = np.arange(new[-1]) + np.repeat(begin[rows] - new[:-1], counts)
        return SparseRows(new, self.indices[places], self.values[places], *self._rest)

    @property
    def _rest(self) -> tuple[int, bool]:
        return self.shape[1], self.absent_missing

    @property
    def stored(self) -> tuple[Array, Array]:
        """Columns and values of the stored entries of these rows."""
        part = slice(int(self.row_begin[0]), int(self.row_begin[-1]))
        return self.indices[part], self.values[part]

    @property
    def counts(self) -> Array:
        """Number of stored entries of each row."""
        return np.diff(self.row_begin)

    def most_entries(self, n_rows: int) -> int:
        """Return the largest number of stored entries of n rows."""
        counts = self.counts
        if n_rows >= len(counts):
            return int(counts.sum())
        return int(np.partition(counts, len(counts) - n_rows)[-n_rows:].sum())

    def to_csr(self) -> Any:
        """Return the rows as a matrix of SciPy, which shares their arrays."""
        from scipy import sparse

        columns, values = self.stored
        begin = self.row_begin - self.row_begin[0]
        return sparse.csr_matrix((values, columns, begin), self.shape, copy=False)

    def toarray(self) -> Array:
        """Return the rows as an ndarray, with NaN for missing entries."""
        out = np.full(self.shape, np.nan if self.absent_missing else 0, self.dtype)
        columns, values = self.stored
        out[np.repeat(np.arange(len(self)), self.counts), columns] = values
        return out


_INDEX_TYPES = (np.dtype(np.int32), np.dtype(np.int64))


def dense_rows(rows: Any) -> Array:
    """Return rows, `SparseRows` or dense, as an ndarray."""
    return rows.toarray() if isinstance(rows, SparseRows) else rows


class CentredParts(NamedTuple):
    """Sparse rows ``X − shift``, of which columns with many entries are dense and centred."""

    sparse: Any  # (n, d), CSR of float64, without entries of the dense columns
    shift: Array  # (d,), 0 for the dense columns
    full: Array  # indices of the dense columns
    centred: Array  # (n, len(full))

    def weighted_squares(self, p: Array) -> Array:
        """Return ``Σ_j p_j (x − shift)_j²`` (n,) of each row."""
        from scipy import sparse

        X, shift = self.sparse, self.shift
        terms = p[X.indices] * X.data * (X.data - 2 * shift[X.indices])
        sums = sparse.csr_matrix((terms, X.indices, X.indptr), X.shape) @ np.ones(len(p))
        return sums + p @ shift**2 + np.square(self.centred) @ p[self.full]


def centred_parts(X: Any, shift: Array) -> CentredParts:
    """Return the centred parts of CSR rows.

    Columns are made dense where half of the entries are stored and the shift is not 0. In the
    others the mean is no larger than the spread, and centring may follow a product.
    """
    from scipy import sparse

    n = X.shape[0]
    counts = np.bincount(X.indices, minlength=len(shift))
    is_full = (2 * counts >= n) & (shift != 0)
    full = np.flatnonzero(is_full)
    X = X.astype(np.float64, copy=False)
    if not len(full):
        return CentredParts(X, shift, full, np.empty((n, 0)))
    with np.errstate(over="ignore"):
        centred = X[:, full].toarray() - shift[full]
    X = sparse.csr_matrix((np.where(is_full[X.indices], 0.0, X.data), X.indices, X.indptr), X.shape)
    return CentredParts(X, np.where(is_full, 0.0, shift), full, centred)


class SparseProducts:
    """Products ``X B`` and ``Xᵀ Y`` of a CSR matrix with dense ones; X is transposed only once."""

    def __init__(self, X: Any, n_threads: int | None) -> None:
        self.shape, self.dtype, self.nnz, self.n_threads = X.shape, X.dtype, X.nnz, n_threads
        self.rows, self.columns = csr_arrays(X), csr_arrays(X.T.tocsr())

    def times(self, B: Array, minus: Array | None = None) -> Array:
        """Return ``X B − minus``, with `minus` (k,) subtracted from each row."""
        return self._product(self.rows, self.shape[0], B, minus)

    def transposed_times(self, Y: Array) -> Array:
        """Return ``Xᵀ Y``."""
        return self._product(self.columns, self.shape[1], Y, None)

    def _product(
        self, arrays: tuple[Array, Array, Array], n_rows: int, B: Array, minus: Array | None
    ) -> Array:
        B = np.ascontiguousarray(B, self.dtype)
        minus = None if minus is None else np.ascontiguousarray(minus, self.dtype)
        out = np.empty((n_rows, B.shape[1]), self.dtype)
        n_threads = threads.effective_n_threads(self.n_threads, 2.0 * self.nnz * B.shape[1])
        _statistics.sparse_product(*arrays, B, out, n_threads, minus=minus)
        return out
