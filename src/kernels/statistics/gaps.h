/* Posteriors of the factors for rows with missing entries, and the sums over them that the
   likelihood, its gradient and EM need.

   A pattern is a set of observed columns. Its rows have one matrix
       M = I + sum_{j observed} w_j w_j^T / psi_j    (k, k)
   with the posterior covariance S = M^-1. LANES patterns are computed at once, one in each lane, so
   that neither small k nor patterns of a single row cost anything; the rows of a pattern are a
   loop, in which patterns with fewer rows than their neighbours have rows of zeros.

   Groups of LANES patterns go in slabs: first the members of a team compute the posteriors of
   groups, then each adds the sums of its features over the slab. One thread computes a sum, in the
   order of the groups: its bits do not depend on the number of threads. */
#ifndef AEFAST_GAPS_H
#define AEFAST_GAPS_H

#include "kernels/base/workspace.h"
#include "kernels/statistics/lanes.h"
#include "kernels/statistics/statistics.h"

enum {
    /* Groups of a slab, and the rows of its lanes: GAP_MOST_ROWS of one group at least. */
    SLAB_GROUPS = 32,
    SLAB_ROWS = 96
};

typedef struct {
    gap_job *job;
    /* Features, factors, columns of a lower triangle (k, k), and groups of patterns. */
    int64_t d, k, triangle, n_groups;
    /* Padded numbers of columns: of d, of a triangle, of k, of the posterior of a pattern (triangle
       and sum of t m), of the posterior of a row (m and t). */
    int64_t ld_d, ld_triangle, ld_k, ld_pattern, ld_row;
    /* Patterns in lanes: (n_groups + 1) first rows, (n_groups, d), (n_groups), (rows, d), (rows).
     */
    int64_t *first_row;
    vec *observed, *weight, *rows, *scale;
    /* w_j w_j^T / psi_j and w_j / psi_j, in blocks [columns / LANES_UNIT][d][LANES_UNIT], and W in
       blocks [ld_d / LANES_UNIT][k][LANES_UNIT]. */
    real *outer, *scaled, *loadings;
    /* A slab: the posteriors of patterns (SLAB_GROUPS, ld_pattern) and of rows
       (SLAB_ROWS, ld_row), r or, completed by conditional means, r^ (SLAB_ROWS, ld_d), and of each
       group the weighted log |M| and the squared distances. */
    vec *patterns, *means, *residuals;
    /* (SLAB_GROUPS * k, ld_d): weight^1/2 T W in the missing columns, 0 elsewhere, with
       T^T T = S: a square root of the conditional covariance, but for the noise. */
    vec *spread;
    double *log_det, *distance;
    /* Where the members' buffers begin. */
    arena members;
} gap_pass;

/* One member's buffers: M and the inverse of its Cholesky factor; a column of the factor, or the
   projections b and u of a row; conditional means of a row's columns. */
typedef struct {
    vec *M, *T, *b, *u, *x;
} gap_buffers;

/* The number of rows of a group's lanes: that of its pattern with the most rows. */
static int64_t rows_of_group(const gap_job *job, int64_t group)
{
    int64_t most = 0, end = min_i64(job->n_patterns, (group + 1) * LANES);
    for (int64_t p = group * LANES; p < end; ++p)
        most = max_i64(most, job->row_begin[p + 1] - job->row_begin[p]);
    return most;
}

static gap_pass carve_gaps(gap_job *job, void *workspace)
{
    int64_t d = job->n_features, k = job->n_factors, n_rows = 0;
    gap_pass f = {.job = job,
                  .d = d,
                  .k = k,
                  .triangle = k * (k + 1) / 2,
                  .n_groups = ceil_div(job->n_patterns, LANES),
                  .members = arena_at(workspace)};
    f.ld_d = lanes_padded(d);
    f.ld_triangle = lanes_padded(f.triangle);
    f.ld_k = lanes_padded(k);
    f.ld_pattern = lanes_padded(f.triangle + k);
    f.ld_row = lanes_padded(k + 1);
    for (int64_t g = 0; g < f.n_groups; ++g)
        n_rows += rows_of_group(job, g);
    f.first_row = CARVE(&f.members, int64_t, f.n_groups + 1);
    f.observed = CARVE(&f.members, vec, f.n_groups * d);
    f.weight = CARVE(&f.members, vec, f.n_groups);
    f.rows = CARVE(&f.members, vec, n_rows * d);
    f.scale = CARVE(&f.members, vec, n_rows);
    f.outer = CARVE(&f.members, real, f.ld_triangle * d);
    f.scaled = CARVE(&f.members, real, f.ld_k * d);
    f.loadings = CARVE(&f.members, real, f.ld_d * k);
    f.patterns = CARVE(&f.members, vec, job->is_completed ? 0 : SLAB_GROUPS * f.ld_pattern);
    f.means = CARVE(&f.members, vec, SLAB_ROWS * f.ld_row);
    f.residuals = CARVE(&f.members, vec, SLAB_ROWS * f.ld_d);
    f.spread = CARVE(&f.members, vec, job->is_completed ? SLAB_GROUPS * k * f.ld_d : 0);
    f.log_det = CARVE(&f.members, double, SLAB_GROUPS);
    f.distance = CARVE(&f.members, double, SLAB_GROUPS);
    return f;
}

