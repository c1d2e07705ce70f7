"""Linear maps and quadratic forms of rows, computed in slices.

Transforms, reconstructions and likelihoods of linear models are computed with them.
"""

from typing import Any

import numpy as np
from scipy import sparse

from aefast._base import _statistics, threads
from aefast._base import arrays as check
from aefast._base._rows import BAD_ROWS, NOT_FINITE
from aefast._base.errors import bad_row_error, overflow_of_row
from aefast._base.float_range import all_finite
from aefast._base.missing import is_incomplete
from aefast._base.passes import Pace, slices
from aefast._base.sparse_rows import CentredParts, centred_parts, check_widths, csr_arrays
from aefast._base.types import Array

OPERATIONS_A_SECOND = 4e10  # speed from which the size of the first slice is estimated
BLOCK_ROWS = 96  # largest number of rows in a block
BLOCK_ENTRIES = 1 << 20  # largest number of entries in a block of wide rows
MOST_ENTRIES = 1 << 24  # largest number of results, or dense entries, of a slice of sparse rows


def project(
    rows: Any,
    shift: Array,
    B: Array,
    *,
    offset: Array | None = None,
    dtype: Any = None,
    name: str = "X",
    n_threads: int | None = None,
    none_if_missing: bool = False,
) -> Any:
    """Return ``(X − shift) B + offset`` (n, k), in the rows' real type unless another is given.

    Raises ValueError for entries that are not finite, and FloatingPointError for results. With
    `none_if_missing`, None is returned where an entry is NaN.
    """
    dtype = np.dtype(dtype or check.real_type(rows.dtype))
    if sparse.issparse(rows):
        return _project_sparse(rows, shift, B, offset, dtype, name, n_threads)
    Z = np.empty((len(rows), B.shape[1]), dtype)
    options = {"offset": offset}
    if not _run(rows, shift, B, dtype, name, n_threads, options, "Z", Z, none_if_missing):
        return None
    return Z


def _project_sparse(
    rows: Any,
    shift: Array,
    B: Array,
    offset: Array | None,
    dtype: np.dtype[Any],
    name: str,
    n_threads: int | None,
) -> Array:
    """Return ``(X − shift) B + offset`` for sparse rows.

    The result is ``X B − (shift B − offset)`` for columns of few entries, whose means are no larger
    than their spread; other columns are centred first.
    """
    check_widths(rows, len(B))
    Z = np.empty((rows.shape[0], B.shape[1]), np.float64)
    B = np.ascontiguousarray(B, np.float64)
    status = 0
    for part in _slices_of_sparse(rows, B.shape[1]):
        status |= _product(centred_parts(rows[part], shift), B, offset, Z[part], n_threads)
    try:
        with np.errstate(over="raise"):
            results = Z.astype(dtype, copy=False)
    except FloatingPointError:
        status |= NOT_FINITE
    if status & NOT_FINITE:
        raise overflow_of_row("a result", Z, dtype, rows, name)
    return results


