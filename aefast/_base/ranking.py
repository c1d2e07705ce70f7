"""The items of highest score for each user: arguments, slices of users, and the kernel."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from aefast._base import _items, scalars, threads
from aefast._base import arrays as check
from aefast._base.errors import overflow_of_row, shown, table_name
from aefast._base.passes import Pace, slices
from aefast._base.sparse_rows import csr_arrays
from aefast._base.types import Array

OPERATIONS_A_SECOND = 1e10  # speed from which the size of the first slice is estimated
SCORES_AT_ONCE = 1 << 22  # largest number of scores that are stored together


def as_number_of_items(n: Any, n_items: int, name: str = "n") -> int:
    """Return a number of items to recommend, from 1 to the number of items."""
    n = scalars.as_integer(n, name)
    if not 1 <= n <= n_items:
        raise ValueError(f"{name} must be in [1, {n_items}], the number of items, got {n}")
    return n


def as_items(value: Any, n_items: int, name: str, *, or_none: bool = False) -> NDArray[np.int64]:
    """Return item numbers (of any shape) in [0, n_items) as int64; with `or_none`, -1 too."""
    try:
        items = np.asarray(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name} must be numbers of items: {error}") from None
    if items.size == 0:
        return np.empty(items.shape, np.int64)
    if items.dtype.kind not in "iu":
        raise TypeError(f"{name} must be integers, numbers of items, got {shown(value)}")
    bad = items[(items < (-1 if or_none else 0)) | (items >= n_items)]
    if bad.size:
        raise ValueError(f"{name} must be in [0, {n_items}), the items, got {int(bad.flat[0])}")
    return items.astype(np.int64)


def as_allowed(filter_items: Any, n_items: int) -> NDArray[np.bool_] | None:
    """Return which items may be recommended (n_items,), or None for all.

    `filter_items` has the numbers of items that may not, or True for each of them.
    """
    if filter_items is None:
        return None
    try:
        given = np.asarray(filter_items)
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"filter_items must be numbers of items, or a mask: {error}") from None
    if given.dtype == np.bool_:
        if given.shape != (n_items,):
            raise ValueError(
                f"filter_items must have shape ({n_items},) as a mask, got {given.shape}"
            )
        return ~given
    allowed = np.ones(n_items, np.bool_)
    allowed[as_items(filter_items, n_items, "filter_items")] = False
    return allowed


def user_table(estimator: Any, X: Any, name: str, *, dtype: Any = None) -> Any:
    """Return users' rows as finite CSR of a real type, by default that of the rows."""
    name = table_name(X, estimator, name=name)
    table = check.estimator_table(estimator, X, reset=False, name=name)
    if not sparse.issparse(table):
        table = check.as_csr(sparse.csr_array(table), name)
    return table if dtype is None else table.astype(dtype, copy=False)


def best_items(
    rows: Any,
    n: int,
    *,
    B: Any = None,
    scores_of: Callable[[Any], Array] | None = None,
    exclude_seen: bool = True,
    allowed: Array | None = None,
    n_threads: int | None = None,
    name: str = "X",
) -> tuple[NDArray[np.int64], Array]:
    """Return items and scores (n_rows, n) in the order of falling scores.

    Parameters
    ----------
    rows : CSR (n_rows, d) of a real type
    n : int
    B : ndarray or CSR (d, d) in the type of the rows
        Scores are ``rows @ B``.
    scores_of : callable, instead of B
        Function of a slice of the rows that returns their scores (m, d) in the type of the rows.
    exclude_seen : bool
        Whether to leave out the items that a row stores with a value other than 0.
    allowed : ndarray of bool (d,) or None
    n_threads : int or None
    name : str or TableName

    Returns
    -------
    items : ndarray (n_rows, n) of int64
        −1 where there are no more.
    scores : ndarray (n_rows, n)
        −inf where there are no more.
    """
    n_rows, d = rows.shape
    if (rows.data == 0).any():  # not seen
        rows = rows.copy()
        rows.eliminate_zeros()
    begin, columns, values = csr_arrays(rows)
    best = np.empty((n_rows, n), values.dtype)
    items = np.empty((n_rows, n), np.int64)
    options: dict[str, Any] = {}
    if sparse.issparse(B):
        options["B_begin"], options["B_columns"], B = csr_arrays(B)
        cost = d + 2.0 * rows.nnz / n_rows * len(B) / d
    else:
        cost = 2.0 * d * (1 + rows.nnz / n_rows)
    team = threads.effective_n_threads(n_threads, cost * n_rows)
    most = None if scores_of is None else max(1, SCORES_AT_ONCE // d)
    for part in slices(n_rows, Pace.expecting(1, cost / OPERATIONS_A_SECOND, most)):
        if scores_of is not None:
            options["scores"] = scores_of(rows[part])
        status = _items.ranking(
            begin[part.start : part.stop + 1],
            columns,
            values,
            B,
            allowed,
            exclude_seen,
            best[part],
            items[part],
            team,
            **options,
        )
        if status & _items.NOT_FINITE:
            Z = options["scores"] if scores_of is not None else rows[part] @ _plain(B, options, d)
            Z = np.asarray(Z.toarray() if sparse.issparse(Z) else Z)
            raise overflow_of_row("a score", Z, Z.dtype, rows[part], name, part.start)
    return items, best


def _plain(B: Any, options: dict[str, Any], d: int) -> Any:
    """Return B as SciPy multiplies it."""
    if "B_begin" not in options:
        return B
    return sparse.csr_array((B, options["B_columns"], options["B_begin"]), shape=(d, d))
