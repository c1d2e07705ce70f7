"""The shape of a network: one description for one layer and for several, computed once."""

import copy
import pickle

import numpy as np
import pytest
from support.textbook import Autoencoder, StackedAutoencoder

import aefast
from aefast.networks.network import Layer, Network, single_layer, stacked_network
from aefast.networks.outputs import Segment, plain_output, resolve_output

GAUSSIAN = plain_output("gaussian")


def test_the_flat_array_is_that_of_one_layer_after_the_other():
    network = stacked_network(7, (5, 3, 2), "sigmoid", "linear", plain_output("gaussian_diagonal"))
    flat = np.arange(network.n_parameters, dtype=float)
    np.testing.assert_array_equal(
        np.concatenate([array.ravel() for _, _, array in network.arrays(flat)]), flat
    )
    assert [(number, name, array.shape) for number, name, array in network.arrays(flat)] == (
        network.layout
    )
    assert [name for number, name, _ in network.layout if number == 0] == [
        *("components", "hidden_bias", "visible_bias", "output_parameters")
    ]
    assert [len(view) for _, view in network.layer_views(flat)] == [
        *(35 + 5 + 7 + 7, 15 + 3 + 5, 6 + 2 + 3)
    ]
    assert [layer.activation for layer in network.layers] == ["sigmoid", "sigmoid", "linear"]
    assert [layer.output[0].distribution for layer in network.layers[1:]] == ["bernoulli"] * 2


@pytest.mark.parametrize("tied", [True, False])
def test_one_layer_is_the_plain_case(tied):
    network = single_layer(4, 3, tied, "tanh", GAUSSIAN)
    flat = np.arange(network.n_parameters, dtype=float)
    [parameters] = network.split(flat)
    assert (parameters.V is parameters.W) == tied
    assert np.shares_memory(parameters.c, flat) and parameters.theta is None
    assert (network.n_features, network.n_components) == (4, 3)
    assert network.n_multiplied == 12 and network.n_parameters == (12 if tied else 24) + 7


def test_derived_quantities_are_computed_once_and_not_pickled():
    layer = Layer(4, 3, True, "tanh", GAUSSIAN)
    bare = pickle.dumps(layer)
    assert layer.layout is layer.layout
    assert pickle.dumps(layer) == bare
    again = pickle.loads(bare)
    assert again == layer and hash(again) == hash(layer) and again.layout == layer.layout
    network = Network((layer,))
    bare = pickle.dumps(network)
    assert network.n_parameters == network.n_parameters == 19
    assert pickle.dumps(network) == bare and copy.deepcopy(network) == network
    segment = Segment("student_t", None, 4.0)
    bare = pickle.dumps(segment)
    assert segment.learned and segment.constant == 4.0
    assert pickle.dumps(segment) == bare


def test_a_changed_field_forgets_what_followed_from_it():
    layer = Layer(4, 3, True, "tanh", GAUSSIAN)
    assert layer.n_parameters == 19 and not layer.has_groups
    wider = layer._replace(n_components=5, output=plain_output("multinomial"))
    assert wider.n_parameters == 29 and wider.has_groups
    fixed = Segment("gamma", None, None)._replace(option=2.0)
    assert fixed.fixes_parameter and not fixed.learned


def test_equal_shapes_share_a_network():
    """Equal outputs resolve to one object, fits of one shape to one network."""
    assert resolve_output("poisson", 3) is resolve_output("poisson", 4)
    X = np.random.default_rng(0).uniform(size=(20, 4))
    one, two = (Autoencoder(3, max_epochs=1, random_state=seed).fit(X) for seed in (0, 1))
    assert one._state.model is two._state.model
    other = Autoencoder(3, max_epochs=1, tied=False, random_state=0).fit(X)
    assert other._state.model != one._state.model


def test_a_stack_of_one_layer_keeps_both_activations_in_its_file(tmp_path):
    X = np.random.default_rng(0).uniform(size=(20, 4))
    stack = StackedAutoencoder(
        (3,), activation="relu", code_activation="tanh", pretrain_epochs=1, max_epochs=1
    )
    stack.fit(X)
    described = stack._saved_state()["model"]
    assert list(described) == [
        *("n_features", "layer_sizes", "activation", "code_activation", "output"),
        *("tied", "gain", "top_k"),
    ]
    assert (described["activation"], described["code_activation"]) == ("relu", "tanh")
    assert [name for name in stack._saved_tensors() if not name.startswith("optimizer.")] == [
        *("layers.0.components", "layers.0.hidden_bias", "layers.0.visible_bias")
    ]
    stack.save(tmp_path / "stack.safetensors")
    again = aefast.load(tmp_path / "stack.safetensors")
    np.testing.assert_array_equal(again.transform(X), stack.transform(X))
    with pytest.raises(ValueError, match=r"code_activation='linear' does not continue"):
        again.set_params(code_activation="linear", warm_start=True).fit(X)


def test_a_head_follows_the_layers():
    network = stacked_network(7, (5, 3), "sigmoid", "tanh", plain_output("gaussian"))
    headed = network.with_head(4, "categorical")
    assert headed.without_head() == network and headed.n_components == 3
    assert headed.n_parameters == network.n_parameters + 3 * 4 + 4
    assert headed.layout[-2:] == [(2, "head_weights", (3, 4)), (2, "head_bias", (4,))]
    flat = np.arange(float(headed.n_parameters))
    head = headed.head_of(flat)
    assert head.V is head.W and head.V[0, 0] == network.n_parameters and head.b is None
    assert head.c[-1] == flat[-1] and len(headed.split(flat)) == 2
    assert pickle.loads(pickle.dumps(headed)) == headed
