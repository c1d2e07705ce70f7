"""Random initial weights: how many there are, how large, and that all estimators draw the same."""

import numpy as np
import pytest
from scipy.stats import kstest

import aefast
from aefast.networks.fitted import N_READ

D, SIZES = 60, (50, 30)
START = {"init": "sparse", "max_epochs": 0, "random_state": 0}
X = np.random.default_rng(0).uniform(size=(80, D))


@pytest.mark.parametrize("activation, scale", [("sigmoid", 1), ("tanh", 0.25), ("relu", 0.25)])
@pytest.mark.parametrize("tied", [True, False])
def test_each_unit_reads_fifteen_others(activation, scale, tied):
    ae = aefast.Autoencoder(200, activation=activation, tied=tied, **START).fit(X)
    W, V = ae.components_, ae.decoder_components_
    incoming = [W] if tied else [W, V.T]
    for weights in incoming:
        assert ((weights != 0).sum(axis=1) == N_READ).all()
        assert (weights != 0).any(axis=0).mean() > 0.9  # chosen anew for each unit
        assert kstest(weights[weights != 0] / scale, "norm").pvalue > 0.01
    assert tied == np.shares_memory(W, V)
    np.testing.assert_array_equal(ae.hidden_bias_, 0)
    np.testing.assert_allclose(ae.visible_bias_, X.mean(axis=0))


def test_units_of_few_columns_read_all():
    ae = aefast.Autoencoder(20, **START).fit(X[:, :4])
    assert (ae.components_ != 0).all()


def test_which_are_read_is_uniform():
    ae = aefast.Autoencoder(2000, **START).fit(X)
    counts = (ae.components_ != 0).sum(axis=0)
    expected = 2000 * N_READ / D
    assert ((counts - expected) ** 2 / expected).sum() < 2 * D


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_all_estimators_draw_the_same(dtype):
    rows = X.astype(dtype)
    ae = aefast.Autoencoder(50, scale=None, gain=False, **START).fit(rows)
    stack = aefast.StackedAutoencoder(SIZES, gain=False, pretrain_epochs=0, **START).fit(rows)
    one = stack.layers_[0]
    np.testing.assert_array_equal(one.components_, ae.components_)
    assert ((stack.layers_[1].components_ != 0).sum(axis=1) == N_READ).all()
    assert ae.components_.dtype == dtype
    given = START | {"max_epochs": 1, "batch_size": 80, "learning_rate": 1e-30, "gain": False}
    options = {"max_samples": 1.0, "max_features": 1.0, "scale": None}
    ensemble = aefast.AutoencoderEnsemble(2, n_components=50, **options, **given).fit(rows)
    for member in ensemble.members_:
        assert ((np.abs(member.components_) > 1e-20).sum(axis=1) == N_READ).all()


def test_layers_are_pre_trained_from_sparse_weights():
    given = {"gain": False, "random_state": 0, "learning_rate": 1e-30, "pretrain_epochs": 1}
    stack = aefast.StackedAutoencoder(SIZES, max_epochs=0, init="sparse", **given).fit(X)
    for layer in stack.layers_:
        assert ((np.abs(layer.components_) > 1e-20).sum(axis=1) == N_READ).all()


@pytest.mark.parametrize("init", ["glorot", "sparse"])
def test_a_stack_with_gains_leaves_its_random_start(init):
    """Where all gains are 0 no layer has a gradient, and nothing is learned."""
    stack = aefast.StackedAutoencoder(SIZES, init=init, pretrain_epochs=0, max_epochs=0)
    stack.set_params(random_state=0, activation="tanh", scale=None).fit(X)
    for layer in stack._state.model.split(stack._state.parameters):
        np.testing.assert_array_equal(layer.gain, 1)
    low = np.random.default_rng(1).normal(size=(400, 3)) @ np.random.default_rng(2).normal(
        size=(3, D)
    )
    stack.set_params(max_epochs=60, learning_rate=0.01, batch_size=32, tol=0).fit(low)
    assert stack.loss_curve_[-1] < 0.3 * stack.loss_curve_[0]
