"""Rotations of loadings towards simple structure, and their signs."""

import numpy as np
from scipy import linalg

ROTATIONS = ("varimax", "quartimax", "promax")
PROMAX_POWER = 4


def fixed_signs(rows):
    """Return rows with signs such that the entry of largest magnitude is positive.

    The signs of eigenvectors are arbitrary otherwise.
    """
    largest = np.abs(rows).argmax(axis=1)
    signs = np.sign(rows[np.arange(len(rows)), largest])
    return rows * np.where(signs == 0, 1.0, signs)[:, None]


def rotate(W, method):
    """Return rotated loadings (k, d) and the factors' covariance Φ; ``Wᵀ Φ W`` does not change.

    "varimax" (Kaiser 1958) and "quartimax" maximise ``Σ_k [Σ_j w_kj⁴ − (γ/d)(Σ_j w_kj²)²]`` over
    orthogonal rotations, γ = 1 or 0, of loadings whose columns have been scaled to norm 1 (Kaiser's
    normalisation). "promax" (Hendrickson & White 1964) fits oblique axes to the fourth powers of
    varimax's loadings; Φ has a diagonal of 1. Factors without loadings come last and are not
    rotated.
    """
    size = np.square(W).sum(axis=1)
    live = size > 1e-12 * size.max()
    if live.sum() < 2 or method is None:
        return W, np.eye(len(W))
    rotated, Phi = np.zeros_like(W), np.eye(len(W))
    n = live.sum()
    rotated[:n], Phi[:n, :n] = _rotate(W[live], method)
    return rotated, Phi


def _rotate(W, method):
    k = len(W)
    length = np.linalg.norm(W, axis=0)
    scale = np.where(length > 0, length, 1.0)
    A = W / scale
    T = _orthomax(A, 0.0 if method == "quartimax" else 1.0)
    rotated = T.T @ W
    if method != "promax":
        return _in_order(rotated, np.eye(k))
    normalised = rotated / scale
    target = normalised * np.abs(normalised) ** (PROMAX_POWER - 1)
    U = linalg.lstsq(normalised.T, target.T)[0]
    U *= np.sqrt(np.diagonal(linalg.inv(U.T @ U)))
    inverse = linalg.inv(U)  # h' = h U⁻ᵀ: loadings Uᵀ W, covariance U⁻¹ U⁻ᵀ
    return _in_order(U.T @ rotated, inverse @ inverse.T)


def _orthomax(A, gamma, max_iter=1000, tol=1e-12):
    """Return the orthogonal T for which ``Tᵀ A`` maximises the criterion of `rotate`.

    Each iteration projects the gradient onto the orthogonal matrices.
    """
    k, d = A.shape
    T, criterion = np.eye(k), 0.0
    for _ in range(max_iter):
        B = T.T @ A
        gradient = A @ (B**3 - gamma / d * B * np.square(B).sum(axis=1, keepdims=True)).T
        U, s, Vt = linalg.svd(gradient)
        T = U @ Vt
        if s.sum() <= criterion * (1 + tol):
            break
        criterion = s.sum()
    return T


def _in_order(W, Phi):
    """Return factors in the order of falling sums of squares, their largest loadings positive."""
    order = np.argsort(-np.square(W).sum(axis=1), kind="stable")
    W, Phi = W[order], Phi[np.ix_(order, order)]
    signs = np.sign(W[np.arange(len(W)), np.abs(W).argmax(axis=1)])
    signs = np.where(signs == 0, 1.0, signs)
    return signs[:, None] * W, signs[:, None] * Phi * signs
