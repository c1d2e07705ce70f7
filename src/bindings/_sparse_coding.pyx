# cython: freethreading_compatible=True
"""Arrays in, one call without the GIL, status out. Callers (aefast/*.py) have validated everything:
nothing is checked here.

Dictionaries D (k, d) are C-contiguous and of the real type in which everything is computed; X is an
ndarray (n, d) of float32, float64, uint8 or bool whose columns are adjacent."""

from aefast._base import _runtime

cimport numpy as cnp
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset

from _arrays cimport allocate, data_of, rows_view, view_rows

cnp.import_array()


cdef extern from "kernels/sparse_coding/sparse_coding.h":
    ctypedef struct coding_dictionary:
        int64_t n_features
        int64_t n_components
        const void* atoms
        void* prepared
        int n_threads

    ctypedef struct coding_job:
        coding_dictionary dictionary
        rows_view rows
        int algorithm
        int positive
        double alpha
        double tol
        int64_t max_iter
        double step
        int64_t n_nonzero
        double target
        const void* init
        const void* weights
        int n_threads
        void* workspace
        void* codes
        int64_t width
        int32_t* indices
        void* values
        int64_t* counts
        double* objectives
        double* gaps
        int status

    ctypedef struct code_statistics_job:
        int64_t n_features
        int64_t n_components
        rows_view rows
        int64_t width
        const int32_t* indices
        const void* values
        const int64_t* counts
        double* A
        double* B
        int n_threads

    ctypedef struct update_job:
        int64_t n_features
        int64_t n_components
        const double* A
        const double* B
        int positive
        int64_t n_sweeps
        double least_use
        void* atoms
        void* workspace
        int n_threads

    ctypedef struct algorithm_info:
        const char* name
        int has_gap
        int starts

    ctypedef struct sparse_coding_kernels:
        int n_algorithms
        void (*algorithm_info)(int, algorithm_info*) noexcept nogil
        int64_t (*prepared_bytes)(const coding_dictionary*) noexcept nogil
        void (*prepare)(coding_dictionary*) noexcept nogil
        int64_t (*coding_workspace_bytes)(const coding_job*) noexcept nogil
        void (*code)(coding_job*) noexcept nogil
        void (*accumulate)(code_statistics_job*) noexcept nogil
        int64_t (*update_workspace_bytes)(const update_job*) noexcept nogil
        void (*update)(update_job*) noexcept nogil

    const sparse_coding_kernels* sparse_coding_tables[][2]


cdef const sparse_coding_kernels* kernels_of(cnp.ndarray array):
    """The kernels for this array's real type and the instruction set in use."""
    cdef bint is_float64 = cnp.PyArray_TYPE(array) == cnp.NPY_FLOAT64
    return sparse_coding_tables[<int> _runtime.isa_index()][is_float64]


def algorithm_table():
    """One dict for each algorithm: name, has_gap (it solves the lasso, and a duality gap tells how
    well), starts (it can start from given codes).
    """
    cdef algorithm_info info
    rows = []
    table = sparse_coding_tables[0][1]
    for i in range(table.n_algorithms):
        table.algorithm_info(i, &info)
        rows.append({"name": info.name.decode(), "has_gap": bool(info.has_gap),
                     "starts": bool(info.starts)})
    return rows


ALGORITHMS = [row["name"] for row in algorithm_table()]


