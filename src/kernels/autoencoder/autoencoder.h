/* The interface between Python and the kernels of one instance: jobs, and the table of kernels.

   Pointers to numbers are void *, so that one description serves float32 and float64; each instance
   casts them to its type `real`. Arrays are row-major. A layer has d features (columns of X) and k
   components (hidden units); n is the number of rows. */
#ifndef AEFAST_AUTOENCODER_H
#define AEFAST_AUTOENCODER_H

#include <stdint.h>

#include "kernels/base/rows_view.h"
#include "kernels/products/gemm.h"
#include "runtime/dispatch.h"

/* The arrays of a layer's parameters, in the order of the flat layout. */
enum { ARRAY_W, ARRAY_V, ARRAY_B, ARRAY_C, ARRAY_THETA, ARRAY_GAIN, N_PARAMETER_ARRAYS };

/* A segment: the columns of the output that share a distribution. */
typedef struct {
    /* Index of the distribution in its table. */
    int output;
    /* Whether one draw fills all of the columns (softmax). */
    int is_group;
    /* Whether the distribution is a custom one (see custom_output). */
    int is_custom;
    /* Whether the parameter theta of each column is learned. */
    int learned;
    /* The distribution's option, for example a floor of variances. */
    double constant;
    /* The columns of the segment, in increasing order. */
    int64_t n_columns;
    const int64_t *columns;
} output_segment;

/* A custom distribution, which a function in Python computes. From pre-activations eta
   (n, n_columns) the function writes means where x is NULL; otherwise the losses of the entries of
   x and their derivatives by eta. Any thread may call it, but one at a time. A result other than 0
   ends the pass. */
typedef struct custom_output {
    int (*function)(void *context, int segment, int64_t n, const void *eta, const void *x,
                    void *means_or_derivatives, void *losses);
    void *context;
} custom_output;

/* Shapes and parameters of one layer. In the flat layout, which gradients and optimizer state have,
   its parameters are [W (k, d) | V (k, d) unless tied | b (k) | c (d) | theta (d) unless NULL |
   gain (k) unless NULL]. With a gain, codes are decoded as z = (h - g(0)) o gain, where g is the
   activation. */
typedef struct {
    int64_t n_features, n_components;
    /* Whether the decoder uses the encoder's weights: V == W. */
    int tied;
    /* Index of the activation in its table. */
    int activation;
    /* Number of units of each row that keep their value while the others become 0; 0: all. */
    int64_t top_k;
    int n_segments;
    /* Whether a segment is a group or custom: both need whole rows of pre-activations. */
    int has_groups;
    /* Whether a segment is custom. */
    int has_custom;
    const output_segment *segments;
    /* The function of the custom distributions; NULL: there are none. */
    struct custom_output *custom;
    /* (d): the segment of each column; NULL: there is one segment. */
    const uint16_t *segment_of_column;
    /* Weights of the encoder and the decoder, biases of the hidden layer and of the output.
       One-pass operations do not write them. */
    void *W, *V, *b, *c;
    /* (d): parameters of the columns' distributions; NULL: no distribution has one. */
    void *theta;
    /* (k): the gain of each unit; NULL: codes are decoded as they are. */
    void *gain;
    /* (N_PARAMETER_ARRAYS): factors of the learning rate, by array; NULL: all are 1. */
    const double *rate_factors;
} autoencoder_model;

enum {
    CORRUPTION_NONE,
    CORRUPTION_MASKING,
    CORRUPTION_SALT_AND_PEPPER,
    CORRUPTION_GAUSSIAN,
    CORRUPTION_DROPOUT
};

/* Changes that turn a row into the encoder's input. Where all fields are 0, the input is the row
   itself. */
typedef struct {
    /* (d): values that replace missing entries (NaN); NULL: no entry is missing. */
    const void *fill;
    /* (d): where the offset is positive, the encoder reads log(max(x, 0) + offset) - centre;
       NULL: it reads x. */
    const void *log_offset, *log_centre;
    /* Whether the encoder reads the row divided by its Euclidean norm (a row of zeros as it is). No
       logarithms are taken then. */
    int normed;
    /* One of CORRUPTION_... */
    int corruption;
    /* The probability that an entry is corrupted, or the standard deviation of Gaussian noise.
       Dropout divides the entries that stay by 1 - corruption_level. */
    double corruption_level;
    /* (d): the two values of salt-and-pepper noise. */
    const void *low, *high;
    /* The key of the noise, and the counter of the first row: see noise.h. */
    uint64_t seed;
    int layer;
    int64_t first_sample;
} input_view;

