"""Functions that several reference implementations use, in float64 NumPy."""

import numpy as np


def sigmoid(a):
    """Return 1 / (1 + exp(-a)) in a form that cannot overflow."""
    e = np.exp(-np.abs(a))
    return np.where(a < 0, e, 1.0) / (1.0 + e)


def softplus(a):
    """Return log(1 + exp(a)) without overflow."""
    return np.maximum(a, 0.0) + np.log1p(np.exp(-np.abs(a)))


def logit(mean):
    """Return the inverse of the sigmoid."""
    return np.log(mean) - np.log1p(-mean)


def logsumexp(a):
    """Return log Σ exp(a_j) over the columns of a group, (n, 1)."""
    top = a.max(axis=-1, keepdims=True)
    return top + np.log(np.exp(a - top).sum(axis=-1, keepdims=True))


def softmax(a):
    return np.exp(a - logsumexp(a))


def continuous_bernoulli_mean(a):
    """Return the derivative of A(a) = log((exp(a) - 1) / a).

    Where its two terms cancel, it is computed by the Taylor series (Bernoulli numbers).
    """
    near, a_far = np.abs(a) < 0.5, np.where(np.abs(a) < 0.5, 1.0, a)
    with np.errstate(over="ignore"):
        far = -1.0 / np.expm1(-a_far) - 1.0 / a_far
    coefficients = [1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160, -691 / 1307674368000]
    series = 0.5 + sum(b * a ** (2 * i + 1) for i, b in enumerate(coefficients) if i < 6)
    return np.where(near, series if near.any() else 0.5, far)


def continuous_bernoulli_log_normalizer(a):
    size = np.where(a == 0, 1.0, np.abs(a))
    return np.maximum(a, 0.0) + np.where(a == 0, 0.0, np.log(-np.expm1(-size) / size))


def continuous_bernoulli_link(mean):
    """Return the inverse of the mean by bisection; the mean increases with a."""
    mean = np.asarray(mean, dtype=np.float64)
    low, high = np.full_like(mean, -1e6), np.full_like(mean, 1e6)
    for _ in range(100):
        middle = 0.5 * (low + high)
        above = continuous_bernoulli_mean(middle) > mean
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return 0.5 * (low + high)
