/* Measurement of the peak rate of fused multiply-adds. */
#include "runtime/peak.h"

#include "kernels/base/parallel.h"
#include "kernels/base/vec.h"

/* Number of independent sums: enough to hide the latency of multiply-adds, and few enough for 16
   registers together with their operands. */
enum { ACCUMULATORS = 12 };

typedef struct {
    int64_t rounds;
    double *sink;
} peak_job;

static void peak_member(void *context, member m)
{
    const peak_job *job = (const peak_job *)context;
    vec sum[ACCUMULATORS], a = vec_set((real)0.999), b = vec_set((real)0.001);
    for (int i = 0; i < ACCUMULATORS; ++i)
        sum[i] = vec_set((real)i);
    for (int64_t r = 0; r < job->rounds; ++r)
        for (int i = 0; i < ACCUMULATORS; ++i)
            sum[i] = vec_fma(sum[i], a, b); /* each step rounds: compilers cannot merge steps */
    double total = 0;
    for (int i = 0; i < ACCUMULATORS; ++i)
        total += vec_sum(sum[i]);
    if (m.index == 0)
        *job->sink = total;
}

static double multiply_adds(int64_t rounds, int n_threads, double *sink)
{
    peak_job job = {.rounds = rounds, .sink = sink};
    team_run(n_threads, FLOAT_MODE_FLUSH, peak_member, &job);
    return 2.0 * LANES * ACCUMULATORS * (double)rounds * n_threads;
}

const peak_kernels INSTANCE(peak) = {.multiply_adds = multiply_adds};
