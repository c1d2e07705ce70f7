"""Columns of the tables of `AnomalyDetector`: a matrix of numbers, and the variables it codes."""

from typing import Any, NamedTuple, Self

import numpy as np

from aefast._base import arrays as check
from aefast._base.errors import table_name
from aefast._base.missing import with_gaps
from aefast._base.numeric_columns import numeric_frame
from aefast._base.types import Array

NUMERIC_ROLES = ("real", "count", "positive")  # whose expectations have intervals


class Rows(NamedTuple):
    """Rows of a table.

    Attributes
    ----------
    matrix : ndarray (n, d)
        Reals, NaN where an entry is missing or has a value that the fit has not seen.
    unseen : ndarray (n, n_variables) or None
        The surprise of values that the fit has not seen, in nats; 0 for all others.
    """

    matrix: Array
    unseen: Array | None


class Columns:
    """The columns of a fit.

    Attributes
    ----------
    encoder : TableEncoder or None
        None for tables of numbers, whose matrix they are.
    names : list
        Names of the variables.
    starts : ndarray of int (n_variables,)
        First column of each variable in the matrix.
    shares : ndarray (d,)
        Factor of each column in sums of absolute differences: another category changes two columns.
    """

    def __init__(self, encoder: Any, names: list, n_columns: int) -> None:
        self.encoder, self.names = encoder, names
        self.starts, self.shares = np.arange(n_columns), np.ones(n_columns)
        if encoder is not None:
            self.starts = np.array([v.columns.start for v in encoder.variables_])
            for variable in encoder.variables_:
                width = variable.columns.stop - variable.columns.start
                self.shares[variable.columns] = 1 / min(
                    width, 2 if variable.role == "category" else width
                )

    @classmethod
    def fitted(cls, detector: Any, X: Any) -> tuple[Self, Rows]:
        """Return the columns of X and its rows."""
        from aefast.tables.frames import needs_encoder, read_whole

        if needs_encoder(X, detector.roles):
            from aefast.tables.encoder import TableEncoder

            X = read_whole(X)
            encoder = TableEncoder(detector.roles).fit(X)
            variables = [variable.name for variable in encoder.variables_]
            columns = cls(encoder, variables, encoder._layout.n_columns)
            return columns, columns.rows(detector, X)
        rows = _matrix(detector, X, reset=True)
        names = check.feature_names(X)
        labels = [f"x{j}" for j in range(rows.shape[1])] if names is None else list(names)
        return cls(None, labels, rows.shape[1]), Rows(rows, None)

    def rows(self, detector: Any, X: Any) -> Rows:
        """Return the rows of a table with the columns of the fit."""
        if self.encoder is None:
            return Rows(_matrix(detector, X, reset=False), None)
        read = self.encoder._rows(X)
        is_gap = np.isnan(read.matrix[:, self.starts])
        return Rows(read.matrix, np.where(is_gap, -read.log_terms, 0.0))

    def prepared(self, estimator: Any) -> Any:
        """Return an estimator with the distributions of the encoder's columns, if it takes them."""
        if self.encoder is not None and "output" in estimator.get_params(deep=False):
            # a missing entry, or a value that the fit has not seen, may come in any row
            options = {"output": self.encoder.output_, "scale": self.encoder.scale_}
            estimator.set_params(**options, missing="mask")
        return estimator

    def by_variable(self, parts: Array) -> Array:
        """Return sums (n, n_variables) of parts of the matrix' columns."""
        return parts if self.encoder is None else np.add.reduceat(parts, self.starts, axis=1)

    # ---- values for people ----

    def values_of(self, X: Any, matrix: Array) -> list:
        """Return a sequence of values for each variable, as they are in X."""
        if self.encoder is None:
            return list(matrix.T)
        from aefast.tables.frames import as_table

        table = as_table(X, "X", self.encoder)
        labels = list(self.encoder.roles_)
        places = table.labels if set(table.labels) == set(labels) else labels
        return [_column(table.native, places.index(name)) for name in self.names]

    def decoded(self, matrix: Array) -> list:
        """Return a sequence of values for each variable from a prediction of the matrix."""
        if self.encoder is None:
            return list(matrix.T)
        table = self.encoder.inverse_transform(matrix)
        labels = list(self.encoder.roles_)
        return [_column(table, labels.index(name)) for name in self.names]

    @property
    def is_numeric(self) -> list:
        if self.encoder is None:
            return [True] * len(self.names)
        return [variable.role in NUMERIC_ROLES for variable in self.encoder.variables_]


def _matrix(detector: Any, X: Any, reset: bool) -> Array:
    rows = check.estimator_rows(
        detector, numeric_frame(X, "X", "give the columns of the fit"), reset=reset
    )
    return with_gaps(rows, np.nan, table_name(X, None if reset else detector))


def _column(native: Any, place: int) -> Any:
    """Return a column of a frame or an array as a list."""
    if isinstance(native, np.ndarray):
        return native[:, place].tolist()
    import narwhals

    frame = narwhals.from_native(native, eager_only=True)
    return frame[:, place].to_list()
