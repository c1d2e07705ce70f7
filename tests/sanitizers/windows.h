/* What Windows' C library lacks, for the program of all kernels: include it before a source
   (-include). Its malloc aligns to 16 bytes, which is what the baseline's vectors need; larger
   alignments only separate cache lines. */
#ifndef AEFAST_TESTS_WINDOWS_H
#define AEFAST_TESTS_WINDOWS_H

#include <stdlib.h>

static inline void *aligned_alloc(size_t alignment, size_t n_bytes)
{
    (void)alignment;
    return malloc(n_bytes);
}

static inline int posix_memalign(void **memory, size_t alignment, size_t n_bytes)
{
    (void)alignment;
    *memory = malloc(n_bytes);
    return *memory ? 0 : 1;
}

#endif
