"""Probabilistic PCA of rows with missing entries, by EM over the missing entries alone.

The E-step completes the rows by their conditional means and adds the conditional covariances; the
M-step is the closed form for complete rows. Nothing but the missing entries is hidden from the
M-step, so that iterations converge at the rate of the information that the gaps took, however many
components there are. EM with hidden factors too takes ten times as many where the noise is small.
Steps are extrapolated (SQUAREM, Varadhan & Roland 2008).
"""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from scipy import linalg

from aefast._base import threads
from aefast._base.checkpoints import check_tensors
from aefast._base.progress import iteration
from aefast._base.replay import Kept
from aefast._base.saving import CURVE, FLAG, NUMBER, check_entries
from aefast._base.types import Array
from aefast.linear.observed import LEAST_RISE, PackedRows, Parameters

# checks of the state of iterations in a checkpoint
_ITERATIONS = {
    "curve": CURVE,
    "converged": FLAG,
    **dict.fromkeys(("best", "longest", "value"), NUMBER),
}
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


class Cycle(NamedTuple):
    """What a cycle of SQUAREM begins with."""

    start: Moments
    first: Iteration  # the step from these moments
    longest: float


def closed_form(moments: Moments, k: int, floor: float) -> Parameters:
    """Return the parameters of greatest likelihood for these moments (Tipping & Bishop, eq. 7)."""
    d = len(moments.mean)
    values, vectors = linalg.eigh(moments.covariance, check_finite=False)
    left_out = np.maximum(values[: d - k], 0.0)
    noise = max(float(left_out.mean()) if d > k else 0.0, floor)
    excess = np.sqrt(np.maximum(values[: d - k - 1 : -1] - noise, 0.0))
    W = excess[:, None] * vectors[:, : d - k - 1 : -1].T
    return Parameters(moments.mean, np.ascontiguousarray(W), np.full(d, noise))


def iterations(
    packed: PackedRows, start: Moments, k: int, floor: float, cycle: Cycle | None = None
) -> Iterator[tuple[Iteration, Cycle | None]]:
    """Yield the iterations of extrapolated EM, whose values rise, and the cycle that one begins.

    A cycle of SQUAREM makes two steps of EM from θ₀, to θ₁ and θ₂, and goes on from
    ``θ₀ − 2 α r + α² v``, with ``r = θ₁ − θ₀``, ``v = θ₂ − 2 θ₁ + θ₀`` and ``α = −‖r‖ / ‖v‖``, or
    from θ₂ where the likelihood is less there than at θ₁. With a cycle of earlier iterations its
    second step comes next.
    """

    def step(moments: Moments) -> Iteration:
        at = closed_form(moments, k, floor)
        value, found = packed.completed(at)
        return Iteration(at, value, Moments(*found))

    if cycle is None:
        cycle = Cycle(start, step(start), 4.0)
        yield cycle.first, cycle
    while True:
        start, first, longest = cycle
        second = step(first.moments)
        yield second, None
        mean, covariance, alpha = _extrapolated(start, first.moments, second.moments, longest)
        begin = second.moments
        if alpha <= -1.0:
            there = step(Moments(mean, covariance))
            if there.value >= second.value:
                longest = min(LONGEST_STEP, 4 * longest) if alpha == -longest else longest
                cycle = Cycle(Moments(mean, covariance), there, longest)
                yield there, cycle
                continue
            longest = max(4.0, longest / 4)
        cycle = Cycle(begin, step(begin), longest)
        yield cycle.first, cycle


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
    kept = Kept("completed rows")
    best, curve, cycle, has_converged = _found(kept, k, len(start.mean))
    if kept.is_over:
        return best, curve, has_converged
    for found, begun in iterations(packed, start, k, floor, cycle):
        if best is None or found.value >= best.value:
            best = found
        curve = [*curve, float(best.value)]
        iteration(log_p=best.value)
        has_converged = len(curve) > 4 and curve[-1] - curve[-5] <= least * max(abs(curve[-1]), 1.0)
        if has_converged or len(curve) == most:
            kept.end(*_saved(best, curve, has_converged=bool(has_converged)))
            return best, curve, has_converged
        if begun is not None:
            kept.keep(len(curve), partial(_saved, best, curve, begun))


def _saved(
    best: Iteration, curve: list[float], cycle: Cycle | None = None, *, has_converged: bool = False
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return iterations for a checkpoint: where they are, or their end without a cycle."""
    state = {"curve": curve, "best": float(best.value), "converged": has_converged}
    tensors = _arrays("best.", best)
    if cycle is None:
        return state | {"longest": 0.0, "value": 0.0}, tensors
    mean, covariance = cycle.start
    tensors |= _arrays("first.", cycle.first) | {
        "start.mean": mean,
        "start.covariance": covariance,
    }
    return state | {"longest": float(cycle.longest), "value": float(cycle.first.value)}, tensors


def _found(kept: Kept, k: int, d: int) -> tuple[Iteration | None, list[float], Cycle | None, bool]:
    """Return what a checkpoint has: the best iteration, the curve, the cycle, and convergence."""
    if kept.found is None:
        return None, [], None, False
    state, tensors = kept.found.state, kept.found.tensors
    check_entries("iterations", state, _ITERATIONS)
    at = Parameters(np.empty(d), np.empty((k, d)), np.empty(d))
    start = Moments(np.empty(d), np.empty((d, d)))
    blank = Iteration(at, 0.0, start)
    cycle = None if kept.is_over else Cycle(start, blank, 0.0)
    check_tensors(tensors, _saved(blank, [], cycle)[1])
    best = _iteration("best.", state["best"], tensors)
    if cycle is not None:
        first = _iteration("first.", state["value"], tensors)
        start = Moments(tensors["start.mean"], tensors["start.covariance"])
        cycle = Cycle(start, first, state["longest"])
    return best, state["curve"], cycle, state["converged"]


def _arrays(prefix: str, of: Iteration) -> dict[str, Array]:
    """Return the arrays of an iteration by their names in checkpoints."""
    found = of.at._asdict() | {"shift": of.moments.mean, "covariance": of.moments.covariance}
    return {f"{prefix}{name}": array for name, array in found.items()}


def _iteration(prefix: str, value: float, tensors: dict[str, Array]) -> Iteration:
    at = Parameters(*(tensors[f"{prefix}{name}"] for name in Parameters._fields))
    moments = Moments(tensors[f"{prefix}shift"], tensors[f"{prefix}covariance"])
    return Iteration(at, value, moments)


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
