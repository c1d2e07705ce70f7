/* The phases of a training step on BLAS, which is called single-threaded on blocks of row-major
   arrays. They are the portable path, and tests compare the phases for register tiles with them. */
#ifndef AEFAST_BLAS_PHASES_H
#define AEFAST_BLAS_PHASES_H

#include "kernels/autoencoder/step/code_phases.h"
#include "kernels/products/blas.h"

/* Return the division of a batch of n rows for BLAS. */
static batch_plan plan_blas(const training *t, int64_t n)
{
    batch_plan plan = {.n = n,
                       .stored_rows = n,
                       .hidden = make_blas_grid(n, t->k, (t->code ? t->code : t)->d),
                       .output = make_blas_grid(n, t->d, t->k),
                       .weights = make_blas_grid(t->k, t->d, n)};
    plan.n_losses = grid_size(&plan.output);
    plan.blocks_per_matrix = grid_size(&plan.weights);
    plan.n_code_losses = grid_size(&plan.hidden);
    plan.row_blocks_d = plan.output.row_blocks;
    plan.row_blocks_k = plan.hidden.row_blocks;
    return plan;
}

static row_entries row_in_rows(const training *t, const batch_plan *plan, real *activation,
                               int64_t columns, int64_t i)
{
    (void)t, (void)plan;
    return (row_entries){activation + i * columns, PANEL};
}

/* Load the rows of a batch, and make the encoder's inputs. Threads share the rows. */
static void load_rows(const training *t, member m, const batch_plan *plan, int64_t first)
{
    int64_t begin = share_begin(m, plan->n), end = share_end(m, plan->n);
    lookahead later = look_ahead(&t->job->rows, t->d, plan->n, first + begin, first + end);
    for (int64_t i = begin; i < end; ++i) {
        fetch_later_row(&t->job->rows, &later, first + i, t->d);
        t->members[m.index].bad_rows |= load_row(&t->job->rows, first + i, 0, t->d,
                                                 t->T + i * t->d);
        if (t->T != t->X)
            make_input(&t->job->inputs, t->d, t->job->inputs.first_sample + first + i,
                       row_in_rows(t, plan, t->T, t->d, i), row_in_rows(t, plan, t->X, t->d, i));
    }
}

/* H <- g(X W^T + b) */
static void hidden_by_blas(const training *t, member m, const batch_plan *plan, int64_t sample)
{
    int64_t d = t->d, k = t->k;
    for (work w = begin_work(m, t->shares, grid_size(&plan->hidden)); take_items(&w, 1);) {
        block at = grid_block(&plan->hidden, w.begin);
        real *A = t->H + at.row * k + at.column;
        blas_nt(t->job->gemm, at.n_rows, at.n_columns, d, t->X + at.row * d, d,
                t->W.rows + at.column * d, d, A, k);
        strip s = {.values = A,
                   .ld = k,
                   .n_rows = at.n_rows,
                   .n_columns = at.n_columns,
                   .bias = t->p.b + at.column};
        activate(t->job->model.activation, &s);
        if (finishes_codes(t))
            finish_code_strip(t, &s, t->clean + at.row * k + at.column,
                              t->code_sums ? t->code_sums + at.row_index * k + at.column : 0,
                              at.row, at.column, sample + at.row);
    }
}

/* E <- weight o dloss/deta at eta = R V + c; c_sums <- column sums */
static void output_by_blas(const training *t, member m, const batch_plan *plan)
{
    int64_t d = t->d, k = t->k;
    for (work w = begin_work(m, t->shares, grid_size(&plan->output)); take_items(&w, 1);) {
        block at = grid_block(&plan->output, w.begin);
        int64_t offset = at.row * d + at.column;
        blas_nn(t->job->gemm, at.n_rows, at.n_columns, k, t->R + at.row * k, k,
                t->V.rows + at.column, d, t->E + offset, d);
        strip s = {.values = t->E + offset,
                   .ld = d,
                   .n_rows = at.n_rows,
                   .n_columns = at.n_columns,
                   .bias = t->p.c + at.column};
        s.operand = t->T + offset;
        s.operand_ld = d;
        s.weight = t->weight + at.row;
        s.equal_weights = !t->job->sample_weight;
        s.column_sums = t->c_sums + at.row_index * d + at.column;
        s.theta_sums = t->theta_sums ? t->theta_sums + at.row_index * d + at.column : 0;
        output_gradients(t, &s, at.column);
        t->losses[w.begin] = s.loss;
    }
}

/* Replace a block of G = E V^T by G o g'(R), whose column sums are added to g_sums. */
static void finish_delta_block(const training *t, const batch_plan *plan, block at, int64_t number)
{
    int64_t k = t->k, offset = at.row * k + at.column;
    strip s = {.values = t->G + offset, .ld = k, .n_rows = at.n_rows, .n_columns = at.n_columns};
    s.operand = t->clean + offset;
    s.operand_ld = k;
    s.column_sums = t->g_sums + at.row_index * k + at.column;
    if (t->added)
        add_values(&s, t->added + offset);
    code_view code = {.scale = 1};
    real slopes[BLOCK_COLUMNS];
    if (has_code_terms(t->job)) {
        s.loss = view_code(t, plan, at.row_index, at.column, at.n_columns, slopes, &code);
        code.used = drops_units(t->job) ? t->H + offset : 0;
        s.code = &code;
        s.weight = t->weight + at.row;
    }
    if (t->p.gain)
        gain_backward(t, &s, at.column, s.code ? code.used : 0, code.scale,
                      t->gain_sums + at.row_index * k + at.column);
    activations[t->job->model.activation].backward(&s);
    if (has_code_terms(t->job))
        t->code_losses[number] = s.loss;
}

