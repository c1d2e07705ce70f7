/* Steps of gradient descent on squared errors of sparse rows that do not touch all d columns
   (Vincent, de Brebisson & Bouthillier 2015; the tied case has one more sparse term).

   Z~ = [z, 1] are the codes of a batch, as they are decoded, w the weights of its rows and eta the
   learning rate. The gradient of D = [V; c^T] is Z~^T w (Z~ D - X), and with tied weights
   also [dA, 0]^T X~ of the encoder's inputs X~. With D = F U the step

       D <- P D + G^T X,    P = I - eta Z~^T w Z~,    G = eta (w Z~ - [dA, 0])

   becomes F <- P F, and U <- U + F^-1 G^T X in the columns that X stores. Losses and deltas
   follow from Y = X D^T and Q = D D^T:

       2 loss = z~ Q z~^T - 2 z~ . y + ||x||^2,    dz = w (z~ Q - y)
       Q <- P Q P + B^T G + G^T B,    B = Y P + X X^T G / 2

   Where inputs differ from targets, X stands for both, one below the other, with a row of G for
   each. Everything else is of the sizes of the batch and of the hidden layer. */
#ifndef AEFAST_FACTORED_H
#define AEFAST_FACTORED_H

#include "kernels/autoencoder/factored_job.h"
#include "kernels/autoencoder/sparse_inputs.h"
#include "kernels/autoencoder/tables/activations.h"
#include "kernels/autoencoder/tables/optimizers.h"
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

/* Column of an entry += x row, for a row in double. */
ALWAYS_INLINE void add_to_column(real x, const double *row, int64_t width, real *column)
{
    for (int64_t j = 0; j < width; ++j)
        column[j] = (real)((double)column[j] + (double)x * row[j]);
}

/* ---- the phases of a step ---- */

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

/* Y <- X D^T: rows of inputs first where X has both. */
static void project_batch(const factored *f, int64_t n)
{
    const factored_job *job = f->job;
    int64_t m = f->m, r = f->doubled ? 2 * n : n;
    for (int64_t i = 0; i < r; ++i) {
        int64_t row = i % n;
        multiply_entries(f->entries + f->row_begins[row],
                         f->row_begins[row + 1] - f->row_begins[row], !f->doubled || i >= n,
                         (const real *)job->U, job->ld, m, f->sums, f->T + i * m);
    }
    job->gemm(0, 1, r, m, m, f->T, m, job->F, m, 0, f->Y, m);
}

/* H <- codes; Z <- [z, 1]. */
static void encode_batch(const factored *f, int64_t n)
{
    const factored_job *job = f->job;
    int64_t k = f->k, m = f->m;
    for (int64_t i = 0; i < n; ++i) {
        double *to = f->Z + i * m;
        if (job->model.tied)
            memcpy(to, f->Y + i * m, (size_t)k * sizeof *to);
        else
            multiply_entries(f->entries + f->row_begins[i], f->row_begins[i + 1] - f->row_begins[i],
                             0, (const real *)job->W_columns, job->ld_W, k, f->sums, to);
        for (int64_t j = 0; j < k; ++j)
            f->H[i * k + j] = (real)(job->model.tied ? to[j] : job->W_scale * to[j]);
    }
    strip s = {
        .values = f->H, .ld = k, .n_rows = n, .n_columns = k, .bias = (const real *)job->model.b};
    activations[job->model.activation].forward(&s);
    const real *gain = (const real *)job->model.gain;
    double rest = activations[job->model.activation].info.at_zero;
    for (int64_t i = 0; i < n; ++i) {
        for (int64_t j = 0; j < k; ++j) {
            double h = (double)f->H[i * k + j];
            f->Z[i * m + j] = gain ? (h - rest) * (double)gain[j] : h;
        }
        f->Z[i * m + k] = 1;
    }
}

/* R <- Z~ Q; return the sum of weighted losses. */
static double losses_of_batch(const factored *f, int64_t n)
{
    int64_t m = f->m;
    const double *Y = f->Y + (f->doubled ? n * m : 0);
    f->job->gemm(0, 0, n, m, m, f->Z, m, f->job->Q, m, 0, f->R, m);
    double loss = 0;
    for (int64_t i = 0; i < n; ++i) {
        double sum = f->squares[i];
        for (int64_t j = 0; j < m; ++j)
            sum += f->Z[i * m + j] * (f->R[i * m + j] - 2 * Y[i * m + j]);
        loss += f->weight[i] * 0.5 * sum;
    }
    return loss;
}

