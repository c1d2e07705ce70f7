/* Statistics of the rows of each network, from which many fits start: means, standard deviations,
   extremes and covariances. One thread surveys a network, row by row, so that sums have one
   order. */
#ifndef AEFAST_SURVEY_H
#define AEFAST_SURVEY_H

#include "kernels/autoencoder/ensemble.h"
#include "kernels/products/rows.h"

/* A network's part of a survey. */
typedef struct {
    rows_view rows;
    int64_t d;
    double *mean, *deviation, *low, *high, *count;
} one_survey;

/* Load the row at a place to `out`, a row in double. Return its status. */
static int load_wide_row(const rows_view *rows, int64_t place, int64_t d, double *out)
{
    enum { WIDTH = 64 };
    real x[WIDTH];
    int status = STATUS_OK;
    for (int64_t column = 0; column < d; column += WIDTH) {
        int64_t n = min_i64(WIDTH, d - column);
        status |= load_row(rows, place, column, n, x);
        for (int64_t j = 0; j < n; ++j)
            out[column + j] = (double)x[j];
    }
    return status;
}

/* Compute means, counts and extremes. Comparisons with NaN, a missing entry, are false. */
static int survey_means(const one_survey *one, double *x)
{
    int status = STATUS_OK;
    for (int64_t j = 0; j < one->d; ++j)
        one->mean[j] = one->count[j] = 0, one->low[j] = INFINITY, one->high[j] = -INFINITY;
    for (int64_t i = 0; i < one->rows.n_rows; ++i) {
        status |= load_wide_row(&one->rows, i, one->d, x);
        for (int64_t j = 0; j < one->d; ++j) {
            one->low[j] = x[j] < one->low[j] ? x[j] : one->low[j];
            one->high[j] = x[j] > one->high[j] ? x[j] : one->high[j];
            one->mean[j] += x[j] == x[j] ? x[j] : 0;
            one->count[j] += x[j] == x[j];
        }
    }
    for (int64_t j = 0; j < one->d; ++j)
        one->mean[j] = one->count[j] > 0 ? one->mean[j] / one->count[j] : 0;
    return status;
}

/* Compute standard deviations in units of the largest one of each column, so that squares neither
   overflow nor underflow. */
static void survey_deviations(const one_survey *one, double *x)
{
    for (int64_t j = 0; j < one->d; ++j)
        one->deviation[j] = 0;
    for (int64_t i = 0; i < one->rows.n_rows; ++i) {
        load_wide_row(&one->rows, i, one->d, x);
        for (int64_t j = 0; j < one->d; ++j) {
            double unit = fmax(one->high[j] - one->mean[j], one->mean[j] - one->low[j]),
                   u = unit > 0 && x[j] == x[j] ? (x[j] - one->mean[j]) / unit : 0;
            one->deviation[j] += u * u;
        }
    }
    for (int64_t j = 0; j < one->d; ++j) {
        double unit = fmax(one->high[j] - one->mean[j], one->mean[j] - one->low[j]);
        one->deviation[j] = one->count[j] > 0 ? unit * sqrt(one->deviation[j] / one->count[j]) : 0;
    }
}

/* covariance (d, d) <- mean products of deviations over at most `most` evenly spread rows. */
static void survey_covariance(const one_survey *one, int64_t most, double *x, double *covariance)
{
    int64_t n = min_i64(most, one->rows.n_rows), d = one->d;
    memset(covariance, 0, (size_t)(d * d) * sizeof *covariance);
    for (int64_t i = 0; i < n; ++i) {
        load_wide_row(&one->rows, part_begin(one->rows.n_rows, 1, n, i), d, x);
        for (int64_t j = 0; j < d; ++j)
            x[j] = x[j] == x[j] ? x[j] - one->mean[j] : 0;
        for (int64_t j = 0; j < d; ++j)
            for (int64_t l = j; l < d; ++l)
                covariance[j * d + l] += x[j] * x[l];
    }
    for (int64_t j = 0; j < d; ++j)
        for (int64_t l = j; l < d; ++l)
            covariance[l * d + j] = covariance[j * d + l] /= (double)n;
}

static void survey_member(void *context, member m)
{
    survey_job *job = (survey_job *)context;
    int64_t d = job->n_features;
    int status = STATUS_OK;
    double *x = job->buffer + m.index * d;
    for (int64_t b = share_begin(m, job->n_networks); b < share_end(m, job->n_networks); ++b) {
        one_survey one = {.rows = job->rows,
                          .d = d,
                          .mean = job->means + b * d,
                          .deviation = job->deviations + b * d,
                          .low = job->low + b * d,
                          .high = job->high + b * d,
                          .count = job->counts + b * d};
        one.rows.order = job->row_numbers + job->row_begins[b];
        one.rows.n_rows = job->row_begins[b + 1] - job->row_begins[b];
        status |= survey_means(&one, x);
        one.rows.checked = 0;
        survey_deviations(&one, x);
        if (job->covariances)
            survey_covariance(&one, job->scatter_rows, x, job->covariances + b * d * d);
    }
#ifdef _OPENMP
#pragma omp atomic
#endif
    job->status |= status;
}

static void survey(survey_job *job)
{
    job->status = STATUS_OK;
    team_run(job->n_threads, FLOAT_MODE_IEEE, survey_member, job);
}

#endif
