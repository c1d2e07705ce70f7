"""Whitening against its closed form, and directions without variance."""

import numpy as np
import pandas as pd
import pytest
from reference import statistics as reference
from scipy import sparse
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

import aefast
from aefast import ProbabilisticPCA, SufficientStatistics, Whitening


@parametrize_with_checks([Whitening(), Whitening("pca", epsilon=0.0, n_components=1)])
def test_estimator_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    check(estimator)


@pytest.fixture
def X():
    rng = np.random.default_rng(0)
    return rng.normal(size=(400, 9)) @ rng.normal(size=(9, 9)) + 5


@pytest.mark.parametrize("epsilon", [0.0, 1e-5, 0.5])
@pytest.mark.parametrize("method", ["zca", "pca"])
def test_closed_form(method, epsilon, X, isa):
    whitening = Whitening(method, epsilon=epsilon).fit(X)
    expected = reference.whitening(X, method, epsilon)
    if method == "pca":
        expected *= np.sign((expected * whitening.components_).sum(axis=1))[:, None]
    np.testing.assert_allclose(whitening.components_, expected, rtol=1e-8, atol=1e-10)
    Z = whitening.transform(X)
    np.testing.assert_allclose(Z, (X - X.mean(axis=0)) @ expected.T, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(whitening.inverse_transform(Z), X, rtol=1e-9)
    if epsilon == 0:
        np.testing.assert_allclose(Z.T @ Z / len(X), np.eye(9), atol=1e-10)


def test_float32(X):
    Z = Whitening(epsilon=0.0).fit_transform(X.astype(np.float32))
    assert Z.dtype == np.float32
    np.testing.assert_allclose(Z, Whitening(epsilon=0.0).fit_transform(X), atol=2e-4)


@pytest.mark.parametrize("method", ["zca", "pca"])
def test_directions_without_variance(method, X):
    """With epsilon=0, directions without variance become 0, and come back.

    Duplicate and constant columns make such directions.
    """
    X = np.hstack([X, X[:, :1], np.full((len(X), 1), 3.0)])
    whitening = Whitening(method, epsilon=0.0).fit(X)
    Z = whitening.transform(X)
    assert np.linalg.matrix_rank(Z, tol=1e-6) == 9
    assert np.abs(Z).max() < 10
    np.testing.assert_allclose(whitening.inverse_transform(Z), X, rtol=1e-8)
    assert np.isfinite(Whitening(method, epsilon=0.0).fit_transform(np.ones((4, 3)))).all()


@pytest.mark.parametrize("method", ["zca", "pca"])
def test_rounding_of_float32_is_no_direction(method):
    """Directions whose variance float32 sums do not determine become 0, not noise of variance 1."""
    rng = np.random.default_rng(0)
    spread = np.array([1.0, 1e-1, 1e-2, 1e-5, 1e-6])  # variances to 1e-12, of rounding errors 1e-7
    basis = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    X = (rng.normal(size=(1000, 5)) * spread) @ basis
    for rows, rank in ((X, 5), (X.astype(np.float32), 3)):
        whitening = Whitening(method, epsilon=0.0).fit(rows)
        Z = whitening.transform(rows).astype(np.float64)
        values = np.linalg.eigvalsh(Z.T @ Z / len(Z))[::-1]
        np.testing.assert_allclose(values, np.arange(5) < rank, atol=0.02)
    joined = SufficientStatistics(5).update(X[:9]).update(X[9:].astype(np.float32)).copy()
    assert (
        np.linalg.matrix_rank(Whitening("pca", epsilon=0).fit_statistics(joined).components_) == 3
    )
    assert ProbabilisticPCA().fit_statistics(joined).components_.shape == (3, 5)
    assert ProbabilisticPCA().fit(X).components_.shape == (4, 5)


def test_leading_directions(X):
    full, leading = Whitening("pca").fit(X), Whitening("pca", n_components=4).fit(X)
    np.testing.assert_array_equal(leading.components_, full.components_[:4])
    assert leading.transform(X).shape == (400, 4)
    assert Whitening("zca", n_components=4).fit_transform(X).shape == X.shape
    with pytest.raises(ValueError, match="at most n_features = 9, got 10"):
        Whitening(n_components=10).fit(X)


def test_streamed_merged_and_sparse(X):
    expected = Whitening().fit(X).components_
    streamed = Whitening()
    for chunk in np.array_split(X, 7):
        streamed.partial_fit(chunk)
    statistics = SufficientStatistics(9).update(X)
    for other in (
        streamed,
        Whitening().fit_statistics(statistics),
        Whitening().fit(sparse.csr_matrix(X)),
        Whitening().fit(np.vstack([X, X + 9]), sample_weight=np.repeat([1.0, 0.0], 400)),
    ):
        np.testing.assert_allclose(other.components_, expected, rtol=1e-8, atol=1e-10)


def test_files_and_names(X, tmp_path):
    frame = pd.DataFrame(X, columns=list("abcdefghi"))
    for whitening in (Whitening(), Whitening("pca", n_components=3)):
        whitening.set_output(transform="pandas").fit(frame)
        names = list(whitening.get_feature_names_out())
        assert names[0] == "whitening0" and len(names) == len(whitening.components_)
        whitening.save(tmp_path / "w")
        loaded = aefast.load(tmp_path / "w")
        assert list(loaded.feature_names_in_) == list("abcdefghi")
        assert loaded.get_params() == whitening.get_params()
        Z = whitening.transform(frame).to_numpy()
        assert loaded.transform(frame).tobytes() == Z.tobytes()
        np.testing.assert_array_equal(loaded.inverse_transform(Z), whitening.inverse_transform(Z))
        with pytest.raises(ValueError, match="loaded from a file"):
            loaded.partial_fit(frame)


def test_refusals(X):
    with pytest.raises(NotFittedError):
        Whitening().transform(X)
    with pytest.raises(ValueError, match="'method' parameter"):
        Whitening("cholesky").fit(X)
    with pytest.raises(ValueError, match="Z must have 9 columns"):
        Whitening().fit(X).inverse_transform(X[:, :4])
    with pytest.raises(ValueError, match="NaN at row 3, column 1"):
        bad = X.copy()
        bad[3, 1] = np.nan
        Whitening().fit(bad)
    with pytest.raises(TypeError, match="SufficientStatistics"):
        Whitening().fit_statistics(X)
