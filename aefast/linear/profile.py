"""Likelihood of factor analysis as a function of the noise variances, and its maximum."""

from typing import Any, NamedTuple

import numpy as np
from scipy import linalg, optimize

from aefast._base import krylov
from aefast._base.progress import iteration
from aefast._base.random import WEIGHTS, random_stream
from aefast._base.replay import Replayed
from aefast._base.saving import CURVE, FLAG
from aefast._base.types import Array
from aefast.linear.gaussian import LOG_2PI

LANCZOS_FROM = 400  # least number of features for which Lanczos finds few eigenpairs, in O(d² k)
# Squared residual of an eigenpair, relative to the eigenvalue: derivatives are right to its root.
EIGENPAIR_TOLERANCE = 1e-13
MOST_PRODUCTS = 60  # largest number of products of a block for the eigenpairs of one evaluation
GRADIENT_TOLERANCE = 1e-7  # for derivatives of the mean log-likelihood by log noise variances


class Profile(NamedTuple):
    """Maximum of the likelihood."""

    W: np.ndarray
    psi: np.ndarray
    curve: list  # mean log-likelihood after each iteration
    converged: bool


class CorrelationOfRows:
    """Correlation matrix of rows, known by its products alone.

    Parameters
    ----------
    C : DenseCovariance or SparseCovariance
    scale : ndarray (d,)
        Standard deviations of the columns, or units of constant ones.
    varies : ndarray (d,) of bool
    """

    def __init__(self, C: Any, scale: Array, varies: Array) -> None:
        self.C, self.factor = C, (varies / scale)[:, None]
        self.variance = varies.astype(float)

    def times(self, Q: Array) -> Array:
        """Return the product with a block (d, width)."""
        return self.factor * self.C.times(self.factor * Q)


