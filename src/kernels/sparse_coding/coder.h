/* The common ground of all algorithms of sparse coding: the prepared dictionary, the problem of one
   row, the duality gap. */
#ifndef AEFAST_CODER_H
#define AEFAST_CODER_H

#include "kernels/base/workspace.h"
#include "kernels/products/packing.h"
#include "kernels/products/rows.h"
#include "kernels/sparse_coding/basis.h"
#include "kernels/sparse_coding/sparse_coding.h"

/* D in the forms that kernels read. Arrays over atoms have ld_k entries; those past k are zero. */
typedef struct {
    int64_t d, k, ld_d, ld_k;
    /* D (k, ld_d). */
    real *atoms;
    /* D^T in panels. */
    real *by_component;
    /* D in panels. */
    real *by_feature;
    /* The Gram matrix G = D D^T (k, ld_k). */
    real *gram;
    /* The diagonal of G (ld_k). */
    real *diagonal;
    /* Size of the memory for all forms. */
    int64_t bytes;
} dictionary_forms;

static dictionary_forms carve_dictionary(const coding_dictionary *given)
{
    int64_t d = given->n_features, k = given->n_components;
    arena a = arena_at(given->prepared);
    dictionary_forms f = {.d = d, .k = k, .ld_d = leading_dimension(d), .ld_k = padded(k)};
    f.atoms = CARVE(&a, real, k * f.ld_d);
    f.by_component = CARVE(&a, real, padded(k) * padded(d));
    f.by_feature = CARVE(&a, real, padded(d) * k);
    f.gram = CARVE(&a, real, k * f.ld_k);
    f.diagonal = CARVE(&a, real, f.ld_k);
    f.bytes = arena_bytes(&a);
    return f;
}

static int64_t prepared_bytes(const coding_dictionary *given)
{
    coding_dictionary measured = *given;
    measured.prepared = 0;
    return carve_dictionary(&measured).bytes;
}

static void prepare_member(void *context, member m)
{
    const coding_dictionary *given = (const coding_dictionary *)context;
    const real *D = (const real *)given->atoms;
    dictionary_forms f = carve_dictionary(given);
    int64_t d = f.d, k = f.k;
    for (int64_t j = share_begin(m, n_panels(k)); j < share_end(m, n_panels(k)); ++j) {
        int64_t first = j * PANEL, n = min_i64(PANEL, k - first);
        pack_transposed_panel(n, d, D + first * d, f.by_component + first * padded(d));
        for (int64_t i = first; i < first + n; ++i) {
            memcpy(f.atoms + i * f.ld_d, D + i * d, (size_t)d * sizeof(real));
            memset(f.atoms + i * f.ld_d + d, 0, (size_t)(f.ld_d - d) * sizeof(real));
        }
    }
    for (int64_t j = share_begin(m, n_panels(d)); j < share_end(m, n_panels(d)); ++j)
        pack_panel(k, d - j * PANEL, D + j * PANEL, d, f.by_feature + j * k * PANEL);
    team_barrier(m);
    int64_t first = share_begin(m, k), end = share_end(m, k);
    if (end > first) /* a member has no atoms where there are fewer atoms than members */
        product_panels(end - first, n_panels(k), d, f.atoms + first * f.ld_d, f.ld_d,
                       f.by_component, padded(d), f.gram + first * f.ld_k, f.ld_k);
    for (int64_t j = first; j < end; ++j)
        f.diagonal[j] = f.gram[j * f.ld_k + j];
    if (m.index == 0)
        memset(f.diagonal + k, 0, (size_t)(f.ld_k - k) * sizeof(real));
    team_barrier(m);
}

static void prepare(coding_dictionary *given)
{
    team_run(given->n_threads, FLOAT_MODE_IEEE, prepare_member, given);
}

/* The problem of one row x, in buffers of the thread that solves it. */
typedef struct {
    const dictionary_forms *dictionary;
    const coding_job *job;
    real alpha;
    /* The row (ld_d) and its ||x||^2. */
    const real *x;
    real x_norm2;
    /* Correlations of the row with the atoms, c = D x (ld_k). */
    const real *c;
    /* The code (ld_k). */
    real *h;
    /* Correlations of the residual with the atoms, q = D (x - h D) (ld_k). */
    real *q;
    /* The residual x - h D (ld_d). */
    real *residual;
} row_problem;

