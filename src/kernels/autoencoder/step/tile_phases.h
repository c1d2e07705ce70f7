/* The phases of a training step on register tiles.

   The n rows of a batch are cut evenly into blocks of at most TILE_BLOCK_ROWS. Each block of an
   activation is stored in panels, [block][panel][row][PANEL]. A tile leaves its result in this
   form, so that epilogues run over adjacent memory. Products read the forms of forms.h: by
   columns, as the left operand of the next layer, and by rows, as either operand of the weights'
   gradient. In full precision all these forms are one, and nothing is packed. In bfloat16 each
   panel is overwritten by its forms once the epilogue is done, except for X and H: epilogues
   read them again, and their forms are copies. */
#ifndef AEFAST_TILE_PHASES_H
#define AEFAST_TILE_PHASES_H

#include "kernels/autoencoder/step/code_phases.h"

enum {
    /* Panels of a result that are computed together. They stay in L2, beside DEPTH columns of the
       left operand. */
    RUN_PANELS = 8,
    /* Blocks of rows whose gradients are summed in `real`. */
    CHUNK_BLOCKS = CHUNK_ROWS / TILE_BLOCK_ROWS,
    /* Panels of a gradient that are summed together where a batch has several blocks, so that
       operands are read fewer times. */
    STRIP_PANELS = 4
};

/* Return the division of a batch of n rows for register tiles. */
static batch_plan plan_tiles(const training *t, int64_t n)
{
    int64_t row_blocks = ceil_div(n, TILE_BLOCK_ROWS);
    batch_plan plan = {.n = n,
                       .block_rows = grouped(ceil_div(n, row_blocks)),
                       .row_blocks_d = row_blocks,
                       .row_blocks_k = row_blocks};
    plan.stored_rows = plan.block_rows * row_blocks;
    plan.n_losses = n_panels(t->d) * row_blocks;
    plan.n_code_losses = n_panels(t->k) * row_blocks;
    plan.strips = ceil_div(t->k, STRIP_ROWS);
    int has_blocks = t->job->batch_size > TILE_BLOCK_ROWS,
        has_strips = plan.strips * n_panels(t->d) >= BLOCKS_WANTED * STRIP_PANELS;
    plan.strip_panels = has_blocks && has_strips ? STRIP_PANELS : 1;
    plan.blocks_per_matrix = plan.strips * ceil_div(n_panels(t->d), plan.strip_panels);
    return plan;
}

static inline int64_t block_begin(const batch_plan *plan, int64_t r)
{
    return part_begin(plan->n, 1, plan->row_blocks_d, r);
}
static inline int64_t block_size(const batch_plan *plan, int64_t r)
{
    return block_begin(plan, r + 1) - block_begin(plan, r);
}
static inline int64_t panel_size(const batch_plan *plan) { return plan->block_rows * PANEL; }

/* Return panel j of row block r of an activation with `panels` panels. */
static inline real *panel_of(real *activation, const batch_plan *plan, int64_t panels, int64_t r,
                             int64_t j)
{
    return activation + (r * panels + j) * panel_size(plan);
}

/* Return the forms of this panel that products read. */
static inline operand *by_columns(real *forms, const batch_plan *plan, int64_t panels, int64_t r,
                                  int64_t j)
{
    return form_by_columns(panel_of(forms, plan, panels, r, j));
}

static inline operand *by_rows(real *forms, const batch_plan *plan, int64_t panels, int64_t r,
                               int64_t j)
{
    return form_by_rows(panel_of(forms, plan, panels, r, j), plan->block_rows);
}

/* Return row i of the batch. */
static row_entries row_in_panels(const training *t, const batch_plan *plan, real *activation,
                                 int64_t columns, int64_t i)
{
    (void)t;
    /* No block has more than block_rows rows, so that row i lies in this block or a later one. */
    int64_t r = i / plan->block_rows;
    while (block_begin(plan, r + 1) <= i)
        ++r;
    return (row_entries){panel_of(activation, plan, n_panels(columns), r, 0) +
                             (i - block_begin(plan, r)) * PANEL,
                         panel_size(plan)};
}

