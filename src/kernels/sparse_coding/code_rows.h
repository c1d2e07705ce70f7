/* Coding of rows. A block of rows is loaded and multiplied by D^T; the algorithm computes the code
   of each row; the duality gap of each code is computed anew from the row, and codes that miss the
   tolerance are improved; the codes are written out, dense or sparse.

   Members take the next block when they have finished one: a row's code does not depend on the
   other rows of its block, on its thread or on its call. */
#ifndef AEFAST_CODE_ROWS_H
#define AEFAST_CODE_ROWS_H

#include "kernels/sparse_coding/active_set.h"
#include "kernels/sparse_coding/descent.h"
#include "kernels/sparse_coding/homotopy.h"
#include "kernels/sparse_coding/proximal.h"
#include "kernels/sparse_coding/pursuit.h"

enum {
    /* Sweeps of coordinate descent before an active set completes rows that have not converged. */
    FIRST_SWEEPS = 4,
    /* Largest number of events of a path, or rounds of an active set, for each atom that can be
       active. */
    EVENTS_PER_ATOM = 16
};

/* The buffers of one thread. */
typedef struct {
    const coding_job *job;
    const dictionary_forms *dictionary;
    row_problem rows[CODED_ROWS];
    /* (CODED_ROWS, ld_d): rows and residuals. */
    real *X, *R;
    /* (CODED_ROWS, ld_k): correlations of rows and of residuals, and codes. */
    real *C, *Q, *H;
    /* (ld_k): the code before an attempt to improve it. */
    real *previous;
    /* (ld_k): scratch memory of coordinate descent. */
    int64_t *active;
    /* Memory of the algorithms; only what the selected algorithm uses is carved. */
    active_set set;
    path path;
    pursuit pursuit;
    proximal steps;
    int status;
} worker;

typedef struct {
    coding_job *job;
    dictionary_forms dictionary;
    /* Where the members' buffers begin. */
    arena members;
    /* The next block to be taken by a member. */
    _Atomic int64_t next_block;
} coding_pass;

typedef struct {
    algorithm_info info;
    /* Computes the codes of n rows in place, starting from the values of their h. */
    void (*solve)(worker *, int64_t n);
    /* Whether a pursuit is order-recursive. */
    int is_recursive;
} algorithm;

/* ---- the algorithms ---- */

static int64_t most_events(const dictionary_forms *f)
{
    return EVENTS_PER_ATOM * min_i64(f->d, f->k) + EVENTS_PER_ATOM;
}

static void solve_by_path(worker *w, int64_t n)
{
    for (int64_t i = 0; i < n; ++i)
        follow_from_nothing(&w->path, w->rows + i, most_events(w->dictionary));
}

static void solve_by_least_angles(worker *w, int64_t n)
{
    w->path.n_kept = w->job->n_nonzero;
    solve_by_path(w, n);
}

/* Compute the residual and q of a code anew. Returns its relative gap. */
static double evaluate(const row_problem *p)
{
    const dictionary_forms *f = p->dictionary;
    compute_residual(p);
    product_panels(1, n_panels(f->k), f->d, p->residual, f->ld_d, f->by_component, padded(f->d),
                   p->q, f->ld_k);
    return relative_gap(p, dot(p->residual, p->residual, f->d));
}

static void solve_by_descent(worker *w, int64_t n)
{
    for (int64_t i = 0; i < n; ++i) {
        row_problem *p = w->rows + i;
        if (w->job->init)
            evaluate(p);
        else
            memcpy(p->q, p->c, (size_t)w->dictionary->ld_k * sizeof(real));
        if (!descend(p, 0.5 * w->job->tol, w->active, min_i64(FIRST_SWEEPS, w->job->max_iter)))
            solve_active(&w->set, p, most_events(w->dictionary));
    }
}

static void solve_by_active_set(worker *w, int64_t n)
{
    for (int64_t i = 0; i < n; ++i)
        solve_active(&w->set, w->rows + i, most_events(w->dictionary));
}

static void solve_by_pursuit(worker *w, int64_t n)
{
    for (int64_t i = 0; i < n; ++i)
        pursue(&w->pursuit, w->rows + i);
}

static void solve_by_ista(worker *w, int64_t n) { take_proximal_steps(&w->steps, w->rows, n, 0); }
static void solve_by_fista(worker *w, int64_t n) { take_proximal_steps(&w->steps, w->rows, n, 1); }

