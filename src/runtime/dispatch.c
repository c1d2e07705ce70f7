/* Names of the instruction sets and tests of what this build and this processor have. */
#include "runtime/dispatch.h"

const char *aefast_isa_name(int isa)
{
#define X(name) #name,
    static const char *const names[] = {AEFAST_EACH_ISA(X)};
#undef X
    return names[isa];
}

int aefast_isa_supported(int isa)
{
#if defined(__x86_64__)
    /* The compiler's CPUID test includes whether the operating system saves the wide registers. */
    __builtin_cpu_init();
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    switch (isa) {
#ifndef AEFAST_WITHOUT_AVX2
    case AEFAST_ISA_avx2:
        return avx2;
#endif
#ifndef AEFAST_WITHOUT_AVX512
    case AEFAST_ISA_avx512:
        return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
#endif
    }
    (void)avx2;
#endif
    (void)isa;
    return 1;
}

int aefast_bfloat16_built(int isa)
{
#define X(name) [AEFAST_ISA_##name] = 1,
    static const char built[AEFAST_N_ISAS + 1] = {AEFAST_EACH_BFLOAT16_ISA(X) 0};
#undef X
    return built[isa];
}

int aefast_bfloat16_supported(int isa)
{
    int supported = aefast_bfloat16_built(isa) && aefast_isa_supported(isa);
#ifdef AEFAST_AVX512_BFLOAT16
    if (isa == AEFAST_ISA_avx512)
        return supported && __builtin_cpu_supports("avx512bf16");
#endif
    return supported;
}
