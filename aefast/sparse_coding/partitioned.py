"""Dictionary learning from rows in partitions: an epoch is one merged sum and one update.

All rows of an epoch are coded with the dictionary before it, so that a partition contributes sums,
and their merger is the whole (batch learning; `DictionaryLearning.fit` to a table learns online).
"""

from typing import Any, NamedTuple

import numpy as np

from aefast._base import arrays as check
from aefast._base import threads
from aefast._base.checkpoints import check_tensors
from aefast._base.epochs import Diverged, EpochTraining
from aefast._base.partitions import Part, Partitions, first_rows, threads_of
from aefast._base.random import WEIGHTS, random_stream
from aefast._base.saving import COUNT, check_entries
from aefast._base.scan import scan_rows
from aefast._base.sparse_rows import dense_rows
from aefast._base.types import Array
from aefast.sparse_coding import coding
from aefast.sparse_coding.learner import (
    DictionaryState,
    Learner,
    Statistics,
    initial_atoms,
    unit_atoms,
    update_atoms,
)

N_SWEEPS = 10  # sweeps over the atoms after each epoch, as of `DictionaryLearning.update`
# Atoms of which the squares of codes add up to less, beside those of the most used atom, are unused
LEAST_USE = 1e-12
_COUNTERS = dict.fromkeys(("n_batches", "n_rows_seen"), COUNT)


class Coding(NamedTuple):
    """What a partition needs to code its rows, besides the dictionary."""

    settings: coding.Settings
    batch_size: int
    dtype: np.dtype[Any]


class CodedSums(NamedTuple):
    """What the codes of a partition contribute."""

    statistics: Statistics
    n_open_gaps: int

    def combined(self, other: "CodedSums") -> "CodedSums":
        """Return the sums over the rows of both."""
        with np.errstate(over="ignore", invalid="ignore"):
            total = self.statistics + other.statistics
        return CodedSums(total, self.n_open_gaps + other.n_open_gaps)


def coding_of(settings: coding.Settings, batch_size: int, partitions: Partitions) -> Coding:
    """Return how the rows of partitions are coded."""
    size = threads_of(settings.n_threads, partitions)
    return Coding(settings._replace(n_threads=size), int(batch_size), partitions.dtype)


def sums_of_partitions(partitions: Partitions, components: Array, how: Coding) -> CodedSums:
    """Return the sums over the codes of all rows with one dictionary."""
    return partitions.reduce(_sums_of_part, CodedSums.combined, components, how)


def initial_atoms_of(
    partitions: Partitions, n_components: int, dict_init: Any, positive: bool, seed: int
) -> Array:
    """Return initial atoms: given ones, or rows drawn from all partitions, scaled to norm 1."""
    n, d = sum(partitions.sizes), partitions.n_features
    options = n_components, dict_init, positive, partitions.dtype, seed
    if dict_init is not None and not isinstance(dict_init, str):
        return initial_atoms(np.empty((0, d)), np.empty(0, np.int64), *options)
    random = random_stream(seed, WEIGHTS)
    chosen = np.sort(random.choice(n, min(n, n_components), replace=False, shuffle=False))
    found = partitions.map(_rows_of_part, first_rows(partitions), chosen)
    rows = np.concatenate([rows for rows in found if len(rows)])
    return initial_atoms(rows, np.arange(len(rows)), *options)


# ---- of one partition ----


def _learner(part: Part, components: Array, how: Coding) -> Learner:
    rows = check.sparse_or_dense_table(part.X, part.name)
    scan_rows(rows, len(rows), components.dtype, how.settings.n_threads, name=part.name)
    k, d = components.shape
    state = DictionaryState(components, np.zeros((k, k)), np.zeros((k, d)), 0, 0, 0)
    size = min(how.batch_size, len(rows))
    options = {"forgetting": 0.0, "positive_dict": False, "replace_unused": False}
    return Learner(state, rows, how.settings, batch_size=size, **options)


def _batches(learner: Learner) -> Any:
    n = len(learner.rows)
    for first in range(0, n, learner.batch_size):
        yield np.arange(first, min(first + learner.batch_size, n))


@threads.with_same_bits
def _sums_of_part(part: Part, components: Array, how: Coding) -> CodedSums:
    learner, objective = _learner(part, components, how), 0.0
    for order in _batches(learner):
        objective += learner.collect(order)
    return CodedSums(
        Statistics(learner.A, learner.B, objective, len(learner.rows)), learner.n_open_gaps
    )


