/* exp, log1p, sigmoid, softplus and tanh on vectors.

   Errors are at most 2 ULP in float32 (tested on one float32 in a thousand, and on every float32 by
   a slow test) and 4 ULP in float64 (tested on samples of every binade). NaN gives NaN; results
   below the smallest normal number underflow gradually. Rounding to nearest is assumed. */
#ifndef AEFAST_VMATH_H
#define AEFAST_VMATH_H

#include "kernels/base/vec.h"

/* exp(x) = 2^n exp(r) with n = round(x / log 2), |r| <= log(2) / 2, and exp(r) = 1 + r + r^2 q(r).

   Chebyshev interpolation gives q; the relative error of exp is 1.1e-8 in float32 and 1.8e-17 in
   float64. The coefficients come from this Python code:
       from mpmath import mp, mpf, exp, log, chebyfit
       mp.dps = 40
       h = log(2) / 2 * mpf("1.0001")
       q = lambda r: (exp(r) - 1 - r) / r**2 if abs(r) > mpf(10)**-12 else mpf(1) / 2 + r / 6
       chebyfit(q, [-h, h], 5)[::-1], chebyfit(q, [-h, h], 10)[::-1]
   log 2 = LN2_HIGH + LN2_LOW, where LN2_HIGH has so few bits that n * LN2_HIGH is exact. */
#if AEFAST_REAL_BITS == 32
static const real EXP_Q[] = {0.5f, 0.16666576989698775683f, 0.041666554617204574203f,
                             0.0083631790527225773704f, 0.0013926183587713494542f};
#define LN2_HIGH 0.693359375f
#define LN2_LOW (-2.12194440e-4f)
/* exp is a normal number from here up to its overflow. */
#define EXP_NORMAL_LOWEST (-87.0f)
/* exp is zero below EXP_LOWEST and infinite above EXP_HIGHEST. Arguments are clamped to this
   interval, which keeps n in the range of vec_ldexp. */
#define EXP_LOWEST (-110.0f)
#define EXP_HIGHEST 90.0f
/* 1.5 * 2^23. The sum of this and a small real has the nearest integer in its low bits. */
#define ROUND_MAGIC 12582912.0f
enum { MANTISSA_BITS = 23, EXPONENT_BIAS = 127 };
#else
static const real EXP_Q[] = {0.50000000000000010221,     0.16666666666666667453,
                             0.041666666666624127873,    0.0083333333333300618325,
                             0.0013888888917213716901,   0.00019841269863053616878,
                             0.000024801521295954375131, 2.7557268459997064772e-6,
                             2.7620088445409748161e-7,   2.5100385495510319078e-8};
#define LN2_HIGH 6.93147180369123816490e-01
#define LN2_LOW 1.90821492927058770002e-10
#define EXP_NORMAL_LOWEST (-708.0)
#define EXP_LOWEST (-760.0)
#define EXP_HIGHEST 720.0
#define ROUND_MAGIC 6755399441055744.0 /* 1.5 * 2^52 */
enum { MANTISSA_BITS = 52, EXPONENT_BIAS = 1023 };
#endif

#define LN2 ((real)0.693147180559945309417)
#define LOG2_E ((real)1.44269504088896340736)

/* A polynomial of 1 <= n <= 32 coefficients by Estrin's scheme (1960), whose chain of dependent
   operations is short. */
ALWAYS_INLINE vec polynomial_by_halves(vec x, const real *coefficient, const int n)
{
    vec term[16];
    UNROLL(16)
    for (int i = 0; i < n / 2; ++i)
        term[i] = vec_fma(vec_set(coefficient[2 * i + 1]), x, vec_set(coefficient[2 * i]));
    if (n % 2)
        term[n / 2] = vec_set(coefficient[n - 1]);
    UNROLL(5)
    for (int terms = (n + 1) / 2; terms > 1; terms = (terms + 1) / 2) {
        x *= x;
        UNROLL(8)
        for (int i = 0; i < terms / 2; ++i)
            term[i] = vec_fma(term[2 * i + 1], x, term[2 * i]);
        if (terms % 2)
            term[terms / 2] = term[terms - 1];
    }
    return term[0];
}

