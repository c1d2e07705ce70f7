/* Sums of shifted rows and of their outer products: what Python hands to the kernels, and their
   table.

   For rows x, weights w and a reference point r, all sums in double:
       sums = sum w (x - r)        (d)
       scatter = sum w (x - r)(x - r)^T   (d, d)
   Dense rows: products of 128 rows in `real`, added in double. Sparse rows: r = 0, products in
   double. */
#ifndef AEFAST_STATISTICS_H
#define AEFAST_STATISTICS_H

#include "kernels/base/rows_view.h"
#include "runtime/dispatch.h"

typedef struct {
    rows_view rows; /* checked: entries that are not finite set STATUS_BAD_ROWS */
    int64_t n_features;
    const void *shift;    /* r (d), reals */
    const double *weight; /* (n_rows); NULL: 1 */
    int n_threads;
    void *workspace; /* statistics_bytes of it; holds the sums from `begin` over any number of `add`
                        to `finish` */
    double *sums, *scatter; /* out of `finish`: added to. The same bits for any number of threads */
    int status; /* out of `add`: an entry, or its shifted value, is not finite: the sums are spoilt
                 */
} statistics_job;

/* Rows in compressed form (CSR), columns in rising order within a row. */
typedef struct {
    const int64_t *row_begin; /* (n_rows + 1) */
    const int32_t *columns;
    const void *values; /* reals, finite */
    int64_t n_rows, n_features;
    const double *weight; /* (n_rows); NULL: 1 */
    int n_threads;
    double *sums, *scatter; /* added to; of scatter the upper triangle */
} sparse_statistics_job;

/* Y (n_rows, n_columns) = A B: A in compressed form, B (n_features, n_columns) row-major. */
typedef struct {
    const int64_t *row_begin;
    const int32_t *columns;
    const void *values;
    int64_t n_rows, n_columns;
    const void *B;
    void *Y;
    int n_threads;
} sparse_product_job;

/* Z = (X - shift) B + offset, and of each row sum_j p_j (x_j - shift_j)^2 + sign * sum of the
 * squares of (x - shift) B. */
typedef struct {
    rows_view rows; /* checked: entries that are not finite set STATUS_BAD_ROWS */
    int64_t n_features, n_columns;
    const void *shift;  /* (n_features), reals */
    const void *B;      /* (n_features, n_columns), reals */
    const void *offset; /* (n_columns), reals; NULL: 0 */
    const void *p;      /* (n_features), reals; NULL: 0 */
    double sign;
    int64_t block_rows; /* that go through together */
    int n_threads;
    void *workspace;   /* projection_bytes of it */
    void *Z;           /* out (n_rows, n_columns) */
    double *quadratic; /* out (n_rows). Z or this is NULL */
    int status;
} projection_job;

typedef struct {
    int64_t (*workspace_bytes)(const statistics_job *);
    void (*begin)(statistics_job *);
    void (*add)(statistics_job *);
    void (*finish)(statistics_job *);
    void (*add_sparse)(sparse_statistics_job *);
    void (*sparse_product)(sparse_product_job *);
    int64_t (*projection_bytes)(const projection_job *);
    void (*project)(projection_job *);
} statistics_kernels;

#ifndef AEFAST_ISA /* for the caller, who is no instance: statistics_tables[instruction set][0:    \
                      float32, 1: float64] */
#define X(isa) extern const statistics_kernels statistics_f32_##isa, statistics_f64_##isa;
AEFAST_EACH_ISA(X)
#undef X
#define X(isa) {&statistics_f32_##isa, &statistics_f64_##isa},
static const statistics_kernels *const statistics_tables[AEFAST_N_ISAS][2] = {AEFAST_EACH_ISA(X)};
#undef X
#endif

#endif
