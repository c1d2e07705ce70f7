"""Text files of delimited fields: numbers by NumPy's parser, other tables by pyarrow's.

A file whose first rows have numbers alone is read by NumPy, without pyarrow. Where that meets a
field that is none (a gap, a text further down), or the first rows have text, pyarrow reads the
file; without pyarrow NumPy's parser reads gaps too, slowly.

A column is one of numbers, dates or truth values if all its fields are. If nine tenths are, the
others are taken for errors, and the first of them is told: a single word among numbers should
neither turn a measurement into text nor pass for a missing value. Otherwise it is text.
"""

import contextlib
import csv
import dataclasses
import functools
import io
import os
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from aefast.tables.arrow_files import all_numeric, as_matrix, check_types
from aefast.tables.csv_faults import Faults, check_outliers, is_binary, settled
from aefast.tables.dialects import BLANKS, Text, dialect_of, encoding_error
from aefast.tables.optional import arrow, has_arrow
from aefast.tables.sources import Source, opened

_BLOCK = 1 << 22  # bytes that pyarrow reads at a time in a stream, and infers its types from
_BATCH_ROWS = 1 << 16
_LARGE = 1 << 24  # bytes from which pyarrow's parser is worth its import


class CsvFile:
    """A text file with a table: how it is written, its names, its rows."""

    is_text = True
    row_shape: tuple[int, ...] | None = None
    index: tuple[str, ...] = ()

    def __init__(self, source: Source, text: Text, show: bool = False) -> None:
        self.name, self._source, self._show = source.name, source, show
        self.dialect = dialect_of(source, text)
        if not self.dialect.sample:
            n_columns = self.dialect.n_columns
            what = "a header alone" if n_columns else "an empty file"
            raise ValueError(f"{self.name}: expected at least one row and column, got {what}")
        self.names = self.dialect.names
        self.n_columns = self.dialect.n_columns
        self.empty = self.dialect.empty
        self._is_large = os.path.getsize(source.path) >= _LARGE

    def read(
        self, columns: tuple[int, ...], id_column: int | None, options: Any
    ) -> tuple[Any, Any]:
        """Return all rows, a matrix or a pyarrow.Table, and the ids or None."""
        faults = Faults(self._source, self.dialect, self.names)
        if self._begins_with_numbers(columns, options):
            try:
                if self._is_large and has_arrow() and self.dialect.delimiter != BLANKS:
                    return _joined(self._stream(columns, id_column, options, faults))
                return self._numbers(columns, id_column, options, gaps=False)
            except ValueError:
                if not has_arrow():
                    return self._numbers_with_gaps(columns, id_column, options, faults)
        elif self.dialect.delimiter == BLANKS:
            return self._numbers_with_gaps(columns, id_column, options, faults)
        elif not has_arrow() and self._looks_numeric(columns, options):
            return self._numbers_with_gaps(columns, id_column, options, faults)
        return self._typed(columns, id_column, options, faults)

    def batches(
        self, columns: tuple[int, ...], id_column: int | None, options: Any
    ) -> Iterator[tuple[Any, Any]]:
        """Yield matrices, or batches of records where not all columns are numeric, with ids.

        The types of the columns are those of the first 4 MB; what is of another type further down
        is an error that names its line.
        """
        faults = Faults(self._source, self.dialect, self.names)
        if not has_arrow() or self.dialect.delimiter == BLANKS:
            rows, ids = self.read(columns, id_column, options)
            for first in range(0, len(rows), _BATCH_ROWS):
                part = slice(first, first + _BATCH_ROWS)
                yield rows[part], None if ids is None else ids[part]
            return
        yield from self._stream(columns, id_column, options, faults)

    def place(self, row: int, column: int) -> str:
        """Return where an entry stands, rows below the header and columns counted from 0."""
        return Faults(self._source, self.dialect, self.names).place(row, column)

    def check_kind(self, column: int, kind: Any) -> None:
        """Raise ValueError for the first field of a column that cannot be of a type of Arrow."""
        Faults(self._source, self.dialect, self.names).check_kind(column, kind)

    def _begins_with_numbers(self, columns, options):
        if options.texts and any(name in options.texts for name in self._labels(columns)):
            return False
        number = self.dialect.is_number
        return all(len(row) > j and number(row[j]) for row in self.dialect.sample for j in columns)

    def _looks_numeric(self, columns, options):
        """Return whether the first rows have numbers and gaps alone, or too few fields."""
        dialect = self.dialect
        if options.texts and any(name in options.texts for name in self._labels(columns)):
            return False
        return all(
            len(row) <= j or dialect.is_number(row[j]) or dialect.is_gap(row[j])
            for row in dialect.sample
            for j in columns
        )

    def _labels(self, columns):
        return [str(j + 1) if self.names is None else self.names[j] for j in columns]

    # ---- numbers, by NumPy ----

    def _numbers_with_gaps(self, columns, id_column, options, faults):
        try:
            return self._numbers(columns, id_column, options, gaps=True)
        except ValueError as error:
            faults.check_numbers(columns, options.gaps, options.gap_hint)
            raise ValueError(f"{self.name}: {error}") from error

    def _numbers(self, columns, id_column, options, gaps):
        """Return the rows; ValueError, not always with a good text, for fields that are none."""
        ids: list[str] = []
        dialect = self.dialect

        def keep_id(field):
            ids.append(field.strip())
            return 0.0

        converters: dict[int | str, Any] = {}
        are_read = set(columns)
        for j in range(self.n_columns):
            if j == id_column:
                converters[j] = keep_id
            elif j not in are_read:
                converters[j] = lambda field: 0.0
            elif gaps or dialect.decimal == ",":
                converters[j] = dialect.number
        with self._text() as file, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # no rows
            blanks = dialect.delimiter == BLANKS
            lines = (line.strip(" ") for line in file) if blanks else file
            rows = np.loadtxt(
                lines,
                delimiter=None if blanks else dialect.delimiter,
                quotechar='"',
                comments=None,
                converters=converters or None,
                skiprows=dialect.n_header_lines,
                ndmin=2,
            )
        if rows.shape[1] != self.n_columns:
            raise ValueError(f"expected {self.n_columns} columns, got {rows.shape[1]}")
        if columns != tuple(range(self.n_columns)):
            rows = np.ascontiguousarray(rows[:, list(columns)])
        good = ~np.isinf(rows) if options.gaps else np.isfinite(rows)
        if not good.all():
            raise ValueError("expected finite numbers")
        return rows, _settled_ids(ids) if id_column is not None else None

    @contextlib.contextmanager
    def _text(self):
        """Open the file as text."""
        encoding = self.dialect.encoding
        with opened(self._source, self._show) as file:
            try:
                with io.TextIOWrapper(file, encoding, newline="") as text:
                    yield text
            except UnicodeDecodeError as error:
                raise encoding_error(self.name, encoding, error) from error
            except csv.Error as error:
                raise ValueError(
                    f"{self.name}: cannot be read as a table in text: {error}"
                ) from error

    # ---- all types, by pyarrow ----

    def _typed(self, columns, id_column, options, faults):
        pa, reader = arrow(f"{self.name}: columns of text or with gaps"), _reader_of_arrow()
        settings = self._settings(columns, id_column, options, newlines=False)
        try:
            with self._bytes() as file:
                table = reader.read_csv(file, **settings)
        except pa.ArrowException as error:
            faults.check_lengths()
            # a line break within quotes is no fault, but slower to read
            settings = self._settings(columns, id_column, options, newlines=True)
            try:
                with self._bytes() as file:
                    table = reader.read_csv(file, **settings)
            except pa.ArrowException:
                raise ValueError(f"{self.name}: {error}") from error
        ids = None
        if id_column is not None:
            ids = _settled_ids(table.column(str(id_column)).to_pylist())
        return self._checked(table.select(list(map(str, columns))), columns, options, faults), ids

    def _stream(self, columns, id_column, options, faults):
        pa, reader = arrow(f"{self.name}: batches of rows"), _reader_of_arrow()
        settings = self._settings(columns, id_column, options, newlines=True)
        try:
            with self._bytes() as file:
                first = reader.open_csv(file, **settings)
                kinds = {field.name: _wider(field.type) for field in first.schema}
                first.close()
            settings["convert_options"].column_types = kinds
            n_rows, schema = 0, None
            with self._bytes() as file, reader.open_csv(file, **settings) as batches:
                for batch in batches:
                    table = pa.Table.from_batches([batch])
                    ids = (
                        None
                        if id_column is None
                        else _settled_ids(table.column(str(id_column)).to_pylist())
                    )
                    part = table.select(list(map(str, columns)))
                    part = self._checked(part, columns, options, faults, n_rows)
                    if schema is None:
                        schema, options = _first_schema(part, options)
                    elif schema != getattr(part, "schema", None):
                        self._tell_difference(schema, part, columns, faults)
                    yield (part if isinstance(part, np.ndarray) else _one_batch(part)), ids
                    n_rows += batch.num_rows
        except pa.ArrowException as error:
            faults.check_lengths()
            for j in columns:
                if str(j) in kinds:
                    faults.check_kind(j, kinds[str(j)])
            raise ValueError(f"{self.name}: {error}") from error

    def _tell_difference(self, schema, part, columns, faults):
        """Raise ValueError for a column that is of one type in the first batch, and not in this."""
        for j, before, now in zip(columns, schema, part.schema, strict=True):
            if before.type != now.type:
                faults.check_kind(j, before.type)
                raise ValueError(
                    f"{self.name}: column {before.name!r}: expected {before.type} as in the rows "
                    f"before, got {now.type}"
                )

    def _checked(self, table, columns, options, faults, first=0):
        """Return a matrix, if all columns have numbers, or a table, or raise what is wrong."""
        if any(is_binary(field.type) for field in table.schema):
            faults.check_encoding()
        if any("\n" in str(column[-1]) for column in table.columns):
            faults.check_last_quote()
        names = self._labels(columns)
        table = settled(table.rename_columns(names), self.dialect, options.texts)
        for j, name, column in zip(columns, names, table.columns, strict=True):
            if name not in options.texts:
                check_outliers(column, self.dialect, functools.partial(faults.error, first, j))
        check_types(self.name, table.schema)
        if all_numeric(table.schema):
            rows = as_matrix(table)
            good = ~np.isinf(rows) if options.gaps else np.isfinite(rows)
            if not good.all():
                faults.check_numbers(columns, options.gaps, options.gap_hint)
            return rows
        if options.numeric:
            faults.check_numbers(columns, options.gaps, options.gap_hint)
        faults.check_finite_columns(table, columns, first)
        return table

    def _settings(self, columns, id_column, options, newlines):
        reader, dialect = _reader_of_arrow(), self.dialect
        wanted = dict.fromkeys([*columns, *([] if id_column is None else [id_column])])
        texts = [j for j in columns if self._labels([j])[0] in options.texts]
        texts += [] if id_column is None else [id_column]
        gaps = sorted(dialect.gaps)
        types = dict.fromkeys(map(str, texts), arrow(self.name).string())
        return {
            "read_options": reader.ReadOptions(
                column_names=[str(j) for j in range(self.n_columns)],
                skip_rows=dialect.n_header_lines,
                encoding=dialect.encoding.removesuffix("-sig"),
                block_size=max(_BLOCK, 64 * self.n_columns),
            ),
            "parse_options": reader.ParseOptions(
                delimiter=dialect.delimiter, newlines_in_values=newlines
            ),
            "convert_options": reader.ConvertOptions(
                column_types=types,
                null_values=[*gaps, *(f" {gap}" for gap in gaps)],
                strings_can_be_null=True,
                include_columns=[str(j) for j in wanted],
                decimal_point=dialect.decimal,
                true_values=["true", "True", "TRUE"],
                false_values=["false", "False", "FALSE"],
            ),
        }

    def _bytes(self):
        return opened(self._source, self._show)