/* c[0] + c[1] x + ... + c[n - 1] x^(n - 1) for |x| < 1. The two largest terms are added last, as in
   Horner's rule: the factor x makes earlier rounding errors small. */
ALWAYS_INLINE vec polynomial(vec x, const real *coefficient, const int n)
{
    vec rest = polynomial_by_halves(x, coefficient + 2, n - 2);
    return vec_fma(vec_fma(rest, x, vec_set(coefficient[1])), x, vec_set(coefficient[0]));
}

/* x * 2^n by two factors, since 2^n itself may lie outside the normal numbers. */
ALWAYS_INLINE vec vec_ldexp(vec x, ivec n)
{
    ivec half = n >> 1;
    vec first = (vec)wrapped_shift(half + EXPONENT_BIAS, MANTISSA_BITS);
    vec second = (vec)wrapped_shift(n - half + EXPONENT_BIAS, MANTISSA_BITS);
    return x * first * second;
}

/* Return r for x = n log 2 + r. *shifted becomes the bits of ROUND_MAGIC + n. */
ALWAYS_INLINE vec exp_rest(vec x, ivec *shifted)
{
    vec magic = vec_fma(x, vec_set(LOG2_E), vec_set(ROUND_MAGIC));
    vec n = magic - ROUND_MAGIC;
    *shifted = (ivec)magic;
    return vec_fma(n, vec_set(-LN2_LOW), vec_fma(n, vec_set(-LN2_HIGH), x));
}

/* exp(r) for |r| <= log(2) / 2. *lost becomes the rounding error of the last sum (Dekker 1971). */
ALWAYS_INLINE vec exp_small(vec r, vec *lost)
{
    vec above = vec_fma(r * r, polynomial(r, EXP_Q, sizeof EXP_Q / sizeof *EXP_Q), r),
        y = above + (real)1;
    *lost = above - (y - (real)1);
    return y;
}

/* Return exp(r) for x = n log 2 + r. *shifted becomes the bits of ROUND_MAGIC + n, *lost the
   rounding error of exp(r). */
ALWAYS_INLINE vec exp_of_rest_in_two(vec x, ivec *shifted, vec *lost)
{
    return exp_small(exp_rest(x, shifted), lost);
}

/* exp(r) and *shifted as from exp_of_rest_in_two, without the rounding error. */
ALWAYS_INLINE vec exp_of_rest(vec x, ivec *shifted)
{
    vec unused;
    return exp_of_rest_in_two(x, shifted, &unused);
}

/* exp(x) for x in [EXP_LOWEST, EXP_HIGHEST] or NaN. */
ALWAYS_INLINE vec exp_clamped(vec x)
{
    ivec shifted;
    vec y = exp_of_rest(x, &shifted);
    return vec_ldexp(y, wrapped_difference(shifted, (ivec)vec_set(ROUND_MAGIC)));
}

ALWAYS_INLINE vec vec_exp(vec x)
{
    return exp_clamped(vec_min(vec_set(EXP_HIGHEST), vec_max(vec_set(EXP_LOWEST), x)));
}

/* log(1 + e) = e - e^2 q(e - 1) for 0 <= e <= 1. The rounding error of q is small in the result: by
   the factor e^2 where e is small, and by the argument e - 1 where e is near 1.

   Chebyshev interpolation gives q with an error of 5e-9 in float32 and 1e-17 in float64:
       from mpmath import mp, mpf, log1p, chebyfit
       mp.dps = 60
       small = mpf(10)**-20
       q = lambda t: (t + 1 - log1p(t + 1)) / (t + 1)**2 if t + 1 > small else mpf(1) / 2
       chebyfit(q, [-1, 0], 10)[::-1], chebyfit(q, [-1, 0], 21)[::-1] */
