"""Rows of streams from files: Parquet and datasets by row groups, Arrow by batches, text by files.

Each file is known by its size and its time of change from the moment it is opened: a file that has
changed is an error that names it, whichever pass comes to it.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import numpy as np

from aefast.tables.arrow_files import ArrowFile, index_of_pandas
from aefast.tables.optional import arrow
from aefast.tables.readers import Options, open_table
from aefast.tables.records import ArrayRecords, TableRecords
from aefast.tables.selection import listed
from aefast.tables.sources import Source

_BATCH_ROWS = 1 << 15
_ENDS = 1 << 16  # bytes of both ends of a file by which a checkpoint recognises it


class KnownFile:
    """A file as it was when it was opened."""

    def __init__(self, path: str) -> None:
        self.path, self._known = path, self._look(path)

    @staticmethod
    def _look(path: str) -> tuple[int, int] | None:
        try:
            found = os.stat(path)
        except OSError:
            return None
        return found.st_size, found.st_mtime_ns

    def check(self) -> None:
        """Raise ValueError where the file is no longer what it was."""
        now = self._look(self.path)
        if now != self._known:
            what = "has been removed" if now is None else "has changed"
            raise ValueError(f"{self.path} {what} since the stream was opened")

    def identity(self) -> list[Any]:
        """Return the file's size and the hash of its ends, where Parquet has its statistics."""
        size = 0 if self._known is None else self._known[0]
        digest = hashlib.blake2b(digest_size=16)
        if self._known is not None:
            with open(self.path, "rb") as file:
                digest.update(file.read(_ENDS))
                file.seek(max(0, size - _ENDS))
                digest.update(file.read())
        return [os.path.basename(self.path), size, digest.hexdigest()]


class DatasetSource:
    """Fragments of a dataset of pyarrow, whose row groups are blocks.

    Parameters
    ----------
    fragments : list of pyarrow.dataset.Fragment
    schema : pyarrow.Schema or None
        To which all of them are cast; None: each has its own types of numbers, and the columns of
        the first.
    name : str
    columns : tuple of str or None
    filter : pyarrow.compute.Expression or None
    dtype : dtype or None
    """

    reads_once, in_order, reads_ahead = False, False, True

    def __init__(
        self, fragments: list[Any], schema: Any, name: str, columns: Any, filter: Any, dtype: Any
    ) -> None:
        if not fragments:
            raise ValueError(f"{name}: a dataset without files")
        self.name, self._schema, self._filter = name, schema, filter
        if schema is None:
            with _named(getattr(fragments[0], "path", name)):
                schema = fragments[0].physical_schema
        index = index_of_pandas(schema)
        names = [label for label in schema.names if label not in index]
        self.columns: tuple[str, ...] = tuple(names) if columns is None else columns
        missing = [column for column in self.columns if column not in schema.names]
        if missing:
            raise ValueError(f"{name}: no columns {listed(missing)}: it has {listed(names)}")
        if not self.columns:
            raise ValueError(f"{name}: expected at least one column, got none")
        self.n_columns = len(self.columns)
        types = [TableRecords.type_of(name, schema, self.columns)]
        self._files: dict[str, KnownFile] = {}
        self._blocks: list[tuple[Any, str]] = []
        self._lengths: list[int] | None = [] if filter is None else None
        for fragment in fragments:
            types.append(self._add(fragment))
        wide = any(found == np.float64 for found in types)
        self.dtype = dtype or np.dtype(np.float64 if wide else np.float32)
        self.n_blocks = len(self._blocks)

    def _add(self, fragment: Any) -> np.dtype[Any]:
        """Add the row groups of a fragment, and return the type of its rows."""
        path = getattr(fragment, "path", "") or self.name
        if os.path.exists(path):
            self._files[path] = KnownFile(path)
        with _named(path):
            found = self._type_of(path, fragment)
            is_parquet = hasattr(fragment, "split_by_row_group")
            parts = fragment.split_by_row_group() if is_parquet else [fragment]
            self._blocks += [(part, path) for part in parts]
            if self._lengths is not None:
                self._lengths += [_number_of_rows(part) for part in parts]
        return found

    def _type_of(self, path: str, fragment: Any) -> np.dtype[Any]:
        """Return the type of a fragment's rows; ValueError where a column is not there."""
        dataset = arrow(path, "pyarrow.dataset")
        schema, own = fragment.physical_schema, []
        in_path = dataset.get_partition_keys(fragment.partition_expression)
        for column in self.columns:
            if column in schema.names:
                own.append(column)
            elif column not in in_path:
                raise ValueError(f"{path}: no column {column!r}, which the first file has")
        return TableRecords.type_of(path, schema, own)

    def lengths(self) -> list[int] | None:
        return self._lengths

    def read(self, blocks: Iterable[int]) -> Iterator[tuple[int, Any]]:
        """Yield the records of blocks; the next block's first are decoded meanwhile."""
        order = iter(blocks)
        pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="aefast-decode")
        try:
            block = next(order, None)
            future = None if block is None else pool.submit(self._begun, block)
            while block is not None and future is not None:
                first, others = future.result()
                following = next(order, None)
                if following is not None:
                    future = pool.submit(self._begun, following)
                for batch in chain([] if first is None else [first], others):
                    if batch.num_rows:
                        yield block, TableRecords(batch)
                block = following
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _begun(self, block: int) -> tuple[Any, Iterator[Any]]:
        """Return the first batch of a block, or None, and an iterator over the others."""
        batches = self._batches(block)
        return next(batches, None), batches

    def _batches(self, block: int) -> Iterator[Any]:
        options = {
            "columns": list(self.columns),
            "filter": self._filter,
            "batch_size": _BATCH_ROWS,
            "batch_readahead": 2,
            "fragment_readahead": 1,
        }
        if self._schema is not None:
            options["schema"] = self._schema
        fragment, path = self._blocks[block]
        if path in self._files:
            self._files[path].check()
        with _named(path):
            yield from fragment.to_batches(**options)

    def place(self, block: int, row: int) -> str:
        fragment, path = self._blocks[block]
        group = getattr(fragment, "row_groups", None)
        where = f"{os.path.basename(path)}, "
        where += f"row group {group[0].id}, " if group else ""
        return f"{where}row {row}"

    def identity(self) -> Any:
        rows = "" if self._filter is None else str(self._filter)
        files = [file.identity() for file in self._files.values()]
        return {"columns": list(self.columns), "filter": rows, "files": files}


