"""Passes over rows: their order, how many rows at a time, and the pages of memory maps.

A running kernel releases the GIL and cannot be interrupted by Ctrl-C, so a pass calls kernels for
slices of some 50 ms: `slices` (rows in order) and `slices_of_windows` (rows in any order) cut a
pass, and a `Pace` computes the number of rows in the next slice from the time of the previous one.

Rows of an array in memory are shuffled one by one. In a file that is larger than memory, reading
single rows in random order would read a page for each, so a memory map is shuffled by blocks:
blocks come in random order, and rows are mixed within a window of blocks. The next window is read
while the present one is trained on, and pages that have been visited are released.
"""

import contextlib
import mmap
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from aefast._base.streams import StreamedRows
from aefast._base.types import Array

SLICE_SECONDS = 0.05  # time between two checks for Ctrl-C and updates of the progress bar
FASTEST_GROWTH = 8  # largest ratio of the numbers of rows in a slice and in the one before

BLOCK_BYTES = 1 << 20  # least size of a block of a memory map, which is read in one go
WINDOW_BLOCKS = 32  # least number of blocks in a window, whose rows are mixed
WINDOW_BATCHES = 8  # least number of batches in a window
HUGE_PAGE_BYTES = 1 << 21  # largest page that Linux maps at once, with a block's neighbours
ADVICE_BYTES = 1 << 17  # most that Linux reads ahead in one call on devices with default settings


class Pace:
    """Number of rows in a slice, computed from the time that previous slices took.

    Results must not depend on the pace, since they must not depend on the clock.

    Parameters
    ----------
    unit : int
        Rows in a slice are a multiple of this number (the last slice has the remaining rows).
    first : float, default=1
        Units in the first slice; at least one is taken.
    most : int or None, default=None
        Rows in a slice at most; one unit may be more.
    """

    def __init__(self, unit: int, first: float = 1, most: int | None = None) -> None:
        self.unit, self.most = unit, most
        self._aim_at(unit * int(first))

    @classmethod
    def expecting(cls, unit: int, seconds: float, most: int | None = None) -> "Pace":
        """Return a pace whose first slice assumes this many seconds per unit."""
        return cls(unit, SLICE_SECONDS / seconds, most)

    @classmethod
    def fixed(cls, n_rows: int) -> "Pace":
        """Return a pace of equal slices, for sums that depend on how rows are grouped."""
        return cls(n_rows, most=n_rows)

    def limit(self, most: int) -> None:
        """Lower the number of rows in a slice to `most`, or to one unit."""
        self.most = most if self.most is None else min(most, self.most)
        self._aim_at(self.n_rows)

    def took(self, n_rows: int, seconds: float) -> None:
        """Set the next slice's number of rows from the time that `n_rows` rows took."""
        wanted = int(n_rows * SLICE_SECONDS / (seconds or 1e-9))
        most = FASTEST_GROWTH * self.n_rows
        self._aim_at(wanted if wanted < most else most)

    def _aim_at(self, n_rows: int) -> None:
        if self.most is not None and n_rows > self.most:
            n_rows = self.most
        # the number of rows in the next slice
        self.n_rows = n_rows // self.unit * self.unit or self.unit


