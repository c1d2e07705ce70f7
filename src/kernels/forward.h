/* One-pass operations: encode, decode, reconstruct, losses of rows; and the checks that come before a fit.

   A block of rows goes through the whole chain in its thread's own buffers: no barrier. */
#ifndef AEFAST_FORWARD_H
#define AEFAST_FORWARD_H

#include "activations.h"
#include "outputs.h"
#include "parallel.h"
#include "product.h"
#include "rows.h"
#include "workspace.h"

enum { ELEMENTS_PER_BLOCK = 4096 };

/* What one thread works in. */
typedef struct {
    real *X, *E; /* (block_rows, d) */
    real *H;     /* (block_rows, k) */
    int *status;
} forward_buffers;

typedef struct {
    forward_job *job;
    int64_t d, k;
    parameter_views p;
} forward_pass;

static forward_buffers carve_forward(const forward_job *job, arena *a)
{
    int64_t n = job->block_rows, d = job->model.n_features, k = job->model.n_components;
    forward_buffers f;
    f.X = CARVE(a, real, n * d);
    f.E = CARVE(a, real, n * d);
    f.H = CARVE(a, real, n * k);
    f.status = CARVE(a, int, 1);
    return f;
}

static int64_t forward_workspace_bytes(const forward_job *job)
{
    arena a = arena_at(0);
    for (int i = 0; i < job->n_threads; ++i)
        carve_forward(job, &a);
    return arena_bytes(&a);
}

static void encode_block(const forward_pass *f, const forward_buffers *own, int64_t n, real *H)
{
    int64_t d = f->d, k = f->k;
    for (int64_t column = 0; column < k; column += BLOCK_COLUMNS) {
        int64_t columns = min_i64(BLOCK_COLUMNS, k - column);
        product_nt(f->job->gemm, n, columns, d, own->X, d, f->p.W + column * d, d, H + column, k);
        strip s = {.values = H + column, .ld = k, .n_rows = n, .n_columns = columns, .bias = f->p.b + column};
        activations[f->job->model.activation].forward(&s);
        *own->status |= s.not_finite ? STATUS_NOT_FINITE : STATUS_OK;
    }
}

/* Either the means, or the losses against X. */
static void decode_block(const forward_pass *f, const forward_buffers *own, int64_t first, int64_t n, const real *H, real *E)
{
    int64_t d = f->d, k = f->k;
    const forward_job *job = f->job;
    const output_entry *output = &outputs[job->model.output];
    for (int64_t column = 0; column < d; column += BLOCK_COLUMNS) {
        int64_t columns = min_i64(BLOCK_COLUMNS, d - column);
        product_nn(job->gemm, n, columns, k, H, k, f->p.V + column, d, E + column, d);
        strip s = {.values = E + column, .ld = d, .n_rows = n, .n_columns = columns, .bias = f->p.c + column};
        if (job->reconstructions) {
            output->mean(&s);
        } else {
            s.operand = own->X + column;
            s.operand_ld = d;
            s.row_losses = job->row_losses ? job->row_losses + first : 0;
            s.feature_losses = job->feature_losses ? (real *)job->feature_losses + first * d + column : 0;
            output->loss(&s);
        }
        *own->status |= s.not_finite ? STATUS_NOT_FINITE : STATUS_OK;
    }
}

static void forward_block(const forward_pass *f, const forward_buffers *own, int64_t first, int64_t n)
{
    const forward_job *job = f->job;
    int64_t width = job->from_codes ? f->k : f->d;
    *own->status |= load_rows(&job->rows, first, n, width, job->from_codes ? own->H : own->X);
    real *H = job->codes ? (real *)job->codes + first * f->k : own->H;
    if (!job->from_codes)
        encode_block(f, own, n, H);
    if (job->row_losses)
        for (int64_t i = first; i < first + n; ++i)
            job->row_losses[i] = 0;
    if (job->reconstructions || job->row_losses || job->feature_losses)
        decode_block(f, own, first, n, H, job->reconstructions ? (real *)job->reconstructions + first * f->d : own->E);
}

static void forward_member(void *context, member m)
{
    const forward_pass *f = (const forward_pass *)context;
    arena a = arena_at(f->job->workspace);
    forward_buffers own;
    for (int i = 0; i <= m.index; ++i)
        own = carve_forward(f->job, &a);
    *own.status = STATUS_OK;
    int64_t n = f->job->rows.n_rows, height = f->job->block_rows, blocks = ceil_div(n, height);
    for (int64_t i = share_begin(m, blocks); i < share_end(m, blocks); ++i)
        forward_block(f, &own, i * height, min_i64(height, n - i * height));
#ifdef _OPENMP
#pragma omp atomic
#endif
    f->job->status |= *own.status;
}

static void forward(forward_job *job)
{
    forward_pass f = {job, job->model.n_features, job->model.n_components, view_parameters(&job->model)};
    job->status = STATUS_OK;
    team_run(job->n_threads, FLOAT_MODE_IEEE, forward_member, &f);
}

/* ---- checks and column sums, before a fit: members share the columns, so that each sum has one order ---- */

static void scan_member(void *context, member m)
{
    scan_job *job = (scan_job *)context;
    int64_t d = job->n_features, width = COLUMN_UNIT * 16, blocks = ceil_div(d, width);
    int status = STATUS_OK;
    real x[COLUMN_UNIT * 16];
    for (int64_t b = share_begin(m, blocks); b < share_end(m, blocks); ++b) {
        int64_t column = b * width, columns = min_i64(width, d - column);
        double *sums = job->column_sums + column;
        for (int64_t i = 0; i < job->rows.n_rows; ++i) {
            status |= load_row(&job->rows, i, column, columns, x);
            for (int64_t j = 0; j < columns; ++j)
                sums[j] += (double)x[j];
        }
    }
#ifdef _OPENMP
#pragma omp atomic
#endif
    job->status |= status;
}

static void scan(scan_job *job)
{
    job->status = STATUS_OK;
    team_run(job->n_threads, FLOAT_MODE_IEEE, scan_member, job);
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
