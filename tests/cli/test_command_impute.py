"""`aefast impute`: gaps of files filled, with deviations and draws."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_wine
from support.commands import refused

import aefast
from aefast import Imputer
from aefast.cli import main


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def wine(folder):
    """A table with names, one with a comma, and gaps; wine.csv has empty fields for them."""
    frame = load_wine(as_frame=True).data.iloc[:, :5].rename(columns={"ash": "ash, total"})
    frame = frame.mask(np.random.default_rng(0).random(frame.shape) < 0.2)
    frame.to_csv("wine.csv", index=False)
    return frame


def test_main_job(wine, capsys):
    assert main(["impute", "wine.csv", "-o", "full.csv", "--std", "std.csv"]) == 0
    imputer = Imputer().fit(wine.to_numpy())
    for name, expected in (("full", imputer.transform), ("std", imputer.transform_std)):
        written = pd.read_csv(f"{name}.csv", float_precision="round_trip")
        assert list(written.columns) == list(wine.columns)
        np.testing.assert_array_equal(written, expected(wine.to_numpy()))
    out = capsys.readouterr().out
    n_gaps = int(wine.isna().to_numpy().sum())
    for text in ("178 rows of 5 columns", f"{n_gaps} gaps", "full.csv, std.csv", "component"):
        assert text in out


def test_observed_fields_stay_as_they_are(folder):
    (folder / "t.csv").write_text("a,b\n1,0.1\n2,\n300,12.5\n,1e-07\n5,7\n")
    assert main(["impute", "t.csv", "-o", "full.csv", "--quiet"]) == 0
    before, after = ((folder / n).read_text().splitlines() for n in ("t.csv", "full.csv"))
    assert [line for line in before if "," not in (line[0], line[-1])] == [
        line for old, line in zip(before, after, strict=True) if "," not in (old[0], old[-1])
    ]
    assert after[2].startswith("2,") and after[4].endswith(",1e-07")


def test_draws_model_and_options(wine, capsys):
    argv = "impute wine.csv -o full.npy --draws 2 --method fa -k 2 --seed 7 --model m --quiet"
    assert main(argv.split()) == 0
    assert capsys.readouterr().out == ""
    imputer = Imputer("fa", n_components=2, n_draws=2, random_state=7).fit(wine.to_numpy())
    drawn = imputer.sample(wine.to_numpy(), random_state=7)
    for number in (1, 2):
        np.testing.assert_array_equal(np.load(f"full-{number}.npy"), drawn[number - 1])
    loaded = aefast.load("m")
    assert list(loaded.feature_names_in_) == list(wine.columns)
    np.testing.assert_array_equal(np.load("full.npy"), loaded.transform(wine))


def test_empty_columns_are_left_out_by_name(wine, capsys):
    wine["ash, total"] = np.nan
    wine.to_csv("wine.csv", index=False)
    assert main(["impute", "wine.csv", "-o", "full.csv"]) == 0
    assert "left out: 'ash, total'" in capsys.readouterr().err
    assert list(pd.read_csv("full.csv").columns) == [c for c in wine.columns if c != "ash, total"]


def test_arrays_keep_their_dimensions(folder):
    X = np.random.default_rng(0).normal(size=(40, 2, 3)).astype(np.float32)
    X[::5, 1, 1] = np.nan
    np.savez("X.npz", images=X)
    assert main(["impute", "X.npz:images", "-o", "full.npy", "--quiet"]) == 0
    full = np.load("full.npy")
    assert full.shape == X.shape and full.dtype == np.float32 and np.isfinite(full).all()
    np.save("bytes.npy", np.arange(12, dtype=np.uint8).reshape(4, 3))
    assert main(["impute", "bytes.npy", "-o", "same.csv", "--quiet"]) == 0
    assert (folder / "same.csv").read_text() == "0,1,2\n3,4,5\n6,7,8\n9,10,11\n"


@pytest.mark.parametrize(
    "options, match",
    [
        ("-o full.xlsx", "ends in .csv, .parquet or .npy"),
        ("-o full", "ends in .csv"),
        ("-o wine.csv", "one of the inputs"),
        ("-o full.csv --std full.csv", "different names"),
        ("-o full.csv --draws -1", "--draws must be at least 0"),
        ("-o full.csv -k 0", "error: -k must be"),
        ("-o nowhere/full.csv", "nowhere"),
    ],
)
def test_refused(options, match, wine, capsys):
    assert match in refused(capsys, "impute", "wine.csv", *options.split())


@pytest.mark.parametrize(
    "text, match",
    [
        ("a,b\n1,2\n3,inf\n", "line 3, column 'b'"),
        ("a,b\n" + "1,2\n" * 20 + "3,x\n", "line 22, column 'b': expected a number"),
        ("a,b\n1,2\n3\n", "line 3: expected 2 columns"),
        ("a,b\n,\n,nan\n", "no observed entry"),
        ("a,b\n", "at least one row"),
        ("", "row"),
        ("a,b\n1,2\n3,1e999\n", "line 3, column 'b'"),
    ],
)
def test_bad_files_are_refused(text, match, folder, capsys):
    (folder / "bad.csv").write_text(text)
    assert match in refused(capsys, "impute", "bad.csv", "-o", "full.csv")
    assert os.listdir() == ["bad.csv"]


def test_mixed_tables(folder, capsys):
    """A missing text becomes the most probable one; names of rows and other fields stay."""
    pytest.importorskip("pyarrow", reason="needs pyarrow, of the extra [io]")
    rng = np.random.default_rng(0)
    kind = rng.choice(["cat", "dog"], 200)
    weight = (np.where(kind == "cat", 4, 20) * rng.lognormal(0, 0.1, 200)).round(2)
    frame = pd.DataFrame({"name": [f"n{i}" for i in range(200)], "kind": kind, "weight": weight})
    truth = frame.copy()
    frame.loc[:19, "kind"], frame.loc[20:39, "weight"] = None, np.nan
    frame.to_csv("pets.csv", sep=";", decimal=",", index=False)
    assert main("impute pets.csv --id name -o full.csv".split()) == 0
    assert "40 gaps" in capsys.readouterr().out
    full = pd.read_csv("full.csv")
    assert list(full.columns) == ["name", "kind", "weight"] and full.notna().all(axis=None)
    assert (full["kind"] == truth["kind"]).mean() > 0.99
    kept = frame.notna()
    assert (full.where(kept) == frame.where(kept)).where(kept, True).all(axis=None)
    error = refused(capsys, "impute", "pets.csv", "--id", "name", "-o", "full.npy")
    assert "ends in .csv or .parquet" in error


def test_checkpoints_of_a_command(wine, capsys):
    argv = ["impute", "wine.csv", "-o", "full.csv", "-k", "1", "--model", "model", "--quiet"]
    stored = ["--checkpoint", "stored", "--checkpoint-every", "epoch"]
    assert main([*argv, *stored]) == 0
    written = Path("full.csv").read_bytes()
    assert main([*argv, *stored, "--resume"]) == 0
    assert Path("full.csv").read_bytes() == written
    assert aefast.load("model").checkpoint is None
    assert "with n_components=1" in refused(capsys, *argv[:5], "2", *argv[6:], *stored)
    assert "say from which file" in refused(capsys, *argv, "--resume")
