"""Collections of Dask as tasks, one of each partition, whose results are `Part`s."""

from typing import Any

import dask
import numpy as np
from dask.base import is_dask_collection
from dask.delayed import Delayed, delayed
from scipy import sparse

from aefast.interop.distributed.parts import as_part


def is_array(X: Any) -> bool:
    """Return whether X is a dask array."""
    return is_dask_collection(X) and hasattr(X, "chunks") and hasattr(X, "ndim")


def is_frame(X: Any) -> bool:
    """Return whether X is a dask dataframe or series."""
    return is_dask_collection(X) and hasattr(X, "npartitions") and hasattr(X, "map_partitions")


def is_item(value: Any) -> bool:
    """Return whether a value may stand in a list of partitions."""
    if isinstance(value, (Delayed, np.ndarray)) or is_future(value):
        return True
    return sparse.issparse(value) or (hasattr(value, "columns") and not is_dask_collection(value))


def is_future(value: Any) -> bool:
    """Return whether a value is a Future of `distributed`, which need not be loaded."""
    return type(value).__name__ == "Future" and hasattr(value, "client")


def rows_in_one_chunk(X: Any) -> Any:
    """Return a dask array (n, d) whose chunks have all columns."""
    if X.ndim != 2:
        raise ValueError(
            f"X must be a table of two dimensions (rows, columns), got a dask array of shape "
            f"{X.shape}"
        )
    return X if len(X.chunks[1]) == 1 else X.rechunk({1: -1})


def partitions_of(X: Any, y: Any = None, sample_weight: Any = None) -> list[Any]:
    """Return the partitions of X as tasks whose results are `Part`s.

    Parameters
    ----------
    X : dask array, dask dataframe, or list of Delayed, Future, arrays, frames or CSR matrices
    y, sample_weight : None, array-like (n,), or a collection with the partitions of X
        An array in memory is cut where partitions end.
    """
    blocks = blocks_of(X, "X")
    if not blocks:
        raise ValueError("X has no partitions: expected at least one")
    sizes = _Sizes(X, blocks)
    ys = _beside(y, "y", X, sizes)
    weights = _beside(sample_weight, "sample_weight", X, sizes)
    make = delayed(as_part, pure=False)
    return [make(block, ys[number], weights[number], number) for number, block in enumerate(blocks)]


def blocks_of(X: Any, name: str) -> list[Any]:
    """Return the blocks of rows of a collection as tasks (`Delayed`, `Future`) or tables."""
    if is_array(X):
        if name == "X":
            X = rows_in_one_chunk(X)
        return list(X.to_delayed().ravel())
    if is_frame(X):
        if name == "X":
            _refuse_text(X)
        return list(X.to_delayed())
    if isinstance(X, (list, tuple)) and len(X) and all(map(is_item, X)):
        return list(X)
    if isinstance(X, Delayed):
        return [X]
    if is_dask_collection(X):
        raise TypeError(
            f"{name} is a {type(X).__module__}.{type(X).__name__}, whose partitions are no tables: "
            "make arrays or frames of them first"
        )
    raise TypeError(
        f"{name} must be a dask array, a dask dataframe, or a list of Delayed objects, futures or "
        f"tables, each a partition of rows, got {type(X).__name__}: the estimator's own methods "
        "take tables in memory"
    )


def _refuse_text(X: Any) -> None:
    for name, dtype in getattr(X, "dtypes", {}).items():
        if getattr(dtype, "kind", "f") in "SU" or str(dtype) in ("str", "string", "category"):
            raise TypeError(
                f"column {name!r} of X is of dtype {dtype}, expected numbers: encode it first"
            )


class _Sizes:
    """Number of rows of each block, computed where they are not known and are needed."""

    def __init__(self, X: Any, blocks: list[Any]) -> None:
        self.X, self.blocks = X, blocks

    def __call__(self) -> list[int]:
        if is_array(self.X) and not np.isnan(self.X.chunks[0]).any():
            return [int(n) for n in self.X.chunks[0]]
        count = delayed(_n_rows, pure=False)
        return list(dask.compute(*(count(block) for block in self.blocks)))


def _n_rows(block: Any) -> int:
    return int(block.shape[0])


def _beside(values: Any, name: str, X: Any, sizes: _Sizes) -> list[Any]:
    """Return the blocks of y or sample_weight that belong to those of X."""
    n_blocks = len(sizes.blocks)
    if values is None:
        return [None] * n_blocks
    if not (is_dask_collection(values) or _is_list_of_tasks(values)):
        return _cut(np.asarray(values), name, sizes())
    if is_array(values) and is_array(X) and not np.isnan(values.chunks[0]).any():
        rows = X.chunks[0]
        if not np.isnan(rows).any():
            if sum(rows) != values.shape[0]:
                raise ValueError(
                    f"{name} must have an entry for each of the {sum(rows)} rows of X, got shape "
                    f"{values.shape}"
                )
            values = values.rechunk({0: rows})
    blocks = blocks_of(values, name)
    if len(blocks) != n_blocks:
        raise ValueError(f"{name} must have the {n_blocks} partitions of X, got {len(blocks)}")
    return blocks


def _is_list_of_tasks(values: Any) -> bool:
    is_list = isinstance(values, (list, tuple)) and len(values) > 0
    return is_list and all(map(is_item, values))


def _cut(values: np.ndarray, name: str, sizes: list[int]) -> list[Any]:
    if values.shape[:1] != (sum(sizes),):
        raise ValueError(
            f"{name} must have an entry for each of the {sum(sizes)} rows of X, got shape "
            f"{values.shape}"
        )
    return np.split(values, np.cumsum(sizes)[:-1])
