/* Terms that losses leave out, and samples, for each distribution of the table. They are needed
   once in a call, not in each step, and are computed entry by entry in double. */
#ifndef AEFAST_LIKELIHOODS_H
#define AEFAST_LIKELIHOODS_H

#include "kernels/autoencoder/tables/distributions.h"

/* out (n, m) <- the terms that the losses of x (n, m) leave out; 0 where an entry is missing.
   For a group, out is (n): one number per row. */
static void output_log_base(int output, int64_t n, int64_t m, const double *x, double constant,
                            double *out)
{
    const output_entry *entry = &outputs[output];
    double normalizer = entry->log_normalizer ? entry->log_normalizer(constant) : 0;
    for (int64_t i = 0; entry->info.is_group && i < n; ++i)
        out[i] = x[i * m] == x[i * m] && entry->group_base ? entry->group_base(m, x + i * m) : 0;
    for (int64_t i = 0; !entry->info.is_group && i < n * m; ++i)
        out[i] = x[i] != x[i] ? 0 : normalizer + (entry->base ? entry->base(x[i]) : 0);
}

/* x (n, m) <- draws from p(x | mu(eta)), with eta (n, m) and theta (m), or NULL. n_draws (n) are
   the totals of a multinomial; NULL: one draw each. Return whether all draws are finite. */
static int output_sample(int output, int64_t n, int64_t m, const double *eta, const double *theta,
                         double constant, const double *n_draws, const generator *random, double *x)
{
    const output_entry *entry = &outputs[output];
    int is_finite = 1;
    for (int64_t i = 0; entry->info.is_group && i < n; ++i)
        entry->group_sample(m, eta + i * m, n_draws ? n_draws[i] : 1, random, x + i * m);
    for (int64_t i = 0; !entry->info.is_group && i < n * m; ++i) {
        x[i] = entry->sample(eta[i], theta ? theta[i % m] : 0, constant, random);
        is_finite &= fabs(x[i]) <= DBL_MAX;
    }
    return is_finite;
}

#endif
