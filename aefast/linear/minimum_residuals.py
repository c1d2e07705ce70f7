"""Minimum residuals: the factors that reproduce correlations in the sense of least squares."""

import numpy as np
from scipy import linalg, optimize

from aefast._base.progress import iteration
from aefast._base.replay import Replayed
from aefast._base.saving import COUNT, FLAG
from aefast.linear.gaussian import LOG_2PI

GRADIENT_TOLERANCE = 1e-8


class Residuals:
    """Half the sum of squared residuals as a function of ψ, with the best W for each ψ.

    With the eigenvalues λ of ``C − Ψ`` it is ``½ (‖C − Ψ‖² − Σ_{i ≤ k} max(λ_i, 0)²)``. The
    derivative by ψ_j is minus the residual ``C_jj − ψ_j − Σ_i w_ij²``, because the gradient by W
    vanishes: at the minimum the diagonal is reproduced, and what is minimised is off the diagonal.
    """

    def __init__(self, C, k):
        self.C, self.k = C, k

    def best_loadings(self, psi):
        """Return the best W (k, d) and the squared eigenvalues that it takes away."""
        d = len(psi)
        values, U = linalg.eigh(
            self.C - np.diag(psi), subset_by_index=[d - self.k, d - 1], check_finite=False
        )
        values = np.maximum(values[::-1], 0.0)
        return np.sqrt(values)[:, None] * U[:, ::-1].T, np.square(values)

    def __call__(self, psi):
        """Return the value and the gradient (d,)."""
        W, taken = self.best_loadings(psi)
        left = self.C - np.diag(psi)
        residual = np.diagonal(left) - np.square(W).sum(axis=0)
        value = 0.5 * float(np.square(left).sum() - taken.sum())
        iteration(residuals=value)
        return value, -residual


def minimize_residuals(C, k, start, varies, floor, max_iter):
    """Minimise the residuals of a correlation matrix C; constant columns of C are 0.

    Parameters
    ----------
    start : ndarray (d,)
        Noise variances to start from.

    Returns
    -------
    W : ndarray (k, d)
    psi : ndarray (d,)
    n_iter : int
    converged : bool
    """
    residuals = Residuals(C, k)
    evaluations = Replayed("residuals", residuals)
    d = len(start)
    blank = {"W": np.empty((k, d)), "psi": np.empty(d)}
    stored = evaluations.result({"n_iter": COUNT, "converged": FLAG}, blank)
    if stored is not None:
        state, tensors = stored
        return tensors["W"], tensors["psi"], state["n_iter"], state["converged"]
    result = optimize.minimize(
        evaluations,
        np.where(varies, start, floor),
        jac=True,
        method="L-BFGS-B",
        bounds=[(floor, 1.0) if moves else (floor, floor) for moves in varies],
        options={
            "maxiter": max_iter,
            "maxfun": 20 * max_iter,
            "maxcor": 30,
            "ftol": 1e-15,
            "gtol": GRADIENT_TOLERANCE,
        },
    )
    W = np.ascontiguousarray(residuals.best_loadings(result.x)[0])
    found = {"n_iter": int(result.nit), "converged": bool(result.nit < max_iter)}
    evaluations.end(found, {"W": W, "psi": result.x})
    return W, result.x, *found.values()


def mean_log_likelihood(C, W, psi):
    """Return the mean log-likelihood of rows of covariance C (d, d) for a model W, ψ."""
    B = W / psi
    M = linalg.cholesky(np.eye(len(W)) + B @ W.T, lower=True)
    log_det = np.log(psi).sum() + 2 * np.log(np.diagonal(M)).sum()
    explained = np.trace(linalg.cho_solve((M, True), B @ C @ B.T))
    distance = (np.diagonal(C) / psi).sum() - explained
    return -0.5 * float(len(psi) * LOG_2PI + log_det + distance)
