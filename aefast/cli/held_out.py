"""Training and held-out rows."""

import numpy as np


def hold_out(rows, fraction, seed):
    """Split rows at random into training rows and held-out rows.

    The chosen rows are exchanged with the last ones in place, so that both results are slices of
    `rows` and only the exchanged rows are copied. (In a copy-on-write map of a file the exchanged
    rows take memory; the others stay in the file.)

    Parameters
    ----------
    rows : ndarray of shape (n_samples, n_features)
        Changed in place, unless `fraction` is 0.
    fraction : float
        Fraction of the rows to hold out, in [0, 1). The number of rows is rounded; it is at least
        one unless `fraction` is 0, and never all.
    seed : int
        Seed of the random choice.

    Returns
    -------
    train, test : ndarray
        Views of `rows`.
    """
    n_rows = len(rows)
    if fraction == 0:
        return rows, rows[n_rows:]
    n_test = min(max(round(fraction * n_rows), 1), n_rows - 1)
    n_train = n_rows - n_test
    chosen = np.random.default_rng(seed).choice(n_rows, n_test, replace=False, shuffle=False)
    outgoing = np.sort(chosen[chosen < n_train])
    incoming = np.setdiff1d(np.arange(n_train, n_rows), chosen)
    rows[outgoing], rows[incoming] = rows[incoming], rows[outgoing]
    return rows[:n_train], rows[n_train:]
