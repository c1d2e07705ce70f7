"""Results of fitted estimators for collections of Dask, computed lazily, block by block."""

import copy
from typing import Any
from uuid import uuid4

import numpy as np
from dask.delayed import delayed
from scipy import sparse
from sklearn.utils.validation import check_is_fitted

from aefast.interop.distributed.collections import (
    blocks_of,
    is_array,
    is_frame,
    rows_in_one_chunk,
)
from aefast.interop.distributed.parts import naming


def mapped(estimator: Any, method: str, X: Any) -> Any:
    """Return the results of a method for the rows of a collection, as a collection like it.

    Parameters
    ----------
    estimator : fitted estimator
    method : str
        A method whose result for a row does not depend on other rows.
    X : dask array, dask dataframe, or list of Delayed or Future
    """
    check_is_fitted(estimator)
    if not hasattr(estimator, method):
        raise TypeError(f"{type(estimator).__name__} has no method {method!r}")
    held = _held(estimator)
    if is_array(X):
        return _of_array(estimator, held, method, rows_in_one_chunk(X))
    if is_frame(X):
        return _of_frame(estimator, held, method, X)
    call = delayed(_of_item, pure=False)
    return [call(block, held, method, number) for number, block in enumerate(blocks_of(X, "X"))]


def _held(estimator: Any) -> Any:
    """Return a task with a copy of the estimator, which later fits do not change.

    Blocks are computed side by side, each by one thread unless the estimator says otherwise.
    """
    own = copy.deepcopy(estimator)
    if getattr(own, "n_threads", 1) is None:
        own.n_threads = 1
    name = f"aefast-{type(own).__name__}-{uuid4().hex}"
    return delayed(own, name=name, pure=False, traverse=False)


# ---- arrays ----


def _of_array(estimator: Any, held: Any, method: str, X: Any) -> Any:
    if np.isnan(X.shape[1]):
        raise ValueError("X must have a known number of columns: use X.compute_chunk_sizes()")
    try:
        probe = getattr(estimator, method)(np.ones((1, X.shape[1]), X.dtype))
    except (ValueError, TypeError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"X of shape {X.shape} and dtype {X.dtype}: {error}") from error
    options: dict[str, Any] = {"dtype": probe.dtype, "meta": probe[:0]}
    if probe.ndim == 1:
        options |= {"drop_axis": 1, "chunks": (X.chunks[0],)}
    else:
        options["chunks"] = (X.chunks[0], (probe.shape[1],))
    return X.map_blocks(_of_block, held, method, probe[:0], **options)


def _of_block(block: Any, estimator: Any, method: str, empty: Any, block_id: Any = None) -> Any:
    if block.shape[0] == 0:
        return empty
    with naming(0 if block_id is None else block_id[0]):
        return getattr(estimator, method)(block)


# ---- frames ----


def _of_frame(estimator: Any, held: Any, method: str, X: Any) -> Any:
    names = _names_of_results(estimator, method, X)
    meta = _framed(getattr(estimator, method)(X._meta_nonempty), X._meta_nonempty.index, names)
    arguments = held, method, names, meta.iloc[:0]
    return X.map_partitions(_of_partition, *arguments, meta=meta.iloc[:0])


def _of_partition(frame: Any, estimator: Any, method: str, names: Any, empty: Any) -> Any:
    if len(frame) == 0:
        return empty.set_axis(frame.index)
    first, last = frame.index[0], frame.index[-1]
    try:
        result = getattr(estimator, method)(frame)
    except Exception as error:
        error.add_note(f"in the partition of rows {first!r} to {last!r}")
        raise
    return _framed(result, frame.index, names)


def _framed(result: Any, index: Any, names: Any) -> Any:
    """Return a result of pandas, with this index."""
    import pandas

    if hasattr(result, "columns"):
        return result if result.index.equals(index) else result.set_axis(index)
    if sparse.issparse(result):
        return pandas.DataFrame.sparse.from_spmatrix(result, index, names)
    if result.ndim == 1:
        return pandas.Series(result, index)
    return pandas.DataFrame(result, index, names)


def _names_of_results(estimator: Any, method: str, X: Any) -> list[Any] | None:
    """Return the names of the columns of a method's results, or None where there are none."""
    if method == "transform" and hasattr(estimator, "get_feature_names_out"):
        return list(estimator.get_feature_names_out())
    if method == "reconstruct":
        return list(X.columns)
    if method == "inverse_transform" and hasattr(estimator, "feature_names_in_"):
        return list(estimator.feature_names_in_)
    return None


# ---- lists ----


def _of_item(block: Any, estimator: Any, method: str, number: int) -> Any:
    with naming(number):
        return getattr(estimator, method)(block)
