/* The input of the encoder: a row x whose missing entries are filled and which is then corrupted,
   and of which logarithms are taken. The row itself stays the target of the loss. */
#ifndef AEFAST_INPUTS_H
#define AEFAST_INPUTS_H

#include "kernels/autoencoder/groups.h"
#include "kernels/autoencoder/noise.h"
#include "kernels/base/special.h"

static inline int inputs_differ(const input_view *inputs)
{
    return inputs->fill || inputs->log_offset || inputs->normed ||
           inputs->corruption != CORRUPTION_NONE;
}

/* Corrupt values[0 .. n), which are the columns from `column` on, with their words of random
   bits; n <= NOISE_COLUMNS. */
static inline void corrupt_columns(const input_view *inputs, int64_t column, int64_t n,
                                   const uint32_t *words, real *values)
{
    uint32_t threshold = threshold_of(inputs->corruption_level),
             half = threshold_of(0.5 * inputs->corruption_level);
    real normal[NOISE_COLUMNS], scale = (real)inputs->corruption_level,
                                kept = (real)(1 / (1 - inputs->corruption_level));
    const real *low = (const real *)inputs->low, *high = (const real *)inputs->high;
    switch (inputs->corruption) {
    case CORRUPTION_MASKING:
        for (int64_t j = 0; j < n; ++j)
            values[j] = words[j] < threshold ? 0 : values[j];
        break;
    case CORRUPTION_SALT_AND_PEPPER:
        for (int64_t j = 0; j < n; ++j)
            values[j] = words[j] < half        ? low[column + j]
                        : words[j] < threshold ? high[column + j]
                                               : values[j];
        break;
    case CORRUPTION_GAUSSIAN:
        normal_of(words, normal);
        for (int64_t j = 0; j < n; ++j)
            values[j] += scale * normal[j];
        break;
    case CORRUPTION_DROPOUT:
        for (int64_t j = 0; j < n; ++j)
            values[j] = words[j] < threshold ? 0 : values[j] * kept;
        break;
    }
}

/* Take the logarithms of values[0 .. n), which are the columns from `column` on. */
static inline void take_logarithms(const input_view *inputs, int64_t column, int64_t n,
                                   real *values)
{
    const real *offset = (const real *)inputs->log_offset + column,
               *centre = (const real *)inputs->log_centre + column;
    for (int64_t j = 0; j < n; j += LANES) {
        vec x = vec_load_n(values + j, n - j), a = vec_load_n(offset + j, n - j);
        vec logarithm = vec_log(vec_max(x, vec_set(0)) + a) - vec_load_n(centre + j, n - j);
        vec_store_n(values + j, vec_select(a > vec_set(0), logarithm, x), n - j);
    }
}

/* Return 1 / ||x||, or 1 for a row of zeros, from the row's sum of squares. */
static inline real norm_factor(double squares)
{
    return squares > 0 ? (real)(1 / sqrt(squares)) : 1;
}

/* Return the factor by which the encoder's input is multiplied: that of the row's norm, or 1. */
static inline real input_factor(const input_view *inputs, int64_t d, row_entries row)
{
    const real *fill = (const real *)inputs->fill;
    double squares = 0;
    for (int64_t j = 0; inputs->normed && j < d; ++j) {
        real x = *entry_of(row, j);
        x = fill && x != x ? fill[j] : x;
        squares += (double)x * (double)x;
    }
    return norm_factor(squares);
}

/* to <- the input of the encoder for a row of d columns. */
static void make_input(const input_view *inputs, int64_t d, int64_t sample, row_entries row,
                       row_entries to)
{
    const real *fill = (const real *)inputs->fill;
    uint32_t words[NOISE_COLUMNS];
    real values[NOISE_COLUMNS], factor = input_factor(inputs, d, row);
    for (int64_t first = 0; first < d; first += NOISE_COLUMNS) {
        int64_t n = min_i64(NOISE_COLUMNS, d - first);
        for (int64_t j = 0; j < n; j += PANEL) /* NOISE_COLUMNS is a multiple of PANEL */
            memcpy(values + j, entry_of(row, first + j),
                   (size_t)min_i64(PANEL, n - j) * sizeof(real));
        for (int64_t j = 0; fill && j < n; ++j)
            values[j] = values[j] == values[j] ? values[j] : fill[first + j];
        for (int64_t j = 0; inputs->normed && j < n; ++j)
            values[j] *= factor;
        if (inputs->corruption != CORRUPTION_NONE) {
            random_words((noise_key){inputs->seed, inputs->layer}, NOISE_INPUT, sample,
                         first / NOISE_COLUMNS, words);
            corrupt_columns(inputs, first, n, words, values);
        }
        if (inputs->log_offset)
            take_logarithms(inputs, first, n, values);
        for (int64_t j = 0; j < n; j += PANEL)
            memcpy(entry_of(to, first + j), values + j,
                   (size_t)min_i64(PANEL, n - j) * sizeof(real));
    }
}

#endif