static void solve_by_threshold(worker *w, int64_t n)
{
    ivec mask = magnitude_mask(w->job->positive), sign = (ivec)vec_set((real)-0.0);
    for (int64_t i = 0; i < n; ++i)
        for (int64_t v = 0; v < w->dictionary->ld_k; v += LANES) {
            vec c = vec_load(w->rows[i].c + v),
                size = magnitude(c, mask) - vec_set(w->rows[i].alpha);
            vec_store(w->rows[i].h + v,
                      (vec)(((ivec)size | ((ivec)c & sign)) & (size > vec_set(0))));
        }
}

static const algorithm algorithms[] = {
    {.info = {.name = "lasso_active", .has_gap = 1, .starts = 1}, .solve = solve_by_active_set},
    {.info = {.name = "lasso_cd", .has_gap = 1, .starts = 1}, .solve = solve_by_descent},
    {.info = {.name = "lasso_lars", .has_gap = 1, .starts = 0}, .solve = solve_by_path},
    {.info = {.name = "lars", .has_gap = 0, .starts = 0, .pursues = 1},
     .solve = solve_by_least_angles},
    {.info = {.name = "omp", .has_gap = 0, .starts = 0, .pursues = 1}, .solve = solve_by_pursuit},
    {.info = {.name = "ormp", .has_gap = 0, .starts = 0, .pursues = 1},
     .solve = solve_by_pursuit,
     .is_recursive = 1},
    {.info = {.name = "fista", .has_gap = 1, .starts = 1}, .solve = solve_by_fista},
    {.info = {.name = "ista", .has_gap = 1, .starts = 1}, .solve = solve_by_ista},
    {.info = {.name = "threshold", .has_gap = 0, .starts = 0}, .solve = solve_by_threshold},
};

/* ---- buffers ---- */

static worker carve_worker(const coding_pass *pass, arena *a)
{
    const dictionary_forms *f = &pass->dictionary;
    const coding_job *job = pass->job;
    worker w = {.job = job, .dictionary = f, .status = STATUS_OK};
    w.X = CARVE(a, real, CODED_ROWS * f->ld_d);
    w.R = CARVE(a, real, CODED_ROWS * f->ld_d);
    w.C = CARVE(a, real, CODED_ROWS * f->ld_k);
    w.Q = CARVE(a, real, CODED_ROWS * f->ld_k);
    w.H = CARVE(a, real, CODED_ROWS * f->ld_k);
    w.previous = CARVE(a, real, f->ld_k);
    w.active = CARVE(a, int64_t, f->ld_k);
    void (*solve)(worker *, int64_t) = algorithms[job->algorithm].solve;
    if (solve == solve_by_path || solve == solve_by_least_angles || solve == solve_by_descent ||
        solve == solve_by_active_set)
        w.path = carve_path(f, a);
    if (solve == solve_by_descent || solve == solve_by_active_set)
        w.set = carve_active_set(f, a);
    if (algorithms[job->algorithm].info.pursues)
        w.pursuit = carve_pursuit(f, job->n_nonzero, algorithms[job->algorithm].is_recursive, a);
    if (solve == solve_by_ista || solve == solve_by_fista)
        w.steps = carve_proximal(f, a);
    return w;
}

static coding_pass carve_coding_pass(coding_job *job, void *workspace)
{
    coding_pass pass = {.job = job,
                        .dictionary = carve_dictionary(&job->dictionary),
                        .members = arena_at(workspace)};
    return pass;
}

static int64_t coding_workspace_bytes(const coding_job *job)
{
    coding_job measured = *job;
    coding_pass pass = carve_coding_pass(&measured, 0);
    for (int i = 0; i < job->n_threads; ++i)
        carve_worker(&pass, &pass.members);
    return arena_bytes(&pass.members);
}

/* ---- one block ---- */

/* Load the row at a place into x. A row that is invalid or whose norm overflows is replaced by 0.
   Returns a status. */
static int load_problem(worker *w, row_problem *p, real *x, int64_t place)
{
    const dictionary_forms *f = w->dictionary;
    int status = load_row(&w->job->rows, place, 0, f->d, x);
    memset(x + f->d, 0, (size_t)(f->ld_d - f->d) * sizeof(real));
    p->x_norm2 = dot(x, x, f->d);
    if (status == STATUS_OK && !(p->x_norm2 - p->x_norm2 == 0))
        status = STATUS_NOT_FINITE;
    if (status != STATUS_OK) {
        memset(x, 0, (size_t)f->d * sizeof(real));
        p->x_norm2 = 0;
    }
    return status;
}

