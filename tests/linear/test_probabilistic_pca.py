"""Probabilistic PCA: its closed form, the number of components, wide tables."""

import numpy as np
import pytest
from reference import factors as reference
from scipy import sparse
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from support.factor_problems import make_rows

from aefast import ProbabilisticPCA, SufficientStatistics


@pytest.fixture
def X():
    return make_rows()


def test_ppca_is_the_closed_form(X, isa):
    mean, W, noise = reference.probabilistic_pca(X, 3)
    model = ProbabilisticPCA(3).fit(X)
    np.testing.assert_allclose(model.mean_, mean, rtol=1e-13)
    assert model.noise_variance_ == pytest.approx(noise, rel=1e-11)
    W *= np.sign((W * model.components_).sum(axis=1))[:, None]
    np.testing.assert_allclose(model.components_, W, atol=1e-10)


@pytest.mark.parametrize("k", [1, 3, 9])
def test_ppca_like_scikit_learn(X, k):
    """Agrees with scikit-learn's PCA, which divides by n − 1."""
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
    assert model.n_components_ == theirs.n_components_ == k
    np.testing.assert_allclose(model.singular_values_, theirs.singular_values_, rtol=1e-8)
    lengths = np.sqrt(model.explained_variance_ - model.noise_variance_)[:, None]
    np.testing.assert_allclose(model.components_, lengths * theirs.components_, atol=1e-8)
    np.testing.assert_allclose(
        model.get_covariance(), theirs.get_covariance() * share, rtol=1e-8, atol=1e-10
    )
    repeated = PCA(k, svd_solver="full").fit(X)
    repeated.explained_variance_ *= share
    repeated.noise_variance_ *= share
    np.testing.assert_allclose(model.score_samples(X), repeated.score_samples(X), rtol=1e-8)


def test_reconstructions_shrink(X):
    """Not PCA's projection: by 1 − σ²/λ along each component."""
    model = ProbabilisticPCA(3).fit(X)
    shrunk = model.inverse_transform(model.transform(X)) - model.mean_
    U = model.components_ / np.linalg.norm(model.components_, axis=1)[:, None]
    factors = 1 - model.noise_variance_ / model.explained_variance_
    np.testing.assert_allclose(
        shrunk @ U.T, (X - model.mean_) @ U.T * factors, rtol=1e-9, atol=1e-10
    )


@pytest.mark.filterwarnings("ignore:the rows lie in 3 directions")
@pytest.mark.parametrize("snr", [1e2, 1e6, 1e12])
def test_likelihoods_of_nearly_noiseless_rows(snr):
    """Distances are right where ‖x‖² and ‖projection‖² nearly cancel.

    They are compared in the basis of the model, where nothing cancels.
    """
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


def test_noiseless_rows_are_bounded_with_a_warning():
    X = make_rows()[:, :4] @ np.ones((4, 6))
    with pytest.warns(ConvergenceWarning, match="noise variance is bounded"):
        model = ProbabilisticPCA(3).fit(X)
    assert model.noise_variance_ == pytest.approx(1e-10 * X.var(axis=0).mean())


def test_numbers_of_components(X):
    assert len(ProbabilisticPCA().fit(X).components_) == 9
    with pytest.warns(ConvergenceWarning, match="lie in 3 directions"):
        assert len(ProbabilisticPCA().fit(X[:4]).components_) == 3
    model = ProbabilisticPCA(0.8).fit(X)
    assert model.explained_variance_ratio_.sum() >= 0.8
    assert model.explained_variance_ratio_[:-1].sum() < 0.8


@pytest.mark.parametrize("n_components", ["mle", "cv", "cv-1se"])
def test_the_number_of_components_is_found(n_components):
    rng = np.random.default_rng(2)
    W = np.linalg.qr(rng.normal(size=(15, 4)))[0].T * np.array([[4.0], [3.0], [2.0], [1.5]])
    X = rng.normal(size=(2000, 4)) @ W + 0.5 * rng.normal(size=(2000, 15))
    assert len(ProbabilisticPCA(n_components).fit(X).components_) == 4
    assert len(ProbabilisticPCA(n_components).fit(sparse.csr_matrix(X)).components_) == 4