/* G <- (E V^T) o g'(R); g_sums <- column sums. In a head, G is the code's delta, or what the code's
   own delta phase adds. */
static void delta_by_blas(const training *t, member m, const batch_plan *plan)
{
    int64_t d = t->d, k = t->k;
    for (work w = begin_work(m, t->shares, grid_size(&plan->hidden)); take_items(&w, 1);) {
        block at = grid_block(&plan->hidden, w.begin);
        int64_t offset = at.row * k + at.column;
        blas_nt(t->job->gemm, at.n_rows, at.n_columns, d, t->E + at.row * d, d,
                t->V.rows + at.column * d, d, t->G + offset, k);
        if (!(t->code && t->code->added))
            finish_delta_block(t->code ? t->code : t, plan, at, w.begin);
    }
}

/* R of the layer below <- g(R V + c) */
static void decode_by_blas(const training *t, member m, const batch_plan *plan)
{
    int64_t d = t->d, k = t->k;
    for (work w = begin_work(m, t->shares, grid_size(&plan->output)); take_items(&w, 1);) {
        block at = grid_block(&plan->output, w.begin);
        real *R = t->below->R + at.row * d + at.column;
        blas_nn(t->job->gemm, at.n_rows, at.n_columns, k, t->R + at.row * k, k,
                t->V.rows + at.column, d, R, d);
        strip s = {.values = R,
                   .ld = d,
                   .n_rows = at.n_rows,
                   .n_columns = at.n_columns,
                   .bias = t->p.c + at.column};
        activate(t->below->job->model.activation, &s);
        if (t->below->p.gain) {
            copy_codes(&s, t->below->clean + at.row * d + at.column);
            scale_codes(t->below, &s, at.column);
        }
    }
}

/* D of the layer below <- (D W) o g'(H of the layer below); its b_sums <- column sums */
static void code_delta_by_blas(const training *t, member m, const batch_plan *plan)
{
    int64_t d = t->d, k = t->k;
    for (work w = begin_work(m, t->shares, grid_size(&plan->output)); take_items(&w, 1);) {
        block at = grid_block(&plan->output, w.begin);
        int64_t offset = at.row * d + at.column;
        blas_nn(t->job->gemm, at.n_rows, at.n_columns, k, t->D + at.row * k, k,
                t->W.rows + at.column, d, t->below->D + offset, d);
        strip s = {.values = t->below->D + offset,
                   .ld = d,
                   .n_rows = at.n_rows,
                   .n_columns = at.n_columns};
        s.operand = t->below->H + offset;
        s.operand_ld = d;
        s.column_sums = t->below->b_sums + at.row_index * d + at.column;
        activations[t->below->job->model.activation].backward(&s);
    }
}

/* Compute the gradient of a block of weights and use it (see weights.h). Return the L2 penalty. */
static double weights_by_blas(const training *t, const batch_plan *plan,
                              const step_constants *constants, weight_block which, scratch *buffers,
                              double *squares)
{
    block at = grid_block(&plan->weights, which.index);
    int64_t d = t->d, k = t->k, m = at.n_rows, columns = at.n_columns;
    for (int64_t first = 0; first < plan->n; first += CHUNK_ROWS) {
        int64_t rows = min_i64(CHUNK_ROWS, plan->n - first);
        if (which.encoder)
            blas_tn(t->job->gemm, m, columns, rows, t->D + first * k + at.row, k,
                    t->X + first * d + at.column, d, 0, buffers->gradient, columns);
        if (which.decoder)
            blas_tn(t->job->gemm, m, columns, rows, t->R + first * k + at.row, k,
                    t->E + first * d + at.column, d, which.encoder, buffers->gradient, columns);
        add_chunk(buffers->gradient, buffers->wide_gradient, m * columns, first == 0,
                  first + rows == plan->n);
    }
    if (t->norms && which.encoder) {
        real factors[BLOCK_ROWS];
        contraction_factors(t, plan, at.row, m, factors);
        add_scaled_rows(factors, m, columns, t->W.rows + at.row * d + at.column, d,
                        buffers->gradient, columns);
    }
    return use_gradient_rows(t->job, constants, matrix_of(t, which), &at, buffers->gradient,
                             columns, squares);
}

/* Use the given gradient of a block of weights (see training_job). Return the L2 penalty. */
static double given_by_blas(const training *t, const batch_plan *plan,
                            const step_constants *constants, weight_block which, scratch *buffers,
                            double *squares)
{
    block at = grid_block(&plan->weights, which.index);
    const weight_matrix *m = matrix_of(t, which);
    for (int64_t r = 0; r < at.n_rows; ++r) {
        const double *given = t->job->given + m->at + (at.row + r) * t->d + at.column;
        for (int64_t j = 0; j < at.n_columns; ++j)
            buffers->gradient[r * at.n_columns + j] = (real)given[j];
    }
    return use_gradient_rows(t->job, constants, m, &at, buffers->gradient, at.n_columns, squares);
}

/* Multiply the stored gradient of a block by `factor`, and update the weights. */
static void move_by_blas(const training *t, const batch_plan *plan, const step_constants *constants,
                         weight_block which, real factor)
{
    block at = grid_block(&plan->weights, which.index);
    const weight_matrix *m = matrix_of(t, which);
    for (int64_t row = at.row; row < at.row + at.n_rows; ++row) {
        real *gradient = m->gradient + row * t->d + at.column;
        scale_run(factor, gradient, at.n_columns);
        move_row(t->job, constants, m, row, at.column, at.n_columns, gradient);
    }
}

#endif
