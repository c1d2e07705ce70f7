"""Checkpoints: files from which an interrupted fit goes on, as if it had not been interrupted.

A `Checkpoint` belongs to one fit, which consists of one or several *stages*: trainings by
`run_epochs`, or results of other kinds. The file has one safetensors header entry, as model files
have, and tensors named "stage/array". It describes the fit (class, parameters, seed, rows), so that
a fit of another kind refuses it by name. A fit that goes on does all that precedes training anew,
which costs little and gives the same bits; each stage then takes its values from the file.
"""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from aefast._base import _runtime
from aefast._base.checkpoint_files import NoCheckpoint, Stored, contents_of, header_of, stages_in
from aefast._base.fingerprints import fingerprint, parameters_of
from aefast._base.paths import as_path
from aefast._base.random import random_state_of
from aefast._base.saving import (
    SEED,
    check_entries,
    check_names,
    shortened,
)
from aefast._base.types import Array
from aefast._base.warnings import warn
from aefast._version import __version__

CONSTRAINTS: dict[str, list[Any]] = {
    "checkpoint": [None, str, os.PathLike],
    "checkpoint_every": [Interval(Integral, 1, None, closed="left"), str],
    "resume": ["boolean", StrOptions({"auto"})],
}
PARAMETERS = tuple(CONSTRAINTS)
DRAWN = "drawn"  # description of a random_state whose seed is in the file alone

_UNITS = {"s": 1, "min": 60, "h": 3600}


# what a fit with a checkpoint gives the fits within it: an object with a method `part(name)`
outer_fit: ContextVar[Any] = ContextVar("a fit with a checkpoint", default=None)


@contextmanager
def outside_of_fits() -> Iterator[None]:
    """Let fits within the context have no part in the checkpoint of an outer fit.

    Callbacks are not called again for epochs that a checkpoint has, and neither are their fits.
    """
    token = outer_fit.set(None)
    try:
        yield
    finally:
        outer_fit.reset(token)


class Every(NamedTuple):
    """How often a checkpoint is written; with neither, after each epoch."""

    seconds: float | None = None
    steps: int | None = None


def interval_of(value: Any) -> Every:
    """Return the interval of a parameter `checkpoint_every`; raise ValueError if it is none."""
    if isinstance(value, Integral) and not isinstance(value, bool):
        return Every(steps=int(value))
    if value == "epoch":
        return Every()
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(s|min|h)\s*", str(value))
    if found is None:
        raise ValueError(
            "checkpoint_every must be a number of steps, 'epoch', or a time such as '30 s', "
            f"'10 min' or '2 h', got {shortened(value)}"
        )
    return Every(seconds=float(found[1]) * _UNITS[found[2]])


