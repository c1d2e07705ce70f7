"""Imputed values, their deviations and draws, against formulas and known distributions."""

import numpy as np
import pytest
from reference import factors as reference

from aefast import Imputer
from aefast._base.hidden_entries import COVERED_WITHIN, HiddenEntries
from aefast._base.missing import observed_units


def in_units(imputer):
    """Mean and covariance of the model of an imputer whose columns all vary, in units of X."""
    (gaussian, *_), scale = imputer._model.gaussians, imputer.scale_
    mean = imputer.mean_ + scale * gaussian.mean
    return mean, gaussian.covariance() * np.outer(scale, scale)


@pytest.mark.parametrize("method", ["ppca", "fa"])
def test_conditional_means_written_out(method, known):
    table = known()
    table.X[0] = np.nan
    imputer = Imputer(method, n_components=2).fit(table.X)
    mean, Sigma = in_units(imputer)
    expected = reference.impute(table.X, mean, Sigma)
    np.testing.assert_allclose(imputer.transform(table.X), expected, rtol=1e-9)
    np.testing.assert_allclose(imputer.transform(table.X)[0], mean, rtol=1e-9)


def conditional_covariance(x, Sigma):
    o = ~np.isnan(x)
    m = ~o
    gain = np.linalg.solve(Sigma[np.ix_(o, o)], Sigma[np.ix_(o, m)])
    return Sigma[np.ix_(m, m)] - Sigma[np.ix_(m, o)] @ gain


@pytest.mark.parametrize("method", ["ppca", "fa"])
def test_deviations_written_out(method, known):
    table = known(100)
    table.X[0] = np.nan
    imputer = Imputer(method, n_components=2).fit(table.X)
    _, Sigma = in_units(imputer)
    expected = np.zeros(table.X.shape)
    for i, x in enumerate(table.X):
        variances = np.diagonal(conditional_covariance(x, Sigma))
        expected[i, np.isnan(x)] = np.sqrt(variances)
    expected *= imputer._model.spread
    np.testing.assert_allclose(imputer.transform_std(table.X), expected, rtol=1e-8)


def test_the_best_imputation_is_approached(known):
    """Of many rows, the errors are those of the true conditional means, but for 2 %."""
    table = known(3000, seed=1)
    optimum = table.rmse(reference.impute(table.X, table.mean, table.Sigma))
    for method in ("auto", "ppca", "fa"):
        assert table.rmse(Imputer(method).fit_transform(table.X)) < 1.02 * optimum, method


def test_draws_have_the_conditional_distribution(known):
    """Rows that repeat: mean and covariance of their missing entries, drawn together."""
    table = known(300)
    imputer = Imputer("fa", n_components=2, n_draws=1).fit(table.X)
    gaussian = imputer._model.gaussians[1]
    x = (table.complete[0] - imputer.mean_) / imputer.scale_
    missing, observed = [0, 1, 3, 4], [2, 5]
    x[missing] = np.nan
    rows = np.tile(imputer.mean_ + imputer.scale_ * x, (40_000, 1))
    (drawn,) = imputer.sample(rows, random_state=0)
    drawn = (drawn - imputer.mean_) / imputer.scale_
    covariance = conditional_covariance(x, gaussian.covariance()) * imputer._model.spread**2
    mean = reference.impute(x[None], gaussian.mean, gaussian.covariance())[0]
    deviations = np.sqrt(np.diagonal(covariance))
    errors = (drawn.mean(axis=0) - mean)[missing] / deviations
    assert np.abs(errors).max() < 5 / np.sqrt(len(rows))
    found = np.cov(drawn[:, missing].T) / np.outer(deviations, deviations)
    expected = covariance / np.outer(deviations, deviations)
    assert np.abs(expected - np.eye(4)).max() > 0.3
    np.testing.assert_allclose(found, expected, atol=5 * np.sqrt(2 / len(rows)))
    np.testing.assert_array_equal(drawn[:, observed], np.tile(x[observed], (40_000, 1)))


