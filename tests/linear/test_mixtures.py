"""Mixtures of factor analysers and of probabilistic PCA."""

import functools

import numpy as np
import pytest
from reference import mixtures as reference
from reference.factors import impute, posterior
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.mixture import GaussianMixture
from sklearn.utils.estimator_checks import parametrize_with_checks

import aefast
from aefast import (
    FactorAnalysis,
    MixtureOfFactorAnalyzers,
    MixtureOfProbabilisticPCA,
    ProbabilisticPCA,
)
from aefast.linear import mixture_search
from aefast.linear.mixture_fit import Mixture
from aefast.linear.mixture_search import Options, Run

MODELS = {"fa": MixtureOfFactorAnalyzers, "ppca": MixtureOfProbabilisticPCA}
# scikit-learn's check asks tags of a classifier wherever there is a predict_proba.
BY_SPARSE = dict.fromkeys(
    ["check_estimator_sparse_array", "check_estimator_sparse_matrix"],
    "reads classifier_tags of an estimator that is no classifier",
)


@pytest.fixture(params=MODELS.values(), ids=MODELS)
def of(request):
    return request.param


@functools.cache
def clustered(n=600, d=8, k=2, M=3, seed=0, apart=1.5):
    """Return rows of M clusters with k factors each, and their clusters."""
    rng = np.random.default_rng(seed)
    W, means = rng.normal(size=(M, k, d)), apart * rng.normal(size=(M, d))
    labels = rng.integers(0, M, n)
    X = np.einsum("nk,nkd->nd", rng.normal(size=(n, k)), W[labels]) + means[labels]
    X += rng.normal(size=(n, d)) * rng.uniform(0.3, 1, d)
    X.flags.writeable = False
    return X, labels


def with_gaps(X, share=0.15, seed=0):
    X = X.copy()
    X[np.random.default_rng(seed).random(X.shape) < share] = np.nan
    return X


def mixture_of(model):
    d = model.n_features_in_
    psi = model.noise_variance_
    psi = psi if psi.ndim == 2 else np.repeat(psi[:, None], d, axis=1)
    return Mixture(model.weights_, model.means_, model.components_, psi)


