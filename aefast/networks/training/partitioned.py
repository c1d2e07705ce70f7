"""Fits of an autoencoder to rows in partitions: what it is fitted with, and from which start.

Rows are checked and their columns summed where they are. Initial values follow from a sample: rows
that are evenly spread over all partitions, MOST_ENTRIES entries at most, with the means of all
rows. Where the sample has all rows, the start is that of a fit in memory.
"""

from __future__ import annotations

import hashlib
import json
import operator
from functools import partial
from typing import Any

import numpy as np
from sklearn.base import clone

from aefast._base.checkpoints import Checkpoint, PartOfCheckpoint
from aefast._base.errors import shown
from aefast._base.partitions import Partitions, merged, threads_of
from aefast._base.stopping import EarlyStopping
from aefast._base.types import Array
from aefast.networks.training import lbfgs
from aefast.networks.training import round_tasks as tasks
from aefast.networks.training.automatic import (
    AUTO,
    FEWEST_PASSES,
    FEWEST_STEPS,
    batch_size_of,
    settings_of,
)
from aefast.networks.training.gaps import prepared_for_gaps, prepares_for_gaps
from aefast.networks.training.hyperparameters import hyperparameters_of
from aefast.networks.training.minibatches import Trainer
from aefast.networks.training.parts import MOST_ENTRIES, spread_rows
from aefast.networks.training.report import report_fit
from aefast.networks.training.round_costs import Costs, costs_of
from aefast.networks.training.round_tasks import LocalStart, Problem, Weights
from aefast.networks.training.rounds import FullBatchRounds, GradientRounds, Holding, LocalRounds
from aefast.networks.training.sampling import check_rows
from aefast.networks.training.schedules import place_in_schedule
from aefast.networks.training.shares import Division, PartitionRows, division_of, held_out_sizes
from aefast.networks.variants import needs_extremes

ROUNDS, AVERAGING = "rounds", "averaging"
METHODS = (AUTO, lbfgs.NAME, ROUNDS, AVERAGING)
LOCAL_STEPS = 16  # steps of a partition between two averages
LARGEST_ROUND = 4096  # rows of a batch that is left to the fit


def fit_partitions(
    estimator: Any, partitions: Partitions, method: str = AUTO, local_steps: int | None = None
) -> Any:
    """Fit an estimator to the rows of partitions; return it.

    Parameters
    ----------
    estimator : Autoencoder or StackedAutoencoder
        The layers of a stack are pre-trained on the sample; all rows fine-tune it.
    partitions : Partitions
    method : {"auto", "lbfgs", "rounds", "averaging"}
        The training, of `rounds.py`. "auto": "lbfgs" where the estimator's solver is that, else
        "rounds".
    local_steps : int or None
        Steps between two averages; None: LOCAL_STEPS.
    """
    estimator._check_parameters()
    method = _checked_method(estimator, method, local_steps)
    local_steps = LOCAL_STEPS if local_steps is None else int(local_steps)
    asked = {"method": method} | ({"local_steps": local_steps} if method == AVERAGING else {})
    checkpoint = Checkpoint.of(estimator, asked)
    goes_on = estimator.warm_start and estimator.__sklearn_is_fitted__()
    draw = estimator._draw_seed
    seed = estimator._state.seed if goes_on else checkpoint.seed(draw) if checkpoint else draw()
    fit = _Fit(estimator, partitions, seed)
    if checkpoint is not None:
        start = estimator._description_of_start() if goes_on else None
        checkpoint.identify(seed, {"X": fit}, partitions.columns, start)
    state, variant, means = fit.start(goes_on)
    if checkpoint is not None:
        shift = np.empty(0) if state.scaling is None else state.scaling.shift
        checkpoint.confirm(column_means=np.concatenate([means, shift]))
    sample, rows = fit.sample
    given = estimator, sample, rows, fit.weight, state, variant
    state, variant = _prepared(*given, means=means, goes_on=goes_on, checkpoint=checkpoint)
    settings, training, of_method = fit.training(state, variant, method, local_steps)
    if prepares_for_gaps(estimator) and variant.corruption:
        settings.chosen["corruption"] = variant.corruption, variant.corruption_level
    settings.chosen.update(of_method)
    if not hasattr(estimator, "_pretrain"):
        estimator._begin(sample, state, keep_features=goes_on)
    estimator.fit_report_ = dict(settings.chosen)
    patience = estimator._patience(settings, training)
    validation = None
    if estimator.early_stopping:
        held_out = partial(training.mean_loss, None, None, None)
        validation = EarlyStopping(training, held_out)
    estimator._run(training, settings.max_epochs, validation, patience, checkpoint)
    report_fit(estimator, settings, training, patience, rows, len(rows), fit.weight, means)
    return estimator


