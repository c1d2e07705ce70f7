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
from aefast._base.missing import is_incomplete
from aefast._base.passes import Pace, slices
from aefast._base.sparse_rows import check_widths, csr_arrays
from aefast._base.types import Array

OPERATIONS_A_SECOND = 4e10  # speed from which the size of the first slice is estimated
BLOCK_ROWS = 96  # largest number of rows in a block
BLOCK_ENTRIES = 1 << 20  # largest number of entries in a block of wide rows


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
    """Return ``X B − (shift B − offset)`` for sparse rows, each product computed alone.

    The subtraction is accurate because means of sparse columns are no larger than their spread.
    """
    Z = np.empty((rows.shape[0], B.shape[1]), np.float64)
    check_widths(rows, len(B))
    work = 2.0 * rows.nnz * B.shape[1]
    n_threads = threads.effective_n_threads(n_threads, work)
    B = np.ascontiguousarray(B, np.float64)
    with threads.same_bits():
        minus = shift @ B if offset is None else shift @ B - offset
    arrays = csr_arrays(rows.astype(np.float64, copy=False))
    status = _statistics.sparse_product(*arrays, B, Z, n_threads, minus=minus)
    try:
        with np.errstate(over="raise"):
            results = Z.astype(dtype, copy=False)
    except FloatingPointError:
        status |= NOT_FINITE
    if status & NOT_FINITE:
        raise overflow_of_row("a result", Z, dtype, rows, name)
    return results


def quadratic_forms(
    rows: Array,
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

    Errors and `none_if_missing` are those of `project`.
    """
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
