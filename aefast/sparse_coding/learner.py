"""Online dictionary learning: batches, forgetting, replacement of unused atoms.

The arithmetic on rows is in `_sparse_coding`.
"""

import math
from typing import NamedTuple

import numpy as np

from aefast._base import arrays as check
from aefast._base import threads
from aefast._base.epochs import Diverged
from aefast._base.passes import copied_rows
from aefast._base.random import MOST_PERMUTED, WEIGHTS, random_stream
from aefast._base.sparse_rows import dense_rows
from aefast._base.stream_parts import AllBut
from aefast._base.team_size import TeamSize
from aefast.sparse_coding import _sparse_coding, coding

ROWS_PER_ATOM_WATCHED = 10  # after this many rows per atom, unused atoms are replaced
UPDATE_SWEEPS = 1  # sweeps over the atoms after each batch
# Largest magnitude of the binary exponent of sums that are not rescaled for an update: products
# with them stay within the range of float32.
USUAL_EXPONENT = 60


class DictionaryState(NamedTuple):
    """Complete state from which learning continues."""

    components: np.ndarray  # D (k, d)
    A: np.ndarray  # (k, k) float64: sum of hᵀh, with lower weights for older batches
    B: np.ndarray  # (k, d) float64: sum of hᵀx, with the weights of A
    n_batches: int
    n_rows_seen: int
    seed: int  # seed of all random streams


class Statistics(NamedTuple):
    """Sums over rows coded with one dictionary."""

    A: np.ndarray  # (k, k) float64: sum of hᵀh
    B: np.ndarray  # (k, d) float64: sum of hᵀx
    objective: float  # sum of the rows' objectives
    n_rows: int

    def __add__(self, other):
        return Statistics(*(mine + its for mine, its in zip(self, other, strict=True)))


def no_statistics(components):
    k, d = components.shape
    return Statistics(np.zeros((k, k)), np.zeros((k, d)), 0.0, 0)


@threads.with_same_bits
def initial_atoms(rows, order, n_components, dict_init, positive, dtype, seed):
    """Return initial atoms: given ones, or random rows of the data scaled to norm 1.

    Random directions complete the atoms if there are fewer rows. Given atoms whose norm exceeds 1
    are scaled to norm 1.
    """
    d = rows.shape[1]
    if isinstance(order, int):
        order = AllBut(order, np.empty(0, np.int64))
    if dict_init is not None and not isinstance(dict_init, str):
        given = coding.as_dictionary(dict_init, "dict_init")
        with np.errstate(over="ignore"):
            atoms = given.astype(dtype)
        if atoms.shape != (n_components, d):
            raise ValueError(
                f"dict_init must have shape (n_components, n_features) = {(n_components, d)}, got "
                f"{atoms.shape}"
            )
        if positive and (atoms < 0).any():
            raise ValueError("dict_init must not be negative with positive_dict=True")
        if not np.isfinite(atoms).all():  # too large for float32 until they are scaled
            atoms = given
        norms = np.linalg.norm(atoms.astype(np.float64), axis=1, keepdims=True)
        return np.ascontiguousarray(atoms / np.maximum(norms, 1.0), dtype)
    random = random_stream(seed, WEIGHTS)
    atoms = random.standard_normal((n_components, d))
    if len(order) <= MOST_PERMUTED:
        chosen = random.permutation(order[np.arange(len(order))])[:n_components]
    else:
        chosen = order[random.choice(len(order), n_components, replace=False)]
    atoms[: len(chosen)] = dense_rows(copied_rows(rows, np.sort(chosen)))
    return unit_atoms(atoms, random, positive, dtype)


@threads.with_same_bits
def unit_atoms(atoms, random, positive, dtype):
    """Return the rows scaled to norm 1.

    Random directions replace rows whose norm is zero.
    """
    atoms = np.maximum(atoms, 0.0) if positive else atoms
    with np.errstate(over="ignore"):
        norms = np.linalg.norm(atoms, axis=1)
    if not np.isfinite(norms).all():
        atoms[norms == np.inf] *= 2.0**-600
        norms = np.linalg.norm(atoms, axis=1)
    empty = ~(norms > np.finfo(np.float32).tiny)
    directions = random.standard_normal((empty.sum(), atoms.shape[1]))
    atoms[empty] = np.abs(directions) if positive else directions
    return np.ascontiguousarray(atoms / np.linalg.norm(atoms, axis=1, keepdims=True), dtype)


