"""The reader: kinds of files, how text is written, which columns, and batches that are the whole.

What is wrong with a file is told with its line and its column; see test_bad_files.py.
"""

import gzip
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from aefast.tables import csv_files
from aefast.tables.dialects import Text
from aefast.tables.readers import Options, open_table, read_table
from aefast.tables.selection import Choice

pa = pytest.importorskip("pyarrow", reason="needs pyarrow, of the extra [io]")
from pyarrow import feather, parquet  # noqa: E402

MIXED = {
    "size": [1.5, None, -3.0],
    "n": [3, 4, 5],
    "job": ["clerk", 'a; b, "c"', None],
    "born": pd.to_datetime(["2001-02-03", "1999-12-31", "9999-12-31"]).date,
    "ok": [True, False, True],
}


def plain(rows):
    """Rows as lists of Python values, NaN as None."""
    if isinstance(rows, np.ndarray):
        return [[None if value != value else value for value in row] for row in rows.tolist()]
    return [list(row.values()) for row in rows.to_pylist()]


def expected(columns=MIXED):
    return [list(row) for row in zip(*columns.values(), strict=True)]


def text_of(frame, **options):
    return frame.to_csv(index=False, **options)


def write_all_kinds(folder):
    frame = pd.DataFrame(MIXED)
    table = pa.table(MIXED)
    text = text_of(frame)
    (folder / "a.csv").write_text(text)
    (folder / "a.tsv").write_text(text_of(frame, sep="\t"))
    (folder / "a.txt").write_text(text_of(frame, sep="|"))
    (folder / "semicolon.csv").write_text(text_of(frame, sep=";", decimal=","))
    (folder / "latin.csv").write_bytes(text.replace("clerk", "größer").encode("latin-1"))
    (folder / "utf16.csv").write_bytes(text.encode("utf-16"))
    (folder / "windows.csv").write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))
    (folder / "a.csv.gz").write_bytes(gzip.compress(text.encode()))
    with pa.OSFile(str(folder / "a.csv.zst"), "wb") as raw:
        with pa.CompressedOutputStream(raw, "zstd") as stream:
            stream.write(text.encode())
    parquet.write_table(table, folder / "a.parquet", row_group_size=2)
    feather.write_feather(table, str(folder / "a.feather"))
    with pa.OSFile(str(folder / "a.arrow"), "wb") as sink:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=2)


def test_kinds_of_files(folder):
    """A table of mixed columns is the same from every kind of file, and in batches."""
    write_all_kinds(folder)
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 12
    for name in names:
        options = Options(text=Text(encoding="latin-1" if name == "latin.csv" else None))
        table = read_table(name, options)
        assert table.feature_names == tuple(MIXED) and table.is_frame, name
        rows = plain(table.rows)
        if name == "latin.csv":
            assert rows[0][2] == "größer"
            rows[0][2] = "clerk"
        assert rows == expected(), name
        parts = [plain(part.rows) for part in open_table(name, options).batches()]
        assert [row[1:2] + row[3:] for part in parts for row in part] == [
            row[1:2] + row[3:] for row in expected()
        ], name


