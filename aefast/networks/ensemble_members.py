"""State of a fitted `AutoencoderEnsemble`: its members, and its form in files."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from aefast._base import checkpoints
from aefast._base.errors import shown
from aefast._base.saving import COUNT, FLAG, SEED, Check, Saved, Tensor, is_count, is_list_of
from aefast.networks import _autoencoder, outputs
from aefast.networks._autoencoder import N_PARAMETER_ARRAYS, PROGRESS
from aefast.networks.autoencoder import Autoencoder
from aefast.networks.fitted import FittedAutoencoder, FittedState, n_optimizer_states
from aefast.networks.network import Network
from aefast.networks.reading import Logarithms
from aefast.networks.scaling import FOUND, Scaling
from aefast.networks.training.many_start import Units

COUNTERS = ("n_steps", "n_rows_seen", "n_epochs", "most_epochs")


class EnsembleState(NamedTuple):
    """All that a fit leaves: B networks of equal shape, and what each of them reads."""

    model: Network
    solver: str
    n_features: int  # columns of the table
    values: np.ndarray  # (B, 1 + n_states, n_parameters)
    progress: np.ndarray  # (B,) of type PROGRESS
    random_states: np.ndarray  # (B,) int64, with which an Autoencoder has the same random numbers
    seeds: np.ndarray  # (B,) uint64, the seeds that follow from them
    columns: np.ndarray | None  # (B, d) int64; None: each member reads all columns
    means: np.ndarray  # (n_features,), reconstructions of columns that no member reads
    units: Units
    rates: np.ndarray | None  # (B, N_PARAMETER_ARRAYS)
    curves: list[np.ndarray]  # the loss of each epoch, for each network
    groups: np.ndarray | None  # (B,) sorted labels of the groups; None: members share one table
    settings: dict[str, Any]  # parameters of an `Autoencoder` that "auto" has become
    sampling: tuple[int, int, int, bool] | None  # (seed, n_samples, rows of a member, bootstrap)

    def columns_of(self, b):
        return slice(None) if self.columns is None else self.columns[b]

    def fitted_state(self, b):
        """Return the state of an `Autoencoder`, whose arrays are this state's."""
        counters = self.progress[b]
        return FittedState(
            self.model,
            self.solver,
            self.values[b, 0],
            self.values[b, 1:],
            int(counters["n_steps"]),
            int(counters["n_rows_seen"]),
            int(self.seeds[b]),
            rates=None if self.rates is None else self.rates[b : b + 1],
            scaling=self.units.scalings[b],
            logarithms=self.units.logarithms[b],
        )


class Members(Sequence[Autoencoder]):
    """The members of an `AutoencoderEnsemble`, each made an `Autoencoder` when it is asked for.

    ``members_[i]`` and its parameters are a view: the ensemble's memory. It is fitted to the
    columns that the member reads, of which it knows the names.
    """

    def __init__(self, ensemble: Any) -> None:
        self._ensemble, self._state = ensemble, ensemble._fitted_state()

    def __len__(self) -> int:
        return len(self._state.progress)

    def __iter__(self) -> Iterator[Autoencoder]:
        return (self._made(b, with_names=True) for b in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self._made(b, with_names=True) for b in range(*index.indices(len(self)))]
        return self._made(range(len(self))[index], with_names=True)

    def plain(self, b):
        """Return a member that knows no names, for arrays of its columns."""
        return self._made(b, with_names=False)

    def _made(self, b, with_names):
        ensemble, state = self._ensemble, self._state
        names = set(Autoencoder._get_param_names())
        given = ensemble.get_params(deep=False)
        parameters = {name: value for name, value in given.items() if name in names}
        own = {"random_state": int(state.random_states[b]), "verbose": 0, "checkpoint": None}
        parameters |= state.settings | own
        member = Autoencoder(**parameters)
        member._state = state.fitted_state(b)
        member.loss_curve_ = state.curves[b].tolist()
        member.validation_loss_curve_, member.n_epochs_ = [], len(state.curves[b])
        member.fit_report_ = dict(state.settings)
        if with_names and hasattr(ensemble, "feature_names_in_"):
            member.feature_names_in_ = ensemble.feature_names_in_[state.columns_of(b)]
        return member


def _is_label(value):
    return isinstance(value, str) or (type(value) is int and -(2**63) <= value < 2**63)


