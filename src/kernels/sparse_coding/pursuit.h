/* Greedy pursuits on the Gram matrix: one atom after another becomes active, and the code is the
   least-squares one on the active atoms. Orthogonal matching pursuit (Pati et al. 1993) takes the
   atom most correlated with the residual. Order-recursive matching pursuit (Natarajan 1995; Cotter
   et al. 1999) takes the atom that reduces the residual most: the correlation is divided by the
   length of the atom's part outside the span of the active atoms, instead of by its own length.

   With the basis of basis.h, a new atom changes the correlations of the residual by a multiple of
   the new row of the basis, the residual's square by a known amount, and the squared length of each
   atom's part outside the span by the square of that row's entry. The code comes last. */
#ifndef AEFAST_PURSUIT_H
#define AEFAST_PURSUIT_H

#include "kernels/sparse_coding/homotopy.h"

typedef struct {
    basis active;
    /* (capacity): coordinates of the fit in the basis. */
    real *u;
    /* (capacity, rounded up to whole vectors): codes of the active atoms. */
    real *h;
    /* (ld_k): 1 / ||D_j||, or of the part of D_j outside the span of the active atoms; 0 for atoms
       that may not become active. */
    real *scale;
    /* (ld_k): squared length of the part of D_j outside the span; NULL: lengths do not count. */
    real *outside;
} pursuit;

static pursuit carve_pursuit(const dictionary_forms *f, int64_t n_nonzero, int is_recursive,
                             arena *a)
{
    int64_t capacity = min_i64(n_nonzero, min_i64(f->d, f->k));
    pursuit t = {.active = carve_basis(f, capacity, a)};
    t.u = CARVE(a, real, capacity);
    t.h = CARVE(a, real, whole_vectors(capacity));
    t.scale = CARVE(a, real, f->ld_k);
    t.outside = is_recursive ? CARVE(a, real, f->ld_k) : 0;
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

/* The reduction of the residual by an atom says nothing of the size of its code: almost inside the
   span, an atom would get a large one for a small reduction. Atoms with a smaller square of their
   part outside than this, relative to their own, may not become active. */
#define NEARLY_DEPENDENT ((real)(AEFAST_REAL_BITS == 32 ? 3e-4 : 1e-8))

/* Take a new row of the basis out of the atoms' parts outside the span. */
static void shorten(const pursuit *t, const dictionary_forms *f, const real *row)
{
    for (int64_t v = 0; v < f->ld_k; v += LANES) {
        vec p = vec_load(row + v), scale = vec_load(t->scale + v),
            left = vec_fma(-p, p, vec_load(t->outside + v)),
            least = vec_set(NEARLY_DEPENDENT) * vec_load(f->diagonal + v);
        ivec may = (scale > vec_set(0)) & (left > least);
        vec_store(t->outside + v, left);
        vec length = vec_sqrt(vec_select(may, left, vec_set(1)));
        vec_store(t->scale + v, vec_select(may, vec_set(1) / length, vec_set(0)));
    }
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
    if (t->outside)
        memcpy(t->outside, f->diagonal, (size_t)f->ld_k * sizeof(real));
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
        if (t->outside)
            shorten(t, f, row);
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