def _rows_of_part(part: Part, first_of: dict[int, int], chosen: Array) -> Array:
    """Return those of the chosen rows, counted over all partitions, that are in this one."""
    places = chosen - first_of[part.number]
    places = places[(places >= 0) & (places < part.n_rows)]
    rows = check.sparse_or_dense_table(part.X, part.name)
    scan_rows(rows, len(rows), check.real_type(part.X.dtype), 1, name=part.name)
    return dense_rows(rows[places]).astype(np.float64)


@threads.with_same_bits
def _worst_of_part(part: Part, components: Array, how: Coding, n: int) -> tuple[Array, Array]:
    """Return the greatest objectives of a partition's rows, falling, and these rows."""
    learner = _learner(part, components, how)
    found = [learner.code(order)["objectives"].copy() for order in _batches(learner)]
    objectives = np.concatenate(found)
    places = np.argsort(-objectives, kind="stable")[:n]
    in_order = np.sort(places)
    return objectives[in_order], dense_rows(learner.rows[in_order]).astype(np.float64)


# ---- training ----


class BatchTraining(EpochTraining):
    """Training of a dictionary on partitions, with one update an epoch.

    Parameters
    ----------
    partitions : Partitions
    state : DictionaryState
    how : Coding
    positive_dict, replace_unused : bool
    """

    def __init__(
        self,
        partitions: Partitions,
        state: DictionaryState,
        how: Coding,
        positive_dict: bool,
        replace_unused: bool,
    ) -> None:
        self.partitions, self.state, self.how = partitions, state, how
        self.positive_dict, self.replace_unused = positive_dict, replace_unused
        self.n_open_gaps = 0
        self.best = state

    @property
    def n_rows(self) -> int:
        return sum(self.partitions.sizes)

    @property
    def n_rows_seen(self) -> int:
        return self.state.n_rows_seen

    def values(self) -> DictionaryState:
        return self.state

    def reread(self) -> None:
        """Do nothing: callbacks see values that each epoch binds anew."""

    def settle(self) -> None:
        """Do nothing: an epoch binds its values at its end, in one assignment."""

    def keep_best(self) -> None:
        self.best = self.state

    def restore_best(self) -> None:
        self.state = self.best

    def place(self) -> tuple[int, float | None]:
        return self.state.n_batches, None

    def epoch(self, on_slice: Any = None) -> float:
        """Code all rows, update the dictionary, and return the mean objective before that."""
        before = self.state
        found = sums_of_partitions(self.partitions, before.components, self.how)
        A, B, objective, n_rows = found.statistics
        components = before.components.copy()
        k, d = components.shape
        is_finite = update_atoms(
            components,
            A,
            B,
            positive=self.positive_dict,
            n_sweeps=N_SWEEPS,
            n_threads=threads.effective_n_threads(None, 2.0 * k * k * d),
        )
        if not (is_finite and np.isfinite(objective)):
            raise Diverged
        self._replace_unused(components, before, A)
        n_batches = before.n_batches + max(1, n_rows // self.how.batch_size)
        n_seen = before.n_rows_seen + n_rows
        self.n_open_gaps = found.n_open_gaps
        self.state = DictionaryState(components, A, B, n_batches, n_seen, before.seed)
        if on_slice is not None:
            on_slice(n_rows, objective / n_rows)
        return objective / n_rows

    def _replace_unused(self, components: Array, before: DictionaryState, A: Array) -> None:
        """Replace atoms that no code has used by the rows with the largest objectives."""
        used = np.diagonal(A)
        unused = np.flatnonzero(used <= LEAST_USE * used.max(initial=0.0))
        if not self.replace_unused or not len(unused):
            return
        arguments = before.components, self.how, len(unused)
        found = self.partitions.map(_worst_of_part, *arguments)
        objectives, rows = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
        worst = np.argsort(-objectives, kind="stable")[: len(unused)]
        random = random_stream(before.seed, WEIGHTS, 1 + before.n_rows_seen)
        atoms = unit_atoms(rows[worst], random, self.positive_dict, components.dtype)
        components[unused[: len(worst)]] = atoms

    # ---- checkpoints ----

    def saved(self, *, in_epoch: bool) -> tuple[dict[str, Any], dict[str, Array]] | None:
        counters = {name: int(getattr(self.state, name)) for name in _COUNTERS}
        return counters, _arrays(self.state)

    def go_on_from(self, state: dict[str, Any], tensors: dict[str, Array]) -> None:
        check_entries("training", state, _COUNTERS)
        check_tensors(tensors, _arrays(self.state))
        arrays: dict[str, Any] = {name: array.copy() for name, array in tensors.items()}
        self.state = self.state._replace(**arrays, **state)


def _arrays(state: DictionaryState) -> dict[str, Array]:
    return {name: getattr(state, name) for name in ("components", "A", "B")}
