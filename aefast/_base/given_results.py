"""Results of methods in the caller's memory: an array, or a memory map larger than memory."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.utils import _safe_indexing
from sklearn.utils.metadata_routing import UNUSED

from aefast._base.arrays import as_array, as_out

# Rows whose results are computed together: a multiple of the blocks of all kernels, whose results
# do not depend on where they are cut then.
PART_ROWS = 96 * 128


class GivenResults:
    """Base of estimators whose `transform` has a parameter `out`, which is no metadata of rows."""

    __metadata_request__transform = {"out": UNUSED}


def into(out: Any, X: Any, compute: Callable[[Any], Any], name: str = "X") -> Any:
    """Return compute(X), or write it to `out`, some rows of X at a time, and return `out`.

    Beyond `out`, which may be a memory map, memory for the results of PART_ROWS rows is needed.

    Raises
    ------
    TypeError, ValueError
        Where `out` is not an array of the result's shape and type, before anything is written.
    """
    if out is None:
        return compute(X)
    X = X if hasattr(X, "shape") else as_array(X, name)
    n, given = X.shape[0], None
    for first in range(0, max(n, 1), PART_ROWS):
        part = slice(first, min(first + PART_ROWS, n))
        try:
            result = compute(X if n <= PART_ROWS else _rows_of(X, part))
        except (ValueError, FloatingPointError) as error:
            if first == 0:
                raise
            raise type(error)(f"{error} (rows are counted from row {first} of {name})") from None
        if given is None:
            inputs: dict[str, Any] = {name: X} if isinstance(X, np.ndarray) else {}
            given = as_out(out, (n, *result.shape[1:]), result.dtype, **inputs)
        given[part] = result
    return out


def _rows_of(X: Any, part: slice) -> Any:
    return X[part] if hasattr(X, "dtype") else _safe_indexing(X, part)  # frames have no one type
