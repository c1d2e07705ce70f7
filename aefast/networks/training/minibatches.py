"""Training in mini-batches: row orders, slices, snapshots. `_autoencoder.Trainer` computes."""

from contextlib import closing
from typing import Any

import numpy as np

from aefast._base import _runtime, threads
from aefast._base.checkpoints import check_tensors
from aefast._base.epochs import Diverged, EpochTraining
from aefast._base.errors import column_label, table_name
from aefast._base.passes import Pace
from aefast._base.random import SHUFFLE, random_stream, rewind
from aefast._base.saving import COUNT, NUMBER, OBJECT, Check, check_entries, is_count, optional
from aefast._base.streams import StreamedRows
from aefast._base.team_size import TeamSize
from aefast._base.visits import order_of
from aefast.networks._autoencoder import NOT_FINITE, Trainer
from aefast.networks.one_pass import mean_loss, one_pass
from aefast.networks.training.factored import FactoredTrainer, is_factored
from aefast.networks.training.hyperparameters import hyperparameters_of
from aefast.networks.training.sampling import check_rows
from aefast.networks.training.schedules import place_in_schedule
from aefast.networks.variants import PLAIN, without_noise

# assumed speed of products on a slow core, and time of a step outside its products, for the length
# of the first slice
OPERATIONS_A_SECOND, SECONDS_A_STEP = 1e9, 1e-4

_PLACE = Check(
    lambda value: isinstance(value, list) and len(value) == 2 and all(map(is_count, value)),
    "a list of two integers in [0, 2**62)",
)
# checks of the counters in a checkpoint
_COUNTERS = (
    dict.fromkeys(("n_steps", "n_rows_done", "n_rows_in_pass"), COUNT)
    | dict.fromkeys(("loss_sum", "rate", "learning_rate"), NUMBER)
    | dict.fromkeys(("n_steps_of_best", "n_steps_of_last"), optional(COUNT))
    | {"schedule": _PLACE, "factors": optional(OBJECT)}
)


class Snapshot:
    """Copy of the trainer's values at the end of an epoch."""

    def __init__(self, trainer):
        flat, state, self.n_steps = trainer.values()
        self.flat, self.state = flat.copy(), state.copy()

    def take(self, trainer):
        """Copy the trainer's values if all are finite; return whether they are."""
        flat, state, n_steps = trainer.values()
        if not (np.isfinite(flat).all() and np.isfinite(state).all()):
            return False
        self.flat[...], self.state[...], self.n_steps = flat, state, n_steps
        return True

    def restore(self, trainer):
        trainer.restore(self.flat, self.state, self.n_steps)

    def arrays(self, prefix):
        return _arrays(prefix, self.flat, self.state)


def _arrays(prefix, flat, state):
    """Return parameters and optimizer state by their names in checkpoints."""
    optimizer = {f"{prefix}optimizer.{number}": array for number, array in enumerate(state)}
    return {f"{prefix}parameters": flat} | optimizer


