"""Heads: what a network's code says of targets, such as labels, in training and afterwards."""

from typing import Any, NamedTuple

import numpy as np

from aefast._base.types import Array
from aefast.networks._autoencoder import BOUNDED_ACTIVATIONS, N_PARAMETER_ARRAYS
from aefast.networks.network import HeadLayer, Network, Parameters
from aefast.networks.one_pass import AT_ZERO, one_pass
from aefast.networks.outputs import plain_output
from aefast.networks.variants import PLAIN

JUDGED_ROWS = 1024  # rows whose codes say how large the steps of a head are


class Head(NamedTuple):
    """A head in training, in the form that `_autoencoder` reads.

    Rows of targets belong to the rows of X by number. A missing target is NaN; in a group, a row of
    zeros has no loss.
    """

    layer: HeadLayer
    parameters: Parameters
    targets: Any  # ndarray (n, m) of float32, float64 or uint8
    weight: Any  # ndarray (n,) of float64, weights of the rows' losses; None: 1
    alone: bool  # whether the head's loss is all of the loss

    def with_shares(self):
        """Return the head of a pass over all rows, where weights add up to 1."""
        return self._replace(weight=self.weight / self.weight.sum())


class Targets(NamedTuple):
    """What the rows of a fit are to say, in the form that a head compares with."""

    rows: Array  # (n, m): uint8 with a one in the column of the class, or real numbers
    given: Array  # (n,) bool, whether a row has a target
    balance: Array | None  # (n,) float64, weights of the rows' classes

    def weight(self, sample_weight):
        """Return weights (n,) of the rows' losses, 0 where there is no target."""
        weight = self.given.astype(np.float64)
        for factors in (sample_weight, self.balance):
            weight = weight if factors is None else weight * factors
        return weight


def _decoder(state, output=None):
    """Return the head as a network of one layer that decodes codes, and its parameters."""
    head = state.model.head if output is None else state.model.head._replace(output=output)
    gain = state.model.split(state.parameters)[-1].gain
    return Network((head,)), (state.model.head_of(state.parameters)._replace(gain=gain),)


def decoded(state, codes, n_threads=None, *, link=True):
    """Return the means (n, m) of the targets of rows with these codes; without `link`, η."""
    network, parameters = _decoder(state, None if link else plain_output("gaussian"))
    options = {"from_codes": True, "n_threads": n_threads}
    codes = codes.astype(parameters[0].W.dtype, copy=False)
    return one_pass(network, parameters, codes, "reconstructions", **options)


def mean_loss_of_targets(state, rows, order, targets, weight, variant, n_threads=None):
    """Return the weighted mean of the losses of rows, whose numbers are `order`.

    Weights and targets belong to all rows by number.
    """
    options = {"order": order, "n_threads": n_threads, "check": False, "variant": variant}
    codes = one_pass(state.model, state.model.split(state.parameters), rows, "codes", **options)
    network, parameters = _decoder(state)
    fill = np.zeros(targets.shape[1], codes.dtype)  # NaN is a missing target
    options = {"from_codes": True, "n_threads": n_threads, "check": False}
    options["variant"] = PLAIN._replace(fill=fill)
    of_rows = targets[order], None
    losses = one_pass(network, parameters, codes, "row_losses", targets=of_rows, **options)
    share = weight[order] / weight[order].sum()
    return float((share * losses).sum())


def with_gain(state):
    """Return an equal state of one untied layer whose codes are decoded with a gain.

    Small slopes and a large decoder leave codes near their value at 0, from which a head learns
    slowly. The decoder's rows get the norms of the encoder's, and their ratio is the gain:
    ``h V + c = ((h − g(0)) ∘ gain) V' + c'`` with ``V = gain V'`` and ``c' = c + g(0) Σ_j V_j``.
    """
    [layer], [old] = state.model.layers, state.model.split(state.parameters)
    if layer.tied or layer.gain or layer.activation not in BOUNDED_ACTIVATIONS:
        return state
    norms = [np.linalg.norm(matrix, axis=1) for matrix in (old.V, old.W)]
    gain = np.where((norms[0] > 0) & (norms[1] > 0), norms[0] / np.maximum(norms[1], 1e-30), 1)
    model = Network((layer._replace(gain=True),))
    flat = np.zeros(model.n_parameters, state.parameters.dtype)
    [new] = model.split(flat)
    new.W[...], new.b[...], new.gain[...] = old.W, old.b, gain
    new.V[...] = old.V / gain[:, np.newaxis]
    new.c[...] = old.c + AT_ZERO[layer.activation] * old.V.sum(axis=0, dtype=np.float64)
    if old.theta is not None:
        new.theta[...] = old.theta
    return state._replace(model=model, parameters=flat)


def begin_head(state, rows, order, weight, means, variant, n_threads=None):
    """Write a head's first parameters to the state; return its factors (6,) of the learning rate.

    Weights begin at 0, so that the code does not move before targets ask for it, and the bias at
    the pre-activations of `means` (m,). A step of the weights is in units of 1 / ‖z‖, with the root
    mean square of the norms of decoded codes z of the rows with these numbers and weights.
    """
    model, layers = state.model, state.model.split(state.parameters)
    head = model.head_of(state.parameters)
    head.V[...], head.c[...] = 0, model.head.output[0].link(means)
    options = {"order": order, "n_threads": n_threads, "check": False, "variant": variant}
    codes = one_pass(model, layers, rows, "codes", **options).astype(np.float64)
    if layers[-1].gain is not None:
        codes = (codes - AT_ZERO[model.head.activation]) * layers[-1].gain
    norm = np.sqrt(weight @ (codes**2).sum(axis=1) / weight.sum())
    factors = np.ones(N_PARAMETER_ARRAYS)
    factors[:2] = 1 / norm if norm > 0 else 1.0
    return factors
