/* The output distributions p(x | mu), mu = mean(eta). Everything that the package knows about a
   distribution stands here. Its density is split into three terms,

       -log p(x | mu) = loss(eta, x; theta) + base(x) + log_normalizer(constant)

   Training needs the first term alone, computed on vectors. The other terms, and samples, are
   computed for one entry at a time, in double; base and log_normalizer may be NULL, which means 0.
   A distribution with a base has minus_log_p too, all of -log p at once: where counts are large,
   loss and base cancel.

   To add a distribution: its functions, an OUTPUT line, an entry of the table, and the reference
   implementation in tests/reference/outputs.py. Nothing else. */
#ifndef AEFAST_DISTRIBUTIONS_H
#define AEFAST_DISTRIBUTIONS_H

#include "kernels/autoencoder/outputs.h"
#include "kernels/autoencoder/tables/continuous_bernoulli.h"
#include "kernels/base/special.h"

#define DISTRIBUTION(name)                                                                         \
    ALWAYS_INLINE vec name##_loss(vec eta, vec x, const vec *known, vec *by_eta, vec *by_theta)
#define PLAIN_DISTRIBUTION(name)                                                                   \
    ALWAYS_INLINE vec name##_plain_loss(vec eta, vec e, vec x, vec *by_eta)
#define UNUSED(a, b) ((void)(a), (void)(b))

static double identity_link(double mean) { return mean; }
static double log_link(double mean) { return log(mean > 1e-4 ? mean : 1e-4); }
static double logit_link(double mean)
{
    const double edge = 1e-4;
    mean = mean < edge ? edge : mean > 1 - edge ? 1 - edge : mean;
    return log(mean / (1 - mean));
}

#define PI 3.14159265358979323846
#define HALF_LOG_2PI 0.91893853320467274178
#define SAMPLE(name)                                                                               \
    static double name##_sample(double eta, double theta, double constant, const generator *random)
#define UNUSED_BY_SAMPLE ((void)theta, (void)constant)

static double half_log_2pi(double constant) { return (void)constant, HALF_LOG_2PI; }
static double log_factorial(double x) { return lgamma(x + 1); }

/* Draw from a Poisson distribution. Means beyond the counts that integers hold use the normal
   approximation. */