class MiniBatches(EpochTraining):
    """Training of a network with one step for each mini-batch.

    Parameters
    ----------
    trainer : _autoencoder.Trainer
    model : Network
    X : ndarray, SparseRows or StreamedRows
        The table.
    order : ArrayOrder or StreamOrder
        The rows to train on.
    seed : int or None
        Seed of the shuffles, which are keyed by (seed, rows seen); None: rows stay in order.
    n_rows_seen : int
        Number of rows seen by earlier trainings.
    team : TeamSize
        The number of threads in each slice.
    sample_weight : ndarray (n,) or None
        Weights of the rows of a stream; the trainer has those of other tables.
    """

    def __init__(self, trainer, model, X, order, seed, n_rows_seen, team, sample_weight=None):
        self.team, self.sample_weight = team, sample_weight
        self.table = X  # what the trainer reads: the table, or a window of a stream
        self.trainer, self.model, self.X, self.order = trainer, model, X, order
        self.is_factored = isinstance(trainer, FactoredTrainer)
        self.random = None if seed is None else random_stream(seed, SHUFFLE)
        self.n_rows_before = n_rows_seen
        self.pass_began = 0  # the trainer's n_rows_done at the beginning of the pass
        self.is_pass_over = False  # whether a checkpoint has the end of a pass, not yet recorded
        self.is_exact = True  # whether the values are those that steps have led to
        self.last_finite = Snapshot(trainer)
        self.best: Any = None  # a Snapshot once there is a best epoch
        self.was_changed = False  # whether callbacks may have changed values since the last epoch
        seconds = SECONDS_A_STEP + work_of_step(model, order) / OPERATIONS_A_SECOND
        self.pace = Pace.expecting(order.batch_size, seconds)

    @property
    def n_rows(self):
        return self.order.n_rows

    @property
    def row_bytes(self):
        is_stream = isinstance(self.X, StreamedRows)
        return self.X.n_columns * self.X.dtype.itemsize if is_stream else None

    @property
    def n_rows_seen(self):
        """Number of rows seen by all trainings.

        The trainer counts them, because Ctrl-C loses the result of a slice.
        """
        return self.n_rows_before + self.trainer.n_rows_done

    def values(self):
        """Return parameters, optimizer state and number of steps; the arrays are the trainer's."""
        return self.trainer.values()

    def reread(self):
        self.was_changed = True
        self.trainer.reread()

    def place(self):
        return self.trainer.n_steps, self.trainer.rate

    def saved(self, *, in_epoch):
        if not (self.is_exact and self.is_finite()):
            return None
        trainer = self.trainer
        flat, state, n_steps = trainer.values()
        n_rows_in_pass = trainer.n_rows_done - self.pass_began if in_epoch else 0
        last = self.last_finite if n_rows_in_pass else None
        kept = {"best": self.best, "last": last}
        counters = {
            "n_steps": n_steps,
            "n_rows_done": trainer.n_rows_done,
            "n_rows_in_pass": n_rows_in_pass,
            "loss_sum": trainer.loss_sum if n_rows_in_pass else 0.0,
            "rate": trainer.rate,
            "learning_rate": float(trainer.learning_rate),
            "schedule": list(trainer.schedule),
            **{f"n_steps_of_{name}": of and of.n_steps for name, of in kept.items()},
        }
        tensors = _arrays("", flat, state)
        for name, of in kept.items():
            tensors |= {} if of is None else of.arrays(f"{name}.")
        if trainer.variant.rows_unused is not None:
            tensors["rows_unused"] = trainer.variant.rows_unused
        counters["factors"], factors = trainer.saved() if self.is_factored else (None, {})
        return counters, tensors | factors

    def go_on_from(self, state, tensors):
        check_entries("training", state, _COUNTERS)
        trainer, unused = self.trainer, self.trainer.variant.rows_unused
        flat, optimizer_state, _ = trainer.values()
        if state["n_steps_of_best"] is not None:
            self.best = Snapshot(trainer)
            self.best.n_steps = state["n_steps_of_best"]
        kept = {"best": self.best, "last": self.last_finite}
        expected = _arrays("", flat, optimizer_state)
        for name, of in kept.items():
            if state[f"n_steps_of_{name}"] is not None:
                expected |= of.arrays(f"{name}.")
        if unused is not None:
            expected["rows_unused"] = unused
        factors = state["factors"]
        blank = trainer.blank() if self.is_factored and factors is not None else {}
        check_tensors(tensors, expected | blank)
        if not state["n_rows_in_pass"] <= min(self.n_rows, state["n_rows_done"]):
            raise ValueError(f"a pass of {self.n_rows} rows has no place {state['n_rows_in_pass']}")
        for name, array in expected.items():
            array[...] = tensors[name]
        trainer.restore(flat, optimizer_state, state["n_steps"])
        trainer.go_on_from(state["n_rows_done"], state["loss_sum"], state["rate"])
        trainer.learning_rate, trainer.schedule = state["learning_rate"], tuple(state["schedule"])
        if blank:
            trainer.go_on_with(factors, tensors)
        self.pass_began = state["n_rows_done"] - state["n_rows_in_pass"]
        self.is_pass_over = state["n_rows_in_pass"] == self.n_rows
        if state["n_steps_of_last"] is None:
            self.last_finite.take(trainer)
        else:
            self.last_finite.n_steps = state["n_steps_of_last"]

    def run(self, epochs):
        """Train for some epochs, and refuse what callbacks wrote after the last one if need be."""
        super().run(epochs)
        if self.was_changed and not self.is_finite():
            raise FloatingPointError(
                "a callback has made a parameter or the optimizer's state infinite or NaN. The last"
                " finite parameters are kept"
            )

    def is_finite(self):
        """Return whether parameters and optimizer state are finite."""
        flat, state, _ = self.trainer.values()
        return bool(np.isfinite(flat).all() and np.isfinite(state).all())

    def keep_best(self):
        if self.best is None:
            self.best = Snapshot(self.trainer)
        else:
            self.best.take(self.trainer)

    def restore_best(self):
        self.best.restore(self.trainer)

    def settle(self):
        """Go back to the last epoch's end if a value is not finite."""
        if not self.is_finite():
            self.is_exact = False
            self.last_finite.restore(self.trainer)

    def epoch(self, on_slice=None):
        n_done = self.trainer.n_rows_done - self.pass_began  # by an interrupted training
        if n_done == self.n_rows and not self.is_pass_over:
            self.recorded()
            n_done = 0
        self.is_pass_over = False
        total = self.trainer.loss_sum if n_done else 0.0
        with closing(self._slices(n_done)) as slices:
            for rows in slices:
                before = self.trainer.n_rows_done
                total, status = self._slice(rows, total)
                n_done += len(rows)
                if status & NOT_FINITE:
                    column = self._column_to_blame(rows, self.trainer.n_rows_done - before)
                    self.last_finite.restore(self.trainer)
                    raise Diverged(column)
                if on_slice is not None:
                    on_slice(len(rows), total / n_done)
        if not self.last_finite.take(self.trainer):
            self.last_finite.restore(self.trainer)
            raise Diverged
        self.was_changed = False
        return total / n_done

    def recorded(self):
        self.pass_began = self.trainer.n_rows_done

    def mean_loss(self, rows, n_threads, sample_weight):
        """Return the mean loss of some rows of the table, without noise or penalties."""
        return mean_loss(
            self.model,
            self.model.split(self.trainer.values()[0]),
            self.X,
            rows,
            n_threads=n_threads,
            sample_weight=sample_weight,
            variant=without_noise(self.trainer.variant),
        )

    def _column_to_blame(self, rows, n_done):
        """Return the column whose loss is not finite in the batch after n_done rows, or None."""
        batch = rows[n_done : n_done + self.order.batch_size]
        flat, variant = self.trainer.moving_parameters(), self.trainer.variant
        return overflowing_column(self.model, flat, self.table, batch, variant)

    def _slices(self, n_done):
        """Yield the rows of slices of one pass, in the order of training, once they can be read.

        The first n_done rows have been trained on.
        """
        began = self.n_rows_seen - n_done
        random = None if self.random is None else rewind(self.random, began)
        with closing(self.order.visits(self.pace, random, n_done)) as visits:
            for visit in visits:
                self._read_from(visit)
                yield visit.places

    def _read_from(self, visit):
        """Let the trainer read the table of a visit, which is another one for each window."""
        if visit.table is self.table:
            return
        weight = None
        if self.sample_weight is not None:
            weight = np.empty(len(visit.table))
            weight[visit.places] = self.sample_weight[visit.numbers]
        self.table = visit.table
        self.trainer.read_from(visit.table, weight)

    def _slice(self, rows, loss_sum):
        """Make steps over some rows, without the GIL; results do not depend on the slicing."""
        with threads.single_threaded_blas(_runtime.products() == "blas"):
            self.trainer.n_threads = self.team.size
            with self.team.slice(len(rows)):
                return self.trainer.run(rows, loss_sum)


