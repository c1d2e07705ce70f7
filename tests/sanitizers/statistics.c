/* Sums and outer products of dense and sparse rows, projections and quadratic forms. */
#include "harness.h"

static const int widths[] = {1, 3, 8, 17, 34, 70}, heights[] = {1, 5, 40, 131, 300};
enum { N_WIDTHS = 6, N_HEIGHTS = 5 };

static double *some_rows(int64_t n, int64_t d, int kind)
{
    double *X = doubles(n * d);
    for (int64_t i = 0; i < n * d; ++i)
        X[i] = kind == ROWS_UINT8 ? random_below(6) : random_number() * 2 - 1;
    return X;
}

static double *some_weights(int64_t n)
{
    double *weight = doubles(n);
    for (int64_t i = 0; i < n; ++i)
        weight[i] = random_below(4) * 0.5;
    return weight;
}

/* The upper triangle alone where `upper` is set. */
static double largest_difference(const double *a, const double *b, int64_t d, int upper)
{
    double difference = 0;
    for (int64_t i = 0; i < d; ++i)
        for (int64_t j = upper ? i : 0; j < d; ++j)
            difference = fmax(difference, fabs(a[i * d + j] - b[i * d + j]));
    return difference;
}

static void dense_sums(int64_t n, int64_t d, int kind, int form, const double *weight)
{
    table t = make_table(some_rows(n, d, kind), n, d, kind, form & ~ORDERED);
    const statistics_kernels *k = statistics_tables[0][is_double];
    void *shift = reals(d);
    fill_uniform(shift, d, -1, 1);
    double *sums[2], *scatter[2];
    for (int teams = 0; teams < 2; ++teams) {
        statistics_job job = {.n_features = d, .shift = shift, .weight = weight};
        job.n_threads = teams ? team_size : 1;
        job.workspace = workspace(k->workspace_bytes(&job));
        job.rows = t.view;
        k->begin(&job);
        k->add(&job);
        k->add(&job); /* the same rows once more: sums go on over calls */
        check("statistics: status", job.status, 0);
        job.sums = sums[teams] = doubles(d);
        job.scatter = scatter[teams] = doubles(d * d);
        k->finish(&job);
    }
    check_bits("statistics: bits of a team", scatter[0], scatter[1], d * d * 8);
    check_bits("statistics: bits of a team's sums", sums[0], sums[1], d * 8);
    double *expected = doubles(d * d);
    for (int64_t i = 0; i < n; ++i)
        for (int64_t a = 0; a < d; ++a)
            for (int64_t b = 0; b < d; ++b)
                expected[a * d + b] += 2 * (weight ? weight[i] : 1) *
                                       (entry(&t, i, a) - get(shift, a)) *
                                       (entry(&t, i, b) - get(shift, b));
    check("statistics: scatter", largest_difference(scatter[0], expected, d, 0),
          (double)n * (is_double ? 1e-12 : 5e-5));
    release_memory();
}

typedef struct {
    int64_t *row_begin;
    int32_t *columns;
    void *values;
    /* The same matrix (n, d) with its zeros. */
    double *dense;
} sparse_matrix;

static sparse_matrix some_sparse_rows(int64_t n, int64_t d)
{
    sparse_matrix A = {memory((n + 1) * 8), 0, 0, doubles(n * d)};
    int64_t n_stored = 0;
    for (int64_t i = 0; i < n * d; ++i)
        if (random_below(3) == 0)
            A.dense[i] = (double)(float)(random_number() + 0.5), ++n_stored;
    A.columns = memory(n_stored * 4);
    A.values = reals(n_stored);
    int64_t p = 0;
    for (int64_t i = 0; i < n; ++i) {
        for (int64_t j = 0; j < d; ++j)
            if (A.dense[i * d + j] != 0) {
                A.columns[p] = (int32_t)j;
                put(A.values, p++, A.dense[i * d + j]);
            }
        A.row_begin[i + 1] = p;
    }
    return A;
}

