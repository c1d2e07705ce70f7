/* Phases of a training step with top-k codes in which few units are kept: after the encoder, work
   goes through the kept units alone.

   An entry is one kept unit of one row. The entries of a row block are arranged unit by unit: the
   place of a unit in `units` gives its entries, one for each row that keeps it. Rows of X, dA^ and
   V are in panels, as for tiles. The phases run over entries (row i, unit j):

       decode    E_i  = sum_j h_ij V_j, panel by panel of features; the rows of V that belong to
                 these units are read once, in their order
       delta     dh_ij = E_i . V_j
       weights   dW_j = sum_i (dA_ij X_i + h_ij E_i)

   Dead units have derivatives in every row (code_view.revive). A panel of units with many of them
   is computed whole, by products; in another panel, the column of D of each dead unit is computed
   by itself. These phases are not used with penalties on codes, which have derivatives everywhere,
   nor in bfloat16. */
#ifndef AEFAST_KEPT_ENTRIES_H
#define AEFAST_KEPT_ENTRIES_H

#include "kernels/autoencoder/step/tile_phases.h"

enum {
    /* Entries are used where at most one unit in KEPT_SHARE is kept. */
    KEPT_SHARE = 8,
    /* A panel is computed whole where at least one unit in WHOLE_SHARE is dead. */
    WHOLE_SHARE = 4,
    /* Largest number of entries whose products are summed together. */
    KEPT_ENTRIES = 512,
    /* Number of rows that a thread takes at a time. */
    KEPT_ROWS = 4
};

/* Return whether a job uses the phases of this file. */
static inline int goes_through_entries(const training_job *job)
{
    return job->tiled && GROUP == 1 && job->n_upper == 0 && !job->head && job->model.top_k > 0 &&
           job->model.top_k * KEPT_SHARE <= job->model.n_components &&
           !has_code_penalty(&job->terms);
}

static kept_entries carve_kept_entries(const training_job *job, const batch_plan *plan, arena *a)
{
    int64_t k = job->model.n_components, blocks = plan->row_blocks_k, kept = job->model.top_k;
    kept_entries units = {.per_row = kept, .n_units = k, .capacity = TILE_BLOCK_ROWS * kept};
    units.chosen = CARVE(a, int32_t, job->batch_size *kept);
    units.counts = CARVE(a, int64_t, blocks *k);
    units.units = CARVE(a, int32_t, blocks *k);
    units.begins = CARVE(a, int64_t, blocks *(k + 1));
    units.first_of_panel = CARVE(a, int64_t, blocks *(n_panels(k) + 1));
    units.rows = CARVE(a, int32_t, blocks *units.capacity);
    units.codes = CARVE(a, real, blocks * units.capacity);
    units.deltas = CARVE(a, real, blocks * units.capacity);
    units.sums = CARVE(a, double, blocks *units.capacity);
    units.n_dead = CARVE(a, unsigned char, n_panels(k));
    return units;
}

/* Return the entries of row block r. */
static inline kept_entries entries_of_block(const training *t, int64_t r)
{
    kept_entries u = t->entries;
    u.counts += r * u.n_units;
    u.units += r * u.n_units;
    u.begins += r * (u.n_units + 1);
    u.first_of_panel += r * (n_panels(u.n_units) + 1);
    u.rows += r * u.capacity;
    u.codes += r * u.capacity;
    u.deltas += r * u.capacity;
    u.sums += r * u.capacity;
    return u;
}

/* Return whether a panel of units is computed whole. */
static inline int is_whole(const training *t, int64_t panel)
{
    return t->entries.n_dead[panel] * WHOLE_SHARE >= PANEL;
}

/* Return the next dead unit after unit j of a panel that is not whole, or the panel's end:
   for (j = next_dead(t, panel, -1); j < end; j = next_dead(t, panel, j)) */
static inline int64_t next_dead(const training *t, int64_t panel, int64_t j)
{
    int64_t end = min_i64(t->k, (panel + 1) * PANEL);
    j = t->entries.n_dead[panel] == 0 ? end : max_i64(j + 1, panel * PANEL);
    while (j < end && t->revive[j] == 0)
        ++j;
    return j;
}

