"""Trainings on rows in partitions, by rounds of an engine (`aefast._base.partitions`).

Three ways, each a `Training` like those in memory:

`GradientRounds`
    Synchronous mini-batches. The batch of a round consists of shares of some partitions
    (`shares.py`). Each task computes the gradient of its shares at the same parameters; the sums
    are added in a fixed order, and the step of the batch's gradient is made here.
`LocalRounds`
    Local steps with averaging (local SGD; Stich 2019, Local SGD converges fast and communicates
    little, ICLR). Each partition makes H steps of its own from the round's parameters and optimizer
    state; both are then averaged, weighted by rows. An approximation: with H = 1 and plain descent
    it is the step of the mean of the partitions' gradients, with more steps the partitions drift
    apart between two averages.
`FullBatchRounds`
    L-BFGS, whose loss and gradient are sums over all partitions: exact but for the rounding of
    these sums.

Results do not depend on which machine computes what, or when: batches, noise and the order of sums
follow from the partitioning, the batch size and the seed. On one partition all three have the bits
of training in memory.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from aefast._base.epochs import Diverged
from aefast._base.partitions import Partitions
from aefast._base.team_size import TeamSize
from aefast.networks._autoencoder import NOT_FINITE
from aefast.networks.training import round_tasks as tasks
from aefast.networks.training.lbfgs import FullBatch
from aefast.networks.training.minibatches import MiniBatches
from aefast.networks.training.round_tasks import LocalStart, Place, Problem
from aefast.networks.training.shares import (
    Division,
    PartitionRows,
    Share,
    local_rounds,
    rounds_of_pass,
)


class Holding(NamedTuple):
    """The partitions of a training, and which of their rows it uses."""

    partitions: Partitions
    numbers: tuple[int, ...]  # of the partitions that have rows
    rows: tuple[PartitionRows, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of rows for training."""
        return tuple(of.n_training for of in self.rows)

    @property
    def by_number(self) -> dict[int, PartitionRows]:
        return dict(zip(self.numbers, self.rows, strict=True))

    def held_out_loss(self, problem: Problem, flat: Any) -> float:
        """Return the mean loss of all held-out rows."""
        places = [place for place, of in enumerate(self.rows) if of.n_held_out]
        given = self.by_number, problem, flat
        total, weight = self.partitions.reduce(
            tasks.held_out_loss, tasks.combined, *given, places=places
        )
        return float(total / weight)


class Round:
    """Shares of one round; its length is the number of its rows."""

    def __init__(self, shares: list[Share]) -> None:
        self.shares, self.n_rows = shares, sum(share.n_rows for share in shares)

    def __len__(self) -> int:
        return self.n_rows


class _Rounds(MiniBatches):
    """What both trainings by rounds have in common.

    Parameters
    ----------
    trainer : _autoencoder.Trainer
        Parameters, state and counters; it has no rows.
    holding : Holding
    problem : Problem
    division : Division
        Of a pass, for its numbers of rows.
    seed : int or None
    n_rows_seen : int
    """

    def __init__(
        self,
        trainer: Any,
        holding: Holding,
        problem: Problem,
        division: Division,
        seed: int | None,
        n_rows_seen: int,
    ) -> None:
        team = TeamSize(1, is_fixed=True)
        super().__init__(trainer, problem.model, None, division, None, n_rows_seen, team)
        self.holding, self.problem, self.seed = holding, problem, seed
        self.bad: Any = None  # where the loss of the last round is not finite

    def mean_loss(self, rows: Any, n_threads: Any, sample_weight: Any) -> float:
        """Return the mean loss of the held-out rows, without noise or penalties."""
        return self.holding.held_out_loss(self.problem, self.trainer.values()[0])

    def _column_to_blame(self, rows: Any, n_done: int) -> int | None:
        return self.bad.column

    def _slices(self, n_done: int) -> Any:
        for shares in self._rounds(self.n_rows_seen - n_done):
            one = Round(shares)
            if n_done >= len(one):
                n_done -= len(one)
            else:
                yield one

    def _rounds(self, pass_began: int) -> Any:
        """Return an iterator over the shares of each round of a pass."""
        raise NotImplementedError

    def _place(self, share: Share, n_rows: int) -> Place:
        return Place(share, self.holding.rows[share.partition], share.n_rows / n_rows)

    def _unused(self) -> Any:
        return self.trainer.variant.rows_unused


