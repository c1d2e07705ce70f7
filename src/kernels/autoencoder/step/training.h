/* Training steps, and gradients without an update.

   A batch of n rows goes through five phases; after each, the threads of the team meet at a
   barrier. Within a phase they share blocks that follow from the shapes alone, and an epilogue
   works on each block while it is in cache:

       load     X <- rows, gathered and converted
       hidden   H <- g(X W^T + b)
       output   E <- weight o dloss/deta at eta = H V + c;   dc <- column sums
       delta    D <- (E V^T) o g'(H);                        db <- column sums
       weights  dW = D^T X (+ H^T E when tied), dV = H^T E;  each block updates its weights, or is
                added to `gradients`

   This is backpropagation, with E = dA^ of the output and D = dA of the hidden layer. Tied weights
   (V == W) have a gradient that is the sum of two products.

   In a deep network all layers l = 0, 1, ... go through these phases; X of layer l + 1 is H of
   layer l. Two more phases take the codes back down. Between hidden and output, from the last layer
   on (whose R is H),

       decode   R of layer l - 1 <- g(R V + c)

   The delta phase goes up the layers. It gives G, which is the E of the layer above, or D in the
   last layer. Then, on the way down,

       code     D of layer l - 1 <- (D W) o g'(H of layer l - 1)

   and dW = D^T X + R^T E. With one layer, R is H, G is D, and these two phases do nothing.

   A head decodes the code once more, to targets of its own. It goes through the phases load,
   output, delta and weights as a layer does whose R is the code's: its delta phase leaves E V^T,
   and the delta phase of the code adds it. Where the head is alone there is no other decoder: E of
   the layers does not exist, the head's delta phase is that of the code, and dW = D^T X.

   tile_phases.h has the phases for register tiles, blas_phases.h those for BLAS, and kept_entries.h
   those for top-k codes with few kept units. */
#ifndef AEFAST_TRAINING_H
#define AEFAST_TRAINING_H

#include "kernels/autoencoder/step/kept_entries.h"
#include "kernels/autoencoder/step/network.h"
#include "kernels/autoencoder/step/norms.h"

/* ---- the phases, for register tiles or for BLAS ---- */

static void load_phase(const training *t, member m, const batch_plan *plan, int64_t first)
{
    weigh_rows(t->job, first, plan->n, share_begin(m, plan->n), share_end(m, plan->n), t->weight);
    if (t->sparse.is_used)
        load_sparse(t, m, plan, first);
    else if (t->job->tiled)
        load_tiles(t, m, plan, first);
    else
        load_rows(t, m, plan, first);
}

/* Compute codes. With top-k, choose the units that each row keeps, once whole rows are complete. */
static void hidden_phase(const training *t, member m, const batch_plan *plan, int64_t sample)
{
    (t->sparse.is_used ? hidden_by_sparse
     : t->job->tiled   ? hidden_by_tiles
                       : hidden_by_blas)(t, m, plan, sample);
    if (t->job->model.top_k == 0)
        return;
    team_barrier(m);
    if (t->entries.per_row == 0) {
        top_k_phase(t, m, plan, t->job->tiled ? row_in_panels : row_in_rows);
        return;
    }
    choose_phase(t, m, plan);
    team_barrier(m);
    arrange_phase(t, m, plan);
}

static void decode_phase(const training *t, member m, const batch_plan *plan)
{
    (t->job->tiled ? decode_by_tiles : decode_by_blas)(t, m, plan);
}

/* Compute losses and E. Groups of columns follow, once whole rows are complete. */
static void output_phase(const training *t, member m, const batch_plan *plan)
{
    (t->entries.per_row            ? output_through_entries
     : t->sparse.has_entry_outputs ? output_by_entries
     : t->job->tiled               ? output_by_tiles
                                   : output_by_blas)(t, m, plan);
    if (plan->n_chunks > 0) {
        team_barrier(m);
        groups_phase(t, m, plan, t->job->tiled ? row_in_panels : row_in_rows);
    }
}