def overflowing_column(model, flat, X, rows, variant):
    """Return the column whose loss is not finite in these rows of X, or None if it is no single."""
    options = {"order": rows, "check": False, "variant": without_noise(variant)}
    try:
        losses = one_pass(model, model.split(flat), X, "feature_losses", **options)
    except (FloatingPointError, ValueError):  # a code or a parameter is not finite
        return None
    bad = np.flatnonzero(~np.isfinite(losses).all(axis=0))
    return int(bad[0]) if 0 < len(bad) < losses.shape[1] else None


def work_of_step(model, order):
    """Return the number of floating-point operations in the products of a step."""
    return 10.0 * order.batch_size * model.n_multiplied


def start_training(
    estimator,
    rows,
    train,
    state,
    variant=PLAIN,
    sample_weight=None,
    n_epochs_made=0,
    rate_factors=None,
    head=None,
):
    """Return a training whose memory is all allocated.

    `train` is the number of rows, from row 0 on, or an array of row numbers. `sample_weight` has an
    entry for each row of `rows`. `n_epochs_made` counts epochs of the learning rate's schedule;
    `rate_factors` and `head` are those of `_autoencoder.Trainer`.
    """
    model, order = state.model, order_of(rows, train, int(estimator.batch_size))
    schedule_step, schedule_steps = place_in_schedule(
        estimator.max_epochs, n_epochs_made, -(-order.n_rows // order.batch_size)
    )
    variant = check_rows(rows, model, variant)
    n_threads, work = estimator.n_threads, work_of_step(model, order)
    is_stream = isinstance(rows, StreamedRows)
    if is_stream:
        n_threads = rows.threads_beside(n_threads, work / (order.batch_size * rows.shape[1]))
    given = n_threads, work
    table = np.empty((1, rows.shape[1]), rows.dtype) if is_stream else rows
    arrays = model, table, state.parameters, state.optimizer_state, hyperparameters_of(estimator)
    options = {
        "batch_size": order.batch_size,
        "schedule_step": schedule_step,
        "schedule_steps": schedule_steps,
        "n_steps": state.n_steps,
        "variant": variant,
        "n_rows_seen": state.n_rows_seen,
        "sample_weight": None if is_stream else sample_weight,
        "n_threads": threads.largest_team(*given),
    }
    if is_factored(estimator, rows):
        trainer: Any = FactoredTrainer(*arrays, **options)
    else:
        trainer = Trainer(
            *arrays,
            **options,
            bfloat16=estimator.precision == "bfloat16",
            rate_factors=rate_factors,
            head=head,
        )
    seed = state.seed if estimator.shuffle else None
    first = min(trainer.n_threads, threads.effective_n_threads(*given))
    team = TeamSize(trainer.n_threads, is_fixed=n_threads is not None, first=first)
    weight = sample_weight if is_stream else None
    return MiniBatches(trainer, model, rows, order, seed, state.n_rows_seen, team, weight)


def _shown(rate):
    return repr(rate) if isinstance(rate, str) else f"{rate:g}"


def divergence_error(estimator, epoch, column=None):
    """Return the error for a training that diverged, in a column of X if it is known."""
    parameters, name = estimator._state.parameters, table_name(None, estimator)
    if not np.isfinite(parameters).all():  # the training has gone back to its start
        return FloatingPointError(
            "training cannot start from the fitted parameters, which are not finite: fit anew"
        )
    what = "the loss or a parameter"
    if column is not None:
        what = f"the loss of column {column_label(name, column)} of X"
    return FloatingPointError(
        f"training diverged in epoch {epoch}: {what} is no longer finite. The last finite "
        "parameters are kept. "
        f"Lower learning_rate (it is {_shown(estimator.learning_rate)}) or scale X to a "
        "smaller range"
    )
