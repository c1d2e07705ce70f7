"""Early end of training: patience, and the return to the epoch with the lowest held-out loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from aefast._base.saving import COUNT, NUMBER, Check, check_entries, optional

if TYPE_CHECKING:
    from aefast._base.epochs import EpochTraining


class Criterion:
    """Base of criteria that end a training: their counters go into checkpoints and come back."""

    _counters: ClassVar[dict[str, Check]]  # attributes, and the checks of their values in JSON

    def is_over(self, loss: float) -> bool:
        """Return whether training ends after an epoch with this loss; call it once an epoch."""
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        """Return the counters as JSON, with null for infinity."""
        found = {name: getattr(self, name) for name in self._counters}
        return {name: None if value == np.inf else _copied(value) for name, value in found.items()}

    def go_on_from(self, state: dict[str, Any]) -> None:
        """Set the counters to those of `state`; raise ValueError where they are none."""
        check_entries("patience", state, self._counters)
        for name, value in state.items():
            setattr(self, name, np.inf if value is None else _copied(value))


def _copied(value: Any) -> Any:
    return list(value) if isinstance(value, list) else value


class Patience(Criterion):
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

    _counters: ClassVar[dict[str, Check]] = {"best": optional(NUMBER), "n_bad": COUNT}

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
    only_watches : bool, default=False
        Whether held-out losses are recorded, and training neither ends nor goes back by them.
    """

    def __init__(
        self,
        training: EpochTraining,
        held_out_loss: Callable[[], float],
        *,
        only_watches: bool = False,
    ) -> None:
        self.training, self.held_out_loss = training, held_out_loss
        self.only_watches, self.best_loss = only_watches, np.inf

    def validate(self) -> float:
        """Return the held-out loss after an epoch, and keep the values if it is the lowest."""
        loss = self.held_out_loss()
        if loss < self.best_loss and not self.only_watches:
            self.best_loss = loss
            self.training.keep_best()
        return loss

    def restore_best(self) -> None:
        """Restore the values of the best epoch, if there has been one."""
        if self.best_loss < np.inf:
            self.training.restore_best()
