/* The layers of a network, and the memory that training needs: one block holds the weights from
   `pack` to `unpack`, another everything else of a call. */
#ifndef AEFAST_NETWORK_H
#define AEFAST_NETWORK_H

#include "kernels/autoencoder/step/blas_phases.h"
#include "kernels/autoencoder/step/entry_outputs.h"
#include "kernels/autoencoder/step/orthogonal.h"

typedef struct {
    training_job *job;
    /* Number of layers, and of layers and a head, which is the last part. */
    int n_layers, n_parts;
    training layers[MOST_PARTS];
    /* Where there are several parts, jobs of all but a single layer: copies of the job with the
       part's model, and pointers to the part's place in the flat arrays. */
    training_job jobs[MOST_PARTS];
    orthogonal_buffers orthogonal;
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

/* Reserve the arrays that only variants need, or set their pointers to NULL. */
static void carve_code_terms(training *t, arena *a, int64_t stored_rows, int64_t n_losses,
                             int64_t row_blocks)
{
    const code_terms *terms = &t->job->terms;
    t->code_losses = CARVE(a, double, n_losses);
    t->code_sums = penalty_of_means(terms) ? CARVE(a, double, row_blocks * t->k) : 0;
    t->square_sums = terms->contraction > 0 ? CARVE(a, double, row_blocks * t->k) : 0;
    t->norms = terms->contraction > 0 ? CARVE(a, real, padded(t->k)) : 0;
    t->kept_weights = drops_units(t->job) ? CARVE(a, double, row_blocks * t->k) : 0;
    t->revive = terms->revive > 0 ? CARVE(a, real, padded(t->k)) : 0;
    t->decoder_norms = terms->revive > 0 ? CARVE(a, real, padded(t->k)) : 0;
    if (drops_units(t->job) && t->entries.per_row == 0)
        t->clean = CARVE(a, real, stored_rows * t->width_k);
}

/* Return whether a layer reads the entries of rows in CSR form, not dense rows. */
static int reads_entries(const training *t)
{
    const training_job *job = t->job;
    return !t->below && job->tiled && GROUP == 1 && inputs_are_sparse(&job->rows, &job->inputs) &&
           !goes_through_entries(job) && !job->model.has_custom && !job->head;
}

/* Return the number of partial sums beyond those of a whole batch: BLAS may cut a smaller batch
   into more blocks. */
static int64_t n_more_sums(const training *t) { return t->job->tiled ? 0 : 2 * BLOCKS_WANTED; }

/* Reserve the partial sums of losses and gradients of a layer or a head. */
static void carve_sums(training *t, const batch_plan *plan, arena *a)
{
    int64_t n_more = n_more_sums(t), n_blocks = (plan->blocks_per_matrix + n_more) * n_matrices(t);
    t->weight = t->below ? t->below->weight : CARVE(a, real, t->job->batch_size);
    t->losses = CARVE(a, double, plan->n_losses + plan->n_chunks + n_more);
    t->l2_penalties = CARVE(a, double, n_blocks);
    t->c_sums = CARVE(a, double, (plan->row_blocks_d + plan->n_chunks + n_more) * t->d);
    t->squares = stores_gradient(t->job) ? CARVE(a, double, n_blocks + MOST_BIASES) : 0;
    t->bias_gradient = stores_gradient(t->job) ? CARVE(a, real, 2 * t->k + 2 * t->d) : 0;
    t->theta_sums = t->p.theta ? CARVE(a, double, (plan->row_blocks_d + n_more) * t->d) : 0;
    t->shares = CARVE(a, share, t->job->n_threads);
}

/* Reserve the arrays of a layer. */
static void carve_activations(training *t, arena *a)
{
    int64_t n_more = n_more_sums(t);
    batch_plan plan = plan_batch(t, t->job->batch_size);
    int64_t dense_rows = reads_entries(t) ? 0 : plan.stored_rows;
    t->X = t->T = t->below ? t->below->H : CARVE(a, real, dense_rows * t->width_d);
    if (reads_entries(t))
        t->sparse = carve_sparse_batch(t, &plan, a);
    else if (inputs_differ(&t->job->inputs))
        t->T = CARVE(a, real, plan.stored_rows * t->width_d);
    t->E = CARVE(a, real,
                 plan.stored_rows * (t->sparse.has_entry_outputs ? t->width_k : t->width_d));
    t->H = CARVE(a, real, plan.stored_rows * t->width_k);
    t->D = CARVE(a, real, plan.stored_rows * t->width_k);
    t->X_forms = t->below     ? t->below->H_forms
                 : GROUP == 1 ? t->X
                              : CARVE(a, real, plan.stored_rows * t->width_d);
    t->H_forms = GROUP == 1 ? t->H : CARVE(a, real, plan.stored_rows * t->width_k);
    carve_sums(t, &plan, a);
    t->b_sums = CARVE(a, double, (plan.row_blocks_k + n_more) * t->k);
    t->gain_sums = t->p.gain ? CARVE(a, double, (plan.row_blocks_k + n_more) * t->k) : 0;
    t->R = t->clean = t->H, t->R_forms = t->H_forms, t->G = t->D, t->g_sums = t->b_sums;
    if (goes_through_entries(t->job))
        t->entries = carve_kept_entries(t->job, &plan, a);
    if (has_code_terms(t->job))
        carve_code_terms(t, a, plan.stored_rows, plan.n_code_losses + n_more,
                         plan.row_blocks_k + n_more);
    if (t->clean == t->H && t->p.gain)
        t->clean = CARVE(a, real, plan.stored_rows * t->width_k);
}

/* Reserve or set the arrays that lie between a layer and the layer above. */
static void carve_between(training *t, const training *above, arena *a)
{
    int64_t size = plan_batch(t, t->job->batch_size).stored_rows * t->width_k;
    t->R = CARVE(a, real, size);
    if (!t->p.gain)
        t->clean = t->R;
    t->R_forms = GROUP == 1 ? t->R : CARVE(a, real, size);
    t->G = above->E;
    t->g_sums = above->c_sums;
}

/* Return the model of the last layer, whose hidden units are the code. */
static const autoencoder_model *code_model(const training_job *job)
{
    return job->n_upper > 0 ? &job->upper[job->n_upper - 1] : &job->model;
}

/* Reserve the arrays of a head: targets and outputs of its own, and the code of the layer below. */
static void carve_head(training *t, training *code, arena *a)
{
    batch_plan plan = plan_batch(t, t->job->batch_size);
    t->X = t->T = CARVE(a, real, plan.stored_rows * t->width_d);
    t->X_forms = GROUP == 1 ? t->X : CARVE(a, real, plan.stored_rows * t->width_d);
    t->E = CARVE(a, real, plan.stored_rows * t->width_d);
    carve_sums(t, &plan, a);
    code->added = t->job->head_alone ? 0 : CARVE(a, real, plan.stored_rows * t->width_k);
    t->R = code->R, t->R_forms = code->R_forms;
    t->G = t->job->head_alone ? code->G : code->added;
}

/* Reserve the buffers of each thread. */
static scratch *carve_members(const training_job *job, int is_sparse, arena *a)
{
    int64_t size = job->tiled ? STRIP_ROWS * PANEL * STRIP_PANELS : BLOCK_ROWS * BLOCK_COLUMNS;
    const autoencoder_model *code = code_model(job);
    scratch *members = CARVE(a, scratch, job->n_threads);
    for (int i = 0; i < job->n_threads; ++i) {
        scratch buffers = {0};
        buffers.gradient = CARVE(a, real, size);
        buffers.wide_gradient = CARVE(a, double, job->batch_size > CHUNK_ROWS ? size : 0);
        int64_t widest = max_i64(widest_group(&job->model),
                                 job->head ? widest_group(job->head) : 0);
        buffers.row =
            CARVE(a, real,
                  max_i64(GROUP_BUFFERS * widest,
                          code->top_k > 0 ? TOP_K_BUFFERS * padded(code->n_components) : 0));
        buffers.panel_targets = CARVE(a, real, is_sparse ? TILE_BLOCK_ROWS * PANEL : 0);
        buffers.row_targets =
            CARVE(a, real, is_sparse && job->model.has_groups ? padded(job->model.n_features) : 0);
        buffers.custom_rows = CARVE(a, row_entries,
                                    job->model.has_custom ? 2 * job->batch_size : 0);
        buffers.custom_reals = CARVE(a, real, custom_output_reals(&job->model, job->batch_size));
        if (members)
            members[i] = buffers;
    }
    return members;
}

/* Reserve the buffers of orthogonal steps, which suffice for the matrix of any layer. */
static void carve_orthogonal(network *net, arena *a)
{
    int64_t squares = 0, side = 0, rows = 0;
    for (int l = 0; l < net->n_parts; ++l) {
        int64_t d = net->layers[l].d, k = net->layers[l].k;
        squares = max_i64(squares, n_panels(k) * n_panels(d));
        side = max_i64(side, n_panels(min_i64(k, d)));
        rows = max_i64(rows, k);
    }
    net->orthogonal = carve_orthogonal_buffers(a, side, squares, rows, net->job->n_threads);
    for (int l = 0; l < net->n_parts; ++l)
        net->layers[l].orthogonal = &net->orthogonal;
}

static int64_t n_parameters(const autoencoder_model *model)
{
    return view_parameters(model).gain_at + (model->gain ? model->n_components : 0);
}

/* to <- the job of part l, a layer of a deep network or a head, whose parameters begin at `at` in
   the flat layout. */
static void make_job_of_part(const training_job *job, const autoencoder_model *model, int l,
                             int64_t at, training_job *to)
{
    *to = *job;
    to->model = *model;
    if (l > 0) /* what stays is the key of the noise of codes */
        to->inputs = (input_view){.seed = job->inputs.seed, .layer = job->inputs.layer};
    if (l != job->n_upper)
        to->terms = (code_terms){0}, to->rows_unused = 0;
    to->gradients = job->gradients ? job->gradients + at : 0;
    to->given = job->given ? job->given + at : 0;
    for (int i = 0; i < MOST_STATES; ++i)
        to->state[i] = job->state[i] ? (real *)job->state[i] + at : 0;
}

/* Let the job of a head read targets as another job reads rows. */
static void read_targets(const training_job *job, training_job *of_head)
{
    of_head->rows = job->head_rows;
    of_head->rows.order = job->rows.order, of_head->rows.n_rows = job->rows.n_rows;
    of_head->sample_weight = job->head_weight;
}

static void begin_part(training *t, training_job *job, arena *packed)
{
    *t = (training){.job = job, .d = job->model.n_features, .k = job->model.n_components};
    t->width_d = job->tiled ? padded(t->d) : t->d;
    t->width_k = job->tiled ? padded(t->k) : t->k;
    carve_weights(t, packed);
}

/* Lay out all layers in the two blocks of memory, and compute the blocks' sizes. With NULL for
   both, only the sizes are meaningful. */
static void carve_network(network *net, training_job *job, void *workspace, void *packed,
                          int64_t *workspace_bytes, int64_t *packed_bytes)
{
    arena working = arena_at(workspace), weights = arena_at(packed);
    int64_t at = 0;
    net->job = job;
    net->n_layers = 1 + job->n_upper, net->n_parts = net->n_layers + (job->head != 0);
    for (int l = 0; l < net->n_parts; ++l) {
        training *t = &net->layers[l], *below = l > 0 ? t - 1 : 0;
        int is_head = l == net->n_layers, has_job = l > 0 || job->n_upper > 0;
        if (has_job)
            make_job_of_part(job,
                             is_head ? job->head
                             : l > 0 ? &job->upper[l - 1]
                                     : &job->model,
                             l, at, &net->jobs[l]);
        if (is_head)
            read_targets(job, &net->jobs[l]);
        begin_part(t, has_job ? &net->jobs[l] : job, &weights);
        t->below = is_head ? 0 : below, t->code = is_head ? below : 0;
        if (is_head)
            carve_head(t, below, &working);
        else
            carve_activations(t, &working);
        if (l > 0 && !is_head)
            carve_between(below, t, &working);
        at += n_parameters(&t->job->model);
    }
    scratch *members = carve_members(job, net->layers[0].sparse.is_used, &working);
    for (int l = 0; l < net->n_parts; ++l)
        net->layers[l].members = members;
    if (stores_gradient(job) && solvers[job->hyper.solver].direction)
        carve_orthogonal(net, &working);
    *workspace_bytes = arena_bytes(&working);
    *packed_bytes = arena_bytes(&weights);
}

/* Compute the sizes in bytes of the two blocks of memory. */
static void measure_network(const training_job *job, int64_t *workspace, int64_t *packed)
{
    training_job measured = *job;
    network net;
    carve_network(&net, &measured, 0, 0, workspace, packed);
}

static int64_t training_workspace_bytes(const training_job *job)
{
    int64_t workspace, packed;
    return measure_network(job, &workspace, &packed), workspace;
}

static int64_t packed_bytes(const training_job *job)
{
    int64_t workspace, packed;
    return measure_network(job, &workspace, &packed), packed;
}

static void carved_network(network *net, training_job *job)
{
    int64_t bytes, packed;
    carve_network(net, job, job->workspace, job->packed, &bytes, &packed);
}

static void pack_or_unpack(training_job *job,
                           void (*matrix)(const training_job *, const weight_matrix *))
{
    network net;
    carved_network(&net, job);
    for (int l = 0; l < net.n_parts; ++l) {
        const training *t = &net.layers[l];
        matrix(t->job, &t->W);
        if (!t->job->model.tied)
            matrix(t->job, &t->V);
    }
}

static void pack(training_job *job) { pack_or_unpack(job, pack_matrix); }
static void unpack(training_job *job) { pack_or_unpack(job, unpack_matrix); }

#endif
