"""Criteria of rotations, written out, for loadings L (d, k)."""

import itertools

import numpy as np


def orthomax(L, gamma):
    """The criterion that is maximised, times 4."""
    return sum(
        (column**4).sum() - gamma / len(L) * (column**2).sum() ** 2 for column in np.transpose(L)
    )


def oblimin(L, gamma):
    total, squares = 0.0, L**2
    for r, s in itertools.permutations(range(L.shape[1]), 2):
        total += (squares[:, r] * squares[:, s]).sum()
        total -= gamma / len(L) * squares[:, r].sum() * squares[:, s].sum()
    return total / 4


def geomin(L, epsilon):
    return sum(np.prod(row**2 + epsilon) ** (1 / L.shape[1]) for row in L)


def target(L, wanted):
    return 0.5 * np.nansum((L - wanted) ** 2)


def planar(L, gamma, n_angles=1441):
    """The best orthomax criterion over a fine grid of rotations of two factors."""
    angles = np.linspace(0, np.pi / 2, n_angles)
    turned = (L @ np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]) for a in angles)
    return max(orthomax(T, gamma) for T in turned)


def normalised(L):
    """Kaiser's normalisation."""
    return L / np.linalg.norm(L, axis=1, keepdims=True)


def promax(L, power=4):
    """Hendrickson & White's oblique loadings and correlations, from varimax loadings L."""
    length = np.linalg.norm(L, axis=1, keepdims=True)
    A = L / length
    U = np.linalg.lstsq(A, A * np.abs(A) ** (power - 1), rcond=None)[0]
    U = U * np.sqrt(np.diag(np.linalg.inv(U.T @ U)))
    return length * (A @ U), np.linalg.inv(U) @ np.linalg.inv(U).T
