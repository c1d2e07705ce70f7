"""Layers and networks: their shapes, and the layout of all parameters in one flat array."""

from functools import cached_property, lru_cache
from itertools import pairwise
from math import prod
from typing import NamedTuple

import numpy as np

from aefast.networks import outputs
from aefast.networks._autoencoder import BOUNDED_ACTIVATIONS, UNIT_ACTIVATIONS


class Parameters(NamedTuple):
    """The parameters of one layer, all of one real type.

    V, the decoder's matrix, is W itself when tied. Biases that an operation does not use are None.
    """

    W: np.ndarray  # (k, d), weights of the encoder
    V: np.ndarray  # (k, d), weights of the decoder
    b: np.ndarray | None  # (k,), bias of the hidden layer
    c: np.ndarray | None  # (d,), bias of the output
    theta: np.ndarray | None = None  # (d,), parameter of each column's distribution
    gain: np.ndarray | None = None  # (k,), factors of the decoded codes


class _LayerFields(NamedTuple):
    n_features: int
    n_components: int
    tied: bool
    activation: str
    output: tuple[outputs.Segment, ...]
    top_k: int = 0  # number of units that keep their value in each row; 0: all
    gain: bool = False  # whether codes are decoded as (h − g(0)) ∘ gain


class Layer(_LayerFields):
    """One encoder and its decoder.

    Immutable: quantities that follow from the fields are computed once.
    """

    def __getstate__(self):
        return None  # the fields are the whole state; cached properties are not pickled

    @cached_property
    def layout(self):
        """Name and shape of each parameter array in the flat array, in order."""
        d, k = self.n_features, self.n_components
        decoder = {} if self.tied else {"decoder_components": (k, d)}
        theta = {"output_parameters": (d,)} if outputs.has_parameters(self.output) else {}
        gain = {"gain": (k,)} if self.gain else {}
        biases = {"hidden_bias": (k,), "visible_bias": (d,)}
        return {"components": (k, d), **decoder, **biases, **theta, **gain}

    @cached_property
    def _places(self):
        """Name, slice of the flat array and shape of each parameter array."""
        places, begin = [], 0
        for name, shape in self.layout.items():
            end = begin + prod(shape)
            places.append((name, slice(begin, end), shape))
            begin = end
        return places

    @cached_property
    def n_parameters(self):
        return self._places[-1][1].stop

    @cached_property
    def has_groups(self):
        return any(segment.is_group for segment in self.output)

    @cached_property
    def domain(self):
        """The closed domain (low, high) of the output, as `outputs.domain_of` has it."""
        return outputs.domain_of(self.output, self.n_features)

    @cached_property
    def n_multiplied(self):
        """Number of multiply-adds that a row costs in one of the products of a step."""
        return self.n_features * self.n_components

    def arrays(self, flat):
        """Return views of a flat array (or a row of the optimizer state), one by parameter name.

        Views of many flat arrays (B, n_parameters) have B as their first dimension.
        """
        if flat.ndim == 1:
            return {name: flat[place].reshape(shape) for name, place, shape in self._places}
        return {
            name: flat[..., place].reshape(*flat.shape[:-1], *shape)
            for name, place, shape in self._places
        }

    def split(self, flat):
        """Return views of a flat array as `Parameters`."""
        arrays = self.arrays(flat)
        W = arrays["components"]
        V = arrays.get("decoder_components", W)
        return Parameters(
            W,
            V,
            arrays["hidden_bias"],
            arrays["visible_bias"],
            arrays.get("output_parameters"),
            arrays.get("gain"),
        )


class HeadLayer(Layer):
    """A second decoder of the code, from k units to d columns of targets, without an encoder.

    `activation` and `gain` are those of the layer whose code it decodes, and `tied` is True: its
    one matrix V is the decoder's.
    """

    @cached_property
    def layout(self):
        d, k = self.n_features, self.n_components
        return {"head_weights": (k, d), "head_bias": (d,)}

    def split(self, flat):
        arrays = self.arrays(flat)
        V = arrays["head_weights"]
        return Parameters(V, V, None, arrays["head_bias"])


class _NetworkFields(NamedTuple):
    layers: tuple[Layer, ...]
    head: HeadLayer | None = None


