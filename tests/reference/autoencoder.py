"""Reference of the autoencoder: plain float64 NumPy, one formula per line, no import of aefast.

The tests compare every kernel with its reference. Notation, for n rows, d features and k
components:

    X (n, d)   W (k, d)   b (k,)   c (d,)   W* (k, d), the decoder's weights: W itself when tied
    A = X Wᵀ + b     H = f(A)     A_hat = H W* + c     X_hat = o(A_hat)

`product` is the matrix product; training in lower precision multiplies rounded operands
(bfloat16.py).

The loss of a row is the sum of its entries' losses; the loss of a batch is the mean over its rows
(weighted, with sample weights). The gradient with respect to a variable has the variable's name
with the prefix d.

`output` is the name of a distribution, or a list of (name, columns, constant, theta): outputs.py.
Missing entries are NaN. Variants of the autoencoder are keyword arguments, the fields of
`variants.Variant`.

A new activation, distribution or solver gets one entry in its table; tests that loop over the
compiled tables require it.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from reference import outputs as reference_outputs
from reference.distributions import OUTPUTS
from reference.functions import sigmoid, softplus
from reference.variants import (
    ACTIVATIONS,
    Variant,
    auxiliary_gradient,
    code_penalty,
    code_penalty_gradients,
    decoded,
    encoder_rows,
    passed,
)

__all__ = ["ACTIVATIONS", "OUTPUTS", "sigmoid", "softplus"]

# ---- solvers ----


class Solver(NamedTuple):
    """A solver: its update and the size of its state."""

    # n_states(options) is the number of numbers that the solver stores for each parameter.
    n_states: Callable
    # update(w, g, state, n_steps, **options) returns the new w and the new state (n_states,
    # n_parameters); n_steps counts from 1.
    update: Callable
    # Whether the update of a matrix follows from its whole gradient; `update` is then given
    # `matrices` too, the place and the shape of each matrix in w.
    of_matrices: bool = False


def sgd(w, g, state, n_steps, *, learning_rate, momentum=0.0, nesterov=False):
    """Gradient descent with the momentum of Polyak (1964) or Nesterov (1983).

    The form is that of Sutskever et al. (2013), with the learning rate outside the velocity.
    """
    if momentum == 0:
        return w - learning_rate * g, state
    velocity = momentum * state[0] + g
    step = g + momentum * velocity if nesterov else velocity
    return w - learning_rate * step, velocity[np.newaxis]


def adam(w, g, state, n_steps, *, learning_rate, beta_1=0.9, beta_2=0.999, epsilon=1e-8):
    """Adam (Kingma & Ba 2015, algorithm 1)."""
    first = beta_1 * state[0] + (1 - beta_1) * g
    second = beta_2 * state[1] + (1 - beta_2) * g**2
    first_unbiased = first / (1 - beta_1**n_steps)
    second_unbiased = second / (1 - beta_2**n_steps)
    w = w - learning_rate * first_unbiased / (np.sqrt(second_unbiased) + epsilon)
    return w, np.stack([first, second])


def adagrad(w, g, state, n_steps, *, learning_rate, epsilon=1e-10):
    """AdaGrad with a diagonal matrix (Duchi, Hazan & Singer 2011)."""
    squares = state + g**2
    return w - learning_rate * g / (np.sqrt(squares[0]) + epsilon), squares


def orthogonalised(M, n_steps=5):
    """Return M with its singular values near 1 (Jordan et al. 2024, Newton and Schulz' iteration).

    The polynomial acts on each singular value by itself: it is applied to them here.
    """
    P, s, Qt = np.linalg.svd(M, full_matrices=False)
    norm = np.linalg.norm(s)
    s = s / norm if norm > 0 else s
    for _ in range(n_steps):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return (P * s) @ Qt


def orthogonalised_by(product, M, n_steps=5):
    """Return what `orthogonalised` does, by products that may round their operands."""
    norm = np.linalg.norm(M)
    X = (M if len(M) <= M.shape[1] else M.T) / (norm if norm > 0 else 1)
    for _ in range(n_steps):
        A = product(X, X.T)
        X = product(3.4445 * np.eye(len(A)) - 4.7750 * A + 2.0315 * product(A, A), X)
    return X if len(M) <= M.shape[1] else X.T


def muon(
    w,
    g,
    state,
    n_steps,
    *,
    matrices,
    learning_rate,
    momentum=0.0,
    nesterov=False,
    orthogonal=orthogonalised,
):
    """Orthogonal steps of matrices (Jordan et al. 2024; scale: Liu et al. 2025), Adam of biases."""
    new, new_state = adam(w, g, state, n_steps, learning_rate=learning_rate)
    for at, shape in matrices:
        part = slice(at, at + shape[0] * shape[1])
        velocity = momentum * state[0, part] + g[part]
        step = g[part] + momentum * velocity if nesterov else velocity
        direction = 0.2 * np.sqrt(max(shape)) * orthogonal(step.reshape(shape))
        new[part] = w[part] - learning_rate * direction.ravel()
        new_state[:, part] = velocity, state[1, part]
    return new, new_state


SOLVERS = {
    "sgd": Solver(n_states=lambda options: 1 if options.get("momentum") else 0, update=sgd),
    "adam": Solver(n_states=lambda options: 2, update=adam),
    "adagrad": Solver(n_states=lambda options: 1, update=adagrad),
    "muon": Solver(n_states=lambda options: 2, update=muon, of_matrices=True),
}


# ---- parameters ----


class Parameters(NamedTuple):
    """The parameters of an autoencoder, or a gradient in their shape.

    ``decoder_weights`` is None when tied.
    """

    W: np.ndarray
    b: np.ndarray
    c: np.ndarray
    decoder_weights: np.ndarray | None = None

    @property
    def decoder(self):
        """Weights W* of the decoder."""
        return self.W if self.decoder_weights is None else self.decoder_weights


def flatten(parameters):
    """Return the parameters in one vector: [W | b | c] if tied, otherwise [W | W* | b | c]."""
    W, b, c, decoder_weights = parameters
    parts = [W, b, c] if decoder_weights is None else [W, decoder_weights, b, c]
    return np.concatenate([np.ravel(part) for part in parts]).astype(np.float64)


def unflatten(vector, n_components, n_features, tied):
    """Return the parameters of a vector that `flatten` has made."""
    k, d = n_components, n_features
    n_weights = k * d if tied else 2 * k * d
    matrices = vector[:n_weights].reshape(-1, k, d)
    b, c = vector[n_weights : n_weights + k], vector[n_weights + k :]
    return Parameters(matrices[0], b, c, None if tied else matrices[1])


# ---- forward and loss ----


class Forward(NamedTuple):
    """All arrays of a forward pass."""

    A: np.ndarray
    H: np.ndarray
    A_hat: np.ndarray
    X_hat: np.ndarray


def forward(X, parameters, output, activation="sigmoid", product=np.matmul, **variant):
    variant = Variant(**variant)
    A = product(encoder_rows(X, variant), parameters.W.T) + parameters.b
    G = ACTIVATIONS[activation].function(A)
    H = decoded(G, activation, variant) * passed(G, variant)
    A_hat = product(H, parameters.decoder) + parameters.c
    return Forward(A, H, A_hat, reference_outputs.means(X, A_hat, output))


def entry_losses(X, parameters, output, activation="sigmoid", product=np.matmul, **variant):
    """Return the loss of every entry (n, d); the losses of a group's entries add up to its loss."""
    A_hat = forward(X, parameters, output, activation, product, **variant).A_hat
    return reference_outputs.losses(X, A_hat, output) * Variant(**variant).entry_weight


def row_losses(X, parameters, output, activation="sigmoid", product=np.matmul, **variant):
    """Return the loss of every row (n,)."""
    return entry_losses(X, parameters, output, activation, product, **variant).sum(axis=1)


def log_likelihood(X, parameters, output, activation="sigmoid", *, per_feature=False, **variant):
    """Return log p(x | mu(h(x))), constants included, of every row (n,) or column (n, d).

    The first column of a group has the sum over the group, the others have 0.
    """
    A_hat = forward(X, parameters, output, activation, **variant).A_hat
    entries = -reference_outputs.losses(X, A_hat, output)
    entries -= reference_outputs.log_bases(X, A_hat, output)
    return reference_outputs.collapsed(entries, output) if per_feature else entries.sum(axis=1)


def penalty(parameters, alpha):
    """Return ½ alpha ‖W‖², plus ½ alpha ‖W*‖² if untied."""
    weights = (
        [parameters.W]
        if parameters.decoder_weights is None
        else [parameters.W, parameters.decoder_weights]
    )
    return 0.5 * alpha * sum(np.sum(matrix**2) for matrix in weights)


def row_shares(n_samples, sample_weight=None, total=None):
    """Return the weight of each row's loss in the mean: v_i / Σ v, or 1 / n without weights.

    In a batch of weighted training it is v_i / total.
    """
    v = np.ones(n_samples) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    return v / (v.sum() if total is None else total)


def loss(
    X,
    parameters,
    output,
    activation="sigmoid",
    sample_weight=None,
    alpha=0.0,
    product=np.matmul,
    *,
    total=None,
    **variant,
):
    """Return the (weighted) mean of the rows' losses plus the penalties on weights and code."""
    share = row_shares(len(X), sample_weight, total)
    A = forward(X, parameters, output, activation, product, **variant).A
    on_code = code_penalty(A, parameters.W, activation, share, Variant(**variant))
    losses = row_losses(X, parameters, output, activation, product, **variant)
    return share @ losses + on_code + penalty(parameters, alpha)


# ---- backward ----


class Backward(NamedTuple):
    """Gradients of the pre-activations, and the two terms of the weights' gradient."""

    dA: np.ndarray
    dA_hat: np.ndarray
    dW_encoder: np.ndarray
    dW_decoder: np.ndarray


def backward(
    X,
    parameters,
    output,
    activation="sigmoid",
    sample_weight=None,
    product=np.matmul,
    *,
    total=None,
    **variant,
):
    A, H, A_hat, _ = forward(X, parameters, output, activation, product, **variant)
    share, variant = row_shares(len(X), sample_weight, total), Variant(**variant)
    dA_hat = reference_outputs.residuals(X, A_hat, output) * share[:, np.newaxis]
    dA_hat = dA_hat * variant.entry_weight
    dH = product(dA_hat, parameters.decoder.T)
    f = ACTIVATIONS[activation]
    from_code, dW_of_code = code_penalty_gradients(A, parameters.W, activation, share, variant)
    G = f.function(A)
    dH = dH if variant.gain is None else dH * variant.gain
    dG = dH * passed(G, variant) + auxiliary_gradient(G, dH, parameters.decoder, share, variant)
    dA = dG * f.derivative(A) + from_code
    dW_encoder = product(dA.T, encoder_rows(X, variant)) + dW_of_code
    return Backward(dA, dA_hat, dW_encoder, dW_decoder=product(H.T, dA_hat))


def gradients(
    X,
    parameters,
    output,
    activation="sigmoid",
    sample_weight=None,
    alpha=0.0,
    product=np.matmul,
    **options,
):
    """Return the gradient of `loss`.

    Tied weights appear in the encoder and in the decoder, so their gradient is a sum of two terms.
    """
    W, _, _, decoder_weights = parameters
    dA, dA_hat, dW_encoder, dW_decoder = backward(
        X, parameters, output, activation, sample_weight, product, **options
    )
    db, dc = dA.sum(axis=0), dA_hat.sum(axis=0)
    if decoder_weights is None:
        return Parameters(dW_encoder + dW_decoder + alpha * W, db, dc)
    return Parameters(dW_encoder + alpha * W, db, dc, dW_decoder + alpha * decoder_weights)


def gain_gradient(
    X, parameters, output, activation="sigmoid", sample_weight=None, *, total=None, **variant
):
    """Return the gradient of `loss` with respect to the gain: Σ dZ ∘ (G − f(0)) over rows."""
    A, _, A_hat, _ = forward(X, parameters, output, activation, **variant)
    share, variant = row_shares(len(X), sample_weight, total), Variant(**variant)
    dA_hat = reference_outputs.residuals(X, A_hat, output) * share[:, np.newaxis]
    dA_hat = dA_hat * variant.entry_weight
    G = ACTIVATIONS[activation].function(A)
    dZ = dA_hat @ parameters.decoder.T * passed(G, variant)
    return (dZ * decoded(G, activation, variant._replace(gain=np.ones(1)))).sum(axis=0)


def theta_gradients(
    X,
    parameters,
    output,
    activation="sigmoid",
    sample_weight=None,
    product=np.matmul,
    *,
    total=None,
    **variant,
):
    """Return the gradient of `loss` with respect to the theta of each segment of `output`.

    It is None for a segment that learns nothing.
    """
    A_hat = forward(X, parameters, output, activation, product, **variant).A_hat
    share = (
        row_shares(len(X), sample_weight, total)[:, np.newaxis] * Variant(**variant).entry_weight
    )
    return reference_outputs.theta_gradients(X, A_hat, output, np.broadcast_to(share, A_hat.shape))


def finite_differences(function, x, step=1e-3):
    """Return the gradient of a function of a vector by central differences, error O(step⁴)."""
    gradient = np.empty_like(x)
    for i in range(x.size):
        h = step * max(1.0, abs(x[i]))
        f = {m: function(x + m * h * (np.arange(x.size) == i)) for m in (-2, -1, 1, 2)}
        gradient[i] = (f[-2] - 8 * f[-1] + 8 * f[1] - f[2]) / (12 * h)
    return gradient


# ---- training ----


def options_of_matrices(solver, k, d, tied):
    """Return the option `matrices` of a solver of whole matrices, for one layer."""
    places = [0] if tied else [0, k * d]
    return {"matrices": [(at, (k, d)) for at in places]} if SOLVERS[solver].of_matrices else {}


class Training(NamedTuple):
    parameters: Parameters
    state: np.ndarray
    loss_curve: list
    thetas: list


def train(
    X,
    parameters,
    row_orders,
    *,
    batch_size,
    output,
    solver,
    alpha=0.0,
    activation="sigmoid",
    product=np.matmul,
    sample_weight=None,
    variant=None,
    **options,
):
    """Train for one epoch per order of rows in ``row_orders``; the last batch may be shorter.

    Sample weights are scaled to mean 1 over the rows; the loss of a batch is divided by the number
    of its rows. `variant` is a dict of keyword arguments of `loss`. The parameters of the
    distributions start from the thetas of `output` and follow the other parameters; the result has
    them as `thetas`. (Fixed thetas are not supported.) The loss curve has, for each epoch, the mean
    over rows of the loss of the row's batch before its update.
    """
    X = np.asarray(X, dtype=np.float64)
    v = np.ones(len(X)) if sample_weight is None else sample_weight / np.mean(sample_weight)
    k, d = parameters.W.shape
    segments = reference_outputs.segments(output, d)
    tied, n_fixed = parameters.decoder_weights is None, len(flatten(parameters))
    thetas = [segment.theta for segment in segments if segment.theta is not None]
    w = np.concatenate([flatten(parameters), *thetas])
    state = np.zeros((SOLVERS[solver].n_states(options), w.size))
    options = options | options_of_matrices(solver, k, d, tied)
    if SOLVERS[solver].of_matrices and product is not np.matmul:
        options["orthogonal"] = partial(orthogonalised_by, product)
    n_steps, loss_curve = 0, []
    for order in row_orders:
        epoch_loss = 0.0
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            problem = {
                "parameters": unflatten(w[:n_fixed], k, d, tied),
                "output": with_thetas(segments, w[n_fixed:]),
                "activation": activation,
                "sample_weight": v[rows],
                "total": len(rows),
                "product": product,
                **(variant or {}),
            }
            epoch_loss += len(rows) * loss(X[rows], alpha=alpha, **problem)
            g = flatten(gradients(X[rows], alpha=alpha, **problem))
            of_thetas = [part for part in theta_gradients(X[rows], **problem) if part is not None]
            n_steps += 1
            w, state = SOLVERS[solver].update(
                w, np.concatenate([g, *of_thetas]), state, n_steps, **options
            )
        loss_curve.append(epoch_loss / len(order))
    thetas = [segment.theta for segment in with_thetas(segments, w[n_fixed:])]
    return Training(unflatten(w[:n_fixed], k, d, tied), state, loss_curve, thetas)


def with_thetas(segments, vector):
    """Return the segments with their thetas taken from a vector in order."""
    out, begin = [], 0
    for segment in segments:
        n = 0 if segment.theta is None else len(segment.theta)
        out.append(segment._replace(theta=vector[begin : begin + n]) if n else segment)
        begin += n
    return out
