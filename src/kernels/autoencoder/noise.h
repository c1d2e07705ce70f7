/* Random numbers by counter: each number follows from (seed, purpose and layer, sample, column)
   alone, by Philox4x32-10 (Salmon et al. 2011). It depends neither on threads, nor on slices,
   nor on the instruction set. */
#ifndef AEFAST_NOISE_H
#define AEFAST_NOISE_H

#include "kernels/base/special.h"

/* One call of random_words gives words to NOISE_COLUMNS columns: word w of lane l belongs to column
   w * NOISE_LANES + l. */
enum { NOISE_LANES = 16, NOISE_COLUMNS = 4 * NOISE_LANES };
/* Purposes. */
enum { NOISE_INPUT, NOISE_CODE, NOISE_ZEROS };

typedef struct {
    uint64_t seed;
    int layer;
} noise_key;

/* words (NOISE_COLUMNS) <- random bits of a sample for the columns from NOISE_COLUMNS * group
   on. */
static inline void random_words(noise_key key, int purpose, int64_t sample, int64_t group,
                                uint32_t *words)
{
    uint32_t x0[NOISE_LANES], x1[NOISE_LANES], x2[NOISE_LANES], x3[NOISE_LANES];
    uint32_t k0 = (uint32_t)key.seed, k1 = (uint32_t)(key.seed >> 32);
    for (uint32_t l = 0; l < NOISE_LANES; ++l) {
        x0[l] = (uint32_t)group * NOISE_LANES + l;
        x1[l] = (uint32_t)key.layer << 8 | (uint32_t)purpose;
        x2[l] = (uint32_t)sample;
        x3[l] = (uint32_t)((uint64_t)sample >> 32);
    }
    for (int round = 0; round < 10; ++round, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u)
        for (int l = 0; l < NOISE_LANES; ++l) {
            uint64_t p0 = (uint64_t)x0[l] * 0xD2511F53u, p1 = (uint64_t)x2[l] * 0xCD9E8D57u;
            x0[l] = (uint32_t)(p1 >> 32) ^ x1[l] ^ k0;
            x1[l] = (uint32_t)p1;
            x2[l] = (uint32_t)(p0 >> 32) ^ x3[l] ^ k1;
            x3[l] = (uint32_t)p0;
        }
    memcpy(words, x0, sizeof x0);
    memcpy(words + NOISE_LANES, x1, sizeof x1);
    memcpy(words + 2 * NOISE_LANES, x2, sizeof x2);
    memcpy(words + 3 * NOISE_LANES, x3, sizeof x3);
}

/* Return the threshold below which a uniform word lies with this probability. */
static inline uint32_t threshold_of(double probability)
{
    return probability >= 1 ? UINT32_MAX : (uint32_t)(probability * 4294967296.0);
}

/* Return (word + 1/2) / 2^32 for LANES words, inside (0, 1). In float32 the result is a multiple
   of 2^-24 plus 2^-25. */
ALWAYS_INLINE vec uniform_of(const uint32_t *words)
{
    vec u = {0};
    for (int l = 0; l < LANES; ++l)
        u[l] = AEFAST_REAL_BITS == 32
                   ? ((real)(int32_t)(words[l] >> 8) + (real)0.5) * (real)(1.0 / 16777216)
                   : ((real)words[l] + (real)0.5) * (real)(1.0 / 4294967296.0);
    return u;
}

/* sin and cos of 2 pi u: u = q/4 + f with |f| <= 1/8; the sine of 2 pi f is f times a polynomial
   in f^2, the cosine is a polynomial in f^2. Chebyshev interpolations, with errors below 5e-11
   (float32) and 2e-23 (float64):

       from mpmath import mp, mpf, sin, cos, pi, sqrt, chebyfit
       mp.dps = 50
       s = lambda z: sin(2 * pi * sqrt(z)) / sqrt(z) if z > 1e-20 else 2 * pi
       c = lambda z: cos(2 * pi * sqrt(z))
       chebyfit(s, [0, mpf(1) / 64], 5)[::-1]  # 9 terms for float64
       chebyfit(c, [0, mpf(1) / 64], 5)[::-1] */
#if AEFAST_REAL_BITS == 32
static const real SIN_P[] = {6.28318530715239961436f, -41.3417021533949024f,
                             81.6052047110457546904f, -76.6978663502028058266f,
                             41.4728332395091924889f};
static const real COS_P[] = {0.999999999952489416693f, -19.7392086501305955131f,
                             64.9393161357090496293f, -85.4428446730816595147f,
                             59.2201689582960962178f};
#else
static const real SIN_P[] = {
    6.28318530717958647693,  -41.3417022403997602339,  81.6052492760750541138,
    -76.7058597530613269792, 42.0586939448782762443,   -15.0946425732396175326,
    3.81995219553312218529,  -0.718097644124373469687, 0.103386444835624100681};
static const real COS_P[] = {1.0,
                             -19.7392088021787172375,
                             64.9393940226682912203,
                             -85.4568172066935498606,
                             60.2446413718181047091,
                             -26.426256772545437796,
                             7.9035351947629579376,
                             -1.71431618792852783815,
                             0.279458671475289622905};
#endif

/* Return sin(2 pi u) and compute cos(2 pi u). */
ALWAYS_INLINE vec sin_turns(vec u, vec *cosine)
{
    const int n = sizeof SIN_P / sizeof *SIN_P;
    vec magic = vec_fma(u, vec_set(4), vec_set(ROUND_MAGIC)), q = magic - ROUND_MAGIC,
        f = vec_fma(q, vec_set((real)-0.25), u), z = f * f;
    vec s = f * polynomial(z, SIN_P, n), c = polynomial(z, COS_P, n);
    ivec quarter = (ivec)magic, swap = -(quarter & 1), negative_sin = -(quarter >> 1 & 1),
         negative_cos = -((quarter + 1) >> 1 & 1);
    const ivec sign = (ivec)vec_set((real)-0.0);
    *cosine = (vec)((ivec)vec_select(swap, s, c) ^ (negative_cos & sign));
    return (vec)((ivec)vec_select(swap, c, s) ^ (negative_sin & sign));
}

/* normal (NOISE_COLUMNS) <- standard normal numbers (Box & Muller 1958). Words 0 and 1 together
   give the numbers of their columns, and so do words 2 and 3. */
static inline void normal_of(const uint32_t *words, real *normal)
{
    for (int half = 0; half < NOISE_COLUMNS; half += 2 * NOISE_LANES)
        for (int l = half; l < half + NOISE_LANES; l += LANES) {
            vec radius = vec_sqrt((real)-2 * vec_log(uniform_of(words + l))), c,
                s = sin_turns(uniform_of(words + l + NOISE_LANES), &c);
            vec_store(normal + l, radius * c);
            vec_store(normal + l + NOISE_LANES, radius * s);
        }
}

#endif
