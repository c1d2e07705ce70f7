/* The forms in which products read a panel (n, PANEL) of reals that epilogues or updates have
   written:

       by_columns  row after row: groups are adjacent columns of a row. Left operands of products
   over columns read it. by_rows     GROUP rows after GROUP rows: groups are adjacent rows of a
   column; rows that the last lacks are 0. Both operands of products over rows read it, and right
   operands in general.

   In full precision both are the panel itself. In bfloat16 the two together take the panel's
   memory: one after the other, they may stand in its place. */
#ifndef AEFAST_FORMS_H
#define AEFAST_FORMS_H

#include "kernels/products/packing.h"

enum {
    TILE_BLOCK_ROWS = 128
}; /* of a block of an activation at most: two panels of them stay in L1; DEPTH columns of an
      operand in L2 */

/* Both forms of n rows, n even unless they are a panel's last; by_columns is written up to a
 * multiple of GROUP. It may begin where the panel does. */
static inline void store_forms(int64_t n, const real *panel, operand *by_columns, operand *by_rows)
{
#ifdef AEFAST_BFLOAT16
    for (int64_t i = 0; i < n; i += GROUP, panel += GROUP * PANEL, by_columns += GROUP * PANEL,
                 by_rows += GROUP * PANEL) {
        half_vec row[GROUP][2]; /* all of them, before anything is written */
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

/* The forms of an activation's panel with room for `room` rows, a multiple of GROUP: by_columns,
 * then by_rows. */
static inline operand *form_by_columns(real *forms) { return (operand *)forms; }
static inline operand *form_by_rows(real *forms, int64_t room)
{
    return (operand *)forms + (GROUP - 1) * room * PANEL;
}

/* Makes them of `panel`, which may be the same memory; n <= TILE_BLOCK_ROWS. */
static inline void make_forms(int64_t n, const real *panel, real *forms, int64_t room)
{
#ifdef AEFAST_BFLOAT16
    operand by_rows[TILE_BLOCK_ROWS *
                    PANEL]; /* whose place is not free before the panel has been read */
    store_forms(n, panel, form_by_columns(forms), by_rows);
    memcpy(form_by_rows(forms, room), by_rows, (size_t)(grouped(n) * PANEL) * sizeof *by_rows);
#else
    (void)n, (void)panel, (void)forms, (void)room;
#endif
}

/* M (n, PANEL), n <= PANEL, as right operands: `by_rows`, and M^T at `transposed`, whose groups are
   adjacent columns of M; its columns from n on, up to a multiple of LANES, become 0. */
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
