"""From the name of data to files: paths, folders, patterns, standard input, compression."""

import contextlib
import dataclasses
import glob
import gzip
import io
import os
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from aefast._base.paths import check_is_regular_file
from aefast.tables.optional import arrow

STANDARD_INPUT = "-"
TEXT_KINDS = ("csv", "tsv", "txt")
_KINDS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".txt": "txt",
    ".npy": "npy",
    ".npz": "npz",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".feather": "arrow",
    ".arrow": "arrow",
}
_COMPRESSIONS = (".gz", ".zst")
# The first bytes of files, by which the kind of standard input is known; other input is text.
_MAGIC = (
    (b"\x93NUMPY", "npy"),
    (b"PAR1", "parquet"),
    (b"ARROW1", "arrow"),
    (b"\xff\xff\xff\xff", "arrow"),  # a stream of record batches
    (b"PK\x03\x04", "npz"),
)
_COMPRESSED = {b"\x1f\x8b": ".gz", b"\x28\xb5\x2f\xfd": ".zst"}
_SHOWN_FROM = 1 << 26  # bytes of a file from which reading it may take seconds
KINDS_HELP = ".csv, .tsv, .txt, .parquet, .feather, .arrow, .npy, .npz:KEY"


@dataclasses.dataclass(frozen=True)
class Source:
    """One file.

    Attributes
    ----------
    name : str
        For messages.
    path : str
    kind : str
        A value of `_KINDS`.
    compression : str
        ".gz", ".zst" or "".
    key : str or None
        Of the array in a .npz file.
    keep : object
        What must live as long as the file is needed: a temporary file.
    """

    name: str
    path: str
    kind: str
    compression: str = ""
    key: str | None = None
    keep: Any = dataclasses.field(default=None, repr=False, compare=False)


def sources_of(name: str) -> list[Source]:
    """Return the files that an argument names, in the order of their names.

    Raises
    ------
    OSError
        If there is no such file.
    ValueError
        If a file is of no known kind, or a folder or a pattern has none.
    """
    if name == STANDARD_INPUT:
        return [_standard_input()]
    path, separator, key = name.partition(".npz:")
    if separator:
        check_is_regular_file(path + ".npz")
        return [Source(name, path + ".npz", "npz", key=key)]
    if os.path.isdir(name):
        return _in_folder(name)
    if not os.path.lexists(name) and glob.has_magic(name):
        found = sorted(path for path in glob.glob(name, recursive=True) if os.path.isfile(path))
        if not found:
            raise ValueError(f"{name}: no file matches this pattern")
        return [_source(path) for path in found]
    return [_source(name)]


def paths_of(name: str) -> list[str]:
    """Return the paths that an argument may name, for comparison with outputs; opens nothing."""
    path, separator, _ = name.partition(".npz:")
    if separator:
        return [path + ".npz"]
    if os.path.isdir(name):
        return [entry.path for entry in os.scandir(name)]
    if not os.path.lexists(name) and glob.has_magic(name):
        return glob.glob(name, recursive=True)
    return [name]


def _source(path):
    stem, suffix = os.path.splitext(path.lower())
    compression = suffix if suffix in _COMPRESSIONS else ""
    kind = _KINDS.get(os.path.splitext(stem)[1] if compression else suffix)
    if kind is None:
        if suffix or os.path.exists(path):
            expected = f"expected {KINDS_HELP}, a text file with .gz or .zst, a folder of such"
            raise ValueError(f"DATA: {expected} files, '-' or digits, got {path!r}")
        raise ValueError(f"DATA: no such file, and not digits: got {path!r}")
    check_is_regular_file(path)
    if compression and kind not in TEXT_KINDS:
        raise ValueError(f"{path}: only text files are read compressed: decompress it first")
    return Source(path, path, kind, compression)


