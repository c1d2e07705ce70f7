/* The macros that define an instance: one kernel file compiled for one instruction set and one
   precision.

   setup.py compiles each .c file below src/kernels once for each pair (instruction set, real type),
   with
       -DAEFAST_ISA=avx2 -DAEFAST_REAL_BITS=32   and the flags of that instruction set,
   and each file that has a bfloat16 form once more with -DAEFAST_BFLOAT16. AEFAST_REAL_BITS and
   AEFAST_ISA determine the type `real`, its largest value and epsilon, and the suffix of the one
   symbol that the instance exports. */
#ifndef AEFAST_REAL_H
#define AEFAST_REAL_H

#include <float.h>
#include <stdint.h>

#if AEFAST_REAL_BITS == 32
typedef float real;
typedef int32_t real_int; /* integers as wide as a real */
typedef uint32_t real_uint;
#define REAL_MAX FLT_MAX
#define REAL_EPSILON FLT_EPSILON
#ifdef AEFAST_BFLOAT16 /* products multiply bfloat16 numbers: products/operand.h */
#define AEFAST_REAL_NAME bf16
#else
#define AEFAST_REAL_NAME f32
#endif
#elif AEFAST_REAL_BITS == 64
typedef double real;
typedef int64_t real_int;
typedef uint64_t real_uint;
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

/* The name of a symbol in this instance: INSTANCE(autoencoder) is autoencoder_f32_avx2. */
#define INSTANCE(name) AEFAST_JOIN(name, AEFAST_REAL_NAME, AEFAST_ISA)

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Pragmas to put before a loop. UNROLL(n) unrolls a loop completely; it has at most n iterations,
   and their number is a constant once the function is inlined. UNROLL_BY(n) merges n iterations of
   a longer loop into one. Under GCC's pragma, clang up to version 16 does not unroll completely and
   keeps the sums of a tile in memory instead of registers, hence its own pragma. */
#define AEFAST_PRAGMA(text) _Pragma(#text)
#if defined(__clang__)
#define UNROLL(n) AEFAST_PRAGMA(clang loop unroll(full))
#define UNROLL_BY(n) AEFAST_PRAGMA(clang loop unroll_count(n))
#else
#define UNROLL(n) AEFAST_PRAGMA(GCC unroll n)
#define UNROLL_BY(n) AEFAST_PRAGMA(GCC unroll n)
#endif

#endif
