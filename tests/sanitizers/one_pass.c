/* Codes, reconstructions and losses of rows; terms of likelihoods and samples. */
#include "networks.h"

/* The results of a pass; what a case does not ask for is NULL. */
typedef struct {
    void *codes, *reconstructions, *feature_losses;
    double *row_losses;
    int status;
} passed;

static passed pass(const network_case *c, network net, const table *rows, const table *codes,
                   int products, int n_threads)
{
    const autoencoder_kernels *kernels = network_kernels();
    place_parameters(&net, net.flat);
    if (net.layers[0].has_custom)
        net.layers[0].custom = &net.custom, net.custom.context = &net;
    passed r = {.codes = codes ? 0 : workspace(c->n * c->k * real_bytes()),
                .reconstructions = workspace(c->n * c->d * real_bytes()),
                .feature_losses = products == PRODUCTS_TILES ? 0 : reals(c->n * c->d),
                .row_losses = workspace(c->n * 8)};
    one_pass_job job = {.model = net.layers[0],
                        .rows = codes ? codes->view : rows->view,
                        .from_codes = codes != 0,
                        .block_rows = c->n < 16 ? c->n : 16,
                        .n_threads = n_threads,
                        .products = products,
                        .gemm = plain_product,
                        .codes = r.codes,
                        .reconstructions = r.reconstructions,
                        .row_losses = r.row_losses,
                        .feature_losses = net.layers[0].has_groups ? 0 : r.feature_losses};
    job.rows.checked = 1;
    if (codes) {
        job.targets = rows->view, job.targets.checked = 1;
        set_reading(c, &job.targets, &job.inputs);
    } else {
        set_reading(c, &job.rows, &job.inputs);
    }
    job.workspace = workspace(kernels->one_pass_workspace_bytes(&job));
    kernels->one_pass(&job);
    r.status = job.status;
    return r;
}

static void pass_case(int64_t n, int64_t d, int64_t k, int products, int from_codes)
{
    network_case c = draw_case(n, d, k), plain = {.n = n, .d = k, .n_segments = 1};
    network net = make_network(&c);
    table rows = make_rows(&c, &net), codes = {0};
    if (random_below(3) == 0)
        rows = sparse_rows(&rows, !c.logarithms);
    plain.outputs[0] = output_named("bernoulli");
    plain.form = c.form;
    plain.kind = is_double ? ROWS_FLOAT64 : ROWS_FLOAT32;
    plain.k = 1;
    network other = make_network(&plain);
    codes = make_rows(&plain, &other);
    passed one = pass(&c, net, &rows, from_codes ? &codes : 0, products, 1),
           team = pass(&c, net, &rows, from_codes ? &codes : 0, products, team_size);
    check("one pass: status", one.status, 0);
    if (!from_codes) {
        check_bits("codes of a team", one.codes, team.codes, n * k * real_bytes());
        check_finite("codes", one.codes, n * k);
    }
    check_finite("means", one.reconstructions, n * d);
    check_bits("means of a team", one.reconstructions, team.reconstructions, n * d * real_bytes());
    check_bits("losses of a team", one.row_losses, team.row_losses, n * 8);
    double bad = 0;
    for (int64_t i = 0; i < n; ++i)
        bad += !isfinite(one.row_losses[i]);
    check("losses of rows", bad, 0);
    release_memory();
}

void run_one_pass(void)
{
    static const int64_t shapes[][3] = {{1, 1, 1},    {3, 7, 5},   {8, 40, 17},
                                        {45, 19, 34}, {97, 70, 9}, {20, 300, 3}};
    for (int draw = 0; draw < 8; ++draw)
        for (int i = 0; i < 6; ++i)
            pass_case(shapes[i][0], shapes[i][1], shapes[i][2], (draw + i) % 3, draw % 4 == 3);
}

/* ---- samples, whose random numbers are the harness's ---- */

static double uniform(struct bitgen *bits)
{
    (void)bits;
    return random_number();
}

static double exponential(struct bitgen *bits) { return -log1p(-uniform(bits)); }

static double normal(struct bitgen *bits) /* Box & Muller (1958) */
{
    return sqrt(2 * exponential(bits)) * cos(6.283185307179586 * uniform(bits));
}

static double rough_gamma(struct bitgen *bits, double shape) /* its mean is right */
{
    return shape * exponential(bits);
}

static int64_t rough_poisson(struct bitgen *bits, double mean)
{
    return (int64_t)(fmin(mean, 1e9) * 2 * uniform(bits));
}

static int64_t binomial(struct bitgen *bits, int64_t n, double p)
{
    int64_t successes = 0;
    for (int64_t i = 0; i < n; ++i)
        successes += uniform(bits) < p;
    return successes;
}

void run_likelihoods(void)
{
    enum { N = 9, M = 7 };
    const autoencoder_kernels *k = network_kernels();
    generator random = {.uniform = uniform, .normal = normal, .exponential = exponential};
    random.gamma = rough_gamma, random.poisson = rough_poisson, random.binomial = binomial;
    for (int output = 0; output < k->n_outputs; ++output) {
        output_info info;
        k->output_info(output, &info);
        double *eta = doubles(N * M), *theta = doubles(M), *draws = doubles(N), *x = doubles(N * M);
        double *base = doubles(info.is_group ? N : N * M), bad = 0;
        for (int i = 0; i < N * M; ++i)
            eta[i] = random_number() * 2 - 1;
        for (int i = 0; i < N; ++i)
            draws[i] = i;
        double constant = info.option && info.default_option == info.default_option
                              ? info.default_option
                              : 0;
        if (output != output_named("custom")) {
            int fine = k->output_sample(output, N, M, eta, theta, constant, draws, &random, x);
            check("samples are finite", !fine && !info.is_group, 0);
        }
        k->output_log_base(output, N, M, x, constant, base);
        for (int i = 0; i < (info.is_group ? N : N * M); ++i)
            bad += !isfinite(base[i]);
        check("terms that losses leave out", bad, 0);
        check("link", !isfinite(k->output_link(output, 0.5)), 0);
        (void)k->output_has_base(output);
    }
}
