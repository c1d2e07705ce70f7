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

#include "kernels/autoencoder/factored_batch.h"
#include "kernels/autoencoder/tables/activations.h"
#include "kernels/autoencoder/tables/optimizers.h"

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
            subtract_multiple(factor, M + p * m + p, m - p, M + i * m + p);
            subtract_multiple(factor, inverse + p * m, m, inverse + i * m);
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

/* column (n) += factor delta; return the change of the column's sum of squares. */
ALWAYS_INLINE double move_column(double factor, const real *restrict delta, int64_t n,
                                 real *restrict column)
{
    double sums[TOGETHER] = {0}, total = 0;
    int64_t j = 0;
    for (; j + TOGETHER <= n; j += TOGETHER)
        for (int l = 0; l < TOGETHER; ++l) {
            double before = (double)column[j + l];
            real after = (real)(before + factor * (double)delta[j + l]);
            column[j + l] = after;
            sums[l] += ((double)after - before) * ((double)after + before);
        }
    for (; j < n; ++j) {
        double before = (double)column[j];
        column[j] = (real)(before + factor * (double)delta[j]);
        total += ((double)column[j] - before) * ((double)column[j] + before);
    }
    for (int l = 0; l < TOGETHER; ++l)
        total += sums[l];
    return total;
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
        int64_t later = min_i64(e + AHEAD, f->row_begins[n] - 1);
        fetch_column((const real *)job->W_columns + f->sorted[later].column * job->ld_W, job->ld_W);
        const real *delta = f->D + entry.place * k;
        double factor = -rate * (double)entry.input / job->W_scale;
        job->W_squares += move_column(factor, delta, k, column);
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

#endif
