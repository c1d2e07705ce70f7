"""Reference of the output distributions p(x | mu): plain float64 NumPy, a formula a line.

    a (n, m)   the output's pre-activation A_hat at the columns of one distribution; mu = mean(a)
    x (n, m)   what was observed there; a NaN is a missing entry and contributes nothing
    theta (m,) what the distribution learns for each column, any real number
    c          the constant of the distribution

`loss` is -log p(x | mu) without log_base(x, c), which depends on x alone. The columns of a *group*
(categorical, multinomial) are one observation: their losses add up to the group's, and a group is
missing when all of its entries are.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import digamma, erf, gammaln

from reference.functions import (
    continuous_bernoulli_link,
    continuous_bernoulli_log_normalizer,
    continuous_bernoulli_mean,
    logit,
    logsumexp,
    sigmoid,
    softmax,
    softplus,
)

HALF_LOG_2PI = 0.5 * np.log(2.0 * np.pi)

# ---- the distributions ----


class Sizes(NamedTuple):
    """Sizes that rounding errors are measured by.

    They are magnitudes of the terms of loss and residual, and bounds of the derivatives of residual
    and mean by a.
    """

    loss: np.ndarray
    residual: np.ndarray
    curvature: np.ndarray
    slope: np.ndarray


class Output(NamedTuple):
    """Functions of (x, a, theta, c), each entry by itself but in groups.

    Entries of x lie in [low, high].

    ``residual`` is the derivative of the loss at a, ``theta_gradient`` that at theta (None: nothing
    is learnt); ``link`` is the inverse of ``mean``.
    """

    mean: Callable  # of a
    link: Callable  # of a mean
    loss: Callable
    residual: Callable
    sizes: Callable
    log_base: Callable  # of x and c
    low: float = -np.inf
    high: float = np.inf
    theta_gradient: Callable | None = None
    constant: float | None = None  # the default of c
    example: float | None = (
        None  # another value of c, or of exp(theta) where an option fixes theta: for tests
    )
    is_group: bool = False
    is_discrete: bool = False


def nothing(x, c=None):
    return np.zeros_like(x)


GAUSSIAN = Output(
    mean=lambda a: a,
    link=lambda mean: mean,
    loss=lambda x, a, theta, c: 0.5 * (a - x) ** 2,
    residual=lambda x, a, theta, c: a - x,
    sizes=lambda x, a, theta, c: Sizes(
        (1 + abs(a - x)) * (abs(a) + abs(x)), abs(a) + abs(x), 1.0, 1.0
    ),
    log_base=lambda x, c=None: np.full_like(x, HALF_LOG_2PI),
)

BERNOULLI = Output(
    mean=sigmoid,
    link=logit,
    # -x log mu - (1 - x) log(1 - mu), in the form that is accurate for every a
    loss=lambda x, a, theta, c: (np.maximum(a, 0.0) - x * a) + np.log1p(np.exp(-np.abs(a))),
    residual=lambda x, a, theta, c: sigmoid(a) - x,
    sizes=lambda x, a, theta, c: Sizes(
        (1 + abs(sigmoid(a) - x)) * (sigmoid(a) + x), sigmoid(a) + x, 1.0, 1.0
    ),
    log_base=nothing,
    low=0.0,
    high=1.0,
)


CONTINUOUS_BERNOULLI = Output(
    mean=continuous_bernoulli_mean,
    link=continuous_bernoulli_link,
    loss=lambda x, a, theta, c: continuous_bernoulli_log_normalizer(a) - x * a,
    residual=lambda x, a, theta, c: continuous_bernoulli_mean(a) - x,
    # the mean's two terms, 1/a apart, cancel: errors of some units in the last place of 1
    sizes=lambda x, a, theta, c: Sizes(1 + abs(a) * (1 + x), 4.0 + x, 1 / 12, 1.0),
    log_base=nothing,
    low=0.0,
    high=1.0,
)


def variance(theta, floor):
    return floor + np.exp(theta)


GAUSSIAN_DIAGONAL = Output(
    mean=lambda a: a,
    link=lambda mean: mean,
    loss=lambda x, a, theta, c: (
        0.5 * np.log(variance(theta, c)) + 0.5 * (a - x) ** 2 / variance(theta, c)
    ),
    residual=lambda x, a, theta, c: (a - x) / variance(theta, c),
    sizes=lambda x, a, theta, c: Sizes(
        0.5 * abs(np.log(variance(theta, c)))
        + (1 + abs(a - x)) * (abs(a) + abs(x)) / variance(theta, c),
        (abs(a) + abs(x)) / variance(theta, c),
        1 / variance(theta, c),
        1.0,
    ),
    log_base=lambda x, c=None: np.full_like(x, HALF_LOG_2PI),
    theta_gradient=lambda x, a, theta, c: (
        0.5 * np.exp(theta) / variance(theta, c) * (1 - (a - x) ** 2 / variance(theta, c))
    ),
    constant=1e-6,
    example=0.1,
)

POISSON = Output(
    mean=np.exp,
    link=np.log,
    loss=lambda x, a, theta, c: np.exp(a) - x * a,
    residual=lambda x, a, theta, c: np.exp(a) - x,
    sizes=lambda x, a, theta, c: Sizes(np.exp(a) + abs(x * a), np.exp(a) + x, np.exp(a), np.exp(a)),
    log_base=lambda x, c=None: gammaln(x + 1),
    low=0.0,
    is_discrete=True,
)

EXPONENTIAL = Output(
    mean=np.exp,
    link=np.log,
    loss=lambda x, a, theta, c: a + x * np.exp(-a),
    residual=lambda x, a, theta, c: 1 - x * np.exp(-a),
    sizes=lambda x, a, theta, c: Sizes(
        abs(a) + x * np.exp(-a), 1 + x * np.exp(-a), x * np.exp(-a), np.exp(a)
    ),
    log_base=nothing,
    low=0.0,
)


def gamma_deviance(x, a):
    """u = t - 1 - log t, t = x / mu."""
    return x * np.exp(-a) - 1 - (np.log(x) - a)


GAMMA = Output(
    mean=np.exp,
    link=np.log,
    loss=lambda x, a, theta, c: (
        np.exp(theta) * (gamma_deviance(x, a) - theta + 1) + gammaln(np.exp(theta))
    ),
    residual=lambda x, a, theta, c: np.exp(theta) * (1 - x * np.exp(-a)),
    sizes=lambda x, a, theta, c: Sizes(
        np.exp(theta) * (x * np.exp(-a) + 2 + abs(np.log(x)) + abs(a) + abs(theta))
        + abs(gammaln(np.exp(theta))),
        np.exp(theta) * (1 + x * np.exp(-a)),
        np.exp(theta) * x * np.exp(-a),
        np.exp(a),
    ),
    log_base=lambda x, c=None: np.log(x),
    low=np.nextafter(0.0, 1.0),
    theta_gradient=lambda x, a, theta, c: (
        np.exp(theta) * (gamma_deviance(x, a) + digamma(np.exp(theta)) - theta)
    ),
    example=2.5,
)


def negative_binomial_theta_gradient(x, a, theta, c):
    r, mu = np.exp(theta), np.exp(a)
    return r * (digamma(r) - digamma(x + r) + softplus(a - theta) + (x - mu) / (r + mu))


NEGATIVE_BINOMIAL = Output(
    mean=np.exp,
    link=np.log,
    loss=lambda x, a, theta, c: (
        gammaln(np.exp(theta))
        - gammaln(x + np.exp(theta))
        + (x + np.exp(theta)) * softplus(a - theta)
        - x * (a - theta)
    ),
    # r (mu - x) / (r + mu), in a form without exp(a)
    residual=lambda x, a, theta, c: np.exp(theta) * sigmoid(a - theta) - x * sigmoid(theta - a),
    sizes=lambda x, a, theta, c: Sizes(
        abs(gammaln(np.exp(theta)))
        + abs(gammaln(x + np.exp(theta)))
        + (x + np.exp(theta)) * (1 + softplus(a - theta))
        + abs(x * (a - theta)),
        np.exp(theta) * sigmoid(a - theta) + x * sigmoid(theta - a),
        (x + np.exp(theta)) * sigmoid(a - theta) * sigmoid(theta - a),
        np.exp(a),
    ),
    log_base=lambda x, c=None: gammaln(x + 1),
    low=0.0,
    theta_gradient=negative_binomial_theta_gradient,
    example=3.5,
    is_discrete=True,
)

LAPLACE = Output(
    mean=lambda a: a,
    link=lambda mean: mean,
    loss=lambda x, a, theta, c: abs(a - x),
    residual=lambda x, a, theta, c: np.sign(a - x),
    # beside the kink the sign is anybody's: an error of 2, in units of float32's epsilon
    sizes=lambda x, a, theta, c: Sizes(
        1 + abs(a) + abs(x), np.where(abs(a - x) < 2e-5, 2.0 / 2.0**-23, 0.0), 0.0, 1.0
    ),
    log_base=lambda x, c=None: np.full_like(x, np.log(2.0)),
)

HUBER = Output(
    mean=lambda a: a,
    link=lambda mean: mean,
    loss=lambda x, a, theta, c: np.where(
        abs(a - x) <= c, 0.5 * (a - x) ** 2, c * (abs(a - x) - 0.5 * c)
    ),
    residual=lambda x, a, theta, c: np.clip(a - x, -c, c),
    sizes=lambda x, a, theta, c: Sizes(
        (1 + np.minimum(abs(a - x), c)) * (abs(a) + abs(x)), abs(a) + abs(x), 1.0, 1.0
    ),
    log_base=lambda x, c: np.full_like(
        x, np.log(np.sqrt(2 * np.pi) * erf(c / np.sqrt(2)) + 2 / c * np.exp(-0.5 * c**2))
    ),
    constant=1.0,
    example=0.5,
)


def t_ratio(x, a, theta, c):
    """r² / (c s²), r = a - x, s² = 1e-6 + exp(2 theta)."""
    return (a - x) ** 2 / (c * (1e-6 + np.exp(2 * theta)))


STUDENT_T = Output(
    mean=lambda a: a,
    link=lambda mean: mean,
    loss=lambda x, a, theta, c: (
        0.5 * (c + 1) * np.log1p(t_ratio(x, a, theta, c)) + 0.5 * np.log(1e-6 + np.exp(2 * theta))
    ),
    residual=lambda x, a, theta, c: (
        (c + 1) * (a - x) / (c * (1e-6 + np.exp(2 * theta)) + (a - x) ** 2)
    ),
    sizes=lambda x, a, theta, c: Sizes(
        0.5 * (c + 1) * (1 + np.log1p(t_ratio(x, a, theta, c)))
        + (c + 1) * (abs(a) + abs(x)) * (1 + abs(theta)) / np.sqrt(c * np.exp(2 * theta)),
        (c + 1) * (abs(a) + abs(x)) / (c * np.exp(2 * theta)),
        (c + 1) / (c * np.exp(2 * theta)),
        1.0,
    ),
    log_base=lambda x, c: np.full_like(
        x, gammaln(c / 2) - gammaln((c + 1) / 2) + 0.5 * np.log(np.pi * c)
    ),
    theta_gradient=lambda x, a, theta, c: (
        np.exp(2 * theta)
        / (1e-6 + np.exp(2 * theta))
        * (1 - (c + 1) * t_ratio(x, a, theta, c) / (1 + t_ratio(x, a, theta, c)))
    ),
    constant=4.0,
    example=7.0,
)


def total(x):
    """N of each row of a group."""
    return x.sum(axis=-1, keepdims=True)


CATEGORICAL = Output(
    mean=softmax,
    link=np.log,
    # an entry's share of N logsumexp(a) - Σ x a, N = Σ x
    loss=lambda x, a, theta, c: x * (logsumexp(a) - a),
    residual=lambda x, a, theta, c: total(x) * softmax(a) - x,
    sizes=lambda x, a, theta, c: Sizes(
        x * (1 + abs(logsumexp(a)) + abs(a)) + total(x) * softmax(a),
        total(x) * softmax(a) * (1 + abs(a)) + x,
        2 * total(x) * softmax(a),
        2 * total(x) * softmax(a),
    ),
    log_base=nothing,
    low=0.0,
    high=1.0,
    is_group=True,
)

OUTPUTS = {
    "gaussian": GAUSSIAN,
    "bernoulli": BERNOULLI,
    "continuous_bernoulli": CONTINUOUS_BERNOULLI,
    "gaussian_diagonal": GAUSSIAN_DIAGONAL,
    "poisson": POISSON,
    "exponential": EXPONENTIAL,
    "gamma": GAMMA,
    "negative_binomial": NEGATIVE_BINOMIAL,
    "laplace": LAPLACE,
    "huber": HUBER,
    "student_t": STUDENT_T,
    "categorical": CATEGORICAL,
    "multinomial": CATEGORICAL._replace(
        high=np.inf,
        is_discrete=True,
        # Σ log x_j! - log N!, the latter in equal shares
        log_base=lambda x, c=None: gammaln(x + 1) - gammaln(total(x) + 1) / x.shape[-1],
    ),
}

# ---- mixed columns ----


class Segment(NamedTuple):
    """Columns of one distribution; a shape or r that is fixed is given as theta, its logarithm."""

    name: str
    columns: object
    constant: float | None = None
    theta: np.ndarray | None = None


def segments(output, n_features):
    """What `output` stands for: a name for all columns, or a list of segments.

    Columns become arrays; constants and thetas that are not given become the defaults.
    """
    given = [(output, np.arange(n_features))] if isinstance(output, str) else output
    complete = []
    for name, columns, *rest in given:
        columns = np.arange(n_features)[columns]
        constant, theta = (*rest, None, None)[:2]
        twin = OUTPUTS[name]
        if twin.theta_gradient:
            theta = np.broadcast_to(0.0 if theta is None else theta, columns.shape).astype(float)
        complete.append(
            Segment(name, columns, twin.constant if constant is None else constant, theta)
        )
    covered = np.concatenate([segment.columns for segment in complete])
    assert sorted(covered) == list(range(n_features)), "every column belongs to one segment"
    return complete


def by_segments(function, X, A_hat, output):
    """``function(twin, x, a, theta, c)`` of each segment at its columns, (n, d).

    It is zero at missing entries.
    """
    X, out = np.asarray(X, dtype=np.float64), np.zeros(A_hat.shape)
    for name, columns, constant, theta in segments(output, A_hat.shape[1]):
        x, a = X[:, columns], A_hat[:, columns]
        missing = np.isnan(x)
        if OUTPUTS[name].is_group:
            assert (missing.all(axis=1) == missing.any(axis=1)).all(), "half a group is missing"
        values = function(OUTPUTS[name], np.where(missing, 1.0, x), a, theta, constant)
        out[:, columns] = np.where(missing, 0.0, values)
    return out


def losses(X, A_hat, output):
    return by_segments(lambda twin, *args: twin.loss(*args), X, A_hat, output)


def residuals(X, A_hat, output):
    return by_segments(lambda twin, *args: twin.residual(*args), X, A_hat, output)


def log_bases(X, A_hat, output):
    return by_segments(lambda twin, x, a, theta, c: twin.log_base(x, c), X, A_hat, output)


def means(X, A_hat, output):
    """The mean of p(x | mu).

    A multinomial has as many trials as the row has, or one where the row is missing.
    """
    out = np.empty(A_hat.shape)
    for name, columns, *_ in segments(output, A_hat.shape[1]):
        out[:, columns] = OUTPUTS[name].mean(A_hat[:, columns])
        if name == "multinomial" and X is not None:
            trials = total(np.asarray(X, dtype=np.float64)[:, columns])
            out[:, columns] *= np.where(np.isnan(trials), 1.0, trials)
    return out


def sizes(X, A_hat, output):
    """`Sizes` of all columns."""
    parts = [
        by_segments(lambda twin, *args, i=i: twin.sizes(*args)[i], X, A_hat, output)
        for i in range(len(Sizes._fields) - 1)
    ]
    observed = np.where(np.isnan(X), 1.0, X)  # a missing entry has a mean all the same
    slope = by_segments(lambda twin, *args: twin.sizes(*args).slope, observed, A_hat, output)
    return Sizes(*parts, slope)


def theta_gradients(X, A_hat, output, share):
    """The gradient of the weighted losses at the theta of each segment, or None."""
    gradients = []
    for name, columns, constant, theta in segments(output, A_hat.shape[1]):
        if OUTPUTS[name].theta_gradient is None:
            gradients.append(None)
            continue
        x, a = np.asarray(X, dtype=np.float64)[:, columns], A_hat[:, columns]
        missing = np.isnan(x)
        g = OUTPUTS[name].theta_gradient(np.where(missing, 1.0, x), a, theta, constant)
        gradients.append(share @ np.where(missing, 0.0, g))
    return gradients


def collapsed(entries, output):
    """The entries (n, d) with the sum of each group in its first column and 0 in its others.

    The option `per_feature` gives these numbers.
    """
    out = entries.copy()
    for name, columns, *_ in segments(output, entries.shape[1]):
        if OUTPUTS[name].is_group:
            out[:, columns] = 0.0
            out[:, columns.min()] = entries[:, columns].sum(axis=1)
    return out
