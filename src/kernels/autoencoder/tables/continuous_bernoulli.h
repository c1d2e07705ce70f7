/* The log normalizer of the continuous Bernoulli distribution, and its derivative, the mean. */
#ifndef AEFAST_CONTINUOUS_BERNOULLI_H
#define AEFAST_CONTINUOUS_BERNOULLI_H

#include "kernels/base/special.h"

/* A(eta) = log((exp(eta) - 1) / eta) and A'(eta).

   Up to |eta| = 2, A = eta/2 + z CB_A(z) and A' = 1/2 + eta CB_MEAN(z), where z = eta^2. The
   polynomials are Chebyshev interpolations with errors below 2e-11 (float32) and 1e-22 (float64):

       from mpmath import mp, mpf, sinh, coth, log, sqrt, chebyfit
       mp.dps = 60
       x = lambda z: sqrt(z) / 2
       a = lambda z: log(sinh(x(z)) / x(z)) / z if z > 1e-12 else mpf(1) / 24 - z / 2880
       m = lambda z: ((coth(x(z)) / 2 - 1 / sqrt(z)) / sqrt(z) if z > 1e-12
                      else mpf(1) / 12 - z / 720)
       chebyfit(a, [0, 4], 6)[::-1]  # 13 terms for float64
       chebyfit(m, [0, 4], 6)[::-1]

   Beyond, with u = |eta| and e = exp(-u), A = max(eta, 0) + log((1 - e) / u),
   A'(u) = 1/(1 - e) - 1/u and A'(-u) = 1 - A'(u). */
#if AEFAST_REAL_BITS == 32
static const real CB_A[] = {0.0416666666651879930596f,     -0.000347222195573459149405f,
                            0.00000551138562621370973505f, -1.03255414664053495355e-7f,
                            2.0458850199935198909e-9f,     -3.42397462410091827027e-11f};
static const real CB_MEAN[] = {0.0833333333133661801837f,    -0.0013888885289743872054f,
                               0.0000330677256770223914968f, -8.25574633617907214011e-7f,
                               2.03086437336558359926e-8f,   -3.94226408903938987677e-10f};
#else
static const real CB_A[] = {
    0.0416666666666666666667,    -0.000347222222222222221924, 0.00000551146384479717394265,
    -1.03339947089923996699e-7,  2.08767569872056679804e-9,   -4.40349177091462001301e-11,
    9.55895341966012069295e-13,  -2.11854098782277055813e-14, 4.76956759775659678566e-16,
    -1.08579663311249521379e-17, 2.46485320519428026291e-19,  -5.19344799041195800039e-21,
    7.53554377639926124798e-23};
static const real CB_MEAN[] = {
    0.0833333333333333333332,    -0.00138888888888888888087,  0.0000330687830687829563054,
    -8.26719576718956360758e-7,  2.0876756986088071607e-8,    -5.2841901082432774887e-10,
    1.33825331815689983958e-11,  -3.38965553721550153887e-13, 8.58480380241859203959e-15,
    -2.17044764180000853184e-16, 5.40280266466986303223e-18,  -1.22666030158503194138e-19,
    1.87338102151424292367e-21};
#endif
/* Return A'(eta), the mean, and compute A(eta). */
ALWAYS_INLINE vec continuous_bernoulli_parts(vec eta, vec *A)
{
    vec size = vec_abs(eta), near = vec_min(size, vec_set(2)), z = near * near,
        e = exp_minus_abs(eta);
    const int n = sizeof CB_A / sizeof *CB_A;
    vec signed_near = vec_select(vec_sign_mask(eta), -near, near);
    vec far_mean = (real)1 / ((real)1 - e) - (real)1 / size;
    far_mean = vec_select(vec_sign_mask(eta), (real)1 - far_mean, far_mean);
    ivec is_near = size <= vec_set(2);
    *A = vec_select(is_near, vec_fma(z, polynomial(z, CB_A, n), (real)0.5 * eta),
                    vec_max(eta, vec_set(0)) + vec_log(((real)1 - e) / size));
    return vec_select(is_near, vec_fma(signed_near, polynomial(z, CB_MEAN, n), vec_set((real)0.5)),
                      far_mean);
}

#endif