/* D (n, k) <- dA; column_sums and gain_sums <- the gradients of b and of the gain. */
static void deltas_of_batch(const factored *f, int64_t n)
{
    int64_t k = f->k, m = f->m;
    const double *Y = f->Y + (f->doubled ? n * m : 0);
    const autoencoder_model *model = &f->job->model;
    const real *gain = (const real *)model->gain;
    double rest = activations[model->activation].info.at_zero;
    memset(f->gain_sums, 0, (size_t)m * sizeof *f->gain_sums);
    for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < k; ++j) {
            double dz = f->weight[i] * (f->R[i * m + j] - Y[i * m + j]);
            if (gain)
                f->gain_sums[j] += dz * ((double)f->H[i * k + j] - rest);
            f->D[i * k + j] = (real)(gain ? dz * (double)gain[j] : dz);
        }
    strip s = {.values = f->D,
               .ld = k,
               .operand = f->H,
               .operand_ld = k,
               .n_rows = n,
               .n_columns = k,
               .column_sums = f->column_sums};
    activations[model->activation].backward(&s);
}

/* inverse <- the inverse of M (m, m), which is overwritten, by Gauss-Jordan elimination with
   partial pivoting. Return whether there is one. */
static int invert(int64_t m, double *M, double *inverse)
{
    memset(inverse, 0, (size_t)(m * m) * sizeof *inverse);
    for (int64_t i = 0; i < m; ++i)
        inverse[i * m + i] = 1;
    for (int64_t p = 0; p < m; ++p) {
        int64_t best = p;
        for (int64_t i = p + 1; i < m; ++i)
            best = fabs(M[i * m + p]) > fabs(M[best * m + p]) ? i : best;
        double pivot = M[best * m + p];
        if (!(fabs(pivot) > 1e-12))
            return 0;
        for (int64_t j = 0; j < m; ++j) {
            double a = M[best * m + j], b = inverse[best * m + j];
            M[best * m + j] = M[p * m + j], inverse[best * m + j] = inverse[p * m + j];
            M[p * m + j] = a / pivot, inverse[p * m + j] = b / pivot;
        }
        for (int64_t i = 0; i < m; ++i) {
            double factor = M[i * m + p];
            if (i == p || factor == 0)
                continue;
            for (int64_t j = p; j < m; ++j)
                M[i * m + j] -= factor * M[p * m + j];
            for (int64_t j = 0; j < m; ++j)
                inverse[i * m + j] -= factor * inverse[p * m + j];
        }
    }
    return 1;
}

/* P (m, m) and its inverse. Weights decay, the bias does not. Return whether P has an inverse. */
static int make_contraction(const factored *f, int64_t n, double rate, double kept)
{
    int64_t m = f->m;
    double *weighted = f->B; /* -rate w Z~ */
    for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < m; ++j)
            weighted[i * m + j] = -rate * f->weight[i] * f->Z[i * m + j];
    f->job->gemm(1, 0, m, m, n, weighted, m, f->Z, m, 0, f->P, m);
    for (int64_t j = 0; j < m; ++j)
        f->P[j * m + j] += j < f->k ? kept : 1;
    memcpy(f->product, f->P, (size_t)(m * m) * sizeof(double));
    return invert(m, f->product, f->P_inverse);
}

/* G (r, m): the rows that multiply X in the step of D. */
static void make_row_factors(const factored *f, int64_t n, double rate)
{
    int64_t k = f->k, m = f->m;
    double *of_targets = f->G + (f->doubled ? n * m : 0);
    memset(f->G, 0, (size_t)((f->doubled ? 2 * n : n) * m) * sizeof *f->G);
    for (int64_t i = 0; i < n; ++i) {
        for (int64_t j = 0; j < m; ++j)
            of_targets[i * m + j] = rate * f->weight[i] * f->Z[i * m + j];
        for (int64_t j = 0; f->job->model.tied && j < k; ++j)
            f->G[i * m + j] -= rate * (double)f->D[i * k + j];
    }
}

