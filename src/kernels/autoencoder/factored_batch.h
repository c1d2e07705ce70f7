/* The rows of a factored step (factored.h): memory of a call, the entries of a batch by row and by
   column, their products with matrices that lie column by column, and with each other. */
#ifndef AEFAST_FACTORED_BATCH_H
#define AEFAST_FACTORED_BATCH_H

#include "kernels/autoencoder/factored_job.h"
#include "kernels/autoencoder/sparse_inputs.h"
#include "kernels/base/workspace.h"

/* Sizes and buffers of a call. n counts the rows of a batch, r = n or 2 n the rows of X. */
typedef struct {
    factored_job *job;
    int64_t d, k, m;
    /* Whether X has rows for the inputs and rows for the targets. */
    int doubled;
    /* (n + 1): places of the rows' entries; the entries; and the same sorted by column. */
    int64_t *row_begins;
    sparse_entry *entries, *sorted, *spare;
    /* (n): weights, squared norms of the targets, and losses. */
    double *weight, *squares;
    /* (r, m): X U^T, Y, B and G; (n, m): Z~ and Z~ Q. */
    double *T, *Y, *B, *G, *Z, *R;
    /* (r, r): X X^T. */
    double *gram;
    /* (m, m) each. */
    double *P, *P_inverse, *product;
    /* (n, k) reals: codes before the gain, and deltas; (ld), sums of a row. */
    real *H, *D, *sums;
    /* (m): gradients of b and of the gain. */
    double *column_sums, *gain_sums;
    /* (n_threads, 2, RENEWED, m): columns of U in double. */
    double *columns;
} factored;

enum { RENEWED = 256 }; /* columns of U that are multiplied together */

static factored carve_factored(factored_job *job, void *workspace, int64_t *bytes)
{
    const autoencoder_model *model = &job->model;
    arena a = arena_at(workspace);
    factored f = {
        .job = job, .d = model->n_features, .k = model->n_components, .m = model->n_components + 1};
    f.doubled = model->tied && inputs_differ(&job->inputs);
    int64_t n = job->batch_size, m = f.m, r = f.doubled ? 2 * n : n;
    f.row_begins = CARVE(&a, int64_t, n + 1);
    f.entries = CARVE(&a, sparse_entry, job->batch_entries);
    f.sorted = CARVE(&a, sparse_entry, job->batch_entries);
    f.spare = CARVE(&a, sparse_entry, job->batch_entries);
    f.weight = CARVE(&a, double, n);
    f.squares = CARVE(&a, double, n);
    f.T = CARVE(&a, double, r *m);
    f.Y = CARVE(&a, double, r *m);
    f.B = CARVE(&a, double, r *m);
    f.G = CARVE(&a, double, r *m);
    f.Z = CARVE(&a, double, n *m);
    f.R = CARVE(&a, double, n *m);
    f.gram = CARVE(&a, double, r *r);
    f.P = CARVE(&a, double, m *m);
    f.P_inverse = CARVE(&a, double, m *m);
    f.product = CARVE(&a, double, m *m);
    f.H = CARVE(&a, real, n * f.k);
    f.D = CARVE(&a, real, n * f.k);
    f.sums = CARVE(&a, real, max_i64(job->ld, job->ld_W));
    f.column_sums = CARVE(&a, double, m);
    f.gain_sums = CARVE(&a, double, m);
    f.columns = CARVE(&a, double, job->n_threads * 2 * RENEWED * m);
    *bytes = arena_bytes(&a);
    return f;
}

static int64_t factored_workspace_bytes(const factored_job *job)
{
    factored_job measured = *job;
    int64_t bytes;
    carve_factored(&measured, 0, &bytes);
    return bytes;
}

/* ---- sparse products ---- */

/* sums (ld) += x row, for a row of ld reals, a multiple of LANES. */
ALWAYS_INLINE void add_multiple(real x, const real *row, int64_t ld, real *sums)
{
    vec factor = vec_set(x);
    for (int64_t v = 0; v < ld; v += LANES)
        vec_store(sums + v, vec_fma(factor, vec_load(row + v), vec_load(sums + v)));
}

enum { AHEAD = 6 }; /* number of entries whose columns are fetched ahead */

ALWAYS_INLINE void fetch_column(const real *column, int64_t ld)
{
    for (int64_t v = 0; v < ld; v += CACHE_LINE / (int64_t)sizeof(real))
        __builtin_prefetch(column + v);
}

/* to (width) <- the sum over n entries of x_j times column j of a matrix, whose columns are ld
   reals apart. Sums of at most DEPTH terms are added in double. */
