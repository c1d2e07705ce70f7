/* The mode of a thread's floating-point arithmetic: rounding, and what becomes of subnormals. */
#ifndef AEFAST_FLOAT_MODE_H
#define AEFAST_FLOAT_MODE_H

#include <stdint.h>

/* Modes of floating-point arithmetic. The mode belongs to a thread and other libraries change it,
   which would make members round differently: each member sets a known mode and restores the
   previous one at the end. Training flushes subnormal numbers to zero, because the momentum of a
   dead unit decays into subnormal numbers and stays there, and they are slow on some processors.
   One-pass operations keep subnormal numbers. */
enum { FLOAT_MODE_IEEE = 0, FLOAT_MODE_FLUSH = 1 };

static inline uint64_t float_mode_of_thread(void)
{
#if defined(__x86_64__)
    return __builtin_ia32_stmxcsr();
#elif defined(__aarch64__)
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
#else
    return 0;
#endif
}

static inline uint64_t float_mode_swap(uint64_t mode)
{
    uint64_t old = float_mode_of_thread();
#if defined(__x86_64__)
    __builtin_ia32_ldmxcsr((unsigned)mode);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(mode));
#else
    (void)mode;
#endif
    return old;
}

static inline uint64_t float_mode_bits(int mode)
{
#if defined(__x86_64__)
    /* Both modes mask all exceptions and round to nearest; the first sets FTZ and DAZ. */
    return mode == FLOAT_MODE_FLUSH ? 0x9fc0 : 0x1f80;
#elif defined(__aarch64__)
    return mode == FLOAT_MODE_FLUSH ? 1u << 24 : 0;
#else
    return (uint64_t)mode;
#endif
}

#endif
