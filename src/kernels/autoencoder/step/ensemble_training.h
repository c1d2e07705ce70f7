/* Training of many networks of equal shape in one call.

   The unit of work is a network: one thread trains it alone, so that there is no barrier, and its
   weights, state and rows stay in that thread's caches. A network goes through `train_member` as a
   team of one, the function that trains a single network, and has the same bits. The rows of a
   network are gathered into a buffer, with their columns chosen and scaled: all of them once where
   they fit, otherwise some batches at a time. */
#ifndef AEFAST_ENSEMBLE_TRAINING_H
#define AEFAST_ENSEMBLE_TRAINING_H

#include "kernels/autoencoder/ensemble.h"
#include "kernels/autoencoder/step/training.h"
#include "kernels/base/random_order.h"

/* The purpose in the key of shuffles: SHUFFLE of aefast/_base/random.py. */
enum { SHUFFLE_PURPOSE = 1 };
/* Size of the buffer of rows: half of a second-level cache. Rows to fetch ahead of a copy. */
enum { GATHERED_BYTES = 1 << 18, GATHER_AHEAD = 8 };

/* Memory of one thread. */
typedef struct {
    void *workspace, *packed;
    /* (most_rows): the order of the rows in an epoch. */
    int64_t *order;
    /* (table_rows, d): gathered rows. */
    real *table;
    int64_t table_rows;
} trainer;

/* A network in training. */
typedef struct {
    const ensemble_job *ensemble;
    trainer *memory;
    training_job job;
    network net;
    network_progress *progress;
    /* (1 + n_states, n_parameters). */
    real *values, *kept;
    int64_t n_values;
    /* The network's rows: their numbers in the table (NULL: 0, 1, ...), and how many there are. */
    const int64_t *numbers;
    int64_t n_rows;
    const int64_t *columns;
    /* Whether memory->table holds all rows, in the order of their numbers. */
    int is_gathered;
    double *losses;
} one_network;

/* ---- memory ---- */

static training_job job_of_one(const ensemble_job *ensemble)
{
    training_job job = ensemble->common;
    job.n_threads = 1;
    return job;
}

static int64_t gathered_rows(const ensemble_job *ensemble)
{
    int64_t d = ensemble->common.model.n_features, batch = ensemble->common.batch_size,
            fitting = GATHERED_BYTES / (d * (int64_t)sizeof(real));
    return min_i64(ensemble->most_rows, max_i64(batch, fitting / batch * batch));
}

static trainer carve_trainer(const ensemble_job *ensemble, arena *a)
{
    training_job job = job_of_one(ensemble);
    int64_t workspace, packed;
    measure_network(&job, &workspace, &packed);
    trainer memory = {.table_rows = gathered_rows(ensemble)};
    memory.workspace = CARVE(a, char, workspace);
    memory.packed = CARVE(a, char, packed);
    memory.order = CARVE(a, int64_t, ensemble->most_rows);
    memory.table = CARVE(a, real, memory.table_rows * ensemble->common.model.n_features);
    return memory;
}

static int64_t ensemble_workspace_bytes(const ensemble_job *ensemble)
{
    arena a = arena_at(0);
    CARVE(&a, share, ensemble->n_threads);
    for (int i = 0; i < ensemble->n_threads; ++i)
        carve_trainer(ensemble, &a);
    return arena_bytes(&a);
}

/* ---- rows ---- */

/* Copy row `from` of the table: the columns of the network, in the model's units. */
static void gather_row(const rows_view *rows, const char *from, const int64_t *columns, int64_t d,
                       real *out)
{
    for (int64_t j = 0; j < d; ++j) {
        const char *at = from + columns[j] * entry_bytes(rows->kind);
        double x;
        if (rows->kind == ROWS_FLOAT32) {
            float single;
            memcpy(&single, at, sizeof single);
            x = (double)single;
        } else if (rows->kind == ROWS_FLOAT64) {
            memcpy(&x, at, sizeof x);
        } else {
            x = (double)*(const uint8_t *)at;
        }
        out[j] = (real)(rows->shift ? (x - rows->shift[j]) * rows->factor[j] : x);
    }
}

