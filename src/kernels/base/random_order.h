/* NumPy's random streams in C: the generator Philox (Salmon et al. 2011) and permutations, with
   the numbers that numpy.random.Generator draws from the same key and counter.

   A network that is trained among others must see its rows in the order in which NumPy would have
   shuffled them for it alone (aefast/_base/random.py). A test compares both. */
#ifndef AEFAST_RANDOM_ORDER_H
#define AEFAST_RANDOM_ORDER_H

#include <stdint.h>

/* Philox4x64-10. NumPy increments the counter before it draws a block of four words, and takes 32
   random bits from the lower half of a word first. */
typedef struct {
    uint64_t key[2], counter[4], block[4];
    /* Number of words of the block that are used up. */
    int n_used;
    /* Whether the upper half of the last word is still to be used, and that half. */
    int has_half;
    uint32_t half;
} random_stream;

/* Return numpy.random.Philox(key=[seed, purpose], counter=[0, 0, 0, counter]). */
static inline random_stream random_stream_at(uint64_t seed, uint64_t purpose, uint64_t counter)
{
    return (random_stream){.key = {seed, purpose}, .counter = {0, 0, 0, counter}, .n_used = 4};
}

static inline void draw_block(random_stream *r)
{
    for (int i = 0; i < 4 && ++r->counter[i] == 0; ++i)
        ;
    uint64_t x[4] = {r->counter[0], r->counter[1], r->counter[2], r->counter[3]},
             key[2] = {r->key[0], r->key[1]};
    for (int round = 0; round < 10; ++round) {
        unsigned __int128 first = (unsigned __int128)0xD2E7470EE14C6C93u * x[0],
                          second = (unsigned __int128)0xCA5A826395121157u * x[2];
        uint64_t y[4] = {(uint64_t)(second >> 64) ^ x[1] ^ key[0], (uint64_t)second,
                         (uint64_t)(first >> 64) ^ x[3] ^ key[1], (uint64_t)first};
        for (int i = 0; i < 4; ++i)
            x[i] = y[i];
        key[0] += 0x9E3779B97F4A7C15u;
        key[1] += 0xBB67AE8584CAA73Bu;
    }
    for (int i = 0; i < 4; ++i)
        r->block[i] = x[i];
    r->n_used = 0;
}

static inline uint64_t random_word(random_stream *r)
{
    if (r->n_used == 4)
        draw_block(r);
    return r->block[r->n_used++];
}

static inline uint32_t random_half_word(random_stream *r)
{
    if (r->has_half) {
        r->has_half = 0;
        return r->half;
    }
    uint64_t word = random_word(r);
    r->has_half = 1, r->half = (uint32_t)(word >> 32);
    return (uint32_t)word;
}

/* A number in 0, ..., most, for most < 2^32, by rejection. */
static inline uint32_t random_at_most(random_stream *r, uint32_t most)
{
    uint32_t mask = most, number;
    for (int shift = 1; shift < 32; shift *= 2)
        mask |= mask >> shift;
    do
        number = random_half_word(r) & mask;
    while (number > most);
    return number;
}

/* order <- Generator.permutation(n), for n <= 2^32 (Fisher & Yates). */
static inline void random_permutation(random_stream *r, int64_t n, int64_t *order)
{
    for (int64_t i = 0; i < n; ++i)
        order[i] = i;
    for (int64_t i = n - 1; i > 0; --i) {
        int64_t j = random_at_most(r, (uint32_t)i), swapped = order[j];
        order[j] = order[i];
        order[i] = swapped;
    }
}

#endif
