"""`aefast recommend`: items for the users of a CSV file."""

import io

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


def test_refusals(choices, capsys, folder):
    (folder / "bad.csv").write_text("who,what,stars\n1,2,3\n1,2\n")
    (folder / "nan.csv").write_text("who,what,stars\n1,2,nan\n")
    (folder / "none.csv").write_text("who,what\n")
    (folder / "binary.csv").write_bytes(b"\xff\xfe\x00")
    of_bad = ["--user", "who", "--item", "what"]
    for argv, message in (
        (["recommend", "ratings.csv"], "expected one column 'user' in the header"),
        ([*RATINGS, "--at-least", "3"], "give --rating too"),
        ([*RATINGS, "-n", "0"], "--items must be at least 1"),
        ([*RATINGS, "--l2", "-1"], "l2"),
        ([*RATINGS, "-o", "ratings.csv"], "ratings.csv"),
        ([*RATINGS, "-o", "x", "--model", "x"], "different names"),
        (["recommend", "bad.csv", *of_bad], "expected 3 fields in line 3, got 2"),
        (["recommend", "nan.csv", *of_bad, "--rating", "stars"], "as rating in line 2"),
        (["recommend", "none.csv", *of_bad], "at least one choice"),
        (["recommend", "binary.csv", *of_bad], "UTF-8"),
        (["recommend", "absent.csv", *of_bad], "absent.csv"),
    ):
        assert message in refused(capsys, *argv)
