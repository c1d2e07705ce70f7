"""Converters for skl2onnx, so that pipelines with aefast's transformers become ONNX files."""

from onnx import helper
from skl2onnx import update_registered_converter
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
from skl2onnx.common.utils import check_input_and_output_numbers

from aefast.interop.feed_forward import feed_forward
from aefast.interop.onnx import OPSET, Graph, build
from aefast.linear.autoencoders import MarginalizedAutoencoder
from aefast.linear.factor_analysis import FactorAnalysis
from aefast.linear.item_autoencoder import ItemAutoencoder
from aefast.linear.probabilistic_pca import ProbabilisticPCA
from aefast.linear.whitening import Whitening
from aefast.networks.autoencoder import Autoencoder
from aefast.networks.selection import AutoencoderCV
from aefast.networks.stacked import StackedAutoencoder

TRANSFORMERS = (
    Autoencoder,
    AutoencoderCV,
    StackedAutoencoder,
    ProbabilisticPCA,
    FactorAnalysis,
    Whitening,
    MarginalizedAutoencoder,
    ItemAutoencoder,
)


def register() -> None:
    for kind in TRANSFORMERS:
        update_registered_converter(kind, f"Aefast{kind.__name__}", _set_shape, _convert)


def _set_shape(operator):
    check_input_and_output_numbers(operator, input_count_range=1, output_count_range=1)
    forward = feed_forward(operator.raw_operator)
    rows = operator.inputs[0].type
    kind = DoubleTensorType if isinstance(rows, DoubleTensorType) else FloatTensorType
    operator.outputs[0].type = kind([rows.shape[0], forward.n_components])


def _convert(scope, operator, container):
    """Add the nodes that compute the codes, in the type of the pipeline."""
    is_double = isinstance(operator.inputs[0].type, DoubleTensorType)
    prefix = scope.get_unique_variable_name(operator.type) + "_"
    graph = Graph("float64" if is_double else "float32", prefix)
    kind = helper.np_dtype_to_tensor_dtype(graph.dtype)
    read = f"{prefix}rows"
    container.add_node("Cast", operator.inputs[0].full_name, read, op_version=13, to=kind)
    found = build(graph, feed_forward(operator.raw_operator), read, ["codes"])
    for tensor in graph.constants:
        container.add_initializer(tensor.name, None, None, tensor)
    for node in graph.nodes:
        options = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        container.add_node(
            node.op_type, list(node.input), list(node.output), op_version=OPSET, **options
        )
    container.add_node("Identity", found["codes"], operator.outputs[0].full_name, op_version=14)
