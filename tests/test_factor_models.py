"""Probabilistic PCA and factor analysis: closed forms, likelihoods, optima, samples, chunks, files."""

import copy
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import reference_factors as reference
from scipy import sparse
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.decomposition import FactorAnalysis as SklearnFactorAnalysis
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

import aefast
from aefast import FactorAnalysis, ProbabilisticPCA, SufficientStatistics

MODELS = [
    ProbabilisticPCA(3),
    FactorAnalysis(3),
    FactorAnalysis(3, rotation="varimax"),
    FactorAnalysis(3, rotation="promax"),
]
IDS = ["ppca", "fa", "varimax", "promax"]


@pytest.fixture(params=MODELS, ids=IDS)
def model(request):
    return clone(request.param)


def make_rows(n=600, d=10, k=3, seed=0, mean=2.0):
    """Rows of a factor model with loadings of simple structure."""
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(k, d)) * (rng.random((k, d)) < 0.7) + 0.1
    return rng.normal(size=(n, k)) @ W + rng.normal(size=(n, d)) * rng.uniform(0.3, 1, d) + mean


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


# ---- what is fitted ----


def test_ppca_is_the_closed_form(X, isa):
    mean, W, noise = reference.probabilistic_pca(X, 3)
    model = ProbabilisticPCA(3).fit(X)
    np.testing.assert_allclose(model.mean_, mean, rtol=1e-13)
    assert model.noise_variance_ == pytest.approx(noise, rel=1e-11)
    W *= np.sign((W * model.components_).sum(axis=1))[:, None]
    np.testing.assert_allclose(model.components_, W, atol=1e-10)


@pytest.mark.parametrize("k", [1, 3, 9])
def test_ppca_like_scikit_learn(X, k):
    """Its PCA divides by n − 1."""
    theirs, model = PCA(k, svd_solver="full").fit(X), ProbabilisticPCA(k).fit(X)
    n = len(X)
    share = (n - 1) / n
    assert model.noise_variance_ == pytest.approx(theirs.noise_variance_ * share, rel=1e-8)
    np.testing.assert_allclose(
        model.explained_variance_, theirs.explained_variance_ * share, rtol=1e-8
    )
    np.testing.assert_allclose(
        model.explained_variance_ratio_, theirs.explained_variance_ratio_, rtol=1e-8
    )
    np.testing.assert_allclose(
        model.get_covariance(), theirs.get_covariance() * share, rtol=1e-8, atol=1e-10
    )
    repeated = PCA(k, svd_solver="full").fit(X)
    repeated.explained_variance_ *= share
    repeated.noise_variance_ *= share
    np.testing.assert_allclose(model.score_samples(X), repeated.score_samples(X), rtol=1e-8)


def test_factor_analysis_reaches_scikit_learns_likelihood(X):
    theirs = SklearnFactorAnalysis(3, tol=1e-12, max_iter=20_000, svd_method="lapack").fit(X)
    model = FactorAnalysis(3).fit(X)
    assert model.score(X) == pytest.approx(theirs.score(X), rel=1e-8)
    np.testing.assert_allclose(model.noise_variance_, theirs.noise_variance_, rtol=1e-3)
    assert model.log_likelihood_curve_[-1] == pytest.approx(model.score(X), rel=1e-12)


@pytest.mark.parametrize("of", [ProbabilisticPCA(3), FactorAnalysis(3)], ids=["ppca", "fa"])
def test_gradients_vanish_at_the_optimum(of, X):
    """By central differences of the likelihood written out, in every parameter."""
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


def test_curves_rise(X):
    for model in (FactorAnalysis(3), FactorAnalysis(6, tol=1e-14)):
        curve = model.fit(X).log_likelihood_curve_
        assert len(curve) == model.n_iter_ > 3
        assert (np.diff(curve) >= 0).all()
    assert len(ProbabilisticPCA(2).fit(X).log_likelihood_curve_) == 1


def test_factor_analysis_does_not_depend_on_units(X):
    scale = 10.0 ** np.arange(-5, 5)
    model, scaled = FactorAnalysis(3).fit(X), FactorAnalysis(3).fit(X * scale)
    np.testing.assert_allclose(scaled.components_, model.components_ * scale, rtol=2e-3)
    np.testing.assert_allclose(scaled.noise_variance_, model.noise_variance_ * scale**2, rtol=1e-4)


def test_wide_covariances_by_lanczos(monkeypatch):
    """From some number of columns on the leading eigenpairs come from ARPACK: the same optimum as by LAPACK."""
    from aefast import factor_analysis

    X, calls, eigsh = make_rows(600, 80, 4), [], factor_analysis.eigsh
    monkeypatch.setattr(
        factor_analysis, "eigsh", lambda *args, **kw: calls.append(1) or eigsh(*args, **kw)
    )
    by_lapack = FactorAnalysis(4).fit(X)
    assert not calls
    monkeypatch.setattr(factor_analysis, "LANCZOS_FROM", 80)
    by_lanczos = FactorAnalysis(4).fit(X)
    assert calls
    assert by_lanczos.score(X) == pytest.approx(by_lapack.score(X), rel=1e-10)


