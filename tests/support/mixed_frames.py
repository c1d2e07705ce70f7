"""Tables with a column of every kind that the libraries have."""

import datetime as dt
import decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

N = 120


def _texts(rng, letters, n):
    return rng.choice(list(letters), n)


def mixed_frame(n=N, seed=0):
    """Return a frame of pandas with an index, and every type of column."""
    rng = np.random.default_rng(seed)
    gaps = rng.random((n, 4)) < 0.1
    days = pd.to_timedelta(rng.integers(0, 1000, n), unit="D")
    seconds = pd.to_timedelta(rng.integers(0, 10**8, n), unit="s")
    start = pd.Timestamp("2020-01-01")
    z = rng.normal(size=n)
    return pd.DataFrame(
        {
            "whole": rng.integers(0, 1000, n),
            "real": z,
            "gaps": np.where(gaps[:, 0], np.nan, 2 * z + rng.normal(size=n)).astype(np.float32),
            "visits": pd.array(np.where(gaps[:, 1], None, rng.poisson(np.exp(z))), "Int64"),
            "price": np.exp(1.5 * z + 0.2 * rng.normal(size=n) + 3),
            "flag": rng.random(n) < 0.3,
            "nullable flag": pd.array(np.where(gaps[:, 2], None, z > 0), "boolean"),
            "town": np.where(gaps[:, 3], None, np.where(z > 0, "Bonn", "Köln")),
            "kind": pd.array(_texts(rng, "abc", n), "string"),
            "size": pd.Categorical(
                _texts(rng, "SML", n), categories=["S", "M", "L", "XL"], ordered=True
            ),
            "code": pd.Categorical(rng.integers(1, 6, n)),
            "day": start + days,
            "moment": (start + seconds).tz_localize("UTC").tz_convert("Europe/Berlin"),
            "duration": pd.to_timedelta(rng.integers(0, 50, n), unit="h"),
            "date": [dt.date(2020, 1, 1) + dt.timedelta(days=int(d.days)) for d in days],
            "time": [dt.time(int(hour), 3) for hour in rng.integers(0, 24, n)],
            "amount": [decimal.Decimal(f"{value:.2f}") for value in rng.normal(size=n)],
            "arrow": pd.array(
                [
                    None if gap else dt.date(2020, 1, 1 + d.days % 28)
                    for gap, d in zip(gaps[:, 0], days, strict=True)
                ],
                pd.ArrowDtype(pa.date32()),
            ),
            "number": np.arange(n),
            "name": [f"person {i:04d}" for i in range(n)],
            "one": 1,
            "same": "k",
            "nothing": None,
        },
        index=[f"row {i}" for i in range(n)],
    )


LEFT_OUT = {"number": "identifier", "name": "identifier", "one": "constant", "same": "constant"}


def in_library(frame, library):
    if library == "pandas":
        return frame
    frame = frame.drop(columns=["nothing", "code", "arrow"])
    polars = pl.from_pandas(frame).with_columns(pl.col("size").cast(pl.String).cast(pl.Categorical))
    return polars if library == "polars" else polars.to_arrow()


def column_of(table, name):
    """Return the type and the values of a column, for comparisons."""
    if isinstance(table, pa.Table):
        column = table.column(name)
        return column.type, column.to_pylist()
    column = table[name]
    values = column.to_list() if isinstance(table, pl.DataFrame) else column.tolist()
    return column.dtype, [None if value is pd.NA or value != value else value for value in values]


def assert_equal_columns(table, other, names):
    for name in names:
        (dtype, values), (other_dtype, others) = column_of(table, name), column_of(other, name)
        assert dtype == other_dtype, name
        if all(value is None or isinstance(value, float) for value in values):
            values, others = (np.array(each, float) for each in (values, others))
            np.testing.assert_allclose(values, others, rtol=1e-13)
        else:
            assert values == others, name


def names_of(table):
    return list(table.column_names if isinstance(table, pa.Table) else table.columns)
