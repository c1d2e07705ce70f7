"""The learning rate from epoch to epoch, and when training stops.

Schedules within an epoch are the kernels' (tables/schedules.h).
"""

from aefast._base.stopping import Patience
from aefast.networks import _autoencoder

SCHEDULES = (*_autoencoder.SCHEDULES, "plateau")
PLATEAU_DIVISOR = 5.0  # of the learning rate; as scikit-learn's "adaptive"
LEAST_RATE = 1e-3  # of the rate that a plateau starts with: under it, training stops


def schedule_of_steps(name):
    """The schedule that kernels follow: on a plateau the rate changes between epochs alone."""
    return "constant" if name == "plateau" else name


def place_in_schedule(max_epochs, n_epochs_made, steps_in_epoch):
    """(place of the next step, number of steps) of a schedule of max_epochs epochs, repeated."""
    n_epochs = max(1, int(max_epochs))
    return n_epochs_made % n_epochs * steps_in_epoch, n_epochs * steps_in_epoch


class Plateau(Patience):
    """Divides the trainer's learning rate where patience runs out, and begins anew.

    It is over where the rate would become too small.
    """

    def __init__(self, tol, n_epochs_no_change, trainer):
        super().__init__(tol, n_epochs_no_change)
        self.trainer, self.least = trainer, LEAST_RATE * trainer.learning_rate

    def is_over(self, loss):
        if not self.has_run_out(loss):
            return False
        self.n_bad = 0
        rate = self.trainer.learning_rate / PLATEAU_DIVISOR
        if rate < self.least:
            return self.tol > 0
        self.trainer.learning_rate = rate
        return False


def absolute_patience(estimator):
    return Patience(estimator.tol, estimator.n_epochs_no_change)


def patience_of(estimator, trainer):
    """The patience that an estimator asks for, having seen the epochs of its loss curve."""
    if estimator.learning_rate_schedule != "plateau":
        return absolute_patience(estimator)
    plateau = Plateau(estimator.tol, estimator.n_epochs_no_change, trainer)
    for loss in estimator.loss_curve_:
        plateau.is_over(loss)
    return plateau
