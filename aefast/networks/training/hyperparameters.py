"""Hyperparameters of solvers: from an estimator's parameters to a C struct of equal field names.

A new hyperparameter needs a parameter of the constructor (signature, docstring, constraint), a
field of `Hyperparameters`, a field of the struct `hyperparameters` in
src/kernels/autoencoder/autoencoder.h, its declaration in src/bindings/_autoencoder_kernels.pxd, and
the code that uses it.
"""

from typing import NamedTuple

from aefast.networks import _autoencoder
from aefast.networks.training.schedules import schedule_of_steps


class Hyperparameters(NamedTuple):
    """The solver and its numbers, named like the constructor's parameters; 0 switches one off."""

    solver: str
    learning_rate: float
    momentum: float = 0.0
    nesterov: bool = False
    alpha: float = 0.0
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    max_norm: float = 0.0
    weight_averaging: float = 0.0
    learning_rate_schedule: str = "constant"  # schedule of the steps in an epoch


SOLVERS_OF_MATRICES = frozenset(
    row["name"] for row in _autoencoder.solver_table() if row["whole_gradient"]
)


def hyperparameters_of(estimator):
    """Return the hyperparameters of an estimator that trains in batches."""
    given = {name: getattr(estimator, name) for name in Hyperparameters._fields}
    given = {name: 0.0 if value is None else value for name, value in given.items()}
    given["learning_rate_schedule"] = schedule_of_steps(estimator.learning_rate_schedule)
    return Hyperparameters(**given)
