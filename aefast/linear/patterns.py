"""Posteriors, likelihoods and moments of rows with missing entries (NaN), by pattern.

A pattern is a set of observed columns. All rows of one pattern have the same matrix
``M_o = I + Σ_{j observed} w_j w_jᵀ / ψ_j``, which is computed and factored once per pattern;
matrices of all patterns of a block of rows go through LAPACK as one stack.
"""

from typing import NamedTuple

import numpy as np

from aefast._base import threads
from aefast._base.arrays import real_type
from aefast._base.errors import overflow_of_row
from aefast._base.sparse_rows import check_widths
from aefast.linear.gaussian import LOG_2PI

BLOCK_NUMBERS = 1 << 22  # largest size of a stack of k x k matrices, and of a block of rows


class Block(NamedTuple):
    """Block of rows, sorted by pattern."""

    places: np.ndarray  # (n,), positions of the sorted rows in the block before sorting
    residuals: np.ndarray  # (n, d), x − μ, or 0 where an entry is missing
    patterns: np.ndarray  # (n_patterns, d), 1.0 where observed
    first: np.ndarray  # (n_patterns,), index of the first sorted row of each pattern
    counts: np.ndarray  # (n_patterns,), number of rows of each pattern

    @property
    def of_row(self):
        """Index (n,) of each sorted row's pattern."""
        return np.repeat(np.arange(len(self.counts)), self.counts)


def of_positive_weight(rows, weight):
    """Return rows of positive weight and their weights, which are 1 where `weight` is None."""
    if weight is None:
        return rows, np.ones(len(rows))
    counted = weight > 0
    if not counted.any():
        raise ValueError("all weights are zero: there is nothing to fit to")
    return (rows, weight) if counted.all() else (rows[counted], weight[counted])