/* Load n rows, from row i of row block r on; the first of them is at `place` in the call's rows. */
static void load_group(const training *t, member m, const batch_plan *plan, const lookahead *later,
                       int64_t place, int64_t r, int64_t i, int64_t n)
{
    /* Local copies, which no store through a pointer can change. */
    const rows_view rows = t->job->rows;
    const lookahead ahead = *later;
    int64_t panels = n_panels(t->d), d = t->d;
    int bad = STATUS_OK, is_copied = are_copied(&rows);
    if (is_copied)
        copy_rows_in_panels(&rows, later, place, n, d,
                            panel_of(t->T, plan, panels, r, 0) + i * PANEL, panel_size(plan));
    for (int64_t q = 0; q < (is_copied && t->T == t->X ? 0 : n); ++q) {
        row_entries row = {panel_of(t->T, plan, panels, r, 0) + (i + q) * PANEL, panel_size(plan)};
        if (!is_copied) {
            fetch_later_row(&rows, &ahead, place + q, d);
            bad |= load_row_in_panels(&rows, place + q, d, row.at, row.panel_stride);
        }
        if (t->T != t->X) {
            row_entries input = {panel_of(t->X, plan, panels, r, 0) + (i + q) * PANEL,
                                 panel_size(plan)};
            make_input(&t->job->inputs, t->d, t->job->inputs.first_sample + place + q, row, input);
            /* Padding is multiplied with zeros, and so must be finite. */
            if (t->d % PANEL)
                memset(entry_of(input, t->d), 0, (size_t)(PANEL - t->d % PANEL) * sizeof(real));
        }
    }
    t->members[m.index].bad_rows |= bad;
    for (int64_t j = 0; GROUP > 1 && j < panels; ++j)
        store_forms(n, panel_of(t->X, plan, panels, r, j) + i * PANEL,
                    by_columns(t->X_forms, plan, panels, r, j) + i * PANEL,
                    by_rows(t->X_forms, plan, panels, r, j) + i * PANEL);
}

/* Load the rows of a batch. Threads share whole groups of rows of each block. */
static void load_tiles(const training *t, member m, const batch_plan *plan, int64_t first)
{
    int64_t begin = share_begin(m, plan->n), end = share_end(m, plan->n);
    lookahead later = look_ahead(&t->job->rows, t->d, plan->n, first + begin, first + end);
    for (int64_t r = 0; r < plan->row_blocks_d; ++r) {
        int64_t low = block_begin(plan, r), size = block_size(plan, r),
                last = min_i64(size, grouped(max_i64(0, end - low)));
        int64_t i = grouped(max_i64(0, begin - low));
        if (GROUP == 1 && i < last)
            load_group(t, m, plan, &later, first + low + i, r, i, last - i);
        for (; GROUP > 1 && i < last; i += GROUP)
            load_group(t, m, plan, &later, first + low + i, r, i, min_i64(GROUP, size - i));
    }
}

/* A run: adjacent panels j, ..., j + n_panels - 1 of row block r. */
typedef struct {
    int64_t r, j, n_panels;
} run;

/* Return the run that begins at `item` and ends at or before `end`. Items are the pairs of a
   panel and a row block, numbered in groups of RUN_PANELS panels, block by block within a group.
   Results do not depend on how runs are divided among threads. */
static inline run run_at(const batch_plan *plan, int64_t panels, int64_t item, int64_t end)
{
    if (plan->row_blocks_d == 1) { /* saves integer divisions */
        int64_t ends = (item / RUN_PANELS + 1) * RUN_PANELS;
        return (run){.j = item, .n_panels = min_i64(min_i64(panels, ends), end) - item};
    }
    int64_t first = item / (RUN_PANELS * plan->row_blocks_d) * RUN_PANELS,
            width = min_i64(RUN_PANELS, panels - first);
    int64_t rest = item - first * plan->row_blocks_d, j = rest % width;
    return (run){.r = rest / width, .j = first + j, .n_panels = min_i64(width - j, end - item)};
}

/* Arguments of an epilogue: one run of a phase. */
typedef struct {
    const training *t;
    const batch_plan *plan;
    run at;
    /* Counter of the noise of the batch's row 0. */
    int64_t sample;
    /* The thread's buffers; needed for outputs of rows in CSR form. */
    const scratch *buffers;
} tile_phase;

static strip strip_of(const tile_phase *phase, real *activation, int64_t columns, int64_t j)
{
    const batch_plan *plan = phase->plan;
    return (strip){
        .values = panel_of(activation, plan, n_panels(columns), phase->at.r, phase->at.j + j),
        .ld = PANEL,
        .padded = 1,
        .n_rows = block_size(plan, phase->at.r),
        .n_columns = min_i64(PANEL, columns - (phase->at.j + j) * PANEL)};
}