def _number_of_rows(fragment: Any) -> int:
    groups = getattr(fragment, "row_groups", None)
    if groups is None:
        return fragment.count_rows()
    return sum(group.num_rows for group in groups)


class _named:
    """Turns errors of pyarrow into a ValueError with the name of the file."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, _: Any) -> None:
        pa = arrow(self._path)
        is_of_arrow = isinstance(error, (pa.ArrowException, KeyError))
        if is_of_arrow or (isinstance(error, OSError) and error.errno is None):
            raise ValueError(f"{self._path}: cannot be read: {error}") from error


def parquet_source(
    sources: Sequence[Source], name: str, columns: Any, filter: Any, dtype: Any
) -> DatasetSource:
    """Return the source of Parquet files, whose columns are those of the first."""
    dataset = arrow(f"{name}: Parquet files", "pyarrow.dataset")
    form = dataset.ParquetFileFormat()
    filesystem = arrow(name, "pyarrow.fs").LocalFileSystem()
    fragments = [form.make_fragment(os.path.abspath(source.path), filesystem) for source in sources]
    return DatasetSource(fragments, None, name, columns, filter, dtype)


class ArrowSource:
    """Arrow and Feather files, whose record batches are blocks."""

    reads_once, in_order, reads_ahead = False, False, True

    def __init__(self, sources: Sequence[Source], name: str, columns: Any, dtype: Any) -> None:
        self.name = name
        files = [ArrowFile(source) for source in sources]
        schema = files[0].schema
        names = [label for label in schema.names if label not in files[0].index]
        self.columns: tuple[str, ...] = tuple(names) if columns is None else columns
        for file in files:
            missing = [column for column in self.columns if column not in file.schema.names]
            if missing:
                raise ValueError(f"{file.name}: no columns {listed(missing)}")
        types = [TableRecords.type_of(file.name, file.schema, self.columns) for file in files]
        wide = any(found == np.float64 for found in types)
        self.dtype = dtype or np.dtype(np.float64 if wide else np.float32)
        self.n_columns = len(self.columns)
        self._known = [KnownFile(source.path) for source in sources]
        counts = [file.n_batches() for file in files]
        self._blocks = [(number, batch) for number, n in enumerate(counts) for batch in range(n)]
        self._files, self.n_blocks = files, len(self._blocks)

    def lengths(self) -> None:
        return None

    def read(self, blocks: Iterable[int]) -> Iterator[tuple[int, Any]]:
        for block in blocks:
            number, batch = self._blocks[block]
            self._known[number].check()
            for records in self._files[number].batch(batch):
                if records.num_rows:
                    yield block, TableRecords(records.select(list(self.columns)))

    def place(self, block: int, row: int) -> str:
        number, batch = self._blocks[block]
        return f"{os.path.basename(self._files[number].name)}, batch {batch}, row {row}"

    def identity(self) -> Any:
        return {"columns": list(self.columns), "files": [file.identity() for file in self._known]}


class TextSource:
    """Text files, each a block, which are read from their beginning."""

    reads_once, in_order, reads_ahead = False, False, True

    def __init__(self, sources: Sequence[Source], name: str, options: Options, dtype: Any) -> None:
        self.name = name
        self._tables = [open_table(source.name, options) for source in sources]
        first = self._tables[0]
        self.columns = None if first.names is None else tuple(first.names)
        for source, table in zip(sources, self._tables, strict=True):
            if table.names != first.names or table.n_columns != first.n_columns:
                raise ValueError(f"{source.name}: expected the columns of {sources[0].name}")
        self.n_columns, self.n_blocks = first.n_columns, len(self._tables)
        self.dtype = dtype or np.dtype(np.float64)
        self._known = [KnownFile(source.path) for source in sources]

    def lengths(self) -> None:
        return None

    def read(self, blocks: Iterable[int]) -> Iterator[tuple[int, Any]]:
        for block in blocks:
            self._known[block].check()
            for part in self._tables[block].batches():
                if not isinstance(part.rows, np.ndarray):
                    raise ValueError(
                        f"{self._tables[block].name}: expected numbers alone: name the columns to "
                        "read (aefast.stream(..., columns=[...]))"
                    )
                yield block, ArrayRecords(part.rows)

    def place(self, block: int, row: int) -> str:
        return f"{os.path.basename(self._tables[block].name)}, row {row}"

    def identity(self) -> Any:
        return {"columns": self.columns, "files": [file.identity() for file in self._known]}
