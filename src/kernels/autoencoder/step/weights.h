/* The forms in which training keeps weights, and the use of their gradients.

   For register tiles, a matrix M (k, d) and its optimizer state are packed. `by_d` has panels of
   M over its d columns; updates write it, and the state has its form. Products read operands:
   `operands_by_d`, the same panels, for H M, and `operands_by_k`, panels of M^T over its k
   columns, for X M^T. In full precision `operands_by_d` is `by_d` itself. Copies are refreshed
   from `by_d` strip by strip, while a strip is in cache. For BLAS, weights and state stay
   row-major, in the caller's arrays. */
#ifndef AEFAST_WEIGHTS_H
#define AEFAST_WEIGHTS_H

#include "kernels/autoencoder/tables/optimizers.h"
#include "kernels/base/workspace.h"
#include "kernels/products/blas.h"
#include "kernels/products/forms.h"

enum { STRIP_ROWS = 9 * PANEL };

typedef struct weight_matrix {
    /* Offset of the matrix in the flat layout. */
    int64_t at;
    /* (k, d): the caller's arrays of weights and state. */
    real *rows;
    real *state_rows[MOST_STATES];
    /* [padded(d) / PANEL][k][PANEL] */
    real *by_d;
    /* [padded(d) / PANEL][grouped(k) / GROUP][PANEL][GROUP] */
    operand *operands_by_d;
    /* [padded(k) / PANEL][padded(d) / GROUP][PANEL][GROUP] */
    operand *operands_by_k;
    real *state_by_d[MOST_STATES];
    /* The gradient in the form of the weights, where it is stored before they move (see
       stores_gradient); else NULL. */
    real *gradient;
    /* [row_panels][k]: for each row, sums of squares of runs of its columns, collected when they
       are updated; NULL without max_norm. */
    double *row_squares;
} weight_matrix;

/* Return whether the gradient of all parameters is stored before any of them moves: because its
   norm may have to be clipped, or because the solver's step follows from the gradient of a whole
   matrix. Otherwise each block of weights moves as soon as its gradient is complete. */
static inline int stores_gradient(const training_job *job)
{
    return !job->gradients && (job->hyper.clip_norm > 0 || job->stores_gradient ||
                               solvers[job->hyper.solver].info.whole_gradient);
}

/* Return the number of columns whose squares are summed together in each row, and the number of
   such runs of columns. Blocks of the BLAS phases begin at multiples of row_panel too. */
static inline int64_t row_panel(const training_job *job)
{
    return job->tiled ? PANEL : COLUMN_UNIT;
}
static inline int64_t row_panels(const training_job *job)
{
    return ceil_div(job->model.n_features, row_panel(job));
}

/* Reserve the packed forms of a matrix and of its state, and what else training stores for it. */
static weight_matrix carve_matrix(const training_job *job, arena *packed, void *rows, int64_t at)
{
    int64_t d = job->model.n_features, k = job->model.n_components;
    weight_matrix m = {.at = at, .rows = (real *)rows};
    for (int i = 0; i < MOST_STATES; ++i)
        m.state_rows[i] = job->state[i] ? (real *)job->state[i] + at : 0;
    int64_t size = job->tiled ? padded(d) * k : d * k;
    m.gradient = stores_gradient(job) ? CARVE(packed, real, size) : 0;
    m.row_squares = job->hyper.max_norm > 0 ? CARVE(packed, double, row_panels(job) * k) : 0;
    if (!job->tiled)
        return m;
    m.by_d = CARVE(packed, real, padded(d) * k);
    m.operands_by_d = GROUP == 1 ? (operand *)m.by_d
                                 : CARVE(packed, operand, padded(d) * grouped(k));
    m.operands_by_k = CARVE(packed, operand, padded(k) * padded(d));
    for (int i = 0; i < MOST_STATES; ++i)
        m.state_by_d[i] = job->state[i] ? CARVE(packed, real, padded(d) * k) : 0;
    return m;
}

/* Refresh the operands from by_d, for rows [row, row + n) of panel j; row is a multiple of
   PANEL. */
