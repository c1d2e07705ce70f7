/* The phases of a training step whose loss is that of single entries of the output: the stored
   entries of rows in CSR form, and sampled zeros (sampled_zeros.h). Pre-activations are computed
   for these entries alone, and each backward product runs over them. No array of the batch's rows
   and all columns exists.

   Distributions work on strips of one row, which hold entries of any rows and columns. */
#ifndef AEFAST_ENTRY_OUTPUTS_H
#define AEFAST_ENTRY_OUTPUTS_H

#include "kernels/autoencoder/step/sparse_phases.h"

enum {
    STRIP_ENTRIES = 64, /* number of entries whose losses are computed together */
    /* Number of panels of columns whose entries are shared among threads together. */
    ENTRY_PANELS = 16
};

/* The entries of a strip, and what their distributions read of their columns and write. */
typedef struct {
    real eta[STRIP_ENTRIES], targets[STRIP_ENTRIES], bias[STRIP_ENTRIES], theta[STRIP_ENTRIES],
        losses[STRIP_ENTRIES];
    uint16_t segments[STRIP_ENTRIES];
    double sums[STRIP_ENTRIES], theta_sums[STRIP_ENTRIES];
} entry_strip;

/* Return the product of a row of R, in panels `stride` apart, with a column of V. */
static inline real product_of_entry(const training *t, const real *row, int64_t stride,
                                    int64_t column)
{
    const real *w = (const real *)t->V.operands_by_k + column * PANEL;
    int64_t w_stride = padded(t->d) * PANEL, k = t->k;
    vec sums[2] = {{0}, {0}};
    for (; k >= PANEL; k -= PANEL, row += stride, w += w_stride)
        for (int v = 0; v < 2; ++v)
            sums[v] = vec_fma(vec_load(row + v * LANES), vec_load(w + v * LANES), sums[v]);
    for (int v = 0; k > 0; k -= LANES, ++v)
        sums[v] = vec_fma(vec_load_n(row + v * LANES, k), vec_load_n(w + v * LANES, k), sums[v]);
    return (real)vec_sum(sums[0] + sums[1]);
}

/* Fill a strip with n <= STRIP_ENTRIES entries of a chunk. */
static void read_strip(const training *t, const batch_plan *plan, const row_chunk *c,
                       const sparse_entry *entries, int64_t n, entry_strip *s)
{
    const autoencoder_model *model = &t->job->model;
    const real *R = panel_of(t->R_forms, plan, n_panels(t->k), c->begin, 0);
    for (int64_t e = 0; e < n; ++e) {
        int64_t column = entries[e].column;
        s->eta[e] = product_of_entry(t, R + entries[e].place * (int64_t)PANEL, panel_size(plan),
                                     column);
        s->targets[e] = entries[e].target;
        s->bias[e] = t->p.c[column];
        if (t->p.theta)
            s->theta[e] = t->p.theta[column];
        if (model->segment_of_column)
            s->segments[e] = model->segment_of_column[column];
    }
}

/* Compute the losses of n entries and their derivatives by eta, which replace eta. */
static void losses_of_strip(const training *t, int64_t n, entry_strip *s)
{
    static const real one = 1;
    const autoencoder_model *model = &t->job->model;
    strip row = {.values = s->eta,
                 .ld = STRIP_ENTRIES,
                 .n_rows = 1,
                 .n_columns = n,
                 .bias = s->bias,
                 .operand = s->targets,
                 .operand_ld = STRIP_ENTRIES,
                 .weight = &one,
                 .equal_weights = 1,
                 .segment_of_column = model->segment_of_column ? s->segments : 0,
                 .missing = t->job->inputs.fill != 0,
                 .theta = t->p.theta ? s->theta : 0,
                 .column_sums = s->sums,
                 .theta_sums = t->p.theta ? s->theta_sums : 0,
                 .feature_losses = s->losses,
                 .feature_ld = STRIP_ENTRIES};
    for (int q = 0; q < model->n_segments; ++q) {
        const output_segment *segment = &model->segments[q];
        row.segment = q, row.constant = (real)segment->constant, row.learned = segment->learned;
        outputs[segment->output].loss(&row);
        outputs[segment->output].gradient(&row);
    }
}

