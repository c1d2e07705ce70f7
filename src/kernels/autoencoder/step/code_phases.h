/* Variants of a training step: units that are dropped, penalties on codes, top-k codes and groups
   of columns, which need whole rows.

   None of this runs in a plain autoencoder. Both the phases for register tiles and those for
   BLAS store rows in a form that `row_entries` describes. */
#ifndef AEFAST_CODE_PHASES_H
#define AEFAST_CODE_PHASES_H

#include "kernels/autoencoder/step/step.h"
#include "kernels/autoencoder/top_k.h"

/* Rows of a chunk, which one thread computes and which has one partial sum. */
enum { GROUP_ROWS = 32 };

/* ---- codes, strip by strip, before they are decoded ---- */

/* sums (n_columns) <- sums over the rows of a strip of H of weight h. */
static void sum_codes(const strip *s, const real *weight, double *sums)
{
    for (int64_t j = 0; j < s->n_columns; ++j) {
        double sum = 0;
        for (int64_t i = 0; i < s->n_rows; ++i)
            sum += (double)weight[i] * (double)s->values[i * s->ld + j];
        sums[j] = sum;
    }
}

/* values <- values / (1 - dropout), or -0 where a unit is dropped. A unit that is kept is never
   -0. */
static void drop_units(const training *t, const strip *s, int64_t sample, int64_t column)
{
    const training_job *job = t->job;
    uint32_t words[NOISE_COLUMNS], threshold = threshold_of(job->terms.dropout);
    real scale = (real)(1 / (1 - job->terms.dropout));
    for (int64_t i = 0; i < s->n_rows; ++i)
        for (int64_t j = 0; j < s->n_columns;) {
            int64_t begin = (column + j) % NOISE_COLUMNS,
                    n = min_i64(NOISE_COLUMNS - begin, s->n_columns - j);
            random_words((noise_key){job->inputs.seed, job->inputs.layer}, NOISE_CODE, sample + i,
                         (column + j) / NOISE_COLUMNS, words);
            real *h = s->values + i * s->ld + j;
            for (int64_t q = 0; q < n; ++q)
                h[q] = words[begin + q] < threshold ? (real)-0.0 : h[q] * scale + (real)0;
            j += n;
        }
}

/* values <- (values - g(0)) o gain, for a strip of codes whose columns begin at `column`. */
static void scale_codes(const training *t, const strip *s, int64_t column)
{
    vec rest = vec_set((real)activations[t->job->model.activation].info.at_zero);
    for (int64_t j = 0; j < s->n_columns; j += LANES) {
        int64_t left = min_i64(LANES, s->n_columns - j), width = s->padded ? LANES : left;
        vec gain = vec_load_n(t->p.gain + column + j, left);
        real *h = s->values + j;
        for (int64_t i = 0; i < s->n_rows; ++i, h += s->ld)
            vec_store_n(h, (vec_load_n(h, width) - rest) * gain, width);
    }
}

static void copy_codes(const strip *s, real *clean)
{
    for (int64_t i = 0; i < s->n_rows; ++i)
        memcpy(clean + i * s->ld, s->values + i * s->ld,
               (size_t)(s->padded ? PANEL : s->n_columns) * sizeof(real));
}

/* Apply to a strip of H what follows the activation: sums of codes, a copy to `clean` where the
   decoder reads other values, the gain, dropout. `row` is the place of the strip's first row in the
   batch, `sample` the counter of its noise. */
static void finish_code_strip(const training *t, strip *s, real *clean, double *sums, int64_t row,
                              int64_t column, int64_t sample)
{
    if (t->code_sums)
        sum_codes(s, t->weight + row, sums);
    if (t->clean != t->H)
        copy_codes(s, clean);
    if (t->p.gain && t->R == t->H)
        scale_codes(t, s, column);
    if (t->job->terms.dropout > 0)
        drop_units(t, s, sample, column);
}

/* ---- codes, backward ---- */

/* values += the values at the same places of another array. */
__attribute__((noinline)) static void add_values(const strip *s, const real *added)
{
    for (int64_t i = 0; i < s->n_rows; ++i)
        for (int64_t j = 0; j < s->n_columns; ++j)
            s->values[i * s->ld + j] += added[i * s->ld + j];
}

