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
#include "outputs.h"
#include "rows.h"
#include "weights.h"

enum {
    TILE_BLOCK_ROWS = 144,         /* of activations that a block of register tiles computes: DEPTH columns of its operand stay in L2, */
    TILE_BLOCK_COLUMNS = 4 * PANEL /* and its result */
};

/* The grids of one batch size. */
typedef struct {
    int64_t n;
    grid hidden, output, weights;
} batch_plan;

/* What one member of the team works in. */
typedef struct {
    real *gradient;             /* a block or a strip of a weight's gradient */
    double *wide_gradient;      /* the same in double */
    real *packed_D, *packed_H;  /* D^T and H^T of a strip's rows, for register tiles */
    int64_t packed_row;         /* which: -1 for none */
    int bad_rows;
} scratch;

typedef struct {
    training_job *job;
    int64_t d, k, ld_d, ld_k;
    weight_matrix W, V;         /* V.rows == W.rows when tied */
    parameter_views p;
    real *X, *E;                /* (batch_size, d), rows ld_d apart */
    real *H, *D;                /* (batch_size, k), rows ld_k apart */
    real *X_panels, *E_panels;  /* [padded(d) / PANEL][n][PANEL], for register tiles */
    double *weight;             /* (batch_size): of each row's loss */
    double *losses;             /* a block of the output grid each */
    double *penalties;          /* a block of the weight grid each, for both matrices */
    double *c_sums, *b_sums;    /* (row blocks, d), (row blocks, k) */
    scratch *members;
} training;

static inline batch_plan plan_batch(const training *t, int64_t n)
{
    if (!t->job->tiled)
        return (batch_plan){n, make_blas_grid(n, t->k, t->d), make_blas_grid(n, t->d, t->k), make_blas_grid(t->k, t->d, n)};
    return (batch_plan){n, make_grid(n, t->k, TILE_BLOCK_ROWS, TILE_BLOCK_COLUMNS, 1, PANEL),
                        make_grid(n, t->d, TILE_BLOCK_ROWS, TILE_BLOCK_COLUMNS, 1, PANEL),
                        make_grid(t->k, t->d, STRIP_ROWS, TILE_BLOCK_COLUMNS, PANEL, PANEL)};
}

static inline int n_matrices(const training *t) { return t->job->model.tied ? 1 : 2; }

static void carve_weights(training *t, arena *packed)
{
    const autoencoder_model *model = &t->job->model;
    t->p = view_parameters(model);
    t->W = t->V = carve_matrix(t->job, packed, model->W, t->p.W_at);
    if (!model->tied)
        t->V = carve_matrix(t->job, packed, model->V, t->p.V_at);
}

static void carve_activations(training *t, arena *a)
{
    int64_t n = t->job->batch_size, panels = t->job->tiled ? n * padded(t->d) : 0;
    batch_plan plan = plan_batch(t, n); /* a smaller batch needs no more of anything, once there are as many blocks as BLAS wants */
    t->X = CARVE(a, real, n * t->ld_d);
    t->E = CARVE(a, real, n * t->ld_d);
    t->H = CARVE(a, real, n * t->ld_k);
    t->D = CARVE(a, real, n * t->ld_k);
    t->X_panels = CARVE(a, real, panels);
    t->E_panels = CARVE(a, real, panels);
    t->weight = CARVE(a, double, n);
    t->losses = CARVE(a, double, grid_size(&plan.output) + 2 * BLOCKS_WANTED);
    t->penalties = CARVE(a, double, 2 * (grid_size(&plan.weights) + 2 * BLOCKS_WANTED));
    t->c_sums = CARVE(a, double, (plan.output.row_blocks + 2 * BLOCKS_WANTED) * t->d);
    t->b_sums = CARVE(a, double, (plan.hidden.row_blocks + 2 * BLOCKS_WANTED) * t->k);
}