/* The magnitude of a correlation is the number that is compared with alpha: its absolute value, or
   the correlation itself where codes are positive. */
ALWAYS_INLINE ivec magnitude_mask(int positive)
{
    return positive ? ivec_set(-1) : ~(ivec)vec_set((real)-0.0);
}
ALWAYS_INLINE vec magnitude(vec v, ivec mask) { return (vec)((ivec)v & mask); }
ALWAYS_INLINE real magnitude_of(real x, int positive) { return positive || x > 0 ? x : -x; }

ALWAYS_INLINE real vec_largest(vec v)
{
    real largest = v[0];
    for (int i = 1; i < LANES; ++i)
        largest = v[i] > largest ? v[i] : largest;
    return largest;
}

static inline real dot(const real *a, const real *b, int64_t n)
{
    vec sum[2] = {{0}, {0}};
    int64_t v = 0;
    for (; v + 2 * LANES <= n; v += 2 * LANES) {
        sum[0] = vec_fma(vec_load(a + v), vec_load(b + v), sum[0]);
        sum[1] = vec_fma(vec_load(a + v + LANES), vec_load(b + v + LANES), sum[1]);
    }
    for (; v < n; v += LANES)
        sum[0] = vec_fma(vec_load_n(a + v, n - v), vec_load_n(b + v, n - v), sum[0]);
    return (real)vec_sum(sum[0] + sum[1]);
}

/* y += a x for n entries, whole vectors. */
static inline void add_multiple(real *y, real a, const real *x, int64_t n)
{
    vec scale = vec_set(a);
    for (int64_t v = 0; v < n; v += LANES)
        vec_store(y + v, vec_fma(scale, vec_load(x + v), vec_load(y + v)));
}

/* Return the largest magnitude in q, at least 0: with positive codes the magnitudes of q may all be
   negative. */
static inline real largest_correlation(const real *q, int64_t ld_k, int positive)
{
    ivec mask = magnitude_mask(positive);
    vec largest = {0};
    for (int64_t v = 0; v < ld_k; v += LANES)
        largest = vec_max(magnitude(vec_load(q + v), mask), largest);
    return vec_largest(largest);
}

/* Return the relative duality gap, gap / (1/2 ||x||^2), of a code with residual r = x - h D, where
   r_norm2 = ||r||^2 and q = D r. With s = min(1, alpha / max |q|), for which s r is dual feasible,
       gap = 1/2 (1 - s)^2 ||r||^2 + sum_j (alpha |h_j| - s h_j q_j).
   This is the difference of the primal and the dual objective with x = r + h D inserted: all terms
   are >= 0, so that nothing cancels. */
static double relative_gap(const row_problem *p, real r_norm2)
{
    if (!(p->x_norm2 > 0))
        return 0;
    real alpha = p->alpha,
         largest = largest_correlation(p->q, p->dictionary->ld_k, p->job->positive);
    real s = largest > alpha ? alpha / largest : 1;
    vec sum = {0}, scale = vec_set(s), weight = vec_set(alpha);
    for (int64_t v = 0; v < p->dictionary->ld_k; v += LANES) {
        vec h = vec_load(p->h + v);
        sum += weight * vec_abs(h) - scale * h * vec_load(p->q + v);
    }
    double rest = 1 - (double)s, gap = 0.5 * rest * rest * (double)r_norm2 + vec_sum(sum);
    return gap > 0 ? gap / (0.5 * (double)p->x_norm2) : 0;
}

/* Compute residual = x - h D from the nonzero entries of h. */
static void compute_residual(const row_problem *p)
{
    const dictionary_forms *f = p->dictionary;
    memcpy(p->residual, p->x, (size_t)f->ld_d * sizeof(real));
    for (int64_t v = 0; v < f->ld_k; v += LANES) {
        if (!any_lane(vec_load(p->h + v) != vec_set(0)))
            continue;
        for (int64_t j = v; j < v + LANES; ++j)
            if (p->h[j] != 0)
                add_multiple(p->residual, -p->h[j], f->atoms + j * f->ld_d, f->ld_d);
    }
}

#endif
