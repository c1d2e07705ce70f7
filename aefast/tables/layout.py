"""The columns of a table and those of its matrix: all that a `TableEncoder` has fitted."""

from typing import Any, NamedTuple, Self

import numpy as np

from aefast._base import saving
from aefast._base.saving import OBJECT, Check, one_of
from aefast._base.types import Array
from aefast.tables.coding import Coding
from aefast.tables.columns import Column
from aefast.tables.described import coding_of_json, json_of_coding
from aefast.tables.frames import LIBRARIES, Table, label_list
from aefast.tables.matching import as_given, check_type
from aefast.tables.writing import frame_of


class Variable(NamedTuple):
    """A column of the table that is in the matrix.

    Attributes
    ----------
    name : str or int
    role : str
    columns : slice
        The columns of the matrix that belong to it.
    """

    name: Any
    role: str
    columns: slice


class EncodedRows(NamedTuple):
    """Rows of a table, read once, with all that a model needs of them."""

    table: Table
    columns: list[Column]  # in the order of the fit
    matrix: Array  # as `TableEncoder.transform` returns it
    # (n, number of variables), to be added to a model's log-likelihoods of the variables; see the
    # Notes of `TableEncoder`
    log_terms: Array


class Layout:
    """The columns of a fit, and those of the matrix that belong to each.

    Attributes
    ----------
    codings : list of Coding
        Of all columns, in the order of the fit.
    library : str
        That of the frames of the fit.
    variables : list of Variable
    output : list of (str, list of int)
        The distributions of the matrix' columns.
    n_columns : int
        Of the matrix.
    """

    def __init__(self, codings: list[Coding], library: str) -> None:
        self.codings, self.library = codings, library
        self.variables: list[Variable] = []
        self.output: list[tuple[str, list[int]]] = []
        first = 0
        for coding in self.coded:
            width = len(coding.names)
            self.variables.append(Variable(coding.label, coding.role, slice(first, first + width)))
            self.output += [(name, [first + c for c in cols]) for name, cols in coding.output]
            first += width
        self.n_columns = first

    @property
    def coded(self) -> list[Coding]:
        """The codings of the variables."""
        return [coding for coding in self.codings if coding.names]

    @property
    def labels(self) -> list:
        return [coding.label for coding in self.codings]

    def names(self) -> list[str]:
        """Return the names of the matrix' columns; one that would come twice gets a number."""
        names: dict[str, None] = {}
        for coding in self.coded:
            for name in coding.names:
                unique, number = name, 2
                while unique in names:
                    unique, number = f"{name}_{number}", number + 1
                names[unique] = None
        return list(names)

    # ---- a table to a matrix ----

    def check_labels(self, table: Table) -> None:
        """Raise ValueError unless a table has the columns of the fit, in any order."""
        own = self.labels
        missing = [label for label in own if label not in table.labels]
        new = [label for label in table.labels if label not in own]
        if missing or new:
            parts = [f"lacks {label_list(missing)}"] if missing else []
            parts += [f"has the new {label_list(new)}"] if new else []
            raise ValueError(
                f"X must have the {len(own)} columns of the fit: it {' and '.join(parts)}"
            )

    def columns(self, table: Table, numbers: list[int]) -> list[Column]:
        """Return the columns of these numbers, which are those of the fit; checks their types."""
        columns = []
        for coding, j in zip(self.codings, numbers, strict=True):
            column = table.read(j)
            check_type(column, coding)
            columns.append(column)
        return columns

    def matrix(self, columns: list[Column]) -> Array:
        """Return the matrix of columns in the order of the fit."""
        matrix = np.empty((len(columns[0].values), self.n_columns))
        for variable, (coding, column) in zip(self.variables, self._coded(columns), strict=True):
            matrix[:, variable.columns] = coding.encode(column)
        return matrix

    def rows(self, table: Table, columns: list[Column]) -> EncodedRows:
        terms = [coding.log_terms(column) for coding, column in self._coded(columns)]
        return EncodedRows(table, columns, self.matrix(columns), np.column_stack(terms))

    def _coded(self, columns):
        return [pair for pair in zip(self.codings, columns, strict=True) if pair[0].names]

    # ---- a matrix to a table ----

    def table(
        self,
        matrix: Array,
        rows: EncodedRows | None = None,
        *,
        index: Any = None,
        gaps_only: bool = False,
        random: np.random.RandomState | None = None,
    ) -> Any:
        """Return the table of a matrix (n, n_columns), a frame of the kind that `rows` were.

        Parameters
        ----------
        matrix : ndarray
        rows : EncodedRows or None
            The rows to which those of the matrix belong: with their types and index, and with their
            columns that are left out. None: a frame of the library of the fit.
        index : object
            Of pandas' frame without `rows`.
        gaps_only : bool
            Keep entries of `rows` that are not missing as they are.
        random : RandomState or None
            For draws: the source of levels within a class of merged ones.
        """
        made = self.decoded(matrix, rows, gaps_only=gaps_only, random=random)
        if rows is None:
            return frame_of(made, self.library, index)
        labels = rows.table.labels
        made = sorted(made, key=lambda column: labels.index(column.label))
        return frame_of(made, rows.table.library, rows.table.index)

    def decoded(
        self,
        matrix: Array,
        rows: EncodedRows | None,
        *,
        gaps_only: bool = False,
        random: np.random.RandomState | None = None,
    ) -> list[Column]:
        """Return the columns of a matrix as of `table`, in the order of the fit."""
        made, first = [], 0
        for j, coding in enumerate(self.codings):
            width = len(coding.names)
            column = coding.decode(matrix[:, first : first + width], random)
            first += width
            if rows is not None:
                column = as_given(column, rows.columns[j], coding, gaps_only)
            made.append(column)
        return made

    # ---- in a file ----

    def state(self) -> dict[str, Any]:
        """Return the layout in values of JSON."""
        return {
            "library": self.library,
            "codings": [json_of_coding(coding) for coding in self.codings],
        }

    @staticmethod
    def state_checks() -> dict[str, Check]:
        return {
            "library": one_of(LIBRARIES),
            "codings": Check(saving.is_list_of(OBJECT.is_valid), "a list of objects"),
        }

    @classmethod
    def of_state(cls, state: dict[str, Any]) -> Self:
        codings = [coding_of_json(described) for described in state["codings"]]
        labels = [coding.label for coding in codings]
        if len(set(labels)) != len(labels) or not any(coding.names for coding in codings):
            raise ValueError("expected columns of distinct names, of which one varies")
        return cls(codings, state["library"])
