/* Training steps, and gradients without an update.

   A batch of n rows goes through five phases; after each the team meets at a barrier. Within a phase the members share a fixed grid
   of blocks, and an epilogue acts on each block while it is in cache:

       load     X        <- rows, gathered and converted
       hidden   H        <- g(X W^T + b)
       output   E        <- weight o dloss/deta at eta = H V + c;       dc <- column sums
       delta    D        <- (E V^T) o g'(H);                             db <- column sums
       weights  dW = D^T X (+ H^T E when tied), dV = H^T E               -> optimizer, tile by tile; or added to gradients

   mathematics: backpropagation with E = dA^ (the output's) and D = dA (the hidden layer's). V == W when tied: the gradient is the sum of two. */
#ifndef AEFAST_TRAINING_H
#define AEFAST_TRAINING_H

#include "activations.h"
#include "optimizers.h"
#include "outputs.h"
#include "parallel.h"
#include "product.h"
#include "rows.h"
#include "workspace.h"

enum { ENCODER_PART = 1, DECODER_PART = 2 };

/* The grids of one batch size. */
typedef struct {
    int64_t n;
    grid hidden, output, delta, weights;
} batch_plan;

typedef struct {
    training_job *job;
    int64_t d, k;
    parameter_views p;
    real *X, *E; /* (batch_size, d) */
    real *H, *D; /* (batch_size, k) */
    double *weight;         /* (batch_size): of each row's loss */
    double *losses;         /* a block of the output grid each */
    double *penalties;      /* a block of the weight grid each, for both matrices */
    double *c_sums, *b_sums; /* (row blocks, d), (row blocks, k) */
    int *bad_rows;          /* a member each, a cache line apart */
    real *tiles;            /* a member each, (BLOCK_ROWS, BLOCK_COLUMNS) */
    double *wide_tiles;
} training;

static inline batch_plan plan_batch(const training *t, int64_t n)
{
    return (batch_plan){n, make_grid(n, t->k, t->d), make_grid(n, t->d, t->k), make_grid(n, t->k, t->d), make_grid(t->k, t->d, n)};
}

static inline int n_matrices(const training *t) { return t->job->model.tied ? 1 : 2; }

static training carve_training(training_job *job, int64_t *bytes)
{
    training t = {.job = job, .d = job->model.n_features, .k = job->model.n_components, .p = view_parameters(&job->model)};
    int64_t n = job->batch_size, d = t.d, k = t.k;
    batch_plan plan = plan_batch(&t, n); /* a smaller batch needs no more of anything */
    arena a = arena_at(job->workspace);
    t.X = CARVE(&a, real, n * d);
    t.E = CARVE(&a, real, n * d);
    t.H = CARVE(&a, real, n * k);
    t.D = CARVE(&a, real, n * k);
    t.weight = CARVE(&a, double, n);
    t.losses = CARVE(&a, double, max_i64(grid_size(&plan.output), BLOCKS_WANTED * 2));
    t.penalties = CARVE(&a, double, 2 * grid_size(&plan.weights) + BLOCKS_WANTED * 2);
    t.c_sums = CARVE(&a, double, max_i64(plan.output.row_blocks, BLOCKS_WANTED * 2) * d);
    t.b_sums = CARVE(&a, double, max_i64(plan.delta.row_blocks, BLOCKS_WANTED * 2) * k);
    t.bad_rows = CARVE(&a, int, (int64_t)job->n_threads * CACHE_LINE / (int64_t)sizeof(int));
    t.tiles = CARVE(&a, real, (int64_t)job->n_threads * BLOCK_ROWS * BLOCK_COLUMNS);
    t.wide_tiles = CARVE(&a, double, n > CHUNK_ROWS ? (int64_t)job->n_threads * BLOCK_ROWS * BLOCK_COLUMNS : 0);
    *bytes = arena_bytes(&a);
    return t;
}

static int64_t training_workspace_bytes(const training_job *job)
{
    training_job measured = *job;
    int64_t bytes;
    measured.workspace = 0;
    carve_training(&measured, &bytes);
    return bytes;
}

/* ---- the phases ---- */

static double weight_of_row(const training_job *job, int64_t place, int64_t n)
{
    if (job->sample_weight)
        return job->sample_weight[job->rows.order ? job->rows.order[place] : place];
    return 1.0 / (double)(job->gradients ? job->rows.n_rows : n);
}

static void load_phase(const training *t, member m, int64_t first, int64_t n)
{
    int64_t begin = share_begin(m, n), end = share_end(m, n);
    t->bad_rows[m.index * CACHE_LINE / (int)sizeof(int)] |= load_rows(&t->job->rows, first + begin, end - begin, t->d, t->X + begin * t->d);
    for (int64_t i = begin; i < end; ++i)
        t->weight[i] = weight_of_row(t->job, first + i, n);
}

