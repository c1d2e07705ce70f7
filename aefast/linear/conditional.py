"""Distribution of missing entries (NaN) given the observed ones, under a linear factor model.

With the posterior ``h | x_o ~ N(m, S)`` of independent factors, a missing entry has the mean
``μ_j + m w_j`` and the variance ``w_jᵀ S w_j + ψ_j``; those of one row are dependent through h. S
is the same for all rows with the same observed columns.
"""

import numpy as np

from aefast._base import threads
from aefast._base.types import Array
from aefast.linear.gaussian import LinearGaussian
from aefast.linear.patterns import blocks, posterior


@threads.with_same_bits
def means(rows: Array, gaussian: LinearGaussian) -> Array:
    """Return rows (n, d) in float64 whose missing entries have their conditional means."""
    filled = np.empty(rows.shape)
    for part, block in blocks(rows, gaussian.mean, len(gaussian.W0)):
        post = posterior(block, gaussian.W0, gaussian.psi)
        filled[part][block.places] = gaussian.mean + post.means @ gaussian.W0
    return np.where(np.isnan(rows), filled, rows)


@threads.with_same_bits
def deviations(rows: Array, gaussian: LinearGaussian) -> Array:
    """Return conditional standard deviations (n, d) of missing entries, 0 of observed ones."""
    W0, psi = gaussian.W0, gaussian.psi
    k, d = W0.shape
    outer = (W0.T[:, :, None] * W0.T[:, None, :]).reshape(d, k * k)
    found = np.zeros(rows.shape)
    for part, block in blocks(rows, gaussian.mean, k):
        S = posterior(block, W0, psi).covariances
        variances = np.maximum(S.reshape(len(S), k * k) @ outer.T, 0.0) + psi
        found[part][block.places] = np.where(block.patterns > 0, 0.0, np.sqrt(variances))[
            block.of_row
        ]
    return found


@threads.with_same_bits
def draws(
    rows: Array, gaussian: LinearGaussian, spread: float, random: np.random.RandomState
) -> Array:
    """Return rows (n, d) in float64 with missing entries drawn from p(missing | observed).

    `spread` multiplies the draws' distances from the conditional means.
    """
    W0, psi = gaussian.W0, gaussian.psi
    k = len(W0)
    drawn = np.empty(rows.shape)
    for part, block in blocks(rows, gaussian.mean, k):
        post = posterior(block, W0, psi)
        n = len(block.places)
        normal, noise = random.standard_normal((n, k)), random.standard_normal((n, len(psi)))
        roots = np.linalg.cholesky(0.5 * (post.covariances + post.covariances.transpose(0, 2, 1)))
        h = post.means + spread * np.einsum("nij,nj->ni", roots[block.of_row], normal)
        drawn[part][block.places] = gaussian.mean + h @ W0 + spread * noise * np.sqrt(psi)
    return np.where(np.isnan(rows), drawn, rows)
