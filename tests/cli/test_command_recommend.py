"""`aefast recommend`: items for the users of a CSV file."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from support.commands import refused

import aefast
from aefast import ItemAutoencoder
from aefast.cli import main


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def choices(folder):
    """Choices of 50 users among 9 items with names in ratings.csv, one line of them twice."""
    rng = np.random.default_rng(0)
    X = (rng.random((50, 9)) < 0.3) * rng.integers(1, 6, (50, 9))
    X[:, 0] = 5
    users, items = np.nonzero(X)
    frame = pd.DataFrame(
        {"who": users, "what": [f"film, {j}" for j in items], "stars": X[users, items]}
    )
    pd.concat([frame, frame[:1]]).to_csv("ratings.csv", index=False)
    return X


RATINGS = ["recommend", "ratings.csv", "--user", "who", "--item", "what"]


def written(name, n_items=9):
    """Return the items of a file as numbers, by user and rank, and its frame."""
    frame = pd.read_csv(name)
    items = np.full((50, n_items), -1)
    numbers = frame["what"].str.removeprefix("film, ").astype(int)
    items[frame["who"], frame["rank"] - 1] = numbers
    return items, frame


@pytest.mark.parametrize(
    ("extra", "strengths", "options"),
    [
        ([], lambda X: X > 0, {}),
        (["--rating", "stars", "--at-least", "3"], lambda X: X >= 3, {}),
        (["--rating", "stars", "--l2", "7"], lambda X: X, {"l2": 7.0}),
        (["-k", "3"], lambda X: X > 0, {"n_components": 3}),
    ],
    ids=["pairs", "threshold", "strengths", "low rank"],
)
def test_main_job(choices, extra, strengths, options, capsys):
    assert main([*RATINGS, "-o", "top.csv", "-n", "4", *extra]) == 0
    X = strengths(choices).astype(float)
    if "--at-least" not in extra and "--rating" in extra:
        X[0, 0] *= 2  # the repeated line
    order = pd.unique(pd.Series(np.argwhere(X)[:, 1]))  # of items in the file
    model = ItemAutoencoder(**{"l2": 100.0} | options).fit(sparse.csr_array(X[:, order]))
    items, scores = model.recommend(X[:, order], 4)
    found, frame = written("top.csv")
    expected = np.where(items >= 0, order[items], -1)
    kept = X.any(axis=1)
    np.testing.assert_array_equal(found[kept, :4], expected[kept])
    np.testing.assert_allclose(frame["score"], scores[kept][items[kept] >= 0], rtol=1e-4, atol=1e-6)
    assert list(frame.columns) == ["who", "what", "rank", "score"]
    assert f"{int((X > 0).sum()):,} choices of 9 items by 50 users" in capsys.readouterr().out


def test_standard_output_model_and_seen(choices, capsys):
    assert main([*RATINGS, "--seen", "-n", "20", "--model", "m"]) == 0
    printed = capsys.readouterr().out
    assert len(pd.read_csv(io.StringIO(printed))) == 50 * 9
    model = aefast.load("m")
    assert sorted(model.feature_names_in_) == [f"film, {j}" for j in range(9)]


def test_every_kind_of_file_gives_the_same(choices, folder, capsys, monkeypatch):
    """Semicolons, Parquet, parts in a folder, standard input, and no names of columns."""
    frame = pd.read_csv("ratings.csv")
    assert main([*RATINGS, "--rating", "stars", "-o", "top.csv"]) == 0
    written = (folder / "top.csv").read_text()
    frame.to_csv("decimal.csv", index=False, sep=";", decimal=",")
    frame.to_parquet("typed.parquet")
    frame.astype({"what": "category"}).to_parquet("levels.parquet")
    (folder / "parts").mkdir()
    frame[:40].to_csv("parts/1.csv", index=False)
    frame[40:].to_csv("parts/2.csv", index=False)
    frame.to_csv("bare.csv", index=False, header=False)
    named = ["--user", "who", "--item", "what", "--rating", "stars"]
    numbered = ["--user", "1", "--item", "2", "--rating", "3", "--no-header"]
    for name, options in (
        ("decimal.csv", named),
        ("typed.parquet", named),
        ("levels.parquet", named),
        ("parts", named),
        ("bare.csv", numbered),
    ):
        assert main(["recommend", name, *options, "-o", "again.csv"]) == 0
        again = (folder / "again.csv").read_text().split("\n", 1)[1]
        assert again == written.split("\n", 1)[1], name
    piped = io.TextIOWrapper(io.BytesIO((folder / "ratings.csv").read_bytes()))
    monkeypatch.setattr("sys.stdin", piped)
    capsys.readouterr()
    assert main(["recommend", "-", *named, "-o", "again.csv"]) == 0
    assert (folder / "again.csv").read_text() == written


def test_names_are_not_numbers(folder):
    """Leading zeros and integers beyond 2^53 stay what they are."""
    (folder / "a.csv").write_text("user,item\n007,x\n7,x\n7,y\n")
    assert main(["recommend", "a.csv", "--seen", "-o", "top.csv"]) == 0
    assert set(pd.read_csv("top.csv", dtype=str)["user"]) == {"007", "7"}
    users = [2**60, 2**60 + 1, 2**60 + 1]
    pd.DataFrame({"user": users, "item": [1, 1, 2]}).to_parquet("b.parquet")
    assert main(["recommend", "b.parquet", "--seen", "-o", "top.csv"]) == 0
    assert set(pd.read_csv("top.csv")["user"]) == set(users)


def test_numbers_without_pyarrow(choices, folder, monkeypatch):
    frame = pd.read_csv("ratings.csv")
    frame["what"] = frame["what"].str.removeprefix("film, ").astype(int) + 5
    frame.to_csv("numbers.csv", index=False)
    given = ["recommend", "numbers.csv", *RATINGS[2:], "-o"]
    assert main([*given, "top.csv"]) == 0
    monkeypatch.setattr("aefast.cli.recommend.has_arrow", lambda: False)
    assert main([*given, "again.csv"]) == 0
    assert (folder / "again.csv").read_text() == (folder / "top.csv").read_text()


def test_refusals(choices, capsys, folder):
    (folder / "bad.csv").write_text("who,what,stars\n1,2,3\n1,2\n")
    (folder / "nan.csv").write_text("who,what,stars\n1,2,nan\n")
    (folder / "none.csv").write_text("who,what\n")
    (folder / "gap.csv").write_text("who,what\n1,2\n1,\n")
    (folder / "binary.csv").write_bytes(b"\xff\xfe\x00")
    of_bad = ["--user", "who", "--item", "what"]
    for argv, message in (
        (["recommend", "ratings.csv"], "no column 'user'; its columns: 'who', 'what', 'stars'"),
        ([*RATINGS, "--at-least", "3"], "give --rating too"),
        ([*RATINGS, "-n", "0"], "--items must be at least 1"),
        ([*RATINGS, "--l2", "-1"], "l2"),
        ([*RATINGS, "-o", "ratings.csv"], "ratings.csv"),
        ([*RATINGS, "-o", "x", "--model", "x"], "different names"),
        (["recommend", "bad.csv", *of_bad], "line 3: expected 3 columns as in the header, got 2"),
        (
            ["recommend", "nan.csv", *of_bad, "--rating", "stars"],
            "line 2, column 'stars': expected a number as rating",
        ),
        (["recommend", "none.csv", *of_bad], "got a header alone"),
        ([*RATINGS, "--rating", "stars", "--at-least", "9"], "at least one choice"),
        (["recommend", "gap.csv", *of_bad], "line 3, column 'what': expected a name, got none"),
        ([*RATINGS, "--rating", "what"], "expected different columns"),
        (["recommend", "binary.csv", *of_bad], "binary.csv"),
        (["recommend", "absent.csv", *of_bad], "absent.csv"),
    ):
        assert message in refused(capsys, *argv)


def test_checkpoints_of_a_command(choices, capsys):
    argv = [*RATINGS, "-o", "top.csv", "-k", "3", "--quiet"]
    stored = ["--checkpoint", "stored", "--checkpoint-every", "epoch"]
    assert main([*argv, *stored]) == 0
    first = Path("top.csv").read_bytes()
    assert main([*argv, *stored, "--resume"]) == 0
    assert Path("top.csv").read_bytes() == first
    assert "with n_components=3" in refused(capsys, *argv, *stored, "-k", "4")
