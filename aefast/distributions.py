"""The distributions p(x | μ) that `output=` names, and the base class of user-defined ones.

A distribution consists of p(x | μ) and a relation between μ and the pre-activation η = c + h W*;
networks are trained on −log p(x | μ). The built-in distributions are compiled: their losses,
constants, samples and the table of all are in src/kernels/autoencoder/tables/distributions.h, and
this module reads the table. Others are written in NumPy, as subclasses of `Distribution`;
`check_distribution` finds mistakes in them.

η and x are arrays (n, m) with one column for each feature that has the distribution. Losses are in
nats.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from aefast._base import arrays as check
from aefast._base import scalars
from aefast._base.errors import shown
from aefast.networks import _autoencoder
from aefast.networks.check_distribution import check_distribution
from aefast.networks.distribution import Distribution
from aefast.networks.likelihoods import overflowing_draw_error
from aefast.networks.outputs import CUSTOM

__all__ = ["FAMILIES", "Distribution", "Family", "check_distribution", "distribution_table"]


def __dir__() -> list[str]:
    return __all__


class Family(NamedTuple):
    """A built-in distribution, as an entry of the compiled table.

    Attributes
    ----------
    name : str
        Name of the distribution, as in ``output=name``.
    link : str
        "identity", "logit", "log", "softmax", or "mean" if the link has no closed form.
    domain : str
        Domain of x, in words.
    is_group : bool
        Whether the columns are one observation together.
    parameter : str or None
        Name of the parameter that is learned for each column, any real number θ: "log_variance",
        for example.
    option : str or None
        Name of the option, as in ``output=(name, {option: value})``.
    default : float or None
        Default of the option; None: the parameter is learned.
    """

    name: str
    link: str
    domain: str
    is_group: bool = False
    parameter: str | None = None
    option: str | None = None
    default: float | None = None

    def log_base(self, x: ArrayLike, constant: float | None = None) -> NDArray[np.float64]:
        """Return the terms that the training loss omits: ``log p(x | μ) = −loss − log_base``.

        Parameters
        ----------
        x : array-like (n, m)
        constant : float or None, default=None
            Value of the option; None: its default.

        Returns
        -------
        log_base : ndarray (n, m), or (n,) for a group
            0 for NaN in x.
        """
        x = np.ascontiguousarray(check.as_array(x, "x", 2), dtype=np.float64)
        return _autoencoder.output_log_base(self.name, x, self._constant(constant))

    def sample(
        self,
        eta: ArrayLike,
        theta: ArrayLike | None = None,
        constant: float | None = None,
        random: np.random.Generator | None = None,
        totals: ArrayLike | None = None,
    ) -> NDArray[np.float64]:
        """Draw x from p(x | μ(η)).

        Parameters
        ----------
        eta : array-like (n, m)
        theta : array-like (m,) or None, default=None
            Parameter of each column; None: 0.
        constant : float or None, default=None
            Value of the option; None: its default.
        random : numpy.random.Generator or None, default=None
            Source of randomness; None: a new generator.
        totals : array-like (n,) or None, default=None
            Number of trials of a multinomial in each row; None: one.

        Returns
        -------
        x : ndarray (n, m)

        Raises
        ------
        FloatingPointError
            If a draw overflows, as where the mean of a count does.
        """
        eta = np.ascontiguousarray(check.as_array(eta, "eta", 2), dtype=np.float64)
        thetas = _of_length(theta, "theta", eta.shape[1])
        n_draws = _of_length(totals, "totals", len(eta))
        if random is None:
            random = np.random.default_rng()
        if not isinstance(random, np.random.Generator):
            raise TypeError(f"random must be a numpy.random.Generator or None, got {shown(random)}")
        constant = self._constant(constant)
        x, is_finite = _autoencoder.output_sample(self.name, eta, thetas, constant, n_draws, random)
        if not is_finite:
            raise overflowing_draw_error(self.name, eta, x, x.dtype, np.arange(x.shape[1]))
        return x

    def _constant(self, given):
        given = self.default if given is None else given
        if given is None:
            return 0.0
        scalars.check_number(given, "constant")
        if self.default is not None and not 0 < given < np.inf:
            raise ValueError(f"constant must be positive and finite, got {given}")
        return float(given)


def _of_length(values, name, n):
    """Return an array (n,) of values, of which a single one stands for all; None stays None."""
    if values is None:
        return None
    values = check.as_array(values, name)
    check.check_finite(values, name)
    if values.shape not in ((), (n,)):
        raise ValueError(f"{name} must be a number or have shape ({n},), got {values.shape}")
    return np.array(np.broadcast_to(values, n), dtype=np.float64)


FAMILIES = {
    row["name"]: Family(
        row["name"],
        row["link"],
        row["domain"],
        row["is_group"],
        row["parameter"],
        row["option"],
        row["default_option"],
    )
    for row in _autoencoder.OUTPUT_TABLE
    if row["name"] != CUSTOM
}


def distribution_table() -> list[dict[str, Any]]:
    """Return the built-in distributions, in the order of the compiled table.

    Returns
    -------
    table : list of dict
        Dicts with the keys name, link, domain (in words), is_group, parameter (learned for each
        column, or None), option and default.
    """
    return [family._asdict() for family in FAMILIES.values()]
