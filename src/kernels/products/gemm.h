/* The type of a matrix product by BLAS. */
#ifndef AEFAST_GEMM_H
#define AEFAST_GEMM_H

#include <stdint.h>

/* C = op(A) op(B) + beta C with op(A) (m, k), op(B) (k, n); op transposes where its flag says so.
   lda, ldb, ldc: distance of rows as stored. Single-threaded; any number of threads may call it at
   once. */
typedef void gemm_function(int transpose_a, int transpose_b, int64_t m, int64_t n, int64_t k,
                           const void *a, int64_t lda, const void *b, int64_t ldb, double beta,
                           void *c, int64_t ldc);

#endif
