"""The distributions p(x | μ) that `output=` names, and the base class for your own.

The recipe: choose p(x | μ), a relation between μ and the pre-activation η = c + h W*, and train on −log p(x | μ). The built-in distributions are compiled: loss,
constants, samples and the table of all of them stand in src/kernels/distributions.h, and are looked up here. One that is not there is written in NumPy, as a
subclass of `Distribution`, and looked over by `check_distribution`.

η and x are arrays (n, m), one column for each feature that has the distribution; losses are in nats.
"""

import abc
from typing import NamedTuple

import numpy as np

from aefast.networks import _autoencoder
from aefast.networks.check_distribution import check_distribution
from aefast.networks.outputs import CUSTOM

__all__ = ["FAMILIES", "Distribution", "Family", "check_distribution", "distribution_table"]


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
    """A built-in distribution, as the compiled table has it.

    Attributes
    ----------
    name : str
        As in ``output=name``.
    link : str
        "identity", "logit", "log", "softmax", or "mean" where the link has no closed form.
    domain : str
        Of x, in words.
    is_group : bool
        Whether its columns are one observation together.
    parameter : str or None
        What is learnt for each column, any real number θ: "log_variance", for example.
    option : str or None
        As in ``output=(name, {option: value})``.
    default : float or None
        The option's; None: the parameter is learnt.
    """

    name: str
    link: str
    domain: str
    is_group: bool = False
    parameter: str | None = None
    option: str | None = None
    default: float | None = None

    def log_base(self, x, constant=None):
        """What the training loss leaves out: ``log p(x | μ) = −loss − log_base``.

        Parameters
        ----------
        x : array-like (n, m)
        constant : float or None, default=None
            The option's value; None: its default.

        Returns
        -------
        log_base : ndarray (n, m), or (n,) of a group
            0 where x is NaN.
        """
        x = np.ascontiguousarray(x, dtype=np.float64)
        return _autoencoder.output_log_base(self.name, x, self._constant(constant))

    def sample(self, eta, theta=None, constant=None, random=None, totals=None):
        """Draws x from p(x | μ(η)).

        Parameters
        ----------
        eta : array-like (n, m)
        theta : array-like (m,) or None, default=None
            What the distribution learns for each column; None: 0.
        constant : float or None, default=None
            The option's value; None: its default.
        random : numpy.random.Generator or None, default=None
            None: a new one.
        totals : array-like (n,) or None, default=None
            The numbers of trials of a multinomial; None: one each.

        Returns
        -------
        x : ndarray (n, m)
        """
        eta = np.ascontiguousarray(eta, dtype=np.float64)
        if theta is not None:
            theta = np.array(np.broadcast_to(theta, eta.shape[1]), dtype=np.float64)
        if totals is not None:
            totals = np.array(np.broadcast_to(totals, len(eta)), dtype=np.float64)
        random = np.random.default_rng() if random is None else random
        constant = self._constant(constant)
        return _autoencoder.output_sample(self.name, eta, theta, constant, totals, random)

    def _constant(self, given):
        given = self.default if given is None else given
        return 0.0 if given is None else float(given)


FAMILIES = {
    row["name"]: Family(
        *(row[field] for field in ("name", "link", "domain", "is_group", "parameter", "option")),
        row["default_option"],
    )
    for row in _autoencoder.OUTPUT_TABLE
    if row["name"] != CUSTOM
}


def distribution_table():
    """The built-in distributions, in the order of the compiled table.

    Returns
    -------
    table : list of dict
        With keys name, link, domain (in words), is_group, parameter (learnt for each column, or None), option and default.
    """
    return [family._asdict() for family in FAMILIES.values()]
