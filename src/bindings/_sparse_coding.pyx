# cython: freethreading_compatible=True
"""Bindings of the kernels of sparse coding: each function makes one call without the GIL.

Callers in Python have validated all arguments. Only the width of rows is compared with that of the
atoms, because another thread may fit an estimator between its checks and the call. Dictionaries D
(k, d) are C-contiguous, and their type is the real type of the computation. X is an ndarray (n, d)
of float32, float64, uint8 or bool; the entries of a row are adjacent."""

from aefast._base import _runtime

cimport numpy as cnp
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memset

from _arrays cimport allocate, check_width, data_of, rows_view, view_rows

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
        double scale
        void* atoms
        void* workspace
        int n_threads
        int status

    ctypedef struct algorithm_info:
        const char* name
        int has_gap
        int starts
        int pursues

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
    """Return the kernels for this array's real type and the instruction set in use."""
    cdef bint is_double = cnp.PyArray_TYPE(array) == cnp.NPY_FLOAT64
    return sparse_coding_tables[<int> _runtime.isa_index()][is_double]


def algorithm_table():
    """Return a dict for each algorithm.

    The keys are name, has_gap (whether it solves the lasso, whose duality gap measures the
    accuracy), starts (whether it can start from given codes) and pursues (whether it adds atoms one
    by one)."""
    cdef algorithm_info info
    rows = []
    table = sparse_coding_tables[0][1]
    for i in range(table.n_algorithms):
        table.algorithm_info(i, &info)
        rows.append({
            "name": info.name.decode(),
            "has_gap": bool(info.has_gap),
            "starts": bool(info.starts),
            "pursues": bool(info.pursues),
        })
    return rows


ALGORITHMS = [row["name"] for row in algorithm_table()]


cdef class Encoder:
    """A dictionary in the forms that kernels read, with the workspace of calls that code rows.

    Only one call may run at a time. If `weights` (k,) are given, `atoms` (k, d) have been divided
    by them; the codes that are returned belong to the undivided atoms."""

    cdef coding_job job
    cdef int most_threads
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
        self.most_threads = n_threads
        self.job.weights = data_of(weights)
        self.prepared = allocate(self.kernels.prepared_bytes(&self.job.dictionary))
        self.job.dictionary.prepared = data_of(self.prepared)
        self.workspace = allocate(self.kernels.coding_workspace_bytes(&self.job))
        self.job.workspace = data_of(self.workspace)
        self.prepare()

    def share(self, n_threads, prepare_threads):
        """Set the number of threads of the next calls, at most those given at the start."""
        self.job.n_threads = min(<int> n_threads, self.most_threads)
        self.job.dictionary.n_threads = min(<int> prepare_threads, self.most_threads)

    def prepare(self):
        """Prepare the forms from `atoms`, after these have changed."""
        with nogil:
            self.kernels.prepare(&self.job.dictionary)

    def code(self, rows, domain, *, order=None, init=None, codes=None, indices=None,
             values=None, counts=None, objectives=None, gaps=None):
        """Code rows and return the status.

        Codes are written to `codes` (n, k), or in sparse form to indices (n, width) int32, values
        (n, width) and counts (n,) int64, where `width` is at least the number of entries that a
        code can have: k, or n_nonzero for "omp"."""
        check_width(rows, self.job.dictionary.n_features)
        self.job.rows = view_rows(rows, order, domain)
        self.job.init, self.job.codes = data_of(init), data_of(codes)
        self.job.width = 0 if indices is None else cnp.PyArray_DIM(indices, 1)
        self.job.indices, self.job.values = <int32_t*> data_of(indices), data_of(values)
        self.job.counts = <int64_t*> data_of(counts)
        self.job.objectives, self.job.gaps = <double*> data_of(objectives), <double*> data_of(gaps)
        with nogil:
            self.kernels.code(&self.job)
        return self.job.status


def accumulate(rows, order, cnp.ndarray indices, cnp.ndarray values, cnp.ndarray counts,
               cnp.ndarray A, cnp.ndarray B, n_threads):
    """Add H^T H to A (k, k) and H^T X to B (k, d), both float64.

    The codes H are in the sparse form that `Encoder.code` writes."""
    cdef code_statistics_job job
    cdef const sparse_coding_kernels* kernels = kernels_of(values)
    job.n_components, job.n_features = cnp.PyArray_DIM(B, 0), cnp.PyArray_DIM(B, 1)
    check_width(rows, job.n_features)
    job.rows, job.n_threads = view_rows(rows, order), n_threads
    job.values, job.width = data_of(values), cnp.PyArray_DIM(indices, 1)
    job.indices, job.counts = <const int32_t*> data_of(indices), <const int64_t*> data_of(counts)
    job.A, job.B = <double*> data_of(A), <double*> data_of(B)
    with nogil:
        kernels.accumulate(&job)


def update(cnp.ndarray atoms, cnp.ndarray A, cnp.ndarray B, *, positive, n_sweeps, least_use,
           n_threads, scale=1.0):
    """Update the atoms (k, d) in place, in sweeps over them, each to its optimum in the unit ball.

    Atoms with A_jj <= least_use are not changed. A and B are multiplied by `scale`, a power of two,
    when they are read. Return the status: NOT_FINITE where an atom would not have been finite."""
    cdef update_job job
    cdef const sparse_coding_kernels* kernels = kernels_of(atoms)
    memset(&job, 0, sizeof(job))
    job.n_components, job.n_features = cnp.PyArray_DIM(atoms, 0), cnp.PyArray_DIM(atoms, 1)
    job.n_threads = n_threads
    job.A, job.B, job.atoms = <const double*> data_of(A), <const double*> data_of(B), data_of(atoms)
    job.positive, job.n_sweeps, job.least_use = positive, n_sweeps, least_use
    job.scale = scale
    workspace = allocate(kernels.update_workspace_bytes(&job))
    job.workspace = data_of(workspace)
    with nogil:
        kernels.update(&job)
    return job.status
