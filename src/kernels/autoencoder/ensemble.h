/* A call that trains many networks of equal shape, each on rows and columns of its own.

   Arrays of all networks have the number of the network as their first dimension, B. */
#ifndef AEFAST_ENSEMBLE_H
#define AEFAST_ENSEMBLE_H

#include "kernels/autoencoder/autoencoder.h"

/* How the training of a network ends before its number of epochs. */
enum {
    STOP_NEVER,
    /* After `patience` epochs in a row that have not improved the best loss by `tol`. */
    STOP_PATIENCE,
    /* A budget: see aefast/networks/training/budget.py, whose decisions are made here. */
    STOP_BUDGET
};

typedef struct {
    int rule;
    double tol;
    int64_t patience;
    /* Of a budget: whether the learning rate decays before training ends. */
    int decays;
} stopping_rule;

/* The progress of one network: between calls everything that, with its parameters and optimizer
   state, determines the rest of its training. All fields have 8 bytes. */
typedef struct {
    /* Updates made, rows seen, and place in the schedule of the learning rate. */
    int64_t n_steps, n_rows_seen, schedule_step, schedule_steps;
    /* Epochs made, epochs to make, and rows of the present epoch that are done. */
    int64_t n_epochs, most_epochs, place;
    /* Whether the training is over, and whether it has diverged: then the values are those of the
       last epoch with finite ones. */
    int64_t is_over, has_diverged;
    /* State of the stopping rule: whether the decay has begun early, epochs or windows without
       improvement, and epochs in the present window. */
    int64_t ends_early, n_bad, n_in_window;
    /* The sum of the losses of the present epoch's rows; of the present window's epochs; and the
       least loss of an epoch or window. */
    double loss_sum, window_sum, best;
} network_progress;

typedef struct ensemble_job {
    /* What all networks have in common. The model has no parameters, the rows are those of the
       whole table, and gradients, workspace, packed and sample_weight are NULL. */
    training_job common;
    int64_t n_networks;
    /* (B + 1), and the numbers of rows of the table: network b visits rows row_numbers[i] for
       row_begins[b] <= i < row_begins[b + 1]; both NULL: all rows. most_rows: the largest number of
       rows that a network visits. */
    const int64_t *row_begins, *row_numbers;
    int64_t most_rows;
    /* (B, d): the columns of the table that each network reads; NULL: 0, ..., d - 1. */
    const int64_t *columns;
    /* (B, d), or NULL: as in rows_view and input_view. */
    const double *shift, *factor;
    const void *fill, *log_offset, *log_centre, *low, *high;
    /* (B, N_PARAMETER_ARRAYS), or NULL: factors of the learning rate. */
    const double *rate_factors;
    /* (B): keys of shuffles and noise. */
    const uint64_t *seeds;
    /* Whether each epoch visits the rows in a new random order. */
    int shuffles;
    stopping_rule stop;
    /* in/out (B, 1 + n_states, n_parameters): parameters and optimizer state, and their copies at
       the end of the last epoch (before the first: at the start). */
    int n_states;
    void *values, *kept;
    /* out (B, curve_length >= most_epochs): the mean loss of each epoch. */
    double *losses;
    int64_t curve_length;
    network_progress *progress;

    /* The networks to train in this call, [first, last), and the number of rows after which each
       of them pauses (at the end of a batch). */
    int64_t first, last, slice_rows;
    int n_threads;
    /* ensemble_workspace_bytes bytes. */
    void *workspace;
    /* out: the number of rows visited. */
    int64_t n_rows_done;
} ensemble_job;

/* A survey of the rows of each network: one pass for sums, one for squares. Rows are converted to
   reals, but not scaled. NaN is left out if rows.missing, and otherwise fails the check. */
typedef struct survey_job {
    /* The table, with the domain to check. */
    rows_view rows;
    int64_t n_networks, n_features;
    const int64_t *row_begins, *row_numbers;
    int n_threads;
    /* out (B, d): mean, standard deviation (without overflow of squares), least and greatest entry,
       and number of entries that are present. */
    double *means, *deviations, *low, *high, *counts;
    /* out (B, d, d): mean products of deviations from the means, over `scatter_rows` evenly spread
       rows at most, missing entries counting as the mean; or NULL. */
    double *covariances;
    int64_t scatter_rows;
    /* (n_threads, d): buffer. */
    double *buffer;
    /* out: STATUS_... flags. */
    int status;
} survey_job;

#endif
