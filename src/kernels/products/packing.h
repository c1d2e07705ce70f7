/* Packing of a row-major matrix M (k, d) into panels of M and panels of M^T, which tiles read. */
#ifndef AEFAST_PACKING_H
#define AEFAST_PACKING_H

#include "kernels/products/product.h"

/* Copy columns [0, n) of `rows` row-major rows to a panel (rows, PANEL). The other columns of the
   panel become zero; n > PANEL fills the whole panel. */
static inline void pack_panel(int64_t rows, int64_t n, const real *from, int64_t ld, real *panel)
{
    for (int64_t i = 0; i < rows; ++i, from += ld, panel += PANEL)
        for (int v = 0; v < PANEL; v += LANES)
            vec_store(panel + v, n > v ? vec_load_n(from + v, n - v) : (vec){0});
}

/* Copy the first min(n, PANEL) columns of a panel (rows, PANEL) back to row-major rows. */
static inline void unpack_panel(int64_t rows, int64_t n, const real *panel, real *to, int64_t ld)
{
    for (int64_t i = 0; i < rows; ++i, to += ld, panel += PANEL)
        for (int v = 0; v < PANEL && v < n; v += LANES)
            vec_store_n(to + v, vec_load(panel + v), n - v);
}

/* Transposition of LANES vectors: for s = LANES/2, ..., 1 the off-diagonal blocks of size s are
   exchanged (Eklundh 1972). Shuffles need constant indices, counted over the lanes of both rows:
   lane l of the first row comes from LOW(l, s), lane l of the second from HIGH(l, s). */
#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (ivec){__VA_ARGS__})
#endif
#define LOW(l, s) ((l) & (s) ? (l) - (s) + AEFAST_LANES : (l))
#define HIGH(l, s) ((l) & (s) ? (l) + AEFAST_LANES : (l) + (s))
#if AEFAST_LANES == 2
#define EACH_LANE(X, s) X(0, s), X(1, s)
#elif AEFAST_LANES == 4
#define EACH_LANE(X, s) X(0, s), X(1, s), X(2, s), X(3, s)
#elif AEFAST_LANES == 8
#define EACH_LANE(X, s) X(0, s), X(1, s), X(2, s), X(3, s), X(4, s), X(5, s), X(6, s), X(7, s)
#elif AEFAST_LANES == 16
#define EACH_LANE(X, s)                                                                            \
    X(0, s), X(1, s), X(2, s), X(3, s), X(4, s), X(5, s), X(6, s), X(7, s), X(8, s), X(9, s),      \
        X(10, s), X(11, s), X(12, s), X(13, s), X(14, s), X(15, s)
#endif

#define EXCHANGE_BLOCKS(row, s)                                                                    \
    for (int i = 0; i < LANES; ++i)                                                                \
        if (!(i & (s))) {                                                                          \
            vec a = (row)[i], b = (row)[i + (s)];                                                  \
            (row)[i] = SHUFFLE(a, b, EACH_LANE(LOW, s));                                           \
            (row)[i + (s)] = SHUFFLE(a, b, EACH_LANE(HIGH, s));                                    \
        }

/* Transpose the matrix (LANES, LANES) whose rows are `row`. */
ALWAYS_INLINE void transpose_vectors(vec *row)
{
#if AEFAST_LANES > 8
    EXCHANGE_BLOCKS(row, 8)
#endif
#if AEFAST_LANES > 4
    EXCHANGE_BLOCKS(row, 4)
#endif
#if AEFAST_LANES > 2
    EXCHANGE_BLOCKS(row, 2)
#endif
    EXCHANGE_BLOCKS(row, 1)
}

/* to[j * ld_to + i] = from[i * ld_from + j] for i < n_i and j < n_j, a multiple of LANES. Entries
   from i = n_i up to the next multiple of LANES become zero. */
static inline void transpose_panel(int64_t n_i, int64_t n_j, const real *from, int64_t ld_from,
                                   real *to, int64_t ld_to)
{
    for (int64_t i = 0; i < n_i; i += LANES)
        for (int64_t j = 0; j < n_j; j += LANES) {
            vec block[LANES];
            for (int r = 0; r < LANES; ++r)
                block[r] = i + r < n_i ? vec_load(from + (i + r) * ld_from + j) : (vec){0};
            transpose_vectors(block);
            for (int r = 0; r < LANES; ++r)
                vec_store(to + (j + r) * ld_to + i, block[r]);
        }
}

/* Write a panel (padded(d), PANEL) of M^T from n <= PANEL row-major rows (n, d) of M. Columns from
   n on and rows from d on become zero. */
static inline void pack_transposed_panel(int64_t n, int64_t d, const real *rows, real *panel)
{
    real square[PANEL * PANEL];
    if (n < PANEL)
        memset(square, 0, sizeof square);
    for (int64_t j = 0; j < d; j += PANEL) {
        pack_panel(n, d - j, rows + j, d, square);
        transpose_panel(PANEL, PANEL, square, PANEL, panel + j * PANEL, PANEL);
    }
}

#endif
