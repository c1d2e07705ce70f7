/* The output distributions p(x | mu), mu = mean(eta).

   loss = -log p(x | mu) without terms that depend on x alone or on nothing; aefast/distributions.py puts them back (`log_base`).
   To add one: its functions, an OUTPUT line, a line of the table; its constants and samples in aefast/distributions.py; its twin in tests. */
#ifndef AEFAST_DISTRIBUTIONS_H
#define AEFAST_DISTRIBUTIONS_H

#include "outputs.h"
#include "special.h"

#define DISTRIBUTION(name) ALWAYS_INLINE vec name##_loss(vec eta, vec x, const vec *known, vec *by_eta, vec *by_theta)
#define PLAIN_DISTRIBUTION(name) ALWAYS_INLINE vec name##_plain_loss(vec eta, vec e, vec x, vec *by_eta)
#define UNUSED(a, b) ((void)(a), (void)(b))

static double identity_link(double mean) { return mean; }
static double log_link(double mean) { return log(mean > 1e-4 ? mean : 1e-4); }
static double logit_link(double mean)
{
    const double edge = 1e-4;
    mean = mean < edge ? edge : mean > 1 - edge ? 1 - edge : mean;
    return log(mean / (1 - mean));
}

/* gaussian: N(x | eta, 1) */
ALWAYS_INLINE vec gaussian_mean(vec eta) { return eta; }
PLAIN_DISTRIBUTION(gaussian)
{
    (void)e;
    *by_eta = eta - x;
    return (real)0.5 * *by_eta * *by_eta;
}
DISTRIBUTION(gaussian)
{
    UNUSED(known, by_theta);
    return gaussian_plain_loss(eta, eta, x, by_eta);
}
PLAIN_OUTPUT(gaussian, 0)

/* bernoulli: mu^x (1 - mu)^(1 - x), mu = sigmoid(eta): loss max(eta, 0) - x eta + log(1 + exp(-|eta|)), one exponential for all */
ALWAYS_INLINE vec bernoulli_mean(vec eta) { return vec_sigmoid(eta); }
PLAIN_DISTRIBUTION(bernoulli)
{
    *by_eta = vec_select(vec_sign_mask(eta), e, vec_set(1)) / (e + (real)1) - x; /* sigmoid(eta) - x */
    return vec_fma(-x, eta, vec_max(eta, vec_set(0))) + vec_log1p_unit(e);
}
DISTRIBUTION(bernoulli)
{
    UNUSED(known, by_theta);
    return bernoulli_plain_loss(eta, exp_minus_abs_normal(eta), x, by_eta);
}
PLAIN_OUTPUT(bernoulli, exp_minus_abs_normal)

/* continuous_bernoulli (Loaiza-Ganem & Cunningham 2019): exp(x eta - A(eta)) on [0, 1], A(eta) = log((exp(eta) - 1) / eta), mu = A'(eta).
   Up to |eta| = 2: A = eta/2 + z CB_A(z), mu = 1/2 + eta CB_MEAN(z), z = eta^2, by Chebyshev interpolation (errors below 2e-11 and 1e-22):
       from mpmath import mp, mpf, sinh, coth, log, sqrt, chebyfit; mp.dps = 60; x = lambda z: sqrt(z) / 2
       chebyfit(lambda z: log(sinh(x(z)) / x(z)) / z if z > 1e-12 else mpf(1) / 24 - z / 2880, [0, 4], 6)[::-1] (13 terms for float64)
       chebyfit(lambda z: (coth(x(z)) / 2 - 1 / sqrt(z)) / sqrt(z) if z > 1e-12 else mpf(1) / 12 - z / 720, [0, 4], 6)[::-1]
   Beyond, with u = |eta|, e = exp(-u): A = max(eta, 0) + log((1 - e) / u), A'(u) = 1/(1 - e) - 1/u, A'(-u) = 1 - A'(u). */
#if AEFAST_REAL_BITS == 32
static const real CB_A[] = {0.0416666666651879930596f,  -0.000347222195573459149405f, 0.00000551138562621370973505f,
                            -1.03255414664053495355e-7f, 2.0458850199935198909e-9f,    -3.42397462410091827027e-11f};
static const real CB_MEAN[] = {0.0833333333133661801837f,   -0.0013888885289743872054f, 0.0000330677256770223914968f,
                               -8.25574633617907214011e-7f, 2.03086437336558359926e-8f, -3.94226408903938987677e-10f};
#else
static const real CB_A[] = {0.0416666666666666666667,     -0.000347222222222222221924,  0.00000551146384479717394265, -1.03339947089923996699e-7,
                            2.08767569872056679804e-9,    -4.40349177091462001301e-11,  9.55895341966012069295e-13,   -2.11854098782277055813e-14,
                            4.76956759775659678566e-16,   -1.08579663311249521379e-17,  2.46485320519428026291e-19,   -5.19344799041195800039e-21,
                            7.53554377639926124798e-23};
