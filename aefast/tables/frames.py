"""The one door for tables: data frames of any library and arrays in, and out of the same library.

pandas, polars and pyarrow tables are read through narwhals; every other object with the Arrow
PyCapsule interface becomes a table of pyarrow (or polars, where pyarrow is missing). The libraries
are imported when a frame of theirs comes.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from aefast._base import arrays as check
from aefast._base.errors import shown
from aefast._base.foreign_arrays import refuse_collection
from aefast._base.numeric_columns import columns_of_other_types
from aefast._base.types import Array
from aefast.tables.columns import (
    CATEGORY,
    TEXT,
    Column,
    Dtype,
    level_numbers,
    of_categories,
    read_array,
    read_series,
)

PANDAS, POLARS, PYARROW, NUMPY = LIBRARIES = ("pandas", "polars", "pyarrow", "numpy")
FEW = 10  # labels that an error shows


class Table(NamedTuple):
    """A table whose columns are read one at a time."""

    library: str  # one of LIBRARIES
    labels: list
    n_rows: int
    read: Callable[[int], Column]  # of the number of a column
    native: Any  # the frame or array
    index: Any = None  # of pandas

    def column(self, label: Any) -> Column:
        return self.read(self.labels.index(label))

    @property
    def has_names(self) -> bool:
        return self.library != NUMPY


def is_frame(X: Any) -> bool:
    """Return whether X is a data frame, a table or a stream of record batches, not an array."""
    if isinstance(X, (np.ndarray, list, tuple)):
        return False
    if _is_column(X):  # which is refused as such
        return True
    return any(
        hasattr(X, name)
        for name in ("__arrow_c_stream__", "__arrow_c_array__", "__narwhals_dataframe__")
    ) or (hasattr(type(X), "columns") and hasattr(type(X), "dtypes"))


def is_stream(X: Any) -> bool:
    """Return whether X may be a stream of record batches, which can be read only once."""
    return (
        hasattr(X, "__arrow_c_stream__")
        and not hasattr(type(X), "columns")
        and not _is_column(X)
        and _library_of(X) is None
    )


def needs_encoder(X: Any, roles: Any) -> bool:
    """Return whether X is a table of which not all columns are numbers, or to be taken as such.

    So are all tables of pyarrow, streams and other objects with the Arrow PyCapsule interface.
    """
    if roles is not None:
        return True
    if not is_frame(X):
        return False
    is_plain = hasattr(X, "columns") and hasattr(X, "dtypes")
    return not is_plain or bool(columns_of_other_types(X))


def read_whole(X: Any) -> Any:
    """Return X, or a table of all that a stream has, which can be read only once."""
    return as_table(X, "X").native if is_stream(X) else X


def _is_column(X: Any) -> bool:
    return type(X).__name__ in ("Series", "ChunkedArray")


def as_table(X: Any, name: str, estimator: Any = None) -> Table:
    """Return the user's X as a table, checked but for its entries.

    Raises ValueError for tables without rows or columns, and for duplicate names.
    """
    refuse_collection(X, name)
    table = _of_frame(_as_native(X, name), name) if is_frame(X) else _of_array(X, name, estimator)
    _check_shape(table)
    return table


def batches(X: Any, name: str, estimator: Any = None) -> Iterator[Table]:
    """Yield the tables of a stream of record batches, or the one table that X is.

    Batches without rows are passed over.
    """
    reader = _reader(X)
    if reader is None:
        yield as_table(X, name, estimator)
        return
    n_rows = 0
    for batch in reader:
        table = _of_frame(_pyarrow().Table.from_batches([batch]), name)
        n_rows += table.n_rows
        if table.n_rows:
            yield table
    if n_rows == 0:
        raise ValueError(f"{name} is a stream without rows: at least one is needed")


def _reader(X: Any) -> Any:
    """Return a reader of record batches where X is a stream and pyarrow is there, or None."""
    if not is_stream(X):
        return None
    try:
        return _pyarrow().RecordBatchReader.from_stream(X)
    except ImportError:
        return None


def _pyarrow() -> Any:
    import pyarrow

    return pyarrow


def _check_shape(table: Table) -> None:
    shape = table.n_rows, len(table.labels)
    for size, what in zip(shape, ("sample", "feature"), strict=True):
        if size == 0:
            raise ValueError(
                f"Found array with 0 {what}(s) (shape={shape}) while a minimum of 1 is required."
            )


# ---- reading ----


def _as_native(X: Any, name: str) -> Any:
    """Return a frame of pandas, polars or pyarrow."""
    import narwhals as nw

    if hasattr(X, "collect") and not hasattr(X, "__arrow_c_stream__"):
        raise TypeError(f"{name} is a query that has not run ({shown_type(X)}): call its collect()")
    if _is_column(X):
        raise ValueError(
            f"Expected 2D array, got 1D array instead: {name} is a column ({shown_type(X)}), a "
            "table is needed: use a frame of this one column"
        )
    if _library_of(X) is not None:
        return X
    backends: tuple[Any, ...] = (PYARROW, POLARS)
    for backend in backends:
        try:
            source = _pyarrow().table(X) if backend == PYARROW else X
            return nw.from_arrow(source, backend=backend).to_native()
        except ImportError:
            continue
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"{name} must be a table, got {shown_type(X)}, which cannot be read: {error}"
            ) from None
    raise ImportError(f"{name} is {shown_type(X)}: install pyarrow or polars to read it")


def shown_type(X: Any) -> str:
    return f"{type(X).__module__.partition('.')[0]}.{type(X).__name__}"


def _library_of(X: Any) -> str | None:
    module, name = type(X).__module__.partition(".")[0], type(X).__name__
    is_one = (module, name) in ((PANDAS, "DataFrame"), (POLARS, "DataFrame"), (PYARROW, "Table"))
    if is_one:
        return module
    for parent in type(X).__mro__[1:]:  # subclasses, such as geopandas'
        if (parent.__module__.partition(".")[0], parent.__name__) == (PANDAS, "DataFrame"):
            return PANDAS
    return None


def _of_frame(native: Any, name: str) -> Table:
    """Return the `Table` of a frame of pandas, polars or pyarrow."""
    import narwhals as nw

    library = _library_of(native)
    assert library is not None
    labels = list(native.column_names if library == PYARROW else native.columns)
    _check_labels(labels, name)
    index = native.index if library == PANDAS else None

    def read(j: int) -> Column:
        series, text = _series_and_type(native, library, j)
        if (found := _categories(series, library)) is not None:
            categories, codes, ordered = found
            dtype = Dtype(CATEGORY, text, categories, ordered)
            return of_categories(labels[j], codes, categories, dtype, name)
        if (of_texts := _texts(series, library)) is not None:
            levels, codes = of_texts
            values = np.where(codes < 0, np.nan, np.asarray(codes, np.float64))
            return Column(labels[j], Dtype(TEXT, text), values, levels)
        return read_series(labels[j], nw.from_native(series, series_only=True), name, text)

    n_rows = native.num_rows if library == PYARROW else len(native)
    return Table(library, labels, n_rows, read, native, index)


def _series_and_type(native: Any, library: str, j: int) -> tuple[Any, str]:
    """Return a column as its library has it, and the name of its type."""
    if library == POLARS:
        series = native.to_series(j)
        return series, str(series.dtype) if series.dtype.is_decimal() else _polars_name(series)
    if library == PYARROW:
        series = native.column(j)
        return series, str(series.type)
    series = native.iloc[:, j]
    text = str(series.dtype)
    if type(series.dtype).__name__ == "SparseDtype":
        series = series.sparse.to_dense()
    return series.rename("column"), text  # narwhals wants names that are strings


def _polars_name(series: Any) -> str:
    return type(series.dtype).__name__


def _categories(series: Any, library: str) -> tuple[list, Array, bool] | None:
    """Return categories, codes and whether the categories are in order, or None for other types.

    Codes are negative where an entry is missing. The categories of an Enum of polars are not taken
    to be in order.
    """
    if library == PANDAS:
        if type(series.dtype).__name__ != "CategoricalDtype":
            return None
        categories = series.cat.categories.tolist()
        return categories, series.cat.codes.to_numpy(), bool(series.cat.ordered)
    if library == POLARS:
        kind = type(series.dtype).__name__
        if kind not in ("Enum", "Categorical"):
            return None
        texts = series.to_list()
        known = series.dtype.categories if kind == "Enum" else series.unique().drop_nulls()
        levels = known.to_list() if kind == "Enum" else sorted(known.to_list())
        return levels, np.nan_to_num(level_numbers(texts, levels), nan=-1), False
    if not _pyarrow().types.is_dictionary(series.type):
        return None
    return *_of_dictionaries(series), bool(series.type.ordered)


def _of_dictionaries(series: Any) -> tuple[list, Array]:
    """Return levels and codes of a column of pyarrow, whose parts have their own dictionaries."""
    levels: list = []
    parts = [np.empty(0)]
    for chunk in series.chunks:
        own = chunk.dictionary.to_pylist()
        levels = list(dict.fromkeys([*levels, *own]))
        numbers = np.append(level_numbers(own, levels), -1)
        parts.append(numbers[chunk.indices.fill_null(len(own)).to_numpy().astype(np.int64)])
    return levels, np.concatenate(parts)


def _texts(series: Any, library: str) -> tuple[list, Array] | None:
    """Return distinct texts and codes, negative where one is missing; None for other types.

    The libraries do this faster than Python; pandas' columns of objects may hold other things.
    """
    if library == PANDAS:
        import pandas

        if not pandas.api.types.is_string_dtype(series.dtype) or series.dtype == object:
            return None
        codes, levels = pandas.factorize(series)
        return levels.tolist(), codes
    if library == POLARS:
        import polars

        if series.dtype != polars.String:
            return None
        levels = series.drop_nulls().unique(maintain_order=True)
        codes = series.cast(polars.Enum(levels)).to_physical().cast(polars.Int64).fill_null(-1)
        return levels.to_list(), codes.to_numpy()
    types = _pyarrow().types
    if not (types.is_string(series.type) or types.is_large_string(series.type)):
        return None
    return _of_dictionaries(series.dictionary_encode())


def _check_labels(labels: Sequence[Any], name: str) -> None:
    strange = [label for label in labels if not isinstance(label, (str, int, np.integer))]
    if strange:
        raise TypeError(
            f"names of columns of {name} must be strings or integers, got {shown(strange[0])}"
        )
    twice = [label for j, label in enumerate(labels) if label in labels[:j]]
    if twice:
        raise ValueError(
            f"{name} has several columns of one name: {label_list(dict.fromkeys(twice))}"
        )


def label_list(labels: Any) -> str:
    """Return names of columns for an error or a notice."""
    labels = list(labels)
    more = f" and {len(labels) - FEW} more" if len(labels) > FEW else ""
    return ", ".join(repr(label) for label in labels[:FEW]) + more


def _of_array(X: Any, name: str, estimator: Any) -> Table:
    """Return the `Table` of an array or of lists."""
    array = check.mixed_array(estimator, X, name)
    labels = [f"x{j}" for j in range(array.shape[1])]

    def read(j: int) -> Column:
        return read_array(labels[j], array[:, j], name)

    return Table(NUMPY, labels, len(array), read, array)
