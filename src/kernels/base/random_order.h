/* NumPy's permutations in C: those that numpy.random.Generator draws from the generator Philox
   (Salmon et al. 2011) with the same key and counter.

   A network that is trained among others must see its rows in the order in which NumPy would have
   shuffled them for it alone (aefast/_base/random.py). A test compares both. */
#ifndef AEFAST_RANDOM_ORDER_H
#define AEFAST_RANDOM_ORDER_H

#include <stdint.h>

/* Number of blocks of Philox4x64 that are drawn together, so that their chains of multiplications
   overlap, and of random halves of words in them. */
enum { PHILOX_BLOCKS = 4, PHILOX_HALVES = 8 * PHILOX_BLOCKS };

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
            unsigned __int128 left = (unsigned __int128)0xD2E7470EE14C6C93u * x[b][0],
                              right = (unsigned __int128)0xCA5A826395121157u * x[b][2];
            x[b][0] = (uint64_t)(right >> 64) ^ x[b][1] ^ key0;
            x[b][1] = (uint64_t)right;
            x[b][2] = (uint64_t)(left >> 64) ^ x[b][3] ^ key1;
            x[b][3] = (uint64_t)left;
        }
        key0 += 0x9E3779B97F4A7C15u;
        key1 += 0xBB67AE8584CAA73Bu;
    }
    for (int b = 0; b < PHILOX_BLOCKS; ++b)
        for (int i = 0; i < 4; ++i) {
            halves[8 * b + 2 * i] = (uint32_t)x[b][i];
            halves[8 * b + 2 * i + 1] = (uint32_t)(x[b][i] >> 32);
        }
}

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
