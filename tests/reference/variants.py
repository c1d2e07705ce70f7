"""Reference of activations and of variants of the code: plain float64 NumPy.

    A = X Wᵀ + b     G = f(A), the activations
    H, the code: G with all but the top k zeroed, then times the dropout mask

Penalties are on G and on its Jacobian; `share` (n,) is what each row counts in the mean. The
divergence is of the weighted mean activations.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from reference.outputs import sigmoid, softplus


class Activation(NamedTuple):
    """f, elementwise, and its first and second derivative, as functions of A."""

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
    """A penalty that makes codes sparse, and its derivative.

    Both are functions of codes h, or of the mean codes m of a batch, and of a parameter.
    """

    value: Callable
    slope: Callable
    of_means: bool = False
    example: float | None = None  # of the parameter


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
    """What training adds to the plain autoencoder."""

    encoded: np.ndarray | None = None  # the rows that the encoder sees: the corrupted ones
    fill: np.ndarray | float = 0.0  # what it sees in place of missing entries, (d,)
    top_k: int | None = None  # how many activations of a row are kept
    dropout: np.ndarray | None = None  # (n, k), the factor of each activation
    contraction: float = 0.0  # lambda
    sparsity: tuple | None = None  # (a name of PENALTIES, its parameter if it has one, weight)
    revive: np.ndarray | None = (
        None  # (k,): with top_k, the weight of a dead unit's auxiliary loss; 0 for units that live
    )


def encoder_rows(X, variant):
    X = np.asarray(X if variant.encoded is None else variant.encoded, dtype=np.float64)
    return np.where(np.isnan(X), variant.fill, X)


def passed(G, variant):
    """The factor (n, k) of each activation: zero where it is dropped."""
    factor = np.ones_like(G)
    if variant.top_k is not None:
        order = np.argsort(-G, axis=1, kind="stable")  # of equal activations the first is kept
        factor = np.zeros_like(G)
        np.put_along_axis(factor, order[:, : variant.top_k], 1.0, axis=1)
    return factor if variant.dropout is None else factor * variant.dropout


def code_penalty(A, W, activation, share, variant):
    """``λ Σ_i v_i Σ_j f'(a_ij)² ‖W_j‖²``, plus the sparsity of the code.

    The first is the mean squared norm of ∂h/∂x (Rifai et al. 2011).
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
    """The gradients of `code_penalty` at A and at W.

    The gradient at W is of W's own appearance in the penalty alone, and that at A of the rest.
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
    """The loss that revives dead units: ``Σ_i v_i Σ_j revive_j ½ ‖e_i − g_ij V_j‖²``.

    The sum is over the units j that row i does not keep: it is the part of the residual e = x − μ,
    or of minus the derivative by the pre-activation, that such a unit alone leaves. The residual
    counts as given (after Gao et al. 2024).
    """
    left = residual[:, np.newaxis] - G[:, :, np.newaxis] * V
    dropped = passed(G, variant) == 0
    return share @ (0.5 * (left**2).sum(axis=2) * dropped * variant.revive).sum(axis=1)


def auxiliary_gradient(G, dH, V, share, variant):
    """The gradient of `auxiliary_loss` at G, given that of the loss at H.

    Nothing else is moved by it.
    """
    if variant.revive is None:
        return np.zeros_like(G)
    dropped = passed(G, variant) == 0
    return dropped * variant.revive * (dH + share[:, np.newaxis] * G * (V**2).sum(axis=1))
