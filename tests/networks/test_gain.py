"""Gains of the units: x̂ = o(((h − g(0)) ∘ gain) W + c), in one pass, in gradients, in training."""

import numpy as np
import pytest
from reference import autoencoder as reference
from reference import noise as reference_noise
from reference import stacked as reference_stack
from reference.autoencoder import ACTIVATIONS, Parameters, flatten, unflatten
from support.helpers import PLAIN_OUTPUTS

from aefast import ops
from aefast.networks import _autoencoder
from aefast.networks.network import Network, single_layer, stacked_network
from aefast.networks.outputs import plain_output
from aefast.networks.training.hyperparameters import Hyperparameters
from aefast.networks.variants import PLAIN, Variant


def gain_of(k, seed=4):
    """Return gains of both signs, and of different sizes."""
    random = np.random.default_rng(seed)
    return random.uniform(0.3, 3.0, k) * random.choice([-1.0, 1.0], k)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("output", PLAIN_OUTPUTS)
def test_gradients(output, activation, tied, isa, make_problem):
    n, d, k = 37, 19, 11
    X, parameters = make_problem(n, d, k, tied=tied)
    W, b, c, decoder_weights = parameters
    gain = gain_of(k)
    weight = np.random.default_rng(1).uniform(0.0, 2.0, n)
    options = {"output": output, "activation": activation, "sample_weight": weight, "gain": gain}
    loss, actual = ops.loss_and_gradients(X, W, b, c, decoder_weights, **options)
    assert loss == pytest.approx(reference.loss(X, parameters, **options), rel=1e-12)
    assert loss == pytest.approx(ops.loss(X, W, b, c, decoder_weights, **options), rel=1e-13)
    expected = reference.gradients(X, parameters, **options)
    for name in Parameters._fields:
        if (wanted := getattr(expected, name)) is not None:
            error = np.abs(getattr(actual, name) - wanted).max()
            assert error < 1e-12 * np.abs(wanted).max(), name
    wanted = reference.gain_gradient(X, parameters, **options)
    assert np.abs(actual.gain - wanted).max() < 1e-12 * np.abs(wanted).max()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_finite_differences(activation, isa, make_problem):
    n, d, k = 7, 9, 5
    X, parameters = make_problem(n, d, k)
    options = {"output": "bernoulli", "activation": activation}
    gain = gain_of(k)

    def loss(vector):
        W, b, c, _ = unflatten(vector[:-k], k, d, True)
        return ops.loss(X, W, b, c, gain=vector[-k:], **options)

    W, b, c, _ = parameters
    _, gradients = ops.loss_and_gradients(X, W, b, c, gain=gain, **options)
    actual = np.concatenate([flatten(Parameters(*gradients[:3])), gradients.gain])
    wanted = reference.finite_differences(loss, np.concatenate([flatten(parameters), gain]))
    assert np.abs(actual - wanted).max() < 1e-8 * np.abs(wanted).max()


@pytest.mark.parametrize("shape", [(1, 1, 1), (33, 17, 9), (521, 131, 67), (3, 300, 40)])
def test_float32(shape, isa, make_problem):
    """Relative to the largest entry of an array, gradients are good to 3e-6."""
    X, parameters = make_problem(*shape, dtype=np.float32)
    W, b, c, _ = parameters
    gain = gain_of(shape[2]).astype(np.float32)
    _, actual = ops.loss_and_gradients(X, W, b, c, output="gaussian", gain=gain)
    wide = Parameters(*(array.astype(np.float64) for array in parameters[:3]), None)
    options = {"output": "gaussian", "gain": gain.astype(np.float64)}
    expected = reference.gradients(X.astype(np.float64), wide, **options)
    of_gain = reference.gain_gradient(X.astype(np.float64), wide, **options)
    for name, wanted in {**expected._asdict(), "gain": of_gain}.items():
        if wanted is not None:
            array = getattr(actual, name)
            assert array.dtype == np.float32
            assert np.abs(array - wanted).max() <= 3e-6 * np.abs(wanted).max(), name


@pytest.mark.parametrize("n", [3, 700])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_decoding(activation, n, isa, make_problem):
    X, (W, b, c, _) = make_problem(n, 23, 9)
    gain, H = gain_of(9), ops.encode(X, W, b, activation=activation)
    rest = ACTIVATIONS[activation].function(np.zeros(1))
    given = H.copy()
    means = ops.decode(H, W, c, gain=gain, activation=activation)
    np.testing.assert_allclose(means, ((H - rest) * gain) @ W + c, rtol=1e-12, atol=1e-12)
    assert H.tobytes() == given.tobytes()


