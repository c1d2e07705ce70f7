/* Penalties that make codes sparse, each multiplied by a weight. There are two kinds:

       of codes   the mean over rows of sum_j p(h_j): `of_codes` computes p and dp/dh of a vector
       of means   sum_j p(m_j; parameter), where m_j is the (weighted) mean of unit j's codes over
                  the batch: `of_mean` computes p and dp/dm

   To add one: its function, an entry of the table, and the reference implementation in
   tests/reference/variants.py. Nothing else. */
#ifndef AEFAST_PENALTIES_H
#define AEFAST_PENALTIES_H

#include "kernels/autoencoder/autoencoder.h"
#include "kernels/base/special.h"

typedef vec code_penalty(vec h, vec *slope);
typedef double mean_penalty(double m, double parameter, double *slope);

typedef struct {
    penalty_info info;
    /* One of the two; the other is NULL. */
    code_penalty *of_codes;
    mean_penalty *of_mean;
} penalty_entry;

/* kl: the Kullback-Leibler divergence of a Bernoulli distribution with probability m from one
   with rho (Ng 2011, CS294A lecture notes). m is kept away from 0 and 1. */
static double kl_penalty(double m, double rho, double *slope)
{
    const double edge = 1e-6;
    m = m < edge ? edge : m > 1 - edge ? 1 - edge : m;
    *slope = (1 - rho) / (1 - m) - rho / m;
    return rho * log(rho / m) + (1 - rho) * log((1 - rho) / (1 - m));
}

/* l1: |h| */
static vec l1_penalty(vec h, vec *slope)
{
    vec zero = vec_set(0);
    *slope = vec_select(h > zero, vec_set(1), vec_select(h < zero, vec_set(-1), zero));
    return vec_abs(h);
}

/* log: log(1 + h^2) (Olshausen & Field 1996) */
static vec log_penalty(vec h, vec *slope)
{
    *slope = (h + h) / (h * h + (real)1);
    return vec_log1p_positive(h * h);
}

static const penalty_entry penalties[] = {
    {.info = {.name = "kl", .parameter = "rho", .low = 0, .high = 1, .of_unit_codes = 1},
     .of_mean = kl_penalty},
    {.info = {.name = "l1"}, .of_codes = l1_penalty},
    {.info = {.name = "log"}, .of_codes = log_penalty},
};

#endif
