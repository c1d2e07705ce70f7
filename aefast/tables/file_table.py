"""What a file gives: rows, names of columns, names of rows."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Ids:
    """Names of rows, which are written beside results and never computed with."""

    name: str  # "" for a column without a name, as pandas writes its index
    values: Sequence[Any]  # one for each row

    def are_row_numbers(self) -> bool:
        """Return whether the ids are 0 … n − 1 or 1 … n, as pandas and R number rows."""
        if not len(self.values):
            return False
        try:
            numbers = np.array(self.values, dtype=np.int64)
        except (TypeError, ValueError, OverflowError):
            return False
        return numbers[0] in (0, 1) and bool((np.diff(numbers) == 1).all())


@dataclasses.dataclass(frozen=True)
class FileTable:
    """A table with one sample in each row.

    Attributes
    ----------
    name : str
        Of the file, for messages.
    rows : ndarray (n_samples, n_features) or pyarrow.Table
        An array where all columns have numbers, missing ones as NaN.
    row_shape : tuple of int
        Shape of one sample in the file.
    feature_names : tuple of str or None
    ids : Ids or None
    notices : tuple of str
        What the reader has decided, for the user.
    places : function or None
        From the number of a row and of a column, both from 0, to where their entry stands in the
        file, for messages: see `place`.
    """

    name: str
    rows: Any
    row_shape: tuple[int, ...]
    feature_names: tuple[str, ...] | None = None
    ids: Ids | None = None
    notices: tuple[str, ...] = ()
    places: Callable[[int, int], str] | None = dataclasses.field(
        default=None, repr=False, compare=False
    )

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def is_frame(self) -> bool:
        return not isinstance(self.rows, np.ndarray)

    def scaled(self) -> "FileTable":
        """Return a copy with uint8 values divided by 255, in float32."""
        if self.is_frame or self.rows.dtype != np.uint8:
            got = "text, dates or truth values" if self.is_frame else self.rows.dtype
            raise ValueError(f"--scale divides uint8 values by 255: expected uint8 data, got {got}")
        rows = np.divide(self.rows, np.float32(255), dtype=np.float32)
        return dataclasses.replace(self, rows=rows)

    @property
    def image_shape(self) -> tuple[int, ...] | None:
        """Shape of one sample as an image.

        It is () if samples have several dimensions but are not images, and None if they have only
        one, so that nothing is known.
        """
        if len(self.row_shape) == 1:
            return None
        shape = tuple(size for size in self.row_shape if size != 1)
        return shape if len(shape) == 2 or (len(shape) == 3 and shape[2] == 3) else ()

    def frame(self) -> Any:
        """Return the rows as a pyarrow.Table, whose columns have names."""
        if self.is_frame:
            return self.rows
        from aefast.tables.optional import arrow

        names = self.feature_names or [f"x{j}" for j in range(self.rows.shape[1])]
        columns = [np.ascontiguousarray(column) for column in self.rows.T]
        return arrow("frames").table(columns, names=list(names))

    def as_frame(self) -> "FileTable":
        """Return the table with a pyarrow.Table as rows."""
        return self if self.is_frame else dataclasses.replace(self, rows=self.frame())

    def without(self, name: str) -> tuple["FileTable", list]:
        """Return the table without one of its columns, and the values of that, None for gaps."""
        names = list(self.feature_names or ())
        if name not in names:
            raise ValueError(f"{self.name}: no column {name!r}")
        frame = self.frame()
        values = [None if value != value else value for value in frame.column(name).to_pylist()]
        if len(names) == 1:
            raise ValueError(f"{self.name}: no column is left beside {name!r}")
        names.remove(name)
        rows = frame.select(names) if self.is_frame else self.rows[:, self._places(names)]
        table = dataclasses.replace(
            self, rows=rows, row_shape=(len(names),), feature_names=tuple(names)
        )
        return table, values

    def _places(self, names):
        return [list(self.feature_names or ()).index(name) for name in names]

    def place(self, row: int, column: int) -> str:
        """Return where an entry stands in the file; rows and columns count from 0.

        Columns are those of the table as it was read, before `without`.
        """
        if self.places is None:
            return f"{self.name}: row {row + 1}, column {column + 1}"
        return self.places(row, column)

    def labels(self, rows: Iterable[int]) -> list[str]:
        """Return texts for rows, by number: their ids, or their numbers from 1."""
        if self.ids is None:
            return [f"row {row + 1}" for row in rows]
        return [str(self.ids.values[row]) for row in rows]
