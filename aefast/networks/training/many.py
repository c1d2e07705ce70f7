"""Training of many networks of equal shape in one call, slice by slice.

`_autoencoder.EnsembleTrainer` computes; a network gets the bits that `MiniBatches` would give it
alone, from the same values. One thread trains a network to its end, unless that takes longer than
a slice, before it begins the next one.
"""

from typing import Any, NamedTuple

import numpy as np

from aefast._base import threads
from aefast._base.checkpoints import Stage, check_tensors
from aefast._base.passes import SLICE_SECONDS
from aefast._base.progress import networks_done
from aefast._base.team_size import TeamSize
from aefast.networks._autoencoder import PROGRESS, EnsembleTrainer
from aefast.networks.network import Network
from aefast.networks.training.automatic import AUTO, n_epochs_of
from aefast.networks.training.hyperparameters import hyperparameters_of
from aefast.networks.training.minibatches import OPERATIONS_A_SECOND
from aefast.networks.variants import Variant

_FIELDS: tuple[str, ...] = PROGRESS.names or ()
_NOT_YET = float(np.finfo(np.float64).max)  # the best loss before the first epoch, in a checkpoint
FASTEST_GROWTH = 8  # of the number of rows from one slice to the next


class Rows(NamedTuple):
    """The rows and columns of a table that each of B networks reads."""

    begins: np.ndarray  # (B + 1,) int64
    # int64: network b reads rows numbers[begins[b] : begins[b + 1]]; None: each reads all rows
    numbers: np.ndarray | None
    columns: np.ndarray | None  # (B, d) int64; None: all of the table's

    @property
    def counts(self):
        return np.diff(self.begins)

    def of(self, b):
        """Return the numbers of a network's rows."""
        if self.numbers is None:
            return np.arange(self.begins[1])
        return self.numbers[self.begins[b] : self.begins[b + 1]]

    def table_of(self, X, b, rows=slice(None)):
        """Return a copy of some of the rows of a network, by their places among them."""
        table = X[self.of(b)[rows]]
        return table if self.columns is None else table[:, self.columns[b]]


class ManyNetworks(NamedTuple):
    """Parameters, optimizer state and progress of B networks of equal shape."""

    model: Network
    values: np.ndarray  # (B, 1 + n_states, n_parameters)
    progress: np.ndarray  # (B,) of type PROGRESS
    seeds: np.ndarray  # (B,) uint64, the keys of all random numbers
    rates: np.ndarray | None  # (B, N_PARAMETER_ARRAYS), factors of the learning rate

    @property
    def parameters(self):
        return self.values[:, 0]


