"""Evaluations that a checkpoint has: a fit that goes on asks for them again, and is given them.

The state of another library's optimizer is not ours to store. But its path follows from the values
and gradients that it was given: where these come from a file, a fit is soon where it was, with the
same bits. Nor need the code between two optimizations find its place; it runs again as it did.

A fit opens `stages_of` its checkpoint. Within it, optimizations take their stages by `next_stage`,
in the order in which they come, which is the same in each fit of the same rows and parameters. Fits
within the fit take parts of the checkpoint in the same way, by `Checkpoint.of`.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from aefast._base.checkpoints import (
    Checkpoint,
    PartOfCheckpoint,
    Stage,
    check_tensors,
    outer_fit,
)
from aefast._base.saving import NAMES, Check, check_entries
from aefast._base.types import Array
from aefast._base.warnings import warn

_Saved = Callable[[], tuple[dict[str, Any], dict[str, Array]]]
_Function = Callable[[Array], tuple[float, Array]]


class _Stages:
    """Stages of a fit in the order in which they are taken."""

    def __init__(self, checkpoint: Checkpoint | PartOfCheckpoint) -> None:
        self.checkpoint, self.counts = checkpoint, dict[str, int]()
        self.is_confirmed = False
        self.open: Any = None  # object with a method `write`

    def stage(self, kind: str) -> Stage:
        return self.checkpoint.stage(self._next(kind))

    def part(self, kind: str) -> PartOfCheckpoint:
        """Return the checkpoint of the next fit of this kind within this one."""
        return self.checkpoint.part(self._next(kind))

    def _next(self, kind: str) -> str:
        self.counts[kind] = number = self.counts.get(kind, 0) + 1
        return f"{kind} {number}"


@contextmanager
def stages_of(checkpoint: Checkpoint | PartOfCheckpoint | None) -> Iterator[None]:
    """Let optimizations and fits within the context take stages and parts of a checkpoint.

    After Ctrl-C the present stage of an optimization is written; fits write their own.
    """
    if checkpoint is None:
        yield
        return
    stages = _Stages(checkpoint)
    token = outer_fit.set(stages)
    try:
        yield
    except KeyboardInterrupt:
        if stages.open is not None:
            stages.open.write()
        raise
    finally:
        outer_fit.reset(token)


def next_stage(kind: str) -> Stage | None:
    """Return the next stage of this kind, None outside of a fit with a checkpoint."""
    stages = outer_fit.get()
    return None if stages is None else stages.stage(kind)


def written_on_interrupt(writer: Any) -> None:
    """Have the method `write` of an object called after Ctrl-C, or of none for None."""
    stages = outer_fit.get()
    if stages is not None:
        stages.open = writer


def confirm_once(**arrays: Array) -> None:
    """Compare or remember arrays which all rows enter, unless that has been done in this fit."""
    stages = outer_fit.get()
    if stages is not None and not stages.is_confirmed:
        stages.checkpoint.confirm(**arrays)
        stages.is_confirmed = True


class Kept:
    """Iterations of our own, whose state is stored.

    Attributes
    ----------
    found : Stored or None
        What the checkpoint has of them.
    is_over : bool
        Whether it has their end.
    """

    def __init__(self, kind: str) -> None:
        self._stage = next_stage(kind)
        self._place: tuple[int, _Saved] | None = None
        self.found = None if self._stage is None else self._stage.found
        self.is_over = self.found is not None and self.found.is_over
        written_on_interrupt(self)

    def keep(self, n_steps: int, saved: _Saved) -> None:
        """Remember how to save the present state, and write it if it is time.

        ``saved()`` returns the state as JSON and as arrays, later too: it must not change.
        """
        if self._stage is not None:
            self._place = n_steps, saved
            if self._stage.is_due(n_steps, after_epoch=True):
                self.write()

    def write(self) -> None:
        """Store the state that is remembered."""
        if self._stage is not None and self._place is not None:
            n_steps, saved = self._place
            self._stage.write(*saved(), n_steps=n_steps)

    def end(self, state: dict[str, Any], tensors: dict[str, Array]) -> None:
        """Store the result, in place of the state."""
        if self._stage is not None:
            written_on_interrupt(None)
            self._stage.keep(state, tensors)


class Replayed:
    """A function whose values and gradients are stored, for an optimizer that is started anew.

    Parameters
    ----------
    kind : str
        Name of the stage; further ones of the same name are numbered.
    function : callable
        ``function(x)`` returns a float and an array of one dimension.
    memory : callable or None
        ``memory()`` returns the arrays by name that the function replaces from call to call, and
        ``memory(arrays)`` sets them.
    """

    def __init__(
        self, kind: str, function: _Function, memory: Callable[..., Any] | None = None
    ) -> None:
        self._function = function
        self._memory = (lambda *arrays: {}) if memory is None else memory
        self._stage = next_stage(kind)
        self._found = None if self._stage is None else self._stage.found
        # (digest of the point, value, gradient) of each evaluation; how many of them there are,
        # with the function's memory after the last one; and how many have been asked for
        self._made: list[tuple[str, float, Array]] = []
        self._reached: tuple[int, dict[str, Array]] = 0, {}
        self._n_asked = 0
        written_on_interrupt(self)

    def __call__(self, x: Array) -> tuple[float, Array]:
        if self._stage is None:
            return self._function(x)
        if self._found is not None:
            self._read()
        point = hashlib.blake2b(x.tobytes(), digest_size=16).hexdigest()
        if self._n_asked < self._reached[0]:
            known, value, gradient = self._made[self._n_asked]
            if known == point:
                self._n_asked += 1
                return value, gradient.copy()
            self._forget()
        value, gradient = self._function(x)
        del self._made[self._n_asked :]
        self._made.append((point, float(value), gradient.copy()))
        self._n_asked += 1
        self._reached = self._n_asked, self._memory()
        if self._stage.is_due(self._n_asked, after_epoch=True):
            self.write()
        return value, gradient

    def result(
        self, checks: Mapping[str, Check], expected: dict[str, Array]
    ) -> tuple[dict[str, Any], dict[str, Array]] | None:
        """Return what `end` has stored, or None where the optimization is not over.

        Raises ValueError where it does not satisfy checks, or has not the shapes of other arrays.
        """
        if self._found is None or not self._found.is_over:
            return None
        check_entries("result", self._found.state, checks)
        check_tensors(self._found.tensors, expected)
        return self._found.state, self._found.tensors

    def end(self, state: dict[str, Any], tensors: dict[str, Array]) -> None:
        """Store the result, in place of the evaluations."""
        if self._stage is not None:
            written_on_interrupt(None)
            self._stage.keep(state, tensors)

    def write(self) -> None:
        """Store what has been evaluated so far."""
        n, memory = self._reached
        if self._stage is None or not n:
            return
        points, values, gradients = zip(*self._made[:n], strict=True)
        tensors = {"values": np.array(values), "gradients": np.array(gradients)} | memory
        if all(np.isfinite(array).all() for array in tensors.values()):
            self._stage.write({"points": list(points)}, tensors, n_steps=n)

    def _read(self) -> None:
        """Take the evaluations of the file."""
        found, self._found = self._found, None
        if found is None or self._stage is None:
            return
        check_entries("evaluations", found.state, {"points": NAMES})
        n, memory = len(found.state["points"]), self._memory()
        width = found.tensors["gradients"].shape[-1] if "gradients" in found.tensors else 0
        evaluations = {"values": np.empty(n), "gradients": np.empty((n, width))}
        check_tensors(found.tensors, evaluations | memory)
        memory = {name: found.tensors[name] for name in memory}
        self._memory(memory)
        values, gradients = (found.tensors[name] for name in evaluations)
        self._made = list(zip(found.state["points"], values.tolist(), gradients, strict=True))
        self._reached = n, memory
        self._stage.count_steps_from(n)

    def _forget(self) -> None:
        """Leave out evaluations that are not asked for, as by another version of an optimizer."""
        self._reached = self._n_asked, self._memory()
        if self._stage is not None:
            self._stage.count_steps_from(self._n_asked)
        warn(
            "the solver takes another path than that of the checkpoint, as other versions of SciPy "
            "may: the result will differ from that of an uninterrupted fit by rounding errors",
            RuntimeWarning,
        )