static double draw_poisson(double mean, const generator *random)
{
    return mean < 1e15 ? (double)random->poisson(random->bits, mean)
                       : rint(mean + sqrt(mean) * random->normal(random->bits));
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
SAMPLE(gaussian) { return UNUSED_BY_SAMPLE, eta + random->normal(random->bits); }
PLAIN_OUTPUT(gaussian, 0, 0)

/* bernoulli: mu^x (1 - mu)^(1 - x), mu = sigmoid(eta). The loss, max(eta, 0) - x eta + log(1 +
   exp(-|eta|)), and its derivative share one exponential. */
ALWAYS_INLINE vec bernoulli_mean(vec eta) { return vec_sigmoid(eta); }
PLAIN_DISTRIBUTION(bernoulli)
{
    /* sigmoid(eta) - x */
    *by_eta = vec_select(vec_sign_mask(eta), e, vec_set(1)) / (e + (real)1) - x;
    return vec_fma(-x, eta, vec_max(eta, vec_set(0)));
}
DISTRIBUTION(bernoulli)
{
    UNUSED(known, by_theta);
    vec e = exp_minus_abs_normal(eta);
    return bernoulli_plain_loss(eta, e, x, by_eta) + vec_log1p_unit(e);
}
SAMPLE(bernoulli)
{
    return UNUSED_BY_SAMPLE, random->uniform(random->bits) < 1 / (1 + exp(-eta)) ? 1 : 0;
}
PLAIN_OUTPUT(bernoulli, normal_minus_abs, 1)

/* continuous_bernoulli (Loaiza-Ganem & Cunningham 2019): exp(x eta - A(eta)) on [0, 1], with
   A(eta) = log((exp(eta) - 1) / eta) and mu = A'(eta) */
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
/* Solve A'(eta) = mean by bisection; A' increases. */
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
/* Samples come from the inverse of the distribution function, log(1 + u (exp(eta) - 1)) / eta,
   evaluated at -|eta| and mirrored where eta is positive. */
SAMPLE(continuous_bernoulli)
{
    UNUSED_BY_SAMPLE;
    double rate = fmax(fabs(eta), 1e-12),
           x = -log1p(random->uniform(random->bits) * expm1(-rate)) / rate;
    return fmin(fmax(eta > 0 ? 1 - x : x, 0), 1);
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
SAMPLE(gaussian_diagonal)
{
    return eta + sqrt(constant + exp(theta)) * random->normal(random->bits);
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
SAMPLE(poisson) { return UNUSED_BY_SAMPLE, draw_poisson(exp(eta), random); }
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
SAMPLE(exponential) { return UNUSED_BY_SAMPLE, exp(eta) * random->exponential(random->bits); }
OUTPUT(exponential, prepare_nothing)

/* gamma: mean mu = exp(eta), shape k = exp(theta). With t = x / mu,
   -log p = k (t - 1 - log t) + log Gamma(k) - k log k + k + log x */
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
static double gamma_base(double x) { return log(x); }
SAMPLE(gamma)
{
    (void)constant;
    double shape = exp(theta), x = random->gamma(random->bits, shape) * (exp(eta) / shape);
    return fmax(x, DBL_MIN); /* x > 0, but draws with a small shape underflow */
}
OUTPUT(gamma, gamma_prepare)

/* negative_binomial: mean mu = exp(eta), variance mu + mu^2 / r, r = exp(theta). With
   q = eta - theta, -log p = -log(Gamma(x + r) / Gamma(r)) + (x + r) softplus(q) - x q + log x! */
ALWAYS_INLINE void negative_binomial_prepare(vec theta, vec constant, vec *known)
{
    (void)constant;
    known[0] = vec_exp(theta);
    known[1] = theta;
}
ALWAYS_INLINE vec negative_binomial_mean(vec eta) { return vec_exp(eta); }
DISTRIBUTION(negative_binomial)
{
    /* share is mu / (r + mu). */
    vec r = known[0], q = eta - known[1], share = vec_sigmoid(q), growth = vec_softplus(q), by_r;
    vec rising = vec_log_rising(x, r, &by_r);
    *by_eta = vec_fma(x + r, share, -x);
    *by_theta = vec_fma(r, growth - by_r, x * ((real)1 - share) - r * share);
    return vec_fma(x + r, growth, -x * q) - rising;
}
/* Samples are Poisson with a mean drawn from the gamma distribution of mean mu and shape r:
   their mean is mu, their variance mu + mu^2 / r. */
SAMPLE(negative_binomial)
{
    (void)constant;
    double r = exp(theta);
    return draw_poisson(random->gamma(random->bits, r) * (exp(eta) / r), random);
}
OUTPUT(negative_binomial, negative_binomial_prepare)

/* laplace: exp(-|x - eta|) / 2 */
ALWAYS_INLINE vec laplace_mean(vec eta) { return eta; }
DISTRIBUTION(laplace)
{
    UNUSED(known, by_theta);
    vec r = eta - x, zero = vec_set(0);
    /* r * zero is 0 where r is 0, and NaN where r is NaN. */
    *by_eta = vec_select(r > zero, vec_set(1), vec_select(r < zero, vec_set(-1), r * zero));
    return vec_abs(r);
}
static double laplace_normalizer(double constant) { return (void)constant, log(2); }
SAMPLE(laplace)
{
    UNUSED_BY_SAMPLE;
    double distance = random->exponential(random->bits);
    return eta + (random->uniform(random->bits) < 0.5 ? distance : -distance);
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
/* The integral of exp(-loss) has two terms: the middle, where |r| <= delta and the density is
   Gaussian, and the exponential tails. */
static double huber_middle(double delta) { return sqrt(2 * PI) * erf(delta * sqrt(0.5)); }
static double huber_tails(double delta) { return 2 / delta * exp(-0.5 * delta * delta); }
static double huber_normalizer(double delta)
{
    return log(huber_middle(delta) + huber_tails(delta));
}
SAMPLE(huber)
{
    (void)theta;
    double delta = constant, middle = huber_middle(delta), r,
           u = random->uniform(random->bits) * (middle + huber_tails(delta));
    /* The middle is drawn by rejection: from uniform numbers where few normal numbers would lie
       within delta, else from normal numbers. */
    if (u < middle && delta < 1) {
        do
            r = delta * (2 * random->uniform(random->bits) - 1);
        while (random->uniform(random->bits) > exp(-0.5 * r * r));
    } else if (u < middle) {
        do
            r = random->normal(random->bits);
        while (fabs(r) > delta);
    } else {
        r = delta + random->exponential(random->bits) / delta;
        r = random->uniform(random->bits) < 0.5 ? r : -r;
    }
    return eta + r;
}
OUTPUT(huber, huber_prepare)

/* student_t (Lange, Little & Taylor 1989): x = eta + s t, where t has nu = `df` degrees of
   freedom and s^2 = 1e-6 + exp(2 theta), so that the loss of a constant column stays finite. With
   r = eta - x, the loss is (nu + 1)/2 log(1 + r^2 / (nu s^2)) + log s. */
ALWAYS_INLINE void student_t_prepare(vec theta, vec df, vec *known)
{
    vec grown = vec_exp((real)2 * theta), s_squared = grown + (real)1e-6;
    known[0] = (real)1 / (df * s_squared);
    known[1] = (real)0.5 * vec_log(s_squared);
    known[2] = (real)0.5 * (df + (real)1);
    known[3] = grown / s_squared;
}
ALWAYS_INLINE vec student_t_mean(vec eta) { return eta; }
DISTRIBUTION(student_t)
{
    vec r = eta - x, u = r * r * known[0], pull = (real)2 * known[2] / (u + (real)1);
    *by_eta = pull * known[0] * r;
    *by_theta = known[3] * ((real)1 - pull * u);
    return vec_fma(known[2], vec_log1p_positive(u), known[1]);
}
static double student_t_normalizer(double df)
{
    /* Stirling's series: the logarithms of Gamma cancel. */
    double w = 1 / df, square = w * w;
    if (df > 200)
        return HALF_LOG_2PI + w * (1.0 / 4 - square * (1.0 / 24 - square * (1.0 / 20)));
    return lgamma(0.5 * df) - lgamma(0.5 * (df + 1)) + 0.5 * log(PI * df);
}
SAMPLE(student_t)
{
    double z = random->normal(random->bits),
           chi_squared = 2 * random->gamma(random->bits, 0.5 * constant);
    return eta + sqrt(1e-6 + exp(2 * theta)) * z / sqrt(chi_squared / constant);
}
OUTPUT(student_t, student_t_prepare)

/* Set one of n columns to 1, with probability softmax(eta): the column where eta plus Gumbel
   noise is largest. */
static void categorical_sample(int64_t n, const double *eta, double n_draws,
                               const generator *random, double *x)
{
    (void)n_draws;
    int64_t chosen = 0;
    double largest = -INFINITY;
    for (int64_t j = 0; j < n; ++j) {
        double value = eta[j] - log(random->exponential(random->bits));
        x[j] = 0;
        if (value > largest)
            largest = value, chosen = j;
    }
    x[chosen] = 1;
}

/* Return log(prod x_j! / N!), where N is the sum of x. */
static double multinomial_base(int64_t n, const double *x)
{
    double sum = 0, total = 0;
    for (int64_t j = 0; j < n; ++j)
        sum += log_factorial(x[j]), total += x[j];
    return sum - log_factorial(total);
}
/* Draw column after column, each from its binomial distribution given the columns before. */
static void multinomial_sample(int64_t n, const double *eta, double n_draws,
                               const generator *random, double *x)
{
    double largest = -INFINITY, rest = 0;
    for (int64_t j = 0; j < n; ++j)
        largest = fmax(largest, eta[j]);
    for (int64_t j = 0; j < n; ++j)
        rest += exp(eta[j] - largest);
    int64_t left = n_draws > 0 && n_draws < 9e18 ? (int64_t)rint(n_draws) : 0;
    for (int64_t j = 0; j < n; ++j) {
        double weight = exp(eta[j] - largest);
        int64_t drawn = j + 1 == n || weight >= rest
                            ? left
                            : random->binomial(random->bits, left, weight / rest);
        x[j] = (double)drawn;
        left -= drawn, rest -= weight;
    }
}

#define ENTRIES(name)                                                                              \
    .sample = name##_sample, .mean = name##_mean_strip, .loss = name##_loss_strip,                 \
    .gradient = name##_gradient_strip
#define OF_GROUP .mean = group_eta_strip, .loss = group_eta_strip, .gradient = group_eta_strip
#define REALS .domain = "real numbers", .low = -INFINITY, .high = INFINITY
#define UNIT_INTERVAL .domain = "0 ≤ x ≤ 1", .low = 0, .high = 1
#define COUNTS .domain = "x ≥ 0, counts", .low = 0, .high = INFINITY
/* The lower end is above 0, so that logarithms are finite in float32 too. */
#define POSITIVE .domain = "x > 0", .low = 1e-30, .high = INFINITY

/* Fields that are not named are 0, which means none. autoencoder.h explains the fields of
   `info`, outputs.h the others. */
static const output_entry outputs[] = {
    {.info = {.name = "gaussian", .link = "identity", REALS},
     .link = identity_link,
     .log_normalizer = half_log_2pi,
     ENTRIES(gaussian)},
    {.info = {.name = "bernoulli", .link = "logit", UNIT_INTERVAL},
     .link = logit_link,
     ENTRIES(bernoulli)},
    {.info = {.name = "continuous_bernoulli", .link = "mean", UNIT_INTERVAL},
     .link = continuous_bernoulli_link,
     ENTRIES(continuous_bernoulli)},
    {.info = {.name = "gaussian_diagonal",
              .link = "identity",
              REALS,
              .parameter = "log_variance",
              .option = "floor",
              .default_option = 1e-6},
     .link = identity_link,
     .log_normalizer = half_log_2pi,
     ENTRIES(gaussian_diagonal)},
    {.info = {.name = "poisson", .link = "log", COUNTS},
     .link = log_link,
     .base = log_factorial,
     .minus_log_p = poisson_minus_log_p,
     ENTRIES(poisson)},
    {.info = {.name = "exponential", .link = "log", .domain = "x ≥ 0", .low = 0, .high = INFINITY},
     .link = log_link,
     ENTRIES(exponential)},
    {.info = {.name = "gamma",
              .link = "log",
              POSITIVE,
              .parameter = "log_shape",
              .option = "shape",
              .default_option = NAN},
     .link = log_link,
     .base = gamma_base,
     .minus_log_p = gamma_minus_log_p,
     ENTRIES(gamma)},
    {.info = {.name = "negative_binomial",
              .link = "log",
              COUNTS,
              .parameter = "log_r",
              .option = "r",
              .default_option = NAN},
     .link = log_link,
     .base = log_factorial,
     .minus_log_p = negative_binomial_minus_log_p,
     ENTRIES(negative_binomial)},
    {.info = {.name = "laplace", .link = "identity", REALS},
     .link = identity_link,
     .log_normalizer = laplace_normalizer,
     ENTRIES(laplace)},
    {.info = {.name = "huber", .link = "identity", REALS, .option = "delta", .default_option = 1},
     .link = identity_link,
     .log_normalizer = huber_normalizer,
     ENTRIES(huber)},
    {.info = {.name = "student_t",
              .link = "identity",
              REALS,
              .parameter = "log_scale",
              .option = "df",
              .default_option = 4},
     .link = identity_link,
     .log_normalizer = student_t_normalizer,
     ENTRIES(student_t)},
    {.info = {.name = "categorical",
              .link = "softmax",
              .domain = "one-hot rows, which add up to 1",
              .low = 0,
              .high = 1,
              .is_group = 1,
              .row_total = 1},
     .link = log_link,
     .group_sample = categorical_sample,
     OF_GROUP},
    {.info = {.name = "multinomial", .link = "softmax", COUNTS, .is_group = 1},
     .link = log_link,
     .group_base = multinomial_base,
     .group_sample = multinomial_sample,
     OF_GROUP},
    /* Custom distributions (see custom_output). */
    {.info = {.name = "custom", .link = "custom", REALS}, .link = identity_link, OF_GROUP},
};

#endif
