"""The estimator `StackedAutoencoder`: pre-trained layer by layer, then fine-tuned as a whole."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions

from aefast._base import checkpoints, history, scalars
from aefast._base.random import LAYERS, random_stream
from aefast._base.saving import COUNT, CURVE, FLAG, SIZE, Check, is_list_of, one_of
from aefast._base.streams import StreamedRows, StreamOfResults
from aefast._base.types import Array, Callbacks, OutputLike, PathLike, RandomState
from aefast.networks import _autoencoder, outputs
from aefast.networks._autoencoder import N_LAYERS_AT_MOST as MOST_LAYERS
from aefast.networks.autoencoder import Autoencoder
from aefast.networks.exchange import TorchExchange
from aefast.networks.fitted import FittedNetwork, check_top_k
from aefast.networks.inference import NetworkInference
from aefast.networks.network import Network, stacked_network
from aefast.networks.one_pass import one_pass
from aefast.networks.training import lbfgs
from aefast.networks.training.automatic import Settings, is_scale_free
from aefast.networks.training.fitting import NetworkFitting
from aefast.networks.training.report import report_fit
from aefast.networks.training.start import SPREAD, layers_start_near_pca, rate_factors
from aefast.networks.variants import (
    check_corruption,
    check_dropped_units,
    check_sparsity,
    has_gain,
    rows_variant,
    variant_of,
)

_SIZES = Check(
    lambda sizes: is_list_of(SIZE.is_valid)(sizes) and 1 <= len(sizes) <= MOST_LAYERS,
    f"a list of 1 to {MOST_LAYERS} positive integers",
)
WIDENING = 4  # units of the first layer for each of the code, where sizes are chosen

# parameters that have the meaning for each layer that they have for an Autoencoder
_SHARED = (
    *("activation", "tied", "gain", "init", "output", "scale", "domain"),
    *("missing", "missing_fill", "sparse_means", "row_norm", "corruption"),
    *("contraction", "sparsity"),
    *("solver", "learning_rate", "momentum", "nesterov"),
    *("batch_size", "max_epochs", "early_stopping", "validation_fraction", "n_epochs_no_change"),
    *("tol", "alpha", "weight_decay", "clip_norm", "max_norm", "weight_averaging"),
    *("learning_rate_schedule", "shuffle", "warm_start", "precision"),
    *("n_threads", "random_state", "callbacks", "verbose"),
)
# of the last layer alone, with the values that switch them off
_OF_CODE = {"top_k": None, "dropout": 0.0}


class StackedAutoencoder(
    TorchExchange, FittedNetwork, NetworkFitting, NetworkInference, BaseEstimator
):
    """Deep autoencoder, pre-trained layer by layer and fine-tuned as a whole.

    The encoder is ``H_l = g_l(H_{l-1} W_lᵀ + b_l)`` from ``H_0 = X`` to the code ``H_L``, the
    decoder ``R_{l-1} = g_{l-1}(R_l W_l + c_l)`` from ``R_L = H_L`` down to ``X̂ = o(R_1 W_1 +
    c_1)``, where weights are tied. Greedy pre-training fits layer l as an `Autoencoder` of the
    codes below it (Bengio et al. 2007; Vincent et al. 2010). Fine-tuning of the unrolled network
    minimises, over batches of n rows and over all layers at once (Hinton & Salakhutdinov 2006),

        ``(1/n) Σ_i l(x_i, x̂_i) + ½ α Σ_l ‖W_l‖²``

    with the losses l of `Autoencoder`. The gradient of a tied W_l is the sum of the encoder's and
    the decoder's contributions. Both stages run in the compiled kernels.

    Parameters
    ----------
    layer_sizes : sequence of int or "auto", default="auto"
        Hidden units of each layer, from the data up; at most 16 layers. "auto": a code of the size
        that `n_components` of `Autoencoder` would have, below it a layer of 4 times as many units.
    activation : {"sigmoid", "tanh", "relu", "softplus", "linear", ...}, default="sigmoid"
        Activation of all layers, in encoder and decoder.
    code_activation : str or None, default=None
        Activation of the last layer's code if it differs from the others', for example "linear" as
        in Hinton & Salakhutdinov (2006).
    tied, gain, init
        As for `Autoencoder`, for each layer. With ``init="pca"`` each layer begins near the
        principal components of the codes of the layer below.
    output : str, tuple or list, default="gaussian"
        The distribution p(x | μ) of the data, as for `Autoencoder`. In pre-training upper layers
        reconstruct codes: with "bernoulli" if these lie in (0, 1) as the sigmoid's do, with
        "gaussian" otherwise.
    scale, domain
        As for `Autoencoder`: the first layer reads scaled columns.
    missing, missing_fill, sparse_means, row_norm
        As for `Autoencoder`: with "mask", NaN is a missing entry in both stages.
    corruption, contraction, sparsity
        As for `Autoencoder`, for each layer in pre-training: a stacked denoising (Vincent et al.
        2010), contractive (Rifai et al. 2011) or sparse (Ng 2011) autoencoder. Fine-tuning
        minimises the loss alone. corruption="auto" is None.
    fine_tuning_corruption : None or (kind, level), default=None
        Noise of the rows that the first layer reads in fine-tuning, with the forms of `corruption`;
        the loss compares with the clean rows. None: it reads clean rows.
    top_k, dropout
        As for `Autoencoder`, of the code, in both stages: units of the last layer that keep their
        value, or the probability that one of them is dropped in training.
    pretrain_epochs : int or "auto", default="auto"
        Largest number of passes over the rows for each layer (`tol` may stop a layer earlier); 0:
        no pre-training. "auto" as for `max_epochs` of `Autoencoder`.
    max_epochs : int or "auto", default="auto"
        Largest number of passes of fine-tuning; "auto" as for `Autoencoder`.
    solver, learning_rate, momentum, nesterov, batch_size, early_stopping, validation_fraction, \
    n_epochs_no_change, tol, alpha, weight_decay, clip_norm, max_norm, weight_averaging, \
    learning_rate_schedule, shuffle, precision, n_threads, random_state, callbacks, checkpoint, \
    checkpoint_every, resume, verbose
        As for `Autoencoder`, for both stages, solver="lbfgs" included. `early_stopping` and
        `callbacks` belong to fine-tuning; pre-training does not use the held-out rows either.
    warm_start : bool, default=False
        Whether `fit` goes on fine-tuning from the fitted parameters, without pre-training.

    Attributes
    ----------
    layers_ : list of Autoencoder
        The fitted layers; their parameters are views of this estimator's.
    pretraining_loss_curves_ : list of list of float
        The `loss_curve_` of each layer in pre-training.
    loss_curve_, validation_loss_curve_ : list of float
    history_ : dict of list
    best_epoch_ : int
        Of fine-tuning, as for `Autoencoder`.
    n_epochs_ : int
        Number of passes of fine-tuning made.
    fit_report_ : dict
        As for `Autoencoder`, of fine-tuning.
    output_parameters_ : dict of str to ndarray (n_features,)
        As for `Autoencoder`.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of str
        Names of the columns; only if X has string column names.

    Notes
    -----
    `fit` pre-trains, then fine-tunes; with ``max_epochs=0`` it only pre-trains. `partial_fit` is
    one pass of fine-tuning, from random weights if the estimator is not fitted.

    Pre-training keeps the codes of one layer for all rows in memory. Ctrl-C, at any time, leaves a
    usable estimator with the parameters reached.

    References
    ----------
    .. [1] Hinton & Salakhutdinov (2006), Reducing the dimensionality of data with neural networks.
    .. [2] Bengio, Lamblin, Popovici & Larochelle (2007), Greedy layer-wise training of deep
       networks.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from aefast import StackedAutoencoder
    >>> X = load_digits().data / 16
    >>> stack = StackedAutoencoder((32, 8), output="bernoulli", random_state=0)
    >>> stack = stack.set_params(pretrain_epochs=3, max_epochs=3).fit(X)
    >>> stack.transform(X).shape
    (1797, 8)
    """

    _parameter_constraints: dict = {
        "layer_sizes": ["array-like", StrOptions({"auto"})],
        "code_activation": [None, StrOptions(set(_autoencoder.ACTIVATIONS))],
        "pretrain_epochs": [Interval(Integral, 0, None, closed="left"), StrOptions({"auto"})],
        **{name: Autoencoder._parameter_constraints[name] for name in (*_SHARED, *_OF_CODE)},
        "fine_tuning_corruption": [None, tuple],
        **checkpoints.CONSTRAINTS,
    }

    def __init__(
        self,
        layer_sizes: Sequence[int] | Array | str = "auto",
        *,
        activation: str = "sigmoid",
        code_activation: str | None = None,
        tied: bool = True,
        gain: bool | str = "auto",
        init: str = "auto",
        output: OutputLike = "gaussian",
        scale: str | None = "auto",
        domain: str = "error",
        missing: str = "error",
        missing_fill: str = "mean",
        sparse_means: str = "zero",
        row_norm: str | None = None,
        corruption: tuple[str, float] | str | None = "auto",
        contraction: float = 0.0,
        sparsity: tuple[Any, ...] | None = None,
        fine_tuning_corruption: tuple[str, float] | None = None,
        top_k: int | None = None,
        dropout: float = 0.0,
        solver: str = "adam",
        learning_rate: float | str = "auto",
        momentum: float = 0.9,
        nesterov: bool = False,
        batch_size: int | str = "auto",
        pretrain_epochs: int | str = "auto",
        max_epochs: int | str = "auto",
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_epochs_no_change: int = 5,
        tol: float = 1e-4,
        alpha: float = 0.0,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        max_norm: float | None = None,
        weight_averaging: float | None = None,
        learning_rate_schedule: str = "auto",
        shuffle: bool = True,
        warm_start: bool = False,
        precision: str = "auto",
        n_threads: int | None = None,
        random_state: RandomState | None = None,
        callbacks: Callbacks | None = None,
        checkpoint: PathLike | None = None,
        checkpoint_every: int | str = "10 min",
        resume: bool | str = "auto",
        verbose: int | bool = 0,
    ) -> None:
        self.layer_sizes = layer_sizes
        self.activation = activation
        self.code_activation = code_activation
        self.tied = tied
        self.gain = gain
        self.init = init
        self.output = output
        self.scale = scale
        self.domain = domain
        self.missing = missing
        self.missing_fill = missing_fill
        self.sparse_means = sparse_means
        self.row_norm = row_norm
        self.corruption = corruption
        self.contraction = contraction
        self.sparsity = sparsity
        self.fine_tuning_corruption = fine_tuning_corruption
        self.top_k = top_k
        self.dropout = dropout
        self.solver = solver
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.nesterov = nesterov
        self.batch_size = batch_size
        self.pretrain_epochs = pretrain_epochs
        self.max_epochs = max_epochs
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_epochs_no_change = n_epochs_no_change
        self.tol = tol
        self.alpha = alpha
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.max_norm = max_norm
        self.weight_averaging = weight_averaging
        self.learning_rate_schedule = learning_rate_schedule
        self.shuffle = shuffle
        self.warm_start = warm_start
        self.precision = precision
        self.n_threads = n_threads
        self.random_state = random_state
        self.callbacks = callbacks
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.resume = resume
        self.verbose = verbose

    pretraining_loss_curves_: list[list[float]]

    # ---- hooks of NetworkFitting ----

    def _check_variants(self):
        check_corruption(self.corruption)
        noise = self.fine_tuning_corruption
        check_corruption(noise, "fine_tuning_corruption", others="None")
        check_sparsity(self.sparsity, self.activation)
        check_sparsity(self.sparsity, self.code_activation or self.activation)
        has_gain(self)
        lbfgs.check(self)
        if isinstance(self.layer_sizes, str):  # "auto"
            check_dropped_units(self, "layer_sizes", self.layer_sizes)
            return
        sizes = list(self.layer_sizes) if getattr(self.layer_sizes, "ndim", 1) else []
        in_range = [
            isinstance(size, Integral) and 1 <= int(size) <= scalars.LARGEST_SIZE for size in sizes
        ]
        if not (1 <= len(sizes) <= MOST_LAYERS and all(in_range)):
            raise ValueError(
                f"layer_sizes must be 1 to {MOST_LAYERS} integers in [1, {scalars.LARGEST_SIZE}], "
                f"got {self.layer_sizes!r}"
            )
        check_dropped_units(self, "layer_sizes[-1]", int(sizes[-1]))

    def _given_sizes(self):
        return tuple(int(size) for size in self.layer_sizes)

    def _sizes_around(self, k):
        return WIDENING * k, k

    def _model_of(self, n_features, output, sizes):
        activations = self.activation, self.code_activation or self.activation
        top_k = 0 if self.top_k is None else int(self.top_k)
        options = {"gain": has_gain(self), "top_k": top_k, "tied": bool(self.tied)}
        return stacked_network(n_features, sizes, *activations, output, **options)

    def _variant_of(self, model, dtype, **found):
        """Return the variant of fine-tuning, without the noise and penalties of pre-training."""
        of_stage = {"corruption": self.fine_tuning_corruption, "contraction": 0.0, "sparsity": None}
        return variant_of(Settings(self, of_stage), model, dtype, **found)

    def _beginning(self, state, record, keep_features):
        fitted = super()._beginning(state, record, keep_features)
        if not keep_features:
            fitted["pretraining_loss_curves_"] = [[] for _ in state.model.layers]
        return fitted

    # ---- pre-training ----

    def _fit_from(
        self, X, rows, weight, train, held_out, state, variant, means, goes_on, *, X_val, checkpoint
    ):
        self._begin(X, state, keep_features=goes_on)
        self.fit_report_ = {}
        if not goes_on:
            self._pretrain(X, rows, weight, train, checkpoint)
            state = self._state
        settings, training = self._training(rows, train, state, variant, weight)
        self.fit_report_ = dict(settings.chosen)
        patience = self._patience(settings, training)
        validation = self._validation(training, held_out, weight, X_val)
        self._run(training, settings.max_epochs, validation, patience, checkpoint)
        report_fit(self, settings, training, patience, rows, train, weight, means)

    def _pretrain(self, X, rows, weight, train, checkpoint):
        """Train each layer to reconstruct the codes of the layer below.

        Without epochs of pre-training, layers start near the principal components of these codes,
        or stay as they are where they begin at random.
        """
        state, near_pca = self._state, layers_start_near_pca(self)
        if self.pretrain_epochs == 0 and not near_pca:
            return
        views = state.model.layer_views(state.parameters)
        seeds = random_stream(state.seed, LAYERS).integers(2**63 - 1, size=len(views))
        of_rows = rows_variant(state)
        for number, (_, flat) in enumerate(views):
            if number > 0:
                below, of_below = views[number - 1]
                parameters = below.split(of_below)
                options = {"variant": of_rows if number == 1 else None, "n_threads": self.n_threads}
                if isinstance(rows, StreamedRows):
                    X = rows = _codes_of_stream(rows, below, parameters, options)
                else:
                    if not isinstance(train, int):
                        options["order"] = train
                        weight = None if weight is None else weight[train]
                    X = rows = one_pass(Network((below,)), (parameters,), rows, "codes", **options)
                    train = len(rows)
            seed = int(seeds[number])
            self._pretrain_layer(number, X, rows, weight, train, flat, seed, checkpoint)
        if near_pca and is_scale_free(self.solver):
            rates = rate_factors(state.model, state.parameters)
            self._state = self._state._replace(rates=rates)

    def _pretrain_layer(self, number, X, rows, weight, train, flat, seed, checkpoint):
        estimator = self._layer_estimator(number)
        state, variant, _ = estimator._start(X, rows, weight, train, None, seed, False)
        settings, training = estimator._training(rows, train, state, variant, weight)
        estimator._begin(X, state, keep_features=True)
        try:
            patience = estimator._patience(settings, training)
            stage = f"layer {number + 1}"
            estimator._run(training, settings.max_epochs, None, patience, checkpoint, stage)
        except FloatingPointError as error:
            raise FloatingPointError(f"pre-training of layer {number + 1}: {error}") from None
        finally:
            flat[...] = estimator._state.parameters
            self.pretraining_loss_curves_[number] = estimator.loss_curve_

    def _layer_estimator(self, number):
        """Return an unfitted `Autoencoder` with the parameters of a layer's pre-training."""
        layer = self._state.model.layers[number]
        given = {name: getattr(self, name) for name in _SHARED}
        given |= {"activation": layer.activation, "n_components": layer.n_components}
        at_random = "sparse" if self.init == "sparse" else "glorot"
        given |= {"gain": layer.gain, "init": "pca" if layers_start_near_pca(self) else at_random}
        given |= {"max_epochs": self.pretrain_epochs, "early_stopping": False, "callbacks": None}
        is_last = number + 1 == len(self._state.model.layers)
        given |= {name: getattr(self, name) if is_last else off for name, off in _OF_CODE.items()}
        if number > 0:
            given |= {"output": layer.output[0].distribution, "missing": "error"}
            given |= {"scale": None, "domain": "error", "row_norm": None}
        estimator = Autoencoder(**given)
        estimator._stage, estimator._linear_spread = f"layer {number + 1}, ", SPREAD
        return estimator

    @property
    def layers_(self) -> list[Autoencoder]:
        state, begin, layers = self._fitted_state(), 0, []
        for number, (layer, flat) in enumerate(state.model.layer_views(state.parameters)):
            estimator = self._layer_estimator(number)
            end = begin + flat.size
            estimator._state = state._replace(
                model=Network((layer,)),
                parameters=flat,
                optimizer_state=state.optimizer_state[:, begin:end],
                fill=state.fill if number == 0 else None,
                scaling=state.scaling if number == 0 else None,
                logarithms=state.logarithms if number == 0 else None,
                normed=state.normed and number == 0,
            )
            curve = list(self.pretraining_loss_curves_[number])
            estimator.loss_curve_, estimator.validation_loss_curve_ = curve, []
            estimator._history = history.from_json(history.of_curves(curve, []))
            estimator.n_epochs_ = len(curve)
            layers.append(estimator)
            begin = end
        return layers

    def _describe(self, network):
        first, last = network.layers[0], network.layers[-1]
        return {
            "n_features": network.n_features,
            "layer_sizes": tuple(layer.n_components for layer in network.layers),
            "activation": self.activation if first is last else first.activation,
            "code_activation": last.activation,
            "output": network.output,
            "tied": last.tied,
            "gain": any(layer.gain for layer in network.layers),
            "top_k": last.top_k,
        }

    # ---- saving and loading ----

    _file_format = "aefast stacked autoencoder"
    _structured_parameters = (
        *("output", "corruption", "fine_tuning_corruption", "sparsity", "layer_sizes"),
    )
    _model_checks = {
        "n_features": SIZE,
        "layer_sizes": _SIZES,
        "activation": one_of(_autoencoder.ACTIVATIONS),
        "code_activation": one_of(_autoencoder.ACTIVATIONS),
        "gain": FLAG,
        "top_k": COUNT,
        "tied": FLAG,
        "output": Check(outputs.is_json, "a list of segments"),
    }

    @classmethod
    def _model_of_file(cls, state):
        given = state["model"]
        output = outputs.from_json(given["output"], given["n_features"])
        sizes = tuple(given["layer_sizes"])
        check_top_k(given["top_k"], sizes[-1])
        return stacked_network(**(given | {"layer_sizes": sizes, "output": output}))

    def _saved_parameters(self):
        parameters = super()._saved_parameters()
        if isinstance(self.layer_sizes, str):
            return parameters
        return parameters | {"layer_sizes": [int(size) for size in self.layer_sizes]}

    def _saved_state(self):
        curves = [[float(loss) for loss in curve] for curve in self.pretraining_loss_curves_]
        return super()._saved_state() | {"pretraining_loss_curves": curves}

    @staticmethod
    def _array_name(number, name):
        return f"layers.{number}.{name}"

    @classmethod
    def _state_checks(cls):
        curves = Check(is_list_of(CURVE.is_valid), "a list of lists of finite floats")
        return super()._state_checks() | {"pretraining_loss_curves": curves}

    @classmethod
    def _tensor_layout(cls, state):
        n_curves, n_layers = (
            len(state["pretraining_loss_curves"]),
            len(state["model"]["layer_sizes"]),
        )
        if n_curves != n_layers:
            raise ValueError(f"expected {n_layers} 'pretraining_loss_curves', got {n_curves}")
        return super()._tensor_layout(state)

    def _restore(self, state, tensors):
        super()._restore(state, tensors)
        self.pretraining_loss_curves_ = state["pretraining_loss_curves"]


def _codes_of_stream(rows, layer, parameters, options):
    """Return the codes of a layer as a stream, which computes them in each pass."""

    def codes(part):
        return one_pass(Network((layer,)), (parameters,), part, "codes", **options)

    return StreamOfResults(rows, codes, layer.n_components, parameters.W.dtype)