class Checkpoint:
    """Checkpoint of one fit.

    Parameters
    ----------
    estimator : estimator
        With the parameters of CONSTRAINTS. Where there is a file to go on from it is read, and
        compared with the estimator's class and parameters.
    """

    def __init__(self, estimator: Any, asked: dict[str, Any] | None = None) -> None:
        try:
            self.path = as_path(estimator.checkpoint)
        except ValueError as error:
            raise ValueError(f"checkpoint: {error}") from None
        self.interval = interval_of(estimator.checkpoint_every)
        _check_place(self.path)
        self._written = time.monotonic()
        self.stages: dict[str, Stored] = {}
        self._header: dict[str, Any] | None = None
        self._of: dict[str, Any] = {
            "estimator": type(estimator).__name__,
            "parameters": _parameters(estimator) | (asked or {}),
        }
        if estimator.resume:
            self._read_if_there(must_exist=estimator.resume is True)

    @classmethod
    def of(
        cls, estimator: Any, asked: dict[str, Any] | None = None
    ) -> "Checkpoint | PartOfCheckpoint | None":
        """Return the checkpoint of a fit that begins, None where the user wants none.

        `asked` has arguments of the fit, by name, which are compared as parameters are. Within a
        fit that has a checkpoint (`aefast._base.replay.stages_of`) it is the next part of that.

        Raises ValueError where there is a file that is no checkpoint or that of another fit, and
        FileNotFoundError where there is none though resume=True.
        """
        if estimator.checkpoint is not None:
            return cls(estimator, asked)
        outer = outer_fit.get()
        return None if outer is None else outer.part(type(estimator).__name__)

    # ---- what the fit is ----

    def seed(self, draw: Any) -> int:
        """Return the seed of the fit: that of the file, or `draw()`."""
        is_drawn = self._of["parameters"].get("random_state") == DRAWN
        return draw() if self._header is None or not is_drawn else self._header["seed"]

    def identify(
        self,
        seed: int,
        tables: dict[str, Any],
        feature_names: Any = None,
        start: dict[str, Any] | None = None,
    ) -> None:
        """Compare the file with the rows of the fit, or remember them for the file.

        Parameters
        ----------
        seed : int
        tables : dict of str to ndarray, CSR matrix, dict or None
            What is fitted to, by the names of arguments; a dict is a fingerprint.
        feature_names : sequence of str or None
        start : dict or None
            JSON description of what a warm start goes on from.
        """
        names = None if feature_names is None else [str(name) for name in feature_names]
        found = {
            name: of if of is None or isinstance(of, dict) else fingerprint(of)
            for name, of in tables.items()
        }
        self._of |= {"seed": seed, "feature_names": names, "tables": found, "start": start or {}}
        if self._header is None:
            return
        if start and start != self._header["start"] and self._ended_with(start):
            self.stages, self._header = {}, None  # the next fit of a chain of warm starts
            return
        self._refuse_other(found, names)

    def confirm(self, **arrays: Array) -> None:
        """Compare or remember further arrays, such as means of columns, which all rows enter."""
        tables = self._of["tables"]
        for name, array in arrays.items():
            tables[name] = fingerprint(array)
            known = None if self._header is None else self._header["tables"].get(name)
            if known is not None and known != tables[name]:
                raise self._refusal(f"to other rows, of which the {name} differ")

    def _refuse_other(self, tables: dict[str, Any], names: list[str] | None) -> None:
        header: Any = self._header
        for name, mine in tables.items():
            if (theirs := header["tables"].get(name)) == mine:
                continue
            if mine is None or theirs is None:
                there, here = ("no " if of is None else "" for of in (theirs, mine))
                raise self._refusal(f"with {there}{name}, while this one has {here}{name}")
            shapes = [f"{tuple(of.get('shape', ()))} of {of.get('dtype')}" for of in (theirs, mine)]
            if shapes[0] != shapes[1]:
                raise self._refusal(
                    f"to other rows: {name} is {shapes[0]} there and {shapes[1]} here"
                )
            raise self._refusal(f"to other rows: the entries of {name} differ")
        if header["feature_names"] != names:
            raise self._refusal("to rows whose columns have other names")
        if header["seed"] != self._of["seed"]:
            raise self._refusal("with another random_state")
        if header["start"] != self._of["start"]:
            raise self._refusal("that began with other parameters than this warm start")

    def _refuse_other_parameters(self, header: dict[str, Any]) -> None:
        if header["estimator"] != self._of["estimator"]:
            raise self._refusal(f"of {header['estimator']}, not {self._of['estimator']}")
        mine, theirs = self._of["parameters"], header["parameters"]
        for name in sorted(mine.keys() | theirs.keys()):
            if mine.get(name) != theirs.get(name):
                there, here = (shortened(of.get(name)) for of in (theirs, mine))
                raise self._refusal(f"with {name}={there}, while this one has {name}={here}")

    def _refusal(self, what: str) -> ValueError:
        return ValueError(
            f"{self.path} is the checkpoint of a fit {what}. Give this fit another file, or set "
            "resume=False, which replaces it"
        )

    # ---- stages ----

    def stage(self, name: str) -> "Stage":
        """Return the stage of this name, which may have been begun or ended in the file."""
        return Stage(self, name)

    def part(self, name: str) -> "PartOfCheckpoint":
        """Return what is the checkpoint of a fit within this one."""
        return PartOfCheckpoint(self, name)

    def is_due(self, n_steps_since: int) -> bool:
        """Return whether it is time to write, within an epoch."""
        if self.interval.seconds is not None:
            return time.monotonic() - self._written >= self.interval.seconds
        return self.interval.steps is not None and n_steps_since >= self.interval.steps

    def write(self) -> None:
        """Write the stages to the file; warn where that fails, since the fit can go on.

        An earlier file stays until the new one is whole and on the disk.
        """
        header = {
            "aefast_version": __version__,
            "instruction_set": _runtime.isa(),
            **self._of,
        }
        from aefast._base.files import replacing  # loads safetensors

        contents = contents_of(header, self.stages)
        try:
            with replacing(self.path) as file:
                file.write(contents)
        except OSError as error:
            warn(
                f"the checkpoint cannot be written: {error}. The fit goes on; an earlier "
                "checkpoint stays",
                RuntimeWarning,
            )
        self._written = time.monotonic()

    def end(self) -> None:
        """Write the file of a fit that is over, of which no stage need have been written."""
        self.stage("fit").keep({})
        self.write()

    # ---- reading ----

    def _read_if_there(self, *, must_exist: bool) -> None:
        from safetensors import SafetensorError, safe_open

        if not os.path.lexists(self.path):
            if must_exist:
                raise FileNotFoundError(
                    f"resume=True, and there is no checkpoint {self.path}: resume='auto' begins "
                    "anew where there is none"
                )
            return
        if not os.path.isfile(self.path):
            raise ValueError(f"{self.path} is not a regular file, so it is no checkpoint")
        with open(self.path, "rb"):  # a file that cannot be read gets Python's own OSError
            pass
        try:
            with safe_open(self.path, framework="numpy") as file:
                header = header_of(file.metadata())
                self._refuse_other_parameters(header)
                self.stages = stages_in(header, file)
        except (SafetensorError, TypeError, KeyError) as error:
            raise self._not_a_checkpoint(error) from error
        except NoCheckpoint as error:
            raise self._not_a_checkpoint(error) from None
        self._header = header
        self._warn_of_other_machine(header)

    def _not_a_checkpoint(self, reason: object) -> ValueError:
        return ValueError(
            f"{self.path} is not a checkpoint that aefast can go on from: {reason}. Give another "
            "file, or set resume=False, which replaces it"
        )

    def _warn_of_other_machine(self, header: dict[str, Any]) -> None:
        there = header["aefast_version"], header["instruction_set"]
        here = __version__, _runtime.isa()
        if there != here:
            warn(
                f"the checkpoint {self.path} was written by aefast {there[0]} with the "
                f"instructions {there[1]}; this is aefast {here[0]} with {here[1]}: the result "
                "will differ from that of an uninterrupted fit by rounding errors",
                RuntimeWarning,
            )

    def _ended_with(self, start: dict[str, Any]) -> bool:
        """Return whether the fit of the file is over, with the parameters of a start."""
        ends = [stage.tensors.get("parameters") for stage in self.stages.values() if stage.is_over]
        return any(of is not None and fingerprint(of) == start.get("parameters") for of in ends)


