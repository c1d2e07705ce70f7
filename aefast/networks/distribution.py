"""Base class of user-defined distributions, public as `aefast.distributions.Distribution`."""

import abc
from typing import Any

import numpy as np

from aefast._base.types import Reals


class Distribution(abc.ABC):
    """Base class of user-defined distributions p(x | μ(η)), for ``Autoencoder(output=...)``.

    A subclass has four methods, which work elementwise in NumPy. Arrays are (n, m): n rows of the m
    columns that have this distribution. Entries are independent of each other. The arguments may be
    read-only. Training calls `loss` once a batch, at NumPy's speed. `check_distribution` finds
    mistakes in a subclass.

    Attributes
    ----------
    name : str
        Name of the distribution in messages and reports; the name of the class unless set.
    domain : (float, float)
        Closed interval of the values of x; the whole real line unless set.

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
    def name(self) -> str:
        return type(self).__name__

    @abc.abstractmethod
    def mean(self, eta: Reals) -> Any:
        """Return the mean μ(η), which `reconstruct` gives.

        Parameters
        ----------
        eta : ndarray (n, m)

        Returns
        -------
        mean : ndarray (n, m)
        """

    @abc.abstractmethod
    def link(self, mean: Reals) -> Any:
        """Return the η whose mean is `mean`; it must be finite at the ends of the domain too.

        Training starts from the link of the columns' means.

        Parameters
        ----------
        mean : ndarray (m,) or (n, m)

        Returns
        -------
        eta : ndarray of the shape of `mean`
        """

    @abc.abstractmethod
    def loss(self, eta: Reals, x: Reals) -> tuple[Any, Any]:
        """Return −log p(x | μ(η)), constants included, and its derivative by η.

        Parameters
        ----------
        eta, x : ndarray (n, m)
            x is NaN for missing entries; their results are not used.

        Returns
        -------
        loss, derivative : ndarray (n, m)
        """

    @abc.abstractmethod
    def sample(self, eta: Reals, random: np.random.Generator) -> Any:
        """Draw x from p(x | μ(η)).

        Parameters
        ----------
        eta : ndarray (n, m)
        random : numpy.random.Generator
            The only source of randomness.

        Returns
        -------
        x : ndarray (n, m)
        """

    def check(self, x: Reals) -> None:  # noqa: B027
        """Raise ValueError for values in the interval `domain` that the distribution excludes.

        A distribution of integers refuses fractions here, for example.

        Parameters
        ----------
        x : ndarray (n, m)
        """
