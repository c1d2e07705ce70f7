/* What a training step knows: shared by the phases of both kinds of products. */
#ifndef AEFAST_STEP_H
#define AEFAST_STEP_H

#include "activations.h"
#include "outputs.h"
#include "rows.h"
#include "weights.h"

enum { MOST_BIASES = 2 }; /* c and b: what else a layer learns besides its matrices */

/* How the work on a batch of n rows is cut: it follows from the shapes alone. */
typedef struct {
    int64_t n;
    int64_t stored_rows;                /* of the activations */
    int64_t n_losses, n_penalties;      /* blocks of the output and of one matrix: a partial sum each */
    int64_t row_blocks_d, row_blocks_k; /* row blocks of the output and of the hidden layer: partial sums of each column */

    int64_t block_rows;                 /* tiles: rows of a block at most, */
    int64_t strips, strip_panels;       /* strips of a gradient's rows, panels of a strip that are computed together */
    grid hidden, output, weights;       /* BLAS */
} batch_plan;

/* What one member of the team works in. */
typedef struct {
    real *gradient;        /* blocks of a weight's gradient */
    double *wide_gradient; /* the same in double */
    int bad_rows;
} scratch;

/* One layer. Activations are row-major for BLAS, in blocks of panels for register tiles (tile_phases.h). */
typedef struct training {
    training_job *job;
    int64_t d, k, width_d, width_k; /* columns, and columns as stored */
    weight_matrix W, V;             /* V.rows == W.rows when tied */
    parameter_views p;
    real *X, *E;                    /* (n, d) */
    real *H, *D;                    /* (n, k) */
    real *X_forms, *H_forms;        /* what products read of X and H, which epilogues read: X and H themselves in full precision */
    real *R, *R_forms;              /* (n, k): what the decoder reads: H, or in a deep network what the layer above makes of it */
    real *G;                        /* (n, k): the loss's derivative at R's pre-activation: D, or the E of the layer above */
    real *weight;                   /* (n): of each row's loss */
    double *losses, *penalties;     /* partial sums: see batch_plan */
    double *c_sums, *b_sums;        /* (row_blocks_d, d), (row_blocks_k, k) */
    double *g_sums;                 /* of G's columns: b_sums, or the c_sums of the layer above */
    double *squares;                /* of each block of the gradient, then of the biases', where it may be clipped; or NULL */
    real *bias_gradient;            /* [b | c], likewise */
    scratch *members;
    const struct training *below;   /* in a deep network: the layer whose codes are X */
} training;

/* A part of the weights: block `index` of W, or of V where only the decoder's gradient is asked for. */
typedef struct {
    int encoder, decoder;
    int64_t index;
} weight_part;

static inline int n_matrices(const training *t) { return t->job->model.tied ? 1 : 2; }
static inline const weight_matrix *matrix_of(const training *t, weight_part part) { return part.encoder ? &t->W : &t->V; }

static inline real weight_of_row(const training_job *job, int64_t place, int64_t n)
{
    if (job->sample_weight)
        return (real)job->sample_weight[job->rows.order ? job->rows.order[place] : place];
    return (real)(1.0 / (double)(job->gradients ? job->rows.n_rows : n));
}

/* More than CHUNK_ROWS samples add up in double: chunk after chunk, the first and the last of which are told. */
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