@pytest.mark.parametrize("method", ["ppca", "fa", "autoencoder"])
def test_draws_have_parameters_of_their_own(method, known):
    """Means of endless empty rows vary as those of the rows of the fit: by their number."""
    table = known(40, d=4, share=0.05)
    imputer = Imputer(method, n_components=2, n_draws=60).fit(table.X)
    empty = np.full((4000, 4), np.nan)
    means = imputer.sample(empty, random_state=0).mean(axis=1)
    ratio = means.var(axis=0, ddof=1) / (imputer.scale_**2 / len(table.X))
    most = 5 if method == "autoencoder" else 2  # whose seeds differ, too
    assert (ratio > 0.5).all() and (ratio < most).all()  # 0.01 of parameters that stay


def test_rubin_intervals_cover():
    """90 % intervals of a mean, over tables: the rules of Rubin need the parameters' variation."""
    covered, n, m = [], 60, 20
    for seed in range(40):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(n, 3)) @ np.array([[1.0, 0.8, 0.5], [0, 0.6, 0.2], [0, 0, 0.8]])
        x[rng.random(n) < 0.5, 1] = np.nan
        imputer = Imputer("ppca", n_components=2, n_draws=m).fit(x)
        column = imputer.sample(x, random_state=0)[:, :, 1]
        within, between = column.var(axis=1, ddof=1).mean() / n, column.mean(axis=1).var(ddof=1)
        half = 1.645 * np.sqrt(within + (1 + 1 / m) * between)
        covered.append(abs(column.mean()) < half)
    assert np.mean(covered) >= 0.77  # the binomial's 1 % quantile


def test_intervals_hold_what_they_say(known):
    table = known(800, seed=3)
    for method in ("auto", "autoencoder"):
        imputer = Imputer(method).fit(table.X)
        errors = np.abs(imputer.transform(table.X) - table.complete)[table.gaps]
        inside = errors < COVERED_WITHIN * imputer.transform_std(table.X)[table.gaps]
        assert 0.86 < inside.mean() < 0.96, method


def test_the_autoencoder_imputes(known):
    table = known(600)
    imputer = Imputer("autoencoder").fit(table.X)
    network = imputer._model.networks[0]
    standardised = (table.X - imputer.mean_) / imputer.scale_
    expected = imputer.mean_ + imputer.scale_ * network.impute(standardised)
    filled = imputer.transform(table.X)
    np.testing.assert_array_equal(filled[table.gaps], expected[table.gaps])
    assert table.rmse(filled) < 0.7
    assert imputer.method_ == "autoencoder" and imputer.n_iter_ == network.n_epochs_


# ---- choices ----