/* Choose the units that each row keeps. Threads share the rows. */
static void choose_phase(const training *t, member m, const batch_plan *plan)
{
    int64_t kept = t->entries.per_row;
    for (work w = begin_work(m, t->shares, plan->n); take_items(&w, KEPT_ROWS);)
        for (int64_t i = w.begin; i < w.end; ++i)
            choose_units(kept, t->k, row_in_panels(t, plan, t->H, t->k, i), t->members[m.index].row,
                         t->entries.chosen + i * kept);
}

/* Sort the entries of row block r by their unit (counting sort). */
static void arrange_block(const training *t, const batch_plan *plan, int64_t r)
{
    kept_entries u = entries_of_block(t, r);
    const int32_t *chosen = u.chosen + block_begin(plan, r) * u.per_row;
    int64_t n = block_size(plan, r), place = 0, begin = 0;
    memset(u.counts, 0, (size_t)u.n_units * sizeof *u.counts);
    for (int64_t i = 0; i < n * u.per_row; ++i)
        ++u.counts[chosen[i]];
    for (int64_t j = 0; j < u.n_units; ++j) {
        if (j % PANEL == 0)
            u.first_of_panel[j / PANEL] = place;
        if (u.counts[j] == 0)
            continue;
        u.units[place] = (int32_t)j;
        u.begins[place++] = begin;
        int64_t count = u.counts[j];
        u.counts[j] = begin; /* from now on the place of the next entry */
        begin += count;
    }
    u.begins[place] = begin;
    u.first_of_panel[n_panels(u.n_units)] = place;
    for (int64_t i = 0; i < n; ++i)
        for (int64_t q = 0; q < u.per_row; ++q) {
            int64_t j = chosen[i * u.per_row + q], entry = u.counts[j]++;
            u.rows[entry] = (int32_t)i;
            u.codes[entry] = panel_of(t->H, plan, n_panels(t->k), r,
                                      j / PANEL)[i * PANEL + j % PANEL];
        }
}

static void arrange_phase(const training *t, member m, const batch_plan *plan)
{
    for (int64_t r = share_begin(m, plan->row_blocks_k); r < share_end(m, plan->row_blocks_k); ++r)
        arrange_block(t, plan, r);
    for (int64_t q = share_begin(m, n_panels(t->k)); q < share_end(m, n_panels(t->k)); ++q) {
        t->entries.n_dead[q] = 0;
        for (int64_t j = q * PANEL; t->revive && j < min_i64(t->k, (q + 1) * PANEL); ++j)
            t->entries.n_dead[q] += t->revive[j] != 0;
    }
}

/* ---- decode ---- */

/* Compute panel j of E, before the bias, for row block r. */
static void decode_entries(const training *t, const batch_plan *plan, int64_t r, int64_t j)
{
    kept_entries u = entries_of_block(t, r);
    real *E = panel_of(t->E, plan, n_panels(t->d), r, j);
    const real *V = t->V.by_d + j * t->k * PANEL;
    memset(E, 0, (size_t)(block_size(plan, r) * PANEL) * sizeof(real));
    for (int64_t i = 0, n = u.first_of_panel[n_panels(t->k)]; i < n; ++i) {
        vec low = vec_load(V + u.units[i] * (int64_t)PANEL),
            high = vec_load(V + u.units[i] * (int64_t)PANEL + LANES);
        for (int64_t e = u.begins[i]; e < u.begins[i + 1]; ++e) {
            real *row = E + u.rows[e] * (int64_t)PANEL;
            vec h = vec_set(u.codes[e]);
            vec_store(row, vec_fma(h, low, vec_load(row)));
            vec_store(row + LANES, vec_fma(h, high, vec_load(row + LANES)));
        }
    }
}

static void output_through_entries(const training *t, member m, const batch_plan *plan)
{
    int64_t panels = n_panels(t->d);
    tile_phase phase = {.t = t, .plan = plan};
    for (work w = begin_work(m, t->shares, panels * plan->row_blocks_d);
         take_items(&w, RUN_PANELS);)
        for (int64_t item = w.begin; item < w.end; item += phase.at.n_panels) {
            run at = phase.at = run_at(plan, panels, item, w.end);
            for (int64_t j = 0; j < at.n_panels; ++j) {
                decode_entries(t, plan, at.r, at.j + j);
                finish_output(&phase, j);
            }
        }
}

/* ---- delta ---- */

/* deltas <- E_i . V_j for the at most KEPT_ENTRIES entries of units [first, last) of row block
   r. Each lane sums DEPTH products in the real type before they are added in double. */
