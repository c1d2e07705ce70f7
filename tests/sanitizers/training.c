/* Training steps and gradients: every solver, schedule, penalty and kind of noise, in networks of
   one layer and of several, with heads and without, with register tiles and with a product in place
   of BLAS. */
#include "networks.h"

/* The differences of a step from the plain autoencoder. */
typedef struct {
    int solver, schedule, corruption, penalty, tiled, stores_gradient, gradients, given;
    double penalty_weight, contraction, dropout, clip_norm, max_norm, momentum, revive, averaging;
    /* Of rows in CSR form: number of zeros in the loss, or number for each entry. */
    int sampled_zeros;
    double sampled_ratio;
} step_case;

static step_case draw_step(const network_case *c)
{
    const autoencoder_kernels *kernels = network_kernels();
    activation_info activation;
    kernels->activation_info(c->activation, &activation);
    step_case s = {.solver = random_below(kernels->n_solvers), .tiled = random_below(4) > 0};
    s.schedule = random_below(kernels->n_schedules);
    s.corruption = random_below(5);
    penalty_info penalty;
    s.penalty = random_below(kernels->n_penalties);
    kernels->penalty_info(s.penalty, &penalty);
    int suits = !penalty.of_unit_codes || (activation.low == 0 && activation.high == 1);
    s.penalty_weight = suits && random_below(2) ? 0.1 : 0;
    s.momentum = random_below(2) * 0.9;
    s.gradients = random_below(4) == 0;
    s.stores_gradient = random_below(3) == 0;
    s.given = !s.gradients && random_below(4) == 0;
    if (!s.gradients) { /* bounds are of updates */
        s.clip_norm = random_below(3) == 0 ? 0.5 : 0;
        s.max_norm = random_below(3) == 0 ? 0.5 : 0;
        s.averaging = random_below(3) == 0 ? 0.9 : 0;
    }
    s.contraction = random_below(3) == 0 ? 0.05 : 0;
    if (c->top_k == 0)
        s.dropout = random_below(3) == 0 ? 0.3 : 0;
    if (c->top_k > 0)
        s.revive = random_below(2) / 32.0;
    if (random_below(2))
        s.sampled_zeros = random_below(2) * (1 + random_below(40)), s.sampled_ratio = 0.7;
    return s;
}

/* What a training leaves behind. */
typedef struct {
    void *flat, *average;
    double *gradients, loss;
    int status;
} trained;

static trained train(const network_case *c, const step_case *s, network net, const table *rows,
                     const table *targets, const double *weight, int n_threads)
{
    const autoencoder_kernels *kernels = network_kernels();
    trained result = {.flat = copy_of(net.flat, net.n_parameters * real_bytes())};
    place_parameters(&net, result.flat);
    if (net.layers[0].has_custom)
        net.layers[0].custom = &net.custom, net.custom.context = &net;
    int samples = !net.layers[0].has_groups; /* which need whole rows */
    solver_info solver;
    kernels->solver_info(s->solver, &solver);
    training_job job = {.model = net.layers[0],
                        .upper = net.layers + 1,
                        .n_upper = c->n_upper,
                        .rows = rows->view,
                        .batch_size = s->gradients || c->n < 40 ? c->n : 24,
                        .batch_entries = c->n * c->d,
                        .sampled_zeros = samples ? s->sampled_zeros : 0,
                        .sampled_ratio = samples ? s->sampled_ratio : 0,
                        .sample_weight = weight,
                        .head = c->head ? &net.head : 0,
                        .head_rows = targets->view,
                        .head_weight = weight,
                        .head_alone = c->head == HEAD_ALONE,
                        .n_threads = n_threads,
                        .gemm = plain_product,
                        .tiled = s->tiled,
                        .stores_gradient = s->stores_gradient,
                        .schedule_steps = 16};
    job.inputs = (input_view){.corruption = s->corruption, .corruption_level = 0.3, .seed = 7};
    void *low = reals(c->d), *high = reals(c->d);
    for (int64_t j = 0; j < c->d; ++j)
        put(high, j, 1);
    job.inputs.low = low, job.inputs.high = high;
    set_reading(c, &job.rows, &job.inputs);
    job.terms = (code_terms){.contraction = s->contraction,
                             .penalty = s->penalty,
                             .penalty_weight = s->penalty_weight,
                             .penalty_parameter = 0.2,
                             .dropout = s->dropout,
                             .revive = s->revive,
                             .dead_rows = 5};
    job.rows_unused = c->top_k ? memory(c->k * 8) : 0;
    job.hyper = (hyperparameters){.solver = s->solver,
                                  .nesterov = s->momentum > 0,
                                  .learning_rate = 1e-3,
                                  .momentum = s->momentum,
                                  .alpha = 1e-3,
                                  .weight_decay = 1e-3,
                                  .clip_norm = s->clip_norm,
                                  .max_norm = s->max_norm,
                                  .weight_averaging = s->averaging,
                                  .learning_rate_schedule = s->schedule};
    int n_state = solver.only_with_momentum && s->momentum == 0 ? 0 : solver.n_state;
    for (int i = 0; i < n_state; ++i)
        job.state[i] = reals(net.n_parameters);
    if (s->averaging > 0)
        result.average = job.state[AVERAGE] = copy_of(net.flat, net.n_parameters * real_bytes());
    job.gradients = result.gradients = s->gradients ? doubles(net.n_parameters) : 0;
    if (s->given) { /* one step with a gradient of zeros, of a batch */
        job.given = doubles(net.n_parameters);
        job.given_unused = c->top_k ? memory(c->k * 8) : 0;
        job.rows.n_rows = job.batch_size < job.rows.n_rows ? job.batch_size : job.rows.n_rows;
    }
    job.workspace = workspace(kernels->training_workspace_bytes(&job));
    job.packed = workspace(kernels->packed_bytes(&job));
    if (s->tiled)
        kernels->pack(&job);
    for (int call = 0; call < (s->gradients ? 1 : 2) && job.status == 0; ++call)
        kernels->train(&job);
    if (s->tiled)
        kernels->unpack(&job);
    result.loss = job.loss_sum, result.status = job.status;
    return result;
}

