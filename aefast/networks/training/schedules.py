"""Changes of the learning rate between epochs, and patience.

Kernels change the learning rate within an epoch (src/kernels/autoencoder/tables/schedules.h).
"""

from aefast._base.stopping import Patience
from aefast.networks import _autoencoder

SCHEDULES = (*_autoencoder.SCHEDULES, "plateau")
PLATEAU_DIVISOR = 5.0  # divisor of the learning rate, as in scikit-learn's "adaptive"
LEAST_RATE = 1e-3  # training stops below this fraction of the initial rate


def schedule_of_steps(name):
    """Return the schedule that kernels follow; "plateau" changes the rate between epochs only."""
    return "constant" if name == "plateau" else name


def place_in_schedule(max_epochs, n_epochs_made, steps_in_epoch):
    """Return the next step's number in its schedule, and the number of steps in the schedule.

    A schedule of `max_epochs` epochs begins anew after its end.
    """
    n_epochs = max(1, int(max_epochs))
    n_steps = min(n_epochs * steps_in_epoch, 2**63 - 1)  # never reached, but counted in 64 bits
    return n_epochs_made % n_epochs * steps_in_epoch, n_steps


class Plateau(Patience):
    """Patience that divides the trainer's learning rate when it runs out, and begins anew.

    Training is over when the rate would become too small.
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
    """Return the patience of an estimator's schedule, after the epochs of its loss curve."""
    if estimator.learning_rate_schedule != "plateau":
        return absolute_patience(estimator)
    plateau = Plateau(estimator.tol, estimator.n_epochs_no_change, trainer)
    for loss in estimator.loss_curve_:
        plateau.is_over(loss)
    return plateau
