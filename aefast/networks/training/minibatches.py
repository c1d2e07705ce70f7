"""Epochs: row orders, slices, early stopping, progress. No arithmetic on data: that is
`_autoencoder.Trainer`'s.
"""

from contextlib import closing

import numpy as np

from aefast._base import _runtime, threads
from aefast._base.errors import column_label, table_name
from aefast._base.passes import Pace, RowOrder, slices_of_windows
from aefast._base.progress import as_list, progress_bar
from aefast._base.random import SHUFFLE, random_stream, rewind
from aefast.networks._autoencoder import NOT_FINITE, Trainer
from aefast.networks.one_pass import forward, mean_loss
from aefast.networks.training.schedules import patience_of, place_in_schedule, schedule_of_steps
from aefast.networks.variants import PLAIN, without_noise

# A first slice reckons with slow cores, and with something of each step that is not products.
OPERATIONS_A_SECOND, SECONDS_A_STEP = 1e9, 1e-4


class Snapshot:
    """The trainer's values at the end of an epoch."""

    def __init__(self, trainer):
        flat, state, self.n_steps = trainer.values()
        self.flat, self.state = flat.copy(), state.copy()

    def take(self, trainer):
        """Returns False, and takes nothing, where a value is not finite."""
        flat, state, n_steps = trainer.values()
        if not (np.isfinite(flat).all() and np.isfinite(state).all()):
            return False
        self.flat[...], self.state[...], self.n_steps = flat, state, n_steps
        return True

    def restore(self, trainer):
        trainer.restore(self.flat, self.state, self.n_steps)


class Diverged(Exception):
    """The loss, a parameter or the optimizer's state is not finite."""

    def __init__(self, column=None):
        super().__init__(column)
        self.column = column  # of the output whose loss it is, or None


class Training:
    """Epochs over the rows of one table, and their record.

    Parameters
    ----------
    trainer : _autoencoder.Trainer
    model : Model or DeepModel
    X : ndarray
        The table.
    order : RowOrder
        Of the rows to train on.
    seed : int or None
        Rows are shuffled in each pass, keyed by (seed, rows seen); None leaves them in order.
    n_rows_seen : int
        Before this training, by earlier ones.
    """

    def __init__(self, trainer, model, X, order, seed, n_rows_seen):
        self.trainer, self.model, self.X, self.order = trainer, model, X, order
        self.random = None if seed is None else random_stream(seed, SHUFFLE)
        self.n_rows_before = n_rows_seen
        self.last_finite = Snapshot(trainer)
        seconds = SECONDS_A_STEP + work_of_step(model, order) / OPERATIONS_A_SECOND
        self.pace = Pace.expecting(order.batch_size, seconds)

    @property
    def n_rows_seen(self):
        """By all trainings up to now. The trainer counts: an interrupt swallows what a slice
        returns.
        """
        return self.n_rows_before + self.trainer.n_rows_done

    def settle(self):
        """After an interrupt: goes back to the last epoch's end if a value is not finite."""
        flat, state, _ = self.trainer.values()
        if not (np.isfinite(flat).all() and np.isfinite(state).all()):
            self.last_finite.restore(self.trainer)

    def epoch(self, on_slice=None):
        """One pass. Returns the mean over rows of the loss of their batch. After `Diverged` the
        trainer is where the pass began.
        """
        total, n_done = 0.0, 0
        with closing(self._slices()) as slices:
            for rows in slices:
                before = self.trainer.n_rows_done
                total, status = self._slice(rows, total)
                n_done += len(rows)
                if status & NOT_FINITE:
                    column = self._overflowing_column(rows[self.trainer.n_rows_done - before :])
                    self.last_finite.restore(self.trainer)
                    raise Diverged(column)
                if on_slice is not None:
                    on_slice(len(rows), total / n_done)
        if not self.last_finite.take(self.trainer):
            self.last_finite.restore(self.trainer)
            raise Diverged
        return total / n_done

    def _overflowing_column(self, rows):
        """The column whose loss is not finite in the batch that ended a slice; None where that is
        no column's.
        """
        model, flat = self.model, self.trainer.values()[0]
        options = {"order": rows[: self.order.batch_size], "check": False}
        options["variant"] = without_noise(self.trainer.variant)
        try:
            losses = forward(model, model.split(flat), self.X, "feature_losses", **options)
        except (FloatingPointError, ValueError):  # a code, a parameter
            return None
        bad = np.flatnonzero(~np.isfinite(losses).all(axis=0))
        return int(bad[0]) if 0 < len(bad) < losses.shape[1] else None

    def _slices(self):
        """Row numbers of one pass, some at a time, in the order of training."""
        random = None if self.random is None else rewind(self.random, self.n_rows_seen)
        return slices_of_windows(self.order.windows(random), self.pace)

    def _slice(self, rows, loss_sum):
        """Steps over these rows, without the GIL. How training is sliced changes no bit."""
        with threads.single_threaded_blas(_runtime.products() == "blas"):
            return self.trainer.run(rows, loss_sum)