static gap_buffers carve_gap_buffers(const gap_pass *f, arena *a)
{
    gap_buffers buffers;
    buffers.M = CARVE(a, vec, f->ld_triangle);
    buffers.T = CARVE(a, vec, f->triangle);
    buffers.b = CARVE(a, vec, f->ld_k);
    buffers.u = CARVE(a, vec, f->ld_k);
    buffers.x = CARVE(a, vec, f->ld_d);
    return buffers;
}

static int64_t gap_bytes(const gap_job *job)
{
    gap_job measured = *job;
    gap_pass f = carve_gaps(&measured, 0);
    for (int i = 0; i < job->n_threads; ++i)
        carve_gap_buffers(&f, &f.members);
    return arena_bytes(&f.members);
}

/* Copy the patterns and their rows into lanes. Lanes without a pattern have the weight 0. */
static void gap_pack(gap_job *job)
{
    gap_pass f = carve_gaps(job, job->workspace);
    int64_t place = 0, d = f.d;
    if (!job->is_completed)
        memset(f.patterns, 0, (size_t)(SLAB_GROUPS * f.ld_pattern) * sizeof(vec));
    memset(f.means, 0, (size_t)(SLAB_ROWS * f.ld_row) * sizeof(vec));
    memset(f.loadings, 0, (size_t)(f.ld_d * f.k) * sizeof(real)); /* columns past d stay 0 */
    memset(f.residuals, 0, (size_t)(SLAB_ROWS * f.ld_d) * sizeof(vec));
    for (int64_t g = 0; g < f.n_groups; ++g) {
        int64_t n_rows = rows_of_group(job, g), n = min_i64(LANES, job->n_patterns - g * LANES);
        f.first_row[g] = place;
        memset(f.observed + g * d, 0, (size_t)d * sizeof(vec));
        memset(f.weight + g, 0, sizeof(vec));
        memset(f.rows + place * d, 0, (size_t)(n_rows * d) * sizeof(vec));
        memset(f.scale + place, 0, (size_t)n_rows * sizeof(vec));
        for (int64_t lane = 0; lane < n; ++lane) {
            int64_t p = g * LANES + lane;
            ((real *)(f.weight + g))[lane] = (real)job->weight[p];
            for (int64_t j = 0; j < d; ++j)
                ((real *)(f.observed + g * d + j))[lane] = (real)job->observed[p * d + j];
            for (int64_t i = job->row_begin[p]; i < job->row_begin[p + 1]; ++i) {
                int64_t to = place + i - job->row_begin[p];
                ((real *)(f.scale + to))[lane] = (real)job->scale[i];
                for (int64_t j = 0; j < d; ++j)
                    ((real *)(f.rows + to * d + j))[lane] = (real)job->rows[i * d + j];
            }
        }
        place += n_rows;
    }
    f.first_row[f.n_groups] = place;
}

/* Compute one row of each lane: r = y - t mean where observed, m = S W Psi^-1 r. Returns the
   squared distances. */
