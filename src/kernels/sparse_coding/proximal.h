/* The lasso by proximal gradient steps on a block of rows, two products a step:
       ISTA    H <- soft(H + step (X - H D) D^T, step alpha)
       FISTA   the same from Y, which is ahead of H by momentum (Beck & Teboulle 2009, eq. 4.1
   to 4.3), restarted where the momentum points uphill (O'Donoghue & Candes 2015, eq. 12) Rows that
   are done leave the block; each row's arithmetic is its own. */
#ifndef AEFAST_PROXIMAL_H
#define AEFAST_PROXIMAL_H

#include "kernels/sparse_coding/coder.h"

enum {
    CODED_ROWS = 24,
    CHECK_EVERY = 10
}; /* rows of a block: whole tiles of 6 and of 12; steps between two looks at the gap */

typedef struct {
    real *H, *Y, *Q;         /* (CODED_ROWS, ld_k) */
    real *X, *R;             /* (CODED_ROWS, ld_d) */
    double t[CODED_ROWS];    /* FISTA's sequence */
    int64_t row[CODED_ROWS]; /* of the block, for each row here */
} proximal;

static proximal carve_proximal(const dictionary_forms *f, arena *a)
{
    proximal s = {0};
    s.H = CARVE(a, real, CODED_ROWS * f->ld_k);
    s.Y = CARVE(a, real, CODED_ROWS * f->ld_k);
    s.Q = CARVE(a, real, CODED_ROWS * f->ld_k);
    s.X = CARVE(a, real, CODED_ROWS * f->ld_d);
    s.R = CARVE(a, real, CODED_ROWS * f->ld_d);
    return s;
}

/* R = X - H D, Q = R D^T for n rows of codes. */
static void correlate(const proximal *s, const dictionary_forms *f, int64_t n, const real *H)
{
    product_panels(n, n_panels(f->d), f->k, H, f->ld_k, f->by_feature, f->k, s->R, f->ld_d);
    for (int64_t i = 0; i < n; ++i)
        for (int64_t v = i * f->ld_d; v < i * f->ld_d + padded(f->d); v += LANES)
            vec_store(s->R + v, vec_load(s->X + v) - vec_load(s->R + v));
    product_panels(n, n_panels(f->k), f->d, s->R, f->ld_d, f->by_component, padded(f->d), s->Q,
                   f->ld_k);
}

/* h becomes the step from y, whose correlations are q; q becomes the h that was. Returns (y - h) .
   (h - q): positive where the momentum points uphill. y may be h. */
static double step_row(const row_problem *p, const real *y, real *h, real *q)
{
    ivec mask = magnitude_mask(p->job->positive), sign = (ivec)vec_set((real)-0.0);
    vec step = vec_set((real)p->job->step), bound = vec_set((real)p->job->step * p->alpha),
        uphill = {0};
    for (int64_t v = 0; v < p->dictionary->ld_k; v += LANES) {
        vec from = vec_load(y + v), before = vec_load(h + v),
            z = vec_fma(step, vec_load(q + v), from);
        vec size = magnitude(z, mask) - bound,
            code = (vec)(((ivec)size | ((ivec)z & sign)) & (size > vec_set(0)));
        vec_store(h + v, code);
        vec_store(q + v, before);
        uphill = vec_fma(from - code, code - before, uphill);
    }
    return vec_sum(uphill);
}

static void extrapolate(const real *h, const real *h_before, real momentum, real *y, int64_t n)
{
    for (int64_t v = 0; v < n; v += LANES) {
        vec now = vec_load(h + v);
        vec_store(y + v, vec_fma(vec_set(momentum), now - vec_load(h_before + v), now));
    }
}

/* The last of n problems takes place i. */
static void move_last(proximal *s, const dictionary_forms *f, int64_t last, int64_t i)
{
    if (i == last)
        return;
    memcpy(s->H + i * f->ld_k, s->H + last * f->ld_k, (size_t)f->ld_k * sizeof(real));
    memcpy(s->Y + i * f->ld_k, s->Y + last * f->ld_k, (size_t)f->ld_k * sizeof(real));
    memcpy(s->X + i * f->ld_d, s->X + last * f->ld_d, (size_t)f->ld_d * sizeof(real));
    s->t[i] = s->t[last];
    s->row[i] = s->row[last];
}

/* Hands all codes on; rows whose gap is small enough leave. Returns how many stay. */
static int64_t retire(proximal *s, const row_problem *rows, int64_t n)
{
    const dictionary_forms *f = rows->dictionary;
    correlate(s, f, n, s->H);
    for (int64_t i = n - 1; i >= 0; --i) {
        const real *r = s->R + i * f->ld_d;
        row_problem p = rows[s->row[i]];
        memcpy(p.h, s->H + i * f->ld_k, (size_t)f->ld_k * sizeof(real));
        p.q = s->Q + i * f->ld_k;
        if (relative_gap(&p, dot(r, r, f->d)) <=
            0.9 * p.job->tol) /* it is computed once more in the end */
            move_last(s, f, --n, i);
    }
    return n;
}

static void step_ahead(proximal *s, const row_problem *p, int64_t i)
{
    int64_t ld_k = p->dictionary->ld_k;
    real *y = s->Y + i * ld_k, *h = s->H + i * ld_k, *before = s->Q + i * ld_k;
    if (step_row(p, y, h, before) > 0) {
        s->t[i] = 1;
        memcpy(y, h, (size_t)ld_k * sizeof(real));
        return;
    }
    double t = s->t[i], next = (1 + sqrt(1 + 4 * t * t)) / 2;
    extrapolate(h, before, (real)((t - 1) / next), y, ld_k);
    s->t[i] = next;
}

/* Codes of n rows, from rows[i].h on. */
static void take_proximal_steps(proximal *s, const row_problem *rows, int64_t n, int ahead)
{
    const dictionary_forms *f = rows->dictionary;
    for (int64_t i = 0; i < n; ++i) {
        memcpy(s->H + i * f->ld_k, rows[i].h, (size_t)f->ld_k * sizeof(real));
        memcpy(s->Y + i * f->ld_k, rows[i].h, (size_t)f->ld_k * sizeof(real));
        memcpy(s->X + i * f->ld_d, rows[i].x, (size_t)f->ld_d * sizeof(real));
        s->t[i] = 1;
        s->row[i] = i;
    }
    for (int64_t step = 0;
         (n = step % CHECK_EVERY == 0 ? retire(s, rows, n) : n) > 0 && step < rows->job->max_iter;
         ++step) {
        correlate(s, f, n, ahead ? s->Y : s->H);
        for (int64_t i = 0; i < n; ++i)
            if (ahead)
                step_ahead(s, rows + s->row[i], i);
            else
                step_row(rows + s->row[i], s->H + i * f->ld_k, s->H + i * f->ld_k,
                         s->Q + i * f->ld_k);
    }
    if (rows->job->max_iter % CHECK_EVERY)
        retire(s, rows, n);
}

#endif