class Learner:
    """Dictionary learner that changes its copies of a state's arrays in place.

    Parameters
    ----------
    state : DictionaryState
    rows : ndarray or SparseRows (n, d)
    settings : coding.Settings
    batch_size : int
    forgetting : float
    positive_dict, replace_unused : bool
    """

    def __init__(
        self, state, rows, settings, *, batch_size, forgetting, positive_dict, replace_unused
    ):
        self.rows, self.settings, self.batch_size = rows, settings, batch_size
        self.forgetting, self.positive_dict = forgetting, positive_dict
        self.replace_unused = replace_unused
        self.components, self.A, self.B = (array.copy() for array in state[:3])
        self.n_batches, self.n_rows_seen, self.seed = state[3:]
        k, d = self.components.shape
        most = coding.threads_for(settings, batch_size, k, d)
        self.team = TeamSize(most, is_fixed=settings.n_threads is not None)
        self.update_threads = coding.threads_for_products(most, k, d)
        self.batch = _Batch(batch_size, k, self.components.dtype)
        self.encoder = coding.make_encoder(self.components, settings, work_rows=batch_size)
        self.used = np.diagonal(self.A).copy()
        self.n_rows_watched = 0
        self.n_open_gaps = 0
        # The values before a batch, while it is learnt from.
        self.memory = tuple(array.copy() for array in (*state[:3], self.used))
        self.unfinished = None

    def state(self):
        return DictionaryState(
            self.components.copy(),
            self.A.copy(),
            self.B.copy(),
            self.n_batches,
            self.n_rows_seen,
            self.seed,
        )

    def go_back_to(self, state):
        """Restore an earlier state, from which learning continues."""
        for array, earlier in zip((self.components, self.A, self.B), state[:3], strict=True):
            array[...] = earlier
        self.n_batches, self.n_rows_seen = state.n_batches, state.n_rows_seen
        self.used[:] = np.diagonal(self.A)
        self.n_rows_watched = 0
        self.encoder.prepare()
        self.unfinished = None

    def undo_unfinished(self):
        """Undo the batch that an interrupt has ended, if it has ended one."""
        if self.unfinished is not None:
            state, n_rows_watched, n_open_gaps = self.unfinished
            self.go_back_to(state)
            self.used[:] = self.memory[3]
            self.n_rows_watched, self.n_open_gaps = n_rows_watched, n_open_gaps

    def is_finite(self):
        """Return whether all values from which learning would continue are finite."""
        return all(np.isfinite(array).all() for array in (self.components, self.A, self.B))

    def learn(self, order):
        """Learn from one batch and return the sum of its rows' objectives.

        Raises
        ------
        Diverged
            If a sum or an atom is not finite; the learner's arrays may then hold such entries.
        """
        changed = (self.components, self.A, self.B, self.used)
        for kept, array in zip(self.memory, changed, strict=True):
            kept[...] = array
        counters = (self.n_batches, self.n_rows_seen, self.seed)
        components, A, B, _ = self.memory
        before = DictionaryState(components, A, B, *counters)
        self.unfinished = before, self.n_rows_watched, self.n_open_gaps
        self.update_threads = coding.threads_for_products(self.team.size, *self.components.shape)
        self.encoder.share(self.team.size, self.update_threads)
        with self.team.slice(len(order)):
            total = self._learn(order)
        self.unfinished = None
        return total

    def _learn(self, order):
        total = self.collect(order, lambda: self.forget(len(order)))
        k = len(self.components)
        is_finite = update_atoms(
            self.components,
            self.A,
            self.B,
            positive=self.positive_dict,
            n_sweeps=UPDATE_SWEEPS,
            n_threads=self.update_threads,
        )
        if not (is_finite and math.isfinite(total)):
            raise Diverged
        self.n_rows_seen += len(order)
        self.n_rows_watched += len(order)
        if self.replace_unused and self.n_rows_watched >= ROWS_PER_ATOM_WATCHED * k:
            self.replace(order)
        self.encoder.prepare()
        return total

    def forget(self, n_rows):
        """Reduce the weights of older rows before n_rows new ones are added.

        After t rows, row s has the weight (s / t)^forgetting (Mairal et al. 2010, section 3.4.2,
        applied to rows instead of batches: batches may be of any size).
        """
        self.n_batches += 1
        factor = (1.0 - n_rows / (self.n_rows_seen + n_rows)) ** self.forgetting
        if factor < 1.0:
            self.A *= factor
            self.B *= factor
            self.used *= factor

    def collect(self, order, before=lambda: None):
        """Code rows, call `before`, add the codes to A and B, and return the sum of objectives."""
        memory = self.code(order)
        before()
        codes = (memory["indices"], memory["values"], memory["counts"])
        _sparse_coding.accumulate(self.rows, order, *codes, self.A, self.B, self.update_threads)
        return float(memory["objectives"].sum())

    def objectives(self, order):
        """Return the sum of the objectives of rows without learning from them."""
        return float(self.code(order)["objectives"].sum())

    def code(self, order):
        """Return the codes of at most batch_size rows, in the buffers of `Encoder.code`.

        The next call reuses the same memory.
        """
        memory, gaps = self.batch.of(len(order)), self.batch.gaps[: len(order)]
        has_gap = coding.ALGORITHMS[self.settings.algorithm]["has_gap"]
        status = self.encoder.code(
            self.rows, check.ANYWHERE, order=order, gaps=gaps if has_gap else None, **memory
        )
        if status:
            batch, dtype = self.rows[order], self.components.dtype
            raise coding.status_error(status, batch, "X", dtype, order=order)
        if has_gap:
            self.n_open_gaps += int((gaps > self.settings.tol).sum())
        return memory

    def replace(self, order):
        """Replace unused atoms by the rows of this batch with the largest objectives."""
        unused = np.flatnonzero(np.diagonal(self.A) <= self.used)
        worst = np.argsort(-self.batch.objectives[: len(order)], kind="stable")
        unused = unused[: len(worst)]
        if len(unused):
            atoms = dense_rows(self.rows[order[worst[: len(unused)]]]).astype(np.float64)
            random = random_stream(self.seed, WEIGHTS, 1 + self.n_rows_seen)
            atoms = unit_atoms(atoms, random, self.positive_dict, self.components.dtype)
            self.components[unused] = atoms
            self.A[unused], self.A[:, unused], self.B[unused] = 0.0, 0.0, 0.0
        self.used[:] = np.diagonal(self.A)
        self.n_rows_watched = 0


