/* The phases of a training step that read rows in CSR form, on register tiles.

   The entries of a batch are read row by row, then sorted by chunk of rows and panel of columns.
   With the entries of a panel together, the encoder's product adds rows of a panel of W^T, which
   lie one after another, to rows of the result, which stay in L1; and the encoder's part of the
   gradient of a panel adds rows of D. Targets of a panel are scattered into a buffer of the thread
   while its output is in cache. No array of the batch's rows and all columns exists but for the
   output.

   Where the encoder's input is not 0 wherever the row is (noise on all entries, centred columns),
   where few units are kept (kept_entries.h), for custom distributions, for bfloat16 and for BLAS,
   batches of rows in CSR form are loaded as dense rows instead. */
#ifndef AEFAST_SPARSE_PHASES_H
#define AEFAST_SPARSE_PHASES_H

#include "kernels/autoencoder/sampled_zeros.h"
#include "kernels/autoencoder/step/tile_phases.h"

enum { ENTRIES_AHEAD = 16 }; /* number of entries whose weights are fetched ahead */

static sparse_batch carve_sparse_batch(const training *t, const batch_plan *plan, arena *a)
{
    sparse_batch batch = {.is_used = 1};
    int64_t capacity = t->job->batch_entries, parts = plan->row_blocks_d * n_panels(t->d);
    batch.row_begins = CARVE(a, int64_t, t->job->batch_size + 1);
    batch.by_row = CARVE(a, sparse_entry, capacity);
    batch.by_panel = CARVE(a, sparse_entry, capacity);
    batch.begins = CARVE(a, int64_t, parts + 1);
    batch.cursors = CARVE(a, int64_t, parts);
    batch.has_entry_outputs = has_entry_outputs(t->job);
    if (batch.has_entry_outputs) {
        batch.weights_by_row = CARVE(a, real, capacity);
        batch.derivatives = CARVE(a, real, capacity);
    }
    return batch;
}

/* ---- load ---- */

/* Read the entries of the batch's rows, of which threads share the rows. */
static void read_entries(const training *t, member m, const batch_plan *plan, int64_t first)
{
    const sparse_batch *batch = &t->sparse;
    const rows_view *rows = &t->job->rows;
    int64_t begin = share_begin(m, plan->n), end = share_end(m, plan->n), at = 0;
    for (int64_t i = 0; i < begin; ++i) {
        entry_range row = entries_of_row(rows, first + i);
        at += row.end - row.begin + n_sampled_zeros(t->job, row.end - row.begin);
    }
    for (int64_t r = 0; r < plan->row_blocks_d; ++r) {
        int64_t low = block_begin(plan, r), high = low + block_size(plan, r),
                place = r % CHUNK_BLOCKS * n_panels(t->k) * plan->block_rows - low;
        for (int64_t i = max_i64(begin, low); i < min_i64(end, high); ++i) {
            int64_t sample = t->job->inputs.first_sample + first + i;
            batch->row_begins[i] = at;
            int64_t n = read_sparse_row(rows, &t->job->inputs, first + i, sample,
                                        (int32_t)(place + i), batch->by_row + at,
                                        &t->members[m.index].bad_rows);
            if (batch->has_entry_outputs)
                n = add_sampled_zeros(t->job, sample, (int32_t)(place + i), n, batch->by_row + at,
                                      batch->weights_by_row + at);
            at += n;
        }
    }
    if (end == plan->n)
        batch->row_begins[end] = at;
}

