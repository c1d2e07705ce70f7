"""Visits of rows by a pass: slices of an array, or of the windows of a stream.

Kernels get a table and the numbers of the rows to visit in it. For an array the table is the
array itself; for `StreamedRows` it is a window, which is dropped after its visits. Slices are cut
alike in both, so that sums have the same bits.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from aefast._base.passes import Pace, RowOrder, slices, slices_of_windows
from aefast._base.stream_parts import AllBut
from aefast._base.streams import StreamedRows
from aefast._base.types import Array

# Bytes of a window that is visited in order: a small one is soon filled, so that work begins early.
IN_ORDER_BYTES = 1 << 22


class Visit(NamedTuple):
    """Rows that a kernel visits in one call."""

    table: Any  # ndarray or SparseRows
    places: Array  # numbers of the rows to visit in this table, int64
    numbers: Array  # numbers of the same rows in the whole table


class ArrayOrder(RowOrder):
    """Rows of an array, or of `SparseRows`, that each pass visits."""

    def __init__(self, X: Any, rows: int | Array, batch_size: int = 1) -> None:
        super().__init__(X, rows, batch_size)
        self._X = X

    def visits(
        self, pace: Pace, random: np.random.Generator | None = None, n_visited: int = 0
    ) -> Iterator[Visit]:
        """Yield slices of one pass; the parameters are those of `RowOrder.windows`."""
        for part in slices_of_windows(self.windows(random, n_visited), pace):
            yield Visit(self._X, part, part)


class StreamOrder:
    """Rows of a stream that each pass visits.

    A shuffled pass reads the blocks in random order and mixes the rows of each window, whose number
    is a multiple of the batch size.

    Parameters
    ----------
    X : StreamedRows
    rows : int or AllBut
    batch_size : int
    """

    def __init__(self, X: StreamedRows, rows: int | AllBut, batch_size: int = 1) -> None:
        self._X, self.rows = X, rows
        self._left_out = None if isinstance(rows, int) else rows.left_out
        self.n_rows = rows if isinstance(rows, int) else len(rows)
        self.batch_size = min(batch_size, self.n_rows)
        self.window_rows = X.window_rows(self.batch_size)
        few = IN_ORDER_BYTES // (X.n_columns * X.dtype.itemsize)
        self.in_order_rows = min(self.window_rows, max(1, few // self.batch_size) * self.batch_size)

    def visits(
        self, pace: Pace, random: np.random.Generator | None = None, n_visited: int = 0
    ) -> Iterator[Visit]:
        """Yield slices of one pass.

        random : numpy.random.Generator or None
            Generator that shuffles the rows; None leaves them in order.
        n_visited : int
            Number of rows, from the first of the pass on, that are left out: an interrupted pass
            has visited them. Their windows are not read where a source can be read from anywhere.
        """
        source = self._X.source
        blocks = None
        if random is not None and not source.in_order:
            blocks = random.permutation(source.n_blocks)
        window_rows = self.window_rows if random is not None else self.in_order_rows
        n_skipped, visited = divmod(n_visited, window_rows)
        for number in range(n_skipped):  # the generator goes on from where it was
            if random is not None:
                rows = min(window_rows, self.n_rows - number * window_rows)
                random.permutation(rows)
        for window in self._X.windows(window_rows, blocks, self._left_out, n_skipped):
            n = len(window.numbers)
            order = np.arange(n) if random is None else random.permutation(n)
            for part in slices(n - visited, pace):
                places = order[visited:][part]
                yield Visit(window.rows, places, window.numbers[places])
            visited = 0


class TakenOrder:
    """A few rows of a stream, which are read into memory once.

    Parameters
    ----------
    X : StreamedRows
    rows : ndarray of int64
        Sorted numbers of the rows.
    """

    def __init__(self, X: StreamedRows, rows: Array) -> None:
        self._table, self._numbers, self.n_rows = X.take(rows), rows, len(rows)

    def visits(self, pace: Pace) -> Iterator[Visit]:
        """Yield slices of one pass in order."""
        for part in slices(len(self._numbers), pace):
            yield Visit(self._table, np.arange(part.start, part.stop), self._numbers[part])


def order_of(X: Any, rows: Any, batch_size: int = 1, *, unit: int = 1) -> Any:
    """Return the order of some rows: a number of them from the first on, or their numbers.

    With `unit`, windows of a stream are a multiple of this number of rows, so that slices of this
    many are cut as those of an array are.
    """
    if isinstance(X, StreamedRows) and isinstance(rows, np.ndarray):
        return TakenOrder(X, rows)
    if isinstance(X, StreamedRows):
        return StreamOrder(X, rows, max(batch_size, unit))
    return ArrayOrder(X, rows, batch_size)
