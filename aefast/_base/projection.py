"""Linear maps and quadratic forms of rows, in slices: what transforms, reconstructions and
likelihoods of linear models are.
"""

import numpy as np
from scipy import sparse

from aefast._base import _statistics, threads
from aefast._base import arrays as check
from aefast._base._rows import BAD_ROWS
from aefast._base.errors import bad_row_error
from aefast._base.missing import is_incomplete
from aefast._base.passes import Pace, slices
from aefast._base.sparse_rows import csr_arrays

OPERATIONS_A_SECOND = 4e10  # that a first slice reckons with
BLOCK_ROWS = 96
BLOCK_ENTRIES = 1 << 20  # of a block of wide rows


def project(
    rows, shift, B, *, offset=None, dtype=None, name="X", n_threads=None, none_if_missing=False
):
    """``(X − shift) B + offset`` (n, k), computed in the rows' real type unless another is given.

    ValueError for entries that are not finite; with `none_if_missing` None where one is NaN.
    """
    dtype = np.dtype(dtype or check.real_type(rows.dtype))
    if sparse.issparse(rows):
        return _project_sparse(rows, shift, B, dtype, n_threads)
    Z = np.empty((len(rows), B.shape[1]), dtype)
    options = {"offset": offset}
    if not _run(rows, shift, B, dtype, name, n_threads, options, "Z", Z, none_if_missing):
        return None
    if not np.isfinite(Z).all():
        raise FloatingPointError(
            f"a result overflows {dtype} though {name} is finite: scale it down"
        )
    return Z


def _project_sparse(rows, shift, B, dtype, n_threads):
    """``X B − shift B``: each product as it is, since a mean of sparse columns is no larger than
    their spread.
    """
    Z = np.empty((rows.shape[0], B.shape[1]), np.float64)
    work = 2.0 * rows.nnz * B.shape[1]
    n_threads = threads.effective_n_threads(n_threads, work)
    B = np.ascontiguousarray(B, np.float64)
    _statistics.sparse_product(*csr_arrays(rows.astype(np.float64, copy=False)), B, Z, n_threads)
    Z -= shift @ B
    return Z.astype(dtype, copy=False)


def quadratic_forms(rows, shift, B, p, sign, *, name="X", n_threads=None, none_if_missing=False):
    """``Σ_j p_j (x − shift)_j² + sign ‖(x − shift) B‖²`` (n,) of each row, in float64.

    None and errors as of `project`.
    """
    out, options = np.empty(len(rows)), {"p": p, "sign": sign}
    done = _run(
        rows,
        shift,
        B,
        np.dtype(np.float64),
        name,
        n_threads,
        options,
        "quadratic",
        out,
        none_if_missing,
    )
    return out if done else None


def _run(rows, shift, B, dtype, name, n_threads, options, result, out, may_be_missing):
    """Fill `out` and return True, or return False where an entry is missing and that is no
    error.
    """
    d, k = B.shape
    arrays = {
        key: np.ascontiguousarray(value, dtype) if isinstance(value, np.ndarray) else value
        for key, value in options.items()
    }
    shift, B = np.ascontiguousarray(shift, dtype), np.ascontiguousarray(B, dtype)
    block_rows = max(1, min(BLOCK_ROWS, BLOCK_ENTRIES // (d + k)))
    n_threads = threads.effective_n_threads(n_threads, 2.0 * len(rows) * d * k)
    pace = Pace.expecting(block_rows, 2.0 * block_rows * d * k / OPERATIONS_A_SECOND)
    for part in slices(len(rows), pace, rows):
        status = _statistics.project(
            rows[part],
            shift,
            B,
            check.ANYWHERE,
            block_rows,
            n_threads,
            **arrays,  # type: ignore[arg-type]  # arrays, none of them `sign`
            **{result: out[part]},
        )
        if status & BAD_ROWS:
            if may_be_missing and is_incomplete(rows, name):
                return False
            raise bad_row_error(rows[part], name, check.ANYWHERE, dtype, first_row=part.start)
    return True
