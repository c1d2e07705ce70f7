"""Converters for skl2onnx, so that pipelines with aefast's transformers become ONNX files."""

from onnx import helper
from skl2onnx import update_registered_converter
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType
from skl2onnx.common.utils import check_input_and_output_numbers

from aefast.interop.feed_forward import feed_forward
from aefast.interop.onnx_graph import ML_OPSET, OPSET, Graph
from aefast.interop.onnx_mixtures import build_mixture
from aefast.interop.onnx_network import build
from aefast.interop.onnx_tables import encoded, is_text
from aefast.linear.autoencoders import MarginalizedAutoencoder
from aefast.linear.factor_analysis import FactorAnalysis
from aefast.linear.item_autoencoder import ItemAutoencoder
from aefast.linear.mixture_model import LinearMixture
from aefast.linear.mixtures import MixtureOfFactorAnalyzers, MixtureOfProbabilisticPCA
from aefast.linear.probabilistic_pca import ProbabilisticPCA
from aefast.linear.whitening import Whitening
from aefast.networks.autoencoder import Autoencoder
from aefast.networks.selection import AutoencoderCV
from aefast.networks.stacked import StackedAutoencoder
from aefast.table_autoencoder import TableAutoencoder
from aefast.tables.encoder import TableEncoder

TRANSFORMERS = (
    Autoencoder,
    AutoencoderCV,
    StackedAutoencoder,
    ProbabilisticPCA,
    FactorAnalysis,
    Whitening,
    MarginalizedAutoencoder,
    ItemAutoencoder,
    MixtureOfFactorAnalyzers,
    MixtureOfProbabilisticPCA,
)
OF_TABLES = (TableEncoder, TableAutoencoder)


def register() -> None:
    for kind in TRANSFORMERS:
        update_registered_converter(kind, f"Aefast{kind.__name__}", _set_shape, _convert)
    for of_table in OF_TABLES:
        name = f"Aefast{of_table.__name__}"
        update_registered_converter(of_table, name, _set_shape_of_table, _convert_table)


def _set_shape(operator):
    check_input_and_output_numbers(operator, input_count_range=1, output_count_range=1)
    model = operator.raw_operator
    if isinstance(model, LinearMixture):
        n_codes = model.n_mixtures_ * model.n_components_
    else:
        n_codes = feed_forward(model).n_components
    rows = operator.inputs[0].type
    kind = DoubleTensorType if isinstance(rows, DoubleTensorType) else FloatTensorType
    operator.outputs[0].type = kind([rows.shape[0], n_codes])


def _convert(scope, operator, container):
    """Add the nodes that compute the codes, in the type of the pipeline."""
    is_double = isinstance(operator.inputs[0].type, DoubleTensorType)
    graph = _graph(scope, operator, "float64" if is_double else "float32")
    read = graph.of("Cast", operator.inputs[0].full_name, to=graph.kind)
    model = operator.raw_operator
    if isinstance(model, LinearMixture):
        found = build_mixture(graph, model, read, ["codes"])
    else:
        found = build(graph, feed_forward(model), read, ["codes"])
    _finish(graph, found["codes"], operator, container)


# ---- tables ----


def _set_shape_of_table(operator):
    model = operator.raw_operator
    width = model._layout.n_columns if isinstance(model, TableEncoder) else model._n_features_out
    operator.outputs[0].type = DoubleTensorType([operator.inputs[0].type.shape[0], width])


def _convert_table(scope, operator, container):
    """Add the nodes that compute the matrix or the codes of a table, in float64."""
    model = operator.raw_operator
    graph = _graph(scope, operator, "float64")
    encoder = model if isinstance(model, TableEncoder) else model.encoder_
    result, _ = encoded(graph, encoder, _columns(graph, encoder, operator.inputs))
    if isinstance(model, TableAutoencoder):
        result = build(graph, feed_forward(model.autoencoder_), result, ["codes"])["codes"]
    _finish(graph, result, operator, container)


def _columns(graph, encoder, inputs):
    """Return the tensors (n, 1) of the coded columns, by their names among the inputs."""
    given = {variable.raw_name: variable for variable in inputs}
    names = []
    for coding in encoder._layout.coded:
        variable, is_string = given.get(str(coding.label)), is_text(coding)
        if variable is None or isinstance(variable.type, StringTensorType) != is_string:
            found = "none" if variable is None else type(variable.type).__name__
            raise ValueError(
                f"column {coding.label!r} needs an input of its name, a StringTensorType for texts "
                f"and a type of numbers for others, got {found}: convert the pipeline with a data "
                "frame of the fit's columns"
            )
        name = variable.full_name
        names.append(name if is_string else graph.of("Cast", name, to=graph.kind))
    return names


# ---- nodes in the graph of a pipeline ----


def _graph(scope, operator, dtype):
    return Graph(dtype, scope.get_unique_variable_name(operator.type) + "_")


def _finish(graph, result, operator, container):
    """Move constants and nodes into the pipeline's graph, with the result as output."""
    graph.prune([result])
    for tensor in graph.constants:
        container.add_initializer(tensor.name, None, None, tensor)
    for node in graph.nodes:
        options = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        container.add_node(
            node.op_type,
            list(node.input),
            list(node.output),
            op_domain=node.domain,
            op_version=ML_OPSET if node.domain else OPSET,
            **options,
        )
    container.add_node("Identity", result, operator.outputs[0].full_name, op_version=14)
