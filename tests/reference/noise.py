"""Reference of counter-based random numbers: Philox4x32-10 (Salmon et al. 2011) in NumPy.

Each group of 64 columns has 16 lanes of four words. Column c of a sample has word c % 64 // 16 of
lane c % 16 in group c // 64.
"""

import numpy as np

LANES = 16
COLUMNS = 4 * LANES
INPUT, CODE = 0, 1  # purposes
WORD = np.uint64(0xFFFFFFFF)


def philox(counter, key):
    """Return four words (4, ...) of a counter of four words and a key of two, in uint64."""
    x, k = [np.asarray(part, np.uint64) for part in counter], [np.uint64(part) for part in key]
    for _ in range(10):
        p, q = x[0] * np.uint64(0xD2511F53), x[2] * np.uint64(0xCD9E8D57)
        high, low = p >> np.uint64(32), p & WORD
        other_high, other_low = q >> np.uint64(32), q & WORD
        x = [other_high ^ x[1] ^ k[0], other_low, high ^ x[3] ^ k[1], low]
        k = [(k[0] + np.uint64(0x9E3779B9)) & WORD, (k[1] + np.uint64(0xBB67AE85)) & WORD]
    return np.stack(np.broadcast_arrays(*x))


def words(seed, purpose, samples, n_columns, layer=0):
    """Return a random word for each sample and column, (n, n_columns)."""
    columns, samples = np.arange(n_columns), np.asarray(samples, np.uint64)[:, np.newaxis]
    lane = columns // COLUMNS * LANES + columns % LANES
    counter = (lane, layer << 8 | purpose, samples & WORD, samples >> np.uint64(32))
    all_words = philox(counter, (seed & 0xFFFFFFFF, seed >> 32))
    number = np.broadcast_to(columns % COLUMNS // LANES, all_words.shape[1:])
    return np.take_along_axis(all_words, number[np.newaxis], axis=0)[0]


def is_drawn(drawn, probability):
    return drawn < np.uint64(probability * 2**32)


def normals(seed, samples, n_columns):
    """Return standard normal numbers (Box & Muller 1958).

    The four words of a lane give a radius, an angle, a radius and an angle.
    """
    u = (words(seed, INPUT, samples, -(-n_columns // COLUMNS) * COLUMNS) + 0.5) / 2**32
    u = u.reshape(len(u), -1, 2, 2, LANES)  # groups, pairs of words, radius or angle, lanes
    radius, angle = np.sqrt(-2 * np.log(u[:, :, :, 0])), 2 * np.pi * u[:, :, :, 1]
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=3)
    return pairs.reshape(len(u), -1)[:, :n_columns]


def corrupted(X, kind, level, seed, first_sample=0, low=0.0, high=1.0):
    """Return corrupted rows X, which are the samples first_sample, first_sample + 1, …."""
    samples = first_sample + np.arange(len(X))
    drawn = words(seed, INPUT, samples, X.shape[1])
    if kind == "dropout":
        return np.where(is_drawn(drawn, level), 0.0, X / (1.0 - level))
    if kind == "masking":
        return np.where(is_drawn(drawn, level), 0.0, X)
    if kind == "salt_and_pepper":
        peppered = np.where(is_drawn(drawn, level), high, X)
        return np.where(is_drawn(drawn, 0.5 * level), low, peppered)
    return X + level * normals(seed, samples, X.shape[1])


def divided_by_norms(X):
    """Return rows divided by their Euclidean norms; rows of zeros as they are."""
    norms = np.linalg.norm(X, axis=1, keepdims=True)
    return X / np.where(norms > 0, norms, 1.0)


def dropout(shape, p, seed, first_sample=0):
    """Return the factor of each unit: 0 with probability p, 1 / (1 - p) otherwise."""
    drawn = words(seed, CODE, first_sample + np.arange(shape[0]), shape[1])
    return np.where(is_drawn(drawn, p), 0.0, 1.0 / (1.0 - p))
