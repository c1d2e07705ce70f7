"""What a fitted network is: its shape, and its parameters as one flat array with named parts."""

from math import prod
from typing import NamedTuple

from aefast import _outputs


class Parameters(NamedTuple):
    """The parts, all of one real type. V, the decoder's matrix, is W itself when tied."""

    W: object  # (k, d)
    V: object  # (k, d)
    b: object  # (k,)
    c: object  # (d,)
    theta: object = (
        None  # (d,): the parameter of each column's distribution; None: no distribution has one
    )


class Model(NamedTuple):
    """What the parameters mean; fixed when a fit starts."""

    n_features: int
    n_components: int
    tied: bool
    activation: str
    output: tuple  # of _outputs.Segment
    top_k: int = 0  # units of a row that keep their value; 0: all

    @property
    def layout(self):
        """Name and shape of each part of the flat array, in order."""
        d, k = self.n_features, self.n_components
        decoder = {} if self.tied else {"decoder_components": (k, d)}
        theta = {"output_parameters": (d,)} if _outputs.has_parameters(self.output) else {}
        return {"components": (k, d), **decoder, "hidden_bias": (k,), "visible_bias": (d,), **theta}

    @property
    def has_groups(self):
        return any(segment.is_group for segment in self.output)

    @property
    def n_parameters(self):
        return sum(prod(shape) for shape in self.layout.values())

    def parts(self, flat):
        """Views of the parts of a flat array (or of one row of the optimizer's state), by name."""
        views, begin = {}, 0
        for name, shape in self.layout.items():
            end = begin + prod(shape)
            views[name] = flat[begin:end].reshape(shape)
            begin = end
        return views

    def split(self, flat):
        """The parts of a flat array as `Parameters`."""
        parts = self.parts(flat)
        W = parts["components"]
        V = parts.get("decoder_components", W)
        return Parameters(
            W, V, parts["hidden_bias"], parts["visible_bias"], parts.get("output_parameters")
        )