class FittedEnsemble(Saved):
    """Attributes and file format of an ensemble, computed from its `_state`."""

    _file_format = "aefast autoencoder ensemble"
    _structured_parameters = ("output", "corruption", "sparsity")
    _parameters_of_process = checkpoints.PARAMETERS
    _check_variants: Callable[[], None]
    output: Any
    _state: EnsembleState

    def _fitted_state(self):
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self)
        return self._state

    def __sklearn_is_fitted__(self):
        return hasattr(self, "_state")

    @property
    def n_features_in_(self) -> int:
        try:
            return self._state.n_features
        except AttributeError:
            raise AttributeError(f"this {type(self).__name__} is not fitted yet") from None

    @property
    def members_(self) -> Members:
        return Members(self)

    @property
    def groups_(self) -> np.ndarray | None:
        return self._fitted_state().groups

    @property
    def n_components_(self) -> int:
        return self._fitted_state().model.n_components

    @property
    def n_epochs_(self) -> np.ndarray:
        return self._fitted_state().progress["n_epochs"].copy()

    @property
    def loss_curves_(self) -> list[np.ndarray]:
        return self._fitted_state().curves

    @property
    def estimators_features_(self) -> list[np.ndarray]:
        state = self._fitted_state()
        if state.columns is None:
            return [np.arange(state.n_features)] * len(state.progress)
        return list(state.columns)

    def _rank(self, group):
        """Return the number of a group's member; ValueError where there is none."""
        groups = self._fitted_state().groups
        if groups is None:
            raise ValueError("group needs an ensemble of groups: this one was fitted to one table")
        label = group.item() if isinstance(group, np.generic) else group
        is_label = isinstance(label, (int, str))
        found = np.flatnonzero(groups == label) if is_label else np.empty(0, int)
        if not len(found):
            raise ValueError(
                f"group {shown(group)} was not among the {len(groups)} groups of the fit"
            )
        return int(found[0])

    def member(self, group: Any) -> Autoencoder:
        """Return the member of a group, an `Autoencoder`.

        Parameters
        ----------
        group : int or str
            Label of a group of the fit.

        Returns
        -------
        member : Autoencoder
            A view, as ``members_[i]``.
        """
        return self.members_[self._rank(group)]

    # ---- saving and loading ----

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

    @classmethod
    def _parameter_of_json(cls, name, value):
        return FittedAutoencoder._parameter_of_json(name, value)

    def _saved_state(self):
        state = self._state
        [layer] = state.model.layers
        scalings, logarithms = state.units
        lists = {name: state.progress[name].tolist() for name in COUNTERS}
        return lists | {
            "model": layer._asdict() | {"output": outputs.as_json(layer.output)},
            "solver": state.solver,
            "n_table_columns": state.n_features,
            "n_members": len(state.progress),
            "n_optimizer_states": state.values.shape[1] - 1,
            "random_states": state.random_states.tolist(),
            "seeds": [int(seed) for seed in state.seeds],
            "columns": None if state.columns is None else state.columns.tolist(),
            "groups": None if state.groups is None else state.groups.tolist(),
            "settings": dict(state.settings),
            "sampling": None if state.sampling is None else list(state.sampling),
            "has_rates": state.rates is not None,
            "scalings": ["none" if s is None else s.kind for s in scalings],
            "reads_logarithms": any(log is not None for log in logarithms),
            "has_diverged": [bool(x) for x in state.progress["has_diverged"]],
        }

    def _saved_tensors(self):
        state = self._state
        d = state.model.n_features
        tensors = {"column_means": state.means, "curves": np.concatenate([*state.curves, []])}
        for i in range(state.values.shape[1]):
            prefix = f"optimizer.{i - 1}." if i else ""
            for name, array in state.model.layers[0].arrays(state.values[:, i]).items():
                tensors[prefix + name] = np.ascontiguousarray(array)
        if state.rates is not None:
            tensors["rate_factors"] = state.rates
        scalings, logarithms = state.units
        if any(s is not None for s in scalings):
            plain = np.zeros(d), np.ones(d)
            for i, name in enumerate(("column_shift", "column_scale")):
                tensors[name] = np.stack([plain[i] if s is None else s[i] for s in scalings])
        if any(log is not None for log in logarithms):
            zeros = np.zeros(d), np.zeros(d)
            for i, name in enumerate(("log_offset", "log_centre")):
                tensors[name] = np.stack([(zeros if log is None else log)[i] for log in logarithms])
        return tensors

    @classmethod
    def _state_checks(cls):
        counts = Check(is_list_of(is_count), "a list of integers in [0, 2**62)")
        seeds = Check(is_list_of(SEED.is_valid), "a list of integers in [0, 2**63)")
        columns = Check(
            lambda value: value is None or is_list_of(is_list_of(is_count))(value),
            "null or a list of lists of column numbers",
        )
        groups = Check(
            lambda value: value is None or is_list_of(_is_label)(value),
            "null or a list of labels, strings or integers",
        )
        sampling = Check(
            lambda value: (
                value is None
                or (
                    isinstance(value, list)
                    and len(value) == 4
                    and all(map(SEED.is_valid, value[:3]))
                    and isinstance(value[3], bool)
                )
            ),
            "null or a list of three numbers and a flag",
        )
        flags = Check(is_list_of(lambda value: isinstance(value, bool)), "a list of flags")
        kinds = Check(is_list_of(lambda value: value in ("none", *FOUND)), f"of {FOUND}")
        return dict.fromkeys(COUNTERS, counts) | {
            "model": FittedAutoencoder._model_checks,
            "solver": Check(lambda value: value in _autoencoder.SOLVERS, "a solver"),
            "n_table_columns": COUNT,
            "n_members": COUNT,
            "n_optimizer_states": COUNT,
            "random_states": seeds,
            "seeds": seeds,
            "columns": columns,
            "groups": groups,
            "settings": Check(lambda value: isinstance(value, dict), "an object"),
            "sampling": sampling,
            "has_rates": FLAG,
            "scalings": kinds,
            "reads_logarithms": FLAG,
            "has_diverged": flags,
        }

    @classmethod
    def _tensor_layout(cls, state):
        n = state["n_members"]
        lists = [*COUNTERS, "random_states", "seeds", "scalings", "has_diverged"]
        lists += [name for name in ("columns", "groups") if state[name] is not None]
        for name in lists:
            if len(state[name]) != n or n == 0:
                raise ValueError(f"expected {n} entries, at least 1, in {name!r}")
        model = FittedAutoencoder._model_of_file(state)
        d, n_states = model.n_features, state["n_optimizer_states"]
        allowed = {n_optimizer_states(state["solver"], momentum) for momentum in (0.0, 0.5)}
        if n_states not in allowed:
            raise ValueError(f"expected {sorted(allowed)} as 'n_optimizer_states', got {n_states}")
        for columns in state["columns"] or []:
            if len(columns) != d or not all(c < state["n_table_columns"] for c in columns):
                raise ValueError(f"expected {d} columns of the table for each member")
        if state["columns"] is None and state["n_table_columns"] != d:
            raise ValueError(f"expected {d} as 'n_table_columns'")
        layout = {
            "column_means": Tensor((state["n_table_columns"],), "F64"),
            "curves": Tensor((sum(state["n_epochs"]),), "F64"),
        }
        if state["has_rates"]:
            layout["rate_factors"] = Tensor((n, N_PARAMETER_ARRAYS), "F64")
        if any(kind != "none" for kind in state["scalings"]):
            layout |= dict.fromkeys(("column_shift", "column_scale"), Tensor((n, d), "F64"))
        if state["reads_logarithms"]:
            layout |= dict.fromkeys(("log_offset", "log_centre"), Tensor((n, d), "F64"))
        prefixes = ["", *(f"optimizer.{i}." for i in range(n_states))]
        return layout | {
            prefix + name: Tensor((n, *shape))
            for prefix in prefixes
            for name, shape in model.layers[0].layout.items()
        }

    def _restore(self, state, tensors):
        model, n = FittedAutoencoder._model_of_file(state), state["n_members"]
        [layer] = model.layers
        dtype = tensors["components"].dtype
        values = np.empty((n, 1 + state["n_optimizer_states"], model.n_parameters), dtype)
        for i in range(values.shape[1]):
            prefix = f"optimizer.{i - 1}." if i else ""
            for name, array in layer.arrays(values[:, i]).items():
                array[...] = tensors[prefix + name]
        progress = np.zeros(n, PROGRESS)
        for name in (*COUNTERS, "has_diverged"):
            progress[name] = state[name]
        progress["is_over"] = 1
        ends = np.cumsum(state["n_epochs"])[:-1]
        sampling = state["sampling"]
        self._state = EnsembleState(
            model,
            state["solver"],
            state["n_table_columns"],
            values,
            progress,
            np.array(state["random_states"], np.int64),
            np.array(state["seeds"], np.uint64),
            None if state["columns"] is None else np.array(state["columns"], np.int64),
            tensors["column_means"],
            _restored_units(state, tensors),
            tensors.get("rate_factors"),
            np.split(tensors["curves"], ends),
            None if state["groups"] is None else np.array(state["groups"]),
            state["settings"],
            None if sampling is None else (*sampling[:3], bool(sampling[3])),
        )


def _restored_units(state, tensors):
    n = state["n_members"]
    scalings: list[Scaling | None] = [None] * n
    logarithms: list[Any] = [None] * n
    for b, kind in enumerate(state["scalings"]):
        if kind != "none":
            units = Scaling(tensors["column_shift"][b], tensors["column_scale"][b], kind)
            scalings[b] = units
            if not (units.scale > 0).all():
                raise ValueError("expected positive numbers in 'column_scale'")
        if state["reads_logarithms"]:
            logarithms[b] = Logarithms(tensors["log_offset"][b], tensors["log_centre"][b])
            if not (logarithms[b].offset >= 0).all():
                raise ValueError("expected no negative number in 'log_offset'")
    return Units(scalings, logarithms)
