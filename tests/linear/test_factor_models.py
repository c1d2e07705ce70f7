"""Probabilistic PCA and factor analysis: what both estimators promise."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from reference import factors as reference
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks
from support.factor_problems import MODELS, make_rows

import aefast
from aefast import FactorAnalysis, ProbabilisticPCA, SufficientStatistics


@pytest.fixture(params=MODELS.values(), ids=MODELS)
def model(request):
    return clone(request.param)


@pytest.fixture
def X():
    return make_rows()


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(
    [
        ProbabilisticPCA(),
        ProbabilisticPCA(0.5),
        ProbabilisticPCA("mle"),
        FactorAnalysis(),
        FactorAnalysis(rotation="promax"),
    ]
)
def test_estimator_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    check(estimator)


@pytest.mark.parametrize("of", [ProbabilisticPCA(3), FactorAnalysis(3)], ids=["ppca", "fa"])
def test_gradients_vanish_at_the_optimum(of, X):
    """By central differences of the likelihood written out, in every parameter."""
    X = X[:200]
    model = of.fit(X)
    mean, W, psi = model.mean_, model.components_, model.noise_variance_

    def value(mean, W, psi):
        return reference.log_density(X, mean, reference.covariance(W, psi)).mean()

    def slope(function, at, step=1e-4):
        out = np.empty(at.size)
        for i in range(at.size):
            delta = np.zeros(at.size)
            delta[i] = step
            delta = delta.reshape(at.shape)
            out[i] = (function(at + delta) - function(at - delta)) / (2 * step)
        return out

    noise = np.atleast_1d(psi)
    slopes = [
        slope(lambda m: value(m, W, psi), mean),
        slope(lambda w: value(mean, w, psi), W),
        slope(lambda log_p: value(mean, W, np.exp(log_p)), np.log(noise)),
    ]
    assert max(np.abs(part).max() for part in slopes) < 2e-6


def test_likelihoods_written_out(model, X, isa):
    model.fit(X)
    Sigma = reference.covariance(
        model.components_, model.noise_variance_, getattr(model, "factor_covariance_", None)
    )
    np.testing.assert_allclose(model.get_covariance(), Sigma, rtol=1e-10)
    np.testing.assert_allclose(model.get_precision(), np.linalg.inv(Sigma), rtol=1e-8, atol=1e-10)
    expected = reference.log_density(X, model.mean_, Sigma)
    np.testing.assert_allclose(model.score_samples(X), expected, rtol=1e-10)
    assert model.score(X) == pytest.approx(expected.mean(), rel=1e-12)
    np.testing.assert_allclose(
        model.mahalanobis(X), reference.squared_distance(X, model.mean_, Sigma), rtol=1e-9
    )
    n_parameters = model._n_parameters()
    assert model.aic(X) == pytest.approx(2 * n_parameters - 2 * expected.sum())
    assert model.bic(X) == pytest.approx(n_parameters * np.log(len(X)) - 2 * expected.sum())


def test_posterior_written_out(model, X, isa):
    model.fit(X)
    Phi = getattr(model, "factor_covariance_", None)
    means, covariance = model.posterior(X[:20])
    np.testing.assert_array_equal(means, model.transform(X[:20]))
    for x, mean in zip(X[:20], means, strict=True):
        expected = reference.posterior(
            x, model.mean_, model.components_, model.noise_variance_, Phi
        )
        np.testing.assert_allclose(mean, expected[0], rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(covariance, expected[1], rtol=1e-8, atol=1e-10)
    H = np.eye(3)
    np.testing.assert_allclose(model.inverse_transform(H), H @ model.components_ + model.mean_)


def test_numbers_of_parameters():
    X = make_rows(50, 6, 2)
    assert ProbabilisticPCA(2).fit(X)._n_parameters() == 6 * 2 - 1 + 1 + 6
    assert FactorAnalysis(2).fit(X)._n_parameters() == 6 * 2 - 1 + 6 + 6


def test_float32(model, X):
    double, single = clone(model).fit(X), model.fit(X.astype(np.float32))
    assert single.transform(X.astype(np.float32)).dtype == np.float32
    assert single.inverse_transform(np.zeros((1, 3), np.float32)).dtype == np.float32
    assert single.score_samples(X.astype(np.float32)).dtype == np.float64
    assert single.score(X) == pytest.approx(double.score(X), rel=1e-6)


def test_samples_converge_to_the_model(model, X):
    model.fit(X)
    rows = model.sample(200_000, random_state=0)
    Sigma = model.get_covariance()
    error = np.cov(rows.T, ddof=0) - Sigma
    spread = np.sqrt(np.outer(np.diagonal(Sigma), np.diagonal(Sigma)) + Sigma**2)
    assert np.abs(error / spread).max() < 5 / np.sqrt(200_000)
    deviation = (rows.mean(axis=0) - model.mean_) / np.sqrt(np.diagonal(Sigma))
    assert np.abs(deviation).max() < 5 / np.sqrt(200_000)
    assert model.sample().shape == (1, 10)
    np.testing.assert_array_equal(model.sample(3, 7), model.sample(3, np.random.RandomState(7)))


@pytest.mark.filterwarnings("ignore:Heywood case")
def test_streamed_merged_weighted(model, X):
    expected = clone(model).fit(X)
    streamed = clone(model)
    for chunk in np.array_split(X, 9):
        assert streamed.partial_fit(chunk) is streamed
    halves = SufficientStatistics(10).update(X[:250]) + SufficientStatistics(10).update(X[250:])
    weighted = clone(model).fit(np.vstack([X, 100 + X]), sample_weight=np.repeat([1.0, 0.0], 600))
    others = [
        streamed,
        clone(model).fit_statistics(halves),
        weighted,
        clone(model).fit(sparse.csr_matrix(X)),
        clone(model).fit_statistics(SufficientStatistics(10).update(X[:250])).partial_fit(X[250:]),
    ]
    for other in others:
        np.testing.assert_allclose(other.mean_, expected.mean_, rtol=1e-11)
        np.testing.assert_allclose(other.get_covariance(), expected.get_covariance(), rtol=1e-5)
        assert other.score(X) == pytest.approx(expected.score(X), rel=1e-9)


def test_bits_do_not_depend_on_threads(model, X):
    one, two = clone(model).set_params(n_threads=1).fit(X), model.set_params(n_threads=2).fit(X)
    assert one.components_.tobytes() == two.components_.tobytes()
    assert one.score_samples(X).tobytes() == two.score_samples(X).tobytes()
    assert one.transform(X).tobytes() == two.transform(X).tobytes()


def test_copies_and_files(model, X, tmp_path):
    frame = pd.DataFrame(X, columns=list("abcdefghij"))
    model.set_output(transform="pandas").fit(frame)
    H = model.transform(frame)
    assert list(H.columns) == list(model.get_feature_names_out())
    model.save(tmp_path / "m")
    loaded = aefast.load(tmp_path / "m")
    for other in (loaded, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert np.asarray(other.transform(frame)).tobytes() == H.to_numpy().tobytes()
        assert other.score_samples(frame).tobytes() == model.score_samples(frame).tobytes()
        assert other.get_params() == model.get_params()
        np.testing.assert_array_equal(other.sample(4, 0), model.sample(4, 0))
        assert other.log_likelihood_curve_ == model.log_likelihood_curve_
    assert list(loaded.feature_names_in_) == list(frame.columns)
    with pytest.raises(ValueError, match="loaded from a file"):
        loaded.partial_fit(frame)


def test_a_new_fit_forgets_the_old_one(model, X):
    model.fit(X).score(X)
    model.fit(X + 5)
    assert model.score(X + 5) == pytest.approx(clone(model).fit(X).score(X), rel=1e-9)


@pytest.mark.filterwarnings("ignore:Heywood case", "ignore:the rows lie in")
def test_rows_one_by_one(model, X):
    """The first one has no variance: the model waits for more."""
    streamed = clone(model).partial_fit(X[:1])
    for method in (streamed.transform, streamed.score_samples, streamed.partial_fit(X[:1]).impute):
        with pytest.raises(NotFittedError):
            method(X)
    for row in X[1:40]:
        streamed.partial_fit(row[None])
    rows = np.vstack([X[:1], X[:40]])
    assert streamed.score(X) == pytest.approx(clone(model).fit(rows).score(X), rel=1e-6)


def test_refusals(model, X):
    with pytest.raises(NotFittedError):
        model.sample()
    with pytest.raises(ValueError, match=r"no variance.*n_samples = 1"):
        clone(model).fit(X[:1])
    with pytest.raises(ValueError, match="no variance"):
        clone(model).fit(np.ones((5, 4)))
    with pytest.raises(ValueError, match="at most n_features = 2, got 3"):
        clone(model).fit(X[:, :2])
    with pytest.raises(ValueError, match=r"infinity .*at row 4, column 1"):
        bad = X.copy()
        bad[4, 1] = np.inf
        clone(model).fit(bad)
    with pytest.raises(ValueError, match="weights are zero"):
        clone(model).fit(X, sample_weight=np.zeros(len(X)))
    model.fit(X)
    with pytest.raises(ValueError, match=r"infinity .*at row 4, column 1"):
        model.score_samples(bad)
    with pytest.raises(ValueError, match="H must have 3 columns"):
        model.inverse_transform(np.ones((2, 4)))
    for n_samples, error in (
        (0, ValueError),
        (-1, ValueError),
        (1.5, TypeError),
        (True, TypeError),
    ):
        with pytest.raises(error, match="n_samples"):
            model.sample(n_samples)
    with pytest.raises(ValueError, match="expecting 10 features"):
        model.transform(X[:, :4])


def test_bad_parameters(X):
    for estimator in (
        ProbabilisticPCA(0),
        ProbabilisticPCA(1.5),
        ProbabilisticPCA("most"),
        ProbabilisticPCA(tol=-1),
        FactorAnalysis(0.5),
        FactorAnalysis(rotation="bentler"),
        FactorAnalysis(min_noise=0.0),
        FactorAnalysis(max_iter=0),
    ):
        with pytest.raises(ValueError, match="parameter of"):
            estimator.fit(X)
    with pytest.raises(ValueError, match="use fit"):
        ProbabilisticPCA("cv").partial_fit(X)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_rows_and_weights_that_say_nothing(model, X):
    """Rows of weight 0 do not matter, whatever they are.

    A row of which all is missing changes nothing but the count.
    """
    weight = np.ones(600)
    weight[::3] = 0
    spoilt = X.copy()
    spoilt[::3] = 1e6
    expected = clone(model).fit(X[weight > 0])
    assert clone(model).fit(spoilt, sample_weight=weight).score(X) == pytest.approx(
        expected.score(X), rel=1e-8
    )
    gaps = X.copy()
    gaps[5, 2] = np.nan
    emptied = np.vstack([gaps, np.full((7, 10), np.nan)])
    with_empty, without = clone(model).fit(emptied), clone(model).fit(gaps)
    assert with_empty.n_samples_seen_ == 607
    assert with_empty.score(X) == pytest.approx(without.score(X), rel=1e-5)
    np.testing.assert_allclose(with_empty.impute(emptied)[-1], with_empty.mean_)
    with pytest.raises(ValueError, match="no observed entry"):
        clone(model).fit(np.full((9, 10), np.nan))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("of", [ProbabilisticPCA, FactorAnalysis])
def test_awkward_tables_give_finite_models(of, X):
    X = X[:200]
    tables = {
        "constant column": np.hstack([X, np.full((200, 1), 7.0)]),
        "duplicate columns": np.hstack([X, X[:, :2]]),
        "two constant columns and a copy": np.hstack([X, np.ones((200, 2)), X[:, :1]]),
        "d > n": make_rows(8, 20),
        "two rows": X[:2],
        "rank 1": np.outer(np.arange(9.0), np.arange(1.0, 6.0)),
        "huge means": X + 1e8,
        "one column": X[:, :1],
        "tiny": 1e-150 * X,
        "large": 1e140 * X,
    }
    rng = np.random.default_rng(0)
    for name, table in list(tables.items()):
        if len(table) > 2 and name != "tiny":
            gaps = table.copy()
            gaps[rng.random(table.shape) < 0.2] = np.nan
            gaps[-2:] = table[-2:]
            tables[f"{name}, with gaps"] = gaps
    for name, table in tables.items():
        for k in (1, min(3, table.shape[1]), table.shape[1]):
            model = of(k).fit(table)
            assert np.isfinite(model.components_).all(), name
            assert (np.asarray(model.noise_variance_) > 0).all(), name
            assert np.isfinite(model.score_samples(table)).all(), name
            assert np.isfinite(model.transform(table)).all(), name
            assert np.isfinite(model.impute(table)).all(), name
            assert (np.diff(model.log_likelihood_curve_) >= 0).all(), name
            assert np.isfinite(model.sample(3, 0)).all(), name
