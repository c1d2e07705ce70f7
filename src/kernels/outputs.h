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
    void (*loss)(strip *);       /* values eta - bias -> weight * dloss/deta, with operand x; losses; column sums -> dc */
} output_entry;

ALWAYS_INLINE void mean_strip(strip *s, mean_function *mean)
{
    ivec bad = {0};
    for (int64_t i = 0; i < s->n_rows; ++i) {
        real *values = s->values + i * s->ld;
        for (int64_t j = 0; j < s->n_columns; j += LANES) {
            int64_t left = s->n_columns - j;
            vec mu = mean(vec_load_n(values + j, left) + vec_load_n(s->bias + j, left));
            bad |= not_finite_lanes(mu);
            vec_store_n(values + j, mu, left);
        }
    }
    s->not_finite |= any_lane(bad);
}

ALWAYS_INLINE void loss_strip(strip *s, loss_function *loss)
{
    column_accumulator acc = {{0}};
    s->loss = 0;
    for (int64_t i = 0; i < s->n_rows; ++i) {
        real *values = s->values + i * s->ld;
        const real *x = s->operand + i * s->operand_ld;
        vec row_loss = {0};
        double row_weight = s->weight ? s->weight[i] : 1;
        vec weight = vec_set((real)row_weight);
        for (int64_t j = 0; j < s->n_columns; j += LANES) {
            int64_t left = s->n_columns - j;
            vec derivative, eta = vec_load_n(values + j, left) + vec_load_n(s->bias + j, left);
            vec l = loss(eta, vec_load_n(x + j, left), &derivative);
            derivative *= weight;
            row_loss += vec_first_n(l, left);
            vec_store_n(values + j, derivative, left);
            accumulate(&acc, j, derivative, left);
            if (s->feature_losses)
                vec_store_n(s->feature_losses + i * s->feature_ld + j, l, left);
        }
        double sum = vec_sum(row_loss);
        s->loss += row_weight * sum;
        if (s->row_losses)
            s->row_losses[i] += sum;
    }
    if (s->column_sums)
        for (int64_t j = 0; j < s->n_columns; ++j)
            s->column_sums[j] = (double)acc.sum[j];
}

#define OUTPUT(name)                                                          \
    static void name##_mean_strip(strip *s) { mean_strip(s, name##_mean); }   \
    static void name##_loss_strip(strip *s) { loss_strip(s, name##_loss); }

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
    vec e = exp_minus_abs(eta);
    *derivative = sigmoid_from(eta, e) - x;
    return vec_max(eta, vec_set(0)) - x * eta + vec_log1p_unit(e);
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
    {{"gaussian", "identity", -INFINITY, INFINITY, HALF_LOG_2PI}, gaussian_link, gaussian_mean_strip, gaussian_loss_strip},
    {{"bernoulli", "logit", 0, 1, 0}, bernoulli_link, bernoulli_mean_strip, bernoulli_loss_strip},
};

#endif
