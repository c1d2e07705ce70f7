"""Fitted models as chains of affine maps and elementwise functions, for exports.

    read     x' = (fill NaN; scale; norm or logarithms)    what the encoder reads
    encode   h ← g(x' Wᵀ + b)                              for each layer from below
    decode   h ← g(((h − offset) ∘ gain) V + c)            for each layer from above; at the end
             η, the pre-activation of the output
    blocks   μ = mean of p(x | η), shifted and scaled back into the user's units

A linear model is the special case of one layer with the identity as g.
"""

from typing import Any, NamedTuple

import numpy as np

from aefast._base.types import Array
from aefast.linear.autoencoders import MarginalizedAutoencoder
from aefast.linear.factor_model import FactorModel
from aefast.linear.gaussian import LOG_2PI, LinearGaussian
from aefast.linear.item_autoencoder import ItemAutoencoder
from aefast.linear.whitening import Whitening
from aefast.networks import outputs
from aefast.networks.fitted import FittedNetwork
from aefast.networks.headed import HeadedStack
from aefast.networks.one_pass import AT_ZERO
from aefast.networks.selection import AutoencoderCV

LINEAR = "linear"  # the activation that does nothing


class Dense(NamedTuple):
    """``g(z Wᵀ + b)``, where z is the input, or ``(input − offset) ∘ gain``."""

    weights: Array  # (n_out, n_in)
    bias: Array  # (n_out,)
    activation: str
    top_k: int = 0  # number of the largest entries that are kept; 0: all
    offset: float = 0.0
    gain: Array | None = None  # (n_in,)


class Block(NamedTuple):
    """Output columns of one distribution."""

    distribution: str
    columns: Array  # numbers of the columns
    constant: float
    theta: Array | None = None  # (m,), parameters of the columns; None: there are none
    is_fixed: bool = False  # whether an option fixes theta


class Marginal(NamedTuple):
    """log p(x) of a linear factor model, as a sum of squares that loses no digits.

    ``log p(x) = constant − ½ Σ_j (x_j − x̂_j)² noise_j − ½ h prior hᵀ``, with the posterior mean h
    and x̂ = h W + μ: the least value of the quadratic form in h is that of the marginal.
    """

    noise: Array  # (d,), 1 / ψ
    prior: Array  # (k, k), Φ⁻¹
    constant: float


class FeedForward(NamedTuple):
    """A fitted model that computes codes and reconstructions row by row."""

    n_features: int
    encoder: tuple[Dense, ...]
    decoder: tuple[Dense, ...]  # from codes to η; empty: the model cannot decode
    reconstruction: tuple[Dense, ...]  # from x' to η; empty: the model has codes alone
    blocks: tuple[Block, ...]
    dtype: np.dtype
    fill: Array | None = None  # (d,), what a missing entry is read as; None: NaN is refused
    shift: Array | None = None  # (d,)
    scale: Array | None = None  # (d,)
    log_offset: Array | None = None  # (d,); 0 in columns that are read as they are
    log_centre: Array | None = None  # (d,)
    normed: bool = False  # whether what is read is divided by its Euclidean norm, unless that is 0
    marginal: Marginal | None = None  # in place of the blocks' scores

    @property
    def n_components(self) -> int:
        return len(self.encoder[-1].bias)


def feed_forward(model: Any) -> FeedForward:
    """Describe a fitted model.

    Raises
    ------
    TypeError
        For an estimator whose codes are not computed layer by layer, named with the reason.
    ValueError
        For a user-defined distribution, whose formula is Python.
    """
    if isinstance(model, AutoencoderCV):
        model = model.best_estimator_
    if isinstance(model, HeadedStack):
        raise TypeError(
            f"a model of type {type(model).__name__} cannot be exported with its head: export its "
            "autoencoder_, whose codes the head reads"
        )
    for kind, describe in _KINDS.items():
        if isinstance(model, kind):
            return describe(model)
    name = type(model).__name__
    reason = next((text for names, text in _REASONS.items() if name in names), None)
    raise TypeError(
        f"a model of type {name} cannot be exported: {reason or ''}{'; ' if reason else ''}"
        "expected a fitted Autoencoder, AutoencoderCV, StackedAutoencoder, ProbabilisticPCA, "
        "FactorAnalysis, Whitening, MarginalizedAutoencoder or ItemAutoencoder, whose codes are "
        "affine maps and elementwise functions of a row"
    )


