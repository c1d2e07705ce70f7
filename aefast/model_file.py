"""Model files: one safetensors file per object, written atomically, read without pickle.

Each class that can be saved defines its own format (``aefast._base.saving``). Tensors are named
like the public attributes without the final underscore. An autoencoder has ``components``,
``decoder_components`` (only when untied), ``hidden_bias``, ``visible_bias``, and the optimizer
state of each, ``optimizer.0.components`` and so on. One metadata entry, ``aefast``, holds as JSON
the name and version of the format, the constructor's parameters and the rest of the fitted state.
(There is only one entry because safetensors writes several in no fixed order; with one, a model
always gives the same bytes.)
"""

import codecs
import importlib
import json
import os
import stat
import tempfile
from collections.abc import Collection
from typing import Any, BinaryIO

import numpy as np
from safetensors import SafetensorError, safe_open
from sklearn.base import BaseEstimator

from aefast._base import files, saving
from aefast._base.errors import shown
from aefast._base.exchange import interop
from aefast._base.files import METADATA_KEY, replacing
from aefast._base.paths import as_path
from aefast._base.saving import (
    COUNT,
    NAMES,
    OBJECT,
    TEXT,
    Saved,
    check_entries,
    check_names,
    shortened,
)
from aefast._base.types import PathLike
from aefast._version import __version__

__all__ = ["HOMES", "load", "replacing", "save"]


def __dir__() -> list[str]:
    return __all__


MODEL_NAME = "model.safetensors"  # of the model in the folder of a fit (`aefast fit`)

# Module and class of each format.
HOMES = {
    "aefast autoencoder": ("aefast.networks.autoencoder", "Autoencoder"),
    "aefast stacked autoencoder": ("aefast.networks.stacked", "StackedAutoencoder"),
    "aefast autoencoder ensemble": ("aefast.networks.ensemble", "AutoencoderEnsemble"),
    "aefast multinomial autoencoder": ("aefast.networks.multinomial", "MultinomialAutoencoder"),
    "aefast autoencoder classifier": ("aefast.networks.classifier", "AutoencoderClassifier"),
    "aefast autoencoder regressor": ("aefast.networks.regressor", "AutoencoderRegressor"),
    "aefast sufficient statistics": ("aefast._base.moments", "SufficientStatistics"),
    "aefast whitening": ("aefast.linear.whitening", "Whitening"),
    "aefast dictionary": ("aefast.sparse_coding.dictionary_learning", "DictionaryLearning"),
    "aefast sparse coder": ("aefast.sparse_coding.coder", "SparseCoder"),
    "aefast probabilistic pca": ("aefast.linear.probabilistic_pca", "ProbabilisticPCA"),
    "aefast factor analysis": ("aefast.linear.factor_analysis", "FactorAnalysis"),
    "aefast mixture of factor analyzers": ("aefast.linear.mixtures", "MixtureOfFactorAnalyzers"),
    "aefast mixture of probabilistic pca": ("aefast.linear.mixtures", "MixtureOfProbabilisticPCA"),
    "aefast marginalized autoencoder": ("aefast.linear.autoencoders", "MarginalizedAutoencoder"),
    "aefast item autoencoder": ("aefast.linear.item_autoencoder", "ItemAutoencoder"),
    "aefast imputer": ("aefast.imputation", "Imputer"),
    "aefast anomaly detector": ("aefast.anomaly", "AnomalyDetector"),
    "aefast table autoencoder": ("aefast.table_autoencoder", "TableAutoencoder"),
    "aefast table encoder": ("aefast.tables.encoder", "TableEncoder"),
}

PIPELINE = "aefast pipeline"  # an estimator of scikit-learn, read by aefast.interop.pipelines

