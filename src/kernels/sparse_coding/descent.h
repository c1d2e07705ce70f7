/* The lasso by cyclic coordinate descent on the Gram matrix (Friedman et al. 2010). Each step
   updates q = D (x - h D). Sweeps over all atoms find those with codes; further sweeps over these
   atoms alone improve their codes. */
#ifndef AEFAST_DESCENT_H
#define AEFAST_DESCENT_H

#include "kernels/sparse_coding/coder.h"

/* Largest number of sweeps over atoms with codes between two sweeps over all atoms. */
enum { SWEEPS_OF_ACTIVE = 8 };
/* Sweeps over atoms with codes end once the largest change is this fraction of the first's. */
#define SETTLED_CHANGE ((real)0.01)

/* Minimise over the code of atom j. Returns the resulting |change| of q_j. */
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

/* Minimise over the code of each atom in turn, except codes that are 0 and would stay 0. `active`
   becomes the list of atoms with nonzero codes; returns their number. */
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

/* Sweep over the n listed atoms until their codes have settled, max_sweeps times at most. */
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

/* Return ||x - h D||^2 = (x - h D) . x - (x - h D) . (h D) = ||x||^2 - h . c - h . q. */
static real residual_norm2(const row_problem *p)
{
    int64_t n = p->dictionary->ld_k;
    real r = p->x_norm2 - dot(p->h, p->c, n) - dot(p->h, p->q, n);
    return r > 0 ? r : 0;
}

/* Descend from p->h, with p->q = D (x - h D), until the relative gap computed from these two is at
   most `goal`. Returns 0 where that takes more than max_sweeps sweeps over all atoms. `active` (k)
   is scratch memory. */
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
