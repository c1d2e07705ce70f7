/* Preloaded by .ci/emulated: memory for emulated code, and names that older C libraries lack.
 *
 * The emulator runs in the thread that emulated code interrupts, and asks for memory when that code
 * touches a page for the first time. Where this happens inside malloc or free, with the lock of an
 * arena held, the thread would wait for itself. Emulated code, which has thread variables of its
 * own, therefore gets memory from a region of its own, without locks: it is one thread. What it
 * frees of the C library's memory is not given back: the kernels' tests free a few kilobytes so. */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { REGION = 1 << 30, SMALLEST = 64, N_CLASSES = 32 };

/* In front of each block, at a multiple of SMALLEST bytes below it. */
struct header {
    size_t size;         /* bytes of the block */
    int index;           /* its size is SMALLEST << index */
    struct header *next; /* of the free blocks of this size */
};

static char *region; /* pages are the system's until they are touched */
static size_t used;
static struct header *free_blocks[N_CLASSES];
static __thread int is_emulated __attribute__((tls_model("initial-exec")));

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t), *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

/* Sleep for ever in the calling thread, whose variables emulated code will have from the moment
 * when its thread pointer is stored. Returns where there is no memory. */
void emulation_lends_thread(volatile uintptr_t *thread_pointer)
{
    void *found = mmap(NULL, REGION, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (found == MAP_FAILED)
        return;
    region = found;
    is_emulated = 1;
    __asm__("mov %%fs:0, %0" : "=r"(*thread_pointer));
    for (;;)
        pause();
}

static int in_region(const void *block)
{
    return region && (const char *)block >= region && (const char *)block < region + REGION;
}

static struct header *header_of(void *block) { return (struct header *)((char *)block - SMALLEST); }

static void *take(size_t size)
{
    int index = 0;
    while (index < N_CLASSES && ((size_t)SMALLEST << index) < size)
        index++;
    if (index == N_CLASSES)
        return NULL;
    struct header *header = free_blocks[index];
    if (header) {
        free_blocks[index] = header->next;
    } else {
        size_t bytes = SMALLEST + ((size_t)SMALLEST << index);
        if (bytes > REGION - used)
            return NULL;
        header = (struct header *)(region + used);
        used += bytes;
    }
    header->size = (size_t)SMALLEST << index;
    header->index = index;
    return (char *)header + SMALLEST;
}

/* Return a block whose address is a multiple of a power of two. Large ones are never reused. */
static void *take_aligned(size_t alignment, size_t size)
{
    if (alignment <= SMALLEST)
        return take(size);
    char *block = size < REGION - alignment ? take(size + alignment) : NULL;
    if (!block)
        return NULL;
    char *aligned = (char *)(((uintptr_t)block + alignment - 1) & ~(uintptr_t)(alignment - 1));
    if (aligned != block) {
        header_of(aligned)->size = size;
        header_of(aligned)->index = -1;
    }
    return aligned;
}

void *malloc(size_t size) { return is_emulated ? take(size) : __libc_malloc(size); }

void *calloc(size_t n, size_t size)
{
    if (!is_emulated)
        return __libc_calloc(n, size);
    if (size && n > REGION / size)
        return NULL;
    void *block = take(n * size);
    return block ? memset(block, 0, n * size) : NULL;
}

void free(void *block)
{
    if (!in_region(block)) {
        if (!is_emulated)
            __libc_free(block);
    } else if (is_emulated && header_of(block)->index >= 0) {
        struct header *header = header_of(block);
        header->next = free_blocks[header->index];
        free_blocks[header->index] = header;
    }
}

void *realloc(void *block, size_t size)
{
    if (!is_emulated && !in_region(block))
        return __libc_realloc(block, size);
    void *moved = malloc(size);
    if (moved && block) {
        size_t known = in_region(block) ? header_of(block)->size : malloc_usable_size(block);
        memcpy(moved, block, known < size ? known : size);
        free(block);
    }
    return moved;
}

void *memalign(size_t alignment, size_t size)
{
    return is_emulated ? take_aligned(alignment, size) : __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) { return memalign(alignment, size); }

int posix_memalign(void **block, size_t alignment, size_t size)
{
    void *found = memalign(alignment, size);
    if (!found)
        return ENOMEM;
    *block = found;
    return 0;
}

#if !__GLIBC_PREREQ(2, 38) /* the emulator's wheel refers to these names */
unsigned long long __isoc23_strtoull(const char *text, char **end, int base)
{
    return strtoull(text, end, base);
}

int __isoc23_sscanf(const char *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int n = vsscanf(text, format, arguments);
    va_end(arguments);
    return n;
}
#endif
