"""The numbers that a solver goes by: from an estimator's parameters to the C struct of the same field names.

To add one: the constructor's parameter (signature, docstring, constraint), a field here, one of `hyperparameters` in src/kernels/autoencoder/autoencoder.h,
its declaration in src/bindings/_autoencoder_kernels.pxd, and the place that uses it.
"""

from typing import NamedTuple

from aefast.networks.training.schedules import schedule_of_steps


class Hyperparameters(NamedTuple):
    """The solver and its numbers, by the names of the constructor's parameters; a number that is 0 is off."""

    solver: str
    learning_rate: float
    momentum: float = 0.0
    nesterov: bool = False
    alpha: float = 0.0
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    max_norm: float = 0.0
    learning_rate_schedule: str = "constant"  # within an epoch: that of steps


def hyperparameters_of(estimator):
    """Those of an estimator that trains in batches."""
    given = {name: getattr(estimator, name) for name in Hyperparameters._fields}
    given = {name: 0.0 if value is None else value for name, value in given.items()}
    given["learning_rate_schedule"] = schedule_of_steps(estimator.learning_rate_schedule)
    return Hyperparameters(**given)
