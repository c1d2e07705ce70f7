/* NumPy's permutations in C: those that numpy.random.Generator draws from the generator Philox
   (Salmon et al. 2011) with the same key and counter.

   A network that is trained among others must see its rows in the order in which NumPy would have
   shuffled them for it alone (aefast/_base/random.py). A test compares both. */
#ifndef AEFAST_RANDOM_ORDER_H
#define AEFAST_RANDOM_ORDER_H

#include <stdint.h>
#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

/* Number of blocks of Philox4x64 that are drawn together, so that their chains of multiplications
   overlap, and of random halves of words in them. */
enum { PHILOX_BLOCKS = 4, PHILOX_HALVES = 8 * PHILOX_BLOCKS };

#define PHILOX_FACTOR_0 0xD2E7470EE14C6C93u
#define PHILOX_FACTOR_1 0xCA5A826395121157u
#define PHILOX_WEYL_0 0x9E3779B97F4A7C15u
#define PHILOX_WEYL_1 0xBB67AE8584CAA73Bu

#if defined(__AVX2__)
/* The upper and lower halves of four products x * factor, from products of 32 bits. */
static inline void multiply_four(__m256i x, uint64_t factor, __m256i *high, __m256i *low)
{
    const __m256i lower = _mm256_set1_epi64x(0xffffffff),
                  f0 = _mm256_set1_epi64x((int64_t)(factor & 0xffffffffu)),
                  f1 = _mm256_set1_epi64x((int64_t)(factor >> 32)), x1 = _mm256_srli_epi64(x, 32),
                  p00 = _mm256_mul_epu32(x, f0);
    __m256i p01 = _mm256_add_epi64(_mm256_mul_epu32(x, f1), _mm256_srli_epi64(p00, 32)),
            p10 = _mm256_add_epi64(_mm256_mul_epu32(x1, f0), _mm256_and_si256(p01, lower));
    *high = _mm256_add_epi64(_mm256_add_epi64(_mm256_mul_epu32(x1, f1), _mm256_srli_epi64(p01, 32)),
                             _mm256_srli_epi64(p10, 32));
    *low = _mm256_blend_epi32(p00, _mm256_slli_epi64(p10, 32), 0xaa);
}

/* philox_halves (below) with a block in each lane. */
static inline void philox_halves(const uint64_t *key, uint64_t first, uint64_t counter,
                                 uint32_t *halves)
{
    uint64_t key0 = key[0], key1 = key[1], words[4][PHILOX_BLOCKS];
    __m256i zero = _mm256_setzero_si256(), high0, low0, high1, low1;
    __m256i x[4] = {
        _mm256_add_epi64(_mm256_set1_epi64x((int64_t)first), _mm256_set_epi64x(3, 2, 1, 0)), zero,
        zero, _mm256_set1_epi64x((int64_t)counter)};
    for (int round = 0; round < 10; ++round) {
        multiply_four(x[0], PHILOX_FACTOR_0, &high0, &low0);
        multiply_four(x[2], PHILOX_FACTOR_1, &high1, &low1);
        x[0] = _mm256_xor_si256(_mm256_xor_si256(high1, x[1]), _mm256_set1_epi64x((int64_t)key0));
        x[2] = _mm256_xor_si256(_mm256_xor_si256(high0, x[3]), _mm256_set1_epi64x((int64_t)key1));
        x[1] = low1, x[3] = low0;
        key0 += PHILOX_WEYL_0, key1 += PHILOX_WEYL_1;
    }
    memcpy(words, x, sizeof words);
    for (int b = 0; b < PHILOX_BLOCKS; ++b)
        for (int i = 0; i < 4; ++i)
            memcpy(halves + 8 * b + 2 * i, &words[i][b], sizeof words[i][b]);
}
#else
/* Draw blocks first, first + 1, ... of numpy.random.Philox(key=key, counter=[0, 0, 0, counter]),
   which counts them from 1. NumPy takes 32 random bits from the lower half of a word first. */
static inline void philox_halves(const uint64_t *key, uint64_t first, uint64_t counter,
                                 uint32_t *halves)
{
    uint64_t x[PHILOX_BLOCKS][4], key0 = key[0], key1 = key[1];
    for (int b = 0; b < PHILOX_BLOCKS; ++b)
        x[b][0] = first + (uint64_t)b, x[b][1] = x[b][2] = 0, x[b][3] = counter;
    for (int round = 0; round < 10; ++round) {
        for (int b = 0; b < PHILOX_BLOCKS; ++b) {
            unsigned __int128 left = (unsigned __int128)PHILOX_FACTOR_0 * x[b][0],
                              right = (unsigned __int128)PHILOX_FACTOR_1 * x[b][2];
            x[b][0] = (uint64_t)(right >> 64) ^ x[b][1] ^ key0;
            x[b][1] = (uint64_t)right;
            x[b][2] = (uint64_t)(left >> 64) ^ x[b][3] ^ key1;
            x[b][3] = (uint64_t)left;
        }
        key0 += PHILOX_WEYL_0, key1 += PHILOX_WEYL_1;
    }
    for (int b = 0; b < PHILOX_BLOCKS; ++b)
        for (int i = 0; i < 4; ++i) {
            halves[8 * b + 2 * i] = (uint32_t)x[b][i];
            halves[8 * b + 2 * i + 1] = (uint32_t)(x[b][i] >> 32);
        }
}
#endif

/* order <- Generator(Philox(key=[seed, purpose], counter=[0, 0, 0, counter])).permutation(n), for
   n <= 2^32. Each step of the shuffle (Fisher & Yates) masks random bits and draws again where the
   number is too large: a number that is refused swaps an entry with itself, without a branch that
   could be mispredicted. */
static inline void random_permutation(uint64_t seed, uint64_t purpose, uint64_t counter, int64_t n,
                                      int64_t *order)
{
    const uint64_t key[2] = {seed, purpose};
    uint32_t halves[PHILOX_HALVES];
    for (int64_t i = 0; i < n; ++i)
        order[i] = i;
    uint64_t block = 1;
    int n_used = PHILOX_HALVES;
    for (int64_t i = n - 1; i > 0;) {
        /* The mask stays the same down to `least`, so that draws do not wait for one another. */
        const uint32_t mask = UINT32_MAX >> __builtin_clz((unsigned)i);
        const int64_t least = mask / 2;
        while (i > least) {
            if (n_used == PHILOX_HALVES) {
                philox_halves(key, block, counter, halves);
                block += PHILOX_BLOCKS, n_used = 0;
            }
            int64_t number = halves[n_used++] & mask, is_taken = number <= i,
                    j = is_taken ? number : i, swapped = order[j];
            order[j] = order[i];
            order[i] = swapped;
            i -= is_taken;
        }
    }
}

#endif
