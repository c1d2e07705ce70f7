/* Sums of shifted rows and of their outer products, and products with rows: the kernels' arguments
   and the table of their instances.

   For rows x, weights w and a reference point r the sums are
       sums    = sum w (x - r)                (d)
       scatter = sum w (x - r) (x - r)^T      (d, d)
   in double. The products of dense rows are summed in `real` over at most 128 rows, and these sums
   are added in double. For sparse rows r is 0, and products are in double. */
#ifndef AEFAST_STATISTICS_H
#define AEFAST_STATISTICS_H

#include "kernels/base/rows_view.h"
#include "runtime/dispatch.h"

typedef struct {
    /* Rows, which `add` always checks to be finite. */
    rows_view rows;
    int64_t n_features;
    /* The reference point r (d), reals. */
    const void *shift;
    /* (n_rows): the weights w; NULL: 1. */
    const double *weight;
    int n_threads;
    /* Memory of workspace_bytes. It holds the sums from `begin`, over any number of calls of `add`,
       to `finish`. */
    void *workspace;
    /* in/out of `finish`: the sums are added to these. Their bits do not depend on n_threads. */
    double *sums, *scatter;
    /* out of `add`: STATUS_BAD_ROWS where an entry or its shifted value is not finite; the sums are
       useless then. */
    int status;
} statistics_job;

/* Sums over rows in compressed form (CSR), whose columns rise within each row. */
typedef struct {
    /* (n_rows + 1): where each row begins in columns and values. */
    const int64_t *row_begin;
    const int32_t *columns;
    /* Finite reals. */
    const void *values;
    int64_t n_rows, n_features;
    /* (n_rows): the weights w; NULL: 1. */
    const double *weight;
    int n_threads;
    /* in/out: the sums are added to these, in the upper triangle of scatter only. */
    double *sums, *scatter;
} sparse_statistics_job;

/* Y (n_rows, n_columns) = A B - minus with A in compressed form and B (n_features, n_columns)
   row-major. */
typedef struct {
    const int64_t *row_begin;
    const int32_t *columns;
    const void *values;
    int64_t n_rows, n_columns;
    const void *B;
    /* (n_columns), reals; NULL: 0. */
    const void *minus;
    void *Y;
    int n_threads;
    /* out: STATUS_NOT_FINITE where an entry of Y is not finite. */
    int status;
} sparse_product_job;

/* Either Z = (X - shift) B + offset, or for each row x the quadratic form
       sum_j p_j (x_j - shift_j)^2 + sign ||(x - shift) B||^2. */
typedef struct {
    /* Rows X; if rows.checked, entries outside the bounds set STATUS_BAD_ROWS. */
    rows_view rows;
    int64_t n_features, n_columns;
    /* (n_features), reals. */
    const void *shift;
    /* (n_features, n_columns), reals. */
    const void *B;
    /* (n_columns), reals; NULL: 0. */
    const void *offset;
    /* (n_features), reals; NULL: 0. */
    const void *p;
    double sign;
    /* Number of rows in a block, which one thread multiplies at a time. */
    int64_t block_rows;
    int n_threads;
    /* Memory of projection_bytes. */
    void *workspace;
    /* out (n_rows, n_columns); NULL where the quadratic form is wanted. */
    void *Z;
    /* out (n_rows); NULL where Z is wanted. */
    double *quadratic;
    /* out: the flags STATUS_BAD_ROWS, and STATUS_NOT_FINITE where a result is not finite. */
    int status;
} projection_job;

/* Largest number of rows of a pattern; a pattern of more rows is given in parts. */
enum { GAP_MOST_ROWS = 32 };

