/* What Python hands to a kernel, and the table of kernels that one instance exports.

   Types of numbers are erased here (void *), so that one description serves float32 and float64;
   each instance casts to its own `real`. Arrays are row-major. n samples, d features, k components.
 */
#ifndef AEFAST_AUTOENCODER_H
#define AEFAST_AUTOENCODER_H

#include <stdint.h>

#include "kernels/base/rows_view.h"
#include "kernels/products/gemm.h"
#include "runtime/dispatch.h"

/* Columns of the output that share a distribution. */
typedef struct {
    int output;    /* index of the table */
    int is_group;  /* one draw for all of its columns (softmax) */
    int is_custom; /* the caller's: see custom_output */
    int learned;   /* its theta is */
    double constant;
    int64_t n_columns;
    const int64_t *columns; /* rising */
} output_segment;

/* A distribution that the caller computes: from pre-activations eta (n, n_columns) the means, or
   with x the losses of entries, and their derivatives by eta. Any thread may call it, one at a
   time. Returns 0, or else the pass is to end. */
typedef struct custom_output {
    int (*function)(void *context, int segment, int64_t n, const void *eta, const void *x,
                    void *means_or_derivatives, void *losses);
    void *context;
} custom_output;

/* Shapes and parameters. Where gradients and optimizer state are concerned, parameters have the
   flat layout [W (k, d) | V (k, d), the decoder's, unless tied | b (k) | c (d) | theta (d), where
   there is one]. */
typedef struct {
    int64_t n_features, n_components;
    int tied;
    int activation; /* index of its table */
    int64_t top_k;  /* of a row's units keep their value, the others are 0; 0: all */
    int n_segments, has_groups, has_custom; /* groups and the caller's distributions need whole
                                         rows: has_groups where there are either */
    const output_segment *segments;
    struct custom_output *custom;      /* where has_custom */
    const uint16_t *segment_of_column; /* (d); NULL: one segment */
    void *W, *V, *b, *c;               /* V == W when tied; not written by one-pass operations */
    void *theta;                       /* NULL: no distribution has one */
} autoencoder_model;

enum { CORRUPTION_NONE, CORRUPTION_MASKING, CORRUPTION_SALT_AND_PEPPER, CORRUPTION_GAUSSIAN };

/* What enters the encoder in the place of a row: nothing but the row where all of this is 0. */
typedef struct {
    const void *fill;        /* (d): instead of missing entries, NaN; NULL: there are none */
    int corruption;          /* CORRUPTION_... */
    double corruption_level; /* the probability of noise, or its standard deviation */
    const void *low, *high;  /* (d): salt and pepper */
    uint64_t seed;           /* of the noise; */
    int layer;
    int64_t first_sample; /* its counter at place 0 of the rows */
} input_view;

/* Penalties on the code h of a row, and what becomes of it before it is decoded. */
typedef struct {
    double contraction;    /* lambda of lambda ||dh/dx||^2 */
    int penalty;           /* index of its table, */
    double penalty_weight; /* 0: none; */
    double penalty_parameter;
    double dropout; /* probability that a unit is dropped; the others are divided by 1 - dropout */
    double revive;  /* with top_k: the weight of a dead unit's auxiliary loss, see
                       penalised_backward_column */
    int64_t dead_rows; /* a unit is dead that so many rows have not kept */
} code_terms;

/* Where the products of a pass come from: BLAS; register tiles, from weights packed at the start of
 * the call; or, for few rows, the weights as they lie. */
enum { PRODUCTS_BLAS, PRODUCTS_TILES, PRODUCTS_FEW_ROWS };

enum { MOST_LAYERS = 16 };

/* The solver and its numbers: fixed while a job trains, but for what the schedule does to the rate.
 */
typedef struct {
    int solver; /* index of its table */
    int nesterov;
    double learning_rate, momentum, alpha;
    double weight_decay;        /* decoupled: w -= rate weight_decay w, weights only */
    double clip_norm;           /* of the gradient at most; 0: any */
    double max_norm;            /* of the rows of W and V at most, after each update; 0: any */
    int learning_rate_schedule; /* index of its table: the rate of each step, a factor of
                                   learning_rate */
} hyperparameters;

/* Training steps, or one pass that accumulates gradients.

   Layers above the first make the network deep: each one's features are the components of the layer
   below; all are tied. Then the flat layout is that of one layer after the other. */
typedef struct {
    autoencoder_model model;
    const autoencoder_model *upper; /* (n_upper): the layers above */
    int n_upper;                    /* < MOST_LAYERS */
    rows_view rows;
    int64_t batch_size;
    const double
        *sample_weight; /* by row number; with gradients they add up to 1 over the visited rows, in
                           training a batch's are divided by its rows; NULL: each batch's mean */
    input_view inputs;
    code_terms terms;
    int64_t *rows_unused; /* in/out (k), with terms.revive: rows since each unit was kept */
    int n_threads;
    gemm_function *gemm;
    void *workspace; /* training_workspace_bytes of it */
    int tiled;       /* products by register tiles, not by gemm: */
    void *packed; /* packed_bytes of memory, where weights and their state live between `pack` and
                     `unpack` */

    double *gradients; /* flat layout: added to, and nothing is updated. NULL: train */

    hyperparameters hyper;
    int stores_gradient; /* whether the whole gradient is stored before weights move, though neither
                            the solver nor clipping needs it: a test's question */
    int64_t schedule_step;  /* in/out: the next step's place among */
    int64_t schedule_steps; /* so many, for schedules that end */
    void *state[2];         /* flat layout; NULL where the solver keeps none */
    int64_t n_steps;        /* in/out: updates made so far */

    double loss_sum; /* in/out: added to, row after row of visited rows, their batch's loss; with
                        gradients, the weighted losses */
    int64_t n_rows_done; /* in/out: added to */
    int status; /* out: STATUS_NOT_FINITE ends the call before the update of the batch in question
                 */
} training_job;