/* Gather n rows into the table: places[i] is the place of the i-th among the network's rows; NULL:
   they come in their order. */
static void gather_rows(const one_network *one, const int64_t *places, int64_t n)
{
    rows_view rows = one->ensemble->common.rows;
    rows.shift = one->job.rows.shift, rows.factor = one->job.rows.factor;
    rows.order = 0;
    int64_t d = one->job.model.n_features;
    for (int64_t i = 0; i < n; ++i) {
        int64_t number[2];
        for (int ahead = 0; ahead < 2; ++ahead) {
            int64_t at = min_i64(n - 1, i + ahead * GATHER_AHEAD), place = places ? places[at] : at;
            number[ahead] = one->numbers ? one->numbers[place] : place;
        }
        __builtin_prefetch(rows.data + number[1] * rows.stride);
        const char *from = rows.data + number[0] * rows.stride;
        if (one->columns)
            gather_row(&rows, from, one->columns, d, one->memory->table + i * d);
        else
            load_row(&rows, number[0], 0, d, one->memory->table + i * d);
    }
}

/* ---- values ---- */

/* Write the parameters and the state to one->values; return whether all are finite. */
static int settle_values(one_network *one)
{
    unpack(&one->job);
    vec bad = {0};
    for (int64_t j = 0; j < one->n_values; j += LANES) {
        vec v = vec_load_n(one->values + j, one->n_values - j);
        bad += v - v;
    }
    return vec_sum(bad) == 0;
}

static void keep_values(const one_network *one)
{
    memcpy(one->kept, one->values, (size_t)one->n_values * sizeof(real));
}

/* Go back to the end of the last epoch, and end the training. */
static void end_diverged(const one_network *one, int64_t n_steps)
{
    memcpy(one->values, one->kept, (size_t)one->n_values * sizeof(real));
    one->progress->n_steps = n_steps;
    one->progress->is_over = one->progress->has_diverged = 1;
}

/* Return a pointer to network b's d entries of an array of reals, or NULL. */
static const void *reals_of(const void *array, int64_t b, int64_t d)
{
    return array ? (const real *)array + b * d : 0;
}

static void view_one(one_network *one, const ensemble_job *ensemble, int64_t b, trainer *memory)
{
    one->ensemble = ensemble, one->memory = memory, one->progress = &ensemble->progress[b];
    training_job *job = &one->job;
    *job = job_of_one(ensemble);
    autoencoder_model *model = &job->model;
    int64_t d = model->n_features, n = n_parameters(model);
    one->n_values = (1 + ensemble->n_states) * n;
    one->values = (real *)ensemble->values + b * one->n_values;
    one->kept = (real *)ensemble->kept + b * one->n_values;
    parameter_views at = view_parameters(model);
    model->W = one->values;
    model->V = one->values + at.V_at;
    model->b = one->values + at.b_at;
    model->c = one->values + at.c_at;
    model->theta = model->theta ? one->values + at.theta_at : 0;
    model->gain = model->gain ? one->values + at.gain_at : 0;
    model->rate_factors = ensemble->rate_factors ? ensemble->rate_factors + b * N_PARAMETER_ARRAYS
                                                 : 0;
    for (int i = 0; i < ensemble->n_states; ++i)
        job->state[i] = one->values + (1 + i) * n;
    job->rows.shift = ensemble->shift ? ensemble->shift + b * d : 0;
    job->rows.factor = ensemble->factor ? ensemble->factor + b * d : 0;
    job->inputs.fill = reals_of(ensemble->fill, b, d);
    job->inputs.log_offset = reals_of(ensemble->log_offset, b, d);
    job->inputs.log_centre = reals_of(ensemble->log_centre, b, d);
    job->inputs.low = reals_of(ensemble->low, b, d);
    job->inputs.high = reals_of(ensemble->high, b, d);
    job->inputs.seed = ensemble->seeds[b];
    job->workspace = memory->workspace, job->packed = memory->packed;
    one->columns = ensemble->columns ? ensemble->columns + b * d : 0;
    one->numbers = ensemble->row_begins ? ensemble->row_numbers + ensemble->row_begins[b] : 0;
    one->n_rows = ensemble->row_begins ? ensemble->row_begins[b + 1] - ensemble->row_begins[b]
                                       : ensemble->common.rows.n_rows;
    job->batch_size = min_i64(job->batch_size, one->n_rows);
    one->losses = ensemble->losses + b * ensemble->curve_length;
}

