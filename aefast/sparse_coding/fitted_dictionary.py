"""Base classes of `DictionaryLearning`: use of a fitted dictionary, saving, statistics."""

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from aefast._base import arrays as check
from aefast._base import checkpoints, history, scalars, threads
from aefast._base.by_parts import takes_streams
from aefast._base.errors import table_name
from aefast._base.given_results import into
from aefast._base.passes import Pace
from aefast._base.saving import COUNT, CURVE, SEED, SIZE, Saved, Tensor
from aefast._base.scan import scan_rows
from aefast._base.streams import opened
from aefast._base.types import Array, PathLike, Reals, Table
from aefast._base.visits import order_of
from aefast._base.warnings import warn
from aefast.sparse_coding import coding
from aefast.sparse_coding.coder import DecodesCodes, check_dense_output
from aefast.sparse_coding.learner import DictionaryState, Statistics, no_statistics, update_atoms

# Parameters that must be equal for statistics to be merged.
EQUAL_TO_MERGE = ("alpha", "algorithm", "n_nonzero_coefs", "positive_code")


class FittedDictionary(DecodesCodes, Saved):
    """Public methods of an estimator whose `_state` holds a dictionary, and its file format."""

    # Attributes and methods that the estimator defines.
    _state: DictionaryState
    _settings: Callable[..., coding.Settings]
    _learner: Callable[..., Any]
    output_format: str
    n_threads: int | None
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
            float32 dictionary, float64 otherwise.
        """
        check_is_fitted(self)
        settings = self._settings()
        rows = check.sparse_or_dense_rows(self, X, reset=False)
        atoms = self._atoms_for(rows)
        name = table_name(X, self)
        options = {"output_format": self.output_format, "name": name}

        def codes(part):
            H = coding.code_rows(part, atoms, settings, **options).codes
            return coding.as_type(H, check.real_type(rows.dtype), part, name)

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
        return len(self.components_)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "_state")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()  # type: ignore[misc]  # defined by BaseEstimator
        tags.input_tags.sparse = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    # ---- saving and loading ----

    _file_format = "aefast dictionary"
    _file_version = 2
    _parameters_not_saved = ("callbacks", "dict_init")
    _parameters_of_process = checkpoints.PARAMETERS

    @classmethod
    def _upgrade(cls, version, parameters, state):
        curves = (state.get("objective_curve"), state.get("validation_objective_curve"))
        if version < 2 and all(isinstance(curve, list) for curve in curves):
            state.setdefault("history", history.of_curves(*curves))

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


class CollectedStatistics:
    """Distributed learning: sums over coded rows are collected, merged, and update the dictionary.

    All rows of one update are coded with one and the same dictionary.
    """

    # Attributes and methods that the estimator defines.
    _state: DictionaryState
    _settings: Callable[..., coding.Settings]
    _learner: Callable[..., Any]
    _rows_to_go_on: Callable[..., Any]
    statistics_: Statistics
    objective_curve_: list[float]
    positive_dict: bool
    batch_size: int
    code_tol: float
    code_max_iter: int
    n_threads: int | None
    components_: Any

    def accumulate(self, X: Table) -> Self:
        """Code X with the present dictionary and add the sums to `statistics_`.

        The dictionary does not change, except that the first call initialises it.

        Parameters
        ----------
        X : array-like, sparse matrix or stream (n_samples, n_features)

        Returns
        -------
        self
        """
        settings = self._settings()
        rows = self._rows_to_go_on(opened(X))
        blank = self._state._replace(A=np.zeros_like(self._state.A), B=np.zeros_like(self._state.B))
        learner = self._learner(blank, rows, settings)
        objective = 0.0
        order = order_of(rows, len(rows), learner.batch_size)
        for table, batch, _ in order.visits(Pace.fixed(learner.batch_size)):
            learner.rows = table
            objective += learner.collect(batch)
        self._warn(learner)
        self._add(Statistics(learner.A, learner.B, objective, len(rows)))
        return self

    def merge(self, other: "CollectedStatistics") -> Self:
        """Add the `statistics_` of another learner to those of this one.

        The other learner must have collected them with the same dictionary and settings.

        Parameters
        ----------
        other : DictionaryLearning
            A fitted estimator, which is not changed.

        Returns
        -------
        self
        """
        if not isinstance(other, CollectedStatistics):
            raise TypeError(f"other must be a DictionaryLearning, got {type(other).__name__}")
        check_is_fitted(self)
        check_is_fitted(other)
        mine, its = self.components_, other.components_
        if mine.dtype != its.dtype or not np.array_equal(mine, its):
            raise ValueError(
                "other must have the same dictionary, bit for bit: statistics collected against "
                "another one cannot be added (give all learners the same dict_init)"
            )
        for name in EQUAL_TO_MERGE:
            if getattr(self, name) != getattr(other, name):
                raise ValueError(
                    f"other must have {name}={getattr(self, name)!r}, got {getattr(other, name)!r}"
                )
        self._add(other.statistics_)
        return self

    def _add(self, statistics):
        """Add to the collected statistics, or raise and leave them if the sums overflow."""
        with np.errstate(over="ignore", invalid="ignore"):
            total = self.statistics_ + statistics
        if not all(np.isfinite(part).all() for part in total):
            raise FloatingPointError(
                "sums over codes overflow float64: nothing has been added. Scale X down"
            )
        self.statistics_ = total

    def update(self, n_sweeps: int = 10) -> Self:
        """Update the dictionary from the codes in `statistics_`, and reset these.

        Each of `n_sweeps` sweeps moves every atom to its best value for these codes with the others
        held fixed. One `accumulate` of all rows followed by one `update` is a step of batch
        learning.

        Parameters
        ----------
        n_sweeps : int, default=10

        Returns
        -------
        self
        """
        check_is_fitted(self)
        if scalars.as_integer(n_sweeps, "n_sweeps") < 1:
            raise ValueError(f"n_sweeps must be at least 1, got {n_sweeps}")
        A, B, objective, n_rows = self.statistics_
        if n_rows == 0:
            raise ValueError("update needs statistics: call accumulate first")
        components = self.components_.copy()
        k, d = components.shape
        is_finite = update_atoms(
            components,
            A,
            B,
            positive=self.positive_dict,
            n_sweeps=n_sweeps,
            n_threads=threads.effective_n_threads(self.n_threads, 2.0 * k * k * d),
        )
        if not is_finite:
            raise FloatingPointError(
                "an atom would not be finite: the dictionary and the statistics are kept. Scale X "
                "to a smaller range"
            )
        state = self._state
        n_batches = max(1, n_rows // self.batch_size)
        n_seen = state.n_rows_seen + n_rows
        # in one call: with the new dictionary and the old statistics, rows would count twice
        self.__dict__.update(
            _state=DictionaryState(components, A, B, n_batches, n_seen, state.seed),
            objective_curve_=[*self.objective_curve_, objective / n_rows],
            statistics_=no_statistics(components),
        )
        return self

    def _warn(self, learner):
        if learner.n_open_gaps:
            from sklearn.exceptions import ConvergenceWarning

            warn(
                f"{learner.n_open_gaps} codes had a relative duality gap above "
                f"code_tol={self.code_tol:g} after code_max_iter={self.code_max_iter} "
                "iterations: raise code_max_iter or code_tol",
                ConvergenceWarning,
            )
