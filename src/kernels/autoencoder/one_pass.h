/* One-pass operations: encode, decode, reconstruct, losses of rows.

   A block of rows goes from input to output in the buffers of its thread, without a barrier. */
#ifndef AEFAST_ONE_PASS_H
#define AEFAST_ONE_PASS_H

#include "kernels/autoencoder/inputs.h"
#include "kernels/autoencoder/parameters.h"
#include "kernels/autoencoder/sparse_encoding.h"
#include "kernels/autoencoder/tables/activations.h"
#include "kernels/autoencoder/top_k.h"
#include "kernels/base/workspace.h"
#include "kernels/products/blas.h"
#include "kernels/products/few_rows.h"
#include "kernels/products/packing.h"
#include "kernels/products/rows.h"

enum { ELEMENTS_PER_BLOCK = 4096 };

/* Buffers of one thread. */
typedef struct {
    /* (block_rows, d), rows ld_x apart: the encoder's input. Like T and H it may be a part of the
       user's table, which is not written to. */
    real *X;
    /* (block_rows, d), rows ld_t apart: targets. T == X unless inputs differ from targets. */
    real *T;
    /* (block_rows, k), rows ld_h apart: codes. */
    real *H;
    int64_t ld_x, ld_t, ld_h;
    /* (block_rows, d), rows ld_d apart: the output layer. */
    real *E;
    /* The entries of a row in CSR form. */
    sparse_entry *entries;
    /* Buffer for groups of columns and for the selection of units. */
    real *row;
    /* For custom distributions: the positions of rows, and their entries. */
    row_entries *custom_rows;
    real *custom_reals;
    int *status;
} pass_buffers;

/* State of a pass, which all threads share. */
typedef struct {
    one_pass_job *job;
    int64_t d, k, ld_d, ld_k;
    int tiled;
    /* Whether the encoder reads the entries of rows in CSR form, not dense rows. */
    int sparse;
    /* Whether rows are read where the user has them, without a copy. */
    int in_place;
    parameter_views p;
    /* Weights packed for register tiles (packing.h). */
    real *W_by_k, *V_by_d;
    /* (d, padded(k)): W^T, for rows in CSR form. */
    real *W_rows;
    /* Memory of the threads' buffers. */
    arena members;
    /* The next block of rows. Threads take blocks as they become free; results do not depend on
       which thread computes a block. */
    _Atomic int64_t next;
} pass;

static int encodes(const one_pass_job *job) { return !job->from_codes; }
static int decodes(const one_pass_job *job)
{
    return job->reconstructions || job->row_losses || job->feature_losses;
}

/* Rows that are a multiple of so many bytes apart compete for cache sets, and are copied. */
enum { COMPETING_BYTES = 512 };

/* Whether products can read the user's rows as they are. */
static int rows_serve_in_place(const one_pass_job *job)
{
    const rows_view *rows = &job->rows;
    return !rows->row_begin && !rows->order && rows->kind == REAL_KIND && !rows->shift &&
           !rows->clipped && rows->stride % COMPETING_BYTES != 0 &&
           ((uintptr_t)rows->data | (uintptr_t)rows->stride) % sizeof(real) == 0 &&
           (job->from_codes ? !job->model.gain : !inputs_differ(&job->inputs)) &&
           job->products != PRODUCTS_BLAS;
}

/* Reserve the buffers of one thread. */
static pass_buffers carve_buffers(const pass *f, arena *a)
{
    int64_t n = f->job->block_rows;
    pass_buffers buffers = {.ld_x = f->ld_d, .ld_t = f->ld_d, .ld_h = f->ld_k};
    int has_rows = f->job->from_codes ? f->job->targets.data != 0
                                      : !f->in_place && !(f->sparse && !decodes(f->job));
    buffers.X = buffers.T = CARVE(a, real, has_rows ? n * f->ld_d : 0);
    buffers.entries = CARVE(a, sparse_entry, f->sparse ? f->d : 0);
    if (!f->sparse && inputs_differ(&f->job->inputs))
        buffers.T = CARVE(a, real, n * f->ld_d);
    buffers.E = CARVE(a, real, decodes(f->job) ? n * f->ld_d : 0);
    buffers.H = CARVE(a, real, n * f->ld_k);
    buffers.row = CARVE(a, real,
                        max_i64(GROUP_BUFFERS * widest_group(&f->job->model),
                                f->job->model.top_k > 0 ? TOP_K_BUFFERS * padded(f->k) : 0));
    buffers.custom_rows = CARVE(a, row_entries, f->job->model.has_custom ? 2 * n : 0);
    buffers.custom_reals = CARVE(a, real, custom_output_reals(&f->job->model, n));
    buffers.status = CARVE(a, int, 1);
    return buffers;
}

