/* Codes of rows in CSR form, row by row, for one-pass operations: the product of a row's entries
   with rows of W^T, or with columns of W where the rows are too few to transpose W for them. */
#ifndef AEFAST_SPARSE_ENCODING_H
#define AEFAST_SPARSE_ENCODING_H

#include "kernels/autoencoder/sparse_inputs.h"

/* Panels of codes whose sums stay in registers together. */
enum { CODE_PANELS = 4 };

/* Return whether zeros that are not stored pass the check of rows, and stay as they are. */
static int zeros_pass(const rows_view *rows, int64_t d)
{
    if (rows->absent_missing || (!rows->checked && !rows->clipped))
        return 1;
    int all = 1;
    for (int64_t j = 0; rows->lows && j < d; ++j)
        all &= rows->lows[j] <= 0 && rows->highs[j] >= 0;
    return rows->lows ? all : rows->low <= 0 && rows->high >= 0;
}

/* Write panels [begin, end) of W^T (d, padded(k)) from W (k, d). */
static void transpose_weights(int64_t k, int64_t d, const real *W, int64_t begin, int64_t end,
                              real *W_rows)
{
    real square[PANEL * PANEL], flipped[PANEL * PANEL];
    for (int64_t q = begin; q < end; ++q)
        for (int64_t j = 0; j < d; j += PANEL) {
            int64_t units = min_i64(PANEL, k - q * PANEL);
            if (units < PANEL)
                memset(square, 0, sizeof square);
            pack_panel(units, d - j, W + q * PANEL * d + j, d, square);
            transpose_panel(PANEL, PANEL, square, PANEL, flipped, PANEL);
            for (int64_t i = 0; i < min_i64(PANEL, d - j); ++i)
                memcpy(W_rows + (j + i) * padded(k) + q * PANEL, flipped + i * PANEL,
                       PANEL * sizeof(real));
        }
}

/* sums (n_panels, PANEL) of n <= DEPTH entries; n_panels is a constant once inlined. */
ALWAYS_INLINE void sums_of_entries(const int n_panels, const sparse_entry *entries, int64_t n,
                                   const real *W_rows, int64_t ld, vec *sums)
{
    for (int v = 0; v < 2 * n_panels; ++v)
        sums[v] = (vec){0};
    for (int64_t e = 0; e < n; ++e) {
        const real *w = W_rows + entries[e].column * ld;
        vec x = vec_set(entries[e].input);
        for (int v = 0; v < 2 * n_panels; ++v)
            sums[v] = vec_fma(x, vec_load(w + v * LANES), sums[v]);
    }
}

/* h (k) <- the sum over n entries of a row of x_j W^T_j. Sums of at most DEPTH terms are added to
   sums of sums. */
static void encode_entries(const sparse_entry *entries, int64_t n, int64_t k, const real *W_rows,
                           real *h)
{
    int64_t ld = padded(k);
    for (int64_t first = 0; first < max_i64(n, 1); first += DEPTH)
        for (int64_t q = 0, width; q < n_panels(k); q += width) {
            vec sums[2 * CODE_PANELS];
            int64_t some = min_i64(DEPTH, n - first);
            width = n_panels(k) - q >= CODE_PANELS ? CODE_PANELS : 1;
            if (width == 1)
                sums_of_entries(1, entries + first, some, W_rows + q * PANEL, ld, sums);
            else
                sums_of_entries(CODE_PANELS, entries + first, some, W_rows + q * PANEL, ld, sums);
            for (int64_t v = 0; v < 2 * width; ++v) {
                int64_t at = q * PANEL + v * LANES, left = k - at;
                if (left <= 0)
                    break;
                vec before = first ? vec_load_n(h + at, left) : (vec){0};
                vec_store_n(h + at, before + sums[v], left);
            }
        }
}

/* The same from row-major W (k, d), for few rows. */
static void encode_entries_by_columns(const sparse_entry *entries, int64_t n, int64_t k, int64_t d,
                                      const real *W, real *h)
{
    for (int64_t i = 0; i < k; ++i, W += d) {
        double sum = 0;
        for (int64_t first = 0; first < n; first += DEPTH) {
            real part = 0;
            for (int64_t e = first; e < min_i64(n, first + DEPTH); ++e)
                part += entries[e].input * W[entries[e].column];
            sum += (double)part;
        }
        h[i] = (real)sum;
    }
}

#endif