def work_of_step(model, order):
    """Floating-point operations of its products."""
    return 10.0 * order.batch_size * model.n_multiplied


class EarlyStopping:
    """Keeps the parameters of the epoch with the lowest loss on the held-out rows; `options` are
    those of `mean_loss`.
    """

    def __init__(self, trainer, model, X, rows, options):
        self.trainer, self.model, self.X, self.rows, self.options = trainer, model, X, rows, options
        self.best, self.best_loss = Snapshot(trainer), np.inf

    def validation_loss(self):
        loss = mean_loss(
            self.model,
            self.model.split(self.trainer.values()[0]),
            self.X,
            self.rows,
            **self.options,
        )
        if loss < self.best_loss:
            self.best_loss = loss
            self.best.take(self.trainer)
        return loss

    def restore_best(self):
        self.best.restore(self.trainer)


def start_training(
    estimator, rows, train, state, variant=PLAIN, sample_weight=None, n_epochs_made=0
):
    """What trains on these rows (that many from row 0 on, or these numbers); allocates all that
    training needs.

    sample_weight is by row of `rows`; n_epochs_made: of those that the schedule of the learning
    rate is spread over.
    """
    model, order = state.model, RowOrder(rows, train, int(estimator.batch_size))
    schedule_step, schedule_steps = place_in_schedule(
        estimator.max_epochs, n_epochs_made, -(-order.n_rows // order.batch_size)
    )
    work = work_of_step(model, order)
    trainer = Trainer(
        model,
        rows,
        state.parameters,
        state.optimizer_state,
        solver=estimator.solver,
        batch_size=order.batch_size,
        learning_rate=estimator.learning_rate,
        momentum=estimator.momentum,
        nesterov=estimator.nesterov,
        alpha=estimator.alpha,
        weight_decay=estimator.weight_decay,
        schedule=schedule_of_steps(estimator.learning_rate_schedule),
        schedule_step=schedule_step,
        schedule_steps=schedule_steps,
        clip_norm=estimator.clip_norm,
        max_norm=estimator.max_norm,
        n_threads=threads.effective_n_threads(estimator.n_threads, work),
        n_steps=state.n_steps,
        variant=variant,
        n_rows_seen=state.n_rows_seen,
        sample_weight=sample_weight,
        bfloat16=estimator.precision == "bfloat16",
    )
    seed = state.seed if estimator.shuffle else None
    return Training(trainer, model, rows, order, seed, state.n_rows_seen)


def run_epochs(estimator, training, model, X, held_out, n_epochs, sample_weight=None):
    """Trains for up to n_epochs, writing the estimator's curves; callbacks see the estimator with
    the epoch's parameters.

    held_out: row numbers for early stopping, or None. Raises FloatingPointError where training
    diverges.
    """
    stopping = None
    if held_out is not None:
        options = {"n_threads": estimator.n_threads, "sample_weight": sample_weight}
        options["variant"] = without_noise(training.trainer.variant)
        stopping = EarlyStopping(training.trainer, model, X, held_out, options)
    patience = patience_of(estimator, training.trainer)
    callbacks = as_list(estimator.callbacks)
    validation_loss = None
    n_rows, stage = training.order.n_rows, estimator._stage
    with progress_bar(estimator.verbose, n_epochs, n_rows, stage) as start_epoch:
        for pass_number in range(1, n_epochs + 1):
            epoch = estimator.n_epochs_ + 1
            loss = _one_epoch(estimator, training, epoch, start_epoch(pass_number, validation_loss))
            estimator.loss_curve_.append(loss)
            estimator.n_epochs_ = epoch
            if stopping is not None:
                validation_loss = stopping.validation_loss()
                if not np.isfinite(validation_loss):
                    raise divergence_error(estimator, epoch)
                estimator.validation_loss_curve_.append(validation_loss)
            estimator._keep(training)
            stops = [
                callback(epoch, loss, validation_loss, estimator) is True for callback in callbacks
            ]
            if callbacks:
                training.trainer.reread()
            if any(stops) or patience.is_over(loss if validation_loss is None else validation_loss):
                break
    if stopping is not None and n_epochs > 0:
        stopping.restore_best()


def _one_epoch(estimator, training, epoch, on_slice):
    try:
        return training.epoch(on_slice)
    except Diverged as error:
        raise divergence_error(estimator, epoch, error.column) from None


def divergence_error(estimator, epoch, column=None):
    what = "the loss or a parameter"
    if column is not None:
        what = f"the loss of column {column_label(table_name(None, estimator), column)} of X"
    return FloatingPointError(
        f"training diverged in epoch {epoch}: {what} is no longer finite. The last finite "
        "parameters are "
        f"kept. Lower learning_rate (it is {estimator.learning_rate:g}) or scale X to a smaller "
        "range"
    )