static void refresh_operands(const training_job *job, const weight_matrix *m, int64_t j,
                             int64_t row, int64_t n)
{
    int64_t d = job->model.n_features, k = job->model.n_components;
    for (int64_t i = row; i < row + n; i += PANEL)
        make_transposed_form(min_i64(PANEL, row + n - i), m->by_d + (j * k + i) * PANEL,
                             m->operands_by_d + (j * grouped(k) + i) * PANEL,
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
                pack_panel(k, d - j * PANEL, m->state_rows[i] + j * PANEL, d,
                           m->state_by_d[i] + j * k * PANEL);
    }
}

static void unpack_matrix(const training_job *job, const weight_matrix *m)
{
    int64_t d = job->model.n_features, k = job->model.n_components;
    for (int64_t j = 0; j < n_panels(d); ++j) {
        unpack_panel(k, d - j * PANEL, m->by_d + j * k * PANEL, m->rows + j * PANEL, d);
        for (int i = 0; i < MOST_STATES; ++i)
            if (m->state_rows[i])
                unpack_panel(k, d - j * PANEL, m->state_by_d[i] + j * k * PANEL,
                             m->state_rows[i] + j * PANEL, d);
    }
}

/* ---- norms of rows ---- */

static double sum_of_squares(const real *x, int64_t n)
{
    vec squares = {0};
    for (int64_t j = 0; j < n; j += LANES) {
        vec v = vec_load_n(x + j, n - j);
        squares = vec_fma(v, v, squares);
    }
    return vec_sum(squares);
}

/* Collect the sums of squares of n rows from `row` on, in run j of their columns. The rows are
   `width` columns wide and stand ld apart. */
static void collect_row_squares(const training_job *job, const weight_matrix *m, int64_t j,
                                int64_t row, int64_t n, const real *w, int64_t ld, int64_t width)
{
    for (int64_t i = 0; i < n; ++i)
        m->row_squares[j * job->model.n_components + row + i] = sum_of_squares(w + i * ld, width);
}

/* Return the squared norm of a row. */
static double row_square(const training_job *job, const weight_matrix *m, int64_t row)
{
    double sum = 0;
    for (int64_t j = 0; j < row_panels(job); ++j)
        sum += m->row_squares[j * job->model.n_components + row];
    return sum;
}

/* ---- parameters move by their gradients ---- */

/* gradient += alpha w. Return alpha/2 times the sum of squares of w. */
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

/* Update a run of n parameters from `offset` on. */
static void update_run(const training_job *job, const step_constants *constants, real *w,
                       real *gradient, real *const *state, int64_t offset, int64_t n)
{
    solvers[job->hyper.solver].update(constants, w + offset, gradient,
                                      state[0] ? state[0] + offset : 0,
                                      state[1] ? state[1] + offset : 0, n);
}

/* Move the average of a run of n parameters from `offset` on, if there is one. */
static void average_run(const step_constants *constants, const real *w, real *const *state,
                        int64_t offset, int64_t n)
{
    if (state[AVERAGE])
        average_update(constants, state[AVERAGE] + offset, w + offset, n);
}

/* Update a run of n weights from `offset` on, which decay first. A direction in place of the
   gradient is one of plain descent. */
static void update_weights(const training_job *job, const step_constants *constants, real *w,
                           real *gradient, real *const *state, int64_t offset, int64_t n)
{
    if (constants->decay != 1)
        scale_run(constants->decay, w + offset, n);
    if (solvers[job->hyper.solver].direction)
        sgd_update(constants, w + offset, gradient, 0, 0, n);
    else
        update_run(job, constants, w, gradient, state, offset, n);
}

/* Return whether weights do not change where their gradient is 0. */
static int rests_without_gradient(const training_job *job, const step_constants *constants)
{
    const solver_entry *solver = &solvers[job->hyper.solver];
    int rests = solver->rests && !(solver->info.only_with_momentum && job->state[0]);
    return job->gradients ||
           (rests && job->hyper.alpha == 0 && constants->decay == 1 && !stores_gradient(job) &&
            job->hyper.max_norm == 0 && !job->state[AVERAGE]);
}

