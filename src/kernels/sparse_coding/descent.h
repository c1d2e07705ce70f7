/* The lasso by cyclic coordinate descent on the Gram matrix (Friedman et al. 2010), q = D (x - h D)
   kept up to date: sweeps over all atoms find those that matter, sweeps over these alone settle
   their codes. */
#ifndef AEFAST_DESCENT_H
#define AEFAST_DESCENT_H

#include "kernels/sparse_coding/coder.h"

enum { SWEEPS_OF_ACTIVE = 8 }; /* at most, between two sweeps over all atoms */
#define SETTLED_CHANGE                                                                             \
    ((real)0.01) /* of the first sweep's largest: their codes are settled well enough */

/* Coordinate j to its best value. Returns the change of q that this is to itself. */
ALWAYS_INLINE real descend_coordinate(const row_problem *p, int64_t j)
{
    const dictionary_forms *f = p->dictionary;
    real z = p->q[j] + f->diagonal[j] * p->h[j],
         size = magnitude_of(z, p->job->positive) - p->alpha;
    real code = size > 0 ? (z > 0 ? size : -size) / f->diagonal[j] : 0, change = code - p->h[j];
    if (change == 0)
        return 0;
    p->h[j] = code;
    add_multiple(p->q, -change, f->gram + j * f->ld_k, f->ld_k);
    return (change > 0 ? change : -change) * f->diagonal[j];
}

/* Every atom in turn, past those whose code is 0 and stays so; `active` becomes the list of those
 * with a code. */
static int64_t sweep_all(const row_problem *p, int64_t *active)
{
    int64_t n = 0;
    ivec mask = magnitude_mask(p->job->positive);
    for (int64_t v = 0; v < p->dictionary->ld_k; v += LANES) {
        vec h = vec_load(p->h + v);
        if (!any_lane((magnitude(vec_load(p->q + v), mask) > vec_set(p->alpha)) |
                      (h != vec_set(0))))
            continue;
        for (int64_t j = v; j < min_i64(v + LANES, p->dictionary->k); ++j) {
            descend_coordinate(p, j);
            if (p->h[j] != 0)
                active[n++] = j;
        }
    }
    return n;
}

static void sweep_active(const row_problem *p, const int64_t *active, int64_t n, int64_t max_sweeps)
{
    real first = 0;
    for (int64_t sweep = 0; sweep < max_sweeps; ++sweep) {
        real largest = 0;
        for (int64_t i = 0; i < n; ++i) {
            real change = descend_coordinate(p, active[i]);
            largest = change > largest ? change : largest;
        }
        if (sweep == 0)
            first = largest;
        if (largest <= SETTLED_CHANGE * first ||
            largest <= SETTLED_CHANGE * (real)p->job->tol * p->alpha)
            return;
    }
}

/* ||x - h D||^2 from c and q: (x - h D).x - (x - h D).(h D). */
static real residual_norm2(const row_problem *p)
{
    int64_t n = p->dictionary->ld_k;
    real r = p->x_norm2 - dot(p->h, p->c, n) - dot(p->h, p->q, n);
    return r > 0 ? r : 0;
}

/* From p->h, with p->q = D (x - h D), until the relative gap, as far as these can tell, is at most
   `goal`. Returns 0 where that takes more than max_sweeps sweeps over all atoms. `active` (k) is
   scratch. */
static int descend(const row_problem *p, double goal, int64_t *active, int64_t max_sweeps)
{
    for (int64_t sweep = 0; sweep < max_sweeps; ++sweep) {
        if (relative_gap(p, residual_norm2(p)) <= goal)
            return 1;
        int64_t n = sweep_all(p, active);
        sweep_active(p, active, n, SWEEPS_OF_ACTIVE);
    }
    return 0;
}

#endif