static void products_of_entries(const training *t, const batch_plan *plan, int64_t r,
                                const kept_entries *u, int64_t first, int64_t last)
{
    int64_t begin = u->begins[first], n = u->begins[last] - begin, panels = n_panels(t->d);
    double total[KEPT_ENTRIES] = {0};
    for (int64_t from = 0; from < panels; from += DEPTH / 2) {
        vec sums[KEPT_ENTRIES];
        memset(sums, 0, (size_t)n * sizeof *sums);
        for (int64_t j = from; j < min_i64(panels, from + DEPTH / 2); ++j) {
            const real *E = panel_of(t->E, plan, panels, r, j), *V = t->V.by_d + j * t->k * PANEL;
            for (int64_t i = first; i < last; ++i) {
                vec low = vec_load(V + u->units[i] * (int64_t)PANEL),
                    high = vec_load(V + u->units[i] * (int64_t)PANEL + LANES);
                for (int64_t e = u->begins[i]; e < u->begins[i + 1]; ++e) {
                    const real *row = E + u->rows[e] * (int64_t)PANEL;
                    sums[e - begin] = vec_fma(
                        vec_load(row), low, vec_fma(vec_load(row + LANES), high, sums[e - begin]));
                }
            }
        }
        for (int64_t e = 0; e < n; ++e)
            total[e] += vec_sum(sums[e]);
    }
    for (int64_t e = 0; e < n; ++e)
        u->deltas[begin + e] = (real)total[e];
}

/* Compute column `unit` of D, where the unit is dead; it becomes 0 in rows that keep the unit,
   which have entries. Return the column's sum. */
static double delta_of_dead_unit(const training *t, const batch_plan *plan, int64_t r, int64_t unit)
{
    int64_t n = block_size(plan, r), panel = unit / PANEL, begins[2] = {0, n};
    kept_entries u = entries_of_block(t, r);
    const real *H = panel_of(t->H, plan, n_panels(t->k), r, panel) + unit % PANEL,
               *weight = t->weight + block_begin(plan, r);
    real *D = panel_of(t->D, plan, n_panels(t->k), r, panel) + unit % PANEL,
         values[TILE_BLOCK_ROWS], h[TILE_BLOCK_ROWS];
    real pull = t->decoder_norms[unit], revive = t->revive[unit];
    int32_t rows[TILE_BLOCK_ROWS], number = (int32_t)unit;
    double sums[TILE_BLOCK_ROWS], sum = 0;
    for (int64_t i = 0; i < n; ++i)
        rows[i] = (int32_t)i;
    kept_entries one = {.units = &number, .begins = begins, .rows = rows, .deltas = values};
    products_of_entries(t, plan, r, &one, 0, 1);
    for (int64_t i = 0; i < n; ++i) {
        h[i] = H[i * PANEL];
        values[i] = revive * (values[i] + weight[i] * h[i] * pull);
    }
    for (int64_t i = u.first_of_panel[panel]; i < u.first_of_panel[panel + 1]; ++i)
        for (int64_t e = u.begins[i]; u.units[i] == unit && e < u.begins[i + 1]; ++e)
            values[u.rows[e]] = 0;
    strip s = {.values = values, .operand = h, .n_rows = 1, .n_columns = n, .column_sums = sums};
    activations[t->job->model.activation].backward(&s);
    for (int64_t i = 0; i < n; ++i) {
        D[i * PANEL] = values[i];
        sum += sums[i];
    }
    return sum;
}

/* Compute deltas for panels [j, end) of units of row block r, none of which is whole. */
static void delta_of_entries(const training *t, const batch_plan *plan, int64_t r, int64_t j,
                             int64_t end)
{
    kept_entries u = entries_of_block(t, r);
    int64_t first = u.first_of_panel[j], last = u.first_of_panel[end],
            columns = min_i64(t->k, end * PANEL) - j * PANEL;
    const real *weight = t->weight + block_begin(plan, r);
    double *b_sums = t->g_sums + r * t->k, *kept = t->kept_weights + r * t->k;
    memset(b_sums + j * PANEL, 0, (size_t)columns * sizeof *b_sums);
    memset(kept + j * PANEL, 0, (size_t)columns * sizeof *kept);
    /* The entries of one unit always fit: there are at most TILE_BLOCK_ROWS. */
    for (int64_t i = first, next; i < last; i = next) {
        for (next = i + 1; next < last && u.begins[next + 1] - u.begins[i] <= KEPT_ENTRIES;)
            ++next;
        products_of_entries(t, plan, r, &u, i, next);
    }
    int64_t begin = u.begins[first], n = u.begins[last] - begin;
    strip s = {.values = u.deltas + begin,
               .operand = u.codes + begin,
               .n_rows = 1,
               .n_columns = n,
               .column_sums = u.sums + begin};
    activations[t->job->model.activation].backward(&s);
    for (int64_t i = first; i < last; ++i)
        for (int64_t e = u.begins[i]; e < u.begins[i + 1]; ++e) {
            b_sums[u.units[i]] += u.sums[e];
            kept[u.units[i]] += (double)weight[u.rows[e]];
        }
    for (; j < end; ++j)
        for (int64_t unit = next_dead(t, j, -1); unit < min_i64(t->k, (j + 1) * PANEL);
             unit = next_dead(t, j, unit))
            b_sums[unit] += delta_of_dead_unit(t, plan, r, unit);
}

