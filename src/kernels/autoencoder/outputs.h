/* Functions of an output distribution p(x | mu) on a strip of pre-activations eta = c + h W*:
   means, losses, gradients. distributions.h defines the distributions; groups.h continues with
   those of whole groups of columns (softmax).

   Several distributions may share the columns of the output, each with segments of its own. A
   distribution then computes the lanes of its columns alone and leaves the others as they are. A
   missing entry, NaN in x, has neither loss nor gradient. The common distributions have a second
   form without masks, for outputs with one segment and no missing entries. */
#ifndef AEFAST_OUTPUTS_H
#define AEFAST_OUTPUTS_H

#include "kernels/autoencoder/autoencoder.h"
#include "kernels/autoencoder/tables/counts.h"
#include "kernels/base/special.h"
#include "kernels/products/strip.h"

enum { MOST_KNOWN = 4 };

/* Functions on one vector of columns. `prepare` computes `known` from the columns' parameter
   theta and the segment's constant. */
typedef void prepare_function(vec theta, vec constant, vec *known);
typedef vec mean_function(vec eta);
/* The loss of a plain output and its derivative by eta; e is the exponential of the
   function of eta that PLAIN_OUTPUT names. Where PLAIN_OUTPUT says so, the loss leaves out a term
   log(1 + e). */
typedef vec plain_loss_function(vec eta, vec e, vec x, vec *by_eta);
/* -log p(x | mu) up to terms in x alone, and its derivatives by eta and theta. */
typedef vec loss_function(vec eta, vec x, const vec *known, vec *by_eta, vec *by_theta);
/* -log p(x | mu) with all of its terms, in double. */
typedef double minus_log_p_function(double x, double eta, const column_parameter *p);

typedef struct {
    output_info info;
    /* Return the eta whose mean is `mean`, kept away from the ends of the domain, for initial
       biases. */
    double (*link)(double mean);
    /* Return the terms that the loss leaves out (see distributions.h). */
    double (*log_normalizer)(double constant);
    double (*base)(double x);
    /* Return all of -log p, with no terms that cancel. */
    minus_log_p_function *minus_log_p;
    /* Return one draw. */
    double (*sample)(double eta, double theta, double constant, const generator *random);
    /* Return the term that the loss of a group of n columns leaves out. */
    double (*group_base)(int64_t n, const double *x);
    /* Draw the n columns of a group. */
    void (*group_sample)(int64_t n, const double *eta, double n_draws, const generator *random,
                         double *x);

    /* The three functions on strips get values eta - bias, and x as the operand. For a group, each
       of them replaces the values by eta and leaves the rest to groups.h. */

    /* Replace values by mu. */
    void (*mean)(strip *);
    /* Add the losses of rows, store the losses of features. */
    void (*loss)(strip *);
    /* Replace values by weight * dloss/deta; add up losses, and column sums for dc and dtheta. */
    void (*gradient)(strip *);
} output_entry;

static inline int is_plain(const strip *s) { return !s->segment_of_column && !s->missing; }

/* Return the mask of the lanes whose columns belong to the segment. */
ALWAYS_INLINE ivec lanes_of_segment(const strip *s, int64_t column, int64_t left)
{
    if (!s->segment_of_column)
        return lanes_below(left);
    ivec lanes = {0};
    for (int i = 0; i < LANES && i < left; ++i)
        lanes[i] = s->segment_of_column[column + i] == s->segment ? -1 : 0;
    return lanes;
}

ALWAYS_INLINE void store_lanes_as_double(double *to, vec v, ivec lanes)
{
    for (int i = 0; i < LANES; ++i)
        if (lanes[i])
            to[i] = (double)v[i];
}

ALWAYS_INLINE void prepare_column(const strip *s, int64_t column, int64_t left,
                                  prepare_function *prepare, vec *known)
{
    vec theta = s->theta ? vec_load_n(s->theta + column, left) : (vec){0};
    prepare(theta, vec_set(s->constant), known);
}

/* ---- means ---- */

