"""The number of factors, and minimum residuals."""

import warnings

import numpy as np
import pytest
from scipy import optimize
from sklearn.exceptions import ConvergenceWarning
from support.factor_problems import make_rows

from aefast import FactorAnalysis, SufficientStatistics
from aefast.linear import number_of_factors
from aefast.linear.minimum_residuals import Residuals


def clear_rows(k, n=400, seed=0):
    """Rows of k uncorrelated factors, each of four columns."""
    rng = np.random.default_rng(seed)
    W = np.kron(np.eye(k), np.full((1, 4), 0.8))
    return rng.normal(size=(n, k)) @ W + 0.6 * rng.normal(size=(n, 4 * k)) + 3


@pytest.mark.parametrize("choice", [None, "parallel", "bic", "cv"])
@pytest.mark.parametrize("k", [1, 3])
def test_clear_factors_are_counted(choice, k):
    X = clear_rows(k)
    model = FactorAnalysis(choice).fit(X)
    assert model.components_.shape == (k, 4 * k)
    assert model.n_components == choice
    if choice != "cv":
        again = FactorAnalysis(choice).fit_statistics(SufficientStatistics(4 * k).update(X))
        np.testing.assert_array_equal(again.components_, model.components_)


@pytest.mark.parametrize("choice", [None, "bic", "cv"])
def test_with_missing_entries(choice):
    X = clear_rows(2, n=150)
    X[np.random.default_rng(1).random(X.shape) < 0.05] = np.nan
    assert FactorAnalysis(choice, tol=1e-5).fit(X).components_.shape == (2, 8)


def test_bic_is_the_models(monkeypatch):
    """The chosen number has the least `bic` of those that were tried."""
    X = make_rows()
    tried = []
    highest = number_of_factors.highest
    monkeypatch.setattr(
        number_of_factors,
        "highest",
        lambda score, most: highest(lambda k: tried.append((k, score(k))) or tried[-1][1], most),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        k = len(FactorAnalysis("bic").fit(X).components_)
        expected = [FactorAnalysis(number).fit(X).bic(X) for number, _ in tried]
    units = 2 * len(X) * np.log(X.std(axis=0)).sum()  # scores are those of standardised columns
    np.testing.assert_allclose([units - score for _, score in tried], expected, rtol=1e-9)
    assert [number for number, _ in tried] == list(range(1, k + 1 + number_of_factors.PATIENCE))
    assert max(tried, key=lambda pair: pair[1])[0] == k


def test_held_out_likelihoods_are_those_of_rows(monkeypatch):
    X = clear_rows(2, n=103)
    weight = np.random.default_rng(0).integers(0, 3, len(X)).astype(float)
    scores = {}
    highest = number_of_factors.highest
    monkeypatch.setattr(
        number_of_factors,
        "highest",
        lambda score, most: highest(lambda k: scores.setdefault(k, score(k)), most),
    )
    FactorAnalysis("cv").fit(X, sample_weight=weight)
    expected = 0.0
    for fold in range(5):
        out = np.arange(len(X)) % 5 == fold
        model = FactorAnalysis(2).fit(X[~out], sample_weight=weight[~out])
        expected += weight[out] @ model.score_samples(X[out])
    assert scores[2] == pytest.approx(expected, rel=1e-8)


def test_ledermanns_bound():
    bounds = [number_of_factors.most_factors(d) for d in range(1, 200)]
    for d, k in enumerate(bounds, start=1):
        assert k >= 1 and (k == 1 or (d - k) ** 2 >= d + k)
        assert (d - k - 1) ** 2 < d + k + 1 or k + 1 > d
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 30)) @ rng.normal(size=(30, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for choice in (None, "bic", "cv"):
            assert len(FactorAnalysis(choice).fit(X).components_) <= bounds[4]
            assert len(FactorAnalysis(choice).fit(X[:3]).components_) <= 2


def test_refusals():
    X = clear_rows(2)
    with pytest.raises(ValueError, match="n_components='cv' needs rows: use fit"):
        FactorAnalysis("cv").fit_statistics(SufficientStatistics(8).update(X))
    with pytest.raises(ValueError, match="n_components='cv' needs at least 2 samples"):
        FactorAnalysis("cv").fit(X[:1])
    with pytest.raises(ValueError, match="'n_components' parameter"):
        FactorAnalysis("kaiser").fit(X)
    X[0, 0] = np.nan
    with pytest.raises(ValueError, match="method='minres' needs complete rows"):
        FactorAnalysis(2, method="minres").fit(X)
    X[5:, 1] = np.nan
    X[1:5, 1] = np.nan
    with pytest.raises(ValueError, match="column 1 of X is observed in too few rows"):
        FactorAnalysis("cv").fit(X)


# ---- minimum residuals ----


def test_residuals_and_their_derivatives():
    C = np.corrcoef(make_rows().T)
    residuals, psi = Residuals(C, 3), np.linspace(0.2, 0.9, 10)
    value, gradient = residuals(psi)
    W, _ = residuals.best_loadings(psi)
    assert value == pytest.approx(0.5 * np.square(C - W.T @ W - np.diag(psi)).sum(), rel=1e-12)
    numeric = optimize.approx_fprime(psi, lambda x: residuals(x)[0], 1e-7)
    np.testing.assert_allclose(gradient, numeric, atol=1e-5)


def test_minimum_residuals_are_least_squares():
    """A general optimiser over all loadings finds nothing lower off the diagonal."""
    X = make_rows()
    model = FactorAnalysis(2, method="minres").fit(X)
    R = np.corrcoef(X.T)
    off_diagonal = ~np.eye(10, dtype=bool)

    def value(x):
        W = x.reshape(2, 10)
        return np.square(R - W.T @ W)[off_diagonal].sum()

    rng = np.random.default_rng(0)
    lowest = min(optimize.minimize(value, rng.normal(size=20)).fun for _ in range(3))
    assert value(model.loadings_.T.ravel()) == pytest.approx(lowest, rel=1e-6)
    np.testing.assert_allclose(model.communalities_ + model.uniquenesses_, 1)
    np.testing.assert_allclose(np.diagonal(model.get_covariance()), X.var(axis=0), rtol=1e-6)


def test_minimum_residuals_report_their_likelihood():
    X = make_rows() * 10.0 ** np.arange(-5, 5)
    model = FactorAnalysis(3, method="minres", rotation="oblimin").fit(X)
    (log_p,) = model.log_likelihood_curve_
    assert log_p == pytest.approx(model.score(X), rel=1e-9)
    assert model.n_iter_ > 1
    assert log_p < FactorAnalysis(3).fit(X).score(X)
    assert "by minimum residuals: 600 rows" in model.summary()
    rows = np.insert(X, 2, 5.0, axis=1)
    wide = FactorAnalysis(3, method="minres").fit(rows)
    assert np.abs(wide.components_[:, 2]).max() < 1e-12
    with pytest.warns(ConvergenceWarning, match="max_iter=1 "):
        FactorAnalysis(3, method="minres", max_iter=1).fit(X)
