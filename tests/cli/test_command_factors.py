"""`aefast factors`, `aefast sample`, and the other commands given a factor model."""

import io
import json
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits, load_wine
from support.commands import refused

import aefast
from aefast import FactorAnalysis, ProbabilisticPCA, SufficientStatistics, load
from aefast.cli import main
from aefast.cli.held_out import hold_out

FILES = ["likelihood.png", "loadings.png", "metrics.json", "model.safetensors", "scree.png"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def wine(folder):
    """A table with names; the folder has two models of it."""
    frame = load_wine(as_frame=True).data
    frame.to_csv("wine.csv", index=False)
    argv = ["factors", "wine.csv", "--quiet", "--no-plots"]
    assert main([*argv, "--model", "fa", "-k", "2", "--rotation", "promax", "--out", "fa"]) == 0
    assert main([*argv, "-k", "0.9", "--out", "ppca"]) == 0
    return frame


def test_main_job(folder, capsys):
    assert main("factors digits -k 20".split()) == 0
    assert sorted(os.listdir("aefast-factors")) == FILES
    for name in FILES:
        if name.endswith(".png"):
            assert (folder / "aefast-factors" / name).read_bytes().startswith(b"\x89PNG")
    X = (load_digits().data / 16).astype(np.float32)
    train, test = hold_out(X, 0.1, 0)
    model = ProbabilisticPCA(20).fit(train)
    metrics = json.loads((folder / "aefast-factors" / "metrics.json").read_text())
    assert metrics["log_likelihood"] == {"train": model.score(train), "test": model.score(test)}
    assert metrics["noise_variance"] == model.noise_variance_
    assert (metrics["aic"], metrics["bic"]) == (model.aic(train), model.bic(train))
    assert metrics["n_rows"] == {"train": 1617, "test": 180}
    loaded = aefast.load("aefast-factors/model.safetensors")
    np.testing.assert_array_equal(loaded.components_, model.components_)
    out = capsys.readouterr().out
    for word in (f"{model.score(test):.4f} (held-out rows)", "probabilistic PCA, 20", *FILES):
        assert word in out


def test_factor_analysis_of_a_table(wine, capsys):
    assert main("factors wine.csv --model fa -k 3 --rotation varimax --out rotated".split()) == 0
    assert sorted(os.listdir("rotated")) == FILES
    metrics = json.loads(open("rotated/metrics.json").read())
    assert (np.diff(metrics["log_likelihood_curve"]) >= 0).all()
    assert metrics["n_iter"] == len(metrics["log_likelihood_curve"])
    assert "factor analysis, 3 components" in capsys.readouterr().out
    assert list(aefast.load("rotated/model.safetensors").feature_names_in_) == list(wine.columns)


def test_a_correlation_matrix(folder, capsys):
    frame = load_wine(as_frame=True).data
    frame.corr().to_csv("R.csv", index=False)
    argv = "factors R.csv --covariance 178 --model fa -k 3 --rotation oblimin --out fa"
    assert main(argv.split()) == 0
    assert sorted(os.listdir("fa")) == [
        "loadings.png", "metrics.json", "model.safetensors", "scree.png"
    ]  # fmt: skip
    rows = (frame - frame.mean()) / frame.std(ddof=1)
    model = FactorAnalysis(3, rotation="oblimin").fit(rows)
    metrics = json.loads(open("fa/metrics.json").read())
    assert metrics["log_likelihood"]["train"] == pytest.approx(model.score(rows), rel=1e-9)
    assert metrics["aic"] == pytest.approx(model.aic(rows), rel=1e-9)
    assert metrics["bic"] == pytest.approx(model.bic(rows), rel=1e-9)
    fit = model.goodness_of_fit()
    assert metrics["goodness_of_fit"]["chi_square"] == pytest.approx(fit.chi_square, rel=1e-6)
    assert metrics["n_rows"] == {"train": 178}
    out = capsys.readouterr().out
    assert "covariances of 13 features of 178 rows" in out
    assert "SS loadings" in out and f"RMSEA = {fit.rmsea:.3f}" in out
    loaded = aefast.load("fa/model.safetensors")
    assert list(loaded.feature_names_in_) == list(frame.columns)
    assert main("factors R.csv --covariance 178 -k 2 --quiet --no-plots --out ppca".split()) == 0
    metrics = json.loads(open("ppca/metrics.json").read())
    ppca = ProbabilisticPCA(2).fit(rows)
    assert metrics["log_likelihood"]["train"] == pytest.approx(ppca.score(rows), rel=1e-9)
    assert metrics["bic"] == pytest.approx(ppca.bic(rows), rel=1e-9)


@pytest.mark.parametrize("k", ["parallel", "bic", "cv"])
def test_ways_to_say_how_many_factors(k, wine):
    argv = f"factors wine.csv --model fa --method minres -k {k} --quiet --no-plots --out out"
    assert main(argv.split()) == 0
    metrics = json.loads(open("out/metrics.json").read())
    assert metrics["parameters"]["n_components"] == k
    assert metrics["parameters"]["method"] == "minres"
    assert len(metrics["ss_loadings"]) == metrics["n_components"] < 8


@pytest.mark.parametrize("k", ["mle", "cv", "0.5", "4"])
def test_ways_to_say_how_many(k, wine):
    assert main(["factors", "wine.csv", "-k", k, "--quiet", "--no-plots", "--out", "out"]) == 0
    assert sorted(os.listdir("out")) == ["metrics.json", "model.safetensors"]


def test_missing_entries(folder):
    X = load_wine().data
    X[::7, 3] = np.nan
    np.save("X.npy", X)
    assert main("factors X.npy -k 2 --test-fraction 0 --quiet".split()) == 0
    metrics = json.loads(open("aefast-factors/metrics.json").read())
    assert metrics["n_iter"] > 1 and list(metrics["n_rows"]) == ["train"]


@pytest.mark.filterwarnings("ignore:Heywood")
def test_missing_entries_of_csv_files(folder, capsys):
    """Empty fields, nan and NA are missing entries, for the fit and for what follows."""
    frame = load_wine(as_frame=True).data.iloc[:, :5]
    frame.iloc[::7, 3], frame.iloc[::9, 1] = np.nan, np.nan
    for na_rep in ("", "NA", "nan"):
        frame.to_csv("gaps.csv", index=False, na_rep=na_rep)
        argv = "factors gaps.csv --model fa -k 2 --test-fraction 0 --quiet --no-plots --out gaps"
        assert main(argv.split()) == 0
        model = aefast.load("gaps/model.safetensors")
        np.testing.assert_array_equal(model.components_, FactorAnalysis(2).fit(frame).components_)
        assert main("score gaps gaps.csv -o S.csv".split()) == 0
        scores = pd.read_csv("S.csv")["log_likelihood"]
        np.testing.assert_array_equal(scores, model.score_samples(frame))
    capsys.readouterr()
    (folder / "text.csv").write_text("a,b\n1,\n2,3\n4,x\n")
    assert "line 4, column 'b': expected a finite number, got 'x'" in refused(
        capsys, "factors", "text.csv"
    )
    matrix = frame.corr().to_numpy().copy()
    matrix[1, 0] = np.nan
    pd.DataFrame(matrix).to_csv("matrix.csv", index=False, header=list("abcde"))
    assert "line 3, column 'a': expected a finite number" in refused(
        capsys, *"factors matrix.csv --covariance 178".split()
    )


def test_names_of_rows(folder):
    """R's write.csv and pandas' to_csv put names of rows before the first named column."""
    frame = load_wine(as_frame=True).data.iloc[:, :5]
    frame.corr().to_csv("R.csv")
    assert main("factors R.csv --covariance 178 --model fa -k 2 --out fa --quiet".split()) == 0
    loaded = aefast.load("fa/model.safetensors")
    assert list(loaded.feature_names_in_) == list(frame.columns)
    frame.iloc[3, 2] = np.nan
    frame.to_csv("rows.csv")  # row names 0, 1, ... are no feature
    argv = "factors rows.csv -k 2 --test-fraction 0 --quiet --no-plots --out rows"
    assert main(argv.split()) == 0
    found = aefast.load("rows/model.safetensors")
    assert list(found.feature_names_in_) == list(frame.columns)
    np.testing.assert_array_equal(found.components_, ProbabilisticPCA(2).fit(frame).components_)


def test_sample(wine, capsys):
    assert main("sample fa -n 5 --seed 3".split()) == 0
    printed = pd.read_csv(io.StringIO(capsys.readouterr().out))
    model = aefast.load("fa/model.safetensors")
    np.testing.assert_array_equal(printed.to_numpy(), model.sample(5, 3))
    assert list(printed.columns) == list(wine.columns)
    assert main("sample ppca -n 100 -o rows.npy".split()) == 0
    expected = aefast.load("ppca/model.safetensors").sample(100, 0)
    np.testing.assert_array_equal(np.load("rows.npy"), expected)


def test_other_commands(wine, capsys):
    for name in ("fa", "ppca"):
        model = aefast.load(f"{name}/model.safetensors")
        assert main(f"encode {name} wine.csv -o H.npy".split()) == 0
        np.testing.assert_array_equal(np.load("H.npy"), model.transform(wine))
        assert main(f"reconstruct {name} wine.csv -o X.npy".split()) == 0
        np.testing.assert_array_equal(np.load("X.npy"), model.reconstruct(wine))
        assert main(f"score {name} wine.csv -o S.csv".split()) == 0
        scores = pd.read_csv("S.csv")
        np.testing.assert_array_equal(scores["mahalanobis"], model.mahalanobis(wine))
        np.testing.assert_array_equal(scores["log_likelihood"], model.score_samples(wine))
        assert main(["info", name]) == 0
        out = capsys.readouterr().out
        for line in (
            "features +13",
            "rows seen +160",
            "log-likelihood +-",
            f"model +{type(model).__name__}",
        ):
            assert re.search(f"^{line}", out, flags=re.M)


def test_refusals(wine, folder, capsys):
    SufficientStatistics(2).update(np.eye(2)).save("stats")
    aefast.Whitening().fit(np.eye(3)).save("whitening")
    cases = {
        "factors wine.csv -k 0": "-k must be",
        "factors wine.csv -k 14": "at most n_features = 13, got 14",
        "factors wine.csv -k 1.5": "-k must be",
        "factors wine.csv --rotation varimax": "--rotation is of factor analysis",
        "factors wine.csv --method minres": "--method is of factor analysis",
        "factors wine.csv --covariance 100": "C must be a square covariance",
        "factors wine.csv --model fa -k mle": "-k must be",
        "factors wine.csv --mixtures 2 -k cv": "-k must be",
        "factors wine.csv --mixtures 0": "--mixtures must be",
        "factors wine.csv --mixtures 2,0": "--mixtures must be",
        "factors wine.csv --mixtures 2 --rotation promax": "a mixture .* has none",
        "factors wine.csv --threads 0": "--threads must be",
        "factors nothing.csv": "nothing.csv: No such file",
        "sample fa -n 0": "-n must be at least 1, got 0",
        "sample nothing": "nothing: No such file",
        "sample whitening": "Whitening, which has no distribution",
        "sample fa -o nowhere/rows.npy": "nowhere",
        "encode stats wine.csv -o H.npy": "SufficientStatistics, which is no model",
        "score whitening wine.csv": "Whitening, which has no score_samples",
    }
    for argv, match in cases.items():
        assert re.search(match, refused(capsys, *argv.split())), argv
    constant = np.ones((20, 3))
    np.save("constant.npy", constant)
    assert "no variance" in refused(capsys, "factors", "constant.npy")


@pytest.mark.parametrize(
    "argv", ["factors", "factors X --model pca", "factors X -k many", "sample", "sample X -n many"]
)
def test_usage_errors(argv, capsys):
    with pytest.raises(SystemExit) as exit:
        main(argv.split())
    assert exit.value.code == 2
    assert capsys.readouterr().err.startswith("usage: aefast")


@pytest.mark.parametrize("of", [ProbabilisticPCA(5), FactorAnalysis(3)], ids=["ppca", "fa"])
def test_pictures(of, tmp_path):
    """Pictures show the model's numbers, in panels with labels."""
    from aefast.plotting import factors

    X = load_wine().data
    model = of.fit(X)
    (left, right) = factors.scree(model).axes
    k = len(model.components_)
    lines = {line.get_label(): line.get_ydata() for line in left.lines}
    C = np.cov(X.T, ddof=0) if k == 5 else np.corrcoef(X.T)
    values = np.linalg.eigvalsh(C)[::-1]
    np.testing.assert_allclose(lines[f"fitted: {k}"], values[:k])
    np.testing.assert_allclose(left.lines[k == 5].get_ydata(), values)
    (chance,) = [line for label, line in lines.items() if label.startswith("parallel")]
    rng = np.random.default_rng(0)
    drawn = [np.linalg.eigvalsh(np.corrcoef(rng.normal(size=X.shape).T)) for _ in range(200)]
    expected = np.quantile(drawn, 0.95, axis=0)[::-1] * np.trace(C) / 13
    np.testing.assert_allclose(chance, expected, rtol=0.05)
    model.save(tmp_path / "model")  # which has no statistics
    left = factors.scree(load(tmp_path / "model")).axes[0]
    assert len(left.lines[-1].get_xdata()) == k == len(right.lines[-1].get_xdata())
    share = right.lines[-1].get_ydata()[-1]
    assert 0 < share <= 100
    if k == 5:
        assert share == pytest.approx(100 * model.explained_variance_ratio_.sum())
    table = factors.loadings(model).axes[0].images[0].get_array()
    spread = np.sqrt(np.diagonal(model.get_covariance()))
    np.testing.assert_allclose(table, (model.components_ / spread).T)
    assert np.abs(table).max() <= 1
    assert len(factors.likelihood(model, X).axes) == (1 if k == 5 else 2)
    digits = load_digits().data
    images = factors.loadings(ProbabilisticPCA(9).fit(digits)).axes[0].images[0]
    assert images.get_array().shape == (3 * 8 + 2, 3 * 8 + 2)
    with pytest.raises(ValueError, match="expected 13 pixels"):
        factors.loadings(model, (3, 4))


# ---- mixtures ----


@pytest.mark.parametrize("of", ["ppca", "fa"])
def test_mixtures(of, wine, folder, capsys):
    argv = f"factors wine.csv --model {of} --mixtures 2,3 -k 1 --out mixed"
    assert main(argv.split()) == 0
    assert "mixture of" in capsys.readouterr().out
    files = ["likelihood.png", "means.png", "metrics.json", "model.safetensors"]
    assert sorted(os.listdir("mixed")) == files
    metrics, model = json.loads((folder / "mixed/metrics.json").read_text()), load("mixed")
    assert metrics["n_mixtures"] == model.n_mixtures_ == len(metrics["weights"])
    assert [size[:2] for size in metrics["sizes_tried"]] == [[2, 1], [3, 1]]
    assert metrics["n_components"] == 1 and metrics["n_features"] == 13
    assert main("score mixed wine.csv".split()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "component,log_likelihood" and len(lines) == 179
    assert {int(float(line.split(",")[0])) for line in lines[1:]} == set(range(model.n_mixtures_))
    assert main("sample mixed -n 5 --seed 1".split()) == 0
    assert len(capsys.readouterr().out.splitlines()) == 6
    assert main("info mixed".split()) == 0
    assert re.search("^factors of each +1$", capsys.readouterr().out, flags=re.M)
    assert main(f"factors digits --model {of} --mixtures 3 -k 1 --out images".split()) == 0
    assert sorted(os.listdir("images")) == files


def test_picture_of_means():
    from aefast.plotting import factors

    X = load_wine().data
    model = aefast.MixtureOfFactorAnalyzers(3, 1, random_state=0).fit(X)
    drawn = factors.means(model).axes[0].images[0].get_array()
    C = np.einsum("m,mde->de", model.weights_, model.get_covariance())
    offsets = model.means_ - model.weights_ @ model.means_
    spread = np.sqrt(np.diagonal(C) + model.weights_ @ offsets**2)
    np.testing.assert_allclose(drawn, (offsets / spread).T)


def test_labels_name_the_features(folder, capsys):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 2)) @ rng.normal(size=(2, 6)) + rng.normal(size=(200, 6))
    np.save("X.npy", X)
    names = ["apple", "pear", "plum", "nut", "fig", "kiwi"]
    Path("names.txt").write_text("\n".join(names) + "\n\n")
    argv = "factors X.npy --model fa -k 2 --labels names.txt --out out".split()
    assert main(argv) == 0
    model = aefast.load("out")
    assert list(model.feature_names_in_) == names
    lines = [line for line in capsys.readouterr().out.splitlines() if re.match(r"factor \d", line)]
    assert len(lines) == 2
    for line, loadings in zip(lines, model.loadings_.T, strict=True):
        order = np.argsort(-np.abs(loadings), kind="stable")
        shown = [f"{names[j]} {loadings[j]:+.2g}" for j in order]
        assert line.partition(": ")[2] == ", ".join(shown)
    assert Path("out/words.png").stat().st_size > 1000
    Path("few.txt").write_text("a\nb\n")
    Path("twice.txt").write_text("a\nb\nc\nd\ne\na\n")
    for name, message in (("few.txt", "expected 6 names"), ("twice.txt", "'a' twice")):
        assert message in refused(capsys, "factors", "X.npy", "--labels", name)
    assert "--labels is of one model" in refused(
        capsys, "factors", "X.npy", "--labels", "names.txt", "--mixtures", "2"
    )


def test_checkpoints_of_a_command(folder, capsys):
    rows = np.random.default_rng(0).random((60, 6))
    rows[::5, 1] = np.nan
    np.save("rows.npy", rows)
    argv = "factors rows.npy --model fa -k 2 --no-plots --quiet".split()
    stored = ["--checkpoint", "stored", "--checkpoint-every", "epoch"]
    assert main([*argv, *stored]) == 0
    saved = Path("aefast-factors/model.safetensors").read_bytes()
    assert main([*argv, *stored, "--resume"]) == 0
    assert Path("aefast-factors/model.safetensors").read_bytes() == saved
    for wrong, what in (
        (["--resume"], "--resume: say from which file"),
        (["--checkpoint", "stored", "-k", "1"], "with n_components=2, while this one"),
        (["--checkpoint", "stored", "--seed", "1"], "to other rows"),
        (["--checkpoint", "stored", "--covariance", "60"], "--checkpoint is of a fit to rows"),
    ):
        assert what in refused(capsys, *argv, *wrong)
