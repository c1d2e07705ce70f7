"""End of a training whose number of epochs is left to the estimator."""

from typing import ClassVar

import numpy as np

from aefast._base.saving import COUNT, CURVE, FLAG, Check
from aefast._base.stopping import Criterion

DECAY_BEGINS = 0.7  # share of the schedule "trapezoid" after which the rate falls
WINDOWS = 20  # windows of a budget whose mean losses are compared
PATIENCE = 2  # windows in a row without improvement
LEAST_DECAY = 0.3  # of the budget: a decay regains what the noise of large steps has cost
FALLING = 0.01  # relative improvement of the last windows that counts as still falling


class Budget(Criterion):
    """Criterion that lets the rate decay once the loss has stopped falling, then ends training.

    The losses of epochs are averaged in windows of one twentieth of the budget. When PATIENCE
    windows in a row have not improved the best one by more than `tol`, relative to the loss, the
    decay of the schedule begins at once, for LEAST_DECAY of the budget or as long as the schedule
    has it for so many epochs. Training ends with the schedule.

    Parameters
    ----------
    trainer : _autoencoder.Trainer
    n_epochs : int
        The budget.
    tol : float
        With 0 the whole budget is spent.
    decays : bool
        Whether the schedule is the trapezoid; otherwise training ends at once.
    """

    _counters: ClassVar[dict[str, Check]] = (
        dict.fromkeys(("n_epochs", "n_bad", "n_done"), COUNT)
        | dict.fromkeys(("window", "means"), CURVE)
        | {"ends_early": FLAG}
    )

    def __init__(self, trainer, n_epochs, tol, decays):
        self.trainer, self.n_epochs, self.tol, self.decays = trainer, n_epochs, tol, decays
        self.width = max(1, n_epochs // WINDOWS)
        self.window, self.means, self.n_bad = [], [], 0
        self.n_done, self.ends_early = 0, False

    @property
    def still_falls(self):
        """Whether the budget has ended while the loss still fell."""
        if self.ends_early or len(self.means) < 4:
            return False
        share = DECAY_BEGINS if self.decays else 1.0
        before_decay = self.means[: max(2, int(len(self.means) * share))]
        old, new = before_decay[-2:]
        return old - new > FALLING * abs(new)

    def is_over(self, loss):
        """Record the loss of an epoch; return whether training ends."""
        self.window.append(loss)
        self.n_done += 1
        if self.ends_early:
            return self.n_done >= self.n_epochs
        if len(self.window) == self.width:
            self._end_window(sum(self.window) / self.width)
            self.window = []
        if self.n_bad < PATIENCE or self.tol == 0:
            return False
        if not self.decays:
            return True
        if self.n_done < DECAY_BEGINS * self.n_epochs:
            self.ends_early = True
            steps = self.trainer.schedule[0] // self.n_done
            share = (1 - DECAY_BEGINS) / DECAY_BEGINS
            n_left = int(np.ceil(max(share * self.n_done, LEAST_DECAY * self.n_epochs)))
            self.n_epochs = self.n_done + n_left
            whole = round(n_left * steps / (1 - DECAY_BEGINS))
            self.trainer.schedule = whole - n_left * steps, whole
        return False

    def _end_window(self, mean):
        best = min(self.means, default=np.inf)
        self.n_bad = 0 if mean < best - self.tol * abs(mean) else self.n_bad + 1
        self.means.append(mean)
