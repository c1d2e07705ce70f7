# cython: freethreading_compatible=True
"""Arrays in, one call without the GIL, sums out. Callers (aefast/*.py) have validated everything:
nothing is checked here.
"""

from aefast._base import _runtime

cimport numpy as cnp
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset

from _arrays cimport allocate, data_of, rows_view, view_rows

cnp.import_array()


cdef extern from "kernels/statistics/statistics.h":
    ctypedef struct statistics_job:
        rows_view rows
        int64_t n_features
        const void* shift
        const double* weight
        int n_threads
        void* workspace
        double* sums
        double* scatter
        int status

    ctypedef struct sparse_statistics_job:
        const int64_t* row_begin
        const int32_t* columns
        const void* values
        int64_t n_rows
        int64_t n_features
        const double* weight
        int n_threads
        double* sums
        double* scatter

    ctypedef struct sparse_product_job:
        const int64_t* row_begin
        const int32_t* columns
        const void* values
        int64_t n_rows
        int64_t n_columns
        const void* B
        void* Y
        int n_threads

    ctypedef struct projection_job:
        rows_view rows
        int64_t n_features
        int64_t n_columns
        const void* shift
        const void* B
        const void* offset
        const void* p
        double sign
        int64_t block_rows
        int n_threads
        void* workspace
        void* Z
        double* quadratic
        int status

    ctypedef struct statistics_kernels:
        int64_t (*workspace_bytes)(const statistics_job*) noexcept nogil
        void (*begin)(statistics_job*) noexcept nogil
        void (*add)(statistics_job*) noexcept nogil
        void (*finish)(statistics_job*) noexcept nogil
        void (*add_sparse)(sparse_statistics_job*) noexcept nogil
        void (*sparse_product)(sparse_product_job*) noexcept nogil
        int64_t (*projection_bytes)(const projection_job*) noexcept nogil
        void (*project)(projection_job*) noexcept nogil

    const statistics_kernels* statistics_tables[][2]


cdef const statistics_kernels* kernels_of(cnp.ndarray array):
    """The kernels for this array's real type and the instruction set in use."""
    return statistics_tables[<int> _runtime.isa_index()][cnp.PyArray_TYPE(array) == cnp.NPY_FLOAT64]


cdef class Accumulator:
    """Sums over slices of dense rows: `add` any number of times, then `finish`, once. shift (d,)
    has the computation's real type.
    """

    cdef statistics_job job
    cdef cnp.ndarray shift, workspace

    def __init__(self, cnp.ndarray shift, int n_threads):
        memset(&self.job, 0, sizeof(self.job))
        self.shift = shift
        self.job.n_features, self.job.n_threads = cnp.PyArray_DIM(shift, 0), n_threads
        self.job.shift = data_of(shift)
        self.workspace = allocate(kernels_of(shift).workspace_bytes(&self.job))
        self.job.workspace = data_of(self.workspace)
        kernels_of(shift).begin(&self.job)

    def add(self, cnp.ndarray X, cnp.ndarray weight=None):
        """Adds rows X (n, d), weighted by float64 weights (n,). Returns the status: BAD_ROWS where
        something is not finite.
        """
        cdef const statistics_kernels* kernels = kernels_of(self.shift)
        self.job.rows, self.job.weight = view_rows(X), <const double*> data_of(weight)
        with nogil:
            kernels.add(&self.job)
        return self.job.status

    def finish(self, cnp.ndarray sums, cnp.ndarray scatter):
        """Adds what was summed to float64 arrays (d,) and (d, d)."""
        cdef const statistics_kernels* kernels = kernels_of(self.shift)
        self.job.sums, self.job.scatter = <double*> data_of(sums), <double*> data_of(scatter)
        with nogil:
            kernels.finish(&self.job)


def add_sparse(cnp.ndarray row_begin, cnp.ndarray columns, cnp.ndarray values, cnp.ndarray weight,
               cnp.ndarray sums, cnp.ndarray scatter, int n_threads):
    """Adds CSR rows (int64, int32, real; columns rising) to float64 sums (d,) and to the upper
    triangle of scatter (d, d).
    """
    cdef sparse_statistics_job job
    cdef const statistics_kernels* kernels = kernels_of(values)
    job.row_begin = <const int64_t*> data_of(row_begin)
    job.columns = <const int32_t*> data_of(columns)
    job.values = data_of(values)
    job.n_rows, job.n_features = cnp.PyArray_DIM(row_begin, 0) - 1, cnp.PyArray_DIM(sums, 0)
    job.weight, job.n_threads = <const double*> data_of(weight), n_threads
    job.sums, job.scatter = <double*> data_of(sums), <double*> data_of(scatter)
    with nogil:
        kernels.add_sparse(&job)


def sparse_product(cnp.ndarray row_begin, cnp.ndarray columns, cnp.ndarray values, cnp.ndarray B,
                   cnp.ndarray Y, int n_threads):
    """Y (n, k) <- CSR rows times B (d, k); values, B and Y of one real type, C-contiguous."""
    cdef sparse_product_job job
    cdef const statistics_kernels* kernels = kernels_of(values)
    job.row_begin = <const int64_t*> data_of(row_begin)
    job.columns = <const int32_t*> data_of(columns)
    job.values = data_of(values)
    job.n_rows, job.n_columns = cnp.PyArray_DIM(Y, 0), cnp.PyArray_DIM(Y, 1)
    job.B, job.Y, job.n_threads = data_of(B), data_of(Y), n_threads
    with nogil:
        kernels.sparse_product(&job)


def project(cnp.ndarray X, cnp.ndarray shift, cnp.ndarray B, domain, block_rows, n_threads, *,
            cnp.ndarray offset=None, cnp.ndarray p=None, double sign=0, cnp.ndarray Z=None,
            cnp.ndarray quadratic=None):
    """Z (n, k) <- (X - shift) B + offset, or quadratic (n,) float64 <- sum_j p_j (x - shift)_j^2 +
    sign * the sum of squares of (x - shift) B.

    shift, B, offset, p and Z have the computation's real type. Returns the status."""
    cdef projection_job job
    cdef const statistics_kernels* kernels = kernels_of(B)
    memset(&job, 0, sizeof(job))
    job.rows = view_rows(X, None, domain)
    job.n_features, job.n_columns = cnp.PyArray_DIM(B, 0), cnp.PyArray_DIM(B, 1)
    job.shift, job.B, job.offset, job.p = data_of(shift), data_of(B), data_of(offset), data_of(p)
    job.sign, job.block_rows, job.n_threads = sign, block_rows, n_threads
    job.Z, job.quadratic = data_of(Z), <double*> data_of(quadratic)
    workspace = allocate(kernels.projection_bytes(&job))
    job.workspace = data_of(workspace)
    with nogil:
        kernels.project(&job)
    return job.status
