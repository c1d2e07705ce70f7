/* Vectors of reals as wide as the instruction set's registers, by GNU vector extensions: + - * /
   and comparisons act lane by lane.

   Intrinsics are used only for operations that the extensions do not express: fused multiply-add,
   square root, blend, minimum and maximum, masked loads and stores. Contraction is off in the whole
   build: a product and a sum are fused where vec_fma is written and nowhere else. */
#ifndef AEFAST_VEC_H
#define AEFAST_VEC_H

#include <math.h>
#include <string.h>

#include "kernels/base/real.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#ifndef AEFAST_VEC_BYTES
#if defined(__AVX512F__)
#define AEFAST_VEC_BYTES 64
#elif defined(__AVX__)
#define AEFAST_VEC_BYTES 32
#else
#define AEFAST_VEC_BYTES 16
#endif
#endif

typedef real vec __attribute__((vector_size(AEFAST_VEC_BYTES)));
/* A vector of integers, also used as a mask: each lane has all bits set or none. */
typedef real_int ivec __attribute__((vector_size(AEFAST_VEC_BYTES)));
typedef real_uint uvec __attribute__((vector_size(AEFAST_VEC_BYTES)));

#define AEFAST_LANES (AEFAST_VEC_BYTES * 8 / AEFAST_REAL_BITS)
enum { LANES = AEFAST_LANES };

#define VEC_IS(bytes, bits) (AEFAST_VEC_BYTES == (bytes) && AEFAST_REAL_BITS == (bits))

/* x in all lanes. Subtracting 0 keeps the sign of -0; adding 0 would not. */
ALWAYS_INLINE vec vec_set(real x) { return x - (vec){0}; }
ALWAYS_INLINE ivec ivec_set(real_int x) { return (ivec){0} + x; }

/* a + b, a - b and a 2^n, where results beyond the range wrap around. Arithmetic on the bits of
   reals needs this for numbers outside a function's domain, for which signed integers overflow. */
ALWAYS_INLINE ivec wrapped_sum(ivec a, ivec b) { return (ivec)((uvec)a + (uvec)b); }
ALWAYS_INLINE ivec wrapped_difference(ivec a, ivec b) { return (ivec)((uvec)a - (uvec)b); }
ALWAYS_INLINE ivec wrapped_shift(ivec a, int n) { return (ivec)((uvec)a << n); }

/* Vectors in memory, aligned like their lanes. Access through these types instead of memcpy keeps a
   load or store one statement at any optimization level: instrumented builds need no local variable
   for each. */
typedef real vec_in_memory
    __attribute__((vector_size(AEFAST_VEC_BYTES), aligned(sizeof(real)), may_alias));
typedef real_int ivec_in_memory
    __attribute__((vector_size(AEFAST_VEC_BYTES), aligned(sizeof(real)), may_alias));

ALWAYS_INLINE vec vec_load(const real *p) { return *(const vec_in_memory *)p; }
ALWAYS_INLINE ivec ivec_load(const real_int *p) { return *(const ivec_in_memory *)p; }
ALWAYS_INLINE void vec_store(real *p, vec v) { *(vec_in_memory *)p = v; }

/* mask ? a : b, lane by lane. */
ALWAYS_INLINE vec vec_select(ivec mask, vec a, vec b)
{
#if defined(__AVX__) && VEC_IS(32, 32)
    return (vec)_mm256_blendv_ps((__m256)b, (__m256)a, (__m256)mask);
#elif defined(__AVX__) && VEC_IS(32, 64)
    return (vec)_mm256_blendv_pd((__m256d)b, (__m256d)a, (__m256d)mask);
#else
    return (vec)((mask & (ivec)a) | (~mask & (ivec)b));
#endif
}

/* All bits set in the lanes whose sign bit is set. */
ALWAYS_INLINE ivec vec_sign_mask(vec x) { return (ivec)x >> (AEFAST_REAL_BITS - 1); }
ALWAYS_INLINE vec vec_abs(vec a) { return (vec)((ivec)a & ~(ivec)vec_set((real)-0.0)); }
ALWAYS_INLINE vec vec_minus_abs(vec a) { return (vec)((ivec)a | (ivec)vec_set((real)-0.0)); }

/* a > b ? a : b, which is b where a or b is NaN. */
ALWAYS_INLINE vec vec_max(vec a, vec b)
{
#if defined(__AVX512F__) && VEC_IS(64, 32)
    return (vec)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX512F__) && VEC_IS(64, 64)
    return (vec)_mm512_max_pd((__m512d)a, (__m512d)b);
