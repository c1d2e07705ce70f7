"""One column of a table, read from any library: its kind, its values as numbers, its type.

All values are float64. Dates are microseconds since 1970, times of a day and durations
microseconds. Booleans, texts and categories are numbers of levels.
"""

import datetime
import decimal
import itertools
from typing import Any, NamedTuple

import numpy as np

from aefast._base.types import Array

NUMBER, BOOLEAN, TEXT, CATEGORY = "number", "boolean", "text", "category"
DATE, TIME, DURATION, EMPTY = "date", "time", "duration", "empty"
OF_LEVELS = (BOOLEAN, TEXT, CATEGORY)
# microseconds of units, and those of 0001-01-01 and of the end of 9999-12-31
_MICRO = {"W": 604_800e6, "D": 86_400e6, "h": 3600e6, "m": 60e6, "s": 1e6, "ms": 1e3, "us": 1.0}
_EARLIEST, _LATEST = -62_135_596_800e6, 253_402_300_800e6
MOST_DIGITS = 15  # of decimals, which are computed with as floats


class Dtype(NamedTuple):
    """Type of a column, from which each library's writer makes its own type. All is JSON."""

    kind: str
    name: str  # of the library's own type: "Int64", "category", "timestamp[us]"
    categories: list | None = None  # of categorical types, in order
    ordered: bool = False
    unit: str | None = None  # of dates and durations: "s", "ms", "us", "ns"
    zone: str | None = None
    digits: int | None = None  # after the point, of decimals


class Column(NamedTuple):
    """Values of a column.

    Parameters
    ----------
    label : str or int
    dtype : Dtype
    values : ndarray (n,)
        float64, NaN where an entry is missing; numbers of `levels` where there are any.
    levels : list or None
        Distinct values of columns of levels.
    local : ndarray (n,) or None
        Of dates with a time zone: the local time, while `values` have the time in UTC.
    """

    label: Any
    dtype: Dtype
    values: Array
    levels: list | None = None
    local: Array | None = None

    @property
    def kind(self) -> str:
        return self.dtype.kind

    @property
    def missing(self) -> Array:
        return np.isnan(self.values)

    def of_levels(self) -> "Column":
        """Return the column with its distinct values as levels, numbers too."""
        if self.levels is not None:
            return self
        seen = ~self.missing
        levels, codes = np.unique(self.values[seen], return_inverse=True)
        values = np.full(len(self.values), np.nan)
        values[seen] = codes
        return self._replace(values=values, levels=[plain_number(level) for level in levels])


def plain_number(value: Any) -> int | float:
    """Return a number as an int where it is whole."""
    return int(value) if value == int(value) else float(value)


def level_numbers(values: list, levels: list) -> Array:
    """Return the number of each value in `levels`, NaN for values that are not among them."""
    index = dict(zip(levels, range(len(levels)), strict=True))
    return np.fromiter(map(index.get, values, itertools.repeat(np.nan)), np.float64, len(values))


# ---- reading ----


def read_array(label: Any, values: Array, name: str) -> Column:
    """Return a column of an ndarray: numbers, booleans, texts, dates, or Python objects."""
    kind = values.dtype.kind
    if kind == "O":
        missing = np.array([_is_missing(value) for value in values], bool)
        return read_objects(label, values, missing, name, "object")
    if kind == "b":
        return Column(label, Dtype(BOOLEAN, "bool"), values.astype(np.float64), [False, True])
    if kind in "US":
        return _of_texts(label, values.astype(str).tolist(), Dtype(TEXT, "object"))
    if kind in "mM":
        micro = values.astype(f"{values.dtype.str[1]}8[us]")
        numbers = np.where(np.isnat(micro), np.nan, micro.astype(np.int64).astype(np.float64))
        unit, n_units = np.datetime_data(values.dtype)
        if kind == "M":
            given = values.view(np.int64).astype(np.float64) * n_units * _MICRO.get(unit, 0.0)
            numbers = np.where(np.isnan(numbers), np.nan, _within_years(numbers))
            numbers = np.where(np.isinf(_within_years(given)) & ~np.isnat(values), np.inf, numbers)
        return Column(label, Dtype(DATE if kind == "M" else DURATION, "", unit=unit), numbers)
    return Column(label, Dtype(NUMBER, str(values.dtype)), values.astype(np.float64))


