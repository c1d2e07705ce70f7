"""Reference of L-BFGS: the inverse Hessian as a matrix, by its product form.

The matrix begins as γ I, with γ = sᵀy / yᵀy of the last pair; each pair changes it to

    H <- (I - s yᵀ / sᵀy) H (I - y sᵀ / sᵀy) + s sᵀ / sᵀy

(Nocedal & Wright 2006, equation 7.16). Without pairs H = I / |g|.
"""

import numpy as np


def inverse_hessian(gradient, pairs):
    """Return H (n, n), from pairs (s, y) with the oldest first."""
    identity = np.eye(len(gradient))
    if not pairs:
        return identity / np.linalg.norm(gradient)
    s, y = pairs[-1]
    H = (s @ y) / (y @ y) * identity
    for s, y in pairs:
        V = identity - np.outer(y, s) / (s @ y)
        H = V.T @ H @ V + np.outer(s, s) / (s @ y)
    return H


def direction(gradient, pairs):
    """Return -H g."""
    return -inverse_hessian(gradient, pairs) @ gradient
