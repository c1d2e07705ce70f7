/* The k-sparse code (Makhzani & Frey 2013): the largest units of a row keep their values. */
#ifndef AEFAST_TOP_K_H
#define AEFAST_TOP_K_H

#include "groups.h"

/* An integer in the order of the reals, NaN above all. */
static inline real_int order_key(real x)
{
    real_int bits;
    memcpy(&bits, &x, sizeof bits);
    real_int largest = (real_int)(~(uint64_t)0 >> (65 - AEFAST_REAL_BITS));
    return x != x ? largest : bits < 0 ? bits ^ largest : bits;
}

/* The k-th largest of n keys, 1 <= k <= n, which change places (Hoare's selection). */
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

/* All units of a row but its `kept` largest become -0; of equal ones the first are kept. A unit that is kept is never -0. buffer: n_units reals. */
static void keep_top_k(int64_t kept, int64_t n_units, row_entries row, real *buffer)
{
    real_int *key = (real_int *)buffer;
    for (int64_t j = 0; j < n_units; ++j)
        key[j] = order_key(*entry_of(row, j) + (real)0);
    real_int limit = kth_largest(key, n_units, kept);
    int64_t above = 0;
    for (int64_t j = 0; j < n_units; ++j)
        above += order_key(*entry_of(row, j) + (real)0) > limit;
    for (int64_t j = 0, ties = kept - above; j < n_units; ++j) {
        real *h = entry_of(row, j);
        real_int its = order_key(*h + (real)0);
        int keeps = its > limit || (its == limit && ties-- > 0);
        *h = keeps ? *h + (real)0 : (real)-0.0;
    }
}

#endif
