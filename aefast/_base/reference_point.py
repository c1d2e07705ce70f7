"""Reference points of sums over rows, which keep large means from costing digits of the spread."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from aefast._base.passes import MappedRows, copied_rows
from aefast._base.sparse_rows import as_dense
from aefast._base.streams import StreamedRows
from aefast._base.types import Array

SAMPLE_ROWS = 256  # number of rows whose mean becomes the reference point
# Number of adjacent rows in the sample: each run costs a read of the disk, or of a whole block of
# a stream.
SAMPLE_RUN = 64
# Squared distance of the mean from the reference point, in variances, beyond which the reference
# point moves to the mean.
FAR = 16.0


def moved(weight: float, sums: Array, scatter: Array, delta: Array) -> tuple[Array, Array]:
    """Return sums and scatter about r + delta from those about r; the scatter is a new array.

    ``S' = S − u δᵀ − δ uᵀ`` with ``u = s − W δ / 2`` is exactly symmetric, because the two products
    are added first. The caller checks the results for overflow.
    """
    if not delta.any():
        return sums, scatter.copy()
    with np.errstate(over="ignore", invalid="ignore"):
        cross = np.outer(sums - (0.5 * weight) * delta, delta)
        return sums - weight * delta, scatter - (cross + cross.T)


def sample_mean(X: Any, weight: Array | None, dtype: DTypeLike) -> tuple[Array, Array]:
    """Return the mean of some rows of positive weight, taken from all parts of X, and these rows.

    The mean is rounded to `dtype`, the real type of computations with X.
    """
    n = X.shape[0]
    if n <= SAMPLE_ROWS or weight is not None:
        places = np.arange(n) if weight is None else np.flatnonzero(weight)
        places = places[:: -(-len(places) // SAMPLE_ROWS)]
    else:
        runs = np.linspace(0, n - SAMPLE_RUN, SAMPLE_ROWS // SAMPLE_RUN).astype(np.int64)
        places = (runs[:, None] + np.arange(SAMPLE_RUN)).ravel()
    mapped = MappedRows.under(X)
    if mapped is not None:
        mapped.will_need((int(place), int(place) + 1) for place in places)
    rows = copied_rows(X, places) if isinstance(X, StreamedRows) else as_dense(X[places])
    with np.errstate(all="ignore"):
        mean = rows.mean(axis=0, dtype=np.float64).astype(dtype)
    mean[~np.isfinite(mean)] = 0
    return mean, rows
