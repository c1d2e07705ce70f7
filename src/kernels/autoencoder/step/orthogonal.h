/* Orthogonal steps (Muon): a step whose direction is the momentum of a whole matrix with all of its
   singular values brought near 1.

   With the gradient G (k, d) and the velocity V <- momentum V + G, let M = V, or with Nesterov's
   momentum M = G + momentum V. For M = P S Q^T (its singular values in S) the direction is about
   P Q^T. Newton and Schulz' iteration for it needs products alone: from X = M / |M|,

       X <- (a I + b A + c A A) X,    A = X X^T,

   and for M^T in the place of M where M has more rows than columns. The polynomial takes singular
   values in (0, 1] near 1 in few steps. The result is scaled by 0.2 sqrt(max(k, d)), so that the
   root mean square of its entries is about 0.2, as of Adam's steps: one rate serves matrices and,
   by Adam, biases.

   All matrices are stored in squares of PANEL x PANEL entries, filled up with 0, in the forms that
   products read. A and the polynomial in A are symmetric: their squares on and above the diagonal
   are computed, and stored a second time as those below it.

   K. Jordan et al. (2024), Muon: an optimizer for hidden layers in neural networks; J. Liu et al.
   (2025), Muon is scalable for LLM training (the scale). */
#ifndef AEFAST_ORTHOGONAL_H
#define AEFAST_ORTHOGONAL_H

#include "kernels/autoencoder/step/step.h"

enum {
    NEWTON_SCHULZ_STEPS = 5,
    SQUARE = PANEL * PANEL,
    /* Numbers of rows, of squares below one another and of panels in a piece of a product. */
    PIECE_ROWS = TILE_BLOCK_ROWS,
    PIECE_SQUARES = PIECE_ROWS / PANEL,
    PIECE_PANELS = 8
};

#define NEWTON_SCHULZ_A 3.4445
#define NEWTON_SCHULZ_B -4.7750
#define NEWTON_SCHULZ_C 2.0315
#define ORTHOGONAL_SCALE 0.2

/* A matrix of r x c squares as operands of products. In full precision `left` and `right` are one
   array. */
typedef struct {
    /* [c][r][PANEL][PANEL] */
    operand *left, *right;
    /* [r][c][PANEL][PANEL]: the transposed matrix as a right operand; NULL where none is needed. */
    operand *transposed;
} matrix_operands;

/* Buffers for any matrix of a network. */
typedef struct orthogonal_buffers {
    /* X with the smaller side of the matrix for rows, and its next iterate. */
    matrix_operands X, next;
    /* A, in reals too: [n][n][PANEL][PANEL] in squares; and the polynomial in A. */
    matrix_operands A;
    real *gram;
    matrix_operands polynomial;
    /* (k): sums of squares of the rows of M. */
    double *squares;
    /* [threads][PIECE_PANELS][PIECE_ROWS][PANEL]: pieces of products. */
    real *pieces;
} orthogonal_buffers;

/* The matrix of one step. */
typedef struct {
    const training *t;
    const weight_matrix *matrix;
    const step_constants *constants;
    orthogonal_buffers buffers;
    /* Factor of the gradient, and of M where it is loaded. */
    real factor, scale;
    /* Whether X is M^T; its rows and columns, and its squares along both. */
    int is_transposed;
    int64_t s, larger, rows, columns;
    /* Whether the next iterate is the last. */
    int is_last;
} orthogonal_step;

static matrix_operands carve_operands(arena *a, int64_t squares, int is_transposed)
{
    matrix_operands m = {.left = CARVE(a, operand, squares * SQUARE)};
    m.right = GROUP == 1 ? m.left : CARVE(a, operand, squares * SQUARE);
    m.transposed = is_transposed ? CARVE(a, operand, squares * SQUARE) : 0;
    return m;
}

/* Reserve buffers for matrices of at most so many squares, along the smaller side and in all, and
   so many rows. */