/* Reserve the packed weights in the workspace; the threads' buffers follow them. */
static pass carve_pass(one_pass_job *job, void *workspace)
{
    pass f = {.job = job,
              .d = job->model.n_features,
              .k = job->model.n_components,
              .p = view_parameters(&job->model)};
    f.tiled = job->products == PRODUCTS_TILES;
    f.sparse = encodes(job) && job->products != PRODUCTS_BLAS &&
               inputs_are_sparse(&job->rows, &job->inputs) && zeros_pass(&job->rows, f.d);
    f.in_place = rows_serve_in_place(job);
    f.ld_d = f.tiled ? leading_dimension(f.d) : f.d;
    f.ld_k = f.tiled ? leading_dimension(f.k) : f.k;
    f.members = arena_at(workspace);
    f.W_by_k = CARVE(&f.members, real,
                     f.tiled && encodes(job) && !f.sparse ? padded(f.k) * padded(f.d) : 0);
    f.W_rows = CARVE(&f.members, real, f.tiled && f.sparse ? f.d * padded(f.k) : 0);
    f.V_by_d = CARVE(&f.members, real, f.tiled && decodes(job) ? padded(f.d) * f.k : 0);
    return f;
}

static int64_t one_pass_workspace_bytes(const one_pass_job *job)
{
    one_pass_job measured = *job;
    pass f = carve_pass(&measured, 0);
    for (int i = 0; i < job->n_threads; ++i)
        carve_buffers(&f, &f.members);
    return arena_bytes(&f.members);
}

/* Pack the weights. Threads share the panels. */
static void pack_weights(const pass *f, member m)
{
    int64_t d = f->d, k = f->k;
    if (f->sparse)
        transpose_weights(k, d, f->p.W, share_begin(m, n_panels(k)), share_end(m, n_panels(k)),
                          f->W_rows);
    else if (encodes(f->job))
        for (int64_t j = share_begin(m, n_panels(k)); j < share_end(m, n_panels(k)); ++j)
            pack_transposed_panel(min_i64(PANEL, k - j * PANEL), d, f->p.W + j * PANEL * d,
                                  f->W_by_k + j * padded(d) * PANEL);
    if (decodes(f->job))
        for (int64_t j = share_begin(m, n_panels(d)); j < share_end(m, n_panels(d)); ++j)
            pack_panel(k, d - j * PANEL, f->p.V + j * PANEL, d, f->V_by_d + j * k * PANEL);
}

/* Compute products with W of n rows in CSR form. */
static void multiply_sparse_rows(const pass *f, const pass_buffers *buffers, int64_t first,
                                 int64_t n)
{
    const one_pass_job *job = f->job;
    for (int64_t i = 0; i < n; ++i) {
        int64_t found = read_sparse_row(&job->rows, &job->inputs, first + i,
                                        job->inputs.first_sample + first + i, 0, buffers->entries,
                                        buffers->status);
        real *h = buffers->H + i * f->ld_k;
        if (f->tiled)
            encode_entries(buffers->entries, found, f->k, f->W_rows, h);
        else
            encode_entries_by_columns(buffers->entries, found, f->k, f->d, f->p.W, h);
    }
}

