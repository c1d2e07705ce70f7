"""State of a fitted estimator: its initial values, its continuation, and its form in files."""

from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils.validation import check_is_fitted

from aefast._base import checkpoints, history, threads
from aefast._base.errors import column_label
from aefast._base.random import WEIGHTS, random_stream
from aefast._base.saving import COUNT, CURVE, FLAG, SEED, SIZE, Check, Saved, Tensor, one_of
from aefast._base.types import Array, Reals
from aefast.networks import _autoencoder, outputs
from aefast.networks._autoencoder import N_PARAMETER_ARRAYS
from aefast.networks.network import Network, single_layer
from aefast.networks.precision import parameter_type
from aefast.networks.reading import Logarithms, Reading
from aefast.networks.scaling import FOUND, Scaling
from aefast.networks.variants import variant_of_rows


class _StateFields(NamedTuple):
    model: Network
    solver: str
    parameters: np.ndarray  # flat, in the network's layout
    optimizer_state: np.ndarray  # (n_optimizer_states, n_parameters)
    n_steps: int  # number of updates made
    n_rows_seen: int  # number of rows trained on, over all passes
    seed: int  # seed of all random numbers
    # (d,) float64: replacements of missing entries in the encoder's input; None: NaN is refused
    fill: np.ndarray | None = None
    # (n_layers, N_PARAMETER_ARRAYS) float64: factors of the learning rate; None: all are 1
    rates: np.ndarray | None = None
    # units in which the network reads columns; None: rows are read as they are
    scaling: Scaling | None = None
    # columns of which the encoder reads logarithms; None: of none
    logarithms: Logarithms | None = None
    # whether the encoder reads rows divided by their Euclidean norm
    normed: bool = False
    # whether the parameters are a moving average of those that steps go on from, which are the last
    # array of optimizer_state
    averages: bool = False


class FittedState(_StateFields):
    """All values from which training goes on.

    Immutable but for the entries of its arrays: views of them, and what follows from how rows are
    read, are made once.
    """

    def __getstate__(self):
        return None  # the fields are the whole state; cached properties are not pickled

    @cached_property
    def reading(self):
        return Reading(self.fill, self.scaling, self.logarithms, self.normed)

    @cached_property
    def views(self):
        """The `Parameters` of each layer, as views of the flat array."""
        return self.model.split(self.parameters)

    @cached_property
    def rows_variant(self):
        """The `Variant` in which the network reads rows, in the type of the parameters."""
        return variant_of_rows(self.reading, self.parameters.dtype)


@lru_cache(maxsize=64)
def n_optimizer_states(solver, momentum, averages=False):
    """Return the number of arrays of the parameters' size in a solver's state.

    Averaging of weights has one more, the last: the weights that steps go on from.
    """
    if solver == "lbfgs":  # its pairs are no part of a fitted network
        return 0
    row = next(row for row in _autoencoder.solver_table() if row["name"] == solver)
    of_solver = 0 if row["only_with_momentum"] and momentum == 0 else row["n_state"]
    return of_solver + averages


N_READ = 15  # entries that a unit of a sparse start reads
WEIGHT_SCALES = {row["name"]: row["weight_scale"] for row in _autoencoder.activation_table()}


def weight_bound(layer):
    """Return the bound of a layer's initial weights (Glorot & Bengio 2010).

    Weights are uniform between minus and plus the bound.
    """
    return WEIGHT_SCALES[layer.activation] * np.sqrt(6.0 / (layer.n_features + layer.n_components))


def draw_weights(layer, arrays, init, random):
    """Draw the weights of a layer whose start is random, into its arrays by name.

    "sparse": each unit, of the decoder's own weights each output, reads N_READ others through
    normal weights (Martens 2010), of standard deviation 1 for the sigmoid and 1/4 for other
    activations (Sutskever et al. 2013 for tanh; where slopes are 1 it keeps variances). Otherwise
    weights are uniform in ± `weight_bound`.
    """
    scale, bound = WEIGHT_SCALES[layer.activation] / 4, weight_bound(layer)
    for name in ("components", "decoder_components"):
        if name not in arrays:
            continue
        array = arrays[name]
        if init != "sparse":
            array[...] = random.uniform(-bound, bound, array.shape)
            continue
        incoming = array if name == "components" else array.T  # one row for each reader
        n = min(N_READ, incoming.shape[1])
        read = np.sort(random.random(incoming.shape).argpartition(n - 1, axis=1)[:, :n], axis=1)
        incoming[...] = 0
        np.put_along_axis(incoming, read, scale * random.normal(size=read.shape), axis=1)


