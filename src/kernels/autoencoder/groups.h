/* Groups of columns with one distribution for all of them: categorical and multinomial, mu =
   softmax(eta) over the group, loss N log(sum exp(eta)) - sum x eta with N = sum x. They need whole
   rows of pre-activations, and so come after the strips, which have added the bias.

   A group is missing in a row where its first entry is NaN (callers see to it that all of them are,
   then). */
#ifndef AEFAST_GROUPS_H
#define AEFAST_GROUPS_H

#include "kernels/autoencoder/tables/distributions.h"
#include "kernels/products/product.h"

/* A row as it is stored: column c at at[(c / PANEL) * panel_stride + c % PANEL]. */
typedef struct {
    real *at;
    int64_t panel_stride;
} row_entries;

static inline real *entry_of(row_entries row, int64_t column)
{
    return row.at + column / PANEL * row.panel_stride + column % PANEL;
}

/* to[0 .. padded(n)) <- the segment's columns, then `rest`. */
static inline void gather_columns(const output_segment *segment, row_entries row, real rest,
                                  real *to)
{
    for (int64_t j = 0; j < segment->n_columns; ++j)
        to[j] = *entry_of(row, segment->columns[j]);
    for (int64_t j = segment->n_columns; j < padded(segment->n_columns); ++j)
        to[j] = rest;
}

/* eta[0 .. n) <- softmax. Returns log(sum exp(eta)). */
static inline double softmax(int64_t n, real *eta)
{
    vec most = vec_set(-INFINITY), sum = {0};
    for (int64_t j = 0; j < n; j += LANES)
        most = vec_max(
            most,
            vec_load(eta + j)); /* what stands at the end is -infinity; NaN passes through exp */
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

enum { GROUP_BUFFERS = 2 }; /* of padded(n) reals each, for n columns of the widest group */

static int64_t widest_group(const autoencoder_model *model)
{
    int64_t widest = 0;
    for (int q = 0; q < model->n_segments; ++q)
        if (model->segments[q].is_group)
            widest = max_i64(widest, padded(model->segments[q].n_columns));
    return widest;
}

/* values eta -> mu; with x, of as many draws as x has (of one where x is missing). Returns whether
 * all of it is finite. */
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

/* Returns the loss of a row; values eta -> weight dloss/deta and column_sums (d) += that, unless
 * column_sums is NULL. */
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

/* ---- the caller's distributions ---- */

/* Memory for n rows of the widest: eta, x, means or derivatives, losses. */
static int64_t custom_output_reals(const autoencoder_model *model, int64_t n)
{
    int64_t widest = 0;
    for (int q = 0; q < model->n_segments; ++q)
        if (model->segments[q].is_custom)
            widest = max_i64(widest, padded(model->segments[q].n_columns));
    return 4 * n * widest;
}

/* Rows [0, n) of segment q: values eta -> means, or with x -> weight dloss/deta, where column_sums
   (d)
   += that, row_losses (n) += losses and feature_losses become them (each unless NULL). A missing
   entry has neither. Returns the sum of weight * loss; *failed where the caller's function did. */
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
