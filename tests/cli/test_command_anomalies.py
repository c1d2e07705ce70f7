"""`aefast anomalies`: the strangest rows of a file, with their reasons."""

import json
import os

import numpy as np
import pandas as pd
import pytest
from support.commands import refused

import aefast
from aefast.cli import main

pytest.importorskip("aefast.anomaly")
pytest.importorskip("pyarrow", reason="needs pyarrow, of the extra [io]")


@pytest.fixture
def people(folder):
    """A table of mixed columns with two strange rows, in text and in Parquet."""
    rng = np.random.default_rng(0)
    n = 300
    job = rng.choice(["clerk", "cook"], n)
    frame = pd.DataFrame(
        {
            "person": [f"p{i:03d}" for i in range(n)],
            "job": job,
            "age": rng.normal(40, 5, n).round(1),
            "pay": (np.where(job == "cook", 2500, 3200) * rng.lognormal(0, 0.05, n)).round(2),
            "hired": pd.Timestamp("2015-01-01") + pd.to_timedelta(rng.integers(0, 2000, n), "D"),
        }
    )
    frame.loc[7, "pay"], frame.loc[123, "age"], frame.loc[9, "age"] = 90_000, 140, np.nan
    frame.to_csv("people.csv", sep=";", decimal=",", index=False)
    frame.to_parquet("people.parquet")
    return frame


def test_main_job(people, capsys):
    argv = "anomalies people.csv --id person -o strange.csv --top 5 --plot a.png --model m"
    assert main(argv.split()) == 0
    out = capsys.readouterr().out
    found = pd.read_csv("strange.csv")
    assert list(found["rank"]) == [1, 2, 3, 4, 5]
    assert set(found["person"][:2]) == {"p007", "p123"}
    first = found[found["person"] == "p007"].iloc[0]
    assert first["variable_1"] == "pay" and float(first["value_1"]) == 90_000
    assert 2000 < float(first["expected_1"]) < 4000 and first["surprise_1"] > 3
    second = found[found["person"] == "p123"].iloc[0]
    assert second["variable_1"] == "age" and second["p_value"] < 0.05
    assert found["score"].is_monotonic_decreasing
    for text in ("300 rows", "threshold", "p007", "pay 90,000", "strange.csv, m, a.png"):
        assert text in out
    assert open("a.png", "rb").read(4) == b"\x89PNG"
    frame = people.drop(columns="person")
    detector = aefast.AnomalyDetector(random_state=0).fit(frame)
    order = np.argsort(detector.score_samples(frame))[:5]
    assert list(people["person"].iloc[order]) == list(found["person"])
    assert main("anomalies people.parquet --drop person --using m -o - --top 2".split()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[1] for line in lines] == ["row", "8", "124"]


def test_numbers_labels_and_json(folder, capsys):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(rng.normal(size=(200, 4)), columns=list("abcd"))
    frame.loc[:9, "a"] += 4
    frame["known"] = [1.0] * 6 + [np.nan] * 194
    frame.to_csv("X.csv", index=False)
    assert main("anomalies X.csv --labels known --contamination 0.05 --json".split()) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["n_rows"] == 200 and facts["variables"] == list("abcd")
    assert facts["n_beyond"] == 10
    assert len(set(facts["anomalies"]["row"][:10]) & set(range(1, 11))) >= 7
    np.save("X.npy", frame[list("abcd")].to_numpy())
    assert main("anomalies X.npy --top 3 -o s.parquet --quiet".split()) == 0
    found = pd.read_parquet("s.parquet")
    assert len(found) == 3 and found["variable_1"].notna().all()


@pytest.mark.parametrize(
    "options, match",
    [
        ("-o strange.npy", "ends in .csv or .parquet"),
        ("-o people.csv", "one of the inputs"),
        ("--top 0", "--top must be at least 1"),
        ("--contamination 0.7", "--contamination must be"),
        ("--labels nothing", "no column 'nothing'"),
        ("--labels job", "line 2, column 'job': expected 0, 1 or nothing as a label, got '"),
        ("--using people.csv", "people.csv is not a model file"),
        ("--columns age --drop age", "no column is left"),
    ],
)
def test_refused(options, match, people, capsys):
    assert match in refused(capsys, "anomalies", "people.csv", *options.split())


def test_an_interrupt_leaves_nothing(people, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    before = sorted(os.listdir())
    monkeypatch.setattr(aefast.AnomalyDetector, "explain", interrupted)
    assert main("anomalies people.csv -o strange.csv --model m".split()) == 130
    assert sorted(os.listdir()) == before
