"""What streams are made of: sources of records, windows, and the numbers of rows that are kept."""

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

import numpy as np

from aefast._base.types import Array


class Records(Protocol):
    """Adjacent rows as an engine has decoded them."""

    @property
    def n_rows(self) -> int: ...

    def fill(self, out: Array, first: int) -> None:
        """Write rows first, first + 1, ... into `out` (n, d): the only copy on their way."""
        ...


class RecordSource(Protocol):
    """Where the rows of a stream come from.

    Attributes
    ----------
    name : str
        For messages.
    columns : tuple of str or None
        Names of the columns.
    n_columns : int
    dtype : dtype
        float32 or float64.
    n_blocks : int
    reads_once : bool
        Whether the rows come from an iterator, which gives them only once.
    in_order : bool
        Whether blocks are read one after the other, from the first on.
    reads_ahead : bool
        Whether a thread may read. Users' iterators are advanced by the caller's thread alone.
    """

    name: str
    n_columns: int
    dtype: np.dtype[Any]
    n_blocks: int
    reads_once: bool
    in_order: bool
    reads_ahead: bool

    @property
    def columns(self) -> tuple[str, ...] | None: ...

    def lengths(self) -> list[int] | None:
        """Return the number of rows in each block, or None where a pass is needed to know."""
        ...

    def read(self, blocks: Iterable[int]) -> Iterator[tuple[int, Records]]:
        """Yield the records of these blocks, each with the number of its block."""
        ...

    def place(self, block: int, row: int) -> str:
        """Return where a row of a block stands, for messages."""
        ...

    def identity(self) -> Any:
        """Return JSON by which a checkpoint recognises the rows."""
        ...


class Window(NamedTuple):
    """Some rows of a stream, in memory."""

    rows: Array
    numbers: Array  # of the rows in the stream


def without(records: Records, places: Array, dtype: Any, n_columns: int) -> Any:
    """Return the `fill` of records without the rows at some places."""
    rows: list[Array] = []

    def fill(out: Array, first: int) -> None:
        if not rows:
            every = np.empty((records.n_rows, n_columns), dtype)
            records.fill(every, 0)
            rows.append(np.delete(every, places, axis=0))
        out[...] = rows[0][first : first + len(out)]

    return fill


def longer(window: Window, filled: int, n: int) -> Window:
    """Return a window with room for n rows, and the rows that are filled already."""
    longer = Window(np.empty((n, window.rows.shape[1]), window.rows.dtype), np.empty(n, int))
    longer.rows[:filled], longer.numbers[:filled] = window.rows[:filled], window.numbers[:filled]
    return longer


def ahead(items: Iterator[Any], stop: threading.Event) -> Iterator[Any]:
    """Yield items of which the next one is computed in a thread while the present one is used.

    `stop` is set where no further item is wanted: the thread is not waited for.
    """
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="aefast-read")
    try:
        try:
            future = pool.submit(next, items, None)
        except RuntimeError:  # the thread cannot start
            yield from items
            return
        while (item := future.result()) is not None:
            future = pool.submit(next, items, None)
            yield item
            del item  # so that its memory is free while the next but one is filled
    finally:
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)


class AllBut:
    """Numbers of the rows of a table without a few, as a sequence that is not stored."""

    def __init__(self, n_table: int, left_out: Array) -> None:
        self.n_table, self.left_out = n_table, left_out
        self._shifts = left_out - np.arange(len(left_out))

    def __len__(self) -> int:
        return self.n_table - len(self.left_out)

    def __iter__(self) -> Any:
        raise TypeError("these numbers are too many to visit one by one: index with an array")

    def __getitem__(self, places: Array) -> Array:
        return places + np.searchsorted(self._shifts, places, side="right")