def test_a_gain_of_the_wrong_shape(make_problem):
    X, (W, b, c, _) = make_problem(5, 4, 3)
    with pytest.raises(ValueError, match="gain"):
        ops.loss(X, W, b, c, gain=np.ones(2))


# ---- training ----


def trained(network, flat, X, order, n_steps, rate_factors=None, variant=PLAIN, **options):
    """Return parameters after some steps of plain gradient descent or another solver."""
    given = Hyperparameters(**({"solver": "sgd", "learning_rate": 0.01} | options))
    n_states = {"sgd": 0, "adam": 2}[given.solver]
    flat = flat.copy()
    trainer = _autoencoder.Trainer(
        network,
        X,
        flat,
        np.zeros((n_states, flat.size), X.dtype),
        given,
        batch_size=len(order),
        n_threads=1,
        n_steps=0,
        variant=variant,
        rate_factors=rate_factors,
    )
    for _ in range(n_steps):
        _, status = trainer.run(order, 0.0)
        assert status == 0
    return trainer.values()[0]


DEEP = stacked_network(19, (11, 5), "sigmoid", "tanh", plain_output("gaussian"))
DEEP = Network(tuple(layer._replace(gain=True) for layer in DEEP.layers))
NETWORKS = {
    "tied": single_layer(19, 11, True, "sigmoid", plain_output("gaussian"), gain=True),
    "untied": single_layer(19, 11, False, "tanh", plain_output("gaussian"), gain=True),
    "deep": DEEP,
}


@pytest.mark.parametrize("options", [{}, {"clip_norm": 0.5}], ids=str)
def test_a_step_of_a_deep_network(options, isa):
    random = np.random.default_rng(0)
    X, flat = random.normal(size=(150, 19)), random.normal(scale=0.4, size=DEEP.n_parameters)
    layers, gains = [], []
    for parameters in DEEP.split(flat):
        layers.append(reference_stack.Layer(parameters.W, parameters.b, parameters.c))
        gains.append(parameters.gain.copy())
    of_layers, of_gains = reference_stack.gradients(
        X, layers, ["sigmoid", "tanh"], "gaussian", gains=gains
    )
    wanted = np.concatenate(
        [
            np.concatenate([reference_stack.flatten([g]), a])
            for g, a in zip(of_layers, of_gains, strict=True)
        ]
    )
    norm = np.linalg.norm(wanted)
    if options:
        assert norm > options["clip_norm"]
        wanted *= options["clip_norm"] / norm
    after = trained(DEEP, flat, X, np.arange(150), 1, learning_rate=1.0, **options)
    assert np.abs(flat - after - wanted).max() < 1e-12 * np.abs(wanted).max()


@pytest.mark.parametrize("name", NETWORKS)
def test_rate_factors(name, isa):
    """An array with the factor f moves as if its learning rate were f times the others'."""
    network, random = NETWORKS[name], np.random.default_rng(0)
    X, flat = random.normal(size=(90, 19)), random.normal(scale=0.4, size=network.n_parameters)
    order = np.arange(90)
    factors = random.uniform(0.2, 5.0, (len(network.layers), 6))
    plain = flat - trained(network, flat, X, order, 1)
    for options in ({}, {"clip_norm": 1e9}):
        scaled = flat - trained(network, flat, X, order, 1, factors, **options)
        arrays = zip(network.arrays(plain), network.arrays(scaled), strict=True)
        names = [
            "components", "decoder_components", "hidden_bias", "visible_bias", "theta", "gain"
        ]  # fmt: skip
        for (layer, array, before), (_, _, after) in arrays:
            wanted = before * factors[layer][names.index(array)]
            np.testing.assert_allclose(after, wanted, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
def test_a_step_with_dropped_units(dtype, isa):
    network, random = NETWORKS["tied"], np.random.default_rng(0)
    X = random.normal(size=(90, 19)).astype(dtype)
    flat = random.normal(scale=0.4, size=network.n_parameters).astype(dtype)
    [p] = network.split(flat.astype(np.float64))
    given = {
        "parameters": Parameters(p.W, p.b, p.c, None),
        "output": "gaussian",
        "gain": p.gain,
        "dropout": reference_noise.dropout((90, 11), 0.4, 3),
    }
    moved = flat - trained(
        network, flat, X, np.arange(90), 1, variant=Variant(dropout=0.4, seed=3), learning_rate=1.0
    )
    of_layer = reference.gradients(X, **given)
    wanted = np.concatenate([flatten(of_layer), reference.gain_gradient(X, **given)])
    tolerance = 1e-12 if dtype is np.float64 else 3e-6
    assert np.abs(moved - wanted).max() < tolerance * np.abs(wanted).max()
