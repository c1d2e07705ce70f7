"""Files with something wrong: an error that names file, line and column, or a stated behaviour."""

import numpy as np
import pandas as pd
import pytest

from aefast.tables.readers import Options, open_table, read_table

pa = pytest.importorskip("pyarrow", reason="needs pyarrow, of the extra [io]")

MANY = "1,2024-01-01,x\n" * 30  # of the columns a, d and t
HEAD = "a,d,t\n"
BAD = {
    "empty": ("", "got an empty file"),
    "header alone": ("a,b\n", "got a header alone"),
    "header and blanks": ("a,b\n\n\n", "got a header alone"),
    "short line": (
        HEAD + MANY + "1,2024-01-01\n",
        "line 32: expected 3 columns as in the header, got 2",
    ),
    "long line": (HEAD + "1,2024-01-01,x,y\n" + MANY, "line 2: expected 3 columns .*, got 4"),
    "short line after a long text": (
        HEAD + '1,2024-01-01,"x\ny"\n1\n' + MANY,
        "line 4: expected 3",
    ),
    "two columns of one name": ("a,b,a\n1,2,3\n", "columns 1 and 3 have the same name, 'a'"),
    "text among numbers": (
        HEAD + MANY + "oops,2024-01-01,x\n",
        "line 32, column 'a': expected a number as in most rows, got 'oops' "
        ".*--na 'oops'.*--role 'a=category'",
    ),
    "text among dates": (
        HEAD + MANY + "1,soon,x\n",
        "line 32, column 'd': expected a date as in most rows, got 'soon'",
    ),
    "no day of the calendar": (
        HEAD + MANY + "1,2023-02-29,x\n",
        "line 32, column 'd': expected a valid date.*, got '2023-02-29'",
    ),
    "no day in either order": (
        "a,d\n" + "1,02/01/2023\n" * 30 + "1,29/02/2023\n",
        "line 32, column 'd': expected a valid date.*, got '29/02/2023'",
    ),
    "text among dates of two orders": (
        "a,d\n" + "1,02/01/2023\n" * 30 + "1,soon\n",
        "line 32, column 'd': expected a date as in most rows, got 'soon'",
    ),
    "no month": (HEAD + MANY + "1,2023-13-01,x\n", "line 32, column 'd': .*'2023-13-01'"),
    "infinite": (
        HEAD + MANY + "inf,2024-01-01,x\n",
        "line 32, column 'a': expected a finite number, got 'inf'",
    ),
    "too large": (HEAD + MANY + "1e999,2024-01-01,x\n", "line 32, column 'a': .*'1e999'"),
    "infinite among numbers": ("a,b\n1,2\n3,-inf\n", "line 3, column 'b': .*'-inf'"),
    "gap": ("a,b\n1,2\n3,\n", "line 3, column 'b': expected a finite number, got ''"),
    "quote without end": (
        HEAD + MANY + '1,2024-01-01,"x\n2,2024-01-01,y\n',
        "line 32: a quote that does not end",
    ),
    "zeros": (b"a,b\n1,\0\n", "NUL characters"),
    "encoding": ("a,t\n1,größe\n".encode("latin-1"), "UTF-8.*--encoding"),
    "encoding far below": (
        ("a,t\n" + "1,x\n" * 100_000).encode() + "1,ö\n".encode("latin-1"),
        "UTF-8.*--encoding",
    ),
}


@pytest.mark.parametrize("text, match", BAD.values(), ids=BAD)
def test_text(text, match, folder):
    """The same of the whole table and of its batches."""
    (folder / "X.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=f"^X.csv: .*{match}"):
        read_table("X.csv")
    with pytest.raises(ValueError, match=f"^X.csv: .*{match}"):
        for _ in open_table("X.csv").batches():
            pass


def test_a_text_in_row_90_000(folder):
    """Of 120 000 rows: an error in the first place, in batches too, where the file goes on long."""
    lines = ["a,b"] + [f"{i},{i / 8}" for i in range(120_000)]
    lines[90_000] = "89999,unknown"
    (folder / "X.csv").write_text("\n".join(lines))
    match = "line 90001, column 'b': expected a number as in .*, got 'unknown'"
    with pytest.raises(ValueError, match=match):
        read_table("X.csv", Options(gaps=True))
    with pytest.raises(ValueError, match=match):
        for _ in open_table("X.csv", Options(gaps=True)).batches():
            pass


def test_stated_behaviour(folder):
    """A column is text if a tenth of it is; one without a value is all missing."""
    (folder / "X.csv").write_text("ticket,none\n" + "17,\n" * 8 + "A/5,\n")
    rows = read_table("X.csv", Options(gaps=True)).rows
    assert rows["ticket"].to_pylist() == ["17"] * 8 + ["A/5"]
    assert rows["none"].null_count == 9
    (folder / "one.csv").write_text("a,b\n1,2\n")
    assert read_table("one.csv").rows.tolist() == [[1, 2]]
    (folder / "far.csv").write_text("a,d\n1,0001-01-01\n2,9999-12-31\n")
    assert str(read_table("far.csv").rows["d"][1]) == "9999-12-31"


def test_arrow_files(folder):
    frame = pd.DataFrame({"a": [1.0, np.inf], "t": ["x", "y"]})
    frame.to_parquet("mixed.parquet")
    frame[["a"]].to_parquet("numbers.parquet")
    for name in ("mixed.parquet", "numbers.parquet"):
        with pytest.raises(ValueError, match=f"{name}: row 2, column 'a': .* got inf"):
            read_table(name)
    pa.parquet.write_table(pa.table({"l": [[1], [2]], "b": [b"x", b"y"]}), "nested.parquet")
    with pytest.raises(ValueError, match=r"column 'l': .* got list.*--drop"):
        read_table("nested.parquet")
    pa.parquet.write_table(pa.table({"a": pa.array([], pa.float64())}), "none.parquet")
    with pytest.raises(ValueError, match="at least one row"):
        read_table("none.parquet")
    frame[["a"]].fillna(0).replace(np.inf, np.nan).to_parquet("gap.parquet")
    with pytest.raises(ValueError, match=r"row 2, column 'a': .* got no value"):
        read_table("gap.parquet")
    contents = (folder / "mixed.parquet").read_bytes()
    for damaged in (b"", b"PAR1", contents[:-8], contents[4:]):
        (folder / "damaged.parquet").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"damaged.parquet: cannot be read"):
            read_table("damaged.parquet")
    (folder / "damaged.csv.gz").write_bytes(b"\x1f\x8b" + bytes(30))
    with pytest.raises(ValueError, match=r"damaged.csv.gz: damaged"):
        read_table("damaged.csv.gz")


def test_folders_without_tables(folder):
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: a folder without a table"):
        read_table("empty")
    (folder / "empty" / "a.csv").write_text("1\n")
    (folder / "empty" / "a.npy").write_bytes(b"")
    with pytest.raises(ValueError, match=r"one kind, got csv, npy: name them by a pattern"):
        read_table("empty")