/* One pass over rows, forward only. Outputs that are NULL are not computed. */
typedef struct {
    autoencoder_model model;
    rows_view rows; /* X, or with `from_codes` H (n, k) */
    int from_codes;
    rows_view targets; /* X, where losses are wanted from codes */
    input_view inputs;
    int64_t block_rows; /* rows that go through the chain together; results do not depend on how
                           calls slice the rows if it divides them */
    int n_threads;
    int products;        /* PRODUCTS_... */
    gemm_function *gemm; /* for PRODUCTS_BLAS */
    void *workspace;     /* one_pass_workspace_bytes of it */

    void *codes;           /* H (n, k) */
    void *reconstructions; /* x_hat (n, d) */
    double *row_losses;    /* (n): summed over features, nats, without the constants */
    void *feature_losses;  /* (n, d) */
    int status; /* out: flags STATUS_NOT_FINITE (a result) | STATUS_BAD_ROWS (an input) */
} one_pass_job;

typedef struct {
    const char *name;
    double low, high;    /* the ends of what it gives */
    double weight_scale; /* initial weights are uniform in +-weight_scale sqrt(6 / (d + k)) */
} activation_info;

typedef struct {
    const char *name, *link;
    const char *domain;    /* of x, in words, */
    double low, high;      /* and its ends */
    const char *parameter; /* per column, learned unless an option fixes it; NULL: none */
    const char *option;    /* a constant of a segment; NULL: none */
    double default_option; /* NAN: the option fixes the parameter at its logarithm, and by default
                              the parameter is learned */
    int is_group;
    double row_total; /* of a group: what a row's entries add up to; 0: anything */
} output_info;

/* The caller's source of chance, by NumPy's C interface. */
struct bitgen;
typedef struct {
    struct bitgen *bits;
    double (*uniform)(struct bitgen *);             /* in [0, 1) */
    double (*normal)(struct bitgen *);              /* of variance 1 */
    double (*exponential)(struct bitgen *);         /* of mean 1 */
    double (*gamma)(struct bitgen *, double shape); /* of scale 1 */
    int64_t (*poisson)(struct bitgen *, double mean);
    int64_t (*binomial)(struct bitgen *, int64_t n, double p);
} generator;

typedef struct {
    const char *name;
    const char *parameter; /* besides its weight; NULL: none. In */
    double low, high;      /* (low, high) */
    int of_unit_codes;     /* codes must lie in (0, 1) */
} penalty_info;

typedef struct {
    const char *name;
    int n_state;            /* arrays of the parameters' size that it keeps, */
    int only_with_momentum; /* none of them where momentum is 0 */
    int whole_gradient; /* it needs the gradient of a whole matrix before any weight of it moves */
} solver_info;

typedef struct {
    int n_activations, n_outputs, n_penalties, n_solvers, n_schedules;
    void (*activation_info)(int, activation_info *);
    void (*output_info)(int, output_info *);
    void (*penalty_info)(int, penalty_info *);
    int (*penalty_is_of_means)(int); /* whether it couples the rows of a batch */
    void (*solver_info)(int, solver_info *);
    const char *(*schedule_name)(int);
    double (*output_link)(
        int output,
        double mean); /* pre-activation whose mean is `mean`, kept off the ends of the domain */
    int (*output_has_base)(int output); /* whether what losses leave out depends on x */
    void (*output_log_base)(int output, int64_t n, int64_t m, const double *x, double constant,
                            double *out);
    void (*output_sample)(int output, int64_t n, int64_t m, const double *eta, const double *theta,
                          double constant, const double *n_draws, const generator *random,
                          double *x);

    int64_t (*training_workspace_bytes)(const training_job *);
    int64_t (*packed_bytes)(const training_job *);
    void (*pack)(training_job *);   /* from model and state */
    void (*unpack)(training_job *); /* into them */
    void (*train)(training_job *);
    int64_t (*one_pass_workspace_bytes)(const one_pass_job *);
    void (*one_pass)(one_pass_job *);
    void (*sigmoid)(const void *x, void *y, int64_t n, int n_threads);
    void (*softplus)(const void *x, void *y, int64_t n, int n_threads);
} autoencoder_kernels;

/* An instance for bfloat16 has the kernels of training alone, with register tiles: `real` is float,
 * products multiply rounded operands. */
#ifndef AEFAST_ISA /* for the caller, who is no instance: autoencoder_tables[instruction set][0:   \
                      float32, 1: float64] */
#define X(isa) extern const autoencoder_kernels autoencoder_f32_##isa, autoencoder_f64_##isa;
AEFAST_EACH_ISA(X)
#undef X
#define X(isa) {&autoencoder_f32_##isa, &autoencoder_f64_##isa},
static const autoencoder_kernels *const autoencoder_tables[AEFAST_N_ISAS][2] = {AEFAST_EACH_ISA(X)};
#undef X
#define X(isa) extern const autoencoder_kernels autoencoder_bf16_##isa;
AEFAST_EACH_BFLOAT16_ISA(X)
#undef X
#define X(isa) [AEFAST_ISA_##isa] = &autoencoder_bf16_##isa,
static const autoencoder_kernels *const autoencoder_bfloat16_tables[AEFAST_N_ISAS + 1] = {
    AEFAST_EACH_BFLOAT16_ISA(X) 0}; /* NULL: none */
#undef X
#endif

#endif
