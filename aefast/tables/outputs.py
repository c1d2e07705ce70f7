"""Checks of files to write, before anything is computed: they leave no trace."""

import errno
import os
import tempfile
from collections.abc import Iterable

STANDARD_OUTPUT = "-"
SUFFIXES = (".csv", ".parquet", ".npy")


def check_can_write(
    folder: str | os.PathLike[str], names: Iterable[str], inputs: Iterable[str] = ()
) -> None:
    """Raise an OSError if files of these names cannot be written to a folder.

    If the folder does not exist yet, its nearest existing parent is checked. ValueError where one
    of the files is one of the inputs, given by their paths.
    """
    names, inputs = tuple(names), tuple(inputs)
    for name in names:
        _check_is_no_input(os.path.join(folder, name), inputs)
    existing = os.path.abspath(folder)
    while not os.path.lexists(existing):
        existing = os.path.dirname(existing)
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(folder)) from error
    for name in names:
        path = os.path.join(folder, name)
        if os.path.isdir(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)


def _check_is_no_input(path, inputs):
    for name in inputs:
        if os.path.exists(path) and os.path.exists(name) and os.path.samefile(path, name):
            raise ValueError(
                f"{path} is one of the inputs, which the results would replace: choose another name"
            )


def check_can_write_file(path: str, inputs: Iterable[str] = ()) -> None:
    """As `check_can_write`, for one file in a folder that exists."""
    folder, name = os.path.split(os.path.abspath(path))
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), folder)
    check_can_write(folder, (name,), inputs)


def check_can_write_table(path: str, inputs: Iterable[str] = (), has_text: bool = False) -> None:
    """Raise an error unless a table can be written there, by the suffix of the path.

    With `has_text` a .npy file is refused, because it has numbers alone.
    """
    if path == STANDARD_OUTPUT:
        return
    suffixes = [suffix for suffix in SUFFIXES if not (has_text and suffix == ".npy")]
    if not path.lower().endswith(tuple(suffixes)):
        raise ValueError(
            f"expected a name that ends in {', '.join(suffixes[:-1])} or {suffixes[-1]} to write "
            f"to, or '-', got {path!r}"
        )
    check_can_write_file(path, inputs)
    if path.lower().endswith(".parquet"):
        from aefast.tables.optional import arrow

        arrow(f"{path}: .parquet files")
