"""Range of floating-point numbers in weighted sums: units of weights, underflow and overflow."""

import math
from typing import Any, NamedTuple

import numpy as np

from aefast._base.errors import column_labels
from aefast._base.reference_point import SAMPLE_ROWS
from aefast._base.types import Array
from aefast._base.warnings import warn

# Largest magnitude of the binary exponents of weights and variances that are not rescaled.
USUAL_EXPONENT = 60


class Sums(NamedTuple):
    """Sums of weighted rows x about a point r: ``Σ w (x − r)`` and ``Σ w (x − r)(x − r)ᵀ``."""

    reference: Array  # (d,)
    sums: Array  # (d,)
    scatter: Array  # (d, d)


def without_unit(weight: Array) -> tuple[Array, int]:
    """Return weights divided by a power of 4 near the largest one, and its binary exponent.

    The power is 1, its exponent 0, unless the largest weight is far from 1. Products with square
    roots of the divided weights keep within the range of float32, and have the same bits.
    """
    exponent = math.frexp(weight.max())[1]
    if abs(exponent) <= USUAL_EXPONENT:
        return weight, 0
    exponent -= exponent % 2
    return np.ldexp(weight, -exponent), exponent


def all_finite(array: Array) -> bool:
    """Return whether all entries are finite.

    Their sum shows it without a temporary array, unless the sum itself overflows.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(array.sum()) or np.isfinite(array).all())


def sum_of(values: Array) -> float:
    """Return the sum of finite numbers; FloatingPointError where it overflows float64."""
    with np.errstate(over="ignore"):
        total = float(values.sum(dtype=np.float64))
    if not math.isfinite(total):
        raise FloatingPointError(f"the sum of {len(values)} log-likelihoods overflows float64")
    return total


def mean_of(values: Array, weight: Array | None = None) -> float:
    """Return the mean of finite numbers, weighted with weights of mean 1, which is finite too."""
    with np.errstate(over="ignore", invalid="ignore"):
        weighted = values if weight is None else values * weight
        mean = float(weighted.mean(dtype=np.float64))
    if math.isfinite(mean):
        return mean
    shares = (np.ones(len(values)) if weight is None else weight) / len(values)
    return float((values * shares).sum(dtype=np.float64))


def lost_columns(rows: Any, weight: Array | None, of: Sums, sample: Array | None) -> Array:
    """Return indices of columns that vary, and whose squares underflow the reference's type.

    Squares underflow if their mean is below the smallest normal number, where a product has few
    digits or none. A column whose differences are rounding of the reference point does not vary.

    Parameters
    ----------
    rows : ndarray or CSR matrix
    weight : ndarray or None
    of : Sums
    sample : ndarray or None
        Some of the rows.
    """
    if weight is None and rows.dtype.kind in "bu":  # whole numbers
        return np.empty(0, np.int64)
    tiny = float(np.finfo(of.reference.dtype).tiny)
    small = np.flatnonzero(np.diagonal(of.scatter) < rows.shape[0] * tiny)
    if not len(small):
        return small
    total = rows.shape[0] if weight is None else weight.sum()
    level = np.maximum(np.abs(of.reference[small].astype(np.float64)), tiny)
    rounding = SAMPLE_ROWS * np.finfo(np.float64).eps  # error of the reference, a float64 mean
    varies = np.abs(of.sums[small]) > rounding * level * total
    if sample is not None:
        varies |= np.ptp(sample[:, small], axis=0) > 0
    return small[varies]


def report_lost(lost: Array, scatter: Array, n: int, name: str) -> None:
    """Warn of columns whose squares underflow float64, with their names.

    Raises ValueError if no column's squares are normal numbers.
    """
    if not np.diagonal(scatter).max() >= n * np.finfo(np.float64).tiny:
        raise ValueError(f"the squares of {name} underflow float64: scale {name} up")
    shown = column_labels(name, lost[:10]) + (", ..." if len(lost) > 10 else "")
    warn(
        f"squares of column(s) {shown} of {name} underflow float64: their variances are not "
        "accurate. Scale these columns up",
        RuntimeWarning,
    )


def in_units_of_weights(
    weight_sum: float, sums: Array, scatter: Array, exponent: int
) -> tuple[Array, Array]:
    """Return sums and scatter in the unit of the given weights, multiplied by 2**exponent.

    Raises ValueError if the results underflow or overflow.
    """
    with np.errstate(over="ignore"):
        sums, scatter = np.ldexp(sums, exponent), np.ldexp(scatter, exponent)
    tiny = np.finfo(np.float64).tiny
    if weight_sum < tiny or 0 < np.diagonal(scatter).max() < tiny:
        raise ValueError("sums of sample_weight underflow float64: scale the weights up")
    if not (all_finite(sums) and all_finite(scatter)):
        raise ValueError("sums of sample_weight overflow float64: scale the weights down")
    return sums, scatter
