/* The peak rate to which benchmarks relate their results: that of a loop of fused multiply-adds
   that works in registers alone. */
#ifndef AEFAST_PEAK_H
#define AEFAST_PEAK_H

#include <stdint.h>

#include "runtime/dispatch.h"

typedef struct {
    /* Run `rounds` iterations of the loop in each of n_threads threads. Returns the number of
       floating-point operations of all threads. A result is written to `sink`, so that compilers
       cannot remove the loop. */
    double (*multiply_adds)(int64_t rounds, int n_threads, double *sink);
} peak_kernels;

/* For callers outside instances: peak_tables[instruction set][0: float32, 1: float64]. */
#ifndef AEFAST_ISA
#define X(isa) extern const peak_kernels peak_f32_##isa, peak_f64_##isa;
AEFAST_EACH_ISA(X)
#undef X
#define X(isa) {&peak_f32_##isa, &peak_f64_##isa},
static const peak_kernels *const peak_tables[AEFAST_N_ISAS][2] = {AEFAST_EACH_ISA(X)};
#undef X
#endif

#endif
