/* Networks of the harness: layers with parameters in one flat array, and rows that suit their
   output distributions. */
#ifndef NETWORKS_H
#define NETWORKS_H

#include "harness.h"

enum { MOST_SEGMENTS = 3, MOST_UPPER = 2 };

/* What a case asks for. Indices are those of the kernels' tables. */
typedef struct {
    int64_t n, d, k;
    int tied, activation, n_segments, n_upper, top_k;
    int outputs[MOST_SEGMENTS];
    int kind, form, missing, weighted;
    /* Whether units have gains, the encoder reads logarithms, and columns are scaled. */
    int gain, logarithms, scaled;
    /* Whether columns are 0 in many adjacent rows, where the distribution has zeros. */
    int zeros;
    /* One of HEAD_... */
    int head;
} network_case;

enum { HEAD_NONE, HEAD_BESIDE, HEAD_ALONE }; /* beside a decoder, or in its place */

/* One layer or several. Segments and parameters are in memory of the harness. */
typedef struct {
    autoencoder_model layers[1 + MOST_UPPER];
    /* Without components where there is none. */
    autoencoder_model head;
    int has_gain;
    custom_output custom;
    /* Number of parameters of all layers and the head, and their flat array. */
    int64_t n_parameters;
    void *flat;
} network;

const autoencoder_kernels *network_kernels(void);
int activation_named(const char *name);
int output_named(const char *name);
int solver_named(const char *name);

/* Draw a case; the shapes come from a list. */
network_case draw_case(int64_t n, int64_t d, int64_t k);

/* Make a network with parameters drawn at random. */
network make_network(const network_case *c);

/* Place the parameters of another flat array of the same layout in the layers. */
void place_parameters(network *net, void *flat);

/* Make rows in the domains of the output's distributions. */
table make_rows(const network_case *c, const network *net);

/* Make rows in the domain of the head's distribution. */
table make_targets(const network_case *c, const network *net);

/* How the encoder reads the rows of a case. */
void set_reading(const network_case *c, rows_view *rows, input_view *inputs);

/* Weights of rows that add up to 1, or NULL. */
double *make_weights(const network_case *c);

/* A Gaussian with variance 1 as a custom distribution: the mean is eta, the loss (x - eta)^2 / 2.
   The context is the network. */
int custom_gaussian(void *context, int segment, int64_t n, const void *eta, const void *x,
                    void *result, void *losses);

/* A plain matrix product, in place of BLAS. */
void plain_product(int transpose_a, int transpose_b, int64_t m, int64_t n, int64_t k, const void *a,
                   int64_t lda, const void *b, int64_t ldb, double beta, void *c, int64_t ldc);

#endif
