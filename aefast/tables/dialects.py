"""How a text file writes a table: encoding, delimiter, decimal mark, header; told from its start.

All of it can be given. What is not given follows from the first rows, in this order:

1. encoding: UTF-8, or UTF-16 by its byte order mark;
2. delimiter: of tab, semicolon, bar and comma the first that divides most lines into equally many
   fields; blanks, if none of them stands in the lines;
3. decimal mark: a comma, if the delimiter is another character and numbers have one;
4. header: a first row without any number.
"""

import codecs
import csv
import dataclasses
import io
import itertools
import re
from collections import Counter
from typing import Any

from aefast._base.errors import shortened
from aefast.tables.sources import Source, opened

GAPS: tuple[str, ...] = (
    *("", "NA", "N/A", "n/a", "na", "Na", "#N/A", "<NA>", "NaN", "nan", "NAN", "-NaN", "-nan"),
    *("NULL", "null", "Null", "None", "none"),
)
BLANKS = " "  # the delimiter of runs of blanks
_DELIMITERS = (",", "|", ";", "\t")  # where two divide alike, the later: commas may be decimal
_SAMPLE = 1 << 18  # bytes
_LONGEST_LINE = 1 << 28
_LINES = 200  # of the sample that are looked at
_COMMA_NUMBER = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")
_POINT_NUMBER = re.compile(r"[+-]?\d*\.\d+(?:[eE][+-]?\d+)?")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|infinity|nan)", re.I | re.A)


@dataclasses.dataclass(frozen=True)
class Text:
    """What the user says of a text file; None is told from the file.

    Attributes
    ----------
    delimiter, decimal, encoding : str or None
    header : bool or None
        Whether the first row has names of columns.
    na : sequence of str
        Fields that stand for a missing value, besides `GAPS`.
    dates : str or None
        "dmy" or "mdy", the order in dates as 1/2/2024; see `text_dates`.
    """

    delimiter: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    header: bool | None = None
    na: tuple[str, ...] = ()
    dates: str | None = None

    def __post_init__(self) -> None:
        if self.delimiter is not None and (len(self.delimiter) != 1 or self.delimiter in '"\r\n'):
            raise ValueError(f"--delimiter: expected one character, got {self.delimiter!r}")
        if self.decimal not in (None, ".", ","):
            raise ValueError(f"--decimal: expected '.' or ',', got {self.decimal!r}")
        if self.decimal is not None and self.decimal == self.delimiter:
            raise ValueError(
                f"--decimal and --delimiter: expected two characters, got {self.decimal!r}"
            )
        if self.encoding is not None:
            try:
                codecs.lookup(self.encoding)
            except LookupError:
                raise ValueError(f"--encoding: unknown: {self.encoding!r}") from None


@dataclasses.dataclass(frozen=True)
class Dialect:
    """How a text file writes its table.

    Attributes
    ----------
    encoding, delimiter, decimal : str
    n_header_lines : int
        Lines up to the end of the header, 0 without one.
    first_row : tuple of str
        The fields of the first row that is not blank, stripped.
    names : tuple of str or None
    empty : tuple of int
        Columns without a name and, at the start of the file, without a value.
    sample : tuple of tuple of str
        Rows below the header, not all of the file's.
    gaps : frozenset of str
        Fields that stand for a missing value.
    """

    encoding: str
    delimiter: str
    decimal: str
    n_header_lines: int
    first_row: tuple[str, ...]
    names: tuple[str, ...] | None
    empty: tuple[int, ...]
    sample: tuple[tuple[str, ...], ...]
    gaps: frozenset[str]

    @property
    def n_columns(self) -> int:
        return len(self.first_row)

    def is_gap(self, field: str) -> bool:
        return field.strip() in self.gaps

    def is_number(self, field: str) -> bool:
        """Return whether a field is a number, infinite ones and NaN included."""
        text = field.strip()
        if self.decimal == ",":
            if "." in text:
                return False
            text = text.replace(",", ".")
        return _NUMBER.fullmatch(text) is not None

    def number(self, field: str) -> float:
        """Return the number in a field; NaN for a gap."""
        if self.is_gap(field):
            return float("nan")
        if not self.is_number(field):
            raise ValueError(f"expected a number, got {shortened(repr(field))}")
        return float(field.replace(",", ".") if self.decimal == "," else field)

    def rows(self, file: Any) -> Any:
        """Return a reader of all rows of a text file, as csv.reader."""
        return _reader(file, self.delimiter)


