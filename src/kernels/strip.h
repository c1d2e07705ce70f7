/* A strip: one block of a product's result, still in cache, and what the epilogues that act on it read and write.

   Epilogues are written once, as always-inline loops over a vector function; each entry of a table instantiates them with its own
   function, which the compiler inlines. */
#ifndef AEFAST_STRIP_H
#define AEFAST_STRIP_H

#include "parallel.h"
#include "vmath.h"

typedef struct {
    real *values; /* in/out (n_rows, n_columns), n_columns <= BLOCK_COLUMNS where column_sums is set */
    int64_t ld;
    int64_t n_rows, n_columns;
    const real *bias;     /* (n_columns), added to pre-activations */
    const real *operand;  /* (n_rows, n_columns): the target x of a loss, the code h of a derivative */
    int64_t operand_ld;
    const double *weight; /* (n_rows): of each row's loss; NULL: 1 */

    double *column_sums;  /* out (n_columns), or NULL */
    double loss;          /* out: sum over rows of weight * loss */
    double *row_losses;   /* (n_rows): added to, or NULL */
    real *feature_losses; /* out (n_rows, n_columns), or NULL */
    int64_t feature_ld;
    int not_finite;       /* out: set where a code or a mean is not finite */
} strip;

ALWAYS_INLINE ivec not_finite_lanes(vec v) { return v - v != vec_set(0); }

/* Column sums of up to BLOCK_ROWS rows in `real`, handed on in double. */
typedef struct {
    real sum[BLOCK_COLUMNS];
} column_accumulator;

ALWAYS_INLINE void accumulate(column_accumulator *acc, int64_t column, vec v, int64_t left)
{
    vec_store_n(acc->sum + column, vec_load_n(acc->sum + column, left) + v, left);
}

#endif
