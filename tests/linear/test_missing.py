"""Factor models with missing entries, against formulas and direct maximisation."""

import warnings

import numpy as np
import pytest
from reference import factors as reference
from scipy import optimize
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from support.factor_problems import MODELS, make_rows

from aefast import FactorAnalysis, ProbabilisticPCA
from aefast.linear import patterns


@pytest.fixture(params=MODELS.values(), ids=MODELS)
def model(request):
    return clone(request.param)


def with_gaps(X, share=0.25, seed=0):
    """A quarter of the entries missing at random; one row has none left, one has all."""
    X = X.copy()
    missing = np.random.default_rng(seed).random(X.shape) < share
    missing[0], missing[1] = True, False
    X[missing] = np.nan
    return X


@pytest.fixture
def X():
    return with_gaps(make_rows(300))


def fitted(model, X):
    model.fit(make_rows(300))
    Sigma = model.get_covariance()
    return model, Sigma


def test_likelihoods_written_out(model, X):
    model, Sigma = fitted(model, X)
    expected = reference.log_density(X, model.mean_, Sigma)
    np.testing.assert_allclose(model.score_samples(X), expected, rtol=1e-9, atol=1e-12)
    assert model.score_samples(X)[0] == 0 == model.mahalanobis(X)[0]
    np.testing.assert_allclose(
        model.mahalanobis(X), reference.squared_distance(X, model.mean_, Sigma), rtol=1e-8
    )


