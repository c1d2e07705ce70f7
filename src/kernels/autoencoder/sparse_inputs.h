/* Rows in CSR form, entry by entry: what the encoder reads, and what the loss compares with. Both
   are those of make_input (inputs.h) at the stored entries, and 0 elsewhere, as long as
   rows->keeps_zeros holds and no noise changes zeros. */
#ifndef AEFAST_SPARSE_INPUTS_H
#define AEFAST_SPARSE_INPUTS_H

#include "kernels/autoencoder/inputs.h"
#include "kernels/products/rows.h"

/* A stored entry: the place of its row, the encoder's input, and the target. */
typedef struct {
    int32_t place, column;
    real input, target;
} sparse_entry;

/* Return whether the encoder's inputs are 0 wherever no entry is stored. */
static inline int inputs_are_sparse(const rows_view *rows, const input_view *inputs)
{
    return rows->row_begin && rows->keeps_zeros &&
           (inputs->corruption == CORRUPTION_NONE || inputs->corruption == CORRUPTION_MASKING ||
            inputs->corruption == CORRUPTION_DROPOUT);
}

/* Take the logarithms of the inputs of n <= NOISE_COLUMNS entries. */
static inline void take_logarithms_of_entries(const input_view *inputs, int64_t n,
                                              sparse_entry *entries)
{
    const real *offset = (const real *)inputs->log_offset,
               *centre = (const real *)inputs->log_centre;
    real x[NOISE_COLUMNS], a[NOISE_COLUMNS];
    for (int64_t i = 0; i < n; ++i) {
        real of_column = offset[entries[i].column];
        a[i] = of_column > 0 ? of_column : 1;
        x[i] = entries[i].input;
    }
    for (int64_t i = 0; i < n; i += LANES) {
        int64_t left = n - i;
        vec logarithm =
            vec_log(vec_max(vec_load_n(x + i, left), vec_set(0)) + vec_load_n(a + i, left));
        vec_store_n(x + i, logarithm, left);
    }
    for (int64_t i = 0; i < n; ++i)
        if (offset[entries[i].column] > 0)
            entries[i].input = x[i] - centre[entries[i].column];
}

/* Corrupt the inputs of n entries of a row, whose columns increase. */
static inline void corrupt_entries(const input_view *inputs, int64_t sample, int64_t n,
                                   sparse_entry *entries)
{
    uint32_t words[NOISE_COLUMNS], threshold = threshold_of(inputs->corruption_level);
    real kept = inputs->corruption == CORRUPTION_DROPOUT
                    ? (real)(1 / (1 - inputs->corruption_level))
                    : 1;
    int64_t group = -1;
    for (int64_t i = 0; i < n; ++i) {
        int64_t column = entries[i].column;
        if (column / NOISE_COLUMNS != group) {
            group = column / NOISE_COLUMNS;
            random_words((noise_key){inputs->seed, inputs->layer}, NOISE_INPUT, sample, group,
                         words);
        }
        entries[i].input = words[column % NOISE_COLUMNS] < threshold ? 0 : entries[i].input * kept;
    }
}

/* Read the entries of the row at place `at_row`, and return how many there are. Each gets `place`.
   Entries that fail the check of rows set STATUS_BAD_ROWS in *status; zeros that are not stored are
   not checked. */
static inline int64_t read_sparse_row(const rows_view *rows, const input_view *inputs,
                                      int64_t at_row, int64_t sample, int32_t place,
                                      sparse_entry *entries, int *status)
{
    entry_range at = entries_of_row(rows, at_row);
    int64_t n = at.end - at.begin;
    const real *fill = (const real *)inputs->fill;
    double squares = 0;
    for (int64_t i = 0; i < n; ++i) {
        int64_t column = column_at(rows, at.begin + i);
        real x = sparse_value(rows, at.begin + i, column);
        if (rows->clipped)
            clip_entries(rows, column, 1, &x);
        if (rows->checked && !entries_in_range(rows, column, &x, 1))
            *status |= STATUS_BAD_ROWS;
        real input = fill && x != x ? fill[column] : x;
        squares += (double)input * (double)input;
        entries[i] = (sparse_entry){place, (int32_t)column, input, x};
    }
    if (inputs->normed) {
        real factor = norm_factor(squares);
        for (int64_t i = 0; i < n; ++i)
            entries[i].input *= factor;
    }
    if (inputs->corruption != CORRUPTION_NONE)
        corrupt_entries(inputs, sample, n, entries);
    for (int64_t i = 0; inputs->log_offset && i < n; i += NOISE_COLUMNS)
        take_logarithms_of_entries(inputs, min_i64(NOISE_COLUMNS, n - i), entries + i);
    return n;
}

#endif