/* values dZ <- dH = dZ o gain, in a strip of deltas whose operand is h; sums (n_columns) <- column
   sums of dZ o (h - g(0)), the derivatives by the gain. Where units are dropped, `used` and
   `scale` are those of code_view. */
static void gain_backward(const training *t, const strip *s, int64_t column, const real *used,
                          real scale, double *sums)
{
    vec rest = vec_set((real)activations[t->job->model.activation].info.at_zero);
    for (int64_t j = 0; j < s->n_columns; j += LANES) {
        int64_t left = min_i64(LANES, s->n_columns - j), width = s->padded ? LANES : left;
        vec gain = vec_load_n(t->p.gain + column + j, left), sum = {0};
        for (int64_t i = 0; i < s->n_rows; ++i) {
            real *d = s->values + i * s->ld + j;
            vec dz = vec_load_n(d, width),
                part = dz * (vec_load_n(s->operand + i * s->operand_ld + j, width) - rest);
            if (used) {
                ivec dropped = (ivec)vec_load_n(used + i * s->operand_ld + j, width) ==
                               (ivec)vec_set((real)-0.0);
                part = vec_select(dropped, vec_set(0), part * scale);
            }
            sum += part;
            vec_store_n(d, dz * gain, width);
        }
        store_as_double(sums + j, sum, left);
    }
}

/* slopes (n) <- weight p'(m) / (sum of the rows' weights), where m are the (weighted) mean codes
   of units [column, column + n). Return the sum over these units of weight p(m). A batch whose
   rows have no weight has no mean codes and no penalty. */
static double mean_slopes(const training *t, const batch_plan *plan, int64_t column, int64_t n,
                          real *slopes)
{
    const code_terms *terms = &t->job->terms;
    double total = 0, loss = 0;
    for (int64_t i = 0; i < plan->n; ++i)
        total += (double)t->weight[i];
    for (int64_t j = 0; j < n; ++j) {
        double m = 0, slope;
        slopes[j] = 0;
        if (total == 0)
            continue;
        for (int64_t r = 0; r < plan->row_blocks_k; ++r)
            m += t->code_sums[r * t->k + column + j];
        loss += terms->penalty_weight *
                penalty_of_means(terms)(m / total, terms->penalty_parameter, &slope);
        slopes[j] = (real)(terms->penalty_weight * slope / total);
    }
    return loss;
}

/* Fill the view of codes that `backward` needs for units [column, column + n) of row block r;
   `slopes` has room for n numbers. Return the penalty on mean codes, which belongs to no row: it
   is counted once, for row block 0. */
static double view_code(const training *t, const batch_plan *plan, int64_t r, int64_t column,
                        int64_t n, real *slopes, code_view *code)
{
    const code_terms *terms = &t->job->terms;
    *code = (code_view){.scale = (real)(1 / (1 - terms->dropout)),
                        .contraction = (real)terms->contraction};
    code->norms = t->norms ? t->norms + column : 0;
    code->revive = t->revive ? t->revive + column : 0;
    code->decoder_norms = t->decoder_norms ? t->decoder_norms + column : 0;
    code->square_sums = t->square_sums ? t->square_sums + r * t->k + column : 0;
    code->kept_weights = t->kept_weights ? t->kept_weights + r * t->k + column : 0;
    if (terms->penalty_weight == 0)
        return 0;
    code->penalty = penalties[terms->penalty].of_codes,
    code->penalty_weight = (real)terms->penalty_weight;
    if (!penalty_of_means(terms))
        return 0;
    double loss = mean_slopes(t, plan, column, n, slopes);
    code->mean_slope = slopes;
    return r == 0 ? loss : 0;
}

/* factors (n) <- 2 lambda (sum over rows of weight (dh/da)^2), for units [row, row + n). These
   factors times the rows of W are the gradient of the contractive penalty by W. */
static void contraction_factors(const training *t, const batch_plan *plan, int64_t row, int64_t n,
                                real *factors)
{
    for (int64_t i = 0; i < n; ++i) {
        double sum = 0;
        for (int64_t r = 0; r < plan->row_blocks_k; ++r)
            sum += t->square_sums[r * t->k + row + i];
        factors[i] = (real)(2 * t->job->terms.contraction * sum);
    }
}

