"""Pass of a kernel over rows before they are used, which checks entries and sums columns."""

from collections.abc import Callable, Sequence
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np

from aefast._base import _rows, _runtime, threads
from aefast._base.arrays import ANYWHERE
from aefast._base.errors import bad_row_error
from aefast._base.missing import is_incomplete
from aefast._base.passes import Pace
from aefast._base.sparse_rows import SparseRows
from aefast._base.sparse_scan import SparseSums
from aefast._base.types import Array
from aefast._base.visits import Visit, order_of

# Entries of a slice, between two checks for Ctrl-C; a window of a stream has whole slices.
ENTRIES_PER_SCAN = 1 << 19


class Scan(NamedTuple):
    """Statistics of columns from one pass over rows."""

    means: Array  # (d,), weighted means of the observed entries; 0 where there is none
    n_missing: int  # number of columns with a missing entry, or whose rows have no weight
    low: Array | None  # (d,), least entries
    high: Array | None  # (d,), greatest entries


class ColumnSums(NamedTuple):
    """Sums over columns of some rows; those of parts of a table can be added."""

    n_rows: int
    total: float  # weight of all rows
    sums: Array  # (d,), of the observed entries times their weights
    weights: Array  # (d,), of the observed entries
    low: Array | None  # (d,), least entries
    high: Array | None  # (d,), greatest entries

    def __add__(self, other: Any) -> "ColumnSums":
        return ColumnSums(
            self.n_rows + other.n_rows,
            self.total + other.total,
            self.sums + other.sums,
            self.weights + other.weights,
            None if self.low is None else np.minimum(self.low, other.low),
            None if self.high is None else np.maximum(self.high, other.high),
        )

    def scan(self) -> Scan:
        """Return the statistics that the sums give."""
        sums, weights = self.sums, self.weights
        with _runtime.IeeeArithmetic():  # initial biases follow from the means
            means = np.divide(sums, weights, out=np.zeros(len(sums)), where=weights > 0)
        n_missing = int((weights < self.total * (1 - 1e-12)).sum())
        return Scan(means=means, n_missing=n_missing, low=self.low, high=self.high)


def scan_rows(
    X: Array,
    rows: int | Array,
    dtype: Any,
    n_threads: int | None,
    *,
    name: str = "X",
    domain: Any = ANYWHERE,
    output: Sequence[Any] | None = None,
    missing: bool = False,
    none_if_missing: bool = False,
    sample_weight: Any = None,
    with_extremes: bool = False,
    check_slice: Callable[[Visit], object] | None = None,
) -> Scan | None:
    """Check that entries are finite and in a domain, and compute means of columns.

    Parameters
    ----------
    X : ndarray, SparseRows or StreamedRows (n, d)
    rows : int, ndarray of int64 or AllBut
        Number of rows from row 0 on, or sorted row numbers.
    dtype : dtype
        Real type of the computation that will read the entries.
    n_threads : int or None
    name : str or TableName
        Name of X in errors.
    domain : (low, high)
        Numbers or arrays (d,).
    output : sequence or None
        The distributions of columns, as for `errors.bad_row_error`.
    missing : bool
        Whether NaN is allowed.
    none_if_missing : bool
        Return None where an entry is NaN.
    sample_weight : ndarray (n,) or None
        Weights of the rows of X.
    with_extremes : bool
        Find the least and the greatest entry of each column too.
    check_slice : callable or None
        Function called with the `Visit` of each slice that passed the checks.

    Returns
    -------
    Scan or None

    Raises
    ------
    ValueError
        For the first entry that fails.
    """
    if isinstance(X, SparseRows):
        order = order_of(X, rows)
        return _scan_sparse(X, order, dtype, name, domain, output, sample_weight, check_slice)
    sums = sums_of_columns(
        X,
        rows,
        dtype,
        n_threads,
        name=name,
        domain=domain,
        output=output,
        missing=missing,
        none_if_missing=none_if_missing,
        sample_weight=sample_weight,
        with_extremes=with_extremes,
        check_slice=check_slice,
    )
    return None if sums is None else sums.scan()


def sums_of_columns(
    X: Any,
    rows: Any,
    dtype: Any,
    n_threads: int | None,
    *,
    name: str,
    domain: Any,
    output: Sequence[Any] | None,
    missing: bool,
    none_if_missing: bool = False,
    sample_weight: Any = None,
    with_extremes: bool = False,
    check_slice: Callable[[Visit], object] | None = None,
) -> ColumnSums | None:
    """Check dense rows or a stream as `scan_rows` does, and return sums of their columns."""
    d = X.shape[1]
    unit = max(1, ENTRIES_PER_SCAN // d)
    order = order_of(X, rows, unit=unit)
    sums, weights = np.zeros(d), np.zeros(d)
    extremes = (np.full(d, np.inf), np.full(d, -np.inf)) if with_extremes else (None, None)
    n_threads = threads.effective_n_threads(n_threads, order.n_rows * d)
    pace = Pace.fixed(unit)
    options: dict[str, Any] = {"missing": missing}
    options |= dict(zip(("low", "high"), extremes, strict=True))
    for visit in order.visits(pace):
        table, places, numbers = visit
        weight = sample_weight
        if weight is not None and table is not X:
            weight = np.zeros(len(table))
            weight[places] = sample_weight[numbers]
        status = _rows.scan(
            *(table, places, domain, np.empty(0, dtype), n_threads, sums, weights),
            sample_weight=weight,
            **options,
        )
        if status & _rows.BAD_ROWS:
            if none_if_missing and is_incomplete(table, name):
                return None
            told: dict[str, Any] = {"output": output, "missing": missing}
            if table is not X:
                table, told["numbers"] = table[places], numbers
            raise bad_row_error(table, name, domain, dtype, **told)
        if check_slice is not None:
            check_slice(visit)
    total = order.n_rows if sample_weight is None else sample_weight[_all(rows)].sum()
    return ColumnSums(order.n_rows, float(total), sums, weights, *extremes)


def _scan_sparse(
    X: SparseRows,
    order: Any,
    dtype: Any,
    name: str,
    domain: Any,
    output: Sequence[Any] | None,
    sample_weight: Array | None,
    check_slice: Callable[[Visit], object] | None,
) -> Scan:
    """Scan rows in CSR form; extremes are always found."""
    sums = SparseSums(X.shape[1], X.absent_missing)
    pace = Pace.fixed(max(1, ENTRIES_PER_SCAN // max(16 * X.nnz // len(X), 1)))
    for visit in order.visits(pace):
        part = visit.places
        weight = None if sample_weight is None else sample_weight[part]
        bad = sums.add(X[part], weight, domain, dtype)
        if bad is not None:
            rows = X[part[bad : bad + 1]]
            raise bad_row_error(
                rows,
                name,
                domain,
                dtype,
                output=output,
                missing=X.absent_missing,
                first_row=int(part[bad]),
            )
        if check_slice is not None:
            check_slice(visit)
    return Scan(sums.means(), sums.n_missing, *sums.extremes)


def _all(rows: Any) -> Any:
    """Return an index of the visited rows."""
    if isinstance(rows, Integral):
        return slice(0, rows)
    return rows if isinstance(rows, np.ndarray) else rows[np.arange(len(rows))]
