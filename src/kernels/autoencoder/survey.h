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

/* Numbers in double of some adjacent columns, which go through the same arithmetic side by side. */
enum { SIDE = AEFAST_VEC_BYTES / 8, WIDTH = 64 };
typedef double side __attribute__((vector_size(AEFAST_VEC_BYTES)));
typedef int64_t side_mask __attribute__((vector_size(AEFAST_VEC_BYTES)));
typedef double side_in_memory __attribute__((vector_size(AEFAST_VEC_BYTES), aligned(8), may_alias));

ALWAYS_INLINE side side_of(const double *p) { return *(const side_in_memory *)p; }
ALWAYS_INLINE side select_side(side_mask mask, side a, side b)
{
    return (side)((mask & (side_mask)a) | (~mask & (side_mask)b));
}

/* Load n <= WIDTH columns of the row at a place, from `column` on, to `out` (WIDTH) in double, with
   zeros up to a multiple of SIDE. Return the status of the row. */
ALWAYS_INLINE int load_wide_columns(const rows_view *rows, int64_t place, int64_t column, int64_t n,
                                    double *out)
{
    typedef real narrow __attribute__((vector_size(SIDE * sizeof(real))));
    real x[WIDTH];
    for (int64_t j = n; j % SIDE; ++j)
        x[j] = 0;
    int status = load_row(rows, place, column, n, x);
    for (int64_t j = 0; j < n; j += SIDE) {
        narrow some;
        memcpy(&some, x + j, sizeof some);
        *(side_in_memory *)(out + j) = __builtin_convertvector(some, side);
    }
    return status;
}

/* Compute means, counts and extremes of n <= WIDTH columns. Comparisons with NaN, a missing entry,
   are false. */
static int survey_means(const one_survey *one, int64_t column, int64_t n)
{
    double x[WIDTH], mean[WIDTH] = {0}, low[WIDTH], high[WIDTH];
    int64_t missing[WIDTH] = {0};
    int status = STATUS_OK;
    for (int64_t j = 0; j < WIDTH; ++j)
        low[j] = INFINITY, high[j] = -INFINITY;
    for (int64_t i = 0; i < one->rows.n_rows; ++i) {
        status |= load_wide_columns(&one->rows, i, column, n, x);
        for (int64_t j = 0; j < n; j += SIDE) {
            side v = side_of(x + j), least = side_of(low + j), most = side_of(high + j);
            side_mask present = v == v;
            for (int q = 0; q < SIDE; ++q)
                missing[j + q] += 1 + present[q];
            *(side_in_memory *)(low + j) = select_side(v < least, v, least);
            *(side_in_memory *)(high + j) = select_side(v > most, v, most);
            *(side_in_memory *)(mean + j) = side_of(mean + j) + select_side(present, v, (side){0});
        }
    }
    for (int64_t j = 0; j < n; ++j) {
        double count = (double)(one->rows.n_rows - missing[j]);
        one->low[column + j] = low[j], one->high[column + j] = high[j];
        one->mean[column + j] = count > 0 ? mean[j] / count : 0;
        one->count[column + j] = count;
    }
    return status;
}

/* Compute standard deviations in units of the largest one of each column, so that squares neither
   overflow nor underflow. */
static void survey_deviations(const one_survey *one, int64_t column, int64_t n)
{
    double x[WIDTH], sum[WIDTH] = {0}, mean[WIDTH] = {0}, unit[WIDTH] = {0};
    for (int64_t j = 0; j < n; ++j) {
        int64_t c = column + j;
        mean[j] = one->mean[c];
        unit[j] = fmax(one->high[c] - mean[j], mean[j] - one->low[c]);
    }
    for (int64_t i = 0; i < one->rows.n_rows; ++i) {
        load_wide_columns(&one->rows, i, column, n, x);
        for (int64_t j = 0; j < n; j += SIDE) {
            side v = side_of(x + j), whole = side_of(unit + j),
                 u = select_side((whole > 0) & (v == v), (v - side_of(mean + j)) / whole,
                                 (side){0});
            *(side_in_memory *)(sum + j) = side_of(sum + j) + u * u;
        }
    }
    for (int64_t j = 0; j < n; ++j) {
        double count = one->count[column + j];
        one->deviation[column + j] = count > 0 ? unit[j] * sqrt(sum[j] / count) : 0;
    }
}

/* covariance (d, d) <- mean products of deviations over at most `most` evenly spread rows; x (d) is
   a buffer. */
static void survey_covariance(const one_survey *one, int64_t most, double *x, double *covariance)
{
    int64_t n = min_i64(most, one->rows.n_rows), d = one->d;
    memset(covariance, 0, (size_t)(d * d) * sizeof *covariance);
    for (int64_t i = 0; i < n; ++i) {
        int64_t place = part_begin(one->rows.n_rows, 1, n, i);
        for (int64_t column = 0; column < d; column += WIDTH) {
            double some[WIDTH];
            int64_t width = min_i64(WIDTH, d - column);
            load_wide_columns(&one->rows, place, column, width, some);
            for (int64_t j = 0; j < width; ++j)
                x[column + j] = some[j] == some[j] ? some[j] - one->mean[column + j] : 0;
        }
        for (int64_t j = 0; j < d; ++j) {
            double *products = covariance + j * d;
            int64_t l = j;
            for (; l + SIDE <= d; l += SIDE)
                *(side_in_memory *)(products + l) = side_of(products + l) + x[j] * side_of(x + l);
            for (; l < d; ++l)
                products[l] += x[j] * x[l];
        }
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
        for (int64_t j = 0; j < d; j += WIDTH)
            status |= survey_means(&one, j, min_i64(WIDTH, d - j));
        one.rows.checked = 0;
        for (int64_t j = 0; j < d; j += WIDTH)
            survey_deviations(&one, j, min_i64(WIDTH, d - j));
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
