# cython: freethreading_compatible=True
"""Bindings of the kernels of statistics: each function makes one call without the GIL.

Callers in Python have validated all arguments. Only the widths of rows are compared with what
kernels read, because another thread may fit an estimator between its checks and the call."""

from aefast._base import _runtime

cimport numpy as cnp
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset

from _arrays cimport allocate, check_size, check_width, data_of, rows_view, view_rows

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
        const void* minus
        void* Y
        int n_threads
        int status

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

    enum: GAP_MOST_ROWS

    ctypedef struct gap_job:
        int64_t n_features
        int64_t n_factors
        int64_t n_patterns
        int is_completed
        const unsigned char* observed
        const double* weight
        const int64_t* row_begin
        const double* rows
        const double* scale
        const void* mean
        const void* W
        const void* precision
        int64_t first_group
        int64_t last_group
        int n_threads
        void* workspace
        double* second
        double* cross
        double* completed
        double* totals

    enum: NEAREST_MOST_RANK
    enum: NEAREST_MOST_REFERENCES

    ctypedef struct nearest_job:
        rows_view rows
        int64_t n_features
        int64_t n_sets
        int64_t n_references
        int64_t rank
        const void* references
        int n_threads
        void* workspace
        double* distance
        int32_t* place
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
        int64_t (*gap_bytes)(const gap_job*) noexcept nogil
        void (*gap_pack)(gap_job*) noexcept nogil
        void (*gap_sums)(gap_job*) noexcept nogil
        int64_t (*nearest_bytes)(const nearest_job*) noexcept nogil
        void (*nearest)(nearest_job*) noexcept nogil
        int64_t lanes

    const statistics_kernels* statistics_tables[][2]


cdef const statistics_kernels* kernels_of(cnp.ndarray array):
    """Return the kernels for this array's real type and the instruction set in use."""
    cdef bint is_double = cnp.PyArray_TYPE(array) == cnp.NPY_FLOAT64
    return statistics_tables[<int> _runtime.isa_index()][is_double]


cdef class Accumulator:
    """Sums over dense rows: any number of calls of `add`, then one of `finish`.

    `shift` (d,) is the reference point; its type is the real type of the computation."""

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
        """Add rows X (n, d) with float64 weights (n,) and return the status.

        The status is BAD_ROWS where an entry or its shifted value is not finite."""
        cdef const statistics_kernels* kernels = kernels_of(self.shift)
        check_width(X, self.job.n_features)
        self.job.rows, self.job.weight = view_rows(X), <const double*> data_of(weight)
        with nogil:
            kernels.add(&self.job)
        return self.job.status

    def finish(self, cnp.ndarray sums, cnp.ndarray scatter):
        """Add the sums to float64 arrays `sums` (d,) and `scatter` (d, d)."""
        check_size(sums, self.job.n_features)
        check_size(scatter, self.job.n_features * self.job.n_features)
        cdef const statistics_kernels* kernels = kernels_of(self.shift)
        self.job.sums, self.job.scatter = <double*> data_of(sums), <double*> data_of(scatter)
        with nogil:
            kernels.finish(&self.job)


def add_sparse(cnp.ndarray row_begin, cnp.ndarray columns, cnp.ndarray values, cnp.ndarray weight,
               cnp.ndarray sums, cnp.ndarray scatter, int n_threads):
    """Add CSR rows to float64 `sums` (d,) and to the upper triangle of float64 `scatter` (d, d).

    row_begin is int64, columns int32 and rising within each row, values of a real type."""
    cdef sparse_statistics_job job
    cdef const statistics_kernels* kernels = kernels_of(values)
    job.row_begin, job.values = <const int64_t*> data_of(row_begin), data_of(values)
    job.columns = <const int32_t*> data_of(columns)
    job.n_rows, job.n_features = cnp.PyArray_DIM(row_begin, 0) - 1, cnp.PyArray_DIM(sums, 0)
    job.weight, job.n_threads = <const double*> data_of(weight), n_threads
    job.sums, job.scatter = <double*> data_of(sums), <double*> data_of(scatter)
    with nogil:
        kernels.add_sparse(&job)