@parametrize_with_checks(
    [
        MixtureOfFactorAnalyzers(2, 1),
        MixtureOfProbabilisticPCA(2, 1),
        MixtureOfFactorAnalyzers("bic", [1, 2], max_iter=20),
    ],
    expected_failed_checks=lambda estimator: BY_SPARSE,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_estimator_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    check(estimator)


# ---- distribution ----


@pytest.mark.parametrize("gaps", [False, True], ids=["complete", "gaps"])
def test_likelihoods_written_out(of, gaps, isa):
    X = clustered()[0]
    model = of(3, 2, random_state=0).fit(X)
    rows = with_gaps(X[:60]) if gaps else X[:60]
    if gaps:
        rows[0] = np.nan
    expected = reference.log_density_of_mixture(rows, mixture_of(model))
    np.testing.assert_allclose(model.score_samples(rows), expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        model.predict_proba(rows),
        reference.responsibilities(rows, mixture_of(model)),
        rtol=1e-7,
        atol=1e-12,
    )
    np.testing.assert_array_equal(model.predict(rows), model.predict_proba(rows).argmax(axis=1))
    assert model.score(rows) == pytest.approx(expected.mean())
    n_parameters = model._n_parameters()
    noise = 1 if of is MixtureOfProbabilisticPCA else 8
    assert n_parameters == 3 * (8 * 2 - 1 + noise + 8) + 2
    assert model.aic(rows) == pytest.approx(2 * n_parameters - 2 * expected.sum())
    assert model.bic(rows) == pytest.approx(n_parameters * np.log(60) - 2 * expected.sum())


def test_samples_have_the_moments_of_the_mixture(of):
    model = of(3, 2, random_state=0).fit(clustered()[0])
    X, labels = model.sample(100_000, random_state=0)
    np.testing.assert_allclose(np.bincount(labels) / len(X), model.weights_, atol=0.01)
    for m, Sigma in enumerate(model.get_covariance()):
        rows = X[labels == m]
        error = np.cov(rows.T, ddof=0) - Sigma
        spread = np.sqrt(np.outer(np.diagonal(Sigma), np.diagonal(Sigma)) + Sigma**2)
        assert np.abs(error / spread).max() < 5 / np.sqrt(len(rows))
        offset = (rows.mean(axis=0) - model.means_[m]) / np.sqrt(np.diagonal(Sigma))
        assert np.abs(offset).max() < 5 / np.sqrt(len(rows))
    np.testing.assert_array_equal(model.sample(3, 7)[0], model.sample(3, 7)[0])


@pytest.mark.parametrize("gaps", [False, True], ids=["complete", "gaps"])
def test_codes_written_out(of, gaps):
    X = clustered()[0][:30]
    model = of(3, 2, random_state=0).fit(clustered()[0])
    rows = with_gaps(X) if gaps else X
    shares, codes = reference.responsibilities(rows, mixture_of(model)), model.transform(rows)
    means = np.zeros(X.shape)
    for m, (mean, W, psi) in enumerate(zip(*mixture_of(model)[1:], strict=True)):
        h = np.array([posterior(x, mean, W, psi)[0] for x in rows])
        expected = shares[:, m, None] * h
        np.testing.assert_allclose(codes[:, 2 * m : 2 * m + 2], expected, rtol=1e-7, atol=1e-9)
        means += shares[:, m, None] * (h @ W + mean)
    np.testing.assert_allclose(model.reconstruct(rows), means, rtol=1e-8)
    assert model.transform(rows.astype(np.float32)).dtype == np.float32
    assert len(model.get_feature_names_out()) == codes.shape[1] == 6


def test_impute_written_out(of):
    X = clustered()[0]
    model, rows = of(3, 2, random_state=0).fit(X), with_gaps(X[:30])
    mixture = mixture_of(model)
    expected = np.zeros(rows.shape)
    for m, Sigma in enumerate(model.get_covariance()):
        of_m = reference.responsibilities(rows, mixture)[:, m, None]
        expected += of_m * impute(rows, model.means_[m], Sigma)
    np.testing.assert_allclose(model.impute(rows), expected, rtol=1e-8)
    np.testing.assert_array_equal(model.impute(X[:5]), X[:5])


# ---- EM ----


def run_of(of, X, k=2, weight=None, min_noise=1e-3, **options):
    """Return a `Run` with the rows of X, and the mixture it starts from."""
    model = of(3, k, min_noise=min_noise)
    rows = model._prepared(X, weight, "X")
    given = {"tol": 1e-3, "max_iter": 100, "n_init": 1, "n_threads": None, "verbose": 0}
    options = Options(model._is_isotropic, **(given | options))
    run = Run(rows, k, 3, options, np.random.RandomState(0))
    return run, run._started()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_an_iteration_against_the_reference(of, dtype, isa):
    """Weighted rows, complete."""
    X = clustered()[0].astype(dtype)
    weight = np.random.default_rng(1).integers(0, 4, len(X)).astype(float)
    run, mixture = run_of(of, X, weight=weight)
    found = run._pass(mixture, None)
    made = run._maximized(found, mixture, 3)
    X = X.astype(np.float64)
    log_p = reference.log_density_of_mixture(X, mixture)
    rtol = 1e-9 if dtype is np.float64 else 1e-4
    assert found.log_likelihood == pytest.approx(weight @ log_p / weight.sum(), rel=1e-9)
    shares = reference.responsibilities(X, mixture) * weight[:, None]
    for m in range(3):
        mass, mean, C = reference.moments(X, shares[:, m])
        assert made.weights[m] == pytest.approx(mass / weight.sum(), rel=1e-9)
        np.testing.assert_allclose(made.means[m], mean, rtol=rtol, atol=rtol)
        Sigma = made.W[m].T @ made.W[m] + np.diag(made.psi[m])
        if run.options.isotropic:
            expected = reference.principal_components(C, 2)
        else:
            W, psi = mixture.W[m], mixture.psi[m]
            for _ in range(3):
                W, psi = reference.factor_analysis_step(C, W, psi, run.rows.floor)
            expected = W.T @ W + np.diag(psi)
        np.testing.assert_allclose(Sigma, expected, rtol=rtol, atol=10 * rtol)


def test_an_iteration_with_missing_entries_against_the_reference(of):
    X = with_gaps(clustered()[0][:150])
    weight = np.random.default_rng(1).integers(1, 4, len(X)).astype(float)
    run, mixture = run_of(of, X, weight=weight)
    found = run._pass(mixture, None)
    made = run._maximized(found, mixture, 1)
    shares = reference.responsibilities(X, mixture) * weight[:, None]
    for m in range(3):
        mean, W, psi = reference.incomplete_step(
            X,
            shares[:, m],
            mixture.means[m],
            mixture.W[m],
            mixture.psi[m],
            run.options.isotropic,
            run.rows.floor,
        )
        assert made.weights[m] == pytest.approx(shares[:, m].sum() / weight.sum())
        np.testing.assert_allclose(made.means[m], mean, rtol=1e-7, atol=1e-8)
        np.testing.assert_allclose(
            made.W[m].T @ made.W[m] + np.diag(made.psi[m]),
            W.T @ W + np.diag(psi),
            rtol=1e-7,
            atol=1e-7,
        )


@pytest.mark.parametrize("gaps", [False, True], ids=["complete", "gaps"])
def test_the_curve_rises_to_the_likelihood_of_the_model(of, gaps):
    X = with_gaps(clustered()[0]) if gaps else clustered()[0]
    model = of(3, 2, tol=1e-6, random_state=0).fit(X)
    assert model.converged_ and model.n_iter_ >= len(model.log_likelihood_curve_) > 1
    assert (np.diff(model.log_likelihood_curve_) > 0).all()
    assert model.lower_bound_ == model.log_likelihood_curve_[-1]
    assert model.score(X) == pytest.approx(model.lower_bound_, rel=1e-10)
    agreement = np.bincount(10 * clustered()[1] + model.predict(X))
    assert np.sort(agreement)[-3:].sum() > 0.95 * len(X)  # clusters are found, in some order


def test_one_component_is_the_model_without_a_mixture():
    X = clustered()[0]
    ppca = MixtureOfProbabilisticPCA(1, 3).fit(X)
    assert ppca.score(X) == pytest.approx(ProbabilisticPCA(3).fit(X).score(X), abs=1e-10)
    fa = MixtureOfFactorAnalyzers(1, 3, tol=1e-9, max_iter=2000).fit(X)
    assert fa.score(X) == pytest.approx(FactorAnalysis(3).fit(X).score(X), abs=1e-5)


def test_full_covariances_are_those_of_gaussian_mixture():
    """d − 1 components and a noise variance describe any covariance."""
    X = clustered(d=5)[0]
    model = MixtureOfProbabilisticPCA(3, 4, tol=1e-10, max_iter=500, random_state=0).fit(X)
    theirs = GaussianMixture(3, reg_covar=0, tol=1e-10, max_iter=500, random_state=0).fit(X)
    assert model.lower_bound_ == pytest.approx(theirs.lower_bound_, abs=1e-7)
    order = np.argsort(-theirs.weights_)
    np.testing.assert_allclose(model.weights_, theirs.weights_[order], atol=1e-4)
    np.testing.assert_allclose(model.means_, theirs.means_[order], atol=1e-3)
    np.testing.assert_allclose(model.get_covariance(), theirs.covariances_[order], atol=1e-2)


def test_results_do_not_depend_on_units():
    X = clustered()[0]
    units = np.logspace(-4, 4, X.shape[1])
    model = MixtureOfFactorAnalyzers(3, 2, random_state=0).fit(X)
    scaled = MixtureOfFactorAnalyzers(3, 2, random_state=0).fit(X * units)
    np.testing.assert_allclose(scaled.means_, model.means_ * units, rtol=1e-6)
    np.testing.assert_allclose(scaled.components_, model.components_ * units, rtol=1e-5)
    assert scaled.score(X * units) == pytest.approx(model.score(X) - np.log(units).sum())


def test_loadings_are_principal(of):
    model = of(3, 2, random_state=0).fit(clustered()[0])
    for W, psi in zip(model.components_, mixture_of(model).psi, strict=True):
        product = (W / psi) @ W.T
        np.testing.assert_allclose(product[0, 1], 0, atol=1e-8 * product[0, 0])
        assert product[0, 0] > product[1, 1]
        scaled = W / np.sqrt(psi)
        assert (scaled.max(axis=1) == np.abs(scaled).max(axis=1)).all()
    assert (np.diff(model.weights_) <= 0).all()


# ---- tables ----


def test_kinds_of_tables(of, tmp_path):
    X = clustered()[0]
    expected = of(3, 2, random_state=0).fit(X)
    np.save(tmp_path / "rows.npy", X)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    for table in (sparse.csr_matrix(X), mapped, np.asfortranarray(X)):
        model = of(3, 2, random_state=0).fit(table)
        np.testing.assert_allclose(model.means_, expected.means_, rtol=1e-9)
        np.testing.assert_allclose(model.predict_proba(table), expected.predict_proba(X), rtol=1e-6)
    single = of(3, 2, random_state=0).fit(X.astype(np.float32))
    assert single.means_.dtype == single.score_samples(X.astype(np.float32)).dtype == np.float64
    assert single.score(X) == pytest.approx(expected.score(X), rel=1e-5)


@pytest.mark.parametrize("gaps", [False, True], ids=["complete", "gaps"])
def test_same_bits_for_any_number_of_threads(of, gaps):
    X = with_gaps(clustered()[0]) if gaps else clustered(n=3000, d=40)[0]
    found = [of(3, 2, random_state=0, n_threads=n).fit(X) for n in (1, 2, 5)]
    for model in found[1:]:
        for name in ("weights_", "means_", "components_", "noise_variance_"):
            np.testing.assert_array_equal(getattr(model, name), getattr(found[0], name))


def test_weights_are_repetitions(of):
    X = clustered()[0][:200]
    weight = np.random.default_rng(0).integers(0, 3, len(X))
    model = of(3, 2, random_state=0).fit(X, sample_weight=weight)
    repeated = of(3, 2, random_state=0).fit(np.repeat(X, weight, axis=0))
    np.testing.assert_allclose(model.weights_, repeated.weights_, rtol=1e-9)
    np.testing.assert_allclose(model.means_, repeated.means_, rtol=1e-8)
    tiny = of(3, 2, random_state=0).fit(X, sample_weight=1e-30 * weight)
    np.testing.assert_allclose(tiny.means_, model.means_, rtol=1e-6)


# ---- sizes, lost components ----


def test_sizes_are_chosen_by_bic():
    X = clustered()[0]
    model = MixtureOfProbabilisticPCA("bic", random_state=0).fit(X)
    assert [M for M, _, _ in model.sizes_tried_] == [1, 2, 3, 4, 5]
    assert model.n_mixtures_ == 3
    table = {size[:2]: size[2] for size in model.sizes_tried_}
    assert min(table, key=table.get) == (3, 2)
    assert table[3, 2] == pytest.approx(model.bic(X))
    both = MixtureOfFactorAnalyzers([2, 3], (1, 2, 3), random_state=0).fit(X)
    assert (both.n_mixtures_, both.n_components_) == (3, 2)
    assert len(both.sizes_tried_) == 6


def test_the_best_start_is_kept():
    X = clustered(M=8, n=400, apart=1.0)[0]
    one = [MixtureOfProbabilisticPCA(8, random_state=seed).fit(X) for seed in range(4)]
    random = np.random.RandomState(0)
    best = MixtureOfProbabilisticPCA(8, n_init=6, random_state=random).fit(X)
    assert len({round(model.lower_bound_, 6) for model in one}) > 1
    assert best.lower_bound_ >= max(one[0].lower_bound_, np.median([m.lower_bound_ for m in one]))


def test_lost_components_are_restarted_then_removed(of):
    """Of 5 components for 3 clusters of few rows some lose their rows."""
    X = np.vstack([np.full((3, 4), 50.0) + np.eye(3, 4), clustered(d=4, M=1, k=1)[0][:60]])
    with pytest.warns(ConvergenceWarning, match="lost their rows and were removed"):
        model = of(20, 2, random_state=0).fit(X)
    assert model.n_mixtures_ == len(model.weights_) < 20
    masses = model.predict_proba(X).sum(axis=0)
    assert (masses >= 4 - 1e-6).all()
    assert np.isfinite(model.score_samples(X)).all()


def test_iterations_may_end_at_a_restart(of):
    X = np.vstack([np.full((3, 4), 50.0) + np.eye(3, 4), clustered(d=4, M=1, k=1)[0][:60]])
    for max_iter in (1, 2, 3):
        with pytest.warns(ConvergenceWarning, match=f"max_iter={max_iter}"):
            model = of(12, 2, max_iter=max_iter, random_state=0).fit(X)
        assert not model.converged_ and model.n_iter_ == max_iter
        assert model.lower_bound_ == pytest.approx(model.score(X), rel=1e-9)


def test_a_lost_component_takes_half_of_the_largest():
    X = clustered()[0]
    run, mixture = run_of(MixtureOfProbabilisticPCA, X)
    means = mixture.means.copy()
    smallest = mixture.weights.argmin()
    means[smallest] = 1e4
    mixture = mixture._replace(means=means)
    found = run._pass(mixture, None)
    lost = found.masses < 4
    assert lost.tolist() == (np.arange(3) == smallest).tolist()
    made = run._without_lost(found, mixture, lost)
    kept = mixture.of(~lost)
    assert run.n_restarts == 1 and len(made.weights) == 3
    largest = kept.weights.argmax()
    assert made.weights[-1] == made.weights[largest] == kept.weights[largest] / 2
    np.testing.assert_allclose(made.means[[largest, -1]].mean(axis=0), kept.means[largest])


# ---- interrupts, files, errors ----


def test_ctrl_c_keeps_the_best_model_so_far(of, monkeypatch):
    X, calls = clustered(apart=0.7)[0], []
    maximized = Run._maximized

    def interrupting(run, *arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return maximized(run, *arguments)

    monkeypatch.setattr(mixture_search.Run, "_maximized", interrupting)
    model = of(3, 2, tol=0, random_state=0)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X)
    assert not model.converged_ and model.n_iter_ == 3
    assert model.score(X) == pytest.approx(model.lower_bound_)
    before = model.means_.copy()
    monkeypatch.setattr(mixture_search.Run, "_started", interrupting)
    calls[:] = [1, 1]
    with pytest.raises(KeyboardInterrupt):
        model.fit(X + 1)
    np.testing.assert_array_equal(model.means_, before)


def test_columns_that_no_row_of_a_component_has(of):
    """Two far groups that observe different columns: a component learns nothing of the others."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 5))
    X[:30, 0] -= 1e6
    X[30:, 0] += 1e6
    X[:30, 3], X[30:, 4] = np.nan, np.nan
    model = of(2, 1, random_state=0).fit(X)
    assert model.n_mixtures_ == 2
    assert np.isfinite(model.score_samples(X)).all() and np.isfinite(model.impute(X)).all()
    np.testing.assert_array_equal(model.predict(X) == model.predict(X)[0], np.arange(60) < 30)


def test_files(of, path):
    X = clustered()[0]
    model = of([2, 3], 2, random_state=np.random.RandomState(0)).fit(X)
    model.save(path)
    loaded = aefast.load(path)
    assert type(loaded) is of and loaded.n_mixtures == [2, 3]
    assert loaded.sizes_tried_ == model.sizes_tried_
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(loaded.sample(5, 0)[0], model.sample(5, 0)[0])
    assert loaded.bic(X) == model.bic(X)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"n_mixtures": 0}, "n_mixtures"),
        ({"n_mixtures": []}, "n_mixtures must have at least one size"),
        ({"n_mixtures": [2, 0]}, "n_mixtures must be an integer in"),
        ({"n_mixtures": [2, True]}, "n_mixtures must be an integer in"),
        ({"n_mixtures": "aic"}, "n_mixtures"),
        ({"n_mixtures": 61}, "n_mixtures must be at most n_samples = 60, got 61"),
        ({"n_components": 9}, "n_components must be at most n_features = 8, got 9"),
        ({"n_components": "bic"}, "n_components"),
        ({"min_noise": 0.0}, "min_noise"),
        ({"n_init": 0}, "n_init"),
        ({"random_state": -1}, "random_state"),
    ],
)
def test_invalid_parameters(of, options, message):
    with pytest.raises(ValueError, match=message):
        of(**options).fit(clustered()[0][:60])


def test_names_of_gaussian_mixture_are_explained(of):
    with pytest.raises(TypeError, match=r"no parameter 'reg_covar': .* min_noise"):
        of(2, reg_covar=1e-3)
    with pytest.raises(ValueError, match="no parameter 'covariance_type'"):
        of(2).set_params(covariance_type="full")


def test_invalid_rows(of):
    X = clustered()[0][:60].copy()
    model = of(2, 2, random_state=0)
    with pytest.raises(NotFittedError):
        model.predict(X)
    with pytest.raises(ValueError, match="no variance"):
        model.fit(np.ones((10, 4)))
    with pytest.raises(ValueError, match="all weights are zero"):
        model.fit(X, sample_weight=np.zeros(60))
    X[7, 3] = np.inf
    with pytest.raises(ValueError, match=r"\(inf\) at row 7, column 3"):
        model.fit(X)
    model.fit(clustered()[0])
    with pytest.raises(ValueError, match=r"\(inf\) at row 7, column 3"):
        model.score_samples(X)
    X[:, 3] = np.nan
    with pytest.raises(ValueError, match="column 3 of X has no observed entry"):
        model.fit(X)
    with pytest.warns(ConvergenceWarning, match="max_iter=1"):
        of(3, 2, max_iter=1).fit(clustered()[0])