/* Sums over the posteriors of a factor model's independent factors, for rows with missing entries.
   A pattern p of observed columns has a weight and rows (y, t), each a combination of the table's
   rows x and of as many ones, so that sum (y - t mean)(y - t mean)^T is the weighted scatter of
   x - mean. With r = y - t mean where observed and 0 elsewhere, M = I + sum_j w_j w_j^T / psi_j
   over observed j, S = M^-1 and m = S sum_j w_j r_j / psi_j, the results are, for each feature j
   with sums over the patterns in which it is observed, and for j = d over all patterns,
       second[j] = (sum_p [weight S + sum_rows m m^T], sum_rows t m)   (lower triangle by rows, k)
       cross[j]  = (sum_rows r_j m, sum_rows t r_j, sum_rows r_j^2)    (k, 1, 1; not for j = d)
       totals    = (sum_p weight log |M|, sum_rows [sum_j r_j^2 / psi_j - m^T M m]).
   Where is_completed, the results are, besides totals, those of rows whose missing entries are
   replaced by their conditional means, r^_j = w_j m, with D the indicator of missing columns:
       completed[j] = (sum_rows r^_j r^_l + sum_p weight D_j D_l w_j S w_l for l <= j, ...,
                       sum_rows t r^_j at place d). */
typedef struct {
    int64_t n_features, n_factors, n_patterns;
    int is_completed;
    /* (n_patterns, n_features): 1 where observed, else 0. */
    const unsigned char *observed;
    /* (n_patterns). */
    const double *weight;
    /* (n_patterns + 1): where each pattern's rows begin, at most GAP_MOST_ROWS. */
    const int64_t *row_begin;
    /* y (n_rows, n_features), 0 where missing, and t (n_rows). */
    const double *rows, *scale;
    /* The model, reals: mean (n_features), W (n_features, n_factors), 1 / psi (n_features). */
    const void *mean, *W, *precision;
    /* Groups of patterns that `gap_sums` visits: as many as fit in a vector each. */
    int64_t first_group, last_group;
    int n_threads;
    /* Memory of gap_bytes, which holds the patterns from `gap_pack` on. */
    void *workspace;
    /* in/out: the sums are added to these. Their bits do not depend on n_threads. */
    double *second, *cross, *completed, *totals;
} gap_job;

/* Largest rank of a neighbour, and largest number of references of a set. */
enum { NEAREST_MOST_RANK = 32, NEAREST_MOST_REFERENCES = 1 << 24 };

/* For each row x and each of several sets of references y, the distance sum_j |x_j - y_j| to the
   rank-th nearest reference and its place in the set. Missing entries (NaN) of x add nothing. Sums
   are in reals. */
typedef struct {
    /* Rows, in the units of the references by their shift and factor. */
    rows_view rows;
    /* 1 <= rank <= min(NEAREST_MOST_RANK, n_references). */
    int64_t n_features, n_sets, n_references, rank;
    /* (n_sets, n_references, n_features), finite reals. */
    const void *references;
    int n_threads;
    /* Memory of nearest_bytes. */
    void *workspace;
    /* out (n_rows, n_sets). */
    double *distance;
    int32_t *place;
    /* out: the flags STATUS_BAD_ROWS, and STATUS_NOT_FINITE where a distance overflows. */
    int status;
} nearest_job;

typedef struct {
    int64_t (*workspace_bytes)(const statistics_job *);
    void (*begin)(statistics_job *);
    void (*add)(statistics_job *);
    void (*finish)(statistics_job *);
    void (*add_sparse)(sparse_statistics_job *);
    void (*sparse_product)(sparse_product_job *);
    int64_t (*projection_bytes)(const projection_job *);
    void (*project)(projection_job *);
    int64_t (*gap_bytes)(const gap_job *);
    void (*gap_pack)(gap_job *);
    void (*gap_sums)(gap_job *);
    int64_t (*nearest_bytes)(const nearest_job *);
    void (*nearest)(nearest_job *);
    /* Number of patterns in a group. */
    int64_t lanes;
} statistics_kernels;

/* For callers outside instances: statistics_tables[instruction set][0: float32, 1: float64]. */
#ifndef AEFAST_ISA
#define X(isa) extern const statistics_kernels statistics_f32_##isa, statistics_f64_##isa;
AEFAST_EACH_ISA(X)
#undef X
#define X(isa) {&statistics_f32_##isa, &statistics_f64_##isa},
static const statistics_kernels *const statistics_tables[AEFAST_N_ISAS][2] = {AEFAST_EACH_ISA(X)};
#undef X
#endif

#endif
