/* The instruction sets for which this build has kernels, in rising order. setup.py compiles an
   instance of every kernel file for each of them. */
#ifndef AEFAST_DISPATCH_H
#define AEFAST_DISPATCH_H

#ifndef AEFAST_WITHOUT_BASELINE /* setup.py can leave out instruction sets */
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

/* The instruction sets that also have kernels for bfloat16. Except in debug builds, for tests,
   these are only sets that can have instructions for bfloat16. */
#ifdef AEFAST_AVX512_BFLOAT16 /* defined by setup.py if the compiler knows the instructions */
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

/* The name of an instruction set, such as "avx2". */
const char *aefast_isa_name(int isa);

/* Whether this processor and operating system can execute the instruction set. */
int aefast_isa_supported(int isa);

/* Whether this build has kernels for bfloat16 with the instruction set. */
int aefast_bfloat16_built(int isa);

/* Whether the processor can execute these kernels. */
int aefast_bfloat16_supported(int isa);

#endif
