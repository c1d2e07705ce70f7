/* Training steps, and gradients without an update.

   A batch of n rows goes through five phases; after each the team meets at a barrier. Within a phase the members share blocks that follow from the
   shapes alone, and an epilogue acts on each block while it is in cache:

       load     X        <- rows, gathered and converted
       hidden   H        <- g(X W^T + b)
       output   E        <- weight o dloss/deta at eta = H V + c;       dc <- column sums
       delta    D        <- (E V^T) o g'(H);                             db <- column sums
       weights  dW = D^T X (+ H^T E when tied), dV = H^T E               -> optimizer, block by block; or added to gradients

   mathematics: backpropagation with E = dA^ (the output's) and D = dA (the hidden layer's). V == W when tied: the gradient is the sum of two.

   The phases stand in tile_phases.h, for register tiles, and in blas_phases.h. */
#ifndef AEFAST_TRAINING_H
#define AEFAST_TRAINING_H

#include "blas_phases.h"
#include "tile_phases.h"

static batch_plan plan_batch(const training *t, int64_t n)
{
    batch_plan plan = t->job->tiled ? plan_tiles(t, n) : plan_blas(t, n);
    plan.n_chunks = t->job->model.has_groups ? ceil_div(n, GROUP_ROWS) : 0;
    return plan;
}

static void carve_weights(training *t, arena *packed)
{
    const autoencoder_model *model = &t->job->model;
    t->p = view_parameters(model);
    t->W = t->V = carve_matrix(t->job, packed, model->W, t->p.W_at);
    if (!model->tied)
        t->V = carve_matrix(t->job, packed, model->V, t->p.V_at);
}

static void carve_code_terms(training *t, arena *a, int64_t stored_rows, int64_t n_losses, int64_t row_blocks)
{
    const code_terms *terms = &t->job->terms;
    t->code_losses = CARVE(a, double, n_losses);
    t->code_sums = terms->kl_weight > 0 ? CARVE(a, double, row_blocks * t->k) : 0;
    t->square_sums = terms->contraction > 0 ? CARVE(a, double, row_blocks * t->k) : 0;
    t->norms = terms->contraction > 0 ? CARVE(a, real, padded(t->k)) : 0;
    t->kept = drops_units(t->job) ? CARVE(a, double, row_blocks * t->k) : 0;
    t->revive = terms->revive > 0 ? CARVE(a, real, padded(t->k)) : 0;
    if (drops_units(t->job))
        t->clean = CARVE(a, real, stored_rows * t->width_k);
}

/* A smaller batch needs no more of anything than a whole one, once there are as many blocks as BLAS wants. */
static void carve_activations(training *t, arena *a)
{
    int64_t n_more = t->job->tiled ? 0 : 2 * BLOCKS_WANTED;
    batch_plan plan = plan_batch(t, t->job->batch_size);
    t->X = t->T = CARVE(a, real, plan.stored_rows * t->width_d);
    if (inputs_differ(&t->job->inputs))
        t->T = CARVE(a, real, plan.stored_rows * t->width_d);
    t->E = CARVE(a, real, plan.stored_rows * t->width_d);
    t->H = CARVE(a, real, plan.stored_rows * t->width_k);
    t->D = CARVE(a, real, plan.stored_rows * t->width_k);
    t->clean = t->H;
    t->X_forms = GROUP == 1 ? t->X : CARVE(a, real, plan.stored_rows * t->width_d);
    t->H_forms = GROUP == 1 ? t->H : CARVE(a, real, plan.stored_rows * t->width_k);
    t->weight = CARVE(a, real, t->job->batch_size);
    t->losses = CARVE(a, double, plan.n_losses + plan.n_chunks + n_more);
    t->penalties = CARVE(a, double, (plan.n_penalties + n_more) * n_matrices(t));
    t->c_sums = CARVE(a, double, (plan.row_blocks_d + plan.n_chunks + n_more) * t->d);
    t->b_sums = CARVE(a, double, (plan.row_blocks_k + n_more) * t->k);
    if (t->p.theta)
        t->theta_sums = CARVE(a, double, (plan.row_blocks_d + n_more) * t->d);
    if (has_code_terms(t->job))
        carve_code_terms(t, a, plan.stored_rows, plan.n_code_losses + n_more, plan.row_blocks_k + n_more);
}

static void carve_members(training *t, arena *a)
{
    const training_job *job = t->job;
    int64_t size = job->tiled ? STRIP_ROWS * PANEL * STRIP_PANELS : BLOCK_ROWS * BLOCK_COLUMNS;
    t->members = CARVE(a, scratch, job->n_threads);
    t->shares = CARVE(a, share, job->n_threads);
    for (int i = 0; i < job->n_threads; ++i) {
        scratch own = {0};
        own.gradient = CARVE(a, real, size);
        own.wide_gradient = CARVE(a, double, job->batch_size > CHUNK_ROWS ? size : 0);
        own.row = CARVE(a, real, max_i64(GROUP_BUFFERS * widest_group(&job->model), job->model.top_k > 0 ? t->k : 0));
        if (t->members)
            t->members[i] = own;
    }
}

