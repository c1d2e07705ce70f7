"""Deep networks whose decoder has weights of its own: against the reference, and around it."""

from itertools import pairwise

import numpy as np
import pytest
from reference import stacked as reference_stacked
from reference.autoencoder import finite_differences
from support.helpers import SOLVER_NAMES, SOLVERS, same_bits
from support.textbook import Autoencoder, StackedAutoencoder

import aefast

N, SIZES, ACTIVATIONS = 75, (23, 19, 13), ["tanh", "softplus"]
TEXTBOOK = {"activation": "tanh", "code_activation": "softplus", "shuffle": False, "tol": 0}
TEXTBOOK |= {"pretrain_epochs": 0, "random_state": 0, "batch_size": 32, "tied": False}
VARIANTS = {
    "plain": {},
    "limited": {"clip_norm": 0.5, "max_norm": 1.5},
    "averaged": {"weight_averaging": 0.7},
    "penalty": {"alpha": 0.01},
}


def rows(dtype=np.float64):
    return np.random.default_rng(0).uniform(size=(N, SIZES[0])).astype(dtype)


def test_gradients_of_the_reference_are_differences_of_its_loss():
    X, random = rows()[:7], np.random.default_rng(1)
    size = sum(2 * k * d + k + d for d, k in pairwise(SIZES))
    vector = random.normal(scale=0.3, size=size)

    def loss(w):
        layers = reference_stacked.unflatten(w, SIZES, tied=False)
        return reference_stacked.loss(X, layers, ACTIVATIONS, "bernoulli", 0.1)

    layers = reference_stacked.unflatten(vector, SIZES, tied=False)
    of = reference_stacked.gradients(X, layers, ACTIVATIONS, "bernoulli", 0.1)
    expected = reference_stacked.flatten(of)
    assert np.abs(finite_differences(loss, vector) - expected).max() < 1e-6 * abs(expected).max()


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("solver, options", SOLVERS, ids=SOLVER_NAMES)
def test_fine_tuning_matches_the_reference(solver, options, variant, isa):
    X, settings = rows(), {"solver": solver, **options, **variant}
    stack = StackedAutoencoder(SIZES[1:], **TEXTBOOK, **settings)
    start = stack.set_params(max_epochs=0).fit(X)._state.parameters.copy()
    stack.set_params(max_epochs=3).fit(X)
    layers, state, curve = reference_stacked.train(
        X,
        reference_stacked.unflatten(start, SIZES, tied=False),
        ACTIVATIONS,
        "gaussian",
        [np.arange(N)] * 3,
        batch_size=32,
        **settings,
    )
    expected = reference_stacked.flatten(layers)
    np.testing.assert_allclose(stack._state.parameters, expected, rtol=0, atol=1e-11)
    np.testing.assert_allclose(stack._state.optimizer_state, state, rtol=0, atol=1e-10)
    np.testing.assert_allclose(stack.loss_curve_, curve, rtol=1e-12)
    assert np.abs(stack._state.parameters - start).max() > 1e-3


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
def test_the_same_bits_for_any_number_of_threads(dtype, isa, make_problem):
    X, _ = make_problem(500, 90, 40, dtype=dtype)
    given = {"tied": False, "pretrain_epochs": 1, "max_epochs": 2, "random_state": 0, "tol": 0}
    one, two, three = (StackedAutoencoder((70, 40), n_threads=n, **given).fit(X) for n in (1, 2, 3))
    assert same_bits(one, two) and same_bits(one, three)


def test_one_layer_is_an_autoencoder(isa):
    X, given = rows(), {"max_epochs": 3, "random_state": 0, "tol": 0, "tied": False}
    stack = StackedAutoencoder((7,), pretrain_epochs=0, **given).fit(X)
    assert same_bits(stack, Autoencoder(7, **given).fit(X))


def test_layers_are_pre_trained_untied():
    stack = aefast.StackedAutoencoder(SIZES[1:], tied=False, max_epochs=0, pretrain_epochs=3)
    layers = stack.set_params(random_state=0).fit(rows()).layers_
    for layer in layers:
        assert not layer.tied and layer.gain_ is None
        assert layer.decoder_components_.shape == layer.components_.shape
        assert np.abs(layer.decoder_components_ - layer.components_).max() > 1e-3
    stack.set_params(max_epochs=5, warm_start=True).fit(rows())
    assert stack.loss_curve_[-1] < stack.loss_curve_[0]


@pytest.mark.parametrize("init", ["pca", "glorot", "sparse"])
def test_methods_are_those_of_the_parameters(init):
    X = rows()
    stack = aefast.StackedAutoencoder(SIZES[1:], tied=False, init=init, scale=None, random_state=0)
    stack.set_params(pretrain_epochs=1, max_epochs=2, activation="tanh").fit(X)
    parts = stack._state.model.split(stack._state.parameters)
    layers = [reference_stacked.Layer(p.W, p.b, p.c, p.V) for p in parts]
    H = reference_stacked.encode(X, layers, ["tanh"] * 2)[1][-1]
    B, _, _ = reference_stacked.decode(H, layers, ["tanh"] * 2)
    np.testing.assert_allclose(stack.transform(X), H, rtol=1e-10)
    np.testing.assert_allclose(stack.reconstruct(X), B[1], rtol=1e-9, atol=1e-12)


def test_files(tmp_path):
    X, path = rows(), tmp_path / "model.safetensors"
    given = {"tied": False, "pretrain_epochs": 1, "max_epochs": 2, "random_state": 0}
    stack = aefast.StackedAutoencoder(SIZES[1:], **given).fit(X)
    stack.save(path)
    loaded = aefast.load(path)
    assert same_bits(stack, loaded) and loaded.tied is False
    assert same_bits(stack.partial_fit(X), loaded.partial_fit(X))
    with pytest.raises(ValueError, match="tied=True does not continue"):
        loaded.set_params(tied=True).partial_fit(X)


def test_lbfgs():
    given = {"tied": False, "solver": "lbfgs", "pretrain_epochs": 5, "max_epochs": 20}
    stack = aefast.StackedAutoencoder(SIZES[1:], random_state=0, alpha=1e-4, **given).fit(rows())
    assert stack.loss_curve_[-1] < stack.loss_curve_[0]
