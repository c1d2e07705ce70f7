"""Descriptions of parameters and rows by which a checkpoint recognises its fit."""

import hashlib
from numbers import Integral, Real
from typing import Any

import numpy as np

from aefast._base.passes import MappedRows
from aefast._base.types import Array

HASHED_BYTES = 1 << 24  # of a table; of longer ones evenly spread blocks of rows are hashed
BLOCKS = 64  # number of these blocks
# Parameters that do not change what a fit computes.
NOT_COMPARED = (
    *("checkpoint", "checkpoint_every", "resume"),
    *("callbacks", "verbose", "n_threads", "warm_start"),
)


def described(value: Any) -> Any:
    """Return a parameter as JSON: equal for equal values, in any process."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value) if np.isfinite(float(value)) else str(value)
    if isinstance(value, (list, tuple)):
        return [described(item) for item in value]
    if isinstance(value, dict):
        return {str(key): described(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return fingerprint(value)
    if isinstance(value, slice):
        return f"{value}"
    kind = type(value)
    attributes = described(dict(sorted(getattr(value, "__dict__", {}).items())))
    return {"type": f"{kind.__module__}.{kind.__qualname__}", "attributes": attributes}


def parameters_of(estimator: Any) -> dict[str, Any]:
    """Return the description of the parameters that a fit follows from.

    Those of an estimator among them have names such as "estimator__alpha".
    """
    found: dict[str, Any] = {}
    for name, value in estimator.get_params(deep=False).items():
        if hasattr(value, "get_params"):
            inner = parameters_of(value).items()
            found |= {name: type(value).__name__} | {f"{name}__{own}": of for own, of in inner}
        elif name not in NOT_COMPARED:
            found[name] = described(value)
    return found


def fingerprint(table: Any) -> dict[str, Any]:
    """Return the shape, type and hash of an array, a CSR matrix or `SparseRows`.

    Tables of other kinds, streams and rows in partitions, have a method `fingerprint`. Where a
    table has more than HASHED_BYTES, as many are hashed, in BLOCKS evenly spread blocks of rows.
    """
    if hasattr(table, "fingerprint"):
        return table.fingerprint()
    found = {"shape": list(table.shape), "dtype": str(table.dtype)}
    parts = [table]
    if not isinstance(table, np.ndarray):
        is_csr = hasattr(table, "indptr")
        names = ("indptr", "indices", "data") if is_csr else ("row_begin", "indices", "values")
        parts = [getattr(table, name) for name in names]
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        _hash(part, digest)
    return found | {"contents": digest.hexdigest()}


def _hash(array: Array, digest: Any) -> None:
    """Update a hash with the rows of an array, which may be strided or mapped."""
    if array.dtype == object:
        digest.update(repr(array.tolist()).encode())
        return
    n = len(array) if array.ndim else 1
    if array.nbytes <= HASHED_BYTES or n <= BLOCKS:
        digest.update(np.ascontiguousarray(array))
        return
    length = max(1, n * HASHED_BYTES // array.nbytes // BLOCKS)
    mapped = MappedRows.under(array) if array.ndim == 2 else None
    for first in np.linspace(0, n - length, BLOCKS).astype(np.int64).tolist():
        digest.update(np.ascontiguousarray(array[first : first + length]))
        if mapped is not None:
            mapped.done_with([(first, first + length)])