def _network(model):
    state = model._fitted_state()
    network, d = state.model, state.model.n_features
    for segment in network.output:
        if segment.custom is not None:
            raise ValueError(
                f"output {segment.name!r} is a user-defined distribution, whose formula cannot be "
                "exported: export a model with one of aefast's distributions"
            )
    encoder, decoder = [], []
    layers = list(zip(network.layers, network.split(state.parameters), strict=True))
    for layer, p in layers:
        encoder.append(Dense(p.W, p.b, layer.activation, layer.top_k))
    for number, (layer, p) in reversed(list(enumerate(layers))):
        above = LINEAR if number == 0 else layers[number - 1][0].activation
        offset = 0.0 if p.gain is None else AT_ZERO[layer.activation]
        decoder.append(Dense(p.V.T, p.c, above, 0, offset, p.gain))
    scaling, logarithms = state.scaling, state.logarithms
    return FeedForward(
        d,
        tuple(encoder),
        tuple(decoder),
        (*encoder, *decoder),
        tuple(_block(segment, d, layers[0][1].theta) for segment in network.output),
        state.parameters.dtype,
        fill=state.fill,
        shift=None if scaling is None else scaling.shift,
        scale=None if scaling is None else scaling.scale,
        log_offset=None if logarithms is None else logarithms.offset,
        log_centre=None if logarithms is None else logarithms.centre,
        normed=bool(state.normed),
    )


def _block(segment, n_features, theta):
    columns = np.arange(n_features)[outputs.columns_of(segment, n_features)]
    own = None if segment.parameter is None else theta[columns]
    return Block(segment.distribution, columns, segment.constant, own, segment.fixes_parameter)


def of_gaussian(gaussian: LinearGaussian) -> FeedForward:
    """Describe a linear Gaussian model: posterior means, and log p(x)."""
    P, d = gaussian.posterior_map, gaussian.n_features
    encoder = Dense(P.T, -(gaussian.mean @ P), LINEAR)
    decoder = Dense(gaussian.W.T, gaussian.mean, LINEAR)
    Phi = gaussian.L @ gaussian.L.T
    constant = -0.5 * (d * LOG_2PI + gaussian.log_det)
    marginal = Marginal(1 / gaussian.psi, np.linalg.inv(Phi), constant)
    return _linear(encoder, decoder, (encoder, decoder))._replace(marginal=marginal)


def _factor_model(model):
    return of_gaussian(model._gaussian)


def _whitening(model):
    whiten, back = model.components_, model._inverse
    encoder = Dense(whiten, -(whiten @ model.mean_), LINEAR)
    decoder = Dense(back.T, model.mean_, LINEAR)
    return _linear(encoder, decoder, (encoder, decoder))


def _marginalized(model):
    linear = Dense(model.coef_, model.intercept_, LINEAR)
    activation = "tanh" if model.activation == "tanh" else LINEAR
    return _linear(linear._replace(activation=activation), None, (linear,))


def _items(model):
    B = model.dense_components()
    return _linear(Dense(B.T, np.zeros(len(B)), LINEAR), None, ())


def _linear(encoder, decoder, reconstruction):
    d = encoder.weights.shape[1]
    decoder = () if decoder is None else (decoder,)
    blocks = (Block("gaussian", np.arange(d), 0.0),)
    return FeedForward(d, (encoder,), decoder, reconstruction, blocks, np.dtype(np.float64))


# why models are not exported, by the names of their classes
_REASONS = {
    ("TableAutoencoder", "TableEncoder"): (
        "only `to_onnx` has inputs for the columns of a table, texts among them. The attribute "
        "autoencoder_ of a TableAutoencoder can be exported, whose rows are those of "
        "encoder_.transform"
    ),
    ("AnomalyDetector",): (
        "only `to_onnx` has its scores. Its attribute estimator_ can be exported where it is one "
        "of those below"
    ),
    ("Imputer",): (
        "with a factor model it solves a system of equations for each pattern of missing entries. "
        "For entries filled by a network, export a TableAutoencoder or an Autoencoder with "
        "missing='mask', whose reconstruction fills them"
    ),
    ("SparseCoder", "DictionaryLearning"): "its codes are found by iterations for each row",
    ("MixtureOfFactorAnalyzers", "MixtureOfProbabilisticPCA"): (
        "only `to_onnx` has its probabilities of components"
    ),
    ("Pipeline",): (
        "its steps are scikit-learn's too. After aefast.interop.onnx.register() skl2onnx.to_onnx "
        "converts it; a step can be exported alone"
    ),
    ("AutoencoderEnsemble",): (
        "its results are averages over members. Each of its members_ can be exported"
    ),
}

_KINDS = {
    FittedNetwork: _network,
    FactorModel: _factor_model,
    Whitening: _whitening,
    MarginalizedAutoencoder: _marginalized,
    ItemAutoencoder: _items,
}