/* The first entry of a row, as read, whose column is not below `column`. */
static inline int64_t first_read_from(const sparse_batch *batch, int64_t row, int64_t column)
{
    int64_t low = batch->row_begins[row], high = batch->row_begins[row + 1];
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (batch->by_row[middle].column < column)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Sort the entries of a chunk in panels [begin, end). */
static void sort_panels(const training *t, const batch_plan *plan, int64_t chunk, int64_t begin,
                        int64_t end)
{
    const sparse_batch *batch = &t->sparse;
    row_chunk c = chunk_at(plan, chunk);
    int64_t blocks = c.end - c.begin, part = c.begin * n_panels(t->d),
            *begins = batch->begins + part, *cursors = batch->cursors + part,
            at = batch->row_begins[block_begin(plan, c.begin)];
    memset(cursors + begin * blocks, 0, (size_t)((end - begin) * blocks) * sizeof *cursors);
    for (int64_t r = c.begin; r < c.end; ++r)
        for (int64_t i = block_begin(plan, r); i < block_begin(plan, r + 1); ++i) {
            int64_t e = first_read_from(batch, i, begin * PANEL);
            at += e - batch->row_begins[i];
            for (; e < batch->row_begins[i + 1] && batch->by_row[e].column < end * PANEL; ++e)
                ++cursors[batch->by_row[e].column / PANEL * blocks + r - c.begin];
        }
    for (int64_t p = begin * blocks; p < end * blocks; ++p) {
        begins[p] = at;
        at += cursors[p];
        cursors[p] = begins[p];
    }
    if (end == n_panels(t->d) && c.end == plan->row_blocks_d)
        begins[end * blocks] = at;
    for (int64_t r = c.begin; r < c.end; ++r)
        for (int64_t i = block_begin(plan, r); i < block_begin(plan, r + 1); ++i)
            for (int64_t e = first_read_from(batch, i, begin * PANEL);
                 e < batch->row_begins[i + 1] && batch->by_row[e].column < end * PANEL; ++e) {
                int64_t to = cursors[batch->by_row[e].column / PANEL * blocks + r - c.begin]++;
                batch->by_panel[to] = batch->by_row[e];
                if (batch->has_entry_outputs)
                    batch->derivatives[to] = batch->weights_by_row[e];
            }
}

/* Read and sort the entries of a batch. Threads share the panels. */
static void load_sparse(const training *t, member m, const batch_plan *plan, int64_t first)
{
    int64_t panels = n_panels(t->d), begin = share_begin(m, panels), end = share_end(m, panels);
    read_entries(t, m, plan, first);
    team_barrier(m);
    for (int64_t chunk = 0; begin < end && chunk < n_row_chunks(plan); ++chunk)
        sort_panels(t, plan, chunk, begin, end);
}

/* ---- hidden ---- */

/* A += the products of n entries with rows of a panel of W^T: of their inputs, or of `derivatives`
   unless that is NULL. A is a panel of the chunk's first block; those of the other blocks are at
   the places of the entries. */
ALWAYS_INLINE void add_products_of_entries(const sparse_entry *entries, const real *derivatives,
                                           int64_t n, const real *W, real *A)
{
    for (int64_t e = 0; e < n; ++e) {
        __builtin_prefetch(W + entries[min_i64(e + ENTRIES_AHEAD, n - 1)].column * (int64_t)PANEL);
        const real *w = W + entries[e].column * (int64_t)PANEL;
        real *to = A + entries[e].place * (int64_t)PANEL;
        vec x = vec_set(derivatives ? derivatives[e] : entries[e].input);
        vec_store(to, vec_fma(x, vec_load(w), vec_load(to)));
        vec_store(to + LANES, vec_fma(x, vec_load(w + LANES), vec_load(to + LANES)));
    }
}
static void add_products_of_sparse(const sparse_entry *entries, const real *derivatives, int64_t n,
                                   const real *W, real *A)
{
    if (derivatives)
        add_products_of_entries(entries, derivatives, n, W, A);
    else
        add_products_of_entries(entries, 0, n, W, A);
}

/* Compute panel j of the product of a chunk's entries with the rows of M^T: of their inputs, or of
   `derivatives` unless that is NULL. About DEPTH terms of a sum are added at a time: for more, `to`
   has sums of sums and `part` the present ones. */
static void product_of_sparse(const training *t, const batch_plan *plan, int64_t chunk, int64_t j,
                              const weight_matrix *M, const real *derivatives, real *to, real *part)
{
    row_chunk c = chunk_at(plan, chunk);
    int64_t panels = n_panels(t->k), size = panel_size(plan),
            rows = block_begin(plan, c.end) - block_begin(plan, c.begin);
    const real *W = (const real *)M->operands_by_k + j * padded(t->d) * PANEL;
    const int64_t *begins = t->sparse.begins + c.begin * n_panels(t->d);
    int64_t end = begins[(c.end - c.begin) * n_panels(t->d)], n;
    for (int64_t first = begins[0], at_first = first; first < end || first == at_first;
         first += n) {
        real *sums = first == at_first ? to : part;
        n = min_i64(end - first, DEPTH * rows);
        for (int64_t r = c.begin; r < c.end; ++r)
            memset(panel_of(sums, plan, panels, r, j), 0, (size_t)size * sizeof(real));
        add_products_of_sparse(t->sparse.by_panel + first, derivatives ? derivatives + first : 0, n,
                               W, panel_of(sums, plan, panels, c.begin, j));
        for (int64_t r = c.begin; sums == part && r < c.end; ++r)
            for (int64_t i = 0; i < size; i += LANES) {
                real *sum = panel_of(to, plan, panels, r, j) + i;
                vec_store(sum, vec_load(sum) + vec_load(panel_of(part, plan, panels, r, j) + i));
            }
        if (n == 0)
            break;
    }
}

static void hidden_by_sparse(const training *t, member m, const batch_plan *plan, int64_t sample)
{
    int64_t panels = n_panels(t->k);
    tile_phase phase = {.t = t, .plan = plan, .sample = sample};
    for (work w = begin_work(m, t->shares, panels * n_row_chunks(plan)); take_items(&w, 1);) {
        int64_t chunk = w.begin / panels, j = w.begin % panels;
        row_chunk c = chunk_at(plan, chunk);
        product_of_sparse(t, plan, chunk, j, &t->W, 0, t->H, t->D); /* D is not in use yet */
        for (int64_t r = c.begin; r < c.end; ++r) {
            phase.at = (run){.r = r, .j = j, .n_panels = 1};
            finish_hidden(&phase, 0);
        }
    }
}

/* ---- weights ---- */

/* gradient (n, PANEL) += M^T for M (PANEL, PANEL); n <= PANEL. */
static inline void add_transposed(const real *M, int64_t n, real *gradient)
{
    for (int i = 0; i < PANEL && i < n; i += LANES)
        for (int j = 0; j < PANEL; j += LANES) {
            vec block[LANES];
            for (int r = 0; r < LANES; ++r)
                block[r] = vec_load(M + (j + r) * PANEL + i);
            transpose_vectors(block);
            for (int r = 0; r < LANES && i + r < n; ++r) {
                real *to = gradient + (i + r) * PANEL + j;
                vec_store(to, vec_load(to) + block[r]);
            }
        }
}

/* gradient (n_rows, PANEL) += left^T X over a chunk, for rows [row, row + n_rows) of panel j. X are
   the inputs of the entries, or `derivatives` unless that is NULL; left (n, k) is an activation. */
ALWAYS_INLINE void add_gradient_of_entries(const training *t, const batch_plan *plan, int64_t chunk,
                                           real *left, const real *derivatives, int64_t row,
                                           int64_t n_rows, int64_t j, real *gradient)
{
    row_chunk c = chunk_at(plan, chunk);
    int64_t blocks = c.end - c.begin;
    const int64_t *begins = t->sparse.begins + c.begin * n_panels(t->d) + j * blocks;
    const sparse_entry *entries = t->sparse.by_panel + begins[0];
    int64_t n = begins[blocks] - begins[0], panels = n_panels(n_rows), stride = panel_size(plan);
    const real *D = panel_of(left, plan, n_panels(t->k), c.begin, row / PANEL);
    real sums[STRIP_ROWS * PANEL]; /* for each panel of units, a row for each column */
    if (n == 0)
        return;
    memset(sums, 0, (size_t)(panels * PANEL * PANEL) * sizeof *sums);
    for (int64_t e = 0; e < n; ++e) {
        const real *d = D + entries[e].place * (int64_t)PANEL;
        real *to = sums + entries[e].column % PANEL * PANEL;
        vec x = vec_set(derivatives ? derivatives[begins[0] + e] : entries[e].input);
        for (int64_t q = 0; q < panels; ++q, d += stride, to += PANEL * PANEL) {
            vec_store(to, vec_fma(x, vec_load(d), vec_load(to)));
            vec_store(to + LANES, vec_fma(x, vec_load(d + LANES), vec_load(to + LANES)));
        }
    }
    for (int64_t q = 0; q < panels; ++q)
        add_transposed(sums + q * PANEL * PANEL, n_rows - q * PANEL, gradient + q * PANEL * PANEL);
}

/* The block_gradient of these phases. The sums over the entries of a chunk are added with its last
   block. */
static void gradient_by_sparse(const training *t, const batch_plan *plan, weight_block which,
                               int64_t r, int64_t row, int64_t n_rows, int64_t j, real *gradient,
                               int add)
{
    int of_entries = t->sparse.has_entry_outputs;
    if (which.decoder && !of_entries)
        add_gradient(t, plan, (weight_block){.decoder = 1}, r, row, n_rows, j, gradient, add);
    else if (!add)
        memset(gradient, 0, (size_t)(n_rows * PANEL) * sizeof(real));
    if (r + 1 < plan->row_blocks_d && (r + 1) % CHUNK_BLOCKS != 0)
        return;
    if (which.encoder)
        add_gradient_of_entries(t, plan, r / CHUNK_BLOCKS, t->D, 0, row, n_rows, j, gradient);
    if (which.decoder && of_entries)
        add_gradient_of_entries(t, plan, r / CHUNK_BLOCKS, t->R_forms, t->sparse.derivatives, row,
                                n_rows, j, gradient);
}

/* Return whether the entries of panel j of features are all 0 in this batch. */
static int is_untouched(const training *t, const batch_plan *plan, int64_t j)
{
    int any = 0;
    for (int64_t chunk = 0; chunk < n_row_chunks(plan); ++chunk) {
        row_chunk c = chunk_at(plan, chunk);
        const int64_t *begins = t->sparse.begins + c.begin * n_panels(t->d);
        any |= begins[j * (c.end - c.begin)] < begins[(j + 1) * (c.end - c.begin)];
    }
    return !any;
}

/* Compute the gradient of a block of weights and use it (see weights.h). Weights of an untied
   encoder, or of both where the output is that of entries, rest where no row has an entry and the
   solver lets them. Return the L2 penalty. */
static double weights_by_sparse(const training *t, const batch_plan *plan,
                                const step_constants *constants, weight_block which,
                                scratch *buffers, double *squares)
{
    strips at = strips_at(t, plan, which.index);
    int rests = (!which.decoder || t->sparse.has_entry_outputs) && !t->norms &&
                rests_without_gradient(t->job, constants),
        any = 0;
    for (int64_t i = 0; rests && i < at.n_j; ++i)
        any |= !is_untouched(t, plan, at.j + i);
    return rests && !any
               ? 0
               : weights_of_strips(t, plan, constants, which, buffers, squares, gradient_by_sparse);
}

#endif