static training carve_training(training_job *job, void *workspace, void *packed, int64_t *workspace_bytes, int64_t *packed_bytes)
{
    training t = {.job = job, .d = job->model.n_features, .k = job->model.n_components};
    t.width_d = job->tiled ? padded(t.d) : t.d;
    t.width_k = job->tiled ? padded(t.k) : t.k;
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

/* ---- the phases, by either kind of products ---- */

static void load_phase(const training *t, member m, const batch_plan *plan, int64_t first)
{
    for (int64_t i = share_begin(m, plan->n); i < share_end(m, plan->n); ++i)
        t->weight[i] = weight_of_row(t->job, first + i, plan->n);
    if (t->norms)
        norms_phase(t, m);
    if (t->job->tiled)
        load_tiles(t, m, plan, first);
    else
        load_rows(t, m, plan, first);
}

/* Then, where only some units of a row are kept, whole rows. */
static void hidden_phase(const training *t, member m, const batch_plan *plan, int64_t sample)
{
    (t->job->tiled ? hidden_by_tiles : hidden_by_blas)(t, m, plan, sample);
    if (t->job->model.top_k > 0) {
        team_barrier(m);
        top_k_phase(t, m, plan, t->job->tiled ? row_in_panels : row_in_rows);
    }
}

/* Then groups of columns. */
static void output_phase(const training *t, member m, const batch_plan *plan)
{
    (t->job->tiled ? output_by_tiles : output_by_blas)(t, m, plan);
    if (plan->n_chunks > 0) {
        team_barrier(m);
        groups_phase(t, m, plan, t->job->tiled ? row_in_panels : row_in_rows);
    }
}

static void delta_phase(const training *t, member m, const batch_plan *plan) { (t->job->tiled ? delta_by_tiles : delta_by_blas)(t, m, plan); }

static void weight_phase(const training *t, member m, const batch_plan *plan, const step_constants *constants)
{
    int64_t blocks = plan->n_penalties, items = blocks * n_matrices(t);
    for (work w = begin_work(m, t->shares, WEIGHTS_PARITY, items); take_items(&w, RUN_PANELS);)
        for (int64_t i = w.begin; i < w.end; ++i) {
            weight_part part = {.encoder = i < blocks, .decoder = t->job->model.tied || i >= blocks, .index = i % blocks};
            t->penalties[i] = (t->job->tiled ? weights_by_tiles : weights_by_blas)(t, plan, constants, part, &t->members[m.index]);
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
            update_run(job, constants, bias, gradient, state, first, columns);
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
    load_phase(t, m, plan, first);
    team_barrier(m);
    hidden_phase(t, m, plan, t->job->inputs.first_sample + first);
    team_barrier(m);
    output_phase(t, m, plan);
    team_barrier(m);
    double loss = sum_of(t->losses, plan->n_losses + plan->n_chunks);
    if (!isfinite(loss))
        return loss;
    delta_phase(t, m, plan);
    team_barrier(m);
    weight_phase(t, m, plan, constants);
    if (m.index == 0) {
        update_bias(t, constants, t->p.c, t->p.c_at, t->c_sums, plan->row_blocks_d + plan->n_chunks, t->d);
        update_bias(t, constants, t->p.b, t->p.b_at, t->b_sums, plan->row_blocks_k, t->k);
        if (t->p.theta)
            update_bias(t, constants, t->p.theta, t->p.theta_at, t->theta_sums, plan->row_blocks_d, t->d);
        count_unused(t, plan);
    }
    team_barrier(m);
    if (has_code_terms(t->job))
        loss += sum_of(t->code_losses, plan->n_code_losses);
    return loss + sum_of(t->penalties, plan->n_penalties * n_matrices(t));
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
        now.schedule_step += 1;
    }
    team_barrier(m);
    if (m.index == 0) {
        job->loss_sum = now.loss_sum;
        job->n_rows_done = now.n_rows_done;
        job->n_steps = now.n_steps;
        job->schedule_step = now.schedule_step;
        job->status = now.status;
    }
}

static void train(training_job *job)
{
    training t = carved_training(job);
    for (int i = 0; i < job->n_threads; ++i) {
        t.members[i].bad_rows = STATUS_OK;
        t.shares[i] = (share){0};
    }
    refresh_revival(&t);
    job->status = STATUS_OK;
    team_run(job->n_threads, FLOAT_MODE_FLUSH, train_member, &t);
    for (int i = 0; i < job->n_threads; ++i)
        job->status |= t.members[i].bad_rows;
}

#endif