static void multiply_entries(const sparse_entry *entries, int64_t n, int targets,
                             const real *matrix, int64_t ld, int64_t width, real *sums, double *to)
{
    memset(to, 0, (size_t)width * sizeof *to);
    for (int64_t first = 0; first < n; first += DEPTH) {
        int64_t end = min_i64(n, first + DEPTH);
        memset(sums, 0, (size_t)ld * sizeof *sums);
        for (int64_t e = first; e < end; ++e) {
            fetch_column(matrix + entries[min_i64(e + AHEAD, n - 1)].column * ld, ld);
            add_multiple(targets ? entries[e].target : entries[e].input,
                         matrix + entries[e].column * ld, ld, sums);
        }
        for (int64_t j = 0; j < width; ++j)
            to[j] += (double)sums[j];
    }
}

/* Numbers that loops over doubles work on together: compilers vectorise the inner loop, whose
   length is a constant, even where they are told to keep code small. */
enum { TOGETHER = 8 };

/* Column of an entry += x row, for a row in double. */
ALWAYS_INLINE void add_to_column(real x, const double *restrict row, int64_t width,
                                 real *restrict column)
{
    int64_t j = 0;
    for (; j + TOGETHER <= width; j += TOGETHER)
        for (int l = 0; l < TOGETHER; ++l)
            column[j + l] = (real)((double)column[j + l] + (double)x * row[j + l]);
    for (; j < width; ++j)
        column[j] = (real)((double)column[j] + (double)x * row[j]);
}

/* to (n) -= factor row. */
ALWAYS_INLINE void subtract_multiple(double factor, const double *restrict row, int64_t n,
                                     double *restrict to)
{
    int64_t j = 0;
    for (; j + TOGETHER <= n; j += TOGETHER)
        for (int l = 0; l < TOGETHER; ++l)
            to[j + l] -= factor * row[j + l];
    for (; j < n; ++j)
        to[j] -= factor * row[j];
}

/* ---- the entries of a batch ---- */

/* Read the n rows from `first` on. */
static void read_batch(const factored *f, int64_t first, int64_t n)
{
    const factored_job *job = f->job;
    int64_t at = 0;
    int status = STATUS_OK;
    for (int64_t i = 0; i < n; ++i) {
        int64_t row = job->rows.order ? job->rows.order[first + i] : first + i;
        f->row_begins[i] = at;
        at += read_sparse_row(&job->rows, &job->inputs, first + i,
                              job->inputs.first_sample + first + i, (int32_t)i, f->entries + at,
                              &status);
        f->weight[i] = (job->sample_weight ? job->sample_weight[row] : 1) / (double)n;
        double square = 0;
        for (int64_t e = f->row_begins[i]; e < at; ++e)
            square += (double)f->entries[e].target * (double)f->entries[e].target;
        f->squares[i] = square;
    }
    f->row_begins[n] = at;
}

enum { RADIX_BITS = 11, RADIX = 1 << RADIX_BITS };

/* sorted <- the entries by column, rows in order within a column. */
static void sort_by_column(const factored *f, int64_t n_entries)
{
    sparse_entry *from = f->spare, *to = f->sorted;
    memcpy(from, f->entries, (size_t)n_entries * sizeof *from);
    for (int shift = 0; shift == 0 || (f->d - 1) >> shift > 0; shift += RADIX_BITS) {
        int64_t places[RADIX + 1] = {0};
        for (int64_t e = 0; e < n_entries; ++e)
            ++places[((uint32_t)from[e].column >> shift) % RADIX + 1];
        for (int i = 0; i < RADIX; ++i)
            places[i + 1] += places[i];
        for (int64_t e = 0; e < n_entries; ++e)
            to[places[((uint32_t)from[e].column >> shift) % RADIX]++] = from[e];
        sparse_entry *other = from;
        from = to, to = other;
    }
    if (from != f->sorted)
        memcpy(f->sorted, from, (size_t)n_entries * sizeof *from);
}

/* gram (r, r) <- X X^T, column by column. */
static void multiply_rows(const factored *f, int64_t n, int64_t n_entries)
{
    int64_t r = f->doubled ? 2 * n : n;
    memset(f->gram, 0, (size_t)(r * r) * sizeof *f->gram);
    for (int64_t first = 0, end; first < n_entries; first = end) {
        for (end = first; end < n_entries && f->sorted[end].column == f->sorted[first].column;)
            ++end;
        for (int64_t e = first; e < end; ++e) {
            sparse_entry a = f->sorted[e];
            double x = (double)a.target, input = (double)a.input;
            double *row = f->gram + a.place * r;
            for (int64_t o = first; o < end; ++o)
                row[f->sorted[o].place] += f->doubled ? input * (double)f->sorted[o].input
                                                      : x * (double)f->sorted[o].target;
            for (int64_t o = first; f->doubled && o < end; ++o) {
                sparse_entry b = f->sorted[o];
                row[n + b.place] += input * (double)b.target;
                f->gram[(n + a.place) * r + b.place] += x * (double)b.input;
                f->gram[(n + a.place) * r + n + b.place] += x * (double)b.target;
            }
        }
    }
}

#endif