class PartOfCheckpoint:
    """Checkpoint of a fit within another, whose parameters are compared with the other's.

    Its stages are stages of the other, with its name before theirs.
    """

    def __init__(self, whole: Checkpoint, name: str) -> None:
        self._whole, self._name = whole, name

    def seed(self, draw: Any) -> int:
        """Return the seed of the fit, which is remembered: that of the file, or `draw()`."""
        stage = self.stage("seed")
        if stage.found is not None:
            check_entries("seed", stage.found.state, {"seed": SEED})
            return stage.found.state["seed"]
        seed = int(draw())
        stage.keep({"seed": seed})
        return seed

    def part(self, name: str) -> "PartOfCheckpoint":
        return PartOfCheckpoint(self._whole, f"{self._name}, {name}")

    def identify(self, seed: int, tables: dict[str, Any], *described: Any) -> None:
        """Compare the tables of the fit with those of the file, or remember them for it."""
        found = {name: None if of is None else fingerprint(of) for name, of in tables.items()}
        stage = self.stage("tables")
        if stage.found is None:
            stage.keep(found)
        elif stage.found.state != found:
            raise self._whole._refusal(f"whose {self._name} was one to other rows")

    def confirm(self, **arrays: Array) -> None:
        return None

    def stage(self, name: str) -> "Stage":
        return self._whole.stage(f"{self._name}, {name}")

    def end(self) -> None:
        return None


