/* The lasso by proximal gradient steps on a block of rows, with two products in each step:
       ISTA    H <- soft(H + step (X - H D) D^T, step alpha)
       FISTA   H <- soft(Y + step (X - Y D) D^T, step alpha), where Y is H extrapolated by momentum
               (Beck & Teboulle 2009, eq. 4.1 to 4.3); the momentum restarts at 0 where it points
               uphill (O'Donoghue & Candes 2015, eq. 12).
   Rows that have converged leave the block. A row's arithmetic does not depend on the others. */
#ifndef AEFAST_PROXIMAL_H
#define AEFAST_PROXIMAL_H

#include "kernels/sparse_coding/coder.h"

enum {
    /* Rows in a block: a multiple of the tile heights 6 and 12. */
    CODED_ROWS = 24,
    /* Number of steps between two evaluations of the gap. */
    CHECK_EVERY = 10
};

/* The rows that have not converged yet. */
typedef struct {
    /* (CODED_ROWS, ld_k): codes, extrapolated codes, correlations of residuals. */
    real *H, *Y, *Q;
    /* (CODED_ROWS, ld_d): rows and residuals. */
    real *X, *R;
    /* FISTA's sequence t_k of each row. */
    double t[CODED_ROWS];
    /* Index of each row in the block. */
    int64_t row[CODED_ROWS];
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

/* Compute R = X - H D and Q = R D^T for n rows of codes H. */
static void correlate(const proximal *s, const dictionary_forms *f, int64_t n, const real *H)
{
    product_panels(n, n_panels(f->d), f->k, H, f->ld_k, f->by_feature, f->k, s->R, f->ld_d);
    for (int64_t i = 0; i < n; ++i)
        for (int64_t v = i * f->ld_d; v < i * f->ld_d + padded(f->d); v += LANES)
            vec_store(s->R + v, vec_load(s->X + v) - vec_load(s->R + v));
    product_panels(n, n_panels(f->k), f->d, s->R, f->ld_d, f->by_component, padded(f->d), s->Q,
                   f->ld_k);
}

/* Set h to the result of a step from y, where q is the correlations of y, and q to the old h.
   Returns (y - h) . (h - old h), which is positive where the momentum points uphill. y may be h. */
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

/* y = h + momentum (h - h_before). */
static void extrapolate(const real *h, const real *h_before, real momentum, real *y, int64_t n)
{
    for (int64_t v = 0; v < n; v += LANES) {
        vec now = vec_load(h + v);
        vec_store(y + v, vec_fma(vec_set(momentum), now - vec_load(h_before + v), now));
    }
}

/* Move the last row to place i. */
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

/* Write all codes to p.h of their rows, and remove rows whose gap is small enough. Returns the
   number of rows that remain. */
static int64_t retire(proximal *s, const row_problem *rows, int64_t n)
{
    const dictionary_forms *f = rows->dictionary;
    correlate(s, f, n, s->H);
    for (int64_t i = n - 1; i >= 0; --i) {
        const real *r = s->R + i * f->ld_d;
        row_problem p = rows[s->row[i]];
        memcpy(p.h, s->H + i * f->ld_k, (size_t)f->ld_k * sizeof(real));
        p.q = s->Q + i * f->ld_k;
        /* The factor 0.9 allows for rounding: the gap is computed anew in the end. */
        if (relative_gap(&p, dot(r, r, f->d)) <= 0.9 * p.job->tol)
            move_last(s, f, --n, i);
    }
    return n;
}

/* Take a step of FISTA with row i. */
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

/* Compute the codes of n rows, starting from rows[i].h, by FISTA if `ahead` is set and else by
 * ISTA. */
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