class Network(_NetworkFields):
    """A stack of one or more layers. Immutable.

    The features of each layer are the components of the layer below. The network's output is the
    first layer's. The flat array of parameters holds the layers' flat arrays one after the other,
    and then the head's. Methods that speak of layers leave the head aside.
    """

    def __getstate__(self):
        return None

    @property
    def n_features(self):
        return self.layers[0].n_features

    @property
    def n_components(self):
        return self.layers[-1].n_components

    @property
    def output(self):
        return self.layers[0].output

    @property
    def has_groups(self):
        return self.layers[0].has_groups

    @cached_property
    def _places(self):
        """Each layer and its slice of the flat array."""
        places, begin = [], 0
        for layer in self.layers:
            end = begin + layer.n_parameters
            places.append((layer, slice(begin, end)))
            begin = end
        return places

    @cached_property
    def n_parameters(self):
        return self._parts[-1][1].stop

    @cached_property
    def _parts(self):
        """The places of the layers, and that of the head."""
        if self.head is None:
            return self._places
        begin = self._places[-1][1].stop
        return [*self._places, (self.head, slice(begin, begin + self.head.n_parameters))]

    @cached_property
    def n_multiplied(self):
        """Number of multiply-adds that a row costs in one product of a step in all layers."""
        return sum(layer.n_multiplied for layer, _ in self._parts)

    @property
    def layout(self):
        """Number, name and shape of each parameter array in the flat array, in order.

        The number is the layer's; a head counts as one more layer.
        """
        return [
            (number, name, shape)
            for number, (part, _) in enumerate(self._parts)
            for name, shape in part.layout.items()
        ]

    def layer_views(self, flat):
        """Return each layer with its slice of a flat array."""
        return [(layer, flat[place]) for layer, place in self._places]

    def arrays(self, flat):
        """Return number, name and view of each array in a flat array, as `layout` does."""
        return [
            (number, name, array)
            for number, (part, place) in enumerate(self._parts)
            for name, array in part.arrays(flat[place]).items()
        ]

    def split(self, flat):
        """Return views of a flat array as a tuple of `Parameters`, one for each layer."""
        return tuple([layer.split(flat[place]) for layer, place in self._places])

    @property
    def n_parts(self):
        """Number of layers, and of a head."""
        return len(self._parts)

    def head_of(self, flat):
        """Return views of the head's part of a flat array as `Parameters`."""
        head, place = self._parts[-1]
        return head.split(flat[place])

    def with_output(self, output):
        """Return a network that differs in the first layer's output alone."""
        layers = (self.layers[0]._replace(output=output), *self.layers[1:])
        return self._replace(layers=layers)

    def with_head(self, n_outputs, distribution):
        """Return the network with a head for targets that have a distribution."""
        code = self.layers[-1]
        output = outputs.plain_output(distribution)
        given = n_outputs, code.n_components, True, code.activation, output
        return self._replace(head=HeadLayer(*given, gain=code.gain))

    def without_head(self):
        return self._replace(head=None)


# The functions are cached: fits of equal shape share a network and its cached properties.


@lru_cache(maxsize=64)
def single_layer(n_features, n_components, tied, activation, output, top_k=0, gain=False):
    """Return a network of one layer."""
    return Network((Layer(n_features, n_components, tied, activation, output, top_k, gain),))


@lru_cache(maxsize=64)
def stacked_network(
    n_features, layer_sizes, activation, code_activation, output, gain=False, top_k=0, tied=True
):
    """Return a network of layers whose last activation may differ from the others'.

    With `gain`, layers have one whose activation is bounded on both sides. `top_k` is that of the
    last layer.

    Each upper layer, taken alone, reconstructs the codes of the layer below: with the Bernoulli
    loss if these lie in (0, 1), with the Gaussian loss otherwise.
    """
    sizes = (n_features, *layer_sizes)
    activations = [activation] * (len(layer_sizes) - 1) + [code_activation]
    of_codes = ["bernoulli" if name in UNIT_ACTIVATIONS else "gaussian" for name in activations]
    layer_outputs = [output, *map(outputs.plain_output, of_codes[:-1])]
    shapes = zip(pairwise(sizes), activations, layer_outputs, strict=True)
    *below, last = (
        Layer(d, k, tied, act, of_layer, gain=gain and act in BOUNDED_ACTIVATIONS)
        for (d, k), act, of_layer in shapes
    )
    return Network((*below, last._replace(top_k=top_k)))