def read_series(label: Any, series: Any, name: str, text: str) -> Column:
    """Return a column from a narwhals Series; `text` is the name of its type in its library.

    Raises ValueError, with the label, for types that no role fits, such as lists.
    """
    import narwhals as nw

    dtype = series.dtype
    missing = np.asarray(series.is_null().to_numpy(), bool)
    if dtype == nw.Object or (dtype == nw.String and text == "object"):
        return read_objects(label, series.to_numpy(), missing, name, text)
    if missing.all() and dtype in (nw.Unknown, nw.String):
        kind = TEXT if dtype == nw.String else EMPTY
        levels: list | None = [] if kind == TEXT else None
        return Column(label, Dtype(kind, text), np.full(len(missing), np.nan), levels)
    if dtype.is_decimal():
        digits = getattr(dtype, "scale", None) or _digits(series.drop_nulls().to_list())
        return Column(label, Dtype(NUMBER, text, digits=digits), _floats(series))
    if dtype.is_numeric():
        return Column(label, Dtype(NUMBER, text), _floats(series))
    if dtype == nw.Boolean:
        return Column(label, Dtype(BOOLEAN, text), _floats(series), [False, True])
    if dtype == nw.String:
        return _of_texts(label, series.to_list(), Dtype(TEXT, text))
    if dtype == nw.Datetime:
        return _of_dates(label, series, text)
    if dtype == nw.Date:
        micro = _within_years(_floats(series.cast(nw.Int32())) * _MICRO["D"])
        return Column(label, Dtype(DATE, text, unit="D"), micro)
    if dtype == nw.Duration:
        micro = series.dt.total_microseconds()
        return Column(label, Dtype(DURATION, text, unit=dtype.time_unit), _floats(micro))
    if dtype == nw.Time:
        times = [_micro_of_day(time) for time in series.to_list()]
        return Column(label, Dtype(TIME, text), np.array(times, np.float64))
    raise ValueError(
        f"column {str(label)!r} of {name} has the type {text}, which no role fits: make numbers, "
        "texts, categories or dates of it, or leave it out"
    )


def _floats(series: Any) -> Array:
    """Return a narwhals Series as float64, with NaN for null."""
    import narwhals as nw

    if not series.dtype.is_integer():  # casts of pyarrow refuse integers beyond 2**53
        series = series.cast(nw.Float64())
    missing = np.asarray(series.is_null().to_numpy(), bool)
    if missing.any():
        series = series.fill_null(0)
    values = np.array(series.to_numpy(), np.float64)
    values[missing] = np.nan
    return values


def _of_texts(label: Any, texts: list, dtype: Dtype) -> Column:
    texts = [None if _is_missing(text) else str(text) for text in texts]
    levels = [text for text in dict.fromkeys(texts) if text is not None]
    return Column(label, dtype, level_numbers(texts, levels), levels)


def of_categories(label: Any, codes: Array, categories: list, dtype: Dtype, name: str) -> Column:
    """Return a column of categories from codes, which are negative where an entry is missing."""
    if not all(isinstance(level, (str, int, float, bool)) for level in categories):
        kinds = sorted({type(level).__name__ for level in categories})
        raise ValueError(
            f"column {str(label)!r} of {name} has categories of {', '.join(kinds)}: use texts or "
            "numbers"
        )
    codes = np.asarray(codes, np.float64)
    return Column(label, dtype, np.where(codes < 0, np.nan, codes), list(categories))


