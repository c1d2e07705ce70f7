"""Fits that prepare for missing entries: completed rows, noise, and reconstructions fed back."""

import warnings

import numpy as np
import pytest

from aefast import Autoencoder, StackedAutoencoder
from aefast.networks.training import gaps


def correlated(n=300, d=8, rank=3, seed=0):
    """Return rows near a plane, and where a fifth of their entries is hidden."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, rank)) @ rng.normal(size=(rank, d)) + 0.1 * rng.normal(size=(n, d))
    hidden = rng.random(X.shape) < 0.2
    hidden[hidden.all(axis=1), 0] = False
    return X, hidden


@pytest.fixture(scope="module")
def table():
    X, hidden = correlated()
    return X, hidden, np.where(hidden, np.nan, X)


@pytest.fixture(scope="module")
def fitted(table):
    return Autoencoder(4, missing="mask", random_state=0).fit(table[2])


def error(filled, X, hidden):
    return np.sqrt(np.mean((filled - X)[hidden] ** 2))


def test_completions_are_conditional_means():
    X, hidden = correlated()
    holes = np.where(hidden, np.nan, X)
    kept = holes.copy()
    sigma, fill = 1.0, np.nanmean(holes, axis=0)
    completed = gaps.completed_rows(holes, len(X), None, fill, 8, sigma)
    np.testing.assert_array_equal(holes, kept)
    np.testing.assert_array_equal(completed[~hidden], X[~hidden])
    # x_m = m + C_mo C_oo^-1 (x_o - m_o), C with the covariance's eigenvalues and sigma^2 added
    mean, C = completed.mean(axis=0), np.cov(completed.T, bias=True) + sigma**2 * np.eye(8)
    low, high = np.nanmin(holes, axis=0), np.nanmax(holes, axis=0)
    inside = 0
    for row, gap in zip(completed, hidden, strict=True):
        if gap.any() and ((row > low) & (row < high))[gap].all():
            observed = ~gap
            weights = np.linalg.solve(C[np.ix_(observed, observed)], (row - mean)[observed])
            expected = mean[gap] + C[np.ix_(gap, observed)] @ weights
            np.testing.assert_allclose(row[gap], expected, atol=1e-3)
            inside += 1
    assert inside > 100


def test_completions_use_weights_and_rows_of_training(table):
    X, _, holes = table
    fill, n = np.nanmean(holes, axis=0), len(X)
    wild, weight = holes.copy(), np.ones(n)
    wild[:10], weight[:10] = 50 * X[:10, ::-1], 0
    train = np.arange(10, n)
    expected = gaps.completed_rows(holes[10:], n - 10, None, fill, 4, 0.5)
    part = gaps.completed_rows(wild, train, None, fill, 4, 0.5)
    np.testing.assert_allclose(part[10:], expected, rtol=1e-10)
    np.testing.assert_array_equal(part[:10], wild[:10])  # held-out rows stay as they are
    weighted = gaps.completed_rows(wild, n, weight, fill, 4, 0.5)
    inside = np.abs(expected) < 0.9 * np.nanmax(np.abs(holes[10:]), axis=0)  # extremes differ
    np.testing.assert_allclose(weighted[10:][inside], expected[inside], rtol=0.05, atol=0.05)


def test_imputation_by_default_finds_the_plane(table, fitted):
    X, hidden, holes = table
    mean = error(np.broadcast_to(np.nanmean(holes, axis=0), X.shape), X, hidden)
    assert error(fitted.impute(holes), X, hidden) < 0.55 * mean
    plain = Autoencoder(4, missing="mask", corruption=None, random_state=0).fit(holes)
    assert error(fitted.impute(holes), X, hidden) < error(plain.impute(holes), X, hidden)
    kind, sigma = fitted.fit_report_["corruption"]
    spread = np.sqrt(np.nanvar(holes, axis=0).mean())
    assert kind == "gaussian" and sigma == pytest.approx(spread / 2)
    assert "corruption" not in plain.fit_report_


def test_imputation_feeds_reconstructions_back(table, fitted):
    _, hidden, holes = table
    filled = np.where(hidden, fitted.reconstruct(holes), holes)
    for _ in range(gaps.FEEDBACKS - 1):
        filled = np.where(hidden, fitted.reconstruct(filled), filled)
    np.testing.assert_allclose(fitted.impute(holes), filled, rtol=1e-10)
    one = np.flatnonzero(hidden.any(axis=1))[0]
    np.testing.assert_allclose(fitted.impute(holes[[one]])[0], filled[one], rtol=1e-10)
    np.testing.assert_array_equal(fitted.impute(filled), filled)


def test_the_number_of_threads_changes_no_bit(table, fitted):
    holes = table[2]
    other = Autoencoder(4, missing="mask", random_state=0, n_threads=2).fit(holes)
    one = Autoencoder(4, missing="mask", random_state=0, n_threads=1).fit(holes)
    np.testing.assert_array_equal(one.components_, other.components_)
    np.testing.assert_array_equal(one.impute(holes), other.impute(holes))


def test_given_numbers_are_obeyed(table):
    _, _, holes = table
    options = {"missing": "mask", "random_state": 0, "max_epochs": 3}
    auto = Autoencoder(4, **options).fit(holes)
    none = Autoencoder(4, corruption=None, **options).fit(holes)
    np.testing.assert_array_equal(auto.components_, none.components_)
    once = np.where(np.isnan(holes), auto.reconstruct(holes), holes)
    np.testing.assert_array_equal(auto.impute(holes), once)


def test_without_missing_entries_nothing_changes(table):
    X = table[0]
    plain = Autoencoder(2, random_state=0).fit(X)
    mask = Autoencoder(2, missing="mask", random_state=0).fit(X)
    np.testing.assert_array_equal(plain.components_, mask.components_)
    stack = StackedAutoencoder((3,), missing="mask", pretrain_epochs=1, max_epochs=1)
    assert not gaps.prepares_for_gaps(stack)


def test_completions_stay_in_the_domain():
    rng = np.random.default_rng(0)
    X = (rng.random((200, 6)) < 0.9).astype(float)
    X[:, 3:] = X[:, :3]
    holes = np.where(rng.random(X.shape) < 0.3, np.nan, X)
    completed = gaps.completed_rows(holes, len(X), None, np.nanmean(holes, axis=0), 6, 0.1)
    assert completed.min() >= 0 and completed.max() <= 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ae = Autoencoder(3, output="bernoulli", missing="mask", random_state=0).fit(holes)
    filled = ae.impute(holes)
    assert filled.min() >= 0 and filled.max() <= 1


@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1e8, 1e30])
def test_extreme_columns(scale, table):
    holes = table[2][:60].copy()
    holes[:, 1] *= scale
    holes[:, 2] = 7.0
    holes[5, 2] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ae = Autoencoder(2, missing="mask", random_state=0).fit(holes)
    assert np.isfinite(ae.impute(holes)).all()


@pytest.mark.parametrize("name", ["categorical", "multinomial"])
def test_groups_are_completed_by_probabilities(name, table):
    rng = np.random.default_rng(0)
    n = len(table[2])
    classes = np.digitize(table[0][:, 0] + 0.3 * rng.normal(size=n), [-0.7, 0.7])
    one_hot = np.eye(3)[classes]
    lost = np.arange(n) % 5 == 0
    X = np.column_stack([np.where(lost[:, np.newaxis], np.nan, one_hot), table[2]])
    output = [(name, slice(0, 3)), ("gaussian", slice(3, None))]
    ae = Autoencoder(output=output, missing="mask", random_state=0).fit(X)
    assert gaps.feeds_back(ae, ae._state.model) == (name == "categorical")
    filled = ae.impute(X)[:, :3]
    np.testing.assert_allclose(filled.sum(axis=1), 1)
    np.testing.assert_array_equal(filled[~lost], one_hot[~lost])
    assert "corruption" in ae.fit_report_
    if name == "categorical":
        right = filled[lost].argmax(axis=1) == classes[lost]
        assert right.mean() > 0.5
        columns = [np.arange(3)]
        completed = gaps.completed_rows(X, n, None, np.nanmean(X, axis=0), 4, 0.5, None, columns)
        np.testing.assert_allclose(completed[:, :3].sum(axis=1), 1)
        np.testing.assert_array_equal(completed[~lost, :3], one_hot[~lost])
        assert (completed[lost, :3].argmax(axis=1) == classes[lost]).mean() > 0.6


def test_as_many_units_as_columns():
    """A network that learns to fill gaps has one unit a column; without gaps the rows choose."""
    random = np.random.default_rng(0)
    X = random.normal(size=(200, 3)) @ random.normal(size=(3, 12)) + 0.3 * random.normal(
        size=(200, 12)
    )
    options = {"missing": "mask", "random_state": 0}
    assert len(Autoencoder(**options).fit(X).components_) == 3
    X[random.random(X.shape) < 0.1] = np.nan
    assert len(Autoencoder(**options).fit(X).components_) == 12
    noisy = Autoencoder(corruption=("masking", 0.1), max_epochs=2, **options)
    assert len(noisy.fit(X).components_) == 3