static vec posterior_of_row(const gap_pass *f, const gap_buffers *buffers, int64_t group,
                            int64_t row, vec *r, vec *m)
{
    const gap_job *job = f->job;
    const real *mean = (const real *)job->mean, *precision = (const real *)job->precision;
    const vec *y = f->rows + row * f->d, *observed = f->observed + group * f->d;
    vec t = f->scale[row], distance = {0}, *u = buffers->u;
    for (int64_t j = 0; j < f->d; ++j) {
        r[j] = vec_fma(observed[j] * -t, vec_set(mean[j]), y[j]);
        distance = vec_fma(r[j] * vec_set(precision[j]), r[j], distance);
    }
    lanes_times(f->d, f->d, f->ld_k, r, f->scaled, buffers->b);
    for (int64_t a = 0; a < f->k; ++a) {
        u[a] = dot_lanes(a + 1, buffers->T + a * (a + 1) / 2, buffers->b);
        distance = vec_fma(-u[a], u[a], distance);
        m[a] = (vec){0};
    }
    for (int64_t a = 0; a < f->k; ++a)
        add_lanes(a + 1, u[a], buffers->T + a * (a + 1) / 2, m);
    m[f->k] = t;
    return distance;
}

/* Add m m^T and t m to the posterior of the row's pattern. */
static void add_to_pattern(int64_t k, const vec *m, vec *pattern)
{
    for (int64_t a = 0; a < k; ++a)
        add_lanes(a + 1, m[a], m, pattern + a * (a + 1) / 2);
    add_lanes(k, m[k], m, pattern + k * (k + 1) / 2);
}

/* Replace the missing entries of r, which are 0, by their conditional means W^T m. */
static void complete_row(const gap_pass *f, const gap_buffers *buffers, int64_t group, const vec *m,
                         vec *r)
{
    const vec *observed = f->observed + group * f->d;
    lanes_times(f->k, f->k, f->ld_d, m, f->loadings, buffers->x);
    for (int64_t j = 0; j < f->d; ++j)
        r[j] = vec_fma(vec_set(1) - observed[j], buffers->x[j], r[j]);
}

/* Store the square root of the conditional covariance of the missing columns. */
static void store_spread(const gap_pass *f, const gap_buffers *buffers, int64_t group, vec *spread)
{
    const vec *observed = f->observed + group * f->d;
    vec root = vec_sqrt(f->weight[group]);
    for (int64_t a = 0; a < f->k; ++a, spread += f->ld_d) {
        lanes_times(a + 1, f->k, f->ld_d, buffers->T + a * (a + 1) / 2, f->loadings, spread);
        for (int64_t j = 0; j < f->d; ++j)
            spread[j] *= (vec_set(1) - observed[j]) * root;
    }
}

/* Compute the posteriors of one group, the slab's number `place`, whose first group is `first`. */
static void posterior_of_group(const gap_pass *f, const gap_buffers *buffers, int64_t first,
                               int64_t place)
{
    int64_t group = first + place, k = f->k;
    vec *pattern = f->patterns + place * f->ld_pattern, distance = {0}, weight = f->weight[group];
    lanes_times(f->d, f->d, f->ld_triangle, f->observed + group * f->d, f->outer, buffers->M);
    for (int64_t a = 0; a < k; ++a)
        buffers->M[a * (a + 1) / 2 + a] += vec_set(1);
    f->log_det[place] = factor_lanes(k, buffers->M, weight, buffers->b);
    invert_lanes(k, buffers->M, buffers->T);
    if (f->job->is_completed) {
        store_spread(f, buffers, group, f->spread + place * k * f->ld_d);
    } else {
        square_lanes(k, buffers->T, weight, pattern);
        for (int64_t a = 0; a < k; ++a)
            pattern[f->triangle + a] = (vec){0};
    }
    for (int64_t row = f->first_row[group]; row < f->first_row[group + 1]; ++row) {
        int64_t at = row - f->first_row[first];
        vec *r = f->residuals + at * f->ld_d, *m = f->means + at * f->ld_row;
        distance += posterior_of_row(f, buffers, group, row, r, m);
        if (f->job->is_completed)
            complete_row(f, buffers, group, m, r);
        else
            add_to_pattern(k, m, pattern);
    }
    f->distance[place] = vec_sum(distance);
}

/* Add the sums of feature j over a slab; j = d has the sums over all patterns. */
static void add_feature(const gap_pass *f, int64_t first, int64_t n, int64_t j)
{
    const gap_job *job = f->job;
    int64_t width = f->triangle + f->k, n_rows = f->first_row[first + n] - f->first_row[first];
    const vec one = vec_set(1), *r = f->residuals + j;
    double *second = job->second + j * width, *cross = job->cross + j * (f->k + 2);
    if (j == f->d) {
        add_products_of_lanes(n, width, &one, 0, f->patterns, f->ld_pattern, second);
        return;
    }
    add_products_of_lanes(n, width, f->observed + first * f->d + j, f->d, f->patterns,
                          f->ld_pattern, second);
    add_products_of_lanes(n_rows, f->k + 1, r, f->ld_d, f->means, f->ld_row, cross);
    cross[f->k + 1] += product_of_lanes(n_rows, r, f->ld_d, r, f->ld_d);
}

