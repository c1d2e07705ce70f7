/* The scan of rows, the check of sparse matrices, elementary functions and the peak loop. */
#include "harness.h"
#include "kernels/base/csr.h"

static void scan_once(int64_t n, int64_t d, int kind, int form, int weighted)
{
    double *X = doubles(n * d);
    for (int64_t i = 0; i < n * d; ++i)
        X[i] = kind == ROWS_UINT8 ? random_below(200) : random_number() * 2 - 1;
    table t = make_table(X, n, d, kind, form);
    double *weight = weighted ? doubles(n) : 0;
    for (int64_t i = 0; weight && i < n; ++i)
        weight[i] = random_number();
    double *results[2];
    for (int teams = 0; teams < 2; ++teams) {
        double *r = results[teams] = doubles(4 * d);
        for (int64_t j = 0; j < d; ++j)
            r[2 * d + j] = INFINITY, r[3 * d + j] = -INFINITY;
        scan_job job = {.rows = t.view,
                        .n_features = d,
                        .n_threads = teams ? team_size : 1,
                        .sample_weight = weight,
                        .column_sums = r,
                        .column_weights = r + d,
                        .column_low = r + 2 * d,
                        .column_high = r + 3 * d};
        job.rows.checked = 1;
        job.rows.missing = n % 2;
        scan_tables[0][is_double]->scan(&job);
        check("scan: status", job.status, 0);
    }
    check_bits("scan: bits of a team", results[0], results[1], 4 * d * 8);
    double error = 0;
    for (int64_t j = 0; j < d; ++j) {
        double sum = 0, low = INFINITY;
        for (int64_t i = 0; i < n; ++i) {
            int64_t row = t.view.order ? t.view.order[i] : i;
            sum += (weight ? weight[row] : 1) * entry(&t, i, j);
            low = fmin(low, entry(&t, i, j));
        }
        error = fmax(error, fabs(sum - results[0][j]) / (1 + fabs(sum)));
        error = fmax(error, fabs(low - results[0][2 * d + j]));
    }
    check("scan: sums and extremes", error, is_double ? 1e-12 : 1e-4);
    release_memory();
}

/* Entries that are shifted, scaled and then clipped, in blocks of columns. */
static void scan_scaled_rows(int64_t n, int64_t d, int kind, int form)
{
    double *X = doubles(n * d), *shift = doubles(d), *factor = doubles(d), *out = doubles(2 * d);
    double error = 0;
    for (int64_t i = 0; i < n * d; ++i)
        X[i] = kind == ROWS_UINT8 ? random_below(200) : random_number() * 2 - 1;
    for (int64_t j = 0; j < d; ++j)
        shift[j] = random_number(), factor[j] = 0.5 + random_number();
    table t = make_table(X, n, d, kind, form);
    scan_job job = {.rows = t.view,
                    .n_features = d,
                    .n_threads = team_size,
                    .column_sums = out,
                    .column_weights = out + d};
    job.rows.shift = shift, job.rows.factor = factor;
    job.rows.checked = job.rows.clipped = 1;
    job.rows.low = -0.5, job.rows.high = 0.75;
    scan_tables[0][is_double]->scan(&job);
    check("scan: status of scaled rows", job.status, 0);
    for (int64_t j = 0; j < d; ++j) {
        double sum = 0;
        for (int64_t i = 0; i < n; ++i)
            sum += fmin(fmax((entry(&t, i, j) - shift[j]) * factor[j], -0.5), 0.75);
        error = fmax(error, fabs(sum - out[j]) / (1 + fabs(sum)));
    }
    check("scan: sums of scaled rows", error, is_double ? 1e-12 : 1e-5);
    release_memory();
}

