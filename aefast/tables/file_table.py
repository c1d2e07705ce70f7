"""What a file gives: rows, names of columns, names of rows."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from aefast._base.types import Array


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
    """

    name: str
    rows: Any
    row_shape: tuple[int, ...]
    feature_names: tuple[str, ...] | None = None
    ids: Ids | None = None
    notices: tuple[str, ...] = ()

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

    def labels(self, rows: Array) -> list[str]:
        """Return texts for rows, by number: their ids, or their numbers from 1."""
        if self.ids is None:
            return [f"row {row + 1}" for row in rows]
        return [str(self.ids.values[row]) for row in rows]
