"""How a network reads rows: units of columns, replacements of missing entries, logarithms.

Counts and positive numbers often span orders of magnitude. Where the distribution of a column has a
logarithm as link, so that reconstructions move on a logarithmic scale, the encoder reads

    log(x + a) − m    instead of x,

with a = 1 for counts, a = OFFSET times the geometric mean for positive numbers, and m the mean of
the logarithms. Targets of the loss, and reconstructions, are x itself. Of sparse rows it reads
log(x + 1) of counts, so that zeros stay zeros.
"""

from typing import NamedTuple

import numpy as np

from aefast._base import _runtime, threads
from aefast._base.passes import copied_rows
from aefast._base.sparse_rows import SparseRows, dense_rows
from aefast.networks import outputs
from aefast.networks.outputs import TABLE
from aefast.networks.scaling import Scaling
from aefast.networks.training.parts import spread_rows

OFFSET = 0.1  # of the geometric mean
MOST_ENTRIES = 1 << 20  # of rows from which means of logarithms are computed
SMALLEST = 1e-30  # offset, so that single precision has its logarithm


class Logarithms(NamedTuple):
    """Columns of which the encoder reads logarithms, and from where these count."""

    offset: np.ndarray  # (d,) float64; 0 where a column is read as it is
    centre: np.ndarray  # (d,) float64; 0 where a column is read as it is

    def keeps_zeros(self):
        """Return whether the encoder reads 0 for 0."""
        offset, centre = self.offset[self.offset > 0], self.centre[self.offset > 0]
        with _runtime.IeeeArithmetic():
            return bool((np.log(offset) == centre).all())

    def take_in_place(self, rows):
        """Turn rows (n, d) into what the encoder reads of them."""
        columns = np.flatnonzero(self.offset)
        with _runtime.IeeeArithmetic():
            values = np.log(np.maximum(rows[:, columns], 0) + self.offset[columns])
            rows[:, columns] = values - self.centre[columns]
        return rows


class Reading(NamedTuple):
    """How a network reads rows; by default, as they are."""

    fill: np.ndarray | None = None  # (d,) float64, replacements of missing entries in X's units
    scaling: Scaling | None = None
    logarithms: Logarithms | None = None
    normed: bool = False  # whether the encoder reads rows divided by their Euclidean norm

    def filled(self, rows):
        """Return rows without missing entries: as they are, or a copy."""
        if self.fill is None:
            return rows
        return np.where(np.isnan(rows), self.fill, rows).astype(rows.dtype)

    def changes_rows(self):
        """Return whether the encoder's input is anything but the rows."""
        return self.normed or any(field is not None for field in self[:-1])

    def encoder_rows(self, rows):
        """Return rows (n, d) of float32 or float64 as the encoder reads them, perhaps in place.

        `SparseRows` stay sparse where the encoder reads 0 for what they do not store.
        """
        if isinstance(rows, SparseRows):
            if self.keeps_zeros(rows.absent_missing):
                return self._sparse_encoder_rows(rows)
            rows = dense_rows(rows)
        rows = self.filled(rows)
        if self.scaling is not None:
            rows = self.scaling.scale_in_place(rows)
        if self.logarithms is not None:
            rows = self.logarithms.take_in_place(rows)
        return divided_by_norms(rows) if self.normed else rows

    def zeros(self, n_features):
        """Return the numbers (d,) in X's units that are 0 in the model's."""
        return np.zeros(n_features) if self.scaling is None else self.scaling.shift

    def keeps_zeros(self, absent_missing):
        """Return whether the encoder reads 0 where `SparseRows` store nothing."""
        fill, scaling, logarithms, _ = self
        scaled = np.zeros(1)
        if absent_missing and fill is not None:
            scaled = fill if scaling is None else scaling.scaled(fill)
        elif scaling is not None and not absent_missing:
            scaled = scaling.shift
        return not scaled.any() and (logarithms is None or logarithms.keeps_zeros())

    def _sparse_encoder_rows(self, rows):
        columns, values = rows.stored
        values = values.copy()
        if self.scaling is not None:
            with _runtime.IeeeArithmetic(), np.errstate(over="ignore"):
                shifted = values.astype(np.float64) - self.scaling.shift[columns]
                values = (shifted * self.scaling.factor[columns]).astype(values.dtype)
        if self.logarithms is not None:
            offset, centre = (end[columns] for end in self.logarithms)
            with _runtime.IeeeArithmetic():
                read = np.log(np.maximum(values, 0) + np.where(offset > 0, offset, 1)) - centre
            values = np.where(offset > 0, read, values).astype(values.dtype)
        if self.normed:
            of_rows = np.repeat(np.arange(len(rows)), rows.counts)
            squares = np.bincount(of_rows, values.astype(np.float64) ** 2, len(rows))
            norms = np.sqrt(np.where(squares > 0, squares, 1))
            values = (values / norms[of_rows]).astype(values.dtype)
        begin = rows.row_begin - rows.row_begin[0]
        return SparseRows(begin, columns, values, rows.shape[1])


def divided_by_norms(rows):
    """Return rows divided by their Euclidean norms; rows of zeros as they are."""
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    return (rows / np.where(norms > 0, norms, 1)[:, np.newaxis]).astype(rows.dtype)


def logarithmic_columns(output, n_features):
    """Return which columns (d,) have a logarithm as link, and which of these have counts."""
    is_logarithmic, has_counts = np.zeros((2, n_features), bool)
    for segment in output:
        row = TABLE[segment.distribution]
        columns = outputs.columns_of(segment, n_features)
        is_logarithmic[columns] = row["link"] == "log"
        has_counts[columns] = row["link"] == "log" and row["domain"].endswith("counts")
    return is_logarithmic, has_counts


@threads.with_same_bits
def find_logarithms(X, train, weight, output):
    """Return the `Logarithms` of the rows for training, or None where no column has any.

    Missing entries and rows without weight are left out. Of `SparseRows`, counts alone have one.
    """
    d = X.shape[1]
    is_logarithmic, has_counts = logarithmic_columns(output, d)
    if not is_logarithmic.any():
        return None
    if isinstance(X, SparseRows):  # zeros stay zeros
        is_read = is_logarithmic & has_counts
        return Logarithms(np.where(is_read, 1.0, 0.0), np.zeros(d)) if is_read.any() else None
    order = spread_rows(train, max(2, MOST_ENTRIES // d))
    weight = None if weight is None else weight[order]
    if weight is not None and (weight > 0).any():
        order, weight = order[weight > 0], weight[weight > 0]
    columns = np.flatnonzero(is_logarithmic)
    rows = copied_rows(X, order)[:, columns].astype(np.float64)
    offset, centre = np.zeros((2, d))
    with np.errstate(divide="ignore", invalid="ignore"):
        geometric = np.exp(_means(np.where(rows > 0, np.log(rows), np.nan), weight))
    offset[columns] = np.where(has_counts[columns], 1.0, np.maximum(OFFSET * geometric, SMALLEST))
    centre[columns] = _means(np.log(rows + offset[columns]), weight)
    return Logarithms(offset, centre)


def _means(values, weight):
    """Return weighted means (d,) of the entries that are not NaN, or 0 where all are."""
    observed = ~np.isnan(values)
    share = observed if weight is None else observed * weight[:, np.newaxis]
    total = share.sum(axis=0, dtype=np.float64)
    sums = (np.where(observed, values, 0) * share).sum(axis=0)
    return sums / np.where(total > 0, total, 1)
