"""The option --stream: the same results as of a table in memory, and named refusals."""

import json

import numpy as np
import pytest

import aefast
from aefast.cli import main

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

N, D = 3000, 6
NAMES = [f"c{j}" for j in range(D)]


def make_rows():
    random = np.random.default_rng(0)
    X = random.normal(size=(N, 2)) @ random.normal(size=(2, D)) + 0.2 * random.normal(size=(N, D))
    return X.astype(np.float32)


X = make_rows()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for i, part in enumerate(np.array_split(X, 3)):
        table = pa.table(dict(zip(NAMES, part.T, strict=True)))
        parquet.write_table(table, folder / f"{i}.parquet", row_group_size=300)
    return folder


STREAM = ["--stream", "--memory", "65536"]


def test_a_fit_and_its_results(data, tmp_path, capsys):
    model, pattern = tmp_path / "model", str(data / "*.parquet")
    fit = ["fit", pattern, *STREAM, "-k", "2", "--epochs", "3", "--seed", "0", "--quiet"]
    assert main([*fit, "--out", str(model)]) == 0
    metrics = json.loads((model / "metrics.json").read_text())
    assert metrics["n_rows"] == N and metrics["loss"] < metrics["constant_loss"]
    assert len(metrics["loss_curve"]) == 3
    loaded = aefast.load(model / "model.safetensors")
    assert list(loaded.feature_names_in_) == NAMES

    for method, command in (("transform", "encode"), ("reconstruct", "reconstruct")):
        out = tmp_path / f"{command}.npy"
        argv = [command, str(model), str(data), *STREAM, "--quiet", "-o", str(out)]
        argv.remove("--quiet")
        assert main([*argv, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["n_rows"] == N
        frame = pa.table(dict(zip(NAMES, X.T, strict=True))).to_pandas()
        np.testing.assert_array_equal(np.load(out), getattr(loaded, method)(frame))

    out = tmp_path / "scores.parquet"
    assert main(["score", str(model), str(data), *STREAM, "-o", str(out)]) == 0
    scores = parquet.read_table(out)
    assert scores.schema.names == ["reconstruction_error", "log_likelihood"]
    np.testing.assert_array_equal(scores.column(1).to_numpy(), loaded.score_samples(frame))


@pytest.mark.parametrize("model", ("ppca", "fa"))
def test_factors(model, data, tmp_path):
    out = tmp_path / "model"
    argv = ["factors", str(data), "--model", model, "-k", "2", "--quiet", "--out", str(out)]
    assert main([*argv, *STREAM]) == 0
    make = {"ppca": aefast.ProbabilisticPCA, "fa": aefast.FactorAnalysis}[model]
    expected, found = make(2).fit(X), aefast.load(out / "model.safetensors")
    np.testing.assert_array_equal(found.components_, expected.components_)
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["n_rows"] == {"train": N}
    assert metrics["log_likelihood"]["train"] == pytest.approx(expected.score(X), rel=1e-12)


def test_columns_are_dropped(data, tmp_path):
    argv = ["factors", str(data), "-k", "1", "--quiet", *STREAM, "--drop", "c1,c3"]
    assert main([*argv, "--out", str(tmp_path / "model")]) == 0
    found = aefast.load(tmp_path / "model" / "model.safetensors")
    assert list(found.feature_names_in_) == ["c0", "c2", "c4", "c5"]


def test_refusals(data, tmp_path, capsys):
    model = tmp_path / "model"
    assert main(["factors", str(data), "-k", "1", "--quiet", *STREAM, "--out", str(model)]) == 0
    for argv, message in (
        (["encode", str(model), str(data), *STREAM, "-o", "codes.csv"], ".npy and .parquet"),
        (["score", str(model), str(data), *STREAM], ".npy and .parquet"),
        (["fit", str(data), "--stream", "--memory", "lots"], "memory must be a number of bytes"),
        (["fit", str(data), *STREAM, "--id", "c1"], "--id does not go with --stream"),
        (["factors", str(data), *STREAM, "--mixtures", "2"], "--mixtures does not go"),
    ):
        assert main(argv) == 2
        assert message in capsys.readouterr().err
