/* The two forms in which products read a panel (n, PANEL) of reals that epilogues or updates have
   written:

       by_columns  row after row: a group is made of adjacent columns of a row. The left operand of
                   a product over columns has this form.
       by_rows     GROUP rows after GROUP rows: a group is made of adjacent rows of a column; rows
                   missing from the last group are 0. Both operands of a product over rows have
                   this form, and every right operand.

   In full precision both forms are the panel itself. In bfloat16 the two forms together take as
   much memory as the panel, and may replace it there, one after the other. */
#ifndef AEFAST_FORMS_H
#define AEFAST_FORMS_H

#include "kernels/products/packing.h"

/* Largest number of rows in a block of an activation: two panels of so many rows stay in L1, and
   DEPTH columns of an operand in L2. */
enum { TILE_BLOCK_ROWS = 128 };

/* Write both forms of n rows; n is even unless these are the last rows of a panel. by_columns is
   written up to a multiple of GROUP rows and may begin where the panel does. */
static inline void store_forms(int64_t n, const real *panel, operand *by_columns, operand *by_rows)
{
#ifdef AEFAST_BFLOAT16
    for (int64_t i = 0; i < n; i += GROUP, panel += GROUP * PANEL, by_columns += GROUP * PANEL,
                 by_rows += GROUP * PANEL) {
        half_vec row[GROUP][2]; /* the whole group is read before anything is written */
        for (int r = 0; r < GROUP; ++r)
            for (int v = 0; v < 2; ++v)
                row[r][v] = i + r < n ? vec_bfloat16(vec_load(panel + r * PANEL + v * LANES))
                                      : (half_vec){0};
        for (int v = 0; v < 2; ++v) {
            store_operands(by_columns + v * LANES, row[0][v]);
            store_operands(by_columns + PANEL + v * LANES, row[1][v]);
            store_groups(by_rows + v * LANES * GROUP, row[0][v], row[1][v]);
        }
    }
#else
    (void)n, (void)panel, (void)by_columns, (void)by_rows;
#endif
}

/* Where the two forms begin in the memory of an activation's panel: by_columns, then by_rows.
   `capacity`, a multiple of GROUP, is the number of rows for which there is memory. */
static inline operand *form_by_columns(real *forms) { return (operand *)forms; }
static inline operand *form_by_rows(real *forms, int64_t capacity)
{
    return (operand *)forms + (GROUP - 1) * capacity * PANEL;
}

/* Write both forms of n <= TILE_BLOCK_ROWS rows of `panel`, which may begin where `forms` does. */
static inline void make_forms(int64_t n, const real *panel, real *forms, int64_t capacity)
{
#ifdef AEFAST_BFLOAT16
    /* A buffer, because the place of by_rows may overlap rows of the panel still to be read. */
    operand by_rows[TILE_BLOCK_ROWS * PANEL];
    store_forms(n, panel, form_by_columns(forms), by_rows);
    memcpy(form_by_rows(forms, capacity), by_rows, (size_t)(grouped(n) * PANEL) * sizeof *by_rows);
#else
    (void)n, (void)panel, (void)forms, (void)capacity;
#endif
}

/* Write M (n, PANEL), n <= PANEL, as two right operands: M at `by_rows`, and M^T at `transposed`,
   whose groups are adjacent columns of M. Columns n and later of M^T, up to a multiple of LANES,
   become 0. */
static inline void make_transposed_form(int64_t n, const real *panel, operand *by_rows,
                                        operand *transposed)
{
#ifdef AEFAST_BFLOAT16
    _Alignas(CACHE_LINE) operand by_columns[PANEL * PANEL];
    store_forms(n, panel, by_columns, by_rows);
    const real *groups = (const real *)by_columns;
#else
    const real *groups = panel;
    (void)by_rows;
#endif
    transpose_panel(n, PANEL / GROUP, groups, PANEL / GROUP, (real *)transposed, PANEL);
}

#endif
