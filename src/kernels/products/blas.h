/* Single-threaded products of row-major blocks by BLAS. The argument after each matrix is the
   distance between its rows. */
#ifndef AEFAST_BLAS_H
#define AEFAST_BLAS_H

#include "kernels/base/real.h"
#include "kernels/products/gemm.h"

/* C (m, n) = A (m, k) B (k, n) */
static inline void blas_nn(gemm_function *gemm, int64_t m, int64_t n, int64_t k, const real *a,
                           int64_t lda, const real *b, int64_t ldb, real *c, int64_t ldc)
{
    gemm(0, 0, m, n, k, a, lda, b, ldb, 0, c, ldc);
}

/* C (m, n) = A (m, k) B^T with B (n, k) */
static inline void blas_nt(gemm_function *gemm, int64_t m, int64_t n, int64_t k, const real *a,
                           int64_t lda, const real *b, int64_t ldb, real *c, int64_t ldc)
{
    gemm(0, 1, m, n, k, a, lda, b, ldb, 0, c, ldc);
}

/* C (m, n) = A^T B + beta C with A (k, m), B (k, n) */
static inline void blas_tn(gemm_function *gemm, int64_t m, int64_t n, int64_t k, const real *a,
                           int64_t lda, const real *b, int64_t ldb, double beta, real *c,
                           int64_t ldc)
{
    gemm(1, 0, m, n, k, a, lda, b, ldb, beta, c, ldc);
}

#endif
