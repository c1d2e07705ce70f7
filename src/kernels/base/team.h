/* Teams of threads that run one function together: start of a team, and its barrier. */
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

#include "kernels/base/float_mode.h"
#include "kernels/base/thread_supply.h"

enum { CACHE_LINE = 64 }; /* in bytes */

/* The number of barriers at which one member of a team has arrived, alone in its cache line. */
typedef struct {
    _Alignas(CACHE_LINE) _Atomic unsigned count;
} arrival;

/* The threads that run one function together. `team_barrier` replaces OpenMP's barrier, which spins
   for milliseconds: where another process holds a core, spinning keeps the late thread from getting
   a core back, and training steps were a hundred times slower. */
typedef struct {
    /* One counter for each member. A member writes its own and reads all others, so that a barrier
       takes no longer than the transfer of a cache line. */
    arrival *arrived;
    /* Number of polls before a waiting member sleeps. 0 where the team has more members than cores:
       the late member needs the core. */
    int spins;
    /* Number of members that sleep at a barrier. */
    _Alignas(CACHE_LINE) _Atomic int n_asleep;
    /* Lock and condition on which members sleep until they are woken. */
    pthread_mutex_t lock;
    pthread_cond_t awake;
} team;

/* One thread of a team. A team of one thread is a plain call that never enters OpenMP. */
typedef struct {
    int index, size;
    team *together;
} member;

/* Polls before a member sleeps: 50 to 100 microseconds, about as long as sleep and wake-up take. */
enum { SPINS = 4000 };

/* In the debug build members sleep at every barrier, so that tests exercise sleeping. */
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
    __asm__ volatile("isb"); /* on most processors `yield` takes no time at all */
#endif
}

/* Whether a member has arrived at barrier number `barrier`; it may be at the next one already. */
static inline int has_arrived(const arrival *a, unsigned barrier)
{
    return (int)(atomic_load(&a->count) - barrier) >= 0;
}

static int all_have_arrived(const arrival *arrived, int n, unsigned barrier)
{
    for (int i = 0; i < n; ++i)
        if (!has_arrived(&arrived[i], barrier))
            return 0;
    return 1;
}

/* Sleep until all n members have arrived at a barrier. The system gives a thread a core soon after
   it is woken. A thread that yields its core and polls again would get the core back only when the
   next process has used up its time slice: milliseconds at every barrier on a busy machine. */
static void sleep_until_all_arrive(team *t, int n, unsigned barrier)
{
    pthread_mutex_lock(&t->lock);
    /* A sleeper announces itself, then reads the arrivals; the last member to arrive announces its
       arrival, then reads n_asleep. At least one of the two sees the other. */
    atomic_fetch_add(&t->n_asleep, 1);
    while (!all_have_arrived(t->arrived, n, barrier))
        pthread_cond_wait(&t->awake, &t->lock);
    atomic_fetch_sub(&t->n_asleep, 1);
    pthread_mutex_unlock(&t->lock);
}

static void wake_team(team *t)
{
    pthread_mutex_lock(&t->lock); /* no member is between its check and its sleep */
    pthread_cond_broadcast(&t->awake);
    pthread_mutex_unlock(&t->lock);
}

/* Wait until all members of the team have arrived. A function whose members finish at different
   times, and that is called again soon, also ends with this barrier: OpenMP's implicit barrier then
   finds all threads present. */
static inline void team_barrier(member m)
{
    if (m.size == 1)
        return;
    team *t = m.together;
    arrival *arrived = t->arrived;
    unsigned barrier = atomic_load_explicit(&arrived[m.index].count, memory_order_relaxed) + 1;
    atomic_store(&arrived[m.index].count, barrier);
    if (atomic_load(&t->n_asleep) > 0 && all_have_arrived(arrived, m.size, barrier))
        wake_team(t);
    for (int i = 0, spins = 0; i < m.size;) {
        if (has_arrived(&arrived[i], barrier)) {
            ++i;
        } else if (spins < t->spins) {
            ++spins;
            spin_pause();
        } else {
            sleep_until_all_arrive(t, m.size, barrier);
            return;
        }
    }
}

typedef void team_function(void *context, member m);

static inline void run_member(int mode, team_function *function, void *context, member m)
{
    uint64_t found = float_mode_swap(float_mode_bits(mode));
    function(context, m);
    float_mode_swap(found);
}

#ifdef _OPENMP
/* Run `function` in a team of n_threads > 1. Returns 0, without having run anything, where there is
   no memory for the members' counters. The counters are on the heap, because those of a large team
   may exceed the stack of the calling thread. */
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
        member m = {
            .index = omp_get_thread_num(), .size = omp_get_num_threads(), .together = &together};
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

/* Run `function` in a team of at most n_threads members. A team of one never enters OpenMP. */
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