static void add_to_gradients(const training_job *job, int64_t at, const real *gradient, int64_t n)
{
    for (int64_t j = 0; j < n; ++j)
        job->gradients[at + j] += (double)gradient[j];
}

/* BLAS: update n weights of a row from `column` on by their gradient. */
static void move_row(const training_job *job, const step_constants *constants,
                     const weight_matrix *m, int64_t row, int64_t column, int64_t n, real *gradient)
{
    int64_t d = job->model.n_features;
    update_weights(job, constants, m->rows, gradient, m->state_rows, row * d + column, n);
    if (!m->row_squares)
        average_run(constants, m->rows, m->state_rows, row * d + column, n);
    for (int64_t j = column; m->row_squares && j < column + n; j += COLUMN_UNIT)
        collect_row_squares(job, m, j / COLUMN_UNIT, row, 1, m->rows + row * d + j, d,
                            min_i64(COLUMN_UNIT, column + n - j));
}

/* Register tiles: update rows [row, row + n) of panel j by their gradient (n, PANEL). */
static void move_strip(const training_job *job, const step_constants *constants,
                       const weight_matrix *m, int64_t j, int64_t row, int64_t n, real *gradient)
{
    int64_t offset = (j * job->model.n_components + row) * PANEL;
    update_weights(job, constants, m->by_d, gradient, m->state_by_d, offset, n * PANEL);
    if (m->row_squares)
        collect_row_squares(job, m, j, row, n, m->by_d + offset, PANEL, PANEL);
    else
        average_run(constants, m->by_d, m->state_by_d, offset, n * PANEL);
    refresh_operands(job, m, j, row, n);
}

/* ---- use of a block's gradient ----

   The gradient is added to `gradients`; or it is stored, and its squares are added to `squares`; or
   the weights move by it. The functions return the L2 penalty of the block. */

/* BLAS: use the gradient of a block, row-major with rows `ld` apart. */
static double use_gradient_rows(const training_job *job, const step_constants *constants,
                                const weight_matrix *m, const block *at, real *gradient, int64_t ld,
                                double *squares)
{
    double penalty = 0;
    for (int64_t r = 0; r < at->n_rows; ++r, gradient += ld) {
        int64_t offset = (at->row + r) * job->model.n_features + at->column, n = at->n_columns;
        if (job->gradients) {
            add_to_gradients(job, m->at + offset, gradient, n);
            continue;
        }
        penalty += job->hyper.alpha != 0
                       ? add_l2_penalty((real)job->hyper.alpha, m->rows + offset, gradient, n)
                       : 0;
        if (m->gradient) {
            memcpy(m->gradient + offset, gradient, (size_t)n * sizeof(real));
            *squares += sum_of_squares(gradient, n);
        } else {
            move_row(job, constants, m, at->row + r, at->column, n, gradient);
        }
    }
    return penalty;
}

/* Register tiles: use the gradient (n, PANEL) of rows [row, row + n) of panel j. */
static double use_gradient_strip(const training_job *job, const step_constants *constants,
                                 const weight_matrix *m, int64_t j, int64_t row, int64_t n,
                                 real *gradient, double *squares)
{
    int64_t d = job->model.n_features, offset = (j * job->model.n_components + row) * PANEL;
    if (job->gradients) {
        for (int64_t r = 0; r < n; ++r)
            add_to_gradients(job, m->at + (row + r) * d + j * PANEL, gradient + r * PANEL,
                             min_i64(PANEL, d - j * PANEL));
        return 0;
    }
    double penalty = job->hyper.alpha != 0 ? add_l2_penalty((real)job->hyper.alpha,
                                                            m->by_d + offset, gradient, n * PANEL)
                                           : 0;
    if (m->gradient) {
        memcpy(m->gradient + offset, gradient, (size_t)(n * PANEL) * sizeof(real));
        *squares += sum_of_squares(gradient, n * PANEL);
    } else {
        move_strip(job, constants, m, j, row, n, gradient);
    }
    return penalty;
}

#endif
