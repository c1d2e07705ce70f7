"""Distribution of a linear factor model; Woodbury's identity reduces every solve to k x k."""

from functools import cached_property

import numpy as np
from scipy import linalg

from aefast._base import threads
from aefast._base.projection import project, quadratic_forms

LOG_2PI = float(np.log(2 * np.pi))
# Ratio of signal to noise from which ‖x‖² − ‖projection‖² would lose more than half of the digits,
# and the number of features up to which a d x d matrix is used there instead.
GREAT_SNR = 1e6
WIDEST_SQUARE = 4096


class LinearGaussian:
    """Linear Gaussian model ``x = h W + μ + noise``, ``h ~ N(0, Φ)``.

    The noise is independent with variances ψ, so that ``x ~ N(μ, Wᵀ Φ W + Ψ)``.

    Parameters
    ----------
    mean : ndarray (d,)
    W : ndarray (k, d)
    psi : ndarray (d,)
        Positive.
    Phi : ndarray (k, k), optional
        Positive definite; default I.

    Notes
    -----
    Computations use independent factors: ``W₀ = Lᵀ W`` with ``L Lᵀ = Φ``, and
    ``M = I + W₀ Ψ⁻¹ W₀ᵀ``. All arrays are float64.
    """

    @threads.with_same_bits
    def __init__(self, mean, W, psi, Phi=None):
        self.mean, self.W, self.psi = mean, W, psi
        k, self.n_features = W.shape
        self.L = np.eye(k) if Phi is None else linalg.cholesky(Phi, lower=True)
        self.W0 = W if Phi is None else self.L.T @ W

    @cached_property
    @threads.with_same_bits
    def M_factor(self):
        """Lower Cholesky factor of M."""
        return linalg.cholesky(np.eye(len(self.W0)) + (self.W0 / self.psi) @ self.W0.T, lower=True)

    @threads.with_same_bits
    def check_finite(self):
        """ValueError where the covariance of rows or of factors overflows, or M is singular."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            variances = np.einsum("kd,kd->d", self.W0, self.W0) + self.psi
            signal_to_noise = (self.W0 / self.psi) @ self.W0.T
        if not (np.isfinite(variances).all() and np.isfinite(signal_to_noise).all()):
            raise ValueError("its covariance overflows float64")
        try:
            self.M_factor  # noqa: B018  kept for the methods that need it
        except linalg.LinAlgError:
            raise ValueError(
                "its noise variances are so small beside its components that the posterior of the "
                "factors is singular to rounding"
            ) from None

    @threads.with_same_bits
    def solve_M(self, right):
        """Return ``M⁻¹ right``."""
        return linalg.cho_solve((self.M_factor, True), right)

    @cached_property
    def log_det(self):
        """Log-determinant ``log |Σ| = log |Ψ| + log |M|``."""
        return float(np.log(self.psi).sum() + 2 * np.log(np.diagonal(self.M_factor)).sum())

    @cached_property
    @threads.with_same_bits
    def posterior_map(self):
        """Matrix ``P = Ψ⁻¹ W₀ᵀ M⁻¹ Lᵀ`` (d, k) with ``E[h | x] = (x − μ) P``."""
        return (self.L @ self.solve_M(self.W0 / self.psi)).T

    @cached_property
    @threads.with_same_bits
    def posterior_covariance(self):
        """Covariance ``L M⁻¹ Lᵀ`` (k, k) of h given x, which does not depend on x."""
        covariance = self.L @ self.solve_M(self.L.T)
        return 0.5 * (covariance + covariance.T)

    @threads.with_same_bits
    def covariance(self):
        """Return the covariance ``Wᵀ Φ W + Ψ`` (d, d) of x."""
        covariance = self.W0.T @ self.W0
        covariance[np.diag_indices(self.n_features)] += self.psi
        return covariance

    @threads.with_same_bits
    def precision(self):
        """Return the precision ``Σ⁻¹ = Ψ⁻¹ − Ψ⁻¹ W₀ᵀ M⁻¹ W₀ Ψ⁻¹`` (d, d) of x."""
        root = self._precision_root()
        return root @ root.T

    def _precision_root(self):
        """Return the matrix A (d, d) with ``A Aᵀ = Σ⁻¹``.

        ``A = Ψ^-½ (I − U (1 − θ^-½) Uᵀ)``, where θ and U are the eigenvalues and eigenvectors of
        ``I + Ψ^-½ W₀ᵀ W₀ Ψ^-½``. Nothing is subtracted from a large number.
        """
        scale = 1 / np.sqrt(self.psi)
        U, s, _ = linalg.svd((self.W0 * scale).T, full_matrices=False)
        root = -(U * (1 - 1 / np.sqrt(1 + s**2))) @ U.T
        root[np.diag_indices(self.n_features)] += 1
        return scale[:, None] * root

    @cached_property
    @threads.with_same_bits
    def _quadratic_terms(self):
        """Arguments (B, p, sign) of `quadratic_forms` for ``(x − μ) Σ⁻¹ (x − μ)ᵀ``."""
        is_great = np.square(np.diagonal(self.M_factor)).max() > GREAT_SNR
        if is_great and self.n_features <= WIDEST_SQUARE:
            return self._precision_root(), None, 1.0
        B = linalg.solve_triangular(self.M_factor, self.W0 / self.psi, lower=True).T
        return B, 1 / self.psi, -1.0

    # ---- results for rows; None where an entry is missing ----

    def posterior_means(self, rows, n_threads, name):
        """Return ``E[h | x]`` (n, k) of each row; `name` is the name of the rows in errors."""
        options = {"n_threads": n_threads, "name": name, "none_if_missing": True}
        return project(rows, self.mean, self.posterior_map, **options)

    def mahalanobis(self, rows, n_threads, name):
        """Return squared Mahalanobis distances (n,)."""
        options = {"n_threads": n_threads, "name": name, "none_if_missing": True}
        squared = quadratic_forms(rows, self.mean, *self._quadratic_terms, **options)
        return None if squared is None else np.maximum(squared, 0.0, out=squared)

    def log_likelihood(self, squared_distances):
        """Return ``log p(x)`` from squared Mahalanobis distances."""
        return -0.5 * (squared_distances + (self.n_features * LOG_2PI + self.log_det))
