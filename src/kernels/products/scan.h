/* One pass over the rows of a table that checks them and sums their columns: what Python hands to
   the kernel, and its table. */
#ifndef AEFAST_SCAN_H
#define AEFAST_SCAN_H

#include "kernels/base/rows_view.h"
#include "runtime/dispatch.h"

typedef struct {
    rows_view rows;
    int64_t n_features;
    int n_threads;
    const double *sample_weight;      /* by row number; NULL: 1 */
    double *column_sums;              /* (d): added to, weighted, missing entries left out; */
    double *column_weights;           /* (d): the weights of the others */
    double *column_low, *column_high; /* in/out (d): the least and the greatest entry, or NULL */
    int status;                       /* out */
} scan_job;

typedef struct {
    void (*scan)(scan_job *);
} scan_kernels;

#ifndef AEFAST_ISA /* for the caller, who is no instance: scan_tables[instruction set][0: float32, \
                      1: float64] */
#define X(isa) extern const scan_kernels scan_f32_##isa, scan_f64_##isa;
AEFAST_EACH_ISA(X)
#undef X
#define X(isa) {&scan_f32_##isa, &scan_f64_##isa},
static const scan_kernels *const scan_tables[AEFAST_N_ISAS][2] = {AEFAST_EACH_ISA(X)};
#undef X
#endif

#endif
