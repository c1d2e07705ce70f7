"""Units of the columns: real-valued columns are centred and scaled where kernels load rows.

A model reads x' = (x − shift) / scale. Its parameters and losses are in these units; rows that
methods take and return are in the user's.
"""

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from aefast._base import _runtime, threads
from aefast._base._rows import restore_units
from aefast._base.errors import column_label
from aefast._base.passes import copied_rows
from aefast._base.sparse_rows import SparseRows
from aefast._base.sparse_scan import column_spreads
from aefast.networks import outputs
from aefast.networks.outputs import TABLE
from aefast.networks.training.parts import spread_rows

AUTO, STANDARD, ROBUST, COMMON = "auto", "standard", "robust", "common"
FOUND = (STANDARD, ROBUST, COMMON)
KINDS = (AUTO, *FOUND)
# "auto" leaves columns as they are while their standard deviations lie between 1 / FACTOR and
# FACTOR, and their means within FACTOR standard deviations of 0
FACTOR = 3.0
# "auto" takes columns for one quantity, such as pixels, where at least this share of them reaches
# both the least and the greatest entry of the table
SHARED_RANGE = 0.25
QUARTILES_OF_NORMAL = 1.349  # distance of the quartiles of a normal distribution, in deviations
MOST_ENTRIES = 1 << 20  # of rows whose spreads are computed
BLOCK_ENTRIES = 1 << 16  # entries of columns, or of rows, that are computed together
LARGEST = 1e307  # scale, so that reciprocals are normal numbers
UNIT_WORK = 4.0  # operations that an entry's units count as, when threads are chosen
ROUNDING = 16  # spreads below this many roundings of the mean count as 0


class _ScalingFields(NamedTuple):
    shift: np.ndarray  # (d,) float64; 0 where a column is not scaled
    scale: np.ndarray  # (d,) float64, positive; 1 where a column is not scaled
    kind: str  # how they were found, one of FOUND


