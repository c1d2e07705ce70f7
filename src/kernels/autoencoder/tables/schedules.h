/* Schedules of the learning rate: what multiplies it in each step.

   To add one: a function and a line of the table; and its twin in tests/reference/solvers.py. */
#ifndef AEFAST_SCHEDULES_H
#define AEFAST_SCHEDULES_H

#include <math.h>

typedef struct {
    const char *name;
    double (*factor)(double t,
                     double progress); /* t: the step, counted from 1 over all fits; progress in [0,
                                          1): the share of this fit's steps before it */
} schedule_entry;

static double constant_factor(double t, double progress)
{
    (void)t, (void)progress;
    return 1;
}

/* Zinkevich 2003: 1 / sqrt(t) */
static double invscaling_factor(double t, double progress)
{
    (void)progress;
    return 1 / sqrt(t);
}

/* Loshchilov & Hutter 2017, equation 5: (1 + cos(pi progress)) / 2 */
static double cosine_factor(double t, double progress)
{
    (void)t;
    return 0.5 * (1 + cos(3.14159265358979323846 * progress));
}

static const schedule_entry schedules[] = {
    {.name = "constant", .factor = constant_factor},
    {.name = "invscaling", .factor = invscaling_factor},
    {.name = "cosine", .factor = cosine_factor},
};

#endif