class GradientRounds(_Rounds):
    """Synchronous mini-batches: one step a round, with the gradient of all of its shares."""

    def shape(self) -> dict[str, int]:
        """Return how a batch is divided, for reports."""
        return {"n_shares": self.order.n_shares, "share_rows": self.order.share_rows}

    def _rounds(self, pass_began: int) -> Any:
        return rounds_of_pass(self.order, self.seed, pass_began)

    def _slice(self, one: Round, loss_sum: float) -> tuple[float, int]:
        places: dict[int, list[Place]] = {}
        asked: list[int] = []
        for share in one.shares:
            if share.partition not in asked:
                asked.append(share.partition)
            number = self.holding.numbers[share.partition]
            places.setdefault(number, []).append(self._place(share, len(one)))
        unused = self._unused()
        flat = self.trainer.moving_parameters()
        sums = self.holding.partitions.reduce(
            tasks.gradients_of_shares,
            tasks.combined,
            places,
            self.problem,
            flat,
            unused,
            places=asked,
        )
        self.bad, gradient = sums.bad, sums.whole()
        if sums.bad is not None or not np.isfinite(gradient).all():
            self.bad = sums.bad or tasks.Bad(asked[0], None)
            return loss_sum, NOT_FINITE
        if unused is not None:
            unused = np.where(sums.kept, 0, unused + len(one))
        return self.trainer.step(gradient, sums.loss, len(one), loss_sum, unused)


class LocalRounds(_Rounds):
    """Local steps of each partition, whose results are averaged after each round.

    Parameters
    ----------
    trainer, holding, problem, division, seed, n_rows_seen
        Those of the other rounds.
    steps : int
        Steps of a partition in a round, H.
    start : LocalStart
        How partitions make steps; its values are those of the first round.
    """

    def __init__(
        self,
        trainer: Any,
        holding: Holding,
        problem: Problem,
        division: Division,
        seed: int | None,
        n_rows_seen: int,
        *,
        steps: int,
        start: LocalStart,
    ) -> None:
        super().__init__(trainer, holding, problem, division, seed, n_rows_seen)
        self.steps, self.start = steps, start

    def _rounds(self, pass_began: int) -> Any:
        rows = self.steps * self.start.batch_size
        return local_rounds(self.holding.sizes, rows, pass_began)

    def _slice(self, one: Round, loss_sum: float) -> tuple[float, int]:
        numbers, trainer = self.holding.numbers, self.trainer
        places = {numbers[share.partition]: self._place(share, len(one)) for share in one.shares}
        flat, state, n_steps = trainer.values()
        rate = self.start.hyperparameters._replace(learning_rate=trainer.learning_rate)
        start = self.start._replace(
            flat=flat,
            state=state,
            n_steps=n_steps,
            schedule=trainer.schedule,
            hyperparameters=rate,
            unused=self._unused(),
        )
        given = places, self.problem, start
        asked = [share.partition for share in one.shares]
        sums = self.holding.partitions.reduce(
            tasks.local_steps, tasks.combined, *given, places=asked
        )
        self.bad = sums.bad
        if sums.bad is not None:
            return loss_sum, NOT_FINITE
        new_flat, new_state = (of.astype(flat.dtype) for of in sums.whole())
        done = sums.n_steps - n_steps
        place = trainer.schedule[0] + done, trainer.schedule[1]
        total = loss_sum + sums.loss_sum
        trainer.advance(
            new_flat, new_state, sums.n_steps, len(one), total, sums.rate, place, sums.unused
        )
        return total, 0


class FullBatchRounds(FullBatch):
    """L-BFGS on the loss of all rows of all partitions."""

    def __init__(self, estimator: Any, holding: Holding, problem: Problem, state: Any) -> None:
        self.holding, self.problem = holding, problem
        self._n_rows = sum(holding.sizes)
        self._begin(estimator, state)
        self.places, first = {}, 0
        for place, of in enumerate(holding.rows):
            share = Share(place, 0, of.n_training, 0, first)
            weight = of.n_training / self._n_rows
            self.places[holding.numbers[place]] = Place(share, of, weight)
            first += of.n_training

    @property
    def n_rows(self) -> int:
        return self._n_rows

    def _of_rows(self) -> tuple[float, Any]:
        given = self.places, self.problem, self.flat
        sums = self.holding.partitions.reduce(tasks.loss_and_gradient, tasks.combined, *given)
        if sums.bad is not None:
            raise Diverged(sums.bad.column)
        return sums.loss, sums.whole()
