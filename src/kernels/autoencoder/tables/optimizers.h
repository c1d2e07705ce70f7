/* Optimizers: w <- update(w, gradient, state), for a run of adjacent parameters while it is in
   cache.

   To add one: the update of a vector, the update of a run, an entry of the table, and the
   reference implementation in tests/reference/solvers.py. A solver whose step follows from the
   gradient of a whole matrix sets `whole_gradient`: training then stores the gradients of all
   parameters, as it does for clipping. The place for the computation on a matrix's gradient is
   `stored_phase` (step/training.h), before the weights move. */
#ifndef AEFAST_OPTIMIZERS_H
#define AEFAST_OPTIMIZERS_H

#include "kernels/autoencoder/autoencoder.h"
#include "kernels/autoencoder/tables/schedules.h"
#include "kernels/base/team.h"
#include "kernels/base/vec.h"

struct training;
struct weight_matrix;

/* Constants of one step, which hold for all parameters. */
typedef struct {
    real learning_rate, momentum;
    /* The factor of weights that decay: 1 - rate weight_decay. */
    real decay;
    int nesterov;
    /* The share of the weights in their moving average. */
    real average_share;
    /* 1 / (1 - beta^t) for the two moving averages of Adam. */
    real first_correction, second_correction;
} step_constants;

typedef struct {
    solver_info info;
    void (*update)(const step_constants *, real *w, const real *gradient, real *state0,
                   real *state1, int64_t n);
    /* Whether neither parameters nor state change where the gradient is 0. For a solver with
       momentum, the flag holds without momentum only. */
    int rests;
    /* For a solver whose step follows from the gradient of a whole matrix: the function that
       replaces this gradient by a direction, along which plain steps of the rate then go; biases
       move by `update`. NULL: matrices move by `update` too. */
    void (*direction)(const struct training *, member, const struct weight_matrix *,
                      const step_constants *, real factor);
} solver_entry;

/* The update of one vector, of whose lanes the first `left` are parameters. For whole vectors,
   `left` is a constant once the function is inlined. */
typedef void update_vector(const step_constants *, real *w, const real *gradient, real *state0,
                           real *state1, int64_t left);

ALWAYS_INLINE void update_by_vectors(const step_constants *constants, real *w, const real *gradient,
                                     real *state0, real *state1, int64_t n, update_vector *update)
{
    /* A local copy, which no store through a pointer can change. */
    const step_constants c = *constants;
    int64_t j = 0;
    for (; j + LANES <= n; j += LANES)
        update(&c, w + j, gradient + j, state0 ? state0 + j : 0, state1 ? state1 + j : 0, LANES);
    if (j < n)
        update(&c, w + j, gradient + j, state0 ? state0 + j : 0, state1 ? state1 + j : 0, n - j);
}

/* sgd: w -= rate g. With momentum, v = momentum v + g and w -= rate v; with Nesterov's, w -=
   rate (g + momentum v) (Sutskever et al. 2013, with the rate outside v). state0 is v, which
   only momentum needs. */
ALWAYS_INLINE void plain_sgd_vector(const step_constants *c, real *w, const real *gradient,
                                    real *unused, real *unused_too, int64_t left)
{
    (void)unused, (void)unused_too;
    vec_store_n(
        w, vec_fma(vec_set(-c->learning_rate), vec_load_n(gradient, left), vec_load_n(w, left)),
        left);
}

ALWAYS_INLINE void momentum_vector(const step_constants *c, real *w, const real *gradient,
                                   real *velocity, real *unused, int64_t left)
{
    (void)unused;
    vec g = vec_load_n(gradient, left),
        v = vec_fma(vec_set(c->momentum), vec_load_n(velocity, left), g);
    vec_store_n(velocity, v, left);
    vec direction = c->nesterov ? vec_fma(vec_set(c->momentum), v, g) : v;
    vec_store_n(w, vec_fma(vec_set(-c->learning_rate), direction, vec_load_n(w, left)), left);
}

static void sgd_update(const step_constants *constants, real *w, const real *gradient,
                       real *velocity, real *unused, int64_t n)
{
    if (velocity)
        update_by_vectors(constants, w, gradient, velocity, unused, n, momentum_vector);
    else
        update_by_vectors(constants, w, gradient, 0, unused, n, plain_sgd_vector);
}

/* adam (Kingma & Ba 2015, algorithm 1): m and v are moving averages of g and g^2; w -= rate m^ /
   (sqrt(v^) + epsilon) */
#define ADAM_BETA1 0.9
#define ADAM_BETA2 0.999
#define ADAM_EPSILON 1e-8