def dialect_of(source: Source, given: Text) -> Dialect:
    """Return how a text file is written.

    Raises
    ------
    ValueError
        If it is no text in this encoding.
    """
    encoding, text = _sample_of(source, given.encoding)
    lines = _lines(text)
    delimiter = given.delimiter or _delimiter(source, lines)
    rows, numbers = [], []
    reader = _reader(lines, delimiter)
    try:
        for row in reader:
            if row:
                rows.append(tuple(field.strip() for field in row))
                numbers.append(reader.line_num)
    except csv.Error as error:
        raise ValueError(
            f"{source.name}: line {reader.line_num}: cannot be read as a table in text: {error}"
        ) from error
    decimal = given.decimal or _decimal(rows, delimiter)
    first = rows[0] if rows else ()
    found = Dialect(
        encoding, delimiter, decimal, 0, first, None, (), tuple(rows), frozenset((*GAPS, *given.na))
    )
    has_header = given.header
    if has_header is None:
        has_header = not any(found.is_number(field) for field in first)
    if not has_header:
        return found
    below = rows[1:]
    empty = tuple(
        j
        for j, name in enumerate(first)
        if not name and j and below and all(len(row) <= j or not row[j] for row in below)
    )
    return dataclasses.replace(
        found,
        n_header_lines=numbers[0] if numbers else 0,
        names=first,
        empty=empty,
        sample=tuple(below),
    )


def _reader(file, delimiter):
    blanks = delimiter == BLANKS
    return csv.reader(
        (line.strip(" ") if blanks else line for line in file) if blanks else file,
        delimiter=delimiter,
        skipinitialspace=blanks,
    )


def _sample_of(source, encoding):
    """Return the encoding and the text of the first lines."""
    with opened(source) as file:
        start = file.read(_SAMPLE)
        while start and not start.endswith(b"\n") and b"\n" not in start[-_SAMPLE:]:
            more = file.read(_SAMPLE)
            if not more or len(start) > _LONGEST_LINE:
                break
            start += more
        is_whole = len(start) < _SAMPLE or not file.read(1)
    if encoding is None:
        encoding = "utf-16" if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8"
    if codecs.lookup(encoding).name == "utf-8":
        encoding = "utf-8-sig"
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(start, is_whole)
    except UnicodeDecodeError as error:
        raise encoding_error(source.name, encoding, error) from error
    if "\0" in text:
        raise ValueError(f"{source.name}: expected text, got a file with NUL characters")
    if not is_whole:
        text = text[: text.rfind("\n") + 1] or text
    return encoding, text


def encoding_error(name: str, encoding: str, error: Exception) -> ValueError:
    """Return the error for a file that is not in the encoding."""
    shown = "UTF-8" if encoding == "utf-8-sig" else encoding
    return ValueError(
        f"{name}: cannot be read as text in {shown}: {error} (--encoding names another one, as "
        "cp1252)"
    )


def _lines(text):
    return list(itertools.islice(io.StringIO(text, newline=""), _LINES))


def _delimiter(source, lines):
    """Return the delimiter that divides most lines into equally many fields."""
    if source.kind == "tsv":
        return "\t"
    best, most = None, 0.0
    for delimiter in _DELIMITERS:
        counts = Counter(_counts(lines, delimiter))
        if not counts:
            continue
        n_fields, n_lines = counts.most_common(1)[0]
        if n_fields > 1 and n_lines / counts.total() >= most:
            best, most = delimiter, n_lines / counts.total()
    if best is not None:
        return best
    parts = [line.split() for line in lines if line.strip()]
    are_numbers = parts and len(parts[-1]) > 1 and all(map(_NUMBER.fullmatch, parts[-1]))
    return BLANKS if are_numbers else ","


def _counts(lines, delimiter):
    counts = []
    try:
        for row in csv.reader(lines, delimiter=delimiter):
            if row:
                counts.append(len(row))
    except csv.Error:
        pass  # the delimiter chosen will say what is wrong
    return counts


def _decimal(rows, delimiter):
    if delimiter == ",":
        return "."
    fields = [field for row in rows for field in row]
    commas = sum(_COMMA_NUMBER.fullmatch(field) is not None for field in fields)
    points = sum(_POINT_NUMBER.fullmatch(field) is not None for field in fields)
    return "," if commas > points else "."
