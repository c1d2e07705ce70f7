"""Number of components: held-out likelihood, evidence, eigenvalues of independent columns."""

import functools

import numpy as np
from scipy import linalg, special

from aefast._base import threads
from aefast._base.random import PARALLEL, random_stream

SMALLEST_NOISE = 1e-10  # least noise variance, as a fraction of the columns' mean variance
# Parallel analysis: share of tables of independent columns whose eigenvalues lie below the line,
# and number of columns from which their eigenvalues are drawn directly.
PARALLEL_QUANTILE = 0.95
DRAWN_FROM = 150


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


def first(holds, low, high):
    """Return the least k in [low, high] with holds(k), by bisection; holds(high) is taken as true.

    Where it holds for a k it must hold for all greater ones.
    """
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low


def least_within_one_error(best, weights):
    """Return the least sum of scores that is within one standard error of the best one.

    Parameters
    ----------
    best : ndarray (n_folds,)
        Sums over each fold's held-out rows of the scores of the best model; at least 2 folds.
    weights : ndarray (n_folds,)
        Weights of the folds. The standard error is that of the mean of the folds' mean scores.
    """
    means = best / weights
    error = means.std(ddof=1) / np.sqrt(len(means))
    return best.sum() - error * weights.sum()


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


# ---- parallel analysis ----


@functools.lru_cache(maxsize=64)
@threads.with_same_bits
def parallel_eigenvalues(n, d):
    """Return the eigenvalues that chance alone reaches, descending: the line of parallel analysis.

    The i-th is the 95 % quantile of the i-th largest eigenvalue of the correlation matrix of n rows
    of d independent normal columns (Horn 1965; quantiles: Glorfeld 1995). For a covariance matrix,
    multiply by the mean of the columns' variances. The random numbers are always the same.

    Parameters
    ----------
    n : int or float
        Number of rows, or their sum of weights; the time does not depend on it.
    d : int
        Number of columns.

    Returns
    -------
    eigenvalues : ndarray (d,)
        Not writeable; 0 from the n-th on.

    Notes
    -----
    Below 150 columns the scatter matrix is drawn by its Cholesky factor (Bartlett 1933) and scaled
    to a correlation matrix. From 150 on, eigenvalues of a Wishart matrix are drawn in O(d²) as
    those of a random tridiagonal matrix (Dumitriu & Edelman 2002) and scaled to the sum d: the
    largest eigenvalues have the same limits (Bao, Pan & Zhou 2012). There are 200 tables, and fewer
    (at least 20) for d > 150, since the eigenvalues of large tables vary less.
    """
    degrees = round(min(max(n - 1.0, 1.0), 1e15))
    random = random_stream(0, PARALLEL)
    draw = _wishart_eigenvalues if d >= DRAWN_FROM else _correlation_eigenvalues
    drawn = np.zeros((min(200, max(20, 30_000 // d)), d))
    for values in drawn:
        found = draw(random, degrees, d)
        values[: len(found)] = found
    line = np.quantile(drawn, PARALLEL_QUANTILE, axis=0)
    line.flags.writeable = False
    return line


def _correlation_eigenvalues(random, degrees, d):
    if degrees < d:
        root = random.standard_normal((d, degrees))
    else:
        root = np.tril(random.standard_normal((d, d)), -1)
        root[np.diag_indices(d)] = np.sqrt(random.chisquare(degrees - np.arange(d)))
    root /= np.linalg.norm(root, axis=1, keepdims=True)
    return np.square(linalg.svdvals(root))


def _wishart_eigenvalues(random, degrees, d):
    small, large = min(degrees, d), max(degrees, d)
    diagonal = random.chisquare(large - np.arange(small))
    below = random.chisquare(small - 1 - np.arange(small - 1))
    squares = diagonal.copy()
    squares[1:] += below
    values = linalg.eigvalsh_tridiagonal(squares, np.sqrt(diagonal[:-1] * below))[::-1]
    return values * (d / values.sum())


def above_parallel(values, line):
    """Return how many of the leading eigenvalues exceed the line of `parallel_eigenvalues`.

    Both are descending; counting ends at the first eigenvalue below the line.
    """
    below = np.flatnonzero(~(np.asarray(values) > line))
    return int(below[0]) if len(below) else len(line)
