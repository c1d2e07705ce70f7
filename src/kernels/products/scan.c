/* Checks of rows, sums of their columns, and units of results. The members of a team divide the
   columns where there are sums, not the rows, so that the order of each sum is fixed. */
#include "kernels/products/scan.h"

#include "kernels/products/rows.h"

/* Add n entries of the row at a place, from `column` on, to all sums and extremes. */
static void scan_entries(scan_job *job, const real *x, int64_t place, int64_t column, int64_t n)
{
    double weight = job->sample_weight
                        ? job->sample_weight[job->rows.order ? job->rows.order[place] : place]
                        : 1;
    for (int64_t j = 0; j < n; ++j) {
        int missing = job->rows.missing && x[j] != x[j];
        job->column_sums[column + j] += missing ? 0 : weight * (double)x[j];
        job->column_weights[column + j] += missing ? 0 : weight;
    }
    for (int64_t j = 0; job->column_low && j < n; ++j) {
        /* Comparisons with NaN are false: a missing entry changes neither extreme. */
        double *low = &job->column_low[column + j], *high = &job->column_high[column + j];
        *low = (double)x[j] < *low ? (double)x[j] : *low;
        *high = (double)x[j] > *high ? (double)x[j] : *high;
    }
}

static void scan_member(void *context, member m)
{
    scan_job *job = (scan_job *)context;
    int64_t d = job->n_features, width = COLUMN_UNIT * 16, blocks = ceil_div(d, width);
    int status = STATUS_OK, plain = !job->sample_weight && !job->rows.missing && !job->column_low;
    real x[COLUMN_UNIT * 16];
    for (int64_t b = share_begin(m, blocks); b < share_end(m, blocks); ++b) {
        int64_t column = b * width, columns = min_i64(width, d - column);
        double *sums = job->column_sums + column;
        for (int64_t i = 0; i < job->rows.n_rows; ++i) {
            status |= load_row(&job->rows, i, column, columns, x);
            if (!plain)
                scan_entries(job, x, i, column, columns);
            else
                for (int64_t j = 0; j < columns; ++j)
                    sums[j] += (double)x[j];
        }
        for (int64_t j = 0; plain && j < columns; ++j)
            job->column_weights[column + j] += (double)job->rows.n_rows;
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

static void units_member(void *context, member m)
{
    units_job *job = (units_job *)context;
    int64_t d = job->n_features, end = share_end(m, job->n_rows);
    const double *scale = job->scale, *shift = job->shift;
    int not_finite = 0;
    for (int64_t i = share_begin(m, job->n_rows); i < end; ++i) {
        real *x = (real *)job->values + i * d;
        int64_t j = 0;
        for (; j + DOUBLES <= d; j += DOUBLES) {
            store_rounded(x + j,
                          entries_in_double(REAL_KIND, (char *)x, j) * load_doubles(scale + j));
            store_rounded(x + j,
                          entries_in_double(REAL_KIND, (char *)x, j) + load_doubles(shift + j));
        }
        for (; j < d; ++j) {
            real scaled = (real)((double)x[j] * scale[j]);
            x[j] = (real)((double)scaled + shift[j]);
        }
        not_finite |= !in_range(x, d, -REAL_MAX, REAL_MAX);
    }
#ifdef _OPENMP
#pragma omp atomic
#endif
    job->status |= not_finite ? STATUS_NOT_FINITE : STATUS_OK;
}

static void restore_units(units_job *job)
{
    job->status = STATUS_OK;
    team_run(job->n_threads, FLOAT_MODE_IEEE, units_member, job);
}

const scan_kernels INSTANCE(scan) = {.scan = scan, .restore_units = restore_units};
