# cython: freethreading_compatible=True
"""Bindings of the kernels of items: each function makes one call without the GIL.

Callers in Python have validated all arguments. Rows in compressed form are three arrays: int64
offsets, int32 columns that rise within each row, and values of a real type."""

from aefast._base import _runtime

cimport numpy as cnp
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.string cimport memset

from _arrays cimport allocate, check_size, data_of
from _blas cimport gemm_f32, gemm_f64

cnp.import_array()


cdef extern from "kernels/products/gemm.h":
    ctypedef void gemm_function(
        int, int, int64_t, int64_t, int64_t, const void*, int64_t, const void*, int64_t, double,
        void*, int64_t) noexcept nogil


cdef extern from "kernels/items/items.h":
    enum: ITEMS_NOT_FINITE, ITEMS_SINGULAR

    ctypedef struct gram_job:
        const int64_t* row_begin
        const int32_t* columns
        const void* values
        const int64_t* column_begin
        const int32_t* rows
        const int64_t* places
        const double* weight
        int64_t n_features
        int64_t first
        int64_t last
        int n_threads
        void* workspace
        void* G

    ctypedef struct inverse_job:
        int64_t n
        void* A
        const double* diagonal
        int64_t pivot
        int64_t first
        int64_t last
        int n_threads
        gemm_function* gemm
        void* workspace
        int status

    ctypedef struct refit_job:
        int64_t n
        const void* G
        const double* diagonal
        const int64_t* begin
        const int32_t* rows
        int64_t most
        int64_t first
        int64_t last
        int n_threads
        void* workspace
        void* values
        int status

    ctypedef struct ranking_job:
        const int64_t* row_begin
        const int32_t* columns
        const void* values
        int64_t n_rows
        int64_t n_features
        const void* scores
        const void* B
        const int64_t* B_begin
        const int32_t* B_columns
        const uint8_t* allowed
        int exclude_seen
        int64_t n_best
        int n_threads
        void* workspace
        void* best
        int64_t* items
        int status

    ctypedef struct items_kernels:
        int64_t (*gram_bytes)(const gram_job*) noexcept nogil
        void (*gram)(gram_job*) noexcept nogil
        int64_t (*inverse_bytes)(const inverse_job*) noexcept nogil
        int64_t (*inverse_blocks)(int64_t) noexcept nogil
        int64_t (*inverse_items)(int64_t) noexcept nogil
        void (*inverse)(inverse_job*) noexcept nogil
        int64_t (*refit_bytes)(const refit_job*) noexcept nogil
        void (*refit)(refit_job*) noexcept nogil
        int64_t (*ranking_bytes)(const ranking_job*) noexcept nogil
        void (*ranking)(ranking_job*) noexcept nogil

    const items_kernels* items_tables[][2]


NOT_FINITE, SINGULAR = ITEMS_NOT_FINITE, ITEMS_SINGULAR


cdef const items_kernels* kernels_of(cnp.ndarray array):
    """Return the kernels for this array's real type and the instruction set in use."""
    cdef bint is_double = cnp.PyArray_TYPE(array) == cnp.NPY_FLOAT64
    return items_tables[<int> _runtime.isa_index()][is_double]


def gram(cnp.ndarray row_begin, cnp.ndarray columns, cnp.ndarray values, cnp.ndarray column_begin,
         cnp.ndarray rows, cnp.ndarray places, cnp.ndarray weight, cnp.ndarray G, int64_t first,
         int64_t last, int n_threads):
    """Compute rows [first, last) of the upper triangle of G (d, d), sum w x x^T, in its type.

    column_begin (d + 1,) int64, rows int32 and places int64 are the same entries by column: the
    row of each and its place in `columns`. weight (n,) is float64 or None."""
    cdef gram_job job
    cdef const items_kernels* kernels = kernels_of(values)
    job.row_begin, job.values = <const int64_t*> data_of(row_begin), data_of(values)
    job.columns = <const int32_t*> data_of(columns)
    job.column_begin = <const int64_t*> data_of(column_begin)
    job.rows, job.places = <const int32_t*> data_of(rows), <const int64_t*> data_of(places)
    job.weight, job.n_features = <const double*> data_of(weight), cnp.PyArray_DIM(G, 0)
    job.first, job.last, job.n_threads, job.G = first, last, n_threads, data_of(G)
    workspace = allocate(kernels.gram_bytes(&job))
    job.workspace = data_of(workspace)
    with nogil:
        kernels.gram(&job)