static void delta_phase(const training *t, member m, const batch_plan *plan)
{
    (t->entries.per_row            ? delta_through_entries
     : t->sparse.has_entry_outputs ? delta_by_entries
     : t->job->tiled               ? delta_by_tiles
                                   : delta_by_blas)(t, m, plan);
}

static void code_phase(const training *t, member m, const batch_plan *plan)
{
    (t->job->tiled ? code_delta_by_tiles : code_delta_by_blas)(t, m, plan);
}

/* Return the number of blocks of weights: the blocks of W come first, then those of V. */
static int64_t n_weight_blocks(const training *t, const batch_plan *plan)
{
    return plan->blocks_per_matrix * n_matrices(t);
}

static weight_block weight_block_at(const training *t, const batch_plan *plan, int64_t i)
{
    int64_t blocks = plan->blocks_per_matrix;
    int is_decoded = t->code || !t->job->head_alone;
    return (weight_block){.encoder = i < blocks && !t->code,
                          .decoder = is_decoded && (t->job->model.tied || i >= blocks),
                          .index = i % blocks};
}

typedef double weight_function(const training *, const batch_plan *, const step_constants *,
                               weight_block, scratch *, double *squares);

/* Compute the gradients of all weights, block by block, and use them. */
static void weight_phase(const training *t, member m, const batch_plan *plan,
                         const step_constants *constants)
{
    weight_function *function = t->job->given ? t->job->tiled ? given_by_tiles : given_by_blas
                                : t->entries.per_row ? weights_through_entries
                                : t->sparse.is_used  ? weights_by_sparse
                                : t->job->tiled      ? weights_by_tiles
                                                     : weights_by_blas;
    step_constants scaled[2] = {constants_of_array(constants, &t->job->model, ARRAY_W),
                                constants_of_array(constants, &t->job->model, ARRAY_V)};
    for (work w = begin_work(m, t->shares, n_weight_blocks(t, plan)); take_items(&w, RUN_PANELS);)
        for (int64_t i = w.begin; i < w.end; ++i) {
            double squares = 0;
            weight_block block = weight_block_at(t, plan, i);
            t->l2_penalties[i] = function(t, plan, &scaled[!block.encoder], block,
                                          &t->members[m.index], &squares);
            if (t->squares)
                t->squares[i] = squares;
        }
}

/* Update the weights from stored gradients, multiplied by `factor`. */
static void move_phase(const training *t, member m, const batch_plan *plan,
                       const step_constants *constants, real factor)
{
    for (int64_t i = share_begin(m, n_weight_blocks(t, plan)),
                 end = share_end(m, n_weight_blocks(t, plan));
         i < end; ++i) {
        weight_block block = weight_block_at(t, plan, i);
        step_constants scaled = constants_of_array(constants, &t->job->model,
                                                   block.encoder ? ARRAY_W : ARRAY_V);
        (t->job->tiled ? move_by_tiles : move_by_blas)(t, plan, &scaled, block, factor);
    }
}

static void max_norm_phase(const training *t, member m, const step_constants *constants)
{
    int64_t strips = ceil_div(t->k, PANEL), items = strips * n_matrices(t);
    for (int64_t i = share_begin(m, items), end = share_end(m, items); i < end; ++i) {
        int64_t row = i % strips * PANEL, n = min_i64(PANEL, t->k - row);
        const weight_matrix *M = i < strips ? &t->W : &t->V;
        shorten_rows(t->job, M, row, n);
        average_rows(t->job, constants, M, row, n);
    }
}

/* ---- biases, which one thread updates: they are too few to share ---- */

/* A bias vector, and the partial sums that add up to its gradient. */
typedef struct {
    real *values;
    /* Offset in the flat layout, and length. */
    int64_t at, n;
    /* (row_blocks, n): partial sums of the gradient. */
    const double *partial;
    int64_t row_blocks;
    /* One of ARRAY_... */
    int array;
} bias_vector;

/* Return bias i of part l: c, theta, b or the gain. Its partial sums have the row blocks of the
   layer that computed them. Vectors that do not learn have no entries: in a head b, and in layers
   below a head that is alone all but b and the code's gain. */