#elif defined(__AVX__) && VEC_IS(32, 32)
    return (vec)_mm256_max_ps((__m256)a, (__m256)b);
#elif defined(__AVX__) && VEC_IS(32, 64)
    return (vec)_mm256_max_pd((__m256d)a, (__m256d)b);
#else
    return vec_select(a > b, a, b);
#endif
}

/* a < b ? a : b, which is b where a or b is NaN. */
ALWAYS_INLINE vec vec_min(vec a, vec b)
{
#if defined(__AVX512F__) && VEC_IS(64, 32)
    return (vec)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(__AVX512F__) && VEC_IS(64, 64)
    return (vec)_mm512_min_pd((__m512d)a, (__m512d)b);
#elif defined(__AVX__) && VEC_IS(32, 32)
    return (vec)_mm256_min_ps((__m256)a, (__m256)b);
#elif defined(__AVX__) && VEC_IS(32, 64)
    return (vec)_mm256_min_pd((__m256d)a, (__m256d)b);
#else
    return vec_select(a < b, a, b);
#endif
}

/* a * b + c, rounded once where the hardware has the instruction and twice elsewhere. */
ALWAYS_INLINE vec vec_fma(vec a, vec b, vec c)
{
#if defined(__AVX512F__) && VEC_IS(64, 32)
    return (vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__AVX512F__) && VEC_IS(64, 64)
    return (vec)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif defined(__FMA__) && VEC_IS(32, 32)
    return (vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__FMA__) && VEC_IS(32, 64)
    return (vec)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#elif (defined(__FP_FAST_FMA) && defined(__FP_FAST_FMAF)) || defined(__ARM_FEATURE_FMA)
    /* AArch64 has the instruction; clang 14 defines only the last of these macros. */
    vec v;
    for (int i = 0; i < LANES; ++i)
        v[i] = AEFAST_REAL_BITS == 32
                   ? (real)__builtin_fmaf((float)a[i], (float)b[i], (float)c[i])
                   : (real)__builtin_fma((double)a[i], (double)b[i], (double)c[i]);
    return v;
#else
    return a * b + c;
#endif
}

ALWAYS_INLINE vec vec_sqrt(vec a)
{
#if defined(__AVX512F__) && VEC_IS(64, 32)
    return (vec)_mm512_sqrt_ps((__m512)a);
#elif defined(__AVX512F__) && VEC_IS(64, 64)
    return (vec)_mm512_sqrt_pd((__m512d)a);
#elif defined(__AVX__) && VEC_IS(32, 32)
    return (vec)_mm256_sqrt_ps((__m256)a);
#elif defined(__AVX__) && VEC_IS(32, 64)
    return (vec)_mm256_sqrt_pd((__m256d)a);
#elif defined(__SSE2__) && VEC_IS(16, 32)
    return (vec)_mm_sqrt_ps((__m128)a);
#elif defined(__SSE2__) && VEC_IS(16, 64)
    return (vec)_mm_sqrt_pd((__m128d)a);
#else
    vec v;
    for (int i = 0; i < LANES; ++i)
        v[i] = AEFAST_REAL_BITS == 32 ? (real)__builtin_sqrtf((float)a[i])
                                      : (real)__builtin_sqrt((double)a[i]);
    return v;
#endif
}

/* Nonzero where at least one lane of the mask is set. */
ALWAYS_INLINE int any_lane(ivec mask)
{
#if defined(__AVX512DQ__) && AEFAST_VEC_BYTES == 64
    return _mm512_movepi64_mask((__m512i)mask) |
           _mm512_movepi64_mask(_mm512_slli_epi64((__m512i)mask, 32));
#elif defined(__AVX__) && AEFAST_VEC_BYTES == 32
    return !_mm256_testz_si256((__m256i)mask, (__m256i)mask);
#elif defined(__SSE2__) && AEFAST_VEC_BYTES == 16
    return _mm_movemask_epi8((__m128i)mask);
#else
    int any = 0;
    for (int i = 0; i < LANES; ++i)
        any |= mask[i] != 0;
    return any;
#endif
}

/* ---- rows whose length is no multiple of LANES: functions ending in _n act on the first
 * min(n, LANES) lanes ---- */

/* The integers first, first + 1, ... */
ALWAYS_INLINE ivec lanes_from(int64_t first)
{
    ivec index;
    for (int i = 0; i < LANES; ++i)
        index[i] = i;
    return index + ivec_set((real_int)first);
}

/* The mask of the first n lanes. */
ALWAYS_INLINE ivec lanes_below(int64_t n) { return lanes_from(0) < ivec_set((real_int)n); }

