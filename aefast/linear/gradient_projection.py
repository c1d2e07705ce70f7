"""Rotations by gradient projection, from several starts, with a second-order check.

A criterion f of the rotated loadings Λ (see `rotation_criteria`) is minimised over orthogonal
matrices T, ``Λ = A T``, or over oblique ones with columns of length 1, ``Λ = A T⁻ᵀ`` and
``Φ = Tᵀ T`` (Jennrich 2001, 2002; Bernaards & Jennrich 2005).
"""

from typing import NamedTuple

import numpy as np
from scipy import linalg
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

from aefast._base.random import ROTATIONS, random_stream

MAX_ITER = 2000  # of one descent
MOST_ESCAPES = 20  # number of saddles that a descent may leave
GRADIENT_TOLERANCE = 1e-7  # relative to the gradient by Λ; 1e-5 where rounding ends a descent
CURVATURE_TOLERANCE = 1e-6  # a curvature below minus this, relative to the greatest, is negative
# Number of tangent directions up to which the second derivatives are one matrix.
MOST_DIRECTIONS = 150
STEP = 1e-5  # of differences of gradients


class Rotation(NamedTuple):
    """A minimum of a criterion."""

    T: np.ndarray  # (k, k)
    value: float
    is_minimum: bool  # whether gradient and second derivatives are those of a local minimum


# ---- the two sets of matrices ----


class Orthogonal:
    """Orthogonal matrices."""

    def loadings(self, A, T):
        return A @ T

    def gradient(self, A, T, L, by_loadings):
        """Return the derivative by T along the set."""
        G = A.T @ by_loadings
        M = T.T @ G
        return G - T @ (0.5 * (M + M.T))

    def nearest(self, T):
        """Return the nearest matrix of the set."""
        U, _, Vt = linalg.svd(T)
        return U @ Vt

    def n_directions(self, k):
        return k * (k - 1) // 2

    def tangent(self, T, coordinates):
        """Return the tangent matrix at T with these coordinates in an orthonormal basis."""
        V = np.zeros_like(T)
        V[np.triu_indices(len(T), 1)] = coordinates
        return T @ (V - V.T) / np.sqrt(2)

    def coordinates(self, T, V):
        M = T.T @ V
        return (M - M.T)[np.triu_indices(len(T), 1)] / np.sqrt(2)


class Oblique:
    """Invertible matrices with columns of length 1."""

    def loadings(self, A, T):
        return np.linalg.solve(T, A.T).T

    def gradient(self, A, T, L, by_loadings):
        G = -np.linalg.solve(T.T, by_loadings.T @ L)
        return G - T * (T * G).sum(axis=0)

    def nearest(self, T):
        return T / np.linalg.norm(T, axis=0)

    def n_directions(self, k):
        return k * (k - 1)

    def tangent(self, T, coordinates):
        """Return the tangent matrix at T; each column is turned by a Householder reflection.

        The reflection takes ±e₁ to the column, and the other unit vectors to a basis of what is
        orthogonal to it.
        """
        k = len(T)
        V = np.zeros_like(T)
        V[1:] = coordinates.reshape(k - 1, k)
        return self._reflected(T, V)

    def coordinates(self, T, V):
        return self._reflected(T, V)[1:].ravel()

    @staticmethod
    def _reflected(T, V):
        normals = T.copy()
        normals[0] += np.where(T[0] >= 0, 1.0, -1.0)
        return V - normals * (2 * (normals * V).sum(axis=0) / np.square(normals).sum(axis=0))


# ---- descent ----


