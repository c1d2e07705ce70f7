/* Statistics of rows in compressed form (CSR), and products of such rows with a dense matrix. */
#ifndef AEFAST_SPARSE_ROWS_H
#define AEFAST_SPARSE_ROWS_H

#include "kernels/base/parallel.h"
#include "kernels/base/vec.h"
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

enum {
    /* Vectors of a row of Y whose sums stay in registers. */
    STRIP_VECTORS = 8,
    /* Number of entries by which the prefetching of rows of B is ahead of their use. */
    AHEAD = 6
};

/* Compute columns [column, column + n) of row i of Y, n <= STRIP_VECTORS * LANES. `whole`, a
   constant once the function is inlined, says that n is the largest value. Returns the lanes with a
   result that is not finite. */
ALWAYS_INLINE ivec sparse_product_strip(const sparse_product_job *job, int64_t i, int64_t column,
                                        int64_t n, const int whole)
{
    const real *values = (const real *)job->values, *B = (const real *)job->B + column,
               *minus = job->minus ? (const real *)job->minus + column : 0;
    int64_t k = job->n_columns, end = job->row_begin[i + 1], last = job->row_begin[job->n_rows] - 1;
    vec sum[STRIP_VECTORS] = {{0}};
    for (int64_t p = job->row_begin[i]; p < end; ++p) {
        const real *row = B + job->columns[p] * k,
                   *next = B + job->columns[min_i64(p + AHEAD, last)] * k;
        for (int64_t j = 0; j < n; j += CACHE_LINE / (int64_t)sizeof(real))
            __builtin_prefetch(next + j);
        vec x = vec_set(values[p]);
        UNROLL(8)
        for (int v = 0; v < STRIP_VECTORS; ++v)
            if (whole || n > v * LANES)
                sum[v] = vec_fma(x,
                                 whole ? vec_load(row + v * LANES)
                                       : vec_load_n(row + v * LANES, n - v * LANES),
                                 sum[v]);
    }
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
    enum { STRIP = STRIP_VECTORS * LANES };
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
