"""Heads: what a network's code says of targets, such as labels, in training and afterwards."""

from typing import Any, NamedTuple

import numpy as np

from aefast.networks.network import HeadLayer, Network, Parameters
from aefast.networks.one_pass import one_pass


class Head(NamedTuple):
    """A head in training, in the form that `_autoencoder` reads.

    Rows of targets belong to the rows of X by number. A missing target is NaN; in a group, a row of
    zeros has no loss.
    """

    layer: HeadLayer
    parameters: Parameters
    targets: Any  # ndarray (n, m) of float32, float64 or uint8
    weight: np.ndarray | None  # (n,) float64, weights of the rows' losses; None: 1
    alone: bool  # whether the head's loss is all of the loss


def _decoder(state):
    """Return the head as a network of one layer that decodes codes, and its parameters."""
    model = state.model
    gain = model.split(state.parameters)[-1].gain
    parameters = model.head_of(state.parameters)._replace(gain=gain)
    return Network((model.head,)), (parameters,)


def means_of(state, codes, n_threads=None, dtype=None):
    """Return the means (n, m) of the targets of rows with these codes."""
    network, (parameters,) = _decoder(state)
    if dtype is not None:
        parameters = Parameters(*[None if p is None else p.astype(dtype) for p in parameters])
    options = {"from_codes": True, "n_threads": n_threads, "name": "X"}
    return one_pass(network, (parameters,), codes, "reconstructions", **options)


def row_losses(state, codes, targets, n_threads=None):
    """Return the losses (n,) of rows with these codes."""
    network, parameters = _decoder(state)
    options = {"from_codes": True, "n_threads": n_threads, "name": "X", "check": False}
    return one_pass(network, parameters, codes, "row_losses", targets=(targets, None), **options)