def test_posteriors_written_out(model, X):
    model, _ = fitted(model, X)
    Phi = getattr(model, "factor_covariance_", None)
    means, covariances = model.posterior(X)
    assert covariances.shape == (300, 3, 3)
    np.testing.assert_array_equal(means, model.transform(X))
    for x, mean, covariance in zip(X, means, covariances, strict=True):
        expected = reference.posterior(
            x, model.mean_, model.components_, model.noise_variance_, Phi
        )
        np.testing.assert_allclose(mean, expected[0], rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(covariance, expected[1], rtol=1e-8, atol=1e-10)


def test_imputations_written_out(model, X):
    model, Sigma = fitted(model, X)
    before = X.copy()
    imputed = model.impute(X)
    np.testing.assert_allclose(imputed, reference.impute(X, model.mean_, Sigma), rtol=1e-8)
    observed = ~np.isnan(X)
    np.testing.assert_array_equal(imputed[observed], X[observed])
    np.testing.assert_allclose(imputed[0], model.mean_, rtol=1e-12)
    np.testing.assert_array_equal(X, before)
    complete = np.where(observed, X, 0.0)
    np.testing.assert_array_equal(model.impute(complete), complete)
    single = model.impute(X.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, imputed, rtol=1e-4, atol=1e-4)


def test_blocks_of_rows_change_nothing(model, X, monkeypatch):
    X = X[:100]
    whole = clone(model).fit(X)
    monkeypatch.setattr(patterns, "BLOCK_NUMBERS", 700)
    parts = model.fit(X)
    np.testing.assert_allclose(parts.get_covariance(), whole.get_covariance(), rtol=1e-6)
    np.testing.assert_allclose(parts.score_samples(X), whole.score_samples(X), rtol=1e-6)


@pytest.mark.parametrize("of", [ProbabilisticPCA, FactorAnalysis])
def test_em_reaches_what_direct_maximisation_does(of):
    """BFGS on the likelihood written out finds nothing better than EM.

    It starts from the end of EM and from elsewhere; the table has five columns and one factor.
    """
    X = with_gaps(make_rows(80, 5, 1, seed=3), 0.2)
    model = of(1, tol=1e-11, max_iter=20_000).fit(X)
    noise = np.atleast_1d(model.noise_variance_)

    def loss(parameters):
        mean, W, psi = parameters[:5], parameters[None, 5:10], np.exp(parameters[10:])
        return -reference.log_density(X, mean, reference.covariance(W, psi)).mean()

    end = np.concatenate([model.mean_, model.components_[0], np.log(noise)])
    elsewhere = np.concatenate([np.nanmean(X, axis=0), np.ones(5), np.zeros(len(noise))])
    reached = model.score(X)
    for start in (end, elsewhere):
        best = optimize.minimize(loss, start, method="BFGS", options={"gtol": 1e-7})
        assert -best.fun == pytest.approx(reached, abs=2e-7)
    np.testing.assert_allclose(np.abs(best.x[5:10]), np.abs(model.components_[0]), atol=2e-3)


@pytest.mark.parametrize("of", [ProbabilisticPCA(3), FactorAnalysis(3)], ids=["ppca", "fa"])
def test_em_rises_and_ends_where_the_closed_form_does(of):
    """One missing entry, then none that matters: EM and the other path agree."""
    X = make_rows(300)
    complete = clone(of).fit(X)
    X = np.vstack([X, np.full((1, 10), np.nan)])
    model = clone(of).set_params(tol=1e-11, max_iter=5000).fit(X)
    curve = model.log_likelihood_curve_
    assert (np.diff(curve) >= 0).all() and model.n_iter_ == len(curve)
    np.testing.assert_allclose(
        model.get_covariance(), complete.get_covariance(), rtol=1e-3, atol=1e-4
    )
    assert model.score(X[:-1]) == pytest.approx(complete.score(X[:-1]), abs=1e-7)
    assert curve[-1] == pytest.approx(model.score(X), rel=1e-9)


@pytest.mark.parametrize("model", [ProbabilisticPCA(2), FactorAnalysis(2)], ids=["ppca", "fa"])
def test_integer_weights_are_repetitions(model, X):
    X = X[:150]
    weight = np.random.default_rng(1).integers(0, 3, len(X))
    weighted = clone(model).fit(X, sample_weight=weight)
    repeated = clone(model).fit(np.repeat(X, weight, axis=0))
    np.testing.assert_allclose(weighted.mean_, repeated.mean_, rtol=1e-3, atol=1e-3)
    assert weighted.score(X) == pytest.approx(repeated.score(X), rel=1e-4)
    assert weighted.n_samples_seen_ == len(X)


def test_em_learns_more_than_filling_in_means():
    """Held-out complete rows: the truth is nearer."""
    rows = make_rows(3000, seed=5)
    X, held_out = with_gaps(rows[:2000], 0.5), rows[2000:]
    filled = np.where(np.isnan(X), np.nanmean(X, axis=0), X)
    for of in (ProbabilisticPCA(3, tol=1e-4), FactorAnalysis(3, tol=1e-4)):
        assert clone(of).fit(X).score(held_out) > clone(of).fit(filled).score(held_out) + 0.5


def test_refusals(model, X):
    with pytest.raises(ValueError, match="NaN at row 0, column 0"):
        clone(model).partial_fit(X)
    with pytest.raises(ValueError, match="all weights are zero"):
        clone(model).fit(X, sample_weight=np.zeros(len(X)))
    with pytest.raises(ValueError, match="column 4 of X has no observed entry"):
        only_here = X.copy()
        only_here[2:, 4] = np.nan
        clone(model).fit(only_here, sample_weight=np.arange(len(X)) > 1)
    with pytest.raises(ValueError, match="column 4 of X has no observed entry"):
        bad = X.copy()
        bad[:, 4] = np.nan
        clone(model).fit(bad)
    with pytest.raises(ValueError, match=r"infinity .*at row 1, column 2"):
        bad = X.copy()
        bad[1, 2] = -np.inf
        clone(model).fit(bad)
    with pytest.raises(ValueError, match=r"infinity .*at row 1, column 2"):
        fitted(model, X)[0].score_samples(bad)
    with pytest.raises(ValueError, match="fitted with missing entries"):
        clone(model).fit(X).partial_fit(make_rows(300))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for k in (2, "cv", "cv-1se"):
            with pytest.raises(ValueError, match="the squares of X overflow float64"):
                ProbabilisticPCA(k).fit(X * 1e200)
    with pytest.raises(ValueError, match="column 3 of X is observed in too few rows"):
        bad = X.copy()
        bad[:, 3] = np.nan
        bad[5::25, 3] = 1.0
        ProbabilisticPCA("cv").fit(bad)


def test_the_number_of_components_is_found():
    """The number of components has the highest likelihood of rows held out, written out here."""
    X = with_gaps(make_rows(400, 7, 2, seed=4), 0.15)
    scores = []
    for k in range(1, 7):
        total = 0.0
        for fold in range(5):
            is_held_out = np.arange(len(X)) % 5 == fold
            model = ProbabilisticPCA(k).fit(X[~is_held_out])
            Sigma = reference.covariance(model.components_, model.noise_variance_)
            total += reference.log_density(X[is_held_out], model.mean_, Sigma).sum()
        scores.append(total)
    model = ProbabilisticPCA("cv").fit(X)
    assert len(model.components_) == 1 + int(np.argmax(scores))
    again = ProbabilisticPCA("cv").fit(np.vstack([X, X + 50]), sample_weight=np.repeat([1, 0], 400))
    assert again.score(X) == pytest.approx(model.score(X), rel=1e-6)


def test_all_components_where_the_likelihood_falls_and_rises_again():
    """Columns that repeat one another: all components are best, a bisection alone ends at 5."""
    X = load_breast_cancer().data[:, [0, 1, 2, 3, 10, 12, 13, 20, 21, 22, 23]]
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    assert ProbabilisticPCA("cv").fit(X).n_components_ == 10
    X[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan
    model = ProbabilisticPCA("cv").fit(X)
    assert model.n_components_ == 10


@pytest.mark.parametrize("peak", [1, 2, 5, 8, 9])
def test_the_highest_score_is_found_by_few(peak):
    from aefast.linear.dimension import highest

    asked = []

    def score(k):
        asked.append(k)
        return -abs(k - peak)

    assert highest(score, 1, 9) == peak
    assert len(asked) == len(set(asked)) <= 8
    assert highest(score, 4, 4) == 4
