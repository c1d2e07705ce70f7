/* Codes by every algorithm, sums over codes, and updates of dictionaries. */
#include "harness.h"

enum { MAX_ITER = 20000 };
static const double ALPHA = 0.1, TOL = 1e-4;

typedef struct {
    int64_t n, d, k;
    int algorithm, positive, weighted, starts_from_codes, dense;
    double step;
} coding_case;

/* Atoms (k, d) of norm 1. */
static void *some_atoms(int64_t k, int64_t d)
{
    void *D = reals(k * d);
    fill_uniform(D, k * d, -1, 1);
    for (int64_t j = 0; j < k; ++j) {
        double norm = 0;
        for (int64_t i = 0; i < d; ++i)
            norm += pow(get(D, j * d + i), 2);
        for (int64_t i = 0; i < d; ++i)
            put(D, j * d + i, get(D, j * d + i) / sqrt(norm));
    }
    return D;
}

/* 1 / ||D||_2^2, a little less: 200 iterations of the power method. */
static double gradient_step(const void *D, int64_t k, int64_t d)
{
    double *h = doubles(k), *x = doubles(d), norm = 0;
    for (int64_t j = 0; j < k; ++j)
        h[j] = random_number();
    for (int turn = 0; turn < 200; ++turn) {
        memset(x, 0, (size_t)d * sizeof *x);
        for (int64_t j = 0; j < k; ++j)
            for (int64_t a = 0; a < d; ++a)
                x[a] += h[j] * get(D, j * d + a);
        norm = 0;
        for (int64_t j = 0; j < k; ++j) {
            h[j] = 0;
            for (int64_t a = 0; a < d; ++a)
                h[j] += x[a] * get(D, j * d + a);
            norm += h[j] * h[j];
        }
        norm = sqrt(norm);
        for (int64_t j = 0; j < k; ++j)
            h[j] /= norm;
    }
    return 1 / (1.01 * norm);
}

/* The results of one call. */
typedef struct {
    void *codes, *values;
    int32_t *indices;
    int64_t *counts, width;
    double *objectives, *gaps;
    int status;
} coded;

static coded code_rows(const coding_case *c, const table *t, const void *atoms, const void *weights,
                       const void *init, int n_threads)
{
    const sparse_coding_kernels *kernels = sparse_coding_tables[0][is_double];
    algorithm_info info;
    kernels->algorithm_info(c->algorithm, &info);
    int is_pursuit = info.pursues;
    int64_t most = c->k < c->d ? c->k : c->d, n_nonzero = most < 4 ? most : 4;
    coding_job job = {.dictionary = {.n_features = c->d,
                                     .n_components = c->k,
                                     .atoms = atoms,
                                     .n_threads = n_threads},
                      .rows = t->view,
                      .algorithm = c->algorithm,
                      .positive = c->positive,
                      .alpha = ALPHA,
                      .tol = TOL,
                      .max_iter = MAX_ITER,
                      .step = c->step,
                      .n_nonzero = n_nonzero,
                      .target = 1e-3,
                      .weights = weights,
                      .n_threads = n_threads};
    job.rows.checked = 1;
    job.dictionary.prepared = workspace(kernels->prepared_bytes(&job.dictionary));
    job.workspace = workspace(kernels->coding_workspace_bytes(&job));
    kernels->prepare(&job.dictionary);
    coded r = {.width = is_pursuit ? n_nonzero : c->k};
    job.init = info.starts && c->starts_from_codes ? init : 0;
    if (c->dense) {
        job.codes = r.codes = reals(c->n * c->k);
    } else {
        job.width = r.width;
        job.indices = r.indices = memory(c->n * r.width * 4);
        job.values = r.values = reals(c->n * r.width);
        job.counts = r.counts = memory(c->n * 8);
    }
    job.objectives = r.objectives = doubles(c->n);
    job.gaps = r.gaps = info.has_gap ? doubles(c->n) : 0;
    kernels->code(&job);
    r.status = job.status;
    return r;
}

/* Codes (n, k) in dense form. */
static double *dense_codes(const coding_case *c, const coded *r)
{
    double *H = doubles(c->n * c->k);
    for (int64_t i = 0; i < c->n; ++i)
        if (c->dense)
            for (int64_t j = 0; j < c->k; ++j)
                H[i * c->k + j] = get(r->codes, i * c->k + j);
        else
            for (int64_t p = 0; p < r->counts[i]; ++p)
                H[i * c->k + r->indices[i * r->width + p]] = get(r->values, i * r->width + p);
    return H;
}

/* Compare the objectives with those of the returned codes, and look at their signs, of which
   pursuits promise nothing. The atoms that kernels read are D_j /
   w_j, and the codes that they return are theirs divided by w_j. */
static void check_objectives(const coding_case *c, const table *t, const void *atoms,
                             const void *weights, const double *H, const coded *r, int is_pursuit)
{
    double error = 0, worst_sign = 0;
    for (int64_t i = 0; i < c->n; ++i) {
        double objective = 0, scale = 0;
        for (int64_t a = 0; a < c->d; ++a) {
            double residual = entry(t, i, a);
            scale += residual * residual / 2;
            for (int64_t j = 0; j < c->k; ++j)
                residual -= H[i * c->k + j] * (weights ? get(weights, j) : 1) *
                            get(atoms, j * c->d + a);
            objective += residual * residual / 2;
        }
        for (int64_t j = 0; j < c->k; ++j) {
            double h = H[i * c->k + j] * (weights ? get(weights, j) : 1);
            objective += is_pursuit ? 0 : ALPHA * fabs(h);
            worst_sign = fmax(worst_sign, c->positive && !is_pursuit ? -h : 0);
        }
        error = fmax(error, fabs(objective - r->objectives[i]) / (1e-3 + scale));
    }
    check("codes: objectives", error, is_double ? 1e-11 : 1e-3);
    check("codes: signs", worst_sign, 0);
}