cdef class Encoder:
    """A dictionary in the forms that kernels read, and the workspace of calls that code rows with
    it. For one call at a time.

    `atoms` (k, d) are divided by `weights` (k) where these are given; codes come back for atoms
    that are not."""

    cdef coding_job job
    cdef const sparse_coding_kernels* kernels
    cdef readonly cnp.ndarray atoms
    cdef cnp.ndarray prepared, workspace, weights

    def __init__(self, cnp.ndarray atoms, *, algorithm, alpha, tol, max_iter, positive, n_nonzero,
                 target, step, weights, n_threads, prepare_threads):
        memset(&self.job, 0, sizeof(self.job))
        self.atoms, self.weights, self.kernels = atoms, weights, kernels_of(atoms)
        self.job.dictionary.n_components = cnp.PyArray_DIM(atoms, 0)
        self.job.dictionary.n_features = cnp.PyArray_DIM(atoms, 1)
        self.job.dictionary.atoms, self.job.dictionary.n_threads = data_of(atoms), prepare_threads
        self.job.algorithm, self.job.alpha, self.job.tol = ALGORITHMS.index(algorithm), alpha, tol
        self.job.max_iter, self.job.positive, self.job.n_nonzero = max_iter, positive, n_nonzero
        self.job.target, self.job.step, self.job.n_threads = target, step, n_threads
        self.job.weights = data_of(weights)
        self.prepared = allocate(self.kernels.prepared_bytes(&self.job.dictionary))
        self.job.dictionary.prepared = data_of(self.prepared)
        self.workspace = allocate(self.kernels.coding_workspace_bytes(&self.job))
        self.job.workspace = data_of(self.workspace)
        self.prepare()

    def prepare(self):
        """Reads the atoms anew."""
        with nogil:
            self.kernels.prepare(&self.job.dictionary)

    def code(self, cnp.ndarray rows, domain, *, order=None, init=None, codes=None, indices=None,
             values=None, counts=None, objectives=None, gaps=None):
        """Codes of rows into `codes` (n, k), or sparse into indices (n, width) int32, values (n,
        width) and counts (n,) int64, with `width` at least what a code can have: k, or n_nonzero
        for "omp". Returns the status."""
        self.job.rows = view_rows(rows, order, domain)
        self.job.init = data_of(init)
        self.job.codes = data_of(codes)
        self.job.values = data_of(values)
        self.job.width = 0 if indices is None else cnp.PyArray_DIM(indices, 1)
        self.job.indices, self.job.counts = <int32_t*> data_of(indices), <int64_t*> data_of(counts)
        self.job.objectives, self.job.gaps = <double*> data_of(objectives), <double*> data_of(gaps)
        with nogil:
            self.kernels.code(&self.job)
        return self.job.status


def accumulate(cnp.ndarray rows, order, cnp.ndarray indices, cnp.ndarray values, cnp.ndarray counts,
               cnp.ndarray A, cnp.ndarray B, n_threads):
    """A (k, k) += H^T H and B (k, d) += H^T X, float64, for codes as `Encoder.code` leaves them."""
    cdef code_statistics_job job
    cdef const sparse_coding_kernels* kernels = kernels_of(values)
    job.n_components = cnp.PyArray_DIM(B, 0)
    job.n_features = cnp.PyArray_DIM(B, 1)
    job.n_threads = n_threads
    job.rows = view_rows(rows, order)
    job.values = data_of(values)
    job.width = cnp.PyArray_DIM(indices, 1)
    job.indices, job.counts = <const int32_t*> data_of(indices), <const int64_t*> data_of(counts)
    job.A, job.B = <double*> data_of(A), <double*> data_of(B)
    with nogil:
        kernels.accumulate(&job)


def update(cnp.ndarray atoms, cnp.ndarray A, cnp.ndarray B, *, positive, n_sweeps, least_use,
           n_threads):
    """Sweeps over the atoms (k, d), each to its best value on the unit ball, in place. Atoms with
    A_jj <= least_use stay as they are.
    """
    cdef update_job job
    cdef const sparse_coding_kernels* kernels = kernels_of(atoms)
    memset(&job, 0, sizeof(job))
    job.n_components = cnp.PyArray_DIM(atoms, 0)
    job.n_features = cnp.PyArray_DIM(atoms, 1)
    job.n_threads = n_threads
    job.A, job.B, job.atoms = <const double*> data_of(A), <const double*> data_of(B), data_of(atoms)
    job.positive, job.n_sweeps, job.least_use = positive, n_sweeps, least_use
    workspace = allocate(kernels.update_workspace_bytes(&job))
    job.workspace = data_of(workspace)
    with nogil:
        kernels.update(&job)
