"""What is in the rows of a fit: one pass of a kernel that checks them and sums their columns; groups of columns; users' distributions."""

from numbers import Integral
from typing import NamedTuple

import numpy as np

from aefast._base import threads
from aefast._base.arrays import bad_row_error
from aefast._base.passes import RowOrder
from aefast.networks import _autoencoder, outputs
from aefast.networks._autoencoder import BAD_ROWS
from aefast.networks.outputs import TABLE

ENTRIES_PER_SCAN = 1 << 26  # between two looks at the keyboard


class Scan(NamedTuple):
    """What one pass over the rows of a fit finds, by column (d,)."""

    means: np.ndarray  # weighted, of the entries that are there; 0 where none is
    n_missing: int  # columns with a missing entry, or whose rows have no weight
    low: np.ndarray | None
    high: np.ndarray | None


def scan_rows(X, rows, output, dtype, n_threads):
    """One pass over these rows (that many from row 0 on, or sorted numbers) before a fit: every entry finite and in the output's domain.

    Returns the column means (d,), float64. `output` is a distribution's name.
    """
    return scan_table(X, rows, outputs.plain_output(output), dtype, n_threads).means


def scan_table(
    X, rows, output, dtype, n_threads, *, missing=False, sample_weight=None, with_extremes=False
):
    """The same for an output with parts; with `missing` NaN passes. Weights (n,) are by row of X. Returns a `Scan`."""
    d = X.shape[1]
    domain, order = outputs.domain_of(output, d), RowOrder(X, rows)
    sums, weights = np.zeros(d), np.zeros(d)
    extremes = (np.full(d, np.inf), np.full(d, -np.inf)) if with_extremes else (None, None)
    n_threads = threads.effective_n_threads(n_threads, order.n_rows * d)
    step = max(1, ENTRIES_PER_SCAN // d)
    options = {"missing": missing, "sample_weight": sample_weight}
    options |= dict(zip(("low", "high"), extremes, strict=True))
    for window in order.windows():
        for first in range(0, len(window), step):
            part = window[first : first + step]
            status = _autoencoder.scan(
                X, part, domain, np.empty(0, dtype), n_threads, sums, weights, **options
            )
            if status & BAD_ROWS:
                raise bad_row_error(X, "X", domain, dtype, output=output, missing=missing)
            check_groups(X, "X", output, part, missing)
    total = order.n_rows if sample_weight is None else sample_weight[_all(rows)].sum()
    return Scan(
        means=np.divide(sums, weights, out=np.zeros(d), where=weights > 0),
        n_missing=int((weights < total * (1 - 1e-12)).sum()),
        low=extremes[0],
        high=extremes[1],
    )


def _all(rows):
    return slice(0, rows) if isinstance(rows, Integral) else rows


def check_groups(X, name, output, rows=None, missing=False, first_row=0):
    """ValueError for a row in which a categorical group does not add up to 1, only part of a group is missing, or a user's distribution refuses an entry."""
    for segment in output:
        if not segment.is_group and segment.custom is None:
            continue
        columns = outputs.columns_of(segment, X.shape[1])
        for first in range(0, len(X) if rows is None else len(rows), 1 << 16):
            part = slice(first, first + (1 << 16))
            numbers = np.arange(len(X))[part] if rows is None else rows[part]
            values = X[numbers][:, columns].astype(np.float64)
            if segment.custom is None:
                _check_group(values, numbers + first_row, name, segment, missing)
            else:
                _check_custom(values, numbers + first_row, columns, name, segment.custom)


def _check_custom(values, numbers, columns, name, custom):
    """What `custom.check` raises, with the place of the first entry that it refuses; missing entries are not shown to it."""
    i, j = np.nonzero(~np.isnan(values))

    def refusal(first, last):
        try:
            custom.check(values[i[first:last], j[first:last], np.newaxis])
        except ValueError as error:
            return error

    if refusal(0, len(i)) is None:
        return
    first, last = 0, len(i)
    while last - first > 1:  # the first entry refused is in [first, last)
        middle = (first + last) // 2
        first, last = (middle, last) if refusal(first, middle) is None else (first, middle)
    where = f"at row {numbers[i[first]]}, column {columns[j[first]]}"
    raise ValueError(f"output {custom.name!r} refuses {name} {where}: {refusal(first, last)}")


def _check_group(values, numbers, name, segment, missing):
    gaps = np.isnan(values)
    partly = gaps.any(axis=1) & ~gaps.all(axis=1) if missing else np.zeros(len(values), bool)
    shown = "all columns" if segment.columns is None else f"columns {list(segment.columns[:4])}..."
    if partly.any():
        row = numbers[partly.argmax()]
        raise ValueError(
            f"output {segment.distribution!r} of {shown}: in row {row} of {name} only part of the group is missing (NaN); "
            "a group is missing as a whole"
        )
    if segment.row_total is not None:
        totals = values.sum(axis=1)
        wrong = np.abs(totals - segment.row_total) > 1e-4  # NaN passes: missing
        if wrong.any():
            row, total = numbers[wrong.argmax()], totals[wrong.argmax()]
            raise ValueError(
                f"output {segment.distribution!r} of {shown} expects {TABLE[segment.distribution]['domain']}: row {row} of {name} adds up to {total:g}"
            )
