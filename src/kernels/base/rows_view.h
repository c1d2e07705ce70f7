/* A view of the user's table, the input of every kernel, and the status that kernels return. */
#ifndef AEFAST_ROWS_VIEW_H
#define AEFAST_ROWS_VIEW_H

#include <stdint.h>

/* The type of the entries in the user's table. Loading a row converts it to reals. */
enum { ROWS_FLOAT32, ROWS_FLOAT64, ROWS_UINT8 };

/* A table of n rows and d columns, read in place, without a copy. */
typedef struct {
    /* The first row. The entries of a row are adjacent. */
    const char *data;
    /* Distance in bytes from each row to the next; it may be negative or 0. */
    int64_t stride;
    /* Number of rows to visit. */
    int64_t n_rows;
    /* (n_rows): index of the row to visit at each place; NULL: 0, 1, 2, ... */
    const int64_t *order;
    /* Type of the entries, ROWS_... */
    int kind;
    /* Whether to check entries: one that is not finite as a real or outside [low, high] sets
       STATUS_BAD_ROWS. */
    int checked;
    /* Bounds of the check for all columns. */
    double low, high;
    /* (d): bounds of each column, used instead of low and high unless NULL. */
    const double *lows, *highs;
    /* Whether the check lets NaN pass as a missing entry. */
    int missing;
    /* Whether entries below low are loaded as low, and entries above high as high. */
    int clipped;
    /* (d): entries x are loaded as (x - shift) factor, and checked afterwards; NULL: as they are.
     */
    const double *shift, *factor;
    /* Rows in CSR form, unless NULL: the entries of row i are at the places row_begin[i] to
       row_begin[i + 1] - 1 of `data` and of `indices`, which has their columns in increasing
       order, as int64_t where `wide` is set and as int32_t otherwise. */
    const int64_t *row_begin;
    const void *indices;
    int wide;
    /* CSR: whether entries that are not stored are missing, instead of 0. */
    int absent_missing;
    /* CSR: whether entries that are not stored are 0 in the encoder's input too, once they are
       scaled, filled, and their logarithms taken. */
    int keeps_zeros;
} rows_view;

enum { STATUS_OK = 0, STATUS_NOT_FINITE = 1, STATUS_BAD_ROWS = 2, STATUS_CUSTOM_FAILED = 4 };

#endif
