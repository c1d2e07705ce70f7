"""The marginalized autoencoder against its closed form; files and streams of both."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import aefast
from aefast import ItemAutoencoder, MarginalizedAutoencoder, SufficientStatistics


@parametrize_with_checks([MarginalizedAutoencoder()])
def test_estimator_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    check(estimator)


@pytest.fixture
def X():
    rng = np.random.default_rng(0)
    return rng.normal(size=(200, 3)) @ rng.normal(size=(3, 7)) + rng.normal(size=(200, 7)) + 1


def paper_mapping(X, p):
    """Chen et al. (2012): W = P Q⁻¹ with a constant feature that is never corrupted. (d, d + 1)"""
    X1 = np.hstack([X, np.ones((len(X), 1))])
    S = X1.T @ X1
    q = np.r_[np.full(X.shape[1], 1 - p), 1.0]
    Q = S * np.outer(q, q)
    Q[np.diag_indices_from(Q)] = np.diagonal(S) * q
    P = S[:-1] * q
    return np.linalg.solve(Q.T, P.T).T


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_marginalised_closed_form(p, X, isa):
    model = MarginalizedAutoencoder(p).fit(X)
    W = paper_mapping(X, p)
    np.testing.assert_allclose(model.coef_, W[:, :-1], rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(model.intercept_, W[:, -1], rtol=1e-9, atol=1e-11)
    expected = X @ W[:, :-1].T + W[:, -1]
    np.testing.assert_allclose(model.reconstruct(X), expected, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(model.transform(X), np.tanh(expected), rtol=1e-9, atol=1e-10)
    plain = MarginalizedAutoencoder(p, activation="identity").fit_transform(X)
    np.testing.assert_array_equal(plain, model.reconstruct(X))


def test_marginalised_is_what_corrupted_copies_give(X):
    """Least squares on many copies with masked entries."""
    rng = np.random.default_rng(1)
    copies = np.tile(X, (400, 1))
    corrupted = copies * (rng.random(copies.shape) >= 0.4)
    design = np.hstack([corrupted, np.ones((len(corrupted), 1))])
    expected = np.linalg.lstsq(design, copies)[0]
    model = MarginalizedAutoencoder(0.4).fit(X)
    np.testing.assert_allclose(model.coef_.T, expected[:-1], atol=0.02)
    np.testing.assert_allclose(model.intercept_, expected[-1], atol=0.02)


def test_marginalised_with_dead_and_copied_columns(X):
    table = np.hstack([X, np.zeros((200, 1)), X[:, :1], np.full((200, 1), 3.0)])
    model = MarginalizedAutoencoder(0.5).fit(table)
    assert np.isfinite(model.coef_).all()
    assert not model.coef_[7].any() and not model.coef_[:, 7].any()
    np.testing.assert_allclose(model.reconstruct(table)[:, 9], 3.0, rtol=1e-12)
    assert not MarginalizedAutoencoder().fit_transform(np.zeros((3, 2))).any()


def test_marginalised_pipeline_and_float32(X):
    deep = make_pipeline(MarginalizedAutoencoder(0.3), MarginalizedAutoencoder(0.3))
    assert deep.fit_transform(X.astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(
        deep.fit_transform(X.astype(np.float32)), deep.fit_transform(X), atol=1e-4
    )


def choices():
    rng = np.random.default_rng(2)
    taste = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 12))
    return sparse.csr_matrix((taste + rng.normal(size=taste.shape) > 1.5).astype(float))


@pytest.mark.parametrize("model", [MarginalizedAutoencoder(0.3), ItemAutoencoder(2.0)], ids=repr)
def test_streams_and_files(model, tmp_path):
    X = choices().toarray()
    expected = model.fit(X).transform(X)
    streamed = type(model)(**model.get_params())
    for chunk in np.array_split(X, 5):
        streamed.partial_fit(chunk)
    merged = type(model)(**model.get_params()).fit_statistics(SufficientStatistics(12).update(X))
    for other in (streamed, merged):
        np.testing.assert_allclose(other.transform(X), expected, rtol=1e-8, atol=1e-10)
    model.save(tmp_path / "m")
    loaded = aefast.load(tmp_path / "m")
    assert loaded.transform(X).tobytes() == expected.tobytes()
    assert loaded.get_params() == model.get_params()


@pytest.mark.parametrize("corruption", [0.0, 1.0])
def test_refusals(corruption, X):
    with pytest.raises(ValueError, match="parameter of"):
        MarginalizedAutoencoder(corruption).fit(X)


@pytest.mark.parametrize("estimator", [ItemAutoencoder(l2=1.0), MarginalizedAutoencoder(0.3)])
def test_loaded_from_a_file_partial_fit_does_not_begin_anew(estimator, path, X):
    estimator.fit(X).save(path)
    loaded = aefast.load(path)
    before = loaded.transform(X)
    with pytest.raises(ValueError, match="partial_fit cannot go on"):
        loaded.partial_fit(X[:5])
    assert np.array_equal(loaded.transform(X), before)


def test_equations_that_a_small_corruption_leaves_singular():
    """Equal columns and hardly any noise have no solution in float64: the error names the cause."""
    rows = np.outer(np.random.default_rng(0).random(6), np.ones(3))
    for corruption in (1e-320, 1e-18):
        with pytest.raises(ValueError, match=r"corruption = 1e-\d+ is too small"):
            MarginalizedAutoencoder(corruption).fit(rows)
    assert np.isfinite(MarginalizedAutoencoder(1e-6).fit(rows).coef_).all()
