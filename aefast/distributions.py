"""The distributions p(x | μ) that `output=` names, and the base class for your own.

The recipe: choose p(x | μ), a relation between μ and the pre-activation η = c + h W*, and train on −log p(x | μ). Every distribution here is a loss in
compiled code; this module has what training does not need: constants of the likelihood, samples, and a table of all of them. A distribution that is not
here is written in NumPy, as a subclass of `Distribution`, and looked over by `check_distribution`.

η and x are arrays (n, m), one column for each feature that has the distribution; losses are in nats.
"""

import abc
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import erf, expit, gammaln, ndtr, ndtri

from aefast._check_distribution import check_distribution

__all__ = ["FAMILIES", "Distribution", "Family", "check_distribution", "distribution_table"]

HALF_LOG_2PI = 0.5 * np.log(2 * np.pi)


class Distribution(abc.ABC):
    """A distribution p(x | μ(η)) of your own, for ``Autoencoder(output=...)``: four methods, elementwise, in NumPy.

    Arrays are (n, m): n rows, and the m columns that have this distribution. Entries are independent of each other. They may be read-only. Training calls
    `loss` once a batch, at NumPy's speed; `check_distribution` finds mistakes.

    Attributes
    ----------
    name : str
        In messages and reports; the name of the class unless set.
    domain : (float, float)
        The closed interval in which x lies; the whole line unless set.

    Examples
    --------
    The logistic distribution, whose loss is a soft absolute error:

    >>> import numpy as np
    >>> from aefast.distributions import Distribution, check_distribution
    >>> class Logistic(Distribution):
    ...     def mean(self, eta):
    ...         return eta
    ...     def link(self, mean):
    ...         return mean
    ...     def loss(self, eta, x):
    ...         half = (x - eta) / 2
    ...         return 2 * np.logaddexp(half, -half), -np.tanh(half)
    ...     def sample(self, eta, random):
    ...         return random.logistic(eta)
    >>> check_distribution(Logistic())
    """

    domain = (-np.inf, np.inf)

    @property
    def name(self):
        return type(self).__name__

    @abc.abstractmethod
    def mean(self, eta):
        """μ(η), what `reconstruct` gives.

        Parameters
        ----------
        eta : ndarray (n, m)

        Returns
        -------
        mean : ndarray (n, m)
        """

    @abc.abstractmethod
    def link(self, mean):
        """The η whose mean is `mean`: training starts there, from the columns' means. Finite on the ends of the domain too.

        Parameters
        ----------
        mean : ndarray (m,) or (n, m)

        Returns
        -------
        eta : ndarray of its shape
        """

    @abc.abstractmethod
    def loss(self, eta, x):
        """−log p(x | μ(η)), constants included, and its derivative by η.

        Parameters
        ----------
        eta, x : ndarray (n, m)
            x is NaN where an entry is missing; what is returned there is not used.

        Returns
        -------
        loss, derivative : ndarray (n, m)
        """

    @abc.abstractmethod
    def sample(self, eta, random):
        """Draws x from p(x | μ(η)).

        Parameters
        ----------
        eta : ndarray (n, m)
        random : numpy.random.Generator
            The only source of chance.

        Returns
        -------
        x : ndarray (n, m)
        """

    def check(self, x):  # noqa: B027
        """Raises ValueError where x is in the interval `domain` but not in the domain: where that is the integers, for instance.

        Parameters
        ----------
        x : ndarray (n, m)
        """


