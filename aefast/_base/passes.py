"""Passes over rows: their order, how many rows at a time, and the pages of memory maps.

Kernels release the GIL and hear no Ctrl-C, so a pass calls them for slices of some 50 ms: `slices`
(rows in order) and `slices_of_windows` (rows in any order) cut a pass, and a `Pace` says how many
rows come next from the time that the slices before took.

Rows of an array in memory are shuffled one by one. In a file that is larger than memory a random
row at a time would read a page for each, so a map is shuffled by blocks: blocks in random order,
rows mixed within a window of them; the next window is read while the present one is trained on,
and pages that have been visited are given back.
"""

import contextlib
import mmap
import threading
import time
from collections.abc import Generator, Iterable

import numpy as np

SLICE_SECONDS = 0.05  # of work between two looks at the keyboard and the progress bar
FASTEST_GROWTH = 8  # of the rows in a slice, from one slice to the next

BLOCK_BYTES = 1 << 20  # of a map that are read in one go, at least
WINDOW_BLOCKS = 32  # whose rows are mixed
WINDOW_BATCHES = 8  # in a window, at least
HUGE_PAGE_BYTES = 1 << 21  # Linux may map so much at once, a visited block's neighbours too
ADVICE_BYTES = 1 << 17  # Linux reads no more ahead in one call on devices with its default settings


