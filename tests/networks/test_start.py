"""Starts of a training near PCA: spreads of the units, first losses, and where fits end."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from support.helpers import loss_of_means

from aefast import Autoencoder, StackedAutoencoder


@pytest.fixture(scope="module")
def heavy():
    """Return rows whose distances from the mean differ much."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 4)) @ rng.normal(size=(4, 9)) + 0.3 * rng.normal(size=(400, 9))
    X *= rng.lognormal(sigma=1.0, size=(400, 1))
    return (X - X.mean(axis=0)) / X.std(axis=0)


def spread(estimator, X):
    X = estimator._state.reading.encoder_rows(X.copy())
    return (X @ estimator.components_.T + estimator.hidden_bias_).std(axis=0).max()


@pytest.mark.parametrize(
    ("output", "expected"),
    [("gaussian", 0.05), ("student_t", 0.05), ("bernoulli", 1.0), ("poisson", 1.0)],
)
def test_spread_of_the_first_unit(output, expected):
    X = np.random.default_rng(0).integers(0, 2, size=(80, 6)).astype(float)
    ae = Autoencoder(3, output=output, max_epochs=0, random_state=0).fit(X)
    assert spread(ae, X) == pytest.approx(expected)
    assert ae.fit_report_["loss"] <= loss_of_means(ae, X)


def test_layers_of_a_stack_can_bend(heavy):
    stack = StackedAutoencoder((5, 3), pretrain_epochs=0, max_epochs=0, random_state=0).fit(heavy)
    assert spread(stack.layers_[0], heavy) == pytest.approx(1.0)


def test_held_out_loss_is_near_that_of_pca(heavy):
    train, test = heavy[:300], heavy[300:]
    ae, pca = Autoencoder(4, random_state=0).fit(train), PCA(4).fit(train)
    ours = ((ae.reconstruct(test) - test) ** 2).sum()
    assert ours < 1.1 * ((pca.inverse_transform(pca.transform(test)) - test) ** 2).sum()