@pytest.mark.parametrize("rotation", ["varimax", "quartimax", "promax"])
def test_rotations_keep_the_distribution(rotation, X):
    plain, rotated = FactorAnalysis(3).fit(X), FactorAnalysis(3, rotation=rotation).fit(X)
    np.testing.assert_allclose(rotated.get_covariance(), plain.get_covariance(), rtol=1e-9)
    np.testing.assert_allclose(rotated.score_samples(X), plain.score_samples(X), rtol=1e-9)
    np.testing.assert_allclose(
        rotated.inverse_transform(rotated.transform(X)),
        plain.inverse_transform(plain.transform(X)),
        rtol=1e-8,
    )
    Phi = rotated.factor_covariance_
    np.testing.assert_allclose(np.diagonal(Phi), 1.0, rtol=1e-10)
    assert (rotation == "promax") == (np.abs(Phi - np.eye(3)).max() > 1e-3)


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


# ---- what it says of rows ----


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


def test_reconstructions_shrink(X):
    """Not PCA's projection: by 1 − σ²/λ along each component."""
    model = ProbabilisticPCA(3).fit(X)
    shrunk = model.inverse_transform(model.transform(X)) - model.mean_
    U = model.components_ / np.linalg.norm(model.components_, axis=1)[:, None]
    factors = 1 - model.noise_variance_ / model.explained_variance_
    np.testing.assert_allclose(
        shrunk @ U.T, (X - model.mean_) @ U.T * factors, rtol=1e-9, atol=1e-10
    )


@pytest.mark.parametrize("snr", [1e2, 1e6, 1e12])
def test_likelihoods_of_nearly_noiseless_rows(snr):
    """Where ‖x‖² and ‖projection‖² nearly cancel; compared in the basis of the model, where nothing cancels."""
    rng = np.random.default_rng(1)
    U = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    h, noise = rng.normal(size=(200, 3)) * np.sqrt(snr), rng.normal(size=(200, 9))
    X = np.hstack([h, noise]) @ U.T
    model = ProbabilisticPCA(3).fit(X)
    V = np.linalg.qr(model.components_.T, mode="complete")[0]
    coordinates = (X - model.mean_) @ V
    variances = np.r_[model.explained_variance_, np.full(9, model.noise_variance_)]
    expected = (coordinates[:, 3:] ** 2).sum(axis=1) / model.noise_variance_
    expected += (coordinates[:, :3] ** 2 / variances[:3]).sum(axis=1)
    np.testing.assert_allclose(
        model.mahalanobis(X), expected, rtol=1e-16 * snr + 1e-9, atol=1e-4 if snr > 1e6 else 0
    )


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


# ---- how it is fitted ----


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


def test_numbers_of_components(X):
    assert len(ProbabilisticPCA().fit(X).components_) == 9
    assert len(ProbabilisticPCA().fit(X[:4]).components_) == 3
    model = ProbabilisticPCA(0.8).fit(X)
    assert model.explained_variance_ratio_.sum() >= 0.8
    assert model.explained_variance_ratio_[:-1].sum() < 0.8
    assert len(FactorAnalysis().fit(X).components_) == 6  # (10 − 6)² = 16 = 10 + 6


@pytest.mark.parametrize("n_components", ["mle", "cv"])
def test_the_number_of_components_is_found(n_components):
    rng = np.random.default_rng(2)
    W = np.linalg.qr(rng.normal(size=(15, 4)))[0].T * np.array([[4.0], [3.0], [2.0], [1.5]])
    X = rng.normal(size=(2000, 4)) @ W + 0.5 * rng.normal(size=(2000, 15))
    assert len(ProbabilisticPCA(n_components).fit(X).components_) == 4
    assert len(ProbabilisticPCA(n_components).fit(sparse.csr_matrix(X)).components_) == 4


def test_minka_like_scikit_learn():
    from sklearn.decomposition._pca import _infer_dimension

    from aefast._dimension import minka

    for seed in range(5):
        values = np.sort(np.random.default_rng(seed).gamma(1.0, 1.0, 20))[::-1]
        for n in (50, 500, 5000):
            assert minka(values, n) == _infer_dimension(values, n)


def test_held_out_scores_are_those_of_the_fits(X):
    from aefast._dimension import held_out_scores

    train, test = X[:400], X[400:]
    scores = held_out_scores(
        SufficientStatistics(10).update(train), SufficientStatistics(10).update(test)
    )
    expected = [ProbabilisticPCA(k).fit(train).score_samples(test).sum() for k in range(1, 10)]
    np.testing.assert_allclose(scores, expected, rtol=1e-9)


# ---- wide tables ----