/* ---- ends of training ---- */

enum { BUDGET_WINDOWS = 20, BUDGET_PATIENCE = 2 };
#define DECAY_BEGINS 0.7
#define LEAST_DECAY 0.3

/* Begin the decay of the learning rate after n epochs, and shorten the training to its end. */
static void begin_decay(network_progress *p, int64_t n)
{
    int64_t steps = p->schedule_step / n;
    double share = (1 - DECAY_BEGINS) / DECAY_BEGINS,
           left = ceil(fmax(share * (double)n, LEAST_DECAY * (double)p->most_epochs));
    int64_t whole = (int64_t)nearbyint(left * (double)steps / (1 - DECAY_BEGINS));
    p->ends_early = 1;
    p->most_epochs = n + (int64_t)left;
    p->schedule_step = whole - (int64_t)left * steps, p->schedule_steps = whole;
}

/* Record the loss of an epoch in a budget of most_epochs; return whether training ends. */
static int budget_is_over(const stopping_rule *stop, network_progress *p, double loss)
{
    if (p->ends_early)
        return p->n_epochs >= p->most_epochs;
    int64_t width = max_i64(1, p->most_epochs / BUDGET_WINDOWS);
    p->window_sum += loss;
    if (++p->n_in_window == width) {
        double mean = p->window_sum / (double)width;
        p->n_bad = mean < p->best - stop->tol * fabs(mean) ? 0 : p->n_bad + 1;
        p->best = fmin(p->best, mean);
        p->window_sum = 0, p->n_in_window = 0;
    }
    if (p->n_bad < BUDGET_PATIENCE || stop->tol == 0)
        return 0;
    if (!stop->decays)
        return 1;
    if ((double)p->n_epochs < DECAY_BEGINS * (double)p->most_epochs)
        begin_decay(p, p->n_epochs);
    return 0;
}

static int patience_is_over(const stopping_rule *stop, network_progress *p, double loss)
{
    p->n_bad = loss < p->best - stop->tol ? 0 : p->n_bad + 1;
    p->best = fmin(p->best, loss);
    return p->n_bad >= stop->patience && stop->tol > 0;
}

/* Record the end of an epoch. */
static void end_epoch(const one_network *one)
{
    const stopping_rule *stop = &one->ensemble->stop;
    network_progress *p = one->progress;
    double loss = p->loss_sum / (double)one->n_rows;
    one->losses[p->n_epochs++] = loss;
    p->place = 0, p->loss_sum = 0;
    int is_over = stop->rule == STOP_BUDGET     ? budget_is_over(stop, p, loss)
                  : stop->rule == STOP_PATIENCE ? patience_is_over(stop, p, loss)
                                                : 0;
    p->is_over = is_over || p->n_epochs >= p->most_epochs;
}

/* ---- epochs ---- */

/* Put the rows of the present epoch in order: `order` has places among the network's rows. */
static void order_rows(const one_network *one)
{
    const network_progress *p = one->progress;
    int64_t *order = one->memory->order;
    if (one->ensemble->shuffles)
        random_permutation(one->job.inputs.seed, SHUFFLE_PURPOSE,
                           (uint64_t)(p->n_rows_seen - p->place), one->n_rows, order);
    else
        for (int64_t i = 0; i < one->n_rows; ++i)
            order[i] = i;
}

