"""Columns back to a frame of the library they came from, with its types, categories and index."""

import datetime
import decimal
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from aefast._base.types import Array
from aefast.tables.columns import (
    BOOLEAN,
    CATEGORY,
    DATE,
    DURATION,
    EMPTY,
    NUMBER,
    TIME,
    Column,
    Dtype,
    level_numbers,
)
from aefast.tables.frames import NUMPY, PANDAS, POLARS, PYARROW

BOOLEANS = {PANDAS: "bool", POLARS: "Boolean", PYARROW: "bool", NUMPY: "bool"}
_FLOAT64 = {PANDAS: "float64", POLARS: "Float64", PYARROW: "double"}
SAFE = 2**62  # largest size of a number that becomes a 64-bit integer, of dates and times
DAY = 86_400_000_000  # microseconds
FIRST_DAY, LAST_DAY = -62_135_596_800_000_000, 253_402_300_799_999_999  # years 1 to 9999
NANOSECONDS = 9_223_372_036_000_000  # microseconds around 1970 that a date in nanoseconds holds


def frame_of(columns: list[Column], library: str, index: Any = None) -> Any:
    """Return a frame of the library, or an array for "numpy", of columns of its own types.

    Missing entries are null. Numbers are rounded for integer types, and values beyond the range of
    a type become its ends; a type that has no null becomes one that has.
    """
    if library == NUMPY:
        return _array_of(columns)
    if library == PANDAS:
        return _pandas_frame(columns, index)
    if library == POLARS:
        import polars

        series = [_polars_series(column) for column in columns]
        return polars.DataFrame(series)
    import pyarrow

    arrays = [_pyarrow_array(column) for column in columns]
    return pyarrow.table(arrays, names=[column.label for column in columns])


def numeric_frame_of(values: Array, labels: list, library: str, index: Any = None) -> Any:
    """Return a frame of the library with float64 columns, or the array itself for "numpy"."""
    if library == NUMPY:
        return values
    dtype = Dtype(NUMBER, _FLOAT64[library])
    pairs = zip(labels, values.T, strict=True)
    return frame_of([Column(label, dtype, column) for label, column in pairs], library, index)


def _array_of(columns: list[Column]) -> Array:
    numbers = all(column.kind in (NUMBER, EMPTY) for column in columns)
    if numbers:
        return np.column_stack([column.values for column in columns])
    made = np.empty((len(columns[0].values), len(columns)), object)
    for j, column in enumerate(columns):
        made[:, j] = _objects(column)
    return made


def rounded(values: Array, dtype: np.dtype[Any]) -> Array:
    """Return the nearest numbers that an integer type has; NaN becomes 0."""
    ends = np.iinfo(dtype)
    values = np.rint(np.where(np.isnan(values), 0.0, values))
    inside = np.clip(values, np.nextafter(float(ends.min), 0), np.nextafter(float(ends.max), 0))
    return np.where(
        values >= float(ends.max),
        ends.max,
        np.where(values <= float(ends.min), ends.min, inside.astype(dtype)),
    ).astype(dtype)


def _micro(column: Column) -> Array:
    """Return dates, times or durations as integers, 0 where they are missing."""
    values = np.nan_to_num(column.values, nan=0.0)
    if column.kind == DATE:
        narrow = column.dtype.unit == "ns"
        low, high = (-NANOSECONDS, NANOSECONDS) if narrow else (FIRST_DAY, LAST_DAY)
    elif column.kind == TIME:
        low, high = 0, DAY - 1
    else:
        high = NANOSECONDS if column.dtype.unit == "ns" else SAFE
        low = -high
    return np.rint(np.clip(values, low, high)).astype(np.int64)


def _objects(column: Column) -> list:
    """Return values as Python objects, None where they are missing."""
    kind, missing = column.kind, column.missing
    if column.levels is not None:
        codes = np.nan_to_num(column.values, nan=-1.0).astype(np.int64)
        levels = np.empty(len(column.levels) + 1, object)  # the last one is None
        levels[:-1] = column.levels
        return levels[codes].tolist()
    if kind == EMPTY:
        return [None] * len(missing)
    convert: Callable[[Any], Any] = float
    values: Any = column.values
    if kind == NUMBER and column.dtype.digits is not None:
        convert = _decimal_maker(column.dtype.digits)
    elif kind in (DATE, TIME, DURATION):
        values = _micro(column)
        convert = _MAKERS[kind] if column.dtype.unit != "D" else _date_of
    return [None if gap else convert(v) for v, gap in zip(values.tolist(), missing, strict=True)]


