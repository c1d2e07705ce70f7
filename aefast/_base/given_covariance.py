"""Checks of a covariance or correlation matrix that stands for rows."""

from typing import Any

import numpy as np
from scipy import linalg

from aefast._base import arrays as check
from aefast._base import scalars, threads
from aefast._base.errors import column_label, table_name
from aefast._base.types import Array

ASYMMETRY = 1e-6  # greatest difference of C and its transpose, in units of correlations
LEAST_EIGENVALUE = -1e-8  # of the correlation matrix, times its size


def as_number_of_rows(n: Any, ddof: Any) -> int:
    """Return n, checked; `ddof` is checked against it."""
    n = scalars.as_integer(n, "n")
    scalars.check_number(ddof, "ddof")
    if n < 2:
        raise ValueError(f"n, the number of rows, must be at least 2, got {n}")
    if not 0 <= ddof < n:
        raise ValueError(f"ddof must be in [0, n = {n}), got {ddof}")
    return n


@threads.with_same_bits
def as_covariance(C: Any) -> Array:
    """Return a covariance matrix as a new symmetric float64 array.

    Raises ValueError where C is not square, finite and symmetric, or has a negative variance or
    eigenvalue.
    """
    given = check.as_array(C, "C", 2)
    name = table_name(C, name="C")
    d = len(given)
    if given.shape != (d, d) or d == 0:
        raise ValueError(
            "C must be a square covariance or correlation matrix (n_features, n_features), got "
            f"shape {given.shape}; for rows use update"
        )
    scalars.check_sizes(**{"the number of columns of C": d})
    check.check_finite(given, "C")
    given = given.astype(np.float64)
    variance = np.diagonal(given)
    if (variance < 0).any():
        column = int(np.argmax(variance < 0))
        raise ValueError(
            f"C must have a diagonal of variances, got {variance[column]} for column "
            f"{column_label(name, column)}"
        )
    scale = np.sqrt(np.where(variance > 0, variance, 1.0))
    R = given / scale[:, None] / scale
    apart = np.abs(R - R.T)
    if apart.max() > ASYMMETRY:
        i, j = (int(index) for index in np.unravel_index(apart.argmax(), apart.shape))
        raise ValueError(
            f"C must be symmetric, got {given[i, j]} at {i, j}, {given[j, i]} at {j, i}"
        )
    least = float(linalg.eigvalsh(0.5 * (R + R.T), subset_by_index=[0, 0])[0])
    if least < LEAST_EIGENVALUE * d:
        raise ValueError(
            "C must have no negative eigenvalue: that of least value of its correlation matrix is "
            f"{least:.3g}. Matrices of pairwise complete rows, of polychoric correlations or of "
            "few printed digits may have one: replace C by the nearest matrix that has none"
        )
    return 0.5 * given + 0.5 * given.T


def as_mean(mean: Any, d: int) -> Array:
    """Return the mean (d,) in float64; one number stands for all columns."""
    given = check.as_array(mean, "mean")
    if given.shape not in ((), (d,)):
        raise ValueError(f"mean must be a number or have shape {(d,)}, got {given.shape}")
    check.check_finite(given, "mean")
    return np.array(np.broadcast_to(given, d), dtype=np.float64)
