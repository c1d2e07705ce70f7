"""Reports on models: what the page has, and that a browser draws it without an error."""

import re
import shutil
import subprocess

import numpy as np
import pytest

import aefast
from aefast.cli import main

pytest.importorskip("matplotlib")
from aefast import plotting

N, D = 300, 6


def make_rows():
    random = np.random.default_rng(0)
    X = random.normal(size=(N, 2)) @ random.normal(size=(2, D)) + 0.2 * random.normal(size=(N, D))
    X[17, 3] += 9
    return X


X = make_rows()
MODELS = {
    "Autoencoder": lambda: aefast.Autoencoder(2, max_epochs=20, random_state=0),
    "StackedAutoencoder": lambda: aefast.StackedAutoencoder((4, 2), max_epochs=3, random_state=0),
    "ProbabilisticPCA": lambda: aefast.ProbabilisticPCA(2),
    "FactorAnalysis": lambda: aefast.FactorAnalysis(2),
    "MixtureOfFactorAnalyzers": lambda: aefast.MixtureOfFactorAnalyzers(2, 1, random_state=0),
    "TableAutoencoder": lambda: aefast.TableAutoencoder(
        aefast.Autoencoder(2, max_epochs=20, random_state=0)
    ),
    "AutoencoderEnsemble": lambda: aefast.AutoencoderEnsemble(4, max_epochs=5, random_state=0),
    "AutoencoderCV": lambda: aefast.AutoencoderCV(
        param_grid={"n_components": [2]}, cv=2, random_state=0
    ),
    "DictionaryLearning": lambda: aefast.DictionaryLearning(
        8, alpha=0.1, max_epochs=2, random_state=0
    ),
}
OWN_SECTIONS = {
    "Autoencoder": {"Curves", "Units"},
    "StackedAutoencoder": {"Curves", "Units"},
    "ProbabilisticPCA": {"Loadings"},
    "FactorAnalysis": {"Curves", "Loadings"},
    "MixtureOfFactorAnalyzers": {"Curves", "Groups"},
    "TableAutoencoder": {"Curves", "Units"},
    "AutoencoderEnsemble": set(),
    "AutoencoderCV": {"Curves", "Units"},
    "DictionaryLearning": {"Curves", "Atoms"},
}
SECTIONS = ("Summary", "Reconstructions", "Strangest rows", "Codes", "Columns")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODELS)
def test_a_report_has_its_sections_and_the_strangest_row_first(name, tmp_path):
    model = MODELS[name]().fit(X)
    page = plotting.report(model, X, tmp_path / "report.html", facts={"from": "<a> & b"})
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page
    found = re.findall(r"<h2>(.*?)</h2>", page)
    assert set(found) == {*SECTIONS, *OWN_SECTIONS[name]}
    assert "&lt;a&gt; &amp; b" in page
    strangest = page[page.index("<h2>Strangest rows") :]
    row = re.search(r"<td>(row \d+)</td><td class=\"number\">([^<]*)</td><td>([^<]*)", strangest)
    assert row[1] == "row 17" and f"3 = {X[17, 3]:.4g}" in row[3]
    assert float(row[2].replace(",", "")) == pytest.approx(scores_of(model).min(), rel=1e-3)
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)  # nothing is fetched
    assert page.count("<img") >= 3


def scores_of(model):
    if isinstance(model, aefast.DictionaryLearning):
        return -0.5 * ((X - model.transform(X) @ model.components_) ** 2).sum(axis=1)
    return model.score_samples(X)


def test_codes_that_are_sparse_are_counted(tmp_path):
    model = MODELS["DictionaryLearning"]().fit(X)
    used = np.count_nonzero(model.transform(X), axis=1).mean()
    page = plotting.report(model, X)
    assert f"{used:.3g} entries that are not 0" in page
    assert "entries that are not 0" not in plotting.report(aefast.ProbabilisticPCA(2).fit(X), X)


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_rows_of_frames_are_told_in_their_own_values(library):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip(library)
    size = np.random.default_rng(0).normal(size=N)
    frame = pandas.DataFrame({"size": size, "kind": np.where(size > 0, "large", "small")})
    frame.loc[7, "kind"] = "large" if size[7] < 0 else "small"
    frame.loc[7, "size"] *= 10
    if library == "polars":
        frame = pytest.importorskip("polars").from_pandas(frame)
    if library == "pyarrow":
        frame = pytest.importorskip("pyarrow").Table.from_pandas(frame)
    network = aefast.Autoencoder(1, max_epochs=30, random_state=0)
    page = plotting.report(aefast.TableAutoencoder(network).fit(frame), frame)
    strangest = page[page.index("<h2>Strangest rows") :]
    row = re.search(r"<td>(row \d+)</td><td class=\"number\">[^<]*</td><td>([^<]*)", strangest)
    assert row[1] == "row 7" and re.search("kind = (large|small)", row[2])


def test_names_of_columns_and_rows_are_used(tmp_path):
    pandas = pytest.importorskip("pandas")
    names = [f"sensor {j}" for j in range(D)]
    frame = pandas.DataFrame(X, columns=names)
    model = aefast.ProbabilisticPCA(2).fit(frame)
    page = plotting.report(model, frame, labels=[f"day {i}" for i in range(N)])
    assert "day 17" in page and "sensor 3 = " in page


def test_bad_arguments_are_named_and_the_former_page_stays(tmp_path):
    model = aefast.ProbabilisticPCA(2).fit(X)
    path = tmp_path / "report.html"
    path.write_text("before")
    with pytest.raises(TypeError, match="model must have transform and score_samples"):
        plotting.report(aefast.Whitening().fit(X), X, path)
    with pytest.raises(ValueError, match="labels"):
        plotting.report(model, X, path, labels=["a"])
    with pytest.raises(ValueError, match="features"):
        plotting.report(model, X[:, :3], path)
    assert path.read_text() == "before"


def test_the_command_writes_the_page(tmp_path, capsys):
    aefast.FactorAnalysis(2).fit(X).save(tmp_path / "model.safetensors")
    np.save(tmp_path / "rows.npy", X)
    (tmp_path / "metrics.json").write_text('{"seconds": 12.25}')
    out = tmp_path / "page.html"
    argv = ["report", str(tmp_path / "model.safetensors"), str(tmp_path / "rows.npy")]
    assert main([*argv, "-o", str(out)]) == 0
    assert "row 18" in out.read_text(encoding="utf-8")  # the command counts from 1
    assert main([*argv, "-o", argv[1]]) == 2
    assert "12.25" not in out.read_text(encoding="utf-8")  # it may be another model's
    assert main(["report", str(tmp_path), argv[2], "-o", str(out)]) == 0
    assert "12.25" in out.read_text(encoding="utf-8")
    assert "page.html" in capsys.readouterr().out


@pytest.mark.extra
@pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium here")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODELS)
def test_a_browser_draws_the_page_without_an_error(name, tmp_path):
    path = tmp_path / "report.html"
    plotting.report(MODELS[name]().fit(X), X, path)
    shot = tmp_path / "shot.png"
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1000,3000"]
    flags += ["--enable-logging=stderr", "--v=0", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        ["chromium", *flags, f"--screenshot={shot}", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0 and ":CONSOLE" not in done.stderr
    from PIL import Image

    pixels = np.asarray(Image.open(shot).convert("L"))
    assert pixels.shape == (3000, 1000) and (pixels < 250).mean() > 0.05
