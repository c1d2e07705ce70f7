/* The Gram matrix of rows in compressed form, row by row of the result.

   Row i of G is the sum of the users of item i: each adds its entries from item i on. The sums of
   one row stay in cache, in double, where a sum over users in their order would visit the whole
   matrix for each of them. One member computes a row, in the order of the users: bits do not depend
   on the number of threads. */
#ifndef AEFAST_ITEMS_GRAM_H
#define AEFAST_ITEMS_GRAM_H

#include "kernels/items/members.h"

enum { GRAM_ROWS = 8 }; /* most rows that a member takes at a time */

static int64_t gram_buffer_bytes(const gram_job *job)
{
    return job->n_features * (int64_t)sizeof(double);
}
static int64_t gram_bytes(const gram_job *job)
{
    return item_pass_bytes(job->n_threads, gram_buffer_bytes(job));
}

/* Compute row i; `sums` is all zeros before and after. */
static void gram_row(const gram_job *job, int64_t i, double *sums)
{
    const real *values = (const real *)job->values;
    for (int64_t e = job->column_begin[i]; e < job->column_begin[i + 1]; ++e) {
        int64_t user = job->rows[e], p = job->places[e], end = job->row_begin[user + 1];
        double x = (double)values[p];
        if (job->weight)
            x *= job->weight[user];
        for (int64_t q = p; q < end; ++q)
            sums[job->columns[q]] += x * (double)values[q];
    }
    real *row = (real *)job->G + i * job->n_features;
    for (int64_t j = i; j < job->n_features; ++j) {
        row[j] = (real)sums[j];
        sums[j] = 0;
    }
}

static void gram_member(void *context, member m)
{
    const item_pass *pass = (const item_pass *)context;
    const gram_job *job = (const gram_job *)pass->job;
    double *sums = (double *)memory_of_member(pass, m);
    memset(sums, 0, (size_t)job->n_features * sizeof *sums);
    work rows = begin_work(m, pass->shares, job->last - job->first);
    while (take_items(&rows, GRAM_ROWS))
        for (int64_t i = rows.begin; i < rows.end; ++i)
            gram_row(job, job->first + i, sums);
}

static void gram(gram_job *job)
{
    run_item_pass(job, job->n_threads, gram_buffer_bytes(job), job->workspace, gram_member);
}

#endif