/* ---- epilogues: each works on panel j of the run, counted within the run ---- */

static void finish_hidden(void *context, int64_t j)
{
    const tile_phase *phase = (const tile_phase *)context;
    const training *t = phase->t;
    strip s = strip_of(phase, t->H, t->k, j);
    s.bias = t->p.b + (phase->at.j + j) * PANEL;
    activate(t->job->model.activation, &s);
    if (finishes_codes(t)) {
        int64_t panel = phase->at.j + j, r = phase->at.r, row = block_begin(phase->plan, r);
        finish_code_strip(t, &s, panel_of(t->clean, phase->plan, n_panels(t->k), r, panel),
                          t->code_sums ? t->code_sums + r * t->k + panel * PANEL : 0, row,
                          panel * PANEL, phase->sample + row);
    }
    make_forms(s.n_rows, s.values,
               panel_of(t->H_forms, phase->plan, n_panels(t->k), phase->at.r, phase->at.j + j),
               phase->plan->block_rows);
}

/* A chunk of row blocks [begin, end), over which gradients are summed in `real`. */
typedef struct {
    int64_t begin, end;
} row_chunk;

static inline int64_t n_row_chunks(const batch_plan *plan)
{
    return ceil_div(plan->row_blocks_d, CHUNK_BLOCKS);
}
static inline row_chunk chunk_at(const batch_plan *plan, int64_t chunk)
{
    return (row_chunk){chunk * CHUNK_BLOCKS,
                       min_i64(plan->row_blocks_d, (chunk + 1) * CHUNK_BLOCKS)};
}

/* Set the targets of a panel of row block r in the buffer of a thread, or take them away again. */
static void place_targets(const training *t, const batch_plan *plan, int64_t r, int64_t panel,
                          real *targets, int set)
{
    row_chunk c = chunk_at(plan, r / CHUNK_BLOCKS);
    const int64_t *begins = t->sparse.begins + c.begin * n_panels(t->d) +
                            panel * (c.end - c.begin) + r - c.begin;
    const real absent = absent_target(&t->job->rows);
    int64_t origin = (r - c.begin) * n_panels(t->k) * plan->block_rows;
    for (int64_t e = begins[0]; e < begins[1]; ++e) {
        const sparse_entry *entry = t->sparse.by_panel + e;
        targets[(entry->place - origin) * (int64_t)PANEL + entry->column % PANEL] =
            set ? entry->target : absent;
    }
}

static void finish_output(void *context, int64_t j)
{
    const tile_phase *phase = (const tile_phase *)context;
    const training *t = phase->t;
    int64_t panel = phase->at.j + j, r = phase->at.r;
    strip s = strip_of(phase, t->E, t->d, j);
    s.bias = t->p.c + panel * PANEL;
    if (t->sparse.is_used)
        place_targets(t, phase->plan, r, panel, phase->buffers->panel_targets, 1);
    s.operand = t->sparse.is_used ? phase->buffers->panel_targets
                                  : panel_of(t->T, phase->plan, n_panels(t->d), r, panel);
    s.operand_ld = PANEL;
    s.weight = t->weight + block_begin(phase->plan, r);
    s.equal_weights = !t->job->sample_weight;
    s.column_sums = t->c_sums + r * t->d + panel * PANEL;
    s.theta_sums = t->theta_sums ? t->theta_sums + r * t->d + panel * PANEL : 0;
    output_gradients(t, &s, panel * PANEL);
    if (t->sparse.is_used)
        place_targets(t, phase->plan, r, panel, phase->buffers->panel_targets, 0);
    make_forms(s.n_rows, s.values, s.values, phase->plan->block_rows);
    t->losses[r * n_panels(t->d) + panel] = s.loss;
}

