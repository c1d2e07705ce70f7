/* Distributions of whole groups of columns: categorical and multinomial, with mu = softmax(eta)
   over the group and the loss N log(sum exp(eta)) - sum x eta, N = sum x. They need whole rows of
   pre-activations, and so run after the strips, which have added the bias.

   A group is missing in a row where its first entry is NaN; callers ensure that all of its
   entries are NaN then. Custom distributions, which need whole rows too, are at the end of this
   file. */
#ifndef AEFAST_GROUPS_H
#define AEFAST_GROUPS_H

#include "kernels/autoencoder/tables/distributions.h"
#include "kernels/products/product.h"

/* A row as it is stored: column c is at[(c / PANEL) * panel_stride + c % PANEL]. */
typedef struct {
    real *at;
    int64_t panel_stride;
} row_entries;

static inline real *entry_of(row_entries row, int64_t column)
{
    return row.at + column / PANEL * row.panel_stride + column % PANEL;
}

/* to[0 .. padded(n)) <- the segment's n columns, then `rest`. */
static inline void gather_columns(const output_segment *segment, row_entries row, real rest,
                                  real *to)
{
    for (int64_t j = 0; j < segment->n_columns; ++j)
        to[j] = *entry_of(row, segment->columns[j]);
    for (int64_t j = segment->n_columns; j < padded(segment->n_columns); ++j)
        to[j] = rest;
}

/* eta[0 .. n) <- softmax(eta). Return log(sum exp(eta)). Entries from n up to padded(n) must be
   -infinity. */
static inline double softmax(int64_t n, real *eta)
{
    vec most = vec_set(-INFINITY), sum = {0};
    /* A NaN that this maximum misses reaches the sum through exp. */
    for (int64_t j = 0; j < n; j += LANES)
        most = vec_max(most, vec_load(eta + j));
    real top = most[0];
    for (int i = 1; i < LANES; ++i)
        top = most[i] > top ? most[i] : top;
    for (int64_t j = 0; j < n; j += LANES) {
        vec e = vec_exp(vec_load(eta + j) - top);
        vec_store(eta + j, e);
        sum += e;
    }
    double total = vec_sum(sum);
    vec share = vec_set((real)(1 / total));
    for (int64_t j = 0; j < n; j += LANES)
        vec_store(eta + j, vec_load(eta + j) * share);
    return (double)top + log(total);
}

/* Number of buffers of padded(n) reals each, for the n columns of the widest group. */
enum { GROUP_BUFFERS = 2 };

static int64_t widest_group(const autoencoder_model *model)
{
    int64_t widest = 0;
    for (int q = 0; q < model->n_segments; ++q)
        if (model->segments[q].is_group)
            widest = max_i64(widest, padded(model->segments[q].n_columns));
    return widest;
}

/* Replace values eta by mu. With x, mu is multiplied by the number of draws in x (by 1 where x
   is missing). Return whether all means are finite. */
static inline int group_mean(const output_segment *segment, row_entries values,
                             const row_entries *x, real *buffer)
{
    gather_columns(segment, values, -INFINITY, buffer);
    softmax(segment->n_columns, buffer);
    double total = x ? 0 : 1;
    for (int64_t j = 0; x && j < segment->n_columns; ++j)
        total += (double)*entry_of(*x, segment->columns[j]);
    total = total != total ? 1 : total;
    int finite = 1;
    for (int64_t j = 0; j < segment->n_columns; ++j) {
        real mu = (real)total * buffer[j];
        finite &= mu - mu == 0;
        *entry_of(values, segment->columns[j]) = mu;
    }
    return finite;
}

/* Return the loss of a row. Unless column_sums (d) is NULL, replace values eta by weight
   dloss/deta, which is added to column_sums too. */