/* Replace values by means in one vector of columns. */
ALWAYS_INLINE void mean_column(strip *s, int64_t column, int64_t width, int64_t left,
                               mean_function *mean, const int masked)
{
    ivec lanes = masked ? lanes_of_segment(s, column, left) : ivec_set(-1), bad = {0};
    if (masked && !any_lane(lanes))
        return;
    vec bias = vec_load_n(s->bias + column, left);
    real *values = s->values + column;
    for (int64_t i = 0, n = s->n_rows, ld = s->ld; i < n; ++i, values += ld) {
        vec before = vec_load_n(values, width), mu = mean(before + bias);
        bad |= not_finite_lanes(mu) & lanes;
        vec_store_n(values, masked ? vec_select(lanes, mu, before) : mu, width);
    }
    s->not_finite |= any_lane(bad);
}

/* ---- losses ---- */

ALWAYS_INLINE vec plain_loss_of_vector(const strip *s, int64_t i, int64_t column, int64_t left,
                                       loss_function *loss)
{
    vec unused,
        eta = vec_load_n(s->values + i * s->ld + column, left) + vec_load_n(s->bias + column, left);
    vec l = vec_first_n(
        loss(eta, vec_load_n(s->operand + i * s->operand_ld + column, left), 0, &unused, &unused),
        left);
    if (s->feature_losses)
        vec_store_n(s->feature_losses + i * s->feature_ld + column, l, left);
    return l;
}

/* Compute losses without masks, row by row. */
ALWAYS_INLINE void plain_loss_rows(strip *s, loss_function *loss)
{
    for (int64_t i = 0; i < s->n_rows; ++i) {
        vec sum = {0};
        int64_t column = 0;
        for (; column + LANES <= s->n_columns; column += LANES)
            sum += plain_loss_of_vector(s, i, column, LANES, loss);
        if (column < s->n_columns)
            sum += plain_loss_of_vector(s, i, column, s->n_columns - column, loss);
        if (s->row_losses)
            s->row_losses[i] += vec_sum(sum);
    }
}

/* Compute the losses of the segment's columns in one vector. */
ALWAYS_INLINE void loss_column(strip *s, int64_t column, int64_t width, int64_t left,
                               prepare_function *prepare, loss_function *loss)
{
    ivec lanes = lanes_of_segment(s, column, left);
    if (!any_lane(lanes))
        return;
    vec unused, known[MOST_KNOWN], bias = vec_load_n(s->bias + column, left);
    prepare_column(s, column, left, prepare, known);
    const real *values = s->values + column, *x_at = s->operand + column;
    for (int64_t i = 0; i < s->n_rows; ++i, values += s->ld, x_at += s->operand_ld) {
        vec x = vec_load_n(x_at, width),
            l = loss(vec_load_n(values, width) + bias, x, known, &unused, &unused);
        l = vec_select(lanes & (x == x), l, vec_set(0));
        if (s->row_losses)
            s->row_losses[i] += vec_sum(l);
        if (s->feature_losses) {
            real *to = s->feature_losses + i * s->feature_ld + column;
            vec_store_n(to, vec_select(lanes, l, vec_load_n(to, left)), left);
        }
    }
}

/* ---- gradients ---- */

/* Compute losses and derivatives of one vector of columns, without masks. Where all rows have one
   weight, the terms log(1 + e) of some rows are the logarithm of one product: with 1 + grown =
   (1 + e_1) ... (1 + e_i), the next grown is grown (1 + e) + e, which keeps the digits of small
   terms. */