static bias_vector summed_bias(const network *net, const batch_plan *plans, int l, int i)
{
    const training *t = &net->layers[l];
    int is_decoded = t->code || !t->job->head_alone, is_code = l + 1 == net->n_layers;
    if (i == 0)
        return (bias_vector){.array = ARRAY_C,
                             .values = t->p.c,
                             .at = t->p.c_at,
                             .n = is_decoded ? t->d : 0,
                             .partial = t->c_sums,
                             .row_blocks = t->below ? plans[l - 1].row_blocks_k
                                                    : plans[l].row_blocks_d + plans[l].n_chunks};
    if (i == 1)
        return (bias_vector){.array = ARRAY_THETA,
                             .values = t->p.theta,
                             .at = t->p.theta_at,
                             .n = t->p.theta && is_decoded ? t->d : 0,
                             .partial = t->theta_sums,
                             .row_blocks = plans[l].row_blocks_d};
    if (i == 2)
        return (bias_vector){.array = ARRAY_GAIN,
                             .values = t->p.gain,
                             .at = t->p.gain_at,
                             .n = t->p.gain && (is_decoded || is_code) ? t->k : 0,
                             .partial = t->gain_sums,
                             .row_blocks = plans[l].row_blocks_k};
    return (bias_vector){.array = ARRAY_B,
                         .values = t->p.b,
                         .at = t->p.b_at,
                         .n = t->code ? 0 : t->k,
                         .partial = t->b_sums,
                         .row_blocks = l + 1 < net->n_layers ? plans[l + 1].row_blocks_d
                                                             : plans[l].row_blocks_k};
}

/* Return bias i of part l; the only partial sum of a given gradient is the gradient. */
static bias_vector bias_of(const network *net, const batch_plan *plans, int l, int i)
{
    bias_vector bias = summed_bias(net, plans, l, i);
    const double *given = net->layers[l].job->given;
    if (given)
        bias.partial = given + bias.at, bias.row_blocks = 1;
    return bias;
}

static void move_bias(const training *t, const step_constants *constants, const bias_vector *bias,
                      int64_t first, int64_t n, real *gradient)
{
    real *state[MOST_STATES];
    for (int i = 0; i < MOST_STATES; ++i)
        state[i] = t->job->state[i] ? (real *)t->job->state[i] + bias->at : 0;
    step_constants scaled = constants_of_array(constants, &t->job->model, bias->array);
    update_run(t->job, &scaled, bias->values, gradient, state, first, n);
    average_run(&scaled, bias->values, state, first, n);
}

/* Add the gradient of a bias to `gradients`, store it, or move the bias by it. Return the sum of
   its squares where it is stored, else 0. */
static double use_bias_gradient(const training *t, const step_constants *constants,
                                const bias_vector *bias)
{
    real gradient[BLOCK_COLUMNS];
    double sums[BLOCK_COLUMNS], squares = 0;
    for (int64_t first = 0; first < bias->n; first += BLOCK_COLUMNS) {
        int64_t columns = min_i64(BLOCK_COLUMNS, bias->n - first);
        const double *whole = bias->partial + first;
        if (bias->row_blocks > 1) {
            memcpy(sums, whole, (size_t)columns * sizeof *sums);
            for (int64_t r = 1; r < bias->row_blocks; ++r)
                for (int64_t j = 0; j < columns; ++j)
                    sums[j] += bias->partial[r * bias->n + first + j];
            whole = sums;
        }
        for (int64_t j = 0; j < columns; j += LANES)
            vec_store_n(gradient + j, vec_load_doubles(whole + j, columns - j), columns - j);
        if (t->job->gradients) {
            add_to_gradients(t->job, bias->at + first, gradient, columns);
        } else if (t->bias_gradient) {
            real *stored = t->bias_gradient + bias->at - t->p.b_at + first;
            for (int64_t j = 0; j < columns; ++j)
                stored[j] = gradient[j];
            squares += sum_of_squares(gradient, columns);
        } else {
            move_bias(t, constants, bias, first, columns, gradient);
        }
    }
    return squares;
}

static void move_stored_bias(const training *t, const step_constants *constants,
                             const bias_vector *bias, real factor)
{
    real *gradient = t->bias_gradient + bias->at - t->p.b_at;
    scale_run(factor, gradient, bias->n);
    move_bias(t, constants, bias, 0, bias->n, gradient);
}

