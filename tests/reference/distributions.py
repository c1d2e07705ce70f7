"""Reference of the output distributions p(x | mu): plain float64 NumPy, one formula per line.

    a (n, m)     pre-activation of the output at the columns of one distribution; mu = mean(a)
    x (n, m)     observed values; a NaN is a missing entry and contributes nothing
    theta (m,)   parameter that the distribution learns for each column, any real number
    c            constant of the distribution

`loss` is -log p(x | mu) without log_base(x, c), which depends on x alone. The columns of a *group*
(categorical, multinomial) are one observation: their losses add up to the loss of the group, and a
group is missing if all of its entries are.
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


class Sizes(NamedTuple):
    """Sizes to which rounding errors are proportional."""

    loss: np.ndarray  # magnitude of the terms of the loss
    residual: np.ndarray  # magnitude of the terms of the residual
    curvature: np.ndarray  # bound of the derivative of the residual with respect to a
    slope: np.ndarray  # bound of the derivative of the mean with respect to a


class Output(NamedTuple):
    """A distribution: functions of (x, a, theta, c), elementwise except in groups."""

    mean: Callable  # function of a
    link: Callable  # inverse of the mean
    loss: Callable
    residual: Callable  # derivative of the loss with respect to a
    sizes: Callable
    log_base: Callable  # function of x and c
    low: float = -np.inf  # entries of x lie in [low, high]
    high: float = np.inf
    # Derivative of the loss with respect to theta; None if the distribution learns nothing.
    theta_gradient: Callable | None = None
    constant: float | None = None  # default of c
    # For tests: another value of c, or of exp(theta) where an option fixes theta.
    example: float | None = None
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
    # The loss is -x log mu - (1 - x) log(1 - mu), in a form that is accurate for every a.
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
    # The two terms of the mean cancel near a = 0, with errors of some units in the last place of 1.
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
    """Return u = t - 1 - log t with t = x / mu."""
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
    # The residual is r (mu - x) / (r + mu), in a form without exp(a).
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
    # Near the kink rounding decides the sign: an error of 2, in units of the epsilon of float32.
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
    """Return r² / (c s²) with r = a - x and s² = 1e-6 + exp(2 theta)."""
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
    """Return the total N of each row of a group."""
    return x.sum(axis=-1, keepdims=True)


CATEGORICAL = Output(
    mean=softmax,
    link=np.log,
    # The loss of a group is N logsumexp(a) - Σ x a with N = Σ x; each entry has its own terms.
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
        # The log base of a group is Σ log x_j! - log N!; each entry has an equal share of log N!.
        log_base=lambda x, c=None: gammaln(x + 1) - gammaln(total(x) + 1) / x.shape[-1],
    ),
}