static void carve_members(training *t, arena *a)
{
    const training_job *job = t->job;
    int64_t n = job->batch_size, size = job->tiled ? STRIP_ROWS * PANEL : BLOCK_ROWS * BLOCK_COLUMNS, packed = job->tiled ? STRIP_ROWS * n : 0;
    t->members = CARVE(a, scratch, job->n_threads);
    for (int i = 0; i < job->n_threads; ++i) {
        scratch own = {.packed_row = -1};
        own.gradient = CARVE(a, real, size);
        own.wide_gradient = CARVE(a, double, n > CHUNK_ROWS ? size : 0);
        own.packed_D = CARVE(a, real, packed);
        own.packed_H = CARVE(a, real, packed);
        if (t->members)
            t->members[i] = own;
    }
}

static training carve_training(training_job *job, void *workspace, void *packed, int64_t *workspace_bytes, int64_t *packed_bytes)
{
    training t = {.job = job, .d = job->model.n_features, .k = job->model.n_components};
    t.ld_d = job->tiled ? leading_dimension(t.d) : t.d;
    t.ld_k = job->tiled ? leading_dimension(t.k) : t.k;
    arena working = arena_at(workspace), weights = arena_at(packed);
    carve_weights(&t, &weights);
    carve_activations(&t, &working);
    carve_members(&t, &working);
    *workspace_bytes = arena_bytes(&working);
    *packed_bytes = arena_bytes(&weights);
    return t;
}

static int64_t training_workspace_bytes(const training_job *job)
{
    training_job measured = *job;
    int64_t bytes, packed;
    carve_training(&measured, 0, 0, &bytes, &packed);
    return bytes;
}

static int64_t packed_bytes(const training_job *job)
{
    training_job measured = *job;
    int64_t bytes, packed;
    carve_training(&measured, 0, 0, &bytes, &packed);
    return packed;
}

static training carved_training(training_job *job)
{
    int64_t bytes, packed;
    return carve_training(job, job->workspace, job->packed, &bytes, &packed);
}

static void pack_or_unpack(training_job *job, void (*matrix)(const training_job *, const weight_matrix *))
{
    training t = carved_training(job);
    matrix(job, &t.W);
    if (!job->model.tied)
        matrix(job, &t.V);
}

static void pack(training_job *job) { pack_or_unpack(job, pack_matrix); }
static void unpack(training_job *job) { pack_or_unpack(job, unpack_matrix); }

/* ---- the phases ---- */

static double weight_of_row(const training_job *job, int64_t place, int64_t n)
{
    if (job->sample_weight)
        return job->sample_weight[job->rows.order ? job->rows.order[place] : place];
    return 1.0 / (double)(job->gradients ? job->rows.n_rows : n);
}

/* Rows [row, row + rows) and columns [column, column + columns) of an activation, as panels of all n rows. */
static void copy_to_panels(const training *t, int64_t n, int64_t row, int64_t rows, int64_t column, int64_t columns, const real *from, real *panels)
{
    for (int64_t j = column; j < column + columns; j += PANEL)
        pack_panel(rows, t->d - j, from + row * t->ld_d + j, t->ld_d, panels + j * n + row * PANEL);
}

static void load_phase(const training *t, member m, int64_t first, int64_t n)
{
    const training_job *job = t->job;
    for (int64_t i = share_begin(m, n); i < share_end(m, n); ++i) {
        t->members[m.index].bad_rows |= load_row(&job->rows, first + i, 0, t->d, t->X + i * t->ld_d);
        t->weight[i] = weight_of_row(job, first + i, n);
        if (job->tiled)
            copy_to_panels(t, n, i, 1, 0, t->d, t->X, t->X_panels);
    }
}

static void hidden_phase(const training *t, member m, const grid *g)
{
    for (int64_t i = share_begin(m, grid_size(g)); i < share_end(m, grid_size(g)); ++i) {
        block at = grid_block(g, i);
        real *a = t->H + at.row * t->ld_k + at.column;
        times_transpose(t->job, &t->W, &at, t->X + at.row * t->ld_d, t->ld_d, a, t->ld_k);
        strip s = {.values = a, .ld = t->ld_k, .n_rows = at.n_rows, .n_columns = at.n_columns, .bias = t->p.b + at.column};
        activations[t->job->model.activation].forward(&s);
    }
}