class Pace:
    """The number of rows in a slice, which follows from the time that the slices before took.

    Results must not depend on it: the clock is no part of them.

    Parameters
    ----------
    unit : int
        Rows in a slice are a multiple of this number (the last slice has what is left).
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
        """Return a pace whose first slice reckons with so many seconds for a unit."""
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
        """Learn that so many rows took so long."""
        wanted = int(n_rows * SLICE_SECONDS / (seconds or 1e-9))
        most = FASTEST_GROWTH * self.n_rows
        self._aim_at(wanted if wanted < most else most)

    def _aim_at(self, n_rows):
        if self.most is not None and n_rows > self.most:
            n_rows = self.most
        self.n_rows = n_rows // self.unit * self.unit or self.unit  # in the next slice


class MappedRows:
    """The memory map in which the rows of a table lie.

    Parameters
    ----------
    table : mmap.mmap
    begin : int
        Of row 0, in bytes from the map's begin.
    stride, row_bytes : int
        From a row to the next, and of a row.
    is_shared : bool
        Pages hold what the file holds: the map can let them go.
    """

    def __init__(self, table, begin, stride, row_bytes, is_shared):
        self.table, self.begin, self.stride, self.row_bytes = table, begin, stride, row_bytes
        self.is_shared = is_shared

    @classmethod
    def under(cls, X):
        """The map under a two-dimensional array, or None."""
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
    def window_rows(self):
        """About the number of rows in a window, however they lie."""
        return max(1, WINDOW_BLOCKS * BLOCK_BYTES // max(abs(self.stride), 1))

    def will_need(self, ranges):
        """Have the system read these rows, [first, last) each, if they are not in memory."""
        self._advise(ranges, "MADV_WILLNEED", ADVICE_BYTES)

    def start_reading(self, ranges):
        """Call `will_need` in a thread, since advice waits where the disk's queue is full.

        Returns a function that waits until the thread has ended.
        """
        reader = threading.Thread(target=self.will_need, args=(ranges,))
        try:
            reader.start()
        except RuntimeError:  # no thread to be had: rows are read when they are visited
            return lambda: None
        return reader.join

    def done_with(self, ranges):
        """Give these rows' pages back; a private map may hold changes that its file has not."""
        if self.is_shared:
            self._advise(ranges, "MADV_DONTNEED", HUGE_PAGE_BYTES)

    def _advise(self, ranges, name, unit):
        """Give advice for each unit of bytes, from the map's begin, that holds a row."""
        advice = getattr(mmap, name, None)
        if advice is None:
            return
        with contextlib.suppress(OSError, ValueError):  # advice: nothing depends on it
            for first, last in ranges:
                begin, end = self._bytes_of(first, last)
                for at in range(begin // unit * unit, end, unit):
                    self.table.madvise(advice, at, min(unit, len(self.table) - at))

    def _bytes_of(self, first, last):
        """First and last byte (excluded) of rows [first, last) in the map."""
        ends = [self.begin + first * self.stride, self.begin + (last - 1) * self.stride]
        return min(ends), max(ends) + self.row_bytes


class RowOrder:
    """Rows that each pass visits, and their order.

    Parameters
    ----------
    X : ndarray (n_samples, n_features)
    rows : int or ndarray of int64
        That many rows from row 0 on, or these, sorted.
    batch_size : int
    """

    def __init__(self, X, rows, batch_size=1):
        self.rows, self.n_table = rows, len(X)
        self.n_rows = rows if isinstance(rows, int) else len(rows)
        self.batch_size = min(batch_size, self.n_rows)
        self.map = MappedRows.under(X)
        if self.map is not None:
            bytes_between_rows = max(abs(self.map.stride), 1)
            self.block_rows = -(-BLOCK_BYTES // bytes_between_rows)
            self.n_blocks = -(-self.n_table // self.block_rows)
            batches = -(-WINDOW_BATCHES * self.batch_size // self.block_rows)
            self.window_blocks = max(WINDOW_BLOCKS, batches)

    def windows(self, random=None):
        """Yield the row numbers of one pass, in arrays of whole batches but for the last.

        random : numpy.random.Generator or None
            Shuffles; None leaves the rows in order.
        """
        if self.map is not None and self.n_blocks > self.window_blocks:
            yield from self._windows_of_blocks(self.map, random)
        elif random is not None:
            yield random.permutation(self.rows)
        else:
            yield np.arange(self.rows) if isinstance(self.rows, int) else self.rows

    def _windows_of_blocks(self, mapped, random):
        blocks = np.arange(self.n_blocks) if random is None else random.permutation(self.n_blocks)
        windows = np.split(blocks, range(self.window_blocks, self.n_blocks, self.window_blocks))
        left = np.empty(0, np.int64)  # of the last window, too few for a batch
        wait = mapped.start_reading(self._ranges_of(windows[:1]))
        for i, window in enumerate(windows):
            wait()
            is_last = i + 1 == len(windows)
            if not is_last:
                wait = mapped.start_reading(self._ranges_of([windows[i + 1]]))
            mixed = np.concatenate([self._rows_of(block) for block in window])
            if random is not None:
                random.shuffle(mixed)
            order = np.concatenate([left, mixed])
            n_left = 0 if is_last else len(order) % self.batch_size
            left = order[len(order) - n_left :]
            yield order[: len(order) - n_left]
            # the rows that were left came from all over the window before: only now is it done with
            mapped.done_with(self._ranges_of(windows[max(i - 1, 0) : i + 1 if is_last else i]))

    def _ranges_of(self, windows):
        return [self._range_of(block) for window in windows for block in window]

    def _range_of(self, block):
        """First and last row of a block in the table, whether or not the pass visits them."""
        first = int(block) * self.block_rows
        return first, min(first + self.block_rows, self.n_table)

    def _rows_of(self, block):
        first, last = self._range_of(block)
        if isinstance(self.rows, int):
            return np.arange(first, min(last, self.rows))
        begin, end = np.searchsorted(self.rows, (first, last))
        return self.rows[begin:end]


class PassInOrder:
    """Reads a memory map a window ahead of a pass in order, and gives back the pages behind it.

    Does nothing for an array in memory.

    Parameters
    ----------
    X : ndarray (n_samples, n_features) or sparse matrix
    """

    def __init__(self, X):
        self.map, self.n_rows = MappedRows.under(X), X.shape[0]
        self.asked = self.left = 0  # rows before these are on their way; have been given back
        self.wait = None

    def visit(self, first, last):
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


def slices(n_rows: int, pace: Pace, X=None) -> Generator[slice, None, None]:
    """Cut rows 0 to n_rows, in order, into slices on which the caller works for some 50 ms each.

    X : array or sparse matrix (n_rows, n_features), or None
        If it lies in a memory map, its pages are read ahead and given back.
    """
    ahead = None if X is None else PassInOrder(X)
    if ahead is not None and ahead.map is not None:
        pace.limit(ahead.map.window_rows)
    first = 0
    while first < n_rows:
        part = slice(first, min(n_rows, first + pace.n_rows))
        if ahead is not None:
            ahead.visit(first, part.stop)
        start = time.perf_counter()
        yield part
        pace.took(part.stop - first, time.perf_counter() - start)
        first = part.stop


def slices_of_windows(
    windows: Iterable[np.ndarray], pace: Pace
) -> Generator[np.ndarray, None, None]:
    """Cut arrays of row numbers, such as those of `RowOrder.windows`, into slices of some 50 ms."""
    for window in windows:
        for part in slices(len(window), pace):
            yield window[part]
