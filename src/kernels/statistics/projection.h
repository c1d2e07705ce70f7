/* Products of rows with a matrix, and quadratic forms of rows, for the codes, reconstructions and
   likelihoods of linear Gaussian models. */
#ifndef AEFAST_PROJECTION_H
#define AEFAST_PROJECTION_H

#include "kernels/base/workspace.h"
#include "kernels/products/packing.h"
#include "kernels/products/rows.h"
#include "kernels/statistics/statistics.h"

typedef struct {
    projection_job *job;
    int64_t d, k, ld_d, ld_k;
    /* B in panels: [n_panels(k)][d][PANEL]. */
    real *panels;
    /* Where the members' buffers begin, one after the other. */
    arena members;
} projection_pass;

/* One member's block of rows (block_rows, ld_d) and of their products (block_rows, ld_k). */
typedef struct {
    real *X, *Z;
} projection_buffers;

static projection_pass carve_projection(projection_job *job, void *workspace)
{
    projection_pass f = {
        .job = job, .d = job->n_features, .k = job->n_columns, .members = arena_at(workspace)};
    f.ld_d = leading_dimension(f.d);
    f.ld_k = leading_dimension(f.k);
    f.panels = CARVE(&f.members, real, padded(f.k) * f.d);
    return f;
}

static projection_buffers carve_projection_buffers(const projection_pass *f, arena *a)
{
    projection_buffers buffers;
    buffers.X = CARVE(a, real, f->job->block_rows * f->ld_d);
    buffers.Z = CARVE(a, real, f->job->block_rows * f->ld_k);
    return buffers;
}

static int64_t projection_bytes(const projection_job *job)
{
    projection_job measured = *job;
    projection_pass f = carve_projection(&measured, 0);
    for (int i = 0; i < job->n_threads; ++i)
        carve_projection_buffers(&f, &f.members);
    return arena_bytes(&f.members);
}

/* Subtract the shift from x. Returns the sum of p_j x_j^2 of the result, summed in lanes of `real`
   that are added in double. */
static double centre_row(const projection_job *job, int64_t d, real *x)
{
    const real *shift = (const real *)job->shift, *p = (const real *)job->p;
    vec sum = {0};
    for (int64_t j = 0; j < d; j += LANES) {
        vec centred = vec_load_n(x + j, d - j) - vec_load_n(shift + j, d - j);
        vec_store_n(x + j, centred, d - j);
        if (p)
            sum = vec_fma(centred * vec_load_n(p + j, d - j), centred, sum);
    }
    return vec_sum(sum);
}

static double sum_of_squares(const real *z, int64_t k)
{
    vec sum = {0};
    for (int64_t j = 0; j < k; j += LANES) {
        vec v = vec_load_n(z + j, k - j);
        sum = vec_fma(v, v, sum);
    }
    return vec_sum(sum);
}

/* Store the product of one row, or add its squares to the row's quadratic form. Returns whether the
   results are finite. */
static int store_result(const projection_pass *f, const real *z, int64_t row)
{
    const projection_job *job = f->job;
    if (job->quadratic) {
        double form = job->quadratic[row] += job->sign * sum_of_squares(z, f->k);
        return form - form == 0;
    }
    const real *offset = (const real *)job->offset;
    real *out = (real *)job->Z + row * f->k;
    ivec bad = {0};
    for (int64_t j = 0; j < f->k; j += LANES) {
        vec v = vec_load_n(z + j, f->k - j);
        if (offset)
            v += vec_load_n(offset + j, f->k - j);
        bad |= v - v != vec_set(0);
        vec_store_n(out + j, v, f->k - j);
    }
    return !any_lane(bad);
}

static int project_block(const projection_pass *f, const projection_buffers *buffers, int64_t first,
                         int64_t n)
{
    const projection_job *job = f->job;
    int status = STATUS_OK;
    for (int64_t i = 0; i < n; ++i) {
        real *x = buffers->X + i * f->ld_d;
        status |= load_row(&job->rows, first + i, 0, f->d, x);
        double weighted = centre_row(job, f->d, x);
        if (job->quadratic)
            job->quadratic[first + i] = weighted;
    }
    product_panels(n, n_panels(f->k), f->d, buffers->X, f->ld_d, f->panels, f->d, buffers->Z,
                   f->ld_k);
    for (int64_t i = 0; i < n; ++i)
        status |= store_result(f, buffers->Z + i * f->ld_k, first + i) ? STATUS_OK
                                                                       : STATUS_NOT_FINITE;
    return status;
}

static void project_member(void *context, member m)
{
    const projection_pass *f = (const projection_pass *)context;
    projection_job *job = f->job;
    arena a = f->members;
    projection_buffers buffers = carve_projection_buffers(f, &a);
    for (int i = 0; i < m.index; ++i)
        buffers = carve_projection_buffers(f, &a);
    for (int64_t j = share_begin(m, n_panels(f->k)); j < share_end(m, n_panels(f->k)); ++j)
        pack_panel(f->d, f->k - j * PANEL, (const real *)job->B + j * PANEL, f->k,
                   f->panels + j * f->d * PANEL);
    team_barrier(m);
    int64_t n = job->rows.n_rows, height = job->block_rows, blocks = ceil_div(n, height);
    int status = STATUS_OK;
    for (int64_t i = share_begin(m, blocks); i < share_end(m, blocks); ++i)
        status |= project_block(f, &buffers, i * height, min_i64(height, n - i * height));
#ifdef _OPENMP
#pragma omp atomic
#endif
    job->status |= status;
}

static void project(projection_job *job)
{
    projection_pass f = carve_projection(job, job->workspace);
    job->status = STATUS_OK;
    team_run(job->n_threads, FLOAT_MODE_IEEE, project_member, &f);
}

#endif
