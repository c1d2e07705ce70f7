/* One-pass operations: encode, decode, reconstruct, losses of rows.

   A block of rows goes through the whole chain in its thread's own buffers: no barrier. */
#ifndef AEFAST_FORWARD_H
#define AEFAST_FORWARD_H

#include "kernels/autoencoder/inputs.h"
#include "kernels/autoencoder/parameters.h"
#include "kernels/autoencoder/tables/activations.h"
#include "kernels/autoencoder/top_k.h"
#include "kernels/base/workspace.h"
#include "kernels/products/blas.h"
#include "kernels/products/few_rows.h"
#include "kernels/products/packing.h"
#include "kernels/products/rows.h"

enum { ELEMENTS_PER_BLOCK = 4096 };

/* What one thread works in. */
typedef struct {
    real *X, *E; /* (block_rows, d), rows ld_d apart: what is encoded, the output layer */
    real *T; /* (block_rows, d): the rows themselves, where missing entries make them differ from X;
                else X */
    real *H; /* (block_rows, k), rows ld_k apart */
    real *row; /* for groups of columns, and the selection of units */
    row_entries *own_rows;
    real *own_reals; /* for the caller's distributions */
    int *status;
} forward_buffers;

typedef struct {
    forward_job *job;
    int64_t d, k, ld_d, ld_k;
    int tiled;
    parameter_views p;
    real *W_by_k, *V_by_d; /* packed, for register tiles (packing.h) */
    arena members;         /* where the members' buffers begin */
    _Atomic int64_t
        next; /* block of rows: whoever is free takes it, as no row depends on who computes it */
} forward_pass;

static forward_buffers carve_forward(const forward_pass *f, arena *a)
{
    int64_t n = f->job->block_rows;
    forward_buffers own;
    own.X = own.T = CARVE(a, real, n * f->ld_d);
    if (inputs_differ(&f->job->inputs))
        own.T = CARVE(a, real, n * f->ld_d);
    own.E = CARVE(a, real, n * f->ld_d);
    own.H = CARVE(a, real, n * f->ld_k);
    own.row = CARVE(a, real,
                    max_i64(GROUP_BUFFERS * widest_group(&f->job->model),
                            f->job->model.top_k > 0 ? TOP_K_BUFFERS * padded(f->k) : 0));
    own.own_rows = CARVE(a, row_entries, f->job->model.has_own ? 2 * n : 0);
    own.own_reals = CARVE(a, real, own_output_reals(&f->job->model, n));
    own.status = CARVE(a, int, 1);
    return own;
}

static int encodes(const forward_job *job) { return !job->from_codes; }
static int decodes(const forward_job *job)
{
    return job->reconstructions || job->row_losses || job->feature_losses;
}

static forward_pass carve_forward_pass(forward_job *job, void *workspace)
{
    forward_pass f = {.job = job,
                      .d = job->model.n_features,
                      .k = job->model.n_components,
                      .p = view_parameters(&job->model)};
    f.tiled = job->products == PRODUCTS_TILES;
    f.ld_d = f.tiled ? leading_dimension(f.d) : f.d;
    f.ld_k = f.tiled ? leading_dimension(f.k) : f.k;
    f.members = arena_at(workspace);
    f.W_by_k = CARVE(&f.members, real, f.tiled && encodes(job) ? padded(f.k) * padded(f.d) : 0);
    f.V_by_d = CARVE(&f.members, real, f.tiled && decodes(job) ? padded(f.d) * f.k : 0);
    return f;
}

static int64_t forward_workspace_bytes(const forward_job *job)
{
    forward_job measured = *job;
    forward_pass f = carve_forward_pass(&measured, 0);
    for (int i = 0; i < job->n_threads; ++i)
        carve_forward(&f, &f.members);
    return arena_bytes(&f.members);
}

/* Members share the panels. */
static void pack_weights(const forward_pass *f, member m)
{
    int64_t d = f->d, k = f->k;
    if (encodes(f->job))
        for (int64_t j = share_begin(m, n_panels(k)); j < share_end(m, n_panels(k)); ++j)
            pack_transposed_panel(min_i64(PANEL, k - j * PANEL), d, f->p.W + j * PANEL * d,
                                  f->W_by_k + j * padded(d) * PANEL);
    if (decodes(f->job))
        for (int64_t j = share_begin(m, n_panels(d)); j < share_end(m, n_panels(d)); ++j)
            pack_panel(k, d - j * PANEL, f->p.V + j * PANEL, d, f->V_by_d + j * k * PANEL);
}

