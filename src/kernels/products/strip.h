/* A strip: one block of a product's result, still in cache, and what the epilogues that act on it
   read and write.

   Epilogues are written once, as always-inline loops over a vector function; each entry of a table
   instantiates them with its own function, which the compiler inlines. They go down the rows of one
   vector of columns after the other: a column's bias and its sum stay in registers. */
#ifndef AEFAST_STRIP_H
#define AEFAST_STRIP_H

#include "kernels/base/parallel.h"
#include "kernels/base/vmath.h"

/* What penalties and selection add to the delta of codes; arrays by the strip's columns. */
typedef struct {
    const real *used; /* (n_rows, n_columns), rows as the operand's: the codes as decoded, -0 where
                         a unit was not kept; NULL: all were */
    vec (*penalty)(vec h, vec *slope); /* of codes, or NULL; */
    const real
        *mean_slope; /* of one of mean codes: its derivative per unit of a row's weight, or NULL */
    const real *norms;  /* ||W_j||^2, or NULL */
    const real *revive; /* the weight of a unit's auxiliary loss where it was not kept, or NULL; */
    const real *decoder_norms; /* ||V_j||^2, which that needs */
    real scale, penalty_weight, contraction;
    double *square_sums;  /* out: sum of weight (dh/da)^2, with norms */
    double *kept_weights; /* out: the weight of rows that kept the unit, with used */
} code_view;

typedef struct {
    real *values; /* in/out (n_rows, n_columns) */
    int64_t ld;
    int64_t n_rows, n_columns;
    int padded; /* rows of values and of the operand may be read and written up to a whole vector:
                   what stands there becomes 0 in gradients */
    const real *bias; /* (n_columns), added to pre-activations */
    const real
        *operand; /* (n_rows, n_columns): the target x of a loss, the code h of a derivative */
    int64_t operand_ld;
    const real *weight; /* (n_rows): of each row's loss */

    const uint16_t *segment_of_column; /* (n_columns): which segment of the output each belongs to;
                                       NULL: all to this one */
    int segment, learned, missing; /* this one; whether its theta is learned; whether entries of the
                                   operand may be NaN: missing */
    const real *theta;             /* (n_columns): the columns' parameter, or NULL */
    real constant;                 /* of the segment */

    const code_view *code; /* of a delta, or NULL */

    double *column_sums;  /* out (n_columns) */
    double *theta_sums;   /* out (n_columns), or NULL */
    double loss;          /* out: sum over rows of weight * loss */
    double *row_losses;   /* (n_rows): added to, or NULL */
    real *feature_losses; /* out (n_rows, n_columns), or NULL */
    int64_t feature_ld;
    int not_finite; /* out: set where a code or a mean is not finite */
} strip;

enum { LOSS_ROWS = 16 }; /* whose losses are added up in `real`; then on in double */

/* What is done to one vector of columns: `width` of its lanes may be read and written, `left` of
 * them are columns. */
typedef void column_function(strip *s, int64_t column, int64_t width, int64_t left);

/* Epilogues that begin with an exponential go over a few rows in two passes, exponentials first.
   Each is one chain of dependent operations: a processor looks just so many operations ahead, and
   with shorter chains these belong to more rows. */
enum { PASS_ROWS = LOSS_ROWS };

typedef vec exponential_function(vec); /* or NULL: one pass */

/* For whole vectors width and left are constants: the compiler drops the masks. */
ALWAYS_INLINE void for_each_vector(strip *s, column_function *function)
{
    int64_t column = 0;
    for (; column + LANES <= s->n_columns; column += LANES)
        function(s, column, LANES, LANES);
    int64_t left = s->n_columns - column;
    if (left > 0 && s->padded)
        function(s, column, LANES, left);
    else if (left > 0)
        function(s, column, left, left);
}

/* The same with one instance of the function for all vectors: for what is masked anyway. */
ALWAYS_INLINE void for_each_masked_vector(strip *s, column_function *function)
{
    for (int64_t column = 0; column < s->n_columns; column += LANES) {
        int64_t left = min_i64(LANES, s->n_columns - column);
        function(s, column, s->padded ? LANES : left, left);
    }
}

ALWAYS_INLINE ivec not_finite_lanes(vec v) { return v - v != vec_set(0); }

/* The first n lanes, as doubles. */
ALWAYS_INLINE void store_as_double(double *to, vec v, int64_t n)
{
    for (int i = 0; i < LANES && i < n; ++i)
        to[i] = (double)v[i];
}

#endif
