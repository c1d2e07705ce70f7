"""The state of a fitted estimator: how it starts, goes on, and is kept."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils.validation import check_is_fitted

from aefast._base.random import WEIGHTS, random_stream
from aefast._base.saving import COUNT, CURVE, FLAG, SIZE, Check, Saved, Tensor, one_of
from aefast._base.types import Array, Reals
from aefast.networks import _autoencoder, outputs
from aefast.networks.network import Model
from aefast.networks.precision import parameter_type


class FittedState(NamedTuple):
    """Everything that training goes on from."""

    model: Model
    solver: str
    parameters: np.ndarray  # flat, in Model.layout
    optimizer_state: np.ndarray  # (n_state, n_parameters)
    n_steps: int  # updates made
    n_rows_seen: int  # rows trained on, over all passes
    seed: int  # of all random numbers
    fill: np.ndarray | None = (
        None  # (d,) float64: what a missing entry enters the encoder as; None: NaN is refused
    )


@lru_cache(maxsize=64)
def n_optimizer_states(solver, momentum):
    """Arrays of the parameters' size that a solver keeps."""
    if solver == "lbfgs":  # SciPy's, which keeps what it needs to itself
        return 0
    row = next(row for row in _autoencoder.solver_table() if row["name"] == solver)
    return 0 if row["only_with_momentum"] and momentum == 0 else row["n_state"]


WEIGHT_SCALES = {row["name"]: row["weight_scale"] for row in _autoencoder.activation_table()}


def weight_limit(model):
    """Initial weights are uniform in ± this (Glorot & Bengio 2010)."""
    return WEIGHT_SCALES[model.activation] * np.sqrt(6.0 / (model.n_features + model.n_components))


def initial_bias(model, column_means):
    """The visible bias (d,): the pre-activations whose means are the columns'."""
    bias = np.empty(model.n_features)
    for segment in model.output:
        columns = outputs.columns_of(segment, model.n_features)
        bias[columns] = segment.link(column_means[columns])
    return bias


def initial_state(model, solver, momentum, column_means, dtype, seed, fill=None):
    """Weights uniform in ±weight_limit, hidden bias 0, visible bias at the link of the column means
    (in upper layers 0).
    """
    flat = np.zeros(model.n_parameters, dtype)
    random = random_stream(seed, WEIGHTS)
    for layer, own in model.layer_views(flat):
        limit = weight_limit(layer)
        for part in layer.parts(own).values():
            if part.ndim == 2:
                part[...] = random.uniform(-limit, limit, part.shape)
    bottom, own = model.layer_views(flat)[0]
    bottom.split(own).c[...] = initial_bias(bottom, column_means)
    if bottom.split(own).theta is not None:
        bottom.split(own).theta[...] = outputs.starting_parameters(model.output, model.n_features)
    optimizer_state = np.zeros((n_optimizer_states(solver, momentum), flat.size), dtype)
    return FittedState(model, solver, flat, optimizer_state, 0, 0, seed, fill)


def continued_state(state, model, solver, momentum, precision):
    """A copy to train on. Another solver starts with a state of its own.

    Raises ValueError if the constructor's parameters now ask for another network than the fitted
    one.
    """
    dtype = state.parameters.dtype
    if parameter_type(precision, dtype) != dtype:
        raise ValueError(
            f"precision={precision!r} does not continue the fitted network, whose parameters are "
            f"{dtype}: fit anew, or set "
            "precision='auto'"
        )
    for field in (name for name in model._fields if name != "n_features"):
        fitted, wanted = getattr(state.model, field), getattr(model, field)
        if field == "output" and fitted != wanted:
            fitted, wanted = outputs.description(fitted), outputs.description(wanted)
            if fitted == wanted:
                fitted, wanted = f"other columns or options of {fitted}", wanted
        if fitted != wanted:
            raise ValueError(
                f"{field}={wanted!r} does not continue the fitted network, which has "
                f"{field}={fitted!r}: fit anew, or set it back"
            )
    flat = state.parameters.copy()
    n_states = n_optimizer_states(solver, momentum)
    if solver == state.solver and n_states == len(state.optimizer_state):
        return state._replace(parameters=flat, optimizer_state=state.optimizer_state.copy())
    zeros = np.zeros((n_states, flat.size), flat.dtype)
    return state._replace(solver=solver, parameters=flat, optimizer_state=zeros, n_steps=0)


