"""Tasks of training on partitions: functions of a partition's rows and of what travels to them.

A task keeps nothing: what it returns follows from its arguments, so that it can be run again,
elsewhere, after the machine that ran it was lost. Sums of parts are combined by `+`, in whatever
fixed order the executor has, and add up in double precision.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from aefast._base import _runtime, threads
from aefast._base.fingerprints import fingerprint
from aefast._base.partitions import Part
from aefast._base.passes import copied_rows
from aefast._base.scan import ColumnSums
from aefast._base.types import Array
from aefast.networks import _autoencoder
from aefast.networks._autoencoder import NOT_FINITE, Trainer
from aefast.networks.network import Network
from aefast.networks.one_pass import loss_sums
from aefast.networks.scan import sums_of_table
from aefast.networks.training.hyperparameters import Hyperparameters
from aefast.networks.training.lbfgs import CHUNK_ROWS
from aefast.networks.training.minibatches import overflowing_column
from aefast.networks.training.shares import PartitionRows, Share
from aefast.networks.variants import Variant, without_noise


class Weights(NamedTuple):
    """What scales the weights of all rows to the mean 1."""

    total: float
    n_rows: int

    def of(self, part: Part) -> Array:
        """Return the weights of a partition's rows."""
        assert part.sample_weight is not None
        return part.sample_weight / self.total * self.n_rows


class Problem(NamedTuple):
    """What all tasks of a training need."""

    model: Network
    variant: Variant  # without rows_unused
    n_threads: int | None
    weights: Weights | None = None  # None: rows have equal weights

    def weights_of(self, part: Part) -> Array | None:
        return None if self.weights is None else self.weights.of(part)

    def team(self, n_rows: int) -> int:
        """Return the number of threads for steps over batches of n_rows rows."""
        return threads.effective_n_threads(self.n_threads, 10.0 * n_rows * self.model.n_multiplied)


class Place(NamedTuple):
    """A share, and its rows' part in a round."""

    share: Share
    rows: PartitionRows
    weight: float  # number of its rows, as a fraction of the round's


class Bad(NamedTuple):
    """Where a loss is not finite; column None: it is no single column's."""

    partition: int
    column: int | None


class ShareSums(NamedTuple):
    """Sums over shares of weight times mean loss, and of weight times its gradient."""

    loss: float
    gradient: Array  # of the real type before two shares have been added, float64 afterwards
    weight: float  # which `gradient` has to be multiplied by
    kept: Array | None  # (k,), whether a row has kept each unit, where dead units are revived
    bad: Bad | None

    def __add__(self, other: Any) -> ShareSums:
        return ShareSums(
            self.loss + other.loss,
            self.whole() + other.whole(),
            1.0,
            None if self.kept is None else self.kept | other.kept,
            self.bad or other.bad,
        )

    def whole(self) -> Array:
        """Return the weighted gradient in double precision."""
        return np.multiply(self.gradient, self.weight, dtype=np.float64)


class LocalValues(NamedTuple):
    """Weighted sums of what partitions have after some steps of their own."""

    loss_sum: float  # losses times numbers of rows
    flat: Array
    state: Array
    weight: float  # which `flat` and `state` have to be multiplied by
    n_steps: int  # the most that one partition has made
    rate: float  # of the last of these
    unused: Array | None  # (k,), rows since each unit was kept
    bad: Bad | None

    def __add__(self, other: Any) -> LocalValues:
        last = max(self, other, key=lambda of: of.n_steps)
        one, another = self.whole(), other.whole()
        return LocalValues(
            self.loss_sum + other.loss_sum,
            one[0] + another[0],
            one[1] + another[1],
            1.0,
            last.n_steps,
            last.rate,
            None if self.unused is None else np.minimum(self.unused, other.unused),
            self.bad or other.bad,
        )

    def whole(self) -> tuple[Array, Array]:
        """Return weighted parameters and state in double precision."""
        flat, state = (
            np.multiply(of, self.weight, dtype=np.float64) for of in (self.flat, self.state)
        )
        return flat, state


class LocalStart(NamedTuple):
    """Values from which the partitions make steps of their own, and how they make them."""

    flat: Array
    state: Array
    n_steps: int
    schedule: tuple[int, int]
    hyperparameters: Hyperparameters
    batch_size: int
    rates: Array | None
    bfloat16: bool
    unused: Array | None


def combined(one: Any, another: Any) -> Any:
    """Return the sum of two results of tasks."""
    return one + another


# ---- facts about partitions ----


class Facts(NamedTuple):
    """What the machine that leads a training knows of a partition."""

    number: int
    dtype: Any
    is_sparse: bool
    weight: float | None  # sum of its rows' weights, where they have some


def facts_of(part: Part) -> Facts:
    is_sparse = not isinstance(part.X, np.ndarray)
    weight = None if part.sample_weight is None else float(part.sample_weight.sum())
    return Facts(part.number, part.X.dtype, is_sparse, weight)


def fingerprint_of(part: Part) -> list[dict[str, Any]]:
    tables = [part.X] if part.sample_weight is None else [part.X, part.sample_weight]
    return [fingerprint(table) for table in tables]


def rows_of(
    part: Part, rows: dict[int, PartitionRows], places: dict[int, Array], weights: Weights | None
) -> tuple[Array, Array | None]:
    """Return copies of some rows for training, by their places among these, and their weights."""
    numbers = rows[part.number].training()[places[part.number]]
    weight = None if weights is None else weights.of(part)[numbers]
    return copied_rows(part.X, numbers), weight


