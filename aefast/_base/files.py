"""Files that are written whole or not at all, such as model files (`aefast.model_file`)."""

import contextlib
import errno
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from safetensors.numpy import save as serialize
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from aefast._base.types import PathLike
from aefast._version import __version__

METADATA_KEY = "aefast"


def save(estimator: Any, path: PathLike) -> None:
    """Write a fitted estimator to one safetensors file.

    The file holds the parameters bit for bit (and an autoencoder's optimizer state), so that
    predictions and a later `partial_fit` are those of the estimator itself. Two constructor
    parameters are not saved: `callbacks`, which are code, and a `random_state` that is a generator
    object (saved as None; the seed drawn from it is part of the state).

    Parameters
    ----------
    estimator : estimator or SufficientStatistics
        Any fitted object of aefast that has a method `save`.
    path : str or path-like
        Name of the file; no suffix is added. The file is written to a temporary name in the same
        folder and renamed, so that on any failure an earlier file of this name is untouched.

    Raises
    ------
    sklearn.exceptions.NotFittedError
        If the estimator has not been fitted.
    ValueError
        If a constructor parameter has been set to a value it cannot have, or a number of the state
        is not finite.
    OSError
        If the file cannot be written.
    """
    if isinstance(estimator, BaseEstimator):
        check_is_fitted(estimator)
    names = getattr(estimator, "feature_names_in_", None)
    feature_names = None if names is None else [str(name) for name in names]
    header = {
        "format": estimator._file_format,
        "format_version": estimator._file_version,
        "aefast_version": __version__,
        "parameters": estimator._saved_parameters(),
        "state": estimator._saved_state() | {"feature_names": feature_names},
    }
    metadata = {METADATA_KEY: json.dumps(header, allow_nan=False)}
    tensors = estimator._saved_tensors()
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise ValueError(f"{name} must be finite to be saved")
    contents = serialize(
        {name: np.ascontiguousarray(part) for name, part in tensors.items()}, metadata
    )
    with replacing(path) as file:
        file.write(contents)


@contextlib.contextmanager
def replacing(path: PathLike) -> Iterator[BinaryIO]:
    """Give a binary file that takes the place of `path` when the block ends without an error.

    Until then, and on any error or interrupt, a file at `path` stays as it is. A symbolic link is
    followed, not replaced; the permissions of a file that is replaced are kept.
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
            # A failing or full disk must raise its error before the old file is replaced.
            os.fsync(file.fileno())
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
