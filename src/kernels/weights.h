/* The weights as training keeps them, and what becomes of their gradients.

   For register tiles a matrix M (k, d) and its optimizer state live packed: `by_d`, panels of M over its d columns, which the update writes. Products
   read operands: `operands_by_d`, the same panels, for H M, and `operands_by_k`, panels of M^T over its k columns, for X M^T. In full precision the
   first is `by_d` itself. What is a copy is refreshed from it, strip by strip, while a strip is in cache. State has the form `by_d`. For BLAS they stay
   row-major in the caller's arrays. */
#ifndef AEFAST_WEIGHTS_H
#define AEFAST_WEIGHTS_H

#include "blas.h"
#include "optimizers.h"
#include "forms.h"
#include "workspace.h"

enum { STRIP_ROWS = 9 * PANEL, MOST_STATES = 2 };

typedef struct {
    int64_t at;     /* of the matrix in the flat layout */
    real *rows;     /* (k, d), the caller's */
    real *state_rows[MOST_STATES];
    real *by_d;     /* [padded(d) / PANEL][k][PANEL] */
    operand *operands_by_d; /* [padded(d) / PANEL][grouped(k) / GROUP][PANEL][GROUP] */
    operand *operands_by_k; /* [padded(k) / PANEL][padded(d) / GROUP][PANEL][GROUP] */
    real *state_by_d[MOST_STATES];
} weight_matrix;

static weight_matrix carve_matrix(const training_job *job, arena *packed, void *rows, int64_t at)
{
    int64_t d = job->model.n_features, k = job->model.n_components;
    weight_matrix m = {.at = at, .rows = (real *)rows};
    for (int i = 0; i < MOST_STATES; ++i)
        m.state_rows[i] = job->state[i] ? (real *)job->state[i] + at : 0;
    if (!job->tiled)
        return m;
    m.by_d = CARVE(packed, real, padded(d) * k);
    m.operands_by_d = GROUP == 1 ? (operand *)m.by_d : CARVE(packed, operand, padded(d) * grouped(k));
    m.operands_by_k = CARVE(packed, operand, padded(k) * padded(d));
    for (int i = 0; i < MOST_STATES; ++i)
        m.state_by_d[i] = job->state[i] ? CARVE(packed, real, padded(d) * k) : 0;
    return m;
}

/* operands <- by_d for rows [row, row + n) of panel j; row is a multiple of PANEL. */
static void refresh_operands(const training_job *job, const weight_matrix *m, int64_t j, int64_t row, int64_t n)
{
    int64_t d = job->model.n_features, k = job->model.n_components;
    for (int64_t i = row; i < row + n; i += PANEL)
        make_transposed_form(min_i64(PANEL, row + n - i), m->by_d + (j * k + i) * PANEL, m->operands_by_d + (j * grouped(k) + i) * PANEL,
                             m->operands_by_k + (i * padded(d) + j * PANEL * PANEL));
}

static void pack_matrix(const training_job *job, const weight_matrix *m)
{
    int64_t d = job->model.n_features, k = job->model.n_components;
    memset(m->operands_by_k, 0, (size_t)(padded(k) * padded(d)) * sizeof(operand));
    for (int64_t j = 0; j < n_panels(d); ++j) {
        pack_panel(k, d - j * PANEL, m->rows + j * PANEL, d, m->by_d + j * k * PANEL);
        refresh_operands(job, m, j, 0, k);
        for (int i = 0; i < MOST_STATES; ++i)
            if (m->state_rows[i])
                pack_panel(k, d - j * PANEL, m->state_rows[i] + j * PANEL, d, m->state_by_d[i] + j * k * PANEL);
    }
}

static void unpack_matrix(const training_job *job, const weight_matrix *m)
{
    int64_t d = job->model.n_features, k = job->model.n_components;
    for (int64_t j = 0; j < n_panels(d); ++j) {
        unpack_panel(k, d - j * PANEL, m->by_d + j * k * PANEL, m->rows + j * PANEL, d);
        for (int i = 0; i < MOST_STATES; ++i)
            if (m->state_rows[i])
                unpack_panel(k, d - j * PANEL, m->state_by_d[i] + j * k * PANEL, m->state_rows[i] + j * PANEL, d);
    }
}

/* ---- gradients meet parameters ---- */

/* gradient += alpha w. Returns alpha/2 * the sum of squares of w. */
static double add_l2_penalty(real alpha, const real *w, real *gradient, int64_t n)
{
    vec squares = {0};
    for (int64_t j = 0; j < n; j += LANES) {
        int64_t left = n - j;
        vec v = vec_load_n(w + j, left);
        squares = vec_fma(v, v, squares);
        vec_store_n(gradient + j, vec_fma(vec_set(alpha), v, vec_load_n(gradient + j, left)), left);
    }
    return 0.5 * (double)alpha * vec_sum(squares);
}

/* w *= factor */
static void scale_run(real factor, real *w, int64_t n)
{
    for (int64_t j = 0; j < n; j += LANES)
        vec_store_n(w + j, vec_set(factor) * vec_load_n(w + j, n - j), n - j);
}

/* Moves a run of n parameters. */
static void update_run(const training_job *job, const step_constants *constants, real *w, real *gradient, real *const *state, int64_t offset, int64_t n)
{
    solvers[job->solver].update(constants, w + offset, gradient, state[0] ? state[0] + offset : 0, state[1] ? state[1] + offset : 0, n);
}

/* Moves a run of n weights. Returns their penalty. */
static double update_weights(const training_job *job, const step_constants *constants, real *w, real *gradient, real *const *state, int64_t offset, int64_t n)
{
    double penalty = job->alpha != 0 ? add_l2_penalty((real)job->alpha, w + offset, gradient, n) : 0;
    if (constants->decay != 1)
        scale_run(constants->decay, w + offset, n);
    update_run(job, constants, w, gradient, state, offset, n);
    return penalty;
}

static void keep_gradient(const training_job *job, int64_t at, const real *gradient, int64_t n)
{
    for (int64_t j = 0; j < n; ++j)
        job->gradients[at + j] += (double)gradient[j];
}

/* The block of a matrix's gradient, row-major with distance `ld`, from BLAS. Returns the penalty. */
static double use_gradient_rows(const training_job *job, const step_constants *constants, const weight_matrix *m, const block *at, real *gradient, int64_t ld)
{
    double penalty = 0;
    for (int64_t r = 0; r < at->n_rows; ++r, gradient += ld) {
        int64_t offset = (at->row + r) * job->model.n_features + at->column;
        if (job->gradients)
            keep_gradient(job, m->at + offset, gradient, at->n_columns);
        else
            penalty += update_weights(job, constants, m->rows, gradient, m->state_rows, offset, at->n_columns);
    }
    return penalty;
}

/* Rows [row, row + n) of panel j of a matrix's gradient, (n, PANEL), from register tiles. Returns the penalty. */
static double use_gradient_strip(const training_job *job, const step_constants *constants, const weight_matrix *m, int64_t j, int64_t row, int64_t n,
                                 real *gradient)
{
    int64_t d = job->model.n_features, k = job->model.n_components;
    if (job->gradients) {
        for (int64_t r = 0; r < n; ++r)
            keep_gradient(job, m->at + (row + r) * d + j * PANEL, gradient + r * PANEL, min_i64(PANEL, d - j * PANEL));
        return 0;
    }
    double penalty = update_weights(job, constants, m->by_d, gradient, m->state_by_d, (j * k + row) * PANEL, n * PANEL);
    refresh_operands(job, m, j, row, n);
    return penalty;
}

#endif
