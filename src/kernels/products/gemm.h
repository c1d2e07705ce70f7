/* The type of functions that multiply matrices by BLAS. */
#ifndef AEFAST_GEMM_H
#define AEFAST_GEMM_H

#include <stdint.h>

/* C = op(A) op(B) + beta C with op(A) (m, k) and op(B) (k, n) row-major; op transposes a matrix
   whose flag is not 0. lda, ldb and ldc are the distances between rows as stored. The function is
   single-threaded; any number of threads may call it at once. */
typedef void gemm_function(int transpose_a, int transpose_b, int64_t m, int64_t n, int64_t k,
                           const void *a, int64_t lda, const void *b, int64_t ldb, double beta,
                           void *c, int64_t ldc);

#endif
