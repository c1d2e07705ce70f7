"""Reference of the statistics of rows and of whitening, in float64 NumPy."""

from typing import NamedTuple

import numpy as np


class Statistics(NamedTuple):
    weight_sum: float
    mean: np.ndarray
    scatter: np.ndarray  # Σ w (x − mean)(x − mean)ᵀ


def statistics(X, weight=None):
    """Return the statistics from two passes, in extended precision where NumPy has it."""
    X = np.asarray(X, np.longdouble)
    weight = np.ones(len(X), np.longdouble) if weight is None else np.asarray(weight, np.longdouble)
    mean = (weight[:, None] * X).sum(axis=0) / weight.sum()
    centred = X - mean
    scatter = np.einsum("i,ij,ik->jk", weight, centred, centred)
    return Statistics(float(weight.sum()), mean.astype(float), scatter.astype(float))


def covariance(X, weight=None):
    weight_sum, _, scatter = statistics(X, weight)
    return scatter / weight_sum


def rounding(X, weight, dtype):
    """Return bounds of the errors of `scatter / weight_sum` and of the mean in a type.

    The product of a block in `dtype` has an error of at most (256 + 6) eps times the sum of
    magnitudes. By the Cauchy-Schwarz inequality that sum is at most the root of the product of the
    columns' second moments about the reference point, which lies within a few standard deviations
    of the mean. Sums in double precision add a term of the same form with their own eps.
    """
    X = np.asarray(X, float)
    eps, eps64 = float(np.finfo(dtype).eps), float(np.finfo(np.float64).eps)
    variance = np.diagonal(covariance(X, weight))
    spread = np.sqrt(variance) + np.abs(X).max(axis=0) * (
        eps64 + (eps if dtype == np.float32 else 0)
    )
    factor = 300 * eps + (len(X) + 300) * eps64
    return 20 * factor * np.outer(spread, spread), 20 * factor * spread + 4 * eps64 * np.abs(X).max(
        axis=0
    )


def whitening(X, method, epsilon):
    """Return the whitening matrix, for "pca" up to signs."""
    variance, U = np.linalg.eigh(covariance(X))
    variance, U = variance[::-1], U[:, ::-1]
    D = np.diag((np.maximum(variance, 0) + epsilon) ** -0.5)
    return U @ D @ U.T if method == "zca" else D @ U.T
