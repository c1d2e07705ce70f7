/* A block of memory from which arrays are carved. Carving from NULL measures the bytes needed. */
#ifndef AEFAST_WORKSPACE_H
#define AEFAST_WORKSPACE_H

#include "kernels/base/parallel.h"

typedef struct {
    char *base;
    int64_t used;
} arena;

static inline arena arena_at(void *workspace)
{
    uintptr_t p = (uintptr_t)workspace;
    return (arena){workspace ? (char *)((p + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE) : 0, 0};
}

#if defined(__has_feature) && !defined(__SANITIZE_ADDRESS__)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1 /* GCC predefines this macro; clang has the feature test */
#endif
#endif
#if defined(AEFAST_DEBUG) && defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
/* Bytes of poisoned memory after each array: an access beyond the array's end is reported. */
enum { GAP = CACHE_LINE };
#define POISON_GAP(p) __asan_poison_memory_region((p), GAP)
#else
enum { GAP = 0 };
#define POISON_GAP(p) ((void)0)
#endif

/* Return the next array of n elements of `size` bytes, aligned to a cache line, or NULL when the
   block is only measured. */
static inline void *carve(arena *a, int64_t n, int64_t size)
{
    int64_t bytes = (n * size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    char *p = a->base ? a->base + a->used : 0;
    if (p)
        POISON_GAP(p + bytes);
    a->used += bytes + GAP;
    return p;
}

#define CARVE(arena, type, n) ((type *)carve((arena), (n), (int64_t)sizeof(type)))

/* The size that a block needs for all arrays carved so far, at any alignment of the block. */
static inline int64_t arena_bytes(const arena *a) { return a->used + CACHE_LINE; }

#endif
