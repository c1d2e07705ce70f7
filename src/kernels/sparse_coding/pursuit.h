/* Orthogonal matching pursuit (Pati et al. 1993) on the Gram matrix: the atom most correlated with
   the residual becomes active, and the code is the least-squares one on the active atoms.

   With the basis of basis.h, a new atom changes the correlations of the residual by a multiple of
   the new row of the basis and the residual's square by a known amount. The code comes last. */
#ifndef AEFAST_PURSUIT_H
#define AEFAST_PURSUIT_H

#include "kernels/sparse_coding/homotopy.h"

typedef struct {
    basis active;
    /* (capacity): coordinates of the fit in the basis. */
    real *u;
    /* (capacity, rounded up to whole vectors): codes of the active atoms. */
    real *h;
    /* (ld_k): 1 / ||D_j||, or 0 for atoms that may not become active. */
    real *scale;
} pursuit;

static pursuit carve_pursuit(const dictionary_forms *f, int64_t n_nonzero, arena *a)
{
    int64_t capacity = min_i64(n_nonzero, min_i64(f->d, f->k));
    pursuit t = {.active = carve_basis(f, capacity, a)};
    t.u = CARVE(a, real, capacity);
    t.h = CARVE(a, real, whole_vectors(capacity));
    t.scale = CARVE(a, real, f->ld_k);
    return t;
}

/* q -= a row, unless row is NULL. Returns the index j of the largest |q_j| / ||D_j||, the first
   among equals, and this number in *largest; -1 and 0 where none is positive. */
static int64_t subtract_and_find(const pursuit *t, real *q, real a, const real *row, int positive,
                                 real *largest)
{
    ivec mask = magnitude_mask(positive), at = ivec_set(0), place = lanes_from(0);
    vec best = {0}, minus = vec_set(-a);
    for (int64_t v = 0; v < t->active.k; v += LANES, place += ivec_set(LANES)) {
        vec value = row ? vec_fma(minus, vec_load(row + v), vec_load(q + v)) : vec_load(q + v);
        if (row)
            vec_store(q + v, value);
        value = magnitude(value, mask) * vec_load(t->scale + v);
        ivec better = value > best;
        best = vec_select(better, value, best);
        at = (better & place) | (~better & at);
    }
    *largest = 0;
    int64_t found = -1;
    for (int i = 0; i < LANES; ++i)
        if (best[i] > *largest || (best[i] == *largest && best[i] > 0 && at[i] < found)) {
            *largest = best[i];
            found = at[i];
        }
    return found;
}

/* Correlations smaller than this, relative to ||x||, are rounding errors. */
#define NO_CORRELATION (8 * REAL_EPSILON)

/* Compute the code p->h of one row. */
static void pursue(pursuit *t, const row_problem *p)
{
    const dictionary_forms *f = p->dictionary;
    real *q = p->q, largest, x_norm = (real)sqrt((double)p->x_norm2);
    double left = (double)p->x_norm2;
    memcpy(q, p->c, (size_t)f->ld_k * sizeof(real));
    t->active.n = 0;
    for (int64_t j = 0; j < f->ld_k; ++j)
        t->scale[j] = j < f->k ? 1 / (real)sqrt((double)f->diagonal[j]) : 0;
    int64_t j = subtract_and_find(t, q, 0, 0, p->job->positive, &largest);
    while (t->active.n < t->active.capacity && left > p->job->target &&
           largest > NO_CORRELATION * x_norm) {
        t->scale[j] = 0;
        if (!basis_add(&t->active, j, f->gram + j * f->ld_k)) {
            j = subtract_and_find(t, q, 0, 0, p->job->positive, &largest);
            continue;
        }
        int64_t n = t->active.n - 1;
        const real *row = basis_row(&t->active, n);
        t->u[n] = q[j] / row[j];
        left -= (double)t->u[n] * (double)t->u[n];
        j = subtract_and_find(t, q, t->u[n], row, p->job->positive, &largest);
    }
    int64_t n = t->active.n;
    memset(t->h, 0, (size_t)whole_vectors(n) * sizeof(real));
    for (int64_t i = 0; i < n; ++i)
        add_multiple(t->h, t->u[i], basis_row(&t->active, i) + t->active.k, whole_vectors(i + 1));
    memset(p->h, 0, (size_t)f->ld_k * sizeof(real));
    for (int64_t i = 0; i < n; ++i)
        p->h[t->active.atom[i]] = t->h[i];
}

#endif