/* Q <- P Q P + B^T G + G^T B. Both terms are symmetric but for rounding. */
static void move_gram(const factored *f, int64_t n)
{
    int64_t m = f->m, r = f->doubled ? 2 * n : n;
    gemm_function *gemm = f->job->gemm;
    double *Q = f->job->Q;
    gemm(0, 0, r, m, r, f->gram, r, f->G, m, 0, f->B, m);
    for (int64_t i = 0; i < r * m; ++i)
        f->B[i] *= 0.5;
    gemm(0, 0, r, m, m, f->Y, m, f->P, m, 1, f->B, m); /* P is symmetric */
    gemm(0, 0, m, m, m, f->P, m, Q, m, 0, f->product, m);
    gemm(0, 0, m, m, m, f->product, m, f->P, m, 0, Q, m);
    gemm(1, 0, m, m, r, f->B, m, f->G, m, 0, f->product, m);
    for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j <= i; ++j) {
            double value = 0.5 * (Q[i * m + j] + Q[j * m + i]) + f->product[i * m + j] +
                           f->product[j * m + i];
            Q[i * m + j] = Q[j * m + i] = value;
        }
}

/* F <- P F, and the columns of U that X stores. */
static void move_factors(const factored *f, int64_t n)
{
    factored_job *job = f->job;
    int64_t m = f->m, r = f->doubled ? 2 * n : n;
    size_t bytes = (size_t)(m * m) * sizeof(double);
    job->gemm(0, 0, m, m, m, f->P, m, job->F, m, 0, f->product, m);
    memcpy(job->F, f->product, bytes);
    job->gemm(0, 0, m, m, m, job->F_inverse, m, f->P_inverse, m, 0, f->product, m);
    memcpy(job->F_inverse, f->product, bytes);
    double *moved = f->T; /* G F^-T */
    job->gemm(0, 1, r, m, m, f->G, m, job->F_inverse, m, 0, moved, m);
    for (int64_t e = 0; e < f->row_begins[n]; ++e) {
        sparse_entry entry = f->sorted[e];
        real *column = (real *)job->U + entry.column * job->ld;
        fetch_column((const real *)job->U +
                         f->sorted[min_i64(e + AHEAD, f->row_begins[n] - 1)].column * job->ld,
                     job->ld);
        if (f->doubled) {
            add_to_column(entry.input, moved + entry.place * m, m, column);
            add_to_column(entry.target, moved + (n + entry.place) * m, m, column);
        } else {
            add_to_column(entry.target, moved + entry.place * m, m, column);
        }
    }
}

/* Move the weights of an untied encoder, in the columns that X stores. */
static void move_encoder(const factored *f, int64_t n, double rate, double kept)
{
    factored_job *job = f->job;
    int64_t k = f->k;
    job->W_scale *= kept;
    for (int64_t e = 0; e < f->row_begins[n]; ++e) {
        sparse_entry entry = f->sorted[e];
        real *column = (real *)job->W_columns + entry.column * job->ld_W;
        const real *delta = f->D + entry.place * k;
        double factor = -rate * (double)entry.input / job->W_scale;
        for (int64_t j = 0; j < k; ++j) {
            double before = (double)column[j];
            column[j] = (real)(before + factor * (double)delta[j]);
            job->W_squares += ((double)column[j] - before) * ((double)column[j] + before);
        }
    }
}

static void move_vector(real *values, const double *gradient, int64_t n, double rate)
{
    for (int64_t j = 0; values && j < n; ++j)
        values[j] = (real)((double)values[j] - rate * gradient[j]);
}

static double l2_penalty(const factored *f)
{
    const factored_job *job = f->job;
    double squares = job->model.tied ? 0 : job->W_squares * job->W_scale * job->W_scale;
    for (int64_t j = 0; j < f->k; ++j)
        squares += job->Q[j * f->m + j];
    return 0.5 * job->hyper.alpha * squares;
}

static double frobenius(const double *M, int64_t size)
{
    double sum = 0;
    for (int64_t i = 0; i < size; ++i)
        sum += M[i] * M[i];
    return sqrt(sum);
}

/* Return whether the factors must be renewed before digits are lost. */
static int is_worn(const factored *f)
{
    const factored_job *job = f->job;
    int64_t size = f->m * f->m;
    double condition = frobenius(job->F, size) * frobenius(job->F_inverse, size);
    return !(condition <= job->limit) || job->W_scale * job->limit < 1;
}