/* gradient (n, n_columns) += factors (n) times the rows of W. */
ALWAYS_INLINE void add_scaled_rows(const real *factors, int64_t n, int64_t n_columns, const real *W,
                                   int64_t W_ld, real *gradient, int64_t ld)
{
    for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < n_columns; j += LANES) {
            vec w = vec_load_n(W + i * W_ld + j, n_columns - j),
                sum = vec_load_n(gradient + i * ld + j, n_columns - j);
            vec_store_n(gradient + i * ld + j, vec_fma(vec_set(factors[i]), w, sum), n_columns - j);
        }
}

/* Number of rows whose squares are summed side by side, so that no addition waits for the one
   before. The rows are adjacent in a panel. */
enum { NORM_ROWS = 8 };

/* sums (n) <- sums of squares of rows [row, row + n), n <= NORM_ROWS, lane by lane. */
static void squares_of_rows(const training *t, const weight_matrix *M, int64_t row, int64_t n,
                            vec *sums)
{
    int64_t d = t->d;
    for (int64_t i = 0; i < n; ++i)
        sums[i] = (vec){0};
    for (int64_t j = 0; t->job->tiled && j < n_panels(d); ++j)
        for (int64_t i = 0; i < n; ++i)
            for (int v = 0; v < PANEL; v += LANES) {
                vec w = vec_load(M->by_d + (j * t->k + row + i) * PANEL + v);
                sums[i] = vec_fma(w, w, sums[i]);
            }
    for (int64_t j = 0; !t->job->tiled && j < d; j += LANES)
        for (int64_t i = 0; i < n; ++i) {
            vec w = vec_load_n(M->rows + (row + i) * d + j, d - j);
            sums[i] = vec_fma(w, w, sums[i]);
        }
}

/* norms (k) <- the squared norms of the rows of a matrix. With `wanted`, only norms where it is
   not 0 are guaranteed, and others are finite numbers. Threads share the rows. */
static void norms_of_rows(const training *t, member m, const weight_matrix *M, const real *wanted,
                          real *norms)
{
    for (int64_t row = share_begin(m, t->k), end = share_end(m, t->k), n; row < end; row += n) {
        vec sums[NORM_ROWS];
        int any = !wanted;
        n = min_i64(NORM_ROWS, end - row);
        for (int64_t i = row; i < row + n; ++i)
            any |= wanted && wanted[i] != 0;
        if (any)
            squares_of_rows(t, M, row, n, sums);
        for (int64_t i = 0; i < n; ++i)
            norms[row + i] = any ? (real)vec_sum(sums[i]) : 0;
    }
}

/* Set the weights of auxiliary losses, 0 for units that are not dead, of this thread's share of the
   units. They change here alone: the later phases of a batch read them, each thread at its own
   pace. */
static void refresh_revival(const training *t, member m)
{
    const training_job *job = t->job;
    for (int64_t j = share_begin(m, t->k), end = share_end(m, t->k); t->revive && j < end; ++j)
        t->revive[j] = job->rows_unused[j] >= job->terms.dead_rows ? (real)job->terms.revive : 0;
}

static void norms_phase(const training *t, member m)
{
    refresh_revival(t, m);
    if (t->norms)
        norms_of_rows(t, m, &t->W, 0, t->norms);
    if (t->decoder_norms)
        norms_of_rows(t, m, &t->V, t->revive, t->decoder_norms);
}

/* ---- whole rows ---- */

static int64_t n_group_chunks(const training *t, int64_t n)
{
    return t->job->model.has_groups ? ceil_div(n, GROUP_ROWS) + t->job->model.has_custom : 0;
}

/* Return row i of an activation. */
typedef row_entries row_function(const training *, const batch_plan *, real *activation,
                                 int64_t columns, int64_t i);

/* Set all but the largest units of each row to -0. Threads share the rows, which do not depend
   on one another. */