/* ---- a batch, a call ---- */

/* Compute and use the gradients of all parameters. Biases are left to one thread. */
static void update_phase(const network *net, member m, const batch_plan *plans,
                         const step_constants *constants)
{
    for (int l = 0; l < net->n_parts; ++l) {
        const training *t = &net->layers[l];
        weight_phase(t, m, &plans[l], constants);
        for (int i = 0; m.index == 0 && i < MOST_BIASES; ++i) {
            bias_vector bias = bias_of(net, plans, l, i);
            double squares = use_bias_gradient(t, constants, &bias);
            if (t->squares)
                t->squares[n_weight_blocks(t, &plans[l]) + i] = squares;
        }
    }
}

/* Replace the stored gradients of all matrices, times `factor`, by the directions of steps. */
static void direction_phase(const network *net, member m, const step_constants *constants,
                            real factor)
{
    for (int l = 0; l < net->n_parts; ++l) {
        const training *t = &net->layers[l];
        for (int i = 0; i < n_matrices(t); ++i)
            solvers[net->job->hyper.solver].direction(t, m, i == 0 ? &t->W : &t->V, constants,
                                                      factor);
    }
}

/* Update all parameters from stored gradients. Return the norm of the whole gradient; nothing
   moves if it is not finite. */
static double stored_phase(const network *net, member m, const batch_plan *plans,
                           const step_constants *constants)
{
    double square = 0;
    for (int l = 0; l < net->n_parts; ++l)
        square += sum_of(net->layers[l].squares,
                         n_weight_blocks(&net->layers[l], &plans[l]) + MOST_BIASES);
    if (!isfinite(square))
        return square;
    real factor = clipping_factor(net->job, square), factor_of_weights = factor;
    if (solvers[net->job->hyper.solver].direction) {
        direction_phase(net, m, constants, factor);
        factor_of_weights = 1;
    }
    for (int l = 0; l < net->n_parts; ++l) {
        const training *t = &net->layers[l];
        move_phase(t, m, &plans[l], constants, factor_of_weights);
        for (int i = 0; m.index == 0 && i < MOST_BIASES; ++i) {
            bias_vector bias = bias_of(net, plans, l, i);
            move_stored_bias(t, constants, &bias, factor);
        }
    }
    return sqrt(square);
}

/* Compute the loss of a batch and what the gradients of all parameters follow from. The phases end
   where the loss is not finite. */
static double propagate(const network *net, member m, const batch_plan *plans, int64_t first)
{
    const training *layers = net->layers;
    /* Parts 0 and `head`, if there is one, have rows and outputs. */
    int head = net->n_layers, n_parts = net->n_parts, last = head - 1,
        is_decoded = !net->job->head_alone;
    norms_phase(&layers[last], m);
    for (int l = 0; l < n_parts; l += head)
        load_phase(&layers[l], m, &plans[l], first);
    team_barrier(m);
    for (int l = 0; l <= last; ++l, team_barrier(m))
        hidden_phase(&layers[l], m, &plans[l], net->job->inputs.first_sample + first);
    for (int l = last; l > 0 && is_decoded; --l, team_barrier(m))
        decode_phase(&layers[l], m, &plans[l]);
    for (int l = is_decoded ? 0 : head; l < n_parts; l += head)
        output_phase(&layers[l], m, &plans[l]);
    team_barrier(m);
    double loss = 0;
    for (int l = is_decoded ? 0 : head; l < n_parts; l += head)
        loss += sum_of(layers[l].losses, plans[l].n_losses + plans[l].n_chunks);
    if (!isfinite(loss))
        return loss;
    /* The head's product comes first: the delta of the code adds it. */
    for (int i = head < n_parts ? -1 : 0; i <= (is_decoded ? last : -1); ++i, team_barrier(m))
        delta_phase(&layers[i < 0 ? head : i], m, &plans[i < 0 ? head : i]);
    for (int l = last; l > 0; --l, team_barrier(m))
        code_phase(&layers[l], m, &plans[l]);
    return loss;
}

