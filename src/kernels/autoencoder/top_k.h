/* The k-sparse code (Makhzani & Frey 2013): the k largest units of a row keep their values. */
#ifndef AEFAST_TOP_K_H
#define AEFAST_TOP_K_H

#include "kernels/autoencoder/groups.h"

#define LARGEST_KEY ((real_int)(~(uint64_t)0 >> (65 - AEFAST_REAL_BITS)))

/* Return integers in the order of the reals: NaN above all, 0 and -0 equal, and lanes past the
   first n below all. */
ALWAYS_INLINE ivec order_keys(vec x, int64_t n)
{
    x = x + (vec){0}; /* -0 becomes 0 */
    ivec inside = lanes_below(n), is_nan = x != x, largest = ivec_set(LARGEST_KEY);
    ivec key = (ivec)x ^ (vec_sign_mask(x) & largest);
    key = (is_nan & largest) | (~is_nan & key);
    return (inside & key) | (~inside & ~largest);
}

/* Return the k-th largest of n keys, 1 <= k <= n, by Hoare's selection, which reorders them. */
static inline real_int kth_largest(real_int *key, int64_t n, int64_t k)
{
    int64_t low = 0, high = n - 1, place = k - 1;
    while (low < high) {
        real_int pivot = key[low + (high - low) / 2];
        int64_t i = low, j = high;
        while (i <= j) {
            while (key[i] > pivot)
                ++i;
            while (key[j] < pivot)
                --j;
            if (i <= j) {
                real_int other = key[i];
                key[i++] = key[j];
                key[j--] = other;
            }
        }
        if (place <= j)
            high = j;
        else if (place >= i)
            low = i;
        else
            break;
    }
    return key[place];
}

/* maxima (groups * PANEL) <- the largest key of each lane of each group of `height` panels. */
static inline void maxima_of_groups(int64_t n_units, row_entries row, int64_t height,
                                    int64_t groups, real_int *maxima)
{
    int64_t panels = n_panels(n_units);
    for (int64_t g = 0; g < groups; ++g)
        for (int v = 0; v < PANEL; v += LANES) {
            ivec most = ivec_set(~LARGEST_KEY);
            for (int64_t j = g * height; j < min_i64(panels, (g + 1) * height); ++j) {
                int64_t left = n_units - j * PANEL - v;
                ivec key =
                    left > 0 ? order_keys(vec_load_n(row.at + j * row.panel_stride + v, left), left)
                             : most;
                ivec more = key > most;
                most = (more & key) | (~more & most);
            }
            memcpy(maxima + g * PANEL + v, &most, sizeof most);
        }
}

/* units <- the units whose keys are not below `threshold`, in increasing order; keys <- their
   keys. Return their number. */
static inline int64_t units_from(int64_t n_units, row_entries row, real_int threshold,
                                 real_int *keys, real_int *units)
{
    int64_t m = 0;
    for (int64_t j = 0; j < n_units; j += LANES) {
        ivec key = order_keys(vec_load_n(entry_of(row, j), n_units - j), n_units - j),
             good = key >= ivec_set(threshold);
        for (int l = 0; any_lane(good) && l < LANES && j + l < n_units; ++l) {
            keys[m] = key[l];
            units[m] = (real_int)(j + l);
            m += good[l] != 0;
        }
    }
    return m;
}

/* TOP_K_BUFFERS: number of buffers of padded(n_units) reals each. MAXIMA_WANTED: number of maxima
   for each unit that is kept. */
enum { TOP_K_BUFFERS = 4, MAXIMA_WANTED = 4 };

/* units (kept) <- the `kept` largest units of the row, in increasing order; of equal units, the
   first. buffer has TOP_K_BUFFERS buffers, of which the last is not touched.

   The kept-th largest of the maxima of groups is at most the kept-th largest of all keys. Few
   units are above it, and only these are compared one by one. */
static void choose_units(int64_t kept, int64_t n_units, row_entries row, real *buffer,
                         int32_t *units)
{
    int64_t panels = n_panels(n_units),
            height = max_i64(1, panels * PANEL / (MAXIMA_WANTED * kept)),
            groups = ceil_div(panels, height);
    real_int *some = (real_int *)buffer, *keys = some + padded(n_units),
             *candidates = keys + padded(n_units);
    maxima_of_groups(n_units, row, height, groups, some);
    real_int threshold = kth_largest(some, groups * PANEL, kept);
    int64_t m = units_from(n_units, row, threshold, keys, candidates), above = 0, n = 0;
    if (height > 1) {
        memcpy(some, keys, (size_t)m * sizeof *keys);
        threshold = kth_largest(some, m, kept);
    }
    for (int64_t i = 0; i < m; ++i)
        above += keys[i] > threshold;
    for (int64_t i = 0, ties = kept - above; n < kept; ++i)
        if (keys[i] > threshold || (keys[i] == threshold && ties-- > 0))
            units[n++] = (int32_t)candidates[i];
}

/* Set all units of a row to -0 but its `kept` largest. A unit that is kept is never -0. */
static void keep_top_k(int64_t kept, int64_t n_units, row_entries row, real *buffer)
{
    int32_t *units = (int32_t *)(buffer + (TOP_K_BUFFERS - 1) * padded(n_units));
    choose_units(kept, n_units, row, buffer, units);
    for (int64_t i = 0; i < kept; ++i)
        buffer[i] = *entry_of(row, units[i]) + (real)0;
    for (int64_t j = 0; j < n_units; j += LANES)
        vec_store_n(entry_of(row, j), vec_set((real)-0.0), n_units - j);
    for (int64_t i = 0; i < kept; ++i)
        *entry_of(row, units[i]) = buffer[i];
}

#endif
