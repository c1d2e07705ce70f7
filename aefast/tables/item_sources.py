"""Rows of streams from arrays and frames: lists of them, iterators, functions."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from aefast._base.arrays import as_rows, real_type, refuse_types
from aefast._base.fingerprints import fingerprint
from aefast._base.types import Array
from aefast.tables.records import ArrayRecords, TableRecords, as_arrow_table


class _Item:
    """An array or a frame among the items of a stream."""

    def __init__(self, item: Any, name: str, chosen: Sequence[str] | None) -> None:
        self.name = name
        self.table = as_arrow_table(item)
        self.array: Array | None = None
        if self.table is not None:
            self.columns: tuple[str, ...] | None = tuple(self.table.schema.names)
            return
        refuse_types(name, getattr(item, "dtypes", []), "mM")
        names = getattr(item, "columns", None)
        are_names = names is not None and all(isinstance(column, str) for column in names)
        self.columns = tuple(names) if are_names and names is not None else None
        if chosen is not None and self.columns is not None:
            self.check_columns(chosen)
            item, self.columns = item[list(chosen)], tuple(chosen)
        if getattr(item, "shape", (1,))[0] == 0:
            self.array = np.empty((0, *np.shape(item)[1:]), np.float64)
        else:
            self.array = as_rows(item.to_numpy() if hasattr(item, "to_numpy") else item, name)

    @property
    def n_columns(self) -> int:
        return len(self.columns or ()) if self.array is None else self.array.shape[1]

    @property
    def n_rows(self) -> int:
        return len(self.array) if self.array is not None else self.table.num_rows

    def dtype(self, wanted: Sequence[str] | None) -> np.dtype[Any]:
        if self.array is not None:
            return real_type(self.array.dtype)
        return TableRecords.type_of(self.name, self.table.schema, wanted)

    def check_columns(self, wanted: Sequence[str]) -> None:
        """Raise ValueError where a wanted column is not there."""
        known = self.columns or ()
        missing = [column for column in wanted if column not in known]
        if missing:
            raise ValueError(f"{self.name}: no columns {missing!r}: it has {list(known)!r}")

    def records(self, wanted: Sequence[str] | None) -> Iterator[Any]:
        """Yield the rows, with the wanted columns where they have names."""
        if self.array is not None:
            places = None
            if wanted is not None and self.columns is not None and self.columns != tuple(wanted):
                places = [self.columns.index(column) for column in wanted]
            if len(self.array):
                yield ArrayRecords(self.array, places)
            return
        for batch in self.table.to_batches():
            if batch.num_rows:
                yield TableRecords(batch if wanted is None else batch.select(list(wanted)))


class _ItemSource:
    """What sources of items have in common: the columns of the first item, found by name."""

    def __init__(
        self, first: _Item, name: str, columns: tuple[str, ...] | None, dtype: Any
    ) -> None:
        self.name, self._are_chosen = name, columns is not None
        if columns is not None:
            if first.columns is None:
                raise ValueError(f"{first.name}: columns={list(columns)!r} needs names of columns")
            first.check_columns(columns)
        self.columns = first.columns if columns is None else columns
        self.n_columns = first.n_columns if self.columns is None else len(self.columns)
        self._is_given = dtype is not None
        self.dtype = dtype or first.dtype(self.columns)

    def _check(self, item: _Item) -> None:
        """Raise ValueError for an item that has other columns, or another type, than the first."""
        expected = f"{item.name}: expected the columns of the first"
        if self.columns is not None and item.columns is not None:
            item.check_columns(self.columns)
            if len(item.columns) > self.n_columns and not self._are_chosen:
                more = [column for column in item.columns if column not in self.columns]
                raise ValueError(f"{expected}; not there: {more!r}")
        elif item.n_columns != self.n_columns:
            raise ValueError(f"{expected}, {self.n_columns}, got {item.n_columns}")
        if not self._is_given and item.n_rows:
            found = item.dtype(self.columns)
            if found == np.float64 and self.dtype == np.float32:
                raise ValueError(
                    f"{item.name}: expected float32, as the first, got float64: give "
                    "aefast.stream(..., dtype='float64')"
                )


class ListSource(_ItemSource):
    """A list of arrays or frames, each a block."""

    reads_once, in_order, reads_ahead = False, False, True

    def __init__(
        self, items: Sequence[Any], name: str, columns: tuple[str, ...] | None, dtype: Any
    ) -> None:
        if not len(items):
            raise ValueError(f"{name} is an empty list: expected at least one array or frame")
        self._items = [_Item(item, f"{name}[{i}]", columns) for i, item in enumerate(items)]
        super().__init__(self._items[0], name, columns, dtype)
        for item in self._items:
            self._check(item)
        if not self._is_given:
            types = [item.dtype(self.columns) for item in self._items if item.n_rows]
            self.dtype = real_type(*types) if types else self.dtype
        self.n_blocks = len(self._items)

    def _check(self, item: _Item) -> None:
        given, self._is_given = self._is_given, True  # types are widened to the widest
        super()._check(item)
        self._is_given = given

    def lengths(self) -> list[int]:
        return [item.n_rows for item in self._items]

    def read(self, blocks: Iterable[int]) -> Iterator[tuple[int, Any]]:
        for block in blocks:
            for records in self._items[block].records(self.columns):
                yield block, records

    def place(self, block: int, row: int) -> str:
        return f"{self._items[block].name}, row {row}"

    def identity(self) -> Any:
        first, last = self._items[0], self._items[-1]
        ends = [fingerprint(item.array) for item in (first, last) if item.array is not None]
        return {"lengths": self.lengths(), "ends": ends}


class IteratorSource(_ItemSource):
    """An iterator of arrays or frames, or a function that returns a new one for each pass."""

    in_order, reads_ahead, n_blocks = True, False, 1

    def __init__(self, source: Any, name: str, columns: tuple[str, ...] | None, dtype: Any) -> None:
        self.reads_once = not callable(source)
        self._make, self._wanted = source if callable(source) else None, columns
        items = self._begin(name, iter(source) if self._make is None else None)
        first = next((item for item in items if item.n_rows), None)
        if first is None:
            raise ValueError(f"{name}: an iterator without rows: at least one is needed")
        super().__init__(first, name, columns, dtype)
        self._rest: Iterator[_Item] | None = itertools.chain([first], items)

    def _begin(self, name: str, items: Any = None) -> Iterator[_Item]:
        if items is None:
            assert self._make is not None
            items = self._make()
            if not isinstance(items, (Iterator, list, tuple)):
                raise TypeError(
                    f"{name} must return an iterator or a list of arrays or frames, got "
                    f"{type(items).__name__}"
                )
        return (
            _Item(item, f"{name}, item {number}", self._wanted) for number, item in enumerate(items)
        )

    def lengths(self) -> None:
        return None

    def read(self, blocks: Iterable[int]) -> Iterator[tuple[int, Any]]:
        if not list(blocks):
            return
        items, self._rest = self._rest, None
        if items is None:
            if self.reads_once:
                raise ValueError(
                    f"{self.name} is an iterator, and its rows have been read: they come only once"
                )
            items = self._begin(self.name)
        for item in items:
            self._check(item)
            for records in item.records(self.columns):
                yield 0, records

    def place(self, block: int, row: int) -> str:
        return self.name

    def identity(self) -> Any:
        return {"items": self.name}