/* Terms of the loss that depend on the code h of a row, and dropout; in a deep network, those of
   the last layer. */
typedef struct {
    /* lambda of the contractive penalty lambda ||dh/dx||^2; 0: none. */
    double contraction;
    /* Index of the sparsity penalty in its table, its weight (0: none) and its parameter. */
    int penalty;
    double penalty_weight;
    double penalty_parameter;
    /* Probability that a unit is dropped; the values of the others are divided by 1 - dropout. */
    double dropout;
    /* With top_k: the weight of a dead unit's auxiliary loss (see penalised_backward_column), and
       the number of rows after which a unit that none of them has kept counts as dead. */
    double revive;
    int64_t dead_rows;
} code_terms;

/* Implementations of products in a one-pass operation: BLAS; register tiles, with weights that are
   packed at the start of the call; or, for few rows, products with row-major weights. */
enum { PRODUCTS_BLAS, PRODUCTS_TILES, PRODUCTS_FEW_ROWS };

enum { MOST_LAYERS = 16 };
enum { MOST_PARTS = MOST_LAYERS + 1 }; /* the layers of a network, and a head */

/* Arrays of the parameters' size that move with them: those of the solver, and AVERAGE. */
enum { SOLVER_STATES = 2, AVERAGE = SOLVER_STATES, MOST_STATES };

/* The solver and its numbers, which do not change while a job trains. */
typedef struct {
    /* Index of the solver in its table. */
    int solver;
    /* Whether momentum is Nesterov's. */
    int nesterov;
    /* alpha is the weight of the L2 penalty. */
    double learning_rate, momentum, alpha;
    /* Decoupled weight decay, of weights but not of biases: w -= rate weight_decay w. */
    double weight_decay;
    /* Upper bound of the gradient's norm; 0: none. */
    double clip_norm;
    /* Upper bound of the norms of the rows of W and V, imposed after each update; 0: none. */
    double max_norm;
    /* With state[AVERAGE]: the factor of the average in each step, once enough steps are made. */
    double weight_averaging;
    /* Index of the schedule in its table; it gives a factor of learning_rate for each step. */
    int learning_rate_schedule;
} hyperparameters;

/* A call of `train`: training steps, or one pass that accumulates gradients.

   A deep network has layers above the first. The features of each are the
   components of the layer below, and the flat layout is the layers' layouts one after another. */