static void check_gaps(const coding_case *c, const coded *r, const char *algorithm)
{
    double worst = 0;
    for (int64_t i = 0; r->gaps && i < c->n; ++i)
        worst = fmax(worst, r->gaps[i]);
    /* ista may end at MAX_ITER */
    check("codes: duality gap", worst, strcmp(algorithm, "ista") ? TOL : 0.1);
}

/* Sums over the sparse codes and an update of the dictionary by them. */
static void learn(const coding_case *c, const table *t, const coded *r, const double *H,
                  const void *atoms)
{
    const sparse_coding_kernels *kernels = sparse_coding_tables[0][is_double];
    double *A[2], *B[2];
    void *D[2];
    for (int teams = 0; teams < 2; ++teams) {
        A[teams] = doubles(c->k * c->k), B[teams] = doubles(c->k * c->d);
        D[teams] = copy_of(atoms, c->k * c->d * real_bytes());
        int n_threads = teams ? team_size : 1;
        code_statistics_job sums = {.n_features = c->d, .n_components = c->k, .rows = t->view};
        sums.width = r->width, sums.indices = r->indices, sums.values = r->values;
        sums.counts = r->counts, sums.A = A[teams], sums.B = B[teams], sums.n_threads = n_threads;
        kernels->accumulate(&sums);
        update_job job = {.n_features = c->d, .n_components = c->k, .A = A[teams], .B = B[teams]};
        job.positive = c->positive, job.n_sweeps = 2, job.scale = 1, job.atoms = D[teams];
        job.n_threads = n_threads;
        job.workspace = workspace(kernels->update_workspace_bytes(&job));
        kernels->update(&job);
        check("update: status", job.status, 0);
    }
    check_bits("sums over codes: bits of a team", A[0], A[1], c->k * c->k * 8);
    check_bits("sums over codes: bits of a team's B", B[0], B[1], c->k * c->d * 8);
    check_bits("update: bits of a team", D[0], D[1], c->k * c->d * real_bytes());
    check_finite("update: atoms", D[0], c->k * c->d);
    double error = 0;
    for (int64_t j = 0; j < c->k; ++j)
        for (int64_t a = 0; a < c->d; ++a) {
            double b = 0;
            for (int64_t i = 0; i < c->n; ++i)
                b += H[i * c->k + j] * entry(t, i, a);
            error = fmax(error, fabs(b - B[0][j * c->d + a]) / (1 + fabs(b)));
        }
    check("sums over codes", error, is_double ? 1e-12 : 1e-4);
}

static void run_case(coding_case *c, int kind, int form)
{
    algorithm_info info;
    sparse_coding_tables[0][is_double]->algorithm_info(c->algorithm, &info);
    double *X = doubles(c->n * c->d);
    for (int64_t i = 0; i < c->n * c->d; ++i)
        X[i] = kind == ROWS_UINT8 ? random_below(3) : random_number() * 2 - 1;
    table t = make_table(X, c->n, c->d, kind, form);
    void *atoms = some_atoms(c->k, c->d), *weights = c->weighted ? reals(c->k) : 0;
    for (int64_t j = 0; weights && j < c->k; ++j)
        put(weights, j, 0.5 + random_number());
    c->step = gradient_step(atoms, c->k, c->d);
    void *init = reals(c->n * c->k);
    fill_uniform(init, c->n * c->k, 0, 0.1);
    coded r[2];
    double *H[2];
    for (int teams = 0; teams < 2; ++teams) {
        r[teams] = code_rows(c, &t, atoms, weights, init, teams ? team_size : 1);
        check("codes: status", r[teams].status, 0);
        H[teams] = dense_codes(c, &r[teams]);
    }
    check_bits("codes: bits of a team", H[0], H[1], c->n * c->k * 8);
    check_bits("objectives: bits of a team", r[0].objectives, r[1].objectives, c->n * 8);
    check_objectives(c, &t, atoms, weights, H[0], &r[0], info.pursues);
    check_gaps(c, &r[0], info.name);
    if (!c->dense && !c->weighted)
        learn(c, &t, &r[0], H[0], atoms);
    release_memory();
}

void run_sparse_coding(void)
{
    static const int64_t shapes[][3] = {{1, 1, 1},  {3, 5, 2},    {19, 17, 9},
                                        {7, 8, 40}, {33, 30, 33}, {12, 70, 66}};
    int n_algorithms = sparse_coding_tables[0][is_double]->n_algorithms, turn = 0;
    for (int algorithm = 0; algorithm < n_algorithms; ++algorithm)
        for (int s = 0; s < 6; ++s)
            for (int positive = 0; positive < 2; ++positive, ++turn) {
                coding_case c = {.n = shapes[s][0], .d = shapes[s][1], .k = shapes[s][2]};
                c.algorithm = algorithm, c.positive = positive;
                c.weighted = turn % 3 == 0, c.starts_from_codes = turn % 2, c.dense = turn % 5 < 2;
                run_case(&c, turn % 4 % 3, turn % 8);
            }
}
