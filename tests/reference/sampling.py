"""Reference of reconstruction sampling (Dauphin, Glorot & Bengio 2011).

The loss of a row is ``Σ_j w_j l_j`` with weight 1 for stored entries and weight n for one zero of
each stratum of n zeros; the strata cut the zeros of the row, in the order of their columns, into as
many parts as are wanted.
"""

import numpy as np

from reference import noise

ZEROS = 2  # purpose of the random words


def n_drawn(n_stored, n_columns, wanted):
    """Return the number of sampled zeros: `wanted` of them, or a float per stored entry."""
    number = wanted if isinstance(wanted, int) else np.ceil(wanted * n_stored)
    return int(min(max(number, 1), n_columns - n_stored))


def weights(X, wanted, seed, first_sample=0):
    """Return the importance weight (n, d) of each entry of X, 0 where it is not drawn.

    X is a CSR matrix, whose stored entries all have weight 1.
    """
    n, d = X.shape
    out = np.zeros((n, d))
    for i in range(n):
        stored = X.indices[X.indptr[i] : X.indptr[i + 1]]
        out[i, stored] = 1.0
        zeros = np.setdiff1d(np.arange(d), stored)
        s = n_drawn(len(stored), d, wanted)
        drawn = noise.words(seed, ZEROS, [first_sample + i], 2 * s).astype(float).reshape(s, 2)
        u = (drawn[:, 0] + drawn[:, 1] / 2**32) / 2**32
        ends = [len(zeros) // s * q + len(zeros) % s * q // s for q in range(s + 1)]
        for q in range(s):
            size = ends[q + 1] - ends[q]
            out[i, zeros[min(ends[q] + int(u[q] * size), ends[q + 1] - 1)]] = size
    return out
