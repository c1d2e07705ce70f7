"""Statistics of rows of which a covariance or correlation matrix is known."""

import numpy as np
import pandas as pd
import pytest
from support.factor_problems import make_rows

import aefast
from aefast import FactorAnalysis, ProbabilisticPCA, SufficientStatistics, Whitening

from_covariance = SufficientStatistics.from_covariance


def test_the_matrix_stands_for_the_rows():
    X = make_rows()
    of_rows = SufficientStatistics(10).update(X)
    given = from_covariance(np.cov(X.T), len(X), X.mean(axis=0))
    assert (given.n_samples_, given.weight_sum_) == (600, 600.0)
    np.testing.assert_allclose(given.mean_, of_rows.mean_, rtol=1e-14)
    np.testing.assert_allclose(given.scatter_, of_rows.scatter_, rtol=1e-12, atol=1e-10)
    again = from_covariance(np.cov(X.T, ddof=0), len(X), X.mean(axis=0), ddof=0)
    np.testing.assert_allclose(again.scatter_, given.scatter_, rtol=1e-12, atol=1e-10)
    both = given + SufficientStatistics(10).update(X[:7])
    both.downdate(X[:7])
    np.testing.assert_allclose(both.scatter_, given.scatter_, rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize("model", [FactorAnalysis(2), ProbabilisticPCA(2), Whitening()])
def test_estimators_fit_to_it(model):
    X = make_rows()
    model.fit(X)
    expected = model.components_.copy()
    given = from_covariance(np.cov(X.T), len(X), X.mean(axis=0))
    components = model.fit_statistics(given).components_
    np.testing.assert_allclose(components, expected, rtol=1e-5, atol=1e-7)


def test_names_of_columns_are_kept(tmp_path):
    names = [f"test {j}" for j in range(10)]
    frame = pd.DataFrame(make_rows(), columns=names)
    given = from_covariance(frame.corr(), 600)
    given.save(tmp_path / "statistics")
    for statistics in (given, given.copy(), aefast.load(tmp_path / "statistics")):
        model = FactorAnalysis(2).fit_statistics(statistics)
        assert list(model.feature_names_in_) == names
    assert not hasattr(model.fit_statistics(given + given), "feature_names_in_")


def test_a_constant_column_and_a_large_mean():
    C = np.diag([1.0, 0.0, 4.0])
    given = from_covariance(C, 10, mean=[1e9, 2.0, 0.0])
    np.testing.assert_array_equal(given.mean_, [1e9, 2.0, 0.0])
    np.testing.assert_allclose(given.covariance(ddof=1), C, rtol=1e-15)


def asymmetric():
    C = np.eye(3)
    C[0, 2] = 0.5
    return C


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones((3, 2)), 10), r"C must be a square .* shape \(3, 2\); for rows use update"),
        ((np.ones(3), 10), "C must have 2 dimension"),
        ((np.diag([1, np.nan]), 10), r"C must be finite, got nan at \(1, 1\)"),
        ((np.diag([1, -2.0]), 10), r"diagonal of variances, got -2.0 for column 1"),
        ((pd.DataFrame(np.diag([1, -2.0]), columns=["a", "b"]), 10), "for column 'b'"),
        ((asymmetric(), 10), r"C must be symmetric, got 0.5 at \(0, 2\), 0.0 at \(2, 0\)"),
        (([[1, 2], [2, 1]], 10), "C must have no negative eigenvalue: .* is -1"),
        ((np.eye(2), 1), "n, the number of rows, must be at least 2, got 1"),
        ((np.eye(2), 10, [1, 2, 3]), r"mean must be a number or have shape \(2,\)"),
        ((np.eye(2), 10, np.inf), "mean must be finite"),
        ((np.eye(2), 10, 0, 10), r"ddof must be in \[0, n = 10\), got 10"),
        ((1e308 * np.eye(2), 10), "overflow float64"),
    ],
)
def test_refusals(arguments, message):
    with pytest.raises(ValueError, match=message):
        from_covariance(*arguments)


@pytest.mark.parametrize(("n", "ddof"), [(10.5, 1), (None, 1), (10, "1")])
def test_refusals_of_types(n, ddof):
    with pytest.raises(TypeError, match=r"n must be an integer|ddof must be a number"):
        from_covariance(np.eye(2), n, ddof=ddof)
