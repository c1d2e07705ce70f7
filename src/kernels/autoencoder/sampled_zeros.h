/* Reconstruction sampling (Dauphin, Glorot & Bengio 2011): the loss of a row in CSR form is that of
   its stored entries and of a random sample of its zeros, whose losses are divided by the
   probability that they are drawn. The mean over all samples is the loss of all columns.

   The zeros of a row, in the order of their columns, are cut evenly into as many strata as zeros
   are wanted, and one is drawn of each. A stratum of n zeros has the importance weight n. The
   numbers are keyed by (seed, sample) alone. */
#ifndef AEFAST_SAMPLED_ZEROS_H
#define AEFAST_SAMPLED_ZEROS_H

#include "kernels/autoencoder/sparse_inputs.h"

/* Single entries are quicker than all where fewer than 1 in FEW_STORED has a loss. */
enum { FEW_STORED = 8 };

static inline int samples_zeros(const training_job *job)
{
    return job->sampled_zeros > 0 || job->sampled_ratio > 0;
}

/* Return whether losses and derivatives are computed for single entries of the output: with sampled
   zeros; and where entries that are not stored are missing, and few are stored. Groups of columns
   need whole rows. */
static inline int has_entry_outputs(const training_job *job)
{
    int64_t stored = job->batch_entries, all = job->batch_size * job->model.n_features;
    return samples_zeros(job) ||
           (job->rows.absent_missing && !job->model.has_groups && FEW_STORED * stored < all);
}

/* Return the number of zeros that are drawn for a row with this number of stored entries. */
static inline int64_t n_sampled_zeros(const training_job *job, int64_t n_stored)
{
    int64_t zeros = job->model.n_features - n_stored;
    if (!samples_zeros(job))
        return 0;
    double wanted = job->sampled_zeros > 0 ? (double)job->sampled_zeros
                                           : ceil(job->sampled_ratio * (double)n_stored);
    return wanted < 1 ? min_i64(1, zeros) : wanted < (double)zeros ? (int64_t)wanted : zeros;
}

/* Return the number of a zero of [begin, end), from two words of random bits. */
static inline int64_t drawn_of_stratum(const uint32_t *words, int64_t begin, int64_t end)
{
    double u = ((double)words[0] + (double)words[1] * 0x1p-32) * 0x1p-32;
    return min_i64(begin + (int64_t)(u * (double)(end - begin)), end - 1);
}

/* Draw zeros of a row, whose n stored entries are the first of `entries`, and sort them in. Return
   the number of all entries, whose importance weights become `weights`. */
static inline int64_t add_sampled_zeros(const training_job *job, int64_t sample, int32_t place,
                                        int64_t n, sparse_entry *entries, real *weights)
{
    const noise_key key = {job->inputs.seed, job->inputs.layer};
    int64_t wanted = n_sampled_zeros(job, n), zeros = job->model.n_features - n, read = 0, at = 0;
    sparse_entry *stored = entries + wanted;
    uint32_t words[NOISE_COLUMNS];
    memmove(stored, entries, (size_t)n * sizeof *entries);
    for (int64_t q = 0; q < wanted; ++q) {
        if (2 * q % NOISE_COLUMNS == 0)
            random_words(key, NOISE_ZEROS, sample, 2 * q / NOISE_COLUMNS, words);
        int64_t begin = part_begin(zeros, 1, wanted, q), end = part_begin(zeros, 1, wanted, q + 1),
                number = drawn_of_stratum(words + 2 * q % NOISE_COLUMNS, begin, end);
        /* `read` stored entries lie before column number + read, if the next one does not. */
        while (read < n && stored[read].column <= number + read) {
            weights[at] = 1;
            entries[at++] = stored[read++];
        }
        weights[at] = (real)(end - begin);
        entries[at++] = (sparse_entry){.place = place, .column = (int32_t)(number + read)};
    }
    for (; read < n; ++read) {
        weights[at] = 1;
        entries[at++] = stored[read];
    }
    return at;
}

#endif