def initial_bias(layer, column_means):
    """Return the visible bias (d,): the pre-activations whose means are the column means."""
    bias = np.empty(layer.n_features)
    for segment in layer.output:
        columns = outputs.columns_of(segment, layer.n_features)
        bias[columns] = segment.link(column_means[columns])
    return bias


def check_initial_values(state, column_means, name, only_fill=False):
    """Raise ValueError for a column whose initial bias, or replacement of NaN, is not finite.

    `name` is that of the table of the column means. With `only_fill`, training goes on from other
    parameters.
    """
    d, dtype = state.model.n_features, state.parameters.dtype
    if state.fill is not None and not np.isfinite(state.fill).all():
        column = np.flatnonzero(~np.isfinite(state.fill))[0]
    elif only_fill or np.isfinite(bias := state.model.split(state.parameters)[0].c).all():
        return
    else:
        column = np.flatnonzero(~np.isfinite(bias))[0]
    label, mean = column_label(name, column), column_means[column]
    if not np.isfinite(mean):
        raise ValueError(f"the mean of column {label} of {name} overflows: scale {name} down")
    output = next(s for s in state.model.output if column in np.arange(d)[outputs.columns_of(s, d)])
    raise ValueError(
        f"output {output.name!r} links the mean of column {label} of {name}, {mean:g}, to a bias "
        f"that is not a finite {dtype}: {bias[column]}"
    )


def initial_state(model, estimator, column_means, dtype, seed, reading):
    """Return the state before the first step of training.

    Weights are those of `draw_weights`, hidden biases 0. The visible bias of the first layer is the
    link of the column means (in the model's units), that of upper layers 0.
    """
    flat = np.zeros(model.n_parameters, dtype)
    random = random_stream(seed, WEIGHTS)
    with threads.same_bits():
        for layer, of_layer in model.layer_views(flat):
            draw_weights(layer, layer.arrays(of_layer), estimator.init, random)
            if layer.gain and len(model.layers) > 1:  # where all gains are 0, no gradient is
                layer.split(of_layer).gain[...] = 1
    bottom = model.split(flat)[0]
    bottom.c[...] = initial_bias(model.layers[0], column_means)
    if bottom.theta is not None:
        bottom.theta[...] = outputs.starting_parameters(model.output, model.n_features)
    solver, averages = estimator.solver, estimator.weight_averaging is not None
    n_states = n_optimizer_states(solver, estimator.momentum, averages)
    optimizer_state = np.zeros((n_states, flat.size), dtype)
    fields = reading._asdict() | {"averages": averages}
    return FittedState(model, solver, flat, optimizer_state, 0, 0, seed, **fields)


def continued_state(state, model, estimator):
    """Return a copy of a fitted state from which training goes on.

    A solver other than the state's begins with a new optimizer state. Raises ValueError if the
    estimator's parameters now ask for another network than the fitted one.
    """
    dtype, precision = state.parameters.dtype, estimator.precision
    if parameter_type(precision, dtype) != dtype:
        raise ValueError(
            f"precision={precision!r} does not continue the fitted network, whose parameters are "
            f"{dtype}: fit anew, or set "
            "precision='auto'"
        )
    of_state, of_model = estimator._describe(state.model), estimator._describe(model)
    for field in (name for name in of_model if name != "n_features"):
        fitted, wanted = of_state[field], of_model[field]
        if field == "output" and fitted != wanted:
            fitted, wanted = outputs.description(fitted), outputs.description(wanted)
            if fitted == wanted:
                fitted, wanted = f"other columns or options of {fitted}", wanted
        if fitted != wanted:
            raise ValueError(
                f"{field}={wanted!r} does not continue the fitted network, which has "
                f"{field}={fitted!r}: fit anew, or set it back"
            )
    return _with_solver(state, estimator)


