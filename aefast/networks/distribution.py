"""The base class of users' distributions: public as `aefast.distributions.Distribution`."""

import abc
from typing import Any

import numpy as np

from aefast._base.types import Reals


class Distribution(abc.ABC):
    """A distribution p(x | μ(η)) of your own, for ``Autoencoder(output=...)``: four methods,
    elementwise, in NumPy.

    Arrays are (n, m): n rows, and the m columns that have this distribution. Entries are
    independent of each other. They may be read-only. Training calls `loss` once a batch, at NumPy's
    speed; `check_distribution` finds mistakes.

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
    def name(self) -> str:
        return type(self).__name__

    @abc.abstractmethod
    def mean(self, eta: Reals) -> Any:
        """μ(η), what `reconstruct` gives.

        Parameters
        ----------
        eta : ndarray (n, m)

        Returns
        -------
        mean : ndarray (n, m)
        """

    @abc.abstractmethod
    def link(self, mean: Reals) -> Any:
        """The η whose mean is `mean`: training starts there, from the columns' means. Finite on the
        ends of the domain too.

        Parameters
        ----------
        mean : ndarray (m,) or (n, m)

        Returns
        -------
        eta : ndarray of its shape
        """

    @abc.abstractmethod
    def loss(self, eta: Reals, x: Reals) -> tuple[Any, Any]:
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
    def sample(self, eta: Reals, random: np.random.Generator) -> Any:
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

    def check(self, x: Reals) -> None:  # noqa: B027
        """Raises ValueError where x is in the interval `domain` but not in the domain: where that
        is the integers, for instance.

        Parameters
        ----------
        x : ndarray (n, m)
        """