def _in_folder(name):
    """Return the files of a folder; hidden ones and those of no known kind are passed over."""
    paths = sorted(entry.path for entry in os.scandir(name) if entry.is_file())
    known = []
    for path in paths:
        if os.path.basename(path).startswith((".", "_")):
            continue  # as _SUCCESS and _metadata, which writers of Parquet leave
        with contextlib.suppress(ValueError):
            known.append(_source(path))
    if not known:
        raise ValueError(f"{name}: a folder without a table: expected files {KINDS_HELP}")
    kinds = sorted({source.kind for source in known})
    if len(kinds) > 1:
        raise ValueError(
            f"{name}: expected files of one kind, got {', '.join(kinds)}: name them by a pattern, "
            f"as '{os.path.join(name, '*.')}{kinds[0]}'"
        )
    return known


def _standard_input():
    """Return standard input as a temporary file, because readers go back to the beginning."""
    if sys.stdin is None:
        raise ValueError("standard input is closed")
    kept = tempfile.NamedTemporaryFile(prefix="aefast-")
    shutil.copyfileobj(getattr(sys.stdin, "buffer", sys.stdin), kept, 1 << 20)
    kept.flush()
    with open(kept.name, "rb") as file:
        first = file.read(8)
    compression = next((c for magic, c in _COMPRESSED.items() if first.startswith(magic)), "")
    kind = next((kind for magic, kind in _MAGIC if first.startswith(magic)), "csv")
    return Source("standard input", kept.name, kind, compression, keep=kept)


# ---- bytes ----


@contextlib.contextmanager
def opened(source: Source, show: bool = False) -> Iterator[BinaryIO]:
    """Open a file for reading, decompressed.

    Parameters
    ----------
    source : Source
    show : bool, default=False
        Whether to show progress on standard error if reading takes more than two seconds.

    Raises
    ------
    ValueError
        While it is read, if the compressed bytes are damaged.
    """
    with contextlib.ExitStack() as stack:
        raw: Any = stack.enter_context(open(source.path, "rb", buffering=0))
        if show and os.path.getsize(source.path) >= _SHOWN_FROM:
            raw = stack.enter_context(_Watched(raw, source))
        file: Any = stack.enter_context(io.BufferedReader(raw, 1 << 20))
        if source.compression == ".gz":
            file = stack.enter_context(gzip.GzipFile(fileobj=file))
        elif source.compression == ".zst":
            file = stack.enter_context(_zstandard(file, source))
        try:
            yield file
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{source.name}: damaged: {error}") from error
        except OSError as error:
            if source.compression and error.errno is None:
                raise ValueError(f"{source.name}: damaged: {error}") from error
            raise


def _zstandard(file, source):
    try:
        from compression import zstd  # type: ignore[import-not-found]  # Python 3.14
    except ImportError:
        stream = arrow(f"{source.name}: .zst files").CompressedInputStream(file, "zstd")
        return io.BufferedReader(_Stream(stream), 1 << 20)
    return zstd.ZstdFile(file)


class _Stream(io.RawIOBase):
    """A stream of pyarrow as one of Python."""

    def __init__(self, stream):
        self._stream = stream

    def readable(self):
        return True

    def readinto(self, buffer):
        part = self._stream.read(len(buffer))
        buffer[: len(part)] = part
        return len(part)

    def close(self):
        if not self.closed:
            self._stream.close()
        super().close()


class _Watched(io.RawIOBase):
    """A file whose reading is shown by a progress bar."""

    def __init__(self, file, source):
        from tqdm.auto import tqdm

        self._file = file
        self._bar = tqdm(
            total=os.path.getsize(source.path),
            unit="B",
            unit_scale=True,
            desc=f"reading {source.name}",
            delay=2,
            leave=False,
            dynamic_ncols=True,
        )

    def readable(self):
        return True

    def readinto(self, buffer):
        n = self._file.readinto(buffer)
        self._bar.update(n)
        return n

    def close(self):
        if not self.closed:
            self._bar.close()
            self._file.close()
        super().close()
