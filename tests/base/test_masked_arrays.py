"""Masked arrays: masked entries are missing ones where these are allowed, and refused elsewhere."""

import numpy as np
import pytest

import aefast
from aefast import ops


@pytest.fixture(params=[np.float32, np.float64, np.int64, np.uint8])
def masked(request):
    """Rows of which some entries are masked, with hostile values underneath, and with NaN there."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 20, (60, 5)).astype(request.param)
    mask = rng.random(X.shape) < 0.1
    real = np.float32 if X.dtype in (np.float32, np.uint8) else np.float64
    with_nan = np.where(mask, np.nan, X).astype(real)
    X[mask] = 255
    return np.ma.MaskedArray(X, mask), with_nan


def networks():
    options = {"missing": "mask", "random_state": 0, "max_epochs": 2}
    yield aefast.Autoencoder(2, **options)
    yield aefast.StackedAutoencoder((3, 2), pretrain_epochs=1, **options)


@pytest.mark.parametrize("index", [0, 1])
def test_networks_with_missing_entries(index, masked):
    X, with_nan = masked
    a, b = (list(networks())[index] for _ in range(2))
    a.fit(X), b.fit(with_nan)
    for method in ("transform", "reconstruct", "score_samples", "impute"):
        assert np.array_equal(getattr(a, method)(X), getattr(b, method)(with_nan)), method
    assert np.array_equal(a.partial_fit(X).transform(X), b.partial_fit(with_nan).transform(X))


def test_factor_models(masked):
    X, with_nan = masked
    for make in (lambda: aefast.ProbabilisticPCA(2), lambda: aefast.FactorAnalysis(1)):
        a, b = make().fit(X), make().fit(with_nan)
        for method in ("transform", "score_samples", "mahalanobis", "impute"):
            assert np.array_equal(getattr(a, method)(X), getattr(b, method)(with_nan)), method


def refusing(X):
    fitted = aefast.Autoencoder(2, max_epochs=0, random_state=0).fit(X.data)
    W, b = np.ones((2, 5)), np.zeros(2)
    return {
        "fit": lambda: aefast.Autoencoder(2, max_epochs=0).fit(X),
        "transform": lambda: fitted.transform(X),
        "partial_fit": lambda: fitted.partial_fit(X),
        "dictionary": lambda: aefast.DictionaryLearning(2, max_epochs=0).fit(X),
        "coder": lambda: aefast.SparseCoder(W).fit(X),
        "sparse_encode": lambda: aefast.sparse_encode(X, W),
        "whitening": lambda: aefast.Whitening().fit(X),
        "marginalized": lambda: aefast.MarginalizedAutoencoder().fit(X),
        "items": lambda: aefast.ItemAutoencoder().fit(X),
        "statistics": lambda: aefast.SufficientStatistics(5).update(X),
        "encode": lambda: ops.encode(X, W, b),
        "patches": lambda: aefast.extract_patches(X, 2, 3, 0),
    }


@pytest.mark.parametrize("name", refusing(np.ma.ones((60, 5))))
def test_refused_elsewhere(name, masked):
    X, _ = masked
    with pytest.raises(ValueError, match=r"^(X|images.*) has masked entries"):
        refusing(X)[name]()


def test_weights_are_refused(masked):
    X, _ = masked
    weight = np.ma.MaskedArray(np.ones(60), np.arange(60) < 3)
    with pytest.raises(ValueError, match=r"^sample_weight has masked entries"):
        aefast.Autoencoder(2, max_epochs=1).fit(X.data, sample_weight=weight)
    with pytest.raises(ValueError, match=r"^sample_weight has masked entries"):
        aefast.SufficientStatistics(5).update(X.data, weight)


def test_masks_that_mask_nothing_are_no_matter(masked):
    X = np.ma.MaskedArray(masked[0].data, False)
    for rows in (X, np.ma.MaskedArray(X.data)):
        ae = aefast.Autoencoder(2, max_epochs=1, random_state=0)
        assert np.array_equal(ae.fit(rows).transform(rows), ae.fit(X.data).transform(X.data))
