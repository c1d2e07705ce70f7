"""Losses of the best constant: each row is reconstructed by the column means."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from aefast._base import threads
from aefast._base.types import Array
from aefast.networks.fitted import FittedState, initial_bias
from aefast.networks.network import Network
from aefast.networks.one_pass import mean_loss, one_pass
from aefast.networks.variants import rows_variant

STEP = 2.0  # with which the interval of a best parameter is looked for; parameters are logarithms
MOST_STEPS = 16
GOLDEN = (np.sqrt(5.0) - 1) / 2
N_DIVISIONS = 21  # of an interval of two steps, to 2e-4; the loss is then within 1e-8 of its least


class Constant(NamedTuple):
    """A network whose reconstructions are the column means: one unit, without weights."""

    network: Network
    parameters: Any
    variant: Any

    def loss(self, rows: Any, weight: Any = None, n_threads: int | None = None) -> float:
        """Return the mean loss of rows."""
        options = {"sample_weight": weight, "variant": self.variant}
        given = self.network, (self.parameters,), rows, len(rows), n_threads
        return mean_loss(*given, **options)


def constant_of(state: FittedState, means: Array, dtype: Any = None) -> Constant:
    """Return the constant of column means (d,), which are in the model's units.

    Parameters of distributions, as variances, are the state's. `dtype` is that of the computation;
    None: that of the state.
    """
    dtype = np.dtype(dtype or state.parameters.dtype)
    network = Network((state.model.layers[0]._replace(n_components=1, top_k=0),))
    [parameters] = network.split(np.zeros(network.n_parameters, dtype))
    parameters.c[...] = initial_bias(network.layers[0], means)
    if parameters.theta is not None:
        parameters.theta[...] = state.model.split(state.parameters)[0].theta
    return Constant(network, parameters, rows_variant(state, dtype))


def best_constant(
    state: FittedState, rows: Any, weight: Any, means: Array, n_threads: int | None
) -> Constant:
    """Return the constant of column means with the parameters that are best for it on some rows.

    The variances of a fit are those of its residuals. With these the column means would look far
    worse than a model of the means and their own variances is.
    """
    found, precise = constant_of(state, means), constant_of(state, means, np.float64)
    if precise.parameters.theta is None:
        return found
    options = {"variant": precise.variant, "check": False, "n_threads": n_threads}

    def losses(theta):
        precise.parameters.theta[...] = theta
        given = precise.network, (precise.parameters,), rows, "feature_losses"
        of_entries = one_pass(*given, **options)
        with threads.same_bits():
            return np.average(of_entries, axis=0, weights=weight)

    found.parameters.theta[...] = _least(losses, precise.parameters.theta.copy())
    return found


def _least(losses: Callable[[Array], Array], start: Array) -> Array:
    """Return where functions of one variable each, with one minimum, are least (d,)."""
    middle, found = start, losses(start)
    for _ in range(MOST_STEPS):
        down, up = losses(middle - STEP), losses(middle + STEP)
        step = np.where(down < found, -STEP, np.where(up < found, STEP, 0.0))
        if not step.any():
            break
        found = np.where(step < 0, down, np.where(step > 0, up, found))
        middle = middle + step
    low, high = middle - STEP, middle + STEP
    for _ in range(N_DIVISIONS):
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        is_left = losses(left) < losses(right)
        low, high = np.where(is_left, low, left), np.where(is_left, right, high)
    return (low + high) / 2