static const real CB_MEAN[] = {0.0833333333333333333332,   -0.00138888888888888888087, 0.0000330687830687829563054, -8.26719576718956360758e-7,
                               2.0876756986088071607e-8,   -5.2841901082432774887e-10, 1.33825331815689983958e-11,  -3.38965553721550153887e-13,
                               8.58480380241859203959e-15, -2.17044764180000853184e-16, 5.40280266466986303223e-18, -1.22666030158503194138e-19,
                               1.87338102151424292367e-21};
#endif
ALWAYS_INLINE vec continuous_bernoulli_parts(vec eta, vec *A)
{
    vec size = vec_abs(eta), near = vec_min(size, vec_set(2)), z = near * near, e = exp_minus_abs(eta);
    const int n = sizeof CB_A / sizeof *CB_A;
    vec signed_near = vec_select(vec_sign_mask(eta), -near, near);
    vec far_mean = (real)1 / ((real)1 - e) - (real)1 / size;
    far_mean = vec_select(vec_sign_mask(eta), (real)1 - far_mean, far_mean);
    ivec is_near = size <= vec_set(2);
    *A = vec_select(is_near, vec_fma(z, polynomial(z, CB_A, n), (real)0.5 * eta), vec_max(eta, vec_set(0)) + vec_log(((real)1 - e) / size));
    return vec_select(is_near, vec_fma(signed_near, polynomial(z, CB_MEAN, n), vec_set((real)0.5)), far_mean);
}
ALWAYS_INLINE vec continuous_bernoulli_mean(vec eta)
{
    vec unused;
    return continuous_bernoulli_parts(eta, &unused);
}
DISTRIBUTION(continuous_bernoulli)
{
    UNUSED(known, by_theta);
    vec A, mu = continuous_bernoulli_parts(eta, &A);
    *by_eta = mu - x;
    return vec_fma(-x, eta, A);
}
/* A' rises: by bisection. */
static double continuous_bernoulli_link(double mean)
{
    const double edge = 1e-3;
    mean = mean < edge ? edge : mean > 1 - edge ? 1 - edge : mean;
    double low = -1001, high = 1001;
    for (int i = 0; i < 100; ++i) {
        double eta = 0.5 * (low + high), u = fabs(eta);
        double mu = u < 1e-4 ? 0.5 + u / 12 : -1 / expm1(-u) - 1 / u;
        *((eta < 0 ? 1 - mu : mu) < mean ? &low : &high) = eta;
    }
    return 0.5 * (low + high);
}
OUTPUT(continuous_bernoulli, prepare_nothing)

/* gaussian_diagonal: N(x | eta, s), s = floor + exp(theta) */
ALWAYS_INLINE void gaussian_diagonal_prepare(vec theta, vec floor, vec *known)
{
    vec grown = vec_exp(theta), s = floor + grown;
    known[0] = (real)1 / s;
    known[1] = (real)0.5 * vec_log(s);
    known[2] = (real)0.5 * grown / s;
}
ALWAYS_INLINE vec gaussian_diagonal_mean(vec eta) { return eta; }
DISTRIBUTION(gaussian_diagonal)
{
    vec r = eta - x, squared = r * r * known[0];
    *by_eta = r * known[0];
    *by_theta = known[2] * ((real)1 - squared);
    return vec_fma(vec_set((real)0.5), squared, known[1]);
}
OUTPUT(gaussian_diagonal, gaussian_diagonal_prepare)

/* poisson: mu^x exp(-mu) / x!, mu = exp(eta) */
ALWAYS_INLINE vec poisson_mean(vec eta) { return vec_exp(eta); }
DISTRIBUTION(poisson)
{
    UNUSED(known, by_theta);
    vec mu = vec_exp(eta);
    *by_eta = mu - x;
    return vec_fma(-x, eta, mu);
}
OUTPUT(poisson, prepare_nothing)

/* exponential: exp(-x / mu) / mu, mu = exp(eta) */
ALWAYS_INLINE vec exponential_mean(vec eta) { return vec_exp(eta); }
DISTRIBUTION(exponential)
{
    UNUSED(known, by_theta);
    vec t = x * vec_exp(-eta);
    *by_eta = (real)1 - t;
    return eta + t;
}
OUTPUT(exponential, prepare_nothing)

/* gamma: mean mu = exp(eta), shape k = exp(theta): -log p = k (t - 1 - log t) + log Gamma(k) - k log k + k + log x, t = x / mu */
ALWAYS_INLINE void gamma_prepare(vec theta, vec constant, vec *known)
{
    (void)constant;
    known[0] = vec_exp(theta);
    for (int i = 0; i < LANES; ++i) {
        double k = (double)known[0][i] > 0 ? (double)known[0][i] : DBL_MIN;
        known[1][i] = (real)log_gamma_rest(k);
        known[2][i] = (real)digamma_minus_log(k);
    }
}
ALWAYS_INLINE vec gamma_mean(vec eta) { return vec_exp(eta); }
DISTRIBUTION(gamma)
{
    vec t = x * vec_exp(-eta), u = t - (real)1 - (vec_log(x) - eta), k = known[0];
    *by_eta = k * ((real)1 - t);
    *by_theta = k * (u + known[2]);
    return vec_fma(k, u, known[1]);
}
OUTPUT(gamma, gamma_prepare)

