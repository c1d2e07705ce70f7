"""Reference of distances to the nearest references, in float64 NumPy."""

import numpy as np


def nearest(X, references, rank, shift, factor):
    """Return distances (n, B) to the rank-th nearest of each set (B, m, d), and all (n, B, m)."""
    rows = (np.asarray(X, np.float64) - shift) * factor
    differences = np.abs(rows[:, None, None] - np.asarray(references, np.float64)[None])
    distances = np.nansum(differences, axis=-1)  # a missing entry adds nothing
    return np.sort(distances, axis=-1)[:, :, rank - 1], distances


def strangeness(X, references, rank, shift, factor):
    """Return the mean over the sets of the distances (n,)."""
    return nearest(X, references, rank, shift, factor)[0].mean(axis=1)


def parts(X, references, rank, shift, factor):
    """Return each entry's part (n, d) of the mean distance, where no two distances are equal."""
    found, distances = nearest(X, references, rank, shift, factor)
    rows = (np.asarray(X, np.float64) - shift) * factor
    made = np.zeros(rows.shape)
    for b, of_set in enumerate(references):
        place = np.abs(distances[:, b] - found[:, [b]]).argmin(axis=1)
        made += np.abs(rows - of_set[place])
    return made / len(references)