static orthogonal_buffers carve_orthogonal_buffers(arena *a, int64_t side, int64_t squares,
                                                   int64_t rows, int n_threads)
{
    orthogonal_buffers b = {.X = carve_operands(a, squares, 1),
                            .next = carve_operands(a, squares, 1),
                            .A = carve_operands(a, side * side, 0),
                            .polynomial = carve_operands(a, side * side, 0)};
    b.gram = GROUP == 1 ? (real *)b.A.left : CARVE(a, real, side * side * SQUARE);
    b.squares = CARVE(a, double, rows);
    b.pieces = CARVE(a, real, n_threads * PIECE_PANELS * PIECE_ROWS * PANEL);
    return b;
}

/* ---- squares ---- */

/* Functions of their own: a transposition is long once it is inlined. */
__attribute__((noinline)) static void transpose_square(const real *square, real *to)
{
    transpose_panel(PANEL, PANEL, square, PANEL, to, PANEL);
}

/* Store square (i, j) of a matrix of r x c squares. */
__attribute__((noinline)) static void store_square(const matrix_operands *to, int64_t i, int64_t j,
                                                   int64_t r, int64_t c, const real *square)
{
    operand *left = to->left + (j * r + i) * SQUARE, *right = to->right + (j * r + i) * SQUARE;
    if (GROUP == 1)
        memcpy(left, square, SQUARE * sizeof *square);
    else
        store_forms(PANEL, square, left, right);
    if (to->transposed)
        transpose_panel(PANEL, PANEL / GROUP, (const real *)left, PANEL / GROUP,
                        (real *)(to->transposed + (i * c + j) * SQUARE), PANEL);
}

/* Store square (i, j), i <= j, of a symmetric matrix of n x n squares. */
static void store_symmetric(const matrix_operands *to, int64_t i, int64_t j, int64_t n,
                            const real *square)
{
    store_square(to, i, j, n, n, square);
    if (i == j)
        return;
    real mirrored[SQUARE];
    transpose_square(square, mirrored);
    store_square(to, j, i, n, n, mirrored);
}

/* Where the run of at most PANEL columns begins in the gradient and the state. */
static inline int64_t place_of_run(const training *t, int64_t row, int64_t column)
{
    return t->job->tiled ? (column / PANEL * t->k + row) * PANEL : row * t->d + column;
}

static inline real *velocities_of(const orthogonal_step *step)
{
    return step->t->job->tiled ? step->matrix->state_by_d[0] : step->matrix->state_rows[0];
}

/* Return M at a place of the gradient and the state, whose velocity has moved. */
ALWAYS_INLINE vec momentum_at(const orthogonal_step *step, int64_t at, int64_t left)
{
    vec v = vec_load_n(velocities_of(step) + at, left);
    if (!step->constants->nesterov)
        return v;
    vec g = vec_load_n(step->matrix->gradient + at, left) * vec_set(step->factor);
    return vec_fma(vec_set(step->constants->momentum), v, g);
}

/* Move the velocity of a row. Return the sum of squares of this row of M. */
static double move_velocity(const orthogonal_step *step, int64_t row)
{
    const training *t = step->t;
    vec momentum = vec_set(step->constants->momentum), squares = {0};
    for (int64_t column = 0; column < t->d; column += PANEL) {
        int64_t at = place_of_run(t, row, column), n = min_i64(PANEL, t->d - column);
        for (int64_t j = 0; j < n; j += LANES) {
            real *velocity = velocities_of(step) + at + j;
            vec g = vec_load_n(step->matrix->gradient + at + j, n - j) * vec_set(step->factor);
            vec_store_n(velocity, vec_fma(momentum, vec_load_n(velocity, n - j), g), n - j);
            vec x = momentum_at(step, at + j, n - j);
            squares = vec_fma(x, x, squares);
        }
    }
    return vec_sum(squares);
}

