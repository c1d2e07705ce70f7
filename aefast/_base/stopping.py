"""Early end of training: patience, and the return to the epoch with the lowest held-out loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from aefast._base.epochs import EpochTraining


class Patience:
    """Criterion that ends training after n_epochs_no_change epochs without improvement.

    An epoch improves if its loss is lower than the best one so far by more than a margin.

    Parameters
    ----------
    tol : float
        The margin. With 0 patience never ends.
    n_epochs_no_change : int
    relative : bool, default=False
        Whether the margin is tol times the size of the loss.
    """

    def __init__(self, tol: float, n_epochs_no_change: int, *, relative: bool = False) -> None:
        self.tol, self.n_epochs_no_change, self.relative = tol, n_epochs_no_change, relative
        self.best, self.n_bad = np.inf, 0

    def is_over(self, loss: float) -> bool:
        """Return whether training ends after an epoch with this loss; call it once an epoch."""
        return self.has_run_out(loss) and self._margin(loss) > 0

    def has_run_out(self, loss: float) -> bool:
        """Record an epoch's loss; return whether too many epochs have brought no improvement."""
        self.n_bad = 0 if loss < self.best - self._margin(loss) else self.n_bad + 1
        self.best = min(self.best, loss)
        return self.n_bad >= self.n_epochs_no_change

    def _margin(self, loss: float) -> float:
        return self.tol * abs(loss) if self.relative else self.tol


class EarlyStopping:
    """Early stopping, which restores the values of the epoch with the lowest held-out loss.

    Parameters
    ----------
    training : EpochTraining
    held_out_loss : callable
        Function that returns the mean loss of held-out rows with the training's present values.
    """

    def __init__(self, training: EpochTraining, held_out_loss: Callable[[], float]) -> None:
        self.training, self.held_out_loss = training, held_out_loss
        self.best_loss = np.inf

    def validate(self) -> float:
        """Return the held-out loss after an epoch, and keep the values if it is the lowest."""
        loss = self.held_out_loss()
        if loss < self.best_loss:
            self.best_loss = loss
            self.training.keep_best()
        return loss

    def restore_best(self) -> None:
        """Restore the values of the best epoch, if there has been one."""
        if self.best_loss < np.inf:
            self.training.restore_best()
