"""L-BFGS with a state that can be stored, for sums of losses over all rows wherever they lie.

`minimize_lbfgs` knows neither networks nor rows: it asks a function for loss and gradient, and
hands out an `Iterate` after each iteration. An iterate is all that the minimisation goes on from,
so that one that is stored and resumed has the bits of one that was never interrupted.
"""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from aefast._base import threads
from aefast._base.checkpoints import check_tensors
from aefast._base.saving import COUNT, NUMBER, check_entries
from aefast._base.types import Array

GRADIENT_LIMIT = 1e-10  # largest absolute gradient at which a point counts as a minimum
# A pair whose curvature is less, relative to |s| |y|, is left out: it is one of rounding errors,
# or of negative curvature where the line search has not reached the Wolfe conditions.
LEAST_CURVATURE = np.finfo(np.float64).eps

# A search begins at a step that is at least SHORTEST_START of the one that minimises the parabola
# through what is known: SciPy's would come to a much shorter one by halves, or give up before.
SHORTEST_START, MOST_SHRINKAGE, MOST_SHRINKS = 0.1, 0.01, 10

LENGTHS = (1.0, 1e-3, 1e-6)  # multiples of steepest descent that are tried before the end

LossAndGradient = Callable[[Array], tuple[float, Array]]


class Pair(NamedTuple):
    """Change of the point and of the gradient in one iteration."""

    s: Array  # (n,) float64
    y: Array  # (n,) float64


class Iterate(NamedTuple):
    """Point that an iteration has reached, and all that the next one goes on from.

    Iterations make new arrays and leave those of earlier iterates as they are.
    """

    x: Array  # (n,) float64
    loss: float
    gradient: Array  # (n,) float64
    pairs: tuple[Pair, ...] = ()  # the oldest one first


def minimize_lbfgs(
    loss_and_gradient: LossAndGradient,
    x: Array,
    *,
    most_iterations: int,
    after_iteration: Callable[[Iterate], bool],
    n_corrections: int = 10,
    state: Iterate | None = None,
) -> Iterate:
    """Minimise a smooth function by L-BFGS (Nocedal & Wright 2006, algorithm 7.5).

    The direction is −H g, where H follows from the last pairs s = x₊ − x, y = g₊ − g by the
    two-loop recursion, with sᵀy / yᵀy as the multiple of the identity it begins with. The step
    satisfies the strong Wolfe conditions (c₁ = 10⁻⁴, c₂ = 0.9) by `scipy.optimize.line_search`,
    beginning with the step 1, or with a shorter one where step 1 raises the loss by so much that
    the parabola through both losses and the slope is lowest below a tenth of it. The first
    direction is −g / ‖g‖. Where a search ends without such a step the lowest point that it
    has seen is taken; if it is not below the present one, the pairs are forgotten for steepest
    descent.

    Parameters
    ----------
    loss_and_gradient : callable
        ``loss_and_gradient(x)`` returns a finite loss and the float64 gradient (n,), a new array,
        or raises. It is not called twice for the same point in succession, and must not keep `x`.
    x : ndarray (n,) float64
        The start. It is not used where there is a state.
    most_iterations : int
    after_iteration : callable
        ``after_iteration(iterate)`` returns whether the minimisation is over.
    n_corrections : int, default=10
        Most pairs that are kept.
    state : Iterate or None, default=None
        The iterate to go on from, of an earlier call with the same function.

    Returns
    -------
    Iterate
        The last one: after `most_iterations`, where `after_iteration` has said so, where no entry
        of the gradient exceeds 10⁻¹⁰, or where no lower point has been found.
    """
    with threads.same_bits():
        if state is None:
            state = Iterate(x.copy(), *loss_and_gradient(x))
    for _ in range(most_iterations):
        with threads.same_bits():
            found = _next(loss_and_gradient, state, n_corrections)
        if found is None:
            break
        state = found
        if after_iteration(state):
            break
    return state


# ---- checkpoints ----


