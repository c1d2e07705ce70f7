/* The check of a sparse matrix in CSR form, before any kernel follows its indices. */
#ifndef AEFAST_CSR_H
#define AEFAST_CSR_H

#include <stdint.h>

typedef struct {
    const int64_t *row_begin; /* (n_rows + 1) */
    const int64_t *columns;   /* (n_entries) */
    int64_t n_rows, n_columns, n_entries;
} csr_view;

/* CSR_OFFSETS: row_begin does not rise from 0 to at most n_entries. CSR_COLUMNS: a column is not in
   [0, n_columns). */
enum { CSR_VALID, CSR_OFFSETS, CSR_COLUMNS };

/* Checks offsets and columns in O(n_rows + stored entries). Where the result is not CSR_VALID, `at`
   is the first bad place of row_begin or of columns. */
static inline int check_csr(const csr_view *csr, int64_t *at)
{
    *at = 0;
    if (csr->row_begin[0] != 0)
        return CSR_OFFSETS;
    for (int64_t i = 0; i < csr->n_rows; ++i)
        if (csr->row_begin[i + 1] < csr->row_begin[i] || csr->row_begin[i + 1] > csr->n_entries) {
            *at = i + 1;
            return CSR_OFFSETS;
        }
    int64_t n_stored = csr->row_begin[csr->n_rows];
    for (int64_t i = 0; i < n_stored; ++i)
        if (csr->columns[i] < 0 || csr->columns[i] >= csr->n_columns) {
            *at = i;
            return CSR_COLUMNS;
        }
    return CSR_VALID;
}

#endif
