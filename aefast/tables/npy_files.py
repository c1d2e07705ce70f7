"""Arrays of NumPy's files, .npy (memory-mapped) and .npz, and the digits of scikit-learn."""

import contextlib
import errno
import math
import os
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from aefast._base.types import Array
from aefast.tables.sources import Source

_BATCH = 1 << 24  # bytes of a batch, about


class ArrayFile:
    """An array in a file, whose first dimension is that of the rows."""

    names = None
    is_text = False
    index: tuple[str, ...] = ()
    empty: tuple[int, ...] = ()

    def __init__(self, name: str, array: Array) -> None:
        if array.dtype.kind not in "buif":
            raise ValueError(f"{name}: expected real numbers, got an array of type {array.dtype}")
        if array.ndim < 2:
            shape = array.shape
            raise ValueError(f"{name}: expected rows and columns, got an array of shape {shape}")
        if 0 in array.shape:
            raise ValueError(
                f"{name}: expected at least one row and column, got shape {array.shape}"
            )
        self.name = name
        self.row_shape = array.shape[1:]
        self.n_columns = math.prod(self.row_shape)
        self._rows = array.reshape(len(array), self.n_columns)

    def read(self, columns: tuple[int, ...], id_column: int | None, _: Any) -> tuple[Array, Any]:
        """Return the rows and the ids or None."""
        rows, ids = self._rows, None
        if id_column is not None:
            ids = rows[:, id_column].tolist()
        if columns != tuple(range(self.n_columns)):
            rows = rows[:, list(columns)]
        return rows, ids

    def batches(
        self, columns: tuple[int, ...], id_column: int | None, options: Any
    ) -> Iterator[tuple[Array, Any]]:
        """Yield slices of the rows with their ids."""
        whole, size = self._rows, max(1, _BATCH // (self.n_columns * self._rows.itemsize))
        for first in range(0, len(whole), size):
            part = object.__new__(ArrayFile)
            part.n_columns, part._rows = self.n_columns, whole[first : first + size]
            yield part.read(columns, id_column, options)

    def place(self, row: int, column: int) -> str:
        """Return where an entry stands, rows and columns counted from 0."""
        return f"{self.name}: row {row + 1}, column {column + 1}"


def digits() -> ArrayFile:
    """Return scikit-learn's handwritten digits, grey levels 0 … 16 as 0 … 1."""
    from sklearn.datasets import load_digits

    return ArrayFile("digits", (load_digits().images / 16).astype(np.float32))


def open_arrays(source: Source, writeable: bool) -> ArrayFile:
    """Return the array of a .npy or .npz file; a .npy file is mapped.

    With `writeable` it is mapped copy-on-write, so that rows can be exchanged in place; the file
    itself is never changed.
    """
    if source.kind == "npz":
        return ArrayFile(source.name, _read_npz(source.path, source.key))
    return ArrayFile(source.name, _read_npy(source, "c" if writeable else "r"))


def _read_npy(source, mode):
    with open(source.path, "rb") as file:
        if file.read(6) != b"\x93NUMPY":
            raise ValueError(f"{source.name}: expected a .npy file, got something else")
    try:
        with _as_value_error(source.name, ".npy"):
            return np.load(source.path, mmap_mode=mode, allow_pickle=False)
    except OSError as error:
        # The system refuses a writeable map of a file that is larger than memory.
        if error.errno == errno.ENOMEM and mode == "c":
            hint = "larger than memory, so no rows of it can be held out: give --test-fraction 0"
            raise MemoryError(f"{source.name}: {hint}") from error
        raise


def _read_npz(name, key):
    with open(name, "rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError(f"{name}: expected a .npz file, got something else")
    with _as_value_error(name, ".npz"), np.load(name, allow_pickle=False) as arrays:
        if key is None and len(arrays.files) == 1:
            key = arrays.files[0]
        if key in arrays.files:
            _check_member(name, key, arrays.zip)
            return arrays[key]
        keys = ", ".join(arrays.files) or "none"
    asked = "no key" if key is None else f"key {key!r}"
    raise ValueError(
        f"{name}: expected one of its keys, as {name}:KEY, got {asked}; its keys: {keys}"
    )


def _check_member(name, key, archive):
    """Raise an error for an array larger than memory: a small archive may hold a huge one.

    ValueError where the array's own header asks for more bytes than the archive has.
    """
    member = f"{key}.npy" if f"{key}.npy" in archive.namelist() else key
    size = archive.getinfo(member).file_size
    if size > os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
        raise MemoryError(f"{name}: {key} has {size:,} bytes, more than this machine's memory")
    with archive.open(member) as file:
        if file.read(6) != b"\x93NUMPY":
            return  # NumPy returns the bytes: no table
        file.seek(0)
        version = np.lib.format.read_magic(file)
        readers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        if version not in readers:
            return
        shape, _, dtype = readers[version](file)
        wanted = math.prod(shape) * dtype.itemsize
        if not dtype.hasobject and wanted > size - file.tell():
            raise ValueError(f"{key} has {size - file.tell():,} bytes, its header asks {wanted:,}")


@contextlib.contextmanager
def _as_value_error(name, kind):
    """Convert errors from reading a damaged file into a ValueError that names the file.

    NumPy and zipfile raise exceptions of many types for damaged contents.
    """
    try:
        # An overflowing product of sizes warns before it raises; the error is enough.
        with np.errstate(over="ignore"):
            yield
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(f"{name}: cannot be read as a {kind} file: {error}") from error
