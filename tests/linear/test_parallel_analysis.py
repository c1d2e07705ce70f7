"""Parallel analysis: eigenvalues that independent columns reach by chance."""

import numpy as np
import pytest

from aefast.linear import dimension
from aefast.linear.dimension import above_parallel, parallel_eigenvalues


def correlation_eigenvalues(X):
    return np.linalg.eigvalsh(np.corrcoef(X.T))[::-1]


@pytest.mark.parametrize(("n", "d"), [(30, 5), (100, 8), (12, 20), (400, 60)])
def test_the_line_is_the_quantile_of_tables_of_independent_columns(n, d):
    rng = np.random.default_rng(1)
    tables = [correlation_eigenvalues(rng.normal(size=(n, d))) for _ in range(400)]
    expected, spread = np.quantile(tables, 0.95, axis=0), np.std(tables, axis=0)
    # The error of a quantile of 200 and one of 400 draws is some 0.2 standard deviations.
    assert (np.abs(parallel_eigenvalues(n, d) - expected) <= 0.7 * spread + 1e-12).all()


@pytest.mark.parametrize("n", [60, 3000])
def test_both_ways_to_draw_agree(n, monkeypatch):
    d = 120
    by_correlation = parallel_eigenvalues(n, d)
    monkeypatch.setattr(dimension, "DRAWN_FROM", 0)
    drawn = parallel_eigenvalues.__wrapped__(n, d)
    np.testing.assert_allclose(drawn, by_correlation, rtol=0.04, atol=1e-12)


def test_the_line_is_always_the_same_and_sums_to_about_d():
    line = parallel_eigenvalues(200, 10)
    np.testing.assert_array_equal(line, parallel_eigenvalues.__wrapped__(200, 10))
    assert (np.diff(line) < 0).all() and 10 < line.sum() < 12
    with pytest.raises(ValueError, match="read-only"):
        line[0] = 0


def test_few_rows_have_few_eigenvalues():
    line = parallel_eigenvalues(4, 10)
    assert (line[:3] > 0).all() and not line[3:].any()
    assert parallel_eigenvalues(1, 3).shape == (3,)
    assert parallel_eigenvalues(1e300, 3) == pytest.approx(np.ones(3), abs=1e-6)


def test_counting_ends_at_the_first_eigenvalue_below_the_line():
    line = np.array([2.0, 1.5, 1.0])
    assert above_parallel([3.0, 1.0, 1.1], line) == 1
    assert above_parallel([3.0, 2.0, 1.1], line) == 3
    assert above_parallel([1.0, 2.0, 1.1], line) == 0
    assert above_parallel([np.nan, 2.0, 1.1], line) == 0


@pytest.mark.parametrize("k", [1, 3])
def test_it_finds_the_number_of_factors(k):
    rng = np.random.default_rng(k)
    W = np.kron(np.eye(k), np.full((1, 4), 0.7))
    X = rng.normal(size=(500, k)) @ W + 0.7 * rng.normal(size=(500, 4 * k))
    assert above_parallel(correlation_eigenvalues(X), parallel_eigenvalues(*X.shape)) == k
