"""Every method of every linear model takes a sparse matrix, and returns what it does for rows."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone

from aefast import (
    FactorAnalysis,
    ItemAutoencoder,
    MarginalizedAutoencoder,
    ProbabilisticPCA,
    Whitening,
)

MODELS = {
    "ppca": ProbabilisticPCA(2),
    "krylov": ProbabilisticPCA(2, svd_solver="krylov", tol=1e-14),
    "cv": ProbabilisticPCA("cv"),
    "factors": FactorAnalysis(2),
    "promax": FactorAnalysis(2, rotation="promax"),
    "zca": Whitening("zca"),
    "pca": Whitening("pca", n_components=3),
    "marginalized": MarginalizedAutoencoder(0.3),
    "items": ItemAutoencoder(10.0),
}
OF_ROWS = ("transform", "reconstruct", "score_samples", "mahalanobis", "score", "aic", "bic")


def make_table(dtype, years=0.0):
    """Return rows of few entries, beside a column without zeros that lies far from zero."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 9)) + rng.normal(size=(300, 9))
    X[rng.random(X.shape) < 0.7] = 0
    X[:, 3] = years + rng.normal(size=300)
    return X.astype(dtype)


@pytest.mark.parametrize("years", [0.0, 2e3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", MODELS)
def test_methods_of_sparse_rows(name, dtype, years):
    X = make_table(dtype, years)
    tolerance = {"rtol": 2e-4, "atol": 2e-4} if dtype == "float32" else {"rtol": 1e-8, "atol": 1e-8}
    model, of_sparse = clone(MODELS[name]).fit(X), clone(MODELS[name]).fit(sparse.csr_matrix(X))
    methods = [method for method in OF_ROWS if hasattr(model, method)]
    assert len(methods) >= (1 if name in ("zca", "pca", "items") else 2)
    for method in methods:
        expected = getattr(model, method)(X)
        for table in (sparse.csr_matrix(X), sparse.csc_array(X)):
            got = getattr(model, method)(table)
            np.testing.assert_allclose(got, expected, err_msg=method, **tolerance)
        assert np.asarray(got).dtype == np.asarray(expected).dtype
        few = getattr(model, method)(sparse.csr_matrix(X[:1]))
        np.testing.assert_allclose(few, getattr(model, method)(X[:1]), **tolerance)
    if "score_samples" in methods:
        log_p = of_sparse.score_samples(sparse.csr_matrix(X))
        np.testing.assert_allclose(log_p, model.score_samples(X), **tolerance)
        for got, expected in zip(
            model.posterior(sparse.csr_matrix(X)), model.posterior(X), strict=True
        ):
            np.testing.assert_allclose(got, expected, **tolerance)
    if hasattr(model, "inverse_transform"):
        codes = np.where(model.transform(X) > 0, model.transform(X), 0)
        np.testing.assert_allclose(
            model.inverse_transform(sparse.csr_matrix(codes)),
            model.inverse_transform(codes),
            **tolerance,
        )


@pytest.mark.parametrize("offset", [1e4, 1e8])
def test_distances_of_columns_far_from_zero(offset):
    """A column without zeros is centred before it is squared."""
    X = make_table("float64")
    far = X.copy()
    far[:, 3] = np.round(far[:, 3], 3) + offset
    near = far.copy()
    near[:, 3] -= offset
    model, expected = FactorAnalysis(2).fit(far), FactorAnalysis(2).fit(near)
    got = model.score_samples(sparse.csr_matrix(far))
    np.testing.assert_allclose(got, expected.score_samples(near), rtol=1e-13 * offset)
    np.testing.assert_allclose(
        model.transform(sparse.csr_matrix(far)), model.transform(far), atol=1e-12
    )


def test_likelihoods_where_the_precision_needs_all_columns():
    """Where signal is 1e8 times the noise, distances come from a root of the precision."""
    rng = np.random.default_rng(0)
    X = 1e4 * rng.normal(size=(200, 2)) @ rng.normal(size=(2, 6)) + rng.normal(size=(200, 6))
    X[:, 1] *= rng.random(200) < 0.3
    model = ProbabilisticPCA(3).fit(X)
    np.testing.assert_allclose(
        model.mahalanobis(sparse.csr_matrix(X)), model.mahalanobis(X), rtol=1e-7
    )


def test_sparse_rows_in_slices(monkeypatch):
    from aefast._base import projection

    X = make_table("float64", 50.0)
    model = FactorAnalysis(2).fit(X)
    whole = model.score_samples(sparse.csr_matrix(X)), model.transform(sparse.csr_matrix(X))
    monkeypatch.setattr(projection, "MOST_ENTRIES", 70)
    sliced = model.score_samples(sparse.csr_matrix(X)), model.transform(sparse.csr_matrix(X))
    for one, other in zip(whole, sliced, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11)


def test_nothing_to_impute_in_sparse_rows():
    X = sparse.csr_matrix(make_table("float32"))
    imputed = ProbabilisticPCA(2).fit(X).impute(X)
    assert sparse.issparse(imputed) and imputed.dtype == np.float32
    assert (imputed != X).nnz == 0
    imputed.data[:] = 0
    assert X.data.any()  # a copy


def test_errors_of_sparse_rows():
    X = make_table("float64")
    model = FactorAnalysis(2).fit(X)
    bad = sparse.csr_matrix(X)
    bad.data[5] = np.nan
    with pytest.raises(ValueError, match="X"):
        model.score_samples(bad)
    bad.data[5] = 1e200
    with pytest.raises(FloatingPointError, match="a squared distance"):
        model.mahalanobis(bad)
    with pytest.raises(ValueError, match="features"):
        model.score_samples(sparse.csr_matrix(X[:, :4]))
