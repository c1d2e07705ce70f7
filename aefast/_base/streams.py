"""Rows that are read when they are needed: tables larger than memory, from any engine.

A `StreamedRows` stands where an array of rows stands: it has a shape, a type, and rows that can be
taken by their numbers. Its rows live in *blocks* (the row groups of Parquet files, the record
batches of Arrow files, whole text files), which a `RecordSource` reads; passes see them in
*windows*, arrays of a fixed number of rows, of which the next one is filled in a thread while the
present one is used. Nothing of the size of the table is kept but the lengths of its blocks.

Where the user's rows come in, `opened` turns the name of a file, a dataset or an iterator into
`StreamedRows`, or into `NamedRows` where all rows fit in a quarter of the memory that the stream
may use; `check_columns` compares their columns with those of a fit.
"""

import os
import threading
from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any

import numpy as np

from aefast._base.stream_parts import (
    RecordSource,
    Window,
    ahead,
    longer,
    without,
)
from aefast._base.types import Array

# Families stand above this module, so the one that reads files is named here, not imported.
OPENER = "aefast.tables.streams"
MEMORY = 1 << 28  # bytes that a stream may use, unless the user says otherwise
# Shares of the memory: a table of at most 1 / WHOLE of it is read whole, and a window has
# 1 / WINDOWS of it, since two of them are in use while a third is decoded.
WHOLE, WINDOWS = 4, 8
# Floating-point operations for each entry of a row, from which a kernel takes longer than decoding:
# below, the decoder's threads leave it one core, and a team would wait for itself.
DECODED_BY_THEN = 1000.0
FIRST_ROWS = 1 << 12  # room of a window at first, where the number of rows is not known


class NamedRows:
    """Rows in memory that have come from a stream, with the names of their columns.

    Parameters
    ----------
    rows : ndarray (n, d)
    columns : sequence of str or None
    stream : StreamedRows or None
        Where they are from, for messages.
    first_row : int
        Number of the first of them in the stream.
    """

    def __init__(
        self, rows: Array, columns: Any, stream: "StreamedRows | None" = None, first_row: int = 0
    ) -> None:
        self.rows, self.columns = rows, columns
        self._stream, self._first_row = stream, first_row

    def __len__(self) -> int:
        return len(self.rows)

    def __array__(self, *arguments: Any, **options: Any) -> Array:
        return np.asarray(self.rows, *arguments, **options)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.rows.shape

    @property
    def n_columns(self) -> int:
        return self.rows.shape[1]

    def place(self, row: int) -> str:
        """Return where a row stands, for messages."""
        row += self._first_row
        return f"row {row}" if self._stream is None else self._stream.place(row)