static void top_k_phase(const training *t, member m, const batch_plan *plan, row_function *row_of)
{
    for (int64_t i = share_begin(m, plan->n); i < share_end(m, plan->n); ++i)
        keep_top_k(t->job->model.top_k, t->k, row_of(t, plan, t->H, t->k, i),
                   t->members[m.index].row);
}

/* Compute the custom distributions, for all rows: the last chunk. */
static double custom_chunk(const training *t, member m, const batch_plan *plan,
                           row_function *row_of, double *sums)
{
    scratch *buffers = &t->members[m.index];
    row_entries *values = buffers->custom_rows, *targets = values + plan->n;
    double loss = 0;
    int failed = 0;
    for (int64_t i = 0; i < plan->n; ++i) {
        values[i] = row_of(t, plan, t->E, t->d, i);
        targets[i] = row_of(t, plan, t->T, t->d, i);
    }
    for (int q = 0; q < t->job->model.n_segments; ++q)
        if (t->job->model.segments[q].is_custom)
            loss += custom_output_rows(&t->job->model, q, plan->n, values, targets, t->weight, sums,
                                       0, 0, buffers->custom_reals, &failed);
    buffers->bad_rows |= failed ? STATUS_CUSTOM_FAILED : STATUS_OK;
    return failed ? (double)NAN : loss; /* NaN ends the call before an update */
}

/* Set the targets of row i of a batch in CSR form in the buffer of a thread, or take them away
   again. Return the buffer as a row. */
static row_entries place_row_targets(const training *t, member m, int64_t i, int set)
{
    real *targets = t->members[m.index].row_targets;
    const real absent = absent_target(&t->job->rows);
    for (int64_t e = t->sparse.row_begins[i]; e < t->sparse.row_begins[i + 1]; ++e)
        targets[t->sparse.by_row[e].column] = set ? t->sparse.by_row[e].target : absent;
    return (row_entries){targets, PANEL};
}

/* Compute the groups of columns for the rows of one chunk. Return the weighted loss. */
static double group_chunk(const training *t, member m, const batch_plan *plan, row_function *row_of,
                          int64_t chunk, double *sums)
{
    const autoencoder_model *model = &t->job->model;
    double loss = 0;
    for (int64_t i = chunk * GROUP_ROWS; i < min_i64(plan->n, (chunk + 1) * GROUP_ROWS); ++i) {
        row_entries targets = t->sparse.is_used ? place_row_targets(t, m, i, 1)
                                                : row_of(t, plan, t->T, t->d, i);
        for (int q = 0; q < model->n_segments; ++q)
            if (model->segments[q].is_group)
                loss += (double)t->weight[i] *
                        group_loss(&model->segments[q], row_of(t, plan, t->E, t->d, i), targets,
                                   t->weight[i], sums, 0, t->members[m.index].row);
        if (t->sparse.is_used)
            place_row_targets(t, m, i, 0);
    }
    return loss;
}

/* Compute losses, derivatives and their column sums of groups of columns and of custom
   distributions. Threads share chunks of rows. */
static void groups_phase(const training *t, member m, const batch_plan *plan, row_function *row_of)
{
    for (int64_t chunk = share_begin(m, plan->n_chunks); chunk < share_end(m, plan->n_chunks);
         ++chunk) {
        double *sums = t->c_sums + (plan->row_blocks_d + chunk) * t->d;
        memset(sums, 0, (size_t)t->d * sizeof *sums);
        int is_custom = t->job->model.has_custom && chunk == plan->n_chunks - 1;
        t->losses[plan->n_losses + chunk] = is_custom
                                                ? custom_chunk(t, m, plan, row_of, sums)
                                                : group_chunk(t, m, plan, row_of, chunk, sums);
    }
}

/* ---- units that no row keeps ---- */

/* Count for each unit the rows since it was kept. One thread calls this, after the deltas. */
static void count_unused(const training *t, const batch_plan *plan)
{
    for (int64_t j = 0; t->kept_weights && t->job->rows_unused && j < t->k; ++j) {
        double kept = 0;
        for (int64_t r = 0; r < plan->row_blocks_k; ++r)
            kept += t->kept_weights[r * t->k + j];
        t->job->rows_unused[j] = kept > 0 ? 0 : t->job->rows_unused[j] + plan->n;
    }
}

#endif
