"""Loop over epochs of all iterative training, and its protocols for estimators and trainings.

An *estimator* (`TrainedEstimator`) is the user's object: it holds parameters, loss curves and
callbacks. A *training* (`Training`) changes the parameters: it knows rows and solver, and nothing
of estimators. `run_epochs` stands between them, so that losses, validation, callbacks, patience,
progress, Ctrl-C and divergence work alike whatever is trained.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

from aefast._base import history
from aefast._base.bookkeeping import Epochs
from aefast._base.checkpoints import Stage
from aefast._base.progress import progress_bar
from aefast._base.stopping import EarlyStopping, Patience
from aefast._base.types import Array

OnSlice = Callable[[int, float], None]


class Diverged(Exception):
    """Loss, parameters or optimizer state of a training that are not finite.

    Parameters
    ----------
    column : int or None
        Column of X whose loss is not finite; None where the loss of no single column is to blame.
    """

    def __init__(self, column: int | None = None) -> None:
        super().__init__(column)
        self.column = column


class Training(Protocol):
    """Object that changes parameters epoch by epoch during one call of `run_epochs`.

    Implement `EpochTraining`, unless the loop over epochs belongs to another library's optimizer:
    then implement `run`. All calls come from one thread, one at a time.

    *Values* are everything that training goes on from: parameters, optimizer state, counters. They
    must be usable at any time between two calls, for KeyboardInterrupt can arrive at any bytecode,
    within `epoch` too. Therefore a step that replaces values in several places does so where no
    interrupt is heard (in C), and counters are advanced in the same place: a return value that is
    lost with an interrupt must not be their only copy.

    Values after an epoch are a function of the values before it, the rows and the seed. They do
    not depend on the clock, on where an epoch was sliced, or on the number of threads or workers.
    """

    @property
    @abstractmethod
    def n_rows(self) -> int:
        """Number of rows that an epoch visits; the progress bar counts them."""

    @property
    def row_bytes(self) -> int | None:
        """Bytes of a row that is read from a stream, None of rows in memory."""
        return None

    @property
    @abstractmethod
    def n_rows_seen(self) -> int:
        """Number of rows whose steps are in the values, from the estimator's first training on.

        Random numbers are keyed by this count (see `aefast._base.random`), so that training which
        was interrupted, saved or split into several calls goes on with the numbers that one long
        call would have drawn.
        """

    @abstractmethod
    def values(self) -> Any:
        """Return the present values, in a form that the estimator's `_keep` understands.

        Values may be views that later epochs change.
        """

    @abstractmethod
    def reread(self) -> None:
        """Renew copies of the parameters, which callbacks may have changed in place.

        Copies are those in other layouts or at other workers. A training whose
        values are not exposed to callbacks has nothing to do.
        """

    @abstractmethod
    def settle(self) -> None:
        """Make the values usable after an exception, KeyboardInterrupt among them.

        Called once, at any point of an epoch or between two, and followed by `values`. Where a
        value is not finite, all values go back to the end of the last epoch (or to the start).
        """

    def place(self) -> tuple[int, float | None]:
        """Return the number of steps made, and the learning rate of the last one if it has one."""
        return 0, None

    def recorded(self) -> None:
        """Hear that the last epoch has been recorded: the next call of `epoch` begins another."""
        return None

    def saved(self, *, in_epoch: bool) -> tuple[dict[str, Any], dict[str, Array]] | None:
        """Return all values for a checkpoint, as JSON and as arrays, which are written at once.

        With `in_epoch` the present epoch has not been recorded: its position, and what has been
        summed over it, belong to the values too. None where the values are not those that steps
        have led to, as after `settle` has gone back, and where a training has no checkpoints.
        """
        return None

    def go_on_from(self, state: dict[str, Any], tensors: dict[str, Array]) -> None:
        """Set the values to those of a checkpoint, before the first epoch.

        Raises ValueError where they are none of this training.
        """
        raise ValueError(f"{type(self).__name__} cannot go on from a checkpoint")

    @abstractmethod
    def run(self, epochs: Epochs) -> None:
        """Train for at most `epochs.n_epochs` epochs, each framed by `epochs.begin` and `.end`.

        Raises
        ------
        Diverged
            Under the conditions of `EpochTraining.epoch`.
        """


class EpochTraining(Training, Protocol):
    """Training that makes one epoch per call and can return to its best epoch.

    `run_epochs` calls `epoch`, then `values` (through the estimator), then with early stopping
    `keep_best` where the held-out loss is the lowest so far, then, where there are callbacks,
    these and `reread`. It ends with `restore_best` (early stopping, no exception) or `settle` (an
    exception), and `values`.
    """

    @abstractmethod
    def epoch(self, on_slice: OnSlice | None) -> float:
        """Visit each row once, in a random order or as they lie, and return the mean loss.

        The loss of a row is the one that its step minimised, penalties included, before that step;
        the mean is over the rows, in the order in which they were visited, so that it has the same
        bits however the epoch was sliced.

        An epoch comes back to the interpreter (or to whatever hears Ctrl-C) every 50 ms or so; see
        `aefast._base.passes`.

        Parameters
        ----------
        on_slice : callable or None
            ``on_slice(n_rows, mean_loss)`` is called whenever some rows are done: their number
            since the last call, and the mean loss of all rows of this epoch so far. It shows
            progress; any number of calls is allowed.

        Raises
        ------
        Diverged
            If the loss or a value is not finite; the values are then those before the epoch.
        """

    @abstractmethod
    def keep_best(self) -> None:
        """Copy the values, in place of an earlier copy."""

    @abstractmethod
    def restore_best(self) -> None:
        """Go back to the values that `keep_best` has copied."""

    def run(self, epochs: Epochs) -> None:
        """Ask for one epoch after the other."""
        for _ in range(epochs.n_epochs):
            loss = self.epoch(epochs.begin())
            if epochs.end(loss):
                break


class TrainedEstimator(Protocol):
    """Estimator, as far as `run_epochs` reads, writes and calls it."""

    # A callable (epoch, loss, validation loss or None, estimator), a list of callables, or None.
    callbacks: Any
    verbose: Any
    n_epochs_: int
    _state: Any  # bound anew by each `_keep`, so that a fit of a callback's is noticed

    def _curves(self) -> tuple[list[float], list[float]]:
        """Return the lists of losses and of validation losses, to which each epoch appends."""
        ...

    def _history_rows(self) -> list[history.Row]:
        """Return the list to which each epoch appends a row."""
        ...

    def _keep(self, training: Any) -> None:
        """Set the estimator's fitted state from the training's `values` and counters.

        Called after each epoch, before validation and callbacks, and once in the end, also after
        an exception. Copying is the estimator's choice: it may share arrays with the training.
        """
        ...

    def _divergence_error(self, epoch: int, column: int | None) -> Exception:
        """Return the error that tells the user that training has diverged in this epoch."""
        ...


def run_epochs(
    estimator: TrainedEstimator,
    training: Training,
    n_epochs: int,
    patience: Patience,
    early_stopping: EarlyStopping | None = None,
    *,
    stage: str = "",
    checkpoint: Stage | None = None,
) -> None:
    """Train for up to n_epochs epochs, writing the estimator's curves and its fitted state.

    Ends earlier where a callback returns True or patience runs out. With early stopping the values
    of the best epoch are restored, if no exception has ended training.

    Parameters
    ----------
    estimator : TrainedEstimator
    training : Training
        An `EpochTraining` where there is early stopping.
    n_epochs : int
    patience : Patience
        Follows the validation loss where there is one, else the loss.
    early_stopping : EarlyStopping or None
    stage : str
        Beginning of the progress bar's description, for fits of several trainings.
    checkpoint : Stage or None
        Where the training is stored, and resumed: a stage that is over is only restored.

    Raises
    ------
    Exception
        The estimator's error where training diverges, and whatever training or callbacks raise.
    """
    epochs = None
    was_over = checkpoint is not None and checkpoint.is_over
    try:
        shown = n_epochs, training.n_rows, stage, training.row_bytes
        with progress_bar(estimator.verbose, *shown) as report:
            given = estimator, training, n_epochs, patience, early_stopping
            epochs = Epochs(*given, report, checkpoint)
            if not was_over:
                training.run(epochs)
        if not was_over:
            if early_stopping is not None:
                early_stopping.restore_best()
            epochs.write_end()
    except Diverged as error:
        training.settle()
        raise estimator._divergence_error(estimator.n_epochs_ + 1, error.column) from None
    except BaseException as error:  # Ctrl-C too
        training.settle()
        if isinstance(error, KeyboardInterrupt) and epochs is not None:
            epochs.write_interrupted()
        raise
    finally:
        if epochs is None or epochs.is_kept():  # else the state is that of a callback's fit
            estimator._keep(training)
