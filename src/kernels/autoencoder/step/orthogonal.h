/* Orthogonal steps (Muon): a step whose direction is the momentum of a whole matrix with all of its
   singular values brought near 1.

   With the gradient G (k, d) and the velocity V <- momentum V + G, let M = V, or with Nesterov's
   momentum M = G + momentum V. For M = P S Q^T (its singular values in S) the direction is about
   P Q^T. Newton and Schulz' iteration for it needs products alone: from X = M / |M|,

       X <- (a I + b A + c A A) X,    A = X X^T,

   or X (a I + b A + c A A) with A = X^T X where M has more rows than columns. The polynomial takes
   singular values in (0, 1] near 1 in few steps. The result is scaled by 0.2 sqrt(max(k, d)), so
   that the root mean square of its entries is about 0.2, as of Adam's steps: one rate serves
   matrices and, by Adam, biases.

   K. Jordan et al. (2024), Muon: an optimizer for hidden layers in neural networks; J. Liu et al.
   (2025), Muon is scalable for LLM training (the scale). */
#ifndef AEFAST_ORTHOGONAL_H
#define AEFAST_ORTHOGONAL_H

#include "kernels/autoencoder/step/step.h"

enum {
    NEWTON_SCHULZ_STEPS = 5,
    /* Largest number of rows and columns of a block of a symmetric product. */
    ORTHOGONAL_BLOCK = 192
};

#define NEWTON_SCHULZ_A 3.4445
#define NEWTON_SCHULZ_B -4.7750
#define NEWTON_SCHULZ_C 2.0315
#define ORTHOGONAL_SCALE 0.2

/* Buffers for any matrix of a network. */
typedef struct orthogonal_buffers {
    /* (k, d): X, and its next iterate. */
    real *X, *next;
    /* (s, s): A, and the polynomial in A, for the smaller side s of the matrix. */
    real *A, *polynomial;
    /* (k): sums of squares of the rows of M. */
    double *squares;
} orthogonal_buffers;

/* The matrix of one step, and how its products are cut into blocks. */
typedef struct {
    const training *t;
    const weight_matrix *matrix;
    const orthogonal_buffers *buffers;
    /* The smaller and the larger side, and the number of blocks along the smaller. */
    int64_t s, larger, blocks;
} orthogonal_step;

/* Where the run of at most PANEL columns begins in the gradient and the state. */
static inline int64_t place_of_run(const training *t, int64_t row, int64_t column)
{
    return t->job->tiled ? (column / PANEL * t->k + row) * PANEL : row * t->d + column;
}

/* X[row] <- M[row], and its sum of squares. The velocity moves. */
static void load_momentum(const orthogonal_step *step, const step_constants *c, int64_t row,
                          real factor)
{
    const training *t = step->t;
    const weight_matrix *m = step->matrix;
    real *velocities = t->job->tiled ? m->state_by_d[0] : m->state_rows[0],
         *x = step->buffers->X + row * t->d;
    vec momentum = vec_set(c->momentum);
    for (int64_t column = 0; column < t->d; column += PANEL) {
        int64_t at = place_of_run(t, row, column), n = min_i64(PANEL, t->d - column);
        for (int64_t j = 0; j < n; j += LANES) {
            vec g = vec_load_n(m->gradient + at + j, n - j) * vec_set(factor),
                v = vec_fma(momentum, vec_load_n(velocities + at + j, n - j), g);
            vec_store_n(velocities + at + j, v, n - j);
            vec_store_n(x + column + j, c->nesterov ? vec_fma(momentum, v, g) : v, n - j);
        }
    }
    step->buffers->squares[row] = sum_of_squares(x, t->d);
}

/* gradient[row] <- X[row], scaled. */
static void store_direction(const orthogonal_step *step, int64_t row)
{
    const training *t = step->t;
    const real *x = step->buffers->X + row * t->d;
    vec scale = vec_set((real)(ORTHOGONAL_SCALE * sqrt((double)step->larger)));
    for (int64_t column = 0; column < t->d; column += PANEL) {
        real *to = step->matrix->gradient + place_of_run(t, row, column);
        int64_t n = min_i64(PANEL, t->d - column);
        for (int64_t j = 0; j < n; j += LANES)
            vec_store_n(to + j, scale * vec_load_n(x + column + j, n - j), n - j);
    }
}

/* ---- symmetric products: blocks of the upper triangle, and their mirror images ---- */

/* Return block i of the upper triangle of an (s, s) matrix. */
static block upper_block(const orthogonal_step *step, int64_t i)
{
    int64_t row = 0, s = step->s, n = step->blocks;
    for (; i >= n - row; ++row)
        i -= n - row;
    block b = {.row_index = row, .column_index = row + i};
    b.row = part_begin(s, 1, n, row), b.column = part_begin(s, 1, n, row + i);
    b.n_rows = part_begin(s, 1, n, row + 1) - b.row;
    b.n_columns = part_begin(s, 1, n, row + i + 1) - b.column;
    return b;
}