/* X <- M, scaled, in the squares of M from row i PANEL on. */
static void load_momentum(const orthogonal_step *step, int64_t i)
{
    const training *t = step->t;
    real square[SQUARE], mirrored[SQUARE];
    for (int64_t j = 0; j < n_panels(t->d); ++j) {
        int64_t n = min_i64(PANEL, t->d - j * PANEL);
        for (int64_t r = 0; r < PANEL; ++r) {
            int64_t row = i * PANEL + r;
            for (int64_t v = 0; v < PANEL; v += LANES)
                vec_store(square + r * PANEL + v,
                          row < t->k && v < n
                              ? vec_set(step->scale) *
                                    momentum_at(step, place_of_run(t, row, j * PANEL) + v, n - v)
                              : (vec){0});
        }
        if (step->is_transposed) {
            transpose_square(square, mirrored);
            store_square(&step->buffers.X, j, i, step->rows, step->columns, mirrored);
        } else {
            store_square(&step->buffers.X, i, j, step->rows, step->columns, square);
        }
    }
}

/* gradient <- square (i, j) of M, scaled. */
static void store_direction(const orthogonal_step *step, int64_t i, int64_t j, const real *square)
{
    const training *t = step->t;
    vec scale = vec_set((real)(ORTHOGONAL_SCALE * sqrt((double)step->larger)));
    int64_t n = min_i64(PANEL, t->d - j * PANEL);
    for (int64_t row = i * PANEL; row < min_i64(t->k, (i + 1) * PANEL); ++row, square += PANEL) {
        real *to = step->matrix->gradient + place_of_run(t, row, j * PANEL);
        for (int64_t v = 0; v < n; v += LANES)
            vec_store_n(to + v, scale * vec_load(square + v), n - v);
    }
}

/* ---- products ---- */

/* A piece of a product: panels from `panel` on of rows from `row` on, both counted in squares. */
typedef struct {
    const orthogonal_step *step;
    int64_t row, n_squares, panel, n_panels;
    real *values;
} piece;

/* Return piece i of a matrix with so many squares along its rows and columns; where it is
   symmetric, of its part on and above the diagonal. The row of the first piece past the end is
   `rows`. */
static piece piece_at(int64_t rows, int64_t columns, int is_symmetric, int64_t i)
{
    piece p = {0};
    for (;; p.row += PIECE_SQUARES) {
        int64_t first = is_symmetric ? p.row : 0, runs = ceil_div(columns - first, PIECE_PANELS);
        p.panel = first + i * PIECE_PANELS;
        if (i < runs || p.row >= rows)
            break;
        i -= runs;
    }
    p.n_squares = min_i64(PIECE_SQUARES, rows - p.row);
    p.n_panels = min_i64(PIECE_PANELS, columns - p.panel);
    return p;
}

static int64_t count_pieces(int64_t rows, int64_t columns, int is_symmetric)
{
    int64_t n = 0;
    for (int64_t row = 0; row < rows; row += PIECE_SQUARES)
        n += ceil_div(columns - (is_symmetric ? row : 0), PIECE_PANELS);
    return n;
}

/* Return square i of panel j of a piece. */
static inline real *square_of(const piece *p, int64_t i, int64_t j)
{
    return p->values + j * PIECE_ROWS * PANEL + i * SQUARE;
}

static void finish_gram(void *context, int64_t j)
{
    const piece *p = (const piece *)context;
    const orthogonal_buffers *b = &p->step->buffers;
    int64_t n = p->step->rows, column = p->panel + j;
    for (int64_t i = 0; i < p->n_squares && p->row + i <= column; ++i) {
        real *square = square_of(p, i, j);
        if (GROUP > 1)
            memcpy(b->gram + (column * n + p->row + i) * SQUARE, square, SQUARE * sizeof *square);
        store_symmetric(&b->A, p->row + i, column, n, square);
    }
}

/* The polynomial from c A A to a I + b A + c A A. */
static void finish_polynomial(void *context, int64_t j)
{
    const piece *p = (const piece *)context;
    const orthogonal_step *step = p->step;
    int64_t n = step->rows, column = p->panel + j;
    for (int64_t i = 0; i < p->n_squares && p->row + i <= column; ++i) {
        real *square = square_of(p, i, j);
        const real *gram = step->buffers.gram + (column * n + p->row + i) * SQUARE;
        for (int64_t q = 0; q < SQUARE; q += LANES)
            vec_store(square + q, vec_fma(vec_set((real)NEWTON_SCHULZ_C), vec_load(square + q),
                                          vec_set((real)NEWTON_SCHULZ_B) * vec_load(gram + q)));
        for (int64_t q = 0; p->row + i == column && q < min_i64(PANEL, step->s - column * PANEL);
             ++q)
            square[q * PANEL + q] += (real)NEWTON_SCHULZ_A;
        store_symmetric(&step->buffers.polynomial, p->row + i, column, n, square);
    }
}

