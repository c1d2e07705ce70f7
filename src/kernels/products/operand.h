/* The type of a number that products read (an operand), and the multiply-add of one step. All
   differences between precisions are in this file or follow from it.

   One multiply-add takes a group from each of the two factors: GROUP adjacent terms of a sum. In
   full precision an operand is a real and a group has one term. In an instance for bfloat16
   (-DAEFAST_BFLOAT16, where real is float) a group is a pair in the two halves of 32 bits, with the
   earlier term in the lower half. A group has the size of a real, so that panels of groups are
   moved and transposed like panels of reals. */
#ifndef AEFAST_OPERAND_H
#define AEFAST_OPERAND_H

#include "kernels/base/vec.h"

#ifndef AEFAST_BFLOAT16

typedef real operand;
enum { GROUP = 1 };
typedef vec group_vec; /* LANES groups */

ALWAYS_INLINE group_vec load_groups(const operand *p) { return vec_load(p); }
ALWAYS_INLINE group_vec broadcast_group(const operand *p) { return vec_set(*p); }

/* sum + a b in each lane. */
ALWAYS_INLINE vec add_products(group_vec a, group_vec b, vec sum) { return vec_fma(a, b, sum); }

#else

/* A bfloat16: the upper half of a float, with its sign, its exponent and 7 bits of its fraction. */
typedef uint16_t operand;
enum { GROUP = 2 };
typedef ivec group_vec;

ALWAYS_INLINE group_vec load_groups(const operand *p)
{
    group_vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

ALWAYS_INLINE group_vec broadcast_group(const operand *p)
{
    int32_t group;
    memcpy(&group, p, sizeof group);
    return ivec_set(group);
}

/* sum + a[1] b[1] + a[0] b[0] in each lane, where each product is exact and each sum is rounded to
   a float, as by the instruction VDPBF16PS. The instruction treats subnormal numbers as zero, and
   so do the threads of a training. The version without the instruction is for tests: float32 is
   faster. */
ALWAYS_INLINE vec add_products(group_vec a, group_vec b, vec sum)
{
#if defined(__AVX512BF16__)
    return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
#else
    const ivec upper = ivec_set((int32_t)0xffff0000);
    sum = vec_fma((vec)(a & upper), (vec)(b & upper), sum);
    return vec_fma((vec)(a << 16), (vec)(b << 16), sum);
#endif
}

typedef operand half_vec __attribute__((vector_size(AEFAST_VEC_BYTES / 2))); /* LANES operands */

/* x rounded to bfloat16, to nearest with ties to even, as by the instruction VCVTNEPS2BF16:
   subnormal numbers become zeros, NaN stays NaN. */
ALWAYS_INLINE half_vec vec_bfloat16(vec x)
{
#if defined(__AVX512BF16__)
    return (half_vec)_mm512_cvtneps_pbh((__m512)x);
#else
    typedef uint32_t bits_vec __attribute__((vector_size(AEFAST_VEC_BYTES)));
    bits_vec bits = (bits_vec)x, magnitude = bits & 0x7fffffffu;
    bits_vec is_nan = (bits_vec)(magnitude > 0x7f800000u),
             is_tiny = (bits_vec)(magnitude < 0x00800000u);
    bits_vec rounded = bits + (0x7fffu + (bits >> 16 & 1u));
    bits_vec result = (is_nan & (bits | 0x00400000u)) | (is_tiny & (bits & 0x80000000u)) |
                      (~is_nan & ~is_tiny & rounded);
    return __builtin_convertvector(result >> 16, half_vec);
#endif
}

ALWAYS_INLINE void store_operands(operand *to, half_vec v) { memcpy(to, &v, sizeof v); }

/* Store LANES groups; lane i of `first` is the earlier term of group i, lane i of `second` the
   later one. */
ALWAYS_INLINE void store_groups(operand *to, half_vec first, half_vec second)
{
#if defined(__AVX512BF16__)
    group_vec low = (group_vec)_mm512_cvtepu16_epi32((__m256i)first),
              high = (group_vec)_mm512_cvtepu16_epi32((__m256i)second);
#else
    group_vec low = __builtin_convertvector(first, group_vec),
              high = __builtin_convertvector(second, group_vec);
#endif
    group_vec groups = low | high << 16;
    memcpy(to, &groups, sizeof groups);
}

#endif

#endif