def blocks(rows, mean, k):
    """Yield successive blocks of rows, each as (slice, Block)."""
    check_widths(rows, len(mean))
    step = max(1, BLOCK_NUMBERS // max(rows.shape[1], k * k))
    for first in range(0, len(rows), step):
        part = slice(first, first + step)
        yield part, sorted_by_pattern(rows[part], mean)


def sorted_by_pattern(rows, mean):
    """Return the Block of some rows."""
    rows = rows.astype(np.float64)
    observed = ~np.isnan(rows)
    bits = np.packbits(observed, axis=1)
    keys = np.ascontiguousarray(bits).view(np.dtype((np.void, bits.shape[1]))).ravel()
    _, places, inverse, counts = np.unique(
        keys, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.argsort(inverse, kind="stable")
    residuals = np.where(observed, rows - mean, 0.0)[order]
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return Block(order, residuals, observed[places].astype(float), first, counts)


class Posterior(NamedTuple):
    """Posterior of the independent factors for the rows of one block, in its sorted order."""

    means: np.ndarray  # (n, k), E[h | x_o]
    covariances: np.ndarray  # (n_patterns, k, k), Cov[h | x_o]
    distances: np.ndarray  # (n,), (x_o − μ_o) Σ_oo⁻¹ (x_o − μ_o)ᵀ
    log_dets: np.ndarray  # (n_patterns,), log |Σ_oo|


def posterior(block, W0, psi):
    """Return the Posterior of one block: the E-step of EM."""
    k, d = W0.shape
    outer = (W0.T[:, :, None] * (W0 / psi).T[:, None, :]).reshape(d, k * k)
    M = (block.patterns @ outer).reshape(-1, k, k) + np.eye(k)
    factor = np.linalg.cholesky(0.5 * (M + M.transpose(0, 2, 1)))
    covariances = np.linalg.inv(M)
    with np.errstate(over="ignore", invalid="ignore"):  # results that overflow stay as they are
        projections = block.residuals @ (W0 / psi).T
        means = np.einsum("nij,nj->ni", covariances[block.of_row], projections)
        distances = (block.residuals**2) @ (1 / psi) - np.einsum("ni,ni->n", means, projections)
    distances[(distances < 0) & (distances > -np.inf)] = 0.0
    log_dets = block.patterns @ np.log(psi)
    log_dets += 2 * np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
    return Posterior(means, covariances, distances, log_dets)


def log_likelihoods(block, post):
    """Return log p(x_o) of each row of a block, in sorted order; 0 where nothing is observed."""
    constants = block.patterns.sum(axis=1) * LOG_2PI + post.log_dets
    return -0.5 * (post.distances + constants[block.of_row])


@threads.with_same_bits
def posteriors_of_rows(rows, gaussian, with_covariances, name):
    """Return posterior means (n, k) of the factors of a `LinearGaussian`, and covariances.

    Covariances (n, k, k) are None unless they are asked for. Raises FloatingPointError, with the
    name of the rows, where a mean overflows the rows' real type.
    """
    k, L = len(gaussian.W0), gaussian.L
    means = np.empty((len(rows), k), real_type(rows.dtype))
    covariances = np.empty((len(rows), k, k)) if with_covariances else None
    for part, block in blocks(rows, gaussian.mean, k):
        post = posterior(block, gaussian.W0, gaussian.psi)
        with np.errstate(over="ignore", invalid="ignore"):
            means[part][block.places] = post.means @ L.T
        if not np.isfinite(means[part]).all():
            raise overflow_of_row(
                "a posterior mean", means[part], means.dtype, rows[part], name, part.start
            )
        if covariances is not None:
            covariances[part][block.places] = (L @ post.covariances @ L.T)[block.of_row]
    return means, covariances


@threads.with_same_bits
def distances_of_rows(rows, gaussian):
    """Return squared Mahalanobis distances (n,) and log-likelihoods (n,) of observed entries."""
    distances, log_p = np.empty(len(rows)), np.empty(len(rows))
    for part, block in blocks(rows, gaussian.mean, len(gaussian.W0)):
        post = posterior(block, gaussian.W0, gaussian.psi)
        distances[part][block.places] = post.distances
        log_p[part][block.places] = log_likelihoods(block, post)
    return distances, log_p


class Moments:
    """Weighted sums for EM's M-step, for each feature over the rows in which it is observed."""

    def __init__(self, k, d):
        self.second = np.zeros((d, k + 1, k + 1))  # Σ E[h̃ h̃ᵀ] with h̃ = (h, 1)
        self.cross = np.zeros((d, k + 1))  # Σ r E[h̃] with r = x − μ
        self.squares = np.zeros(d)  # Σ r²
        self.factors = np.zeros((k, k))  # Σ E[h hᵀ] over all rows
        self.log_likelihood, self.weight = 0.0, 0.0

    def add(self, block, post, weight):
        """Add a block's rows with these weights, which are in the block's sorted order."""
        n, k = post.means.shape
        extended = np.hstack([post.means, np.ones((n, 1))])
        weighted = weight[:, None] * extended
        outer = (weighted[:, :, None] * extended[:, None, :]).reshape(n, -1)
        sums = np.add.reduceat(outer, block.first, axis=0).reshape(-1, k + 1, k + 1)
        sums[:, :k, :k] += sums[:, k:, k:] * post.covariances
        self.second += (block.patterns.T @ sums.reshape(len(sums), -1)).reshape(self.second.shape)
        self.cross += block.residuals.T @ weighted
        self.squares += weight @ block.residuals**2
        self.factors += sums[:, :k, :k].sum(axis=0)
        self.log_likelihood += weight @ log_likelihoods(block, post)
        self.weight += weight.sum()


def _maximize(moments, before, isotropic, floor):
    """Return mean, W and psi of the M-step of parameter-expanded EM, from those `before`.

    Each feature is regressed on the factors and a constant; then the factors' covariance, the
    expanded parameter, is absorbed into W (Liu, Rubin & Wu 1998). A feature that no row has
    observed, which may be so of the rows of a mixture's component, keeps its parameters.
    """
    k = len(moments.factors)
    counts = moments.second[:, k, k]
    seen = counts > np.finfo(np.float64).eps * moments.weight
    mean, W, psi = (part.copy() for part in before)
    second, cross, counts = moments.second[seen], moments.cross[seen], counts[seen]
    coefficients = np.linalg.solve(second, cross[:, :, None])[:, :, 0]
    residuals = moments.squares[seen] - np.einsum("di,di->d", coefficients, cross)
    if isotropic:
        psi[:] = residuals.sum() / counts.sum()
    else:
        psi[seen] = residuals / counts
    R = np.linalg.cholesky(moments.factors / moments.weight)
    mean[seen] += coefficients[:, k]
    W[:, seen] = R.T @ coefficients[:, :k].T
    return mean, W, np.maximum(psi, floor)
