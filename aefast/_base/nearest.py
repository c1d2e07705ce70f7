"""Distances of rows to the nearest of some references, set by set, computed in slices."""

import numpy as np

from aefast._base import _statistics, threads
from aefast._base import arrays as check
from aefast._base._rows import BAD_ROWS, NOT_FINITE
from aefast._base.errors import bad_row_error, overflow_of_row
from aefast._base.missing import has_missing
from aefast._base.passes import Pace, slices
from aefast._base.types import Array

OPERATIONS_A_SECOND = 1e10  # speed from which the size of the first slice is estimated
MOST_RANK = _statistics.MOST_RANK


def nearest_references(
    rows: Array,
    references: Array,
    units: tuple[Array, Array],
    rank: int,
    *,
    name: str = "X",
    n_threads: int | None = None,
) -> tuple[Array, Array]:
    """Return the distance of each row to the rank-th nearest reference of each set, and its place.

    The distance of x to a reference y is ``Σ_j |(x_j − shift_j) factor_j − y_j|`` over the entries
    of x that are not missing.

    Parameters
    ----------
    rows : ndarray (n, d)
        NaN is a missing entry.
    references : ndarray (B, m, d)
        Finite; B sets of m references.
    units : (shift, factor)
        float64 arrays (d,).
    rank : int
        From 1 to min(m, MOST_RANK).

    Returns
    -------
    distance : ndarray (n, B)
        float64. Sums are in float32; those of rows from which float32 overflows, in float64.
    place : ndarray (n, B)
        int32.

    Raises
    ------
    ValueError
        For infinite entries.
    FloatingPointError
        Where a distance overflows float64.
    """
    n, d = rows.shape
    n_sets, m = references.shape[:2]
    narrow = np.ascontiguousarray(references, np.float32)
    distance, place = np.empty((n, n_sets)), np.empty((n, n_sets), np.int32)
    work = 3.0 * d * n_sets * m
    n_threads = threads.effective_n_threads(n_threads, work * n)
    pace = Pace.expecting(16, 16 * work / OPERATIONS_A_SECOND)
    for part in slices(n, pace, rows):
        given, out = rows[part], (distance[part], place[part])
        missing = given.dtype.kind == "f" and has_missing(given)
        _statistics.nearest(given, narrow, rank, units, None, missing, n_threads, *out)
        failed = np.flatnonzero(~np.isfinite(out[0]).all(axis=1))
        if len(failed):
            exact = _in_float64(given, failed, references, units, rank, name, part.start)
            out[0][failed], out[1][failed] = exact
    return distance, place


def _in_float64(rows, which, references, units, rank, name, first_row):
    """Return the results of some rows in float64, or raise."""
    chosen = np.ascontiguousarray(rows[which])
    shape = len(which), len(references)
    distance, place = np.empty(shape), np.empty(shape, np.int32)
    wide = np.ascontiguousarray(references, np.float64)
    options = rank, units, check.ANYWHERE, True, 1
    status = _statistics.nearest(chosen, wide, *options, distance, place)
    if status & BAD_ROWS:
        raise bad_row_error(
            rows, name, check.ANYWHERE, wide.dtype, first_row=first_row, missing=True, units=units
        )
    if status & NOT_FINITE:
        raise overflow_of_row(
            "a distance", distance, wide.dtype, chosen, name, first_row + int(which[0])
        )
    return distance, place