enum { GROWN_ROWS = 4 * LOSS_ROWS }; /* whose product is a normal number, since e <= 1 */
ALWAYS_INLINE void plain_gradient_column(strip *s, int64_t column, int64_t width, int64_t left,
                                         exponent_function *exponent, const int has_log,
                                         const int equal, plain_loss_function *loss)
{
    vec bias = vec_load_n(s->bias + column, left), sum = {0}, e[LOSS_ROWS];
    real *values = s->values + column;
    const real *x = s->operand + column;
    int64_t ld = s->ld, x_ld = s->operand_ld;
    real first_weight = s->weight[0];
    vec grown = {0};
    double total = 0;
    for (int64_t first = 0; first < s->n_rows;
         first += LOSS_ROWS, values += LOSS_ROWS * ld, x += LOSS_ROWS * x_ld) {
        int64_t n = min_i64(LOSS_ROWS, s->n_rows - first);
        vec losses = {0};
        if (exponent)
            normal_exponentials(n, values, ld, width, bias, exponent, e);
        UNROLL_BY(1)
        for (int64_t i = 0; i < n; ++i) {
            vec derivative, weight = vec_set(equal ? first_weight : s->weight[first + i]),
                            eta = vec_load_n(values + i * ld, width) + bias;
            vec l = loss(eta, exponent ? e[i] : bias, vec_load_n(x + i * x_ld, width), &derivative);
            if (has_log && equal)
                grown = vec_fma(grown, e[i] + (real)1, e[i]);
            else if (has_log)
                l += vec_log1p_unit(e[i]);
            losses = vec_fma(weight, l, losses);
            derivative = vec_first_n(derivative * weight, left);
            sum += derivative;
            vec_store_n(values + i * ld, derivative, width);
        }
        total += vec_sum(vec_first_n(losses, left));
        int is_last = first + LOSS_ROWS >= s->n_rows;
        if (has_log && equal && (is_last || first % GROWN_ROWS == GROWN_ROWS - LOSS_ROWS)) {
            total += (double)first_weight * vec_sum(vec_first_n(vec_log1p_positive(grown), left));
            grown = (vec){0};
        }
    }
    s->loss += total;
    store_as_double(s->column_sums + column, sum, left);
}

/* Compute losses and derivatives of the segment's columns in one vector. */
ALWAYS_INLINE void gradient_column(strip *s, int64_t column, int64_t width, int64_t left,
                                   prepare_function *prepare, loss_function *loss)
{
    ivec lanes = lanes_of_segment(s, column, left);
    if (!any_lane(lanes))
        return;
    vec known[MOST_KNOWN], bias = vec_load_n(s->bias + column, left), sum = {0}, theta_sum = {0};
    prepare_column(s, column, left, prepare, known);
    real *values = s->values + column;
    const real *x_at = s->operand + column, *weights = s->weight;
    double total = 0;
    for (int64_t n = s->n_rows, ld = s->ld, x_ld = s->operand_ld; n > 0;
         n -= LOSS_ROWS, weights += LOSS_ROWS) {
        vec losses = {0};
        UNROLL_BY(1)
        for (int64_t i = 0; i < min_i64(n, LOSS_ROWS); ++i, values += ld, x_at += x_ld) {
            vec by_eta, by_theta = {0}, weight = vec_set(weights[i]),
                        before = vec_load_n(values, width), x = vec_load_n(x_at, width);
            vec l = loss(before + bias, x, known, &by_eta, &by_theta);
            ivec present = lanes & (x == x);
            losses += vec_select(present, weight * l, vec_set(0));
            by_eta = vec_select(present, weight * by_eta, vec_set(0));
            theta_sum += vec_select(present, weight * by_theta, vec_set(0));
            sum += by_eta;
            vec_store_n(values, vec_select(lanes, by_eta, before), width);
        }
        total += vec_sum(losses);
    }
    s->loss += total;
    store_lanes_as_double(s->column_sums + column, sum, lanes);
    if (s->theta_sums)
        store_lanes_as_double(s->theta_sums + column, s->learned ? theta_sum : (vec){0}, lanes);
}

/* Replace the values of groups of columns by eta, for all distributions of groups: only the bias
   is added here, and groups.h does what needs the whole group. */
ALWAYS_INLINE void group_eta_column(strip *s, int64_t column, int64_t width, int64_t left)
{
    ivec lanes = lanes_of_segment(s, column, left);
    if (!any_lane(lanes))
        return;
    vec bias = vec_load_n(s->bias + column, left);
    real *values = s->values + column;
    for (int64_t i = 0; i < s->n_rows; ++i, values += s->ld) {
        vec before = vec_load_n(values, width);
        vec_store_n(values, vec_select(lanes, before + bias, before), width);
    }
    if (s->column_sums)
        store_lanes_as_double(s->column_sums + column, (vec){0}, lanes);
    if (s->theta_sums)
        store_lanes_as_double(s->theta_sums + column, (vec){0}, lanes);
}
static void group_eta_strip(strip *s) { for_each_masked_vector(s, group_eta_column); }