cdef class Inversion:
    """Inversion in place of A (n, n), of which the upper triangle is used: all items of each block.

    `diagonal` (n,) is float64, that of A. At the end the triangle is that of -A^-1."""

    cdef inverse_job job
    cdef cnp.ndarray A, diagonal, workspace
    cdef readonly int64_t n_blocks, n_items

    def __init__(self, cnp.ndarray A, cnp.ndarray diagonal, int n_threads):
        memset(&self.job, 0, sizeof(self.job))
        self.A, self.diagonal = A, diagonal
        self.job.n, self.job.n_threads = cnp.PyArray_DIM(A, 0), n_threads
        check_size(A, self.job.n * self.job.n)
        check_size(diagonal, self.job.n)
        self.job.A, self.job.diagonal = data_of(A), <const double*> data_of(diagonal)
        self.job.gemm = (<gemm_function*> gemm_f64 if cnp.PyArray_TYPE(A) == cnp.NPY_FLOAT64
                         else <gemm_function*> gemm_f32)
        cdef const items_kernels* kernels = kernels_of(A)
        self.n_blocks = kernels.inverse_blocks(self.job.n)
        self.n_items = kernels.inverse_items(self.job.n)
        self.workspace = allocate(kernels.inverse_bytes(&self.job))
        self.job.workspace = data_of(self.workspace)

    def step(self, int64_t block, int64_t first, int64_t last):
        """Do the items [first, last) of the step of a block of pivots, and return the status."""
        cdef const items_kernels* kernels = kernels_of(self.A)
        self.job.pivot, self.job.first, self.job.last = block, first, last
        with nogil:
            kernels.inverse(&self.job)
        return self.job.status


def refit(cnp.ndarray G, cnp.ndarray diagonal, cnp.ndarray begin, cnp.ndarray rows, int64_t most,
          cnp.ndarray values, int64_t first, int64_t last, int n_threads):
    """Compute the values of columns [first, last) of a sparse matrix by ridge regressions.

    The lower triangle of G (d, d) is read, and its diagonal (d,), float64. begin (d + 1,) int64 and
    rows int32, rising within each column and at most `most`, are the entries. Returns the
    status."""
    cdef refit_job job
    cdef const items_kernels* kernels = kernels_of(G)
    job.n, job.G, job.most = cnp.PyArray_DIM(G, 0), data_of(G), most
    job.diagonal, job.begin = <const double*> data_of(diagonal), <const int64_t*> data_of(begin)
    job.rows, job.values = <const int32_t*> data_of(rows), data_of(values)
    job.first, job.last, job.n_threads = first, last, n_threads
    workspace = allocate(kernels.refit_bytes(&job))
    job.workspace = data_of(workspace)
    with nogil:
        kernels.refit(&job)
    return job.status


def ranking(cnp.ndarray row_begin, cnp.ndarray columns, cnp.ndarray values, cnp.ndarray B,
            cnp.ndarray allowed, bint exclude_seen, cnp.ndarray best, cnp.ndarray items,
            int n_threads, *, cnp.ndarray B_begin=None, cnp.ndarray B_columns=None,
            cnp.ndarray scores=None):
    """Find the items of highest score of each row, and return the status.

    best (n, n_best) in the real type and items (n, n_best) int64 are the results. The scores are
    `scores` (n, d), or products of the rows with B: dense (d, d), or the values of a matrix in
    compressed form. allowed (d,) is bool, or None: all items."""
    cdef ranking_job job
    cdef const items_kernels* kernels = kernels_of(best)
    memset(&job, 0, sizeof(job))
    job.row_begin, job.values = <const int64_t*> data_of(row_begin), data_of(values)
    job.columns = <const int32_t*> data_of(columns)
    job.n_rows, job.n_best = cnp.PyArray_DIM(best, 0), cnp.PyArray_DIM(best, 1)
    if scores is not None:
        job.n_features = cnp.PyArray_DIM(scores, 1)
    elif B_begin is not None:
        job.n_features = cnp.PyArray_DIM(B_begin, 0) - 1
    else:
        job.n_features = cnp.PyArray_DIM(B, 0)
    job.scores, job.B, job.B_begin = (
        data_of(scores), data_of(B), <const int64_t*> data_of(B_begin))
    job.B_columns, job.allowed = (
        <const int32_t*> data_of(B_columns), <const uint8_t*> data_of(allowed))
    job.exclude_seen, job.n_threads = exclude_seen, n_threads
    job.best, job.items = data_of(best), <int64_t*> data_of(items)
    workspace = allocate(kernels.ranking_bytes(&job))
    job.workspace = data_of(workspace)
    with nogil:
        kernels.ranking(&job)
    return job.status
