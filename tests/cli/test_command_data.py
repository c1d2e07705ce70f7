"""Files that the command reads, and its messages about what is wrong with them."""

import pickle
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from support.commands import refused

import aefast
from aefast.cli.held_out import hold_out
from aefast.tables.readers import read_table


@pytest.fixture
def no_training(monkeypatch):
    def fit(*_, **__):
        raise AssertionError("training began")

    monkeypatch.setattr(aefast.Autoencoder, "fit", fit)


# ---- data ----


def write_all_kinds(X):
    """One table in each kind of file, by the DATA argument that names it."""
    np.save("X.npy", X)
    np.save("fortran.npy", np.asfortranarray(X))
    np.save("big-endian.npy", X.astype(">f8"))
    np.savez("X.npz", first=X[:1], **{"a key:with colons": X})
    np.savez_compressed("compressed.npz", X=X)
    pd.DataFrame(X).to_csv("plain.csv", header=False, index=False)
    pd.DataFrame(X, columns=["a", "b", "c"]).to_csv("header.csv", index=False)
    lines = [
        ",".join(f' "{value!r}" ' if value > 0 else repr(value) for value in row)
        for row in X.tolist()
    ]
    text = "\r\n\r\n".join(['"größe, in mm",b,c', *lines]).replace(' "', '"').replace('" ', '"')
    with open("windows.csv", "w", encoding="utf-8-sig", newline="") as file:
        file.write(text)
    return (
        *("X.npy", "fortran.npy", "big-endian.npy", "X.npz:a key:with colons", "compressed.npz:X"),
        *("plain.csv", "header.csv", "windows.csv"),
    )


def test_kinds_of_data(folder):
    X = np.random.default_rng(0).normal(size=(7, 3))
    tables = {name: read_table(name) for name in write_all_kinds(X)}
    for name, table in tables.items():
        assert np.array_equal(table.rows, X), name
        assert table.row_shape == (3,)
    assert tables["plain.csv"].feature_names is None
    assert tables["header.csv"].feature_names == ("a", "b", "c")
    assert tables["windows.csv"].feature_names == ("größe, in mm", "b", "c")
    assert isinstance(tables["X.npy"].rows, np.memmap)


@pytest.mark.parametrize(
    "dtype", [np.float32, np.float64, np.uint8, np.bool_, np.int16, np.float16]
)
def test_types_are_kept(dtype, folder):
    np.save("X.npy", np.ones((2, 3, 4), dtype))
    table = read_table("X.npy")
    assert (table.rows.dtype, table.rows.shape, table.row_shape) == (dtype, (2, 12), (3, 4))


def test_digits_lie_in_0_1():
    table = read_table("digits")
    assert table.rows.dtype == np.float32 and table.rows.shape == (1797, 64)
    assert table.row_shape == table.image_shape == (8, 8)
    assert np.array_equal(table.rows, (load_digits().data / 16).astype(np.float32))


ROWS = "1,2,3\n" * 16
BAD_CSV = {
    "text in line 17, column 3": (ROWS + "4,5,abc\n" + ROWS, "line 17, column 3: .*'abc'"),
    "text below a header": ("a,b,c\n" + ROWS + "4,,6\n", "line 18, column 'b': .*''"),
    "text in the first row": ("1,x,3\n" + ROWS, "line 1, column 2: .*'x'"),
    "NaN": (ROWS + "1,nan,3\n", "line 17, column 2: expected a finite number, got 'nan'"),
    "infinity": (ROWS + "-inf,2,3\n", "line 17, column 1: .*'-inf'"),
    "overflow": (ROWS + "1e999,2,3\n", "line 17, column 1: .*'1e999'"),
    "underscore": (ROWS + "1_0,2,3\n", "line 17, column 1: .*'1_0'"),
    "other digits": (ROWS + "٣,2,3\n", "line 17, column 1"),
    "short row": (ROWS + "4,5\n" + ROWS, "line 17: expected 3 columns as in the first row, got 2"),
    "long row": (
        "a,b,c\n" + ROWS + "4,5,6,7\n",
        "line 18: expected 3 columns as in the header, got 4",
    ),
    "header of another length": ("a,b\n" + ROWS, "line 2: expected 2 columns .*, got 3"),
    "blank lines count": ("\n\n" + ROWS + "\n1,2\n", "line 20: expected 3 columns"),
    "blank between commas": (ROWS + " , ,\n", "line 17, column 1: .*' '"),
    "header alone": ("a,b,c\n", "at least one row and column, got a header alone"),
    "empty": ("", "at least one row and column, got an empty file"),
    "blank": ("\n\n\n", "at least one row and column"),
    "another encoding": (("größe\n1\n").encode("latin-1"), "UTF-8"),
    "binary": (b"\x00\x01\x02\x00\n" * 20, "expected text, got a file with NUL characters"),
    "image": (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "UTF-8"),
    "long field": ("1," + "9" * 200_000 + "\n", "field larger than field limit"),
    "unclosed quote": ('1,"2\n3,4\n', "line 1: a quote that does not end"),
}


@pytest.mark.parametrize("text, match", BAD_CSV.values(), ids=BAD_CSV)
def test_bad_csv(text, match, folder, capsys, no_training):
    contents = text if isinstance(text, bytes) else text.encode()
    (folder / "X.csv").write_bytes(contents)
    error = refused(capsys, "fit", "X.csv")
    assert re.match(f"aefast: error: X.csv: .*{match}", error)


