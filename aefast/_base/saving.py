"""Interface through which `aefast.model_file` writes an object to a file and reads it again.

A class that can be saved inherits `Saved`, and `model_file.HOMES` names its module. A file has four
parts:

parameters  the constructor's parameters, as JSON
state       the rest of the fitted state except arrays, as JSON: described by `_state_checks`, so
            that nothing unchecked is read
tensors     the arrays: described by `_tensor_layout(state)`
format      `_file_format` and `_file_version`: a file of a later version is refused, with the
            advice to upgrade
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO, NamedTuple, Self

import numpy as np

from aefast._base.scalars import LARGEST_SIZE, check_representable_parameters
from aefast._base.types import Array, PathLike
from aefast._version import __version__


class Tensor(NamedTuple):
    """Required shape and type of an array in a file."""

    shape: tuple
    # "F32" or "F64". All arrays whose dtype is None must have one type in common.
    dtype: str | None = None


class Check(NamedTuple):
    """Condition on a value in JSON."""

    is_valid: Callable[[Any], bool]
    expected: str  # description of a valid value, for the error


_PICKLE_KEY = "_aefast_pickle"


class Pickled:
    """Base of estimators and other objects with a state: pickles carry a format version.

    The attributes of an object are private to a version of aefast: a pickle of another format is
    refused by name, rather than becoming an object that fails later. Files of `save` outlast
    versions.
    """

    _pickle_version = 3  # raised with every change of the attributes

    def _validate_params(self) -> None:
        """Validate as scikit-learn does, after a check that numbers fit the machine's types.

        scikit-learn's comparisons of such a number raise errors that do not name the parameter.
        """
        own: Any = self
        constraints = own._parameter_constraints
        values = {name: getattr(self, name) for name in constraints}  # get_params takes longer
        check_representable_parameters(values, constraints)
        parent: Any = super()
        parent._validate_params()

    def __getstate__(self) -> dict[str, Any]:
        state: Any = super().__getstate__()
        written = {"version": self._pickle_version, "aefast_version": __version__}
        return {**(state or {}), _PICKLE_KEY: written}

    def __setstate__(self, state: dict[str, Any]) -> None:
        written = state.get(_PICKLE_KEY) if isinstance(state, dict) else None
        written = written if isinstance(written, dict) else {}
        version = written.get("version")
        if version != self._pickle_version:
            raise ValueError(
                f"this pickle of {type(self).__name__} has format version {shortened(version)}, "
                f"written by aefast {written.get('aefast_version', 'before 0.1.0')}; aefast "
                f"{__version__} reads version {self._pickle_version} alone: load it with the "
                "version that wrote it, and keep models in files of their method save"
            )
        self.__dict__ = {k: v for k, v in state.items() if k != _PICKLE_KEY}


class Saved(Pickled, ABC):
    """Base of classes that can be saved. All methods but `save` are for `aefast.model_file`."""

    _file_format: str  # the kind of file: its key in model_file.HOMES
    _file_version = 1
    # Constructor parameters that are not saved: None in a loaded object.
    _parameters_not_saved: tuple[str, ...] = ()
    # Constructor parameters that may be lists in JSON, which `_parameter_of_json` converts back.
    _structured_parameters: tuple[str, ...] = ()
    # Constructor parameters that belong to one process, which a loaded object has by default.
    _parameters_of_process: tuple[str, ...] = ()

    def save(self, path: PathLike | BinaryIO) -> None:
        """Write the object to one safetensors file, which `aefast.load` reads.

        Parameters
        ----------
        path : str, path-like or binary file
            Name of the file, which is replaced as a whole or, on any failure, left as it was; or a
            file that is open for writing bytes.

        See Also
        --------
        aefast.model_file.save : Which parameters and which state are saved.
        """
        from aefast._base.files import save  # imported here because it loads safetensors

        save(self, path)

    # ---- methods that scikit-learn's estimators have ----

    get_params: Callable[..., dict[str, Any]]
    _get_param_names: Callable[[], list[str]]

    # ---- to be implemented by subclasses ----

    @abstractmethod
    def _saved_state(self) -> dict[str, Any]:
        """Return a dict with the keys of `_state_checks`, and values that JSON can represent.

        Values are numbers, strings, lists, dicts and None.
        """

    @abstractmethod
    def _saved_tensors(self) -> dict[str, Array]:
        """Return a dict of the ndarrays that `_tensor_layout` describes."""

    @classmethod
    @abstractmethod
    def _state_checks(cls) -> dict[str, Any]:
        """Return a `Check` for each key of the state, or a dict of them for a nested object."""

    @classmethod
    @abstractmethod
    def _tensor_layout(cls, state: dict[str, Any]) -> dict[str, Tensor]:
        """Return the name and `Tensor` of each array that belongs to this state.

        Each entry of the state has been checked. Raises ValueError where entries contradict each
        other.
        """

    @abstractmethod
    def _restore(self, state: dict[str, Any], tensors: dict[str, Array]) -> None:
        """Set the attributes of the object that was saved, `n_features_in_` included.

        State and tensors have been checked, and arrays are finite.
        """

    # ---- constructor parameters; these methods suit estimators of scikit-learn ----

    def _saved_parameters(self) -> dict[str, Any]:
        """Return the parameters by name, valid and in types of JSON."""
        self._validate_params()  # otherwise the file could not be read again
        parameters = self.get_params(deep=False)
        for name in (*self._parameters_not_saved, *self._parameters_of_process):
            del parameters[name]
        if isinstance(parameters.get("random_state"), np.random.RandomState):
            parameters["random_state"] = None
        return {name: _as_json(value) for name, value in parameters.items()}

    @classmethod
    def _from_parameters(cls, parameters: dict[str, Any]) -> Self:
        """Return a new object with these parameters; `_check_restored` validates them later.

        Raises ValueError if these are not exactly the parameters that are saved.
        """
        known = {*cls._get_param_names()} - {*cls._parameters_not_saved}
        known -= {*cls._parameters_of_process}
        check_names("constructor parameters", parameters, known)
        for name, value in parameters.items():
            if not _is_json_scalar(value) and name not in cls._structured_parameters:
                raise ValueError(
                    f"expected a number, a string or null as {name!r}, got {shortened(value)}"
                )
        made = {name: cls._parameter_of_json(name, value) for name, value in parameters.items()}
        return cls(**made, **dict.fromkeys(cls._parameters_not_saved))

    @classmethod
    def _parameter_of_json(cls, name: str, value: Any) -> Any:
        """Return the value that a parameter had before it was converted to JSON.

        Raises ValueError where a list cannot be a value of one of `_structured_parameters`.
        """
        return value

    @classmethod
    def _upgrade(cls, version: int, parameters: dict[str, Any], state: dict[str, Any]) -> None:
        """Add to the header of an earlier format version what has come since, in place.

        Entries have not been checked yet.
        """

    def _check_restored(self) -> None:
        """Raise ValueError where a parameter is not valid; called after `_restore`."""
        self._validate_params()


# ---- values in JSON ----


def _as_json(value: Any) -> Any:
    """Return scalars of NumPy as scalars of Python, and other values as they are."""
    if isinstance(value, np.floating):
        return float(value)
    return value.item() if isinstance(value, np.generic) else value


def _is_json_scalar(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, (bool, int, str))


def is_list_of(is_item: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Return the condition that a value is a list of items that satisfy `is_item`."""
    return lambda value: isinstance(value, list) and all(map(is_item, value))


