"""Linear maps and quadratic forms of rows, in slices: what transforms, reconstructions and likelihoods of linear models are."""

import numpy as np
from scipy import sparse

from aefast._base import _statistics, threads
from aefast._base import arrays as check
from aefast._base._statistics import BAD_ROWS
from aefast._base.passes import Pace, slices
from aefast._base.sparse_rows import csr_arrays

OPERATIONS_A_SECOND = 4e10  # that a first slice reckons with
BLOCK_ROWS = 96
BLOCK_ENTRIES = 1 << 20  # of a block of wide rows


def project(rows, shift, B, *, offset=None, dtype=None, name="X", n_threads=None):
    """``(X − shift) B + offset`` (n, k), computed in the rows' real type unless another is given."""
    dtype = np.dtype(dtype or check.real_type(rows.dtype))
    if sparse.issparse(rows):
        return _project_sparse(rows, shift, B, dtype, n_threads)
    Z = np.empty((len(rows), B.shape[1]), dtype)
    _run(rows, shift, B, dtype, name, n_threads, {"offset": offset}, "Z", Z)
    if not np.isfinite(Z).all():
        raise FloatingPointError(
            f"a result overflows {dtype} though {name} is finite: scale it down"
        )
    return Z


def _project_sparse(rows, shift, B, dtype, n_threads):
    """``X B − shift B``: each product as it is, since a mean of sparse columns is no larger than their spread."""
    Z = np.empty((rows.shape[0], B.shape[1]), np.float64)
    work = 2.0 * rows.nnz * B.shape[1]
    n_threads = threads.effective_n_threads(n_threads, work)
    B = np.ascontiguousarray(B, np.float64)
    _statistics.sparse_product(*csr_arrays(rows.astype(np.float64, copy=False)), B, Z, n_threads)
    Z -= shift @ B
    return Z.astype(dtype, copy=False)


def quadratic_forms(rows, shift, B, p, sign, *, name="X", n_threads=None):
    """``Σ_j p_j (x − shift)_j² + sign ‖(x − shift) B‖²`` (n,) of each row, in float64."""
    out = np.empty(len(rows))
    _run(
        rows,
        shift,
        B,
        np.dtype(np.float64),
        name,
        n_threads,
        {"p": p, "sign": sign},
        "quadratic",
        out,
    )
    return out


def _run(rows, shift, B, dtype, name, n_threads, options, result, out):
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
            **arrays,
            **{result: out[part]},
        )
        if status & BAD_ROWS:
            raise check.bad_row_error(rows[part], name, check.ANYWHERE, dtype, first_row=part.start)