def update_atoms(components, A, B, *, positive, n_sweeps, n_threads):
    """Move each atom in place to its best value for the statistics A and B.

    A and B are multiplied by a power of two if they are so large or so small that float32 could not
    hold them; the atoms do not depend on this scale.

    Returns
    -------
    is_finite : bool
        False if A or an atom is not finite.
    """
    largest = float(np.diagonal(A).max(initial=0.0))
    if not math.isfinite(largest):
        return False
    exponent = math.frexp(largest)[1]
    status = _sparse_coding.update(
        components,
        A,
        B,
        positive=positive,
        n_sweeps=n_sweeps,
        # Forgetting leaves values of this size in place of zeros: such atoms count as unused.
        least_use=1e-12 * largest,
        n_threads=n_threads,
        scale=1.0 if abs(exponent) <= USUAL_EXPONENT else math.ldexp(1.0, min(-exponent, 1000)),
    )
    return status == 0


class _Batch:
    """Buffers for the codes of one batch."""

    def __init__(self, n, k, dtype):
        self.indices, self.values = np.empty((n, k), np.int32), np.empty((n, k), dtype)
        self.counts, self.objectives, self.gaps = np.empty(n, np.int64), np.empty(n), np.empty(n)

    def of(self, n):
        names = ("indices", "values", "counts", "objectives")
        return {name: getattr(self, name)[:n] for name in names}