class ProfileLikelihood:
    """Minus the mean log-likelihood as a function of log ψ, with the best W for each ψ.

    With the eigenvalues θ of ``Ψ^-½ C Ψ^-½`` it is
    ``½ [d log 2π + Σ log ψ_j + Σ_{i ≤ k, θ_i > 1} (log θ_i + 1 − θ_i) + tr C Ψ⁻¹]``. The derivative
    by log ψ_j is ``½ (Σ_jj − C_jj) / ψ_j``, because the gradient by W vanishes. Few eigenpairs of a
    large matrix are found by block Lanczos from those of the evaluation before.

    Parameters
    ----------
    C : ndarray (d, d) or CorrelationOfRows
    k : int
    """

    def __init__(self, C: Any, k: int) -> None:
        self.C, self.k = C, k
        self.is_matrix = isinstance(C, np.ndarray)
        self.variance = np.diagonal(C) if self.is_matrix else C.variance
        d = len(self.variance)
        self.block: Array | None = None
        if not self.is_matrix or (d >= LANCZOS_FROM and k <= d // 10):
            self.block = krylov.starting_block(d, k, random_stream(0, WEIGHTS), d)

    def memory(self, arrays: dict[str, Array] | None = None) -> dict[str, Array]:
        """Return the block from which eigenpairs are found, if there is one, or set it."""
        if arrays:
            self.block = arrays["block"]
        return {} if self.block is None else {"block": self.block}

    def best_loadings(self, psi: Array) -> tuple[Array, Array]:
        """Return the best W (k, d) and the eigenvalues θ_i > 1 among the k largest."""
        theta, U = self.leading(psi)
        excess = np.sqrt(np.maximum(theta - 1, 0.0))
        return (excess[:, None] * U.T) * np.sqrt(psi), theta[theta > 1]

    def leading(self, psi: Array) -> tuple[Array, Array]:
        """Return the k largest eigenvalues θ, descending, and their eigenvectors in columns."""
        scale, k = (1 / np.sqrt(psi))[:, None], self.k
        if self.block is not None:
            products = self.C.__matmul__ if self.is_matrix else self.C.times
            found = krylov.block_lanczos(
                lambda Q: scale * products(scale * Q),
                self.block,
                k,
                EIGENPAIR_TOLERANCE,
                1.0,
                MOST_PRODUCTS,
            )
            self.block = found.vectors
            if found.converged or not self.is_matrix:
                return found.values[:k], found.vectors[:, :k]
        d, A = len(psi), scale * self.C * scale.T
        theta, U = linalg.eigh(
            A, subset_by_index=[d - k, d - 1], overwrite_a=True, check_finite=False
        )
        return theta[::-1], U[:, ::-1]

    def __call__(self, log_psi: Array) -> tuple[float, Array]:
        """Return the value and the gradient (d,)."""
        psi = np.exp(log_psi)
        W, theta = self.best_loadings(psi)
        ratio = self.variance / psi
        value = 0.5 * (
            len(psi) * LOG_2PI + log_psi.sum() + (np.log(theta) + 1 - theta).sum() + ratio.sum()
        )
        gradient = 0.5 * (np.square(W).sum(axis=0) / psi + 1 - ratio)
        iteration(log_p=-value)
        return value, gradient


def maximize_profile(
    C: Any, k: int, varies: Array, floor: float, tol: float, max_iter: int
) -> Profile:
    """Maximise the likelihood of a correlation matrix C, or of the correlation of rows.

    Constant columns of C are 0.
    """
    likelihood = ProfileLikelihood(C, k)
    evaluations = Replayed("profile", likelihood, likelihood.memory)
    d = len(varies)
    blank = {"W": np.empty((k, d)), "psi": np.empty(d)}
    stored = evaluations.result({"curve": CURVE, "converged": FLAG}, blank)
    if stored is not None:
        record, found = stored
        return Profile(found["W"], found["psi"], record["curve"], record["converged"])
    lower = np.log(floor)
    noise = starting_noise(C, k) if likelihood.is_matrix else _unexplained(likelihood, varies)
    start = np.where(varies, np.clip(noise, 2 * floor, 1.0), floor)
    curve: list[float] = []
    result = optimize.minimize(
        evaluations,
        np.log(start),
        jac=True,
        method="L-BFGS-B",
        bounds=[(lower, 0.1) if moves else (lower, lower) for moves in varies],
        callback=lambda intermediate_result: curve.append(-float(intermediate_result.fun)),
        options={
            "maxiter": max_iter,
            "maxfun": 20 * max_iter,
            "maxcor": 30,
            "ftol": min(1e-3 * float(tol), 1e200),  # SciPy divides it by epsilon
            "gtol": GRADIENT_TOLERANCE,
        },
    )
    psi = np.exp(result.x)
    curve = curve or [-float(result.fun)]
    # in the order in which a checkpoint has it: products with it have the same bits
    W = np.ascontiguousarray(likelihood.best_loadings(psi)[0])
    curve, converged = np.maximum.accumulate(curve).tolist(), bool(result.nit < max_iter)
    evaluations.end({"curve": curve, "converged": converged}, {"W": W, "psi": psi})
    return Profile(W, psi, curve, converged)


def starting_noise(C: Array, k: int) -> Array:
    """Return Jöreskog's starting values ``(1 − k / 2d) / (C⁻¹)_jj`` of the noise variances.

    ``1 / (C⁻¹)_jj`` is the variance of column j given all other columns. A small multiple of the
    identity is added to C, which is singular where a column is a copy of another one.
    """
    d = len(C)
    inverse = linalg.inv(C + 1e-3 * np.eye(d))
    return (1 - k / (2 * d)) / np.diagonal(inverse)


def _unexplained(likelihood: ProfileLikelihood, varies: Array) -> Array:
    """Return the variances that probabilistic PCA of the correlation leaves to the columns.

    These values need no inverse of a matrix, which the correlation of fewer rows than columns does
    not have.
    """
    theta, U = likelihood.leading(np.ones(len(varies)))
    noise = max(varies.sum() - theta.sum(), 0.0) / max(varies.sum() - len(theta), 1)
    return 1 - np.square(U) @ np.maximum(theta - noise, 0.0)