static void sparse_sums(int64_t n, int64_t d, const double *weight)
{
    sparse_matrix A = some_sparse_rows(n, d);
    double *sums[2], *scatter[2], *expected = doubles(d * d);
    for (int teams = 0; teams < 2; ++teams) {
        sums[teams] = doubles(d), scatter[teams] = doubles(d * d);
        sparse_statistics_job job = {.row_begin = A.row_begin,
                                     .columns = A.columns,
                                     .values = A.values,
                                     .n_rows = n,
                                     .n_features = d,
                                     .weight = weight,
                                     .n_threads = teams ? team_size : 1,
                                     .sums = sums[teams],
                                     .scatter = scatter[teams]};
        statistics_tables[0][is_double]->add_sparse(&job);
    }
    check_bits("sparse statistics: bits of a team", scatter[0], scatter[1], d * d * 8);
    for (int64_t i = 0; i < n; ++i)
        for (int64_t a = 0; a < d; ++a)
            for (int64_t b = 0; b < d; ++b)
                expected[a * d + b] += (weight ? weight[i] : 1) * A.dense[i * d + a] *
                                       A.dense[i * d + b];
    check("sparse statistics: scatter", largest_difference(scatter[0], expected, d, 1),
          (double)n * 1e-13);
    release_memory();
}

static void sparse_products(int64_t n, int64_t d, int64_t m)
{
    sparse_matrix A = some_sparse_rows(n, d);
    void *B = reals(d * m), *Y[2];
    fill_uniform(B, d * m, -1, 1);
    for (int teams = 0; teams < 2; ++teams) {
        sparse_product_job job = {.row_begin = A.row_begin,
                                  .columns = A.columns,
                                  .values = A.values,
                                  .n_rows = n,
                                  .n_columns = m,
                                  .B = B,
                                  .Y = Y[teams] = workspace(n * m * real_bytes()),
                                  .n_threads = teams ? team_size : 1};
        statistics_tables[0][is_double]->sparse_product(&job);
    }
    check_bits("sparse product: bits of a team", Y[0], Y[1], n * m * real_bytes());
    double error = 0;
    for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < m; ++j) {
            double y = 0;
            for (int64_t a = 0; a < d; ++a)
                y += A.dense[i * d + a] * get(B, a * m + j);
            error = fmax(error, fabs(y - get(Y[0], i * m + j)));
        }
    check("sparse product", error, (double)d * (is_double ? 1e-15 : 1e-6));
    release_memory();
}

/* Z or, with `quadratic`, the quadratic form of each row. */
static void projections(int64_t n, int64_t d, int64_t m, int kind, int form, int quadratic)
{
    table t = make_table(some_rows(n, d, kind), n, d, kind, form & ~ORDERED);
    const statistics_kernels *k = statistics_tables[0][is_double];
    void *shift = reals(d), *B = reals(d * m), *offset = reals(m), *p = reals(d), *Z[2];
    fill_uniform(shift, d, -1, 1);
    fill_uniform(B, d * m, -1, 1);
    fill_uniform(offset, m, -1, 1);
    fill_uniform(p, d, 0, 1);
    double *form_values[2];
    for (int teams = 0; teams < 2; ++teams) {
        projection_job job = {.rows = t.view, .n_features = d, .n_columns = m, .shift = shift};
        job.B = B, job.n_threads = teams ? team_size : 1, job.rows.checked = 1;
        job.block_rows = n < 24 ? n : 24;
        Z[teams] = quadratic ? 0 : workspace(n * m * real_bytes());
        form_values[teams] = quadratic ? doubles(n) : 0;
        job.Z = Z[teams], job.quadratic = form_values[teams];
        job.offset = quadratic ? 0 : offset, job.p = quadratic ? p : 0, job.sign = -1;
        job.workspace = workspace(k->projection_bytes(&job));
        k->project(&job);
        check("projection: status", job.status, 0);
    }
    if (quadratic)
        check_bits("quadratic form: bits of a team", form_values[0], form_values[1], n * 8);
    else
        check_bits("projection: bits of a team", Z[0], Z[1], n * m * real_bytes());
    double error = 0;
    for (int64_t i = 0; i < n; ++i) {
        double q = 0;
        for (int64_t a = 0; a < d; ++a)
            q += get(p, a) * pow(entry(&t, i, a) - get(shift, a), 2);
        for (int64_t j = 0; j < m; ++j) {
            double z = 0;
            for (int64_t a = 0; a < d; ++a)
                z += (entry(&t, i, a) - get(shift, a)) * get(B, a * m + j);
            q -= z * z;
            if (!quadratic)
                error = fmax(error, fabs(z + get(offset, j) - get(Z[0], i * m + j)));
        }
        if (quadratic)
            error = fmax(error, fabs(q - form_values[0][i]) / (1 + (double)(d * m)));
    }
    check("projection", error, (double)d * (is_double ? 1e-14 : 1e-5));
    release_memory();
}

