"""In which order rows are visited, and how rows of a memory map come and go meanwhile.

Rows of an array in memory are shuffled one by one. In a file that is larger than memory a random row at a time would read a page for each, so a map is
shuffled by blocks: blocks in random order, rows mixed within a window of them; the next window is read while the present one is trained on, and
pages that have been visited are given back.
"""

import contextlib
import mmap
import threading

import numpy as np

BLOCK_BYTES = 1 << 20  # of a map that are read in one go, at least
WINDOW_BLOCKS = 32  # whose rows are mixed
WINDOW_BATCHES = 8  # in a window, at least
HUGE_PAGE_BYTES = 1 << 21  # Linux may map so much at once, a visited block's neighbours too
ADVICE_BYTES = 1 << 17  # Linux reads no more ahead in one call on devices with its default settings


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
        """Rows of about a window, however they lie."""
        return max(1, WINDOW_BLOCKS * BLOCK_BYTES // max(abs(self.stride), 1))

    def will_need(self, ranges):
        """Has the system read these rows, [first, last) each, if they are not in memory."""
        self._advise(ranges, "MADV_WILLNEED", ADVICE_BYTES)

    def start_reading(self, ranges):
        """`will_need` in a thread: where the disk has more to do than it can queue, advice waits. Returns what waits for its end."""
        reader = threading.Thread(target=self.will_need, args=(ranges,))
        try:
            reader.start()
        except RuntimeError:  # no thread to be had: rows are read when they are visited
            return lambda: None
        return reader.join

    def done_with(self, ranges):
        """Gives these rows' pages back. A private map may hold changes that the file has not: it keeps its pages."""
        if self.is_shared:
            self._advise(ranges, "MADV_DONTNEED", HUGE_PAGE_BYTES)

    def _advise(self, ranges, name, unit):
        """Gives advice for each unit of bytes, counted from the map's begin, in which one of the rows lies."""
        advice = getattr(mmap, name, None)
        if advice is None:
            return
        with contextlib.suppress(OSError, ValueError):  # advice: nothing depends on it
            for first, last in ranges:
                begin, end = self._bytes_of(first, last)
                for at in range(begin // unit * unit, end, unit):
                    self.table.madvise(advice, at, min(unit, len(self.table) - at))

    def _bytes_of(self, first, last):
        """Where rows [first, last) lie in the map."""
        ends = [self.begin + first * self.stride, self.begin + (last - 1) * self.stride]
        return min(ends), max(ends) + self.row_bytes


class RowOrder:
    """The rows that each pass visits, and their order.

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
        """One pass: yields arrays of row numbers, all but the last a multiple of batch_size long.

        random : numpy.random.Generator or None
            What shuffles; None leaves the rows in order.
        """
        if self.map is not None and self.n_blocks > self.window_blocks:
            yield from self._windows_of_blocks(random)
        elif random is not None:
            yield random.permutation(self.rows)
        else:
            yield np.arange(self.rows) if isinstance(self.rows, int) else self.rows

    def _windows_of_blocks(self, random):
        blocks = np.arange(self.n_blocks) if random is None else random.permutation(self.n_blocks)
        windows = np.split(blocks, range(self.window_blocks, self.n_blocks, self.window_blocks))
        left = np.empty(0, np.int64)  # of the last window, too few for a batch
        wait = self.map.start_reading(self._ranges_of(windows[:1]))
        for i, window in enumerate(windows):
            wait()
            is_last = i + 1 == len(windows)
            if not is_last:
                wait = self.map.start_reading(self._ranges_of([windows[i + 1]]))
            mixed = np.concatenate([self._rows_of(block) for block in window])
            if random is not None:
                random.shuffle(mixed)
            order = np.concatenate([left, mixed])
            n_left = 0 if is_last else len(order) % self.batch_size
            left = order[len(order) - n_left :]
            yield order[: len(order) - n_left]
            # the rows that were left came from all over the window before: only now is it done with
            self.map.done_with(self._ranges_of(windows[max(i - 1, 0) : i + 1 if is_last else i]))

    def _ranges_of(self, windows):
        return [self._range_of(block) for window in windows for block in window]

    def _range_of(self, block):
        """Its rows in the table, whether or not they are visited."""
        first = int(block) * self.block_rows
        return first, min(first + self.block_rows, self.n_table)

    def _rows_of(self, block):
        first, last = self._range_of(block)
        if isinstance(self.rows, int):
            return np.arange(first, min(last, self.rows))
        begin, end = np.searchsorted(self.rows, (first, last))
        return self.rows[begin:end]


class PassInOrder:
    """Keeps a memory map a window ahead of one that visits its rows in order, and gives back what lies behind. Does nothing for an array in memory.

    Parameters
    ----------
    X : ndarray (n_samples, n_features) or sparse matrix
    """

    def __init__(self, X):
        self.map, self.n_rows = MappedRows.under(X), X.shape[0]
        self.asked = self.left = 0  # rows before these are on their way; have been given back
        self.wait = None

    def most(self, step):
        """Rows to visit together: so many, or fewer where waiting for them would leave nothing to do meanwhile."""
        return step if self.map is None else min(step, self.map.window_rows)

    def visit(self, first, last):
        """To be called before rows [first, last) are visited."""
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
