"""The file of a fitted `AnomalyDetector`, with the files of its estimator and encoder inside."""

import importlib
from typing import Any

import numpy as np

from aefast._anomaly_labels import Head
from aefast._anomaly_models import FittedEstimator
from aefast._anomaly_references import References, Slots
from aefast._anomaly_rows import MOST_CALIBRATION, Calibration
from aefast._anomaly_tables import Columns
from aefast._base import checkpoints
from aefast._base.saving import (
    COUNT,
    FLAG,
    NAMES,
    NUMBER,
    OBJECT,
    SEED,
    SIZE,
    TEXT,
    Saved,
    Tensor,
    check_entries,
    optional,
)
from aefast._base.types import Array

_INNER = {
    "format": TEXT,
    "version": COUNT,
    "parameters": OBJECT,
    "state": OBJECT,
    "feature_names": optional(NAMES),
}


class SavedDetector(Saved):
    """The file of a detector.

    What is usual follows from model and calibration rows, and is computed again. `estimator` and
    `roles` are not saved as parameters: the fitted estimator and the encoder stand for them.
    """

    _file_format = "aefast anomaly detector"
    _parameters_not_saved = ("estimator", "roles")
    _parameters_of_process = checkpoints.PARAMETERS

    estimator: Any
    offset_: float
    n_features_in_: int
    _columns: Columns
    _model: Any
    _calibration: Calibration
    _head: Head | None
    _seed: int
    _n_calls: int
    _set_usual: Any

    def _saved_state(self) -> dict[str, Any]:
        model, calibration = self._model, self._calibration
        is_estimator = isinstance(model, FittedEstimator)
        encoder = self._columns.encoder
        return {
            "n_features": self.n_features_in_,
            "n_columns": len(self._columns.shares),
            "variables": [str(name) for name in self._columns.names],
            "seed": self._seed,
            "n_calls": self._n_calls,
            "offset": float(self.offset_),
            "n_calibration": len(calibration.rows),
            "is_held_out": calibration.is_held_out,
            "encoder": None if encoder is None else _header(encoder),
            "estimator": _header(model.estimator) if is_estimator else None,
            "references": None if is_estimator else model.saved_state(),
            "head": None if self._head is None else self._head.saved_state(),
        }

    @classmethod
    def _state_checks(cls) -> dict[str, Any]:
        return {
            "n_features": SIZE,
            "n_columns": SIZE,
            "variables": NAMES,
            "seed": SEED,
            "n_calls": COUNT,
            "offset": NUMBER,
            "n_calibration": COUNT,
            "is_held_out": FLAG,
            "encoder": optional(OBJECT),
            "estimator": optional(OBJECT),
            "references": optional(OBJECT),
            "head": optional(OBJECT),
        }

    @classmethod
    def _tensor_layout(cls, state: dict[str, Any]) -> dict[str, Tensor]:
        d, c = state["n_columns"], state["n_calibration"]
        if (state["estimator"] is None) == (state["references"] is None):
            raise ValueError("expected an estimator or references")
        if not 1 <= c <= MOST_CALIBRATION:
            raise ValueError(f"expected 1 to {MOST_CALIBRATION} calibration rows, got {c}")
        if state["encoder"] is None and not len(state["variables"]) == d == state["n_features"]:
            raise ValueError(f"expected {d} variables and features")
        layout = {
            "calibration_weight": Tensor((c,), "F64"),
            "calibration_keys": Tensor((c,), "F64"),
            **_layout_of_gaps("calibration", (c, d)),
        }
        if state["encoder"] is not None:
            layout |= _inner_layout("encoder", state["encoder"])
        if state["estimator"] is not None:
            layout |= {
                "spread": Tensor((d,), "F64"),
                **_inner_layout("estimator", state["estimator"]),
            }
        else:
            check_entries("references", state["references"], References.STATE)
            shape = state["references"]["n_sets"], state["references"]["n_references"], d
            for name, of in (("references", shape), ("low", (d,)), ("high", (d,))):
                layout |= _layout_of_gaps(name, of)
        if state["head"] is not None:
            check_entries("head", state["head"], {"bias": NUMBER, "n_weights": SIZE})
            layout |= dict.fromkeys(_HEAD, Tensor((state["head"]["n_weights"],), "F64"))
        return layout

    def _saved_tensors(self) -> dict[str, Array]:
        calibration, model = self._calibration, self._model
        tensors = {
            "calibration_weight": calibration.weight,
            "calibration_keys": calibration.keys,
            **_with_gaps("calibration", calibration.rows),
        }
        if self._columns.encoder is not None:
            tensors |= _inner_tensors("encoder", self._columns.encoder)
        if isinstance(model, FittedEstimator):
            tensors |= {"spread": model.spread, **_inner_tensors("estimator", model.estimator)}
        else:
            for name, array in zip(("references", "low", "high"), model.slots[:3], strict=True):
                tensors |= _with_gaps(name, array)
        if self._head is not None:
            tensors |= dict(zip(_HEAD, self._head[:3], strict=True))
        return tensors

    def _restore(self, state: dict[str, Any], tensors: dict[str, Array]) -> None:
        encoder = None
        if state["encoder"] is not None:
            encoder = _restored("encoder", state["encoder"], tensors)
            names = [variable.name for variable in encoder.variables_]
            if encoder._layout.n_columns != state["n_columns"]:
                raise ValueError(f"expected an encoder of {state['n_columns']} columns")
        else:
            names = state["variables"]
        self.n_features_in_ = state["n_features"]
        self._columns = Columns(encoder, names, state["n_columns"])
        self._seed, self._n_calls = state["seed"], state["n_calls"]
        weight, keys = tensors["calibration_weight"], tensors["calibration_keys"]
        if not (weight > 0).all():
            raise ValueError("expected positive weights of calibration rows")
        rows = _gaps_of("calibration", tensors)
        self._calibration = Calibration(rows, weight, keys, state["is_held_out"])
        if state["estimator"] is not None:
            estimator = _restored("estimator", state["estimator"], tensors)
            self._model = FittedEstimator(estimator, tensors["spread"])
            self.estimator = estimator
        else:
            rows, low, high = (_gaps_of(name, tensors) for name in ("references", "low", "high"))
            slots = Slots(rows, low, high, state["references"]["weight"])
            self._model = References(slots, self._columns.shares)
        self._head = None
        if state["head"] is not None:
            centre, scale, weights = (tensors[name] for name in _HEAD)
            self._head = Head(centre, scale, weights, state["head"]["bias"])
        try:
            self._set_usual()
        except (FloatingPointError, AttributeError) as error:
            raise ValueError(f"its model cannot score its rows: {error}") from error
        self.offset_ = state["offset"]


