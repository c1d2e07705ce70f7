"""Tests of the benchmark of deep autoencoders: its record goes on, its tables and its picture."""

import json

import numpy as np
import pytest

from benchmarks import quality_deep


@pytest.fixture
def mnist(tmp_path):
    """A file of the form of MNIST's, with 300 images of one bright stripe each."""
    stripes = np.random.default_rng(0).integers(28, size=400)
    X = np.zeros((400, 28, 28), np.uint8)
    X[np.arange(400), stripes] = 255
    path, y = tmp_path / "mnist.npz", np.zeros(400, np.uint8)
    np.savez(path, x_train=X[:300], y_train=y[:300], x_test=X[300:], y_test=y[300:])
    return path


def test_runs_are_made_once(mnist, tmp_path, capsys):
    record, out, picture = (tmp_path / name for name in ("runs.jsonl", "out.md", "out.png"))
    given = ["--mnist", str(mnist), "--record", str(record), "--networks", "single"]
    given += ["--methods", "aefast, Adam", "--seconds", "1e-6", "--threads", "1"]
    quality_deep.main([*given, "--out", str(out), "--picture", str(picture)])
    lines = [json.loads(line) for line in record.read_text().splitlines()]
    assert "machine" in lines[0] and len(lines) == 2
    [row] = lines[1]["curve"]  # the seconds are over after the first epoch
    assert row["epoch"] == 1 and row["seconds"] > 0
    assert 0 < row["training"] < 27 and 0 < row["test"] < 27  # the means' error is 28 (1 - 1/28)
    assert "### 784-500: seconds to test errors" in out.read_text()
    assert picture.read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    quality_deep.main(given)  # the record has the run
    assert "1e-06 s" not in capsys.readouterr().out
    assert len(record.read_text().splitlines()) == 2


def test_levels_are_those_of_whole_epochs():
    curve = [
        {"seconds": 1.0, "test": 9.0},
        {"seconds": 2.0, "test": 7.9},
        {"seconds": 3.0, "test": 8.2},
    ]
    assert quality_deep.seconds_to(curve, "test", 8) == 2.0
    assert quality_deep.seconds_to(curve, "test", 7) is None


def test_without_images_or_record(capsys):
    with pytest.raises(SystemExit):
        quality_deep.main([])
    assert "give --mnist FILE" in capsys.readouterr().err
