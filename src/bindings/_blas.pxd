# The only interface to scipy.linalg.cython_blas, for row-major matrices. The functions are of type
# gemm_function in kernels/products/gemm.h.
#
# A row-major matrix is its transpose in column-major storage. C = op(A) op(B) is therefore computed
# as C^T = op(B)^T op(A)^T: operands and sizes swap places, the transposition flags stay. Sizes fit
# BLAS integers: Python checks n_features and n_components, and blocks are small.

from libc.stdint cimport int64_t
from scipy.linalg.cython_blas cimport dgemm, sgemm


cdef inline char* _flag(int transpose) noexcept nogil:
    return b"T" if transpose else b"N"


cdef inline void gemm_f32(
    int transpose_a, int transpose_b, int64_t m, int64_t n, int64_t k, const void* a, int64_t lda,
    const void* b, int64_t ldb, double beta, void* c, int64_t ldc,
) noexcept nogil:
    cdef int rows = <int> m, columns = <int> n, inner = <int> k
    cdef int ld_a = <int> lda, ld_b = <int> ldb, ld_c = <int> ldc
    cdef float one = 1, scale = <float> beta
    sgemm(_flag(transpose_b), _flag(transpose_a), &columns, &rows, &inner, &one, <float*> b, &ld_b,
          <float*> a, &ld_a, &scale, <float*> c, &ld_c)


cdef inline void gemm_f64(
    int transpose_a, int transpose_b, int64_t m, int64_t n, int64_t k, const void* a, int64_t lda,
    const void* b, int64_t ldb, double beta, void* c, int64_t ldc,
) noexcept nogil:
    cdef int rows = <int> m, columns = <int> n, inner = <int> k
    cdef int ld_a = <int> lda, ld_b = <int> ldb, ld_c = <int> ldc
    cdef double one = 1
    dgemm(_flag(transpose_b), _flag(transpose_a), &columns, &rows, &inner, &one, <double*> b, &ld_b,
          <double*> a, &ld_a, &beta, <double*> c, &ld_c)
