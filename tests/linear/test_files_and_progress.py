"""Factor models: files of earlier format versions give the numbers they gave; progress."""

from pathlib import Path

import numpy as np
import pytest

import aefast

DATA = Path(__file__).parents[1] / "data"


def rows():
    random = np.random.default_rng(0)
    factors = random.normal(size=(200, 2)) @ random.normal(size=(2, 5))
    return factors + 0.5 * random.normal(size=(200, 5))


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("factor-analysis", [0.05598014, 0.4713268]),
        ("probabilistic-pca", [0.13019783, 0.63421896]),
    ],
)
def test_a_factor_model_of_version_1(name, codes, tmp_path):
    model = aefast.load(DATA / f"{name}-version-1.safetensors")
    np.testing.assert_allclose(model.transform(rows()[:1])[0], codes, rtol=1e-6)
    assert model.verbose == 0
    model.save(tmp_path / "again")
    again = aefast.load(tmp_path / "again")
    assert again.transform(rows()).tobytes() == model.transform(rows()).tobytes()
    again.fit(rows())


def test_singular_values_that_a_file_does_not_have():
    model = aefast.load(DATA / "probabilistic-pca-version-1.safetensors")
    X = rows() - rows().mean(axis=0)
    np.testing.assert_allclose(model.singular_values_, np.linalg.svd(X)[1][:2], rtol=1e-9)


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("model", [aefast.FactorAnalysis(2), aefast.ProbabilisticPCA(2)])
def test_verbose_shows_iterations(model, gaps, capsys):
    X = rows()
    if gaps:
        X[::7, 1] = np.nan
    quiet = model.set_params(verbose=0).fit(X).score(X)
    assert capsys.readouterr().err == ""
    assert model.set_params(verbose=1).fit(X).score(X) == quiet
    shown = capsys.readouterr().err
    assert type(model).__name__ in shown
    if gaps or isinstance(model, aefast.FactorAnalysis):
        assert "log_p=" in shown


def test_a_search_shows_one_bar(capsys):
    X = rows()
    X[::7, 1] = np.nan
    aefast.FactorAnalysis("cv", verbose=1).fit(X)
    assert capsys.readouterr().err.count("FactorAnalysis: 0 iterations") == 1