static void finish_next(void *context, int64_t j)
{
    const piece *p = (const piece *)context;
    const orthogonal_step *step = p->step;
    real mirrored[SQUARE];
    for (int64_t i = 0; i < p->n_squares; ++i) {
        const real *square = square_of(p, i, j);
        int64_t row = p->row + i, column = p->panel + j;
        if (!step->is_last) {
            store_square(&step->buffers.next, row, column, step->rows, step->columns, square);
        } else if (step->is_transposed) {
            transpose_square(square, mirrored);
            store_direction(step, column, row, mirrored);
        } else {
            store_direction(step, row, column, square);
        }
    }
}

/* Compute the product of two operands of `depth` squares, piece by piece, and end with a barrier.
   Both operands are panels of their columns, one square below the other. */
static void multiply(const orthogonal_step *step, member m, const operand *left, int64_t depth,
                     const operand *right, int64_t columns, int is_symmetric, finish_panel *finish)
{
    int64_t rows = step->rows, n = count_pieces(rows, columns, is_symmetric);
    for (work w = begin_work(m, step->t->shares, n); take_items(&w, 1);)
        for (int64_t i = w.begin; i < w.end; ++i) {
            piece p = piece_at(rows, columns, is_symmetric, i);
            p.step = step;
            p.values = step->buffers.pieces + m.index * PIECE_PANELS * PIECE_ROWS * PANEL;
            product_in_panels(p.n_squares * PANEL, p.n_panels, depth * PANEL, left + p.row * SQUARE,
                              rows * SQUARE, right + p.panel * depth * SQUARE, depth * SQUARE,
                              p.values, PIECE_ROWS * PANEL, finish, &p);
        }
    team_barrier(m);
}

/* ---- a step ---- */

/* Replace the stored gradient of a matrix, times `factor`, by the direction. All members call it,
   and meet at barriers. */
static void orthogonalise(const training *t, member m, const weight_matrix *matrix,
                          const step_constants *constants, real factor)
{
    int64_t s = min_i64(t->k, t->d), larger = max_i64(t->k, t->d);
    orthogonal_step step = {.t = t,
                            .matrix = matrix,
                            .constants = constants,
                            .buffers = *t->orthogonal,
                            .factor = factor,
                            .is_transposed = t->k > t->d,
                            .s = s,
                            .larger = larger,
                            .rows = n_panels(s),
                            .columns = n_panels(larger)};
    orthogonal_buffers *b = &step.buffers;
    for (int64_t row = share_begin(m, t->k), end = share_end(m, t->k); row < end; ++row)
        b->squares[row] = move_velocity(&step, row);
    team_barrier(m);
    double norm = sqrt(sum_of(b->squares, t->k));
    step.scale = norm > 0 ? (real)(1 / norm) : 0;
    int64_t n = n_panels(t->k);
    for (int64_t i = share_begin(m, n), end = share_end(m, n); i < end; ++i)
        load_momentum(&step, i);
    team_barrier(m);
    for (int i = 0; i < NEWTON_SCHULZ_STEPS; ++i) {
        step.is_last = i + 1 == NEWTON_SCHULZ_STEPS;
        multiply(&step, m, b->X.left, step.columns, b->X.transposed, step.rows, 1, finish_gram);
        multiply(&step, m, b->A.left, step.rows, b->A.right, step.rows, 1, finish_polynomial);
        multiply(&step, m, b->polynomial.left, step.rows, b->X.right, step.columns, 0, finish_next);
        matrix_operands X = b->X;
        b->X = b->next, b->next = X;
    }
}

#endif
