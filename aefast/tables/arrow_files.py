"""Parquet and Arrow files, and columns of Arrow as matrices of numbers. Needs pyarrow."""

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from aefast._base.types import Array
from aefast.tables.optional import arrow
from aefast.tables.sources import Source

_BATCH_ROWS = 1 << 16


# ---- columns ----


def is_numeric(kind: Any) -> bool:
    """Return whether a type of Arrow is one of numbers; a column of nulls has numbers, all NaN."""
    types = arrow("tables").types
    return bool(
        types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_decimal(kind)
        or types.is_null(kind)
    )


def check_types(file: str, schema: Any) -> None:
    """Raise ValueError for columns of lists, structures and bytes."""
    types = arrow("tables").types
    for field in schema:
        kind = field.type.value_type if types.is_dictionary(field.type) else field.type
        if types.is_nested(kind) or types.is_binary(kind) or types.is_large_binary(kind):
            raise ValueError(
                f"{file}: column {field.name!r}: expected numbers, text, dates or truth values, "
                f"got {field.type}: leave it out (--drop)"
            )


def matrix_type(schema: Any) -> np.dtype[Any]:
    """Return the type of a matrix that holds all columns: float32, uint8 or float64."""
    kinds = {str(field.type) for field in schema}
    if kinds == {"float"}:
        return np.dtype(np.float32)
    return np.dtype(np.float64)


def fill_matrix(rows: Array, batch: Any) -> None:
    """Write the columns of a batch of numbers into rows (n, d), nulls as NaN."""
    types = arrow("tables").types
    for j, column in enumerate(batch.columns):
        if types.is_null(column.type):
            rows[:, j] = np.nan
        elif types.is_decimal(column.type):
            rows[:, j] = column.cast("float64").to_numpy(zero_copy_only=False)
        else:
            rows[:, j] = column.to_numpy(zero_copy_only=False)


def as_matrix(table: Any) -> Array:
    """Return the numbers of a table, in row-major order; nulls become NaN."""
    rows = np.empty((table.num_rows, table.num_columns), matrix_type(table.schema))
    first = 0
    for batch in table.to_batches(max_chunksize=_BATCH_ROWS):
        fill_matrix(rows[first : first + batch.num_rows], batch)
        first += batch.num_rows
    return rows


def all_numeric(schema: Any) -> bool:
    return all(is_numeric(field.type) for field in schema)


def check_finite(
    file: str, rows: Array, names: Sequence[str], first: int, gaps: bool, hint: str
) -> None:
    """Raise ValueError for an infinite value, and for NaN unless `gaps`; rows count from 1.

    `hint` says what the user can do about NaN.
    """
    if rows.dtype.kind != "f":
        return
    good = ~np.isinf(rows) if gaps else np.isfinite(rows)
    if good.all():
        return
    row, column = map(int, np.unravel_index(np.argmin(good), good.shape))
    value = rows[row, column]
    got = "no value" if np.isnan(value) else repr(float(value))
    raise ValueError(
        f"{file}: row {first + row + 1}, column {names[int(column)]!r}: expected a finite number, "
        f"got {got}{hint if np.isnan(value) else ''}"
    )


def check_frame_is_finite(file: str, frame: Any, first: int = 0) -> None:
    """Raise ValueError for an infinite value in a table; rows count from 1."""
    pc, types = arrow("tables", "pyarrow.compute"), arrow("tables").types
    for name, column in zip(frame.schema.names, frame.columns, strict=True):
        if not types.is_floating(column.type):
            continue
        infinite = pc.is_inf(column)
        if pc.any(infinite).as_py():
            row = pc.index(infinite, True).as_py()
            raise ValueError(
                f"{file}: row {first + row + 1}, column {name!r}: expected a finite number, got "
                f"{column[row].as_py()}"
            )


# ---- files ----


