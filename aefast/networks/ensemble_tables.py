"""The rows and columns that each member of an ensemble reads."""

from typing import Any

import numpy as np

from aefast._base import arrays as check
from aefast._base.errors import shortened
from aefast._base.random import MEMBERS, random_stream
from aefast.networks.training.many import Rows

MOST_SAMPLES = 4096  # rows of a member by max_samples="auto"


def tables_in_one(X: Any, groups: Any) -> tuple[Any, Any]:
    """Return X and groups, or for a list of tables their rows in one and the table of each row."""
    if not isinstance(X, (list, tuple)) or not X:
        return X, groups
    if not all(len(getattr(table, "shape", ())) == 2 for table in X):
        return X, groups  # a list of rows
    if groups is not None:
        raise ValueError("groups must be None where X is a list of tables, each of them a group")
    rows = [check.as_rows(table, f"X[{i}]") for i, table in enumerate(X)]
    widths = {table.shape[1] for table in rows}
    if len(widths) > 1:
        raise ValueError(f"the tables of X must have equal columns, got {sorted(widths)} columns")
    all_names: list[Any] = [check.feature_names(table) for table in X]
    first = all_names[0]
    for i, names in enumerate(all_names):
        if (names is None) != (first is None) or (names is not None and list(names) != list(first)):
            raise ValueError(f"the tables of X must have equal columns: X[{i}] differs from X[0]")
    empty = [i for i, table in enumerate(rows) if not len(table)]
    if empty:
        raise ValueError(f"every table of X needs at least one row, X[{empty[0]}] has none")
    stacked: Any = np.concatenate(rows)
    if first is not None:
        import pandas as pd

        stacked = pd.DataFrame(stacked, columns=first)
    return stacked, np.repeat(np.arange(len(rows)), [len(table) for table in rows])


def as_groups(groups: Any, n_samples: int) -> np.ndarray:
    """Return labels (n,) of rows, int64 or str."""
    try:
        labels = np.asarray(groups)
    except (TypeError, ValueError, OverflowError) as error:
        message = f"groups must have one label for each of the {n_samples} rows: {error}"
        raise ValueError(shortened(message)) from None
    if labels.dtype.kind == "O":
        kinds = {type(label) for label in labels.ravel()}
        if kinds and all(issubclass(kind, str) for kind in kinds):
            labels = labels.astype(str)
    if labels.ndim != 1 or len(labels) != n_samples:
        raise ValueError(
            f"groups must have one label for each of the {n_samples} rows, got shape {labels.shape}"
        )
    if labels.dtype.kind not in "iuUb":
        raise TypeError(f"groups must be integers or strings, got {labels.dtype}")
    return labels if labels.dtype.kind == "U" else labels.astype(np.int64)


def rows_of_groups(labels: np.ndarray) -> tuple[np.ndarray, Rows]:
    """Return the sorted labels of the groups, and the rows of each, in their order."""
    groups, number = np.unique(labels, return_inverse=True)
    order = np.argsort(number, kind="stable").astype(np.int64)
    begins = np.concatenate([[0], np.cumsum(np.bincount(number))]).astype(np.int64)
    return groups, Rows(begins, order, None)


def _size(given: Any, total: int, auto: int) -> int:
    if isinstance(given, str):
        return auto
    size = int(given * total) if isinstance(given, float) else int(given)
    return min(total, max(1, size))


def drawn_rows(seed: int, b: int, n: int, size: int, bootstrap: bool) -> np.ndarray:
    """Return the sorted rows of member b: `size` of n, with or without replacement."""
    random = random_stream(seed, MEMBERS, b + 1)
    if bootstrap:
        return np.sort(random.integers(n, size=size))
    if size == n:
        return np.arange(n)
    return np.sort(random.choice(n, size, replace=False, shuffle=False))


def sampled_rows(ensemble: Any, shape: tuple[int, int], output: Any, seed: int) -> Any:
    """Return the `Rows` of the members of one table, and what they were drawn with.

    Columns are drawn for one member after another, those first that are in the fewest members.
    """
    n, d = shape
    B, bootstrap = int(ensemble.n_estimators), bool(ensemble.bootstrap)
    size = _size(ensemble.max_samples, n, min(n, MOST_SAMPLES))
    is_whole = len(output) > 1 or output[0].is_group or output[0].custom is not None
    width = _size(ensemble.max_features, d, d if is_whole else -(-d // 2))
    if is_whole and width < d:
        raise ValueError(
            "max_features must be 'auto' or all columns where output has several distributions or "
            f"groups of columns, got max_features={ensemble.max_features!r}"
        )
    columns = None
    if width < d:
        random, n_used = random_stream(seed, MEMBERS), np.zeros(d)
        columns = np.empty((B, width), np.int64)
        for chosen in columns:
            chosen[:] = np.sort(np.argsort(n_used + random.random(d))[:width])
            n_used[chosen] += 1
    numbers = None
    if size < n or bootstrap:
        numbers = np.concatenate([drawn_rows(seed, b, n, size, bootstrap) for b in range(B)])
    begins = np.arange(B + 1, dtype=np.int64) * size
    return Rows(begins, numbers, columns), (seed, n, size, bootstrap)