def _prepared(
    estimator: Any,
    sample: Any,
    rows: Array,
    weight: Array | None,
    state: Any,
    variant: Any,
    *,
    means: Array,
    goes_on: bool,
    checkpoint: Checkpoint | PartOfCheckpoint | None,
) -> Any:
    """Return state and variant of the training, after what precedes it on the sample."""
    if hasattr(estimator, "_pretrain"):  # layer by layer
        estimator._begin(sample, state, keep_features=goes_on)
        estimator.fit_report_ = {}
        if not goes_on:
            estimator._pretrain(sample, rows, weight, len(rows), checkpoint)
        return estimator._state, variant
    seen, variant = prepared_for_gaps(estimator, rows, len(rows), weight, state, variant, goes_on)
    if seen is not rows:
        state = estimator._initialised(state, seen, len(rows), weight, means)
    return state, variant


def measured_costs(estimator: Any, partitions: Partitions) -> Costs:
    """Measure what training an estimator by rounds costs on an engine; it is not fitted."""
    estimator = clone(estimator).set_params(callbacks=None, checkpoint=None, warm_start=False)
    estimator._check_parameters()
    _checked_method(estimator, AVERAGING, 1)
    fit = _Fit(estimator, partitions, estimator._draw_seed())
    state, variant, _ = fit.start(False)
    _, training, _ = fit.training(state, variant, AVERAGING, 1)
    return costs_of(partitions, training.problem, training.start, training.trainer)


def _checked_method(estimator: Any, method: str, local_steps: Any) -> str:
    """Return the training that is meant; raise ValueError where it cannot train the estimator."""
    if method not in METHODS:
        raise ValueError(f"method must be one of {METHODS}, got {shown(method)}")
    if local_steps is not None:
        if isinstance(local_steps, bool) or not isinstance(local_steps, (int, np.integer)):
            raise TypeError(f"local_steps must be an integer or None, got {shown(local_steps)}")
        if local_steps < 1:
            raise ValueError(f"local_steps must be at least 1, got {local_steps}")
        if method != AVERAGING:
            raise ValueError(
                f"local_steps={local_steps} needs method='averaging', got method={method!r}"
            )
    is_lbfgs = estimator.solver == lbfgs.NAME
    if method == AUTO:
        method = lbfgs.NAME if is_lbfgs else ROUNDS
    if (method == lbfgs.NAME) != is_lbfgs:
        needed = "solver='lbfgs'" if method == lbfgs.NAME else "a solver that works in batches"
        raise ValueError(f"method={method!r} needs {needed}, got solver={estimator.solver!r}")
    if method != AVERAGING and estimator.precision != AUTO:
        raise ValueError(
            f"method={method!r} needs precision='auto', because it adds gradients of partitions: "
            f"got precision={estimator.precision!r} (method='averaging' has it)"
        )
    return method


