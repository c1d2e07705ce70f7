"""Factor analysis: its optimum, rotations, Heywood cases."""

import warnings

import numpy as np
import pytest
from scipy import sparse
from sklearn.decomposition import FactorAnalysis as SklearnFactorAnalysis
from sklearn.exceptions import ConvergenceWarning
from support.factor_problems import make_rows

from aefast import FactorAnalysis


@pytest.fixture
def X():
    return make_rows()


def test_factor_analysis_reaches_scikit_learns_likelihood(X):
    theirs = SklearnFactorAnalysis(3, tol=1e-12, max_iter=20_000, svd_method="lapack").fit(X)
    model = FactorAnalysis(3).fit(X)
    assert model.score(X) == pytest.approx(theirs.score(X), rel=1e-8)
    np.testing.assert_allclose(model.noise_variance_, theirs.noise_variance_, rtol=1e-3)
    assert model.log_likelihood_curve_[-1] == pytest.approx(model.score(X), rel=1e-12)


def test_curves_rise(X):
    for model in (FactorAnalysis(3), FactorAnalysis(6, tol=1e-14)):
        curve = model.fit(X).log_likelihood_curve_
        assert len(curve) == model.n_iter_ > 3
        assert (np.diff(curve) >= 0).all()


def test_factor_analysis_does_not_depend_on_units(X):
    scale = 10.0 ** np.arange(-5, 5)
    model, scaled = FactorAnalysis(3).fit(X), FactorAnalysis(3).fit(X * scale)
    np.testing.assert_allclose(scaled.components_, model.components_ * scale, rtol=2e-3)
    np.testing.assert_allclose(scaled.noise_variance_, model.noise_variance_ * scale**2, rtol=1e-4)


def test_wide_covariances_by_lanczos(monkeypatch):
    """Block Lanczos, used from some number of columns on, finds the optimum that LAPACK finds."""
    from aefast._base import krylov
    from aefast.linear import profile

    X, calls, lanczos = make_rows(600, 80, 4), [], krylov.block_lanczos
    monkeypatch.setattr(krylov, "block_lanczos", lambda *args: calls.append(1) or lanczos(*args))
    by_lapack = FactorAnalysis(4).fit(X)
    assert not calls
    monkeypatch.setattr(profile, "LANCZOS_FROM", 80)
    by_lanczos = FactorAnalysis(4).fit(X)
    assert calls
    assert by_lanczos.score(X) == pytest.approx(by_lapack.score(X), rel=1e-10)


@pytest.mark.filterwarnings("ignore:Heywood")
@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("storage", [np.asarray, sparse.csr_matrix])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fewer_rows_than_columns(storage, dtype, offset, monkeypatch):
    """Products with the rows find what the covariance does, weights and constant columns too."""
    from aefast.linear import factor_analysis

    X = make_rows(80, 170, 3, mean=0.0)
    X[:, 7] = 0.25
    if offset:
        X[:, 5] += offset if dtype == "float64" else 1e3
    X, weight = X.astype(dtype), np.random.default_rng(0).integers(0, 3, 80)
    expected = FactorAnalysis(3, tol=1e-12).fit(X.astype(np.float64), sample_weight=weight)
    monkeypatch.setattr(factor_analysis, "WIDE_FROM", 100)
    monkeypatch.setattr(FactorAnalysis, "_statistics_of", None)
    model = FactorAnalysis(3, tol=1e-12).fit(storage(X), sample_weight=weight)
    rtol = 1e-5 if dtype == "float32" else 1e-9
    np.testing.assert_allclose(model.mean_, expected.mean_, rtol=1e-6, atol=1e-6)
    assert model.log_likelihood_curve_[-1] == pytest.approx(
        expected.log_likelihood_curve_[-1], rel=rtol
    )
    np.testing.assert_allclose(
        model.noise_variance_,
        expected.noise_variance_,
        rtol=1e-2 if dtype == "float32" else 1e-5,
        atol=1e-8,
    )
    assert model.n_samples_seen_ == 80
    with pytest.raises(ValueError, match="all weights are zero"):
        FactorAnalysis(3).fit(X, sample_weight=np.zeros(80))
    gaps = X.copy()
    gaps[3, 4] = np.nan
    monkeypatch.undo()
    assert np.isfinite(FactorAnalysis(3, max_iter=12).fit(gaps).score(gaps))


def test_varimax_and_quartimax_like_scikit_learn(X):
    """The criterion is no smaller than theirs, on loadings normalised as Kaiser has it."""
    from sklearn.decomposition._factor_analysis import _ortho_rotation

    def criterion(W, gamma):
        B = W / np.linalg.norm(W, axis=0)
        return (B**4).sum() - gamma / B.shape[1] * ((B**2).sum(axis=1) ** 2).sum()

    W = FactorAnalysis(3).fit(X).components_
    norms = np.linalg.norm(W, axis=0)
    for rotation, gamma in (("varimax", 1.0), ("quartimax", 0.0)):
        ours = FactorAnalysis(3, rotation=rotation).fit(X).components_
        theirs = _ortho_rotation((W / norms).T, rotation, 1e-12, 10_000) * norms
        assert criterion(ours, gamma) >= criterion(theirs, gamma) - 1e-9


def test_heywood_cases_are_bounded_with_a_warning():
    X = make_rows()
    X[:, 1] = X[:, 0]
    with pytest.warns(ConvergenceWarning, match=r"Heywood case.*column\(s\) 0, 1"):
        model = FactorAnalysis(2, min_noise=1e-3).fit(X)
    np.testing.assert_allclose(model.noise_variance_[:2], 1e-3 * X[:, 0].var(), rtol=1e-6)


def test_too_few_iterations_are_told(X):
    with pytest.warns(ConvergenceWarning, match="max_iter=2 "):
        FactorAnalysis(3, max_iter=2).fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FactorAnalysis(3).fit(X)


def test_a_huge_tol_ends_after_one_iteration():
    """SciPy's optimizer divides tol by epsilon, which must not overflow."""
    X = np.random.default_rng(0).normal(size=(50, 6))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        model = FactorAnalysis(2, tol=1e300).fit(X)
        FactorAnalysis(2, tol=np.float32(0.5)).fit(X)
    assert model.n_iter_ <= 1