/* Finish a panel of deltas that products have computed whole. Entries tell which units were
   kept. */
static void finish_whole_delta(void *context, int64_t j)
{
    const tile_phase *phase = (const tile_phase *)context;
    kept_entries u = entries_of_block(phase->t, phase->at.r);
    int64_t panel = phase->at.j + j;
    real used[TILE_BLOCK_ROWS * PANEL];
    for (int64_t i = 0; i < block_size(phase->plan, phase->at.r) * PANEL; ++i)
        used[i] = (real)-0.0;
    for (int64_t i = u.first_of_panel[panel]; i < u.first_of_panel[panel + 1]; ++i)
        for (int64_t e = u.begins[i]; e < u.begins[i + 1]; ++e)
            used[u.rows[e] * (int64_t)PANEL + u.units[i] - panel * PANEL] = u.codes[e] + (real)0;
    finish_delta_panel(phase, j, used);
}

/* Compute the deltas of all units. Adjacent panels of one kind, whole or not, go together. */
static void delta_through_entries(const training *t, member m, const batch_plan *plan)
{
    int64_t panels = n_panels(t->k), stride = panel_size(plan), d_panels = n_panels(t->d);
    tile_phase phase = {.t = t, .plan = plan};
    for (work w = begin_work(m, t->shares, panels * plan->row_blocks_k);
         take_items(&w, RUN_PANELS);)
        for (int64_t item = w.begin; item < w.end; item += phase.at.n_panels) {
            run at = phase.at = run_at(plan, panels, item, w.end);
            phase.at.n_panels = 1;
            while (phase.at.n_panels < at.n_panels &&
                   is_whole(t, at.j + phase.at.n_panels) == is_whole(t, at.j))
                ++phase.at.n_panels;
            at = phase.at;
            if (!is_whole(t, at.j))
                delta_of_entries(t, plan, at.r, at.j, at.j + at.n_panels);
            else
                product_in_panels(block_size(plan, at.r), at.n_panels, t->d,
                                  by_columns(t->E, plan, d_panels, at.r, 0), GROUP * stride,
                                  t->V.operands_by_k + at.j * padded(t->d) * PANEL,
                                  padded(t->d) * PANEL, panel_of(t->G, plan, panels, at.r, at.j),
                                  stride, finish_whole_delta, &phase);
        }
}

/* ---- weights ---- */

/* gradient (PANEL, PANEL) += the products of entries of panel q of units and panel j of features
   in row block r. */
ALWAYS_INLINE void add_entries(const training *t, const batch_plan *plan, const int encoder,
                               const int decoder, int64_t r, int64_t q, int64_t j, real *gradient)
{
    kept_entries u = entries_of_block(t, r);
    const real *X = panel_of(t->X, plan, n_panels(t->d), r, j),
               *E = panel_of(t->E, plan, n_panels(t->d), r, j);
    for (int64_t i = u.first_of_panel[q]; i < u.first_of_panel[q + 1]; ++i) {
        real *to = gradient + (u.units[i] - q * PANEL) * PANEL;
        vec low = vec_load(to), high = vec_load(to + LANES);
        for (int64_t e = u.begins[i]; e < u.begins[i + 1]; ++e) {
            int64_t row = u.rows[e] * (int64_t)PANEL;
            if (encoder) {
                low = vec_fma(vec_set(u.deltas[e]), vec_load(X + row), low);
                high = vec_fma(vec_set(u.deltas[e]), vec_load(X + row + LANES), high);
            }
            if (decoder) {
                low = vec_fma(vec_set(u.codes[e]), vec_load(E + row), low);
                high = vec_fma(vec_set(u.codes[e]), vec_load(E + row + LANES), high);
            }
        }
        vec_store(to, low);
        vec_store(to + LANES, high);
    }
}