class Scaling(_ScalingFields):
    """Shift and scale of each column."""

    def __getstate__(self):
        return None  # the fields are the whole state; cached properties are not pickled

    @cached_property
    def factor(self):
        """The reciprocals of the scales, which the loader multiplies by."""
        with _runtime.IeeeArithmetic(), np.errstate(over="ignore"):
            return 1 / self.scale

    @cached_property
    def log_scale(self):
        with _runtime.IeeeArithmetic():
            return np.log(self.scale)

    def scaled(self, values):
        """Return values (d,) or (n, d) in the model's units, as float64."""
        factor = self.factor
        with _runtime.IeeeArithmetic(), np.errstate(over="ignore", invalid="ignore"):
            return (np.asarray(values, np.float64) - self.shift) * factor

    def scale_in_place(self, rows):
        """Turn rows (n, d) into the model's units, some at a time."""
        step = max(1, BLOCK_ENTRIES // rows.shape[1])
        for first in range(0, len(rows), step):
            with np.errstate(over="ignore"):
                rows[first : first + step] = self.scaled(rows[first : first + step])
        return rows

    def restore_units(self, values, name="X", n_threads=1):
        """Turn values (n, d) of a model, which are contiguous, into the user's units, in place.

        Raises FloatingPointError where one overflows the type, with the label of its column.
        """
        is_small = values.size <= BLOCK_ENTRIES  # a team would take longer than it saves
        team = 1 if is_small else threads.effective_n_threads(n_threads, UNIT_WORK * values.size)
        if restore_units(values, self.scale, self.shift, team):
            row, column = np.argwhere(~np.isfinite(values))[0]
            raise FloatingPointError(
                f"a result in the units of X overflows {values.dtype} at row {row}, column "
                f"{column_label(name, column)}, though X and the parameters are finite: pass X as "
                "float64"
            )
        return values


def in_units(scaling, values):
    """Return values (d,) or (n, d) in the units of a `Scaling`, or as they are for None."""
    return values if scaling is None else scaling.scaled(values)


class _Columns(NamedTuple):
    """Statistics of the real-valued columns of some rows."""

    centre: np.ndarray  # (m,), means or medians
    spread: np.ndarray  # (m,), standard deviations; 0 where they are rounding errors
    low: np.ndarray  # (m,), least entries
    high: np.ndarray  # (m,), greatest entries


def real_columns(output, n_features):
    """Return the numbers of the columns whose distribution has a location and a scale."""
    is_real = np.zeros(n_features, bool)
    for segment in output:
        is_real[outputs.columns_of(segment, n_features)] = (
            TABLE[segment.distribution]["link"] == "identity"
        )
    return np.flatnonzero(is_real)


@threads.with_same_bits
def find_scaling(given, X, train, weight, output, means, name="X"):
    """Return the `Scaling` that the parameter `scale` asks for (not None), or None.

    `means` (d,) are the column means of the rows for training. Spreads are those of these rows, or
    of evenly spread blocks of them in a large table. Raises ValueError, with the label of a column
    of the table `name`, for an entry whose square in these units overflows.

    Columns of `SparseRows` whose zeros are not stored are not shifted, so that zeros stay zeros.
    Counts of words and the like are one quantity: "auto" gives them one scale.
    """
    d = X.shape[1]
    columns = real_columns(output, d)
    if not len(columns):
        return None
    is_sparse = isinstance(X, SparseRows)
    keeps_zeros = is_sparse and not X.absent_missing
    if is_sparse and given == ROBUST:
        raise ValueError(
            "scale='robust' needs dense rows: most medians and quartiles of sparse rows are 0. Use "
            "'standard', 'common' or None"
        )
    per_row = max(1, X.nnz // len(X)) if is_sparse else d
    order = spread_rows(train, max(2, MOST_ENTRIES // per_row))
    if weight is not None and (weight[order] > 0).any():
        order = order[weight[order] > 0]
    weight = None if weight is None else weight[order]
    rows = copied_rows(X, order)
    if is_sparse:
        found = _sparse_statistics(rows, weight, columns, means)
    else:
        found = _statistics(rows, weight, columns, means, given == ROBUST)
    return _scaling_of(found, given, columns, d, rows.dtype, name, keeps_zeros)


def scaling_from(given, columns, means, deviations, low, high, dtype, name="X"):
    """Return the `Scaling` of `find_scaling` from statistics (d,) of the columns, or None.

    `columns` are those of `real_columns`; `given` is not "robust".
    """
    centre, spread = means[columns], deviations[columns]
    smallest = np.finfo(dtype if dtype.kind == "f" else np.float32).tiny
    spread = np.where(_is_rounding(spread, centre, smallest), 0, spread)
    found = _Columns(centre, spread, low[columns], high[columns])
    return _scaling_of(found, given, columns, len(means), dtype, name)


def _scaling_of(found, given, columns, d, dtype, name, keeps_zeros=False):
    """Return the `Scaling` of d columns, of which some are real-valued, or None."""
    kind = given
    if given == AUTO:
        kind = _suitable_kind_of_zeros(found) if keeps_zeros else _suitable_kind(found)
    if kind is None:
        return None
    _check_distances(found, columns, dtype, name)
    spread = found.spread
    if kind == COMMON and spread.any():
        largest = spread.max()
        root_mean_square = largest * np.sqrt(np.mean((spread[spread > 0] / largest) ** 2))
        spread = np.where(spread > 0, root_mean_square, 0)
    shift, scale = np.zeros(d), np.ones(d)
    if not keeps_zeros:
        shift[columns] = np.where(np.isfinite(found.centre), found.centre, 0)
    scale[columns] = np.where(spread > 0, np.minimum(spread, LARGEST), 1)
    return Scaling(shift, scale, kind)


def _suitable_kind(found):
    """Return what "auto" stands for."""
    varies = found.spread > 0
    centre, spread = found.centre[varies], found.spread[varies]
    if not len(spread):
        return None
    is_centred = bool((np.abs(centre) <= FACTOR * spread).all())
    if is_centred and 1 / FACTOR <= spread.min() and spread.max() <= FACTOR:
        return None
    low, high = found.low[varies], found.high[varies]
    least, most = low.min(), high.max()
    if np.sum((low == least) & (high == most)) < max(2, SHARED_RANGE * len(low)):
        return STANDARD
    # one quantity in all columns, whose differences of spread mean something
    return None if -1 <= least and most <= 1 else COMMON


def _suitable_kind_of_zeros(found):
    """Return what "auto" stands for where zeros have to stay zeros."""
    spread = found.spread[found.spread > 0]
    if not len(spread) or (1 / FACTOR <= spread.min() and spread.max() <= FACTOR):
        return None
    return COMMON


def _sparse_statistics(rows, weight, columns, means):
    """Return the statistics of `SparseRows`."""
    spread, low, high = column_spreads(rows, weight, means)
    smallest = np.finfo(rows.dtype).tiny
    is_zero = spread <= ROUNDING * np.finfo(np.float64).eps * np.abs(means)
    is_zero |= (spread < smallest) | ~np.isfinite(spread)
    spread = np.where(is_zero, 0, spread)
    return _Columns(means[columns], spread[columns], low[columns], high[columns])


def _check_distances(found, columns, dtype, name):
    largest = np.sqrt(np.finfo(dtype if dtype.kind == "f" else np.float32).max)
    with np.errstate(over="ignore"):
        far = np.maximum(found.high - found.centre, found.centre - found.low)
        bad = np.flatnonzero((found.spread > 0) & (far / largest > found.spread))
    if len(bad):
        raise ValueError(
            f"column {column_label(name, columns[bad[0]])} of {name} has entries from "
            f"{found.low[bad[0]]:g} to {found.high[bad[0]]:g}, too far apart for units of "
            f"{found.spread[bad[0]]:g}: remove such entries, or set scale='standard' or None"
        )


def _statistics(rows, weight, columns, means, is_robust):
    m, n = len(columns), len(rows)
    found = _Columns(*(np.zeros(m) for _ in range(4)))
    width = max(1, BLOCK_ENTRIES // n)
    smallest = np.finfo(rows.dtype if rows.dtype.kind == "f" else np.float32).tiny
    for first in range(0, m, width):
        part = slice(first, first + width)
        x = rows[:, columns[part]].astype(np.float64)
        observed = ~np.isnan(x)
        found.low[part] = np.where(observed, x, np.inf).min(axis=0)
        found.high[part] = np.where(observed, x, -np.inf).max(axis=0)
        centre = means[columns[part]]
        spread = _deviations(x, observed, weight, centre)
        if is_robust:
            centre, quartiles = _quartiles(x, observed, centre)
            spread = np.where(quartiles > 0, quartiles, spread)
        is_zero = _is_rounding(spread, centre, smallest)
        found.centre[part], found.spread[part] = centre, np.where(is_zero, 0, spread)
    return found


def _is_rounding(spread, centre, smallest):
    """Return which spreads are rounding errors of the means, too small for the type, or NaN."""
    is_zero = spread <= ROUNDING * np.finfo(np.float64).eps * np.abs(centre)
    return is_zero | (spread < smallest) | ~np.isfinite(spread)


def _deviations(x, observed, weight, centre):
    """Return the standard deviations of columns, without overflow or underflow of squares."""
    with np.errstate(over="ignore", invalid="ignore"):
        distance = np.where(observed, np.abs(x - centre), 0)
        largest = distance.max(axis=0)
        squares = (distance / np.where(largest > 0, largest, 1)) ** 2
        counts: Any = observed
        if weight is not None:
            squares, counts = squares * weight[:, np.newaxis], observed * weight[:, np.newaxis]
        counts = counts.sum(axis=0)
        return largest * np.sqrt(squares.sum(axis=0) / np.where(counts > 0, counts, 1))


def _quartiles(x, observed, centre):
    """Return medians, and distances of quartiles in standard deviations of a normal variable."""
    seen = observed.any(axis=0)
    low, median, high = np.zeros((3, x.shape[1]))
    if seen.any():
        low[seen], median[seen], high[seen] = np.nanquantile(x[:, seen], (0.25, 0.5, 0.75), axis=0)
    return np.where(seen, median, centre), (high - low) / QUARTILES_OF_NORMAL
