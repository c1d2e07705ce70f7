/* Arguments of the kernels of sparse coding, and the table of kernels that one instance exports.

   The code h of a row x (d) minimises 1/2 ||x - h D||^2 + alpha ||h||_1 or a related objective.
   Each row of D (k, d) is an atom. Weights of the atoms in the penalty, alpha w_j |h_j|, are
   divided out: in terms of D_j / w_j and w_j h_j the weighted problem is the unweighted one. Arrays
   are row-major. */
#ifndef AEFAST_SPARSE_CODING_H
#define AEFAST_SPARSE_CODING_H

#include <stdint.h>

#include "kernels/base/rows_view.h"
#include "runtime/dispatch.h"

/* The dictionary D and memory for the forms of it that kernels read, which `prepare` writes. */
typedef struct {
    int64_t n_features, n_components;
    /* D (k, d), reals. */
    const void *atoms;
    /* Memory of prepared_bytes. */
    void *prepared;
    int n_threads;
} coding_dictionary;

/* Coding of rows. The bits of a row's code do not depend on the other rows of the call. */
typedef struct {
    coding_dictionary dictionary;
    rows_view rows;
    /* Index in the table of algorithms. */
    int algorithm;
    /* Whether codes are constrained to h >= 0. */
    int positive;
    /* 0 for least-angle regression, which does not use it. */
    double alpha;
    /* Lasso: a row ends when its duality gap <= tol * 1/2 ||x||^2. */
    double tol;
    /* Largest number of sweeps or steps for a row. */
    int64_t max_iter;
    /* ista, fista: length of a gradient step, at most 1 / ||D||_2^2. */
    double step;
    /* Pursuits: largest number of nonzero entries of a code. */
    int64_t n_nonzero;
    /* Pursuits: a row ends when ||x - h D||^2 <= target. */
    double target;
    /* (n, k), reals: codes from which algorithms that support it start; NULL: 0. */
    const void *init;
    /* (k), reals: the weights w, by which codes are divided and init is multiplied; NULL: 1. */
    const void *weights;
    int n_threads;
    /* Memory of coding_workspace_bytes. */
    void *workspace;

    /* out: dense codes H (n, k), reals; NULL: sparse codes in the next four fields. */
    void *codes;
    /* Entries of indices and values for each row: at least k, or n_nonzero for a pursuit. */
    int64_t width;
    /* out (n, width): indices of each row's nonzero entries, in rising order. */
    int32_t *indices;
    /* out (n, width): the nonzero entries, reals. */
    void *values;
    /* out (n): number of nonzero entries of each row. */
    int64_t *counts;

    /* out (n), or NULL: 1/2 ||x - h D||^2, plus alpha sum_j w_j |h_j| except for pursuits. */
    double *objectives;
    /* out (n), if the algorithm has gaps: duality gap / (1/2 ||x||^2) of each returned code. */
    double *gaps;
    /* out: STATUS_... flags. */
    int status;
} coding_job;

/* Sums over coded rows, added row after row: A += sum of h^T h (k, k), B += sum of h^T x (k, d). */
typedef struct {
    int64_t n_features, n_components;
    rows_view rows;
    /* Sparse codes in the form of coding_job. */
    int64_t width;
    const int32_t *indices;
    const void *values;
    const int64_t *counts;
    double *A, *B;
    int n_threads;
} code_statistics_job;

/* Minimisation of 1/2 tr(D^T A D) - tr(D^T B) over atoms of norm <= 1, one atom after another
   (Mairal et al. 2010, algorithm 2). */
typedef struct {
    int64_t n_features, n_components;
    const double *A, *B;
    /* Whether atoms are constrained to D >= 0. */
    int positive;
    /* Number of sweeps over all atoms. */
    int64_t n_sweeps;
    /* Atoms with A_jj <= least_use are not changed. */
    double least_use;
    /* Power of two that multiplies A and B where they are read, so that A fits `real`. */
    double scale;
    /* in/out: D (k, d), reals. */
    void *atoms;
    /* Memory of update_workspace_bytes. */
    void *workspace;
    int n_threads;
    /* out: STATUS_NOT_FINITE if a new atom was not finite; that atom is not changed. */
    int status;
} update_job;

typedef struct {
    const char *name;
    /* Whether the algorithm solves the lasso, whose duality gap measures the accuracy. */
    int has_gap;
    /* Whether the algorithm can start from given codes. */
    int starts;
    /* Whether atoms are added one by one, up to n_nonzero or until the target is reached. */
    int pursues;
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

/* For callers outside instances: sparse_coding_tables[instruction set][0: float32, 1: float64]. */
#ifndef AEFAST_ISA
#define X(isa) extern const sparse_coding_kernels sparse_coding_f32_##isa, sparse_coding_f64_##isa;
AEFAST_EACH_ISA(X)
#undef X
#define X(isa) {&sparse_coding_f32_##isa, &sparse_coding_f64_##isa},
static const sparse_coding_kernels *const sparse_coding_tables[AEFAST_N_ISAS][2] = {
    AEFAST_EACH_ISA(X)};
#undef X
#endif

#endif
