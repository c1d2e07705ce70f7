"""Tests of tables and files: medians, ratios by repeat, failed and missing rivals."""

import pytest

from benchmarks.harness import records, report
from benchmarks.harness.problems import Shape, load_pixels, parse_shape
from benchmarks.harness.summary import summarise

WHERE = {
    "measure": "step",
    "solver": "sgd",
    "threads": 2,
    "precision": "float32",
    "data": None,
    "shape": "10x5x4",  # 2000 operations a step
    "commit": "abc",
}
MACHINE = {
    "processor": "a processor",
    "usable cores": 2,
    "vector extensions": ["avx2"],
    "system": "a system",
    "versions": {"numpy": "2"},
    "commit": "abc",
}


def results(peer, *microseconds, **where):
    return [
        {
            **WHERE,
            "peer": peer,
            "turn": f"now {i}",
            "result": {"seconds": [us * 1e-6], "n_steps": 1, "versions": {}, "details": {}},
        }
        | where
        for i, us in enumerate(microseconds)
    ]


def peaks(*flops, **where):
    return [
        {**WHERE, "peer": "peak", "turn": "now 0", "result": {"flops": f}, **where} for f in flops
    ]


@pytest.fixture
def found():
    failed = {**WHERE, "peer": "torch", "turn": "now 0", "error": "no compiler"}
    return [*results("aefast", 1, 2, 4), *results("numpy", 3, 4, 4), failed, *peaks(4e9, 5e9)]


def test_figures(found):
    (table,) = summarise(found)
    row = table["shapes"][0]["peers"]["numpy"]
    assert row["microseconds"] == pytest.approx(4)
    assert row["gflops"] == pytest.approx(0.5)  # 2000 operations in 4 µs
    assert row["fraction_of_peak"] == pytest.approx(0.1)  # fraction of the highest peak
    # The ratios of the pairs are 3/1, 4/2, 4/4.
    assert [row[key] for key in ("ratio", "ratio_min", "ratio_max")] == pytest.approx([2, 1, 3])
    assert row["spread"] == pytest.approx(1 / 4)
    # The lower quartiles of 1, 2, 4 and of 3, 4, 4 are 1.5 and 3.5.
    quick = [row[f"quick_{key}"] for key in ("microseconds", "fraction", "ratio")]
    assert quick == pytest.approx([3.5, 4 / 35, 7 / 3])


def test_a_rival_is_paired_with_its_own_turn(found):
    later = results("numpy", 100)[0] | {"turn": "later 0"}
    row = summarise([*found, later])[0]["shapes"][0]["peers"]["numpy"]
    assert row["n_repeats"] == 4 and row["ratio_max"] == pytest.approx(3)


def test_settings_have_tables_and_peaks_of_their_own(found):
    other = [*results("aefast", 8, threads=1), *peaks(2e9, threads=1)]
    two, one = summarise([*found, *other])
    assert (two["threads"], one["threads"]) == (2, 1)
    assert one["shapes"][0]["peers"]["aefast"]["fraction_of_peak"] == pytest.approx(0.125)
    assert two["peak_gflops"] == pytest.approx(5)


def test_an_epoch_counts_as_its_steps():
    epoch = results("numpy", 40)[0]
    epoch["result"]["n_steps"] = 4
    row = summarise([epoch])[0]["shapes"][0]["peers"]["numpy"]
    assert row["microseconds"] == pytest.approx(10)
    assert row["fraction_of_peak"] is None


def test_failed_and_missing_rivals_are_rows(found):
    (table,) = summarise(found)
    for shown in (report.text_table(table, ["jax"]), report.markdown_table(table, ["jax"])):
        assert "failed: no compiler" in shown
        assert "not installed" in shown.splitlines()[-1]
    assert report.failures([table]) == ["10x5x4, sgd, torch: failed: no compiler"]


def test_a_record_is_made_in_pieces(found, tmp_path):
    path = tmp_path / "record.jsonl"
    records.append(path, {"session": "now", "machine": MACHINE})
    for record in [*results("aefast", 1, commit="older"), *found]:
        records.append(path, record)
    chosen, machines, n_ignored = records.read(path)
    assert chosen == found and machines == [MACHINE] and n_ignored == 1


def test_files(found, tmp_path):
    tables = summarise([*found, *results("aefast", 8, threads=1), *peaks(2e9, threads=1)])
    paths = report.write_files(tmp_path, tables, MACHINE, [], ["jax"])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in paths)
    text = (tmp_path / "tables.md").read_text()
    assert "FMA peak 5 GFLOP/s" in text and "1 thread, FMA peak 2 GFLOP/s" in text
    assert [path.name for path in paths] == ["tables.md", "steps-sgd.png"]


def test_the_page_changes_between_its_marks_alone(found, tmp_path):
    (tmp_path / "docs").mkdir()
    page = tmp_path / "docs" / "performance.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.write_page(tmp_path, summarise(found), MACHINE)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    shape = "10 × 5".replace(" ", "\N{NO-BREAK SPACE}")
    assert f"| {shape}, 4 | 2 | 20 % (27 %) | 2.00 × |  |" in text
    page.write_text("no marks")
    with pytest.raises(ValueError, match="expected one"):
        report.write_page(tmp_path, summarise(found), MACHINE)


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
