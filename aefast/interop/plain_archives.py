"""Zip archives in which nothing is larger than it looks, in dumps of skops.

Compressed parts, and arrays whose headers claim more than the file holds, would take memory out of
proportion to the file. Sparse matrices are archives within the archive.
"""

import io
import math
import zipfile
from typing import Any

import numpy as np

DEPTH = 2  # of archives within each other
_READERS: dict[tuple[int, int], Any] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def stored(contents: bytes) -> bytes:
    """Return an archive, and those within it, without compression."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(contents)) as given, zipfile.ZipFile(file, "w") as made:
        for name in given.namelist():
            part = given.read(name)
            made.writestr(name, stored(part) if name.endswith(".npz") else part)
    return file.getvalue()


def check_is_plain(contents: bytes, depth: int = DEPTH) -> None:
    """Raise ValueError for an archive that takes more memory than its own size when it is read."""
    if depth == 0:
        raise ValueError("expected no archives within archives of an archive")
    with zipfile.ZipFile(io.BytesIO(contents)) as archive:
        parts = archive.infolist()
        if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
            raise ValueError("expected parts that are not compressed")
        if sum(part.file_size for part in parts) > len(contents):
            raise ValueError("expected parts that are no larger than the file")
        for part in parts:
            _check_part(archive.read(part), depth)


def _check_part(contents, depth):
    file = io.BytesIO(contents)
    if zipfile.is_zipfile(file):
        check_is_plain(contents, depth - 1)
    if contents.startswith(np.lib.format.MAGIC_PREFIX):
        file.seek(0)
        version = np.lib.format.read_magic(file)
        if version not in _READERS:
            raise ValueError(f"expected arrays of version 1 or 2 of NumPy's format, got {version}")
        shape, _, dtype = _READERS[version](file)
        if math.prod(shape) * dtype.itemsize > len(contents) - file.tell():
            raise ValueError(f"an array claims the shape {shape} and holds less")
