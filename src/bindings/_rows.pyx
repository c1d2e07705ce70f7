# cython: freethreading_compatible=True
"""Checks of tables of rows, sums of their columns, and the statuses that kernels return."""

import numpy as np

from aefast._base import _runtime

cimport numpy as cnp
from libc.stdint cimport INT32_MAX, int64_t

from _arrays cimport (
    ROWS_UINT8,
    STATUS_BAD_ROWS,
    STATUS_NOT_FINITE,
    check_size,
    data_of,
    kind_of,
    rows_view,
    view_rows,
)

cnp.import_array()


cdef extern from "kernels/products/scan.h":
    ctypedef struct scan_job:
        rows_view rows
        int64_t n_features
        int n_threads
        const double* sample_weight
        double* column_sums
        double* column_weights
        double* column_low
        double* column_high
        int status

    ctypedef struct units_job:
        void* values
        int64_t n_rows
        int64_t n_features
        int n_threads
        const double* scale
        const double* shift
        int status

    ctypedef struct scan_kernels:
        void (*scan)(scan_job*) noexcept nogil
        void (*restore_units)(units_job*) noexcept nogil

    const scan_kernels* scan_tables[][2]


cdef extern from "kernels/base/csr.h":
    ctypedef struct csr_view:
        const int64_t* row_begin
        const int64_t* columns
        int64_t n_rows
        int64_t n_columns
        int64_t n_entries

    enum:
        CSR_VALID
        CSR_OFFSETS
        CSR_COLUMNS

    int check_csr(const csr_view*, int64_t*) noexcept nogil


cdef extern from "kernels/base/interleave.h":
    void interleave_columns "interleave"(const char* const*, int64_t, size_t, int64_t, int64_t,
                                         char*, int64_t) noexcept nogil


NOT_FINITE = STATUS_NOT_FINITE  # a result is not finite
BAD_ROWS = STATUS_BAD_ROWS  # an entry of the rows fails the check


cdef const scan_kernels* kernels_of(cnp.ndarray array):
    """Return the kernels for this array's real type and the instruction set in use."""
    return scan_tables[<int> _runtime.isa_index()][cnp.PyArray_TYPE(array) == cnp.NPY_FLOAT64]


def is_plain(array, int n_dimensions):
    """Return whether a kernel can read `array` as it is.

    This holds for an ndarray, not of a subclass, that has n_dimensions dimensions, is not empty, is
    C-contiguous, aligned, in native byte order and of a type that kernels read. The number of
    columns of a matrix must fit 32 bits."""
    if not cnp.PyArray_CheckExact(array):
        return False
    cdef cnp.ndarray a = array
    cdef int kind = cnp.PyArray_TYPE(a)
    if cnp.PyArray_NDIM(a) != n_dimensions or cnp.PyArray_SIZE(a) == 0:
        return False
    if not cnp.PyArray_CHKFLAGS(a, cnp.NPY_ARRAY_CARRAY_RO) or not cnp.PyArray_ISNOTSWAPPED(a):
        return False
    if n_dimensions == 2 and cnp.PyArray_DIM(a, 1) > INT32_MAX:
        return False
    return kind in (cnp.NPY_FLOAT32, cnp.NPY_FLOAT64, cnp.NPY_UINT8, cnp.NPY_BOOL)


def may_overlap(cnp.ndarray out, cnp.ndarray array):
    """Return whether the bytes of two arrays may overlap, as np.may_share_memory does."""
    cdef const char* begin = cnp.PyArray_BYTES(out)
    cdef const char* other = cnp.PyArray_BYTES(array)
    if not (cnp.PyArray_IS_C_CONTIGUOUS(out) and cnp.PyArray_IS_C_CONTIGUOUS(array)):
        return np.may_share_memory(out, array)
    return (begin < other + cnp.PyArray_NBYTES(array)
            and other < begin + cnp.PyArray_NBYTES(out))


