/* Training steps, and gradients without an update.

   A batch of n rows goes through five phases; after each the team meets at a barrier. Within a phase the members share blocks that follow from the
   shapes alone, and an epilogue acts on each block while it is in cache:

       load     X        <- rows, gathered and converted
       hidden   H        <- g(X W^T + b)
       output   E        <- weight o dloss/deta at eta = H V + c;       dc <- column sums
       delta    D        <- (E V^T) o g'(H);                             db <- column sums
       weights  dW = D^T X (+ H^T E when tied), dV = H^T E               -> optimizer, block by block; or added to gradients

   mathematics: backpropagation with E = dA^ (the output's) and D = dA (the hidden layer's). V == W when tied: the gradient is the sum of two.

   In a deep network the layers l = 0, 1, ... share this: X of layer l + 1 is H of layer l. Between hidden and output the codes come down again,

       decode   R of l - 1  <- g(R V + c), from the last layer (where R is H) on;

   delta gives G, the E of the layer above, on the way up (in the last layer: D), and then

       code     D of l - 1  <- (D W) o g'(H of l - 1), on the way down;

   dW = D^T X + R^T E. With one layer R is H, G is D, and there is nothing between.

   The phases stand in tile_phases.h, for register tiles, and in blas_phases.h. */
#ifndef AEFAST_TRAINING_H
#define AEFAST_TRAINING_H

#include "blas_phases.h"
#include "kept_units.h"
#include "limits.h"

typedef struct {
    training_job *job;
    int n_layers;
    training layers[MOST_LAYERS];
    training_job jobs[MOST_LAYERS]; /* of the layers above the first: the job, with their model and their part of the flat arrays */
} network;

static batch_plan plan_batch(const training *t, int64_t n)
{
    batch_plan plan = t->job->tiled ? plan_tiles(t, n) : plan_blas(t, n);
    plan.n_chunks = n_group_chunks(t, n);
    return plan;
}

/* ---- memory ---- */

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
    t->decoder_norms = terms->revive > 0 ? CARVE(a, real, padded(t->k)) : 0;
    if (drops_units(t->job) && t->kept_units.kept == 0)
        t->clean = CARVE(a, real, stored_rows * t->width_k);
}

/* A smaller batch needs no more of anything than a whole one, once there are as many blocks as BLAS wants. */
static void carve_activations(training *t, arena *a)
{
    int64_t n_more = t->job->tiled ? 0 : 2 * BLOCKS_WANTED;
    batch_plan plan = plan_batch(t, t->job->batch_size);
    int64_t n_blocks = (plan.n_penalties + n_more) * n_matrices(t);
    t->X = t->T = t->below ? t->below->H : CARVE(a, real, plan.stored_rows * t->width_d);
    if (inputs_differ(&t->job->inputs))
        t->T = CARVE(a, real, plan.stored_rows * t->width_d);
    t->E = CARVE(a, real, plan.stored_rows * t->width_d);
    t->H = CARVE(a, real, plan.stored_rows * t->width_k);
    t->D = CARVE(a, real, plan.stored_rows * t->width_k);
    t->X_forms = t->below ? t->below->H_forms : GROUP == 1 ? t->X : CARVE(a, real, plan.stored_rows * t->width_d);
    t->H_forms = GROUP == 1 ? t->H : CARVE(a, real, plan.stored_rows * t->width_k);
    t->weight = CARVE(a, real, t->job->batch_size);
    t->losses = CARVE(a, double, plan.n_losses + plan.n_chunks + n_more);
    t->penalties = CARVE(a, double, n_blocks);
    t->c_sums = CARVE(a, double, (plan.row_blocks_d + plan.n_chunks + n_more) * t->d);
    t->b_sums = CARVE(a, double, (plan.row_blocks_k + n_more) * t->k);
    t->squares = t->job->clip_norm > 0 ? CARVE(a, double, n_blocks + MOST_BIASES) : 0;
    t->bias_gradient = t->job->clip_norm > 0 ? CARVE(a, real, t->k + 2 * t->d) : 0;
    t->theta_sums = t->p.theta ? CARVE(a, double, (plan.row_blocks_d + n_more) * t->d) : 0;
    t->R = t->clean = t->H, t->R_forms = t->H_forms, t->G = t->D, t->g_sums = t->b_sums;
    if (goes_through_kept(t->job))
        t->kept_units = carve_kept_units(t->job, &plan, a);
    if (has_code_terms(t->job))
        carve_code_terms(t, a, plan.stored_rows, plan.n_code_losses + n_more, plan.row_blocks_k + n_more);
    t->shares = CARVE(a, share, t->job->n_threads);
}

