"""Weighted sums and scatter of rows about a reference point, in the accuracy that they allow."""

from typing import Any

import numpy as np
from scipy import sparse

from aefast._base import dense_rows
from aefast._base.arrays import real_type
from aefast._base.errors import too_large_error
from aefast._base.float_range import (
    Sums,
    all_finite,
    in_units_of_weights,
    lost_columns,
    report_lost,
    without_unit,
)
from aefast._base.missing import is_incomplete
from aefast._base.reference_point import FAR, sample_mean
from aefast._base.sparse_rows import add_scatter, as_dense, has_small_means
from aefast._base.streams import StreamedRows
from aefast._base.types import Array


def sums_of_rows(
    rows: Any,
    weight: Array | None,
    weight_sum: float,
    *,
    n_threads: int | None,
    name: str,
    none_if_missing: bool,
    table: Any,
) -> Sums | None:
    """Return sums of checked rows, in the unit of the weights, or None.

    Parameters
    ----------
    rows : ndarray, CSR matrix or StreamedRows (n, d)
    weight : ndarray (n,) or None
        Checked weights, not all zero.
    weight_sum : float
        Sum of the weights.
    n_threads, name, none_if_missing, table
        Parameters of `moments.statistics_of`.

    Returns
    -------
    Sums or None
        The reference point has the type that the rows were multiplied in. None where an entry is
        missing and `none_if_missing`.
    """
    n, d = rows.shape
    exponent = 0
    if weight is not None:
        weight, exponent = without_unit(weight)
    sums, scatter = np.zeros(d), np.zeros((d, d))
    if sparse.issparse(rows) and has_small_means(rows, weight, FAR):
        reference, sample = np.zeros(d), None
        add_scatter(rows, weight, sums, scatter, n_threads)
        lost = lost_columns(rows, weight, Sums(reference, sums, scatter), None)
    else:
        reference, sample = sample_mean(rows, weight, real_type(rows.dtype))
        bad = dense_rows.add_scatter(rows, weight, reference, sums, scatter, n_threads)
        if bad is not None:
            whole, (refused, first_row), fills = rows, bad, none_if_missing
            if table is not None:
                whole, refused, first_row = table, table, 0
            if isinstance(rows, StreamedRows):
                whole, none_if_missing = refused, False  # a stream is not searched for what to fill
            if none_if_missing and not sparse.issparse(whole) and is_incomplete(whole, name):
                return None
            error = dense_rows.unusable_error(as_dense(refused), reference, first_row, name)
            if fills and isinstance(rows, StreamedRows) and "NaN" in str(error):
                raise ValueError(
                    f"{error}. Missing entries are fitted to rows in memory: give "
                    "aefast.stream(...).read_whole().rows"
                )
            raise error
        lost = lost_columns(rows, weight, Sums(reference, sums, scatter), sample)
        if len(lost) and reference.dtype == np.float32:
            # Products underflow in float32: compute the sums again in float64.
            reference = sample_mean(rows, weight, np.float64)[0]
            sums[:], scatter[:] = 0.0, 0.0
            dense_rows.add_scatter(rows, weight, reference, sums, scatter, n_threads)
            lost = lost_columns(rows, weight, Sums(reference, sums, scatter), sample)
    if not (all_finite(sums) and all_finite(scatter)):
        raise too_large_error(f"the squares of {name}", real_type(rows.dtype))
    if len(lost):
        report_lost(lost, scatter, n, name)
    if exponent:
        sums, scatter = in_units_of_weights(weight_sum, sums, scatter, exponent)
    return Sums(reference, sums, scatter)
