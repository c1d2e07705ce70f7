"""Tests of the benchmark of what fits learn: its tables, and a run of its quickest measures."""

import numpy as np
import pytest

from benchmarks.quality import rivals, tables
from benchmarks.quality.__main__ import main


def test_tables_of_a_folder(tmp_path):
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(3, 5, (40, 2)), np.ones(40)])
    np.savez(tmp_path / "rows.npz", X=X, y=np.arange(40) == 3)
    np.savez(tmp_path / "other.npz", Z=X)
    [table] = tables.labelled_tables(tmp_path)
    assert table.name == "rows" and table.y.sum() == 1
    assert table.X.shape == (40, 2)  # without the constant column
    np.testing.assert_allclose(table.X.std(axis=0), 1)
    assert tables.labelled_tables(None) == []


def test_rivals_reconstruct_and_encode():
    X = tables.standardised(np.random.default_rng(0).normal(size=(60, 5)))
    for name, fit in (rivals.linear_rivals() | {"aefast": rivals.fit_aefast}).items():
        fitted = fit(X, 2)
        assert fitted.encode(X).shape == (60, 2), name
        # every method with two components is between the rows themselves and their means
        assert 0.1 < rivals.squared(X, fitted.reconstruct(X)) < rivals.squared(X, 0 * X), name


def test_a_run_writes_its_tables(tmp_path, capsys):
    main(["training", "--quick", "--out", str(tmp_path / "quality.md")])
    text = (tmp_path / "quality.md").read_text()
    assert text.strip() == capsys.readouterr().out.strip()
    assert "| breast cancer | 569 x 30 | 15.00 |" in text


def test_an_unknown_measure(capsys):
    with pytest.raises(SystemExit):
        main(["training", "luck"])
    assert "unknown measure 'luck'" in capsys.readouterr().err
