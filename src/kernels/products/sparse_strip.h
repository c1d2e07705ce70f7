/* A strip of one row's product with a dense matrix, where the row is stored in compressed form. */
#ifndef AEFAST_SPARSE_STRIP_H
#define AEFAST_SPARSE_STRIP_H

#include "kernels/base/parallel.h"
#include "kernels/base/vec.h"

enum {
    /* Vectors of a result whose sums stay in registers, and their numbers. */
    STRIP_VECTORS = 8,
    STRIP = STRIP_VECTORS * LANES,
    /* Number of entries by which the prefetching of rows of B is ahead of their use. */
    AHEAD = 6
};

/* Rows in compressed form (CSR): row i has entries row_begin[i] to row_begin[i + 1]. */
typedef struct {
    const int64_t *row_begin;
    const int32_t *columns;
    const real *values;
} compressed_rows;

/* sum = columns [column, column + n) of the product of row i and B (.., k), n <= STRIP. `last` is
   the last entry that may be prefetched. `whole`, a constant once the function is inlined, says
   that n = STRIP. */
ALWAYS_INLINE void sparse_strip(const compressed_rows *rows, int64_t i, int64_t last, const real *B,
                                int64_t k, int64_t column, int64_t n, const int whole,
                                vec sum[STRIP_VECTORS])
{
    B += column;
    for (int v = 0; v < STRIP_VECTORS; ++v)
        sum[v] = (vec){0};
    for (int64_t p = rows->row_begin[i]; p < rows->row_begin[i + 1]; ++p) {
        const real *row = B + rows->columns[p] * k,
                   *next = B + rows->columns[min_i64(p + AHEAD, last)] * k;
        for (int64_t j = 0; j < n; j += CACHE_LINE / (int64_t)sizeof(real))
            __builtin_prefetch(next + j);
        vec x = vec_set(rows->values[p]);
        UNROLL(8)
        for (int v = 0; v < STRIP_VECTORS; ++v)
            if (whole || n > v * LANES)
                sum[v] = vec_fma(x,
                                 whole ? vec_load(row + v * LANES)
                                       : vec_load_n(row + v * LANES, n - v * LANES),
                                 sum[v]);
    }
}

#endif