def is_number(value: object) -> bool:
    """Whether a value is a finite float."""
    return isinstance(value, float) and math.isfinite(value)


def is_count(value: Any) -> bool:
    """Whether a value counts something that goes on being counted, in 64 bits."""
    return type(value) is int and 0 <= value < 2**62


def _is_seed(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def one_of(names: Iterable[str]) -> Check:
    """Return the check for one of these strings."""
    names = list(names)
    return Check(lambda value: isinstance(value, str) and value in names, f"one of {names}")


def optional(check: Check) -> Check:
    """Return the check for null or a value that passes another check."""
    return Check(lambda value: value is None or check.is_valid(value), f"{check.expected}, or null")


COUNT = Check(is_count, "an integer in [0, 2**62)")
SEED = Check(_is_seed, "an integer in [0, 2**63)")
SIZE = Check(
    lambda value: type(value) is int and 1 <= value <= LARGEST_SIZE,
    f"an integer in [1, {LARGEST_SIZE}]",
)
FLAG = Check(lambda value: isinstance(value, bool), "true or false")
TEXT = Check(lambda value: isinstance(value, str), "a string")
OBJECT = Check(lambda value: isinstance(value, dict), "an object")
NUMBER = Check(is_number, "a finite float")
CURVE = Check(is_list_of(is_number), "a list of finite floats")
NAMES = Check(is_list_of(TEXT.is_valid), "a list of strings")


def check_entries(what: str, entries: dict[str, Any], checks: Mapping[str, Any]) -> None:
    """Raise ValueError unless an object has exactly the keys of `checks`, with valid values."""
    check_names(f"{what} entries", entries, checks)
    for name, check in checks.items():
        is_object = isinstance(check, dict)
        is_valid, expected = OBJECT if is_object else check
        if not is_valid(entries[name]):
            raise ValueError(f"expected {expected} as {name!r}, got {shortened(entries[name])}")
        if is_object:
            check_entries(name, entries[name], check)


def check_names(what: str, got: Iterable[str], expected: Iterable[str]) -> None:
    """Raise ValueError unless two collections of names are equal."""
    missing, unknown = sorted(set(expected) - set(got)), sorted(set(got) - set(expected))
    if missing or unknown:
        raise ValueError(
            f"its {what} are not those of a model: missing {shortened(missing)}, unknown "
            f"{shortened(unknown)}"
        )


def shortened(value: object) -> str:
    """Return a value's repr for an error, cut to 100 characters."""
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."