# of files that are often taken for a model: how they begin, what they are and what to do
_FOREIGN_KINDS = (
    (
        (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"),
        "it is a pickle, which could run any code: where you trust it, unpickle the estimator "
        "yourself and write it with its method save",
    ),
    ((b"\x93NUMPY",), "it is a NumPy array: read it with numpy.load"),
    (
        (b"PK\x03\x04",),
        "it is a zip archive, as numpy.savez and torch.save write: read it with these",
    ),
    (
        (
            b"\x1f\x8b",
            b"BZh",
            b"\xfd7zXZ",
            b"x\x01",
            b"x\x9c",
            b"x\xda",
            b"x^",
            b"\x28\xb5\x2f\xfd",
        ),
        "it is compressed: give the file that was compressed",
    ),
)
_DTYPES = {"F32": np.float32, "F64": np.float64}
_HEADER_CHECKS = {
    "format": TEXT,
    "format_version": COUNT,
    "aefast_version": TEXT,
    "parameters": OBJECT,
    "state": OBJECT,
}
_FEATURE_NAMES = {"feature_names": saving.optional(NAMES)}  # entry in the state of every format


def save(
    estimator: Any, path: PathLike | BinaryIO, *, trusted: Collection[str] | None = None
) -> None:
    """Write a fitted estimator, or a pipeline with estimators inside, to one safetensors file.

    The file holds the parameters bit for bit (and an autoencoder's optimizer state), so that
    predictions and a later `partial_fit` are those of the estimator itself. These constructor
    parameters are not saved: `callbacks`, which are code; a `random_state` that is a generator
    object (saved as None; the seed drawn from it is part of the state); and what learning or codes
    start from, `dict_init` of `DictionaryLearning` and `init` of `SparseCoder`.

    A `Pipeline` or another estimator of scikit-learn holds estimators of aefast at any depth, each
    of which is written as alone. The rest is written with the package skops, objects of trusted
    types without any code; others are refused by name. No file has a pickle.

    Parameters
    ----------
    estimator : estimator or SufficientStatistics
        Any fitted object of aefast that has a method `save`, or a fitted estimator of scikit-learn.
    path : str, path-like or binary file
        Name of the file; no suffix is added. The file is written to a temporary name in the same
        folder and renamed, so that on any failure an earlier file of this name is untouched. The
        bytes are written to a file that is open for writing, or `io.BytesIO`, at its position.
    trusted : list of str or None, default=None
        For pipelines: names of types beside those of NumPy and of scikit-learn in Python, such as
        "sklearn.tree._tree.Tree", which are written, and read by `load` where it is given them too.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the estimator has not been fitted.
    TypeError
        If no file can hold the object, or a part of the pipeline; for `trusted` of another type.
    ImportError
        For a pipeline, without the package skops.
    ValueError
        If a constructor parameter has been set to a value it cannot have, or a number of the state
        is not finite; if a pipeline has objects of types that are not trusted.
    OSError
        If the file cannot be written.
    """
    names = _names(trusted)
    if isinstance(estimator, Saved):
        files.save(estimator, path)
    elif isinstance(estimator, BaseEstimator) and not _is_own(estimator):
        interop("pipelines").save(estimator, path, names)
    else:
        raise TypeError(
            "estimator must be a fitted object with a method save, or an estimator of "
            f"scikit-learn, got {type(estimator).__name__}"
        )


def _is_own(estimator):
    return type(estimator).__module__.startswith("aefast.")


def _names(trusted):
    """Return names of types as a list, or raise TypeError."""
    names = [] if trusted is None or isinstance(trusted, str) else trusted
    try:
        names = list(names)
    except TypeError:
        names = [None]
    if isinstance(trusted, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"trusted must be a list of names of types, got {shown(trusted)}")
    return names


def load(path: PathLike | BinaryIO, *, trusted: Collection[str] | None = None) -> Any:
    """Read an object that `save` has written.

    Parameters
    ----------
    path : str, path-like or binary file
        The file, or a folder with a file model.safetensors in it, as the command writes; or a file
        that is open for reading bytes, or `io.BytesIO`, which is read from its position to its end.
    trusted : list of str or None, default=None
        For pipelines of a source that you trust: names of further types whose objects are made. A
        compiled class may crash where its arrays are wrong; others may run code.

    Returns
    -------
    estimator : object
        A fitted object of the class that was saved. It predicts, and continues training with
        `partial_fit` where it has one, with the same bits as the saved object. Or the pipeline that
        was saved, whose parts of scikit-learn are read by skops, which makes objects of types
        that are trusted alone.

    Raises
    ------
    OSError
        If the file is missing or cannot be read.
    ValueError
        If it is not a complete, consistent model file of this or an earlier format version.
    ImportError
        For a pipeline, without the package skops.
    """
    types = _names(trusted)
    if hasattr(path, "read"):
        return _load_open(path, types)
    name = as_path(path)
    if os.path.isdir(name):
        name = _model_in(name)
    return _load(name, name, types)


def _load_open(file, trusted):
    """Read an object from an open file; safetensors reads metadata of named files alone."""
    contents = file.read()
    if not isinstance(contents, (bytes, bytearray, memoryview)):
        raise TypeError(
            f"path must be open for reading bytes (mode 'rb'), got {type(contents).__name__}"
        )
    with tempfile.NamedTemporaryFile(prefix="aefast-") as copy:
        copy.write(contents)
        copy.flush()
        return _load(copy.name, "the open file", trusted)


def _load(path, name, trusted):
    """Read an object from a file; `name` stands for it in errors."""
    _check_is_regular_file(path)
    try:
        with safe_open(path, framework="numpy") as file:
            return _read(file, trusted)
    except (SafetensorError, ValueError, TypeError) as error:
        reason = (isinstance(error, SafetensorError) and _foreign_kind(path)) or error
        raise ValueError(f"{name} is not a model file that aefast can load: {reason}") from error


# ---- reading ----


def _model_in(folder):
    path = os.path.join(folder, MODEL_NAME)
    if not os.path.lexists(path):
        raise ValueError(
            f"{folder} is not a regular file but a folder, with no {MODEL_NAME} in it: give the "
            "path of a file that save has written, or the folder of a fit"
        )
    return path


def _foreign_kind(path):
    """Return what a file is that is no safetensors file, and what to do; None if unknown."""
    with open(path, "rb") as file:
        beginning = file.read(1024)
    if not beginning:
        return "it is empty"
    for prefixes, kind in _FOREIGN_KINDS:
        if beginning.startswith(prefixes):
            return kind
    try:  # a character may be cut at the end
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(beginning)
    except UnicodeDecodeError:
        return None
    if not "".join(text.split()).isprintable():
        return None
    if "," in text or ";" in text or "\t" in text:
        return "it is text, a table perhaps: read it as data, with numpy.loadtxt or pandas.read_csv"
    return "it is text: give the path of a file that save has written"


def _check_is_regular_file(path):
    if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for its writer
        raise ValueError(f"{path} is not a regular file")
    with open(path, "rb"):  # a file that cannot be read gets Python's own OSError
        pass


def _read(file, trusted):
    """Return the object in an open safetensors file, or raise a ValueError if it is invalid.

    safetensors has already checked that every tensor lies within the file, so nothing read here can
    be larger than the file.
    """
    header = _read_header(file.metadata())
    if header["format"] == PIPELINE:
        return interop("pipelines").restored(file, header, trusted)
    return object_of(header, file)


def object_of(header: dict[str, Any], file: Any) -> Any:
    """Return the object of a header and an open file's tensors; ValueError if it is invalid."""
    cls, state = _class_of(header), header["state"]
    cls._upgrade(header["format_version"], header["parameters"], state)
    check_entries("state", state, cls._state_checks() | _FEATURE_NAMES)
    estimator = cls._from_parameters(header["parameters"])
    feature_names = state.pop("feature_names")
    estimator._restore(state, _read_tensors(file, cls._tensor_layout(state)))
    estimator._check_restored()
    if feature_names is not None:
        if len(feature_names) != estimator.n_features_in_:
            raise ValueError(
                f"expected {estimator.n_features_in_} feature names, got {len(feature_names)}"
            )
        estimator.feature_names_in_ = np.array(feature_names, dtype=object)
    return estimator


def unfitted_of(header: dict[str, Any]) -> Any:
    """Return the object of a header without a state; ValueError if it is invalid."""
    cls = _class_of(header)
    cls._upgrade(header["format_version"], header["parameters"], {})
    estimator = cls._from_parameters(header["parameters"])
    estimator._validate_params()
    return estimator


def _class_of(header):
    """Return the class of a header that is complete and of a version that can be read."""
    if header.get("format") not in HOMES:
        got = shortened(header.get("format"))
        raise ValueError(f"expected a format that is one of {', '.join(HOMES)}, got {got}")
    module, name = HOMES[header["format"]]
    cls = getattr(importlib.import_module(module), name)
    check_version(header, cls._file_version)
    check_entries("header", header, _HEADER_CHECKS)
    return cls


def _read_header(metadata):
    text = (metadata or {}).get(METADATA_KEY)
    if text is None:
        raise ValueError(f"its metadata has no entry {METADATA_KEY!r}, so another program wrote it")
    try:
        header = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("its metadata is nested too deeply") from None
    if not isinstance(header, dict) or not isinstance(header.get("format"), str):
        raise ValueError("expected a JSON object with a format in its metadata")
    if header["format"] not in (*HOMES, PIPELINE):
        raise ValueError(
            f"its format is {shortened(header['format'])}; aefast {__version__} reads "
            f"{', '.join((*HOMES, PIPELINE))}"
        )
    return header


def _refuse_constant(constant):
    raise ValueError(f"expected finite numbers in its metadata, got {constant}")


def check_version(header: dict[str, Any], newest: int) -> None:
    """Raise ValueError for a header without a version, or of a later one than the newest."""
    version: Any = header.get("format_version")
    if not saving.is_count(version) or version == 0:
        raise ValueError(
            f"expected a positive integer as its format version, got {shortened(version)}"
        )
    if version > newest:
        raise ValueError(
            f"it has format version {version}, written by aefast "
            f"{shortened(header.get('aefast_version'))}; "
            f"aefast {__version__} reads versions up to {newest}: upgrade aefast"
        )


def _read_tensors(file, layout):
    """Return the arrays of a layout after checking their names, shapes, types and values.

    Names, shapes and types of all arrays are checked before any values are read.
    """
    check_names("tensors", file.keys(), layout)
    common_type = None
    for name, (shape, wanted) in layout.items():
        tensor = file.get_slice(name)
        dtype = tensor.get_dtype()
        if dtype not in _DTYPES:
            raise ValueError(
                f"expected tensors of float32 or float64 (F32, F64), got {dtype} as {name!r}"
            )
        if wanted is None:
            wanted = common_type = common_type or dtype  # all such tensors have one type
        got = dtype, tuple(tensor.get_shape())
        if got != (wanted, shape):
            raise ValueError(f"expected {name!r} of {(wanted, shape)}, got {got}")
    tensors = {name: file.get_tensor(name) for name in layout}
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise ValueError(f"{name!r} has values that are not finite")
    return tensors
