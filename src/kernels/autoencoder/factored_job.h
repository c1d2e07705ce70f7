/* Training of a factored network: the interface between Python and the kernel (factored.h). */
#ifndef AEFAST_FACTORED_JOB_H
#define AEFAST_FACTORED_JOB_H

#include "kernels/autoencoder/autoencoder.h"

/* A call of `factored_train`: steps of plain gradient descent on squared errors of rows in CSR
   form.

   With m = k + 1, the decoder's weights and the visible bias are the rows of D = [V; c^T] (m, d),
   kept as D = F U. Matrices of the small size m are in double. The model's W and V are not used;
   b and the gain are updated in place. */
typedef struct factored_job {
    /* The layer; its output is Gaussian. */
    autoencoder_model model;
    rows_view rows;
    input_view inputs;
    int64_t batch_size;
    /* The largest number of entries in a batch. */
    int64_t batch_entries;
    /* Weights of the samples, by row number; NULL: 1. */
    const double *sample_weight;
    hyperparameters hyper;
    /* Products in double. */
    gemm_function *gemm;
    /* factored_workspace_bytes bytes. */
    void *workspace;

    /* in/out (m, m): F, its inverse, and Q = D D^T. */
    double *F, *F_inverse, *Q;
    /* in/out (d, ld), reals: the columns of U, one after another; ld >= m. */
    void *U;
    int64_t ld;
    /* in/out (d, ld_W), reals: columns of the encoder's weights divided by W_scale, where they are
       not the decoder's; and the sum of the squares of W divided by W_scale^2. */
    void *W_columns;
    int64_t ld_W;
    double W_scale, W_squares;
    /* The call ends after a step once the product of the Frobenius norms of F and its inverse is
       above this limit, or W_scale below its reciprocal; and after `last_step` steps. */
    double limit;
    int64_t last_step;

    /* in/out, as in training_job. */
    int64_t schedule_step, schedule_steps, n_steps, n_rows_done;
    double loss_sum;
    /* out: whether the call ended because the factors are to be renewed. */
    int ends_early;
    /* out: the learning rate of the last step. */
    double rate;
    /* For `factored_renew`, which moves a part of F to U, with the threads of a team: the columns
       of U become M u, where M is F itself, or I + sum_i changes_i z_i z_i^T for the n_directions
       rows z_i (n_directions, m) of `directions` unless that is NULL; then F and its inverse become
       the new ones. */
    int n_threads;
    int64_t n_directions;
    const double *directions, *changes, *new_F, *new_F_inverse;

    /* out: STATUS_NOT_FINITE where the loss of a batch is not finite or the batch's step cannot be
       inverted; the call ends before this batch updates anything. */
    int status;
} factored_job;

#endif
