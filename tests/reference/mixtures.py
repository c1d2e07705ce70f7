"""Reference of mixtures of linear factor models: one iteration of EM in float64 NumPy.

A mixture is (weights (M,), means (M, d), W (M, k, d), psi (M, d)).
"""

import numpy as np

from reference.factors import covariance, log_density, posterior


def joint(X, mixture):
    """Return log π_m p(x_o | m) (n, M)."""
    return np.array(
        [
            np.log(weight) + log_density(X, mean, covariance(W, psi))
            for weight, mean, W, psi in zip(*mixture, strict=True)
        ]
    ).T


def log_density_of_mixture(X, mixture):
    values = joint(X, mixture)
    top = values.max(axis=1, keepdims=True)
    return (top + np.log(np.exp(values - top).sum(axis=1, keepdims=True)))[:, 0]


def responsibilities(X, mixture):
    return np.exp(joint(X, mixture) - log_density_of_mixture(X, mixture)[:, None])


def moments(X, weight):
    """Return mass, mean and covariance (divided by the mass) of weighted rows."""
    mass = weight.sum()
    mean = weight @ X / mass
    return mass, mean, (X - mean).T @ (weight[:, None] * (X - mean)) / mass


def principal_components(C, k):
    """Return W W's product and the noise of probabilistic PCA: its covariance of rows."""
    values, U = np.linalg.eigh(C)
    values, U = values[::-1], U[:, ::-1]
    noise = values[k:].mean()
    return (U[:, :k] * (values[:k] - noise)) @ U[:, :k].T + noise * np.eye(len(C))


def factor_analysis_step(C, W, psi, floor):
    """Return W and psi after one step of EM whose expanded parameter is the factors' covariance."""
    k = len(W)
    inverse = np.linalg.inv(covariance(W, psi))
    beta = W @ inverse
    factors = np.eye(k) - beta @ W.T + beta @ C @ beta.T
    coefficients = np.linalg.solve(factors, beta @ C)
    residual = C - C @ beta.T @ coefficients
    return np.linalg.cholesky(factors).T @ coefficients, np.maximum(np.diagonal(residual), floor)


def incomplete_step(X, weight, mean, W, psi, isotropic, floor):
    """Return mean, W and psi of the M-step of one component, row by row and column by column."""
    n, d = X.shape
    k = len(W)
    first, second = np.zeros((n, k + 1)), np.zeros((n, k + 1, k + 1))
    for i, x in enumerate(X):
        h, C = posterior(x, mean, W, psi)
        first[i] = np.append(h, 1.0)
        second[i] = np.outer(first[i], first[i])
        second[i, :k, :k] += C
    loadings, offsets, residuals, counts = (np.zeros((k, d)), *np.zeros((3, d)))
    for j in range(d):
        o = ~np.isnan(X[:, j])
        w, r = weight[o], X[o, j] - mean[j]
        A = np.einsum("i,iab->ab", w, second[o])
        b = (w * r) @ first[o]
        c = np.linalg.solve(A, b)
        loadings[:, j], offsets[j] = c[:k], c[k]
        residuals[j], counts[j] = w @ r**2 - c @ b, w.sum()
    noise = residuals.sum() / counts.sum() * np.ones(d) if isotropic else residuals / counts
    factors = np.einsum("i,iab->ab", weight, second)[:k, :k] / weight.sum()
    W = np.linalg.cholesky(factors).T @ loadings
    return mean + offsets, W, np.maximum(noise, floor)
