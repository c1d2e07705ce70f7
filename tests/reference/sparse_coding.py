"""Reference of sparse coding: plain float64 NumPy, one formula per line, no import of aefast.

X (n, d), D (k, d) with an atom in each row, H (n, k):

    lasso        min_h 1/2 ||x - h D||^2 + alpha sum_j w_j |h_j|       (h >= 0 if positive)
    pursuit      greedy least squares with a bounded number of atoms
    threshold    h_j = soft(x . D_j / w_j, alpha) / w_j
"""

import numpy as np


def weights_of(D, weights):
    return np.ones(len(D)) if weights is None else np.asarray(weights, np.float64)


def soft(z, bound, positive=False):
    size = (z if positive else np.abs(z)) - bound
    return np.where(size > 0, np.sign(z) * size, 0.0)


def lasso_objective(x, h, D, alpha, weights=None):
    return 0.5 * np.sum((x - h @ D) ** 2) + alpha * np.sum(weights_of(D, weights) * np.abs(h))


def relative_gap(x, h, D, alpha, weights=None, positive=False):
    """Return the duality gap of a code relative to 1/2 ||x||^2.

    The dual point is the residual, scaled so that it is dual feasible.
    """
    r = x - h @ D
    correlation = (D @ r) / weights_of(D, weights)
    largest = max(0.0, np.max(correlation if positive else np.abs(correlation)))
    theta = r * min(1.0, alpha / largest) if largest > 0 else r
    dual = 0.5 * x @ x - 0.5 * np.sum((x - theta) ** 2)
    half = 0.5 * x @ x
    return (lasso_objective(x, h, D, alpha, weights) - dual) / half if half > 0 else 0.0


def optimality(x, h, D, alpha, weights=None, positive=False):
    """Return the largest violation of the optimality conditions, in units of alpha.

    At the minimum |D_j . r| <= alpha w_j, with equality and the sign of h_j where h_j is not 0.
    """
    w = weights_of(D, weights)
    q = D @ (x - h @ D) / (alpha * w)
    violation = np.where(
        h != 0, np.abs(q - np.sign(h)), np.maximum((q if positive else np.abs(q)) - 1, 0.0)
    )
    if positive and (h < 0).any():
        return np.inf
    return violation.max()


def lasso(x, D, alpha, weights=None, positive=False, n_sweeps=20_000, tol=1e-14):
    """Return the lasso code of a row by cyclic coordinate descent."""
    w, h, r = weights_of(D, weights), np.zeros(len(D)), np.array(x, np.float64)
    norms2 = np.sum(D**2, axis=1)
    for _ in range(n_sweeps):
        largest = 0.0
        for j in range(len(D)):
            new = soft(D[j] @ r + norms2[j] * h[j], alpha * w[j], positive) / norms2[j]
            r -= (new - h[j]) * D[j]
            largest, h[j] = max(largest, abs(new - h[j])), new
        if largest <= tol * max(1.0, np.abs(h).max()):
            break
    return h


def pursuit(x, D, n_nonzero=None, target=0.0, recursive=False):
    """Return the code of orthogonal matching pursuit, with least squares for each set of atoms.

    With `recursive`, of order-recursive matching pursuit: the atom is taken with which the
    least-squares code has the smallest residual.
    """
    chosen, h = [], np.zeros(len(D))
    norms = np.linalg.norm(D, axis=1)
    for _ in range(min(D.shape) if n_nonzero is None else n_nonzero):
        r = x - h @ D
        if r @ r <= target:
            break
        if recursive:
            score = [-squared_residual(x, D[[*chosen, j]]) for j in range(len(D))]
            score = np.array(score)
        else:
            score = np.abs(D @ r) / norms
        score[chosen] = -np.inf
        chosen.append(int(np.argmax(score)))
        h[:] = 0.0
        h[chosen] = np.linalg.lstsq(D[chosen].T, x, rcond=None)[0]
    return h


def least_angles(x, D, n_nonzero):
    """The code of least-angle regression with this many atoms (Efron et al. 2004, section 2)."""
    h, q = np.zeros(len(D)), D @ x
    taken, signs = [], []
    enters, sign = np.argmax(np.abs(q)), np.sign(q[np.argmax(np.abs(q))])
    largest = np.abs(q).max()
    while enters is not None:
        taken, signs = [*taken, enters], [*signs, sign]
        change = np.linalg.solve(D[taken] @ D[taken].T, signs)
        rate = D @ (D[taken].T @ change)
        fall, enters = largest, None
        for j in set(range(len(D))) - set(taken):
            for side in (1, -1):
                speed = 1 - side * rate[j]
                if speed > 1e-12 and 0 <= (largest - side * q[j]) / speed < fall:
                    fall, enters, sign = (largest - side * q[j]) / speed, j, side
        h[taken] += fall * change
        q, largest = q - fall * rate, largest - fall
        if len(taken) == n_nonzero:
            break
    return h


def squared_residual(x, atoms):
    r = x - np.linalg.lstsq(atoms.T, x, rcond=None)[0] @ atoms
    return r @ r


def threshold(x, D, alpha, weights=None, positive=False):
    w = weights_of(D, weights)
    return soft(D @ x / w, alpha, positive) / w


def statistics(H, X):
    """Return A = sum of h^T h and B = sum of h^T x."""
    return H.T @ H, H.T @ X


def update_dictionary(D, A, B, positive=False, n_sweeps=1):
    """Update a dictionary atom by atom, with projection on the unit ball.

    The method is algorithm 2 of Mairal et al. (2010). Atoms that no code uses do not change.
    """
    D = np.array(D, np.float64)
    for _ in range(n_sweeps):
        for j in range(len(D)):
            if A[j, j] <= 1e-12 * np.max(np.diag(A)):
                continue
            atom = D[j] + (B[j] - A[j] @ D) / A[j, j]
            atom = np.maximum(atom, 0.0) if positive else atom
            if atom @ atom > 0:
                D[j] = atom / max(1.0, np.linalg.norm(atom))
    return D


def surrogate(D, A, B):
    """Return the objective of the update, 1/2 tr(D^T A D) - tr(D^T B)."""
    return 0.5 * np.sum(D * (A @ D)) - np.sum(D * B)


def make_problem(n, d, k, dtype=np.float64, seed=0):
    """Return noisy sparse combinations of random unit atoms, and the atoms."""
    rng = np.random.default_rng(seed)
    D = rng.normal(size=(k, d))
    D /= np.linalg.norm(D, axis=1, keepdims=True)
    H = rng.normal(size=(n, k)) * (rng.random((n, k)) < 3 / k)
    X = H @ D + 0.1 * rng.normal(size=(n, d))
    return X.astype(dtype), D.astype(dtype)