class StreamedRows:
    """Table whose rows are read when they are needed.

    Parameters
    ----------
    source : RecordSource
    memory : int
        Bytes that may be used. The number of rows in a window follows from them, and so does the
        order of a shuffled pass.
    n_samples : int or None
        Number of rows of a source of one block that does not know it, from the user. Another
        number is an error once all rows have been read.
    """

    ndim = 2

    def __repr__(self) -> str:
        n = "?" if self._begin is None else f"{len(self):,}"
        return (
            f"<stream of {n} rows of {self.n_columns} columns, {self.dtype}, from "
            f"{self.source.name}>"
        )

    def __array__(self, *arguments: Any, **options: Any) -> Array:
        raise TypeError(
            f"{self.source.name} is a stream of rows, and this takes rows in memory: give "
            "aefast.stream(...).read_whole().rows"
        )

    def __init__(
        self, source: RecordSource, memory: int = MEMORY, n_samples: int | None = None
    ) -> None:
        self.source, self.memory, self._n_given = source, int(memory), n_samples
        self.columns = source.columns
        self.dtype = source.dtype
        self._begin: Array | None = None  # number of the first row of each block, and the end
        lengths = source.lengths()
        if lengths is None and n_samples is not None and source.n_blocks == 1:
            lengths = [n_samples]
        if lengths is not None:
            self._set_lengths(lengths)

    # ---- the shape of a table ----

    def __len__(self) -> int:
        return int(self.begin[-1])

    @property
    def n_columns(self) -> int:
        return self.source.n_columns

    @property
    def shape(self) -> tuple[int, int]:
        return len(self), self.source.n_columns

    @property
    def size(self) -> int:
        return len(self) * self.source.n_columns

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def begin(self) -> Array:
        """Number of the first row of each block, and of all rows; counting may take a pass."""
        if self._begin is None:
            if self.source.reads_once:
                raise self._read_once_error()
            counts = np.zeros(self.source.n_blocks, np.int64)
            for block, records in self.source.read(range(self.source.n_blocks)):
                counts[block] += records.n_rows
            self._set_lengths(counts)
        assert self._begin is not None
        return self._begin

    def _set_lengths(self, lengths: Any) -> None:
        begin = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
        if begin[-1] == 0:
            raise ValueError(f"{self.source.name}: expected at least one row, got none")
        self._begin = begin

    def place(self, row: int) -> str:
        """Return where a row stands, for messages."""
        if self._begin is None:
            return f"row {row}"
        block = int(np.searchsorted(self._begin, row, side="right")) - 1
        return f"row {row} ({self.source.place(block, row - int(self._begin[block]))})"

    def fingerprint(self) -> dict[str, Any]:
        """Return the description by which a checkpoint recognises the rows."""
        found: dict[str, Any] = {"shape": list(self.shape), "dtype": str(self.dtype)}
        return found | {"memory": self.memory, "contents": self.source.identity()}

    # ---- rows ----

    def window_rows(self, unit: int = 1) -> int:
        """Return the number of rows in a window, a multiple of `unit`."""
        rows = self.memory // (WINDOWS * self.source.n_columns * self.dtype.itemsize)
        return max(1, rows // unit) * unit

    def windows(
        self,
        n_rows: int,
        blocks: Array | None = None,
        left_out: Array | None = None,
        first: int = 0,
    ) -> Iterator[Window]:
        """Yield all rows in windows of `n_rows` rows; the last one has those that remain.

        blocks : ndarray of int or None
            The blocks in the order in which they are read; None: as they lie.
        left_out : ndarray of int64 or None
            Sorted numbers of rows that are not read.
        first : int
            Number of windows, from the first on, that have been visited: their blocks are not
            read where the lengths of blocks are known.
        """
        stop = threading.Event()
        windows = self._windows(n_rows, blocks, left_out, first, stop)
        return ahead(windows, stop) if self.source.reads_ahead else windows

    def _windows(
        self,
        n_rows: int,
        blocks: Array | None,
        left_out: Array | None,
        first: int,
        stop: threading.Event,
    ) -> Iterator[Window]:
        to_skip = first * n_rows
        order = range(self.source.n_blocks) if blocks is None else blocks
        places, to_skip = self._after(order, left_out, to_skip)
        room = min(n_rows, FIRST_ROWS if self._begin is None else len(self))
        window = Window(np.empty((room, self.source.n_columns), self.dtype), np.empty(room, int))
        filled, is_empty = 0, True
        for numbers, fill in self._runs(places, left_out):
            if stop.is_set():
                return
            is_empty = False
            skipped = min(to_skip, len(numbers))
            to_skip -= skipped
            at = skipped
            while at < len(numbers):
                n = min(len(numbers) - at, n_rows - filled)
                if filled + n > len(window.numbers):
                    window = longer(window, filled, min(n_rows, 2 * (filled + n)))
                fill(window.rows[filled : filled + n], at)
                window.numbers[filled : filled + n] = numbers[at : at + n]
                filled, at = filled + n, at + n
                if filled == n_rows:
                    yield window
                    window = Window(np.empty_like(window.rows), np.empty_like(window.numbers))
                    filled = 0
        if is_empty and self._begin is None:
            raise ValueError(f"{self.source.name}: expected at least one row, got none")
        if filled:
            yield Window(window.rows[:filled], window.numbers[:filled])

    def _after(
        self, blocks: Iterable[int], left_out: Array | None, n_rows: int
    ) -> tuple[Iterable[int], int]:
        """Return the blocks without those that the first `n_rows` rows fill, and the rest of them.

        Blocks that are read in order are read from the first on.
        """
        if self._begin is None or n_rows == 0:
            return blocks, n_rows
        blocks = list(blocks)
        ends = self._begin[1:], self._begin[:-1]
        out = (0, 0) if left_out is None else tuple(np.searchsorted(left_out, end) for end in ends)
        lengths = (ends[0] - out[0]) - (ends[1] - out[1])
        for i, block in enumerate(blocks):
            if n_rows < lengths[block]:
                return blocks[i:], n_rows
            n_rows -= int(lengths[block])
        return [], n_rows

    def _runs(self, blocks: Iterable[int], left_out: Array | None) -> Iterator[tuple[Array, Any]]:
        """Yield the numbers of rows that are kept of each of the records, and their `fill`."""
        known, blocks = self._begin, list(blocks)
        counts = dict.fromkeys(blocks, 0)
        at = 0  # the number of rows so far, where blocks have no known lengths
        for block, records in self.source.read(blocks):
            n, seen = records.n_rows, counts.get(block, 0)
            row = at if known is None else int(known[block]) + seen
            if known is not None and row + n > known[block + 1]:
                raise self._changed_error()
            counts[block], at = seen + n, at + n
            numbers, fill = np.arange(row, row + n), records.fill
            if left_out is not None:
                i, j = np.searchsorted(left_out, (row, row + n))
                if i < j:
                    numbers = np.delete(numbers, left_out[i:j] - row)
                    fill = without(records, left_out[i:j] - row, self.dtype, self.source.n_columns)
            yield numbers, fill
        if known is None:
            if not self.source.reads_once and at and len(counts) == self.source.n_blocks:
                self._set_lengths([counts[block] for block in range(self.source.n_blocks)])
        if known is not None and any(
            n != known[block + 1] - known[block] for block, n in counts.items()
        ):
            raise self._changed_error()

    def take(self, order: Array) -> Array:
        """Return copies of the rows whose numbers, sorted, `order` has; reads their blocks."""
        begin = self.begin
        rows = np.empty((len(order), self.source.n_columns), self.dtype)
        wanted = np.unique(np.searchsorted(begin, order, side="right") - 1)
        for numbers, fill in self._runs(wanted.tolist(), None):
            if not len(numbers):
                continue
            i, j = np.searchsorted(order, (numbers[0], numbers[-1] + 1))
            if i == j:
                continue
            low, high = int(order[i] - numbers[0]), int(order[j - 1] - numbers[0]) + 1
            part = np.empty((high - low, rows.shape[1]), self.dtype)
            fill(part, low)
            rows[i:j] = part[order[i:j] - numbers[0] - low]
        return rows

    def read_whole(self) -> NamedRows:
        """Return all rows, in memory; MemoryError where there is no room for them."""
        if self._begin is None:
            parts = [window.rows for window in self.windows(self.window_rows())]
            rows = parts[0] if len(parts) == 1 else np.concatenate(parts)
        else:
            try:
                windows = self._windows(len(self), None, None, 0, threading.Event())
                rows = next(windows).rows
                next(windows, None)  # the source is checked at its end
            except MemoryError:
                raise MemoryError(
                    f"{self.source.name} has {len(self):,} rows of {self.source.n_columns} columns,"
                    f" {self.nbytes / 1e9:.3g} GB, and this fit needs all of them in memory"
                ) from None
        return NamedRows(rows, self.columns, self)

    def parts(self) -> Iterator[NamedRows]:
        """Yield all rows in order, in windows, with their names."""
        for window in self.windows(self.window_rows()):
            yield NamedRows(window.rows, self.columns, self, int(window.numbers[0]))

    def threads_beside(self, n_threads: Any, operations: float) -> Any:
        """Return how many threads a kernel asks for while other threads decode.

        n_threads : int or None
            The user's wish, which is kept.
        operations : float
            Floating-point operations for each entry.
        """
        decodes = self.source.reads_ahead and operations < DECODED_BY_THEN
        return 1 if n_threads is None and decodes else n_threads

    def fits_in_memory(self) -> bool:
        """Return whether the table is small beside the memory that may be used."""
        return self.nbytes <= self.memory // WHOLE

    # ---- errors ----

    def _changed_error(self) -> ValueError:
        if self._n_given is not None and self.source.lengths() is None:
            return ValueError(
                f"{self.source.name} has another number of rows than n_samples={self._n_given}"
            )
        advice = ""
        if self.source.in_order and not self.source.reads_once:
            advice = ": the function must return a new iterator, of the same rows, each time"
        return ValueError(
            f"{self.source.name} changed: it has other numbers of rows than before{advice}"
        )

    def refuse_weights(self, sample_weight: Any) -> None:
        """Raise ValueError for weights of the rows of an iterator, whose number is not known."""
        if sample_weight is not None:
            raise ValueError(
                f"sample_weight needs rows whose number is known, and {self.source.name} is an "
                "iterator"
            )

    def _read_once_error(self) -> ValueError:
        return ValueError(
            f"{self.source.name} is an iterator, whose rows come only once, and this takes several "
            "passes: give aefast.stream a function that returns a new iterator, a list, or files; "
            "or call partial_fit"
        )


class StreamOfResults(StreamedRows):
    """Results of a function of each row of a stream, computed whenever they are read.

    Parameters
    ----------
    rows : StreamedRows
    function : callable
        From rows (m, d) to results (m, k).
    n_columns : int
        k.
    dtype : dtype
    """

    def __init__(self, rows: StreamedRows, function: Any, n_columns: int, dtype: Any) -> None:
        self._rows, self._function = rows, function
        self.source: Any = _SourceOfResults(rows.source, n_columns, np.dtype(dtype))
        self.memory, self._n_given = rows.memory, rows._n_given
        self.columns, self.dtype = None, self.source.dtype
        self._begin = rows.begin

    def window_rows(self, unit: int = 1) -> int:
        return min(super().window_rows(unit), self._rows.window_rows(unit))

    def _windows(
        self,
        n_rows: int,
        blocks: Array | None,
        left_out: Array | None,
        first: int,
        stop: threading.Event,
    ) -> Iterator[Window]:
        for rows, numbers in self._rows._windows(n_rows, blocks, left_out, first, stop):
            yield Window(self._function(rows), numbers)

    def take(self, order: Array) -> Array:
        return self._function(self._rows.take(order))


class _SourceOfResults:
    """The source of a stream, with the shape of its results."""

    def __init__(self, source: RecordSource, n_columns: int, dtype: np.dtype[Any]) -> None:
        self._source, self.n_columns, self.dtype = source, n_columns, dtype

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)