typedef struct {
    /* The first layer. */
    autoencoder_model model;
    /* (n_upper), with n_upper < MOST_LAYERS: the layers above the first. */
    const autoencoder_model *upper;
    int n_upper;
    /* A head: a second decoder of the code, whose output is compared with other rows than the
       network's input, such as labels. Its model has the code's n_components, n_features columns
       of targets, tied weights W (the decoder's), no hidden bias b, no gain and no custom
       distribution; its parameters follow the layers' in the flat layout. The loss is the sum of
       both losses, each with its own weights. NULL: there is none. */
    const autoencoder_model *head;
    /* The targets, of which those of the visited rows are read. NaN is a missing target. */
    rows_view head_rows;
    /* Weights of the head's losses, as sample_weight. */
    const double *head_weight;
    /* Whether the loss is the head's alone: nothing is decoded, and decoders do not move. */
    int head_alone;
    rows_view rows;
    int64_t batch_size;
    /* For rows in CSR form: the largest number of entries in a batch, sampled zeros included. */
    int64_t batch_entries;
    /* Reconstruction sampling of rows in CSR form: the number of zeros of each row that the loss
       has, or their number for each stored entry. Where both are 0, the loss has all columns. */
    int64_t sampled_zeros;
    double sampled_ratio;
    /* Weights of the samples, by row number. Gradients need weights that add up to 1 over the
       visited rows; training divides the weights of a batch by its number of rows. NULL: losses are
       means over the batch. */
    const double *sample_weight;
    input_view inputs;
    code_terms terms;
    /* in/out (k of the last layer), with terms.revive: number of rows since each unit was kept. */
    int64_t *rows_unused;
    int n_threads;
    gemm_function *gemm;
    /* training_workspace_bytes bytes. */
    void *workspace;
    /* Whether register tiles compute the products, instead of gemm. */
    int tiled;
    /* packed_bytes bytes, which hold the weights and their state between `pack` and `unpack`. */
    void *packed;

    /* Flat layout: the call adds the gradients to it and updates nothing. NULL: the call trains. */
    double *gradients;
    /* Flat layout: the gradient of a batch that was computed elsewhere, without the L2 penalty, and
       the batch's loss. The call makes one step with them, as for a batch of rows.n_rows <=
       batch_size rows, and reads no rows. NULL: the call computes gradients from the rows. */
    const double *given;
    double given_loss;
    /* (k of the last layer), with `given` and terms.revive: what `rows_unused` becomes with the
     * step. */
    const int64_t *given_unused;

    hyperparameters hyper;
    /* For tests: whether the whole gradient is stored before weights move, even where neither the
       solver nor clipping needs it. */
    int stores_gradient;
    /* in/out: index of the next step in the schedule. */
    int64_t schedule_step;
    /* Number of steps of the whole schedule, for schedules that end. */
    int64_t schedule_steps;
    /* Flat layout: optimizer state, NULL where the solver needs none; and the moving average of the
       parameters, NULL where none is wanted. */
    void *state[MOST_STATES];
    /* in/out: number of updates made so far. */
    int64_t n_steps;
    /* out: learning rate of the last step, with the schedule's factor. */
    double rate;

    /* in/out: the call adds each batch's mean loss times its number of rows; with gradients, the
       weighted losses. */
    double loss_sum;
    /* in/out: the call adds the number of rows it visited. */
    int64_t n_rows_done;
    /* out: STATUS_NOT_FINITE if the loss of a batch was not finite; the call ends before this batch
       updates anything. */
    int status;
} training_job;

struct factored_job;

/* A call of `one_pass`: encode, decode, reconstruct, losses. Outputs that are NULL are not
   computed. */
typedef struct {
    autoencoder_model model;
    /* X (n, d), or with `from_codes` H (n, k). */
    rows_view rows;
    int from_codes;
    /* X (n, d), with `from_codes` where losses are wanted. */
    rows_view targets;
    input_view inputs;
    /* Number of rows that go through all layers together. Results do not depend on how calls slice
       the rows, as long as the slices begin at multiples of block_rows. */
    int64_t block_rows;
    int n_threads;
    /* One of PRODUCTS_... */
    int products;
    /* Needed with PRODUCTS_BLAS. */
    gemm_function *gemm;
    /* one_pass_workspace_bytes bytes. */
    void *workspace;

    /* out (n, k): H. */
    void *codes;
    /* out (n, d): means of the output distributions. */
    void *reconstructions;
    /* out (n): losses in nats, summed over features, without their constants. */
    double *row_losses;
    /* out (n, d): losses of the entries. */
    void *feature_losses;
    /* Whether losses are all of -log p for distributions whose losses leave out terms in x. */
    int whole_losses;
    /* out: the flags STATUS_NOT_FINITE (of a result) and STATUS_BAD_ROWS (of an input). */
    int status;
} one_pass_job;

/* Facts about an activation. */
typedef struct {
    const char *name;
    /* The infimum and the supremum of its values. */
    double low, high;
    /* The value and the derivative at 0; for a one-sided activation, the derivative for large
       pre-activations. */
    double at_zero, slope;
    /* For an activation that is nearly linear on one side only, the pre-activation where that side
       begins; for others 0. */
    int one_sided;
    double linear_from;
    /* Initial weights are uniform in +-weight_scale sqrt(6 / (d + k)). */
    double weight_scale;
} activation_info;