/* Finish panel j of a run of deltas, with used (n_rows, PANEL) as in code_view. */
static void finish_delta_panel(const tile_phase *phase, int64_t j, const real *used)
{
    const training *t = phase->t;
    int64_t panel = phase->at.j + j, r = phase->at.r;
    strip s = strip_of(phase, t->G, t->k, j);
    s.operand = panel_of(t->clean, phase->plan, n_panels(t->k), r, panel);
    s.operand_ld = PANEL;
    s.column_sums = t->g_sums + r * t->k + panel * PANEL;
    if (t->added)
        add_values(&s, panel_of(t->added, phase->plan, n_panels(t->k), r, panel));
    code_view code = {.scale = 1};
    real slopes[PANEL];
    if (has_code_terms(t->job)) {
        s.loss = view_code(t, phase->plan, r, panel * PANEL, s.n_columns, slopes, &code);
        code.used = used;
        s.code = &code;
        s.weight = t->weight + block_begin(phase->plan, r);
    }
    if (t->p.gain)
        gain_backward(t, &s, panel * PANEL, used, code.scale,
                      t->gain_sums + r * t->k + panel * PANEL);
    activations[t->job->model.activation].backward(&s);
    if (has_code_terms(t->job))
        t->code_losses[r * n_panels(t->k) + panel] = s.loss;
    make_forms(s.n_rows, s.values, s.values, phase->plan->block_rows);
}

static void finish_delta(void *context, int64_t j)
{
    const tile_phase *phase = (const tile_phase *)context;
    const training *t = phase->t;
    finish_delta_panel(phase, j,
                       drops_units(t->job) ? panel_of(t->H, phase->plan, n_panels(t->k),
                                                      phase->at.r, phase->at.j + j)
                                           : 0);
}

/* Epilogues of a head: the deltas of its code where nothing else decodes it, and nothing where the
   code's own delta phase adds what the head has computed. */

static void finish_head_delta(void *context, int64_t j)
{
    tile_phase phase = *(const tile_phase *)context;
    phase.t = phase.t->code;
    finish_delta(&phase, j);
}

static void finish_nothing(void *context, int64_t j) { (void)context, (void)j; }

/* Epilogues of the upper layers of a deep network: the reconstruction of the codes below, and
   the deltas of these codes. */

static void finish_decode(void *context, int64_t j)
{
    const tile_phase *phase = (const tile_phase *)context;
    const training *t = phase->t, *below = t->below;
    int64_t panel = phase->at.j + j;
    strip s = strip_of(phase, below->R, t->d, j);
    s.bias = t->p.c + panel * PANEL;
    activate(below->job->model.activation, &s);
    if (below->p.gain) {
        copy_codes(&s, panel_of(below->clean, phase->plan, n_panels(t->d), phase->at.r, panel));
        scale_codes(below, &s, panel * PANEL);
    }
    make_forms(s.n_rows, s.values,
               panel_of(below->R_forms, phase->plan, n_panels(t->d), phase->at.r, panel),
               phase->plan->block_rows);
}

static void finish_code_delta(void *context, int64_t j)
{
    const tile_phase *phase = (const tile_phase *)context;
    const training *t = phase->t, *below = t->below;
    int64_t panel = phase->at.j + j, r = phase->at.r;
    strip s = strip_of(phase, below->D, t->d, j);
    s.operand = panel_of(below->H, phase->plan, n_panels(t->d), r, panel);
    s.operand_ld = PANEL;
    s.column_sums = below->b_sums + r * t->d + panel * PANEL;
    activations[below->job->model.activation].backward(&s);
    make_forms(s.n_rows, s.values, s.values, phase->plan->block_rows);
}

/* Compute the thread's share of C = A B. A (n, depth) are the forms of an activation, C (n,
   columns) is an activation, and B has panels of b_rows rows. */
ALWAYS_INLINE void phase_of_products(const training *t, member m, const batch_plan *plan, real *A,
                                     int64_t depth, const operand *B, int64_t b_rows, real *C,
                                     int64_t columns, finish_panel *finish, int64_t sample,
                                     int with_zeros)
{
    int64_t panels = n_panels(columns), stride = panel_size(plan);
    tile_phase phase = {.t = t, .plan = plan, .sample = sample, .buffers = &t->members[m.index]};
    for (work w = begin_work(m, t->shares, panels * plan->row_blocks_d);
         take_items(&w, RUN_PANELS);)
        for (int64_t item = w.begin; item < w.end; item += phase.at.n_panels) {
            run at = phase.at = run_at(plan, panels, item, w.end);
            (with_zeros ? product_with_zeros : product_in_panels)(
                block_size(plan, at.r), at.n_panels, depth,
                by_columns(A, plan, n_panels(depth), at.r, 0), GROUP * stride,
                B + at.j * b_rows * PANEL, b_rows * PANEL, panel_of(C, plan, panels, at.r, at.j),
                stride, finish, &phase);
        }
}

