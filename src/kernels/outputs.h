/* The output distributions p(x | mu), mu = mean(eta), eta = c + h W* the output's pre-activation.

   loss = -log p(x | mu) without the terms that depend on x alone or on nothing; those constants are `log_normalizer`.
   To add one: functions on vectors, an OUTPUT line, a line of the table; and its twin in tests/reference.py. */
#ifndef AEFAST_OUTPUTS_H
#define AEFAST_OUTPUTS_H

#include "autoencoder.h"
#include "strip.h"

typedef vec mean_function(vec eta);
typedef vec loss_function(vec eta, vec x, vec *derivative); /* derivative: of the loss, by eta */

typedef struct {
    output_info info;
    double (*link)(double mean); /* the eta whose mean is `mean`, for starting values: kept off the ends of the domain */
    void (*mean)(strip *);       /* values eta - bias -> mu */
    void (*loss)(strip *);       /* losses of rows and features, with operand x */
    void (*gradient)(strip *);   /* values eta - bias -> weight * dloss/deta, with operand x; loss; column sums -> dc */
} output_entry;

ALWAYS_INLINE void mean_column(strip *s, int64_t column, int64_t width, int64_t left, mean_function *mean)
{
    vec bias = vec_load_n(s->bias + column, left);
    ivec bad = {0};
    real *values = s->values + column;
    for (int64_t i = 0, n = s->n_rows, ld = s->ld; i < n; ++i, values += ld) {
        vec mu = mean(vec_load_n(values, width) + bias);
        bad |= not_finite_lanes(mu);
        vec_store_n(values, mu, width);
    }
    s->not_finite |= any_lane(bad);
}

ALWAYS_INLINE vec loss_of_vector(const strip *s, int64_t i, int64_t column, int64_t left, loss_function *loss)
{
    vec unused, eta = vec_load_n(s->values + i * s->ld + column, left) + vec_load_n(s->bias + column, left);
    vec l = vec_first_n(loss(eta, vec_load_n(s->operand + i * s->operand_ld + column, left), &unused), left);
    if (s->feature_losses)
        vec_store_n(s->feature_losses + i * s->feature_ld + column, l, left);
    return l;
}

ALWAYS_INLINE void loss_rows(strip *s, loss_function *loss)
{
    for (int64_t i = 0; i < s->n_rows; ++i) {
        vec sum = {0};
        int64_t column = 0;
        for (; column + LANES <= s->n_columns; column += LANES)
            sum += loss_of_vector(s, i, column, LANES, loss);
        if (column < s->n_columns)
            sum += loss_of_vector(s, i, column, s->n_columns - column, loss);
        if (s->row_losses)
            s->row_losses[i] += vec_sum(sum);
    }
}

ALWAYS_INLINE void gradient_column(strip *s, int64_t column, int64_t width, int64_t left, loss_function *loss)
{
    vec bias = vec_load_n(s->bias + column, left), sum = {0};
    real *values = s->values + column;
    const real *x = s->operand + column, *weights = s->weight;
    double total = 0;
    for (int64_t n = s->n_rows, ld = s->ld, x_ld = s->operand_ld; n > 0; n -= LOSS_ROWS, weights += LOSS_ROWS) {
        vec losses = {0};
        for (int64_t i = 0; i < min_i64(n, LOSS_ROWS); ++i, values += ld, x += x_ld) {
            vec derivative, weight = vec_set(weights[i]);
            vec l = loss(vec_load_n(values, width) + bias, vec_load_n(x, width), &derivative);
            losses = vec_fma(weight, l, losses);
            derivative = vec_first_n(derivative * weight, left);
            sum += derivative;
            vec_store_n(values, derivative, width);
        }
        total += vec_sum(vec_first_n(losses, left));
    }
    s->loss += total;
    store_as_double(s->column_sums + column, sum, left);
}

#define OUTPUT(name)                                                                                                                              \
    ALWAYS_INLINE void name##_mean_column(strip *s, int64_t j, int64_t width, int64_t left) { mean_column(s, j, width, left, name##_mean); }         \
    ALWAYS_INLINE void name##_gradient_column(strip *s, int64_t j, int64_t width, int64_t left) { gradient_column(s, j, width, left, name##_loss); } \
    static void name##_mean_strip(strip *s) { for_each_vector(s, name##_mean_column); }                                                           \
    static void name##_loss_strip(strip *s) { loss_rows(s, name##_loss); }                                                                            \
    static void name##_gradient_strip(strip *s) { for_each_vector(s, name##_gradient_column); }

/* gaussian: N(x | eta, 1): loss (eta - x)^2 / 2 */
ALWAYS_INLINE vec gaussian_mean(vec eta) { return eta; }
ALWAYS_INLINE vec gaussian_loss(vec eta, vec x, vec *derivative)
{
    *derivative = eta - x;
    return (real)0.5 * *derivative * *derivative;
}
static double gaussian_link(double mean) { return mean; }
OUTPUT(gaussian)

/* bernoulli: mu^x (1 - mu)^(1 - x), mu = sigmoid(eta): loss max(eta, 0) - x eta + log(1 + exp(-|eta|)), one exponential for all */
ALWAYS_INLINE vec bernoulli_mean(vec eta) { return vec_sigmoid(eta); }
ALWAYS_INLINE vec bernoulli_loss(vec eta, vec x, vec *derivative)
{
    vec e = exp_minus_abs_normal(eta);
    *derivative = vec_select(vec_sign_mask(eta), e, vec_set(1)) / (e + (real)1) - x; /* sigmoid(eta) - x */
    return vec_fma(-x, eta, vec_max(eta, vec_set(0))) + vec_log1p_unit(e);
}
static double bernoulli_link(double mean)
{
    const double edge = 1e-4;
    mean = mean < edge ? edge : mean > 1 - edge ? 1 - edge : mean;
    return log(mean / (1 - mean));
}
OUTPUT(bernoulli)

#define HALF_LOG_2PI 0.91893853320467274178

static const output_entry outputs[] = {
    {{"gaussian", "identity", -INFINITY, INFINITY, HALF_LOG_2PI}, gaussian_link, gaussian_mean_strip, gaussian_loss_strip, gaussian_gradient_strip},
    {{"bernoulli", "logit", 0, 1, 0}, bernoulli_link, bernoulli_mean_strip, bernoulli_loss_strip, bernoulli_gradient_strip},
};

#endif