/* Train on n rows of the epoch from its present place on. Return the status. */
static int train_rows(one_network *one, int64_t n)
{
    training_job *job = &one->job;
    network_progress *p = one->progress;
    const int64_t *places = one->memory->order + p->place;
    if (!one->is_gathered)
        gather_rows(one, places, n);
    const rows_view view = {.data = (const char *)one->memory->table,
                            .stride = job->model.n_features * (int64_t)sizeof(real),
                            .n_rows = n,
                            .order = one->is_gathered ? places : 0,
                            .kind = REAL_KIND};
    rows_view units = job->rows;
    job->rows = view;
    job->inputs.first_sample = p->n_rows_seen;
    job->n_steps = p->n_steps, job->loss_sum = p->loss_sum, job->n_rows_done = 0;
    job->schedule_step = p->schedule_step, job->schedule_steps = p->schedule_steps;
    job->status = STATUS_OK;
    train_member(&one->net, (member){.index = 0, .size = 1});
    job->rows = units;
    p->n_steps = job->n_steps, p->schedule_step = job->schedule_step;
    p->loss_sum = job->loss_sum;
    p->place += job->n_rows_done, p->n_rows_seen += job->n_rows_done;
    return job->status;
}

/* Train until the slice or the training is over. Return the number of rows visited. */
static int64_t train_slice(one_network *one)
{
    network_progress *p = one->progress;
    int64_t done = 0, batch = one->job.batch_size,
            n_steps_kept = p->n_steps - ceil_div(p->place, batch);
    one->is_gathered = one->n_rows <= one->memory->table_rows;
    if (one->is_gathered)
        gather_rows(one, 0, one->n_rows);
    for (int is_ordered = 0; !p->is_over && done < one->ensemble->slice_rows;) {
        if (!is_ordered)
            order_rows(one);
        int64_t wanted = min_i64(one->memory->table_rows, one->ensemble->slice_rows - done),
                n = min_i64(one->n_rows - p->place, ceil_div(wanted, batch) * batch);
        n = one->is_gathered ? n : min_i64(n, one->memory->table_rows);
        int status = train_rows(one, n);
        done += n;
        is_ordered = p->place < one->n_rows;
        if (status & STATUS_NOT_FINITE) {
            end_diverged(one, n_steps_kept);
            return done;
        }
        if (is_ordered)
            continue;
        if (!settle_values(one)) {
            end_diverged(one, n_steps_kept);
            return done;
        }
        keep_values(one);
        n_steps_kept = p->n_steps;
        end_epoch(one);
    }
    unpack(&one->job);
    return done;
}

typedef struct {
    ensemble_job *ensemble;
    share *shares;
    trainer *trainers;
    _Atomic int64_t n_rows_done;
} ensemble_team;

/* The function that each thread runs: one network after another. */
static void ensemble_member(void *context, member m)
{
    ensemble_team *team = (ensemble_team *)context;
    const ensemble_job *ensemble = team->ensemble;
    one_network one;
    for (work w = begin_work(m, team->shares, ensemble->last - ensemble->first);
         take_items(&w, 1);) {
        view_one(&one, ensemble, ensemble->first + w.begin, &team->trainers[m.index]);
        if (one.progress->is_over)
            continue;
        carved_network(&one.net, &one.job);
        one.net.layers[0].members[0].bad_rows = STATUS_OK;
        one.net.layers[0].shares[0] = (share){0};
        pack(&one.job);
        atomic_fetch_add(&team->n_rows_done, train_slice(&one));
    }
}

enum { MOST_TRAINERS = 64 };

static void train_ensemble(ensemble_job *ensemble)
{
    arena a = arena_at(ensemble->workspace);
    trainer trainers[MOST_TRAINERS];
    ensemble_team team = {.ensemble = ensemble, .trainers = trainers};
    int n_threads = (int)min_i64(MOST_TRAINERS, ensemble->n_threads);
    team.shares = CARVE(&a, share, n_threads);
    for (int i = 0; i < n_threads; ++i) {
        trainers[i] = carve_trainer(ensemble, &a);
        team.shares[i] = (share){0};
    }
    team_run(n_threads, FLOAT_MODE_FLUSH, ensemble_member, &team);
    ensemble->n_rows_done = team.n_rows_done;
}

#endif
