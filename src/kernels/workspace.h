/* One block of memory with arrays carved out of it. Carving from NULL measures how much is needed. */
#ifndef AEFAST_WORKSPACE_H
#define AEFAST_WORKSPACE_H

#include "autoencoder.h"
#include "parallel.h"
#include "real.h"

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
#define __SANITIZE_ADDRESS__ 1 /* as GCC says it */
#endif
#endif
#if defined(AEFAST_DEBUG) && defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
enum { GAP = CACHE_LINE }; /* poisoned, so that running out of one array into the next is seen */
#define POISON_GAP(p) __asan_poison_memory_region((p), GAP)
#else
enum { GAP = 0 };
#define POISON_GAP(p) ((void)0)
#endif

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

static inline int64_t arena_bytes(const arena *a) { return a->used + CACHE_LINE; }

/* The model's parameters as reals, and where each part begins in the flat layout. */
typedef struct {
    real *W, *V, *b, *c, *theta;
    int64_t W_at, V_at, b_at, c_at, theta_at;
} parameter_views;

static inline parameter_views view_parameters(const autoencoder_model *model)
{
    int64_t d = model->n_features, k = model->n_components;
    parameter_views p = {(real *)model->W, (real *)model->V, (real *)model->b, (real *)model->c, (real *)model->theta, 0, 0, 0, 0, 0};
    p.V_at = model->tied ? 0 : k * d;
    p.b_at = p.V_at + k * d;
    p.c_at = p.b_at + k;
    p.theta_at = p.c_at + d;
    return p;
}

#endif
