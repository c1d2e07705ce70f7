/* The logarithm and log Gamma(x + r) - log Gamma(r) with its derivative on vectors, and functions
   of the gamma distribution's shape on scalars.

   vec_log has an error of at most 2 ULP for normal numbers. The logarithm of 0 is -infinity; that
   of a negative number is unspecified. */
#ifndef AEFAST_SPECIAL_H
#define AEFAST_SPECIAL_H

#include "kernels/base/vmath.h"

/* log x = e log 2 + log m, where x = 2^e m with m in [sqrt(1/2), sqrt(2)). With f = m - 1 and
   s = f / (2 + f):
       log m = f - f^2/2 + s (f^2/2 + R),   R = s^2 (2/3 + 2/5 s^2 + 2/7 s^4 + ...). */
ALWAYS_INLINE vec vec_log(vec x)
{
    const ivec half_bits = (ivec)vec_set((real)0.70710678118654752440);
    ivec e = wrapped_difference((ivec)x, half_bits) >> MANTISSA_BITS;
    vec f = (vec)wrapped_difference((ivec)x, wrapped_shift(e, MANTISSA_BITS)) - (real)1;
    vec s = f / (f + (real)2), z = s * s, R = {0}, half_square = (real)0.5 * f * f;
    const int terms = AEFAST_REAL_BITS == 32 ? 4 : 11;
    UNROLL(11)
    for (int i = terms; i > 0; --i)
        R = vec_fma(R, z, vec_set((real)2 / (real)(2 * i + 1)));
    R *= z;
    vec n = __builtin_convertvector(e, vec);
    vec small = vec_fma(s, half_square + R, n * LN2_LOW);
    vec y = vec_fma(n, vec_set(LN2_HIGH), f - (half_square - small));
    return vec_select(x > vec_set(0), vec_select(x <= vec_set(REAL_MAX), y, x), vec_set(-INFINITY));
}

/* Stirling's series, used for z >= SHIFT:
       log Gamma(z) = (z - 1/2) log z - z + log(2 pi)/2 + s(z),
       s(z) = sum over i >= 1 of B_2i / (2i (2i - 1) z^(2i - 1)),
   with the Bernoulli numbers B_2i. */
#if AEFAST_REAL_BITS == 32
enum { SHIFT = 4, STIRLING_TERMS = 4 };
#else
enum { SHIFT = 10, STIRLING_TERMS = 8 };
#endif
static const real STIRLING[] = {
    (real)(1.0 / 12),   (real)(-1.0 / 360),      (real)(1.0 / 1260), (real)(-1.0 / 1680),
    (real)(1.0 / 1188), (real)(-691.0 / 360360), (real)(1.0 / 156),  (real)(-3617.0 / 122400)};
/* Coefficients of the derivative: -s'(z) = sum over i of (2i + 1) STIRLING[i] / z^(2i + 2). */
#define DIGAMMA_TERM(i) ((real)(2 * (i) + 1) * STIRLING[i])

/* Return s(z) of Stirling's series, and its derivative in *slope. */
ALWAYS_INLINE vec stirling(vec z, vec *slope)
{
    vec w = (real)1 / z, square = w * w, s = {0}, t = {0};
    UNROLL(8)
    for (int i = STIRLING_TERMS - 1; i >= 0; --i) {
        s = vec_fma(s, square, vec_set(STIRLING[i]));
        t = vec_fma(t, square, vec_set(DIGAMMA_TERM(i)));
    }
    *slope = -t * square;
    return s * w;
}

/* log(1 + u) for u >= 0, corrected for the rounding error of 1 + u. */
ALWAYS_INLINE vec vec_log1p_positive(vec u)
{
    vec sum = u + (real)1, lost = u - (sum - (real)1);
    return vec_log(sum) + lost / sum;
}

/* Return log Gamma(x + r) - log Gamma(r) for x >= 0, r > 0, and in *by_r its derivative by r,
   digamma(x + r) - digamma(r). The recurrence of Gamma raises both arguments by SHIFT, where
   Stirling's series holds; the difference of the two series is expanded so that nothing cancels. */
ALWAYS_INLINE vec vec_log_rising(vec x, vec r, vec *by_r)
{
    vec product = vec_set(1), other = vec_set(1), sum = {0};
    for (int i = 0; i < SHIFT; ++i) {
        vec low = r + (real)i, high = low + x, ratio = high / low;
        *(i % 2 ? &product : &other) *= ratio;
        sum += x / (low * high);
    }
    vec low = r + (real)SHIFT, high = low + x, low_slope, high_slope;
    vec low_series = stirling(low, &low_slope), high_series = stirling(high, &high_slope),
        growth = vec_log1p_positive(x / low);
    *by_r = growth + ((real)0.5 / low - (real)0.5 / high) + (high_slope - low_slope) + sum;
    vec shifted = vec_fma(low - (real)0.5, growth, x * (vec_log(high) - (real)1)) +
                  (high_series - low_series);
    return shifted - (vec_log(product) + vec_log(other));
}

/* digamma(k) - log k for k > 0. */
static inline double digamma_minus_log(double k)
{
    double sum = 0, z = k;
    for (; z < 10; z += 1)
        sum -= 1 / z;
    double w = 1 / z, square = w * w;
    double series =
        square *
        (1.0 / 12 -
         square * (1.0 / 120 - square * (1.0 / 252 - square * (1.0 / 240 - square * (1.0 / 132)))));
    return sum + log(z / k) - 0.5 * w - series;
}

/* log Gamma(k) - k log k + k for k > 0. */
static inline double log_gamma_rest(double k)
{
    if (k < 10)
        return lgamma(k) - k * log(k) + k;
    double w = 1 / k, square = w * w;
    return 0.5 * log(6.283185307179586477 * w) +
           w * (1.0 / 12 - square * (1.0 / 360 - square * (1.0 / 1260 - square * (1.0 / 1680))));
}

#endif