def _settled_ids(ids):
    """Return ids as integers where all are such, in the way that Python writes them."""
    ids = [None if field is None else str(field).strip() for field in ids]
    if all(field is not None and field.isdecimal() and str(int(field)) == field for field in ids):
        return [int(field) for field in ids]
    return ids


def _wider(kind):
    """Return the type of a stream's column: integers may be followed by fractions."""
    pa = arrow("tables")
    if pa.types.is_integer(kind) or pa.types.is_null(kind):
        return pa.float64()
    return kind


def _first_schema(part, options):
    """Return the types of a stream, and options that take as text what was text in its start."""
    schema = getattr(part, "schema", None)
    if schema is None:
        return None, options
    texts = [field.name for field in schema if field.type == arrow("tables").string()]
    return schema, dataclasses.replace(options, texts=(*options.texts, *texts))


def _joined(batches):
    """Return the rows and ids of batches of numbers; ValueError for other batches."""
    parts, ids = [], None
    for rows, part in batches:
        if not isinstance(rows, np.ndarray):
            raise ValueError("expected numbers")
        parts.append(rows)
        if part is not None:
            ids = part if ids is None else ids + part
    return np.concatenate(parts), None if ids is None else _settled_ids(ids)


def _one_batch(table):
    batches = table.combine_chunks().to_batches()
    return batches[0]


def _reader_of_arrow():
    return arrow("tables of text", "pyarrow.csv")
