"""Imputation of mixed tables: frames to the matrix that models complete, and back."""

from typing import Any, NamedTuple, Self

import numpy as np

from aefast._base.errors import TableName
from aefast._base.hidden_entries import Variables
from aefast._base.types import Array
from aefast.tables.coding import Coding
from aefast.tables.codings import Dates, Levels, Numbers, Ordered
from aefast.tables.columns import BOOLEAN, Column, Dtype
from aefast.tables.encoder import TableEncoder
from aefast.tables.layout import EncodedRows
from aefast.tables.roles import NOTHING
from aefast.tables.writing import BOOLEANS, frame_of, numeric_frame_of

IDENTITY_LINKS = ("gaussian_diagonal", "student_t")  # of columns that are standardised
LARGEST_LOG = 300.0


class MixedTable(NamedTuple):
    """What an imputer knows of a table with columns that are not numbers."""

    encoder: TableEncoder
    keeps_empty: bool

    @classmethod
    def fitted(cls, X: Any, roles: Any, max_categories: int, keeps_empty: bool) -> Self:
        encoder = TableEncoder(roles, max_categories=max_categories)
        return cls(encoder.fit(X), keeps_empty)

    @property
    def name(self) -> TableName:
        """Name of the matrix in errors."""
        return TableName("X", list(self.encoder.get_feature_names_out()))

    @property
    def codings(self) -> list[Coding]:
        return self.encoder._layout.coded

    def variables(self) -> Variables:
        of_variables = self.encoder.variables_
        widths = [v.columns.stop - v.columns.start for v in of_variables]
        is_number = [isinstance(coding, (Numbers, Dates)) for coding in self.codings]
        return Variables(
            np.repeat(np.arange(len(widths)), widths), np.repeat(np.array(is_number), widths)
        )

    def has_identity_link(self) -> Array:
        """Return which columns of the matrix have a distribution of real numbers."""
        found = np.zeros(self.encoder._layout.n_columns, bool)
        for name, columns in self.encoder.output_:
            found[columns] = name in IDENTITY_LINKS
        return found

    def units(self, means: Array, deviations: Array, of_network: bool) -> tuple[Array, ...]:
        """Return shifts and scales of the matrix' columns, and that all of them are modelled.

        A network reads columns of other distributions than those of real numbers as they are.
        """
        scale = np.where(deviations > 0, deviations, 1.0)
        if of_network:
            is_real = self.has_identity_link()
            means, scale = np.where(is_real, means, 0.0), np.where(is_real, scale, 1.0)
        return means, scale, np.ones(len(means), bool)

    # ---- results ----

    def kept(self) -> list[int]:
        """Return the numbers of the fit's columns that results have."""
        codings = self.encoder._layout.codings
        return [j for j, c in enumerate(codings) if self.keeps_empty or c.role != NOTHING]

    def frame(
        self,
        matrix: Array,
        rows: EncodedRows,
        indicator: list[int] | None,
        random: np.random.RandomState | None = None,
    ) -> Any:
        """Return the completed table of a completed matrix, with the indicator's columns."""
        made = self.encoder._layout.decoded(matrix, rows, gaps_only=True, random=random)
        columns = [made[j] for j in self.kept()]
        columns = sorted(columns, key=lambda column: rows.table.labels.index(column.label))
        dtype = Dtype(BOOLEAN, BOOLEANS[rows.table.library])
        for j in indicator or ():
            gaps = rows.columns[j].missing.astype(np.float64)
            label = f"missingindicator_{self.encoder._layout.codings[j].label}"
            columns.append(Column(label, dtype, gaps, [False, True]))
        return frame_of(columns, rows.table.library, rows.table.index)

    def uncertainties(self, matrix: Array, deviations: Array, rows: EncodedRows) -> Any:
        """Return a frame of numbers: what `Imputer.transform_std` says of each entry."""
        found = np.zeros((len(matrix), len(self.encoder._layout.codings)))
        variables = iter(self.encoder.variables_)
        codings = self.encoder._layout.codings
        for j, (coding, column) in enumerate(zip(codings, rows.columns, strict=True)):
            if coding.names:
                part = next(variables).columns
                values = _uncertainty(coding, matrix[:, part], deviations[:, part])
            else:
                values = np.full(len(matrix), 0.0 if coding.role == "constant" else np.nan)
            found[:, j] = np.where(column.missing, values, 0.0)
        labels = [self.encoder._layout.codings[j].label for j in self.kept()]
        table = rows.table
        return numeric_frame_of(found[:, self.kept()], labels, table.library, table.index)


def _uncertainty(coding: Coding, means: Array, deviations: Array) -> Array:
    """Return the standard deviation of a number, the probability that a level is another one.

    Of dates the deviation is in days, of the logarithm of a number that of the number:
    ``(x + a) sqrt(exp(2 s²) − exp(s²))`` for a deviation s of ``log(x + a)``.
    """
    if isinstance(coding, (Levels, Ordered)):
        return np.maximum(0.0, 1 - coding.class_shares(as_probabilities(coding, means)))
    if isinstance(coding, Dates):
        if not coding.has_days:
            return np.sqrt(np.square(deviations).mean(axis=1)) / (2 * np.pi)
        return deviations[:, 0]
    assert isinstance(coding, Numbers)
    s = deviations[:, 0]
    if coding.offset is not None:
        variance = np.minimum(np.square(s), LARGEST_LOG)
        with np.errstate(over="ignore"):
            size = np.exp(np.minimum(means[:, 0], LARGEST_LOG))
            s = size * np.sqrt(np.exp(variance) * np.expm1(variance))
    return s * coding._unit


def as_probabilities(coding: Coding, means: Array) -> Array:
    """Return predictions of a group's columns as probabilities: not negative, of sum 1."""
    p = np.clip(means, 0.0, 1.0)
    if isinstance(coding, Levels) and p.shape[1] > 1:
        total = p.sum(axis=1, keepdims=True)
        p = np.where(total > 0, p / np.where(total > 0, total, 1.0), 1 / p.shape[1])
    return p
