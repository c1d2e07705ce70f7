"""Heads in the kernels: gradients against the twin and finite differences, and training's bits."""

import numpy as np
import pytest
from reference import heads as reference

from aefast.networks import _autoencoder
from aefast.networks.heads import Head
from aefast.networks.network import Network, single_layer, stacked_network
from aefast.networks.outputs import plain_output
from aefast.networks.training.hyperparameters import Hyperparameters
from aefast.networks.variants import PLAIN, Variant

N, SIZES = 83, (19, 11, 7, 5)
ACTIVATIONS = ("sigmoid", "sigmoid", "tanh")
HEADS = {"categorical": 3, "gaussian": 2, "bernoulli": 1, "poisson": 17}


def deep(gain=False, depth=3):
    network = stacked_network(
        SIZES[0], SIZES[1 : depth + 1], "sigmoid", ACTIVATIONS[-1], plain_output("gaussian")
    )
    return Network(tuple(layer._replace(gain=gain) for layer in network.layers))


def targets_of(distribution, n, m, dtype=np.float64):
    """Return rows of targets, of which some are missing."""
    random = np.random.default_rng(5)
    if distribution == "categorical":
        return (np.eye(m)[random.integers(m, size=n)] * (random.random((n, 1)) < 0.7)).astype(dtype)
    shape = (n, m)
    Y = random.normal(size=shape) if distribution == "gaussian" else random.integers(2, size=shape)
    return np.where(random.random(shape) < 0.2, np.nan, Y).astype(dtype)


def problem(network, distribution, n=N, dtype=np.float64, scale=0.4):
    """Return the network with a head, rows, targets and flat parameters."""
    m = HEADS[distribution]
    network = network.with_head(m, distribution)
    random = np.random.default_rng(0)
    X = random.normal(size=(n, network.n_features)).astype(dtype)
    flat = random.normal(scale=scale, size=network.n_parameters).astype(dtype)
    return network, X, targets_of(distribution, n, m, dtype), flat


def kernel_gradient(network, X, Y, flat, *, weight=0.7, v=None, u=None, variant=PLAIN, rows=64):
    """Return loss and gradient of weight times the reconstruction's loss, and the head's."""
    n = len(X)
    u = np.full(n, 1 / n) if u is None else u
    v = np.full(n, 1 / n) if v is None else v
    head = Head(network.head, network.head_of(flat), Y, v, alone=weight == 0)
    loss, gradient, status = _autoencoder.loss_and_gradients(
        network, X, network.split(flat), u * weight, None, rows, 2, variant, head=head
    )
    assert status == 0
    return loss, gradient.copy()


def share_of(seed):
    v = np.random.default_rng(seed).uniform(0.0, 2.0, N)
    return v / v.sum()


