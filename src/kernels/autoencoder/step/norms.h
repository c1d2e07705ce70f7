/* Bounds on norms: of the whole gradient, before weights move, and of rows of weights, after it.

   Both need sums over everything. Partial sums are computed while blocks are in cache; after a
   barrier, each thread adds them in one order. */
#ifndef AEFAST_NORMS_H
#define AEFAST_NORMS_H

#include "kernels/autoencoder/step/weights.h"

/* Multiply a row of a matrix by `factor`. Its sums of squares are collected anew in each update. */
static void scale_row(const training_job *job, const weight_matrix *m, int64_t row, double factor)
{
    int64_t d = job->model.n_features, k = job->model.n_components;
    if (!job->tiled)
        scale_run((real)factor, m->rows + row * d, d);
    for (int64_t j = 0; job->tiled && j < n_panels(d); ++j)
        scale_run((real)factor, m->by_d + (j * k + row) * PANEL, PANEL);
}

/* Shorten rows [row, row + n) that are longer than max_norm to this length (Srivastava et al.
   2014, section 5.1); n <= PANEL, and row is a multiple of PANEL. */
static void shorten_rows(const training_job *job, const weight_matrix *m, int64_t row, int64_t n)
{
    double most = job->hyper.max_norm * job->hyper.max_norm;
    int any = 0;
    for (int64_t i = row; i < row + n; ++i) {
        double square = row_square(job, m, i);
        if (square > most) {
            scale_row(job, m, i, sqrt(most / square));
            any = 1;
        }
    }
    for (int64_t j = 0; any && job->tiled && j < n_panels(job->model.n_features); ++j)
        refresh_operands(job, m, j, row, n);
}

/* Move the average of rows [row, row + n), once they are short enough. */
static void average_rows(const training_job *job, const step_constants *constants,
                         const weight_matrix *m, int64_t row, int64_t n)
{
    int64_t d = job->model.n_features, k = job->model.n_components;
    if (!job->tiled)
        average_run(constants, m->rows, m->state_rows, row * d, n * d);
    for (int64_t j = 0; job->tiled && j < n_panels(d); ++j)
        average_run(constants, m->by_d, m->state_by_d, (j * k + row) * PANEL, n * PANEL);
}

/* Return the factor that shortens a gradient with this sum of squares to the norm clip_norm, or
   1 where it is no longer than that (Pascanu, Mikolov & Bengio 2013, algorithm 1). */
static real clipping_factor(const training_job *job, double square)
{
    double norm = sqrt(square);
    double most = job->hyper.clip_norm;
    return most > 0 && norm > most ? (real)(most / norm) : 1;
}

#endif
