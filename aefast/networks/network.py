"""What a fitted network is: its shape, and its parameters as one flat array with named parts."""

from itertools import pairwise
from math import prod
from typing import NamedTuple

from aefast.networks import outputs
from aefast.networks._autoencoder import UNIT_ACTIVATIONS


class Parameters(NamedTuple):
    """The parts, all of one real type. V, the decoder's matrix, is W itself when tied."""

    W: object  # (k, d)
    V: object  # (k, d)
    b: object  # (k,)
    c: object  # (d,)
    theta: object = (
        None  # (d,): the parameter of each column's distribution; None: no distribution has one
    )


def named_parts(layout, flat):
    """Views of the parts of a flat array (or of one row of the optimizer's state), by name."""
    views, begin = {}, 0
    for name, shape in layout.items():
        end = begin + prod(shape)
        views[name] = flat[begin:end].reshape(shape)
        begin = end
    return views


class Model(NamedTuple):
    """What the parameters mean; fixed when a fit starts."""

    n_features: int
    n_components: int
    tied: bool
    activation: str
    output: tuple  # of outputs.Segment
    top_k: int = 0  # units of a row that keep their value; 0: all

    @property
    def layout(self):
        """Name and shape of each part of the flat array, in order."""
        d, k = self.n_features, self.n_components
        decoder = {} if self.tied else {"decoder_components": (k, d)}
        theta = {"output_parameters": (d,)} if outputs.has_parameters(self.output) else {}
        return {"components": (k, d), **decoder, "hidden_bias": (k,), "visible_bias": (d,), **theta}

    @property
    def has_groups(self):
        return any(segment.is_group for segment in self.output)

    @property
    def n_parameters(self):
        return sum(prod(shape) for shape in self.layout.values())

    @property
    def n_multiplied(self):
        """Multiply-adds of a row in one of the products of a step."""
        return self.n_features * self.n_components

    def parts(self, flat):
        return named_parts(self.layout, flat)

    def layer_views(self, flat):
        """(model, its part of a flat array) of each layer: of this one."""
        return [(self, flat)]

    def split(self, flat):
        """The parts of a flat array as `Parameters`."""
        parts = self.parts(flat)
        W = parts["components"]
        V = parts.get("decoder_components", W)
        return Parameters(
            W, V, parts["hidden_bias"], parts["visible_bias"], parts.get("output_parameters")
        )


class DeepModel(NamedTuple):
    """Layers on top of each other, tied, unrolled for training; what `Model` is for one. The flat
    array is that of one layer after the other.
    """

    n_features: int
    layer_sizes: tuple
    activation: str
    code_activation: str  # of the last layer
    output: tuple  # of the first layer

    @property
    def layers(self):
        """The model of each layer on its own: upper ones reconstruct codes, by Bernoulli's loss
        where these lie in (0, 1).
        """
        sizes = (self.n_features, *self.layer_sizes)
        activations = [self.activation] * (len(sizes) - 2) + [self.code_activation]
        of_codes = [
            "bernoulli" if name in UNIT_ACTIVATIONS else "gaussian" for name in activations[:-1]
        ]
        layer_outputs = [self.output, *map(outputs.plain_output, of_codes)]
        shapes = zip(pairwise(sizes), activations, layer_outputs, strict=True)
        return [Model(d, k, True, activation, output) for (d, k), activation, output in shapes]

    @property
    def n_components(self):
        return self.layer_sizes[-1]

    @property
    def has_groups(self):
        return self.layers[0].has_groups

    @property
    def layout(self):
        return {
            f"layers.{number}.{name}": shape
            for number, layer in enumerate(self.layers)
            for name, shape in layer.layout.items()
        }

    @property
    def n_parameters(self):
        return sum(layer.n_parameters for layer in self.layers)

    @property
    def n_multiplied(self):
        return sum(layer.n_multiplied for layer in self.layers)

    def parts(self, flat):
        return named_parts(self.layout, flat)

    def split(self, flat):
        """The `Parameters` of each layer."""
        return [layer.split(part) for layer, part in self.layer_views(flat)]

    def layer_views(self, flat):
        views, begin = [], 0
        for layer in self.layers:
            end = begin + layer.n_parameters
            views.append((layer, flat[begin:end]))
            begin = end
        return views