def test_minka_like_scikit_learn():
    from sklearn.decomposition._pca import _infer_dimension

    from aefast.linear.dimension import minka

    for seed in range(5):
        values = np.sort(np.random.default_rng(seed).gamma(1.0, 1.0, 20))[::-1]
        for n in (50, 500, 5000):
            assert minka(values, n) == _infer_dimension(values, n)


def test_held_out_scores_are_those_of_the_fits(X):
    from aefast.linear.dimension import held_out_scores

    train, test = X[:400], X[400:]
    scores = held_out_scores(
        SufficientStatistics(10).update(train), SufficientStatistics(10).update(test)
    )
    expected = [ProbabilisticPCA(k).fit(train).score_samples(test).sum() for k in range(1, 10)]
    np.testing.assert_allclose(scores, expected, rtol=1e-9)


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
    for n_components in (None, 0.5, "mle", "cv", 10):
        with pytest.raises(ValueError, match="svd_solver='krylov' needs an integer"):
            ProbabilisticPCA(n_components, svd_solver="krylov").fit(X)
    with pytest.raises(ValueError, match=r"infinity .*at row 2, column 3"):
        bad = X.copy()
        bad[2, 3], bad[5] = np.inf, np.nan
        ProbabilisticPCA(2, svd_solver="krylov").fit(bad)
    with pytest.raises(ValueError, match="all weights are zero"):
        ProbabilisticPCA(2, svd_solver="krylov").fit(X, sample_weight=np.zeros(len(X)))
    with pytest.raises(ValueError, match="not negative"):
        ProbabilisticPCA(2, svd_solver="krylov").fit(X, sample_weight=np.full(len(X), -1.0))
    with pytest.raises(ValueError, match="no variance"):
        ProbabilisticPCA(1, svd_solver="krylov").fit(np.ones((5, 4)))
    with pytest.raises(ValueError, match=r"squares of X overflow float64: scale X down$"):
        ProbabilisticPCA(2, svd_solver="krylov").fit(1e200 * X)
    with pytest.warns(ConvergenceWarning, match="max_iter=1 "):
        ProbabilisticPCA(2, svd_solver="krylov", max_iter=1).fit(make_rows(200, 90))


