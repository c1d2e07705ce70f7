/* Inverse of a positive definite matrix in place, by one sweep over blocks of pivots.

   With the block K of pivots, the Cholesky factor L of A_KK, and R all other rows, a step is
       T = L^-1 A_KR,   A_RR -= T^T T,   A_KR = L^-T T,   A_KK = -L^-T L^-1.
   Rows after K then hold the Schur complement, as in Cholesky's factorisation, rows before it the
   negative inverse of the pivots so far, and the rows between them the products of both; after all
   steps A is -A^-1 (the blocked form of the sweep operator; Bientinesi, Gunter & van de Geijn 2008
   derive it as the one-sweep inversion). Nearly all of the n^3 operations are updates of
   independent tiles of one triangle, so that the memory is that of A and of two panels. A tile's
   product is that of one thread: bits do not depend on the number of threads. */
#ifndef AEFAST_ITEMS_INVERSE_H
#define AEFAST_ITEMS_INVERSE_H

#include <math.h>

#include "kernels/base/workspace.h"
#include "kernels/items/items.h"
#include "kernels/products/blas.h"

enum {
    /* Pivots of a block, which has the width of a tile too, of small and of large matrices. */
    PIVOTS = 128,
    MANY_PIVOTS = 256,
    LARGE_ORDER = 6000,
    /* Tiles of a row that are one product. */
    TILES = 4
};

typedef struct {
    inverse_job *job;
    /* Width of a block, number of blocks and of groups of tiles in a row. */
    int64_t width, n_blocks, n_groups;
    /* L^-1 (width, width), T and -T (width, n). */
    real *factor, *T, *minus_T;
    /* (width, width), for the factorisation. */
    double *pivots, *inverse;
    share *shares;
    arena members;
} sweep;

static int64_t sweep_width(int64_t n) { return n < LARGE_ORDER ? PIVOTS : MANY_PIVOTS; }
static int64_t inverse_blocks(int64_t n) { return ceil_div(n, sweep_width(n)); }

static int64_t inverse_items(int64_t n)
{
    int64_t n_blocks = inverse_blocks(n), n_items = 0;
    for (int64_t i = 0; i < n_blocks; ++i)
        n_items += ceil_div(n_blocks, TILES) - i / TILES;
    return n_items;
}

static sweep carve_sweep(inverse_job *job, void *workspace)
{
    sweep s = {.job = job, .width = sweep_width(job->n), .members = arena_at(workspace)};
    s.n_blocks = inverse_blocks(job->n);
    s.n_groups = ceil_div(s.n_blocks, TILES);
    s.factor = CARVE(&s.members, real, s.width * s.width);
    s.T = CARVE(&s.members, real, s.width * job->n);
    s.minus_T = CARVE(&s.members, real, s.width * job->n);
    s.pivots = CARVE(&s.members, double, s.width *s.width);
    s.inverse = CARVE(&s.members, double, s.width *s.width);
    s.shares = CARVE(&s.members, share, job->n_threads);
    return s;
}

static int64_t inverse_bytes(const inverse_job *job)
{
    inverse_job measured = *job;
    sweep s = carve_sweep(&measured, 0);
    for (int i = 0; i < job->n_threads; ++i)
        CARVE(&s.members, real, s.width * s.width);
    return arena_bytes(&s.members);
}

static int64_t block_begin(const sweep *s, int64_t i) { return min_i64(s->job->n, i * s->width); }
static int64_t block_size(const sweep *s, int64_t i)
{
    return block_begin(s, i + 1) - block_begin(s, i);
}

/* Where tile (i, j) of A begins. */
static real *tile_of(const sweep *s, int64_t i, int64_t j)
{
    return (real *)s->job->A + block_begin(s, i) * s->job->n + block_begin(s, j);
}

/* Factorise A_KK = U^T U, L = U^T, and compute L^-1, both in double. Returns whether all pivots are
   larger than the rounding errors of the diagonal. */
static int factorise(const sweep *s)
{
    int64_t K = s->job->pivot, b = block_size(s, K), n = s->job->n;
    const real *A = tile_of(s, K, K);
    const double *diagonal = s->job->diagonal + block_begin(s, K);
    double *U = s->pivots, *X = s->inverse;
    for (int64_t i = 0; i < b; ++i)
        for (int64_t j = i; j < b; ++j)
            U[i * b + j] = (double)A[i * n + j];
    for (int64_t k = 0; k < b; ++k) {
        double pivot = U[k * b + k];
        if (!(pivot > 4 * (double)REAL_EPSILON * diagonal[k] && pivot <= DBL_MAX))
            return 0;
        double root = sqrt(pivot);
        for (int64_t j = k; j < b; ++j)
            U[k * b + j] /= root;
        for (int64_t i = k + 1; i < b; ++i)
            for (int64_t j = i; j < b; ++j)
                U[i * b + j] -= U[k * b + i] * U[k * b + j];
    }
    memset(X, 0, (size_t)(b * b) * sizeof *X);
    for (int64_t i = 0; i < b; ++i) {
        X[i * b + i] = 1;
        for (int64_t k = 0; k < i; ++k)
            for (int64_t j = 0; j <= k; ++j)
                X[i * b + j] -= U[k * b + i] * X[k * b + j];
        for (int64_t j = 0; j <= i; ++j)
            X[i * b + j] /= U[i * b + i];
    }
    for (int64_t i = 0; i < b * b; ++i)
        s->factor[i] = (real)X[i];
    return 1;
}

