"""What is wrong with a text file, told with the line and the column.

Parsers tell that something is wrong, not always where. The file is read again then, row by row.
"""

import csv
import io
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from aefast.tables.arrow_files import is_numeric
from aefast.tables.dialects import Dialect, encoding_error
from aefast.tables.optional import arrow
from aefast.tables.sources import Source, opened
from aefast.tables.text_dates import DATES, ORDERS, TWO_ORDERS, as_dates, first_bad_date, matches

_LONGEST_SHOWN = 100  # characters of a field that an error shows
_LONGEST_NAMED = 40  # characters of a field that an advice repeats
_FEWEST = 0.9  # share of a column's fields that say what it should have
# Patterns of RE2, which match what is meant as a number or a date, valid or not.
_NUMBERS = {
    ".": r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$",
    ",": r"^[+-]?(\d+,?\d*|,\d+)([eE][+-]?\d+)?$",
}
_TRUTH = r"^(?i:true|false)$"


class Faults:
    """The faults of one file.

    Parameters
    ----------
    source : Source
    dialect : Dialect
    names : sequence of str or None
        Of all columns.
    """

    def __init__(self, source: Source, dialect: Dialect, names: Sequence[str] | None) -> None:
        self._source, self._dialect, self._names = source, dialect, names

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the rows below the header, each with the number of its first line."""
        dialect = self._dialect
        with opened(self._source) as file:
            with io.TextIOWrapper(file, dialect.encoding, newline="") as text:
                reader, line = dialect.rows(text), 1
                try:
                    for row in reader:
                        if row and line > dialect.n_header_lines:
                            yield line, row
                        line = reader.line_num + 1
                except UnicodeDecodeError as error:
                    raise encoding_error(self._source.name, dialect.encoding, error) from error
                except csv.Error as error:
                    raise ValueError(
                        f"{self._source.name}: line {reader.line_num}: cannot be read as a table "
                        f"in text: {error}"
                    ) from error

    def _place(self, line, column):
        label = column + 1 if self._names is None else repr(self._names[column])
        return f"{self._source.name}: line {line}, column {label}"

    def check_lengths(self) -> None:
        """Raise ValueError for the first row whose length is not that of the first row."""
        n_columns = self._dialect.n_columns
        for line, row in self._rows():
            self._check_length(line, row, n_columns)

    def _check_length(self, line, row, n_columns):
        if len(row) != n_columns:
            what = "the header" if self._names is not None else "the first row"
            raise ValueError(
                f"{self._source.name}: line {line}: expected {n_columns} columns as in {what}, "
                f"got {len(row)}"
            )

    def check_numbers(self, columns: Sequence[int], gaps: bool, hint: str) -> None:
        """Raise ValueError for the first row of another length, or field that is no number.

        Parameters
        ----------
        columns : sequence of int
            The columns to check.
        gaps : bool
            Whether fields may be missing.
        hint : str
            What the user can do about a missing field, where it must not be.
        """
        dialect = self._dialect
        for line, row in self._rows():
            self._check_length(line, row, dialect.n_columns)
            for j in columns:
                field = row[j]
                is_gap = dialect.is_gap(field)
                if is_gap and gaps:
                    continue
                if (
                    is_gap
                    or not dialect.is_number(field)
                    or not math.isfinite(dialect.number(field))
                ):
                    is_text = not is_gap and not dialect.is_number(field)
                    advice = _advice_on_text(self._names, j) if is_text else ""
                    raise ValueError(
                        f"{self._place(line, j)}: expected a finite number, got "
                        f"{_shown(field)}{hint if is_gap else advice}"
                    )

    def check_kind(self, column: int, kind: Any) -> None:
        """Raise ValueError for the first field that cannot be of a type of Arrow."""
        pa = arrow("tables")
        if pa.types.is_string(kind):
            return
        for line, row in self._rows():
            field = row[column].strip()
            if self._dialect.is_gap(field):
                continue
            if is_numeric(kind):
                is_good, what = self._dialect.is_number(field), "a number"
            elif pa.types.is_boolean(kind):
                is_good, what = re.fullmatch(_TRUTH[1:-1], field) is not None, "true or false"
            else:
                is_good, what = re.fullmatch(DATES[1:-1], field) is not None, f"a date ({kind})"
            if not is_good:
                raise ValueError(
                    f"{self._place(line, column)}: expected {what} as in the rows before, got "
                    f"{_shown(field)}{_advice(self._names, column, field)}"
                )

    def check_encoding(self) -> None:
        """Raise ValueError if the file is not in its encoding."""
        for _ in self._rows():
            pass

    def check_last_quote(self) -> None:
        """Raise ValueError if the last row of the file begins a quote that does not end."""
        line = 1
        for line, row in self._rows():  # noqa: B007
            last = row
        if "\n" not in "".join(last):
            return
        with opened(self._source) as file:
            with io.TextIOWrapper(file, self._dialect.encoding, newline="") as text:
                strict = csv.reader(text, delimiter=self._dialect.delimiter, strict=True)
                try:
                    for _ in strict:
                        pass
                except csv.Error as error:
                    if "unexpected end" in str(error):
                        raise ValueError(
                            f"{self._source.name}: line {line}: a quote that does not end"
                        ) from None

    def check_finite_columns(self, table: Any, columns: Sequence[int], first: int) -> None:
        """Raise ValueError for an infinite value in a table read from the rows from `first` on."""
        pc, types = arrow("tables", "pyarrow.compute"), arrow("tables").types
        for j, column in zip(columns, table.columns, strict=True):
            if types.is_floating(column.type):
                infinite = pc.is_inf(column)
                if pc.any(infinite).as_py():
                    line, field = self._field(first + pc.index(infinite, True).as_py(), j)
                    raise ValueError(
                        f"{self._place(line, j)}: expected a finite number, got {field!r}"
                    )

    def _field(self, row, column):
        for number, (line, fields) in enumerate(self._rows()):
            if number == row:
                return line, fields[column]
        raise AssertionError("the file has changed while it was read")

    def place(self, row: int, column: int) -> str:
        """Return where an entry stands, rows below the header and columns counted from 0."""
        return self._place(self._field(row, column)[0], column)

    def error(self, first: int, column: int, row: int, expected: str) -> ValueError:
        """Return the error for a field of which something was expected; rows count from `first`."""
        line, field = self._field(first + row, column)
        return ValueError(
            f"{self._place(line, column)}: expected {expected}, got {_shown(field)}"
            f"{_advice(self._names, column, field)}"
        )


def _shown(field):
    return repr(field) if len(field) <= _LONGEST_SHOWN else f"{field[:_LONGEST_SHOWN]!r}..."


def _advice_on_text(names, column):
    if names is None:
        return ""
    return f" (--drop '{names[column]}' leaves the column out)"


def _advice(names, column, field):
    if len(field) > _LONGEST_NAMED:
        return ""
    if names is None:
        return f" (--na '{field}' takes it as missing)"
    return (
        f" (--na '{field}' takes it as missing; --role '{names[column]}=category' takes "
        "the column as text)"
    )


# ---- columns that pyarrow has read ----


def is_binary(kind: Any) -> bool:
    types = arrow("tables").types
    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def settled(table: Any, dialect: Dialect, texts: Sequence[str]) -> Any:
    """Return a table with the blanks around texts gone, gaps of texts as nulls, and dates read.

    pyarrow reads dates of ISO 8601 by itself; `texts` names columns that stay texts. Dates of which
    the whole table has to tell the order are left as texts: see `text_dates`.
    """
    pa, pc = arrow("tables"), arrow("tables", "pyarrow.compute")
    for j, (name, column) in enumerate(zip(table.schema.names, table.columns, strict=True)):
        if pa.types.is_string(column.type):
            trimmed = pc.utf8_trim_whitespace(column)
            gaps = pc.is_in(trimmed, value_set=pa.array(sorted(dialect.gaps)))
            trimmed = pc.if_else(gaps, pa.scalar(None, pa.string()), trimmed)
            column = trimmed if name in texts else as_dates(trimmed)
            table = table.set_column(j, name, column)
    return table


def check_outliers(column: Any, dialect: Dialect, error: Callable[[int, str], ValueError]) -> None:
    """Raise ValueError if most texts of a column are numbers, dates or truth values, but not all.

    Dates are checked for days that no month has, too.
    """
    pa, pc = arrow("tables"), arrow("tables", "pyarrow.compute")
    n_fields = len(column) - column.null_count
    if not pa.types.is_string(column.type) or not n_fields:
        return
    for pattern, expected in (
        (_NUMBERS[dialect.decimal], "a number as in most rows"),
        (DATES, "a date as in most rows"),
        (TWO_ORDERS, "a date as in most rows"),
        (_TRUTH, "true or false as in most rows"),
    ):
        found = matches(column, pattern)
        n_matches = pc.sum(found).as_py() or 0
        if _FEWEST * n_fields <= n_matches < n_fields:
            raise error(pc.index(found, False).as_py(), expected)
        if n_matches == n_fields and pattern in (DATES, TWO_ORDERS):
            row = first_bad_date(column, (None,) if pattern == DATES else ORDERS)
            if row is not None:
                raise error(row, "a valid date, written as in the other rows")
