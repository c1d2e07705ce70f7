"""Model files: one safetensors file per estimator, written whole or not at all, and read without pickle.

The tensors are the parameters and the optimizer's state, each under the name of the part it belongs to:
``components``, ``decoder_components`` (only when untied), ``hidden_bias``, ``visible_bias``, and
``optimizer.0.components`` and so on for what the solver remembers of each. One metadata entry, ``aefast``, holds as
JSON the format's name and version, the constructor's parameters and the rest of the fitted state. (One entry, because
safetensors writes several in no fixed order: so the same model gives the same bytes.)
"""

import contextlib
import errno
import json
import math
import os
import secrets
import shutil
import stat

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialize
from sklearn.utils.validation import check_is_fitted

from aefast._autoencoder import ACTIVATIONS, OUTPUTS, SOLVERS
from aefast._fitted import FittedState, n_optimizer_states
from aefast._model import Model
from aefast._validation import LARGEST_SIZE
from aefast._version import __version__
from aefast.autoencoder import Autoencoder

_METADATA_KEY = "aefast"
_FORMAT = "aefast autoencoder"
_FORMAT_VERSION = 1
_DTYPES = {"F32": np.float32, "F64": np.float64}
_NOT_SAVED = ("callbacks",)


def save(estimator, path):
    """Write a fitted estimator to one safetensors file.

    The file holds the parameters and the optimizer's state bit for bit, so that predictions and a later `partial_fit`
    are those of the estimator itself. Two constructor parameters do not travel: `callbacks`, which are code, and a
    `random_state` that is a generator object (saved as None; the seed drawn from it is part of the state).

    Parameters
    ----------
    estimator : Autoencoder
        A fitted estimator.
    path : str or path-like
        Where to write; used as it is, no suffix is added. The file is written beside its target and renamed into
        place, so that on any failure what was there before is untouched.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the estimator has not been fitted.
    ValueError
        If a constructor parameter has been set to a value it cannot have.
    OSError
        If the file cannot be written.
    """
    check_is_fitted(estimator)
    header = {
        "format": _FORMAT,
        "format_version": _FORMAT_VERSION,
        "aefast_version": __version__,
        "parameters": _parameters_of(estimator),
        "state": _state_of(estimator),
    }
    metadata = {_METADATA_KEY: json.dumps(header, allow_nan=False)}
    contents = serialize(_tensors_of(estimator._state), metadata)
    with replacing(path) as file:
        file.write(contents)


def load(path):
    """Read an estimator that `save` has written.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    estimator : Autoencoder
        A fitted estimator that predicts, and goes on with `partial_fit`, bit for bit like the one that was saved.

    Raises
    ------
    OSError
        If the file is missing or cannot be read.
    ValueError
        If it is anything but a whole, consistent model file of this or an earlier format version.
    """
    path = os.fsdecode(path)
    _check_is_regular_file(path)
    try:
        with safe_open(path, framework="numpy") as file:
            return _read_estimator(file)
    except (SafetensorError, ValueError, TypeError) as error:
        raise ValueError(f"{path} is not a model file that aefast can load: {error}") from error


