/* The ceiling that benchmarks divide by: the rate of a register-only loop of fused multiply-adds.
 */
#ifndef AEFAST_PEAK_H
#define AEFAST_PEAK_H

#include <stdint.h>

#include "runtime/dispatch.h"

typedef struct {
    /* Runs `rounds` of the loop in each of n_threads threads; returns the floating-point operations
     * made by all. `sink` keeps the result alive. */
    double (*multiply_adds)(int64_t rounds, int n_threads, double *sink);
} peak_kernels;

#ifndef AEFAST_ISA
#define X(isa) extern const peak_kernels peak_f32_##isa, peak_f64_##isa;
AEFAST_EACH_ISA(X)
#undef X
#define X(isa) {&peak_f32_##isa, &peak_f64_##isa},
static const peak_kernels *const peak_tables[AEFAST_N_ISAS][2] = {AEFAST_EACH_ISA(X)};
#undef X
#endif

#endif
