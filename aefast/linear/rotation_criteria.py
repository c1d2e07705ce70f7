"""Criteria of simple structure: functions of loadings Λ (d, k) that rotations minimise.

Each is called with Λ and returns its value and its derivative by Λ, of Λ's shape.
"""

import numpy as np


class Orthomax:
    """``−¼ Σ_r [Σ_j λ_jr⁴ − (γ/d) (Σ_j λ_jr²)²]``.

    γ = 0: quartimax (Neuhaus & Wrigley 1954), 1: varimax (Kaiser 1958), k/2: equamax (Saunders
    1962).
    """

    def __init__(self, gamma):
        self.gamma = gamma

    def __call__(self, L):
        squares = np.square(L)
        centred = squares - self.gamma / len(L) * squares.sum(axis=0)
        return -0.25 * float((squares * centred).sum()), -L * centred


class Oblimin:
    """``¼ Σ_{r≠s} [Σ_j λ_jr² λ_js² − (γ/d) Σ_j λ_jr² Σ_j λ_js²]`` (Jennrich & Sampson 1966).

    γ = 0 is quartimin. For γ > 0 the criterion has no minimum (Jennrich 1979).
    """

    def __init__(self, gamma):
        self.gamma = gamma

    def __call__(self, L):
        squares = np.square(L)
        others = squares.sum(axis=1, keepdims=True) - squares
        centred = others - self.gamma * others.mean(axis=0)
        return 0.25 * float((squares * centred).sum()), L * centred


class Geomin:
    """``Σ_j Π_r (λ_jr² + ε)^(1/k)`` (Yates 1987; ε: Browne 2001)."""

    def __init__(self, epsilon):
        self.epsilon = epsilon

    def __call__(self, L):
        raised = np.square(L) + self.epsilon
        means = np.exp(np.log(raised).mean(axis=1, keepdims=True))
        return float(means.sum()), 2 / L.shape[1] * L / raised * means


class Target:
    """``½ Σ (λ_jr − t_jr)²`` over the entries of the target that are not NaN (Browne 1972)."""

    def __init__(self, target):
        self.is_given = ~np.isnan(target)
        self.target = np.where(self.is_given, target, 0.0)

    def __call__(self, L):
        excess = np.where(self.is_given, L - self.target, 0.0)
        return 0.5 * float(np.square(excess).sum()), excess
