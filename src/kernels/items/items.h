/* Linear models of items chosen by users: the Gram matrix of sparse rows, its inverse in place,
   columns refitted on few entries, and the items of highest score. The kernels' arguments and the
   table of their instances. */
#ifndef AEFAST_ITEMS_H
#define AEFAST_ITEMS_H

#include <stdint.h>

#include "kernels/products/gemm.h"
#include "runtime/dispatch.h"

enum { ITEMS_OK = 0, ITEMS_NOT_FINITE = 1, ITEMS_SINGULAR = 2 };

/* Rows [first, last) of the upper triangle of G (d, d) = sum w x x^T over rows in compressed form,
   whose columns rise within each row. A sum is in double, and rounded once. */
typedef struct {
    /* (n_rows + 1), and of each entry its column and its value, a finite real. */
    const int64_t *row_begin;
    const int32_t *columns;
    const void *values;
    /* The same entries by column: (n_features + 1), and of each entry its row and its place. */
    const int64_t *column_begin;
    const int32_t *rows;
    const int64_t *places;
    /* (n_rows): the weights w; NULL: 1. */
    const double *weight;
    int64_t n_features, first, last;
    int n_threads;
    void *workspace;
    /* out: reals. The strict lower triangle is not touched. */
    void *G;
} gram_job;

/* One step of the inversion in place of a positive definite matrix A (n, n), of which only the
   upper triangle is read and written. After the steps of all blocks of pivots it is that of
   -A^-1. */
typedef struct {
    int64_t n;
    /* in/out: reals. */
    void *A;
    /* (n): the diagonal of A before the first step. */
    const double *diagonal;
    /* The block of pivots, and the items [first, last) of its step that are done in this call. The
       call with first = 0 comes first. */
    int64_t pivot, first, last;
    int n_threads;
    gemm_function *gemm;
    /* Memory of inverse_bytes, which keeps its contents over the calls of one step. */
    void *workspace;
    /* out: ITEMS_SINGULAR where a pivot is lost to rounding; A is useless then. */
    int status;
} inverse_job;

/* Columns [first, last) of a sparse B. The entries S of column j are the ridge regression of item j
   on the items S: b = (G_SS)^-1 G_Sj, with the penalty in the diagonal of G. */
typedef struct {
    int64_t n;
    /* (n, n), reals: the strict lower triangle is read. */
    const void *G;
    /* (n): the diagonal, with the penalty. */
    const double *diagonal;
    /* (n + 1), and the rising rows of each column's entries, without its own. */
    const int64_t *begin;
    const int32_t *rows;
    /* The largest number of entries of a column. */
    int64_t most;
    int64_t first, last;
    int n_threads;
    void *workspace;
    /* out: reals, one for each entry. */
    void *values;
    /* out: ITEMS_SINGULAR where a column's equations are singular to rounding. */
    int status;
} refit_job;

/* For each row x of users, the n items of highest score: of equal scores the smaller item. Scores
   are given, or x B with B (d, d) dense or in compressed form. */
typedef struct {
    /* The users' rows in compressed form, columns rising. */
    const int64_t *row_begin;
    const int32_t *columns;
    const void *values;
    int64_t n_rows, n_features;
    /* One of: scores (n_rows, d); B (d, d); B in compressed form, with B as its values. */
    const void *scores;
    const void *B;
    const int64_t *B_begin;
    const int32_t *B_columns;
    /* (d): whether an item may be recommended; NULL: all. */
    const uint8_t *allowed;
    /* Whether to leave out the items that are stored in the user's row. */
    int exclude_seen;
    int64_t n_best;
    int n_threads;
    void *workspace;
    /* out (n_rows, n_best): falling scores, reals, and their items. -inf and -1 where there are no
       more. */
    void *best;
    int64_t *items;
    /* out: ITEMS_NOT_FINITE where a score is not finite. */
    int status;
} ranking_job;

typedef struct {
    int64_t (*gram_bytes)(const gram_job *);
    void (*gram)(gram_job *);
    int64_t (*inverse_bytes)(const inverse_job *);
    /* Number of blocks of pivots, and of items in a step. */
    int64_t (*inverse_blocks)(int64_t n);
    int64_t (*inverse_items)(int64_t n);
    void (*inverse)(inverse_job *);
    int64_t (*refit_bytes)(const refit_job *);
    void (*refit)(refit_job *);
    int64_t (*ranking_bytes)(const ranking_job *);
    void (*ranking)(ranking_job *);
} items_kernels;

/* For callers outside instances: items_tables[instruction set][0: float32, 1: float64]. */
#ifndef AEFAST_ISA
#define X(isa) extern const items_kernels items_f32_##isa, items_f64_##isa;
AEFAST_EACH_ISA(X)
#undef X
#define X(isa) {&items_f32_##isa, &items_f64_##isa},
static const items_kernels *const items_tables[AEFAST_N_ISAS][2] = {AEFAST_EACH_ISA(X)};
#undef X
#endif

#endif
