/* State of a training step, which the phases for register tiles and those for BLAS share. */
#ifndef AEFAST_STEP_H
#define AEFAST_STEP_H

#include "kernels/autoencoder/parameters.h"
#include "kernels/autoencoder/sparse_inputs.h"
#include "kernels/autoencoder/step/weights.h"
#include "kernels/autoencoder/tables/activations.h"
#include "kernels/autoencoder/tables/penalties.h"
#include "kernels/products/rows.h"

enum { MOST_BIASES = 4 }; /* vectors that a layer learns besides its matrices: c, theta, b, gain */

/* The division of the work on a batch of n rows. It follows from the shapes alone. */
typedef struct {
    int64_t n;
    /* Number of rows for which the arrays of activations have room. */
    int64_t stored_rows;
    /* Number of blocks of the output, and of the weights of one matrix; each has a partial sum. */
    int64_t n_losses, blocks_per_matrix;
    /* Number of row blocks of the output, and of the hidden layer; each has a partial sum of each
       column. */
    int64_t row_blocks_d, row_blocks_k;
    /* Number of blocks of the hidden layer. */
    int64_t n_code_losses;
    /* Number of chunks of GROUP_ROWS rows, where the output has groups of columns; each has partial
       sums too. One more chunk, the last, stands for custom distributions. */
    int64_t n_chunks;

    /* Register tiles: the largest number of rows of a block. */
    int64_t block_rows;
    /* Register tiles: the number of strips into which the rows of a gradient are cut, and the
       number of panels of a strip that are computed together. */
    int64_t strips, strip_panels;
    /* BLAS: the blocks of each phase's result. */
    grid hidden, output, weights;
} batch_plan;

/* The kept units of each row, for batches that go through entries (kept_entries.h). Arrays hold the
   parts of all row blocks, one after another. Within a row block, i numbers the units that some row
   keeps, in increasing order. */
typedef struct {
    /* Number of units that a row keeps (0: the batch does not go through entries), number of all
       units, and largest number of entries of a row block. */
    int64_t per_row, n_units, capacity;
    /* (n, per_row): the units of each row, in increasing order. */
    int32_t *chosen;
    /* The units that some row of the block keeps. */
    int32_t *units;
    /* Place of the first entry of unit i; the last element is the number of entries. */
    int64_t *begins;
    /* (panels + 1): the first i of each panel of units. */
    int64_t *first_of_panel;
    /* The row of each entry, counted within the block. */
    int32_t *rows;
    /* h and dA of each entry. */
    real *codes, *deltas;
    /* dA of each entry in double, for the gradient of the bias. */
    double *sums;
    /* (n_units): counters for the sort of entries by unit. */
    int64_t *counts;
    /* (panels): number of dead units of each panel. */
    unsigned char *n_dead;
} kept_entries;

/* The entries of a batch of rows in CSR form (sparse_phases.h). */
typedef struct {
    /* Whether the batch is not loaded as dense rows. */
    int is_used;
    /* (n + 1): the place in by_row of each row's first entry. */
    int64_t *row_begins;
    /* The entries row after row; and sorted by chunk of row blocks, panel of columns, row block,
       and row. The place of an entry is that of its row in a panel of H, counted in rows from the
       panel in the first block of the chunk. */
    sparse_entry *by_row, *by_panel;
    /* The place in by_panel of the first entry of each (chunk, panel, row block), and of the end.
     */
    int64_t *begins;
    /* The place of each next entry, while entries are sorted. */
    int64_t *cursors;
    /* Whether losses and derivatives are those of the entries alone, and no (n, d) array of outputs
       exists (entry_outputs.h). Then, in the orders of by_row and by_panel: importance weights of
       the entries; these weights, and once the output is computed the derivatives of the loss by
       the pre-activations. */
    int has_entry_outputs;
    real *weights_by_row, *derivatives;
} sparse_batch;

/* Buffers of one thread. */
typedef struct {
    /* The gradient of a block of weights, in real and in double. */
    real *gradient;
    double *wide_gradient;
    /* Buffer for groups of columns and for the selection of units. */
    real *row;
    /* For rows in CSR form: the targets of a panel, and of a row for groups of columns; between
       uses no entry is set. */
    real *panel_targets, *row_targets;
    /* For custom distributions: the positions of a batch's rows, and their entries. */
    row_entries *custom_rows;
    real *custom_reals;
    /* Flags STATUS_... of the rows that the thread has loaded. */
    int bad_rows;
} scratch;

/* A layer in training. Activations are row-major for BLAS, and in blocks of panels for register
   tiles (tile_phases.h). */
