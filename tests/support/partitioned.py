"""Small fits to rows in partitions, without an engine, and what they are compared by."""

import numpy as np

from aefast import Autoencoder
from aefast._base.partitions import Part, PartsInMemory
from aefast.networks.training.partitioned import fit_partitions

N, D, K, EPOCHS = 211, 13, 7, 3
CUTS = [20, 90, 93]  # partitions of 20, 70, 3 and 118 rows


def rows(n=N, d=D, dtype=np.float64):
    rng = np.random.default_rng(0)
    X = np.tanh(rng.normal(size=(n, 3)) @ rng.normal(size=(3, d))) + 0.1 * rng.normal(size=(n, d))
    return X.astype(dtype)


def parts(X):
    return np.split(X, CUTS)


def parts_of(X, cuts=CUTS, columns=None):
    of = np.split(X, cuts)
    return PartsInMemory([Part(i, part, columns=columns) for i, part in enumerate(of)])


def fitted(X, cuts=CUTS, method="auto", cls=Autoencoder, local_steps=3, **options):
    given = {"random_state": 0, "max_epochs": EPOCHS, "batch_size": 64} | options
    return trained(cls(**given), parts_of(X, cuts), method, local_steps)


def trained(estimator, partitions, method="auto", local_steps=3):
    steps = local_steps if method == "averaging" else None
    return fit_partitions(estimator, partitions, method, steps)


def same_bits(a, b):
    return a.dtype == b.dtype and a.tobytes() == b.tobytes()


def bits(estimator):
    state = estimator._state
    curves = [np.array(curve) for curve in estimator._curves()]
    return [array.tobytes() for array in (state.parameters, state.optimizer_state, *curves)]