static void output_phase(const training *t, member m, const grid *g, int64_t n)
{
    for (int64_t i = share_begin(m, grid_size(g)); i < share_end(m, grid_size(g)); ++i) {
        block at = grid_block(g, i);
        int64_t offset = at.row * t->ld_d + at.column;
        times_matrix(t->job, &t->V, &at, t->H + at.row * t->ld_k, t->ld_k, t->E + offset, t->ld_d);
        strip s = {.values = t->E + offset, .ld = t->ld_d, .n_rows = at.n_rows, .n_columns = at.n_columns, .bias = t->p.c + at.column};
        s.operand = t->X + offset;
        s.operand_ld = t->ld_d;
        s.weight = t->weight + at.row;
        s.column_sums = t->c_sums + at.row_index * t->d + at.column;
        outputs[t->job->model.output].loss(&s);
        t->losses[i] = s.loss;
        if (t->job->tiled)
            copy_to_panels(t, n, at.row, at.n_rows, at.column, at.n_columns, t->E, t->E_panels);
    }
}

static void delta_phase(const training *t, member m, const grid *g)
{
    for (int64_t i = share_begin(m, grid_size(g)); i < share_end(m, grid_size(g)); ++i) {
        block at = grid_block(g, i);
        int64_t offset = at.row * t->ld_k + at.column;
        times_transpose(t->job, &t->V, &at, t->E + at.row * t->ld_d, t->ld_d, t->D + offset, t->ld_k);
        strip s = {.values = t->D + offset, .ld = t->ld_k, .n_rows = at.n_rows, .n_columns = at.n_columns};
        s.operand = t->H + offset;
        s.operand_ld = t->ld_k;
        s.column_sums = t->b_sums + at.row_index * t->k + at.column;
        activations[t->job->model.activation].backward(&s);
    }
}

/* ---- weights: D^T X and H^T E, both where tied ---- */

/* More than CHUNK_ROWS samples add up in double. */
static void add_chunk(real *gradient, double *wide, int64_t size, int64_t first, int64_t n)
{
    if (n <= CHUNK_ROWS)
        return;
    for (int64_t j = 0; j < size; ++j)
        wide[j] = (first ? wide[j] : 0) + (double)gradient[j];
    if (first + CHUNK_ROWS >= n)
        for (int64_t j = 0; j < size; ++j)
            gradient[j] = (real)wide[j];
}

static void gradient_by_blas(const training *t, int encoder, int decoder, int64_t n, const block *at, scratch *own)
{
    int64_t d = t->d, k = t->k, m = at->n_rows, columns = at->n_columns;
    for (int64_t first = 0; first < n; first += CHUNK_ROWS) {
        int64_t rows = min_i64(CHUNK_ROWS, n - first);
        if (encoder)
            blas_tn(t->job->gemm, m, columns, rows, t->D + first * k + at->row, k, t->X + first * d + at->column, d, 0, own->gradient, columns);
        if (decoder)
            blas_tn(t->job->gemm, m, columns, rows, t->H + first * k + at->row, k, t->E + first * d + at->column, d, encoder, own->gradient, columns);
        add_chunk(own->gradient, own->wide_gradient, m * columns, first, n);
    }
}

static void gradient_by_tiles(const training *t, int encoder, int decoder, int64_t n, int64_t j, int64_t rows, scratch *own)
{
    for (int64_t first = 0; first < n; first += CHUNK_ROWS) {
        int64_t end = min_i64(n, first + CHUNK_ROWS);
        int add = 0;
        for (int64_t p = first; encoder && p < end; p += DEPTH, add = 1)
            product_packed(rows, p, min_i64(DEPTH, end - p), n, own->packed_D, t->X_panels + j * n * PANEL, own->gradient, add);
        for (int64_t p = first; decoder && p < end; p += DEPTH, add = 1)
            product_packed(rows, p, min_i64(DEPTH, end - p), n, own->packed_H, t->E_panels + j * n * PANEL, own->gradient, add);
        add_chunk(own->gradient, own->wide_gradient, rows * PANEL, first, n);
    }
}

