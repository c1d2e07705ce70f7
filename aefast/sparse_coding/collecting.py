"""Base class of `DictionaryLearning`: learning from collected statistics, in parts."""

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from aefast._base import scalars, threads
from aefast._base.passes import Pace
from aefast._base.streams import opened
from aefast._base.types import Table
from aefast._base.visits import order_of
from aefast._base.warnings import warn
from aefast.sparse_coding import coding
from aefast.sparse_coding.learner import DictionaryState, Statistics, no_statistics, update_atoms

# Parameters that must be equal for statistics to be merged.
EQUAL_TO_MERGE = ("alpha", "algorithm", "n_nonzero_coefs", "positive_code")


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