class ArrowFile:
    """A Parquet or Arrow file: names, types and batches of records."""

    is_text = False
    row_shape: tuple[int, ...] | None = None
    empty: tuple[int, ...] = ()

    def __init__(self, source: Source) -> None:
        self.name, self._source = source.name, source
        arrow(f"{source.name}: {source.kind} files")
        with self._file() as file:
            self.schema = file.schema_arrow if source.kind == "parquet" else file.schema
        self.names = tuple(self.schema.names)
        self.n_columns = len(self.names)
        self.index = index_of_pandas(self.schema)

    @contextlib.contextmanager
    def _file(self):
        """Open the file: a ParquetFile, or a reader of an Arrow file or stream."""
        pa, path = arrow(self.name), self._source.path
        with contextlib.ExitStack() as stack:
            raw = stack.enter_context(open(path, "rb"))
            is_arrow_file = raw.read(6) == b"ARROW1"
            raw.seek(0)
            try:
                if self._source.kind == "parquet":
                    parquet = arrow(self.name, "pyarrow.parquet")
                    file = stack.enter_context(parquet.ParquetFile(raw))
                elif is_arrow_file:
                    mapped = stack.enter_context(pa.memory_map(path))
                    file = stack.enter_context(pa.ipc.open_file(mapped))
                else:
                    file = stack.enter_context(pa.ipc.open_stream(raw))
                yield file
            except (pa.ArrowException, OSError) as error:
                if isinstance(error, OSError) and error.errno is not None:
                    raise
                kind = {"parquet": "Parquet", "arrow": "Arrow"}[self._source.kind]
                raise ValueError(
                    f"{self.name}: cannot be read as a file of {kind}: {error}"
                ) from error

    def _records(self, names):
        """Yield the batches of the file with the columns of these names, each name once."""
        with self._file() as file:
            if self._source.kind == "parquet":
                yield from file.iter_batches(_BATCH_ROWS, columns=names)
                return
            if hasattr(file, "num_record_batches"):
                batches = map(file.get_batch, range(file.num_record_batches))
            else:
                batches = iter(file)
            for batch in batches:
                yield batch.select(names)

    def n_batches(self) -> int:
        """Return the number of parts that `batch` reads by themselves; a stream is one part."""
        with self._file() as file:
            return getattr(file, "num_record_batches", 1)

    def batch(self, number: int) -> Iterator[Any]:
        """Yield the records of a part of an Arrow file."""
        with self._file() as file:
            if hasattr(file, "num_record_batches"):
                yield file.get_batch(number)
            else:
                yield from file

    def batches(
        self, columns: tuple[int, ...], id_column: int | None, options: Any
    ) -> Iterator[tuple[Any, Any]]:
        """Yield matrices, or batches of records where not all columns are numeric, with ids."""
        names = [self.names[j] for j in columns]
        schema = arrow(self.name).schema([self.schema.field(name) for name in names])
        check_types(self.name, schema)
        is_matrix = all_numeric(schema) and not set(names) & set(options.texts)
        dtype = matrix_type(schema)
        id_name = None if id_column is None else self.names[id_column]
        wanted = [*names, *([] if id_name is None or id_name in names else [id_name])]
        first = 0
        for batch in self._records(wanted):
            ids = None if id_name is None else batch.column(id_name).to_pylist()
            part = batch.select(names)
            if is_matrix:
                rows = np.empty((part.num_rows, len(names)), dtype)
                fill_matrix(rows, part)
                check_finite(self.name, rows, names, first, options.gaps, options.gap_hint)
                yield rows, ids
            else:
                check_frame_is_finite(self.name, part, first)
                yield part, ids
            first += part.num_rows

    def read(
        self, columns: tuple[int, ...], id_column: int | None, options: Any
    ) -> tuple[Any, Any]:
        """Return all rows, a matrix or a pyarrow.Table, and the ids or None."""
        pa, parts = arrow(self.name), []
        ids: list[Any] | None = None if id_column is None else []
        for rows, part_ids in self.batches(columns, id_column, options):
            parts.append(rows)
            if ids is not None:
                ids.extend(part_ids)
        if not parts or not sum(map(len, parts)):
            raise ValueError(
                f"{self.name}: expected at least one row and column, got shape (0, {len(columns)})"
            )
        if isinstance(parts[0], np.ndarray):
            return parts[0] if len(parts) == 1 else np.concatenate(parts), ids
        return pa.Table.from_batches(parts), ids

    def place(self, row: int, column: int) -> str:
        """Return where an entry stands, rows and columns counted from 0."""
        return f"{self.name}: row {row + 1}, column {self.names[column]!r}"


def index_of_pandas(schema):
    """Return the names of the columns that pandas wrote a data frame's index to."""
    metadata = (schema.metadata or {}).get(b"pandas")
    if metadata is None:
        return ()
    with contextlib.suppress(ValueError, AttributeError):
        columns = json.loads(metadata).get("index_columns", ())
        return tuple(name for name in columns if isinstance(name, str))
    return ()


def concatenate(
    files: Sequence[str], parts: Sequence[Any], tell: Callable[[int, int, Any], None]
) -> Any:
    """Return tables under each other; types of numbers are widened.

    ValueError where a column has numbers in one file and text or dates in another: that of `tell`,
    called with the number of the file, that of the column, and the type of the files before, if it
    knows the line.
    """
    pa = arrow("tables")
    whole = parts[0]
    for number, (file, part) in enumerate(zip(files[1:], parts[1:], strict=True), 1):
        try:
            whole = pa.concat_tables([whole, part], promote_options="permissive")
        except pa.ArrowException:
            for j, (field, other) in enumerate(zip(whole.schema, part.schema, strict=True)):
                with contextlib.suppress(pa.ArrowException):
                    pa.unify_schemas(
                        [pa.schema([field]), pa.schema([other])], promote_options="permissive"
                    )
                    continue
                tell(number, j, field.type)
                raise ValueError(
                    f"{file}: column {field.name!r}: expected {field.type} as in {files[0]}, got "
                    f"{other.type}"
                ) from None
            raise
    return whole