class Family(NamedTuple):
    """What is known of a built-in distribution beside its loss.

    Attributes
    ----------
    name : str
        As in ``output=name``.
    link : str
        "identity", "logit", "log", "softmax", or "mean" where the link has no closed form.
    description : str
        The domain, in words.
    is_group : bool
        Whether its columns are one observation together.
    parameter : {"log_variance", "log_shape", "log_r"} or None
        What is learnt for each column: any real number θ.
    option : {"floor", "delta", "shape", "r"} or None
        As in ``output=(name, {option: value})``.
    default : float or None
        The option's; None: the parameter is learnt.
    log_base : callable
        ``log_base(x, constant)``: what the training loss leaves out, ``log p(x | μ) = −loss − log_base``; of each entry (n, m), of each row (n,) for a
        group. `constant` is the option's value.
    sample : callable
        ``sample(eta, theta, constant, random, totals=None)`` draws x (n, m) from p(x | μ(η)); theta (m,), random a numpy.random.Generator, totals (n,) the
        numbers of trials of a multinomial (1 unless given).
    """

    name: str
    link: str
    description: str
    log_base: Callable
    sample: Callable
    is_group: bool = False
    parameter: str | None = None
    option: str | None = None
    default: float | None = None

    @property
    def base_is_constant(self):
        """Whether `log_base` depends on the constant alone."""
        return self.log_base in (_nothing, _half_log_2pi, _log_2, _log_huber_normalizer)


def distribution_table():
    """The built-in distributions, in the order of the compiled table.

    Returns
    -------
    table : list of dict
        With keys name, link, domain (in words), is_group, parameter (learnt for each column, or None), option and default.
    """
    return [
        {
            "name": family.name,
            "link": family.link,
            "domain": family.description,
            "is_group": family.is_group,
            "parameter": family.parameter,
            "option": family.option,
            "default": family.default,
        }
        for family in FAMILIES.values()
    ]


# ---- what training leaves out: log_base(x, constant) ----


def _nothing(x, constant=None):
    return np.zeros(np.shape(x))


def _nothing_of_group(x, constant=None):
    return np.zeros(len(x))


def _half_log_2pi(x, constant=None):
    return np.full(np.shape(x), HALF_LOG_2PI)


def _log_factorial(x, constant=None):
    return gammaln(np.asarray(x, np.float64) + 1)


def _log_x(x, constant=None):
    return np.log(np.asarray(x, np.float64))


def _log_2(x, constant=None):
    return np.full(np.shape(x), np.log(2.0))


def _log_huber_normalizer(x, delta):
    """log ∫ exp(−huber): a normal distribution within delta of its middle, exponential tails without."""
    middle, tails = _huber_masses(delta)
    return np.full(np.shape(x), np.log(middle + tails))


def _huber_masses(delta):
    middle = np.sqrt(2 * np.pi) * erf(delta / np.sqrt(2))
    return middle, 2 / delta * np.exp(-0.5 * delta**2)


def _minus_log_multinomial_coefficient(x, constant=None):
    x = np.asarray(x, np.float64)
    return gammaln(x + 1).sum(axis=1) - gammaln(x.sum(axis=1) + 1)


# ---- sample(eta, theta, constant, random, totals) ----


def _sample_gaussian(eta, theta, constant, random, totals=None):
    return random.normal(eta)


def _sample_bernoulli(eta, theta, constant, random, totals=None):
    return (random.random(np.shape(eta)) < expit(eta)).astype(np.float64)


def _sample_continuous_bernoulli(eta, theta, constant, random, totals=None):
    """The inverse of the distribution function, log(1 + u (exp(η) − 1)) / η, written for −|η|: mirrored where η is positive."""
    eta, u = np.asarray(eta, np.float64), random.random(np.shape(eta))
    rate = np.maximum(np.abs(eta), 1e-12)
    x = -np.log1p(u * np.expm1(-rate)) / rate
    return np.clip(np.where(eta > 0, 1 - x, x), 0.0, 1.0)


def _sample_gaussian_diagonal(eta, theta, floor, random, totals=None):
    return random.normal(eta, np.sqrt(floor + np.exp(theta)))


def _sample_poisson(eta, theta, constant, random, totals=None):
    return random.poisson(np.exp(eta)).astype(np.float64)


def _sample_exponential(eta, theta, constant, random, totals=None):
    return random.exponential(np.exp(eta))