# ---- the user's rows ----


def is_stream_like(X: Any) -> bool:
    """Return whether X names files, is a dataset of pyarrow, or an iterator of tables."""
    if isinstance(X, (str, os.PathLike, StreamedRows, NamedRows)):
        return True
    if isinstance(X, np.ndarray) or hasattr(X, "__array__"):
        return False
    kind = type(X)
    is_dataset = kind.__module__ == "pyarrow._dataset" and hasattr(X, "scanner")
    return is_dataset or (hasattr(X, "__next__") and hasattr(X, "__iter__"))


def opened(X: Any, name: str = "X", *, whole: bool = False) -> Any:
    """Return the user's X as `StreamedRows` or `NamedRows` where it is a stream, else as it is.

    With `whole` the rows of a stream are read into memory, however many they are; otherwise only
    where they take a small part of the memory that the stream may use.
    """
    if not is_stream_like(X):
        return X
    if not isinstance(X, (StreamedRows, NamedRows)):
        X = import_module(OPENER).open_stream(X, name)
    if isinstance(X, NamedRows):
        return X
    if whole or (not X.source.reads_once and X.fits_in_memory()):
        return X.read_whole()
    return X


def check_columns(estimator: Any, X: Any, name: str) -> None:
    """Raise ValueError where the columns of a stream are not those of the estimator's fit."""
    if X.n_columns != estimator.n_features_in_:
        raise ValueError(
            f"{name} has {X.n_columns} features, but {type(estimator).__name__} is expecting "
            f"{estimator.n_features_in_} features as input"
        )
    known = getattr(estimator, "feature_names_in_", None)
    if known is None or X.columns is None or list(known) == list(X.columns):
        return
    differ = next((a, b) for a, b in zip(X.columns, known, strict=True) if a != b)
    raise ValueError(
        f"The feature names should match those that were passed during fit: {name} has "
        f"{differ[0]!r} where {differ[1]!r} is expected"
    )
