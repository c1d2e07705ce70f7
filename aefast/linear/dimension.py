"""Number of components, chosen by the likelihood of held-out rows or by the evidence."""

import functools

import numpy as np
from scipy import linalg, special

from aefast._base import threads

SMALLEST_NOISE = 1e-10  # least noise variance, as a fraction of the columns' mean variance


def highest(score, low, high):
    """Return the k in [low, high] that maximises score(k), by bisection on the sign of its slope.

    The score must rise with k and then fall.
    """
    score = functools.cache(score)
    while high - low > 1:
        middle = (low + high) // 2
        if score(middle) < score(middle + 1):
            low = middle + 1
        else:
            high = middle
    return max(range(low, high + 1), key=score)


@threads.with_same_bits
def held_out_scores(train, held_out):
    """Return log-likelihoods of held-out rows for models with 1, ..., d − 1 components.

    All models follow from one decomposition of the training rows' covariance. The result has
    max(1, d − 1) entries.
    """
    values, U = linalg.eigh(train.covariance())
    values, U = np.maximum(values[::-1], 0.0), U[:, ::-1]
    delta = held_out.mean_ - train.mean_
    spread = np.einsum("ij,ij->j", U, (held_out.covariance() + np.outer(delta, delta)) @ U)
    d = len(values)
    k = np.arange(1, max(2, d))
    left = np.maximum(d - k, 1)
    noise = np.maximum(
        (values.sum() - np.cumsum(values))[k - 1] / left, SMALLEST_NOISE * values.mean()
    )
    kept = np.maximum(values[:, None], noise)
    is_kept = np.arange(d)[:, None] < k
    log_det = np.where(is_kept, np.log(kept), np.log(noise)).sum(axis=0)
    distance = np.where(is_kept, spread[:, None] / kept, spread[:, None] / noise)
    return -0.5 * held_out.weight_sum_ * (d * np.log(2 * np.pi) + log_det + distance.sum(axis=0))


def minka(values, n):
    """Return the k, 1 ≤ k < d, of greatest Laplace evidence (Minka 2000, eq. 30).

    values are the eigenvalues of the covariance that are larger than rounding, descending; n is the
    number of rows.
    """
    d, n = len(values), min(n, 1e300)  # for larger n, terms of the evidence would overflow
    evidence = [_minka_evidence(values, k, d, n) for k in range(1, d)]
    return 1 + int(np.argmax(evidence)) if evidence else 1


def _minka_evidence(values, k, d, n):
    i = np.arange(1, k + 1)
    log_p_U = (
        -k * np.log(2) + (special.gammaln((d - i + 1) / 2) - (d - i + 1) / 2 * np.log(np.pi)).sum()
    )
    noise = values[k:].mean()
    m = d * k - k * (k + 1) / 2
    shown = np.concatenate([values[:k], np.full(d - k, noise)])
    smallest = np.finfo(np.float64).eps / values[0]
    inverse_gaps = np.maximum(1 / shown[None, :] - 1 / shown[:k, None], smallest)
    gaps = np.maximum(values[:k, None] - values[None, :], np.finfo(np.float64).eps * values[0])
    pairs = np.arange(d)[None, :] > np.arange(k)[:, None]
    log_A = (np.log(inverse_gaps[pairs]) + np.log(gaps[pairs]) + np.log(n)).sum()
    return (
        log_p_U
        - n / 2 * np.log(values[:k]).sum()
        - n * (d - k) / 2 * np.log(noise)
        + (m + k) / 2 * np.log(2 * np.pi)
        - log_A / 2
        - k / 2 * np.log(n)
    )
