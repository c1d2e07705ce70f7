"""Bounds of the rounding errors of kernels relative to `reference.autoencoder`."""

from typing import NamedTuple

import numpy as np

from reference import outputs as reference_outputs
from reference.autoencoder import Parameters, backward, entry_losses, forward, row_shares
from reference.distributions import OUTPUTS
from reference.variants import ACTIVATIONS, Variant, encoder_rows, passed


class Rounding(NamedTuple):
    """Elementwise bounds of rounding errors in units of the machine epsilon."""

    H: np.ndarray
    X_hat: np.ndarray
    entry_losses: np.ndarray
    row_losses: np.ndarray
    loss: float
    gradients: Parameters


def rounding(X, parameters, output, activation="sigmoid", sample_weight=None, **variant):
    """Return first-order error bounds of one step without penalties on the code.

    The first and second derivatives of the activation are assumed to be at most 1.

    The error of a sum of products is proportional to the sum of its terms' magnitudes and to
    `growth` (Higham & Mary 2019). The errors of the factors are independent of each other, so that
    their squares add.
    """
    n, (k, d) = len(X), parameters.W.shape
    A, H, A_hat, X_hat = forward(X, parameters, output, activation, **variant)
    dA, dA_hat, *_ = backward(X, parameters, output, activation, sample_weight, **variant)
    residual = reference_outputs.residuals(X, A_hat, output)
    losses = entry_losses(X, parameters, output, activation, **variant)
    sizes = reference_outputs.sizes(X, A_hat, output)
    share = row_shares(n, sample_weight)
    X, factor = (
        encoder_rows(X, Variant(**variant)),
        passed(ACTIVATIONS[activation].function(A), Variant(**variant)),
    )
    slope = ACTIVATIONS[activation].derivative(A) * factor
    parts = (parameters.W, parameters.decoder, parameters.b, parameters.c)
    W, W_decoder, b, c = (np.abs(part) for part in parts)
    arrays = (X, H, X_hat, dA, dA_hat, residual, losses)
    X, H, X_hat, dA, dA_hat, residual, losses = (np.abs(array) for array in arrays)
    losses = losses.sum(axis=1)

    e_H = slope * growth(d) * (X @ W.T + b) + H
    e_A_hat = in_squares(e_H, W_decoder) + growth(k) * (H @ W_decoder + c)
    for name, columns, *_ in reference_outputs.segments(output, d):
        if OUTPUTS[name].is_group:  # an entry's mean depends on all pre-activations of its group
            e_A_hat[:, columns] = e_A_hat[:, columns].max(axis=1, keepdims=True)
    e_X_hat = sizes.slope * e_A_hat + X_hat
    e_residual = sizes.curvature * e_A_hat + sizes.residual
    e_entries = (1.0 + residual) * e_A_hat + sizes.loss
    e_rows = np.sqrt(np.sum(e_entries**2, axis=1)) + growth(d) * losses
    e_loss = np.sqrt(np.sum((share * e_rows) ** 2)) + growth(n) * share @ losses

    e_dA_hat = share[:, np.newaxis] * e_residual
    dH = dA_hat @ W_decoder.T
    e_dH = in_squares(e_dA_hat, W_decoder.T) + growth(d) * dH
    e_dA = slope * e_dH + dH * e_H
    encoder_part = in_squares(e_dA.T, X) + growth(n) * dA.T @ X
    decoder_part = in_squares(e_H.T, dA_hat) + in_squares(H.T, e_dA_hat) + growth(n) * H.T @ dA_hat
    e_db = np.sqrt(np.sum(e_dA**2, axis=0)) + growth(n) * dA.sum(axis=0)
    e_dc = np.sqrt(np.sum(e_dA_hat**2, axis=0)) + growth(n) * dA_hat.sum(axis=0)
    if parameters.decoder_weights is None:
        e_gradients = Parameters(encoder_part + decoder_part, e_db, e_dc)
    else:
        e_gradients = Parameters(encoder_part, e_db, e_dc, decoder_part)
    return Rounding(e_H, e_X_hat, e_entries, e_rows, e_loss, e_gradients)


def growth(n_terms):
    """Return the factor by which errors grow along a running sum of n terms.

    The errors are a random walk with standard deviation √n / 6 (roundings 1/√12, partial sums
    1/√3).
    """
    return max(1.0, np.sqrt(n_terms) / 4.0)


def in_squares(E, F):
    """Return the size of E @ F when the signs of its terms are random."""
    return np.sqrt(E**2 @ F**2)


def assert_within_rounding(actual, expected, scale, slack=3.0):
    """Assert |actual - expected| <= slack · eps · scale with the eps of actual's type.

    The slack covers the errors of both sides.
    """
    limits = np.finfo(actual.dtype)
    expected = np.asarray(expected)
    assert actual.shape == expected.shape, f"shape {actual.shape}, expected {expected.shape}"
    tolerance = slack * float(limits.eps) * np.asarray(scale) + float(limits.smallest_subnormal)
    error = np.abs(np.asarray(actual, dtype=np.float64) - expected)
    excess = np.where(error <= tolerance, 0.0, error / tolerance)  # a NaN counts as an excess
    worst = np.unravel_index(np.argmax(excess), excess.shape)
    assert not excess.any(), (
        f"at {worst}: {actual[worst]!r}, expected {expected[worst]!r}, "
        f"tolerance {tolerance[worst]:.2g}"
    )