/* Weigh losses and derivatives of n entries from place `first` of the chunk's on, and add them up.
   Return the sum of the losses. */
static double use_strip(const training *t, const batch_plan *plan, const row_chunk *c,
                        int64_t first, int64_t n, const entry_strip *s)
{
    int64_t size = n_panels(t->k) * plan->block_rows;
    double loss = 0;
    for (int64_t e = 0; e < n; ++e) {
        const sparse_entry *entry = t->sparse.by_panel + first + e;
        int64_t r = c->begin + entry->place / size,
                row = block_begin(plan, r) + entry->place % size;
        real *derivative = t->sparse.derivatives + first + e, weight = t->weight[row] * *derivative;
        loss += (double)(weight * s->losses[e]);
        *derivative = weight * s->eta[e];
        t->c_sums[r * t->d + entry->column] += (double)*derivative;
        if (t->theta_sums)
            t->theta_sums[r * t->d + entry->column] += (double)weight * s->theta_sums[e];
    }
    return loss;
}

static void clear_column_sums(const training *t, const batch_plan *plan, int64_t begin, int64_t end)
{
    size_t bytes = (size_t)(end - begin) * sizeof(double);
    for (int64_t r = 0; r < plan->row_blocks_d; ++r) {
        memset(t->c_sums + r * t->d + begin, 0, bytes);
        if (t->theta_sums)
            memset(t->theta_sums + r * t->d + begin, 0, bytes);
    }
}

/* Compute losses and derivatives of the entries in panels [j, end). */
static void output_of_panels(const training *t, const batch_plan *plan, int64_t j, int64_t end)
{
    entry_strip s = {0};
    clear_column_sums(t, plan, j * PANEL, min_i64(end * PANEL, t->d));
    for (int64_t chunk = 0; chunk < n_row_chunks(plan); ++chunk) {
        row_chunk c = chunk_at(plan, chunk);
        int64_t blocks = c.end - c.begin;
        const int64_t *begins = t->sparse.begins + c.begin * n_panels(t->d);
        double loss = 0;
        for (int64_t n, e = begins[j * blocks]; e < begins[end * blocks]; e += n) {
            n = min_i64(STRIP_ENTRIES, begins[end * blocks] - e);
            read_strip(t, plan, &c, t->sparse.by_panel + e, n, &s);
            losses_of_strip(t, n, &s);
            loss += use_strip(t, plan, &c, e, n, &s);
        }
        t->losses[chunk * n_panels(t->d) + j] = loss;
    }
}

static void output_by_entries(const training *t, member m, const batch_plan *plan)
{
    int64_t panels = n_panels(t->d), items = ceil_div(panels, ENTRY_PANELS);
    if (m.index == 0)
        memset(t->losses, 0, (size_t)plan->n_losses * sizeof *t->losses);
    team_barrier(m);
    for (work w = begin_work(m, t->shares, items); take_items(&w, 1);)
        output_of_panels(t, plan, w.begin * ENTRY_PANELS,
                         min_i64((w.begin + 1) * ENTRY_PANELS, panels));
}

static void delta_by_entries(const training *t, member m, const batch_plan *plan)
{
    int64_t panels = n_panels(t->k);
    tile_phase phase = {.t = t, .plan = plan};
    for (work w = begin_work(m, t->shares, panels * n_row_chunks(plan)); take_items(&w, 1);) {
        int64_t chunk = w.begin / panels, j = w.begin % panels;
        row_chunk c = chunk_at(plan, chunk);
        product_of_sparse(t, plan, chunk, j, &t->V, t->sparse.derivatives, t->G, t->E);
        for (int64_t r = c.begin; r < c.end; ++r) {
            phase.at = (run){.r = r, .j = j, .n_panels = 1};
            finish_delta(&phase, 0);
        }
    }
}

#endif