static void encode_block(const forward_pass *f, const forward_buffers *own, int64_t first,
                         int64_t n)
{
    int64_t d = f->d, k = f->k;
    const forward_job *job = f->job;
    for (int64_t column = 0; column < k; column += BLOCK_COLUMNS) {
        int64_t columns = min_i64(BLOCK_COLUMNS, k - column);
        real *H = own->H + column;
        if (f->tiled)
            product_panels(n, n_panels(columns), d, own->X, f->ld_d, f->W_by_k + column * padded(d),
                           padded(d), H, f->ld_k);
        else if (job->products == PRODUCTS_FEW_ROWS)
            few_rows_times_transpose(n, columns, d, own->X, f->ld_d, f->p.W + column * d, d, H,
                                     f->ld_k);
        else
            blas_nt(job->gemm, n, columns, d, own->X, f->ld_d, f->p.W + column * d, d, H, f->ld_k);
        strip s = {
            .values = H, .ld = f->ld_k, .n_rows = n, .n_columns = columns, .bias = f->p.b + column};
        activations[job->model.activation].forward(&s);
        *own->status |= s.not_finite ? STATUS_NOT_FINITE : STATUS_OK;
    }
    if (job->model.top_k > 0)
        for (int64_t i = 0; i < n; ++i)
            keep_top_k(job->model.top_k, k, (row_entries){own->H + i * f->ld_k, PANEL}, own->row);
    if (job->codes)
        for (int64_t i = 0; i < n; ++i)
            memcpy((real *)job->codes + (first + i) * k, own->H + i * f->ld_k,
                   (size_t)k * sizeof(real));
}

/* Means or losses of a strip of pre-activations, by every part of the output that has columns
 * there. */
static void finish_outputs(const forward_pass *f, const forward_buffers *own, strip *s,
                           int64_t first, int64_t column)
{
    const forward_job *job = f->job;
    s->operand = own->T + column;
    s->operand_ld = f->ld_d;
    s->row_losses = job->row_losses ? job->row_losses + first : 0;
    s->feature_losses = job->feature_losses ? (real *)job->feature_losses + first * f->d + column
                                            : 0;
    s->feature_ld = f->d;
    s->part_of_column = job->model.part_of_column ? job->model.part_of_column + column : 0;
    s->theta = f->p.theta ? f->p.theta + column : 0;
    s->missing = job->inputs.fill != 0;
    for (int q = 0; q < job->model.n_parts; ++q) {
        const output_part *part = &job->model.parts[q];
        s->part = q, s->constant = (real)part->constant;
        (job->reconstructions ? outputs[part->output].mean : outputs[part->output].loss)(s);
    }
}

static void finish_own(const forward_pass *f, const forward_buffers *own, int64_t first, int64_t n)
{
    const forward_job *job = f->job;
    row_entries *values = own->own_rows, *targets = values + n;
    int failed = 0;
    for (int64_t i = 0; i < n; ++i) {
        values[i] = (row_entries){own->E + i * f->ld_d, PANEL};
        targets[i] = (row_entries){own->T + i * f->ld_d, PANEL};
    }
    for (int q = 0; q < job->model.n_parts; ++q)
        if (job->model.parts[q].is_own)
            own_output_rows(&job->model, q, n, values, job->reconstructions ? 0 : targets, 0, 0,
                            job->row_losses ? job->row_losses + first : 0,
                            job->feature_losses ? (real *)job->feature_losses + first * f->d : 0,
                            own->own_reals, &failed);
    *own->status |= failed ? STATUS_OWN_FAILED : STATUS_OK;
}

/* Groups of columns, once whole rows are there. */
static void finish_groups(const forward_pass *f, const forward_buffers *own, int64_t first,
                          int64_t n)
{
    const forward_job *job = f->job;
    for (int q = 0; q < job->model.n_parts; ++q)
        for (int64_t i = 0; job->model.parts[q].is_group && i < n; ++i) {
            row_entries values = {own->E + i * f->ld_d, PANEL}, x = {own->T + i * f->ld_d, PANEL};
            if (job->reconstructions) {
                *own->status |= group_mean(&job->model.parts[q], values,
                                           job->from_codes && !job->targets.data ? 0 : &x, own->row)
                                    ? STATUS_OK
                                    : STATUS_NOT_FINITE;
                continue;
            }
            double loss = group_loss(
                &job->model.parts[q], values, x, 1, 0,
                job->feature_losses ? (real *)job->feature_losses + (first + i) * f->d : 0,
                own->row);
            if (job->row_losses)
                job->row_losses[first + i] += loss;
        }
}