class Evil:
    """Unpickling it leaves a file behind."""

    def __reduce__(self):
        return open, ("evil", "w")


def npy(shape, dtype="<f8", data=b""):
    """A .npy file with any header."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}"
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + data


BAD_NPY = {
    "empty": (b"", "npy"),
    "text": (b"1,2,3\n", "npy"),
    "truncated header": (npy((2, 3), data=bytes(48))[:40], "npy"),
    "truncated data": (npy((2, 3), data=bytes(47)), "npy"),
    "header alone": (npy((2, 3)), "npy"),
    "negative size": (npy((-2, 3), data=bytes(48)), "npy"),
    "terabytes": (npy((2**40, 3), data=bytes(48)), "npy"),
    "size that overflows": (npy((2**62, 2**62), data=bytes(48)), "npy"),
    "hostile size": (npy("__import__('os')", data=bytes(48)), "npy"),
    "deep size": (npy("(" * 5000, data=bytes(48)), "npy"),
    "hostile type": (npy((2, 3), dtype="evil", data=bytes(48)), "npy"),
    "one dimension": (npy((6,), data=bytes(48)), r"rows and columns.*\(6,\)"),
    "scalar": (npy((), data=bytes(8)), r"rows and columns.*\(\)"),
    "no rows": (npy((0, 3)), r"at least one row and column.*\(0, 3\)"),
    "no columns": (npy((3, 0)), r"at least one row and column.*\(3, 0\)"),
    "text as numbers": (npy((1, 2), dtype="<U3", data=bytes(24)), "real numbers.*<U3"),
    "complex": (npy((1, 2), dtype="<c16", data=bytes(32)), "real numbers.*complex128"),
    "dates": (npy((1, 2), dtype="<M8[D]", data=bytes(16)), "real numbers.*datetime64"),
    "objects": (npy((1, 1), dtype="|O", data=pickle.dumps([Evil()])), "npy"),
    "pickle": (pickle.dumps(Evil()), "npy"),
    "zip": (b"PK\x03\x04" + bytes(60), "npy"),
}


@pytest.mark.parametrize("contents, match", BAD_NPY.values(), ids=BAD_NPY)
def test_bad_npy(contents, match, folder, capsys, no_training):
    (folder / "X.npy").write_bytes(contents)
    error = refused(capsys, "fit", "X.npy")
    assert re.match(f"aefast: error: X.npy: .*{match}", error)


def test_bad_npz(folder, capsys, no_training):
    np.savez("X.npz", a=np.ones((2, 3)), b=np.ones(2), objects=np.array([Evil()], dtype=object))
    contents = (folder / "X.npz").read_bytes()
    assert "its keys: a, b, objects" in refused(capsys, "fit", "X.npz:c")
    assert "its keys: a, b, objects" in refused(capsys, "fit", "X.npz")
    assert "rows and columns" in refused(capsys, "fit", "X.npz:b")
    assert "allow_pickle=False" in refused(capsys, "fit", "X.npz:objects")
    for damaged in (contents[:100], b"", b"text", contents[:60] + bytes(80) + contents[140:]):
        (folder / "X.npz").write_bytes(damaged)
        assert "error: X.npz: " in refused(capsys, "fit", "X.npz:a")


def test_names_that_are_no_data(folder, capsys, no_training):
    (folder / "folder.npy").mkdir()
    (folder / "X.doc").touch()
    cases = {
        "nothing.npy": "nothing.npy: No such file",
        "nothing.npz:X": "nothing.npz: No such file",
        "nothing.csv": "nothing.csv: No such file",
        "folder.npy": "folder.npy: a folder without a table",
        "nothing*.csv": "no file matches this pattern",
        "X.doc": "DATA: expected .csv, .tsv, .txt, .parquet, .feather, .arrow, .npy, .npz:KEY",
        "digit": "got 'digit'",
    }
    for name, message in cases.items():
        assert message in refused(capsys, "fit", name)


# ---- rows held out ----


@given(
    n_rows=st.integers(1, 60),
    fraction=st.floats(0, 1, exclude_max=True),
    seed=st.integers(0, 2**32 - 1),
)
def test_hold_out(n_rows, fraction, seed):
    """Rows for training and held-out rows together are all rows; sizes follow from the fraction."""
    rows = np.arange(2 * n_rows).reshape(n_rows, 2)
    train, test = hold_out(rows.copy(), fraction, seed)
    assert sorted(map(tuple, np.vstack([train, test]))) == sorted(map(tuple, rows))
    if fraction == 0:
        assert len(test) == 0 and np.array_equal(train, rows)
    else:
        assert len(test) == min(max(1, round(fraction * n_rows)), n_rows - 1)


def test_hold_out_is_random():
    """Each row is held out as often as any other, over many seeds.

    Both parts are slices of one array.
    """
    counts = np.zeros(20)
    for seed in range(2000):
        rows = np.arange(20)[:, None]
        train, test = hold_out(rows, 0.25, seed)
        assert train.base is not None and train.base is test.base
        counts[test[:, 0]] += 1
    assert counts.sum() == 2000 * 5
    assert (abs(counts - 500) < 5 * np.sqrt(2000 * 0.25 * 0.75)).all()
