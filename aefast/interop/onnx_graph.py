"""Graphs of ONNX: nodes and constants that are added one after the other, and whole models."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from aefast._version import __version__
from aefast.interop.feed_forward import FeedForward

OPSET, ML_OPSET = 18, 3  # of ai.onnx, and of ai.onnx.ml, which looks up texts
ML = "ai.onnx.ml"
IR_VERSION = 9
INPUT = "X"  # of graphs whose rows are numbers


class Graph:
    """Nodes and constants that are added one after the other."""

    def __init__(self, dtype: Any, prefix: str = "") -> None:
        self.dtype, self.prefix = np.dtype(dtype), prefix
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.given: list[Any] = []  # inputs, described
        self.found: list[Any] = []  # outputs, described
        self._names: dict[Any, str] = {}

    @property
    def kind(self) -> int:
        """The type of the graph's real tensors, as ONNX numbers it."""
        return helper.np_dtype_to_tensor_dtype(self.dtype)

    def input(self, name: str, width: int, kind: int | None = None) -> None:
        """Add an input (n, width), of the type of the graph unless another is given."""
        self.given.append(helper.make_tensor_value_info(name, kind or self.kind, ["n", width]))

    def output(self, name: str, found: str, width: int | None = None) -> None:
        """Name a result (n, width), or (n,), as an output."""
        self.add("Identity", [found], name)
        shape = ["n"] if width is None else ["n", width]
        self.found.append(helper.make_tensor_value_info(name, self.kind, shape))

    def outputs(self, found: dict[str, str], network: FeedForward) -> None:
        """Name the results of a network as outputs."""
        widths = {"codes": network.n_components, "reconstruction": network.n_features}
        for name, result in found.items():
            self.output(name, result, widths.get(name))

    def constant(self, value: Any, dtype: Any = None) -> str:
        """Return the name of a constant tensor; equal ones are stored once."""
        array = np.ascontiguousarray(np.asarray(value, dtype or self.dtype))
        array = array.reshape(np.shape(value))
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._names:
            self._names[key] = f"{self.prefix}constant{len(self._names)}"
            self.constants.append(numpy_helper.from_array(array, self._names[key]))
        return self._names[key]

    def add(
        self, kind: str, inputs: Sequence[str], output: str | None = None, **options: Any
    ) -> Any:
        """Add a node and return the name of its (first) output."""
        name = output or f"{self.prefix}{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **options))
        return name

    # Arithmetic between names of tensors and numbers or arrays.

    def _name(self, value):
        return value if isinstance(value, str) else self.constant(value)

    def plus(self, a: Any, b: Any) -> str:
        return self.add("Add", [self._name(a), self._name(b)])

    def minus(self, a: Any, b: Any) -> str:
        return self.add("Sub", [self._name(a), self._name(b)])

    def times(self, a: Any, b: Any) -> str:
        return self.add("Mul", [self._name(a), self._name(b)])

    def over(self, a: Any, b: Any) -> str:
        return self.add("Div", [self._name(a), self._name(b)])

    def where(self, condition: str, a: Any, b: Any) -> str:
        return self.add("Where", [condition, self._name(a), self._name(b)])

    def less(self, a: Any, b: Any) -> str:
        return self.add("Less", [self._name(a), self._name(b)])

    def of(self, kind: str, a: str, **options: Any) -> str:
        return self.add(kind, [a], **options)

    def most(self, a: str, b: Any) -> str:
        return self.add("Max", [a, self._name(b)])

    def square(self, a: str) -> str:
        return self.times(a, a)

    def columns(self, a: str, numbers: Any) -> str:
        return self.add("Gather", [a, self.constant(numbers, np.int64)], axis=1)

    def sum_of_row(self, a: str, keepdims: int = 0) -> str:
        return self.add("ReduceSum", [a, self.constant([1], np.int64)], keepdims=keepdims)

    def prune(self, results: Collection[str]) -> None:
        """Remove nodes and constants on which no result depends."""
        needed, kept = set(results), []
        for node in reversed(self.nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
                kept.append(node)
        self.nodes = kept[::-1]
        self.constants = [tensor for tensor in self.constants if tensor.name in needed]

    def look_up(self, texts: str, keys: Sequence[str], absent: int) -> str:
        """Return the number of each text among the keys, `absent` where it is none of them."""
        name = f"{self.prefix}numbers{len(self.nodes)}"
        options = {
            "keys_strings": list(keys),
            "values_int64s": list(range(len(keys))),
            "default_int64": absent,
        }
        self.nodes.append(helper.make_node("LabelEncoder", [texts], [name], domain=ML, **options))
        return name


def finished(graph: Graph, name: str, properties: dict[str, str] | None = None) -> onnx.ModelProto:
    """Return the checked model of a graph with its inputs and outputs."""
    graph.prune([output.name for output in graph.found])
    proto = helper.make_graph(graph.nodes, name, graph.given, graph.found, graph.constants)
    domains = {"": OPSET} | {node.domain: ML_OPSET for node in graph.nodes if node.domain}
    made = helper.make_model(
        proto,
        producer_name="aefast",
        producer_version=__version__,
        opset_imports=[helper.make_opsetid(*domain) for domain in domains.items()],
        ir_version=IR_VERSION,
    )
    helper.set_model_props(made, properties or {})
    onnx.checker.check_model(made, full_check=True)
    return made
