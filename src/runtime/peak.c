#include "runtime/peak.h"

#include "kernels/base/parallel.h"
#include "kernels/base/vec.h"

enum {
    ACCUMULATORS = 12
}; /* independent, to cover latency times throughput; they fit in 16 registers with their operands
    */

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
            sum[i] = vec_fma(sum[i], a, b); /* a chain of roundings: no compiler may shorten it */
    double total = 0;
    for (int i = 0; i < ACCUMULATORS; ++i)
        total += vec_sum(sum[i]);
    if (m.index == 0)
        *job->sink = total;
}

static double multiply_adds(int64_t rounds, int n_threads, double *sink)
{
    peak_job job = {rounds, sink};
    team_run(n_threads, FLOAT_MODE_FLUSH, peak_member, &job);
    return 2.0 * LANES * ACCUMULATORS * (double)rounds * n_threads;
}

const peak_kernels INSTANCE(peak) = {.multiply_adds = multiply_adds};
