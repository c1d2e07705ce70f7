/* The phases of a training step on BLAS, called single-threaded on blocks of row-major arrays: the portable path, and the tests' second opinion. */
#ifndef AEFAST_BLAS_PHASES_H
#define AEFAST_BLAS_PHASES_H

#include "blas.h"
#include "step.h"

static batch_plan plan_blas(const training *t, int64_t n)
{
    batch_plan plan = {.n = n, .stored_rows = n, .hidden = make_blas_grid(n, t->k, t->d), .output = make_blas_grid(n, t->d, t->k),
                       .weights = make_blas_grid(t->k, t->d, n)};
    plan.n_losses = grid_size(&plan.output);
    plan.n_penalties = grid_size(&plan.weights);
    plan.row_blocks_d = plan.output.row_blocks;
    plan.row_blocks_k = plan.hidden.row_blocks;
    return plan;
}

static void load_rows(const training *t, member m, const batch_plan *plan, int64_t first)
{
    for (int64_t i = share_begin(m, plan->n); i < share_end(m, plan->n); ++i)
        t->members[m.index].bad_rows |= load_row(&t->job->rows, first + i, 0, t->d, t->X + i * t->d);
}

static void hidden_by_blas(const training *t, member m, const batch_plan *plan)
{
    int64_t d = t->d, k = t->k;
    for (work w = begin_work(m, t->shares, HIDDEN_PARITY, grid_size(&plan->hidden)); take_items(&w, 1);) {
        block at = grid_block(&plan->hidden, w.begin);
        real *A = t->H + at.row * k + at.column;
        blas_nt(t->job->gemm, at.n_rows, at.n_columns, d, t->X + at.row * d, d, t->W.rows + at.column * d, d, A, k);
        strip s = {.values = A, .ld = k, .n_rows = at.n_rows, .n_columns = at.n_columns, .bias = t->p.b + at.column};
        activations[t->job->model.activation].forward(&s);
    }
}

static void output_by_blas(const training *t, member m, const batch_plan *plan)
{
    int64_t d = t->d, k = t->k;
    for (work w = begin_work(m, t->shares, OUTPUT_PARITY, grid_size(&plan->output)); take_items(&w, 1);) {
        block at = grid_block(&plan->output, w.begin);
        int64_t offset = at.row * d + at.column;
        blas_nn(t->job->gemm, at.n_rows, at.n_columns, k, t->H + at.row * k, k, t->V.rows + at.column, d, t->E + offset, d);
        strip s = {.values = t->E + offset, .ld = d, .n_rows = at.n_rows, .n_columns = at.n_columns, .bias = t->p.c + at.column};
        s.operand = t->X + offset;
        s.operand_ld = d;
        s.weight = t->weight + at.row;
        s.column_sums = t->c_sums + at.row_index * d + at.column;
        outputs[t->job->model.output].gradient(&s);
        t->losses[w.begin] = s.loss;
    }
}

static void delta_by_blas(const training *t, member m, const batch_plan *plan)
{
    int64_t d = t->d, k = t->k;
    for (work w = begin_work(m, t->shares, DELTA_PARITY, grid_size(&plan->hidden)); take_items(&w, 1);) {
        block at = grid_block(&plan->hidden, w.begin);
        int64_t offset = at.row * k + at.column;
        blas_nt(t->job->gemm, at.n_rows, at.n_columns, d, t->E + at.row * d, d, t->V.rows + at.column * d, d, t->D + offset, k);
        strip s = {.values = t->D + offset, .ld = k, .n_rows = at.n_rows, .n_columns = at.n_columns};
        s.operand = t->H + offset;
        s.operand_ld = k;
        s.column_sums = t->b_sums + at.row_index * k + at.column;
        activations[t->job->model.activation].backward(&s);
    }
}

/* Returns the penalty. */
static double weights_by_blas(const training *t, const batch_plan *plan, const step_constants *constants, weight_part part, scratch *own)
{
    block at = grid_block(&plan->weights, part.index);
    int64_t d = t->d, k = t->k, m = at.n_rows, columns = at.n_columns;
    for (int64_t first = 0; first < plan->n; first += CHUNK_ROWS) {
        int64_t rows = min_i64(CHUNK_ROWS, plan->n - first);
        if (part.encoder)
            blas_tn(t->job->gemm, m, columns, rows, t->D + first * k + at.row, k, t->X + first * d + at.column, d, 0, own->gradient, columns);
        if (part.decoder)
            blas_tn(t->job->gemm, m, columns, rows, t->H + first * k + at.row, k, t->E + first * d + at.column, d, part.encoder, own->gradient, columns);
        add_chunk(own->gradient, own->wide_gradient, m * columns, first == 0, first + rows == plan->n);
    }
    return use_gradient_rows(t->job, constants, matrix_of(t, part), &at, own->gradient, columns);
}

#endif