def _sample_gamma(eta, theta, constant, random, totals=None):
    shape = np.broadcast_to(np.exp(theta), np.shape(eta))
    x = random.standard_gamma(shape) * (np.exp(eta) / shape)
    return np.maximum(x, np.finfo(np.float64).tiny)  # a small shape underflows; x > 0


def _sample_negative_binomial(eta, theta, constant, random, totals=None):
    """Poisson with a mean that is gamma distributed: of mean μ and variance μ + μ²/r."""
    r = np.broadcast_to(np.exp(theta), np.shape(eta))
    return random.poisson(random.standard_gamma(r) * (np.exp(eta) / r)).astype(np.float64)


def _sample_laplace(eta, theta, constant, random, totals=None):
    return random.laplace(eta)


def _sample_huber(eta, theta, delta, random, totals=None):
    middle, tails = _huber_masses(delta)
    in_middle = random.random(np.shape(eta)) * (middle + tails) < middle
    below = ndtr(-delta)
    normal = ndtri(below + random.random(np.shape(eta)) * (1 - 2 * below))
    tail = delta + random.exponential(1 / delta, np.shape(eta))
    tail = np.where(random.random(np.shape(eta)) < 0.5, tail, -tail)
    return eta + np.where(in_middle, normal, tail)


def _sample_categorical(eta, theta, constant, random, totals=None):
    """The largest of η plus Gumbel noise is drawn with probability softmax(η)."""
    eta = np.asarray(eta, np.float64)
    chosen = np.argmax(eta + random.gumbel(size=eta.shape), axis=1)
    return (chosen[:, np.newaxis] == np.arange(eta.shape[1])).astype(np.float64)


def _sample_multinomial(eta, theta, constant, random, totals=None):
    eta = np.asarray(eta, np.float64)
    p = np.exp(eta - eta.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    trials = np.ones(len(eta)) if totals is None else np.asarray(totals)
    return random.multinomial(np.rint(trials).astype(np.int64), p).astype(np.float64)


COUNTS, UNIT_INTERVAL, REALS = "x ≥ 0, counts", "0 ≤ x ≤ 1", "real numbers"

FAMILIES = {
    family.name: family
    for family in (
        Family("gaussian", "identity", REALS, _half_log_2pi, _sample_gaussian),
        Family("bernoulli", "logit", UNIT_INTERVAL, _nothing, _sample_bernoulli),
        Family(
            "continuous_bernoulli", "mean", UNIT_INTERVAL, _nothing, _sample_continuous_bernoulli
        ),
        Family(
            "gaussian_diagonal",
            "identity",
            REALS,
            _half_log_2pi,
            _sample_gaussian_diagonal,
            parameter="log_variance",
            option="floor",
            default=1e-6,
        ),
        Family("poisson", "log", COUNTS, _log_factorial, _sample_poisson),
        Family("exponential", "log", "x ≥ 0", _nothing, _sample_exponential),
        Family(
            "gamma", "log", "x > 0", _log_x, _sample_gamma, parameter="log_shape", option="shape"
        ),
        Family(
            "negative_binomial",
            "log",
            COUNTS,
            _log_factorial,
            _sample_negative_binomial,
            parameter="log_r",
            option="r",
        ),
        Family("laplace", "identity", REALS, _log_2, _sample_laplace),
        Family(
            "huber",
            "identity",
            REALS,
            _log_huber_normalizer,
            _sample_huber,
            option="delta",
            default=1.0,
        ),
        Family(
            "categorical",
            "softmax",
            "one-hot rows: entries in [0, 1] with sum 1",
            _nothing_of_group,
            _sample_categorical,
            is_group=True,
        ),
        Family(
            "multinomial",
            "softmax",
            COUNTS,
            _minus_log_multinomial_coefficient,
            _sample_multinomial,
            is_group=True,
        ),
    )
}