#if AEFAST_REAL_BITS == 32
static const real LOG1P_Q[] = {0.30685281692509079344f,    -0.11370614068492893915f,
                               0.04554209658747243649f,    -0.019282680363187448535f,
                               0.0069381103511008592913f,  -0.0081661981431708951094f,
                               -0.0079541281886161916578f, -0.012694949315880617142f,
                               -0.0080305109527814399729f, -0.0028016419928033499169f};
#else
static const real LOG1P_Q[] = {
    0.30685281944005469564,      -0.11370563888010492434,    0.045558458320815937614,
    -0.019077944389093643059,    0.0082224316911774356621,   -0.0036168949903721514,
    0.0016158389105584115802,    -0.00072793204905867371747, 0.00034843649235890480957,
    -0.000080417107548876696894, 0.00033971431942657939459,  0.00073436169269871823274,
    0.0017250050860985770747,    0.0029683801739939952371,   0.004035913907599499821,
    0.0042106828920061064831,    0.0033300798646326751168,   0.0019282425837281503051,
    0.0007746842025344007833,    0.00019348116582689771169,  0.000022938856818471437769};
#endif

/* log(1 + e) for 0 <= e <= 1. */
ALWAYS_INLINE vec vec_log1p_unit(vec e)
{
    vec q = polynomial(e - (real)1, LOG1P_Q, sizeof LOG1P_Q / sizeof *LOG1P_Q);
    return vec_fma(-(e * e), q, e);
}

/* log(1 + e + lost) for 0 <= e <= 1 and `lost` so small that 1 - e / 2 may stand for the slope
   1 / (1 + e) of the logarithm. */
ALWAYS_INLINE vec log1p_of_two(vec e, vec lost)
{
    vec q = polynomial(e - (real)1, LOG1P_Q, sizeof LOG1P_Q / sizeof *LOG1P_Q);
    return e - vec_fma(e * e, q, -lost * vec_fma(e, vec_set((real)-0.5), vec_set(1)));
}

/* exp(-|x|), from which sigmoid(x) = 1 / (1 + exp(-x)) and softplus(x) = log(1 + exp(x)) follow
   without overflow. */
ALWAYS_INLINE vec exp_minus_abs(vec x)
{
    return exp_clamped(vec_max(vec_set(EXP_LOWEST), vec_minus_abs(x)));
}

/* exp(r) = 1 + r q(r) for |r| <= log(2) / 2.

   Chebyshev interpolation gives q with an error of 1e-8 in float32 and 2e-17 in float64:
       from mpmath import mp, mpf, expm1, log, chebyfit
       mp.dps = 60
       q = lambda r: expm1(r) / r if abs(r) > mpf(10)**-25 else 1 + r / 2
       chebyfit(q, [-log(2) / 2, log(2) / 2], 6)[::-1]
       chebyfit(q, [-log(2) / 2, log(2) / 2], 11)[::-1] */
#if AEFAST_REAL_BITS == 32
static const real EXP_RATIO[] = {1.000000010771570138408f,    0.500000001345772715295f,
                                 0.1666650526040812348963f,   0.04166646500604004876069f,
                                 0.008369148490856346586636f, 0.00139336410319867011502f};
#else
static const real EXP_RATIO[] = {1.0,
                                 0.5000000000000005616925,
                                 0.1666666666666667098633,
                                 0.0416666666665731426106,
                                 0.008333333333326140883979,
                                 0.001388888893248859818134,
                                 0.0001984126987480049198076,
                                 0.00002480150434699768725539,
                                 0.000002755725542574643428182,
                                 2.762635724144722285515e-7,
                                 2.510520637395701111604e-8};
#endif

/* exp(x) where it is a normal number, in fewer operations: where multiply-adds are fused log 2 has
   one part, so that the error grows with |x|. It is at most 1 ULP in float32 and 4 in float64 for
   |x| < 12, and 5 and 220 at the ends of the range, where exp(x) is small beside what it is added
   to. */
