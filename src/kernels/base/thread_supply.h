/* A test, made before OpenMP creates threads, of how many the system grants.

   Where libgomp cannot create a thread (RLIMIT_NPROC, the pids limit of a container, no address
   space for another stack) it prints a line and calls exit: it has no error path, and every unsaved
   model would be lost. Before a team grows beyond the pool of the calling thread, the functions
   below therefore create as many threads of the same stack size, all alive at once, and join them;
   the team takes as many as could be created. Results do not depend on the number of threads.

   Two gaps remain. Another process, or another thread of this one, may take the last thread in
   between. Another user of OpenMP in the same thread may have made libgomp's pool smaller since the
   last team of this module; libgomp does not report the size of its pool. */
#ifndef AEFAST_THREAD_SUPPLY_H
#define AEFAST_THREAD_SUPPLY_H

#ifdef _OPENMP

#include <limits.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

/* The stack size in bytes that OMP_STACKSIZE (or GOMP_STACKSIZE) asks for: a number, in KiB unless
   B, K, M or G follows. Returns 0 for the system's default. */
static inline size_t openmp_stack_bytes(void)
{
    const char *text = getenv("OMP_STACKSIZE");
    if (!text)
        text = getenv("GOMP_STACKSIZE");
    if (!text)
        return 0;
    char *unit;
    unsigned long long size = strtoull(text, &unit, 10);
    while (*unit == ' ')
        ++unit;
    int shift = 10;
    if (*unit == 'b' || *unit == 'B')
        shift = 0;
    else if (*unit == 'm' || *unit == 'M')
        shift = 20;
    else if (*unit == 'g' || *unit == 'G')
        shift = 30;
    return size > (SIZE_MAX >> shift) ? 0 : (size_t)size << shift;
}

/* Body of a test thread: wait until the creating thread has counted how many could be created. */
static void *wait_for_count(void *gate)
{
    pthread_mutex_lock(gate);
    pthread_mutex_unlock(gate);
    return 0;
}

/* Return how many of `wanted` threads beside the calling one the system grants at present. */
static inline int count_threads_to_be_had(int wanted)
{
    pthread_t *threads = malloc((size_t)wanted * sizeof *threads);
    pthread_attr_t attributes;
    if (!threads || pthread_attr_init(&attributes)) {
        free(threads);
        return 0;
    }
    size_t stack_bytes = openmp_stack_bytes();
    if (stack_bytes)
        /* If the size is refused the default applies, as in libgomp. */
        pthread_attr_setstacksize(&attributes, stack_bytes);
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    int n = 0;
    pthread_mutex_lock(&gate);
    while (n < wanted && pthread_create(&threads[n], &attributes, wait_for_count, &gate) == 0)
        ++n;
    pthread_mutex_unlock(&gate);
    for (int i = 0; i < n; ++i)
        pthread_join(threads[i], 0);
    pthread_mutex_destroy(&gate);
    pthread_attr_destroy(&attributes);
    free(threads);
    return n;
}

/* The largest team for which the calling thread's stack has room: libgomp keeps a description of
   each new thread there, some 100 bytes. */
static inline int team_for_stack(void)
{
#ifdef __GLIBC__
    enum { BYTES_A_MEMBER = 512 };
    pthread_attr_t attributes;
    void *lowest;
    size_t size;
    if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
        int status = pthread_attr_getstack(&attributes, &lowest, &size);
        pthread_attr_destroy(&attributes);
        size_t left = (size_t)((char *)__builtin_frame_address(0) - (char *)lowest);
        if (status == 0 && left / BYTES_A_MEMBER < INT_MAX)
            return (int)(left / BYTES_A_MEMBER);
    }
#endif
    return INT_MAX;
}

/* Size of the calling thread's last team. libgomp's pool keeps exactly so many threads for the next
   one. */
static _Thread_local int pool_size = 1;

/* Return the largest team size, at most n_threads, that OpenMP can start from this thread. */
static inline int affordable_team(int n_threads)
{
    if (n_threads <= pool_size)
        return n_threads;
    int most = team_for_stack();
    int wanted = n_threads < most ? n_threads : most;
    return wanted > 1 ? 1 + count_threads_to_be_had(wanted - 1) : 1;
}

#endif
#endif