typedef struct training {
    training_job *job;
    /* Numbers of columns, and of columns as stored. */
    int64_t d, k, width_d, width_k;
    /* Matrices of the encoder and the decoder; V equals W when tied. */
    weight_matrix W, V;
    parameter_views p;
    /* (n, d): inputs, and the output layer (pre-activations, then their derivatives). */
    real *X, *E;
    /* (n, d): targets. T == X unless inputs differ from targets. */
    real *T;
    /* (n, k): codes as they are decoded, with their gain, and deltas. */
    real *H, *D;
    /* (n, k): R before the gain and before units were dropped; R itself where there is neither. */
    real *clean;
    /* Copies of X and H that products read, while epilogues read X and H; in full precision, X and
       H themselves. */
    real *X_forms, *H_forms;
    /* (n, k): input of the decoder: H, or in a deep network the reconstruction of H by the layer
       above. */
    real *R, *R_forms;
    /* (n, k): derivative of the loss by the pre-activations of R: D, or E of the layer above. */
    real *G;
    /* (n): weight of each row's loss. */
    real *weight;
    /* Partial sums (see batch_plan). */
    double *losses, *l2_penalties;
    /* (row_blocks_d + n_chunks, d) and (row_blocks_k, k): column sums of E and of D. */
    double *c_sums, *b_sums;
    /* Column sums of G: b_sums, or the c_sums of the layer above. */
    double *g_sums;
    /* (row_blocks_d, d): column sums of the derivatives by theta, or NULL. */
    double *theta_sums;
    /* (row_blocks_k, k): column sums of the derivatives by the gain, or NULL. */
    double *gain_sums;
    /* Sums of squares of each block of the gradient and of each bias; NULL unless the gradient is
       stored. */
    double *squares;
    /* Stored gradient of [b | c | theta | gain], or NULL. */
    real *bias_gradient;
    /* Buffers for orthogonal steps, which all layers share, or NULL. */
    const struct orthogonal_buffers *orthogonal;
    /* (row_blocks_k, k): sums over rows of weight h, sums of weight (dh/da)^2, and total weight of
       the rows that kept each unit. NULL where they are not needed. */
    double *code_sums, *square_sums, *kept_weights;
    /* Partial sums of the penalties on codes. */
    double *code_losses;
    /* (k): ||W_j||^2, ||V_j||^2 and weights of auxiliary losses (see code_view). */
    real *norms, *decoder_norms, *revive;
    kept_entries entries;
    sparse_batch sparse;
    /* Buffers and shares of work of each thread. */
    scratch *members;
    share *shares;
    /* In a deep network, the layer whose codes are X, or NULL. */
    const struct training *below;
    /* In a head, the layer whose codes it decodes, or NULL. */
    const struct training *code;
    /* (n, k): derivative of the head's loss by R, which the decoder's is added to; NULL: there is
       no head, or nothing but a head. */
    real *added;
} training;

/* Return the target of entries that rows in CSR form do not store. */
static inline real absent_target(const rows_view *rows)
{
    return rows->absent_missing ? (real)NAN : 0;
}

static inline int has_code_penalty(const code_terms *terms)
{
    return terms->contraction > 0 || terms->penalty_weight > 0;
}
static inline mean_penalty *penalty_of_means(const code_terms *terms)
{
    return terms->penalty_weight > 0 ? penalties[terms->penalty].of_mean : 0;
}
static inline int drops_units(const training_job *job)
{
    return job->terms.dropout > 0 || job->model.top_k > 0;
}
static inline int has_code_terms(const training_job *job)
{
    return has_code_penalty(&job->terms) || drops_units(job);
}
/* Return whether codes change after the activation, before they are decoded. With a layer above,
   the decoder reads R, and H stays as it is. */
static inline int finishes_codes(const training *t)
{
    return has_code_terms(t->job) || (t->p.gain && t->R == t->H);
}

/* Compute losses and derivatives of a strip of the output whose columns begin at `column`,
   segment by segment. */
static inline void output_gradients(const training *t, strip *s, int64_t column)
{
    const autoencoder_model *model = &t->job->model;
    s->segment_of_column = model->segment_of_column ? model->segment_of_column + column : 0;
    s->theta = t->p.theta ? t->p.theta + column : 0;
    s->missing = t->job->inputs.fill != 0 || t->code;
    for (int q = 0; q < model->n_segments; ++q) {
        const output_segment *segment = &model->segments[q];
        s->segment = q, s->constant = (real)segment->constant, s->learned = segment->learned;
        outputs[segment->output].gradient(s);
    }
}

/* A block of weights: block `index` of W, or of V where only the decoder's gradient is wanted.
   The flags name the terms of the gradient, D^T X and R^T E. */
typedef struct {
    int encoder, decoder;
    int64_t index;
} weight_block;

static double sum_of(const double *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; ++i)
        sum += x[i];
    return sum;
}

/* Return the number of matrices that learn. */
static inline int n_matrices(const training *t)
{
    return t->job->model.tied || t->job->head_alone ? 1 : 2;
}
static inline const weight_matrix *matrix_of(const training *t, weight_block which)
{
    return which.encoder ? &t->W : &t->V;
}

/* weights[begin .. end) <- weights of the losses of these rows, in a batch of n rows that begins
   at place `first` of the call's rows. */
static inline void weigh_rows(const training_job *job, int64_t first, int64_t n, int64_t begin,
                              int64_t end, real *weights)
{
    real mean = (real)(1.0 / (double)(job->gradients ? job->rows.n_rows : n));
    if (!job->sample_weight)
        for (int64_t i = begin; i < end; ++i)
            weights[i] = mean;
    else
        for (int64_t i = begin; i < end; ++i) {
            double weight =
                job->sample_weight[job->rows.order ? job->rows.order[first + i] : first + i];
            weights[i] = (real)(job->gradients ? weight : weight / (double)n);
        }
}

/* Add the gradient of one chunk of rows to `wide`, and after the last chunk round the sum to
   `gradient`: gradients of more than CHUNK_ROWS rows are summed in double. A single chunk needs
   no addition. */
static inline void add_chunk(real *gradient, double *wide, int64_t size, int is_first, int is_last)
{
    if (is_first && is_last)
        return;
    for (int64_t j = 0; j < size; ++j)
        wide[j] = (is_first ? 0 : wide[j]) + (double)gradient[j];
    if (is_last)
        for (int64_t j = 0; j < size; ++j)
            gradient[j] = (real)wide[j];
}

#endif
