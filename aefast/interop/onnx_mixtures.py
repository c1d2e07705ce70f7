"""Mixtures of linear Gaussian models as nodes of ONNX."""

from collections.abc import Collection
from typing import Any

import numpy as np

from aefast.interop.feed_forward import of_gaussian
from aefast.interop.onnx_graph import INPUT, Graph
from aefast.interop.onnx_network import build


def mixture_graph(model: Any, wanted: Collection[str]) -> Graph:
    """Return the graph of a fitted mixture, from rows without missing entries."""
    graph, d = Graph("float64"), model.n_features_in_
    graph.input(INPUT, d)
    widths = {"codes": model.n_mixtures_ * model.n_components_, "reconstruction": d}
    for name, found in build_mixture(graph, model, INPUT, wanted).items():
        graph.output(name, found, widths.get(name))
    return graph


def build_mixture(graph: Graph, model: Any, x: str, wanted: Collection[str]) -> dict[str, str]:
    """Add the nodes that compute the wanted results of the rows x; return their names.

    With ``a_m = log π_m + log p(x | m)``, the score is ``log Σ_m exp a_m`` and the softmax of a has
    the components' probabilities, by which codes and reconstructions are weighted.
    """
    results = ["codes", "reconstruction", "score"]
    parts = [build(graph, of_gaussian(gaussian), x, results) for gaussian in model._gaussians]
    column = graph.constant([1], np.int64)
    densities = [graph.add("Unsqueeze", [part["score"], column]) for part in parts]
    joint = graph.plus(graph.add("Concat", densities, axis=1), np.log(model.weights_))
    shares = graph.of("Softmax", joint, axis=1)

    def weighted(name):
        return [graph.times(part[name], graph.columns(shares, [m])) for m, part in enumerate(parts)]

    found = {}
    if "codes" in wanted:
        found["codes"] = graph.add("Concat", weighted("codes"), axis=1)
    if "reconstruction" in wanted:
        found["reconstruction"] = graph.add("Sum", weighted("reconstruction"))
    if "score" in wanted:
        found["score"] = graph.add("ReduceLogSumExp", [joint, column], keepdims=0)
    return found
