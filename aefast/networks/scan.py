"""Checks of a fit's rows against the output: domains, groups, user-defined distributions."""

import numpy as np

from aefast._base.errors import column_label, column_labels
from aefast._base.scan import scan_rows, sums_of_columns
from aefast._base.sparse_rows import dense_rows
from aefast.networks import outputs
from aefast.networks.outputs import TABLE

MOST_ENTRIES = 1 << 22  # of rows that are checked at a time


def scan_table(X, rows, output, dtype, n_threads, **options):
    """Run `scan_rows` with an output's domain, its groups and its user-defined distributions."""
    return _scan(scan_rows, X, rows, output, dtype, n_threads, **options)


def sums_of_table(X, rows, output, dtype, n_threads, **options):
    """Run `sums_of_columns` with the checks of `scan_table`."""
    return _scan(sums_of_columns, X, rows, output, dtype, n_threads, **options)


def _scan(scan, X, rows, output, dtype, n_threads, *, name="X", missing=False, **options):

    def check_slice(visit):
        check_groups(visit.table, name, output, visit.places, missing, numbers=visit.numbers)

    return scan(
        X,
        rows,
        dtype,
        n_threads,
        name=name,
        domain=outputs.domain_of(output, X.shape[1]),
        output=output,
        missing=missing,
        check_slice=check_slice,
        **options,
    )


def check_groups(X, name, output, rows=None, missing=False, first_row=0, numbers=None):
    """Raise ValueError for a row that a group or a user-defined distribution refuses.

    `rows` are those of X to check; `numbers` are their numbers in the user's table, where these
    differ by more than `first_row`. A categorical group must add up to 1, and a group is missing as
    a whole or not at all.
    """
    for segment in output:
        if not segment.is_group and segment.custom is None:
            continue
        if segment.row_total is None and segment.custom is None and not missing:
            continue  # the domain of the columns says it all
        columns = outputs.columns_of(segment, X.shape[1])
        step = max(1, MOST_ENTRIES // X.shape[1])
        for first in range(0, len(X) if rows is None else len(rows), step):
            part = slice(first, first + step)
            places = np.arange(len(X))[part] if rows is None else rows[part]
            told = places + first_row if numbers is None else numbers[part]
            values = dense_rows(X[places])[:, columns].astype(np.float64)
            if segment.custom is None:
                _check_group(values, told, name, segment, missing)
            else:
                _check_custom(values, told, columns, name, segment.custom)


def _check_custom(values, numbers, columns, name, custom):
    """Raise the ValueError of `custom.check`, with the place of the first entry that it refuses.

    Missing entries are not passed to it.
    """
    i, j = np.nonzero(~np.isnan(values))

    def refusal(first, last):
        try:
            custom.check(values[i[first:last], j[first:last], np.newaxis])
        except ValueError as error:
            return error

    if refusal(0, len(i)) is None:
        return
    first, last = 0, len(i)
    while last - first > 1:  # bisection: the first refused entry is in [first, last)
        middle = (first + last) // 2
        first, last = (middle, last) if refusal(first, middle) is None else (first, middle)
    where = f"at row {numbers[i[first]]}, column {column_label(name, columns[j[first]])}"
    raise ValueError(f"output {custom.name!r} refuses {name} {where}: {refusal(first, last)}")


def _check_group(values, numbers, name, segment, missing):
    gaps = np.isnan(values)
    partly = gaps.any(axis=1) & ~gaps.all(axis=1) if missing else np.zeros(len(values), bool)
    shown = "all columns"
    if segment.columns is not None:
        shown = f"columns [{column_labels(name, segment.columns[:4])}]..."
    if partly.any():
        row = numbers[partly.argmax()]
        raise ValueError(
            f"output {segment.distribution!r} of {shown}: in row {row} of {name} only part of the "
            "group is missing (NaN); "
            "a group is missing as a whole"
        )
    if segment.row_total is not None:
        totals = values.sum(axis=1)
        wrong = np.abs(totals - segment.row_total) > 1e-4  # False for NaN: the group is missing
        if wrong.any():
            row, total = numbers[wrong.argmax()], totals[wrong.argmax()]
            raise ValueError(
                f"output {segment.distribution!r} of {shown} expects "
                f"{TABLE[segment.distribution]['domain']}: row {row} of {name} adds up to {total:g}"
            )