def _decimal_maker(digits: int) -> Callable[[float], decimal.Decimal]:
    return lambda value: decimal.Decimal(f"{value:.{digits}f}")


def _date_of(micro: int) -> datetime.date:
    return datetime.date(1970, 1, 1) + datetime.timedelta(days=micro // DAY)


_MAKERS: dict[str, Callable[[Any], Any]] = {
    DATE: lambda micro: datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=micro),
    TIME: lambda micro: (datetime.datetime.min + datetime.timedelta(microseconds=micro)).time(),
    DURATION: lambda micro: datetime.timedelta(microseconds=micro),
}


# ---- pandas ----


def _pandas_frame(columns: list[Column], index: Any) -> Any:
    import pandas

    if index is None:
        index = pandas.RangeIndex(len(columns[0].values) if columns else 0)
    data = {j: _pandas_series(column, index) for j, column in enumerate(columns)}
    frame = pandas.DataFrame(data, index=index)
    frame.columns = pandas.Index([column.label for column in columns])
    return frame


def _pandas_series(column: Column, index: Any) -> Any:
    import pandas

    name, kind, missing = column.dtype.name, column.kind, column.missing
    if kind == CATEGORY:
        target = pandas.CategoricalDtype(column.dtype.categories, column.dtype.ordered)
        return pandas.Series(pandas.Categorical(_objects(column), dtype=target), index=index)
    if name == "object" or kind == EMPTY or name.startswith(("decimal", "time")):
        objects = pandas.Series(_objects(column), index=index, dtype=object)
        return objects if name in ("object", "") else objects.astype(_pandas_type(column))
    if column.levels is not None and kind != BOOLEAN:
        return pandas.Series(_objects(column), index=index, dtype=_pandas_type(column))
    if kind == DATE:
        series = pandas.Series(_micro(column).astype("M8[us]"), index=index)
        if column.dtype.zone is not None:
            series = series.dt.tz_localize("UTC").dt.tz_convert(column.dtype.zone)
    elif kind == DURATION:
        series = pandas.Series(_micro(column).astype("m8[us]"), index=index)
    else:
        series = pandas.Series(np.nan_to_num(column.values, nan=0.0), index=index)
    target = _pandas_type(column)
    if kind == NUMBER and target.kind in "iu":
        numpy_type = getattr(target, "subtype", getattr(target, "numpy_dtype", target))
        series = pandas.Series(rounded(column.values, np.dtype(numpy_type)), index=index)
    series = series.astype(target)
    return series.where(~missing) if missing.any() else series


def _pandas_type(column: Column) -> Any:
    """Return the type of pandas; a similar one where its name does not tell all of it."""
    import pandas

    name = column.dtype.name
    try:
        return pandas.api.types.pandas_dtype(name)
    except (TypeError, NotImplementedError):
        if name.endswith("[pyarrow]"):
            return pandas.ArrowDtype(_pyarrow_type(column, name.removesuffix("[pyarrow]")))
        raise


# ---- polars ----


def _polars_series(column: Column) -> Any:
    import polars

    made, target = _polars_filled(column)
    name = str(column.label)
    if target is not None:
        made = made.cast(target)
    if column.levels is None and column.missing.any():
        gaps = polars.Series(column.missing)
        made = polars.select(polars.when(~gaps).then(made)).to_series()
    return made.rename(name)