class Checked(NamedTuple):
    """Sums of the columns of rows for training; gaps and weight of held-out rows."""

    sums: ColumnSums
    n_missing: int  # number of columns in which held-out rows have gaps
    held_out_weight: float

    def __add__(self, other: Any) -> Checked:
        return Checked(*(one + another for one, another in zip(self, other, strict=True)))


def checked_rows(
    part: Part,
    rows: dict[int, PartitionRows],
    output: Any,
    dtype: Any,
    weights: Weights | None,
    options: dict[str, Any],
) -> Checked:
    """Check all rows, and return sums of their columns.

    Raises ValueError for the first entry that fails, with its row and column.
    """
    of_part, n_missing, held_out_weight = rows[part.number], 0, 0.0
    weight = None if weights is None else weights.of(part)
    given = {"name": part.name, "sample_weight": weight} | options
    if of_part.n_held_out:
        held_out = sums_of_table(part.X, of_part.held_out(), output, dtype, **given)
        n_missing, held_out_weight = held_out.scan().n_missing, held_out.total
    sums = sums_of_table(part.X, of_part.training(), output, dtype, **given)
    return Checked(sums, n_missing, held_out_weight)


def held_out_loss(
    part: Part, rows: dict[int, PartitionRows], problem: Problem, flat: Array
) -> Array:
    """Return the weighted sum of the losses of held-out rows, without noise, and their weight."""
    model, variant = problem.model, without_noise(problem.variant)
    numbers = rows[part.number].held_out()
    sums = loss_sums(model, model.split(flat), part.X, numbers, problem.n_threads, variant=variant)
    return np.array(sums, np.float64)


# ---- rounds ----


def loss_and_gradient(
    part: Part, places: dict[int, Place], problem: Problem, flat: Array
) -> ShareSums:
    """Return mean loss and gradient of all rows of a partition for training."""
    share, rows, weight = places[part.number]
    order = None if not rows.n_held_out else rows.training()
    X, of_rows = part.X, problem.weights_of(part)
    if order is not None:
        X, of_rows = copied_rows(X, order), None if of_rows is None else of_rows[order]
    size = min(len(X), CHUNK_ROWS)
    return _share_sums(X, of_rows, share, weight, size, problem, flat, None)


def gradients_of_shares(
    part: Part,
    places: dict[int, list[Place]],
    problem: Problem,
    flat: Array,
    unused: Array | None,
) -> ShareSums:
    """Return the sums over the shares of a partition in a round."""
    total, of_rows = None, problem.weights_of(part)
    for share, rows, weight in places[part.number]:
        order = rows.order(share.pass_began, share.first, share.last)
        X, of_share = copied_rows(part.X, order), None if of_rows is None else of_rows[order]
        sums = _share_sums(X, of_share, share, weight, len(X), problem, flat, unused)
        total = sums if total is None else total + sums
    return total  # type: ignore[return-value]  # a partition without a share is not asked


def _share_sums(
    X: Array,
    sample_weight: Array | None,
    share: Share,
    weight: float,
    batch_size: int,
    problem: Problem,
    flat: Array,
    unused: Array | None,
) -> ShareSums:
    """Return weight, mean loss and gradient of some rows, which are one share."""
    model, before = problem.model, None if unused is None else unused.copy()
    variant = problem.variant._replace(first_sample=share.first_sample, rows_unused=before)
    with threads.single_threaded_blas(_runtime.products() == "blas"):
        loss, gradient, status = _autoencoder.loss_and_gradients(
            model,
            X,
            model.split(flat),
            None if sample_weight is None else sample_weight / len(X),
            None,
            batch_size,
            problem.team(batch_size),
            variant,
        )
    bad = None
    if status & NOT_FINITE or not (np.isfinite(loss) and np.isfinite(gradient).all()):
        numbers = np.arange(len(X))
        bad = Bad(share.partition, overflowing_column(model, flat, X, numbers, variant))
    if batch_size == len(X):  # one batch: a sum in the real type, which this does not round
        gradient = gradient.astype(flat.dtype)
    return ShareSums(weight * loss, gradient, weight, None if before is None else before == 0, bad)


def local_steps(
    part: Part, places: dict[int, Place], problem: Problem, start: LocalStart
) -> LocalValues:
    """Train on a share in mini-batches of the partition, from the values of the round's start."""
    share, rows, weight = places[part.number]
    flat, state = start.flat.copy(), start.state.copy()
    unused = None if start.unused is None else start.unused.copy()
    batch_size = min(start.batch_size, rows.n_training)
    trainer = Trainer(
        problem.model,
        part.X,
        flat,
        state,
        start.hyperparameters,
        batch_size=batch_size,
        n_threads=problem.team(batch_size),
        n_steps=start.n_steps,
        variant=problem.variant._replace(rows_unused=unused),
        n_rows_seen=share.first_sample,
        sample_weight=problem.weights_of(part),
        bfloat16=start.bfloat16,
        schedule_step=start.schedule[0],
        schedule_steps=start.schedule[1],
        rate_factors=start.rates,
    )
    order = rows.order(share.pass_began, share.first, share.last)
    with threads.single_threaded_blas(_runtime.products() == "blas"):
        loss_sum, status = trainer.run(order, 0.0)
    flat, state, n_steps = trainer.values()
    bad = None
    if status & NOT_FINITE or not (np.isfinite(flat).all() and np.isfinite(state).all()):
        batch = order[trainer.n_rows_done : trainer.n_rows_done + batch_size]
        column = None
        if len(batch):
            moving = trainer.moving_parameters()
            column = overflowing_column(problem.model, moving, part.X, batch, problem.variant)
        bad = Bad(share.partition, column)
    return LocalValues(loss_sum, flat, state, weight, n_steps, trainer.rate, unused, bad)