/* Either the means, or the losses against X. */
static void decode_block(const forward_pass *f, const forward_buffers *own, int64_t first,
                         int64_t n)
{
    int64_t d = f->d, k = f->k;
    const forward_job *job = f->job;
    for (int64_t column = 0; column < d; column += BLOCK_COLUMNS) {
        int64_t columns = min_i64(BLOCK_COLUMNS, d - column);
        real *E = own->E + column;
        if (f->tiled)
            product_panels(n, n_panels(columns), k, own->H, f->ld_k, f->V_by_d + column * k, k, E,
                           f->ld_d);
        else if (job->products == PRODUCTS_FEW_ROWS)
            few_rows_times_matrix(n, columns, k, own->H, f->ld_k, f->p.V + column, d, E, f->ld_d);
        else
            blas_nn(job->gemm, n, columns, k, own->H, f->ld_k, f->p.V + column, d, E, f->ld_d);
        strip s = {
            .values = E, .ld = f->ld_d, .n_rows = n, .n_columns = columns, .bias = f->p.c + column};
        finish_outputs(f, own, &s, first, column);
        *own->status |= s.not_finite ? STATUS_NOT_FINITE : STATUS_OK;
    }
    if (job->model.has_groups)
        finish_groups(f, own, first, n);
    if (job->model.has_own)
        finish_own(f, own, first, n);
    if (job->reconstructions)
        for (int64_t i = 0; i < n; ++i)
            memcpy((real *)job->reconstructions + (first + i) * d, own->E + i * f->ld_d,
                   (size_t)d * sizeof(real));
}

static void forward_block(const forward_pass *f, const forward_buffers *own, int64_t first,
                          int64_t n)
{
    const forward_job *job = f->job;
    int64_t width = job->from_codes ? f->k : f->d, ld = job->from_codes ? f->ld_k : f->ld_d;
    for (int64_t i = 0; i < n; ++i) {
        *own->status |= load_row(&job->rows, first + i, 0, width,
                                 (job->from_codes ? own->H : own->T) + i * ld);
        if (own->T != own->X && !job->from_codes)
            make_input(&job->inputs, width, job->inputs.first_sample + first + i,
                       (row_entries){own->T + i * ld, PANEL},
                       (row_entries){own->X + i * ld, PANEL});
    }
    for (int64_t i = 0; job->targets.data && i < n; ++i)
        *own->status |= load_row(&job->targets, first + i, 0, f->d, own->T + i * f->ld_d);
    if (job->row_losses)
        memset(job->row_losses + first, 0, (size_t)n * sizeof(double));
    if (encodes(job))
        encode_block(f, own, first, n);
    if (decodes(job))
        decode_block(f, own, first, n);
}

static void forward_member(void *context, member m)
{
    forward_pass *f = (forward_pass *)context;
    arena a = f->members;
    forward_buffers own = carve_forward(f, &a);
    for (int i = 0; i < m.index; ++i)
        own = carve_forward(f, &a);
    *own.status = STATUS_OK;
    if (f->tiled)
        pack_weights(f, m);
    team_barrier(m);
    int64_t n = f->job->rows.n_rows, height = f->job->block_rows, blocks = ceil_div(n, height);
    for (int64_t i; (i = atomic_fetch_add_explicit(&f->next, 1, memory_order_relaxed)) < blocks;)
        forward_block(f, &own, i * height, min_i64(height, n - i * height));
#ifdef _OPENMP
#pragma omp atomic
#endif
    f->job->status |= *own.status;
}

static void forward(forward_job *job)
{
    forward_pass f = carve_forward_pass(job, job->workspace);
    job->status = STATUS_OK;
    team_run(job->n_threads, FLOAT_MODE_IEEE, forward_member, &f);
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
    map_job job = {(const real *)x, (real *)y, n};
    team_run(n_threads, FLOAT_MODE_IEEE, sigmoid_member, &job);
}

static void map_softplus(const void *x, void *y, int64_t n, int n_threads)
{
    map_job job = {(const real *)x, (real *)y, n};
    team_run(n_threads, FLOAT_MODE_IEEE, softplus_member, &job);
}

#endif
