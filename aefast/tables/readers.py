"""The reader of all files: whole tables, and streams of batches of rows.

`open_table` finds out what the name of data stands for and which columns it has; `read` then gives
a whole table, and `batches` its rows in parts that fit in memory. `read_table` is both in one.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from aefast.tables.arrow_files import ArrowFile, concatenate, is_numeric
from aefast.tables.csv_files import CsvFile
from aefast.tables.dialects import Text
from aefast.tables.file_table import FileTable, Ids
from aefast.tables.npy_files import digits, open_arrays
from aefast.tables.optional import arrow
from aefast.tables.selection import Choice, Selection, listed, select
from aefast.tables.sources import TEXT_KINDS, Source, sources_of
from aefast.tables.text_dates import with_orders


@dataclasses.dataclass(frozen=True)
class Options:
    """How to read.

    Attributes
    ----------
    choice : Choice
        Columns to read.
    text : Text
        How text files are written.
    texts : sequence of str
        Columns to take as text, whatever their fields look like.
    writeable : bool
        Whether the caller will exchange rows in place. A memory-mapped file is then mapped
        copy-on-write; the file itself is never changed.
    gaps : bool
        Whether numbers may be missing in text and Arrow files; they become NaN.
    gap_hint : str
        What the user can do about a missing number where it must not be.
    numeric : bool
        Whether text, dates and truth values are errors.
    show : bool
        Whether to show the progress of what takes long on standard error.
    """

    choice: Choice = dataclasses.field(default_factory=Choice)
    text: Text = dataclasses.field(default_factory=Text)
    texts: Sequence[str] = ()
    writeable: bool = False
    gaps: bool = False
    gap_hint: str = ""
    numeric: bool = False
    show: bool = False


_DEFAULT = Options()


class OpenTable:
    """A table in one or several files, opened and not yet read.

    Attributes
    ----------
    name : str
        For messages.
    names : tuple of str or None
        Of the columns that will be read.
    notices : tuple of str
        What has been decided, for the user.
    """

    def __init__(self, name: str, files: Sequence[Any], options: Options) -> None:
        _check_alike(files)
        first = files[0]
        self.name, self._files, self._options = name, files, options
        self._selection: Selection = select(
            first.name, first.names, first.n_columns, options.choice, first.index, first.empty
        )
        self.names = self._selection.names
        self.n_columns = len(self._selection.columns)
        self.notices = self._selection.notices
        self._is_whole = self._selection.columns == tuple(range(first.n_columns))

    def read(self) -> FileTable:
        """Return all rows.

        Raises
        ------
        ValueError
            If the files do not hold one table: the message has the line or row, and the column.
        """
        chosen, parts = self._selection, []
        for file in self._files:
            parts.append(file.read(chosen.columns, chosen.id_column, self._options))
        rows = _joined([file.name for file in self._files], [rows for rows, _ in parts], self._tell)
        notices: tuple[str, ...] = ()
        if self._files[0].is_text and not isinstance(rows, np.ndarray):
            order = self._options.text.dates
            rows, notices = with_orders(self.name, rows, self._options.texts, order)
        ids = None
        if chosen.id_column is not None:
            ids = Ids(chosen.id_name, [value for _, part in parts for value in part])
        if self._options.numeric and not isinstance(rows, np.ndarray):
            others = [field.name for field in rows.schema if not is_numeric(field.type)]
            raise ValueError(
                f"{self.name}: expected numbers alone, got other types in the columns "
                f"{listed(others)} (--drop leaves them out)"
            )
        table = self._table(rows, ids, self.notices + notices + self._notice_of_ids(ids))
        return dataclasses.replace(table, places=self._places([len(rows) for rows, _ in parts]))

    def _tell(self, number, column, kind):
        """Raise ValueError for the first field of a text file that is not of a type of Arrow."""
        if self._files[number].is_text:
            self._files[number].check_kind(self._selection.columns[column], kind)

    def _places(self, lengths):
        """Return the function that tells where an entry stands: `FileTable.places`."""
        files, columns = self._files, self._selection.columns

        def place(row, column):
            for file, n in zip(files, lengths, strict=True):
                if row < n:
                    return file.place(row, columns[column])
                row -= n
            raise IndexError(row)

        return place

    def batches(self) -> Iterator[FileTable]:
        """Yield the rows in parts, in their order; parts are matrices, or pyarrow.RecordBatch.

        Dates that take the whole column to tell, as 1/2/2024, are texts.
        """
        chosen = self._selection
        for file in self._files:
            for rows, part in file.batches(chosen.columns, chosen.id_column, self._options):
                yield self._table(rows, None if part is None else Ids(chosen.id_name, part), ())

    def _table(self, rows, ids, notices):
        shape = self._files[0].row_shape if self._is_whole else None
        shape = (len(self._selection.columns),) if shape is None else shape
        return FileTable(self.name, rows, shape, self.names, ids, notices)

    def _notice_of_ids(self, ids):
        """Return what to tell about a column without a name that is taken for names of rows."""
        if ids is None or self._options.choice.id is not None:
            return ()
        what = "row numbers" if ids.are_row_numbers() else "names of rows"
        label = f"column {ids.name!r}" if ids.name else "the column without a name"
        return (f"{self.name}: {label} has {what}: not taken as data",)


def open_table(name: str, options: Options = _DEFAULT) -> OpenTable:
    """Open what the name of data stands for.

    Parameters
    ----------
    name : str
        A file, a folder of files, a pattern, "-" for standard input, or "digits".
    options : Options

    Raises
    ------
    OSError
        If there is no such file or it cannot be read.
    ValueError
        If the contents do not match the suffix, or columns that are asked for are not there.
    ImportError
        If it takes pyarrow to read the file, and it is not installed.
    """
    files = [digits()] if name == "digits" else [_open(s, options) for s in sources_of(name)]
    return OpenTable(name if name != "-" else "standard input", files, options)


def read_table(name: str, options: Options = _DEFAULT) -> FileTable:
    """Return the table that a name of data stands for; see `open_table`."""
    return open_table(name, options).read()


def _open(source: Source, options: Options) -> Any:
    if source.kind in TEXT_KINDS:
        return CsvFile(source, options.text, options.show)
    if source.kind in ("npy", "npz"):
        return open_arrays(source, options.writeable)
    return ArrowFile(source)


def _check_alike(files):
    """Raise ValueError unless all files have the columns of the first, in one order."""
    first = files[0]
    for file in files[1:]:
        expected = f"{file.name}: expected the columns of {first.name}"
        if file.n_columns != first.n_columns and None in (file.names, first.names):
            raise ValueError(f"{expected}, {first.n_columns}, got {file.n_columns}")
        if file.row_shape != first.row_shape:
            raise ValueError(f"{expected}, of shape {first.row_shape}, got {file.row_shape}")
        if file.names == first.names:
            continue
        if file.names is None or first.names is None:
            which = first.name if first.names is None else file.name
            raise ValueError(f"{expected}; {which} has no names of columns")
        missing = [name for name in first.names if name not in file.names]
        more = [name for name in file.names if name not in first.names]
        differences = [f"missing: {listed(missing)}"] if missing else []
        differences += [f"not there: {listed(more)}"] if more else []
        raise ValueError(f"{expected}; {'; '.join(differences) or 'they have another order'}")


def _joined(files, parts, tell):
    """Return the rows of all files under each other."""
    if len(parts) == 1:
        return parts[0]
    if all(isinstance(part, np.ndarray) for part in parts):
        return np.concatenate(parts)
    pa = arrow("tables")
    names = next(part for part in parts if not isinstance(part, np.ndarray)).schema.names
    tables = [
        pa.table(list(np.ascontiguousarray(part.T)), names=names)
        if isinstance(part, np.ndarray)
        else part
        for part in parts
    ]
    return concatenate(files, tables, tell)