/* What lies between a layer and the one above it. */
static void carve_between(training *t, const training *above, arena *a)
{
    int64_t size = plan_batch(t, t->job->batch_size).stored_rows * t->width_k;
    t->R = t->clean = CARVE(a, real, size);
    t->R_forms = GROUP == 1 ? t->R : CARVE(a, real, size);
    t->G = above->E;
    t->g_sums = above->c_sums;
}

static scratch *carve_members(const training_job *job, arena *a)
{
    int64_t size = job->tiled ? STRIP_ROWS * PANEL * STRIP_PANELS : BLOCK_ROWS * BLOCK_COLUMNS;
    scratch *members = CARVE(a, scratch, job->n_threads);
    for (int i = 0; i < job->n_threads; ++i) {
        scratch own = {0};
        own.gradient = CARVE(a, real, size);
        own.wide_gradient = CARVE(a, double, job->batch_size > CHUNK_ROWS ? size : 0);
        own.row = CARVE(a, real, max_i64(GROUP_BUFFERS * widest_group(&job->model), job->model.top_k > 0 ? TOP_K_BUFFERS * padded(job->model.n_components) : 0));
        own.own_rows = CARVE(a, row_entries, job->model.has_own ? 2 * job->batch_size : 0);
        own.own_reals = CARVE(a, real, own_output_reals(&job->model, job->batch_size));
        if (members)
            members[i] = own;
    }
    return members;
}

static int64_t n_parameters(const autoencoder_model *model)
{
    return view_parameters(model).theta_at + (model->theta ? model->n_features : 0);
}

/* The job of layer l > 0; `at` is where its part of the flat arrays begins. */
static training_job job_of_layer(const training_job *job, int l, int64_t at)
{
    training_job own = *job;
    own.model = job->upper[l - 1];
    own.inputs = (input_view){0};
    own.terms = (code_terms){0};
    own.gradients = job->gradients ? job->gradients + at : 0;
    for (int i = 0; i < MOST_STATES; ++i)
        own.state[i] = job->state[i] ? (real *)job->state[i] + at : 0;
    return own;
}

static void carve_layer(training *t, training_job *job, const training *below, arena *working, arena *packed)
{
    *t = (training){.job = job, .d = job->model.n_features, .k = job->model.n_components, .below = below};
    t->width_d = job->tiled ? padded(t->d) : t->d;
    t->width_k = job->tiled ? padded(t->k) : t->k;
    carve_weights(t, packed);
    carve_activations(t, working);
}

static void carve_network(network *net, training_job *job, void *workspace, void *packed, int64_t *workspace_bytes, int64_t *packed_bytes)
{
    arena working = arena_at(workspace), weights = arena_at(packed);
    int64_t at = 0;
    net->job = job;
    net->n_layers = 1 + job->n_upper;
    for (int l = 0; l < net->n_layers; ++l) {
        if (l > 0)
            net->jobs[l] = job_of_layer(job, l, at);
        training_job *own = l > 0 ? &net->jobs[l] : job;
        carve_layer(&net->layers[l], own, l > 0 ? &net->layers[l - 1] : 0, &working, &weights);
        if (l > 0)
            carve_between(&net->layers[l - 1], &net->layers[l], &working);
        at += n_parameters(&own->model);
    }
    scratch *members = carve_members(job, &working);
    for (int l = 0; l < net->n_layers; ++l)
        net->layers[l].members = members;
    *workspace_bytes = arena_bytes(&working);
    *packed_bytes = arena_bytes(&weights);
}