@contextlib.contextmanager
def replacing(path):
    """Give a binary file that takes the place of `path` when the block ends well.

    Until then, and on any error or interrupt, whatever is at `path` stays as it is. A link keeps pointing where it
    points; the permissions of a file that is replaced are kept.
    """
    target = os.path.realpath(os.fsdecode(path))
    if os.path.isdir(target):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), target)
    if os.path.exists(target) and not os.path.isfile(target):
        raise OSError(errno.EINVAL, "Not a regular file, so it cannot be replaced", target)
    beside = os.path.join(os.path.dirname(target), f".aefast-{secrets.token_hex(8)}.tmp")
    try:
        with open(beside, "xb") as file:
            yield file
            file.flush()
            os.fsync(
                file.fileno()
            )  # a disk that fails or is full says so before the old file is gone
        if os.path.exists(target):
            shutil.copymode(target, beside)
        os.replace(beside, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        if isinstance(error, OSError) and error.filename in (None, beside):
            message = error.strerror or str(error)
            raise OSError(error.errno or errno.EIO, message, target) from error
        raise


# ---- what is written ----


def _parameters_of(estimator):
    estimator._validate_params()  # what is written can be read again
    parameters = estimator.get_params(deep=False)
    for name in _NOT_SAVED:
        del parameters[name]
    if isinstance(parameters["random_state"], np.random.RandomState):
        parameters["random_state"] = None
    return {name: _as_json(value) for name, value in parameters.items()}


def _as_json(value):
    """NumPy's scalars as Python's; what else a valid parameter can be, JSON knows."""
    if isinstance(value, np.floating):
        return float(value)
    return value.item() if isinstance(value, np.generic) else value


def _state_of(estimator):
    state = estimator._state
    names = getattr(estimator, "feature_names_in_", None)
    return {
        "model": state.model._asdict(),
        "solver": state.solver,
        "n_optimizer_states": len(state.optimizer_state),
        "n_steps": int(state.n_steps),
        "n_rows_seen": int(state.n_rows_seen),
        "seed": int(state.seed),
        "n_epochs": int(estimator.n_epochs_),
        "loss_curve": [float(loss) for loss in estimator.loss_curve_],
        "validation_loss_curve": [float(loss) for loss in estimator.validation_loss_curve_],
        "feature_names": None if names is None else [str(name) for name in names],
    }


def _tensors_of(state):
    if not (np.isfinite(state.parameters).all() and np.isfinite(state.optimizer_state).all()):
        raise ValueError("parameters and optimizer state must be finite to be saved")
    tensors = state.model.parts(state.parameters)
    for index, flat in enumerate(state.optimizer_state):
        tensors |= {
            f"optimizer.{index}.{name}": part for name, part in state.model.parts(flat).items()
        }
    return tensors


# ---- what is read ----


def _check_is_regular_file(path):
    if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for its writer
        raise ValueError(f"{path} is not a regular file")
    with open(path, "rb"):  # a file that cannot be read gets Python's own OSError
        pass


def _read_estimator(file):
    """The estimator in an open safetensors file; ValueError for whatever is wrong with it.

    safetensors itself has checked that every tensor lies within the file, so nothing read here can be larger than it.
    """
    header = _read_header(file.metadata())
    state = header["state"]
    estimator = _new_estimator(header["parameters"])
    model = Model(**state["model"])
    tensors = _read_tensors(file, model, state["n_optimizer_states"])
    estimator._state = FittedState(
        model=model,
        solver=state["solver"],
        parameters=tensors[0],
        optimizer_state=tensors[1:],
        n_steps=state["n_steps"],
        n_rows_seen=state["n_rows_seen"],
        seed=state["seed"],
    )
    estimator.n_features_in_ = model.n_features
    if state["feature_names"] is not None:
        estimator.feature_names_in_ = np.array(state["feature_names"], dtype=object)
    estimator.loss_curve_ = state["loss_curve"]
    estimator.validation_loss_curve_ = state["validation_loss_curve"]
    estimator.n_epochs_ = state["n_epochs"]
    return estimator


def _read_header(metadata):
    text = (metadata or {}).get(_METADATA_KEY)
    if text is None:
        raise ValueError(
            f"its metadata has no entry {_METADATA_KEY!r}, so another program wrote it"
        )
    try:
        header = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("its metadata is nested too deeply") from None
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        raise ValueError(f"expected a JSON object of format {_FORMAT!r} in its metadata")
    version = header.get("format_version")
    if not _is_count(version) or version == 0:
        raise ValueError(
            f"expected a positive integer as its format version, got {_shortened(version)}"
        )
    if version > _FORMAT_VERSION:
        raise ValueError(
            f"it has format version {version}, written by aefast {_shortened(header.get('aefast_version'))}; "
            f"aefast {__version__} reads versions up to {_FORMAT_VERSION}: upgrade aefast"
        )
    _check_entries("header", header, _HEADER_CHECKS)
    _check_entries("state", header["state"], _STATE_CHECKS)
    _check_entries("model", header["state"]["model"], _MODEL_CHECKS)
    _check_consistency(header["state"])
    return header


def _refuse_constant(constant):
    raise ValueError(f"expected finite numbers in its metadata, got {constant}")


def _check_consistency(state):
    names, n_features = state["feature_names"], state["model"]["n_features"]
    if names is not None and len(names) != n_features:
        raise ValueError(f"expected {n_features} feature names, got {len(names)}")
    allowed = {n_optimizer_states(state["solver"], momentum) for momentum in (0.0, 0.5)}
    if state["n_optimizer_states"] not in allowed:
        raise ValueError(
            f"expected {sorted(allowed)} as 'n_optimizer_states' of {state['solver']}, "
            f"got {state['n_optimizer_states']}"
        )


def _new_estimator(parameters):
    known = Autoencoder().get_params(deep=False)
    for name in _NOT_SAVED:
        del known[name]
    _check_names("constructor parameters", parameters, known)
    for name, value in parameters.items():
        if not _is_json_scalar(value):
            raise ValueError(
                f"expected a number, a string or null as {name!r}, got {_shortened(value)}"
            )
    estimator = Autoencoder(**parameters)
    estimator._validate_params()
    return estimator


def _read_tensors(file, model, n_optimizer_states):
    """The flat parameters, and below them the optimizer's states, after checking names, shapes, types and values."""
    prefixes = ["", *(f"optimizer.{index}." for index in range(n_optimizer_states))]
    names = [prefix + name for prefix in prefixes for name in model.layout]
    _check_names("tensors", file.keys(), names)
    dtype = file.get_slice("components").get_dtype()
    if dtype not in _DTYPES:
        raise ValueError(f"expected tensors of float32 or float64 (F32, F64), got {dtype}")
    for prefix in prefixes:
        for name, shape in model.layout.items():
            tensor = file.get_slice(prefix + name)
            got = tensor.get_dtype(), tuple(tensor.get_shape())
            if got != (dtype, shape):
                raise ValueError(f"expected {prefix + name!r} of {(dtype, shape)}, got {got}")
    flat = np.empty((len(prefixes), model.n_parameters), _DTYPES[dtype])
    for row, prefix in zip(flat, prefixes, strict=True):
        for name, part in model.parts(row).items():
            part[...] = file.get_tensor(prefix + name)
            if not np.isfinite(part).all():
                raise ValueError(f"{prefix + name!r} has values that are not finite")
    return flat


# ---- what JSON may hold ----


def _is_json_scalar(value):
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, (bool, int, str))