/* Count the rows that have not kept each unit, or take the given counts. */
static void renew_unused(const network *net, const batch_plan *plans)
{
    const training_job *job = net->job;
    int last = net->n_layers - 1;
    if (!job->given)
        count_unused(&net->layers[last], &plans[last]);
    else if (job->given_unused)
        memcpy(job->rows_unused, job->given_unused,
               (size_t)net->layers[last].k * sizeof *job->rows_unused);
}

/* Train on one batch. Return its loss, the same number in each thread. A loss that is not finite
   means that nothing was updated. */
static double train_batch(const network *net, member m, const batch_plan *plans,
                          const step_constants *constants, int64_t first)
{
    const training *layers = net->layers;
    int code = net->n_layers - 1; /* the layer of the code */
    double loss = net->job->given ? net->job->given_loss : propagate(net, m, plans, first);
    if (!isfinite(loss))
        return loss;
    update_phase(net, m, plans, constants);
    if (m.index == 0)
        renew_unused(net, plans);
    team_barrier(m);
    if (stores_gradient(net->job)) {
        double norm = stored_phase(net, m, plans, constants);
        if (!isfinite(norm))
            return norm;
        team_barrier(m);
    }
    if (net->job->hyper.max_norm > 0) {
        for (int l = 0; l < net->n_parts; ++l)
            max_norm_phase(&layers[l], m, constants);
        team_barrier(m);
    }
    for (int l = 0; l < net->n_parts; ++l)
        loss += sum_of(layers[l].l2_penalties, n_weight_blocks(&layers[l], &plans[l]));
    if (has_code_penalty(&net->job->terms) && !net->job->given)
        loss += sum_of(layers[code].code_losses, plans[code].n_code_losses);
    return loss;
}

/* The function that each thread of the team runs: one batch after another. */
static void train_member(void *context, member m)
{
    const network *net = (const network *)context;
    training_job *job = net->job;
    /* This thread's copy of the counters: each thread advances its copy in the same way. */
    training_job now = *job;
    batch_plan plans[MOST_PARTS];
    int64_t planned = 0;
    for (int64_t first = 0; first < job->rows.n_rows; first += job->batch_size) {
        int64_t n = min_i64(job->batch_size, job->rows.n_rows - first);
        for (int l = 0; n != planned && l < net->n_parts; ++l)
            plans[l] = plan_batch(&net->layers[l], n);
        planned = n;
        step_constants constants = constants_of_step(&now);
        double loss = train_batch(net, m, plans, &constants, first);
        if (!isfinite(loss)) {
            now.status = STATUS_NOT_FINITE;
            break;
        }
        now.rate = rate_of_step(&now);
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
        job->rate = now.rate;
        job->schedule_step = now.schedule_step;
        job->status = now.status;
    }
}

/* Clear the threads' buffers for targets of rows in CSR form. */
static void clear_targets(const network *net)
{
    const real absent = absent_target(&net->job->rows);
    for (int i = 0; net->layers[0].sparse.is_used && i < net->job->n_threads; ++i) {
        const scratch *buffers = &net->layers[0].members[i];
        for (int64_t j = 0; j < TILE_BLOCK_ROWS * PANEL; ++j)
            buffers->panel_targets[j] = absent;
        for (int64_t j = 0; net->job->model.has_groups && j < padded(net->job->model.n_features);
             ++j)
            buffers->row_targets[j] = absent;
    }
}

static void train(training_job *job)
{
    network net;
    carved_network(&net, job);
    const scratch *members = net.layers[0].members;
    for (int i = 0; i < job->n_threads; ++i)
        net.layers[0].members[i].bad_rows = STATUS_OK;
    clear_targets(&net);
    for (int l = 0; l < net.n_parts; ++l)
        for (int i = 0; i < job->n_threads; ++i)
            net.layers[l].shares[i] = (share){0};
    job->status = STATUS_OK;
    team_run(job->n_threads, FLOAT_MODE_FLUSH, train_member, &net);
    for (int i = 0; i < job->n_threads; ++i)
        job->status |= members[i].bad_rows;
}

#endif