@pytest.mark.parametrize("kind", ["dense", "csr"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_krylov_weights_are_repetitions(kind, dtype):
    rng = np.random.default_rng(5)
    X = make_rows(250, 90, 4, mean=1.0) * (rng.random((250, 90)) < 0.4)
    X, weight = X.astype(dtype), rng.integers(0, 4, 250)
    of = sparse.csr_matrix if kind == "csr" else np.asarray
    tol, rtol = (1e-8, 1e-5) if dtype == np.float32 else (1e-14, 1e-10)
    model = ProbabilisticPCA(4, svd_solver="krylov", tol=tol)
    weighted = model.fit(of(X), sample_weight=weight)
    repeated = ProbabilisticPCA(4, svd_solver="covariance").fit(np.repeat(X, weight, axis=0))
    np.testing.assert_allclose(weighted.mean_, repeated.mean_, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        weighted.explained_variance_, repeated.explained_variance_, rtol=rtol
    )
    assert weighted.noise_variance_ == pytest.approx(repeated.noise_variance_, rel=10 * rtol)
    assert weighted.score(X) == pytest.approx(repeated.score(X), rel=10 * rtol)


def test_wide_tables_with_missing_entries(monkeypatch):
    """EM starts from the Lanczos method, whose missing entries count as means.

    Where it ends does not depend on that.
    """
    X = make_rows(200, 40, 3)
    X[np.random.default_rng(0).random(X.shape) < 0.1] = np.nan
    full = ProbabilisticPCA(3, tol=1e-9).fit(X)
    krylov = ProbabilisticPCA(3, tol=1e-9, svd_solver="krylov").fit(X)
    monkeypatch.setattr("aefast.linear.solvers.WIDEST_COVARIANCE", 40)
    monkeypatch.setattr(ProbabilisticPCA, "_statistics_of_filled", None)
    auto = ProbabilisticPCA(3, tol=1e-9).fit(X)
    for model in (krylov, auto):
        assert model.log_likelihood_curve_[0] == pytest.approx(full.log_likelihood_curve_[0])
        assert model.score(X) == pytest.approx(full.score(X), abs=1e-7)


@pytest.mark.parametrize("k", [9, 10])
def test_as_many_components_as_columns(k, X):
    """k = d gives no more distributions than k = d − 1.

    With missing entries the noise is not driven to 0.
    """
    X[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan
    model = ProbabilisticPCA(k, tol=1e-9).fit(X)
    assert model.components_.shape == (k, 10)
    assert model.score(X) == pytest.approx(ProbabilisticPCA(9, tol=1e-9).fit(X).score(X))


def test_an_interrupted_search_leaves_nothing_behind(X, monkeypatch):
    model = ProbabilisticPCA("cv").fit(X)
    before = set(vars(model))
    with monkeypatch.context() as patch:
        patch.setattr("aefast.linear.probabilistic_pca.linalg.eigh", lambda *a, **k: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            model.fit(make_rows(600, 10, 8))
    assert set(vars(model)) == before
    with pytest.raises(ValueError, match="needs rows"):
        model.fit_statistics(SufficientStatistics(10).update(X))
    assert len(model.fit(X).components_) == len(ProbabilisticPCA("cv").fit(X).components_)


def held_out_means(X, k):
    """Return the mean log p of each fold's rows, under the model of the other folds."""
    of_fold = np.arange(len(X)) % 5
    return np.array(
        [ProbabilisticPCA(k).fit(X[of_fold != i]).score(X[of_fold == i]) for i in range(5)]
    )


def test_one_standard_error_written_out():
    """Components that the folds cannot tell from noise are left out."""
    X = load_breast_cancer().data
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    means = np.array([held_out_means(X, k) for k in range(1, 30)])
    best = means.mean(axis=1).argmax()
    least = means[best].mean() - means[best].std(ddof=1) / np.sqrt(5)
    fewest = np.flatnonzero(means.mean(axis=1) >= least)[0]
    assert fewest < best == 28
    assert ProbabilisticPCA("cv").fit(X).n_components_ == best + 1
    assert ProbabilisticPCA("cv-1se").fit(X).n_components_ == fewest + 1
    twice = ProbabilisticPCA("cv-1se").fit(X, sample_weight=np.full(len(X), 2.0))
    assert twice.n_components_ == fewest + 1


def test_one_standard_error_with_missing_entries():
    """One entry is missing: the search by EM finds what the decompositions find without it."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(100, 6)) + 2 * rng.normal(size=(100, 1)) @ rng.normal(size=(1, 6))
    complete = ProbabilisticPCA("cv-1se").fit(X).n_components_
    X[3, 2] = np.nan
    assert ProbabilisticPCA("cv-1se").fit(X).n_components_ == complete < 5


def test_singular_values_of_weights_and_of_wide_tables(X):
    weight = np.random.default_rng(0).integers(0, 3, len(X))
    repeated = np.repeat(X, weight, axis=0)
    expected = np.linalg.svd(repeated - repeated.mean(axis=0), compute_uv=False)[:3]
    for solver in ("covariance", "krylov"):
        model = ProbabilisticPCA(3, svd_solver=solver, tol=1e-12).fit(X, sample_weight=weight)
        np.testing.assert_allclose(model.singular_values_, expected, rtol=1e-7)
    X[0, 0] = np.nan
    model = ProbabilisticPCA(3, tol=1e-10).fit(X, sample_weight=weight)
    np.testing.assert_allclose(model.singular_values_, expected, rtol=0.01)


@pytest.mark.filterwarnings("ignore:the rows lie in")
@pytest.mark.parametrize("n", [2, 3])
def test_cross_validation_of_few_rows(n, X):
    """A fold may leave one row, which has no variance."""
    assert np.isfinite(ProbabilisticPCA("cv").fit(X[:n]).score(X))


@pytest.mark.parametrize("solver", ["auto", "krylov"])
@pytest.mark.parametrize(
    "dtype, exponent",
    [(np.float32, -83), (np.float32, -70), (np.float32, 55), (np.float64, -500), (np.float64, 500)],
)
def test_codes_do_not_depend_on_the_unit(dtype, exponent, solver):
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(400, 8)) @ rng.normal(size=(8, 8)) + 2).astype(dtype)
    scale = dtype(2.0**exponent)
    usual, scaled = (
        ProbabilisticPCA(3, svd_solver=solver).fit_transform(rows) for rows in (X, X * scale)
    )
    np.testing.assert_allclose(scaled, usual, atol=1e-4 if dtype == np.float32 else 1e-9)