static void phase_by_tiles(const training *t, member m, const batch_plan *plan, real *A,
                           int64_t depth, const operand *B, int64_t b_rows, real *C,
                           int64_t columns, finish_panel *finish, int64_t sample)
{
    phase_of_products(t, m, plan, A, depth, B, b_rows, C, columns, finish, sample, 0);
}

static void hidden_by_tiles(const training *t, member m, const batch_plan *plan, int64_t sample)
{
    phase_of_products(t, m, plan, t->X_forms, t->d, t->W.operands_by_k, padded(t->d), t->H, t->k,
                      finish_hidden, sample, 1);
}

static void output_by_tiles(const training *t, member m, const batch_plan *plan)
{
    phase_by_tiles(t, m, plan, t->R_forms, t->k, t->V.operands_by_d, grouped(t->k), t->E, t->d,
                   finish_output, 0);
}

static void delta_by_tiles(const training *t, member m, const batch_plan *plan)
{
    finish_panel *finish = !t->code         ? finish_delta
                           : t->code->added ? finish_nothing
                                            : finish_head_delta;
    phase_by_tiles(t, m, plan, t->E, t->d, t->V.operands_by_k, padded(t->d), t->G, t->k, finish, 0);
}

static void decode_by_tiles(const training *t, member m, const batch_plan *plan)
{
    phase_by_tiles(t, m, plan, t->R_forms, t->k, t->V.operands_by_d, grouped(t->k), t->below->R,
                   t->d, finish_decode, 0);
}

static void code_delta_by_tiles(const training *t, member m, const batch_plan *plan)
{
    phase_by_tiles(t, m, plan, t->D, t->k, t->W.operands_by_d, grouped(t->k), t->below->D, t->d,
                   finish_code_delta, 0);
}

/* ---- weights: strips of STRIP_ROWS components, in each a few panels of features together ---- */

/* gradient (n_rows, PANEL) (+)= D^T X + R^T E over row block r, or one of the two terms: rows
   [row, row + n_rows) of panel j. */
static void add_gradient(const training *t, const batch_plan *plan, weight_block which, int64_t r,
                         int64_t row, int64_t n_rows, int64_t j, real *gradient, int add)
{
    real *left[2];
    const operand *right[2];
    int n_pairs = 0;
    if (which.encoder)
        left[n_pairs] = t->D, right[n_pairs++] = by_rows(t->X_forms, plan, n_panels(t->d), r, j);
    if (which.decoder)
        left[n_pairs] = t->R_forms, right[n_pairs++] = by_rows(t->E, plan, n_panels(t->d), r, j);
    int64_t depth = block_size(plan, r);
    int at_once = pairs_at_once(n_pairs, depth);
    kept_terms kept;
    kept.n = depth;
    if (GROUP == 1 && which.encoder && at_once == 1)
        list_rows(depth, right[0], &kept);
    for (int first = 0; first < n_pairs; first += at_once, add = 1, kept.n = depth)
        for (int64_t i = 0; i < n_rows; i += PANEL) {
            int64_t columns = min_i64(PANEL, n_rows - i);
            panel_pair pair[2];
            for (int q = 0; q < at_once; ++q)
                pair[q] = (panel_pair){
                    by_rows(left[first + q], plan, n_panels(t->k), r, (row + i) / PANEL),
                    right[first + q]};
            if (pays_to_list(&kept, depth))
                product_of_kept_rows(columns, pair[0], &kept, gradient + i * PANEL, add);
            else
                product_of_columns(columns, at_once, pair, depth, gradient + i * PANEL, add);
        }
}

/* gradient (n_rows, PANEL) (+)= the contribution of row block r to the gradient of units [row,
   row + n_rows) and panel j of features. */
typedef void block_gradient(const training *, const batch_plan *, weight_block, int64_t r,
                            int64_t row, int64_t n_rows, int64_t j, real *gradient, int add);

/* A block of a gradient: rows [row, row + n_rows) of panels [j, j + n_j). */
typedef struct {
    int64_t row, n_rows, j, n_j;
} strips;

static strips strips_at(const training *t, const batch_plan *plan, int64_t index)
{
    if (plan->strips == 1) { /* saves integer divisions */
        int64_t j = index * plan->strip_panels;
        return (strips){
            .n_rows = t->k, .j = j, .n_j = min_i64(plan->strip_panels, n_panels(t->d) - j)};
    }
    int64_t groups = plan->blocks_per_matrix / plan->strips, strip = index / groups,
            j = index % groups * plan->strip_panels;
    int64_t row = part_begin(t->k, PANEL, plan->strips, strip),
            end = part_begin(t->k, PANEL, plan->strips, strip + 1);
    return (strips){.row = row,
                    .n_rows = end - row,
                    .j = j,
                    .n_j = min_i64(plan->strip_panels, n_panels(t->d) - j)};
}

