"""Reference of the deep tied autoencoder: plain float64 NumPy, no import of aefast.

    encoder   H_0 = X,   A_l = H_{l-1} W_lᵀ + b_l,   H_l = g_l(A_l)
    decoder   R_L = H_L, B_l = R_l W_l + c_l,        R_{l-1} = g_{l-1}(B_l)

B_1 is the pre-activation of the output. With a gain a_l, layer l is decoded from
Z_l = (R_l − g_l(0)) ∘ a_l instead of R_l; `gains` is a list of the layers' gains.

Each W_l appears in the encoder and in the decoder, so its gradient is a sum of two terms. A NaN in
X is a missing entry, for which the encoder reads `fill`. `share` (n,) is the weight of each row in
the mean, 1/n by default. A `variants.Variant` has the rows that the encoder reads in place of X,
and what drops units of the code: R_L, or Z_L, is multiplied by its factors.
"""

from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from reference import solvers as reference_solvers
from reference.autoencoder import ACTIVATIONS, SOLVERS
from reference.outputs import losses, residuals
from reference.variants import Variant, auxiliary_gradient, passed

PLAIN = Variant()


class Layer(NamedTuple):
    W: np.ndarray
    b: np.ndarray
    c: np.ndarray
    V: np.ndarray | None = None  # the decoder's weights, where they are not tied to W

    @property
    def decoder(self):
        return self.W if self.V is None else self.V


def matrices_of(sizes, tied):
    """Return where the matrices of each layer begin in the flat layout, and their shapes."""
    places, at = [], 0
    for d, k in pairwise(sizes):
        for _ in range(1 if tied else 2):
            places.append((at, (k, d)))
            at += k * d
        at += k + d
    return places


def flatten(layers):
    """Return a vector of each layer's W, V unless it is tied, b and c."""
    parts = [part for layer in layers for part in (layer.W, layer.V, layer.b, layer.c)]
    return np.concatenate([np.ravel(part) for part in parts if part is not None])


def unflatten(vector, sizes, tied=True):
    """Return the layers in a vector; `sizes` are d, k_1, ..., k_L."""
    layers, begin = [], 0
    for d, k in pairwise(sizes):
        parts = []
        for shape in ((k, d),) * (1 if tied else 2) + ((k,), (d,)):
            end = begin + int(np.prod(shape))
            parts.append(vector[begin:end].reshape(shape))
            begin = end
        W, *V, b, c = parts
        layers.append(Layer(W, b, c, *V))
    return layers


def encode(X, layers, activations, fill=0.0):
    """Return [A_1, ...] and [H_0, H_1, ...]."""
    X = np.asarray(X, dtype=np.float64)
    A, H = [], [np.where(np.isnan(X), fill, X)]
    for layer, name in zip(layers, activations, strict=True):
        A.append(H[-1] @ layer.W.T + layer.b)
        H.append(ACTIVATIONS[name].function(A[-1]))
    return A, H


def encoder_rows(X, variant):
    return X if variant.encoded is None else variant.encoded


def centred(R, level, activations):
    return R - ACTIVATIONS[activations[level - 1]].function(np.zeros(1))


def decode(code, layers, activations, gains=None, kept=1.0):
    """Return {l: B_l}, {l: R_l} and {l: Z_l} for l from 1; `kept` are the factors of the code."""
    R, B, decoded = {len(layers): code}, {}, {}
    for level in range(len(layers), 0, -1):
        Z = R[level]
        if gains is not None:
            Z = centred(Z, level, activations) * gains[level - 1]
        decoded[level] = Z * kept if level == len(layers) else Z
        B[level] = decoded[level] @ layers[level - 1].decoder + layers[level - 1].c
        if level > 1:
            R[level - 1] = ACTIVATIONS[activations[level - 2]].function(B[level])
    return B, R, decoded


def row_losses(X, layers, activations, output, fill=0.0, gains=None, variant=PLAIN):
    H = encode(encoder_rows(X, variant), layers, activations, fill)[1]
    B, _, _ = decode(H[-1], layers, activations, gains, passed(H[-1], variant))
    return losses(X, B[1], output).sum(axis=1)


def loss(
    X, layers, activations, output, alpha=0.0, share=None, fill=0.0, gains=None, variant=PLAIN
):
    matrices = [M for layer in layers for M in (layer.W, layer.V) if M is not None]
    penalty = 0.5 * alpha * sum(np.sum(M**2) for M in matrices)
    of_rows = row_losses(X, layers, activations, output, fill, gains, variant)
    return (of_rows.mean() if share is None else share @ of_rows) + penalty