/* Compute the codes of n rows from `first` on, and copy them to the job's output. */
static void encode_block(const pass *f, const pass_buffers *buffers, int64_t first, int64_t n)
{
    int64_t d = f->d, k = f->k;
    const one_pass_job *job = f->job;
    if (f->sparse)
        multiply_sparse_rows(f, buffers, first, n);
    for (int64_t column = 0; column < k; column += BLOCK_COLUMNS) {
        int64_t columns = min_i64(BLOCK_COLUMNS, k - column);
        real *H = buffers->H + column;
        if (f->sparse)
            ; /* all columns are there */
        else if (f->tiled)
            product_panels(n, n_panels(columns), d, buffers->X, buffers->ld_x,
                           f->W_by_k + column * padded(d), padded(d), H, f->ld_k);
        else if (job->products == PRODUCTS_FEW_ROWS)
            few_rows_times_transpose(n, columns, d, buffers->X, buffers->ld_x, f->p.W + column * d,
                                     d, H, f->ld_k);
        else
            blas_nt(job->gemm, n, columns, d, buffers->X, f->ld_d, f->p.W + column * d, d, H,
                    f->ld_k);
        strip s = {
            .values = H, .ld = f->ld_k, .n_rows = n, .n_columns = columns, .bias = f->p.b + column};
        activations[job->model.activation].forward(&s);
        *buffers->status |= s.not_finite ? STATUS_NOT_FINITE : STATUS_OK;
    }
    if (job->model.top_k > 0)
        for (int64_t i = 0; i < n; ++i)
            keep_top_k(job->model.top_k, k, (row_entries){buffers->H + i * f->ld_k, PANEL},
                       buffers->row);
    if (job->codes)
        for (int64_t i = 0; i < n; ++i)
            memcpy((real *)job->codes + (first + i) * k, buffers->H + i * f->ld_k,
                   (size_t)k * sizeof(real));
}

/* Add -log p of the segment's columns, as `loss` of an entry adds losses. */
static void minus_log_p_strip(strip *s, minus_log_p_function *minus_log_p)
{
    for (int64_t j = 0; j < s->n_columns; ++j) {
        if (s->segment_of_column && s->segment_of_column[j] != s->segment)
            continue;
        column_parameter p = column_parameter_of(s->theta ? (double)s->theta[j] : 0);
        for (int64_t i = 0; i < s->n_rows; ++i) {
            double x = (double)s->operand[i * s->operand_ld + j],
                   eta = (double)(s->values[i * s->ld + j] + s->bias[j]),
                   value = x == x ? minus_log_p(x, eta, &p) : 0;
            if (s->row_losses)
                s->row_losses[i] += value;
            if (s->feature_losses)
                s->feature_losses[i * s->feature_ld + j] = (real)value;
        }
    }
}

/* Compute means or losses of a strip of pre-activations, segment by segment. */
static void finish_outputs(const pass *f, const pass_buffers *buffers, strip *s, int64_t first,
                           int64_t column)
{
    const one_pass_job *job = f->job;
    s->operand = buffers->T + column;
    s->operand_ld = buffers->ld_t;
    s->row_losses = job->row_losses ? job->row_losses + first : 0;
    s->feature_losses = job->feature_losses ? (real *)job->feature_losses + first * f->d + column
                                            : 0;
    s->feature_ld = f->d;
    s->segment_of_column = job->model.segment_of_column ? job->model.segment_of_column + column : 0;
    s->theta = f->p.theta ? f->p.theta + column : 0;
    s->missing = job->inputs.fill != 0;
    for (int q = 0; q < job->model.n_segments; ++q) {
        const output_segment *segment = &job->model.segments[q];
        const output_entry *entry = &outputs[segment->output];
        s->segment = q, s->constant = (real)segment->constant;
        if (job->reconstructions)
            entry->mean(s);
        else if (job->whole_losses && entry->minus_log_p)
            minus_log_p_strip(s, entry->minus_log_p);
        else
            entry->loss(s);
    }
}

/* Compute means or losses of custom distributions, for n rows from `first` on. */
static void finish_custom(const pass *f, const pass_buffers *buffers, int64_t first, int64_t n)
{
    const one_pass_job *job = f->job;
    row_entries *values = buffers->custom_rows, *targets = values + n;
    int failed = 0;
    for (int64_t i = 0; i < n; ++i) {
        values[i] = (row_entries){buffers->E + i * f->ld_d, PANEL};
        targets[i] = (row_entries){buffers->T + i * buffers->ld_t, PANEL};
    }
    for (int q = 0; q < job->model.n_segments; ++q)
        if (job->model.segments[q].is_custom)
            custom_output_rows(&job->model, q, n, values, job->reconstructions ? 0 : targets, 0, 0,
                               job->row_losses ? job->row_losses + first : 0,
                               job->feature_losses ? (real *)job->feature_losses + first * f->d : 0,
                               buffers->custom_reals, &failed);
    *buffers->status |= failed ? STATUS_CUSTOM_FAILED : STATUS_OK;
}