ALWAYS_INLINE vec exp_normal_quick(vec x)
{
    enum { N = sizeof EXP_RATIO / sizeof *EXP_RATIO };
#if defined(__FP_FAST_FMA) || defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    vec magic = vec_fma(x, vec_set(LOG2_E), vec_set(ROUND_MAGIC));
    vec r = vec_fma(magic - ROUND_MAGIC, vec_set(-LN2), x);
    ivec shifted = (ivec)magic;
#else
    ivec shifted;
    vec r = exp_rest(x, &shifted);
#endif
    vec y = vec_set(EXP_RATIO[N - 1]);
    UNROLL(10)
    for (int i = N - 2; i >= 0; --i)
        y = vec_fma(y, r, vec_set(EXP_RATIO[i]));
    y = vec_fma(y, r, vec_set(1));
    return (vec)wrapped_sum((ivec)y, wrapped_shift(shifted, MANTISSA_BITS));
}

/* exp(r) 2^n from the results of exp_rest, where it is a normal number. n is added to the bits of
   the exponent; the shift moves the other bits of ROUND_MAGIC out of the number. */
ALWAYS_INLINE vec exp_normal(vec r, ivec shifted)
{
    vec unused, y = exp_small(r, &unused);
    return (vec)wrapped_sum((ivec)y, wrapped_shift(shifted, MANTISSA_BITS));
}

/* -|x| and -x, moved to the interval in which exponentials are normal numbers. */
ALWAYS_INLINE vec normal_minus_abs(vec x)
{
    return vec_max(vec_set(EXP_NORMAL_LOWEST), vec_minus_abs(x));
}
ALWAYS_INLINE vec normal_minus(vec x)
{
    x = vec_min(vec_set(-EXP_NORMAL_LOWEST), vec_max(vec_set(EXP_NORMAL_LOWEST), x));
    return (vec)((ivec)x ^ (ivec)vec_set((real)-0.0));
}

/* exp(-|x|), or 0 for -|x| < EXP_NORMAL_LOWEST: for sums with larger terms. */
ALWAYS_INLINE vec exp_minus_abs_normal(vec x)
{
    ivec shifted;
    x = vec_minus_abs(x);
    vec r = exp_rest(x, &shifted);
    ivec is_tiny = x < vec_set(EXP_NORMAL_LOWEST); /* false for NaN, which stays NaN */
    return (vec)((ivec)exp_normal(r, shifted) & ~is_tiny);
}

/* sigmoid(x), given e = exp(-|x|). */
ALWAYS_INLINE vec sigmoid_of(vec x, vec e)
{
    vec sum = e + (real)1, lost = e - (sum - (real)1); /* the rounding error of 1 + e */
    ivec negative = vec_sign_mask(x);
    vec y = vec_select(negative, e, vec_set(1)) / sum;
    /* 1 / sum is y or 1 - y, which saves a second division. */
    return vec_fma(-y, lost * vec_select(negative, (real)1 - y, y), y);
}

ALWAYS_INLINE vec vec_sigmoid(vec x) { return sigmoid_of(x, exp_minus_abs(x)); }

/* softplus(x) = max(0, x) + log(1 + e) with e = exp(-|x|) in two parts. Where e < 0.65 =
   exp(1/2) - 1, a rounding error of half an ULP in e would be more than one ULP of log(1 + e), and
   more than two ULP in all without fused multiply-adds. */
ALWAYS_INLINE vec vec_softplus(vec x)
{
    ivec shifted;
    vec lost,
        y = exp_of_rest_in_two(vec_max(vec_set(EXP_LOWEST), vec_minus_abs(x)), &shifted, &lost);
    ivec n = wrapped_difference(shifted, (ivec)vec_set(ROUND_MAGIC));
    return vec_max(vec_set(0), x) + log1p_of_two(vec_ldexp(y, n), vec_ldexp(lost, n));
}

