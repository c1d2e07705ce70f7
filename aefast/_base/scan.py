"""One pass of a kernel over rows before they are used, which checks them and sums their columns."""

from numbers import Integral
from typing import NamedTuple

import numpy as np

from aefast._base import _rows, threads
from aefast._base.arrays import ANYWHERE
from aefast._base.errors import bad_row_error
from aefast._base.missing import is_incomplete
from aefast._base.passes import Pace, RowOrder, slices_of_windows

ENTRIES_PER_SCAN = 1 << 26  # between two looks at the keyboard


class Scan(NamedTuple):
    """What one pass over rows finds, by column (d,)."""

    means: np.ndarray  # weighted, of the entries that are there; 0 where none is
    n_missing: int  # columns with a missing entry, or whose rows have no weight
    low: np.ndarray | None
    high: np.ndarray | None


def scan_rows(
    X,
    rows,
    dtype,
    n_threads,
    *,
    name="X",
    domain=ANYWHERE,
    output=None,
    missing=False,
    none_if_missing=False,
    sample_weight=None,
    with_extremes=False,
    check_slice=None,
):
    """Check that entries are finite and in a domain, and sum columns.

    Parameters
    ----------
    X : ndarray (n, d)
    rows : int or ndarray of int64
        That many rows from row 0 on, or these, sorted.
    dtype : dtype
        The real type that entries will be computed in.
    n_threads : int or None
    name : str or TableName
        Of X, in errors.
    domain : (low, high)
        Numbers or arrays (d,).
    output : sequence or None
        As `errors.bad_row_error` takes it.
    missing : bool
        NaN passes.
    none_if_missing : bool
        Return None where an entry is NaN.
    sample_weight : ndarray (n,) or None
        By row of X.
    with_extremes : bool
        Find the least and the greatest entry of each column too.
    check_slice : callable or None
        Called with the numbers of the rows of each slice that passed.

    Returns
    -------
    Scan or None

    Raises
    ------
    ValueError
        For the first entry that fails.
    """
    d, order = X.shape[1], RowOrder(X, rows)
    sums, weights = np.zeros(d), np.zeros(d)
    extremes = (np.full(d, np.inf), np.full(d, -np.inf)) if with_extremes else (None, None)
    n_threads = threads.effective_n_threads(n_threads, order.n_rows * d)
    pace = Pace.fixed(max(1, ENTRIES_PER_SCAN // d))
    options = {"missing": missing, "sample_weight": sample_weight}
    options |= dict(zip(("low", "high"), extremes, strict=True))
    for part in slices_of_windows(order.windows(), pace):
        status = _rows.scan(
            X, part, domain, np.empty(0, dtype), n_threads, sums, weights, **options
        )
        if status & _rows.BAD_ROWS:
            if none_if_missing and is_incomplete(X, name):
                return None
            raise bad_row_error(X, name, domain, dtype, output=output, missing=missing)
        if check_slice is not None:
            check_slice(part)
    total = order.n_rows if sample_weight is None else sample_weight[_all(rows)].sum()
    return Scan(
        means=np.divide(sums, weights, out=np.zeros(d), where=weights > 0),
        n_missing=int((weights < total * (1 - 1e-12)).sum()),
        low=extremes[0],
        high=extremes[1],
    )


def _all(rows):
    return slice(0, rows) if isinstance(rows, Integral) else rows