static inline double group_loss(const output_segment *segment, row_entries values, row_entries x,
                                real weight, double *column_sums, real *feature_losses,
                                real *buffer)
{
    int64_t n = segment->n_columns;
    real *mu = buffer, *target = buffer + padded(n);
    gather_columns(segment, x, 0, target);
    int missing = target[0] != target[0];
    double total = 0, loss = 0;
    gather_columns(segment, values, -INFINITY, mu);
    double log_sum = softmax(n, mu);
    for (int64_t j = 0; j < n; ++j) {
        double one = missing ? 0
                             : (double)target[j] *
                                   (log_sum - (double)*entry_of(values, segment->columns[j]));
        if (feature_losses)
            feature_losses[segment->columns[j]] = (real)one;
        loss += one;
        total += missing ? 0 : (double)target[j];
    }
    for (int64_t j = 0; column_sums && j < n; ++j) {
        real derivative = missing ? 0 : weight * ((real)total * mu[j] - target[j]);
        *entry_of(values, segment->columns[j]) = derivative;
        column_sums[segment->columns[j]] += (double)derivative;
    }
    return loss;
}

/* Return -log p of a row of a multinomial, each entry's part in feature_losses unless that is NULL:
   the deviance of x_j from its mean N mu_j, and Stirling's rest of log x_j! (see counts.h). The
   rest of log N! is in the first entry. */
static inline double multinomial_minus_log_p(const output_segment *segment, row_entries values,
                                             row_entries x, real *feature_losses, real *buffer)
{
    int64_t n = segment->n_columns;
    real *mu = buffer, *target = buffer + padded(n);
    gather_columns(segment, x, 0, target);
    gather_columns(segment, values, -INFINITY, mu);
    int missing = target[0] != target[0];
    double draws = 0, whole = 0, log_sum = softmax(n, mu);
    for (int64_t j = 0; !missing && j < n; ++j)
        draws += (double)target[j];
    for (int64_t j = 0; j < n; ++j) {
        double count = (double)target[j], mean = draws * (double)mu[j],
               log_mean = log(draws) + (double)*entry_of(values, segment->columns[j]) - log_sum,
               one = missing
                         ? 0
                         : deviance(count, mean, log_mean, count - mean) +
                               log_factorial_rest(count) - (j == 0 ? log_factorial_rest(draws) : 0);
        if (feature_losses)
            feature_losses[segment->columns[j]] = (real)one;
        whole += one;
    }
    return whole;
}

/* ---- custom distributions ---- */

/* Return the number of reals that n rows of the widest custom segment need: eta, x, means or
   derivatives, losses. */
static int64_t custom_output_reals(const autoencoder_model *model, int64_t n)
{
    int64_t widest = 0;
    for (int q = 0; q < model->n_segments; ++q)
        if (model->segments[q].is_custom)
            widest = max_i64(widest, padded(model->segments[q].n_columns));
    return 4 * n * widest;
}

/* Compute a custom segment q for n rows. Without x, values eta become means. With x, the losses
   are added to row_losses (n) and stored in feature_losses, and, given column_sums (d), values
   eta become weight dloss/deta, which is added to column_sums; each of the three may be NULL. A
   missing entry has neither loss nor derivative. Return the sum of weight * loss, with
   column_sums; *failed is set where the function in Python failed. */
static double custom_output_rows(const autoencoder_model *model, int q, int64_t n,
                                 const row_entries *values, const row_entries *x,
                                 const real *weight, double *column_sums, double *row_losses,
                                 real *feature_losses, real *buffer, int *failed)
{
    const output_segment *segment = &model->segments[q];
    int64_t m = segment->n_columns;
    real *eta = buffer, *target = eta + n * m, *result = target + n * m, *losses = result + n * m;
    double total = 0;
    for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < m; ++j) {
            eta[i * m + j] = *entry_of(values[i], segment->columns[j]);
            target[i * m + j] = x ? *entry_of(x[i], segment->columns[j]) : 0;
        }
    if (model->custom->function(model->custom->context, q, n, eta, x ? target : 0, result,
                                losses)) {
        *failed = 1;
        return 0;
    }
    for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < m; ++j) {
            int64_t at = i * m + j, column = segment->columns[j];
            int missing = target[at] != target[at];
            double loss = !x || missing ? 0 : (double)losses[at];
            if (!x)
                *entry_of(values[i], column) = result[at];
            if (row_losses)
                row_losses[i] += loss;
            if (feature_losses)
                feature_losses[i * model->n_features + column] = (real)loss;
            if (!column_sums)
                continue;
            real derivative = missing ? 0 : weight[i] * result[at];
            *entry_of(values[i], column) = derivative;
            column_sums[column] += (double)derivative;
            total += (double)weight[i] * loss;
        }
    return total;
}

#endif