/* buffers->gradient <- the gradient of a block, panel after panel, STRIP_ROWS * PANEL reals
   apart. */
static void gradients_of_strips(const training *t, const batch_plan *plan, weight_block which,
                                const strips *at, scratch *buffers, block_gradient *of_block)
{
    int64_t blocks = plan->row_blocks_d;
    for (int64_t first = 0; first < blocks; first += CHUNK_BLOCKS) {
        int64_t end = min_i64(blocks, first + CHUNK_BLOCKS);
        for (int64_t r = first; r < end; ++r)
            for (int64_t i = 0; i < at->n_j; ++i)
                of_block(t, plan, which, r, at->row, at->n_rows, at->j + i,
                         buffers->gradient + i * STRIP_ROWS * PANEL, r > first);
        add_chunk(buffers->gradient, buffers->wide_gradient, at->n_j * STRIP_ROWS * PANEL,
                  first == 0, end == blocks);
    }
}

/* Compute the gradient of a block of weights, by `of_block`, and use it (see weights.h). Return the
   L2 penalty. */
static double weights_of_strips(const training *t, const batch_plan *plan,
                                const step_constants *constants, weight_block which,
                                scratch *buffers, double *squares, block_gradient *of_block)
{
    strips at = strips_at(t, plan, which.index);
    int64_t row = at.row, n_rows = at.n_rows, j = at.j, n_j = at.n_j;
    gradients_of_strips(t, plan, which, &at, buffers, of_block);
    double penalty = 0;
    if (t->norms && which.encoder) {
        real factors[STRIP_ROWS];
        contraction_factors(t, plan, row, n_rows, factors);
        for (int64_t i = 0; i < n_j; ++i)
            add_scaled_rows(factors, n_rows, PANEL, t->W.by_d + ((j + i) * t->k + row) * PANEL,
                            PANEL, buffers->gradient + i * STRIP_ROWS * PANEL, PANEL);
    }
    for (int64_t i = 0; i < n_j; ++i)
        penalty += use_gradient_strip(t->job, constants, matrix_of(t, which), j + i, row, n_rows,
                                      buffers->gradient + i * STRIP_ROWS * PANEL, squares);
    return penalty;
}

static double weights_by_tiles(const training *t, const batch_plan *plan,
                               const step_constants *constants, weight_block which,
                               scratch *buffers, double *squares)
{
    return weights_of_strips(t, plan, constants, which, buffers, squares, add_gradient);
}

/* Use the given gradient of a block of weights (see training_job). Return the L2 penalty. */
static double given_by_tiles(const training *t, const batch_plan *plan,
                             const step_constants *constants, weight_block which, scratch *buffers,
                             double *squares)
{
    strips at = strips_at(t, plan, which.index);
    const weight_matrix *m = matrix_of(t, which);
    real *gradient = buffers->gradient;
    double penalty = 0;
    for (int64_t j = at.j; j < at.j + at.n_j; ++j) {
        int64_t columns = min_i64(PANEL, t->d - j * PANEL);
        for (int64_t r = 0; r < at.n_rows; ++r) {
            const double *given = t->job->given + m->at + (at.row + r) * t->d + j * PANEL;
            for (int64_t i = 0; i < PANEL; ++i)
                gradient[r * PANEL + i] = i < columns ? (real)given[i] : 0;
        }
        penalty += use_gradient_strip(t->job, constants, m, j, at.row, at.n_rows, gradient,
                                      squares);
    }
    return penalty;
}

/* Multiply the stored gradient of a block by `factor`, and update the weights. */
static void move_by_tiles(const training *t, const batch_plan *plan,
                          const step_constants *constants, weight_block which, real factor)
{
    strips at = strips_at(t, plan, which.index);
    const weight_matrix *m = matrix_of(t, which);
    for (int64_t j = at.j; j < at.j + at.n_j; ++j) {
        real *gradient = m->gradient + (j * t->k + at.row) * PANEL;
        scale_run(factor, gradient, at.n_rows * PANEL);
        move_strip(t->job, constants, m, j, at.row, at.n_rows, gradient);
    }
}

#endif
