/* Renewal of the factors of a network in training (factored.h): a part of F, or all of it, moves
   to the columns of U before digits are lost. */
#ifndef AEFAST_FACTORED_RENEWAL_H
#define AEFAST_FACTORED_RENEWAL_H

#include "kernels/autoencoder/factored_batch.h"

/* Multiply n columns of U, from `first` on, by the matrix that moves from F to U. */
static void renew_columns(const factored *f, double *buffers, int64_t first, int64_t n)
{
    const factored_job *job = f->job;
    int64_t m = f->m, r = job->n_directions;
    real *U = (real *)job->U + first * job->ld;
    double *old = buffers, *renewed = buffers + RENEWED * m;
    for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < m; ++j)
            old[i * m + j] = (double)U[i * job->ld + j];
    if (job->directions) {
        job->gemm(0, 1, n, r, m, old, m, job->directions, m, 0, renewed, r);
        for (int64_t i = 0; i < n; ++i)
            for (int64_t j = 0; j < r; ++j)
                renewed[i * r + j] *= job->changes[j];
        job->gemm(0, 0, n, m, r, renewed, r, job->directions, m, 1, old, m);
        renewed = old;
    } else {
        job->gemm(0, 1, n, m, m, old, m, job->F, m, 0, renewed, m);
    }
    for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < m; ++j)
            U[i * job->ld + j] = (real)renewed[i * m + j];
}

static void renew_member(void *context, member m)
{
    const factored *f = (const factored *)context;
    int64_t blocks = ceil_div(f->d, RENEWED);
    for (int64_t i = share_begin(m, blocks); i < share_end(m, blocks); ++i)
        renew_columns(f, f->columns + m.index * 2 * RENEWED * f->m, i * RENEWED,
                      min_i64(RENEWED, f->d - i * RENEWED));
    team_barrier(m);
    size_t bytes = (size_t)(f->m * f->m) * sizeof(double);
    if (m.index == 0) {
        memcpy(f->job->F, f->job->new_F, bytes);
        memcpy(f->job->F_inverse, f->job->new_F_inverse, bytes);
    }
}

static void factored_renew(factored_job *job)
{
    int64_t bytes;
    factored f = carve_factored(job, job->workspace, &bytes);
    team_run(job->n_threads, FLOAT_MODE_FLUSH, renew_member, &f);
}

#endif