/* Compute means or losses of groups of columns, once whole rows are complete. */
static void finish_groups(const pass *f, const pass_buffers *buffers, int64_t first, int64_t n)
{
    const one_pass_job *job = f->job;
    for (int q = 0; q < job->model.n_segments; ++q)
        for (int64_t i = 0; job->model.segments[q].is_group && i < n; ++i) {
            row_entries values = {buffers->E + i * f->ld_d, PANEL},
                        x = {buffers->T + i * buffers->ld_t, PANEL};
            if (job->reconstructions) {
                *buffers->status |= group_mean(&job->model.segments[q], values,
                                               job->from_codes && !job->targets.data ? 0 : &x,
                                               buffers->row)
                                        ? STATUS_OK
                                        : STATUS_NOT_FINITE;
                continue;
            }
            const output_segment *segment = &job->model.segments[q];
            real *feature_losses = job->feature_losses
                                       ? (real *)job->feature_losses + (first + i) * f->d
                                       : 0;
            double loss = job->whole_losses && outputs[segment->output].group_base
                              ? multinomial_minus_log_p(segment, values, x, feature_losses,
                                                        buffers->row)
                              : group_loss(segment, values, x, 1, 0, feature_losses, buffers->row);
            if (job->row_losses)
                job->row_losses[first + i] += loss;
        }
}

/* Replace the codes h of n rows by z = (h - g(0)) o gain. */
static void scale_code_rows(const pass *f, const pass_buffers *buffers, int64_t n)
{
    vec rest = vec_set((real)activations[f->job->model.activation].info.at_zero);
    for (int64_t j = 0; j < f->k; j += LANES) {
        int64_t left = f->k - j;
        vec gain = vec_load_n(f->p.gain + j, left);
        real *h = buffers->H + j;
        for (int64_t i = 0; i < n; ++i, h += f->ld_k)
            vec_store_n(h, (vec_load_n(h, left) - rest) * gain, left);
    }
}

/* Compute either means, or losses against T. */
static void decode_block(const pass *f, const pass_buffers *buffers, int64_t first, int64_t n)
{
    int64_t d = f->d, k = f->k;
    const one_pass_job *job = f->job;
    if (f->p.gain)
        scale_code_rows(f, buffers, n);
    for (int64_t column = 0; column < d; column += BLOCK_COLUMNS) {
        int64_t columns = min_i64(BLOCK_COLUMNS, d - column);
        real *E = buffers->E + column;
        if (f->tiled)
            product_panels(n, n_panels(columns), k, buffers->H, buffers->ld_h,
                           f->V_by_d + column * k, k, E, f->ld_d);
        else if (job->products == PRODUCTS_FEW_ROWS)
            few_rows_times_matrix(n, columns, k, buffers->H, buffers->ld_h, f->p.V + column, d, E,
                                  f->ld_d);
        else
            blas_nn(job->gemm, n, columns, k, buffers->H, f->ld_k, f->p.V + column, d, E, f->ld_d);
        strip s = {
            .values = E, .ld = f->ld_d, .n_rows = n, .n_columns = columns, .bias = f->p.c + column};
        finish_outputs(f, buffers, &s, first, column);
        *buffers->status |= s.not_finite ? STATUS_NOT_FINITE : STATUS_OK;
    }
    if (job->model.has_groups)
        finish_groups(f, buffers, first, n);
    if (job->model.has_custom)
        finish_custom(f, buffers, first, n);
    if (job->reconstructions)
        for (int64_t i = 0; i < n; ++i)
            memcpy((real *)job->reconstructions + (first + i) * d, buffers->E + i * f->ld_d,
                   (size_t)d * sizeof(real));
}