class Problem:
    """A criterion of the loadings A (d, k) rotated by matrices of a set."""

    def __init__(self, A, criterion, matrices):
        self.A, self.criterion, self.matrices = A, criterion, matrices

    def value(self, T):
        """Return the criterion, infinite where T is singular."""
        try:
            value = self.criterion(self.matrices.loadings(self.A, T))[0]
        except linalg.LinAlgError:
            return np.inf
        return value if np.isfinite(value) else np.inf

    def slope(self, T):
        """Return the gradient along the set and its scale."""
        L = self.matrices.loadings(self.A, T)
        by_loadings = self.criterion(L)[1]
        size = np.linalg.norm(L)
        scale = size * max(np.linalg.norm(by_loadings), 1e-6 * size)
        return self.matrices.gradient(self.A, T, L, by_loadings), scale

    def descend(self, T):
        """Return a stationary T, its value, and whether the gradient vanishes there.

        Steps have the length of Barzilai & Borwein (1988), and are halved until the criterion falls
        enough.
        """
        value = self.value(T)
        G, scale = self.slope(T)
        step = 1 / max(scale, np.finfo(float).tiny)
        for _ in range(MAX_ITER):
            size = float(np.square(G).sum())
            if size <= (GRADIENT_TOLERANCE * scale) ** 2:
                return T, value, True
            moved, lower = self._step(T, G, size, value, step)
            if moved is None:
                break
            before, T, value = (T, G), moved, lower
            G, scale = self.slope(T)
            moved_by, change = T - before[0], G - before[1]
            curvature = float((moved_by * change).sum())
            length = float(np.square(moved_by).sum())
            step = length / curvature if curvature > 1e-12 * length else 10 * step
        return T, value, float(np.linalg.norm(G)) <= 1e-5 * scale

    def _step(self, T, G, size, value, step):
        for _ in range(60):
            moved = self.matrices.nearest(T - step * G)
            lower = self.value(moved)
            if lower <= value - 1e-4 * step * size:
                return moved, lower
            step *= 0.5
        return None, value

    # ---- second derivatives ----

    def _times_curvature(self, T, coordinates):
        """Return second derivatives at a stationary T times a vector, by central differences."""
        V = self.matrices.tangent(T, coordinates)
        change = self.slope(T + STEP * V)[0] - self.slope(T - STEP * V)[0]
        return self.matrices.coordinates(T, change) / (2 * STEP)

    def curvature(self, T):
        """Return second derivatives at a stationary T: eigenvalues, ascending, and eigenvectors.

        Where there are many directions, the least and the greatest eigenvalue alone are found, by
        Lanczos' method; None if it does not converge.
        """
        size = self.matrices.n_directions(len(T))
        if size <= MOST_DIRECTIONS:
            H = np.array([self._times_curvature(T, unit) for unit in np.eye(size)])
            return linalg.eigh(0.5 * (H + H.T))
        H = LinearOperator(
            (size, size), matvec=lambda v: self._times_curvature(T, v.ravel()), dtype=float
        )
        start = random_stream(0, ROTATIONS).standard_normal(size)
        try:
            return eigsh(H, 2, which="BE", v0=start, tol=1e-3, maxiter=1000)
        except ArpackError:
            return None

    def newton_step(self, T, values, vectors):
        """Return T after a step of Newton's method, or T itself where the gradient would grow."""
        G = self.slope(T)[0]
        along = vectors.T @ self.matrices.coordinates(T, G)
        is_curved = values > CURVATURE_TOLERANCE * values[-1]
        along = np.where(is_curved, -along / np.where(is_curved, values, 1.0), 0.0)
        moved = self.matrices.nearest(T + self.matrices.tangent(T, vectors @ along))
        if not np.isfinite(self.value(moved)):
            return T
        return moved if np.linalg.norm(self.slope(moved)[0]) < np.linalg.norm(G) else T

    def leave_saddle(self, T, value, direction):
        """Return a lower point on either side of a saddle, or None."""
        found = [
            (self.value(moved), moved)
            for length in (1.0, 0.3, 0.1, 0.03, 0.01, 1e-3)
            for sign in (1.0, -1.0)
            for moved in [self.matrices.nearest(T + sign * length * direction)]
        ]
        lowest = min(found, key=lambda pair: pair[0])
        return lowest[1] if lowest[0] < value else None


# ---- minima ----


def minimum(problem, T, descend=None):
    """Return a local minimum, a `Rotation`, from a start.

    Where a descent ends at a saddle it goes on from a lower point beside it.

    Parameters
    ----------
    problem : Problem
    T : ndarray (k, k)
    descend : callable, optional
        Method in place of `Problem.descend`.
    """
    if problem.matrices.n_directions(len(T)) == 0:
        return Rotation(T, problem.value(T), True)
    descend = descend or problem.descend
    is_minimum = False
    for _ in range(MOST_ESCAPES):
        T, value, is_stationary = descend(T)
        found = problem.curvature(T) if is_stationary else None
        if found is None:
            break
        values, vectors = found
        if values[0] >= -CURVATURE_TOLERANCE * np.abs(values).max():
            for _ in range(2 if len(vectors) == len(values) else 0):
                T = problem.newton_step(T, values, vectors)
            value, is_minimum = problem.value(T), True
            break
        direction = problem.matrices.tangent(T, vectors[:, 0])
        beside = problem.leave_saddle(T, value, direction)
        if beside is None:
            break
        T = beside
    return Rotation(T, value, is_minimum)


def best_minimum(problem, starts, descend=None):
    """Return the minimum below the lowest end of descents from several starts.

    Of ends of equal value the first is taken.
    """
    ends = [(descend or problem.descend)(T) for T in starts]
    lowest, value, _ = ends[0]
    for T, found, _ in ends[1:]:
        if found < value - 1e-9 * abs(value):
            lowest, value = T, found
    return minimum(problem, lowest, descend)


def random_orthogonal(k, n):
    """Return n random orthogonal matrices, always the same."""
    random = random_stream(0, ROTATIONS, k)
    return [linalg.qr(random.standard_normal((k, k)))[0] for _ in range(n)]