ALWAYS_INLINE void adam_vector(const step_constants *c, real *w, const real *gradient, real *first,
                               real *second, int64_t left)
{
    vec g = vec_load_n(gradient, left);
    vec m = vec_fma(vec_set((real)ADAM_BETA1), vec_load_n(first, left), g * (real)(1 - ADAM_BETA1));
    vec v = vec_fma(vec_set((real)ADAM_BETA2), vec_load_n(second, left),
                    g * g * (real)(1 - ADAM_BETA2));
    vec_store_n(first, m, left);
    vec_store_n(second, v, left);
    vec root = vec_sqrt(v * vec_set(c->second_correction)) + (real)ADAM_EPSILON;
    vec rate = vec_set(-c->learning_rate * c->first_correction);
    vec_store_n(w, vec_load_n(w, left) + rate * m / root, left);
}

static void adam_update(const step_constants *constants, real *w, const real *gradient, real *first,
                        real *second, int64_t n)
{
    update_by_vectors(constants, w, gradient, first, second, n, adam_vector);
}

/* adagrad (Duchi, Hazan & Singer 2011, with the diagonal of G): s += g^2, w -= rate g / (sqrt(s)
   + epsilon) */
#define ADAGRAD_EPSILON 1e-10

ALWAYS_INLINE void adagrad_vector(const step_constants *c, real *w, const real *gradient,
                                  real *squares, real *unused, int64_t left)
{
    (void)unused;
    vec g = vec_load_n(gradient, left), s = vec_fma(g, g, vec_load_n(squares, left));
    vec_store_n(squares, s, left);
    vec_store_n(w,
                vec_load_n(w, left) -
                    vec_set(c->learning_rate) * g / (vec_sqrt(s) + (real)ADAGRAD_EPSILON),
                left);
}

static void adagrad_update(const step_constants *constants, real *w, const real *gradient,
                           real *squares, real *unused, int64_t n)
{
    update_by_vectors(constants, w, gradient, squares, unused, n, adagrad_vector);
}

/* muon: orthogonal steps of matrices (step/orthogonal.h), Adam's of biases. state0 is the velocity
   of matrices and Adam's first average of biases, state1 the second of biases. */
static void orthogonalise(const struct training *t, member m, const struct weight_matrix *matrix,
                          const step_constants *constants, real factor);

static const solver_entry solvers[] = {
    {.info = {.name = "sgd", .n_state = 1, .only_with_momentum = 1},
     .update = sgd_update,
     .rests = 1},
    {.info = {.name = "adam", .n_state = 2}, .update = adam_update},
    {.info = {.name = "adagrad", .n_state = 1}, .update = adagrad_update, .rests = 1},
    {.info = {.name = "muon", .n_state = 2, .whole_gradient = 1},
     .update = adam_update,
     .direction = orthogonalise},
};

/* average += share (w - average): the moving average of the weights (Polyak & Juditsky 1992). */
ALWAYS_INLINE void average_vector(const step_constants *c, real *average, const real *w,
                                  real *unused, real *unused_too, int64_t left)
{
    (void)unused, (void)unused_too;
    vec a = vec_load_n(average, left);
    vec_store_n(average, vec_fma(vec_set(c->average_share), vec_load_n(w, left) - a, a), left);
}

static void average_update(const step_constants *constants, real *average, const real *w, int64_t n)
{
    update_by_vectors(constants, average, w, 0, 0, n, average_vector);
}

/* Return the share of the next step's weights in their moving average: large for the first steps,
   which would otherwise weigh as much as all later ones. */
static inline double average_share(const training_job *job)
{
    double t = (double)job->n_steps, early = 9 / (10 + t), late = 1 - job->hyper.weight_averaging;
    return early > late ? early : late;
}

/* Return the learning rate of the next step. */
static inline double rate_of_step(const training_job *job)
{
    return job->hyper.learning_rate * schedules[job->hyper.learning_rate_schedule].factor(
                                          (double)(job->n_steps + 1),
                                          (double)job->schedule_step / (double)job->schedule_steps);
}

static inline step_constants constants_of_step(const training_job *job)
{
    double t = (double)(job->n_steps + 1), rate = rate_of_step(job);
    step_constants constants = {.learning_rate = (real)rate,
                                .momentum = (real)job->hyper.momentum,
                                .decay = (real)(1 - rate * job->hyper.weight_decay),
                                .average_share = (real)average_share(job),
                                .nesterov = job->hyper.nesterov};
    /* Two calls of pow take as long as a small phase, so that they are made for Adam alone. */
    if (job->state[1]) {
        constants.first_correction = (real)(1 / (1 - pow(ADAM_BETA1, t)));
        constants.second_correction = (real)(1 / (1 - pow(ADAM_BETA2, t)));
    }
    return constants;
}

/* Return the constants for one array of a layer (ARRAY_...), which may have a rate of its own. */
static inline step_constants constants_of_array(const step_constants *constants,
                                                const autoencoder_model *model, int array)
{
    step_constants own = *constants;
    if (model->rate_factors)
        own.learning_rate *= (real)model->rate_factors[array];
    return own;
}

#endif
