"""Fitted models as ONNX graphs."""

from collections.abc import Collection
from typing import Any

import onnx
from sklearn.utils.validation import check_is_fitted

from aefast._base.errors import shown
from aefast._base.exchange import interop
from aefast._base.files import replacing
from aefast._base.paths import as_path
from aefast._base.types import Array
from aefast.anomaly import AnomalyDetector
from aefast.interop.feed_forward import feed_forward
from aefast.interop.onnx_graph import INPUT, Graph, finished
from aefast.interop.onnx_mixtures import mixture_graph
from aefast.interop.onnx_network import build
from aefast.interop.onnx_tables import (
    columns_property,
    detector_graph,
    encoder_graph,
    inputs_of,
    table_graph,
)
from aefast.linear.mixture_model import LinearMixture
from aefast.table_autoencoder import TableAutoencoder
from aefast.tables.encoder import TableEncoder

RESULTS = ["codes", "reconstruction", "score"]


def export(model: Any, path: Any, results: Collection[str] | None = None) -> None:
    """Write a fitted model as an ONNX file; `to_onnx` of the estimators documents it."""
    proto = model_proto(model, results)
    with replacing(as_path(path)) as file:
        file.write(proto.SerializeToString(deterministic=True))


def model_proto(model: Any, results: Collection[str] | None = None) -> onnx.ModelProto:
    """Return the ONNX model of a fitted model."""
    kind = type(model).__name__
    if isinstance(model, TableEncoder):
        check_is_fitted(model)
        return finished(encoder_graph(model), kind, columns_property(model))
    if isinstance(model, TableAutoencoder):
        check_is_fitted(model)
        encoder, network = model.encoder_, feed_forward(model.autoencoder_)
        graph = table_graph(encoder, network, _results(network, results, kind))
        return finished(graph, kind, columns_property(encoder))
    if isinstance(model, AnomalyDetector):
        check_is_fitted(model)
        wanted = _wanted(["score", "decision"], results, kind)
        _check_is_computed(model)
        return finished(detector_graph(model, wanted), kind)
    if isinstance(model, LinearMixture):
        check_is_fitted(model)
        return finished(mixture_graph(model, _wanted(RESULTS, results, kind)), kind)
    network = feed_forward(model)
    graph = Graph(network.dtype)
    graph.input(INPUT, network.n_features)
    graph.outputs(build(graph, network, INPUT, _results(network, results, kind)), network)
    return finished(graph, kind)


def _check_is_computed(detector):
    """Raise TypeError for a detector whose scores no graph computes, with the reason."""
    if detector.estimator_ is None:
        reason = "it compares a row with the reference rows that it keeps"
    elif detector._head is not None:
        reason = "its fit had labels, and it weighs parts that compare a row with others"
    elif not hasattr(detector.estimator_, "score_samples"):
        reason = f"its {type(detector.estimator_).__name__} has no score_samples"
    else:
        return
    raise TypeError(
        f"a model of type AnomalyDetector cannot be exported: {reason}. One with a network as its "
        "estimator, such as Autoencoder(), and without labels can be"
    )


def _results(network, given, kind):
    """Return the names of a network's results to compute, in order."""
    n_available = 1 if not network.reconstruction else 3 if network.decoder else 2
    return _wanted(RESULTS[:n_available], given, kind)


def _wanted(available, given, kind):
    """Return the names of the results to compute, in order."""
    if given is None:
        return available
    try:
        wanted = [] if isinstance(given, str) else list(given)
    except TypeError:
        wanted = []
    if not wanted or not all(isinstance(name, str) and name in available for name in wanted):
        raise ValueError(f"results of a {kind} must be some of {available}, got {shown(given)}")
    return [name for name in available if name in wanted]


def table_inputs(model: Any, X: Any) -> dict[str, Array]:
    """Return the inputs of the ONNX graph of a model of tables, for the rows of a table.

    Parameters
    ----------
    model : TableAutoencoder, TableEncoder or AnomalyDetector
        The fitted model of a table whose `to_onnx` wrote the graph.
    X : frame or array-like (n_samples, n_features)
        With the columns of the fit, in any order.

    Returns
    -------
    inputs : dict of str to ndarray (n_samples, 1)
        float64 or str objects by the name of the input, as `TableAutoencoder.to_onnx` describes
        them: what ``InferenceSession.run`` takes.

    Raises
    ------
    TypeError
        For a model of another kind.
    ValueError
        For tables that the encoder refuses.
    """
    of_tables = isinstance(model, (TableAutoencoder, TableEncoder, AnomalyDetector))
    if of_tables:
        check_is_fitted(model)
    encoder = getattr(model, "encoder_", model)
    if not of_tables or not isinstance(encoder, TableEncoder):
        raise TypeError(
            "model must be a fitted TableAutoencoder, TableEncoder, or AnomalyDetector of a table "
            f"with columns that are not numbers, got {type(model).__name__}"
        )
    return inputs_of(encoder, X)


def register() -> None:
    """Register aefast's transformers with skl2onnx.

    After it ``skl2onnx.to_onnx(pipeline, X)`` converts pipelines that have an Autoencoder,
    AutoencoderCV, StackedAutoencoder, ProbabilisticPCA, FactorAnalysis, Whitening,
    MarginalizedAutoencoder, ItemAutoencoder, MixtureOfFactorAnalyzers, MixtureOfProbabilisticPCA,
    TableEncoder or TableAutoencoder among their steps, each by its `transform`. ``target_opset``
    must be 18 or later, as it is by default. Where a TableEncoder or a TableAutoencoder is the
    first step, X is a data frame, and the graph has an input for each of its columns.

    Raises
    ------
    ImportError
        Without the package skl2onnx.
    """
    interop("skl2onnx_converters").register()
