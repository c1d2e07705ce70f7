"""The multinomial autoencoder: the autoencoder that it is, and what it recommends."""

import numpy as np
import pytest
from reference import items as reference
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

import aefast
from aefast import Autoencoder, MultinomialAutoencoder
from aefast._base import ranking

OPTIONS = {"max_epochs": 4, "batch_size": 40, "random_state": 0}


def expected_failures(_):
    return {
        f"check_sample_weight_equivalence_on_{kind}_data": "noise is drawn for each row"
        for kind in ("dense", "sparse")
    }


@parametrize_with_checks(
    [MultinomialAutoencoder(3, max_epochs=2)], expected_failed_checks=expected_failures
)
def test_estimator_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    check(estimator)


def counts(dtype=np.float64):
    """Counts by taste: CSR with a user and an item of no choice at all."""
    rng = np.random.default_rng(1)
    rate = np.exp(rng.normal(size=(200, 2)) @ rng.normal(size=(2, 37)) - 2)
    X = rng.poisson(rate)
    X[7] = X[:, 3] = 0
    return sparse.csr_array(X.astype(dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_is_an_autoencoder(dtype, isa):
    X = counts(dtype)
    model = MultinomialAutoencoder(6, input_dropout=0.3, **OPTIONS).fit(X)
    plain = Autoencoder(
        6,
        activation="tanh",
        output="multinomial",
        tied=False,
        gain=False,
        init="glorot",
        scale=None,
        row_norm="l2",
        corruption=("dropout", 0.3),
        **OPTIONS,
    ).fit(X)
    assert model.components_.tobytes() == plain.components_.tobytes()
    assert model.loss_curve_ == plain.loss_curve_
    assert model.components_.dtype == dtype
    rows = X.toarray()
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    H = np.tanh(rows / np.where(norms, norms, 1) @ model.components_.T + model.hidden_bias_)
    scores = H @ model.decoder_components_ + model.visible_bias_
    np.testing.assert_allclose(model.transform(X), H, rtol=1e-4, atol=1e-5)
    shares = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    expected = rows.sum(axis=1, keepdims=True) * shares
    np.testing.assert_allclose(model.reconstruct(X), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_recommendations(exclude_seen, monkeypatch):
    monkeypatch.setattr(ranking, "SCORES_AT_ONCE", 300)
    X = counts()
    model = MultinomialAutoencoder(6, **OPTIONS).fit(X)
    scores = model.transform(X) @ model.decoder_components_ + model.visible_bias_
    options = {"exclude_seen": exclude_seen, "filter_items": [4, 5]}
    items, best = model.recommend(X, 6, **options)
    seen = X.toarray() if exclude_seen else None
    allowed = ~np.isin(np.arange(37), [4, 5])
    np.testing.assert_array_equal(items, reference.ranking(scores, 6, seen, allowed))
    np.testing.assert_allclose(best, np.take_along_axis(scores, items, axis=1), rtol=1e-9)
    np.testing.assert_array_equal(model.recommend(X.toarray(), 6, **options)[0], items)


def test_it_learns_who_likes_what():
    """Users of one taste are recommended items of that taste."""
    rng = np.random.default_rng(0)
    of_user, of_item = np.arange(300) % 3, np.arange(30) % 3
    X = sparse.csr_array((rng.random((300, 30)) < 0.3) * (of_user[:, None] == of_item) * 1.0)
    model = MultinomialAutoencoder(8, max_epochs=60, random_state=0).fit(X[:240])
    items, _ = model.recommend(X[240:], 4)
    assert np.mean(of_item[items] == of_user[240:, None]) > 0.9


def test_files_clones_and_streams(path):
    X = counts()
    model = MultinomialAutoencoder(6, input_dropout=0.0, **OPTIONS).fit(X)
    assert model.corruption is None
    model.save(path)
    loaded = aefast.load(path)
    assert type(loaded) is MultinomialAutoencoder and loaded.get_params() == model.get_params()
    assert loaded.recommend(X, 5)[1].tobytes() == model.recommend(X, 5)[1].tobytes()
    again = clone(model).fit(X)
    assert again.components_.tobytes() == model.components_.tobytes()
    one, other = model.partial_fit(X), loaded.partial_fit(X)
    assert one.components_.tobytes() == other.components_.tobytes()


def test_refusals():
    X = counts()
    with pytest.raises(ValueError, match="input_dropout"):
        MultinomialAutoencoder(3, input_dropout=1.0).fit(X)
    with pytest.raises(TypeError, match="unexpected keyword argument 'tied'"):
        MultinomialAutoencoder(3, tied=True)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = MultinomialAutoencoder(3).nothing
    with pytest.raises(NotFittedError):
        MultinomialAutoencoder(3).recommend(X, 2)
    negative = X.copy()
    negative.data[0] = -1
    with pytest.raises(ValueError, match="multinomial"):
        MultinomialAutoencoder(3, **OPTIONS).fit(negative)
    model = MultinomialAutoencoder(3, **OPTIONS).fit(X)
    with pytest.raises(ValueError, match="n must be in"):
        model.recommend(X, 38)
    with pytest.raises(ValueError, match="expecting 37 features"):
        model.recommend(X[:, :5], 2)