def gradients(
    X, layers, activations, output, alpha=0.0, share=None, fill=0.0, gains=None, variant=PLAIN
):
    """Return the gradient of `loss` for each layer, by backpropagation.

    With gains, return the gradients for the layers and those for the gains.
    """
    depth, share = len(layers), np.full(len(X), 1 / len(X)) if share is None else share
    A, H = encode(encoder_rows(X, variant), layers, activations, fill)
    kept = passed(H[-1], variant)
    B, R, Z = decode(H[-1], layers, activations, gains, kept)
    factors = [1.0] * depth if gains is None else gains

    def slope(level):
        return ACTIVATIONS[activations[level - 1]].derivative

    dB = {1: residuals(X, B[1], output) * share[:, np.newaxis]}
    for level in range(1, depth):
        dR = dB[level] @ layers[level - 1].decoder.T * factors[level - 1]
        dB[level + 1] = dR * slope(level)(B[level + 1])
    of_code = dB[depth] @ layers[-1].decoder.T
    dH = of_code * factors[-1] * kept + auxiliary_gradient(
        H[-1], of_code, layers[-1].decoder, share, variant
    )
    dA = {depth: dH * slope(depth)(A[-1])}
    for level in range(depth, 1, -1):
        dA[level - 1] = dA[level] @ layers[level - 1].W * slope(level - 1)(A[level - 2])
    of_layers = []
    for level, layer in enumerate(layers, start=1):
        of_encoder, of_decoder = dA[level].T @ H[level - 1], Z[level].T @ dB[level]
        if layer.V is None:
            of_encoder = of_encoder + of_decoder
        dW = of_encoder + alpha * layer.W
        dV = None if layer.V is None else of_decoder + alpha * layer.V
        of_layers.append(Layer(dW, dA[level].sum(axis=0), dB[level].sum(axis=0), dV))
    if gains is None:
        return of_layers
    of_gains = [
        (
            (dB[level] @ layers[level - 1].decoder.T * centred(R[level], level, activations))
            * (kept if level == depth else 1.0)
        ).sum(axis=0)
        for level in range(1, depth + 1)
    ]
    return of_layers, of_gains


def train(
    X,
    layers,
    activations,
    output,
    row_orders,
    *,
    batch_size,
    solver,
    alpha=0.0,
    clip_norm=None,
    max_norm=None,
    weight_averaging=None,
    sample_weight=None,
    fill=0.0,
    variant_of=None,
    **options,
):
    """Train like `reference.autoencoder.train` and return (layers, solver state, loss curve).

    `variant_of` is a function of the rows of a batch and of the number of rows before it.
    """
    sizes = [layers[0].W.shape[1]] + [len(layer.b) for layer in layers]
    tied = layers[0].V is None
    w, n_steps, loss_curve = flatten(layers), 0, []
    state = np.zeros((SOLVERS[solver].n_states(options), w.size))
    if SOLVERS[solver].of_matrices:
        options = options | {"matrices": matrices_of(sizes, tied)}
    average, n_seen = None if weight_averaging is None else w, 0
    for order in row_orders:
        total = 0.0
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            batch = X[rows]
            share = None if sample_weight is None else sample_weight[rows] / len(rows)
            variant = PLAIN if variant_of is None else variant_of(batch, n_seen)
            given = layers, activations, output, alpha, share, fill, None, variant
            total += len(batch) * loss(batch, *given)
            g = flatten(gradients(batch, *given))
            n_seen += len(batch)
            n_steps += 1
            g = reference_solvers.clipped(g, clip_norm)
            w, state = SOLVERS[solver].update(w, g, state, n_steps, **options)
            short = partial(reference_solvers.with_short_rows, max_norm=max_norm)
            layers = [
                layer._replace(W=short(layer.W), V=short(layer.V))
                for layer in unflatten(w, sizes, tied)
            ]
            w = flatten(layers)
            if average is not None:
                average = reference_solvers.averaged(average, w, n_steps - 1, weight_averaging)
        loss_curve.append(total / len(order))
    w, state = reference_solvers.with_average(state, average, w)
    return unflatten(w, sizes, tied), state, loss_curve
