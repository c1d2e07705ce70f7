"""Epochs: row orders, slices, early stopping, progress. No arithmetic on data: that is `_autoencoder.Trainer`'s."""

import time
from contextlib import closing, contextmanager

import numpy as np

from aefast._base import _runtime, threads
from aefast._base.passes import RowOrder
from aefast.networks._autoencoder import NOT_FINITE, Trainer
from aefast.networks.one_pass import mean_loss, one_pass
from aefast.networks.training.hyperparameters import hyperparameters_of
from aefast.networks.training.schedules import patience_of, place_in_schedule
from aefast.networks.variants import PLAIN, without_noise

SLICE_SECONDS = 0.05  # of training between two looks at the keyboard and the progress bar
# What a first slice reckons with: slow cores, and something of each step that is not products.
FLOPS_A_SECOND, SECONDS_A_STEP = 1e9, 1e-4
FASTEST_GROWTH = 8  # of the steps in a slice, from one slice to the next

# Purposes of random numbers: streams with different keys never meet.
WEIGHTS, SHUFFLE, SPLIT, LAYERS = range(4)


def random_stream(seed, purpose, counter=0):
    """A generator keyed by (seed, purpose, counter), so that training resumes anywhere with the numbers it would have drawn."""
    return np.random.Generator(np.random.Philox(key=[seed, purpose], counter=[0, 0, 0, counter]))


def rewind(random, counter):
    """Brings a generator of `random_stream` to another counter; a new one would ask the system for entropy first."""
    state = random.bit_generator.state
    state["state"]["counter"][:] = 0, 0, 0, counter
    state["buffer_pos"], state["has_uint32"] = 4, 0
    random.bit_generator.state = state
    return random


def split_rows(n, validation_fraction, seed):
    """Row numbers for training and for validation, at least one of each."""
    order = random_stream(seed, SPLIT).permutation(n)
    n_validation = min(max(1, round(validation_fraction * n)), n - 1)
    return np.sort(order[n_validation:]), np.sort(order[:n_validation])


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
    model : Network
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
        seconds = SECONDS_A_STEP + work_of_step(model, order) / FLOPS_A_SECOND
        self.steps_per_slice = max(1, int(SLICE_SECONDS / seconds))

    @property
    def n_rows_seen(self):
        """By all trainings up to now. The trainer counts: an interrupt swallows what a slice returns."""
        return self.n_rows_before + self.trainer.n_rows_done

    def settle(self):
        """After an interrupt: goes back to the last epoch's end if a value is not finite."""
        flat, state, _ = self.trainer.values()
        if not (np.isfinite(flat).all() and np.isfinite(state).all()):
            self.last_finite.restore(self.trainer)

    def epoch(self, on_slice=None):
        """One pass. Returns the mean over rows of the loss of their batch. After `Diverged` the trainer is where the pass began."""
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
        """The column whose loss is not finite in the batch that ended a slice; None where that is no column's."""
        model, flat = self.model, self.trainer.values()[0]
        options = {"order": rows[: self.order.batch_size], "check": False}
        options["variant"] = without_noise(self.trainer.variant)
        try:
            losses = one_pass(model, model.split(flat), self.X, "feature_losses", **options)
        except (FloatingPointError, ValueError):  # a code, a parameter
            return None
        bad = np.flatnonzero(~np.isfinite(losses).all(axis=0))
        return int(bad[0]) if 0 < len(bad) < losses.shape[1] else None

    def _slices(self):
        """The rows of one pass, in the order of training; how many at a time follows from the time they take."""
        random = None if self.random is None else rewind(self.random, self.n_rows_seen)
        for window in self.order.windows(random):
            first = 0
            while first < len(window):
                n_rows = self.steps_per_slice * self.order.batch_size
                yield window[first : first + n_rows]
                first += n_rows

    def _slice(self, rows, loss_sum):
        """Steps that take about SLICE_SECONDS, without the GIL. How training is sliced changes no bit."""
        start = time.perf_counter()
        with threads.single_threaded_blas(_runtime.products() == "blas"):
            result = self.trainer.run(rows, loss_sum)
        seconds = max(time.perf_counter() - start, 1e-9)
        n_steps = -(-len(rows) // self.order.batch_size)
        wanted = int(n_steps * SLICE_SECONDS / seconds)
        self.steps_per_slice = max(1, min(wanted, FASTEST_GROWTH * self.steps_per_slice))
        return result


def work_of_step(model, order):
    """Floating-point operations of its products."""
    return 10.0 * order.batch_size * model.n_multiplied


class EarlyStopping:
    """Keeps the parameters of the epoch with the lowest loss on the held-out rows; `options` are those of `mean_loss`."""

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


@contextmanager
def progress_bar(verbose, n_epochs, n_rows, stage=""):
    """A function (epoch, validation loss) -> on_slice for `Training.epoch`; None where nothing is shown."""
    if not verbose:
        yield lambda epoch, validation_loss: None
        return
    from tqdm.auto import tqdm

    with tqdm(total=n_epochs * n_rows, unit=" rows", unit_scale=True, dynamic_ncols=True) as bar:

        def start_epoch(epoch, validation_loss):
            bar.set_description(f"{stage}epoch {epoch}/{n_epochs}", refresh=False)
            shown = {} if validation_loss is None else {"validation": f"{validation_loss:.4g}"}

            def on_slice(n_rows_done, loss):
                bar.set_postfix(loss=f"{loss:.4g}", **shown, refresh=False)
                bar.update(n_rows_done)

            return on_slice

        yield start_epoch


def start_training(
    estimator, rows, train, state, variant=PLAIN, sample_weight=None, n_epochs_made=0
):
    """What trains on these rows (that many from row 0 on, or these numbers); allocates all that training needs.

    sample_weight is by row of `rows`; n_epochs_made: of those that the schedule of the learning rate is spread over.
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
        hyperparameters_of(estimator),
        batch_size=order.batch_size,
        schedule_step=schedule_step,
        schedule_steps=schedule_steps,
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
    """Trains for up to n_epochs, writing the estimator's curves; callbacks see the estimator with the epoch's parameters.

    held_out: row numbers for early stopping, or None. Raises FloatingPointError where training diverges.
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


def as_list(callbacks):
    if callbacks is None:
        return []
    return list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]


def _one_epoch(estimator, training, epoch, on_slice):
    try:
        return training.epoch(on_slice)
    except Diverged as error:
        raise divergence_error(estimator, epoch, error.column) from None


def divergence_error(estimator, epoch, column=None):
    what = "the loss or a parameter" if column is None else f"the loss of column {column} of X"
    return FloatingPointError(
        f"training diverged in epoch {epoch}: {what} is no longer finite. The last finite parameters are "
        f"kept. Lower learning_rate (it is {estimator.learning_rate:g}) or scale X to a smaller range"
    )
