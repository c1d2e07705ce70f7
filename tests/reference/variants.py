"""Reference of activations and of variants of the code: plain float64 NumPy.

    A = X Wᵀ + b
    G = f(A), the activations
    H, the code: G with all but the top k set to zero, times the dropout mask; with a gain,
       (G − f(0)) ∘ gain times the dropout mask

The penalties are functions of G and of its Jacobian. `share` (n,) is the weight of each row in the
mean. The Kullback-Leibler divergence is that of the weighted mean activations.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from reference.functions import sigmoid, softplus


class Activation(NamedTuple):
    """Elementwise activation f with its first and second derivatives, as functions of A."""

    function: Callable
    derivative: Callable
    second_derivative: Callable


def sigmoid_slope(A):
    return sigmoid(A) * sigmoid(-A)


ACTIVATIONS = {
    "sigmoid": Activation(
        function=sigmoid,
        derivative=sigmoid_slope,
        second_derivative=lambda A: sigmoid_slope(A) * (1.0 - 2.0 * sigmoid(A)),
    ),
    "tanh": Activation(
        function=np.tanh,
        derivative=lambda A: 1.0 / np.cosh(A) ** 2,
        second_derivative=lambda A: -2.0 * np.tanh(A) / np.cosh(A) ** 2,
    ),
    "relu": Activation(
        function=lambda A: np.maximum(A, 0.0),
        derivative=lambda A: (A > 0.0).astype(float),
        second_derivative=np.zeros_like,
    ),
    "softplus": Activation(function=softplus, derivative=sigmoid, second_derivative=sigmoid_slope),
    "elu": Activation(
        function=lambda A: np.where(A > 0.0, A, np.expm1(np.minimum(A, 0.0))),
        derivative=lambda A: np.where(A > 0.0, 1.0, np.exp(np.minimum(A, 0.0))),
        second_derivative=lambda A: np.where(A > 0.0, 0.0, np.exp(np.minimum(A, 0.0))),
    ),
    "linear": Activation(
        function=lambda A: A, derivative=np.ones_like, second_derivative=np.zeros_like
    ),
}


class Penalty(NamedTuple):
    """Sparsity penalty and its derivative, functions of codes and of an optional parameter."""

    value: Callable
    slope: Callable
    of_means: bool = False  # whether the codes are the means of a batch
    example: float | None = None  # example of the parameter, for tests


PENALTIES = {
    "kl": Penalty(
        value=lambda m, rho: rho * np.log(rho / m) + (1 - rho) * np.log((1 - rho) / (1 - m)),
        slope=lambda m, rho: (1 - rho) / (1 - m) - rho / m,
        of_means=True,
        example=0.1,
    ),
    "l1": Penalty(value=np.abs, slope=np.sign),
    "log": Penalty(value=lambda h: np.log1p(h**2), slope=lambda h: 2 * h / (1 + h**2)),
}


class Variant(NamedTuple):
    """Options of training beyond the plain autoencoder."""

    encoded: np.ndarray | None = None  # (n, d), corrupted rows for the encoder
    fill: np.ndarray | float = 0.0  # (d,), values that the encoder reads for missing entries
    top_k: int | None = None  # number of activations of a row that are kept
    dropout: np.ndarray | None = None  # (n, k), factor of each activation
    contraction: float = 0.0  # weight lambda of the contractive penalty
    sparsity: tuple | None = None  # (name in PENALTIES, parameter if it has one, weight)
    # (k,), with top_k: weight of a dead unit's auxiliary loss, 0 for units that are not dead.
    revive: np.ndarray | None = None
    gain: np.ndarray | None = None  # (k,), not with top_k
    entry_weight: np.ndarray | float = 1.0  # (n, d), importance weights of the entries' losses


def decoded(G, activation, variant):
    """Return what the decoder reads of the activations, before units are dropped."""
    if variant.gain is None:
        return G
    return (G - ACTIVATIONS[activation].function(np.zeros(1))) * variant.gain


def encoder_rows(X, variant):
    X = np.asarray(X if variant.encoded is None else variant.encoded, dtype=np.float64)
    return np.where(np.isnan(X), variant.fill, X)


def passed(G, variant):
    """Return the factor (n, k) of each activation, 0 if it is dropped."""
    factor = np.ones_like(G)
    if variant.top_k is not None:
        order = np.argsort(-G, axis=1, kind="stable")  # of equal activations the first is kept
        factor = np.zeros_like(G)
        np.put_along_axis(factor, order[:, : variant.top_k], 1.0, axis=1)
    return factor if variant.dropout is None else factor * variant.dropout


def code_penalty(A, W, activation, share, variant):
    """Return ``λ Σ_i v_i Σ_j f'(a_ij)² ‖W_j‖²`` plus the sparsity penalty.

    The first term is λ times the mean squared norm of ∂h/∂x (Rifai et al. 2011).
    """
    f, value = ACTIVATIONS[activation], 0.0
    if variant.contraction:
        value += variant.contraction * share @ f.derivative(A) ** 2 @ (W**2).sum(axis=1)
    if variant.sparsity:
        kind, *parameter, weight = variant.sparsity
        penalty, G = PENALTIES[kind], f.function(A)
        m = share @ G / share.sum()
        value += weight * (
            penalty.value(m, *parameter).sum()
            if penalty.of_means
            else share @ penalty.value(G, *parameter).sum(axis=1)
        )
    return value


def code_penalty_gradients(A, W, activation, share, variant):
    """Return the gradients of `code_penalty` with respect to A and to W.

    The gradient with respect to W covers only the explicit W in the penalty; the dependence through
    A is in the gradient with respect to A.
    """
    f, v = ACTIVATIONS[activation], share[:, np.newaxis]
    dA, dW = np.zeros_like(A), np.zeros_like(W)
    if variant.contraction:
        s, norms = f.derivative(A), (W**2).sum(axis=1)
        dA += 2 * variant.contraction * v * s * f.second_derivative(A) * norms
        dW += 2 * variant.contraction * (share @ s**2)[:, np.newaxis] * W
    if variant.sparsity:
        kind, *parameter, weight = variant.sparsity
        penalty, G = PENALTIES[kind], f.function(A)
        if penalty.of_means:
            slope = penalty.slope(share @ G / share.sum(), *parameter) / share.sum()
        else:
            slope = penalty.slope(G, *parameter)
        dA += weight * v * slope * f.derivative(A)
    return dA, dW


def auxiliary_loss(G, residual, V, share, variant):
    """Return the loss that revives dead units: ``Σ_i v_i Σ_j revive_j ½ ‖e_i − g_ij V_j‖²``.

    The sum is over the units j that row i does not keep. Each term is the part of the residual
    e = x − μ (in general: minus the derivative of the loss with respect to the pre-activation) that
    remains if the unit alone fits it. The residual is held constant (after Gao et al. 2024).
    """
    left = residual[:, np.newaxis] - G[:, :, np.newaxis] * V
    dropped = passed(G, variant) == 0
    return share @ (0.5 * (left**2).sum(axis=2) * dropped * variant.revive).sum(axis=1)


def auxiliary_gradient(G, dH, V, share, variant):
    """Return the gradient of `auxiliary_loss` with respect to G, given the loss's for H.

    The auxiliary loss changes no other gradient.
    """
    if variant.revive is None:
        return np.zeros_like(G)
    dropped = passed(G, variant) == 0
    return dropped * variant.revive * (dH + share[:, np.newaxis] * G * (V**2).sum(axis=1))