_HEAD = ("head_centre", "head_scale", "head_weights")


# ---- arrays with missing entries, which files cannot hold as NaN ----


def _layout_of_gaps(name: str, shape: tuple) -> dict[str, Tensor]:
    return {name: Tensor(shape), f"{name}_missing": Tensor(shape, "F32")}


def _with_gaps(name: str, array: Array) -> dict[str, Array]:
    missing = np.isnan(array)
    return {name: np.where(missing, 0, array), f"{name}_missing": missing.astype(np.float32)}


def _gaps_of(name: str, tensors: dict[str, Array]) -> Array:
    return np.where(tensors[f"{name}_missing"] > 0, np.nan, tensors[name]).astype(
        tensors[name].dtype, copy=False
    )


# ---- objects inside ----


def _header(inner: Any) -> dict[str, Any]:
    names = getattr(inner, "feature_names_in_", None)
    return {
        "format": inner._file_format,
        "version": inner._file_version,
        "parameters": inner._saved_parameters(),
        "state": inner._saved_state(),
        "feature_names": None if names is None else [str(name) for name in names],
    }


def _inner_tensors(prefix: str, inner: Any) -> dict[str, Array]:
    return {f"{prefix}.{name}": array for name, array in inner._saved_tensors().items()}


def _class_of(header: dict[str, Any]) -> Any:
    from aefast.model_file import HOMES

    check_entries("inner header", header, _INNER)
    if header["format"] not in HOMES:
        raise ValueError(f"expected a format that aefast reads, got {header['format']!r}")
    module, name = HOMES[header["format"]]
    cls = getattr(importlib.import_module(module), name)
    if not 1 <= header["version"] <= cls._file_version:
        raise ValueError(
            f"expected a version up to {cls._file_version} of {header['format']!r}, got "
            f"{header['version']}: upgrade aefast"
        )
    return cls


def _inner_layout(prefix: str, header: dict[str, Any]) -> dict[str, Tensor]:
    cls = _class_of(header)
    cls._upgrade(header["version"], header["parameters"], header["state"])
    check_entries("state", header["state"], cls._state_checks())
    return {f"{prefix}.{name}": of for name, of in cls._tensor_layout(header["state"]).items()}


def _restored(prefix: str, header: dict[str, Any], tensors: dict[str, Array]) -> Any:
    made = _class_of(header)._from_parameters(header["parameters"])
    start = f"{prefix}."
    own = {name.removeprefix(start): t for name, t in tensors.items() if name.startswith(start)}
    made._restore(header["state"], own)
    made._check_restored()
    if header["feature_names"] is not None:
        made.feature_names_in_ = np.array(header["feature_names"], dtype=object)
    return made