def test_standard_input_is_known_by_its_first_bytes(folder):
    """Also of kinds that are no text."""
    write_all_kinds(folder)
    np.save("a.npy", np.arange(6.0).reshape(3, 2))
    code = (
        "from aefast.tables.readers import read_table; t = read_table('-');"
        "print(t.name, t.rows.shape, t.feature_names)"
    )
    for name in ("a.csv", "semicolon.csv", "a.csv.gz", "a.csv.zst", "a.parquet", "a.arrow"):
        with open(name, "rb") as file:
            done = subprocess.run(
                [sys.executable, "-c", code], stdin=file, capture_output=True, text=True, check=True
            )
        assert done.stdout == f"standard input (3, 5) {tuple(MIXED)}\n", name
    with open("a.npy", "rb") as file:
        done = subprocess.run(
            [sys.executable, "-c", code], stdin=file, capture_output=True, text=True
        )
    assert done.stdout == "standard input (3, 2) None\n"


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_numbers_are_exact_matrices(suffix, folder):
    """Numbers of one type stay of it in Parquet; text gives float64 that is what Python reads."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 3)) * 10.0 ** rng.integers(-200, 200, (1000, 3))
    frame = pd.DataFrame(X, columns=list("abc"))
    frame.to_csv("X.csv", index=False)
    frame.to_parquet("X.parquet")
    table = read_table(f"X.{suffix}")
    assert np.array_equal(table.rows, X) and table.rows.flags.c_contiguous
    frame.clip(-1, 1).astype(np.float32).to_parquet("f.parquet")
    assert read_table("f.parquet").rows.dtype == np.float32


@pytest.mark.parametrize("is_large", [False, True])
def test_large_text_is_read_alike(is_large, folder, monkeypatch):
    """By NumPy and by pyarrow, with and without gaps."""
    monkeypatch.setattr(csv_files, "_BLOCK", 1 << 14)
    if is_large:
        monkeypatch.setattr(csv_files, "_LARGE", 0)
    n_rows = 3000
    X = np.random.default_rng(1).normal(size=(n_rows, 3))
    frame = pd.DataFrame(X, columns=list("abc"))
    frame.to_csv("X.csv")
    table = read_table("X.csv")
    assert np.array_equal(table.rows, X)
    assert table.ids.values == list(range(n_rows))
    assert "row numbers: not taken as data" in table.notices[0]
    frame.iloc[n_rows - 3, 1] = np.nan
    frame.to_csv("gap.csv", index=False)
    table = read_table("gap.csv", Options(gaps=True))
    assert np.array_equal(table.rows, frame.to_numpy(), equal_nan=True)
    parts = [part.rows for part in open_table("gap.csv", Options(gaps=True)).batches()]
    assert np.array_equal(np.concatenate(parts), frame.to_numpy(), equal_nan=True)
    assert len(parts) > 5


def test_without_pyarrow(folder, monkeypatch):
    """Text of numbers, with gaps, names of rows and decimal commas, takes no pyarrow."""
    (folder / "X.csv").write_text("name;a;b\nu;1,5;\nv;2;3\n")
    options = Options(Choice(id="name"), gaps=True)
    whole = read_table("X.csv", options)
    for module in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"]:
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    table = read_table("X.csv", options)
    assert plain(table.rows) == plain(whole.rows) == [[1.5, None], [2.0, 3.0]]
    assert table.ids == whole.ids and table.ids.values == ["u", "v"]
    assert [len(part) for part in open_table("X.csv", options).batches()] == [2]
    (folder / "text.csv").write_text("a,b\n1,x\n2,y\n")
    with pytest.raises(ImportError, match=r"text.csv.*pip install 'aefast\[io\]'"):
        read_table("text.csv")
    with pytest.raises(ImportError, match=r"a.parquet"):
        (folder / "a.parquet").touch()
        read_table("a.parquet")


# ---- how text is written ----

WRITTEN = {
    "comma": ("a,b\n1,2.5\n3,4\n", [[1, 2.5], [3, 4]]),
    "semicolon and comma": ("a;b\n1;2,5\n3;4,75\n", [[1, 2.5], [3, 4.75]]),
    "commas of two kinds": ("a;b\n1,5;2,5\n3,5;4,5\n", [[1.5, 2.5], [3.5, 4.5]]),
    "tab": ("a\tb\n1\t2.5\n", [[1, 2.5]]),
    "bar": ("a|b\n1|2.5\n", [[1, 2.5]]),
    "blanks": ("1  2.5\n 3 4 \n", [[1, 2.5], [3, 4]]),
    "quotes": ('"a ""x""",b\n"1",2.5\n', [[1, 2.5]]),
    "line breaks in quotes": ('a,b\n"x\ny",2\nz,3\nw,4\n', [["x\ny", 2], ["z", 3], ["w", 4]]),
    "delimiter at the end": ("a,b,\n1,2,\n3,4,\n", [[1, 2], [3, 4]]),
    "blanks after commas": ("a, b\nx, New York\ny, Rome\n", [["x", "New York"], ["y", "Rome"]]),
    "one column": ("a\n1\n2\n", [[1], [2]]),
    "blank lines": ("\na,b\n\n1,2\n\n", [[1, 2]]),
    "dates with points": (
        "a,d\n1,31.12.2024\n2,1.2.2003\n",
        [[1, "2024-12-31"], [2, "2003-02-01"]],
    ),
    "dates with slashes": ("a,d\n1,2024/1/5\n", [[1, "2024-01-05"]]),
    "day first": (
        "a,d\n1,01/02/2024\n2,31/12/2024\n",
        [[1, "2024-02-01"], [2, "2024-12-31"]],
    ),
    "month first": (
        "a,d\n1,1/2/2024\n2,12/31/2024\n3,\n",
        [[1, "2024-01-02"], [2, "2024-12-31"], [3, "None"]],
    ),
    "day first, with hyphens and times": (
        "a,d\n1,01-02-2024 7:05\n2,31-12-2024 23:00\n",
        [[1, "2024-02-01 07:05:00"], [2, "2024-12-31 23:00:00"]],
    ),
    "times": ("a,d\n1,5.1.2024 7:05\n", [[1, "2024-01-05 07:05:00"]]),
}