static void train_case(int64_t n, int64_t d, int64_t k, int n_upper)
{
    network_case c = draw_case(n, d, k);
    c.n_upper = n_upper;
    c.head = random_below(3);
    step_case s = draw_step(&c);
    network net = make_network(&c);
    table rows = make_rows(&c, &net), targets = rows;
    if (c.head)
        targets = make_targets(&c, &net);
    double *weight = make_weights(&c);
    if (random_below(3) == 0)
        rows = sparse_rows(&rows, !c.logarithms);
    trained one = train(&c, &s, net, &rows, &targets, weight, 1),
            team = train(&c, &s, net, &rows, &targets, weight, team_size);
    check("training: status", one.status, 0);
    check("training: loss", !isfinite(one.loss), 0);
    check_finite("training: parameters", one.flat, net.n_parameters);
    check_bits("training: bits of a team", one.flat, team.flat, net.n_parameters * real_bytes());
    if (one.average) {
        check_finite("training: average", one.average, net.n_parameters);
        check_bits("training: average of a team", one.average, team.average,
                   net.n_parameters * real_bytes());
    }
    check_bits("training: loss of a team", &one.loss, &team.loss, sizeof one.loss);
    if (s.gradients)
        check_bits("gradients of a team", one.gradients, team.gradients, net.n_parameters * 8);
    release_memory();
}

static const int64_t shapes[][3] = {{1, 1, 1},   {2, 3, 2},    {5, 17, 3},   {37, 45, 29},
                                    {40, 8, 33}, {61, 33, 16}, {29, 130, 9}, {150, 20, 70}};
enum { N_SHAPES = sizeof shapes / sizeof *shapes, DRAWS = 14 };

void run_networks(void)
{
    for (int draw = 0; draw < DRAWS; ++draw)
        for (int i = 0; i < N_SHAPES; ++i)
            train_case(shapes[i][0], shapes[i][1], shapes[i][2], 0);
    train_case(20, 600, 11, 0); /* a depth past the block of products */
}

void run_deep_networks(void)
{
    for (int draw = 0; draw < DRAWS / 2; ++draw)
        for (int i = 1; i < N_SHAPES; ++i)
            train_case(shapes[i][0], shapes[i][1], shapes[i][2], 1 + draw % MOST_UPPER);
}

/* ---- the gradient of sigmoid codes and Bernoulli outputs, written out ---- */

static double unit(double x) { return 1 / (1 + exp(-x)); }

/* Add the gradient of the mean loss to g, in the flat layout, and return the loss. */
static double written_out(const network_case *c, const network *net, const table *t, double *g)
{
    int64_t d = c->d, k = c->k, v = c->tied ? 0 : k * d, b = k * d + v, n = c->n;
    double loss = 0, *H = doubles(k), *E = doubles(d), share = 1 / (double)n;
    for (int64_t i = 0; i < n; ++i) {
        for (int64_t a = 0; a < k; ++a) {
            double s = get(net->flat, b + a);
            for (int64_t j = 0; j < d; ++j)
                s += get(net->flat, a * d + j) * entry(t, i, j);
            H[a] = unit(s);
        }
        for (int64_t j = 0; j < d; ++j) {
            double eta = get(net->flat, b + k + j);
            for (int64_t a = 0; a < k; ++a)
                eta += H[a] * get(net->flat, v + a * d + j);
            loss += (log1p(exp(eta)) - entry(t, i, j) * eta) * share;
            g[b + k + j] += E[j] = (unit(eta) - entry(t, i, j)) * share;
        }
        for (int64_t a = 0; a < k; ++a) {
            double s = 0;
            for (int64_t j = 0; j < d; ++j) {
                s += E[j] * get(net->flat, v + a * d + j);
                g[v + a * d + j] += H[a] * E[j];
            }
            g[b + a] += s *= H[a] * (1 - H[a]);
            for (int64_t j = 0; j < d; ++j)
                g[a * d + j] += s * entry(t, i, j);
        }
    }
    return loss;
}

void run_gradients(void)
{
    for (int i = 0; i < 2 * N_SHAPES; ++i) {
        const int64_t *shape = shapes[i / 2];
        network_case c = {.n = shape[0], .d = shape[1], .k = shape[2], .tied = i % 2};
        c.n_segments = 1, c.outputs[0] = output_named("bernoulli");
        c.activation = activation_named("sigmoid");
        c.kind = i % 3, c.form = i % 8;
        network net = make_network(&c);
        table rows = make_rows(&c, &net);
        step_case s = {.gradients = 1, .tiled = i % 4 < 3, .solver = solver_named("sgd")};
        c.weighted = 1;
        double *weight = make_weights(&c), *expected = doubles(net.n_parameters);
        for (int64_t j = 0; j < c.n; ++j)
            weight[j] = 1 / (double)c.n;
        trained result = train(&c, &s, net, &rows, &rows, weight, 1);
        double loss = written_out(&c, &net, &rows, expected), error = 0, size = 0;
        for (int64_t j = 0; j < net.n_parameters; ++j) {
            error = fmax(error, fabs(result.gradients[j] - expected[j]));
            size = fmax(size, fabs(expected[j]));
        }
        check("gradient", error / size, is_double ? 1e-12 : 1e-5);
        check("gradient: loss", fabs(result.loss - loss) / loss, is_double ? 1e-12 : 1e-5);
        release_memory();
    }
}