def batch_size_of_rounds(n_rows: int) -> int:
    """Return the batch size of rounds over n_rows rows.

    Rounds cost a message each, so that batches are as large as leaves a fit its FEWEST_STEPS
    steps in FEWEST_PASSES passes, up to LARGEST_ROUND rows.
    """
    size, most = batch_size_of(n_rows), min(LARGEST_ROUND, n_rows * FEWEST_PASSES // FEWEST_STEPS)
    while size * 2 <= most:
        size *= 2
    return size


def _weights_of(facts: list[Any], n_rows: int) -> Weights | None:
    """Return what scales weights to the mean 1, or None; raise ValueError where all are 0."""
    if any(of.weight is None for of in facts):
        return None
    total = merged((of.weight for of in facts), operator.add)
    if not 0 < total < np.inf:
        raise ValueError(f"sample_weight must be finite and not all zero, got the sum {total}")
    return Weights(total, n_rows)


class _Fit:
    """Facts, sample and sums of the partitions of a fit; a table, as far as checkpoints see it."""

    def __init__(self, estimator: Any, partitions: Partitions, seed: int) -> None:
        self.estimator, self.partitions, self.seed = estimator, partitions, seed
        facts = partitions.map(tasks.facts_of)
        for of in facts:
            if of.is_sparse:
                raise TypeError(
                    f"partition {of.number}: {type(estimator).__name__} is not trained on "
                    "partitions of sparse rows: expected dense ones"
                )
        sizes = tuple(partitions.sizes)
        held_out = (0,) * len(sizes)
        if estimator.early_stopping:
            held_out = held_out_sizes(sizes, estimator.validation_fraction)
        shuffles = bool(estimator.shuffle)
        of_parts = [
            PartitionRows(place, *of, seed, shuffles)
            for place, of in enumerate(zip(sizes, held_out, strict=True))
        ]
        self.holding = Holding(partitions, tuple(partitions.numbers), tuple(of_parts))
        self.n_threads = threads_of(estimator.n_threads, partitions)
        self.weights = _weights_of(facts, sum(sizes))
        self.table_type = np.result_type(*(of.dtype for of in facts))
        self.sample, self.weight = self._sample()

    @property
    def n_rows(self) -> int:
        return sum(self.holding.sizes)

    def fingerprint(self) -> dict[str, Any]:
        """Return shape, type and hash of all partitions, for checkpoints."""
        parts = self.partitions.map(tasks.fingerprint_of)
        digest = hashlib.blake2b(json.dumps(parts).encode(), digest_size=16)
        shape = [sum(self.partitions.sizes), self.partitions.n_features]
        return {
            "shape": shape,
            "dtype": str(self.table_type),
            "partitions": list(self.partitions.sizes),
            "contents": digest.hexdigest(),
        }

    def _sample(self) -> tuple[tuple[Any, Array], Array | None]:
        """Return rows that are evenly spread over those for training, and their weights.

        The rows are a table, with names of columns, and an array.
        """
        n, columns = self.n_rows, self.partitions.columns
        chosen = spread_rows(n, max(2, MOST_ENTRIES // self.partitions.n_features))
        ends = np.cumsum(self.holding.sizes)
        cuts = np.searchsorted(chosen, ends)
        begins, firsts = np.concatenate([[0], cuts[:-1]]), ends - self.holding.sizes
        places = {
            number: chosen[begin:end] - first
            for number, begin, end, first in zip(
                self.holding.numbers, begins, cuts, firsts, strict=True
            )
        }
        asked = [place for place, number in enumerate(self.holding.numbers) if len(places[number])]
        given = self.holding.by_number, places, self.weights
        parts = self.partitions.map(tasks.rows_of, *given, places=asked)
        rows = np.concatenate([of for of, _ in parts])
        weight = None if self.weights is None else np.concatenate([of for _, of in parts])
        if columns is None:
            return (rows, rows), weight
        import pandas as pd

        return (pd.DataFrame(rows, columns=list(columns), copy=False), rows), weight

    def start(self, goes_on: bool) -> Any:
        """Check all rows; return the state and variant of the start, and the column means."""
        estimator, (sample, rows) = self.estimator, self.sample
        rows = estimator._table(sample, reset=not goes_on)
        self.sample = sample, rows
        output, dtype = estimator._output_and_type(sample, rows, goes_on)
        options = {
            "missing": estimator.missing == "mask",
            "with_extremes": needs_extremes(estimator),
            "n_threads": self.n_threads,
        }
        checks = self.holding.by_number, output, dtype, self.weights, options
        found = self.partitions.reduce(tasks.checked_rows, tasks.combined, *checks)
        if not found.sums.total or (estimator.early_stopping and not found.held_out_weight):
            rows_without = "held out" if found.sums.total else "for training"
            raise ValueError(f"no row {rows_without} has a positive sample_weight")
        # the sums of a sample that has all rows are those of a fit in memory, in its order
        scan = None if len(rows) == self.n_rows else found.sums.scan()
        given = sample, rows, self.weight, len(rows), None, self.seed, goes_on
        state, variant, means = estimator._start(*given, scan=scan, n_missing=found.n_missing)
        variant = check_rows(rows, state.model, variant)
        if variant.rows_unused is not None:
            variant = variant._replace(dead_rows=self.n_rows)
        return state, variant, means

    def training(self, state: Any, variant: Any, method: str, local_steps: int) -> Any:
        """Return the settings, the training, and what the report says of it."""
        estimator, holding = self.estimator, self.holding
        if variant.couples_rows and method != AVERAGING:
            raise ValueError(
                f"sparsity={estimator.sparsity!r} is a penalty of the mean codes of a batch, which "
                f"no partition has alone: method={method!r} cannot train with it "
                "(method='averaging' has the means of each partition's batches)"
            )
        of_tasks = variant._replace(rows_unused=None)
        problem = Problem(state.model, of_tasks, self.n_threads, self.weights)
        uses_rates = estimator.learning_rate == AUTO and state.rates is not None
        # partitions make their own steps side by side: the largest one has a whole pass of them
        n_rows = max(holding.sizes) if method == AVERAGING else self.n_rows
        suitable = batch_size_of_rounds if method == ROUNDS else batch_size_of
        settings = settings_of(
            estimator, state, n_rows, has_rates=uses_rates, suitable_batch=suitable
        )
        report: dict[str, Any] = {"method": method, "n_partitions": len(holding.rows)}
        rates = state.rates if uses_rates else None
        given: Any = settings, problem, state, variant, rates
        if method == lbfgs.NAME:
            problem = problem._replace(variant=problem.variant._replace(revive=0.0))
            return settings, FullBatchRounds(estimator, holding, problem, state), report
        if method == ROUNDS:
            rounds = self._gradient_rounds(*given)
            return settings, rounds, report | rounds.shape()
        report["local_steps"] = local_steps
        return settings, self._local_rounds(*given, steps=local_steps), report

    def _gradient_rounds(
        self, settings: Any, problem: Problem, state: Any, variant: Any, rates: Any
    ) -> GradientRounds:
        division = division_of(self.holding.sizes, int(settings.batch_size))
        trainer = self._trainer(settings, state, variant, rates, division, division.n_rounds)
        seed = self.seed if self.estimator.shuffle else None
        given = trainer, self.holding, problem, division
        return GradientRounds(*given, seed, state.n_rows_seen)

    def _local_rounds(
        self,
        settings: Any,
        problem: Problem,
        state: Any,
        variant: Any,
        rates: Any,
        *,
        steps: int,
    ) -> LocalRounds:
        sizes, batch_size = self.holding.sizes, int(settings.batch_size)
        division, n_steps = Division(sizes, batch_size, len(sizes)), -(-max(sizes) // batch_size)
        trainer = self._trainer(settings, state, variant, rates, division, n_steps)
        start = LocalStart(
            flat=state.parameters,
            state=state.optimizer_state,
            n_steps=state.n_steps,
            schedule=trainer.schedule,
            hyperparameters=hyperparameters_of(settings),
            batch_size=batch_size,
            rates=rates,
            bfloat16=self.estimator.precision == "bfloat16",
            unused=None,
        )
        seed = self.seed if self.estimator.shuffle else None
        given = trainer, self.holding, problem, division
        return LocalRounds(*given, seed, state.n_rows_seen, steps=steps, start=start)

    def _trainer(
        self, settings: Any, state: Any, variant: Any, rates: Any, division: Division, n_steps: int
    ) -> Trainer:
        """Return what holds parameters, state and counters, for n_steps steps in a pass."""
        place = place_in_schedule(settings.max_epochs, 0, n_steps)
        return Trainer(
            state.model,
            np.zeros((1, state.model.n_features), state.parameters.dtype),
            state.parameters,
            state.optimizer_state,
            hyperparameters_of(settings),
            batch_size=division.batch_size,
            n_threads=1,
            n_steps=state.n_steps,
            variant=variant,
            n_rows_seen=state.n_rows_seen,
            schedule_step=place[0],
            schedule_steps=place[1],
            rate_factors=rates,
        )