/* Point to n of the user's rows from `first` on, and check them. */
static void view_block(const pass *f, pass_buffers *buffers, int64_t first, int64_t n)
{
    const rows_view *rows = &f->job->rows;
    int64_t width = f->job->from_codes ? f->k : f->d, ld = rows->stride / (int64_t)sizeof(real);
    real *values = (real *)(uintptr_t)row_at(rows, first);
    if (f->job->from_codes)
        buffers->H = values, buffers->ld_h = ld;
    else
        buffers->X = buffers->T = values, buffers->ld_x = buffers->ld_t = ld;
    for (int64_t i = 0; rows->checked && i < n; ++i)
        if (!passes_check(rows, 0, width, values + i * ld))
            *buffers->status |= STATUS_BAD_ROWS;
}

/* Load n rows from `first` on, and encode and decode them. */
static void pass_block(const pass *f, pass_buffers *buffers, int64_t first, int64_t n)
{
    const one_pass_job *job = f->job;
    int64_t width = job->from_codes ? f->k : f->d, ld = job->from_codes ? f->ld_k : f->ld_d;
    if (f->in_place)
        view_block(f, buffers, first, n);
    for (int64_t i = 0; i < n && !f->in_place && !(f->sparse && !decodes(job)); ++i) {
        *buffers->status |= load_row(&job->rows, first + i, 0, width,
                                     (job->from_codes ? buffers->H : buffers->T) + i * ld);
        if (buffers->T != buffers->X && !job->from_codes)
            make_input(&job->inputs, width, job->inputs.first_sample + first + i,
                       (row_entries){buffers->T + i * ld, PANEL},
                       (row_entries){buffers->X + i * ld, PANEL});
    }
    for (int64_t i = 0; job->targets.data && i < n; ++i)
        *buffers->status |= load_row(&job->targets, first + i, 0, f->d, buffers->T + i * f->ld_d);
    if (job->row_losses)
        memset(job->row_losses + first, 0, (size_t)n * sizeof(double));
    if (encodes(job))
        encode_block(f, buffers, first, n);
    if (decodes(job))
        decode_block(f, buffers, first, n);
}

/* The function that each thread of the team runs. */
static void pass_member(void *context, member m)
{
    pass *f = (pass *)context;
    arena a = f->members;
    pass_buffers buffers = carve_buffers(f, &a);
    for (int i = 0; i < m.index; ++i)
        buffers = carve_buffers(f, &a);
    *buffers.status = STATUS_OK;
    if (f->tiled)
        pack_weights(f, m);
    team_barrier(m);
    int64_t n = f->job->rows.n_rows, height = f->job->block_rows, blocks = ceil_div(n, height);
    for (int64_t i; (i = atomic_fetch_add_explicit(&f->next, 1, memory_order_relaxed)) < blocks;)
        pass_block(f, &buffers, i * height, min_i64(height, n - i * height));
#ifdef _OPENMP
#pragma omp atomic
#endif
    f->job->status |= *buffers.status;
}

static void one_pass(one_pass_job *job)
{
    pass f = carve_pass(job, job->workspace);
    job->status = STATUS_OK;
    team_run(job->n_threads, FLOAT_MODE_IEEE, pass_member, &f);
}

/* ---- elementwise functions ---- */

typedef struct {
    const real *x;
    real *y;
    int64_t n;
} map_job;

ALWAYS_INLINE void map_member(void *context, member m, vec (*function)(vec))
{
    const map_job *job = (const map_job *)context;
    int64_t blocks = ceil_div(job->n, ELEMENTS_PER_BLOCK);
    int64_t end = min_i64(job->n, share_end(m, blocks) * ELEMENTS_PER_BLOCK);
    for (int64_t j = share_begin(m, blocks) * ELEMENTS_PER_BLOCK; j < end; j += LANES)
        vec_store_n(job->y + j, function(vec_load_n(job->x + j, end - j)), end - j);
}

static void sigmoid_member(void *context, member m) { map_member(context, m, vec_sigmoid); }
static void softplus_member(void *context, member m) { map_member(context, m, vec_softplus); }

static void map_sigmoid(const void *x, void *y, int64_t n, int n_threads)
{
    map_job job = {.x = (const real *)x, .y = (real *)y, .n = n};
    team_run(n_threads, FLOAT_MODE_IEEE, sigmoid_member, &job);
}

static void map_softplus(const void *x, void *y, int64_t n, int n_threads)
{
    map_job job = {.x = (const real *)x, .y = (real *)y, .n = n};
    team_run(n_threads, FLOAT_MODE_IEEE, softplus_member, &job);
}

#endif
