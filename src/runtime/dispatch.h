/* The instruction sets that this build has kernels for, in rising order. setup.py compiles an
 * instance of every kernel for each. */
#ifndef AEFAST_DISPATCH_H
#define AEFAST_DISPATCH_H

#ifndef AEFAST_WITHOUT_BASELINE /* setup.py may leave sets out */
#define AEFAST_BASELINE(X) X(baseline)
#else
#define AEFAST_BASELINE(X)
#endif
#ifndef AEFAST_WITHOUT_AVX2
#define AEFAST_AVX2(X) X(avx2)
#else
#define AEFAST_AVX2(X)
#endif
#ifndef AEFAST_WITHOUT_AVX512
#define AEFAST_AVX512(X) X(avx512)
#else
#define AEFAST_AVX512(X)
#endif

#if defined(__x86_64__)
#define AEFAST_EACH_NATIVE_ISA(X) AEFAST_BASELINE(X) AEFAST_AVX2(X) AEFAST_AVX512(X)
#else
#define AEFAST_EACH_NATIVE_ISA(X) X(generic)
#endif

#ifdef AEFAST_DEBUG
#define AEFAST_EACH_ISA(X)                                                                         \
    AEFAST_EACH_NATIVE_ISA(X)                                                                      \
    X(wide) /* 64-byte vectors on any processor, to test code for 512 bits */
#else
#define AEFAST_EACH_ISA(X) AEFAST_EACH_NATIVE_ISA(X)
#endif

/* Those that have kernels for bfloat16 too. Where the processor lacks the instructions there are
 * none, but for tests. */
#ifdef AEFAST_AVX512_BFLOAT16 /* the compiler knows them: setup.py says so */
#define AEFAST_EACH_NATIVE_BFLOAT16_ISA(X) X(avx512)
#else
#define AEFAST_EACH_NATIVE_BFLOAT16_ISA(X)
#endif

#ifdef AEFAST_DEBUG
#define AEFAST_EACH_BFLOAT16_ISA(X) AEFAST_EACH_NATIVE_BFLOAT16_ISA(X) X(wide)
#else
#define AEFAST_EACH_BFLOAT16_ISA(X) AEFAST_EACH_NATIVE_BFLOAT16_ISA(X)
#endif

#define X(isa) AEFAST_ISA_##isa,
enum { AEFAST_EACH_ISA(X) AEFAST_N_ISAS };
#undef X

const char *aefast_isa_name(int isa);
int aefast_isa_supported(int isa); /* by this processor and operating system */

/* Whether there are kernels for bfloat16 with this instruction set, and whether the processor can
 * execute them. */
int aefast_bfloat16_built(int isa);
int aefast_bfloat16_supported(int isa);

#endif