def sparse_product(cnp.ndarray row_begin, cnp.ndarray columns, cnp.ndarray values, cnp.ndarray B,
                   cnp.ndarray Y, int n_threads, *, cnp.ndarray minus=None):
    """Compute Y (n, k), the product of CSR rows and B (d, k), less `minus` (k,).

    values, B, minus and Y have the same real type and are C-contiguous. Returns the status, which
    is NOT_FINITE where an entry of Y is not finite."""
    cdef sparse_product_job job
    cdef const statistics_kernels* kernels = kernels_of(values)
    job.row_begin, job.values = <const int64_t*> data_of(row_begin), data_of(values)
    job.columns = <const int32_t*> data_of(columns)
    job.n_rows, job.n_columns = cnp.PyArray_DIM(Y, 0), cnp.PyArray_DIM(Y, 1)
    job.B, job.Y, job.n_threads = data_of(B), data_of(Y), n_threads
    job.minus = data_of(minus)
    with nogil:
        kernels.sparse_product(&job)
    return job.status


def project(cnp.ndarray X, cnp.ndarray shift, cnp.ndarray B, domain, block_rows, n_threads, *,
            cnp.ndarray offset=None, cnp.ndarray p=None, double sign=0, cnp.ndarray Z=None,
            cnp.ndarray quadratic=None):
    """Project rows or compute quadratic forms of them, and return the status.

    With Z (n, k):              Z = (X - shift) B + offset
    With quadratic (n,) float64, for each row x:
                                sum_j p_j (x_j - shift_j)^2 + sign ||(x - shift) B||^2

    shift, B, offset, p and Z have the real type of the computation."""
    cdef projection_job job
    cdef const statistics_kernels* kernels = kernels_of(B)
    memset(&job, 0, sizeof(job))
    check_width(X, cnp.PyArray_DIM(B, 0))
    check_size(shift, cnp.PyArray_DIM(B, 0))
    if offset is not None:
        check_size(offset, cnp.PyArray_DIM(B, 1))
    if p is not None:
        check_size(p, cnp.PyArray_DIM(B, 0))
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


MOST_ROWS = GAP_MOST_ROWS  # largest number of rows of a pattern of `Gaps`


