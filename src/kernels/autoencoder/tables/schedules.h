/* Schedules of the learning rate: the factor of the rate in each step.

   To add one: a function, an entry of the table, and the reference implementation in
   tests/reference/solvers.py. */
#ifndef AEFAST_SCHEDULES_H
#define AEFAST_SCHEDULES_H

#include <math.h>

typedef struct {
    const char *name;
    /* t is the number of the step, counted from 1 over all fits; progress, in [0, 1), is the share
       of this fit's steps that are done. */
    double (*factor)(double t, double progress);
} schedule_entry;

static double constant_factor(double t, double progress)
{
    (void)t, (void)progress;
    return 1;
}

/* invscaling (Zinkevich 2003): 1 / sqrt(t) */
static double invscaling_factor(double t, double progress)
{
    (void)progress;
    return 1 / sqrt(t);
}

/* cosine (Loshchilov & Hutter 2017, equation 5): (1 + cos(pi progress)) / 2 */
static double cosine_factor(double t, double progress)
{
    (void)t;
    return 0.5 * (1 + cos(3.14159265358979323846 * progress));
}

/* trapezoid, also called warmup-stable-decay (Xing et al. 2018; Hu et al. 2024): the factor rises
   from 1/50 over the first steps, stays 1, and falls to 0 over the last ones. */
#define WARM_SHARE 0.05
#define DECAY_SHARE 0.3

static double trapezoid_factor(double t, double progress)
{
    (void)t;
    return fmax(0, fmin(1, fmin((progress + 1e-3) / WARM_SHARE, (1 - progress) / DECAY_SHARE)));
}

static const schedule_entry schedules[] = {
    {.name = "constant", .factor = constant_factor},
    {.name = "invscaling", .factor = invscaling_factor},
    {.name = "cosine", .factor = cosine_factor},
    {.name = "trapezoid", .factor = trapezoid_factor},
};

#endif