/* Load the code from which the row at a place starts. */
static void load_start(const worker *w, real *h, int64_t place)
{
    const dictionary_forms *f = w->dictionary;
    memset(h, 0, (size_t)f->ld_k * sizeof(real));
    if (!w->job->init)
        return;
    const real *init = (const real *)w->job->init + place * f->k,
               *weights = (const real *)w->job->weights;
    for (int64_t j = 0; j < f->k; ++j) {
        real code = weights ? init[j] * weights[j] : init[j];
        h[j] = w->job->positive && !(code > 0) ? 0 : code;
    }
}

/* c <- x D^T for n rows in CSR form, by their entries. A sum has at most DEPTH terms before it is
   added to a sum of sums. */
static void correlate_entries(worker *w, int64_t first, int64_t n)
{
    const dictionary_forms *f = w->dictionary;
    const rows_view *rows = &w->job->rows;
    for (int64_t i = 0; i < n; ++i) {
        entry_range at = entries_of_row(rows, first + i);
        const real *x = w->rows[i].x; /* 0 where the row could not be used */
        real *c = w->C + i * f->ld_k;
        for (int64_t q = 0; q < n_panels(f->k); ++q) {
            const real *D = f->by_component + q * padded(f->d) * PANEL;
            vec low = {0}, high = {0};
            for (int64_t begin = at.begin; begin < at.end; begin += DEPTH) {
                vec part_low = {0}, part_high = {0};
                for (int64_t e = begin; e < min_i64(at.end, begin + DEPTH); ++e) {
                    int64_t column = column_at(rows, e);
                    vec value = vec_set(x[column]);
                    part_low = vec_fma(value, vec_load(D + column * PANEL), part_low);
                    part_high = vec_fma(value, vec_load(D + column * PANEL + LANES), part_high);
                }
                low += part_low;
                high += part_high;
            }
            vec_store(c + q * PANEL, low);
            vec_store(c + q * PANEL + LANES, high);
        }
    }
}

static void load_block(worker *w, int64_t first, int64_t n)
{
    const dictionary_forms *f = w->dictionary;
    for (int64_t i = 0; i < n; ++i) {
        real *x = w->X + i * f->ld_d, *h = w->H + i * f->ld_k;
        w->rows[i] = (row_problem){.dictionary = f,
                                   .job = w->job,
                                   .alpha = (real)w->job->alpha,
                                   .x = x,
                                   .c = w->C + i * f->ld_k,
                                   .h = h,
                                   .q = w->Q + i * f->ld_k,
                                   .residual = w->R + i * f->ld_d};
        w->status |= load_problem(w, w->rows + i, x, first + i);
        load_start(w, h, first + i);
    }
    if (w->job->rows.row_begin)
        correlate_entries(w, first, n);
    else
        product_panels(n, n_panels(f->k), f->d, w->X, f->ld_d, f->by_component, padded(f->d), w->C,
                       f->ld_k);
}

/* Improve a code until its gap is small enough or max_iter sweeps are used up, by paths, in turn
   from nothing and from the present code, with sweeps of coordinate descent between them. A path
   can break down where atoms depend on each other. A sweep never increases the objective, but it
   may increase the gap, and the gap that `descend` computes is subject to rounding: therefore its
   goal is halved each time. Returns the gap. */
static double improve(worker *w, row_problem *p, double gap)
{
    size_t bytes = (size_t)w->dictionary->ld_k * sizeof(real);
    int from_nothing = algorithms[w->job->algorithm].solve != solve_by_path;
    double goal = w->job->tol;
    int64_t sweeps = FIRST_SWEEPS;
    for (int64_t left = w->job->max_iter; gap > w->job->tol && left > 0;
         left -= sweeps, sweeps *= 2) {
        memcpy(w->previous, p->h, bytes);
        if (from_nothing)
            follow_from_nothing(&w->path, p, most_events(w->dictionary));
        else
            follow_from_code(&w->path, p, most_events(w->dictionary));
        from_nothing = !from_nothing;
        double after = evaluate(p);
        if (after <= w->job->tol)
            return after;
        if (!(after < gap)) {
            memcpy(p->h, w->previous, bytes);
            evaluate(p);
        }
        goal /= 2;
        descend(p, goal, w->active, min_i64(sweeps, left));
        gap = evaluate(p);
    }
    return gap;
}

