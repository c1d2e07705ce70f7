/* exp, log1p, sigmoid and softplus on vectors.

   At most 2 ULP in float32 (tested on one float32 in a thousand; a slow test takes every one) and 4 ULP in float64 (tested on samples of every binade). NaN gives NaN;
   results below the smallest normal number underflow gradually. Rounding to nearest is assumed. */
#ifndef AEFAST_VMATH_H
#define AEFAST_VMATH_H

#include "vec.h"

/* exp(x) = 2^n exp(r), n = round(x / log 2), |r| <= log(2) / 2.

   exp(r) = 1 + r + r^2 q(r); q by Chebyshev interpolation, relative error of exp 1.1e-8 and 1.8e-17:
       from mpmath import mp, mpf, exp, log, chebyfit; mp.dps = 40; h = log(2) / 2 * mpf("1.0001")
       q = lambda r: (exp(r) - 1 - r) / r**2 if abs(r) > mpf(10)**-12 else mpf(1) / 2 + r / 6
       chebyfit(q, [-h, h], 5)[::-1], chebyfit(q, [-h, h], 10)[::-1]
   log 2 = LN2_HIGH + LN2_LOW, with so few bits in the first that n * LN2_HIGH is exact. */
#if AEFAST_REAL_BITS == 32
static const real EXP_Q[] = {0.5f, 0.16666576989698775683f, 0.041666554617204574203f, 0.0083631790527225773704f,
                             0.0013926183587713494542f};
#define LN2_HIGH 0.693359375f
#define LN2_LOW (-2.12194440e-4f)
#define EXP_LOWEST (-110.0f)     /* exp is zero below and infinite above: */
#define EXP_HIGHEST 90.0f        /* the clamp keeps n in the range that ldexp below can scale by */
#define ROUND_MAGIC 12582912.0f  /* 1.5 * 2^23: adding it leaves a small real's nearest integer in the low bits */
enum { MANTISSA_BITS = 23, EXPONENT_BIAS = 127 };
#else
static const real EXP_Q[] = {0.50000000000000010221,    0.16666666666666667453,     0.041666666666624127873,
                             0.0083333333333300618325,  0.0013888888917213716901,   0.00019841269863053616878,
                             0.000024801521295954375131, 2.7557268459997064772e-6,  2.7620088445409748161e-7,
                             2.5100385495510319078e-8};
#define LN2_HIGH 6.93147180369123816490e-01
#define LN2_LOW 1.90821492927058770002e-10
#define EXP_LOWEST (-760.0)
#define EXP_HIGHEST 720.0
#define ROUND_MAGIC 6755399441055744.0 /* 1.5 * 2^52 */
enum { MANTISSA_BITS = 52, EXPONENT_BIAS = 1023 };
#endif

#define LN2 ((real)0.693147180559945309417)
#define LOG2_E ((real)1.44269504088896340736)

ALWAYS_INLINE vec polynomial(vec x, const real *coefficient, int n)
{
    vec y = vec_set(coefficient[n - 1]);
    for (int i = n - 2; i >= 0; --i)
        y = vec_fma(y, x, vec_set(coefficient[i]));
    return y;
}

/* x * 2^n in two factors, since 2^n alone may lie outside the normal numbers. */
ALWAYS_INLINE vec vec_ldexp(vec x, ivec n)
{
    ivec half = n >> 1;
    vec first = (vec)((half + EXPONENT_BIAS) << MANTISSA_BITS);
    vec second = (vec)((n - half + EXPONENT_BIAS) << MANTISSA_BITS);
    return x * first * second;
}

ALWAYS_INLINE vec vec_exp(vec x)
{
    x = vec_select(x < vec_set(EXP_LOWEST), vec_set(EXP_LOWEST), x); /* comparisons are false for NaN: it passes */
    x = vec_select(x > vec_set(EXP_HIGHEST), vec_set(EXP_HIGHEST), x);
    vec shifted = vec_fma(x, vec_set(LOG2_E), vec_set(ROUND_MAGIC));
    vec n = shifted - ROUND_MAGIC;
    vec r = vec_fma(n, vec_set(-LN2_HIGH), x);
    r = vec_fma(n, vec_set(-LN2_LOW), r);
    vec q = polynomial(r, EXP_Q, sizeof EXP_Q / sizeof *EXP_Q);
    vec y = vec_fma(r * r, q, r) + (real)1;
    return vec_ldexp(y, (ivec)shifted - (ivec)vec_set(ROUND_MAGIC));
}

/* log(1 + e) for 0 <= e <= 1.

   e > 1/2 is halved first: log(1 + e) = log 2 + log(1 + f), f = (e - 1) / 2, so that -1/4 <= f <= 1/2. With s = f / (2 + f),
   log(1 + f) = 2 artanh(s) = f - (f^2/2 - s (f^2/2 + R)), R = 2 s^2/3 + 2 s^4/5 + ..., |s| <= 1/5. */
ALWAYS_INLINE vec vec_log1p_unit(vec e)
{
    static const real R[] = {(real)(2 / 3.), (real)(2 / 5.), (real)(2 / 7.), (real)(2 / 9.), (real)(2 / 11.),
#if AEFAST_REAL_BITS == 64
                             2 / 13.,        2 / 15.,        2 / 17.,        2 / 19.,        2 / 21.,         2 / 23.,
#endif
    };
    ivec halved = e > vec_set((real)0.5);
    vec f = vec_select(halved, (e - (real)1) * (real)0.5, e);
    vec s = f / (f + (real)2);
    vec z = s * s;
    vec half_square = f * f * (real)0.5;
    vec series = z * polynomial(z, R, sizeof R / sizeof *R);
    vec y = f - (half_square - s * (half_square + series));
    return vec_select(halved, y + LN2, y);
}

/* e = exp(-|x|) gives both sigmoid(x) = 1 / (1 + exp(-x)) and softplus(x) = log(1 + exp(x)), without overflow. */
ALWAYS_INLINE vec exp_minus_abs(vec x) { return vec_exp(-vec_abs(x)); }

ALWAYS_INLINE vec sigmoid_from(vec x, vec e)
{
    ivec negative = x < vec_set(0);
    vec sum = e + (real)1, lost = e - (sum - (real)1); /* what rounding 1 + e lost: without it the error reaches 2.4 ULP */
    vec y = vec_select(negative, e, vec_set(1)) / sum;
    return y - y * (lost * vec_select(negative, (real)1 - y, y)); /* 1 / sum is y or 1 - y: no second division */
}

ALWAYS_INLINE vec vec_sigmoid(vec x) { return sigmoid_from(x, exp_minus_abs(x)); }

ALWAYS_INLINE vec vec_softplus(vec x)
{
    vec positive = vec_select(x < vec_set(0), vec_set(0), x); /* NaN passes */
    return positive + vec_log1p_unit(exp_minus_abs(x));
}

#endif
