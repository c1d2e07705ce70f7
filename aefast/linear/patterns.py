"""Rows with missing entries (NaN): their posteriors and likelihoods, and EM over the patterns of
what is observed.

A pattern is a set of observed columns. For rows of one pattern
``M_o = I + Σ_{j observed} w_j w_jᵀ / ψ_j`` is the same, so it is made and factored once for each
pattern; all patterns of a block of rows go through LAPACK as one stack.
"""

from typing import NamedTuple

import numpy as np

from aefast.linear.gaussian import LOG_2PI

BLOCK_NUMBERS = 1 << 22  # in a stack of k x k matrices or a block of rows


class Block(NamedTuple):
    """Some rows, sorted by pattern."""

    places: np.ndarray  # (n,) of the rows in the block before sorting
    residuals: np.ndarray  # (n, d): x − μ, 0 where missing
    patterns: np.ndarray  # (n_patterns, d): 1.0 where observed
    first: np.ndarray  # (n_patterns,): the first row of each pattern
    counts: np.ndarray  # (n_patterns,)

    @property
    def of_row(self):
        return np.repeat(np.arange(len(self.counts)), self.counts)


def of_positive_weight(rows, weight):
    """(rows, weights), without the rows of weight 0; all weights are 1 where there are none."""
    if weight is None:
        return rows, np.ones(len(rows))
    counted = weight > 0
    if not counted.any():
        raise ValueError("all weights are zero: there is nothing to fit to")
    return (rows, weight) if counted.all() else (rows[counted], weight[counted])


def blocks(rows, mean, k):
    """The rows, some at a time, as (slice, Block)."""
    step = max(1, BLOCK_NUMBERS // max(rows.shape[1], k * k))
    for first in range(0, len(rows), step):
        part = slice(first, first + step)
        yield part, sorted_by_pattern(rows[part], mean)


def sorted_by_pattern(rows, mean):
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
    """Of the independent factors of one block's rows, in its sorted order."""

    means: np.ndarray  # (n, k)
    covariances: np.ndarray  # (n_patterns, k, k)
    distances: np.ndarray  # (n,): (x_o − μ_o) Σ_oo⁻¹ (x_o − μ_o)ᵀ
    log_dets: np.ndarray  # (n_patterns,): log |Σ_oo|


def posterior(block, W0, psi):
    """E-step of one block."""
    k, d = W0.shape
    outer = (W0.T[:, :, None] * (W0 / psi).T[:, None, :]).reshape(d, k * k)
    M = (block.patterns @ outer).reshape(-1, k, k) + np.eye(k)
    factor = np.linalg.cholesky(0.5 * (M + M.transpose(0, 2, 1)))
    covariances = np.linalg.inv(M)
    projections = block.residuals @ (W0 / psi).T
    means = np.einsum("nij,nj->ni", covariances[block.of_row], projections)
    distances = (block.residuals**2) @ (1 / psi) - np.einsum("ni,ni->n", means, projections)
    log_dets = block.patterns @ np.log(psi)
    log_dets += 2 * np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
    return Posterior(means, covariances, np.maximum(distances, 0.0), log_dets)


def log_likelihoods(block, post):
    """log p(x_o) of each row of a block, in its sorted order; 0 where nothing is observed."""
    constants = block.patterns.sum(axis=1) * LOG_2PI + post.log_dets
    return -0.5 * (post.distances + constants[block.of_row])


class Moments:
    """What EM's M-step needs, summed over all rows with their weights: for each feature, of the
    rows where it is observed.
    """

    def __init__(self, k, d):
        self.second = np.zeros((d, k + 1, k + 1))  # Σ E[h̃ h̃ᵀ], h̃ = (h, 1)
        self.cross = np.zeros((d, k + 1))  # Σ r E[h̃], r = x − μ
        self.squares = np.zeros(d)  # Σ r²
        self.factors = np.zeros((k, k))  # Σ E[h hᵀ] over all rows
        self.log_likelihood, self.weight = 0.0, 0.0

    def add(self, block, post, weight):
        """Rows of these weights, in the block's sorted order."""
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


def expectation_maximization(rows, weight, start, isotropic, floor, tol, max_iter):
    """Maximum likelihood with missing entries: EM with an expanded parameter, the covariance of the
    factors (Liu, Rubin & Wu 1998).

    Parameters
    ----------
    rows : ndarray (n, d)
        NaN is missing.
    weight : ndarray (n,)
        Positive.
    start : tuple of ndarray
        mean (d,), W (k, d), psi (d,).
    isotropic : bool
        All psi are one number.
    floor : ndarray (d,)
        Least psi.
    tol : float
        Of the mean log-likelihood: iterations end where it rises by less.
    max_iter : int

    Returns
    -------
    mean, W, psi, curve, converged
        curve: mean log-likelihood of each iteration's parameters, the last of which are returned;
        rising.
    """
    mean, W, psi = reached = start
    curve: list[float] = []
    for _ in range(max_iter):
        moments = Moments(*W.shape)
        for part, block in blocks(rows, mean, len(W)):
            moments.add(block, posterior(block, W, psi), weight[part][block.places])
        value = moments.log_likelihood / moments.weight
        if curve and not value > curve[-1]:  # rounding
            return *reached, curve, True
        curve.append(value)
        reached = mean, W, psi
        if len(curve) > 1 and curve[-1] - curve[-2] < tol:
            return *reached, curve, True
        mean, W, psi = _maximize(moments, mean, isotropic, floor)
    return *reached, curve, False


def _maximize(moments, mean, isotropic, floor):
    """M-step: a regression of each feature on the factors and 1, then the factors' covariance is
    moved into W.
    """
    k = len(moments.factors)
    coefficients = np.linalg.solve(moments.second, moments.cross[:, :, None])[:, :, 0]
    counts = moments.second[:, k, k]
    residuals = moments.squares - np.einsum("di,di->d", coefficients, moments.cross)
    if isotropic:
        psi = np.full(len(counts), residuals.sum() / counts.sum())
    else:
        psi = residuals / counts
    R = np.linalg.cholesky(moments.factors / moments.weight)
    return mean + coefficients[:, k], R.T @ coefficients[:, :k].T, np.maximum(psi, floor)
