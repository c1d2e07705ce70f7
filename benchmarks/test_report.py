"""From workers' results to the table: medians, ratios by repeat, what failed, what is missing."""

import json

import pytest

from . import report
from .problems import Shape, load_pixels, parse_shape
from .summary import summarise

SHAPE = Shape("small", 10, 5, 4)  # 2000 operations a step


def results(*microseconds):
    return [
        {"seconds": [us * 1e-6], "n_steps": 1, "versions": {}, "details": {}} for us in microseconds
    ]


@pytest.fixture
def records():
    return {
        "small": {"aefast": results(1, 2, 4), "numpy": results(3, 4, 4), "torch": "no compiler"}
    }


def test_figures(records):
    summary = summarise(records, [SHAPE], [4e9, 5e9])
    row = summary["shapes"][0]["peers"]["numpy"]
    assert row["microseconds"] == pytest.approx(4)
    assert row["gflops"] == pytest.approx(0.5)  # 2000 operations in 4 µs
    assert row["fraction_of_peak"] == pytest.approx(0.1)  # of the highest peak
    # 3/1, 4/2, 4/4: paired, not the ratio of the medians with the pairs' order lost
    assert [row[key] for key in ("ratio", "ratio_min", "ratio_max")] == pytest.approx([2, 1, 3])
    assert row["spread"] == pytest.approx(1 / 4)


def test_an_epoch_counts_as_its_steps(records):
    records["small"]["numpy"] = [{**r, "n_steps": 4} for r in results(40)]
    row = summarise(records, [SHAPE], [])["shapes"][0]["peers"]["numpy"]
    assert row["microseconds"] == pytest.approx(10)
    assert row["fraction_of_peak"] is None


def test_failed_and_missing_rivals_are_rows(records):
    summary = summarise(records, [SHAPE], [5e9])
    for table in (report.text_table(summary, ["jax"]), report.markdown_table(summary, ["jax"])):
        assert "failed: no compiler" in table
        assert "not installed" in table.splitlines()[-1]


def test_files(records, tmp_path):
    summary = summarise(records, [SHAPE], [5e9])
    machine = {
        "processor": "a processor",
        "usable cores": 2,
        "vector extensions": ["avx2"],
        "system": "a system",
        "versions": {"numpy": "2"},
        "commit": "abc",
    }
    settings = {"measure": "step", "solver": "sgd", "threads": 2, "repeats": 3}
    content = {"settings": settings, "machine": machine, "summary": summary, "records": records}
    paths = report.write_files(tmp_path / "run", content, [], ["jax"])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in paths)
    assert json.loads((tmp_path / "run.json").read_text())["records"] == records
    assert "FMA peak 5 GFLOP/s" in (tmp_path / "run.md").read_text()


def test_shapes_are_names_or_sizes():
    assert parse_shape("mnist-20") == Shape("mnist-20", 784, 500, 20)
    assert parse_shape("3x2x1").flop_per_step == 60
    for text in ("mnist", "3x2", "3x0x1"):
        with pytest.raises(ValueError, match="shape: expected one of tiny, "):
            parse_shape(text)


def test_pixels_are_scaled_and_checked(tmp_path):
    import numpy as np

    path = tmp_path / "pixels.npz"
    np.savez(path, a=np.array([[0, 51], [102, 255]], np.uint8), b=np.array([0.0, 2.0]))
    assert load_pixels(f"{path}:a").tolist() == pytest.approx([0, 0.2, 0.4, 1])
    with pytest.raises(ValueError, match=r"expected values in \[0, 1\], got 0.0 to 2.0"):
        load_pixels(f"{path}:b")