def progress_of(settings, model, counts, batch_size):
    """Return the progress (B,) before the first step of networks with these numbers of rows."""
    progress = np.zeros(len(counts), PROGRESS)
    for count in np.unique(counts):
        which, size = counts == count, min(batch_size, int(count))
        n_epochs = settings.max_epochs
        if n_epochs == AUTO:
            n_epochs = n_epochs_of(model, int(count), size)
        progress["most_epochs"][which] = n_epochs
        steps = max(1, int(n_epochs)) * -(-int(count) // size)
        progress["schedule_steps"][which] = min(steps, 2**63 - 1)
    progress["best"] = np.inf
    progress["is_over"] = progress["most_epochs"] == 0
    return progress


def stopping_rule(settings):
    """Return (rule, tol, patience, decays) for `EnsembleTrainer`."""
    rule = "budget" if settings.max_epochs == AUTO else "patience"
    decays = settings.learning_rate_schedule == "trapezoid"
    return rule, float(settings.tol), int(settings.n_epochs_no_change), decays


def train_many(
    settings: Any,
    X: Any,
    rows: Rows,
    many: ManyNetworks,
    variant: Variant,
    losses: np.ndarray,
    stage: Stage | None = None,
) -> None:
    """Train networks in place to their ends, and write the losses (B, most epochs) of epochs.

    Ctrl-C leaves values that are finite, and the progress that was made. With a stage of a
    checkpoint training goes on from there, and is stored there.
    """
    progress, counts = many.progress, rows.counts
    kept = many.values.copy()
    stored = None
    if stage is not None:
        stored = _Stored(stage, many, kept, losses)
        stored.go_on(counts)
        if stage.is_over:
            return
    work = 10.0 * counts.mean() * many.model.n_multiplied * int(progress["most_epochs"].max())
    n_threads = min(
        len(progress), 64, threads.effective_n_threads(settings.n_threads, work * len(progress))
    )
    trainer = EnsembleTrainer(
        many.model,
        X,
        None if rows.numbers is None else (rows.begins, rows.numbers),
        rows.columns,
        many.values,
        kept,
        progress,
        losses,
        hyperparameters_of(settings),
        variant=variant,
        seeds=many.seeds,
        batch_size=settings.batch_size,
        n_threads=n_threads,
        shuffles=bool(settings.shuffle),
        stop=stopping_rule(settings),
        rate_factors=many.rates,
    )
    team = TeamSize(n_threads, is_fixed=settings.n_threads is not None)
    seconds_a_row = 10.0 * many.model.n_multiplied / OPERATIONS_A_SECOND
    n_rows = SLICE_SECONDS / seconds_a_row
    try:
        _run(settings, trainer, progress, losses, counts, team, n_rows, stored)
        if stored is not None:
            stored.write(is_over=True)
    except KeyboardInterrupt:
        if stored is not None:
            stored.write(is_over=bool(progress["is_over"].all()))
        raise
    finally:
        _settle(many.values, kept, progress)


def _run(settings, trainer, progress, losses, counts, team, n_rows, stored):
    """Call the kernel for slices of about n_rows rows at first, later of some 50 ms."""
    import time

    with networks_done(settings.verbose, len(progress)) as done:
        first, is_over = 0, progress["is_over"]
        while True:
            begin_of_slice = first
            while first < len(progress) and is_over[first]:
                done(1, _last_loss(losses, progress, first))
                first += 1
            if first == len(progress):
                return
            if stored is not None:
                stored.write_if_due(after_epoch=first > begin_of_slice)
            last, each = _next_slice(progress, counts, first, team.size, n_rows)
            begin = time.perf_counter()
            trainer.n_threads = team.size
            with team.slice(max(1, int(min(n_rows, 2**62)))):
                n_done = trainer.run(first, last, each)
            seconds = time.perf_counter() - begin
            wanted = n_done * SLICE_SECONDS / max(seconds, 1e-9)
            n_rows = max(1.0, min(wanted, FASTEST_GROWTH * n_rows))


def _next_slice(progress, counts, first, n_threads, n_rows):
    """Return the end of the networks of a slice of about n_rows rows, and the rows of each."""
    window = slice(first, first + max(n_threads, 4096))
    part = progress[window]
    left = counts[window] * (part["most_epochs"] - part["n_epochs"]) - part["place"]
    left = np.where(part["is_over"] != 0, 0, left)
    fitting = int(np.searchsorted(np.cumsum(left), n_rows, side="right"))
    unfinished = np.flatnonzero(left)
    if fitting > unfinished[:n_threads][-1]:
        return first + fitting, int(left[:fitting].max())
    return first + int(unfinished[:n_threads][-1]) + 1, max(1, int(n_rows / n_threads))


def _last_loss(losses, progress, b):
    n = progress["n_epochs"][b]
    return losses[b, n - 1] if n else None


class _Stored:
    """Training of networks in a stage of a checkpoint.

    The kernel changes values and progress in one call, so that they belong together between two
    calls, and wherever an interrupt is heard.
    """

    def __init__(self, stage, many, kept, losses):
        self._stage, self._progress, self._losses = stage, many.progress, losses
        self._arrays = {"values": many.values, "kept": kept, "losses": losses}

    def write_if_due(self, *, after_epoch):
        if self._stage.is_due(self._n_steps(), after_epoch=after_epoch):
            self.write()

    def write(self, *, is_over=False):
        """Store the networks, unless a value is not finite, which `_settle` takes back."""
        if not all(np.isfinite(array).all() for array in self._arrays.values()):
            return
        tensors = self._arrays | {
            f"progress.{name}": np.ascontiguousarray(self._progress[name]) for name in _FIELDS
        }
        tensors["progress.best"] = np.nan_to_num(tensors["progress.best"], posinf=_NOT_YET)
        self._stage.write({}, tensors, n_steps=self._n_steps(), is_over=is_over)

    def go_on(self, counts):
        """Set the networks to those of the checkpoint, if it has some."""
        found, progress = self._stage.found, self._progress
        if found is None:
            return
        names = [f"progress.{name}" for name in _FIELDS]
        expected = self._arrays | {
            name: np.ascontiguousarray(progress[name.removeprefix("progress.")]) for name in names
        }
        check_tensors(found.tensors, expected)
        for name in names:
            progress[name.removeprefix("progress.")] = found.tensors[name]
        progress["best"][progress["best"] == _NOT_YET] = np.inf
        _check_progress(progress, expected["progress.most_epochs"], counts)
        for name, array in self._arrays.items():
            array[...] = found.tensors[name]
        self._stage.count_steps_from(self._n_steps())

    def _n_steps(self):
        return int(self._progress["n_steps"].sum())


def _check_progress(progress, most_epochs, counts):
    """Raise ValueError where progress would lead the kernel out of its arrays."""
    integers = [name for name in _FIELDS if PROGRESS[name].kind == "i"]
    is_over = progress["is_over"] != 0
    if not (
        all((progress[name] >= 0).all() for name in integers)
        and (progress["most_epochs"] <= most_epochs).all()  # a budget may become shorter
        and (progress["n_epochs"] <= progress["most_epochs"] - np.where(is_over, 0, 1)).all()
        and (progress["place"] < counts).all()
        and (progress["place"] <= progress["n_rows_seen"]).all()
    ):
        raise ValueError("the progress of networks is none of this training")


def _settle(values, kept, progress):
    """Go back to the last epoch's end where a training has been interrupted in a bad state."""
    for b in np.flatnonzero(progress["place"]):
        if not np.isfinite(values[b]).all():
            values[b] = kept[b]


def curves_of(losses: np.ndarray, progress: np.ndarray) -> list[Any]:
    """Return the loss curve of each network, an array."""
    return [losses[b, :n].copy() for b, n in enumerate(progress["n_epochs"])]
