"""Probabilistic PCA of rows with missing entries, by EM over the missing entries alone.

The E-step completes the rows by their conditional means and adds the conditional covariances; the
M-step is the closed form for complete rows. Nothing but the missing entries is hidden from the
M-step, so that iterations converge at the rate of the information that the gaps took, however many
components there are. EM with hidden factors too takes ten times as many where the noise is small.
Steps are extrapolated (SQUAREM, Varadhan & Roland 2008).
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy import linalg

from aefast._base import threads
from aefast._base.progress import iteration
from aefast._base.types import Array
from aefast.linear.observed import LEAST_RISE, PackedRows, Parameters

LONGEST_STEP = 64.0  # largest length of an extrapolation, in steps of EM


class Moments(NamedTuple):
    """Mean and covariance of completed rows."""

    mean: Array  # (d,)
    covariance: Array  # (d, d)


class Iteration(NamedTuple):
    """Parameters, and the mean log-likelihood and the completed moments of rows under them."""

    at: Parameters
    value: float
    moments: Moments


def closed_form(moments: Moments, k: int, floor: float) -> Parameters:
    """Return the parameters of greatest likelihood for these moments (Tipping & Bishop, eq. 7)."""
    d = len(moments.mean)
    values, vectors = linalg.eigh(moments.covariance, check_finite=False)
    left_out = np.maximum(values[: d - k], 0.0)
    noise = max(float(left_out.mean()) if d > k else 0.0, floor)
    excess = np.sqrt(np.maximum(values[: d - k - 1 : -1] - noise, 0.0))
    W = excess[:, None] * vectors[:, : d - k - 1 : -1].T
    return Parameters(moments.mean, W, np.full(d, noise))


def iterations(packed: PackedRows, start: Moments, k: int, floor: float) -> Iterator[Iteration]:
    """Yield the iterations of extrapolated EM; values rise.

    A cycle of SQUAREM makes two steps of EM from θ₀, to θ₁ and θ₂, and goes on from
    ``θ₀ − 2 α r + α² v``, with ``r = θ₁ − θ₀``, ``v = θ₂ − 2 θ₁ + θ₀`` and ``α = −‖r‖ / ‖v‖``, or
    from θ₂ where the likelihood is less there than at θ₁.
    """

    def step(moments: Moments) -> Iteration:
        at = closed_form(moments, k, floor)
        value, found = packed.completed(at)
        return Iteration(at, value, Moments(*found))

    longest = 4.0
    first = step(start)
    yield first
    while True:
        second = step(first.moments)
        yield second
        mean, covariance, alpha = _extrapolated(start, first.moments, second.moments, longest)
        if alpha > -1.0:
            start, first = second.moments, step(second.moments)
            yield first
            continue
        there = step(Moments(mean, covariance))
        if there.value >= second.value:
            longest = min(LONGEST_STEP, 4 * longest) if alpha == -longest else longest
            start, first = Moments(mean, covariance), there
        else:
            longest = max(4.0, longest / 4)
            start, first = second.moments, step(second.moments)
        yield first


def _extrapolated(
    start: Moments, first: Moments, second: Moments, longest: float
) -> tuple[Array, Array, float]:
    """Return SQUAREM's mean and covariance, and α; 0 where the steps have no length."""
    r = [one - zero for zero, one in zip(start, first, strict=True)]
    v = [two - one - change for one, two, change in zip(first, second, r, strict=True)]
    length, change = (np.sqrt(sum(float(np.vdot(x, x)) for x in parts)) for parts in (r, v))
    if not change > 0:
        return *second, 0.0
    alpha = -min(max(length / change, 1.0), longest)
    mean, covariance = (
        zero - 2 * alpha * by_r + alpha**2 * by_v
        for zero, by_r, by_v in zip(start, r, v, strict=True)
    )
    return mean, covariance, alpha


def converged(packed: PackedRows, start: Moments, k: int, floor: float, least: float, most: int):
    """Return the last iteration, the curve of values, and whether the iterations have converged.

    They have where four of them, which are a cycle at least, raise the value by less than `least`,
    relative to its magnitude. `most` is the largest number of iterations.
    """
    curve: list[float] = []
    best = None
    for found in iterations(packed, start, k, floor):
        if best is None or found.value >= best.value:
            best = found
        curve.append(best.value)
        iteration(log_p=best.value)
        if len(curve) > 4 and curve[-1] - curve[-5] <= least * max(abs(curve[-1]), 1.0):
            return best, curve, True
        if len(curve) == most:
            return best, curve, False


@threads.with_same_bits
def maximize(
    rows: Array,
    weight: Array,
    start: tuple[Array, Array, Array],
    floor: float,
    tol: float,
    max_iter: int,
    n_threads: int | None = None,
) -> tuple[Array, Array, Array, list[float], bool]:
    """Maximise the likelihood of probabilistic PCA for rows with missing entries.

    Parameters
    ----------
    rows : ndarray (n, d)
        NaN is a missing entry.
    weight : ndarray (n,)
        Positive weights.
    start : tuple of ndarray
        Starting values of mean (d,) and W (k, d), k < d, and psi (d,), all equal.
    floor : float
        Least noise variance.
    tol : float
        Iterations end when four of them raise the mean log-likelihood by less than a thousandth of
        tol and than 1e-11, relative to its magnitude.
    max_iter : int
    n_threads : int or None

    Returns
    -------
    mean, W, psi : ndarray
    curve : list of float
        Mean log-likelihood of each iteration's parameters, or the greatest so far.
    is_converged : bool
    """
    mean, W, psi = start
    d, k = len(mean), len(W)
    unit = float(np.sqrt((np.square(W).sum() + psi.sum()) / d))
    packed = PackedRows(rows, weight, mean, np.full(d, unit), k, n_threads, is_completed=True)
    C = (W / unit).T @ (W / unit)
    C[np.diag_indices(d)] += psi / unit**2
    least = min(1e-3 * float(tol), LEAST_RISE)
    begin = Moments(np.zeros(d), C)
    best, curve, is_converged = converged(packed, begin, k, floor / unit**2, least, max_iter)
    constant = float(packed.counts.sum()) * np.log(unit) / packed.weight
    found = best.at
    return (
        mean + unit * found.mean,
        unit * found.W,
        unit**2 * found.psi,
        [value - constant for value in curve],
        is_converged,
    )
