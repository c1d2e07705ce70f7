"""Scores and tests of fit, a row and a formula at a time."""

import numpy as np


def bartlett(x, mean, W, psi):
    """Weighted least squares of the observed entries of x on the loadings."""
    seen = ~np.isnan(x)
    root = np.sqrt(psi[seen])
    return np.linalg.lstsq((W[:, seen] / root).T, (x - mean)[seen] / root, rcond=None)[0]


def discrepancy(C, Sigma):
    d = len(C)
    return (
        np.linalg.slogdet(Sigma)[1]
        - np.linalg.slogdet(C)[1]
        + np.trace(C @ np.linalg.inv(Sigma))
        - d
    )


def partial_correlation(R, i, j):
    """Of columns i and j given all others, from the residuals of two regressions."""
    others = [m for m in range(len(R)) if m not in (i, j)]
    pair = [i, j]
    within = R[np.ix_(pair, pair)] - R[np.ix_(pair, others)] @ np.linalg.solve(
        R[np.ix_(others, others)], R[np.ix_(others, pair)]
    )
    return within[0, 1] / np.sqrt(within[0, 0] * within[1, 1])
