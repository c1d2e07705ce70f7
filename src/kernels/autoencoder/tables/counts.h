/* -log p(x | mu) of counts and of the gamma distribution, in double, with no term that is large
   beside the result: for a count of 1e12, -x log mu and log x! are 3e13 each, and their sum 15.

   The parts are Stirling's rest F(x) = log x! - x log x + x, some log sqrt(2 pi x), and the
   deviance D(x, m) = x log(x / m) - x + m >= 0, which is 0 where x is the mean m (Loader 2000,
   "Fast and accurate computation of binomial probabilities"). */
#ifndef AEFAST_COUNTS_H
#define AEFAST_COUNTS_H

#include "kernels/base/special.h"

/* D(x, m) for x >= 0, given log m and x - m. Where x is near m, with v = (x - m) / (x + m),
   D = (x - m) v + 2 x (v^3/3 + v^5/5 + ...). log m stands in where x / m is no normal number. */
static double deviance(double x, double m, double log_m, double difference)
{
    if (fabs(difference) >= 0.1 * (x + m)) {
        double ratio = x / m;
        int is_normal = ratio >= DBL_MIN && ratio <= DBL_MAX;
        return x > 0 ? x * (is_normal ? log(ratio) : log(x) - log_m) - difference : m;
    }
    double v = difference / (x + m), square = v * v, sum = 0;
    for (int i = 19; i >= 3; i -= 2)
        sum = square * (sum + 1.0 / i);
    return v * (difference + 2 * x * sum);
}

/* log Gamma(k) - k log k + k, to some 1e-15; log_gamma_rest is 8e-13 off near 10. */
static double gamma_rest(double k)
{
    return k < 20 ? lgamma(k) - k * log(k) + k : log_gamma_rest(k);
}

/* F(x) for x >= 0. */
static double log_factorial_rest(double x)
{
    if (x < 20)
        return x > 0 ? lgamma(x + 1) - x * log(x) + x : 0;
    return log_gamma_rest(x) + log(x);
}

/* The parameter theta of a column, with k = exp(theta) and gamma_rest(k). */
typedef struct {
    double theta, k, rest;
} column_parameter;

static inline column_parameter column_parameter_of(double theta)
{
    double k = fmax(exp(theta), DBL_MIN);
    return (column_parameter){theta, k, gamma_rest(k)};
}

/* mu^x exp(-mu) / x!, mu = exp(eta) */
static double poisson_minus_log_p(double x, double eta, const column_parameter *p)
{
    (void)p;
    double mu = exp(eta);
    return deviance(x, mu, eta, x - mu) + log_factorial_rest(x);
}

/* With u = t - 1 - log t and t = x / mu, k u + log Gamma(k) - k log k + k + log x. */
static double gamma_minus_log_p(double x, double eta, const column_parameter *p)
{
    double log_x = log(x), log_t = log_x - eta, above = expm1(log_t),
           u = fabs(log_t) > 0.2 ? above - log_t : deviance(1, 1 + above, log_t, -above);
    return p->k * u + p->rest + log_x;
}

/* Mean mu = exp(eta), r = exp(theta). Of n = x + r, the shares mu / (r + mu) and r / (r + mu) are
   the expected parts of x and r; both parts are off by the same difference. */
static double negative_binomial_minus_log_p(double x, double eta, const column_parameter *p)
{
    double q = eta - p->theta, r = p->k, n = x + r, e = exp(-fabs(q)), log_sum = log1p(e),
           of_x = (q > 0 ? 1 : e) / (1 + e), of_r = (q > 0 ? e : 1) / (1 + e),
           difference = x * of_r - r * of_x, log_n = log(n) - log_sum;
    return deviance(x, n * of_x, log_n + fmin(q, 0), difference) +
           deviance(r, n * of_r, log_n - fmax(q, 0), -difference) + log_factorial_rest(x) +
           p->rest - gamma_rest(n);
}

#endif