@pytest.mark.parametrize(
    "fields, reason",
    [
        (["01/02/2024", "12/11/2024"], "may have either order (--dates dmy or --dates mdy"),
        (["13/01/2024", "01/13/2024"], "no order fits all of its dates"),
    ],
)
def test_dates_whose_order_is_not_settled_stay_text(fields, reason, folder):
    (folder / "X.csv").write_text("\n".join(["d", *fields, ""]))
    table = read_table("X.csv")
    assert plain(table.rows) == [[field] for field in fields]
    [notice] = table.notices
    assert notice.startswith("X.csv: column 'd' stays text: ") and reason in notice


def test_the_order_of_dates_is_that_of_all_files_or_given(folder):
    (folder / "1.csv").write_text("d,t\n01/02/2024,1/2/2024\n")
    (folder / "2.csv").write_text("d,t\n31/12/2024,1/2/2024\n")
    rows = read_table("*.csv", Options(texts=("t",))).rows
    assert [str(value) for value in rows.column("d").to_pylist()] == ["2024-02-01", "2024-12-31"]
    assert rows.column("t").to_pylist() == ["1/2/2024"] * 2
    given = read_table("1.csv", Options(text=Text(dates="mdy")))
    assert [list(map(str, row)) for row in plain(given.rows)] == [["2024-01-02"] * 2]
    wrong = read_table("2.csv", Options(Choice(columns=("d",)), Text(dates="mdy")))
    assert plain(wrong.rows) == [["31/12/2024"]] and "--dates mdy" in wrong.notices[0]


@pytest.mark.parametrize("text, rows", WRITTEN.values(), ids=WRITTEN)
def test_how_text_is_written(text, rows, folder):
    (folder / "X.txt").write_text(text)
    table = read_table("X.txt")
    found = [
        [value if isinstance(value, (float, int)) else str(value) for value in row]
        for row in plain(table.rows)
    ]
    assert found == rows


def test_what_is_told_is_obeyed(folder):
    (folder / "X.csv").write_text("1;2,5;?\n3;4,5;6\n")
    text = Text(delimiter=";", decimal=",", header=True, na=("?",))
    table = read_table("X.csv", Options(text=text))
    assert table.feature_names == ("1", "2,5", "?") and plain(table.rows) == [[3, 4.5, 6]]
    text = Text(na=("?",))
    assert plain(read_table("X.csv", Options(text=text, gaps=True)).rows)[0] == [1, 2.5, None]
    (folder / "codes.csv").write_text("code,x\n01,1\n02,2\n")
    table = read_table("codes.csv", Options(texts=("code",)))
    assert plain(table.rows) == [["01", 1], ["02", 2]]


@pytest.mark.parametrize(
    "given, match",
    [
        ({"delimiter": ",,"}, "--delimiter: expected one character"),
        ({"decimal": ";"}, "--decimal: expected"),
        ({"decimal": ",", "delimiter": ","}, "two characters"),
        ({"encoding": "utf-99"}, "--encoding: unknown: 'utf-99'"),
    ],
)
def test_impossible_ways_of_writing(given, match):
    with pytest.raises(ValueError, match=match):
        Text(**given)


# ---- columns ----


