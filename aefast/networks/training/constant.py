"""Losses of the best constant: each row is reconstructed by the column means."""

from collections.abc import Callable
from typing import Any

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


def loss_of_constant(
    state: FittedState, rows: Any, weight: Any, means: Array, n_threads: int | None
) -> float:
    """Return the mean loss of rows that are reconstructed by the column means (d,).

    These are in the model's units. Parameters of distributions, as variances, are the state's.
    """
    theta = state.model.split(state.parameters)[0].theta
    return _loss(state, rows, weight, means, theta, n_threads)


def loss_of_best_constant(
    state: FittedState, rows: Any, weight: Any, means: Array, n_threads: int | None
) -> float:
    """Return the loss of `loss_of_constant` with the parameters that are best for the constant.

    The variances of a fit are those of its residuals. With these the column means would look far
    worse than a model of the means and their own variances is.
    """
    theta = state.model.split(state.parameters)[0].theta
    if theta is not None:
        theta = _best_parameters(state, rows, weight, means, theta, n_threads)
    return _loss(state, rows, weight, means, theta, n_threads)


def _constant(state: FittedState, means: Array, dtype: Any) -> tuple[Network, Any]:
    """Return a network of one unit without weights, whose reconstructions are the means."""
    network = Network((state.model.layers[0]._replace(n_components=1, top_k=0),))
    [parameters] = network.split(np.zeros(network.n_parameters, dtype))
    parameters.c[...] = initial_bias(network.layers[0], means)
    return network, parameters


def _loss(state, rows, weight, means, theta, n_threads):
    network, parameters = _constant(state, means, state.parameters.dtype)
    if theta is not None:
        parameters.theta[...] = theta
    options = {"sample_weight": weight, "variant": rows_variant(state)}
    return mean_loss(network, (parameters,), rows, len(rows), n_threads, **options)


def _best_parameters(state, rows, weight, means, theta, n_threads):
    """Return the parameters (d,) of least loss, from those of a fit on."""
    network, parameters = _constant(state, means, np.dtype(np.float64))
    options = {"variant": rows_variant(state, np.dtype(np.float64)), "n_threads": n_threads}

    def losses(given):
        parameters.theta[...] = given
        found = one_pass(network, (parameters,), rows, "feature_losses", check=False, **options)
        with threads.same_bits():
            return np.average(found, axis=0, weights=weight)

    return _least(losses, theta.astype(np.float64))


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