/* Sums over posteriors of rows with gaps: bits of a team, and log |M| of patterns without rows. */
static void gaps(int64_t n, int64_t d, int64_t k, int is_completed)
{
    const statistics_kernels *kernels = statistics_tables[0][is_double];
    void *mean = reals(d), *W = reals(d * k), *precision = reals(d);
    fill_uniform(mean, d, -1, 1);
    fill_uniform(W, d * k, -1, 1);
    fill_uniform(precision, d, 1, 2);
    unsigned char *observed = memory(n * d);
    double *weight = some_weights(n);
    int64_t *row_begin = memory((n + 1) * 8);
    for (int64_t p = 0; p < n; ++p) {
        row_begin[p + 1] = row_begin[p] + (p % 7 == 0 ? GAP_MOST_ROWS : random_below(3));
        for (int64_t j = 0; j < d; ++j)
            observed[p * d + j] = (unsigned char)(random_below(3) > 0);
    }
    double *rows = doubles(row_begin[n] * d), *scale = doubles(row_begin[n]);
    for (int64_t p = 0; p < n; ++p)
        for (int64_t i = row_begin[p]; i < row_begin[p + 1]; ++i) {
            scale[i] = random_number();
            for (int64_t j = 0; j < d; ++j)
                rows[i * d + j] = observed[p * d + j] ? random_number() - 0.5 : 0;
        }
    int64_t width = k * (k + 1) / 2 + k, sizes[3] = {(d + 1) * width, d * (k + 2), d * (d + 1)};
    double *sums[2][3], *totals[2];
    for (int teams = 0; teams < 2; ++teams) {
        totals[teams] = doubles(2);
        for (int i = 0; i < 3; ++i)
            sums[teams][i] = doubles(sizes[i]);
        gap_job job = {.n_features = d, .n_factors = k, .n_patterns = n};
        job.is_completed = is_completed, job.observed = observed, job.weight = weight;
        job.row_begin = row_begin, job.rows = rows, job.scale = scale;
        job.mean = mean, job.W = W, job.precision = precision;
        job.n_threads = teams ? team_size : 1;
        job.workspace = workspace(kernels->gap_bytes(&job));
        job.last_group = n;
        job.second = sums[teams][0], job.cross = sums[teams][1];
        job.completed = sums[teams][2], job.totals = totals[teams];
        kernels->gap_pack(&job);
        kernels->gap_sums(&job);
    }
    check_bits("gaps: totals of a team", totals[0], totals[1], 16);
    for (int i = 0; i < 3; ++i)
        check_bits("gaps: sums of a team", sums[0][i], sums[1][i], sizes[i] * 8);
    double squares = 0;
    for (int64_t p = 0; p < n; ++p)
        for (int64_t i = row_begin[p]; i < row_begin[p + 1]; ++i)
            for (int64_t j = 0; j < d; ++j)
                squares += observed[p * d + j] * get(precision, j) *
                           pow(rows[i * d + j] - scale[i] * get(mean, j), 2);
    double distance = totals[0][1];
    check("gaps: distances", distance >= -1e-4 * squares && distance <= squares * 1.0001 ? 0 : 1,
          0);
    release_memory();
}