@pytest.mark.parametrize("kind", ["dense", "csr"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_krylov_is_the_covariance_path(kind, dtype, isa):
    rng = np.random.default_rng(3)
    X = (rng.normal(size=(300, 5)) * [9, 7, 5, 3, 2]) @ rng.normal(
        size=(5, 120)
    ) + 0.3 * rng.normal(size=(300, 120))
    if kind == "csr":
        X = X * (rng.random(X.shape) < 0.2)
    X = X.astype(dtype)
    table = sparse.csr_matrix(X) if kind == "csr" else X
    tol = 1e-8 if dtype == np.float32 else 1e-14
    rtol = 1e-5 if dtype == np.float32 else 1e-11
    krylov = ProbabilisticPCA(5, svd_solver="krylov", tol=tol).fit(table)
    full = ProbabilisticPCA(5, svd_solver="covariance").fit(X)
    np.testing.assert_allclose(krylov.explained_variance_, full.explained_variance_, rtol=rtol)
    assert krylov.noise_variance_ == pytest.approx(full.noise_variance_, rel=10 * rtol)
    np.testing.assert_allclose(krylov.mean_, full.mean_, rtol=1e-4, atol=1e-6)
    assert krylov.score(X) == pytest.approx(full.score(X), rel=10 * rtol)
    np.testing.assert_allclose(
        np.abs(krylov.transform(table)), np.abs(full.transform(X)), rtol=0.01, atol=0.01
    )


def test_krylov_refusals(X):
    for n_components in (None, 0.5, "mle", 10):
        with pytest.raises(ValueError, match="svd_solver='krylov' needs an integer"):
            ProbabilisticPCA(n_components, svd_solver="krylov").fit(X)
    with pytest.raises(ValueError, match="NaN at row 2, column 3"):
        bad = X.copy()
        bad[2, 3] = np.nan
        ProbabilisticPCA(2, svd_solver="krylov").fit(bad)
    with pytest.raises(ValueError, match="sample_weight"):
        ProbabilisticPCA(2, svd_solver="krylov").fit(X, sample_weight=np.ones(len(X)))
    with pytest.raises(ValueError, match="no variance"):
        ProbabilisticPCA(1, svd_solver="krylov").fit(np.ones((5, 4)))
    with pytest.warns(ConvergenceWarning, match="max_iter=1 "):
        ProbabilisticPCA(2, svd_solver="krylov", max_iter=1).fit(make_rows(200, 90))


# ---- company ----


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


# ---- bad input ----


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
        FactorAnalysis(rotation="oblimin"),
        FactorAnalysis(min_noise=0.0),
        FactorAnalysis(max_iter=0),
    ):
        with pytest.raises(ValueError, match="parameter of"):
            estimator.fit(X)
    with pytest.raises(ValueError, match="use fit"):
        ProbabilisticPCA("cv").partial_fit(X)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("of", [ProbabilisticPCA, FactorAnalysis])
def test_awkward_tables_give_finite_models(of, X):
    tables = {
        "constant column": np.hstack([X, np.full((600, 1), 7.0)]),
        "duplicate columns": np.hstack([X, X[:, :2]]),
        "d > n": make_rows(8, 20),
        "two rows": X[:2],
        "rank 1": np.outer(np.arange(9.0), np.arange(1.0, 6.0)),
        "huge means": X + 1e8,
        "one column": X[:, :1],
        "tiny": 1e-150 * X,
        "large": 1e140 * X,
    }
    for name, table in tables.items():
        for k in (1, min(3, table.shape[1]), table.shape[1]):
            model = of(k).fit(table)
            assert np.isfinite(model.components_).all(), name
            assert (np.asarray(model.noise_variance_) > 0).all(), name
            assert np.isfinite(model.score_samples(table)).all(), name
            assert np.isfinite(model.transform(table)).all(), name
            assert np.isfinite(model.sample(3, 0)).all(), name


def test_heywood_cases_are_bounded_with_a_warning():
    X = make_rows()
    X[:, 1] = X[:, 0]
    with pytest.warns(ConvergenceWarning, match=r"Heywood case.*column\(s\) 0, 1"):
        model = FactorAnalysis(2, min_noise=1e-3).fit(X)
    np.testing.assert_allclose(model.noise_variance_[:2], 1e-3 * X[:, 0].var(), rtol=1e-6)


def test_noiseless_rows_are_bounded_with_a_warning():
    X = make_rows()[:, :4] @ np.ones((4, 6))
    with pytest.warns(ConvergenceWarning, match="noise variance is bounded"):
        model = ProbabilisticPCA(3).fit(X)
    assert model.noise_variance_ == pytest.approx(1e-10 * X.var(axis=0).mean())


def test_too_few_iterations_are_told(X):
    with pytest.warns(ConvergenceWarning, match="max_iter=2 "):
        FactorAnalysis(3, max_iter=2).fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FactorAnalysis(3).fit(X)