def _with_solver(state, estimator):
    """Return a copy of a state for the estimator's solver and averaging.

    Averages that begin, and training without those there were, go on from the state's parameters.
    """
    flat, solver = state.parameters.copy(), estimator.solver
    averages = estimator.weight_averaging is not None
    n_states, n_kept = n_optimizer_states(solver, estimator.momentum), len(state.optimizer_state)
    goes_on = solver == state.solver and n_states == n_kept - state.averages
    states = np.zeros((n_states + averages, flat.size), flat.dtype)
    if goes_on:
        states[:n_states] = state.optimizer_state[:n_states]
    if averages:
        states[-1] = state.optimizer_state[-1] if goes_on and state.averages else flat
    return state._replace(
        solver=solver,
        parameters=flat,
        optimizer_state=states,
        n_steps=state.n_steps if goes_on else 0,
        averages=averages,
    )


def check_top_k(top_k, n_components):
    """Raise ValueError where a file's code keeps more units than it has."""
    if top_k > n_components:
        raise ValueError(f"expected 'top_k' of at most {n_components} units, got {top_k}")


class FittedNetwork(Saved):
    """Attributes and file format of an estimator, computed from its `_state`.

    The state is the only copy of the fitted values, the width of the rows among them: it is
    trained, pickled and saved.
    """

    output: Any
    _check_variants: Callable[[], None]
    _model_checks = {  # checks of the entries "model" of a file
        "n_features": SIZE,
        "n_components": SIZE,
        "tied": FLAG,
        "activation": one_of(_autoencoder.ACTIVATIONS),
        "output": Check(outputs.is_json, "a list of segments"),
        "top_k": COUNT,
        "gain": FLAG,
    }

    @property
    def n_features_in_(self) -> int:
        try:
            return self._state.model.n_features
        except AttributeError:
            raise AttributeError(f"this {type(self).__name__} is not fitted yet") from None

    _history: list[history.Row]
    loss_curve_: list[float]
    validation_loss_curve_: list[float]

    @property
    def history_(self) -> dict[str, list[Any]]:
        """Columns of a table with a row for each epoch, of this fit and of those it went on from.

        NaN stands for what there is not; ``pandas.DataFrame(estimator.history_)`` takes it.
        """
        check_is_fitted(self)
        return history.as_table(self._history)

    @property
    def best_epoch_(self) -> int:
        """Epoch of the last fit with the least validation loss, or without one the least loss.

        Epochs count from 1; 0: there has been none.
        """
        check_is_fitted(self)
        return history.best_epoch(self.loss_curve_, self.validation_loss_curve_)

    def _history_rows(self):
        return self._history

    @property
    def output_parameters_(self) -> dict[str, Array]:
        """Parameters (d,) of the columns' distributions by name.

        Values are NaN in columns that do not have the parameter. The dict is empty if no
        distribution has a parameter.
        """
        state = self._fitted_state()
        theta = state.model.split(state.parameters)[0].theta
        return {} if theta is None else outputs.by_name(state.model.output, theta)

    @property
    def _n_features_out(self):
        return self._fitted_state().model.n_components

    def _fitted_state(self):
        """Return the state, which a method reads once: another thread may fit the estimator."""
        state = getattr(self, "_state", None)
        if state is None:
            check_is_fitted(self)  # which raises scikit-learn's error
        return state

    def __sklearn_is_fitted__(self):
        return hasattr(self, "_state")

    def _describe(self, network):
        """Return a network's shape by the names that files and error messages use.

        Names are those of constructor parameters where a parameter exists.
        """
        return network.layers[0]._asdict()

    # ---- saving and loading ----

    _file_version = 4

    @classmethod
    def _upgrade(cls, version, parameters, state):
        if version < 4:  # weights were not averaged
            if "weight_averaging" in cls._get_param_names():
                parameters.setdefault("weight_averaging", None)
            state.setdefault("averages", False)
        if version < 3:
            curves = (state.get("loss_curve"), state.get("validation_loss_curve"))
            if all(isinstance(curve, list) for curve in curves):
                state.setdefault("history", history.of_curves(*curves))
        if version < 2:  # networks had no gain, no scaling and no rate factors, and began at random
            of_old = {"gain": False, "init": "glorot", "scale": None, "domain": "error"}
            parameters |= of_old | parameters
            state.setdefault("has_rates", False)
            state.setdefault("scaling", "none")
            state.setdefault("reads_logarithms", False)
            if isinstance(state.get("model"), dict):
                state["model"].setdefault("gain", False)
        if version < 3:  # rows were dense, and read as they are
            parameters |= {"sparse_means": "zero", "row_norm": None} | parameters
            if "tied" in parameters:
                parameters.setdefault("sparse_output", "exact")
                parameters.setdefault("reconstruction_sampling", None)
            state.setdefault("divides_by_norms", False)
        if version < 4 and "layer_sizes" in parameters:  # stacks were tied, their codes plain
            of_stack = {"tied": True, "fine_tuning_corruption": None, "top_k": None, "dropout": 0.0}
            parameters |= of_stack | parameters
            if isinstance(state.get("model"), dict):
                state["model"] = {"tied": True, "top_k": 0} | state["model"]

    _parameters_not_saved: tuple[str, ...] = ("callbacks",)
    _parameters_of_process = checkpoints.PARAMETERS
    _structured_parameters: tuple[str, ...] = ("output", "corruption", "sparsity")

    def _saved_parameters(self):
        parameters = super()._saved_parameters()
        if outputs.selects_columns(self.output):
            parameters["output"] = outputs.as_parameter(self._state.model.output)
        elif not isinstance(self.output, str):
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
            "model": self._describe(state.model) | {"output": outputs.as_json(state.model.output)},
            "fills": state.fill is not None,
            "has_rates": state.rates is not None,
            "scaling": "none" if state.scaling is None else state.scaling.kind,
            "reads_logarithms": state.logarithms is not None,
            "divides_by_norms": bool(state.normed),
            "averages": bool(state.averages),
            "solver": state.solver,
            "n_optimizer_states": len(state.optimizer_state),
            "n_steps": int(state.n_steps),
            "n_rows_seen": int(state.n_rows_seen),
            "seed": int(state.seed),
            "n_epochs": int(self.n_epochs_),
            "history": history.as_json(self._history),
            "loss_curve": [float(loss) for loss in self.loss_curve_],
            "validation_loss_curve": [float(loss) for loss in self.validation_loss_curve_],
        }

    def _saved_tensors(self):
        state = self._state
        flats = {"": state.parameters}
        flats |= {f"optimizer.{i}.": flat for i, flat in enumerate(state.optimizer_state)}
        fill = {} if state.fill is None else {"missing_fill": state.fill}
        rates = {} if state.rates is None else {"rate_factors": state.rates}
        units = {}
        if state.scaling is not None:
            units = {"column_shift": state.scaling.shift, "column_scale": state.scaling.scale}
        if state.logarithms is not None:
            offset, centre = state.logarithms
            units |= {"log_offset": offset, "log_centre": centre}
        return (
            fill
            | rates
            | units
            | {
                prefix + self._array_name(number, name): array
                for prefix, flat in flats.items()
                for number, name, array in state.model.arrays(flat)
            }
        )

    @staticmethod
    def _array_name(number, name):
        """Return the name in files of a parameter array of a layer."""
        return name

    @classmethod
    def _state_checks(cls):
        counts = ("n_optimizer_states", "n_steps", "n_rows_seen", "n_epochs")
        curves = ("loss_curve", "validation_loss_curve")
        solver = one_of([*_autoencoder.SOLVERS, "lbfgs"])
        return (
            {"model": cls._model_checks, "solver": solver, "seed": SEED}
            | {"scaling": one_of(["none", *FOUND])}
            | dict.fromkeys(("fills", "has_rates", "reads_logarithms"), FLAG)
            | dict.fromkeys(("divides_by_norms", "averages"), FLAG)
            | dict.fromkeys(counts, COUNT)
            | dict.fromkeys(curves, CURVE)
            | {"history": history.HISTORY}
        )

    @classmethod
    def _model_of_file(cls, state):
        """Return the network that a file describes.

        Raises ValueError where entries contradict each other.
        """
        given = state["model"]
        output = outputs.from_json(given["output"], given["n_features"])
        check_top_k(given["top_k"], given["n_components"])
        return single_layer(**(given | {"output": output}))

    @classmethod
    def _tensor_layout(cls, state):
        allowed = {
            n_optimizer_states(state["solver"], momentum, state["averages"])
            for momentum in (0.0, 0.5)
        }
        if state["n_optimizer_states"] not in allowed:
            raise ValueError(
                f"expected {sorted(allowed)} as 'n_optimizer_states' of {state['solver']}, "
                f"got {state['n_optimizer_states']}"
            )
        prefixes = ["", *(f"optimizer.{index}." for index in range(state["n_optimizer_states"]))]
        model = cls._model_of_file(state)
        fill = {"missing_fill": Tensor((model.n_features,), "F64")} if state["fills"] else {}
        if state["has_rates"]:
            fill["rate_factors"] = Tensor((model.n_parts, N_PARAMETER_ARRAYS), "F64")
        if state["scaling"] != "none":
            of_columns = Tensor((model.n_features,), "F64")
            fill |= {"column_shift": of_columns, "column_scale": of_columns}
        if state["reads_logarithms"]:
            of_columns = Tensor((model.n_features,), "F64")
            fill |= {"log_offset": of_columns, "log_centre": of_columns}
        return fill | {
            prefix + cls._array_name(number, name): Tensor(shape)
            for prefix in prefixes
            for number, name, shape in model.layout
        }

    def _restore(self, state, tensors):
        model = self._model_of_file(state)
        dtype = tensors[self._array_name(0, "components")].dtype
        flats = np.empty((1 + state["n_optimizer_states"], model.n_parameters), dtype)
        for index, flat in enumerate(flats):
            prefix = f"optimizer.{index - 1}." if index else ""
            for number, name, array in model.arrays(flat):
                array[...] = tensors[prefix + self._array_name(number, name)]
        scaling = None
        if state["scaling"] != "none":
            units = tensors["column_shift"], tensors["column_scale"]
            scaling = Scaling(*units, state["scaling"])
            if not (scaling.scale > 0).all():
                raise ValueError("expected positive numbers in 'column_scale'")
        logarithms = None
        if state["reads_logarithms"]:
            logarithms = Logarithms(tensors["log_offset"], tensors["log_centre"])
            if not (logarithms.offset >= 0).all():
                raise ValueError("expected no negative number in 'log_offset'")
        counters = {name: state[name] for name in ("solver", "n_steps", "n_rows_seen", "seed")}
        self._state = FittedState(
            model=model,
            parameters=flats[0],
            optimizer_state=flats[1:],
            fill=tensors.get("missing_fill"),
            rates=tensors.get("rate_factors"),
            scaling=scaling,
            logarithms=logarithms,
            normed=state["divides_by_norms"],
            averages=state["averages"],
            **counters,
        )
        self._history = history.from_json(state["history"])
        self.loss_curve_ = state["loss_curve"]
        self.validation_loss_curve_ = state["validation_loss_curve"]
        self.n_epochs_ = state["n_epochs"]


class FittedAutoencoder(FittedNetwork):
    """A fitted network of one layer, with its parameters as views of the state's."""

    _file_format = "aefast autoencoder"

    @property
    def components_(self) -> Reals:
        return self._fitted_parameters().W

    @property
    def decoder_components_(self) -> Reals:
        return self._fitted_parameters().V

    @property
    def hidden_bias_(self) -> Reals:
        return self._fitted_parameters().b

    @property
    def visible_bias_(self) -> Reals:
        return self._fitted_parameters().c

    @property
    def gain_(self) -> Reals | None:
        return self._fitted_parameters().gain

    def _fitted_parameters(self):
        state = self._fitted_state()
        return state.model.split(state.parameters)[0]
