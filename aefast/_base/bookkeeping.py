"""What is recorded and stored between two epochs: curves, history, callbacks, checkpoints."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from aefast._base import history
from aefast._base.checkpoints import Stage, outside_of_fits
from aefast._base.progress import Report, as_list
from aefast._base.saving import CURVE, NUMBER, OBJECT, check_entries, optional
from aefast._base.stopping import Criterion, EarlyStopping
from aefast._base.types import Array

if TYPE_CHECKING:
    from aefast._base.epochs import OnSlice, TrainedEstimator, Training

# checks of the state of a loop in a checkpoint
_LOOP = {
    "losses": CURVE,
    "validation_losses": CURVE,
    "history": history.HISTORY,
    "patience": OBJECT,
    "best_loss": optional(NUMBER),
    "seconds": NUMBER,
    "training": OBJECT,
}


class Epochs:
    """Bookkeeping of a run, before and after each epoch.

    Attributes
    ----------
    n_epochs : int
        Epochs to make, at most: those that a checkpoint has are made.
    """

    def __init__(
        self,
        estimator: TrainedEstimator,
        training: Training,
        n_epochs: int,
        patience: Criterion,
        early_stopping: EarlyStopping | None,
        report: Report,
        stage: Stage | None = None,
    ) -> None:
        self.n_epochs = self._n_epochs_in_all = n_epochs
        self._estimator, self._training = estimator, training
        self._patience, self._early_stopping = patience, early_stopping
        self._report, self._stage = report, stage
        self._callbacks = as_list(estimator.callbacks)
        self._n_begun = 0
        self._validation_loss: float | None = None
        self._began = time.perf_counter() - history.seconds_so_far(estimator._history_rows())
        self._kept = estimator._state, *estimator._curves()
        # what a checkpoint within the next epoch says of the loop; None while that is not known
        self._loop: Any = None
        self._is_over = False
        if stage is not None and stage.found is not None:
            self._go_on_from(stage.found.state, stage.found.tensors)
        if stage is not None:
            stage.count_steps_from(training.place()[0])

    def begin(self) -> OnSlice | None:
        """Begin an epoch and return its `on_slice` (see `EpochTraining.epoch`)."""
        self._n_begun += 1
        shown = self._report.begin(self._n_begun, self._validation_loss)
        if self._stage is None:
            return shown
        self._loop = self._place_of_loop()

        def on_slice(n_rows: int, loss: float) -> None:
            if shown is not None:
                shown(n_rows, loss)
            self._write_if_due(after_epoch=False)

        return on_slice

    def end(self, loss: float) -> bool:
        """Record an epoch, validate and call callbacks; return whether training is over."""
        estimator = self._estimator
        losses, validation_losses = estimator._curves()
        losses.append(loss)
        estimator.n_epochs_ = epoch = estimator.n_epochs_ + 1
        estimator._keep(self._training)
        self._kept = estimator._state, losses, validation_losses
        monitored = loss
        if self._early_stopping is not None:
            self._validation_loss = self._early_stopping.validate()
            if not np.isfinite(self._validation_loss):
                raise estimator._divergence_error(epoch, None)
            validation_losses.append(self._validation_loss)
            if not self._early_stopping.only_watches:
                monitored = self._validation_loss
        self._record(loss)
        self._loop = None  # from here on values may have been changed by callbacks
        self._training.recorded()
        stops = []
        if self._callbacks:
            with outside_of_fits():
                given = epoch, loss, self._validation_loss, estimator
                stops = [callback(*given) is True for callback in self._callbacks]
        if stops:
            if not self.is_kept():
                raise RuntimeError(
                    f"after epoch {epoch} a callback has fitted the estimator that is being "
                    "trained, or deleted its attributes: the training cannot go on. A callback may "
                    "fit a clone of it (sklearn.base.clone)"
                )
            self._training.reread()
        is_over = any(stops) or self._patience.is_over(monitored)
        if self._stage is not None and not is_over and epoch < self._n_epochs_in_all:
            self._loop = self._place_of_loop()
            self._write_if_due(after_epoch=True)
        return is_over

    def _record(self, loss: float) -> None:
        n_steps, rate = self._training.place()
        seconds = time.perf_counter() - self._began
        row = history.Row(n_steps, float(loss), self._validation_loss, rate, seconds)
        self._estimator._history_rows().append(row)
        self._report.end(self._n_begun, **row._asdict())

    def is_kept(self) -> bool:
        """Return whether state and curves of the estimator are those of this training."""
        estimator = self._estimator
        try:
            found = (estimator._state, *estimator._curves(), estimator.n_epochs_)
        except AttributeError:
            return False
        return all(one is other for one, other in zip(found, self._kept, strict=False))

    # ---- checkpoints ----

    def write_interrupted(self) -> None:
        """Write a checkpoint after an interrupt, where the values are exact."""
        if self._loop is not None:
            self._write(in_epoch=not self._is_over)

    def write_end(self) -> None:
        """Write the checkpoint of a run that is over."""
        if self._stage is not None:
            self._is_over = True  # first: an interrupt from here on leaves the same checkpoint
            self._loop = self._place_of_loop()
            self._write(in_epoch=False)

    def _write_if_due(self, *, after_epoch: bool) -> None:
        n_steps = self._training.place()[0]
        if self._stage is not None and self._stage.is_due(n_steps, after_epoch=after_epoch):
            self._write(in_epoch=not after_epoch)

    def _write(self, *, in_epoch: bool) -> None:
        saved = self._training.saved(in_epoch=in_epoch)
        if saved is None or self._stage is None:
            return
        n_losses, n_validation_losses, n_rows, others = self._loop
        losses, validation_losses = self._estimator._curves()
        rows = self._estimator._history_rows()[:n_rows]
        state = {
            "losses": [float(loss) for loss in losses[:n_losses]],
            "validation_losses": [float(loss) for loss in validation_losses[:n_validation_losses]],
            "history": history.as_json(rows, with_seconds=True),
            "seconds": time.perf_counter() - self._began,
            "training": saved[0],
        }
        n_steps = self._training.place()[0]
        self._stage.write(state | others, saved[1], n_steps=n_steps, is_over=self._is_over)

    def _place_of_loop(self) -> tuple[int, int, int, dict[str, Any]]:
        """Return the lengths of the curves and the history, and criteria of the end as JSON."""
        estimator, early_stopping = self._estimator, self._early_stopping
        best = np.inf if early_stopping is None else early_stopping.best_loss
        others = {
            "patience": self._patience.state(),
            "best_loss": None if best == np.inf else float(best),
        }
        losses, validation_losses = estimator._curves()
        return len(losses), len(validation_losses), len(estimator._history_rows()), others

    def _go_on_from(self, state: dict[str, Any], tensors: dict[str, Array]) -> None:
        """Set everything to where a checkpoint was written."""
        check_entries("stage", state, _LOOP)
        estimator = self._estimator
        self._patience.go_on_from(state["patience"])
        self._training.go_on_from(state["training"], tensors)
        if self._early_stopping is not None and state["best_loss"] is not None:
            self._early_stopping.best_loss = state["best_loss"]
        losses, validation_losses = estimator._curves()
        losses[:], validation_losses[:] = state["losses"], state["validation_losses"]
        estimator._history_rows()[:] = history.from_json(state["history"])
        self._validation_loss = validation_losses[-1] if validation_losses else None
        estimator.n_epochs_ = self._n_begun = len(losses)
        self.n_epochs = max(0, self.n_epochs - self._n_begun)
        self._began = time.perf_counter() - state["seconds"]
        estimator._keep(self._training)
        self._kept = estimator._state, losses, validation_losses
        self._report.go_on(self._n_begun)