def _of_dates(label: Any, series: Any, text: str) -> Column:
    import narwhals as nw

    zone, unit = series.dtype.time_zone, series.dtype.time_unit
    local = None
    if zone is not None:
        local = _floats(series.dt.replace_time_zone(None).dt.timestamp("us"))
    micro = _floats(series.dt.timestamp("us"))
    if unit in ("s", "ms"):  # of which libraries make microseconds without a look at overflows
        observed = series.drop_nulls().cast(nw.Int64()).to_numpy() * _MICRO[unit]
        given = ~np.asarray(series.is_null().to_numpy(), bool)
        micro[given] = np.where(np.isinf(_within_years(observed)), np.inf, micro[given])
    dtype = Dtype(DATE, text, unit=unit, zone=zone)
    return Column(label, dtype, _within_years(micro), local=local)


def _within_years(micro: Array) -> Array:
    """Return dates in microseconds, infinite where they are not of the years 1 to 9999."""
    return np.where((micro < _EARLIEST) | (micro > _LATEST), np.inf, micro)


def read_objects(label: Any, objects: Array, missing: Array, name: str, text: str) -> Column:
    """Return a column of Python objects, whose values have one kind in common."""
    values = np.full(len(objects), np.nan)
    seen = np.asarray(objects, object)[~missing]
    types = set(map(type, seen))

    def are(*kinds):
        return all(issubclass(kind, kinds) for kind in types)

    if not types:
        return Column(label, Dtype(EMPTY, text), values)
    if are(bool, np.bool_):
        values[~missing] = seen.astype(np.float64)
        return Column(label, Dtype(BOOLEAN, text), values, [False, True])
    if are(str):
        texts = np.array(objects, object)
        texts[missing] = None
        return _of_texts(label, texts.tolist(), Dtype(TEXT, text))
    if are(int, float, np.number, np.bool_, decimal.Decimal):
        digits = _digits(seen) if are(decimal.Decimal) else None
        if any(issubclass(kind, (complex, np.complexfloating)) for kind in types):
            raise ValueError(f"Complex data not supported: column {str(label)!r} of {name}")
        try:
            values[~missing] = seen.astype(np.float64)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(
                f"column {str(label)!r} of {name} has a number that float64 cannot hold"
            ) from None
        return Column(label, Dtype(NUMBER, text, digits=digits), values)
    if are(datetime.datetime) and not any(value.tzinfo for value in seen):
        values[~missing] = seen.astype("M8[us]").astype(np.int64)
        return Column(label, Dtype(DATE, text, unit="us"), values)
    if are(datetime.date) and not are(datetime.datetime):
        values[~missing] = seen.astype("M8[D]").astype("M8[us]").astype(np.int64)
        return Column(label, Dtype(DATE, text, unit="D"), values)
    if are(datetime.time):
        values[~missing] = [_micro_of_day(time) for time in seen]
        return Column(label, Dtype(TIME, text), values)
    if are(datetime.timedelta, np.timedelta64):
        values[~missing] = seen.astype("m8[us]").astype(np.int64)
        return Column(label, Dtype(DURATION, text, unit="us"), values)
    names = ", ".join(sorted(kind.__name__ for kind in types)[:4])
    raise ValueError(
        f"column {str(label)!r} of {name} holds objects of {names}: convert them to one of "
        "numbers, booleans, texts, dates, times or durations"
    )


def _is_missing(value: Any) -> bool:
    """Whether a Python object stands for a missing entry."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, (float, decimal.Decimal)) and value != value


def _digits(values: Any) -> int:
    exponents = (value.as_tuple().exponent for value in values)
    return min(MOST_DIGITS, max((-e for e in exponents if isinstance(e, int)), default=0))


def _micro_of_day(time: datetime.time | None) -> float:
    if time is None:
        return np.nan
    return ((time.hour * 60 + time.minute) * 60 + time.second) * 1e6 + time.microsecond
