/* A strip: one block of a product's result, still in cache, with pointers to everything that the
   epilogues acting on it read and write.

   Each epilogue is written once, as an always-inline loop over a vector function. Each entry of a
   table (of distributions, activations, ...) instantiates the loop with its vector function, which
   the compiler inlines. An epilogue visits all rows of one vector of columns before the next, so
   that the biases and sums of these columns stay in registers. */
#ifndef AEFAST_STRIP_H
#define AEFAST_STRIP_H

#include "kernels/base/parallel.h"
#include "kernels/base/vmath.h"

/* The variants of training that change the delta of the hidden layer: penalties and selection of
   units. One-dimensional arrays have an entry for each column (unit) of the strip. */
typedef struct {
    /* (n_rows, n_columns), with the operand's distance between rows: the codes that were decoded,
       -0 where a unit was not kept; NULL: all units were kept. */
    const real *used;
    /* The penalty on each code and its derivative (in *slope), or NULL. */
    vec (*penalty)(vec h, vec *slope);
    /* The derivative of a penalty on mean codes, per unit of a row's weight, or NULL. */
    const real *mean_slope;
    /* ||W_j||^2 of the encoder's weights, for the contractive penalty, or NULL. */
    const real *norms;
    /* The weight of each unit's auxiliary loss in rows that did not keep the unit, or NULL. */
    const real *revive;
    /* ||V_j||^2 of the decoder's weights; needed where revive is not NULL. */
    const real *decoder_norms;
    /* Factors of the delta, of the penalty and of the contractive penalty. */
    real scale, penalty_weight, contraction;
    /* out: sums over rows of weight (dh/da)^2, where norms is not NULL. */
    double *square_sums;
    /* out: the total weight of the rows that kept the unit, where used is not NULL. */
    double *kept_weights;
} code_view;

typedef struct {
    /* in/out (n_rows, n_columns), with rows `ld` apart: the block of the result. */
    real *values;
    int64_t ld;
    int64_t n_rows, n_columns;
    /* Whether rows of values and of the operand may be read and written up to a whole vector; the
       entries past the last column become 0 in gradients. */
    int padded;
    /* (n_columns): biases that are added to pre-activations. */
    const real *bias;
    /* (n_rows, n_columns), with rows `operand_ld` apart: the targets x of a loss, or the codes h of
       a derivative. */
    const real *operand;
    int64_t operand_ld;
    /* (n_rows): the weight of each row's loss, and whether all rows have one weight. */
    const real *weight;
    int equal_weights;

    /* (n_columns): the segment of the output that each column belongs to; NULL: all columns belong
       to `segment`. */
    const uint16_t *segment_of_column;
    /* The segment that the epilogue computes; it leaves other columns as they are. */
    int segment;
    /* Whether the segment's theta is learned. */
    int learned;
    /* Whether entries of the operand may be NaN, which marks missing entries. */
    int missing;
    /* (n_columns): the parameter of each column's distribution, or NULL. */
    const real *theta;
    /* The constant of the segment's distribution. */
    real constant;

    /* Variants that change the delta of the hidden layer, or NULL. */
    const code_view *code;

    /* out (n_columns): sums of the columns. */
    double *column_sums;
    /* out (n_columns): sums of the derivatives by theta, or NULL. */
    double *theta_sums;
    /* out: sum over rows of weight * loss. */
    double loss;
    /* in/out (n_rows): each row's loss is added, unless NULL. */
    double *row_losses;
    /* out (n_rows, n_columns), with rows `feature_ld` apart: the loss of each entry, or NULL. */
    real *feature_losses;
    int64_t feature_ld;
    /* out: set where a code or a mean is not finite. */
    int not_finite;
} strip;

/* Number of rows whose losses are added in `real` before the sum is added in double. */
enum { LOSS_ROWS = 16 };

/* The work on one vector of columns: its first `width` lanes may be read and written, its first
   `left` lanes are columns. */
typedef void column_function(strip *s, int64_t column, int64_t width, int64_t left);

/* Epilogues that begin with an exponential visit PASS_ROWS rows in two passes, which
   compute the exponentials first. A row is one chain of dependent operations and a processor looks
   only so many operations ahead; with shorter chains it works on more rows at once. */
enum { PASS_ROWS = LOSS_ROWS };

/* The function of the first pass; NULL: the epilogue has only one pass. */
typedef vec exponential_function(vec);

/* A function whose values have exponentials that are normal numbers. */
typedef vec exponent_function(vec);

/* e[i] <- exp(exponent(values + bias)) for n <= PASS_ROWS rows. */
ALWAYS_INLINE void normal_exponentials(int64_t n, const real *values, int64_t ld, int64_t width,
                                       vec bias, exponent_function *exponent, vec *e)
{
    UNROLL_BY(1)
    for (int64_t i = 0; i < n; ++i)
        e[i] = exp_normal_quick(exponent(vec_load_n(values + i * ld, width) + bias));
}

/* Call a function for each vector of columns. For whole vectors width and left are constants, so
   that the compiler drops the masks. */
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

/* Call a function for each vector of columns, with one inlined copy of the function for whole and
   partial vectors: for functions that use masks anyway. */
ALWAYS_INLINE void for_each_masked_vector(strip *s, column_function *function)
{
    for (int64_t column = 0; column < s->n_columns; column += LANES) {
        int64_t left = min_i64(LANES, s->n_columns - column);
        function(s, column, s->padded ? LANES : left, left);
    }
}

ALWAYS_INLINE ivec not_finite_lanes(vec v) { return v - v != vec_set(0); }

#endif
