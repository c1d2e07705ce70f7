"""Mixtures of linear Gaussian models as nodes of ONNX."""

from collections.abc import Collection
from typing import Any

import numpy as np

from aefast.interop.feed_forward import of_gaussian
from aefast.interop.onnx_graph import Graph
from aefast.interop.onnx_network import build

INPUT = "X"


def mixture_graph(model: Any, wanted: Collection[str]) -> Graph:
    """Return the graph of a fitted mixture, from rows without missing entries.

    With ``a_m = log π_m + log p(x | m)``, the score is ``log Σ_m exp a_m`` and the softmax of a has
    the components' probabilities, by which codes and reconstructions are weighted.
    """
    graph, d = Graph("float64"), model.n_features_in_
    graph.input(INPUT, d)
    parts = []
    for gaussian in model._gaussians:
        results = ["codes", "reconstruction", "score"]
        parts.append(build(graph, of_gaussian(gaussian), INPUT, results))
    column = graph.constant([1], np.int64)
    densities = [graph.add("Unsqueeze", [part["score"], column]) for part in parts]
    joint = graph.plus(graph.add("Concat", densities, axis=1), np.log(model.weights_))
    shares = graph.of("Softmax", joint, axis=1)

    def weighted(name):
        return [graph.times(part[name], graph.columns(shares, [m])) for m, part in enumerate(parts)]

    if "codes" in wanted:
        codes = graph.add("Concat", weighted("codes"), axis=1)
        graph.output("codes", codes, model.n_mixtures_ * model.n_components_)
    if "reconstruction" in wanted:
        graph.output("reconstruction", graph.add("Sum", weighted("reconstruction")), d)
    if "score" in wanted:
        graph.output("score", graph.add("ReduceLogSumExp", [joint, column], keepdims=0))
    return graph
