/* What a training step knows: shared by the phases of both kinds of products. */
#ifndef AEFAST_STEP_H
#define AEFAST_STEP_H

#include "kernels/autoencoder/inputs.h"
#include "kernels/autoencoder/parameters.h"
#include "kernels/autoencoder/step/weights.h"
#include "kernels/autoencoder/tables/activations.h"
#include "kernels/autoencoder/tables/penalties.h"
#include "kernels/products/rows.h"

enum { MOST_BIASES = 3 }; /* c, theta and b: what else a layer learns besides its matrices */

/* How the work on a batch of n rows is cut: it follows from the shapes alone. */
typedef struct {
    int64_t n;
    int64_t stored_rows;                 /* of the activations */
    int64_t n_losses, blocks_per_matrix; /* blocks of the output, and of the weights of one matrix:
                                            a partial sum each */
    int64_t row_blocks_d, row_blocks_k; /* row blocks of the output and of the hidden layer: partial
                                           sums of each column */
    int64_t n_code_losses;              /* blocks of the hidden layer */
    int64_t n_chunks; /* of GROUP_ROWS rows, where the output has groups: partial sums too */

    int64_t block_rows;           /* tiles: rows of a block at most, */
    int64_t strips, strip_panels; /* strips of a gradient's rows, panels of a strip that are
                                     computed together */
    grid hidden, output, weights; /* BLAS */
} batch_plan;

/* The units that rows keep, where what follows goes through these alone (kept_entries.h); arrays of
 * several row blocks one after the other. */
typedef struct {
    int64_t per_row, n_units, room; /* units that a row keeps, 0: not so here; all units; entries of
                                       a row block at most */
    int32_t *chosen;                /* (n, per_row): each row's units, rising */
    int32_t *units;                 /* those of the block, rising: i of them */
    int64_t *begins;                /* where unit i's entries begin; and where the last one's end */
    int64_t *first_of_panel;        /* (panels + 1): the first i of a panel of units */
    int32_t *rows;                  /* of each entry, in its block */
    real *codes, *deltas;           /* h and dA */
    double *sums;                   /* dA, for the bias */
    int64_t *counts;                /* (n_units): for their arrangement */
    unsigned char *n_dead;          /* (panels): of a panel's units */
} kept_entries;

/* What one member of the team works in. */

typedef struct {
    real *gradient;           /* blocks of a weight's gradient */
    double *wide_gradient;    /* the same in double */
    real *row;                /* what groups, or the selection of a row's units, need */
    row_entries *custom_rows; /* for the caller's distributions: where a batch's rows stand, */
    real *custom_reals;       /* and their entries */
    int bad_rows;
} scratch;

/* One layer. Activations are row-major for BLAS, in blocks of panels for register tiles
 * (tile_phases.h). */
typedef struct training {
    training_job *job;
    int64_t d, k, width_d, width_k; /* columns, and columns as stored */
    weight_matrix W, V;             /* V.rows == W.rows when tied */
    parameter_views p;
    real *X, *E;             /* (n, d): inputs, and the output layer */
    real *T;                 /* (n, d): targets; X itself unless inputs differ from them */
    real *H, *D;             /* (n, k): codes as they are decoded, and deltas */
    real *clean;             /* (n, k): R before units were dropped; R itself where none are */
    real *X_forms, *H_forms; /* what products read of X and H, which epilogues read: X and H
                                themselves in full precision */
    real *R, *R_forms; /* (n, k): what the decoder reads: H, or in a deep network what the layer
                          above makes of it */
    real *
        G; /* (n, k): the loss's derivative at R's pre-activation: D, or the E of the layer above */
    real *weight;                  /* (n): of each row's loss */
    double *losses, *l2_penalties; /* partial sums: see batch_plan */
    double *c_sums, *b_sums;       /* (row_blocks_d + n_chunks, d), (row_blocks_k, k) */
    double *g_sums;                /* of G's columns: b_sums, or the c_sums of the layer above */
    double *theta_sums;            /* (row_blocks_d, d) */
    double *squares; /* of each block of the gradient, then of the biases', where it is stored; or
                        NULL */
    real *bias_gradient; /* [b | c | theta], likewise */
    /* (row_blocks_k, k): of weight h; of weight (dh/da)^2; the weight of rows that kept the unit.
       NULL where nobody asks */
    double *code_sums, *square_sums, *kept_weights;
    double *code_losses;                  /* partial sums of the penalties on codes */
    real *norms, *decoder_norms, *revive; /* (k): ||W_j||^2, ||V_j||^2; see code_view */
    kept_entries entries;
    scratch *members;
    share *shares;
    const struct training *below; /* in a deep network: the layer whose codes are X */
} training;

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

/* The segments of the output on a strip whose columns begin at `column`. */
static inline void output_gradients(const training *t, strip *s, int64_t column)
{
    const autoencoder_model *model = &t->job->model;
    s->segment_of_column = model->segment_of_column ? model->segment_of_column + column : 0;
    s->theta = t->p.theta ? t->p.theta + column : 0;
    s->missing = t->job->inputs.fill != 0;
    for (int q = 0; q < model->n_segments; ++q) {
        const output_segment *segment = &model->segments[q];
        s->segment = q, s->constant = (real)segment->constant, s->learned = segment->learned;
        outputs[segment->output].gradient(s);
    }
}

/* Block `index` of W, or of V where only the decoder's gradient is asked
 * for. */
typedef struct {
    int encoder, decoder;
    int64_t index;
} weight_block;

static inline int n_matrices(const training *t) { return t->job->model.tied ? 1 : 2; }
static inline const weight_matrix *matrix_of(const training *t, weight_block which)
{
    return which.encoder ? &t->W : &t->V;
}

/* weights [begin, end) of a batch of n rows, the first of which is at place `first`. */
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

/* More than CHUNK_ROWS samples add up in double: chunk after chunk, the first and the last of which
 * are told. */
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