static void hidden_phase(const training *t, member m, const grid *g)
{
    int64_t d = t->d, k = t->k;
    for (int64_t i = share_begin(m, grid_size(g)); i < share_end(m, grid_size(g)); ++i) {
        block at = grid_block(g, i);
        real *a = t->H + at.row * k + at.column;
        product_nt(t->job->gemm, at.n_rows, at.n_columns, d, t->X + at.row * d, d, t->p.W + at.column * d, d, a, k);
        strip s = {.values = a, .ld = k, .n_rows = at.n_rows, .n_columns = at.n_columns, .bias = t->p.b + at.column};
        activations[t->job->model.activation].forward(&s);
    }
}

static void output_phase(const training *t, member m, const grid *g)
{
    int64_t d = t->d, k = t->k;
    for (int64_t i = share_begin(m, grid_size(g)); i < share_end(m, grid_size(g)); ++i) {
        block at = grid_block(g, i);
        real *eta = t->E + at.row * d + at.column;
        product_nn(t->job->gemm, at.n_rows, at.n_columns, k, t->H + at.row * k, k, t->p.V + at.column, d, eta, d);
        strip s = {.values = eta, .ld = d, .n_rows = at.n_rows, .n_columns = at.n_columns, .bias = t->p.c + at.column};
        s.operand = t->X + at.row * d + at.column;
        s.operand_ld = d;
        s.weight = t->weight + at.row;
        s.column_sums = t->c_sums + at.row_index * d + at.column;
        outputs[t->job->model.output].loss(&s);
        t->losses[i] = s.loss;
    }
}

static void delta_phase(const training *t, member m, const grid *g)
{
    int64_t d = t->d, k = t->k;
    for (int64_t i = share_begin(m, grid_size(g)); i < share_end(m, grid_size(g)); ++i) {
        block at = grid_block(g, i);
        real *dh = t->D + at.row * k + at.column;
        product_nt(t->job->gemm, at.n_rows, at.n_columns, d, t->E + at.row * d, d, t->p.V + at.column * d, d, dh, k);
        strip s = {.values = dh, .ld = k, .n_rows = at.n_rows, .n_columns = at.n_columns};
        s.operand = t->H + at.row * k + at.column;
        s.operand_ld = k;
        s.column_sums = t->b_sums + at.row_index * k + at.column;
        activations[t->job->model.activation].backward(&s);
    }
}

/* tile <- the gradient's block: the sum of the wanted parts. More than CHUNK_ROWS samples add up in double. */
static void gradient_tile(const training *t, int parts, int64_t n, const block *at, real *tile, double *wide)
{
    int64_t d = t->d, k = t->k, size = at->n_rows * at->n_columns;
    for (int64_t first = 0; first < n; first += CHUNK_ROWS) {
        int64_t rows = min_i64(CHUNK_ROWS, n - first);
        if (parts & ENCODER_PART)
            product_tn(t->job->gemm, at->n_rows, at->n_columns, rows, t->D + first * k + at->row, k, t->X + first * d + at->column, d, 0, tile,
                       at->n_columns);
        if (parts & DECODER_PART)
            product_tn(t->job->gemm, at->n_rows, at->n_columns, rows, t->H + first * k + at->row, k, t->E + first * d + at->column, d,
                       parts & ENCODER_PART ? 1 : 0, tile, at->n_columns);
        if (n > CHUNK_ROWS)
            for (int64_t j = 0; j < size; ++j)
                wide[j] = (first ? wide[j] : 0) + (double)tile[j];
    }
    if (n > CHUNK_ROWS)
        for (int64_t j = 0; j < size; ++j)
            tile[j] = (real)wide[j];
}

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

/* A run of n parameters, at this place of the flat layout, meets its gradient: the optimizer moves it, or the gradient is kept. */
static void use_gradient(const training *t, const step_constants *constants, real *w, int64_t at, const real *gradient, int64_t n)
{
    const training_job *job = t->job;
    if (job->gradients) {
        for (int64_t j = 0; j < n; ++j)
            job->gradients[at + j] += (double)gradient[j];
        return;
    }
    real *state0 = job->state[0] ? (real *)job->state[0] + at : 0;
    real *state1 = job->state[1] ? (real *)job->state[1] + at : 0;
    solvers[job->solver].update(constants, w, gradient, state0, state1, n);
}