def saved(iterate: Iterate) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return an iterate for a checkpoint, as JSON and as arrays."""
    arrays = {"x": iterate.x, "gradient": iterate.gradient}
    for number, pair in enumerate(iterate.pairs):
        arrays |= {f"s.{number}": pair.s, f"y.{number}": pair.y}
    return {"loss": float(iterate.loss), "n_pairs": len(iterate.pairs)}, arrays


def from_saved(
    state: dict[str, Any], tensors: dict[str, Array], n: int, n_corrections: int = 10
) -> Iterate:
    """Return the iterate of n numbers that a checkpoint has; raise ValueError where it has none."""
    check_entries("iterate", state, {"loss": NUMBER, "n_pairs": COUNT})
    if state["n_pairs"] > n_corrections:
        raise ValueError(f"expected at most {n_corrections} pairs, got {state['n_pairs']}")
    blank = np.empty(n)
    pairs = (Pair(blank, blank),) * state["n_pairs"]
    check_tensors(tensors, saved(Iterate(blank, 0.0, blank, pairs))[1])
    numbers = range(state["n_pairs"])
    pairs = tuple(Pair(tensors[f"s.{number}"], tensors[f"y.{number}"]) for number in numbers)
    return Iterate(tensors["x"], state["loss"], tensors["gradient"], pairs)


# ---- an iteration ----


def direction(gradient: Array, pairs: tuple[Pair, ...]) -> Array:
    """Return −H g by the two-loop recursion (Nocedal & Wright 2006, algorithm 7.4).

    Without pairs it is −g / ‖g‖, as the scale of a first step is not known.
    """
    if not pairs:
        return -gradient / float(np.linalg.norm(gradient))
    q, factors = gradient.copy(), []
    curvatures = [float(s @ y) for s, y in pairs]
    for (s, y), curvature in zip(reversed(pairs), reversed(curvatures), strict=True):
        factor = float(s @ q) / curvature
        q -= factor * y
        factors.append(factor)
    y = pairs[-1].y
    q *= curvatures[-1] / float(y @ y)
    for (s, y), curvature, factor in zip(pairs, curvatures, reversed(factors), strict=True):
        q += (factor - float(y @ q) / curvature) * s
    return -q


class _Searched:
    """Points of a line search, of which each is evaluated once for its loss and its gradient."""

    def __init__(self, loss_and_gradient: LossAndGradient) -> None:
        self.loss_and_gradient = loss_and_gradient
        self.last: Iterate | None = None
        self.lowest: Iterate | None = None

    def _at(self, x: Array) -> Iterate:
        if self.last is None or not np.array_equal(x, self.last.x):
            self.last = Iterate(x, *self.loss_and_gradient(x))
            if self.lowest is None or self.last.loss < self.lowest.loss:
                self.lowest = self.last
        return self.last

    def loss(self, x: Array) -> float:
        return self._at(x).loss

    def gradient(self, x: Array) -> Array:
        return self._at(x).gradient


def _next(loss_and_gradient: LossAndGradient, state: Iterate, n_corrections: int) -> Iterate | None:
    """Return the next iterate, None where there is no lower point."""
    if not np.abs(state.gradient).max(initial=0.0) > GRADIENT_LIMIT:
        return None
    attempts = [(state.pairs, 1.0)] if state.pairs else []
    attempts += [((), length) for length in LENGTHS]
    for kept, length in attempts:
        along = length * direction(state.gradient, kept)
        found = _searched(loss_and_gradient, state, along)
        if found is not None:
            return found._replace(pairs=_with_pair(kept, state, found, n_corrections))
    return None


def _with_pair(
    pairs: tuple[Pair, ...], before: Iterate, after: Iterate, n_corrections: int
) -> tuple[Pair, ...]:
    """Return the pairs with that of the last iteration, where its curvature is positive."""
    pair = Pair(after.x - before.x, after.gradient - before.gradient)
    limit = LEAST_CURVATURE * np.linalg.norm(pair.s) * np.linalg.norm(pair.y)
    return (*pairs, pair)[-n_corrections:] if pair.s @ pair.y > limit else pairs


def _searched(loss_and_gradient: LossAndGradient, state: Iterate, along: Array) -> Iterate | None:
    """Return the point of a line search, without pairs, None where none is lower."""
    from scipy.optimize import line_search

    if not state.gradient @ along < 0:  # by rounding errors
        return None
    searched = _Searched(loss_and_gradient)
    along = _shrunk(searched, state, along)
    with warnings.catch_warnings():
        # of searches that end without a step that satisfies the conditions
        warnings.filterwarnings("ignore", message=".*line search", category=RuntimeWarning)
        step = line_search(
            searched.loss,
            searched.gradient,
            state.x,
            along,
            gfk=state.gradient,
            old_fval=state.loss,
        )[0]
    # a search that succeeds ends with the point that it returns
    found = searched.lowest if step is None else searched.last
    return found if found is not None and found.loss < state.loss else None


def _shrunk(searched: _Searched, state: Iterate, along: Array) -> Array:
    """Return a direction whose step 1 is not many times too long."""
    for _ in range(MOST_SHRINKS):
        slope = float(state.gradient @ along)
        rise = searched.loss(state.x + 1.0 * along) - state.loss
        share = slope / (2 * (slope - rise)) if rise > 0 else 1.0  # where the parabola is lowest
        if share >= SHORTEST_START:
            break
        along = along * max(share, MOST_SHRINKAGE)
    return along
