"""A fitted stack with a head: predictions, the network without its head, files."""

from inspect import signature
from typing import Any, ClassVar

from aefast._base import checkpoints
from aefast._base.saving import COUNT, FLAG, SIZE, Check
from aefast._base.types import Array
from aefast.networks import outputs
from aefast.networks.autoencoder import Autoencoder
from aefast.networks.heads import decoded
from aefast.networks.network import single_layer, stacked_network
from aefast.networks.stacked import StackedAutoencoder
from aefast.networks.training.automatic import AUTO

# parameters that mean what they mean for a StackedAutoencoder
SHARED = (
    *("activation", "code_activation", "gain", "init", "output", "scale", "missing"),
    *("missing_fill", "corruption", "solver", "learning_rate", "momentum", "nesterov"),
    *("batch_size", "pretrain_epochs", "max_epochs", "early_stopping", "validation_fraction"),
    *("n_epochs_no_change", "tol", "alpha", "weight_decay", "clip_norm", "max_norm"),
    *("learning_rate_schedule", "shuffle", "warm_start", "n_threads", "random_state"),
    *("callbacks", "verbose"),
)
# the others of StackedAutoencoder, which have its defaults
_FIXED = {
    name: parameter.default
    for name, parameter in signature(StackedAutoencoder).parameters.items()
    if name not in (*SHARED, "layer_sizes", *checkpoints.CONSTRAINTS)
}


class _Absent:
    """A method of `StackedAutoencoder` that a network with a head does not have."""

    def __get__(self, instance: object, owner: object = None) -> Any:
        raise AttributeError("a network with a head has no such method: see autoencoder_")


class HeadedStack(StackedAutoencoder):
    """A stack, or a layer of any `Autoencoder`, with a head on its code."""

    _parameters_not_saved: tuple[str, ...] = ("callbacks", "encoder")
    _trains_on_partitions = False
    _distribution: ClassVar[str]  # of the targets

    from_torch: Any = _Absent()
    to_torch: Any = _Absent()
    to_onnx: Any = _Absent()
    partial_fit: Any = _Absent()

    def __getattr__(self, name: str) -> Any:
        """Return a parameter of `StackedAutoencoder` that is fixed here."""
        if name in _FIXED:
            return _FIXED[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    # ---- the fitted network ----

    def _decoded(self, X, *, link=True):
        """Return means or pre-activations (n, m) of the targets."""
        rows, state = self._checked(X)
        codes = self._one_pass(rows, state, "codes")
        means = decoded(state, codes, self.n_threads, link=link)
        return means.astype(codes.dtype, copy=False)

    @property
    def autoencoder_(self) -> Autoencoder | StackedAutoencoder:
        state = self._fitted_state()
        model = state.model.without_head()
        flat, states = state.parameters, state.optimizer_state
        estimator = self._estimator_of(model)
        estimator._state = state._replace(
            model=model,
            parameters=flat[: model.n_parameters],
            optimizer_state=states[:, : model.n_parameters],
            rates=None if state.rates is None else state.rates[: len(model.layers)],
        )
        estimator.loss_curve_, estimator.validation_loss_curve_ = [], []
        estimator._history, estimator.n_epochs_, estimator.fit_report_ = [], 0, {}
        return estimator

    def _layer_estimator(self, number):
        """Return an unfitted `Autoencoder`; an automatic penalty is one of fine-tuning alone."""
        estimator = super()._layer_estimator(number)
        return estimator.set_params(alpha=0.0) if estimator.alpha == AUTO else estimator

    def _estimator_of(self, model):
        """Return an unfitted estimator with the parameters of a network without a head."""
        layer, *others = model.layers
        if not others:
            estimator = self._layer_estimator(0)
            gain = layer.gain or False
            shape = {"tied": layer.tied, "top_k": layer.top_k or None, "gain": gain}
            return estimator.set_params(**shape)
        given = {name: getattr(self, name) for name in SHARED} | {"callbacks": None}
        given["alpha"] = 0.0 if self.alpha == AUTO else self.alpha
        described = super()._describe(model)
        names = ("layer_sizes", "activation", "code_activation", "gain")
        given |= {"tied": layer.tied, "top_k": others[-1].top_k or None}
        stack = StackedAutoencoder(**(given | {name: described[name] for name in names}))
        stack.pretraining_loss_curves_ = self.pretraining_loss_curves_
        return stack

    @property
    def head_weights_(self) -> Array:
        state = self._fitted_state()
        return state.model.head_of(state.parameters).V

    @property
    def head_bias_(self) -> Array:
        state = self._fitted_state()
        return state.model.head_of(state.parameters).c

    def _describe(self, network):
        first = network.layers[0]
        return super()._describe(network) | {
            "tied": first.tied,
            "top_k": network.layers[-1].top_k,
            "n_targets": network.head.n_features,
        }

    # ---- saving and loading ----

    _model_checks: dict[str, Check] = StackedAutoencoder._model_checks | {
        "tied": FLAG,
        "top_k": COUNT,
        "n_targets": SIZE,
    }

    @classmethod
    def _model_of_file(cls, state):
        given = dict(state["model"])
        output = outputs.from_json(given["output"], given["n_features"])
        sizes, tied, top_k = (given[name] for name in ("layer_sizes", "tied", "top_k"))
        if top_k > sizes[-1]:
            raise ValueError(f"expected a code of at least 'top_k' units, got sizes {sizes}")
        if len(sizes) == 1:
            shape = given["n_features"], sizes[0], tied
            of_code = given["code_activation"]
            network = single_layer(*shape, of_code, output, top_k, given["gain"])
        else:
            names = given["activation"], given["code_activation"]
            widths = given["n_features"], tuple(sizes)
            network = stacked_network(*widths, *names, output, given["gain"], top_k, tied)
        return network.with_head(given["n_targets"], cls._distribution)

    @staticmethod
    def _array_name(number, name):
        return name if name.startswith("head_") else f"layers.{number}.{name}"
