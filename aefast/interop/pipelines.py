"""Estimators of scikit-learn with estimators of aefast inside, as one file.

A file is a safetensors file as those of single estimators are. Each estimator of aefast is in it in
its own format, tensors under the prefix ``i.``; the rest, in which a `Placeholder` stands for each
of them, is a dump of skops in the tensor ``scikit-learn``. skops has no pickle: it makes objects of
types that are trusted, and runs no code of a file.

Trusted are the types that skops trusts, estimators of scikit-learn and what NumPy's arrays are made
of, and scikit-learn's other classes in Python. Its compiled classes, such as trees, read the arrays
of a file without checks, so that a file could crash the process: the user has to name them.
"""

import copy
import importlib
import json
import re
from typing import Any

import numpy as np
from safetensors.numpy import save as serialize
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted
from skops import io as skops

from aefast import model_file
from aefast._base.errors import shown
from aefast._base.files import METADATA_KEY, describe, write
from aefast._base.saving import FLAG, OBJECT, Check, Saved, check_entries, is_list_of, shortened
from aefast._base.types import Array
from aefast._version import __version__
from aefast.interop.plain_archives import check_is_plain, stored

VERSION = 1
REST = "scikit-learn"  # the tensor with all that is not aefast's
_CHECKS = {
    "format": Check(lambda value: value == model_file.PIPELINE, "the format of pipelines"),
    "format_version": Check(lambda value: value == VERSION, "a version"),
    "aefast_version": Check(lambda value: isinstance(value, str), "a string"),
    "models": Check(is_list_of(OBJECT.is_valid), "a list of objects"),
}
_MODELS = "models of aefast"  # key of the models in the memo of a copy


