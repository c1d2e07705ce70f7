"""Files of checkpoints: their header, and the stages in it, checked before anything uses them."""

import json
from typing import Any, NamedTuple

import numpy as np

from aefast._base.saving import (
    COUNT,
    FLAG,
    NAMES,
    OBJECT,
    SEED,
    TEXT,
    check_entries,
    optional,
    shortened,
)
from aefast._base.types import Array

FORMAT, VERSION = "aefast checkpoint", 1

_HEADER_CHECKS = {
    "format": TEXT,
    "format_version": COUNT,
    "aefast_version": TEXT,
    "instruction_set": TEXT,
    "estimator": TEXT,
    "parameters": OBJECT,
    "seed": SEED,
    "feature_names": optional(NAMES),
    "tables": OBJECT,
    "start": OBJECT,
    "stages": OBJECT,
}
_STAGE_CHECKS = {"is_over": FLAG, "state": OBJECT}


class Stored(NamedTuple):
    """State and arrays of a stage in a file."""

    is_over: bool
    state: dict[str, Any]
    tensors: dict[str, Array]


def contents_of(header: dict[str, Any], stages: dict[str, Stored]) -> bytes:
    """Return the bytes of a file with these entries of the header and these stages."""
    from aefast._base.files import METADATA_KEY, serialize  # loads safetensors

    described = {
        "format": FORMAT,
        "format_version": VERSION,
        **header,
        "stages": {
            name: {"is_over": stage.is_over, "state": stage.state} for name, stage in stages.items()
        },
    }
    tensors = {
        f"{name}/{array}": np.ascontiguousarray(value)
        for name, stage in stages.items()
        for array, value in stage.tensors.items()
    }
    return serialize(tensors, {METADATA_KEY: json.dumps(described, allow_nan=False)})


class NoCheckpoint(ValueError):
    """A file that is no whole checkpoint."""


def header_of(metadata: Any) -> dict[str, Any]:
    from aefast._base.files import METADATA_KEY

    try:
        header = json.loads((metadata or {})[METADATA_KEY])
    except (KeyError, ValueError, RecursionError):
        raise NoCheckpoint("another program wrote it") from None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        kind = header.get("format") if isinstance(header, dict) else None
        raise NoCheckpoint(f"its format is {shortened(kind)}")
    version = header.get("format_version")
    if type(version) is int and version > VERSION:
        raise NoCheckpoint(f"it has format version {version}: upgrade aefast")
    try:
        check_entries("header", header, _HEADER_CHECKS)
        for name, stage in header["stages"].items():
            if not isinstance(stage, dict):
                raise ValueError(f"expected an object as stage {shortened(name)}")
            check_entries("stage", stage, _STAGE_CHECKS)
    except ValueError as error:
        raise NoCheckpoint(str(error)) from None
    return header


def stages_in(header: dict[str, Any], file: Any) -> dict[str, Stored]:
    tensors: dict[str, dict[str, Array]] = {name: {} for name in header["stages"]}
    for key in file.keys():  # a file has no __iter__
        name, _, array = key.rpartition("/")
        if name not in tensors:
            raise NoCheckpoint(f"its tensor {shortened(key)} belongs to no stage")
        tensors[name][array] = file.get_tensor(key)
    return {
        name: Stored(stage["is_over"], stage["state"], tensors[name])
        for name, stage in header["stages"].items()
    }