class MappedRows:
    """Memory map that holds the rows of a table.

    Parameters
    ----------
    table : mmap.mmap
    begin : int
        Offset of row 0 from the map's begin, in bytes.
    stride, row_bytes : int
        Distance between rows and size of a row, in bytes.
    is_shared : bool
        Whether pages hold the contents of the file, so that they can be released.
    """

    def __init__(
        self, table: mmap.mmap, begin: int, stride: int, row_bytes: int, is_shared: bool
    ) -> None:
        self.table, self.begin, self.stride, self.row_bytes = table, begin, stride, row_bytes
        self.is_shared = is_shared

    @classmethod
    def under(cls, X: Any) -> "MappedRows | None":
        """Return the memory map under a two-dimensional array, or None where there is none."""
        base, is_shared = X, False
        while isinstance(base, np.ndarray):
            is_shared |= isinstance(base, np.memmap) and base.mode != "c"
            base = base.base
        if isinstance(base, memoryview):
            base = base.obj
        if not isinstance(base, mmap.mmap):
            return None
        begin = X.ctypes.data - np.frombuffer(base, np.uint8).ctypes.data
        return cls(base, begin, X.strides[0], X.shape[1] * X.itemsize, is_shared)

    @property
    def window_rows(self) -> int:
        """Approximate number of rows in a window, whatever their strides."""
        return max(1, WINDOW_BLOCKS * BLOCK_BYTES // max(abs(self.stride), 1))

    def will_need(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Ask the system to read ranges [first, last) of rows that are not in memory."""
        self._advise(ranges, "MADV_WILLNEED", ADVICE_BYTES)

    def start_reading(self, ranges: list[tuple[int, int]]) -> Callable[[], None]:
        """Call `will_need` in a thread, and return a function that waits until it has ended.

        A thread is needed because the call blocks while the disk's queue is full.
        """
        reader = threading.Thread(target=self.will_need, args=(ranges,))
        try:
            reader.start()
        except RuntimeError:  # the thread cannot start: rows are read when they are visited
            return lambda: None
        return reader.join

    def done_with(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Release the pages of ranges of rows, unless the map is private.

        A private map may hold changes that its file does not have.
        """
        if self.is_shared:
            self._advise(ranges, "MADV_DONTNEED", HUGE_PAGE_BYTES)

    def _advise(self, ranges: Iterable[tuple[int, int]], name: str, unit: int) -> None:
        """Call madvise for each unit of bytes, counted from the map's begin, that holds a row."""
        advice = getattr(mmap, name, None)
        if advice is None:
            return
        with contextlib.suppress(OSError, ValueError):  # results do not depend on advice
            for first, last in ranges:
                begin, end = self._bytes_of(first, last)
                for at in range(begin // unit * unit, end, unit):
                    self.table.madvise(advice, at, min(unit, len(self.table) - at))

    def _bytes_of(self, first: int, last: int) -> tuple[int, int]:
        """Return the first byte of rows [first, last) in the map, and the one after the last."""
        ends = [self.begin + first * self.stride, self.begin + (last - 1) * self.stride]
        return min(ends), max(ends) + self.row_bytes


class MappedEntries:
    """Memory maps that hold the entries of rows in CSR form, with the methods of `MappedRows`.

    Parameters
    ----------
    row_begin : ndarray (n + 1,)
        Place of the first entry of each row.
    maps : list of MappedRows
        Those of the arrays of columns and of values, an entry as a row.
    """

    def __init__(self, row_begin: Array, maps: list[MappedRows]) -> None:
        self.row_begin, self.maps = row_begin, maps
        n_rows, n_entries = len(row_begin) - 1, int(row_begin[-1] - row_begin[0])
        row_bytes = sum(abs(part.stride) for part in maps)
        self.stride = -(-row_bytes * n_entries // max(n_rows, 1))  # bytes of a row, on average

    @classmethod
    def under(cls, X: Any) -> "MappedEntries | None":
        """Return the maps under the entries of `SparseRows`, or None where there are none."""
        arrays = [array[:, np.newaxis] for array in (X.indices, X.values)]
        maps = [part for part in map(MappedRows.under, arrays) if part is not None]
        return cls(X.row_begin, maps) if maps else None

    @property
    def window_rows(self) -> int:
        return max(1, WINDOW_BLOCKS * BLOCK_BYTES // max(self.stride, 1))

    def start_reading(self, ranges: list[tuple[int, int]]) -> Callable[[], None]:
        waits = [part.start_reading(self._entries_of(ranges)) for part in self.maps]

        def wait() -> None:
            for each in waits:
                each()

        return wait

    def done_with(self, ranges: Iterable[tuple[int, int]]) -> None:
        entries = self._entries_of(ranges)
        for part in self.maps:
            part.done_with(entries)

    def _entries_of(self, ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        """Return the ranges of entries of ranges of rows, without empty ones."""
        begin = self.row_begin
        places = [(int(begin[first]), int(begin[last])) for first, last in ranges]
        return [(first, last) for first, last in places if first < last]


def maps_under(X: Any) -> MappedRows | MappedEntries | None:
    """Return the memory maps under rows, dense or `SparseRows`, or None where there are none."""
    return MappedEntries.under(X) if hasattr(X, "row_begin") else MappedRows.under(X)


def copied_rows(X: Any, order: Array) -> Array:
    """Return copies of the rows of an array whose numbers `order` has, in its type.

    The pages of a memory map do not stay in memory, if `order` is sorted.
    """
    if isinstance(X, StreamedRows):
        return X.take(order)
    mapped = MappedRows.under(X)
    if mapped is None:
        return X[order]
    rows = np.empty((len(order), X.shape[1]), X.dtype)
    ends = np.flatnonzero(np.diff(order // mapped.window_rows)) + 1
    for first, last in pairwise([0, *ends.tolist(), len(order)]):
        rows[first:last] = X[order[first:last]]
        mapped.done_with([(int(order[first]), int(order[last - 1]) + 1)])
    return rows


class RowOrder:
    """Rows that each pass visits, and their order.

    Parameters
    ----------
    X : ndarray or SparseRows (n_samples, n_features)
    rows : int or ndarray of int64
        Number of rows from row 0 on, or sorted row numbers.
    batch_size : int
    """

    def __init__(self, X: Array, rows: int | Array, batch_size: int = 1) -> None:
        self.rows, self.n_table = rows, len(X)
        self.n_rows = rows if isinstance(rows, int) else len(rows)
        self.batch_size = min(batch_size, self.n_rows)
        self.map = maps_under(X)
        if self.map is not None:
            bytes_between_rows = max(abs(self.map.stride), 1)
            self.block_rows = -(-BLOCK_BYTES // bytes_between_rows)
            self.n_blocks = -(-self.n_table // self.block_rows)
            batches = -(-WINDOW_BATCHES * self.batch_size // self.block_rows)
            self.window_blocks = max(WINDOW_BLOCKS, batches)

    def windows(
        self, random: np.random.Generator | None = None, n_visited: int = 0
    ) -> Iterator[Array]:
        """Yield the row numbers of one pass, in arrays of whole batches except the last.

        random : numpy.random.Generator or None
            Generator that shuffles the rows; None leaves them in order.
        n_visited : int
            Number of rows, from the first of the pass on, that are left out: an interrupted pass
            has visited them. Their windows are not read.
        """
        if self.map is not None and self.n_blocks > self.window_blocks:
            yield from self._windows_of_blocks(self.map, random, n_visited)
        elif random is not None:
            yield random.permutation(self.rows)[n_visited:]
        else:
            every = np.arange(self.rows) if isinstance(self.rows, int) else self.rows
            yield every[n_visited:]

    def _windows_of_blocks(
        self,
        mapped: MappedRows | MappedEntries,
        random: np.random.Generator | None,
        n_visited: int,
    ) -> Iterator[Array]:
        blocks = np.arange(self.n_blocks) if random is None else random.permutation(self.n_blocks)
        windows = np.split(blocks, range(self.window_blocks, self.n_blocks, self.window_blocks))
        left = np.empty(0, np.int64)  # rows left over from the last window, too few for a batch
        wait = None
        for i, window in enumerate(windows):
            is_last = i + 1 == len(windows)
            n_here = len(left) + sum(len(self._rows_of(block)) for block in window)
            is_visited = n_visited >= n_here - (0 if is_last else n_here % self.batch_size)
            if not is_visited:
                if wait is None:  # the first window that is read at all
                    wait = mapped.start_reading(self._ranges_of([window]))
                wait()
                if not is_last:
                    wait = mapped.start_reading(self._ranges_of([windows[i + 1]]))
            mixed = np.concatenate([self._rows_of(block) for block in window])
            if random is not None:
                random.shuffle(mixed)
            order = np.concatenate([left, mixed])
            n_left = 0 if is_last else len(order) % self.batch_size
            left = order[len(order) - n_left :]
            if is_visited:
                n_visited -= len(order) - n_left
                continue
            yield order[n_visited : len(order) - n_left]
            n_visited = 0
            # Rows left over came from anywhere in the window before, which is released only now.
            mapped.done_with(self._ranges_of(windows[max(i - 1, 0) : i + 1 if is_last else i]))

    def _ranges_of(self, windows: Iterable[Array]) -> list[tuple[int, int]]:
        return [self._range_of(block) for window in windows for block in window]

    def _range_of(self, block: int) -> tuple[int, int]:
        """Return the range [first, last) of a block's rows in the table, visited or not."""
        first = int(block) * self.block_rows
        return first, min(first + self.block_rows, self.n_table)

    def _rows_of(self, block: int) -> Array:
        first, last = self._range_of(block)
        if isinstance(self.rows, int):
            return np.arange(first, min(last, self.rows))
        begin, end = np.searchsorted(self.rows, (first, last))
        return self.rows[begin:end]


class PassInOrder:
    """Read-ahead for a pass in order over a memory map, with release of the pages behind it.

    For an array in memory nothing is done.

    Parameters
    ----------
    X : ndarray (n_samples, n_features), SparseRows or sparse matrix
    """

    def __init__(self, X: Any) -> None:
        self.map, self.n_rows = maps_under(X), X.shape[0]
        self.asked = 0  # rows before this one have been asked for
        self.left = 0  # the pages of rows before this one have been released
        self.wait: Callable[[], None] | None = None

    def visit(self, first: int, last: int) -> None:
        """Prepare for a visit of rows [first, last)."""
        if self.map is None:
            return
        window = self.map.window_rows
        if self.asked < min(self.n_rows, last + window // 2):
            if self.wait is not None:
                self.wait()
            begin, self.asked = self.asked, min(self.n_rows, last + window)
            self.wait = self.map.start_reading([(begin, self.asked)])
        if first - self.left >= window:
            self.map.done_with([(self.left, first)])
            self.left = first


def slices(n_rows: int, pace: Pace, X: Any = None) -> Generator[slice, None, None]:
    """Cut rows 0 to n_rows, in order, into slices on which the caller works for some 50 ms each.

    X : array or sparse matrix (n_rows, n_features), or None
        The rows; pages of a memory map are read ahead, and released after the visit.
    """
    ahead = None if X is None else PassInOrder(X)
    if ahead is not None and ahead.map is not None:
        pace.limit(ahead.map.window_rows)
    first = 0
    while first < n_rows:
        stop = first + pace.n_rows
        if stop >= n_rows:  # the last slice, often the only one, has no successor to be timed for
            if ahead is not None:
                ahead.visit(first, n_rows)
            yield slice(first, n_rows)
            return
        if ahead is not None:
            ahead.visit(first, stop)
        start = time.perf_counter()
        yield slice(first, stop)
        pace.took(stop - first, time.perf_counter() - start)
        first = stop


def slices_of_windows(
    windows: Iterable[np.ndarray], pace: Pace
) -> Generator[np.ndarray, None, None]:
    """Cut arrays of row numbers, such as those of `RowOrder.windows`, into slices of some 50 ms."""
    for window in windows:
        for part in slices(len(window), pace):
            yield window[part]