/* Results of a model that are turned into the user's units, and one that overflows. */
static void restore_units_once(int64_t n, int64_t d)
{
    double *scale = doubles(d), *shift = doubles(d), error = 0;
    void *x = reals(n * d), *y[2] = {reals(n * d), reals(n * d)};
    for (int64_t j = 0; j < d; ++j)
        shift[j] = random_number(), scale[j] = 0.5 + random_number();
    for (int64_t i = 0; i < n * d; ++i)
        put(x, i, random_number() * 2 - 1);
    for (int teams = 0; teams < 2; ++teams) {
        memcpy(y[teams], x, (size_t)(n * d * real_bytes()));
        units_job job = {.values = y[teams],
                         .n_rows = n,
                         .n_features = d,
                         .n_threads = teams ? team_size : 1,
                         .scale = scale,
                         .shift = shift};
        scan_tables[0][is_double]->restore_units(&job);
        check("units: status", job.status, 0);
        put(y[teams], n * d - 1, INFINITY);
        scan_tables[0][is_double]->restore_units(&job);
        check("units: status of infinity", job.status != STATUS_NOT_FINITE, 0);
        memcpy(y[teams], x, (size_t)(n * d * real_bytes()));
        scan_tables[0][is_double]->restore_units(&job);
    }
    check_bits("units: bits of a team", y[0], y[1], n * d * real_bytes());
    for (int64_t i = 0; i < n * d; ++i)
        error = fmax(error, fabs(get(y[0], i) - (get(x, i) * scale[i % d] + shift[i % d])));
    check("units", error, is_double ? 1e-15 : 1e-6);
    release_memory();
}

/* Rows with a number that the check refuses, in the last column of the last row. */
static void scan_bad_rows(void)
{
    enum { N = 21, D = 19 };
    for (int missing = 0; missing < 2; ++missing) {
        double X[N * D] = {0}, out[2 * D] = {0};
        X[N * D - 1] = missing ? NAN : INFINITY;
        table t = make_table(X, N, D, ROWS_FLOAT64, 0);
        scan_job job = {.rows = t.view,
                        .n_features = D,
                        .n_threads = 1,
                        .column_sums = out,
                        .column_weights = out + D};
        job.rows.checked = 1;
        job.rows.missing = missing;
        scan_tables[0][is_double]->scan(&job);
        check("scan: a bad entry", job.status != (missing ? STATUS_OK : STATUS_BAD_ROWS), 0);
    }
}

static void check_sparse_matrices(void)
{
    int64_t begins[] = {0, 2, 2, 3}, columns[] = {0, 4, 1}, at;
    csr_view good = {
        .row_begin = begins, .columns = columns, .n_rows = 3, .n_columns = 5, .n_entries = 3};
    check("csr: valid", check_csr(&good, &at), CSR_VALID);
    csr_view narrow = good, few = good;
    narrow.n_columns = 4;
    check("csr: column", check_csr(&narrow, &at) != CSR_COLUMNS || at != 1, 0);
    few.n_entries = 2;
    check("csr: offsets", check_csr(&few, &at) != CSR_OFFSETS || at != 3, 0);
}

static void map_functions(void)
{
    enum { N = 2003 };
    const autoencoder_kernels *k = autoencoder_tables[0][is_double];
    void *x = reals(N), *y[2] = {reals(N), reals(N)}, *z[2] = {reals(N), reals(N)};
    for (int64_t i = 0; i < N; ++i)
        put(x, i, (double)(i - N / 2) * 0.05);
    for (int teams = 0; teams < 2; ++teams) {
        k->sigmoid(x, y[teams], N, teams ? team_size : 1);
        k->softplus(x, z[teams], N, teams ? team_size : 1);
    }
    check_bits("sigmoid: bits of a team", y[0], y[1], N * real_bytes());
    check_bits("softplus: bits of a team", z[0], z[1], N * real_bytes());
    double error = 0, epsilon = is_double ? 2.2e-16 : 1.2e-7;
    for (int64_t i = 0; i < N; ++i) {
        double v = get(x, i), s = 1 / (1 + exp(-v)), q = fmax(v, 0) + log1p(exp(-fabs(v)));
        error = fmax(error, fmax(fabs(get(y[0], i) - s) / s, fabs(get(z[0], i) - q) / q));
    }
    check("sigmoid and softplus", error, 4 * epsilon);
}

void run_rows(void)
{
    static const int sizes[] = {1, 2, 7, 16, 33, 130};
    for (int i = 0; i < 6; ++i)
        for (int j = 0; j < 6; ++j)
            scan_once(sizes[i], sizes[j], (i + j) % 3, (i * 5 + j * 3) % 8, (i + j) % 2);
    for (int i = 0; i < 6; ++i)
        for (int kind = 0; kind < 3; ++kind)
            scan_scaled_rows(sizes[i], sizes[5 - i], kind, (i + 3 * kind) % 8);
    for (int i = 0; i < 6; ++i)
        restore_units_once(sizes[5 - i], sizes[i]);
    scan_bad_rows();
    check_sparse_matrices();
    map_functions();
    double sink = 0;
    check("peak: operations", !(peak_tables[0][is_double]->multiply_adds(100, 2, &sink) > 0), 0);
}