def _polars_filled(column: Column) -> tuple[Any, Any]:
    """Return values, 0 where they are missing, and the type to which they are cast."""
    import polars

    kind, dtype = column.kind, column.dtype
    if kind == EMPTY:
        return polars.Series([None] * len(column.values)), getattr(polars, dtype.name, None)
    if column.levels is not None:
        base = polars.Boolean if kind == BOOLEAN else polars.String
        target = getattr(polars, dtype.name)
        if dtype.name == "Enum":
            target = polars.Enum(dtype.categories or [])
        return polars.Series(_objects(column), dtype=base), target
    if kind == NUMBER:
        if dtype.digits is not None:
            target = polars.Decimal(_precision(dtype.name), dtype.digits)
            return polars.Series(_objects(column), dtype=target), None
        target = getattr(polars, dtype.name)
        if target.is_integer() and "128" not in dtype.name:
            return polars.Series(rounded(column.values, np.dtype(dtype.name.lower()))), target
        return polars.Series(np.nan_to_num(column.values, nan=0.0)), target
    micro = polars.Series(_micro(column))
    if kind == TIME:
        return micro * 1000, polars.Time
    if kind == DURATION:
        return micro.cast(polars.Duration("us")), polars.Duration(dtype.unit)
    dates = micro.cast(polars.Datetime("us"))
    if dtype.unit == "D":
        return dates, polars.Date
    if dtype.zone is not None:
        dates = dates.dt.replace_time_zone("UTC").dt.convert_time_zone(dtype.zone)
    return dates, polars.Datetime(dtype.unit, dtype.zone)


# ---- pyarrow ----


def _pyarrow_array(column: Column) -> Any:
    import pyarrow

    kind, missing = column.kind, column.missing
    target = _pyarrow_type(column, column.dtype.name)
    if kind == EMPTY:
        return pyarrow.nulls(len(missing), target)
    if column.levels is not None:
        plain = pyarrow.array(_objects(column))
        return _with_dictionary(plain, column, target) if kind == CATEGORY else plain.cast(target)
    if kind in (DATE, TIME, DURATION):
        base = {
            DATE: pyarrow.timestamp("us", column.dtype.zone),
            TIME: pyarrow.time64("us"),
            DURATION: pyarrow.duration("us"),
        }[kind]
        return pyarrow.array(_micro(column), mask=missing).cast(base).cast(target, safe=False)
    if column.dtype.digits is not None:
        return pyarrow.array(_objects(column)).cast(target)
    values = column.values
    if pyarrow.types.is_integer(target):
        values = rounded(values, np.dtype(target.to_pandas_dtype()))
    return pyarrow.array(values, mask=missing).cast(target)


def _with_dictionary(plain: Any, column: Column, target: Any) -> Any:
    """Return texts as codes of the column's categories."""
    import pyarrow

    codes = np.nan_to_num(column.values, nan=0.0).astype(np.int64)
    levels, categories = column.levels or [], column.dtype.categories or []
    place = level_numbers(levels, categories)
    codes = place[codes].astype(np.int64) if len(levels) else codes
    indices = pyarrow.array(codes, mask=column.missing).cast(target.index_type)
    values = pyarrow.array(categories, target.value_type)
    return pyarrow.DictionaryArray.from_arrays(indices, values, ordered=target.ordered)


def _dictionary_types(name: str) -> tuple[Any, Any]:
    """Return the types of values and indices from "dictionary<values=string, indices=int32, …"."""
    import pyarrow

    found = dict(re.findall(r"(values|indices)=(\w+)", name))
    names = found.get("values", "string"), found.get("indices", "int32")
    values, indices = (pyarrow.type_for_alias(part) for part in names)
    return values, indices


def _precision(name: str) -> int:
    """Return the number of digits of a decimal type, such as "decimal128(10, 2)"."""
    found = re.search(r"\((?:precision=)?(\d+)", name)
    return int(found.group(1)) if found else 38


def _pyarrow_type(column: Column, name: str) -> Any:
    import pyarrow

    kind, dtype = column.kind, column.dtype
    if kind == CATEGORY:
        values, indices = _dictionary_types(name)
        return pyarrow.dictionary(indices, values, dtype.ordered)
    if kind == DATE and dtype.unit != "D":
        return pyarrow.timestamp(dtype.unit, dtype.zone)
    if dtype.digits is not None:
        return pyarrow.decimal128(_precision(name), dtype.digits)
    short = name.partition("[")[0]
    return pyarrow.type_for_alias(name if kind in (TIME, DURATION) else short)