/* negative_binomial: mean mu = exp(eta), variance mu + mu^2 / r, r = exp(theta): with q = eta - theta, -log p = -log(Gamma(x + r) / Gamma(r))
   + (x + r) softplus(q) - x q + log x! */
ALWAYS_INLINE void negative_binomial_prepare(vec theta, vec constant, vec *known)
{
    (void)constant;
    known[0] = vec_exp(theta);
    known[1] = theta;
}
ALWAYS_INLINE vec negative_binomial_mean(vec eta) { return vec_exp(eta); }
DISTRIBUTION(negative_binomial)
{
    vec r = known[0], q = eta - known[1], share = vec_sigmoid(q), growth = vec_softplus(q), by_r; /* share = mu / (r + mu) */
    vec rising = vec_log_rising(x, r, &by_r);
    *by_eta = vec_fma(x + r, share, -x);
    *by_theta = vec_fma(r, growth - by_r, x * ((real)1 - share) - r * share);
    return vec_fma(x + r, growth, -x * q) - rising;
}
OUTPUT(negative_binomial, negative_binomial_prepare)

/* laplace: exp(-|x - eta|) / 2 */
ALWAYS_INLINE vec laplace_mean(vec eta) { return eta; }
DISTRIBUTION(laplace)
{
    UNUSED(known, by_theta);
    vec r = eta - x, zero = vec_set(0);
    *by_eta = vec_select(r > zero, vec_set(1), vec_select(r < zero, vec_set(-1), r * zero)); /* NaN and 0 pass */
    return vec_abs(r);
}
OUTPUT(laplace, prepare_nothing)

/* huber: a Gaussian within delta of eta, Laplace tails beyond (Huber 1964) */
ALWAYS_INLINE void huber_prepare(vec theta, vec delta, vec *known)
{
    (void)theta;
    known[0] = delta;
}
ALWAYS_INLINE vec huber_mean(vec eta) { return eta; }
DISTRIBUTION(huber)
{
    (void)by_theta;
    vec r = eta - x, inner = vec_max(-known[0], vec_min(known[0], r)); /* NaN passes */
    *by_eta = inner;
    return inner * (r - (real)0.5 * inner);
}
OUTPUT(huber, huber_prepare)

/* Groups, in one form for all: only the bias is added here; the softmax over the group's columns is groups.h's. */
ALWAYS_INLINE void group_eta_column(strip *s, int64_t column, int64_t width, int64_t left)
{
    ivec lanes = lanes_of_part(s, column, left);
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

#define STRIPS(name) name##_mean_strip, name##_loss_strip, name##_gradient_strip
#define GROUP_STRIPS group_eta_strip, group_eta_strip, group_eta_strip
#define LOWEST_POSITIVE 1e-30 /* of gamma's x: whose logarithm is taken in float32 too */

/* name, link, domain; whether it is one of groups; the parameter that columns have (0: none), whether it can be learned; the option (0: none) and its
   default, NAN where the option fixes the parameter (at the option's logarithm) and is not given by default */
static const output_entry outputs[] = {
    {{"gaussian", "identity", -INFINITY, INFINITY, 0, 0, 0, 0}, identity_link, STRIPS(gaussian)},
    {{"bernoulli", "logit", 0, 1, 0, 0, 0, 0}, logit_link, STRIPS(bernoulli)},
    {{"continuous_bernoulli", "continuous logit", 0, 1, 0, 0, 0, 0}, continuous_bernoulli_link, STRIPS(continuous_bernoulli)},
    {{"gaussian_diagonal", "identity", -INFINITY, INFINITY, 0, "log_variance", "floor", 1e-6}, identity_link, STRIPS(gaussian_diagonal)},
    {{"poisson", "log", 0, INFINITY, 0, 0, 0, 0}, log_link, STRIPS(poisson)},
    {{"exponential", "log", 0, INFINITY, 0, 0, 0, 0}, log_link, STRIPS(exponential)},
    {{"gamma", "log", LOWEST_POSITIVE, INFINITY, 0, "log_shape", "shape", NAN}, log_link, STRIPS(gamma)},
    {{"negative_binomial", "log", 0, INFINITY, 0, "log_r", "r", NAN}, log_link, STRIPS(negative_binomial)},
    {{"laplace", "identity", -INFINITY, INFINITY, 0, 0, 0, 0}, identity_link, STRIPS(laplace)},
    {{"huber", "identity", -INFINITY, INFINITY, 0, 0, "delta", 1}, identity_link, STRIPS(huber)},
    {{"categorical", "log", 0, 1, 1, 0, 0, 0}, log_link, GROUP_STRIPS},
    {{"multinomial", "log", 0, INFINITY, 1, 0, 0, 0}, log_link, GROUP_STRIPS},
    {{"own", "own", -INFINITY, INFINITY, 0, 0, 0, 0}, identity_link, GROUP_STRIPS}, /* the caller's */
};

#endif