/* ---- the functions of an entry of the table ---- */

ALWAYS_INLINE void prepare_nothing(vec theta, vec constant, vec *known)
{
    (void)theta, (void)constant, (void)known;
}

#define MASKED_OUTPUT(name, prepare)                                                               \
    ALWAYS_INLINE void name##_mean_column(strip *s, int64_t j, int64_t width, int64_t left)        \
    {                                                                                              \
        mean_column(s, j, width, left, name##_mean, 1);                                            \
    }                                                                                              \
    ALWAYS_INLINE void name##_loss_column(strip *s, int64_t j, int64_t width, int64_t left)        \
    {                                                                                              \
        loss_column(s, j, width, left, prepare, name##_loss);                                      \
    }                                                                                              \
    ALWAYS_INLINE void name##_gradient_column(strip *s, int64_t j, int64_t width, int64_t left)    \
    {                                                                                              \
        gradient_column(s, j, width, left, prepare, name##_loss);                                  \
    }                                                                                              \
    static void name##_masked_mean_strip(strip *s)                                                 \
    {                                                                                              \
        for_each_masked_vector(s, name##_mean_column);                                             \
    }                                                                                              \
    static void name##_masked_loss_strip(strip *s)                                                 \
    {                                                                                              \
        for_each_masked_vector(s, name##_loss_column);                                             \
    }                                                                                              \
    static void name##_masked_gradient_strip(strip *s)                                             \
    {                                                                                              \
        for_each_masked_vector(s, name##_gradient_column);                                         \
    }

/* OUTPUT: distributions with a parameter or a constant, and rarer ones, have one form for all
   cases. */
#define OUTPUT(name, prepare)                                                                      \
    MASKED_OUTPUT(name, prepare)                                                                   \
    static void name##_mean_strip(strip *s) { name##_masked_mean_strip(s); }                       \
    static void name##_loss_strip(strip *s) { name##_masked_loss_strip(s); }                       \
    static void name##_gradient_strip(strip *s) { name##_masked_gradient_strip(s); }

/* PLAIN_OUTPUT: other distributions have a form without masks too, whose loss gets the
   exponential of a function of eta (or 0), and may leave out a term log(1 + e). */
#define PLAIN_OUTPUT(name, exponent, has_log)                                                      \
    MASKED_OUTPUT(name, prepare_nothing)                                                           \
    ALWAYS_INLINE void name##_plain_mean_column(strip *s, int64_t j, int64_t width, int64_t left)  \
    {                                                                                              \
        mean_column(s, j, width, left, name##_mean, 0);                                            \
    }                                                                                              \
    ALWAYS_INLINE void name##_plain_gradient_column(strip *s, int64_t j, int64_t width,            \
                                                    int64_t left)                                  \
    {                                                                                              \
        plain_gradient_column(s, j, width, left, exponent, has_log, 0, name##_plain_loss);         \
    }                                                                                              \
    ALWAYS_INLINE void name##_equal_gradient_column(strip *s, int64_t j, int64_t width,            \
                                                    int64_t left)                                  \
    {                                                                                              \
        plain_gradient_column(s, j, width, left, exponent, has_log, 1, name##_plain_loss);         \
    }                                                                                              \
    static void name##_mean_strip(strip *s)                                                        \
    {                                                                                              \
        if (is_plain(s))                                                                           \
            for_each_vector(s, name##_plain_mean_column);                                          \
        else                                                                                       \
            name##_masked_mean_strip(s);                                                           \
    }                                                                                              \
    static void name##_loss_strip(strip *s)                                                        \
    {                                                                                              \
        if (is_plain(s))                                                                           \
            plain_loss_rows(s, name##_loss);                                                       \
        else                                                                                       \
            name##_masked_loss_strip(s);                                                           \
    }                                                                                              \
    static void name##_gradient_strip(strip *s)                                                    \
    {                                                                                              \
        if (has_log && is_plain(s) && s->equal_weights)                                            \
            for_each_vector(s, name##_equal_gradient_column);                                      \
        else if (is_plain(s))                                                                      \
            for_each_vector(s, name##_plain_gradient_column);                                      \
        else                                                                                       \
            name##_masked_gradient_strip(s);                                                       \
    }

#endif
