/* What Python hands to the kernels of sparse coding, and the table of kernels that one instance
   exports.

   Codes: min_h 1/2 ||x - h D||^2 + alpha ||h||_1 for each row x (d), or its relatives; D (k, d) has
   an atom a row. A weight for each atom in the penalty, alpha w_j |h_j|, is divided out: D_j / w_j
   and w_j h_j make it the plain problem. Arrays are row-major. */
#ifndef AEFAST_SPARSE_CODING_H
#define AEFAST_SPARSE_CODING_H

#include <stdint.h>

#include "kernels/base/rows_view.h"
#include "runtime/dispatch.h"

/* D in the forms that the kernels read: `prepare` makes them. */
typedef struct {
    int64_t n_features, n_components;
    const void *atoms; /* D (k, d), reals */
    void *prepared;    /* prepared_bytes of memory */
    int n_threads;
} coding_dictionary;

/* Codes of rows. Each row's are the same bits alone and in any company. */
typedef struct {
    coding_dictionary dictionary;
    rows_view rows;
    int algorithm; /* index of its table */
    int positive;  /* h >= 0 */
    double alpha;
    double tol;          /* lasso: duality gap <= tol * 1/2 ||x||^2 ends a row */
    int64_t max_iter;    /* sweeps or steps for a row */
    double step;         /* ista, fista: at most 1 / ||D||_2^2 */
    int64_t n_nonzero;   /* omp: atoms in a code, at most */
    double target;       /* omp: ||x - h D||^2 <= target ends a row */
    const void *init;    /* (n, k) where lasso_cd, ista and fista start; NULL: at 0 */
    const void *weights; /* (k): codes are divided by them; NULL: 1. init is multiplied */
    int n_threads;
    void *workspace; /* coding_workspace_bytes of it */

    void *codes;        /* H (n, k), or NULL and: */
    int64_t width;      /* of the next two: at least the entries that a code can have, k or for omp
                           n_nonzero */
    int32_t *indices;   /* (n, width): row i's entries, in rising order */
    void *values;       /* likewise */
    int64_t *counts;    /* (n): entries of each row */
    double *objectives; /* out (n), or NULL: 1/2 ||x - h D||^2, with a penalty's algorithms plus
                           alpha sum_j w_j |h_j| */
    double *gaps; /* out (n), where the algorithm has one: duality gap / (1/2 ||x||^2) of the codes
                     returned */
    int status;   /* out: STATUS_... flags */
} coding_job;

/* Sums over coded rows: A += sum of h^T h (k, k), B += sum of h^T x (k, d), row after row. */
typedef struct {
    int64_t n_features, n_components;
    rows_view rows;
    int64_t width; /* codes, as coding_job leaves them */
    const int32_t *indices;
    const void *values;
    const int64_t *counts;
    double *A, *B;
    int n_threads;
} code_statistics_job;

/* min_D 1/2 tr(D^T A D) - tr(D^T B) over atoms of norm <= 1, one atom after another (Mairal et al.
 * 2010, algorithm 2). */
typedef struct {
    int64_t n_features, n_components;
    const double *A, *B;
    int positive; /* D >= 0 */
    int64_t n_sweeps;
    double least_use; /* atoms with A_jj <= least_use stay as they are */
    void *atoms;      /* in/out: D (k, d), reals */
    void *workspace;  /* update_workspace_bytes of it */
    int n_threads;
} update_job;

typedef struct {
    const char *name;
    int has_gap; /* solves the lasso: a duality gap tells how well */
    int starts;  /* can start from given codes */
} algorithm_info;

typedef struct {
    int n_algorithms;
    void (*algorithm_info)(int, algorithm_info *);
    int64_t (*prepared_bytes)(const coding_dictionary *);
    void (*prepare)(coding_dictionary *);
    int64_t (*coding_workspace_bytes)(const coding_job *);
    void (*code)(coding_job *);
    void (*accumulate)(code_statistics_job *);
    int64_t (*update_workspace_bytes)(const update_job *);
    void (*update)(update_job *);
} sparse_coding_kernels;

#ifndef AEFAST_ISA /* for the caller, who is no instance */
#define X(isa) extern const sparse_coding_kernels sparse_coding_f32_##isa, sparse_coding_f64_##isa;
AEFAST_EACH_ISA(X)
#undef X
#define X(isa) {&sparse_coding_f32_##isa, &sparse_coding_f64_##isa},
static const sparse_coding_kernels *const sparse_coding_tables[AEFAST_N_ISAS][2] = {
    AEFAST_EACH_ISA(X)};
#undef X
#endif

#endif
