"""Measures of recommendations: recall, normalised discounted cumulative gain, coverage.

The items that users chose, and that a model did not see, are rows of a sparse matrix. What was
recommended is either an array of items, as `aefast.ItemAutoencoder.recommend` returns it, or a
matrix of scores.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from aefast._base import arrays as check
from aefast._base import ranking, scalars
from aefast._base.errors import shown
from aefast._base.types import Array, Table

__all__ = ["coverage_at_k", "ndcg_at_k", "recall_at_k"]


def __dir__() -> list[str]:
    return __all__


def recall_at_k(
    chosen: Table,
    recommended: Table,
    k: int,
    *,
    sample_weight: ArrayLike | None = None,
    per_user: bool = False,
) -> Any:
    """Return the share of users' chosen items that are among the first k recommended.

    ``hits / min(k, number of chosen items)`` of each user, so that 1 can be reached; the mean of
    users who chose something (Liang et al. 2018).

    Parameters
    ----------
    chosen : array-like or CSR matrix (n_users, n_items)
        Entries other than 0 are items that a user chose.
    recommended : array-like of int (n_users, m), or matrix of scores (n_users, n_items)
        Items in the order of their rank, −1 for none; m ≥ k. Numbers of a float type, and sparse
        matrices, are scores: items of equal score are ranked by number, and of a sparse matrix
        only stored items are recommended.
    k : int
        Number of items that count, from 1.
    sample_weight : array-like (n_users,), optional
        Weights of users in the mean.
    per_user : bool, default=False
        Return the values of all users instead of their mean, NaN for users who chose nothing.

    Returns
    -------
    recall : float or ndarray (n_users,)
        From 0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from aefast.metrics import recall_at_k
    >>> recall_at_k(np.array([[0, 1, 1, 0], [1, 0, 0, 0]]), np.array([[1, 0], [2, 3]]), 2)
    0.25
    """
    hits, n_chosen, k = _hits(chosen, recommended, k)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = hits.sum(axis=1) / np.minimum(k, n_chosen)
    return _mean(values, n_chosen, sample_weight, per_user)


def ndcg_at_k(
    chosen: Table,
    recommended: Table,
    k: int,
    *,
    sample_weight: ArrayLike | None = None,
    per_user: bool = False,
) -> Any:
    """Return the normalised discounted cumulative gain of the first k recommended items.

    ``Σ 1 / log₂(place + 1)`` over the places, from 1, of a user's chosen items, divided by the
    largest such sum that k places allow; the mean of users who chose something. Gains are binary.

    Parameters
    ----------
    chosen, recommended, k, sample_weight, per_user
        As for `recall_at_k`.

    Returns
    -------
    ndcg : float or ndarray (n_users,)
        From 0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from aefast.metrics import ndcg_at_k
    >>> round(ndcg_at_k(np.array([[0, 1, 0, 0]]), np.array([[3, 1]]), 2), 4)
    0.6309
    """
    hits, n_chosen, k = _hits(chosen, recommended, k)
    discounts = 1 / np.log2(np.arange(2, k + 2))
    best = np.concatenate([[0], np.cumsum(discounts)])[np.minimum(k, n_chosen)]
    with np.errstate(invalid="ignore", divide="ignore"):
        values = (hits * discounts).sum(axis=1) / best
    return _mean(values, n_chosen, sample_weight, per_user)


def coverage_at_k(recommended: Table, n_items: int, k: int) -> float:
    """Return the share of all items that are among the first k recommended of any user.

    Parameters
    ----------
    recommended : array-like of int (n_users, m), or matrix of scores (n_users, n_items)
        As for `recall_at_k`.
    n_items : int
        Number of items that there are.
    k : int
        Number of items that count, from 1.

    Returns
    -------
    coverage : float
        From 0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from aefast.metrics import coverage_at_k
    >>> coverage_at_k(np.array([[0, 1], [1, 2]]), 4, 1)
    0.5
    """
    n_items = scalars.as_integer(n_items, "n_items")
    scalars.check_sizes(n_items=n_items)
    items = _ranked(recommended, n_items, _as_k(k))
    return len(np.unique(items[items >= 0])) / n_items


def _as_k(k: Any) -> int:
    k = scalars.as_integer(k, "k")
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    return k


def _hits(chosen: Table, recommended: Table, k: Any) -> tuple[NDArray[np.bool_], Array, int]:
    """Return which of the first k items each user chose (n, k), and how many items each chose."""
    k = _as_k(k)
    table = check.as_table(chosen, "chosen")
    if not sparse.issparse(table):
        table = check.as_csr(sparse.csr_array(table), "chosen")
    if (table.data == 0).any():
        table = table.copy()
        table.eliminate_zeros()
    n, d = table.shape
    items = _ranked(recommended, d, k)
    if len(items) != n:
        raise ValueError(f"recommended must have a row for each of the {n} users, got {len(items)}")
    # (user, item) as one number, which is sorted in CSR
    users = np.repeat(np.arange(n), np.diff(table.indptr))
    keys = users * d + table.indices
    wanted = np.arange(n)[:, None] * d + items
    at = np.minimum(np.searchsorted(keys, wanted), max(0, len(keys) - 1))
    hits = (items >= 0) & (keys[at] == wanted) if len(keys) else np.zeros(items.shape, np.bool_)
    return hits, np.diff(table.indptr), k


def _ranked(recommended: Table, n_items: int, k: int) -> NDArray[np.int64]:
    """Return the first k items of each user (n, k), −1 where there are fewer."""
    if not sparse.issparse(recommended):
        given = np.asarray(recommended)
        if given.ndim != 2:
            raise ValueError(f"recommended must have 2 dimensions, got shape {given.shape}")
        if given.dtype.kind in "iu":
            return _as_ranks(given, n_items, k)
        if given.dtype.kind != "f":
            raise TypeError(f"recommended must be items or scores, got {shown(recommended)}")
    scores = check.as_table(recommended, "recommended")
    if scores.shape[1] != n_items:
        raise ValueError(
            f"recommended must have a score for each of the {n_items} items, got {scores.shape[1]}"
        )
    if not sparse.issparse(scores):
        check.check_finite(scores, "recommended")
        none = sparse.csr_array(scores.shape, dtype=scores.dtype)
        items = ranking.best_items(
            none, min(k, n_items), scores_of=_slicer(scores), exclude_seen=False
        )[0]
    else:
        items = _best_stored(scores, k)
    return _padded(items, k)


def _as_ranks(given: Array, n_items: int, k: int) -> NDArray[np.int64]:
    if given.shape[1] < k and n_items > given.shape[1]:
        raise ValueError(f"recommended must have k={k} items for each user, got {given.shape[1]}")
    first = given[:, :k]
    items = ranking.as_items(np.where(first == -1, 0, first), n_items, "recommended")
    items[first == -1] = -1
    ordered = np.sort(items, axis=1)
    twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    if twice.any():
        row = int(np.argwhere(twice)[0][0])
        raise ValueError(f"recommended must have an item once at most in a row, not so row {row}")
    return _padded(items, k)


def _padded(items: Array, k: int) -> NDArray[np.int64]:
    return np.pad(items, ((0, 0), (0, k - items.shape[1])), constant_values=-1)


def _slicer(scores: Array) -> Any:
    """Return a function that gives the next rows of scores, in order."""
    place = 0

    def next_rows(part: Any) -> Array:
        nonlocal place
        place += part.shape[0]
        return np.ascontiguousarray(scores[place - part.shape[0] : place])

    return next_rows


def _best_stored(scores: Any, k: int) -> NDArray[np.int64]:
    """Return the k stored items of highest score of each row of a CSR matrix."""
    n = scores.shape[0]
    users = np.repeat(np.arange(n), np.diff(scores.indptr))
    order = np.lexsort((scores.indices, -scores.data, users))
    place = np.arange(len(order)) - np.repeat(scores.indptr[:-1], np.diff(scores.indptr))
    items = np.full((n, k), -1, np.int64)
    kept = place < k
    items[users[kept], place[kept]] = scores.indices[order][kept]
    return items


def _mean(values: Array, n_chosen: Array, sample_weight: Any, per_user: bool) -> Any:
    if scalars.as_flag(per_user, "per_user"):
        return values
    weight = check.as_row_weights(sample_weight, len(values))
    counted = n_chosen > 0 if weight is None else (n_chosen > 0) & (weight > 0)
    if not counted.any():
        raise ValueError("no user has chosen an item, or their weights are zero: there is no mean")
    weight = None if weight is None else weight[counted]
    return float(np.average(values[counted], weights=weight))
