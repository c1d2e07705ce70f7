/* What one instance of a kernel file is.

   setup.py compiles each .c file of this folder once per pair (instruction set, real type), with
       -DAEFAST_ISA=avx2 -DAEFAST_REAL_BITS=32   and the flags of that instruction set,
   and those that have a bfloat16 form once more, with -DAEFAST_BFLOAT16.
   From these two macros follow the type `real`, the limits and the suffix of the one symbol that an
   instance exports. */
#ifndef AEFAST_REAL_H
#define AEFAST_REAL_H

#include <float.h>
#include <stdint.h>

#if AEFAST_REAL_BITS == 32
typedef float real;
typedef int32_t real_int; /* the integer with as many bits */
#define REAL_MAX FLT_MAX
#define REAL_EPSILON FLT_EPSILON
#ifdef AEFAST_BFLOAT16 /* what products multiply: operand.h */
#define AEFAST_REAL_NAME bf16
#else
#define AEFAST_REAL_NAME f32
#endif
#elif AEFAST_REAL_BITS == 64
typedef double real;
typedef int64_t real_int;
#define REAL_MAX DBL_MAX
#define REAL_EPSILON DBL_EPSILON
#define AEFAST_REAL_NAME f64
#else
#error "compile with -DAEFAST_REAL_BITS=32 or 64"
#endif

#ifndef AEFAST_ISA
#error "compile with -DAEFAST_ISA=<name of the instruction set>"
#endif

#define AEFAST_JOIN_(name, real_name, isa) name##_##real_name##_##isa
#define AEFAST_JOIN(name, real_name, isa) AEFAST_JOIN_(name, real_name, isa)
#define INSTANCE(name)                                                                             \
    AEFAST_JOIN(name, AEFAST_REAL_NAME, AEFAST_ISA) /* autoencoder -> autoencoder_f32_avx2 */

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Before a loop. UNROLL(n): at most n iterations, whose number is a constant where the function is
   inlined, and none is left. UNROLL_BY(n): n iterations of a longer loop become one. Clang up to 16
   leaves the first kind rolled under GCC's pragma, and sums in memory instead of registers. */
#define AEFAST_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define UNROLL(n) AEFAST_PRAGMA(clang loop unroll(full))
#define UNROLL_BY(n) AEFAST_PRAGMA(clang loop unroll_count(n))
#else
#define UNROLL(n) AEFAST_PRAGMA(GCC unroll n)
#define UNROLL_BY(n) AEFAST_PRAGMA(GCC unroll n)
#endif

#endif
