"""The writer: each kind of file gives back what was written."""

import datetime
import os

import numpy as np
import pandas as pd
import pytest

from aefast.tables.file_table import Ids
from aefast.tables.outputs import check_can_write_table
from aefast.tables.writers import write_columns, write_frame, write_matrix

pa = pytest.importorskip("pyarrow", reason="needs pyarrow, of the extra [io]")


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8])
def test_matrices(dtype, folder):
    X = (np.random.default_rng(0).normal(size=(9000, 3)) * 100).clip(0, 255).astype(dtype)
    X[0, 0] = 5
    ids = Ids("who", [f"n, {i}" for i in range(len(X))])
    for name in ("X.csv", "X.parquet", "X.npy"):
        write_matrix(name, X, ["a", "b", "c"], ids)
    assert np.array_equal(np.load("X.npy"), X)
    for frame in (pd.read_csv("X.csv"), pd.read_parquet("X.parquet")):
        assert list(frame.columns) == ["who", "a", "b", "c"]
        assert frame["who"].tolist() == ids.values
        assert np.array_equal(frame[["a", "b", "c"]].to_numpy(dtype), X)
    assert (folder / "X.csv").read_text().splitlines()[1].startswith('"n, 0",5,')
    write_matrix("plain.csv", X[:2])
    assert len((folder / "plain.csv").read_text().splitlines()) == 2
    write_matrix("shaped.npy", X, shape=(3, 1))
    assert np.load("shaped.npy").shape == (9000, 3, 1)


def test_columns_of_all_types(folder, capsys):
    columns = {
        "x": np.array([1.0, np.nan]),
        "n": np.array([1, 2]),
        "t": ["a,b", None],
        "d": [datetime.date(2024, 1, 2), datetime.date(9999, 12, 31)],
        "ok": [True, False],
    }
    text = 'x,n,t,d,ok\n1,1,"a,b",2024-01-02,true\n,2,,9999-12-31,false\n'
    write_columns("X.csv", columns)
    assert (folder / "X.csv").read_text() == text
    write_columns("-", columns)
    assert capsys.readouterr().out == text
    write_frame("F.csv", pa.table(columns), Ids("", [0, 1]))
    assert (folder / "F.csv").read_text().startswith(",x,n,t,d,ok\n0,1,1")
    write_columns("X.parquet", columns)
    assert pa.parquet.read_table("X.parquet").to_pylist()[1]["d"] == datetime.date(9999, 12, 31)
    with pytest.raises(ValueError, match="numbers alone"):
        write_columns("X.npy", columns)
    assert not os.path.exists("X.npy")


def test_names_of_files(folder):
    for name in ("X", "X.xlsx", "X.csv.gz", "X.tsv"):
        with pytest.raises(ValueError, match=r"ends in .csv, .parquet or .npy to write to, or '-'"):
            check_can_write_table(name)
    with pytest.raises(ValueError, match=r"ends in .csv or .parquet"):
        check_can_write_table("X.npy", has_text=True)
    check_can_write_table("-")
    assert os.listdir() == []


def test_an_interrupt_leaves_the_file_as_it_was(folder):
    (folder / "X.csv").write_text("old")

    class Interrupting(list):
        def __getitem__(self, part):
            if part.start:
                raise KeyboardInterrupt
            return super().__getitem__(part)

    with pytest.raises(KeyboardInterrupt):
        write_columns("X.csv", {"x": Interrupting([1.0] * 10_000)})
    assert (folder / "X.csv").read_text() == "old" and os.listdir() == ["X.csv"]