static int64_t training_workspace_bytes(const training_job *job)
{
    training_job measured = *job;
    network net;
    int64_t bytes, packed;
    carve_network(&net, &measured, 0, 0, &bytes, &packed);
    return bytes;
}

static int64_t packed_bytes(const training_job *job)
{
    training_job measured = *job;
    network net;
    int64_t bytes, packed;
    carve_network(&net, &measured, 0, 0, &bytes, &packed);
    return packed;
}

static void carved_network(network *net, training_job *job)
{
    int64_t bytes, packed;
    carve_network(net, job, job->workspace, job->packed, &bytes, &packed);
}

static void pack_or_unpack(training_job *job, void (*matrix)(const training_job *, const weight_matrix *))
{
    network net;
    carved_network(&net, job);
    for (int l = 0; l < net.n_layers; ++l) {
        const training *t = &net.layers[l];
        matrix(t->job, &t->W);
        if (!t->job->model.tied)
            matrix(t->job, &t->V);
    }
}

static void pack(training_job *job) { pack_or_unpack(job, pack_matrix); }
static void unpack(training_job *job) { pack_or_unpack(job, unpack_matrix); }

/* ---- the phases, by either kind of products ---- */

static void load_phase(const training *t, member m, const batch_plan *plan, int64_t first)
{
    for (int64_t i = share_begin(m, plan->n); i < share_end(m, plan->n); ++i)
        t->weight[i] = weight_of_row(t->job, first + i, plan->n);
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
    if (t->job->model.top_k == 0)
        return;
    team_barrier(m);
    if (t->kept_units.kept == 0) {
        top_k_phase(t, m, plan, t->job->tiled ? row_in_panels : row_in_rows);
        return;
    }
    choose_phase(t, m, plan);
    team_barrier(m);
    arrange_phase(t, m, plan);
}

static void decode_phase(const training *t, member m, const batch_plan *plan) { (t->job->tiled ? decode_by_tiles : decode_by_blas)(t, m, plan); }

/* Then groups of columns. */
static void output_phase(const training *t, member m, const batch_plan *plan)
{
    (t->kept_units.kept ? output_through_kept : t->job->tiled ? output_by_tiles : output_by_blas)(t, m, plan);
    if (plan->n_chunks > 0) {
        team_barrier(m);
        groups_phase(t, m, plan, t->job->tiled ? row_in_panels : row_in_rows);
    }
}

static void delta_phase(const training *t, member m, const batch_plan *plan)
{
    (t->kept_units.kept ? delta_through_kept : t->job->tiled ? delta_by_tiles : delta_by_blas)(t, m, plan);
}

static void code_phase(const training *t, member m, const batch_plan *plan) { (t->job->tiled ? code_delta_by_tiles : code_delta_by_blas)(t, m, plan); }

/* Blocks of weights, those of W and then those of V. */
static int64_t n_parts(const training *t, const batch_plan *plan) { return plan->n_penalties * n_matrices(t); }

static weight_part part_at(const training *t, const batch_plan *plan, int64_t i)
{
    int64_t blocks = plan->n_penalties;
    return (weight_part){.encoder = i < blocks, .decoder = t->job->model.tied || i >= blocks, .index = i % blocks};
}

typedef double weight_function(const training *, const batch_plan *, const step_constants *, weight_part, scratch *, double *squares);

static void weight_phase(const training *t, member m, const batch_plan *plan, const step_constants *constants)
{
    weight_function *function = t->kept_units.kept ? weights_through_kept : t->job->tiled ? weights_by_tiles : weights_by_blas;
    for (work w = begin_work(m, t->shares, n_parts(t, plan)); take_items(&w, RUN_PANELS);)
        for (int64_t i = w.begin; i < w.end; ++i) {
            double squares = 0;
            t->penalties[i] = function(t, plan, constants, part_at(t, plan, i), &t->members[m.index], &squares);
            if (t->squares)
                t->squares[i] = squares;
        }
}

/* Where gradients were kept. */
static void move_phase(const training *t, member m, const batch_plan *plan, const step_constants *constants, real factor)
{
    for (int64_t i = share_begin(m, n_parts(t, plan)), end = share_end(m, n_parts(t, plan)); i < end; ++i)
        (t->job->tiled ? move_by_tiles : move_by_blas)(t, plan, constants, part_at(t, plan, i), factor);
}