class FittedNetwork(Saved):
    """What an estimator shows and saves of its `_state`, so that there is one truth to train,
    pickle and save.
    """

    output: Any
    _check_variants: Callable[[], None]
    _model_checks = {  # of the model's entries in a file
        "n_features": SIZE,
        "n_components": SIZE,
        "tied": FLAG,
        "activation": one_of(_autoencoder.ACTIVATIONS),
        "output": Check(outputs.is_json, "a list of segments"),
        "top_k": COUNT,
    }

    @property
    def output_parameters_(self) -> dict[str, Array]:
        """{name: (d,)} of what the distributions of p(x | μ) have for each column, NaN where a
        column does not; empty where none has any.
        """
        model = self._fitted_model()
        bottom, flat = model.layer_views(self._state.parameters)[0]
        theta = bottom.split(flat).theta
        return {} if theta is None else outputs.by_name(model.output, theta)

    @property
    def _n_features_out(self):
        return self._fitted_model().n_components

    def _fitted_model(self):
        check_is_fitted(self)
        return self._state.model

    def __sklearn_is_fitted__(self):
        return hasattr(self, "_state")

    # ---- in a file ----

    _parameters_not_saved = ("callbacks",)
    _structured_parameters: tuple[str, ...] = ("output", "corruption", "sparsity")

    def _saved_parameters(self):
        parameters = super()._saved_parameters()
        if not isinstance(self.output, str):
            names = getattr(self, "feature_names_in_", None)
            resolved = outputs.resolve_output(self.output, self.n_features_in_, names)
            parameters["output"] = outputs.as_parameter(resolved)
        return parameters

    def _check_restored(self):
        super()._check_restored()
        self._check_variants()
        names = getattr(self, "feature_names_in_", None)
        outputs.resolve_output(self.output, self.n_features_in_, names)

    @classmethod
    def _parameter_of_json(cls, name, value):
        if not isinstance(value, list):
            return value
        try:
            return outputs.from_parameter(value) if name == "output" else tuple(value)
        except (TypeError, ValueError) as error:
            raise ValueError(f"expected a valid {name!r}: {error}") from None

    def _saved_state(self):
        state = self._state
        return {
            "model": state.model._asdict() | {"output": outputs.as_json(state.model.output)},
            "fills": state.fill is not None,
            "solver": state.solver,
            "n_optimizer_states": len(state.optimizer_state),
            "n_steps": int(state.n_steps),
            "n_rows_seen": int(state.n_rows_seen),
            "seed": int(state.seed),
            "n_epochs": int(self.n_epochs_),
            "loss_curve": [float(loss) for loss in self.loss_curve_],
            "validation_loss_curve": [float(loss) for loss in self.validation_loss_curve_],
        }

    def _saved_tensors(self):
        state = self._state
        flats = {"": state.parameters}
        flats |= {f"optimizer.{i}.": flat for i, flat in enumerate(state.optimizer_state)}
        fill = {} if state.fill is None else {"missing_fill": state.fill}
        return fill | {
            prefix + name: part
            for prefix, flat in flats.items()
            for name, part in state.model.parts(flat).items()
        }

    @classmethod
    def _state_checks(cls):
        counts = ("n_optimizer_states", "n_steps", "n_rows_seen", "seed", "n_epochs")
        curves = ("loss_curve", "validation_loss_curve")
        solver = one_of([*_autoencoder.SOLVERS, "lbfgs"])
        return (
            {"model": cls._model_checks, "solver": solver, "fills": FLAG}
            | dict.fromkeys(counts, COUNT)
            | dict.fromkeys(curves, CURVE)
        )

    @classmethod
    def _model_of_file(cls, state):
        """The model that a file describes; ValueError where its parts contradict each other."""
        given = state["model"]
        output = outputs.from_json(given["output"], given["n_features"])
        if given["top_k"] > given["n_components"]:
            raise ValueError(
                f"expected 'top_k' of at most {given['n_components']} units, got {given['top_k']}"
            )
        return Model(**(given | {"output": output}))

    @classmethod
    def _tensor_layout(cls, state):
        allowed = {n_optimizer_states(state["solver"], momentum) for momentum in (0.0, 0.5)}
        if state["n_optimizer_states"] not in allowed:
            raise ValueError(
                f"expected {sorted(allowed)} as 'n_optimizer_states' of {state['solver']}, "
                f"got {state['n_optimizer_states']}"
            )
        prefixes = ["", *(f"optimizer.{index}." for index in range(state["n_optimizer_states"]))]
        model = cls._model_of_file(state)
        fill = {"missing_fill": Tensor((model.n_features,), "F64")} if state["fills"] else {}
        return fill | {
            prefix + name: Tensor(shape)
            for prefix in prefixes
            for name, shape in model.layout.items()
        }

    def _restore(self, state, tensors):
        model = self._model_of_file(state)
        dtype = tensors[next(iter(model.layout))].dtype
        flats = np.empty((1 + state["n_optimizer_states"], model.n_parameters), dtype)
        for index, flat in enumerate(flats):
            prefix = f"optimizer.{index - 1}." if index else ""
            for name, part in model.parts(flat).items():
                part[...] = tensors[prefix + name]
        counters = {name: state[name] for name in ("solver", "n_steps", "n_rows_seen", "seed")}
        self._state = FittedState(
            model=model,
            parameters=flats[0],
            optimizer_state=flats[1:],
            fill=tensors.get("missing_fill"),
            **counters,
        )
        self.n_features_in_ = model.n_features
        self.loss_curve_ = state["loss_curve"]
        self.validation_loss_curve_ = state["validation_loss_curve"]
        self.n_epochs_ = state["n_epochs"]


class FittedAutoencoder(FittedNetwork):
    """One layer: its parameters are views of the state's."""

    _file_format = "aefast autoencoder"

    @property
    def components_(self) -> Reals:
        return self._part("components")

    @property
    def decoder_components_(self) -> Reals:
        return self._part("components" if self._fitted_model().tied else "decoder_components")

    @property
    def hidden_bias_(self) -> Reals:
        return self._part("hidden_bias")

    @property
    def visible_bias_(self) -> Reals:
        return self._part("visible_bias")

    def _part(self, name):
        return self._fitted_model().parts(self._state.parameters)[name]
