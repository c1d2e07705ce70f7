"""Files that are written whole or not at all, such as model files (`aefast.model_file`)."""

import contextlib
import errno
import fcntl
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from safetensors.numpy import save as serialize
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from aefast._base.paths import as_path
from aefast._base.types import Array, PathLike
from aefast._version import __version__

METADATA_KEY = "aefast"

_PREFIX, _SUFFIX = ".aefast-", ".tmp"  # of temporary files
_TEMPORARY = re.compile(r"\.aefast-[0-9a-f]{16}\.tmp")


def save(estimator: Any, path: PathLike | BinaryIO) -> None:
    """Write a fitted object to one safetensors file; `aefast.save` documents it."""
    header, tensors = describe(estimator)
    metadata = {METADATA_KEY: json.dumps(header, allow_nan=False)}
    write(serialize(tensors, metadata), path)


def describe(estimator: Any) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return the header of a fitted object's file, and its arrays."""
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
    tensors = estimator._saved_tensors()
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise ValueError(f"{name} must be finite to be saved")
    return header, {name: np.ascontiguousarray(part) for name, part in tensors.items()}


def write(contents: bytes, path: PathLike | BinaryIO) -> None:
    """Write a file as a whole, or to a file that is open."""
    if hasattr(path, "write"):
        path.write(contents)
        return
    with replacing(path) as file:
        file.write(contents)


@contextlib.contextmanager
def replacing(path: PathLike) -> Iterator[BinaryIO]:
    """Give a binary file that takes the place of `path` when the block ends without an error.

    Until then, and on any error or interrupt, a file at `path` stays as it is. A symbolic link is
    followed, not replaced; the permissions of a file that is replaced are those of the new file
    from its first byte. Temporary files that a killed process left in the folder are removed.
    """
    target = os.path.realpath(as_path(path))
    if os.path.isdir(target):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), target)
    if os.path.exists(target) and not os.path.isfile(target):
        raise OSError(errno.EINVAL, "Not a regular file, so it cannot be replaced", target)
    folder = os.path.dirname(target)
    _remove_abandoned(folder)
    beside = None
    try:
        descriptor, beside = _create_locked(folder, target)
        with open(descriptor, "wb") as file:
            try:
                yield file
                file.flush()
                # a disk that fails or is full says so before the old file is gone
                os.fsync(descriptor)
            except OSError as error:
                if error.errno is None:  # NumPy counts the bytes, but keeps no cause
                    _write_more(descriptor)
                raise
            os.replace(beside, target)  # while the lock is held
        _sync_folder(folder)
    except BaseException as error:
        if beside is not None:
            with contextlib.suppress(OSError):
                os.unlink(beside)
        if isinstance(error, OSError) and _is_none_or_temporary(error.filename):
            message = error.strerror or str(error)
            raise OSError(error.errno or errno.EIO, message, target) from error
        raise


def _is_none_or_temporary(path):
    return path is None or _TEMPORARY.fullmatch(os.path.basename(os.fsdecode(path))) is not None


def _create_locked(folder, target):
    """Create a temporary file. Returns its descriptor, which holds a lock on it, and its path.

    The file has the permissions of `target`, where there is one, before anything is written to it.
    """
    try:
        mode = stat.S_IMODE(os.stat(target).st_mode)
    except FileNotFoundError:
        mode = None
    while True:
        path = os.path.join(folder, f"{_PREFIX}{secrets.token_hex(8)}{_SUFFIX}")
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o666 if mode is None else 0o600)
        try:
            if mode is not None:
                os.fchmod(descriptor, mode)
            if _is_locked(descriptor) is not False and os.fstat(descriptor).st_nlink:
                return descriptor, path
        except BaseException:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                os.unlink(path)
            raise
        os.close(descriptor)  # another save took the file for an abandoned one: a new one


def _is_locked(descriptor):
    """Try to lock a file. Returns whether the lock is now ours; None where files have no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _remove_abandoned(folder):
    """Remove the temporary files in a folder whose writers are gone: their locks are free.

    A lock ends with its process on whatever machine that ran, while the number of a process says
    nothing in a folder that several machines share. Files that cannot be locked stay.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        names = [name for name in (entry.name for entry in entries) if _TEMPORARY.fullmatch(name)]
        for path in (os.path.join(folder, name) for name in names):
            with contextlib.suppress(OSError):
                descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    if stat.S_ISREG(os.fstat(descriptor).st_mode) and _is_locked(descriptor):
                        os.unlink(path)
                finally:
                    os.close(descriptor)


def _write_more(descriptor):
    """Write to the end of a file, for the error that says why writing to it has failed."""
    os.lseek(descriptor, 0, os.SEEK_END)
    os.write(descriptor, bytes(1 << 16))
    os.fsync(descriptor)


def _sync_folder(folder):
    """Make a rename in a folder outlast a loss of power, where the file system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:  # a folder may be written to and not read
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EROFS):
            raise
    finally:
        os.close(descriptor)
