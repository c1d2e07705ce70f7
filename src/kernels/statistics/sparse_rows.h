/* Statistics of rows in compressed form (CSR), and products of such rows with a dense matrix. */
#ifndef AEFAST_SPARSE_ROWS_H
#define AEFAST_SPARSE_ROWS_H

#include "kernels/products/sparse_strip.h"
#include "kernels/statistics/statistics.h"

/* Adjacent rows of the scatter that one member computes; stripes are dealt to members in turn. */
enum { STRIPE = 16 };

static void add_sparse_member(void *context, member m)
{
    const sparse_statistics_job *job = (const sparse_statistics_job *)context;
    const real *values = (const real *)job->values;
    for (int64_t i = 0; i < job->n_rows; ++i) {
        double weight = job->weight ? job->weight[i] : 1;
        int64_t end = job->row_begin[i + 1];
        for (int64_t p = job->row_begin[i]; p < end; ++p) {
            int64_t column = job->columns[p];
            if (column / STRIPE % m.size != m.index)
                continue;
            double x = weight * (double)values[p], *row = job->scatter + column * job->n_features;
            job->sums[column] += x;
            for (int64_t q = p; q < end; ++q)
                row[job->columns[q]] += x * (double)values[q];
        }
    }
}

static void add_sparse(sparse_statistics_job *job)
{
    team_run(job->n_threads, FLOAT_MODE_IEEE, add_sparse_member, job);
}

/* Compute columns [column, column + n) of row i of Y, n <= STRIP. `whole`, a constant once the
   function is inlined, says that n = STRIP. Returns the lanes with a result that is not finite. */
ALWAYS_INLINE ivec sparse_product_strip(const sparse_product_job *job, int64_t i, int64_t column,
                                        int64_t n, const int whole)
{
    compressed_rows rows = {job->row_begin, job->columns, (const real *)job->values};
    const real *minus = job->minus ? (const real *)job->minus + column : 0;
    int64_t k = job->n_columns;
    vec sum[STRIP_VECTORS];
    sparse_strip(&rows, i, job->row_begin[job->n_rows] - 1, (const real *)job->B, k, column, n,
                 whole, sum);
    ivec bad = {0};
    for (int v = 0; v < STRIP_VECTORS && n > v * LANES; ++v) {
        vec y = sum[v];
        if (minus)
            y -= vec_load_n(minus + v * LANES, n - v * LANES);
        bad |= y - y != vec_set(0);
        vec_store_n((real *)job->Y + i * k + column + v * LANES, y, n - v * LANES);
    }
    return bad;
}

static ivec sparse_product_row(const sparse_product_job *job, int64_t i)
{
    int64_t column = 0, k = job->n_columns;
    ivec bad = {0};
    for (; column + STRIP <= k; column += STRIP)
        bad |= sparse_product_strip(job, i, column, STRIP, 1);
    if (column < k)
        bad |= sparse_product_strip(job, i, column, k - column, 0);
    return bad;
}

static void sparse_product_member(void *context, member m)
{
    sparse_product_job *job = (sparse_product_job *)context;
    ivec bad = {0};
    for (int64_t i = share_begin(m, job->n_rows); i < share_end(m, job->n_rows); ++i)
        bad |= sparse_product_row(job, i);
    int status = any_lane(bad) ? STATUS_NOT_FINITE : STATUS_OK;
#ifdef _OPENMP
#pragma omp atomic
#endif
    job->status |= status;
}

static void sparse_product(sparse_product_job *job)
{
    job->status = STATUS_OK;
    team_run(job->n_threads, FLOAT_MODE_IEEE, sparse_product_member, job);
}

#endif