/* Load n < LANES lanes; the other lanes are zero. */
ALWAYS_INLINE vec vec_load_few(const real *p, int64_t n)
{
#if defined(__AVX512F__) && VEC_IS(64, 32)
    return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#elif defined(__AVX512F__) && VEC_IS(64, 64)
    return (vec)_mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1), p);
#elif defined(__AVX2__) && VEC_IS(32, 32)
    return (vec)_mm256_maskload_ps((const float *)p, (__m256i)lanes_below(n));
#elif defined(__AVX2__) && VEC_IS(32, 64)
    return (vec)_mm256_maskload_pd((const double *)p, (__m256i)lanes_below(n));
#else
    vec v = {0};
    memcpy(&v, p, (size_t)n * sizeof *p);
    return v;
#endif
}

/* Store the first n < LANES lanes. */
ALWAYS_INLINE void vec_store_few(real *p, vec v, int64_t n)
{
#if defined(__AVX512F__) && VEC_IS(64, 32)
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)v);
#elif defined(__AVX512F__) && VEC_IS(64, 64)
    _mm512_mask_storeu_pd(p, (__mmask8)((1u << n) - 1), (__m512d)v);
#elif defined(__AVX2__) && VEC_IS(32, 32)
    _mm256_maskstore_ps((float *)p, (__m256i)lanes_below(n), (__m256)v);
#elif defined(__AVX2__) && VEC_IS(32, 64)
    _mm256_maskstore_pd((double *)p, (__m256i)lanes_below(n), (__m256d)v);
#else
    memcpy(p, &v, (size_t)n * sizeof *p);
#endif
}

/* Load the first min(n, LANES) lanes, zero in the others. Memory past p[n - 1] is not read. */
ALWAYS_INLINE vec vec_load_n(const real *p, int64_t n)
{
    return n >= LANES ? vec_load(p) : vec_load_few(p, n);
}

/* Store the first min(n, LANES) lanes. Memory past p[n - 1] is not written. */
ALWAYS_INLINE void vec_store_n(real *p, vec v, int64_t n)
{
    if (n >= LANES)
        vec_store(p, v);
    else
        vec_store_few(p, v, n);
}

/* The first min(n, LANES) lanes of v, and zero in the other lanes. */
ALWAYS_INLINE vec vec_first_n(vec v, int64_t n)
{
    return n >= LANES ? v : (vec)((ivec)v & lanes_below(n));
}

#if defined(__AVX__) && VEC_IS(32, 32)
/* The lanes as doubles, in two halves. */
typedef double lanes_in_double __attribute__((vector_size(32)));
ALWAYS_INLINE lanes_in_double lower_half(vec v)
{
    return (lanes_in_double)_mm256_cvtps_pd(_mm256_castps256_ps128((__m256)v));
}
ALWAYS_INLINE lanes_in_double upper_half(vec v)
{
    return (lanes_in_double)_mm256_cvtps_pd(_mm256_extractf128_ps((__m256)v, 1));
}
#endif

/* Sum of the lanes in double: halves are added recursively, in an order fixed by the width. */
ALWAYS_INLINE double vec_sum(vec v)
{
#if defined(__AVX__) && VEC_IS(32, 32)
    lanes_in_double sum = lower_half(v) + upper_half(v);
    return (sum[0] + sum[2]) + (sum[1] + sum[3]);
#else
    double lane[LANES];
    for (int i = 0; i < LANES; ++i)
        lane[i] = (double)v[i];
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; ++i)
            lane[i] += lane[i + half];
    return lane[0];
#endif
}

/* Load the first min(n, LANES) lanes from doubles, zero in the others. */
ALWAYS_INLINE vec vec_load_doubles(const double *p, int64_t n)
{
    vec v = {0};
#if defined(__AVX__) && VEC_IS(32, 32)
    if (n >= LANES)
        return (vec)_mm256_set_m128(_mm256_cvtpd_ps(_mm256_loadu_pd(p + LANES / 2)),
                                    _mm256_cvtpd_ps(_mm256_loadu_pd(p)));
#endif
    for (int i = 0; i < LANES && i < n; ++i)
        v[i] = (real)p[i];
    return v;
}

/* Store the first min(n, LANES) lanes as doubles. */
ALWAYS_INLINE void store_as_double(double *to, vec v, int64_t n)
{
#if defined(__AVX__) && VEC_IS(32, 32)
    if (n >= LANES) {
        _mm256_storeu_pd(to, (__m256d)lower_half(v));
        _mm256_storeu_pd(to + LANES / 2, (__m256d)upper_half(v));
        return;
    }
#endif
    for (int i = 0; i < LANES && i < n; ++i)
        to[i] = (double)v[i];
}

#endif
