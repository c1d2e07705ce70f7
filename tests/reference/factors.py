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


def posterior_sums(X, weight, mean, W, psi):
    """Return sums over rows with gaps that EM and the gradient of the likelihood need.

    They are, for each feature j over the rows in which it is observed, with residuals r = x − mean
    and E the posterior mean of ``h̃ = (h, 1)`` and of ``h̃ h̃ᵀ``: ``Σ w E[h̃ h̃ᵀ]`` (d, k + 1, k + 1),
    ``Σ w r E[h̃]`` (d, k + 1) and ``Σ w r²`` (d,); then ``Σ w E[h hᵀ]`` over all rows.
    """
    k, d = W.shape
    second, cross = np.zeros((d, k + 1, k + 1)), np.zeros((d, k + 1))
    squares, factors = np.zeros(d), np.zeros((k, k))
    for x, w in zip(X, weight, strict=True):
        o = ~np.isnan(x)
        if not o.any():
            continue
        m, S = posterior(x, mean, W, psi)
        extended = np.append(m, 1.0)
        moment = np.outer(extended, extended)
        moment[:k, :k] += S
        r = x[o] - mean[o]
        second[o] += w * moment
        cross[o] += w * r[:, None] * extended
        squares[o] += w * r**2
        factors += w * moment[:k, :k]
    return second, cross, squares, factors


def completed_moments(X, weight, mean, Sigma):
    """Return mean and covariance of rows whose missing entries have their conditional law.

    Rows without an observed entry do not count.
    """
    rows, scatter = impute(X, mean, Sigma), np.zeros_like(Sigma)
    observed = ~np.isnan(X)
    weight = np.where(observed.any(axis=1), weight, 0.0)
    for o, w in zip(observed, weight, strict=True):
        m = ~o
        gain = np.linalg.solve(Sigma[np.ix_(o, o)], Sigma[np.ix_(o, m)])
        scatter[np.ix_(m, m)] += w * (Sigma[np.ix_(m, m)] - Sigma[np.ix_(m, o)] @ gain)
    total = weight.sum()
    centre = weight @ rows / total
    return centre, (scatter + (rows - centre).T @ (weight[:, None] * (rows - centre))) / total
