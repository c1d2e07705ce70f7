"""The command with tables of mixed columns, and what all commands have: JSON, rows by name."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from support.commands import refused

import aefast
from aefast.cli import COMMANDS, main

pytest.importorskip("pyarrow", reason="needs pyarrow, of the extra [io]")


@pytest.fixture
def people(folder):
    rng = np.random.default_rng(0)
    n = 200
    job = rng.choice(["clerk", "cook", "pilot"], n)
    frame = pd.DataFrame(
        {
            "person": [f"p{i:03d}" for i in range(n)],
            "job": job,
            "zip": rng.choice([10_115, 80_331, 20_095], n),
            "pay": np.select([job == "cook", job == "clerk"], [2500, 3200], 9000)
            * rng.lognormal(0, 0.1, n),
            "since": pd.Timestamp("2015-01-01") + pd.to_timedelta(rng.integers(0, 2000, n), "D"),
            "remote": rng.random(n) < 0.3,
        }
    )
    frame.loc[4, "pay"], frame.loc[5, "job"] = np.nan, None
    frame.to_csv("people.csv", sep=";", decimal=",", index=False)
    frame.to_parquet("people.parquet", index=False)
    return frame


def test_fit_and_its_use(people, capsys):
    """From a semicolon CSV; the model takes the same rows from Parquet, columns by name."""
    argv = "fit people.csv --id person --role zip=category -k 3 --epochs 20 --out m"
    assert main(argv.split()) in (0, 3)
    captured = capsys.readouterr()
    assert "180 rows of " in captured.out and "filters.png" in captured.out
    model = aefast.load("m/model.safetensors")
    assert isinstance(model, aefast.TableAutoencoder)
    assert model.roles_["zip"] == "category" and model.roles_["remote"] == "binary"
    metrics = json.loads(open("m/metrics.json").read())
    assert len(metrics["held_out_loss_curve"]) == metrics["n_epochs"]
    frame = people.drop(columns="person").assign(zip=people["zip"].astype(str))
    for name, of in (("people.csv", "csv"), ("people.parquet", "parquet")):
        assert main(["encode", "m", name, "--id", "person", "-o", f"codes-{of}.csv"]) in (0, 2)
    codes = pd.read_csv("codes-csv.csv")
    assert list(codes["person"]) == list(people["person"])
    np.testing.assert_allclose(codes.iloc[:, 1:], model.transform(frame), rtol=1e-12)
    assert main("score m people.csv --id person --per-variable -o s.parquet".split()) == 0
    scores = pd.read_parquet("s.parquet")
    nats = model.score_samples(frame)
    np.testing.assert_allclose(scores["log_likelihood"], nats, rtol=1e-12)
    parts = scores.filter(like="log_likelihood of").sum(axis=1)
    np.testing.assert_allclose(parts, nats, rtol=1e-9)
    assert main("reconstruct m people.csv -o r.csv".split()) == 0
    assert list(pd.read_csv("r.csv").columns) == list(frame.columns)
    assert "does not know are left out: 'person'" in capsys.readouterr().err
    people.drop(columns="pay").to_csv("less.csv", sep=";", index=False)
    assert "missing: 'pay'" in refused(capsys, "score", "m", "less.csv", "-o", "x.csv")


def test_what_mixed_tables_do_not_have(people, capsys):
    assert "roles of its columns" in refused(
        capsys, "fit", "people.csv", "--id", "person", "--output", "bernoulli", "--out", "m"
    )
    error = refused(capsys, "factors", "people.csv", "--out", "f")
    assert "people.csv: line 2, column 'person': expected a finite number" in error
    assert "--drop 'person' leaves the column out" in error
    with pytest.raises(SystemExit):
        main("fit people.csv --role zip=postcode".split())
    assert "expected NAME=ROLE with a role among real, count" in capsys.readouterr().err


def test_standard_input_and_output(people):
    """A pipe of commands."""
    command = [sys.executable, "-m", "aefast"]
    with open("people.csv", "rb") as file:
        done = subprocess.run(
            [*command, "fit", "-", "--columns", "pay,zip", "--missing", "mask", "-k", "1",
             "--epochs", "2", "--no-plots", "--quiet", "--out", "m"],
            stdin=file, capture_output=True, text=True,
        )  # fmt: skip
    assert done.returncode in (0, 3), done.stderr
    with open("people.csv", "rb") as file:
        done = subprocess.run(
            [*command, "score", "m", "-", "--id", "person"],
            stdin=file,
            capture_output=True,
            text=True,
        )
    lines = done.stdout.splitlines()
    assert lines[0] == "person,reconstruction_error,log_likelihood" and len(lines) == 201
    assert "columns that the model does not know are left out: 'job'" in done.stderr


# ---- JSON ----

JSON = {
    "fit": "fit X.csv -k 2 --epochs 2 --no-plots --out m2",
    "encode": "encode m X.csv -o H.csv",
    "reconstruct": "reconstruct m X.csv -o -",
    "score": "score m X.csv",
    "walk": "walk m X.csv -o w.npy --steps 2",
    "factors": "factors X.csv -k 1 --no-plots --out f",
    "sample": "sample f -n 3",
    "impute": "impute X.csv -o full.csv",
    "anomalies": "anomalies X.csv",
    "dictionary": "dictionary X.csv -k 4 --epochs 1 --no-plots --out d",
    "denoise": "denoise x.png --noise 20 -o y.png",
    "report": "report m X.csv -o report.html",
    "info": "info m",
    "export": "export m --to c -o m.h",
    "recommend": "recommend ratings.csv -o top.csv",
}


def test_json_of_every_command(folder, capsys):
    """Standard output is one object, without NaN."""
    from PIL import Image

    assert set(JSON) == set(COMMANDS)
    X = np.random.default_rng(0).normal(size=(60, 4)) @ np.diag([1, 2, 3, 0.1])
    pd.DataFrame(X, columns=list("abcd")).to_csv("X.csv", index=False)
    assert main("fit X.csv -k 2 --epochs 2 --no-plots --quiet --out m".split()) in (0, 3)
    Image.fromarray(np.full((16, 16), 99, np.uint8)).save("x.png")
    (folder / "ratings.csv").write_text("user,item\nu,a\nu,b\nv,a\n")
    capsys.readouterr()

    def no_constant(name):
        raise AssertionError(name)

    for name, line in JSON.items():
        if name == "anomalies" and not hasattr(aefast, "AnomalyDetector"):
            continue
        assert main([*line.split(), "--json"]) in (0, 3), name
        facts = json.loads(capsys.readouterr().out, parse_constant=no_constant)
        assert isinstance(facts, dict) and facts, name
    assert main("score m X.csv --json".split()) == 0
    scores = json.loads(capsys.readouterr().out)
    ae = aefast.load("m/model.safetensors")
    assert scores["log_likelihood"] == ae.score_samples(X).tolist()