cdef class Gaps:
    """Rows with missing entries, by pattern, packed for any number of calls of `add`.

    observed (p, d) is uint8, 1 where the columns of a pattern are observed; weight (p,) float64;
    row_begin (p + 1,) int64, with at most MOST_ROWS rows for a pattern; rows (n, d), 0 where
    missing, and scale (n,) are float64. `like` is an array of the real type of the computation."""

    cdef gap_job job
    cdef cnp.ndarray like, row_begin, workspace  # row_begin is read by every call
    cdef readonly int64_t n_groups

    def __init__(self, cnp.ndarray observed, cnp.ndarray weight, cnp.ndarray row_begin,
                 cnp.ndarray rows, cnp.ndarray scale, int n_factors, bint is_completed,
                 int n_threads, cnp.ndarray like):
        memset(&self.job, 0, sizeof(self.job))
        self.like, self.row_begin = like, row_begin
        cdef const statistics_kernels* kernels = kernels_of(like)
        self.job.n_patterns = cnp.PyArray_DIM(observed, 0)
        self.job.n_features = cnp.PyArray_DIM(observed, 1)
        check_size(weight, self.job.n_patterns)
        check_size(row_begin, self.job.n_patterns + 1)
        check_size(rows, self.job.n_features * cnp.PyArray_DIM(scale, 0))
        self.job.n_factors, self.job.n_threads = n_factors, n_threads
        self.job.is_completed = is_completed
        self.job.observed = <const unsigned char*> data_of(observed)
        self.job.weight, self.job.row_begin = (
            <const double*> data_of(weight), <const int64_t*> data_of(row_begin))
        self.job.rows = <const double*> data_of(rows)
        self.job.scale = <const double*> data_of(scale)
        self.n_groups = (self.job.n_patterns + kernels.lanes - 1) // kernels.lanes
        self.workspace = allocate(kernels.gap_bytes(&self.job))
        self.job.workspace = data_of(self.workspace)
        with nogil:
            kernels.gap_pack(&self.job)

    def add(self, cnp.ndarray mean, cnp.ndarray W, cnp.ndarray precision, cnp.ndarray totals,
            int64_t first_group, int64_t last_group, *, cnp.ndarray second=None,
            cnp.ndarray cross=None, cnp.ndarray completed=None):
        """Add the sums of groups [first_group, last_group) of patterns to float64 arrays.

        mean (d,), W (d, k) and precision (d,) have the type of `like`; totals has the shape (2,),
        second (d + 1, k (k + 1) / 2 + k), cross (d, k + 2), or, where is_completed, completed
        (d, d + 1)."""
        cdef const statistics_kernels* kernels = kernels_of(self.like)
        cdef int64_t d = self.job.n_features, k = self.job.n_factors
        check_size(mean, d)
        check_size(W, d * k)
        check_size(precision, d)
        check_size(totals, 2)
        if self.job.is_completed:
            check_size(completed, d * (d + 1))
        else:
            check_size(second, (d + 1) * (k * (k + 1) // 2 + k))
            check_size(cross, d * (k + 2))
        self.job.mean, self.job.W, self.job.precision = (
            data_of(mean), data_of(W), data_of(precision))
        self.job.second, self.job.cross = <double*> data_of(second), <double*> data_of(cross)
        self.job.completed, self.job.totals = (
            <double*> data_of(completed), <double*> data_of(totals))
        self.job.first_group, self.job.last_group = first_group, last_group
        with nogil:
            kernels.gap_sums(&self.job)


MOST_RANK = NEAREST_MOST_RANK  # largest rank of a neighbour
MOST_REFERENCES = NEAREST_MOST_REFERENCES  # of a set


def nearest(cnp.ndarray X, cnp.ndarray references, int64_t rank, units, domain, bint missing,
            int n_threads, cnp.ndarray distance, cnp.ndarray place):
    """Fill `distance` (n, B) float64 and `place` (n, B) int32 for B sets of references.

    Row i has the distance ``Σ_j |x_ij − y_j|`` to the reference y of the rank-th least, and its
    place in the set. references (B, m, d) has the real type of the computation, in units in which
    ``(X − shift) factor`` is: `units` is the pair of float64 arrays (d,). With `missing`, NaN of X
    adds nothing. Returns the status."""
    cdef nearest_job job
    cdef const statistics_kernels* kernels = kernels_of(references)
    memset(&job, 0, sizeof(job))
    job.n_sets, job.n_references = cnp.PyArray_DIM(references, 0), cnp.PyArray_DIM(references, 1)
    job.n_features = cnp.PyArray_DIM(references, 2)
    check_width(X, job.n_features)
    for array in units:
        check_size(array, job.n_features)
    for array in (distance, place):
        check_size(array, cnp.PyArray_DIM(X, 0) * job.n_sets)
    job.rows = view_rows(X, None, domain)
    job.rows.missing = missing
    job.rows.shift, job.rows.factor = <double*> data_of(units[0]), <double*> data_of(units[1])
    job.rank, job.references, job.n_threads = rank, data_of(references), n_threads
    job.distance, job.place = <double*> data_of(distance), <int32_t*> data_of(place)
    workspace = allocate(kernels.nearest_bytes(&job))
    job.workspace = data_of(workspace)
    with nogil:
        kernels.nearest(&job)
    return job.status
