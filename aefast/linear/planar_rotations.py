"""Orthomax rotations of loadings by rotations of pairs of factors (Kaiser 1958)."""

import numpy as np
from scipy import linalg

MAX_SWEEPS = 500
SMALLEST_ANGLE = 1e-9  # radians; 1e-6 where rounding keeps the sweeps from ending


def planar_rotations(A, gamma, T):
    """Return the orthogonal T at which no rotation of two factors raises the criterion.

    In the plane of two factors the maximum is known, so that pairs at a saddle leave it. In each
    round the factors are paired as in a tournament: a sweep of k − 1 rounds visits every pair once.

    Parameters
    ----------
    A : ndarray (d, k)
        Loadings.
    gamma : float
        γ of `Orthomax`.
    T : ndarray (k, k)
        The start.

    Returns
    -------
    T : ndarray (k, k)
    is_stationary : bool
        Whether the last sweep has hardly turned a factor.
    """
    rounds = _tournament(A.shape[1])
    L, T = A @ T, T.copy()
    for _ in range(MAX_SWEEPS):
        widest = 0.0
        for first, second in rounds:
            c, s, angle = _best_angles(L[:, first], L[:, second], gamma)
            for M in (L, T):
                p, q = M[:, first], M[:, second]
                M[:, first], M[:, second] = c * p + s * q, c * q - s * p
            widest = max(widest, float(np.abs(angle).max()))
        if widest <= SMALLEST_ANGLE:
            break
    U, _, Vt = linalg.svd(T)
    return U @ Vt, widest <= 1e-6


def _best_angles(x, y, gamma):
    """Return cosine, sine and angle, within ±45°, of the best rotation of pairs of columns."""
    d = len(x)
    u, v = x * x - y * y, 2 * x * y
    a, b = u.sum(axis=0), v.sum(axis=0)
    sine = 2 * ((u * v).sum(axis=0) - gamma / d * a * b)
    cosine = ((u - v) * (u + v)).sum(axis=0) - gamma / d * (a - b) * (a + b)
    size = (x * x + y * y).sum(axis=0)
    is_flat = np.hypot(sine, cosine) <= 1e-14 * np.square(size)  # all angles are equally good
    angle = np.where(is_flat, 0.0, 0.25 * np.arctan2(sine, cosine))
    return np.cos(angle), np.sin(angle), angle


def _tournament(k):
    """Return pairs of indices for rounds in which each of k players meets one other."""
    players = list(range(k)) + [None] * (k % 2)
    rounds = []
    for _ in range(len(players) - 1):
        half = len(players) // 2
        opposite = zip(players[:half], players[half:][::-1], strict=True)
        pairs = [pair for pair in opposite if None not in pair]
        rounds.append(tuple(np.array(side) for side in zip(*pairs, strict=True)))
        players = [players[0], players[-1], *players[1:-1]]
    return rounds
