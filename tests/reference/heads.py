"""Reference of a head on the code of a deep tied autoencoder: float64 NumPy, no import of aefast.

The head decodes the code a second time, Y_hat = o(Z V + a), with Z = H_L, or
Z = (H_L − g_L(0)) ∘ gain where the last layer has a gain. Its loss, that of an output distribution
of `reference.outputs`, is added to `weight` times the reconstruction's:

    L = Σ_i v_i l_head(y_i, ŷ_i) + weight Σ_i u_i l(x_i, x̂_i) + ½ α (Σ_l ‖W_l‖² + ‖V‖²)

v (n,) and u (n,) are the shares of the rows, 1/n by default. With weight 0 there is no decoder: the
gradient of its biases is 0. A NaN in Y is a missing target.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from reference import stacked
from reference.autoencoder import ACTIVATIONS
from reference.outputs import losses, means, residuals


class Head(NamedTuple):
    V: np.ndarray  # (k, m)
    a: np.ndarray  # (m,)


def flatten(layers, head, gains=None):
    parts = []
    for level, layer in enumerate(layers):
        parts += [*layer, *([] if gains is None else [gains[level]])]
    return np.concatenate([np.ravel(part) for part in (*parts, *head) if part is not None])


def unflatten(vector, sizes, n_outputs, has_gain=False):
    """Return layers, head and gains (or None); `sizes` are d, k_1, ..., k_L."""
    layers, gains, begin = [], [], 0

    def take(*shape):
        nonlocal begin
        begin += int(np.prod(shape))
        return vector[begin - int(np.prod(shape)) : begin].reshape(shape)

    for d, k in pairwise(sizes):
        layers.append(stacked.Layer(take(k, d), take(k), take(d)))
        if has_gain:
            gains.append(take(k))
    head = Head(take(sizes[-1], n_outputs), take(n_outputs))
    return layers, head, gains if has_gain else None


def decoded_code(H, activations, gains):
    if gains is None:
        return H[-1]
    return stacked.centred(H[-1], len(activations), activations) * gains[-1]


def predict(X, layers, head, activations, head_output, gains=None):
    """Return the means (n, m) of the targets."""
    H = stacked.encode(X, layers, activations)[1]
    eta = decoded_code(H, activations, gains) @ head.V + head.a
    return means(np.full(eta.shape, np.nan), eta, head_output)


def shares(share, n):
    return np.full(n, 1 / n) if share is None else share


def loss(
    X, Y, layers, head, activations, output, head_output, weight, *, v=None, u=None, alpha=0.0,
    gains=None,
):  # fmt: skip
    H = stacked.encode(X, layers, activations)[1]
    eta = decoded_code(H, activations, gains) @ head.V + head.a
    total = shares(v, len(X)) @ losses(Y, eta, head_output).sum(axis=1)
    if weight:
        options = {"share": shares(u, len(X)), "gains": gains}
        total += weight * stacked.loss(X, layers, activations, output, **options)
    squares = sum(np.sum(layer.W**2) for layer in layers) + np.sum(head.V**2)
    return total + 0.5 * alpha * squares


def head_gradients(X, Y, layers, head, activations, head_output, v, gains):
    """Return the gradient of the head's loss: for the layers, the gains, and the head."""
    depth = len(layers)
    A, H = stacked.encode(X, layers, activations)
    Z = decoded_code(H, activations, gains)
    d_eta = residuals(Y, Z @ head.V + head.a, head_output) * v[:, np.newaxis]
    of_head = Head(Z.T @ d_eta, d_eta.sum(axis=0))
    dZ = d_eta @ head.V.T
    of_gains = None
    if gains is not None:
        of_gains = [np.zeros_like(gain) for gain in gains]
        of_gains[-1] = (dZ * stacked.centred(H[-1], depth, activations)).sum(axis=0)
        dZ = dZ * gains[-1]
    of_layers, dH = [], dZ
    for level in range(depth, 0, -1):
        dA = dH * ACTIVATIONS[activations[level - 1]].derivative(A[level - 1])
        layer = layers[level - 1]
        zeros = np.zeros_like(layer.c)
        of_layers.insert(0, stacked.Layer(dA.T @ H[level - 1], dA.sum(axis=0), zeros))
        dH = dA @ layer.W
    return of_layers, of_gains, of_head


def gradients(
    X, Y, layers, head, activations, output, head_output, weight, *, v=None, u=None, alpha=0.0,
    gains=None,
):  # fmt: skip
    """Return the gradient of `loss` as a vector, in the order of `flatten`."""
    of_layers, of_gains, of_head = head_gradients(
        X, Y, layers, head, activations, head_output, shares(v, len(X)), gains
    )
    if weight:
        options = {"share": shares(u, len(X)), "gains": gains}
        found = stacked.gradients(X, layers, activations, output, **options)
        of_decoder, of_decoder_gains = (found, None) if gains is None else found
        of_layers = [
            stacked.Layer(*[a + weight * b for a, b in zip(one[:3], other[:3], strict=True)])
            for one, other in zip(of_layers, of_decoder, strict=True)
        ]
        if gains is not None:
            both = zip(of_gains, of_decoder_gains, strict=True)
            of_gains = [a + weight * b for a, b in both]
    of_layers = [
        found._replace(W=found.W + alpha * layer.W)
        for found, layer in zip(of_layers, layers, strict=True)
    ]
    of_head = of_head._replace(V=of_head.V + alpha * head.V)
    return flatten(of_layers, of_head, of_gains)