static void weight_phase(const training *t, member m, const step_constants *constants, const grid *g, int64_t n)
{
    real *tile = t->tiles + (int64_t)m.index * BLOCK_ROWS * BLOCK_COLUMNS;
    double *wide = t->wide_tiles + (int64_t)m.index * BLOCK_ROWS * BLOCK_COLUMNS;
    int64_t blocks = grid_size(g), items = blocks * n_matrices(t);
    for (int64_t i = share_begin(m, items); i < share_end(m, items); ++i) {
        int decoder = i >= blocks;
        int parts = t->job->model.tied ? ENCODER_PART | DECODER_PART : decoder ? DECODER_PART : ENCODER_PART;
        block at = grid_block(g, i % blocks);
        int64_t offset = at.row * t->d + at.column;
        gradient_tile(t, parts, n, &at, tile, wide);
        t->penalties[i] = 0;
        for (int64_t r = 0; r < at.n_rows; ++r, offset += t->d) {
            real *w = (decoder ? t->p.V : t->p.W) + offset, *gradient = tile + r * at.n_columns;
            if (t->job->alpha != 0)
                t->penalties[i] += add_l2_penalty((real)t->job->alpha, w, gradient, at.n_columns);
            use_gradient(t, constants, w, (decoder ? t->p.V_at : t->p.W_at) + offset, gradient, at.n_columns);
        }
    }
}

/* bias <- its update with the sum of the row blocks' partial sums */
static void update_bias(const training *t, const step_constants *constants, real *bias, int64_t at, const double *partial, int64_t row_blocks, int64_t n)
{
    real gradient[BLOCK_COLUMNS];
    for (int64_t first = 0; first < n; first += BLOCK_COLUMNS) {
        int64_t columns = min_i64(BLOCK_COLUMNS, n - first);
        for (int64_t j = 0; j < columns; ++j) {
            double sum = 0;
            for (int64_t r = 0; r < row_blocks; ++r)
                sum += partial[r * n + first + j];
            gradient[j] = (real)sum;
        }
        use_gradient(t, constants, bias + first, at + first, gradient, columns);
    }
}

static double sum_of(const double *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; ++i)
        sum += x[i];
    return sum;
}

/* ---- a batch, a call ---- */

/* Returns the batch's loss, the same number in every member; one that is not finite means that nothing was updated. */
static double train_batch(const training *t, member m, const batch_plan *plan, const step_constants *constants, int64_t first)
{
    load_phase(t, m, first, plan->n);
    team_barrier(m);
    hidden_phase(t, m, &plan->hidden);
    team_barrier(m);
    output_phase(t, m, &plan->output);
    team_barrier(m);
    double loss = sum_of(t->losses, grid_size(&plan->output));
    if (!isfinite(loss))
        return loss;
    delta_phase(t, m, &plan->delta);
    team_barrier(m);
    weight_phase(t, m, constants, &plan->weights, plan->n);
    if (m.index == 0) {
        update_bias(t, constants, t->p.c, t->p.c_at, t->c_sums, plan->output.row_blocks, t->d);
        update_bias(t, constants, t->p.b, t->p.b_at, t->b_sums, plan->delta.row_blocks, t->k);
    }
    team_barrier(m);
    return loss + sum_of(t->penalties, grid_size(&plan->weights) * n_matrices(t));
}

static void train_member(void *context, member m)
{
    const training *t = (const training *)context;
    training_job *job = t->job;
    training_job now = *job; /* what this member keeps of the job's progress */
    batch_plan plan = {0};
    for (int64_t first = 0; first < job->rows.n_rows; first += job->batch_size) {
        int64_t n = min_i64(job->batch_size, job->rows.n_rows - first);
        if (n != plan.n)
            plan = plan_batch(t, n);
        step_constants constants = constants_of_step(&now);
        double loss = train_batch(t, m, &plan, &constants, first);
        if (!isfinite(loss)) {
            now.status = STATUS_NOT_FINITE;
            break;
        }
        now.loss_sum += job->gradients ? loss : loss * (double)n;
        now.n_rows_done += n;
        now.n_steps += 1;
    }
    team_barrier(m);
    if (m.index == 0) {
        job->loss_sum = now.loss_sum;
        job->n_rows_done = now.n_rows_done;
        job->n_steps = now.n_steps;
        job->status = now.status;
    }
}

static void train(training_job *job)
{
    int64_t bytes;
    training t = carve_training(job, &bytes);
    int stride = CACHE_LINE / (int)sizeof(int);
    for (int i = 0; i < job->n_threads; ++i)
        t.bad_rows[i * stride] = STATUS_OK;
    job->loss_sum = 0;
    job->n_rows_done = 0;
    job->status = STATUS_OK;
    team_run(job->n_threads, FLOAT_MODE_FLUSH, train_member, &t);
    for (int i = 0; i < job->n_threads; ++i)
        job->status |= t.bad_rows[i * stride];
}

#endif