def scan(cnp.ndarray X, order, domain, cnp.ndarray real_example, n_threads, cnp.ndarray sums,
         cnp.ndarray weights, *, bint missing=False, sample_weight=None, low=None, high=None):
    """Check rows, sum their columns and return the status.

    Entries are checked after conversion to the real type of `real_example`; with `missing`, NaN
    passes. Each column's entries times their rows' weights are added to `sums` (d,) float64, the
    weights to `weights`. `low` and `high` are updated with the least and the greatest entries."""
    cdef scan_job job
    cdef const scan_kernels* kernels = kernels_of(real_example)
    job.rows, job.n_threads = view_rows(X, order, domain), n_threads
    job.n_features = cnp.PyArray_DIM(X, 1)
    job.rows.missing = missing
    job.sample_weight = <const double*> data_of(sample_weight)
    job.column_sums, job.column_weights = <double*> data_of(sums), <double*> data_of(weights)
    job.column_low, job.column_high = <double*> data_of(low), <double*> data_of(high)
    with nogil:
        kernels.scan(&job)
    return job.status


def restore_units(cnp.ndarray values, cnp.ndarray scale, cnp.ndarray shift, int n_threads):
    """Turn values (n, d), contiguous reals, into values scale + shift in place; return the status.

    `scale` and `shift` (d,) are float64. Each of both operations rounds to the type of values."""
    cdef units_job job
    cdef const scan_kernels* kernels = kernels_of(values)
    if not cnp.PyArray_IS_C_CONTIGUOUS(values) or kind_of(values) == ROWS_UINT8:
        raise TypeError(f"expected contiguous reals, got rows of {values.dtype}")
    if cnp.PyArray_NDIM(values) != 2 or not cnp.PyArray_ISWRITEABLE(values):
        raise TypeError("expected rows (n, d) that may be written")
    for array in (scale, shift):
        if cnp.PyArray_TYPE(array) != cnp.NPY_FLOAT64:
            raise TypeError(f"expected float64, got {array.dtype}")
    job.values, job.n_threads = cnp.PyArray_DATA(values), n_threads
    job.n_rows, job.n_features = cnp.PyArray_DIM(values, 0), cnp.PyArray_DIM(values, 1)
    check_size(scale, job.n_features)
    check_size(shift, job.n_features)
    job.scale, job.shift = <const double*> data_of(scale), <const double*> data_of(shift)
    with nogil:
        kernels.restore_units(&job)
    return job.status


def interleave(list columns, cnp.ndarray out, int64_t first):
    """Write the entries first, first + 1, ... of columns into the rows of `out` (n, d).

    Columns are contiguous ndarrays of out's type, float32 or float64, with at least first + n
    entries. The entries of a row are adjacent."""
    cdef int64_t d = cnp.PyArray_DIM(out, 1), n = cnp.PyArray_DIM(out, 0)
    cdef cnp.ndarray places = np.empty(d, np.uintp), column
    cdef size_t* pointers = <size_t*> data_of(places)
    for j in range(d):
        column = columns[j]
        if cnp.PyArray_DIM(column, 0) < first + n:
            raise ValueError(f"column {j} has {len(column)} entries, not {first + n}")
        pointers[j] = <size_t> cnp.PyArray_DATA(column)
    cdef char* rows = cnp.PyArray_BYTES(out)
    cdef size_t size = cnp.PyArray_ITEMSIZE(out)
    cdef int64_t stride = cnp.PyArray_STRIDE(out, 0)
    with nogil:
        interleave_columns(<const char* const*> pointers, d, size, first, n, rows, stride)


def csr_fault(const int64_t[::1] row_begin, const int64_t[::1] columns, int64_t n_columns,
              int64_t n_entries):
    """Return the first fault in the structure of a CSR matrix, or None where there is none.

    A fault is ("offsets", place in row_begin) where row_begin (n_rows + 1,) does not rise from 0 to
    at most n_entries, or ("columns", place in columns) where a stored column is not in
    [0, n_columns). The number of entries, n_entries, is at most the length of `columns`."""
    cdef csr_view view
    cdef int64_t at = 0
    cdef int fault
    view.row_begin, view.n_rows = &row_begin[0], row_begin.shape[0] - 1
    view.columns = &columns[0] if columns.shape[0] else NULL
    view.n_columns, view.n_entries = n_columns, n_entries
    with nogil:
        fault = check_csr(&view, &at)
    if fault == CSR_VALID:
        return None
    return ("offsets" if fault == CSR_OFFSETS else "columns"), at
