/* Optimizers: w <- update(w, gradient, state), on a run of parameters, while it is in cache.

   To add one: an update function and a line of the table; and its twin in tests/reference.py. */
#ifndef AEFAST_OPTIMIZERS_H
#define AEFAST_OPTIMIZERS_H

#include "autoencoder.h"
#include "schedules.h"
#include "vec.h"

/* What one step needs to know, the same for all parameters. */
typedef struct {
    real learning_rate, momentum;
    real decay; /* 1 - rate weight_decay: what is left of a weight */
    int nesterov;
    real first_correction, second_correction; /* 1 / (1 - beta^t) of Adam */
} step_constants;

typedef struct {
    solver_info info;
    void (*update)(const step_constants *, real *w, const real *gradient, real *state0, real *state1, int64_t n);
    int rests; /* neither parameters nor state change where the gradient is 0; of a solver with momentum: without it */
} solver_entry;

/* sgd, without momentum: w -= rate g. With it: v = momentum v + g, w -= rate v; Nesterov: w -= rate (g + momentum v)
   (Sutskever et al. 2013). state0: v, needed only with momentum. */
static void sgd_update(const step_constants *c, real *w, const real *gradient, real *velocity, real *unused, int64_t n)
{
    (void)unused;
    for (int64_t j = 0; j < n; j += LANES) {
        int64_t left = n - j;
        vec direction = vec_load_n(gradient + j, left);
        if (velocity) {
            vec v = vec_fma(vec_set(c->momentum), vec_load_n(velocity + j, left), direction);
            vec_store_n(velocity + j, v, left);
            direction = c->nesterov ? vec_fma(vec_set(c->momentum), v, direction) : v;
        }
        vec_store_n(w + j, vec_fma(vec_set(-c->learning_rate), direction, vec_load_n(w + j, left)), left);
    }
}

/* adam (Kingma & Ba 2015, algorithm 1): m and v the moving averages of g and g^2, w -= rate m^ / (sqrt(v^) + epsilon) */
#define ADAM_BETA1 0.9
#define ADAM_BETA2 0.999
#define ADAM_EPSILON 1e-8

static void adam_update(const step_constants *c, real *w, const real *gradient, real *first, real *second, int64_t n)
{
    const vec beta1 = vec_set((real)ADAM_BETA1), beta2 = vec_set((real)ADAM_BETA2);
    for (int64_t j = 0; j < n; j += LANES) {
        int64_t left = n - j;
        vec g = vec_load_n(gradient + j, left);
        vec m = vec_fma(beta1, vec_load_n(first + j, left), g * (real)(1 - ADAM_BETA1));
        vec v = vec_fma(beta2, vec_load_n(second + j, left), g * g * (real)(1 - ADAM_BETA2));
        vec_store_n(first + j, m, left);
        vec_store_n(second + j, v, left);
        vec root = vec_sqrt(v * vec_set(c->second_correction)) + (real)ADAM_EPSILON;
        vec rate = vec_set(-c->learning_rate * c->first_correction);
        vec_store_n(w + j, vec_load_n(w + j, left) + rate * m / root, left);
    }
}

/* adagrad (Duchi, Hazan & Singer 2011, with the diagonal of G): s += g^2, w -= rate g / (sqrt(s) + epsilon) */
#define ADAGRAD_EPSILON 1e-10

static void adagrad_update(const step_constants *c, real *w, const real *gradient, real *squares, real *unused, int64_t n)
{
    (void)unused;
    for (int64_t j = 0; j < n; j += LANES) {
        int64_t left = n - j;
        vec g = vec_load_n(gradient + j, left), s = vec_fma(g, g, vec_load_n(squares + j, left));
        vec_store_n(squares + j, s, left);
        vec_store_n(w + j, vec_load_n(w + j, left) - vec_set(c->learning_rate) * g / (vec_sqrt(s) + (real)ADAGRAD_EPSILON), left);
    }
}

static const solver_entry solvers[] = {
    {{"sgd", 1, 1}, sgd_update, 1},
    {{"adam", 2, 0}, adam_update, 0},
    {{"adagrad", 1, 0}, adagrad_update, 1},
};

static inline step_constants constants_of_step(const training_job *job)
{
    double t = (double)(job->n_steps + 1);
    double rate = job->learning_rate * schedules[job->schedule].factor(t, (double)job->schedule_step / (double)job->schedule_steps);
    return (step_constants){
        .learning_rate = (real)rate,
        .momentum = (real)job->momentum,
        .decay = (real)(1 - rate * job->weight_decay),
        .nesterov = job->nesterov,
        .first_correction = (real)(1 / (1 - pow(ADAM_BETA1, t))),
        .second_correction = (real)(1 / (1 - pow(ADAM_BETA2, t))),
    };
}

#endif
