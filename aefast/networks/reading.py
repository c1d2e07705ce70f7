"""How a network reads rows: units of columns, replacements of missing entries, logarithms.

Counts and positive numbers often span orders of magnitude. Where the distribution of a column has a
logarithm as link, so that reconstructions move on a logarithmic scale, the encoder reads

    log(x + a) − m    instead of x,

with a = 1 for counts, a = OFFSET times the geometric mean for positive numbers, and m the mean of
the logarithms. Targets of the loss, and reconstructions, are x itself.
"""

from typing import NamedTuple

import numpy as np

from aefast._base import _runtime, threads
from aefast._base.passes import copied_rows
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

    def filled(self, rows):
        """Return rows without missing entries: as they are, or a copy."""
        if self.fill is None:
            return rows
        return np.where(np.isnan(rows), self.fill, rows).astype(rows.dtype)

    def changes_rows(self):
        """Return whether the encoder's input is anything but the rows."""
        return any(field is not None for field in self)

    def encoder_rows(self, rows):
        """Return rows (n, d) of float32 or float64 as the encoder reads them, perhaps in place."""
        rows = self.filled(rows)
        if self.scaling is not None:
            rows = self.scaling.scale_in_place(rows)
        return rows if self.logarithms is None else self.logarithms.take_in_place(rows)


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

    Missing entries and rows without weight are left out.
    """
    d = X.shape[1]
    is_logarithmic, has_counts = logarithmic_columns(output, d)
    if not is_logarithmic.any():
        return None
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