class Placeholder:
    """What stands for an estimator of aefast in a dump: its number, which a copy replaces."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __deepcopy__(self, memo: dict[Any, Any]) -> Any:
        models = memo[_MODELS]
        if type(self.number) is not int or not 0 <= self.number < len(models):
            raise ValueError(f"expected the number of one of {len(models)} estimators of aefast")
        return models[self.number]


OWN = f"{Placeholder.__module__}.{Placeholder.__qualname__}"
_TRUSTED = (OWN, "numpy.dtype", "scipy.sparse._csr.csr_matrix")
# of scikit-learn's modules: those that test or fetch, and one whose arrays compiled code reads
_NOT_TRUSTED = re.compile(
    r"sklearn\.(externals|datasets|experimental|conftest|utils\._test|_build_utils|"
    r"ensemble\._hist_gradient_boosting)|.*\.tests\."
)
_FUNCTIONS = re.compile(
    r"sklearn\.feature_selection\.(_univariate_selection|_mutual_info)\.[a-z]\w+"
)


def _is_trusted(name):
    """Whether a type is one whose objects no file can misuse, by its name."""
    if name in _TRUSTED or _FUNCTIONS.fullmatch(name):
        return True
    if not re.fullmatch(r"sklearn(\.\w+)+", name) or _NOT_TRUSTED.match(name):
        return False
    place, _, attribute = name.rpartition(".")
    try:
        module = importlib.import_module(place)
    except ImportError:
        return False
    found = getattr(module, attribute, None)
    is_python = (getattr(module, "__file__", None) or "").endswith(".py")
    return isinstance(found, type) and found.__module__ == place and is_python


# ---- writing ----


def save(estimator: Any, path: Any, trusted: list[str]) -> None:
    """Write a fitted estimator of scikit-learn; `aefast.save` documents it."""
    check_is_fitted(estimator)
    models = _models_in(estimator)
    described: list[dict[str, Any]] = []
    tensors: dict[str, Array] = {}
    for number, model in enumerate(models):
        header, arrays = _described(model)
        described.append(header)
        tensors |= {f"{number}.{name}": array for name, array in arrays.items()}
    memo: dict[Any, Any] = {id(model): Placeholder(i) for i, model in enumerate(models)}
    tensors[REST] = np.frombuffer(_dumped(copy.deepcopy(estimator, memo), trusted), np.uint8)
    header = {
        "format": model_file.PIPELINE,
        "format_version": VERSION,
        "aefast_version": __version__,
        "models": described,
    }
    metadata = {METADATA_KEY: json.dumps(header, allow_nan=False)}
    write(serialize(tensors, metadata), path)


def _models_in(estimator):
    """Return the estimators of aefast among the parts of an object, each once."""
    found, seen, waiting = [], set(), [estimator]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Saved):
            found.append(value)
        elif isinstance(value, BaseEstimator) and type(value).__module__.startswith("aefast."):
            raise TypeError(
                f"estimator has a {type(value).__name__} inside, which no file holds: put what it "
                "has fitted in its place, such as the best_estimator_ of an AutoencoderCV"
            )
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, (list, tuple, set)):
            waiting += value
        elif isinstance(value, np.ndarray):
            waiting += value.ravel().tolist() if value.dtype == object else []
        elif hasattr(value, "__dict__") and not isinstance(value, type):
            waiting += vars(value).values()
    return found


def _described(model):
    """Return header and arrays of an estimator of aefast, which need not be fitted."""
    try:
        check_is_fitted(model)
    except NotFittedError:
        try:
            parameters = model._saved_parameters()
        except AttributeError:
            raise ValueError(
                f"estimator has a {type(model).__name__} inside that is not fitted, whose "
                "parameters no file holds: fit it, or leave it out"
            ) from None
        header = {
            "format": model._file_format,
            "format_version": model._file_version,
            "aefast_version": __version__,
            "parameters": parameters,
        }
        return header | {"state": {}, "fitted": False}, {}
    header, tensors = describe(model)
    return header | {"fitted": True}, tensors


def _dumped(estimator, names):
    try:
        dump = stored(skops.dumps(estimator))
        strange = _untrusted(dump, names)
    except Exception as error:
        raise TypeError(
            f"estimator has parts that skops cannot write: {shown(str(error))}"
        ) from error
    if strange:
        raise ValueError(
            f"estimator has objects of types that are not trusted: {', '.join(strange)}. Name them "
            "in trusted here and in aefast.load, where files of these can be trusted, or leave "
            "them out"
        )
    return dump


def _untrusted(dump, names):
    found = skops.get_untrusted_types(data=dump)
    return sorted(name for name in found if name not in names and not _is_trusted(name))


# ---- reading ----


class _Part:
    """The tensors of a file under a prefix."""

    def __init__(self, file: Any, prefix: str) -> None:
        self._file, self._prefix = file, prefix

    def keys(self) -> list[str]:
        names = self._file.keys()
        return [name[len(self._prefix) :] for name in names if name.startswith(self._prefix)]

    def get_slice(self, name: str) -> Any:
        return self._file.get_slice(self._prefix + name)

    def get_tensor(self, name: str) -> Array:
        return self._file.get_tensor(self._prefix + name)


def restored(file: Any, header: dict[str, Any], trusted: list[str]) -> Any:
    """Return the estimator in an open safetensors file; ValueError if it is not valid."""
    model_file.check_version(header, VERSION)
    check_entries("header", header, _CHECKS)
    described = header["models"]
    owners = {name.partition(".")[0] for name in file.keys() if name != REST}
    if REST not in file.keys() or not owners <= set(map(str, range(len(described)))):
        raise ValueError(f"expected a tensor {REST!r}, and those of {len(described)} estimators")
    models = [_model(entry, _Part(file, f"{i}.")) for i, entry in enumerate(described)]
    hollow = _loaded(file.get_tensor(REST), trusted)
    memo: dict[Any, Any] = {_MODELS: models}
    return copy.deepcopy(hollow, memo)


def _model(described, tensors):
    if not FLAG.is_valid(described.get("fitted")):
        raise ValueError("expected whether an estimator is fitted")
    header = {name: value for name, value in described.items() if name != "fitted"}
    if described["fitted"]:
        return model_file.object_of(header, tensors)
    if tensors.keys():
        raise ValueError("expected no tensors of an estimator that is not fitted")
    return model_file.unfitted_of(header)


def _loaded(dump, names):
    if dump.dtype != np.uint8 or dump.ndim != 1:
        raise ValueError(f"expected {REST!r} as bytes, got {dump.dtype} of shape {dump.shape}")
    contents = dump.tobytes()
    try:
        check_is_plain(contents)
        strange = _untrusted(contents, names)
        all_types = skops.get_untrusted_types(data=contents)
        estimator = None if strange else skops.loads(contents, trusted=all_types)
    except Exception as error:  # skops checks types alone
        raise ValueError(f"its part of scikit-learn cannot be read: {shown(str(error))}") from error
    if strange:
        raise ValueError(
            f"it has objects of types that are not trusted: {shortened(strange)}. Name them in "
            "trusted, where you know who wrote the file"
        )
    if not isinstance(estimator, BaseEstimator):
        raise ValueError(f"expected an estimator, got {type(estimator).__name__}")
    return estimator
