/* Ridge regressions of items on few others each, from the Gram matrix. */
#ifndef AEFAST_ITEMS_REFIT_H
#define AEFAST_ITEMS_REFIT_H

#include <math.h>

#include "kernels/items/members.h"

static int64_t refit_buffer_bytes(const refit_job *job)
{
    return job->most * (job->most + 1) * (int64_t)sizeof(real);
}
static int64_t refit_bytes(const refit_job *job)
{
    return item_pass_bytes(job->n_threads, refit_buffer_bytes(job));
}

/* G_ij off the diagonal. */
static real gram_entry(const refit_job *job, int64_t i, int64_t j)
{
    return ((const real *)job->G)[max_i64(i, j) * job->n + min_i64(i, j)];
}

/* Solve the equations of column j by U^T U = G_SS. M (m, m) holds the upper triangle. Returns
   whether no pivot is lost to rounding. */
static int refit_column(const refit_job *job, int64_t j, real *M, real *x)
{
    const int32_t *rows = job->rows + job->begin[j];
    int64_t m = job->begin[j + 1] - job->begin[j];
    for (int64_t a = 0; a < m; ++a) {
        M[a * m + a] = (real)job->diagonal[rows[a]];
        for (int64_t b = a + 1; b < m; ++b)
            M[a * m + b] = gram_entry(job, rows[b], rows[a]);
        x[a] = gram_entry(job, rows[a], j);
    }
    for (int64_t k = 0; k < m; ++k) {
        real pivot = M[k * m + k];
        if (!(pivot > 4 * REAL_EPSILON * (real)job->diagonal[rows[k]]))
            return 0;
        real root = (real)sqrt((double)pivot);
        for (int64_t b = k; b < m; ++b)
            M[k * m + b] /= root;
        x[k] /= root;
        for (int64_t a = k + 1; a < m; ++a) {
            real factor = M[k * m + a];
            x[a] -= factor * x[k];
            for (int64_t b = a; b < m; ++b)
                M[a * m + b] -= factor * M[k * m + b];
        }
    }
    for (int64_t k = m - 1; k >= 0; --k) {
        real sum = x[k];
        for (int64_t b = k + 1; b < m; ++b)
            sum -= M[k * m + b] * x[b];
        x[k] = sum / M[k * m + k];
    }
    memcpy((real *)job->values + job->begin[j], x, (size_t)m * sizeof *x);
    return 1;
}

static void refit_member(void *context, member m)
{
    const item_pass *pass = (const item_pass *)context;
    refit_job *job = (refit_job *)pass->job;
    real *M = (real *)memory_of_member(pass, m);
    int status = ITEMS_OK;
    work columns = begin_work(m, pass->shares, job->last - job->first);
    while (take_items(&columns, 1))
        if (!refit_column(job, job->first + columns.begin, M, M + job->most * job->most))
            status = ITEMS_SINGULAR;
#ifdef _OPENMP
#pragma omp atomic
#endif
    job->status |= status;
}

static void refit(refit_job *job)
{
    job->status = ITEMS_OK;
    run_item_pass(job, job->n_threads, refit_buffer_bytes(job), job->workspace, refit_member);
}

#endif