def test_the_number_of_components_is_found():
    """Two of ten columns' worth of factors, and far more rows than parameters."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2500, 2)) @ rng.normal(size=(2, 10)) + rng.normal(size=(2500, 10))
    X[rng.random(X.shape) < 0.2] = np.nan
    assert Imputer("fa").fit(X).n_components_ == 2


def test_few_rows_get_few_components():
    """A model of full covariance would have noise of almost 0 here, and errors of its own."""
    rng = np.random.default_rng(0)
    complete = rng.normal(size=(30, 1)) @ np.ones((1, 20)) + rng.normal(size=(30, 20))
    X = np.where(rng.random(complete.shape) < 0.2, np.nan, complete)
    auto, full = Imputer().fit(X), Imputer("ppca", n_components=19).fit(X)
    assert auto.n_components_ <= 4
    errors = [np.mean((one.transform(X) - complete)[np.isnan(X)] ** 2) for one in (auto, full)]
    assert errors[0] < 0.8 * errors[1]


def test_auto_takes_the_noise_that_rows_have():
    """Noise of different variance in each column calls for factor analysis."""
    rng = np.random.default_rng(1)
    W, noise = rng.normal(size=(2, 12)), np.where(np.arange(12) % 2, 0.1, 3.0)
    X = rng.normal(size=(1500, 2)) @ W + noise * rng.normal(size=(1500, 12))
    X[rng.random(X.shape) < 0.2] = np.nan
    assert Imputer().fit(X).method_ == "fa"
    assert Imputer(n_components=2).fit(X).method_ == "fa"


def test_hidden_entries_written_out():
    rows, weight = np.random.default_rng(0).normal(size=(50, 4)), np.arange(1.0, 51.0)
    rows[3, 1] = np.nan
    entries = HiddenEntries.of(rows, weight, np.random.RandomState(0))
    assert 5 < entries.hidden.sum() < 40 and not entries.hidden[3, 1]
    np.testing.assert_array_equal(entries.truth, rows)
    assert np.isnan(entries.seen[entries.hidden]).all()
    filled, deviations = np.where(entries.hidden, 0.3, rows), np.full(rows.shape, 0.5)
    z, w = (0.3 - rows[entries.hidden]) / 0.5, weight[np.nonzero(entries.hidden)[0]]
    score = w @ (-2.5 * np.log(1 + z**2 / 4) - np.log(0.5)) / w.sum()
    assert entries.score(filled, deviations) == pytest.approx(score)
    inside = np.abs(z) <= COVERED_WITHIN * entries.spread(filled, deviations) * (1 + 1e-12)
    assert 0.9 <= w @ inside / w.sum() < 0.9 + 50 / w.sum()
    assert entries.spread(filled, 100 * deviations) == 1.0
    assert HiddenEntries.of(rows[:4], weight[:4], np.random.RandomState(0)) is None


def test_units_written_out():
    rng = np.random.default_rng(0)
    rows, weight = rng.normal(1e6, 3, size=(40, 5)), rng.random(40) + 0.1
    rows[rng.random(rows.shape) < 0.3] = np.nan
    rows[:, 1], rows[:, 2], rows[:, 3] = np.nan, 7.0, rows[:, 3] * 1e302
    means, deviations, varies = observed_units(rows, weight)
    assert varies.tolist() == [True, False, False, True, True]
    assert (means[1], means[2], deviations[1], deviations[2]) == (0.0, 7.0, 0.0, 0.0)
    for j in (0, 4):
        x, w = rows[~np.isnan(rows[:, j]), j], weight[~np.isnan(rows[:, j])]
        mean = np.average(x, weights=w)
        assert means[j] == pytest.approx(mean, rel=1e-14)
        assert deviations[j] == pytest.approx(np.sqrt(np.average((x - mean) ** 2, weights=w)))
    assert np.isfinite(means).all() and np.isfinite(deviations).all()


# ---- determinism, weights, types ----


@pytest.mark.parametrize("method", ["auto", "autoencoder"])
def test_the_same_draws_for_a_seed(method, known):
    X = known(80).X
    one, two = (Imputer(method, n_draws=2, n_threads=n).fit(X) for n in (1, 2))
    np.testing.assert_array_equal(one.transform(X), two.transform(X))
    np.testing.assert_array_equal(one.sample(X, random_state=5), two.sample(X, random_state=5))
    assert not np.array_equal(one.sample(X, random_state=5), one.sample(X, random_state=6))
    other = Imputer(method, n_draws=2, random_state=1).fit(X)
    assert not np.array_equal(one.sample(X, random_state=5), other.sample(X, random_state=5))


def test_a_generator_stays_the_users(known):
    random = np.random.RandomState(0)
    assert Imputer(random_state=random).fit(known(50).X).random_state is random


@pytest.mark.parametrize("method", ["ppca", "fa"])
def test_weights_count_rows(method, known):
    X = known(80).X
    weight = np.random.default_rng(0).integers(0, 3, len(X))
    weighted = Imputer(method, n_components=2).fit(X, sample_weight=weight)
    repeated = Imputer(method, n_components=2).fit(np.repeat(X, weight, axis=0))
    np.testing.assert_allclose(weighted.transform(X), repeated.transform(X), rtol=1e-4)
    np.testing.assert_allclose(weighted.scale_, repeated.scale_)


def test_float32_stays(known):
    X = (known(100).X - known(100).mean) / np.sqrt(np.diagonal(known(100).Sigma))
    single = Imputer().fit(X.astype(np.float32)).transform(X.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, Imputer().fit_transform(X), atol=1e-4)
    assert Imputer(n_draws=1).fit(X).sample(X.astype(np.float32)).dtype == np.float32
    assert Imputer().fit(X).transform_std(X.astype(np.float32)).dtype == np.float32


def test_observed_entries_keep_their_bits(known):
    table = known(50)
    copy = table.X.copy()
    filled = Imputer().fit_transform(table.X)
    np.testing.assert_array_equal(filled[~table.gaps], table.complete[~table.gaps])
    np.testing.assert_array_equal(table.X, copy)  # which is not written to