def _is_count(value):
    return type(value) is int and 0 <= value < 2**63


def _is_size(value):
    return type(value) is int and 1 <= value <= LARGEST_SIZE


def _is_loss_curve(value):
    return isinstance(value, list) and all(
        isinstance(loss, float) and math.isfinite(loss) for loss in value
    )


def _is_names(value):
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _one_of(names):
    return (lambda value: isinstance(value, str) and value in names), f"one of {list(names)}"


_COUNT = _is_count, "an integer in [0, 2**63)"
_SIZE = _is_size, f"an integer in [1, {LARGEST_SIZE}]"
_LOSS_CURVE = _is_loss_curve, "a list of finite floats"
_OBJECT = (lambda value: isinstance(value, dict)), "an object"
_TEXT = (lambda value: isinstance(value, str)), "a string"

_HEADER_CHECKS = {
    "format": _TEXT,
    "format_version": _COUNT,
    "aefast_version": _TEXT,
    "parameters": _OBJECT,
    "state": _OBJECT,
}
_STATE_CHECKS = {
    "model": _OBJECT,
    "solver": _one_of(SOLVERS),
    "n_optimizer_states": _COUNT,
    "n_steps": _COUNT,
    "n_rows_seen": _COUNT,
    "seed": _COUNT,
    "n_epochs": _COUNT,
    "loss_curve": _LOSS_CURVE,
    "validation_loss_curve": _LOSS_CURVE,
    "feature_names": (lambda value: value is None or _is_names(value), "a list of strings or null"),
}
_MODEL_CHECKS = {
    "n_features": _SIZE,
    "n_components": _SIZE,
    "tied": ((lambda value: isinstance(value, bool)), "true or false"),
    "activation": _one_of(ACTIVATIONS),
    "output": _one_of(OUTPUTS),
}


def _check_entries(what, entries, checks):
    _check_names(f"{what} entries", entries, checks)
    for name, (is_valid, expected) in checks.items():
        if not is_valid(entries[name]):
            raise ValueError(f"expected {expected} as {name!r}, got {_shortened(entries[name])}")


def _check_names(what, got, expected):
    missing, unknown = sorted(set(expected) - set(got)), sorted(set(got) - set(expected))
    if missing or unknown:
        raise ValueError(
            f"its {what} are not those of a model: missing {_shortened(missing)}, unknown {_shortened(unknown)}"
        )


def _shortened(value):
    text = repr(value)
    return text if len(text) <= 100 else text[:97] + "..."
