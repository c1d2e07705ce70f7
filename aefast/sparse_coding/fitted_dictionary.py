"""Base class of `DictionaryLearning`: use of a fitted dictionary, saving."""

from collections.abc import Callable
from typing import Any

from sklearn.utils.validation import check_is_fitted

from aefast._base import arrays as check
from aefast._base import checkpoints, history
from aefast._base.by_parts import takes_streams
from aefast._base.errors import table_name
from aefast._base.foreign_names import ForeignNames
from aefast._base.given_results import into
from aefast._base.passes import Pace
from aefast._base.saving import COUNT, CURVE, SEED, SIZE, Saved, Tensor
from aefast._base.scan import scan_rows
from aefast._base.streams import opened
from aefast._base.types import Array, PathLike, Reals, Table
from aefast._base.visits import order_of
from aefast.sparse_coding import coding
from aefast.sparse_coding.decoding import DecodesCodes, check_dense_output, with_split_sign
from aefast.sparse_coding.learner import DictionaryState, no_statistics

# Parameters that files have from version 3 on, and what they are in earlier ones.
_OF_TRANSFORM = {
    "transform_algorithm": None,
    "transform_alpha": None,
    "transform_n_nonzero_coefs": None,
    "split_sign": False,
}


class FittedDictionary(DecodesCodes, ForeignNames, Saved):
    """Public methods of an estimator whose `_state` holds a dictionary, and its file format."""

    # Attributes and methods that the estimator defines.
    _state: DictionaryState
    _settings: Callable[..., coding.Settings]
    _learner: Callable[..., Any]
    output_format: str
    n_threads: int | None
    n_epochs_: int
    _history: list[history.Row]
    objective_curve_: list[float]
    validation_objective_curve_: list[float]

    @property
    def history_(self) -> dict[str, list[Any]]:
        """Columns of a table with a row for each pass, of `fit` and of later `partial_fit`.

        NaN stands for what there is not; ``pandas.DataFrame(estimator.history_)`` takes it.
        """
        check_is_fitted(self)
        return history.as_table(self._history)

    @property
    def best_epoch_(self) -> int:
        """Pass with the least validation objective, or without one the least objective.

        Passes count from 1; 0: there has been none.
        """
        check_is_fitted(self)
        return history.best_epoch(self.objective_curve_, self.validation_objective_curve_)

    @property
    def n_iter_(self) -> int:
        """Number of passes, as `n_epochs_`: scikit-learn's name."""
        check_is_fitted(self)
        return self.n_epochs_

    @property
    def n_steps_(self) -> int:
        """Number of batches that the dictionary has learnt from."""
        check_is_fitted(self)
        return int(self._state.n_batches)

    def _history_rows(self):
        return self._history

    @takes_streams
    def transform(self, X: Table, *, out: Array | PathLike | None = None) -> Any:
        """Return the sparse codes H of rows.

        Parameters
        ----------
        X : array-like, sparse matrix or stream (n_samples, n_features)
        out : ndarray, path or None, default=None
            C-contiguous array for the result, instead of a new one; a memory map for results that
            are larger than memory. Its content is undefined after an error. Or the path of a .npy
            or .parquet file, which is then what is returned.

        Returns
        -------
        H : ndarray or csr_matrix (n_samples, n_components)
            A csr_matrix with output_format="csr". float32 for float32, uint8 and bool input to a
            float32 dictionary, float64 otherwise. With `split_sign` it has 2 n_components columns.
        """
        check_is_fitted(self)
        settings = self._transform_settings()
        rows = check.sparse_or_dense_rows(self, X, reset=False)
        atoms = self._atoms_for(rows)
        name = table_name(X, self)
        options = {"output_format": self.output_format, "name": name}

        def codes(part):
            H = coding.code_rows(part, atoms, settings, **options).codes
            H = coding.as_type(H, check.real_type(rows.dtype), part, name)
            return with_split_sign(H) if self.split_sign else H

        check_dense_output(out, self.output_format)
        return into(out, rows, codes)

    def score(self, X: Table, y: object = None) -> float:
        """Return minus the mean over rows of f(x, D); greater is better.

        Parameters
        ----------
        X : array-like, sparse matrix or stream (n_samples, n_features)
        y : ignored

        Returns
        -------
        score : float
        """
        check_is_fitted(self)
        X = opened(X)
        rows = check.sparse_or_dense_rows(self, X, reset=False)
        dtype, name = self.components_.dtype, table_name(X, self)
        scan_rows(rows, len(rows), dtype, self.n_threads, name=name)
        return -self._mean_objective(rows, len(rows))

    def _transform_settings(self):
        """Return the settings of the codes that `transform` gives."""
        settings, prefix = self._settings(), "transform_"
        names = ("algorithm", "alpha", "n_nonzero_coefs")
        given = {name: getattr(self, prefix + name) for name in names}
        given = {name: value for name, value in given.items() if value is not None}
        if given:
            settings = settings._replace(**given)
            coding.check_settings(settings, len(self.components_), prefix)
            coding.check_options(settings)
        return settings

    def _dictionary(self):
        check_is_fitted(self)
        return self.components_

    def _atoms_for(self, rows):
        atoms = self.components_
        return atoms.astype(check.real_type(rows.dtype, atoms.dtype), copy=False)

    def _mean_objective(self, rows, order):
        """Return the mean of f(x, D) over checked rows, without storing all of their codes.

        `order` has the numbers of the rows, or how many there are from the first on.
        """
        settings = self._settings()
        learner = self._learner(
            self._state._replace(components=self._atoms_for(rows)), rows, settings
        )
        visited, total = order_of(rows, order, learner.batch_size), 0.0
        for table, batch, _ in visited.visits(Pace.fixed(learner.batch_size)):
            learner.rows = table
            total += learner.objectives(batch)
        return total / visited.n_rows

    @property
    def components_(self) -> Reals:
        check_is_fitted(self)
        return self._state.components

    @property
    def _n_features_out(self):
        return len(self.components_) * (2 if self.split_sign else 1)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "_state")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()  # type: ignore[misc]  # defined by BaseEstimator
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    # ---- saving and loading ----

    _file_format = "aefast dictionary"
    _file_version = 3
    _parameters_not_saved = ("callbacks", "dict_init")
    _parameters_of_process = checkpoints.PARAMETERS

    @classmethod
    def _upgrade(cls, version, parameters, state):
        curves = (state.get("objective_curve"), state.get("validation_objective_curve"))
        if version < 2 and all(isinstance(curve, list) for curve in curves):
            state.setdefault("history", history.of_curves(*curves))
        if version < 3:
            for name, default in _OF_TRANSFORM.items():
                parameters.setdefault(name, default)

    def _saved_state(self):
        k, d = self.components_.shape
        return {
            "n_components": k,
            "n_features": d,
            "n_batches": int(self._state.n_batches),
            "n_rows_seen": int(self._state.n_rows_seen),
            "seed": int(self._state.seed),
            "n_epochs": int(self.n_epochs_),
            "history": history.as_json(self._history),
            "objective_curve": [float(value) for value in self.objective_curve_],
            "validation_objective_curve": [
                float(value) for value in self.validation_objective_curve_
            ],
        }

    def _saved_tensors(self):
        return {"components": self.components_, "A": self._state.A, "B": self._state.B}

    @classmethod
    def _state_checks(cls):
        return {
            "n_components": SIZE,
            "n_features": SIZE,
            "n_batches": COUNT,
            "n_rows_seen": COUNT,
            "seed": SEED,
            "n_epochs": COUNT,
            "history": history.HISTORY,
            "objective_curve": CURVE,
            "validation_objective_curve": CURVE,
        }

    @classmethod
    def _tensor_layout(cls, state):
        k, d = state["n_components"], state["n_features"]
        return {
            "components": Tensor((k, d)),
            "A": Tensor((k, k), "F64"),
            "B": Tensor((k, d), "F64"),
        }

    def _restore(self, state, tensors):
        self.n_features_in_ = state["n_features"]
        self._state = DictionaryState(
            tensors["components"],
            tensors["A"],
            tensors["B"],
            state["n_batches"],
            state["n_rows_seen"],
            state["seed"],
        )
        self.statistics_ = no_statistics(self.components_)
        self._history = history.from_json(state["history"])
        self.objective_curve_ = state["objective_curve"]
        self.validation_objective_curve_ = state["validation_objective_curve"]
        self.n_epochs_ = state["n_epochs"]
