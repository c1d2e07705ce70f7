/* Passes over the rows of a table: one that checks them and sums their columns, and one that turns
   results into the user's units. The kernels' arguments and the table of their instances. */
#ifndef AEFAST_SCAN_H
#define AEFAST_SCAN_H

#include "kernels/base/rows_view.h"
#include "runtime/dispatch.h"

typedef struct {
    rows_view rows;
    int64_t n_features;
    int n_threads;
    /* Weight of each row, by its index in the table; NULL: 1. */
    const double *sample_weight;
    /* in/out (d): the weighted sum of each column's entries that are not missing is added. */
    double *column_sums;
    /* in/out (d): the sum of the weights of these entries is added. */
    double *column_weights;
    /* in/out (d): the least and the greatest entry of each column; NULL: not wanted. */
    double *column_low, *column_high;
    /* out: STATUS_... flags. */
    int status;
} scan_job;

/* Rows x of a model become x scale + shift, rounded to the type of the rows after each of the two
   operations, which are in double. */
typedef struct {
    /* in/out (n_rows, n_features), float or double, contiguous. */
    void *values;
    int64_t n_rows, n_features;
    int n_threads;
    const double *scale, *shift;
    /* out: STATUS_NOT_FINITE where a result is not finite. */
    int status;
} units_job;

typedef struct {
    void (*scan)(scan_job *);
    void (*restore_units)(units_job *);
} scan_kernels;

/* For callers outside instances: scan_tables[instruction set][0: float32, 1: float64]. */
#ifndef AEFAST_ISA
#define X(isa) extern const scan_kernels scan_f32_##isa, scan_f64_##isa;
AEFAST_EACH_ISA(X)
#undef X
#define X(isa) {&scan_f32_##isa, &scan_f64_##isa},
static const scan_kernels *const scan_tables[AEFAST_N_ISAS][2] = {AEFAST_EACH_ISA(X)};
#undef X
#endif

#endif