@pytest.mark.parametrize("gain", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("weight", [0.0, 0.7])
@pytest.mark.parametrize("distribution", HEADS)
def test_gradients_are_the_references(distribution, weight, depth, gain, isa):
    network, X, Y, flat = problem(deep(gain, depth), distribution)
    v, u = share_of(1), share_of(2)
    loss, gradient = kernel_gradient(network, X, Y, flat, weight=weight, v=v, u=u)
    activations = [layer.activation for layer in network.layers]
    sizes = SIZES[: depth + 1]
    layers, head, gains = reference.unflatten(flat, sizes, HEADS[distribution], gain)
    given = X, Y, layers, head, activations, "gaussian", distribution, weight
    options = {"v": v, "u": u, "gains": gains}
    assert loss == pytest.approx(reference.loss(*given, **options), rel=1e-12)
    expected = reference.gradients(*given, **options)
    assert np.abs(gradient - expected).max() < 1e-12 * np.abs(expected).max()


@pytest.mark.parametrize("gain", [False, True])
@pytest.mark.parametrize("weight", [0.0, 0.7])
@pytest.mark.parametrize("distribution", HEADS)
def test_finite_differences_of_the_reference(distribution, weight, gain):
    _, X, Y, flat = problem(deep(gain), distribution, n=9)

    def given(vector):
        layers, head, gains = reference.unflatten(vector, SIZES, HEADS[distribution], gain)
        return (X, Y, layers, head, ACTIVATIONS, "gaussian", distribution, weight), gains

    def loss(vector):
        arguments, gains = given(vector)
        return reference.loss(*arguments, gains=gains, alpha=0.1)

    arguments, gains = given(flat)
    actual = reference.gradients(*arguments, gains=gains, alpha=0.1)
    wanted = differences(loss, flat)
    assert np.abs(actual - wanted).max() < 1e-7 * np.abs(wanted).max()


def differences(function, vector, step=1e-5):
    found = np.empty_like(vector)
    for i in range(len(vector)):
        moved = vector.copy()
        moved[i] += step
        above = function(moved)
        moved[i] -= 2 * step
        found[i] = (above - function(moved)) / (2 * step)
    return found


ONE_LAYER = {
    "untied": (single_layer(9, 6, False, "tanh", plain_output("gaussian")), PLAIN),
    "untied, gain": (single_layer(9, 6, False, "tanh", plain_output("gaussian"), 0, True), PLAIN),
    "dropout": (
        single_layer(9, 6, True, "sigmoid", plain_output("gaussian"), 0, True),
        Variant(dropout=0.4, seed=3, corruption="masking", corruption_level=0.3),
    ),
    "penalties": (
        single_layer(9, 6, True, "sigmoid", plain_output("gaussian")),
        Variant(contraction=0.2, penalty="kl", penalty_weight=0.3, penalty_parameter=0.1),
    ),
    "top-k": (
        single_layer(9, 6, False, "relu", plain_output("gaussian"), 1),
        Variant(rows_unused=np.zeros(6, np.int64)),
    ),
}


@pytest.mark.parametrize("weight", [0.0, 0.7])
@pytest.mark.parametrize("name", ONE_LAYER)
def test_finite_differences_of_variants(name, weight, isa):
    network, variant = ONE_LAYER[name]
    network, X, Y, flat = problem(network, "categorical", n=21, scale=0.7)
    options = {"weight": weight, "variant": variant, "rows": 21}
    _, actual = kernel_gradient(network, X, Y, flat, **options)
    wanted = differences(lambda vector: kernel_gradient(network, X, Y, vector, **options)[0], flat)
    assert np.abs(actual - wanted).max() < 1e-7 * np.abs(wanted).max()


@pytest.mark.parametrize("distribution", ["categorical", "gaussian"])
@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_float32(weight, distribution, isa):
    network, X, Y, flat = problem(deep(), distribution, n=700, dtype=np.float32)
    _, gradient = kernel_gradient(network, X, Y, flat, weight=weight, rows=512)
    arrays = (array.astype(np.float64) for array in (X, Y, flat))
    _, expected = kernel_gradient(network, *arrays, weight=weight, rows=512)
    assert np.abs(gradient - expected).max() < 5e-6 * np.abs(expected).max()


def trained(network, X, Y, flat, *, weight=0.7, n_threads=1, batch_size=70, **options):
    """Return parameters and losses after two passes."""
    flat = flat.copy()
    settings = {"solver": "adam", "learning_rate": 0.01} | options
    stores = settings.pop("stores_gradient", False)
    given = Hyperparameters(**settings)
    n_states = {"sgd": 0, "adam": 2}[given.solver]
    head = Head(network.head, network.head_of(flat), Y, None, alone=weight == 0)
    trainer = _autoencoder.Trainer(
        network,
        X,
        flat,
        np.zeros((n_states, flat.size), flat.dtype),
        given,
        batch_size=batch_size,
        n_threads=n_threads,
        n_steps=0,
        variant=PLAIN,
        sample_weight=np.full(len(X), weight),
        stores_gradient=stores,
        head=head,
    )
    order = np.random.default_rng(2).permutation(len(X))
    losses = [trainer.run(order, 0.0) for _ in range(2)]
    assert all(status == 0 for _, status in losses)
    return trainer.values()[0], [loss for loss, _ in losses]


@pytest.mark.parametrize("options", [{}, {"clip_norm": 0.5}, {"max_norm": 0.6, "alpha": 0.01}])
@pytest.mark.parametrize("weight", [0.0, 0.7])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_same_bits_for_any_number_of_threads(dtype, weight, options, isa):
    network, X, Y, flat = problem(deep(gain=True), "categorical", n=333, dtype=dtype)
    one, of_one = trained(network, X, Y, flat, weight=weight, **options)
    three, of_three = trained(network, X, Y, flat, weight=weight, n_threads=3, **options)
    assert one.tobytes() == three.tobytes() and of_one == of_three
    assert of_one[1] < of_one[0]


@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_stored_gradients_lead_to_the_same_bits(weight, isa):
    network, X, Y, flat = problem(deep(), "categorical", n=333)
    plain, losses = trained(network, X, Y, flat, weight=weight)
    stored, same = trained(network, X, Y, flat, weight=weight, stores_gradient=True)
    assert plain.tobytes() == stored.tobytes() and losses == same


@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_a_step_is_the_gradients(weight, isa):
    network, X, Y, flat = problem(deep(gain=True), "categorical", n=150)
    options = {"weight": weight, "solver": "sgd", "learning_rate": 0.1, "batch_size": 150}
    moved, _ = trained(network, X, Y, flat, **options)
    expected = flat.copy()
    for _ in range(2):
        expected -= 0.1 * kernel_gradient(network, X, Y, expected, weight=weight, rows=150)[1]
    assert np.abs(moved - expected).max() < 1e-12


def test_a_head_alone_leaves_the_decoder_as_it_is(isa):
    network, X, Y, flat = problem(deep(gain=True), "gaussian")
    moved, _ = trained(network, X, Y, flat, weight=0.0, weight_decay=0.1)
    pairs = zip(network.arrays(flat), network.arrays(moved), strict=True)
    same = {(level, name) for (level, name, a), (_, _, b) in pairs if a.tobytes() == b.tobytes()}
    biases = {(level, "visible_bias") for level in (0, 1, 2)}
    assert same == biases | {(0, "gain"), (1, "gain")}


def test_rows_of_bytes_as_targets(isa):
    network, X, Y, flat = problem(deep(), "categorical")
    floats, _ = trained(network, X, Y, flat)
    of_bytes, _ = trained(network, X, Y.astype(np.uint8), flat)
    assert floats.tobytes() == of_bytes.tobytes()
