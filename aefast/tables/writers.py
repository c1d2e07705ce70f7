"""The writer of all tables: .csv, .parquet or .npy, by the suffix of the path; "-" is CSV.

A file is written beside its place and renamed into it, so that it is there as a whole or as it was.
Numbers in text have the fewest digits that give them back exactly; dates are written as by ISO
8601, truth values as true and false, missing ones as nothing. Names of rows come first.
"""

import contextlib
import csv
import datetime
import decimal
import io
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aefast._base.files import replacing
from aefast._base.types import Array
from aefast.tables.file_table import Ids
from aefast.tables.outputs import STANDARD_OUTPUT

_ROWS = 1 << 12  # that are turned into text at a time
_SHOWN_FROM = 1 << 21  # fields from which writing them as text may take seconds


def write_matrix(
    path: str,
    rows: Array,
    names: Sequence[str] | None = None,
    ids: Ids | None = None,
    shape: tuple[int, ...] = (),
) -> None:
    """Write a matrix of numbers.

    Parameters
    ----------
    path : str
        A .npy file has the numbers alone.
    rows : ndarray (n, d)
    names : sequence of str, optional
        Of the columns; without them text has no header, and a .parquet file has x0, x1, ….
    ids : Ids, optional
        Names of the rows.
    shape : tuple of int, optional
        Of a row in a .npy file, where it has several dimensions.
    """
    if path.lower().endswith(".npy"):
        with replacing(path) as file:
            np.save(file, rows.reshape(len(rows), *shape) if shape else rows, allow_pickle=False)
        return
    header = None if names is None else list(names)
    if path.lower().endswith(".parquet"):
        header = [f"x{j}" for j in range(rows.shape[1])] if header is None else header
        columns = dict(zip(header, np.ascontiguousarray(rows.T), strict=True))
        _write_parquet(path, columns, ids)
        return

    def block(part):
        return _texts_of_matrix(rows[part])

    _write_text(path, header, ids, block, rows.shape)


def write_columns(path: str, columns: Mapping[str, Any], ids: Ids | None = None) -> None:
    """Write columns of any types, of one length, by their names.

    A .npy file has them beside each other, and takes numbers alone.
    """
    if path.lower().endswith(".npy"):
        matrix = np.column_stack([np.asarray(column) for column in columns.values()])
        if matrix.dtype.kind not in "buif":
            raise ValueError(f"{path}: a .npy file has numbers alone: choose .csv or .parquet")
        write_matrix(path, matrix)
    elif path.lower().endswith(".parquet"):
        _write_parquet(path, columns, ids)
    else:
        values = list(columns.values())

        def block(part):
            return zip(*(_texts(column[part]) for column in values), strict=True)

        _write_text(path, list(columns), ids, block, (len(values[0]), len(values)))


def write_frame(path: str, frame: Any, ids: Ids | None = None) -> None:
    """Write a pyarrow.Table."""
    columns = dict(zip(frame.schema.names, frame.columns, strict=True))
    if path.lower().endswith(".npy"):
        columns = {name: column.to_numpy() for name, column in columns.items()}
    write_columns(path, columns, ids)


def _write_parquet(path, columns, ids):
    from aefast.tables.optional import arrow

    pa, parquet = arrow(f"{path}: .parquet files"), arrow(path, "pyarrow.parquet")
    arrays, names = list(columns.values()), list(columns)
    if ids is not None:
        arrays.insert(0, pa.array(ids.values))
        names.insert(0, _free_name(ids.name or "id", names))
    table = pa.table([_as_arrow(pa, values) for values in arrays], names=names)
    with replacing(path) as file:
        parquet.write_table(table, file)


def _as_arrow(pa, values):
    return values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values)


def _free_name(name, names):
    while name in names:
        name += "_"
    return name


# ---- text ----


def _write_text(path, header, ids, block, shape):
    """Write rows as CSV; `block` gives the texts of the rows in a slice."""
    n_rows, n_columns = shape

    def write(file):
        writer = csv.writer(file, lineterminator="\n")
        if header is not None:
            writer.writerow(header if ids is None else [ids.name, *header])
        with _progress(n_rows, n_columns, path) as advance:
            for first in range(0, n_rows, _ROWS):
                part = slice(first, first + _ROWS)
                rows = block(part)
                if ids is not None:
                    named = _texts(ids.values[part])
                    rows = ((name, *row) for name, row in zip(named, rows, strict=True))
                writer.writerows(rows)
                advance(min(_ROWS, n_rows - first))

    if path == STANDARD_OUTPUT:
        write(sys.stdout)
        return
    with replacing(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        write(text)
        text.flush()
        text.detach()


@contextlib.contextmanager
def _progress(n_rows, n_columns, path):
    """Give a function that advances a bar, shown after two seconds where there is much to write."""
    from tqdm.auto import tqdm

    is_short = n_rows * n_columns < _SHOWN_FROM or path == STANDARD_OUTPUT
    with tqdm(
        total=n_rows,
        unit=" rows",
        unit_scale=True,
        desc=f"writing {path}",
        delay=2,
        leave=False,
        disable=is_short or sys.stderr is None,
        dynamic_ncols=True,
    ) as bar:
        yield bar.update


def _texts_of_matrix(rows):
    if rows.dtype == np.float64:
        return ([_short(repr(value)) for value in row] for row in rows.tolist())
    if rows.dtype.kind == "f":  # texts of their own precision
        return ([_short(value) for value in row] for row in rows.astype(str))
    return rows.tolist() if rows.dtype.kind != "b" else (map(_text, row) for row in rows.tolist())


def _short(text):
    """Return the text of a number: 5 for 5.0, nothing for NaN."""
    return "" if text == "nan" else text.removesuffix(".0")


def _texts(values):
    """Return texts of values of a column."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiu":
        return [row[0] for row in _texts_of_matrix(values[:, np.newaxis])]
    values = values.to_pylist() if hasattr(values, "to_pylist") else list(values)
    return [_text(value) for value in values]


def _text(value):
    if value is None:
        return ""
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, float):
        return _short(repr(float(value)))
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    return str(value)