/* Facts about an output distribution. */
typedef struct {
    const char *name, *link;
    /* The domain of x in words, and its ends. */
    const char *domain;
    double low, high;
    /* Name of a parameter of each column, learned unless an option fixes it; NULL: none. */
    const char *parameter;
    /* Name of a constant of each segment; NULL: none. */
    const char *option;
    /* Default of the option. NAN: the option fixes the parameter at the option's logarithm, and by
       default the parameter is learned. */
    double default_option;
    /* Whether the distribution is one of a group of columns. */
    int is_group;
    /* Sum of a row's entries in a group; 0: any. */
    double row_total;
} output_info;

/* The random numbers of a NumPy Generator, through NumPy's C interface. */
struct bitgen;
typedef struct {
    struct bitgen *bits;
    double (*uniform)(struct bitgen *);             /* in [0, 1) */
    double (*normal)(struct bitgen *);              /* with variance 1 */
    double (*exponential)(struct bitgen *);         /* with mean 1 */
    double (*gamma)(struct bitgen *, double shape); /* with scale 1 */
    int64_t (*poisson)(struct bitgen *, double mean);
    int64_t (*binomial)(struct bitgen *, int64_t n, double p);
} generator;

/* Facts about a penalty on codes. */
typedef struct {
    const char *name;
    /* Name of the penalty's parameter besides its weight, or NULL; it lies in (low, high). */
    const char *parameter;
    double low, high;
    /* Whether codes must lie in (0, 1). */
    int of_unit_codes;
} penalty_info;

/* Facts about a solver. */
typedef struct {
    const char *name;
    /* Number of state arrays, each of the size of the parameters. */
    int n_state;
    /* Whether there is no state where momentum is 0. */
    int only_with_momentum;
    /* Whether an update needs the gradient of a whole matrix before any of its weights moves. */
    int whole_gradient;
} solver_info;

/* Training of many networks in one call: ensemble.h. */
struct ensemble_job;
struct survey_job;

/* The kernels of one instance. */
typedef struct {
    /* Numbers of entries in the tables, and facts about the entries. */
    int n_activations, n_outputs, n_penalties, n_solvers, n_schedules;
    void (*activation_info)(int, activation_info *);
    void (*output_info)(int, output_info *);
    void (*penalty_info)(int, penalty_info *);
    /* Return whether the penalty is a function of mean codes, which couples a batch's rows. */
    int (*penalty_is_of_means)(int);
    void (*solver_info)(int, solver_info *);
    const char *(*schedule_name)(int);
    /* Return the pre-activation whose mean is `mean`, kept away from the ends of the domain. */
    double (*output_link)(int output, double mean);
    /* Return whether the terms that losses leave out depend on x. */
    int (*output_has_base)(int output);
    void (*output_log_base)(int output, int64_t n, int64_t m, const double *x, double constant,
                            double *out);
    int (*output_sample)(int output, int64_t n, int64_t m, const double *eta, const double *theta,
                         double constant, const double *n_draws, const generator *random,
                         double *x);

    int64_t (*training_workspace_bytes)(const training_job *);
    int64_t (*packed_bytes)(const training_job *);
    /* Copy the model's weights and the state to `packed`, and back. */
    void (*pack)(training_job *);
    void (*unpack)(training_job *);
    void (*train)(training_job *);
    int64_t (*ensemble_workspace_bytes)(const struct ensemble_job *);
    void (*train_ensemble)(struct ensemble_job *);
    void (*survey)(struct survey_job *);
    int64_t (*factored_workspace_bytes)(const struct factored_job *);
    void (*factored_train)(struct factored_job *);
    void (*factored_renew)(struct factored_job *);
    int64_t (*one_pass_workspace_bytes)(const one_pass_job *);
    void (*one_pass)(one_pass_job *);
    void (*sigmoid)(const void *x, void *y, int64_t n, int n_threads);
    void (*softplus)(const void *x, void *y, int64_t n, int n_threads);
} autoencoder_kernels;

/* Tables for callers outside of an instance: autoencoder_tables[instruction set][0] for float32,
   [1] for float64; autoencoder_bfloat16_tables[instruction set], or NULL where there is no such
   instance. A bfloat16 instance has the kernels of training alone, with register tiles: `real` is
   float, and products multiply rounded operands. */
#ifndef AEFAST_ISA
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
    AEFAST_EACH_BFLOAT16_ISA(X) 0};
#undef X
#endif

#endif