/* Compute the columns of T and -T that belong to block J. */
static void panel_of(const sweep *s, int64_t J)
{
    int64_t K = s->job->pivot, n = s->job->n, b = block_size(s, K), size = block_size(s, J);
    real *T = s->T + block_begin(s, J), *minus = s->minus_T + block_begin(s, J);
    if (J > K)
        blas_nn(s->job->gemm, b, size, b, s->factor, b, tile_of(s, K, J), n, T, n);
    else
        blas_nt(s->job->gemm, b, size, b, s->factor, b, tile_of(s, J, K), n, T, n);
    for (int64_t i = 0; i < b; ++i)
        for (int64_t j = 0; j < size; ++j)
            minus[i * n + j] = -T[i * n + j];
}

/* Add `sign` times the upper triangle of the square a^T a (size, size), or store it. */
static void diagonal_tile(const sweep *s, int64_t I, const real *a, int64_t lda, int stored,
                          real *buffer)
{
    int64_t size = block_size(s, I), depth = block_size(s, s->job->pivot), n = s->job->n;
    real *A = tile_of(s, I, I);
    blas_tn(s->job->gemm, size, size, depth, a, lda, a, lda, 0, buffer, size);
    for (int64_t i = 0; i < size; ++i)
        for (int64_t j = i; j < size; ++j)
            A[i * n + j] = (stored ? 0 : A[i * n + j]) - buffer[i * size + j];
}

/* Update tiles (I, J) with J in [first, end), all of them beside the diagonal. */
static void run_of_tiles(const sweep *s, int64_t I, int64_t first, int64_t end)
{
    int64_t K = s->job->pivot, n = s->job->n, b = block_size(s, K), size = block_size(s, I),
            column = block_begin(s, first), width = block_begin(s, end) - column;
    if (width <= 0)
        return;
    if (I == K)
        blas_tn(s->job->gemm, b, width, b, s->factor, b, s->T + column, n, 0, tile_of(s, K, first),
                n);
    else
        blas_tn(s->job->gemm, size, width, b, s->minus_T + block_begin(s, I), n, s->T + column, n,
                1, tile_of(s, I, first), n);
}

/* Update a group of tiles of row I. */
static void group_of_tiles(const sweep *s, int64_t I, int64_t group, real *buffer)
{
    int64_t K = s->job->pivot, n = s->job->n, b = block_size(s, K),
            first = max_i64(I, group * TILES), end = min_i64(s->n_blocks, (group + 1) * TILES);
    if (first == I) {
        if (I == K)
            diagonal_tile(s, K, s->factor, b, 1, buffer);
        else
            diagonal_tile(s, I, s->T + block_begin(s, I), n, 0, buffer);
        ++first;
    }
    if (I < K && first <= K && K < end) {
        run_of_tiles(s, I, first, K);
        blas_tn(s->job->gemm, block_size(s, I), b, b, s->T + block_begin(s, I), n, s->factor, b, 0,
                tile_of(s, I, K), n);
        first = K + 1;
    }
    run_of_tiles(s, I, first, end);
}

static void sweep_member(void *context, member m)
{
    const sweep *s = (const sweep *)context;
    inverse_job *job = s->job;
    arena a = s->members;
    real *buffer = CARVE(&a, real, s->width * s->width);
    for (int i = 0; i < m.index; ++i)
        buffer = CARVE(&a, real, s->width * s->width);
    if (job->first == 0) {
        if (m.index == 0 && !factorise(s))
            job->status = ITEMS_SINGULAR;
        team_barrier(m);
        if (job->status != ITEMS_OK)
            return;
        work blocks = begin_work(m, s->shares, s->n_blocks);
        while (take_items(&blocks, 1))
            if (blocks.begin != job->pivot)
                panel_of(s, blocks.begin);
        team_barrier(m);
    }
    work groups = begin_work(m, s->shares, job->last - job->first);
    while (take_items(&groups, 1)) {
        int64_t item = job->first + groups.begin, I = 0;
        for (; item >= s->n_groups - I / TILES; ++I)
            item -= s->n_groups - I / TILES;
        group_of_tiles(s, I, I / TILES + item, buffer);
    }
}

static void inverse(inverse_job *job)
{
    sweep s = carve_sweep(job, job->workspace);
    job->status = ITEMS_OK;
    memset(s.shares, 0, (size_t)job->n_threads * sizeof *s.shares);
    team_run(job->n_threads, FLOAT_MODE_IEEE, sweep_member, &s);
}

#endif