/* Train on n rows from `first` on. Return the loss; nothing moves where it is not finite. */
static double factored_step(const factored *f, int64_t first, int64_t n)
{
    factored_job *job = f->job;
    training_job clock = {.hyper = job->hyper,
                          .n_steps = job->n_steps,
                          .schedule_step = job->schedule_step,
                          .schedule_steps = job->schedule_steps};
    double rate = (double)constants_of_step(&clock).learning_rate,
           kept = 1 - rate * (job->hyper.weight_decay + job->hyper.alpha);
    job->rate = rate;
    read_batch(f, first, n);
    project_batch(f, n);
    encode_batch(f, n);
    double loss = losses_of_batch(f, n);
    if (!isfinite(loss) || !make_contraction(f, n, rate, kept))
        return NAN;
    loss += l2_penalty(f);
    deltas_of_batch(f, n);
    make_row_factors(f, n, rate);
    sort_by_column(f, f->row_begins[n]);
    multiply_rows(f, n, f->row_begins[n]);
    move_gram(f, n);
    move_factors(f, n);
    if (!job->model.tied)
        move_encoder(f, n, rate, kept);
    move_vector((real *)job->model.b, f->column_sums, f->k, rate);
    move_vector((real *)job->model.gain, f->gain_sums, f->k, rate);
    return loss;
}

static void factored_steps(void *context, member m)
{
    (void)m;
    const factored *f = (const factored *)context;
    factored_job *job = f->job;
    for (int64_t first = 0; first < job->rows.n_rows; first += job->batch_size) {
        int64_t n = min_i64(job->batch_size, job->rows.n_rows - first);
        double loss = factored_step(f, first, n);
        if (!isfinite(loss)) {
            job->status = STATUS_NOT_FINITE;
            return;
        }
        job->loss_sum += loss * (double)n;
        job->n_rows_done += n;
        job->n_steps += 1;
        job->schedule_step += 1;
        job->ends_early = is_worn(f) || job->n_steps >= job->last_step;
        if (job->ends_early)
            return;
    }
}

static void factored_train(factored_job *job)
{
    int64_t bytes;
    factored f = carve_factored(job, job->workspace, &bytes);
    job->status = STATUS_OK;
    job->ends_early = 0;
    team_run(1, FLOAT_MODE_FLUSH, factored_steps, &f);
}

/* ---- renewal of the factors ---- */

/* Multiply n columns of U, from `first` on, by the matrix that moves from F to U. */
static void renew_columns(const factored *f, double *buffers, int64_t first, int64_t n)
{
    const factored_job *job = f->job;
    int64_t m = f->m, r = job->n_directions;
    real *U = (real *)job->U + first * job->ld;
    double *old = buffers, *renewed = buffers + RENEWED * m;
    for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < m; ++j)
            old[i * m + j] = (double)U[i * job->ld + j];
    if (job->directions) {
        job->gemm(0, 1, n, r, m, old, m, job->directions, m, 0, renewed, r);
        for (int64_t i = 0; i < n; ++i)
            for (int64_t j = 0; j < r; ++j)
                renewed[i * r + j] *= job->changes[j];
        job->gemm(0, 0, n, m, r, renewed, r, job->directions, m, 1, old, m);
        renewed = old;
    } else {
        job->gemm(0, 1, n, m, m, old, m, job->F, m, 0, renewed, m);
    }
    for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < m; ++j)
            U[i * job->ld + j] = (real)renewed[i * m + j];
}

static void renew_member(void *context, member m)
{
    const factored *f = (const factored *)context;
    int64_t blocks = ceil_div(f->d, RENEWED);
    for (int64_t i = share_begin(m, blocks); i < share_end(m, blocks); ++i)
        renew_columns(f, f->columns + m.index * 2 * RENEWED * f->m, i * RENEWED,
                      min_i64(RENEWED, f->d - i * RENEWED));
    team_barrier(m);
    size_t bytes = (size_t)(f->m * f->m) * sizeof(double);
    if (m.index == 0) {
        memcpy(f->job->F, f->job->new_F, bytes);
        memcpy(f->job->F_inverse, f->job->new_F_inverse, bytes);
    }
}

static void factored_renew(factored_job *job)
{
    int64_t bytes;
    factored f = carve_factored(job, job->workspace, &bytes);
    team_run(job->n_threads, FLOAT_MODE_FLUSH, renew_member, &f);
}

#endif
