"""Reference of linear factor models: multivariate normal distributions in float64 NumPy."""

import numpy as np


def covariance(W, psi, Phi=None):
    Phi = np.eye(len(W)) if Phi is None else Phi
    return W.T @ Phi @ W + np.diag(np.broadcast_to(psi, W.shape[1]))


def log_density(X, mean, Sigma):
    """Return log N(x | mean, Sigma) of the observed entries of each row, 0 if there are none."""
    out = np.zeros(len(X))
    for i, x in enumerate(np.asarray(X, float)):
        o = ~np.isnan(x)
        if o.any():
            S, r = Sigma[np.ix_(o, o)], x[o] - mean[o]
            out[i] = -0.5 * (
                o.sum() * np.log(2 * np.pi) + np.linalg.slogdet(S)[1] + r @ np.linalg.solve(S, r)
            )
    return out


def squared_distance(X, mean, Sigma):
    out = np.zeros(len(X))
    for i, x in enumerate(np.asarray(X, float)):
        o = ~np.isnan(x)
        if o.any():
            out[i] = (x[o] - mean[o]) @ np.linalg.solve(Sigma[np.ix_(o, o)], x[o] - mean[o])
    return out


def posterior(x, mean, W, psi, Phi=None):
    """Return mean and covariance of h given the observed entries of one row."""
    Phi = np.eye(len(W)) if Phi is None else Phi
    o = ~np.isnan(x)
    S = covariance(W, psi, Phi)[np.ix_(o, o)]
    gain = np.linalg.solve(S, W[:, o].T @ Phi).T
    return gain @ (x[o] - mean[o]), Phi - gain @ W[:, o].T @ Phi


def impute(X, mean, Sigma):
    """Replace missing entries by their conditional means under a multivariate normal."""
    X = np.array(X, float)
    for x in X:
        o = ~np.isnan(x)
        m = ~o
        x[m] = mean[m] + Sigma[np.ix_(m, o)] @ np.linalg.solve(Sigma[np.ix_(o, o)], x[o] - mean[o])
    return X


def probabilistic_pca(X, k):
    """Return mean, W up to signs, and noise variance (Tipping & Bishop 1999, eqs. 7 and 8)."""
    mean = X.mean(axis=0)
    values, U = np.linalg.eigh((X - mean).T @ (X - mean) / len(X))
    values, U = values[::-1], U[:, ::-1]
    noise = values[k:].mean()
    return mean, np.sqrt(values[:k] - noise)[:, None] * U[:, :k].T, noise
