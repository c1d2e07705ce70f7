/* Matrix products with register tiles, and the door to BLAS.

   The right operand B (depth, n) is packed in panels of PANEL columns: panel j holds B[:, j PANEL : (j + 1) PANEL], row after row, columns past n
   zero. A tile of TILE_ROWS x PANEL sums stays in registers while the product runs over at most DEPTH rows of the panel, which stay in L1; the left
   operand's entries are broadcast. All sizes follow from the shapes; sums run over the depth in order. */
#ifndef AEFAST_PRODUCT_H
#define AEFAST_PRODUCT_H

#include "parallel.h"
#include "vec.h"

/* Two vectors a row: each broadcast serves both. Rows fill the registers: 16, or 32 with AVX-512 and on AArch64. */
#if AEFAST_VEC_BYTES == 64 || defined(__aarch64__)
enum { TILE_ROWS = 12 };
#else
enum { TILE_ROWS = 6 };
#endif
enum { PANEL = 2 * LANES, DEPTH = 256 };

static inline int64_t n_panels(int64_t columns) { return ceil_div(columns, PANEL); }
static inline int64_t padded(int64_t columns) { return n_panels(columns) * PANEL; }

/* Distance between the rows of a left operand: whole panels, an odd number of cache lines, so that rows do not compete for cache sets. */
static inline int64_t leading_dimension(int64_t columns)
{
    int64_t line = CACHE_LINE / (int64_t)sizeof(real), lines = ceil_div(padded(columns), line);
    return (lines | 1) * line;
}

/* C (rows, PANEL) (+)= A B, A[r, p] = a[r * a_row + p * a_step], B one panel (depth, PANEL). `rows` is a constant where this is inlined. */
ALWAYS_INLINE void tile(const int rows, int64_t depth, const real *a, int64_t a_row, int64_t a_step, const real *b, real *c, int64_t ldc, int add)
{
    vec sum[TILE_ROWS][2];
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r)
        sum[r][0] = sum[r][1] = (vec){0};
    for (int64_t p = 0; p < depth; ++p, b += PANEL, a += a_step) {
        vec b0 = vec_load(b), b1 = vec_load(b + LANES);
#pragma GCC unroll 16
        for (int r = 0; r < rows; ++r) {
            vec x = vec_set(a[r * a_row]);
            sum[r][0] = vec_fma(x, b0, sum[r][0]);
            sum[r][1] = vec_fma(x, b1, sum[r][1]);
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) { /* sums of DEPTH terms are added to sums of sums: errors grow with neither length */
        vec_store(c + r * ldc, add ? vec_load(c + r * ldc) + sum[r][0] : sum[r][0]);
        vec_store(c + r * ldc + LANES, add ? vec_load(c + r * ldc + LANES) + sum[r][1] : sum[r][1]);
    }
}

#if AEFAST_VEC_BYTES == 64 || defined(__aarch64__)
#define EACH_TILE_HEIGHT(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)
#else
#define EACH_TILE_HEIGHT(X) X(1) X(2) X(3) X(4) X(5) X(6)
#endif

/* A row-major. */
static void tile_of_rows(int rows, int64_t depth, const real *a, int64_t lda, const real *b, real *c, int64_t ldc, int add)
{
    switch (rows) {
#define X(n) case n: tile(n, depth, a, lda, 1, b, c, ldc, add); break;
        EACH_TILE_HEIGHT(X)
#undef X
    }
}

/* A packed as (depth, rows). */
static void tile_of_packed(int rows, int64_t depth, const real *a, const real *b, real *c, int64_t ldc, int add)
{
    switch (rows) {
#define X(n) case n: tile(n, depth, a, 1, n, b, c, ldc, add); break;
        EACH_TILE_HEIGHT(X)
#undef X
    }
}

/* Rows are cut into tiles of equal heights: part i of n_tiles(m) begins at row tile_begin(m, i). */
static inline int64_t n_tiles(int64_t m) { return ceil_div(m, TILE_ROWS); }
static inline int64_t tile_begin(int64_t m, int64_t i) { return part_begin(m, 1, n_tiles(m), i); }

/* C (m, panels * PANEL) = A (m, depth) B: row-major A and C, B in panels of panel_rows >= depth rows. DEPTH columns of A stay in L2 while the
   panels pass. */
static inline void product_panels(int64_t m, int64_t panels, int64_t depth, const real *a, int64_t lda, const real *b, int64_t panel_rows, real *c,
                                  int64_t ldc)
{
    for (int64_t p = 0; p < depth; p += DEPTH)
        for (int64_t j = 0; j < panels; ++j)
            for (int64_t i = 0, row = 0; i < n_tiles(m); ++i) {
                int64_t end = tile_begin(m, i + 1);
                tile_of_rows((int)(end - row), min_i64(DEPTH, depth - p), a + row * lda + p, lda, b + (j * panel_rows + p) * PANEL,
                             c + row * ldc + j * PANEL, ldc, p > 0);
                row = end;
            }
}

/* A^T for `product_packed`: rows [0, m) of A^T are columns of the row-major A (depth, m); tile after tile, each (depth, its rows). */
ALWAYS_INLINE void pack_tile(const int rows, int64_t depth, const real *a, int64_t lda, real *out)
{
    for (int64_t p = 0; p < depth; ++p)
        memcpy(out + p * rows, a + p * lda, (size_t)rows * sizeof(real));
}

static inline void pack_transposed_rows(int64_t m, int64_t depth, const real *a, int64_t lda, real *out)
{
    for (int64_t i = 0, row = 0; i < n_tiles(m); ++i) {
        int64_t end = tile_begin(m, i + 1);
        switch (end - row) {
#define X(n) case n: pack_tile(n, depth, a + row, lda, out + row * depth); break;
            EACH_TILE_HEIGHT(X)
#undef X
        }
        row = end;
    }
}

/* C (m, PANEL) (+)= A^T B over rows [p, p + depth) of A and of the panel b; A^T packed for all_depth rows. */
static inline void product_packed(int64_t m, int64_t p, int64_t depth, int64_t all_depth, const real *packed, const real *b, real *c, int add)
{
    for (int64_t i = 0, row = 0; i < n_tiles(m); ++i) {
        int64_t end = tile_begin(m, i + 1), rows = end - row;
        tile_of_packed((int)rows, depth, packed + row * all_depth + p * rows, b + p * PANEL, c + row * PANEL, PANEL, add);
        row = end;
    }
}

#endif