static void mirror(const orthogonal_step *step, const block *b, real *C)
{
    for (int64_t i = 0; b->column_index > b->row_index && i < b->n_rows; ++i)
        for (int64_t j = 0; j < b->n_columns; ++j)
            C[(b->column + j) * step->s + b->row + i] = C[(b->row + i) * step->s + b->column + j];
}

/* A block of A = X X^T, or of X^T X where X has more rows than columns. */
static void gram_block(const orthogonal_step *step, const block *b)
{
    const training *t = step->t;
    gemm_function *gemm = t->job->gemm;
    const real *X = step->buffers->X;
    real *A = step->buffers->A, *to = A + b->row * step->s + b->column;
    if (t->k <= t->d)
        blas_nt(gemm, b->n_rows, b->n_columns, t->d, X + b->row * t->d, t->d, X + b->column * t->d,
                t->d, to, step->s);
    else
        blas_tn(gemm, b->n_rows, b->n_columns, t->k, X + b->row, t->d, X + b->column, t->d, 0, to,
                step->s);
    mirror(step, b, A);
}

/* A block of a I + b A + c A A. */
static void polynomial_block(const orthogonal_step *step, const block *b)
{
    int64_t s = step->s;
    const real *A = step->buffers->A;
    real *P = step->buffers->polynomial;
    blas_nn(step->t->job->gemm, b->n_rows, b->n_columns, s, A + b->row * s, s, A + b->column, s,
            P + b->row * s + b->column, s);
    for (int64_t i = b->row; i < b->row + b->n_rows; ++i) {
        for (int64_t j = b->column; j < b->column + b->n_columns; ++j)
            P[i * s + j] = (real)NEWTON_SCHULZ_C * P[i * s + j] +
                           (real)NEWTON_SCHULZ_B * A[i * s + j];
        if (b->row_index == b->column_index)
            P[i * s + i] += (real)NEWTON_SCHULZ_A;
    }
    mirror(step, b, P);
}

/* A block of the next X. */
static void next_block(const orthogonal_step *step, const block *b)
{
    const training *t = step->t;
    const real *X = step->buffers->X, *P = step->buffers->polynomial;
    real *to = step->buffers->next + b->row * t->d + b->column;
    if (t->k <= t->d)
        blas_nn(t->job->gemm, b->n_rows, b->n_columns, t->k, P + b->row * t->k, t->k, X + b->column,
                t->d, to, t->d);
    else
        blas_nn(t->job->gemm, b->n_rows, b->n_columns, t->d, X + b->row * t->d, t->d, P + b->column,
                t->d, to, t->d);
}

/* ---- a step ---- */

/* Replace the stored gradient of a matrix, times `factor`, by the direction. All members call it,
   and meet at barriers. */
static void orthogonalise(const training *t, member m, const weight_matrix *matrix,
                          const step_constants *constants, real factor)
{
    orthogonal_buffers buffers = *t->orthogonal;
    orthogonal_step step = {.t = t,
                            .matrix = matrix,
                            .buffers = &buffers,
                            .s = min_i64(t->k, t->d),
                            .larger = max_i64(t->k, t->d)};
    step.blocks = ceil_div(step.s, ORTHOGONAL_BLOCK);
    int64_t begin = share_begin(m, t->k), end = share_end(m, t->k);
    for (int64_t row = begin; row < end; ++row)
        load_momentum(&step, constants, row, factor);
    team_barrier(m);
    double norm = sqrt(sum_of(buffers.squares, t->k));
    scale_run(norm > 0 ? (real)(1 / norm) : 0, buffers.X + begin * t->d, (end - begin) * t->d);
    team_barrier(m);
    grid blocks = make_blas_grid(t->k, t->d, step.s);
    int64_t n_upper = step.blocks * (step.blocks + 1) / 2;
    for (int i = 0; i < NEWTON_SCHULZ_STEPS; ++i) {
        for (int64_t j = share_begin(m, n_upper); j < share_end(m, n_upper); ++j) {
            block b = upper_block(&step, j);
            gram_block(&step, &b);
        }
        team_barrier(m);
        for (int64_t j = share_begin(m, n_upper); j < share_end(m, n_upper); ++j) {
            block b = upper_block(&step, j);
            polynomial_block(&step, &b);
        }
        team_barrier(m);
        for (int64_t j = share_begin(m, grid_size(&blocks)); j < share_end(m, grid_size(&blocks));
             ++j) {
            block b = grid_block(&blocks, j);
            next_block(&step, &b);
        }
        team_barrier(m);
        real *X = buffers.X;
        buffers.X = buffers.next, buffers.next = X;
    }
    for (int64_t row = begin; row < end; ++row)
        store_direction(&step, row);
    team_barrier(m);
}

#endif
