/* A team of threads that run one function together: how it starts, where its members meet, and the
 * floating-point mode they compute in. */
#ifndef AEFAST_TEAM_H
#define AEFAST_TEAM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef _OPENMP
#include <omp.h>
#endif

#include "kernels/base/thread_supply.h"

enum { CACHE_LINE = 64 }; /* bytes */

/* The threads that run one function together. They meet at a barrier of our own: OpenMP's spins for
   milliseconds, and where another process holds a core, the thread that is waited for does not get
   it back; steps were a hundred times slower. */
typedef struct {
    _Alignas(CACHE_LINE) _Atomic unsigned count; /* how often this member has arrived */
} arrival;

typedef struct {
    arrival *arrived; /* one a member: each writes its own and reads the others', so that a meeting
                         takes no longer than a cache line's way */
    int spins; /* before a member sleeps; none where there are more members than cores: who is
                  waited for needs the core */
    _Alignas(CACHE_LINE) _Atomic int n_asleep;
    pthread_mutex_t lock; /* of those asleep, until they are woken */
    pthread_cond_t awake;
} team;

/* One of them. A team of one is a plain call: it never enters OpenMP. */
typedef struct {
    int index, size;
    team *together;
} member;

enum {
    SPINS = 4000
}; /* 50 to 100 microseconds, no longer than falling asleep and being woken may take */

/* In the debug build members sleep at every meeting, so that its tests see it. */
static inline int spins_of_team(int n_threads, int n_cores)
{
#ifdef AEFAST_DEBUG
    n_cores = 0;
#endif
    return n_threads <= n_cores ? SPINS : 0;
}

static inline void spin_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb"); /* `yield` is over at once on most */
#endif
}

/* Whether this member has come to a meeting; it may be at the next one already. */
static inline int has_arrived(const arrival *a, unsigned meeting)
{
    return (int)(atomic_load(&a->count) - meeting) >= 0;
}

static int all_have_arrived(const arrival *arrived, int n, unsigned meeting)
{
    for (int i = 0; i < n; ++i)
        if (!has_arrived(&arrived[i], meeting))
            return 0;
    return 1;
}

/* A thread that sleeps is given a core soon after it is woken. One that yields its core, to ask
   again, gets it back when whoever took it has used up its turn: beside other busy processes that
   is milliseconds, at every meeting. */
static void sleep_until_all_arrive(team *t, int n, unsigned meeting)
{
    pthread_mutex_lock(&t->lock);
    atomic_fetch_add(&t->n_asleep, 1); /* then looks who arrived; the last to arrive says so, then
                                          looks who is asleep: one of the two sees the other */
    while (!all_have_arrived(t->arrived, n, meeting))
        pthread_cond_wait(&t->awake, &t->lock);
    atomic_fetch_sub(&t->n_asleep, 1);
    pthread_mutex_unlock(&t->lock);
}

static void wake_team(team *t)
{
    pthread_mutex_lock(&t->lock); /* nobody is between looking and sleeping */
    pthread_cond_broadcast(&t->awake);
    pthread_mutex_unlock(&t->lock);
}

/* Functions whose members end apart, and that are called again soon, end with one too: OpenMP's own
 * barrier then finds everybody there. */
static inline void team_barrier(member m)
{
    if (m.size == 1)
        return;
    team *t = m.together;
    arrival *arrived = t->arrived;
    unsigned meeting = atomic_load_explicit(&arrived[m.index].count, memory_order_relaxed) + 1;
    atomic_store(&arrived[m.index].count, meeting);
    if (atomic_load(&t->n_asleep) > 0 && all_have_arrived(arrived, m.size, meeting))
        wake_team(t);
    for (int i = 0, spins = 0; i < m.size;) {
        if (has_arrived(&arrived[i], meeting)) {
            ++i;
        } else if (spins < t->spins) {
            ++spins;
            spin_pause();
        } else {
            sleep_until_all_arrive(t, m.size, meeting);
            return;
        }
    }
}

/* The floating-point mode belongs to a thread, and other libraries change it: members would round
   differently. Each one sets a known mode and puts back what it found. Training flushes subnormal
   numbers to zero (the momentum of a dead unit decays into them and stays, and they are slow on
   some processors); one-pass operations keep them. */
enum { FLOAT_MODE_IEEE = 0, FLOAT_MODE_FLUSH = 1 };

static inline uint64_t float_mode_swap(uint64_t mode)
{
#if defined(__x86_64__)
    uint64_t old = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr((unsigned)mode);
    return old;
#elif defined(__aarch64__)
    uint64_t old;
    __asm__ volatile("mrs %0, fpcr" : "=r"(old));
    __asm__ volatile("msr fpcr, %0" : : "r"(mode));
    return old;
#else
    return mode;
#endif
}

static inline uint64_t float_mode_bits(int mode)
{
#if defined(__x86_64__)
    return mode == FLOAT_MODE_FLUSH ? 0x9fc0
                                    : 0x1f80; /* all exceptions masked, to nearest; FTZ and DAZ */
#elif defined(__aarch64__)
    return mode == FLOAT_MODE_FLUSH ? 1u << 24 : 0;
#else
    return (uint64_t)mode;
#endif
}

typedef void team_function(void *context, member m);

static inline void run_member(int mode, team_function *function, void *context, member m)
{
    uint64_t found = float_mode_swap(float_mode_bits(mode));
    function(context, m);
    float_mode_swap(found);
}

#ifdef _OPENMP
/* Returns 0, and has run nothing, where there is no memory for the members' arrivals: these stand
   on the heap, because a caller's thread may have a stack smaller than a large team's arrivals. */
static inline int run_in_parallel(int n_threads, int mode, team_function *function, void *context)
{
    arrival *arrived = aligned_alloc(CACHE_LINE, (size_t)n_threads * sizeof *arrived);
    if (!arrived)
        return 0;
    memset(arrived, 0, (size_t)n_threads * sizeof *arrived);
    team together = {.arrived = arrived,
                     .spins = spins_of_team(n_threads, omp_get_num_procs()),
                     .lock = PTHREAD_MUTEX_INITIALIZER,
                     .awake = PTHREAD_COND_INITIALIZER};
#pragma omp parallel num_threads(n_threads)
    {
        member m = {omp_get_thread_num(), omp_get_num_threads(), &together};
        if (m.index == 0)
            pool_size = m.size;
        run_member(mode, function, context, m);
    }
    pthread_cond_destroy(&together.awake);
    pthread_mutex_destroy(&together.lock);
    free(arrived);
    return 1;
}
#endif

/* Runs `function` in a team of at most n_threads members. A team of one never enters OpenMP. */
static inline void team_run(int n_threads, int mode, team_function *function, void *context)
{
#ifdef _OPENMP
    if (n_threads > 1)
        n_threads = affordable_team(n_threads);
    if (n_threads > 1 && run_in_parallel(n_threads, mode, function, context))
        return;
#endif
    (void)n_threads;
    run_member(mode, function, context, (member){.index = 0, .size = 1});
}

#endif
