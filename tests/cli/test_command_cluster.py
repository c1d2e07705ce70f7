"""`aefast factors` and `fit` with --dask and --workers: files as partitions of a cluster."""

# ruff: noqa: E402  the imports follow the check for Dask

import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

distributed = pytest.importorskip("distributed", reason="needs dask: pip install 'aefast[dask]'")
pytest.importorskip("pyarrow")
import pandas as pd
from support.dask_tasks import make_rows

import aefast
import aefast.dask
from aefast.cli import main

NAMES = list("abcdef")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The pattern of four Parquet files."""
    folder = tmp_path_factory.mktemp("files")
    for number, rows in enumerate(np.array_split(make_rows(), 4)):
        pd.DataFrame(rows, columns=NAMES).to_parquet(folder / f"part-{number}.parquet")
    return str(folder / "*.parquet")


@pytest.fixture(scope="module")
def address():
    """The address of a scheduler with two workers."""
    options = {"threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": 50}
    with distributed.LocalCluster(2, processes=True, **options) as cluster:
        yield cluster.scheduler_address


def factors(*words):
    return main(["factors", *map(str, words), "--no-plots", "--quiet"])


def test_files_are_fitted_to_on_a_cluster(files, address, folder):
    assert factors(files, "--model", "fa", "-k", 2, "--dask", address, "--out", "there") == 0
    assert factors(files, "--model", "fa", "-k", 2, "--test-fraction", 0, "--out", "here") == 0
    there, here = (aefast.load(f"{out}/model.safetensors") for out in ("there", "here"))
    np.testing.assert_allclose(there.components_, here.components_, rtol=1e-7, atol=1e-9)
    assert list(there.feature_names_in_) == NAMES
    mine, its = (json.loads(Path(out, "metrics.json").read_text()) for out in ("there", "here"))
    assert mine["n_rows"] == its["n_rows"] == {"train": 1000}
    assert mine["partitions"]["n_rows"] == [250] * 4  # what the bits follow from
    assert aefast.build_info()["isa"] in mine["partitions"]["arithmetic"]
    for name in ("aic", "bic"):
        assert mine[name] == pytest.approx(its[name], rel=1e-9)
    assert mine["log_likelihood"]["train"] == pytest.approx(its["log_likelihood"]["train"])


def test_a_mixture_has_checkpoints_there(files, address, folder):
    options = (files, "--mixtures", 2, "-k", 1, "--dask", address, "--checkpoint", "c.safetensors")
    for out in ("first", "again"):
        assert factors(*options, "--out", out) == 0
    first, again = (aefast.load(f"{out}/model.safetensors") for out in ("first", "again"))
    np.testing.assert_array_equal(first.components_, again.components_)
    assert first.checkpoint is None and Path("c.safetensors").exists()


@pytest.mark.extra
def test_processes_of_this_machine(files, folder):
    options = (files, "--mixtures", 2, "-k", 2)
    for n in (1, 2):
        assert factors(*options, "--workers", n, "--out", f"of-{n}") == 0
    one, two = (aefast.load(f"of-{n}/model.safetensors") for n in (1, 2))
    np.testing.assert_array_equal(one.components_, two.components_)


def test_errors_name_the_file(files, address, folder, capsys):
    frame = pd.DataFrame(make_rows(50), columns=NAMES)
    frame.to_parquet("a.parquet")
    broken = frame.copy()
    broken.loc[7, "a"] = np.nan
    broken.to_parquet("b.parquet")
    assert factors("*.parquet", "--dask", address) == 2
    assert "b.parquet: Input X contains NaN at row 7, column 'a'" in capsys.readouterr().err
    frame.assign(t="x").to_parquet("b.parquet")
    assert factors("*.parquet", "--dask", address) == 2
    assert "b.parquet" in capsys.readouterr().err
    frame[["a", "b"]].to_parquet("b.parquet")
    assert factors("*.parquet", "--dask", address) == 2
    assert "partition 0 has 6, partition 1 has 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words, message",
    [
        (["digits", "--workers", "2"], "reads files by their names"),
        (["*.parquet", "--workers", "0"], "--workers must be at least 1"),
        (["*.parquet", "--workers", "2", "--covariance", "10"], "--covariance is of a table"),
        (["*.parquet", "--workers", "2", "--test-fraction", "0.2"], "--test-fraction is of a"),
        (["*.parquet", "--workers", "2", "--checkpoint", "c"], "--checkpoint is of iterations"),
        (["none/*.parquet", "--workers", "2"], "no file matches"),
        (["x.parquet", "--dask", "tcp://127.0.0.1:1", "--workers", "2"], "not allowed with"),
    ],
)
def test_options_that_do_not_go_together(words, message, folder, capsys):
    pd.DataFrame(make_rows(9), columns=NAMES).to_parquet("x.parquet")
    with pytest.raises(SystemExit) if "--dask" in words else nullcontext():
        assert factors(*words) == 2
    assert message in capsys.readouterr().err


# ---- aefast fit ----


def fit(*words):
    return main(["fit", *map(str, words), "--seed", "0", "--quiet"])


def test_an_autoencoder_is_trained_on_files(files, address, folder):
    options = (files, "-k", 3, "--epochs", 4, "--batch-size", 250)
    assert fit(*options, "--dask", address, "--out", "there") in (0, 3)
    here = aefast.dask.fit(
        aefast.Autoencoder(3, max_epochs=4, batch_size=250, random_state=0),
        np.array_split(make_rows(), 4),
    )
    there = aefast.load("there/model.safetensors")
    np.testing.assert_array_equal(there.components_, here.components_)
    assert list(there.feature_names_in_) == NAMES
    metrics = json.loads(Path("there", "metrics.json").read_text())
    assert metrics["n_rows"] == {"train": 1000}
    assert (metrics["method"], metrics["n_partitions"]) == ("rounds", 4)
    assert metrics["loss"]["train"]["after"] == here.fit_report_["loss"]


@pytest.mark.extra
def test_averages_of_a_deep_autoencoder(files, folder, capsys):
    options = (files, "--layers", "4,2", "--epochs", 2, "--pretrain-epochs", 1)
    options += ("--method", "averaging", "--local-steps", 2, "--workers", 2)
    assert main(["fit", *map(str, options), "--out", "of-two"]) in (0, 3)
    assert "in 4 files, averaging" in capsys.readouterr().out
    assert aefast.load("of-two/model.safetensors").n_epochs_ == 2


@pytest.mark.parametrize(
    "words, message",
    [
        (["--workers", "2", "--test-fraction", "0.2"], "--test-fraction is of a table in memory"),
        (["--workers", "2", "--validation", "x.parquet"], "--validation is of a table in memory"),
        (["--method", "rounds"], "--method is of files on a cluster"),
        (["--local-steps", "2"], "--local-steps is of files on a cluster"),
    ],
)
def test_options_of_training_that_do_not_go_together(words, message, folder, capsys):
    pd.DataFrame(make_rows(9), columns=NAMES).to_parquet("x.parquet")
    assert fit("x.parquet", *words) == 2
    assert message in capsys.readouterr().err