static void limit_phase(const training *t, member m)
{
    int64_t strips = ceil_div(t->k, PANEL), items = strips * n_matrices(t);
    for (int64_t i = share_begin(m, items), end = share_end(m, items); i < end; ++i) {
        int64_t row = i % strips * PANEL;
        limit_rows(t->job, i < strips ? &t->W : &t->V, row, min_i64(PANEL, t->k - row));
    }
}

/* ---- biases: too few to share ---- */

/* A bias, and the partial sums that its gradient is the sum of. */
typedef struct {
    real *values;
    int64_t at, n;           /* in the flat layout */
    const double *partial;   /* (row_blocks, n) */
    int64_t row_blocks;
} bias_part;

static bias_part bias_of(const network *net, const batch_plan *plans, int l, int i)
{
    const training *t = &net->layers[l]; /* partial sums have the row blocks of the layer that made them */
    if (i == 0)
        return (bias_part){t->p.c, t->p.c_at, t->d, t->c_sums, l > 0 ? plans[l - 1].row_blocks_k : plans[l].row_blocks_d + plans[l].n_chunks};
    if (i == 1)
        return (bias_part){t->p.theta, t->p.theta_at, t->p.theta ? t->d : 0, t->theta_sums, plans[l].row_blocks_d};
    return (bias_part){t->p.b, t->p.b_at, t->k, t->b_sums, l + 1 < net->n_layers ? plans[l + 1].row_blocks_d : plans[l].row_blocks_k};
}

static void move_bias(const training *t, const step_constants *constants, const bias_part *bias, int64_t first, int64_t n, real *gradient)
{
    real *state[MOST_STATES];
    for (int i = 0; i < MOST_STATES; ++i)
        state[i] = t->job->state[i] ? (real *)t->job->state[i] + bias->at : 0;
    update_run(t->job, constants, bias->values, gradient, state, first, n);
}

/* The gradient is added to gradients; kept, to be clipped; or the bias moves by it. Returns its squares where it is kept. */
static double use_bias_gradient(const training *t, const step_constants *constants, const bias_part *bias)
{
    real gradient[BLOCK_COLUMNS];
    double squares = 0;
    for (int64_t first = 0; first < bias->n; first += BLOCK_COLUMNS) {
        int64_t columns = min_i64(BLOCK_COLUMNS, bias->n - first);
        for (int64_t j = 0; j < columns; ++j) {
            double sum = 0;
            for (int64_t r = 0; r < bias->row_blocks; ++r)
                sum += bias->partial[r * bias->n + first + j];
            gradient[j] = (real)sum;
        }
        if (t->job->gradients) {
            keep_gradient(t->job, bias->at + first, gradient, columns);
        } else if (t->bias_gradient) {
            memcpy(t->bias_gradient + bias->at - t->p.b_at + first, gradient, (size_t)columns * sizeof(real));
            squares += sum_of_squares(gradient, columns);
        } else {
            move_bias(t, constants, bias, first, columns, gradient);
        }
    }
    return squares;
}

static void move_clipped_bias(const training *t, const step_constants *constants, const bias_part *bias, real factor)
{
    real *gradient = t->bias_gradient + bias->at - t->p.b_at;
    scale_run(factor, gradient, bias->n);
    move_bias(t, constants, bias, 0, bias->n, gradient);
}

/* ---- a batch, a call ---- */

static double sum_of(const double *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; ++i)
        sum += x[i];
    return sum;
}

static void update_phase(const network *net, member m, const batch_plan *plans, const step_constants *constants)
{
    for (int l = 0; l < net->n_layers; ++l) {
        const training *t = &net->layers[l];
        weight_phase(t, m, &plans[l], constants);
        for (int i = 0; m.index == 0 && i < MOST_BIASES; ++i) {
            bias_part bias = bias_of(net, plans, l, i);
            double squares = use_bias_gradient(t, constants, &bias);
            if (t->squares)
                t->squares[n_parts(t, &plans[l]) + i] = squares;
        }
    }
}

