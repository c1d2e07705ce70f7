/* The parameters of one layer, and where each of them begins in the flat layout. */
#ifndef AEFAST_PARAMETERS_H
#define AEFAST_PARAMETERS_H

#include "kernels/autoencoder/autoencoder.h"
#include "kernels/base/real.h"

/* Pointers to the parameters of a model, and their offsets in the flat layout. */
typedef struct {
    real *W, *V, *b, *c, *theta, *gain;
    int64_t W_at, V_at, b_at, c_at, theta_at, gain_at;
} parameter_views;

static inline parameter_views view_parameters(const autoencoder_model *model)
{
    int64_t d = model->n_features, k = model->n_components;
    parameter_views p = {.W = (real *)model->W,
                         .V = (real *)model->V,
                         .b = (real *)model->b,
                         .c = (real *)model->c,
                         .theta = (real *)model->theta,
                         .gain = (real *)model->gain};
    p.V_at = model->tied ? 0 : k * d;
    p.b_at = p.V_at + k * d;
    p.c_at = p.b_at + (model->b ? k : 0);
    p.theta_at = p.c_at + d;
    p.gain_at = p.theta_at + (model->theta ? d : 0);
    return p;
}

#endif