/* Distances to the nearest of m references in each of three sets; some entries are missing. */
static void nearest(int64_t n, int64_t d, int64_t m, int kind, int form)
{
    enum { SETS = 3 };
    double *X = some_rows(n, d, kind);
    int missing = kind != ROWS_UINT8;
    for (int64_t i = 0; missing && i < n * d; i += 7)
        X[i] = NAN;
    table t = make_table(X, n, d, kind, form & ~ORDERED);
    const statistics_kernels *k = statistics_tables[0][is_double];
    void *references = reals(SETS * m * d);
    fill_uniform(references, SETS * m * d, -1, 1);
    double *shift = doubles(d), *factor = doubles(d), *distance[2];
    for (int64_t j = 0; j < d; ++j)
        shift[j] = random_number(), factor[j] = 1 + random_number();
    int64_t rank = m < 5 ? m : 5;
    int32_t *place[2];
    for (int teams = 0; teams < 2; ++teams) {
        nearest_job job = {.rows = t.view, .n_features = d, .n_sets = SETS, .n_references = m};
        job.rank = rank, job.references = references, job.n_threads = teams ? team_size : 1;
        job.rows.shift = shift, job.rows.factor = factor;
        job.rows.checked = 1, job.rows.missing = missing;
        job.rows.low = -INFINITY, job.rows.high = INFINITY;
        job.distance = distance[teams] = workspace(n * SETS * 8);
        job.place = place[teams] = workspace(n * SETS * 4);
        job.workspace = workspace(k->nearest_bytes(&job));
        k->nearest(&job);
        check("nearest: status", job.status, 0);
    }
    check_bits("nearest: bits of a team", distance[0], distance[1], n * SETS * 8);
    check_bits("nearest: places of a team", place[0], place[1], n * SETS * 4);
    double error = 0, bound = (double)d * (is_double ? 1e-13 : 1e-5);
    for (int64_t i = 0; i < n * SETS; ++i) {
        int64_t closer = 0, as_close = 0;
        for (int64_t r = 0; r < m; ++r) {
            double sum = 0;
            for (int64_t j = 0; j < d; ++j) {
                double x = entry(&t, i / SETS, j);
                if (x == x)
                    sum += fabs((x - shift[j]) * factor[j] -
                                get(references, ((i % SETS) * m + r) * d + j));
            }
            closer += sum < distance[0][i] - bound;
            as_close += sum <= distance[0][i] + bound;
            if (r == place[0][i])
                error = fmax(error, fabs(sum - distance[0][i]));
        }
        check("nearest: rank", closer < rank && rank <= as_close ? 0 : 1, 0);
    }
    check("nearest", error, bound);
    release_memory();
}

void run_statistics(void)
{
    for (int i = 0; i < N_HEIGHTS; ++i)
        for (int j = 0; j < N_WIDTHS; ++j) {
            int64_t n = heights[i], d = widths[j], m = widths[(i + j) % N_WIDTHS];
            int kind = (i + j) % 3, form = (3 * i + j) % 8;
            dense_sums(n, d, kind, form, (i + j) % 2 ? some_weights(n) : 0);
            sparse_sums(n, d, j % 2 ? some_weights(n) : 0);
            sparse_products(n, d, m);
            projections(n, d, m, kind, form, (i + j) % 2);
            gaps(n, d, m < 8 ? m : 8, (i + j) % 2);
            nearest(n, d, m, kind, form);
        }
}
