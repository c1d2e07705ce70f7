"""What an object tells `aefast.model_file`, so that it can be written to a file and be read again.

A class that can be saved inherits `Saved`, and its home is named in `model_file.HOMES`. A file has four parts:

parameters  the constructor's, as JSON
state       the rest of the fitted state that is no array, as JSON: described by `state_checks`, so that nothing unchecked is read
tensors     the arrays: described by `tensor_layout(state)`
format      `file_format` and `file_version`: a file of a later version is refused, with the advice to upgrade
"""

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np

from aefast._base.arrays import LARGEST_SIZE


class Tensor(NamedTuple):
    """What an array in a file must be."""

    shape: tuple
    dtype: str | None = (
        None  # "F32" or "F64"; None: the type that all other arrays without one have
    )


class Check(NamedTuple):
    """What a value in JSON must be."""

    is_valid: object  # a function of the value
    expected: str  # in words, for the error


class Saved(ABC):
    """Base of whatever can be saved. All methods but `save` are for `aefast.model_file`."""

    file_format = None  # the kind of file: its key in model_file.HOMES
    file_version = 1
    parameters_not_saved = ()  # constructor parameters that do not travel; None in what is loaded
    structured_parameters = ()  # those that may be lists in JSON; `parameter_of_json` makes them what they were

    def save(self, path):
        """Writes the object to one safetensors file, which `aefast.load` reads.

        Parameters
        ----------
        path : str or path-like
            Replaced as a whole, or left as it was.

        See Also
        --------
        aefast.model_file.save : what is kept and what is not.
        """
        from aefast._base.files import save  # which needs safetensors: not every user does

        save(self, path)

    # ---- for subclasses to say ----

    @abstractmethod
    def saved_state(self):
        """A dict with the keys of `state_checks`, of what JSON has: numbers, strings, lists, dicts, None."""

    @abstractmethod
    def saved_tensors(self):
        """A dict of ndarrays, as `tensor_layout` describes them."""

    @classmethod
    @abstractmethod
    def state_checks(cls):
        """For each key of the state a `Check`, or a dict of them for an object within."""

    @classmethod
    @abstractmethod
    def tensor_layout(cls, state):
        """Name and `Tensor` of each array that belongs to this state, whose entries are checked; ValueError where they contradict each other."""

    @abstractmethod
    def restore(self, state, tensors):
        """Becomes the object that was saved, `n_features_in_` included. Everything has been checked, finite arrays too."""

    # ---- the constructor's parameters; as scikit-learn's estimators have them ----

    def saved_parameters(self):
        """The parameters by name, valid and as JSON has them."""
        self._validate_params()  # what is written can be read again
        parameters = self.get_params(deep=False)
        for name in self.parameters_not_saved:
            del parameters[name]
        if isinstance(parameters.get("random_state"), np.random.RandomState):
            parameters["random_state"] = None
        return {name: _as_json(value) for name, value in parameters.items()}

    @classmethod
    def from_parameters(cls, parameters):
        """A new object; ValueError if these are not all the parameters that are saved. Whether they are valid, `check_parameters` says."""
        known = set(cls._get_param_names()) - set(cls.parameters_not_saved)
        check_names("constructor parameters", parameters, known)
        for name, value in parameters.items():
            if not _is_json_scalar(value) and name not in cls.structured_parameters:
                raise ValueError(
                    f"expected a number, a string or null as {name!r}, got {shortened(value)}"
                )
        made = {name: cls.parameter_of_json(name, value) for name, value in parameters.items()}
        return cls(**made, **dict.fromkeys(cls.parameters_not_saved))

    @classmethod
    def parameter_of_json(cls, name, value):
        """ValueError where a list cannot be one of `structured_parameters`."""
        return value

    def check_parameters(self):
        """ValueError where a parameter is not valid, called after `restore`."""
        self._validate_params()


# ---- what JSON may hold ----


def _as_json(value):
    """NumPy's scalars as Python's; what else a valid parameter can be, JSON knows."""
    if isinstance(value, np.floating):
        return float(value)
    return value.item() if isinstance(value, np.generic) else value


def _is_json_scalar(value):
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, (bool, int, str))


def is_list_of(is_item):
    return lambda value: isinstance(value, list) and all(map(is_item, value))


def _is_finite_float(value):
    return isinstance(value, float) and math.isfinite(value)


def is_count(value):
    return type(value) is int and 0 <= value < 2**63


def one_of(names):
    """The check for one of some strings."""
    names = list(names)
    return Check(lambda value: isinstance(value, str) and value in names, f"one of {names}")


def optional(check):
    """The check for null, or else what another one checks."""
    return Check(lambda value: value is None or check.is_valid(value), f"{check.expected}, or null")


COUNT = Check(is_count, "an integer in [0, 2**63)")
SIZE = Check(
    lambda value: type(value) is int and 1 <= value <= LARGEST_SIZE,
    f"an integer in [1, {LARGEST_SIZE}]",
)
FLAG = Check(lambda value: isinstance(value, bool), "true or false")
TEXT = Check(lambda value: isinstance(value, str), "a string")
OBJECT = Check(lambda value: isinstance(value, dict), "an object")
NUMBER = Check(_is_finite_float, "a finite float")
CURVE = Check(is_list_of(_is_finite_float), "a list of finite floats")
NAMES = Check(is_list_of(TEXT.is_valid), "a list of strings")


def check_entries(what, entries, checks):
    """ValueError unless an object has exactly the keys of `checks`, with valid values."""
    check_names(f"{what} entries", entries, checks)
    for name, check in checks.items():
        is_object = isinstance(check, dict)
        is_valid, expected = OBJECT if is_object else check
        if not is_valid(entries[name]):
            raise ValueError(f"expected {expected} as {name!r}, got {shortened(entries[name])}")
        if is_object:
            check_entries(name, entries[name], check)


def check_names(what, got, expected):
    """ValueError unless two collections of names are the same."""
    missing, unknown = sorted(set(expected) - set(got)), sorted(set(got) - set(expected))
    if missing or unknown:
        raise ValueError(
            f"its {what} are not those of a model: missing {shortened(missing)}, unknown {shortened(unknown)}"
        )


def shortened(value):
    """A value as an error shows it."""
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."
