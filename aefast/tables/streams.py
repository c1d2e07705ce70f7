"""Streams of rows from files, datasets and iterators: the function `aefast.stream`."""

import contextlib
import glob
import os
import re
from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from aefast._base.errors import shown
from aefast._base.paths import as_path
from aefast._base.scalars import as_integer
from aefast._base.stream_parts import RecordSource
from aefast._base.streams import MEMORY, NamedRows, StreamedRows
from aefast.tables.item_sources import IteratorSource, ListSource
from aefast.tables.optional import arrow
from aefast.tables.readers import Options, open_table
from aefast.tables.record_sources import ArrowSource, DatasetSource, TextSource, parquet_source
from aefast.tables.selection import Choice
from aefast.tables.sources import TEXT_KINDS, sources_of

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_UNITS |= {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_LEAST_MEMORY = 1 << 16


def stream(
    source: Any,
    *,
    columns: Sequence[str] | None = None,
    filter: Any = None,
    dtype: DTypeLike | None = None,
    n_samples: int | None = None,
    memory: int | str = MEMORY,
) -> StreamedRows:
    """Return rows that are read when they are needed, for estimators in place of an array.

    Estimators also take a path or a dataset itself, with the defaults of this function. Passes
    over a stream keep two windows of rows in memory, of which one is filled, in a thread, while the
    other is used. A table that takes at most a quarter of `memory` is read whole. Where training
    shuffles, each pass visits the blocks (row groups, record batches, files of text, arrays of a
    list) in random order, and mixes the rows of each window.

    Parameters
    ----------
    source : path, dataset, iterable or callable
        A file (Parquet, Arrow or Feather, CSV and other text, .npy), a folder of such files, a
        pattern as ``data/*.parquet``, a list of such names, or a `pyarrow.dataset.Dataset`; a list
        of arrays or of frames, whose columns are found by name;
        an iterator of these, for what takes one pass; or a function without arguments that returns
        a new iterator for each pass.
    columns : sequence of str or None, default=None
        Columns to read, in this order. None: all, which must hold numbers or truth values.
    filter : pyarrow.compute.Expression or None, default=None
        Rows to read, of Parquet files and datasets. Row groups whose statistics exclude it are
        not decoded.
    dtype : {"float32", "float64"} or None, default=None
        Type of the rows. None: float32 where all columns are of float32, bool or uint8, else
        float64.
    n_samples : int or None, default=None
        Number of rows of an iterator, a function or one text file, which saves the pass that
        counts them. Another number of rows is an error once all have been read.
    memory : int or str, default="256 MiB"
        Memory that rows may take, in bytes or as "512 MB". The size of a window, and with it the
        order of shuffled rows, follows from it.

    Returns
    -------
    rows : StreamedRows
        It has `shape`, `dtype` and `columns`, and can be given to estimators any number of times
        (once, where it is made of an iterator).

    Raises
    ------
    OSError
        If there is no such file.
    ValueError
        If files do not have the same columns, or columns that are no numbers; the message has
        their names. Nulls are missing entries (NaN).
    ImportError
        If it takes pyarrow to read the files, and it is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> import aefast
    >>> parts = [np.random.default_rng(i).normal(size=(1000, 3)) for i in range(4)]
    >>> pca = aefast.ProbabilisticPCA(1).fit(aefast.stream(parts))
    >>> pca.n_samples_seen_
    4000
    """
    if n_samples is not None:
        n_samples = as_integer(n_samples, "n_samples")
        if not 1 <= n_samples < 2**62:
            raise ValueError(f"n_samples must be a positive number of rows, got {n_samples}")
    if filter is not None:
        expression = arrow("filter", "pyarrow.compute").Expression
        if not isinstance(filter, expression):
            raise TypeError(f"filter must be a pyarrow.compute.Expression, got {shown(filter)}")
    given = {"columns": _as_names(columns), "filter": filter, "dtype": _as_type(dtype)}
    return StreamedRows(_source_of(source, "source", **given), _as_bytes(memory), n_samples)


def open_stream(X: Any, name: str) -> Any:
    """Return the stream of an argument of an estimator, or the `NamedRows` of arrays in files."""
    if isinstance(X, (str, os.PathLike)):
        path = _path_of_files(X, name)
        sources = sources_of(path)
        if sources[0].kind in ("npy", "npz"):  # memory maps, which need no stream
            return NamedRows(open_table(path).read().rows, None)
    return StreamedRows(_source_of(X, name, columns=None, filter=None, dtype=None))


def _source_of(source: Any, name: str, **given: Any) -> RecordSource:
    """Return what reads the rows of anything that `stream` takes."""
    if isinstance(source, (str, os.PathLike)):
        path = _path_of_files(source, name)
        return _source_of_files(sources_of(path), path, **given)
    if type(source).__module__ == "pyarrow._dataset" and hasattr(source, "scanner"):
        try:
            fragments = list(source.get_fragments())
        except ValueError as error:  # of a dataset that is filtered
            raise ValueError(f"{name}: {error}: give aefast.stream(..., filter=...)") from None
        return DatasetSource(fragments, source.schema, "dataset", **given)
    if isinstance(source, (list, tuple)) and source and _are_paths(source):
        paths = [_path_of_files(path, name) for path in source]
        files = [file for path in paths for file in sources_of(path)]
        return _source_of_files(files, f"{paths[0]} and others", **given)
    if given["filter"] is not None:
        raise ValueError("filter is for Parquet files and datasets of pyarrow: filter the items")
    columns, dtype = given["columns"], given["dtype"]
    if hasattr(source, "__next__") or callable(source):
        return IteratorSource(source, name, columns, dtype)
    if isinstance(source, (list, tuple)):
        return ListSource(source, name, columns, dtype)
    raise TypeError(
        f"{name} must be a path, a dataset of pyarrow, a list of arrays or frames, an iterator of "
        f"these, or a function that returns one, got {type(source).__name__}"
    )


def _are_paths(items: Any) -> bool:
    return all(isinstance(item, (str, os.PathLike)) for item in items)


def _path_of_files(given: Any, name: str) -> str:
    """Return the path of files as text; an error that names the argument where there are none."""
    try:
        path = as_path(given)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if not (os.path.lexists(path) or glob.has_magic(path) or ".npz:" in path):
        raise ValueError(
            f"{name} must be an array, or the path of files that hold one: there is no file "
            f"{shown(path)}"
        )
    return path


def _source_of_files(
    sources: Any, path: str, columns: Any, filter: Any, dtype: Any
) -> RecordSource:
    kind = sources[0].kind
    others = {source.kind for source in sources} - {kind}
    if others:
        raise ValueError(f"{path}: expected files of one kind, got {kind} and {others.pop()}")
    if kind == "parquet":
        return parquet_source(sources, path, columns, filter, dtype)
    if filter is not None:
        raise ValueError(f"{path}: filter is for Parquet files and datasets of pyarrow")
    if kind == "arrow":
        return ArrowSource(sources, path, columns, dtype)
    if kind in TEXT_KINDS:
        choice = Choice(columns=tuple(columns)) if columns else Choice()
        options = Options(choice=choice, gaps=True, numeric=True)
        return TextSource(sources, path, options, dtype)
    arrays = [open_table(source.name).read().rows for source in sources]
    return ListSource(arrays, path, columns, dtype)


# ---- arguments ----


def _as_names(columns: Any) -> tuple[str, ...] | None:
    if columns is None:
        return None
    names = ()
    if isinstance(columns, Iterable) and not isinstance(columns, (str, bytes)):
        with contextlib.suppress(TypeError):  # of an array without dimensions
            names = tuple(columns)
    if not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"columns must be a sequence of at least one name, got {shown(columns)}")
    if len(set(names)) < len(names):
        raise ValueError(f"columns must have each name once, got {shown(columns)}")
    return names


def _as_type(dtype: Any) -> np.dtype[Any] | None:
    if dtype is None:
        return None
    found = None
    with contextlib.suppress(Exception):  # of any object that is no type
        found = np.dtype(dtype)
    if found not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32 or float64, got {shown(dtype)}")
    return found


def _as_bytes(memory: Any) -> int:
    """Return a number of bytes of a parameter `memory`."""
    size: Any = memory
    if isinstance(memory, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", memory)
        size = float(found[1]) * _UNITS[found[2]] if found and found[2] in _UNITS else None
    elif not isinstance(memory, Integral) or isinstance(memory, bool):
        size = None
    if size is None or not _LEAST_MEMORY <= size < 2**62:
        raise ValueError(
            f"memory must be a number of bytes of at least {_LEAST_MEMORY}, such as 268435456, "
            f"'512 MB' or '1 GiB', got {shown(memory)}"
        )
    return int(size)