/* Add the products of the completed feature j with features up to j, and with t. */
static void add_completed(const gap_pass *f, int64_t first, int64_t n, int64_t j)
{
    int64_t begin = f->first_row[first], n_rows = f->first_row[first + n] - begin;
    const vec *r = f->residuals + j;
    double *out = f->job->completed + j * (f->d + 1);
    add_products_of_lanes(n * f->k, j + 1, f->spread + j, f->ld_d, f->spread, f->ld_d, out);
    add_products_of_lanes(n_rows, j + 1, r, f->ld_d, f->residuals, f->ld_d, out);
    out[f->d] += product_of_lanes(n_rows, r, f->ld_d, f->scale + begin, 1);
}

/* Add a member's share of the sums of a slab. The costs of completed features rise with j, and so
   features are dealt to members in turn. */
static void add_slab(const gap_pass *f, int64_t first, int64_t n, member m)
{
    if (f->job->is_completed)
        for (int64_t j = m.index; j < f->d; j += m.size)
            add_completed(f, first, n, j);
    else
        for (int64_t j = share_begin(m, f->d + 1); j < share_end(m, f->d + 1); ++j)
            add_feature(f, first, n, j);
}

/* The number of groups in the slab that begins at group `first`. */
static int64_t groups_of_slab(const gap_pass *f, int64_t first, int64_t end)
{
    int64_t n = 1;
    while (n < SLAB_GROUPS && first + n < end &&
           f->first_row[first + n + 1] - f->first_row[first] <= SLAB_ROWS)
        ++n;
    return n;
}

/* Store a member's share of the blocks of w_j w_j^T / psi_j, of w_j / psi_j and of W. */
static void scale_loadings(const gap_pass *f, member m)
{
    const gap_job *job = f->job;
    const real *precision = (const real *)job->precision;
    for (int64_t j = share_begin(m, f->d); j < share_end(m, f->d); ++j) {
        const real *w = (const real *)job->W + j * f->k;
        int64_t place = 0;
        for (int64_t a = 0; a < f->ld_k; ++a)
            f->scaled[(a / LANES_UNIT * f->d + j) * LANES_UNIT + a % LANES_UNIT] =
                a < f->k ? precision[j] * w[a] : 0;
        for (int64_t a = 0; a < f->k; ++a)
            for (int64_t b = 0; b <= a; ++b, ++place)
                f->outer[(place / LANES_UNIT * f->d + j) * LANES_UNIT + place % LANES_UNIT] =
                    precision[j] * w[a] * w[b];
        for (int64_t a = 0; a < f->k; ++a)
            f->loadings[(j / LANES_UNIT * f->k + a) * LANES_UNIT + j % LANES_UNIT] = w[a];
        for (; place < f->ld_triangle; ++place)
            f->outer[(place / LANES_UNIT * f->d + j) * LANES_UNIT + place % LANES_UNIT] = 0;
    }
}

static void gap_member(void *context, member m)
{
    const gap_pass *f = (const gap_pass *)context;
    gap_job *job = f->job;
    arena a = f->members;
    gap_buffers buffers = carve_gap_buffers(f, &a);
    for (int i = 0; i < m.index; ++i)
        buffers = carve_gap_buffers(f, &a);
    scale_loadings(f, m);
    team_barrier(m);
    int64_t end = min_i64(job->last_group, f->n_groups);
    for (int64_t first = job->first_group, n; first < end; first += n) {
        n = groups_of_slab(f, first, end);
        for (int64_t place = share_begin(m, n); place < share_end(m, n); ++place)
            posterior_of_group(f, &buffers, first, place);
        team_barrier(m);
        add_slab(f, first, n, m);
        if (m.index == 0)
            for (int64_t place = 0; place < n; ++place) {
                job->totals[0] += f->log_det[place];
                job->totals[1] += f->distance[place];
            }
        team_barrier(m);
    }
}

static void gap_sums(gap_job *job)
{
    gap_pass f = carve_gaps(job, job->workspace);
    team_run(job->n_threads, FLOAT_MODE_IEEE, gap_member, &f);
}

#endif
