"""Reference of training in bfloat16: products of rounded operands, and bounds of the errors."""

import numpy as np

from reference.autoencoder import ACTIVATIONS, Parameters, backward, forward
from reference.rounding import growth

SMALLEST_NORMAL = 2.0**-126


def rounded(x):
    """Round to 8 significant bits, ties to even; subnormal numbers become zero."""
    fraction, exponent = np.frexp(np.asarray(x, dtype=np.float64))
    nearest = np.ldexp(np.rint(np.ldexp(fraction, 8)), exponent - 8)
    return np.where(np.abs(x) < SMALLEST_NORMAL, 0.0, nearest)


def product(A, B):
    """Return the matrix product of rounded operands."""
    return rounded(A) @ rounded(B)


def rounding(X, parameters, output, activation="sigmoid", slack=3.0):
    """Return elementwise bounds of the errors that float32 sums cause in the gradients.

    The gradients are those of the mean loss with `product`; the bounds are absolute.

    Sums in float32 have the errors of `rounding.rounding`. An error of an operand disappears when
    the operand is rounded to bfloat16, unless a rounding boundary lies within the error; then it
    becomes the distance between neighbouring bfloat16 numbers. The magnitudes of such errors are
    added.
    """
    eps = slack * float(np.finfo(np.float32).eps)
    n, (k, d) = len(X), parameters.W.shape
    X = np.asarray(X, dtype=np.float64)
    A, H, _, X_hat = forward(X, parameters, output, activation, product)
    dA, dA_hat, *_ = backward(X, parameters, output, activation, product=product)
    slope = ACTIVATIONS[activation].derivative(A)
    dH = np.abs(product(dA_hat, parameters.decoder.T))
    size = {name: np.abs(rounded(x)) for name, x in {"X": X, "H": H, "E": dA_hat, "D": dA}.items()}
    W, V = np.abs(rounded(parameters.W)), np.abs(rounded(parameters.decoder))
    b, c = np.abs(parameters.b), np.abs(parameters.c)

    e_H = eps * (slope * growth(d) * (size["X"] @ W.T + b) + H)
    o_H = operand_error(H, e_H)
    e_A_hat = o_H @ V + eps * growth(k) * (size["H"] @ V + c)
    e_E = (e_A_hat + eps * (np.abs(X_hat) + np.abs(X))) / n
    o_E = operand_error(dA_hat, e_E)
    e_dH = o_E @ V.T + eps * growth(d) * size["E"] @ V.T
    e_D = slope * e_dH + dH * e_H + eps * np.abs(dA)
    o_D = operand_error(dA, e_D)
    encoder = o_D.T @ size["X"] + eps * growth(n) * size["D"].T @ size["X"]
    decoder = (
        o_H.T @ size["E"] + (size["H"] + o_H).T @ o_E + eps * growth(n) * size["H"].T @ size["E"]
    )
    e_b = (e_D + eps * growth(n) * np.abs(dA)).sum(axis=0)
    e_c = (e_E + eps * growth(n) * np.abs(dA_hat)).sum(axis=0)
    if parameters.decoder_weights is None:
        return Parameters(encoder + decoder, e_b, e_c)
    return Parameters(encoder, e_b, e_c, decoder)


def operand_error(x, error):
    """Return the largest difference of two rounded numbers that lie within `error` of x."""
    return rounded(x + error) - rounded(x - error)