class Stage:
    """Part of a fit that is stored, and resumed, by itself."""

    def __init__(self, checkpoint: Checkpoint, name: str) -> None:
        self._checkpoint, self._name = checkpoint, name
        self.found = checkpoint.stages.get(name)
        self._step_written = 0

    def count_steps_from(self, n_steps: int) -> None:
        """Count the steps to the next checkpoint from this number of steps made."""
        self._step_written = n_steps

    @property
    def is_over(self) -> bool:
        """Whether the file has the end of the stage."""
        return self.found is not None and self.found.is_over

    def keep(self, state: dict[str, Any], tensors: dict[str, Array] | None = None) -> None:
        """Remember a stage that is over, or that has results only, and write it if it is time."""
        self._checkpoint.stages[self._name] = Stored(True, state, tensors or {})
        if self._checkpoint.interval.seconds is None or self._checkpoint.is_due(0):
            self._checkpoint.write()

    def is_due(self, n_steps: int, *, after_epoch: bool) -> bool:
        """Return whether it is time to write, n_steps being the number of steps made."""
        if after_epoch and self._checkpoint.interval == Every():
            return True
        return self._checkpoint.is_due(n_steps - self._step_written)

    def write(
        self,
        state: dict[str, Any],
        tensors: dict[str, Array],
        *,
        n_steps: int = 0,
        is_over: bool = False,
    ) -> None:
        """Write the stage, and those before it, to the file.

        Arrays of a stage that is over are written again with later stages: they must not change.
        """
        self._checkpoint.stages[self._name] = Stored(is_over, state, tensors)
        self._checkpoint.write()
        self.count_steps_from(n_steps)
        if not is_over:
            del self._checkpoint.stages[self._name]


def identified(
    checkpoint: "Checkpoint | PartOfCheckpoint | None",
    random_state: Any,
    tables: dict[str, Any],
    feature_names: Any = None,
) -> Any:
    """Compare a checkpoint with the tables of a fit, and return the fit's random_state.

    It is the one that is given, without a checkpoint or where it is an integer; otherwise the seed
    of the checkpoint.
    """
    if checkpoint is None:
        return random_state
    if isinstance(random_state, Integral):
        seed = int(random_state)
    else:
        random = random_state_of(random_state)
        seed = checkpoint.seed(lambda: int(random.randint(2**31 - 1)))
    checkpoint.identify(seed, tables, feature_names)
    return seed


def check_tensors(tensors: dict[str, Array], expected: dict[str, Array]) -> None:
    """Raise ValueError unless tensors have the names, shapes and types of other arrays."""
    check_names("arrays", tensors, expected)
    for name, array in expected.items():
        got, wanted = tensors[name], (array.shape, array.dtype)
        if (got.shape, got.dtype) != wanted:
            raise ValueError(f"expected {name!r} of {wanted}, got {(got.shape, got.dtype)}")
        if not np.isfinite(got).all():
            raise ValueError(f"{name!r} has values that are not finite")


def _parameters(estimator: Any) -> dict[str, Any]:
    """Return the description of the parameters that a fit follows from."""
    found = parameters_of(estimator)
    if not isinstance(getattr(estimator, "random_state", 0), Integral):
        found["random_state"] = DRAWN
    return found


def _check_place(path: str) -> None:
    """Raise an OSError if no file of this name can be written, before a fit begins."""
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"checkpoint={path!r}: there is no folder {folder}")
    if os.path.isdir(path):
        raise IsADirectoryError(f"checkpoint={path!r} is a folder: give the name of a file")
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"checkpoint={path!r}: files cannot be written to {folder}")