/* to (PANEL) += the sum over the rows of row block r of column `unit` of D times panel j of X. */
static void add_dead_unit(const training *t, const batch_plan *plan, int64_t r, int64_t unit,
                          int64_t j, real *to)
{
    const real *X = panel_of(t->X, plan, n_panels(t->d), r, j),
               *D = panel_of(t->D, plan, n_panels(t->k), r, unit / PANEL) + unit % PANEL;
    /* Even and odd rows have separate sums, so that no addition waits for the one before. */
    vec low[2] = {vec_load(to)}, high[2] = {vec_load(to + LANES)};
    for (int64_t i = 0; i < block_size(plan, r); ++i, X += PANEL, D += PANEL) {
        low[i % 2] = vec_fma(vec_set(*D), vec_load(X), low[i % 2]);
        high[i % 2] = vec_fma(vec_set(*D), vec_load(X + LANES), high[i % 2]);
    }
    vec_store(to, low[0] + low[1]);
    vec_store(to + LANES, high[0] + high[1]);
}

/* The block_gradient of these phases: products for whole panels, else entries and dead units. */
static void gradient_by_entries(const training *t, const batch_plan *plan, weight_block which,
                                int64_t r, int64_t row, int64_t n_rows, int64_t j, real *gradient,
                                int add)
{
    if (!add)
        memset(gradient, 0, (size_t)(n_rows * PANEL) * sizeof(real));
    for (int64_t i = 0; i < n_rows; i += PANEL) {
        int64_t q = (row + i) / PANEL;
        int encoder = which.encoder && !is_whole(t, q);
        for (int64_t unit = next_dead(t, q, -1); encoder && unit < min_i64(t->k, (q + 1) * PANEL);
             unit = next_dead(t, q, unit))
            add_dead_unit(t, plan, r, unit, j, gradient + (unit - row) * PANEL);
        if (which.encoder && !encoder)
            add_gradient(t, plan, (weight_block){.encoder = 1}, r, row + i,
                         min_i64(PANEL, n_rows - i), j, gradient + i * PANEL, 1);
        if (encoder && which.decoder)
            add_entries(t, plan, 1, 1, r, q, j, gradient + i * PANEL);
        else if (encoder)
            add_entries(t, plan, 1, 0, r, q, j, gradient + i * PANEL);
        else if (which.decoder)
            add_entries(t, plan, 0, 1, r, q, j, gradient + i * PANEL);
    }
}

/* Return whether panel q of units has a gradient that is not 0. */
static int has_gradient(const training *t, const batch_plan *plan, int64_t q)
{
    int has = t->entries.n_dead[q] > 0;
    for (int64_t r = 0; r < plan->row_blocks_k; ++r) {
        const int64_t *first = entries_of_block(t, r).first_of_panel;
        has |= first[q] < first[q + 1];
    }
    return has;
}

/* Compute the gradient of a block of weights and use it (see weights.h). Panels of units without
   a gradient are left alone where weights rest without one. Return the L2 penalty. */
static double weights_through_entries(const training *t, const batch_plan *plan,
                                      const step_constants *constants, weight_block which,
                                      scratch *buffers, double *squares)
{
    strips at = strips_at(t, plan, which.index);
    int all = !rests_without_gradient(t->job, constants);
    double penalty = 0;
    gradients_of_strips(t, plan, which, &at, buffers, gradient_by_entries);
    for (int64_t row = 0, n; row < at.n_rows; row += n) {
        int moves = all || has_gradient(t, plan, (at.row + row) / PANEL);
        for (n = PANEL; row + n < at.n_rows &&
                        moves == (all || has_gradient(t, plan, (at.row + row + n) / PANEL));)
            n += PANEL;
        n = min_i64(n, at.n_rows - row);
        for (int64_t i = 0; moves && i < at.n_j; ++i)
            penalty += use_gradient_strip(
                t->job, constants, matrix_of(t, which), at.j + i, at.row + row, n,
                buffers->gradient + i * STRIP_ROWS * PANEL + row * PANEL, squares);
    }
    return penalty;
}

#endif