/* 1 - exp(-h) = h - h^2 q(h) for 0 <= h <= log 2, accurate for small h.

   Chebyshev interpolation gives q with an error below 1e-10 in float32 and 1e-20 in float64:
       from mpmath import mp, mpf, expm1, log, chebyfit
       mp.dps = 60
       q = lambda h: (h + expm1(-h)) / h**2 if h > mpf(10)**-15 else mpf(1) / 2 - h / 6
       chebyfit(q, [0, log(2)], 7)[::-1], chebyfit(q, [0, log(2)], 13)[::-1] */
#if AEFAST_REAL_BITS == 32
static const real EXPM1_Q[] = {0.49999999997964917968f,   -0.16666666378730414278f,
                               0.041666599955756393863f,  -0.0083327516044639022835f,
                               0.0013864597157513007724f, -0.00019315065980708161272f,
                               0.00001900501550492821003f};
#else
static const real EXPM1_Q[] = {0.5,
                               -0.1666666666666666666,
                               0.041666666666666660875,
                               -0.008333333333333149272,
                               0.00138888888888584847,
                               -0.00019841269838279249106,
                               0.00002480158711263412738,
                               -2.7557311215742479798e-6,
                               2.755708653330637478e-7,
                               -2.5047453730864683404e-8,
                               2.0813574078078269142e-9,
                               -1.5499900701113742047e-10,
                               8.5121264138344737247e-12};
#endif

/* 1 - exp(-h) for h >= 0. */
ALWAYS_INLINE vec vec_minus_expm1_minus(vec h)
{
    vec near = vec_min(h, vec_set(LN2)); /* replaces NaN; vec_select takes the other branch */
    vec q = polynomial(near, EXPM1_Q, sizeof EXPM1_Q / sizeof *EXPM1_Q);
    return vec_select(h <= vec_set(LN2), vec_fma(-(near * near), q, near),
                      (real)1 - exp_minus_abs(h));
}

/* tanh |x| = |x| + |x|^3 p(x^2) for |x| <= 5/8, and 1 - 2 e / (1 + e) with e = exp(-2 |x|) beyond
   (as in Moshier's Cephes).

   Chebyshev interpolation gives p with an error of 2e-9 in float32 and 2e-19 in float64:
       from mpmath import mp, mpf, tanh, sqrt, chebyfit
       mp.dps = 60
       p = lambda z: ((tanh(sqrt(z)) - sqrt(z)) / sqrt(z)**3 if z > mpf(10)**-20
                      else -mpf(1) / 3 + 2 * z / 15)
       chebyfit(p, [0, mpf(25) / 64], 6)[::-1], chebyfit(p, [0, mpf(25) / 64], 13)[::-1] */
#if AEFAST_REAL_BITS == 32
static const real TANH_P[] = {-0.33333333172140361638f,  0.13333303556915741766f,
                              -0.053959259577204542744f, 0.021768918651028210152f,
                              -0.008343945515839152048f, 0.0022927448161781423431f};
#else
static const real TANH_P[] = {
    -0.33333333333333333319,    0.13333333333333320761,      -0.053968253968235901344,
    0.021869488535133222007,    -0.0088632354998019925691,   0.0035921275075992522291,
    -0.0014558283998303245859,  0.0005899818158388232071,    -0.00023888944636751173895,
    0.000096041091570262659879, -0.000037081069215442333853, 0.000012209921790162781662,
    -2.4388316314720878041e-6};
#endif

ALWAYS_INLINE vec exp_minus_twice_abs(vec x) { return exp_minus_abs(x + x); }

/* tanh(x), given e = exp(-2 |x|). */
ALWAYS_INLINE vec tanh_of(vec x, vec e)
{
    vec size = vec_abs(x), near = vec_min(size, vec_set((real)0.625)), square = near * near;
    vec y = vec_fma(near * square, polynomial(square, TANH_P, sizeof TANH_P / sizeof *TANH_P),
                    near);
    y = vec_select(size <= vec_set((real)0.625), y, (real)1 - (e + e) / (e + (real)1));
    return (vec)((ivec)y | ((ivec)x & (ivec)vec_set((real)-0.0)));
}

#endif