static void pack_strip_operands(const training *t, int64_t n, const block *at, scratch *own)
{
    if (own->packed_row == at->row)
        return;
    own->packed_row = at->row;
    pack_transposed_rows(at->n_rows, n, t->D + at->row, t->ld_k, own->packed_D);
    pack_transposed_rows(at->n_rows, n, t->H + at->row, t->ld_k, own->packed_H);
}

static double weight_block(const training *t, const step_constants *constants, int encoder, int decoder, int64_t n, const block *at, scratch *own)
{
    const weight_matrix *matrix = encoder ? &t->W : &t->V;
    if (!t->job->tiled) {
        gradient_by_blas(t, encoder, decoder, n, at, own);
        return use_gradient_rows(t->job, constants, matrix, at, own->gradient, at->n_columns);
    }
    double penalty = 0;
    pack_strip_operands(t, n, at, own);
    for (int64_t j = at->column / PANEL; j < n_panels(at->column + at->n_columns); ++j) {
        gradient_by_tiles(t, encoder, decoder, n, j, at->n_rows, own);
        penalty += use_gradient_strip(t->job, constants, matrix, j, at->row, at->n_rows, own->gradient);
    }
    return penalty;
}

static void weight_phase(const training *t, member m, const step_constants *constants, const grid *g, int64_t n)
{
    scratch *own = &t->members[m.index];
    int64_t blocks = grid_size(g), items = blocks * n_matrices(t);
    own->packed_row = -1;
    for (int64_t i = share_begin(m, items); i < share_end(m, items); ++i) {
        block at = grid_block(g, i % blocks);
        int encoder = i < blocks, decoder = t->job->model.tied || !encoder;
        t->penalties[i] = weight_block(t, constants, encoder, decoder, n, &at, own);
    }
}

/* bias <- its update with the sum of the row blocks' partial sums */
static void update_bias(const training *t, const step_constants *constants, real *bias, int64_t at, const double *partial, int64_t row_blocks, int64_t n)
{
    const training_job *job = t->job;
    real gradient[BLOCK_COLUMNS];
    real *state[MOST_STATES];
    for (int i = 0; i < MOST_STATES; ++i)
        state[i] = job->state[i] ? (real *)job->state[i] + at : 0;
    for (int64_t first = 0; first < n; first += BLOCK_COLUMNS) {
        int64_t columns = min_i64(BLOCK_COLUMNS, n - first);
        for (int64_t j = 0; j < columns; ++j) {
            double sum = 0;
            for (int64_t r = 0; r < row_blocks; ++r)
                sum += partial[r * n + first + j];
            gradient[j] = (real)sum;
        }
        if (job->gradients)
            keep_gradient(job, at + first, gradient, columns);
        else
            update_run(job, constants, 0, bias, gradient, state, first, columns);
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
    output_phase(t, m, &plan->output, plan->n);
    team_barrier(m);
    double loss = sum_of(t->losses, grid_size(&plan->output));
    if (!isfinite(loss))
        return loss;
    delta_phase(t, m, &plan->hidden);
    team_barrier(m);
    weight_phase(t, m, constants, &plan->weights, plan->n);
    if (m.index == 0) {
        update_bias(t, constants, t->p.c, t->p.c_at, t->c_sums, plan->output.row_blocks, t->d);
        update_bias(t, constants, t->p.b, t->p.b_at, t->b_sums, plan->hidden.row_blocks, t->k);
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
    training t = carved_training(job);
    for (int i = 0; i < job->n_threads; ++i)
        t.members[i].bad_rows = STATUS_OK;
    job->status = STATUS_OK;
    team_run(job->n_threads, FLOAT_MODE_FLUSH, train_member, &t);
    for (int i = 0; i < job->n_threads; ++i)
        job->status |= t.members[i].bad_rows;
}

#endif