def test_columns_are_chosen_by_name(folder):
    frame = pd.DataFrame({"a": [1.0, 2], "b": [3.0, 4], "c": ["x", "y"], "k, 1": [7, 8]})
    frame.to_csv("X.csv", index=False)
    frame.to_parquet("X.parquet")
    for name in ("X.csv", "X.parquet"):
        chosen = read_table(name, Options(Choice(columns=("b", "a"), id="k, 1")))
        assert chosen.feature_names == ("b", "a") and plain(chosen.rows) == [[3, 1], [4, 2]]
        assert (chosen.ids.name, chosen.ids.values) == ("k, 1", [7, 8])
        left = read_table(name, Options(Choice(drop=("c",), wanted=("b", "a"))))
        assert left.feature_names == ("b", "a")
        assert "not know are left out: 'k, 1'" in left.notices[0]
        with pytest.raises(ValueError, match="missing: 'd'"):
            read_table(name, Options(Choice(wanted=("a", "d"))))
        with pytest.raises(ValueError, match="no column 'z'; its columns: 'a', 'b', 'c'"):
            read_table(name, Options(Choice(drop=("z",))))
    np.save("X.npy", np.arange(6).reshape(2, 3))
    table = read_table("X.npy", Options(Choice(columns=("3", "1"), id="2")))
    assert plain(table.rows) == [[2, 0], [5, 3]] and table.ids.values == [1, 4]
    with pytest.raises(ValueError, match="expected a number from 1 to 3, got '4'"):
        read_table("X.npy", Options(Choice(columns=("4",))))


def test_the_index_of_pandas_names_rows(folder):
    frame = pd.DataFrame({"a": [1.0, 2]}, index=pd.Index(["u", "v"], name="who"))
    frame.to_csv("named.csv")
    frame.to_parquet("named.parquet")
    frame.set_axis([7.5, 3.5]).to_parquet("unnamed.parquet")
    frame.reset_index(drop=True).to_csv("twice.csv")
    pd.read_csv("twice.csv").to_csv("thrice.csv", index=False)
    assert read_table("named.parquet").ids.values == ["u", "v"]
    assert read_table("unnamed.parquet").ids.values == [7.5, 3.5]
    for name in ("twice.csv", "thrice.csv"):
        table = read_table(name)
        assert table.feature_names == ("a",) and table.ids.values == [0, 1]
    (folder / "R.csv").write_text('"","a"\n"1",5\n"2",6\n')
    assert read_table("R.csv").ids.are_row_numbers()


# ---- several files ----


def test_folders_and_patterns(folder):
    frame = pd.DataFrame(MIXED)
    (folder / "parts").mkdir()
    for number, part in enumerate((frame[:1], frame[1:])):
        part.to_parquet(f"parts/{number}.parquet", index=False)
        part.to_csv(f"p{number}.csv", index=False)
    (folder / "parts" / "_SUCCESS").touch()
    (folder / "parts" / ".hidden.csv").touch()
    assert plain(read_table("parts").rows) == expected()
    assert plain(read_table("p?.csv").rows) == expected()
    assert [len(part) for part in open_table("parts").batches()] == [1, 2]
    np.save("x0.npy", np.ones((2, 3)))
    np.save("x1.npy", np.zeros((1, 3)))
    assert read_table("x*.npy").rows.sum() == 6
    np.save("x2.npy", np.zeros((1, 4)))
    with pytest.raises(ValueError, match=r"x2.npy: expected the columns of x0.npy"):
        read_table("x*.npy")


def test_columns_of_a_folder_must_be_equal(folder):
    def write(**files):
        for name, text in files.items():
            (folder / f"{name}.csv").write_text(text)

    write(a="x,y\n1,2\n", b="x,z\n1,2\n")
    with pytest.raises(ValueError, match=r"b.csv: .* a.csv; missing: 'y'; not there: 'z'"):
        read_table("?.csv")
    write(b="y,x\n1,2\n")
    with pytest.raises(ValueError, match=r"b.csv: .* another order"):
        read_table("?.csv")
    write(b="x,y\n1,word\n")
    with pytest.raises(
        ValueError, match=r"b.csv: line 2, column 'y': expected a number as in the rows before"
    ):
        read_table("?.csv")
    write(a="x,y\n1,\n", b="x,y\n1.5,2\n")
    assert plain(read_table("?.csv", Options(gaps=True)).rows) == [[1, None], [1.5, 2]]
