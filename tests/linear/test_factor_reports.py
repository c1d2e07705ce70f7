"""What users of factor analysis report: scores, tests of fit, tables."""

import re
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from reference import factor_scores as reference
from scipy import sparse, stats
from sklearn.datasets import load_wine
from sklearn.exceptions import ConvergenceWarning
from support.factor_problems import make_rows

import aefast
from aefast import FactorAnalysis, SufficientStatistics
from aefast.factors import bartlett_sphericity, kaiser_meyer_olkin


@pytest.fixture
def X():
    return make_rows(d=12)


@pytest.fixture
def model(X):
    return FactorAnalysis(3, rotation="oblimin").fit(X)


@pytest.mark.parametrize("rotation", [None, "varimax", "oblimin", "promax", "geomin"])
def test_factors_are_in_the_order_of_sums_of_squared_loadings(rotation):
    frame = load_wine(as_frame=True).data  # without a rotation the second would have the least
    model = FactorAnalysis(3, rotation=rotation).fit(frame)
    assert (np.diff(model.ss_loadings_) <= 0).all()
    gaps = frame.mask(np.random.default_rng(0).random(frame.shape) < 0.2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a Heywood case
        model.fit(gaps)
    assert (np.diff(model.ss_loadings_) <= 0).all()


# ---- scores ----


@pytest.mark.parametrize("rotation", [None, "oblimin"])
def test_bartletts_scores(rotation, X):
    model = FactorAnalysis(3, rotation=rotation, scores="bartlett").fit(X)
    model_of = (model.mean_, model.components_, model.noise_variance_)
    expected = np.array([reference.bartlett(x, *model_of) for x in X])
    np.testing.assert_allclose(model.transform(X), expected, rtol=1e-9, atol=1e-10)
    gaps = X[:50].copy()
    gaps[np.random.default_rng(0).random(gaps.shape) < 0.3] = np.nan
    expected = np.array([reference.bartlett(x, *model_of) for x in gaps])
    np.testing.assert_allclose(model.transform(gaps), expected, rtol=1e-6, atol=1e-8)


def test_bartletts_scores_are_unbiased_and_vary_more(X):
    """E[scores | h] = h, whereas posterior means shrink."""
    regression = FactorAnalysis(3).fit(X)
    bartlett = FactorAnalysis(3, scores="bartlett").fit(X)
    h = np.random.default_rng(0).normal(size=(5, 3))
    means = regression.inverse_transform(h)
    np.testing.assert_allclose(bartlett.transform(means), h, rtol=1e-9)
    assert (bartlett.transform(X).std(axis=0) > regression.transform(X).std(axis=0)).all()
    np.testing.assert_allclose(
        bartlett.reconstruct(X), bartlett.inverse_transform(bartlett.transform(X))
    )
    np.testing.assert_array_equal(bartlett.posterior(X)[0], regression.transform(X))


def test_bartletts_scores_of_few_observed_columns(X):
    """Two columns do not determine three factors: the shortest estimate; none: 0."""
    model = FactorAnalysis(3, scores="bartlett").fit(X)
    few = np.full((2, 12), np.nan)
    few[0, :2] = X[0, :2]
    scores = model.transform(few)
    W, psi = model.components_[:, :2], model.noise_variance_[:2]
    fitted = scores[0] @ W + model.mean_[:2]
    np.testing.assert_allclose(fitted, X[0, :2], rtol=1e-5)
    assert np.linalg.matrix_rank(np.vstack([W.T, scores[0]]), tol=1e-5) == 2
    np.testing.assert_allclose(scores[1], 0, atol=1e-12)
    assert psi.min() > 0


def test_bartletts_scores_keep_types(X):
    model = FactorAnalysis(3, scores="bartlett").fit(X)
    assert model.transform(X.astype(np.float32)).dtype == np.float32
    gaps = np.where(np.eye(len(X), 12) > 0, np.nan, X).astype(np.float32)
    assert model.transform(gaps).dtype == np.float32
    scores = model.transform(sparse.csr_array(X))
    np.testing.assert_allclose(scores, model.transform(X), rtol=1e-9, atol=1e-9)
    with pytest.raises(ValueError, match="'scores' parameter"):
        FactorAnalysis(3, scores="thurstone").fit(X)


# ---- tests of fit ----


def test_fit_written_out(X, model):
    fit = model.goodness_of_fit()
    C = np.cov(X.T, ddof=0)
    Sigma = model.get_covariance()
    assert fit.discrepancy == pytest.approx(reference.discrepancy(C, Sigma), rel=1e-9)
    n, d, k = len(X), 12, 3
    df = ((d - k) ** 2 - (d + k)) / 2
    chi_square = (n - 1 - (2 * d + 5) / 6 - 2 * k / 3) * fit.discrepancy
    assert (fit.degrees_of_freedom, fit.n_samples) == (df, n)
    assert fit.chi_square == pytest.approx(chi_square, rel=1e-12)
    assert fit.p_value == pytest.approx(stats.chi2.sf(chi_square, df), rel=1e-12)
    low, high = fit.rmsea_interval
    for bound, probability in ((low, 0.95), (high, 0.05)):
        noncentrality = bound**2 * df * (n - 1)
        at_bound = stats.ncx2.cdf(chi_square, df, noncentrality) if noncentrality else 0.95
        assert at_bound == pytest.approx(probability, rel=1e-6)
    residual = np.corrcoef(X.T) - Sigma / np.sqrt(np.outer(np.diag(C), np.diag(C)))
    lower = residual[np.tril_indices(d)]
    assert fit.srmr == pytest.approx(np.sqrt(np.mean(lower**2)), rel=1e-9)
    assert fit.rmsr == pytest.approx(np.sqrt(np.mean(residual[np.tril_indices(d, -1)] ** 2)))


def test_p_values_are_uniform_where_the_model_holds():
    W = np.kron(np.eye(2), np.ones(4))
    values = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        rows = rng.normal(size=(300, 2)) @ W + rng.normal(size=(300, 8))
        values.append(FactorAnalysis(2).fit(rows).goodness_of_fit().p_value)
    assert stats.kstest(values, "uniform").pvalue > 0.01
    wrong = FactorAnalysis(1).fit(rows).goodness_of_fit()
    assert wrong.p_value < 1e-6 and wrong.rmsea > 0.1 and wrong.tli < 0.9 and wrong.cfi < 0.95


def test_too_many_factors_leave_no_test():
    rows = np.random.default_rng(0).normal(size=(200, 4))
    fit = FactorAnalysis(2).fit(rows).goodness_of_fit()
    assert fit.degrees_of_freedom == -1
    values = (fit.p_value, fit.rmsea, *fit.rmsea_interval, fit.tli)
    assert np.isnan(values).all() and fit.srmr < 1e-3


def test_statistics_of_other_rows(X, model, tmp_path):
    here = SufficientStatistics(12).update(X)
    assert model.goodness_of_fit(here) == model.goodness_of_fit()
    model.save(tmp_path / "model")
    loaded = aefast.load(tmp_path / "model")
    assert loaded.goodness_of_fit(here).chi_square == pytest.approx(
        model.goodness_of_fit().chi_square, rel=1e-9
    )
    with pytest.raises(ValueError, match="loaded from a file, and has no statistics"):
        loaded.goodness_of_fit()
    with pytest.raises(TypeError, match="must be SufficientStatistics, got ndarray"):
        model.goodness_of_fit(X)
    with pytest.raises(ValueError, match="statistics must be of 12 features, got 3"):
        model.goodness_of_fit(SufficientStatistics(3).update(X[:, :3]))


def test_singular_correlations_and_few_rows(X):
    few = X[:10]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of Heywood cases
        model = FactorAnalysis(2).fit(few)
    with pytest.raises(ValueError, match=r"correlation matrix of 12 columns is singular: .* = 10"):
        model.goodness_of_fit()
    with pytest.raises(ValueError, match="singular"):
        bartlett_sphericity(few)
    assert "No test of fit: the correlation matrix" in model.summary()
    rows = np.random.default_rng(0).normal(size=(5, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = FactorAnalysis(3).fit(rows)
    with pytest.raises(ValueError, match="needs more rows, got a sum of weights of 5"):
        model.goodness_of_fit()


def test_constant_columns_do_not_count(X, model):
    rows = np.insert(X, 4, 7.0, axis=1)
    wide = FactorAnalysis(3, rotation="oblimin").fit(rows)
    fit, expected = wide.goodness_of_fit(), model.goodness_of_fit()
    np.testing.assert_allclose(fit.chi_square, expected.chi_square, rtol=1e-5)
    assert fit.degrees_of_freedom == expected.degrees_of_freedom
    assert np.isnan(kaiser_meyer_olkin(rows).of_columns[4])
    assert kaiser_meyer_olkin(rows).overall == pytest.approx(kaiser_meyer_olkin(X).overall)
    assert wide.communalities_[4] < 1e-12 and wide.uniquenesses_[4] == 1


# ---- before a factor analysis ----


def test_sphericity(X):
    n, d = X.shape
    found = bartlett_sphericity(X)
    log_det = np.linalg.slogdet(np.corrcoef(X.T))[1]
    assert found.chi_square == pytest.approx(-(n - 1 - (2 * d + 5) / 6) * log_det, rel=1e-9)
    assert found.degrees_of_freedom == 66 and found.p_value < 1e-12
    noise = np.random.default_rng(0).normal(size=(500, 6))
    found = bartlett_sphericity(SufficientStatistics(6).update(noise))
    assert 0.001 < found.p_value == pytest.approx(stats.chi2.sf(found.chi_square, 15))


def test_adequacy_from_regressions(X):
    R = np.corrcoef(X.T)
    found = kaiser_meyer_olkin(pd.DataFrame(X))
    squares = np.square(R - np.eye(12))
    partial = np.array(
        [
            [reference.partial_correlation(R, i, j) if i != j else 0.0 for j in range(12)]
            for i in range(12)
        ]
    )
    expected = squares.sum(axis=0) / (squares + partial**2).sum(axis=0)
    np.testing.assert_allclose(found.of_columns, expected, rtol=1e-9)
    assert found.overall == pytest.approx(squares.sum() / (squares + partial**2).sum())
    assert kaiser_meyer_olkin(sparse.csr_array(X)).overall == pytest.approx(found.overall)


# ---- tables ----


def test_frame(X):
    names = [f"test {j}" for j in range(12)]
    model = FactorAnalysis(3, rotation="varimax").fit(pd.DataFrame(X, columns=names))
    frame = model.loadings_frame()
    assert list(frame.index) == names and list(frame.columns) == ["F1", "F2", "F3"]
    np.testing.assert_array_equal(frame.to_numpy(), model.loadings_)
    by_factor = model.loadings_frame(sort=True)
    largest = by_factor.abs().to_numpy().argmax(axis=1)
    assert (np.diff(largest) >= 0).all() and sorted(by_factor.index) == sorted(names)
    pd.testing.assert_frame_equal(by_factor.loc[names], frame)
    assert FactorAnalysis(2).fit(X).loadings_frame().index[3] == "x3"


def test_a_frame_needs_pandas(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pandas"):
        model.loadings_frame()
    model.summary()


def test_summary(model, X):
    text = model.summary(cutoff=0.3)
    assert repr(text) == str(text)
    assert text.startswith(
        "Factor analysis by maximum likelihood: 600 rows, 12 columns, 3 factors, rotation oblimin\n"
    )
    lines = text.splitlines()
    for j, row in enumerate(model.loadings_):
        shown = next(line for line in lines if line.startswith(f"x{j} ")).split()[1:]
        expected = [f"{value:.3f}" for value in row if abs(value) >= 0.3]
        assert shown == [
            *expected, f"{model.communalities_[j]:.3f}", f"{model.uniquenesses_[j]:.3f}"
        ]  # fmt: skip
    sums = next(line for line in lines if line.startswith("SS loadings")).split()[2:]
    assert sums == [f"{value:.3f}" for value in model.ss_loadings_]
    assert f"{model.factor_covariance_[0, 1]:.3f}" in text
    fit = model.goodness_of_fit()
    assert f"chi-squared = {fit.chi_square:.2f} on 33 degrees of freedom" in text
    assert f"RMSEA = {fit.rmsea:.3f}, 90 % interval" in text
    plain = FactorAnalysis(1).fit(make_rows(k=1)).summary()
    assert "1 factor, not rotated" in plain and "Correlations of factors" not in plain


def test_summaries_of_many_columns_are_cut():
    X = make_rows(600, 260, 3)
    names = [f"a column with a very long name, number {j}" for j in range(260)]
    text = FactorAnalysis(3).fit(pd.DataFrame(X, columns=names)).summary()
    assert "(60 more columns, 0 more factors: see loadings_)" in text
    assert max(map(len, text.splitlines())) < 120
    assert len(re.findall("^a column with a very lo…", text, re.MULTILINE)) == 200


def test_names_of_columns_do_not_break_lines(X):
    names = ["two\nlines", *(f"x{j}" for j in range(1, 12))]
    model = FactorAnalysis(2).fit(pd.DataFrame(X, columns=names))
    assert "\ntwo lines " in model.summary()


def test_summary_of_a_model_with_missing_entries(X):
    X[::5, 3] = np.nan
    assert (
        "No test of fit: this model was fitted with missing" in FactorAnalysis(2).fit(X).summary()
    )


def test_nothing_is_reported_before_a_fit(X):
    model = FactorAnalysis(2, scores="bartlett")
    for call in (
        model.summary, model.loadings_frame, model.goodness_of_fit, lambda: model.transform(X)
    ):  # fmt: skip
        with pytest.raises(ValueError, match="not fitted"):
            call()
    assert not hasattr(model, "loadings_")