/* The second half of an update whose gradient is clipped. Returns the gradient's norm; nothing moves if it is not finite. */
static double clipped_phase(const network *net, member m, const batch_plan *plans, const step_constants *constants)
{
    double square = 0;
    for (int l = 0; l < net->n_layers; ++l)
        square += sum_of(net->layers[l].squares, n_parts(&net->layers[l], &plans[l]) + MOST_BIASES);
    if (!isfinite(square))
        return square;
    real factor = clipping_factor(net->job, square);
    for (int l = 0; l < net->n_layers; ++l) {
        const training *t = &net->layers[l];
        move_phase(t, m, &plans[l], constants, factor);
        for (int i = 0; m.index == 0 && i < MOST_BIASES; ++i) {
            bias_part bias = bias_of(net, plans, l, i);
            move_clipped_bias(t, constants, &bias, factor);
        }
    }
    return sqrt(square);
}

/* Returns the batch's loss, the same number in every member; one that is not finite means that nothing was updated. */
static double train_batch(const network *net, member m, const batch_plan *plans, const step_constants *constants, int64_t first)
{
    const training *layers = net->layers;
    int last = net->n_layers - 1;
    load_phase(&layers[0], m, &plans[0], first);
    team_barrier(m);
    for (int l = 0; l <= last; ++l, team_barrier(m))
        hidden_phase(&layers[l], m, &plans[l], net->job->inputs.first_sample + first);
    for (int l = last; l > 0; --l, team_barrier(m))
        decode_phase(&layers[l], m, &plans[l]);
    output_phase(&layers[0], m, &plans[0]);
    team_barrier(m);
    double loss = sum_of(layers[0].losses, plans[0].n_losses + plans[0].n_chunks);
    if (!isfinite(loss))
        return loss;
    for (int l = 0; l <= last; ++l, team_barrier(m))
        delta_phase(&layers[l], m, &plans[l]);
    for (int l = last; l > 0; --l, team_barrier(m))
        code_phase(&layers[l], m, &plans[l]);
    update_phase(net, m, plans, constants);
    if (m.index == 0)
        count_unused(&layers[0], &plans[0]);
    team_barrier(m);
    if (net->job->clip_norm > 0) {
        double norm = clipped_phase(net, m, plans, constants);
        if (!isfinite(norm))
            return norm;
        team_barrier(m);
    }
    if (net->job->max_norm > 0) {
        for (int l = 0; l <= last; ++l)
            limit_phase(&layers[l], m);
        team_barrier(m);
    }
    for (int l = 0; l <= last; ++l)
        loss += sum_of(layers[l].penalties, n_parts(&layers[l], &plans[l]));
    if (has_code_penalty(&net->job->terms))
        loss += sum_of(layers[0].code_losses, plans[0].n_code_losses);
    return loss;
}

static void train_member(void *context, member m)
{
    const network *net = (const network *)context;
    training_job *job = net->job;
    training_job now = *job; /* what this member keeps of the job's progress */
    batch_plan plans[MOST_LAYERS];
    int64_t planned = 0;
    for (int64_t first = 0; first < job->rows.n_rows; first += job->batch_size) {
        int64_t n = min_i64(job->batch_size, job->rows.n_rows - first);
        for (int l = 0; n != planned && l < net->n_layers; ++l)
            plans[l] = plan_batch(&net->layers[l], n);
        planned = n;
        step_constants constants = constants_of_step(&now);
        double loss = train_batch(net, m, plans, &constants, first);
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
    network net;
    carved_network(&net, job);
    const scratch *members = net.layers[0].members;
    for (int i = 0; i < job->n_threads; ++i)
        net.layers[0].members[i].bad_rows = STATUS_OK;
    for (int l = 0; l < net.n_layers; ++l)
        for (int i = 0; i < job->n_threads; ++i)
            net.layers[l].shares[i] = (share){0};
    refresh_revival(&net.layers[0]);
    job->status = STATUS_OK;
    team_run(job->n_threads, FLOAT_MODE_FLUSH, train_member, &net);
    for (int i = 0; i < job->n_threads; ++i)
        job->status |= members[i].bad_rows;
}

#endif