/* Compute the gaps of n codes anew, and improve codes whose gap exceeds the tolerance. */
static void hold_to_gap(worker *w, int64_t first, int64_t n)
{
    const dictionary_forms *f = w->dictionary;
    for (int64_t i = 0; i < n; ++i)
        compute_residual(w->rows + i);
    product_panels(n, n_panels(f->k), f->d, w->R, f->ld_d, f->by_component, padded(f->d), w->Q,
                   f->ld_k);
    for (int64_t i = 0; i < n; ++i) {
        row_problem *p = w->rows + i;
        double gap = relative_gap(p, dot(p->residual, p->residual, f->d));
        if (gap > w->job->tol && w->path.rate)
            gap = improve(w, p, gap);
        w->job->gaps[first + i] = gap;
    }
}

/* Write the nonzero entries of row i's code, in rising order of their indices. */
static void write_sparse(const worker *w, const real *h, int64_t i)
{
    int64_t k = w->dictionary->k, n = 0;
    int32_t *indices = w->job->indices + i * w->job->width;
    real *values = (real *)w->job->values + i * w->job->width;
    for (int64_t v = 0; v < k; v += LANES) {
        if (!any_lane(vec_load(h + v) != vec_set(0)))
            continue;
        for (int64_t j = v; j < min_i64(v + LANES, k); ++j)
            if (h[j] != 0) {
                indices[n] = (int32_t)j;
                values[n++] = h[j];
            }
    }
    w->job->counts[i] = n;
}

static void write_objectives(worker *w, int64_t first, int64_t n)
{
    real penalty = algorithms[w->job->algorithm].info.pursues ? 0 : (real)w->job->alpha;
    for (int64_t i = 0; i < n; ++i) {
        const row_problem *p = w->rows + i;
        compute_residual(p);
        vec sum = {0};
        for (int64_t v = 0; v < w->dictionary->ld_k; v += LANES)
            sum += vec_abs(vec_load(p->h + v));
        w->job->objectives[first + i] = 0.5 * (double)dot(p->residual, p->residual,
                                                          w->dictionary->d) +
                                        (double)penalty * vec_sum(sum);
    }
}

static void write_block(worker *w, int64_t first, int64_t n)
{
    const dictionary_forms *f = w->dictionary;
    const real *weights = (const real *)w->job->weights;
    for (int64_t i = 0; i < n; ++i) {
        real *h = w->rows[i].h;
        for (int64_t j = 0; j < f->k; ++j) {
            if (weights && h[j] != 0)
                h[j] /= weights[j];
            if (!(h[j] - h[j] == 0))
                w->status |= STATUS_NOT_FINITE;
        }
        if (w->job->codes)
            memcpy((real *)w->job->codes + (first + i) * f->k, h, (size_t)f->k * sizeof(real));
        else
            write_sparse(w, h, first + i);
    }
}

static void code_member(void *context, member m)
{
    coding_pass *pass = (coding_pass *)context;
    arena a = pass->members;
    worker w = carve_worker(pass, &a);
    for (int i = 0; i < m.index; ++i)
        w = carve_worker(pass, &a);
    if (w.set.inverse)
        clear_active_set(&w.set, w.dictionary);
    int64_t n_rows = pass->job->rows.n_rows;
    for (int64_t first;
         (first = atomic_fetch_add_explicit(&pass->next_block, 1, memory_order_relaxed) *
                  CODED_ROWS) < n_rows;) {
        int64_t n = min_i64(CODED_ROWS, n_rows - first);
        load_block(&w, first, n);
        algorithms[pass->job->algorithm].solve(&w, n);
        if (algorithms[pass->job->algorithm].info.has_gap)
            hold_to_gap(&w, first, n);
        if (pass->job->objectives)
            write_objectives(&w, first, n);
        write_block(&w, first, n);
    }
#ifdef _OPENMP
#pragma omp atomic
#endif
    pass->job->status |= w.status;
    team_barrier(m);
}

static void code(coding_job *job)
{
    coding_pass pass = carve_coding_pass(job, job->workspace);
    job->status = STATUS_OK;
    team_run(job->n_threads, FLOAT_MODE_IEEE, code_member, &pass);
}

#endif
