/* Products of a few rows with a row-major matrix, which is not packed: packing would take longer
   than it saves.

   The order in which an entry is summed does not depend on the rows that are computed with it: the
   bits of a row do not depend on its neighbours. Partial sums have at most DEPTH terms, as in
   product.h. */
#ifndef AEFAST_FEW_ROWS_H
#define AEFAST_FEW_ROWS_H

#include "kernels/products/packing.h"

/* Rows and columns of a tile of dot products, and rows of the matrix that are added at a time. */
enum { DOT_ROWS = 2, DOT_COLUMNS = 4, ROWS_AT_A_TIME = 4 };

/* v += v with its halves exchanged, for blocks of 2 s lanes: lane l gets lane l ^ s added. */
#define ACROSS(l, s) ((l) ^ (s))
#define ADD_HALVES(v, s) (v) += SHUFFLE(v, v, EACH_LANE(ACROSS, s))

/* The sum of all lanes, in `real`. */
ALWAYS_INLINE real sum_of_lanes(vec v)
{
#if AEFAST_LANES > 8
    ADD_HALVES(v, 8);
#endif
#if AEFAST_LANES > 4
    ADD_HALVES(v, 4);
#endif
#if AEFAST_LANES > 2
    ADD_HALVES(v, 2);
#endif
    ADD_HALVES(v, 1);
    return v[0];
}

/* C (rows, columns) = A (rows, depth) B^T with B (columns, depth): a tile of dot products in
   registers, each summed over at most DEPTH vectors of both operands at a time. */
ALWAYS_INLINE void dot_products(const int rows, const int columns, int64_t depth, const real *a,
                                int64_t lda, const real *b, int64_t ldb, real *c, int64_t ldc)
{
    for (int64_t first = 0; first < depth; first += DEPTH * LANES) {
        int64_t end = min_i64(depth, first + DEPTH * LANES);
        vec sum[DOT_ROWS][DOT_COLUMNS] = {{{0}}}, x[DOT_ROWS];
        int64_t p = first;
        for (; p + LANES <= end; p += LANES) {
            for (int r = 0; r < rows; ++r)
                x[r] = vec_load(a + r * lda + p);
            for (int j = 0; j < columns; ++j) {
                vec w = vec_load(b + j * ldb + p);
                for (int r = 0; r < rows; ++r)
                    sum[r][j] = vec_fma(x[r], w, sum[r][j]);
            }
        }
        if (p < end)
            for (int j = 0; j < columns; ++j)
                for (int r = 0; r < rows; ++r)
                    sum[r][j] = vec_fma(vec_load_n(a + r * lda + p, end - p),
                                        vec_load_n(b + j * ldb + p, end - p), sum[r][j]);
        for (int r = 0; r < rows; ++r)
            for (int j = 0; j < columns; ++j)
                c[r * ldc + j] = (first ? c[r * ldc + j] : 0) + sum_of_lanes(sum[r][j]);
    }
}

/* C (m, n) = A (m, depth) B^T with B (n, depth). B is read once, while A stays in cache. */
static void few_rows_times_transpose(int64_t m, int64_t n, int64_t depth, const real *a,
                                     int64_t lda, const real *b, int64_t ldb, real *c, int64_t ldc)
{
    for (int64_t j = 0; j < n;) {
        int wide = n - j >= DOT_COLUMNS;
        for (int64_t i = 0; i < m;) {
            const real *rows = a + i * lda, *columns = b + j * ldb;
            real *to = c + i * ldc + j;
            int two = m - i >= DOT_ROWS;
            if (wide && two)
                dot_products(DOT_ROWS, DOT_COLUMNS, depth, rows, lda, columns, ldb, to, ldc);
            else if (wide)
                dot_products(1, DOT_COLUMNS, depth, rows, lda, columns, ldb, to, ldc);
            else if (two)
                dot_products(DOT_ROWS, 1, depth, rows, lda, columns, ldb, to, ldc);
            else
                dot_products(1, 1, depth, rows, lda, columns, ldb, to, ldc);
            i += two ? DOT_ROWS : 1;
        }
        j += wide ? DOT_COLUMNS : 1;
    }
}

/* sums (columns) += a (rows) B with B (rows, columns) */
ALWAYS_INLINE void add_rows(const int rows, int64_t columns, const real *a, const real *b,
                            int64_t ldb, real *sums)
{
    vec x[ROWS_AT_A_TIME];
    for (int r = 0; r < rows; ++r)
        x[r] = vec_set(a[r]);
    int64_t j = 0;
    for (; j + LANES <= columns; j += LANES) {
        vec sum = vec_load(sums + j);
        for (int r = 0; r < rows; ++r)
            sum = vec_fma(x[r], vec_load(b + r * ldb + j), sum);
        vec_store(sums + j, sum);
    }
    if (j < columns)
        for (int r = 0; r < rows; ++r)
            vec_store(sums + j,
                      vec_fma(x[r], vec_load_n(b + r * ldb + j, columns - j), vec_load(sums + j)));
}

/* C (m, n) = A (m, depth) B with B (depth, n), n <= BLOCK_COLUMNS. The sums of one row of C stay in
   L1; ROWS_AT_A_TIME rows of B are added to them at a time. */
static void few_rows_times_matrix(int64_t m, int64_t n, int64_t depth, const real *a, int64_t lda,
                                  const real *b, int64_t ldb, real *c, int64_t ldc)
{
    for (int64_t first = 0; first < depth; first += DEPTH) {
        int64_t end = min_i64(depth, first + DEPTH);
        for (int64_t i = 0; i < m; ++i) {
            real sums[BLOCK_COLUMNS] = {0};
            int64_t p = first;
            for (; p + ROWS_AT_A_TIME <= end; p += ROWS_AT_A_TIME)
                add_rows(ROWS_AT_A_TIME, n, a + i * lda + p, b + p * ldb, ldb, sums);
            for (; p < end; ++p)
                add_rows(1, n, a + i * lda + p, b + p * ldb, ldb, sums);
            for (int64_t j = 0; j < n; ++j)
                c[i * ldc + j] = (first ? c[i * ldc + j] : 0) + sums[j];
        }
    }
}

#endif
