"""Bartlett's factor scores."""

import numpy as np
from scipy import linalg

from aefast._base import threads
from aefast._base.projection import project
from aefast.linear import patterns

SMALLEST = 1e-9  # information, of rows about a direction of the factors, that counts


@threads.with_same_bits
def bartlett_map(gaussian):
    """Return ``Ψ⁻¹ Wᵀ (W Ψ⁻¹ Wᵀ)⁺`` (d, k)."""
    W, psi = gaussian.W, gaussian.psi
    rounding = len(W) * np.finfo(np.float64).eps
    inverse = linalg.pinvh((W / psi) @ W.T, atol=SMALLEST, rtol=rounding)
    return (inverse @ (W / psi)).T


def bartlett_scores(rows, gaussian, n_threads, name):
    """Return weighted least squares estimates (n, k) of the factors of each row.

    ``h = (x − μ) Ψ⁻¹ Wᵀ J⁻¹`` with ``J = W Ψ⁻¹ Wᵀ`` over the observed columns is the estimate
    without the prior of h. Of rows with missing entries it follows from mean m and covariance
    ``V = (Φ⁻¹ + J)⁻¹`` of h given the row: ``h = (1 − V Φ⁻¹)⁻¹ m``. Where the observed columns do
    not determine h, the pseudoinverse gives the shortest estimate.

    Parameters
    ----------
    rows : ndarray or CSR matrix (n, d)
        NaN is a missing entry.
    gaussian : LinearGaussian
    n_threads : int or None
    name : str or TableName
        Name of the rows in errors.
    """
    options = {"n_threads": n_threads, "name": name, "none_if_missing": True}
    scores = project(rows, gaussian.mean, bartlett_map(gaussian), **options)
    if scores is not None:
        return scores
    means, covariances = patterns.posteriors_of_rows(rows, gaussian, True, name)
    with threads.same_bits():
        precision = linalg.cho_solve((gaussian.L, True), np.eye(len(gaussian.L)))
        share = np.eye(len(precision)) - covariances @ precision
        scores = (np.linalg.pinv(share, rcond=SMALLEST) @ means[:, :, None])[:, :, 0]
    return scores.astype(means.dtype)