def _slices_of_sparse(rows: Any, n_columns: int) -> Any:
    """Cut sparse rows, so that neither results nor full columns of a slice take much memory."""
    n = rows.shape[0]
    widest = max(n_columns, 2 * rows.nnz // n + 1)
    return slices(n, Pace.fixed(max(1, MOST_ENTRIES // widest)))


def _product(
    parts: CentredParts, B: Array, offset: Array | None, out: Array, n_threads: int | None
) -> int:
    """Compute ``(X − shift) B + offset`` of a slice of sparse rows; return the kernel's status."""
    n_threads = threads.effective_n_threads(n_threads, 2.0 * parts.sparse.nnz * B.shape[1])
    with threads.same_bits():
        minus = parts.shift @ B if offset is None else parts.shift @ B - offset
    status = _statistics.sparse_product(*csr_arrays(parts.sparse), B, out, n_threads, minus=minus)
    if len(parts.full):
        with threads.same_bits(), np.errstate(over="ignore", invalid="ignore"):
            out += parts.centred @ B[parts.full]
        if not all_finite(out):
            status |= NOT_FINITE
    return status


def _quadratic_sparse(
    rows: Any,
    shift: Array,
    B: Array,
    p: Array | None,
    sign: float,
    name: str,
    n_threads: int | None,
) -> Array:
    """Return the results of `quadratic_forms` for sparse rows.

    Of a column of few entries, ``Σ p x (x − 2 shift)`` over its entries is added to
    ``p shift²``.
    """
    check_widths(rows, len(B))
    out, B = np.empty(rows.shape[0]), np.ascontiguousarray(B, np.float64)
    for part in _slices_of_sparse(rows, B.shape[1]):
        parts = centred_parts(rows[part], shift)
        Z = np.empty((parts.sparse.shape[0], B.shape[1]))
        _product(parts, B, None, Z, n_threads)
        with threads.same_bits(), np.errstate(over="ignore", invalid="ignore"):
            out[part] = sign * np.einsum("nk,nk->n", Z, Z)
            if p is not None:
                out[part] += parts.weighted_squares(p)
        if not all_finite(out[part]):
            raise overflow_of_row(
                "a squared distance", out[part], out.dtype, rows[part], name, part.start
            )
    return out


def quadratic_forms(
    rows: Any,
    shift: Array,
    B: Array,
    p: Array | None,
    sign: float,
    *,
    name: str = "X",
    n_threads: int | None = None,
    none_if_missing: bool = False,
) -> Array | None:
    """Return ``Σ_j p_j (x − shift)_j² + sign ‖(x − shift) B‖²`` (n,) of each row, in float64.

    Rows may be sparse. Errors and `none_if_missing` are those of `project`.
    """
    if sparse.issparse(rows):
        return _quadratic_sparse(rows, shift, B, p, sign, name, n_threads)
    out = np.empty(len(rows))
    options: dict[str, Any] = {"p": p, "sign": sign}
    dtype = np.dtype(np.float64)
    done = _run(rows, shift, B, dtype, name, n_threads, options, "quadratic", out, none_if_missing)
    return out if done else None


def _run(
    rows: Array,
    shift: Array,
    B: Array,
    dtype: np.dtype[Any],
    name: str,
    n_threads: int | None,
    options: dict[str, Any],
    result: str,
    out: Array,
    may_be_missing: bool,
) -> bool:
    """Fill `out` slice by slice through the kernel's argument `result`, and return True.

    Return False where an entry is missing and `may_be_missing`; raise for other invalid entries,
    and for results that are not finite.
    """
    d, k = B.shape
    arrays: dict[str, Any] = {
        key: np.ascontiguousarray(value, dtype) if isinstance(value, np.ndarray) else value
        for key, value in options.items()
    }
    with np.errstate(over="ignore"):  # the kernel finds results that are not finite
        shift, B = np.ascontiguousarray(shift, dtype), np.ascontiguousarray(B, dtype)
    block_rows = max(1, min(BLOCK_ROWS, BLOCK_ENTRIES // (d + k)))
    n_threads = threads.effective_n_threads(n_threads, 2.0 * len(rows) * d * k)
    pace = Pace.expecting(block_rows, 2.0 * block_rows * d * k / OPERATIONS_A_SECOND)
    for part in slices(len(rows), pace, rows):
        result_of_slice: dict[str, Any] = {result: out[part]}
        status = _statistics.project(
            rows[part],
            shift,
            B,
            check.ANYWHERE,
            block_rows,
            n_threads,
            **arrays,
            **result_of_slice,
        )
        if status & BAD_ROWS:
            if may_be_missing and is_incomplete(rows, name):
                return False
            raise bad_row_error(rows[part], name, check.ANYWHERE, dtype, first_row=part.start)
        if status & NOT_FINITE:
            what = "a result" if result == "Z" else "a squared distance"
            raise overflow_of_row(what, out[part], dtype, rows[part], name, part.start)
    return True
