"""Likelihood of observed entries: sums of the kernel, gradient, and both ways to its maximum."""

import numpy as np
import pytest
from reference import factors as reference
from support.factor_problems import make_rows

from aefast import FactorAnalysis, ProbabilisticPCA
from aefast.linear import completed, observed, patterns
from aefast.linear.observed import PackedRows, Parameters


def with_gaps(n, d, n_patterns=None, seed=0):
    """Return rows with gaps, of all patterns or of few, one of them without an observed entry."""
    rng = np.random.default_rng(seed)
    X = make_rows(n, d, min(3, d), seed=seed)
    missing = rng.random((n_patterns or n, d)) < 0.3
    missing[0] = True
    X[missing[np.arange(n) % len(missing)]] = np.nan
    return X, rng.uniform(0.5, 2.0, n)


def some_parameters(k, d, seed=0):
    rng = np.random.default_rng(seed + 100)
    return Parameters(rng.normal(size=d) + 1, rng.normal(size=(k, d)), rng.uniform(0.2, 1.0, d))


SHAPES = [(1, 4, 1), (40, 5, 2), (150, 9, 3), (60, 17, 8), (700, 3, 1), (33, 20, 13)]


@pytest.mark.parametrize("n_patterns", [None, 4])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sums_written_out(shape, n_patterns, isa):
    n, d, k = shape
    X, weight = with_gaps(n + 1, d, n_patterns)
    at, zero, one = some_parameters(k, d), np.zeros(d), np.ones(d)
    got = PackedRows(X, weight, zero, one, k, None).moments(at)
    second, cross, squares, factors = reference.posterior_sums(X, weight, *at)
    options = {"rtol": 1e-9, "atol": 1e-9 * max(1.0, np.abs(second).max())}
    np.testing.assert_allclose(got.second, second, **options)
    np.testing.assert_allclose(got.cross, cross, **options)
    np.testing.assert_allclose(got.squares, squares, **options)
    np.testing.assert_allclose(got.factors, factors, **options)
    Sigma = reference.covariance(at.W, at.psi)
    log_p = reference.log_density(X, at.mean, Sigma)
    assert got.log_likelihood == pytest.approx(weight @ log_p, rel=1e-11)
    assert got.weight == pytest.approx(weight.sum())

    value, (mean, C) = PackedRows(X, weight, zero, one, k, None, True).completed(at)
    assert value == pytest.approx(weight @ log_p / weight.sum(), rel=1e-11)
    expected = reference.completed_moments(X, weight, at.mean, Sigma)
    np.testing.assert_allclose(mean, expected[0], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(C, expected[1], rtol=1e-9, atol=1e-9 * (1 + np.abs(C).max()))


@pytest.mark.parametrize("is_completed", [False, True])
def test_any_number_of_threads_and_slices_have_the_same_bits(is_completed, monkeypatch):
    X, weight = with_gaps(900, 12)
    at, found = some_parameters(6, 12), []
    for n_threads in (1, 2, 3):
        packed = PackedRows(X, weight, np.zeros(12), np.ones(12), 6, n_threads, is_completed)
        got = packed.completed(at) if is_completed else packed.moments(at)
        arrays = got[1] if is_completed else (got.second, got.cross, got.squares, got.factors)
        found.append([array.tobytes() for array in arrays])
    assert found[0] == found[1] == found[2]
    # packed anew for each evaluation, as where the rows do not fit in memory twice
    monkeypatch.setattr(observed, "MOST_PACKED", 1)
    again = PackedRows(X, weight, np.zeros(12), np.ones(12), 6, 1, is_completed)
    got = again.completed(at) if is_completed else again.moments(at)
    arrays = got[1] if is_completed else (got.second, got.cross, got.squares, got.factors)
    assert [array.tobytes() for array in arrays] == found[0]


def test_gradient_is_the_derivative():
    X, weight = with_gaps(50, 5)
    packed = PackedRows(X, weight, np.zeros(5), np.ones(5), 2, None)
    at = some_parameters(2, 5)
    slopes = observed.gradient(packed.moments(at), at)
    for which, (slope, name) in enumerate(zip(slopes, ("mean", "W", "psi"), strict=True)):
        for place in np.ndindex(slope.shape):
            values = []
            for h in (1e-5, -1e-5):
                moved = [np.array(part) for part in at]
                if name == "psi":
                    moved[which][place] *= np.exp(h)
                else:
                    moved[which][place] += h
                values.append(packed.moments(Parameters(*moved)).log_likelihood)
            derivative = (values[0] - values[1]) / 2e-5
            assert slope[place] == pytest.approx(derivative, rel=1e-5, abs=1e-5)


def em_to_its_end(rows, at, isotropic, floor):
    """Iterate EM from some parameters until it no longer rises by 1e-12; return the likelihood."""
    values = [-np.inf]
    for _ in range(4000):
        moments = patterns.Moments(*at[1].shape)
        for _, block in patterns.blocks(rows, at[0], len(at[1])):
            posterior = patterns.posterior(block, at[1], at[2])
            moments.add(block, posterior, np.ones(len(block.places)))
        values.append(moments.log_likelihood / moments.weight)
        if values[-1] < values[-2] + 1e-12:
            break
        at = patterns._maximize(moments, at, isotropic, floor)
    return max(values)


@pytest.mark.filterwarnings("ignore:Heywood")
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("of", [FactorAnalysis, ProbabilisticPCA])
def test_likelihoods_are_those_of_em_run_to_its_end(of, seed):
    rng = np.random.default_rng(seed)
    X = make_rows(200, 8, 2, seed=seed)
    X[:, 3] = X[:, 2] + 0.05 * rng.normal(size=200)  # slow for EM
    X[rng.random(X.shape) < 0.2] = np.nan
    means = np.nanmean(X, axis=0)
    filled = np.where(np.isnan(X), means, X)
    start = of(2, tol=1e-3).fit(filled)
    psi = np.broadcast_to(start.noise_variance_, 8).copy()
    floor = 1e-6 * filled.var(axis=0)
    begin = start.mean_, start.components_, np.maximum(psi, floor)
    expected = em_to_its_end(X, begin, of is ProbabilisticPCA, floor)
    reached = of(2).fit(X).score(X)
    assert reached >= expected - 1e-8 * abs(expected)


@pytest.mark.parametrize("k", [1, 4, 7])
def test_both_ways_to_the_maximum_of_ppca_agree(k):
    X, weight = with_gaps(300, 8, seed=3)
    start = np.nanmean(X, axis=0), np.eye(k, 8), np.ones(8)
    one = completed.maximize(X, weight, start, 1e-9, 1e-8, 3000)
    other = observed.maximize(X, weight, start, True, np.full(8, 1e-9), 1e-8, 3000)
    assert one[4] and other[4]
    assert one[3][-1] == pytest.approx(other[3][-1], rel=1e-8)
    Sigma = reference.covariance(one[1], one[2])
    log_p = reference.log_density(X, one[0], Sigma)
    assert one[3][-1] == pytest.approx(weight @ log_p / weight.sum(), rel=1e-10)
    assert (np.diff(one[3]) >= 0).all() and (np.diff(other[3]) >= 0).all()


def test_rows_of_few_patterns_are_compressed():
    X, weight = with_gaps(5000, 4, n_patterns=3)
    found = observed.by_pattern(X, weight)
    assert len(found.scale) <= 2 * 5  # of two patterns; the third has nothing
    assert len(found.weight) == len(found.observed) == 2
    assert found.weight.sum() == pytest.approx(weight[np.arange(5000) % 3 > 0].sum())


def test_patterns_of_many_rows_are_cut():
    X = np.random.default_rng(0).normal(size=(90, 60))
    X[:, 0] = np.nan
    found = observed.by_pattern(X, np.ones(90))
    assert np.diff(found.row_begin).max() <= 32 and len(found.scale) == 90
    assert found.weight.sum() == pytest.approx(90)
