"""Results that are written part after part: .npy and .parquet files larger than memory.

A file is written beside its place and renamed into it once it is whole.
"""

import io
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from aefast._base.files import replacing
from aefast.tables.optional import arrow


def write_parts(
    path: str, results: Iterator[Any], names_of: Callable[[int | None], list[str]]
) -> int:
    """Write arrays (n, k) or (n,) under each other, and return the number of rows.

    Parameters
    ----------
    path : str
        Of a .npy or .parquet file.
    results : iterator of ndarray
    names_of : callable
        Returns the names of the columns of k columns, or of a result with one number a row (None).

    Raises
    ------
    ValueError
        For results that are no dense arrays; nothing is written then.
    """
    with replacing(path) as file:
        write = _write_npy if path.lower().endswith(".npy") else _write_parquet
        return write(file, (_checked(part) for part in results), names_of)


def _checked(part: Any) -> Any:
    part = np.asarray(part) if not hasattr(part, "tocsr") else part
    if not isinstance(part, np.ndarray) or part.ndim not in (1, 2):
        raise ValueError("results in files must be dense numbers, one row for each row of X")
    return part


def _write_npy(file: Any, parts: Iterator[Any], names_of: Any) -> int:
    n_rows, first = 0, None
    for part in parts:
        if first is None:
            first = part[:0]
            file.write(_header(0, first))
        file.write(np.ascontiguousarray(part).data.cast("B"))
        n_rows += len(part)
    file.seek(0)
    file.write(_header(n_rows, first))
    return n_rows


def _header(n_rows: int, first: Any) -> bytes:
    """Return the header of a .npy file, whose length does not depend on the number of rows."""
    made = io.BytesIO()
    described = {
        "descr": np.lib.format.dtype_to_descr(first.dtype),
        "fortran_order": False,
        "shape": (n_rows, *first.shape[1:]),
    }
    np.lib.format.write_array_header_1_0(made, described)
    return made.getvalue()


def _write_parquet(file: Any, parts: Iterator[Any], names_of: Any) -> int:
    pa, parquet = arrow("a .parquet file"), arrow("a .parquet file", "pyarrow.parquet")
    writer, n_rows = None, 0
    names: list[str] = []
    try:
        for part in parts:
            names = names or names_of(part.shape[1] if part.ndim == 2 else None)
            columns = part.reshape(len(part), len(names)).T
            table = pa.table(list(np.ascontiguousarray(columns)), names=names)
            writer = writer or parquet.ParquetWriter(file, table.schema, compression="zstd")
            writer.write_table(table)
            n_rows += len(part)
    finally:
        if writer is not None:
            writer.close()
    return n_rows
