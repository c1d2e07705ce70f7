"""Low-rank form of `ItemAutoencoder` (ELSA): ``B = A Aᵀ − I`` with rows of A of length 1.

The loss is ``Σ_u w_u ‖x_u / ‖x_u‖ − p_u / ‖p_u‖‖²`` with the scores ``p = x A Aᵀ − x``. With
``z = x A`` and ``S = Aᵀ A``,

    ``x · p = ‖z‖² − ‖x‖²``,   ``‖p‖² = z S zᵀ − 2 ‖z‖² + ‖x‖²``,

so that loss and gradient need products with the stored entries alone: neither the scores of all
items nor a matrix of items by items is ever computed. All users are one batch, for L-BFGS.
"""

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from aefast._base import arrays as check
from aefast._base import memory, threads
from aefast._base.lbfgs import Iterate, from_saved, minimize_lbfgs, saved
from aefast._base.partitions import Part, Partitions, added, threads_of
from aefast._base.progress import iteration, iterations
from aefast._base.projection import project
from aefast._base.replay import Kept
from aefast._base.saving import CURVE, OBJECT, check_entries
from aefast._base.sparse_rows import SparseProducts
from aefast._base.types import Array

CORRECTIONS = 5  # pairs that L-BFGS keeps, each as large as two of the factors
POWERS = 3  # multiplications by Xᵀ X of the start
TOLERANCE = 1e-7  # relative decrease of the loss below which iterations end
ARRAYS = 2 * CORRECTIONS + 14  # arrays of the size of the factors that a fit has at once
_CURVE = {"curve": CURVE, "iterate": OBJECT}  # checks of the state in a checkpoint


def check_memory(n_items: int, n_components: int) -> None:
    """Raise MemoryError where the factors of a fit have no room."""
    memory.check_room(
        8 * n_components * (ARRAYS * n_items + 2 * n_components),
        f"a fit of {n_items:,} items and n_components={n_components:,} factors",
        "take fewer components, or leave out rare items",
    )


class Sums(NamedTuple):
    """What users contribute to loss and gradient."""

    loss: float
    products: Array  # (n_items, k): products of the rows with derivatives by z
    cross: Array  # (k, k)

    def combined(self, other: "Sums") -> "Sums":
        """Return the sums over both sets of users."""
        return Sums(
            self.loss + other.loss, self.products + other.products, self.cross + other.cross
        )


class CosineLoss:
    """The loss of the factors, as a function of unscaled rows V with ``A_i = V_i / ‖V_i‖``.

    Parameters
    ----------
    X : CSR (n_users, n_items)
    weight : ndarray (n_users,) or None
    n_threads : int or None
    total : float, optional
        What weights are divided by; None: their sum, `total`.
    """

    def __init__(
        self, X: Any, weight: Array | None, n_threads: int | None, total: float | None = None
    ) -> None:
        squares = np.asarray(X.multiply(X).sum(axis=1), np.float64).ravel()
        chosen = squares > 0 if weight is None else (squares > 0) & (weight > 0)
        self.squares = squares[chosen]
        weight = np.ones(len(squares)) if weight is None else weight
        self.total = float(weight[chosen].sum())
        self.weight = weight[chosen] / (self.total if total is None else total)
        self.n_threads = n_threads
        X = X[np.flatnonzero(chosen)].astype(np.float64, copy=False)
        self.products = SparseProducts(X, n_threads) if chosen.any() else None
        self.n_items = X.shape[1]

    def power(self, Y: Array) -> Array:
        """Return ``Xᵀ D X Y`` of rows of length 1, weighted by D."""
        if self.products is None:
            return np.zeros(Y.shape)
        with threads.same_bits():
            scaled = (self.weight / self.squares)[:, None] * self.products.times(Y)
            return self.products.transposed_times(scaled)

    def sums(self, A: Array, S: Array) -> Sums:
        """Return what the users contribute to loss and gradient, with factors A and ``AᵀA``."""
        if self.products is None:
            return Sums(0.0, np.zeros(A.shape), np.zeros(S.shape))
        Z = self.products.times(A)
        ZS = project(Z, np.zeros(len(S)), S, n_threads=self.n_threads)
        z_squares = np.einsum("nk,nk->n", Z, Z)
        of_scores = np.einsum("nk,nk->n", Z, ZS) - 2 * z_squares + self.squares  # ‖p‖²
        of_scores = np.maximum(of_scores, np.finfo(np.float64).tiny)
        by_product = 1 / np.sqrt(self.squares * of_scores)  # derivatives of the cosine
        cosine = (z_squares - self.squares) * by_product
        by_scores = -0.5 * cosine / of_scores
        loss = float(2 * self.weight @ (1 - cosine))
        by_product, by_scores = self.weight * by_product, self.weight * by_scores
        dZ = 2 * (by_product - 2 * by_scores)[:, None] * Z + 2 * by_scores[:, None] * ZS
        with threads.same_bits():
            cross = Z.T @ (by_scores[:, None] * Z)
            return Sums(loss, self.products.transposed_times(dZ), cross)

    def start(self, n_components: int) -> Array:
        """Return factors near the leading right singular vectors of the rows of length 1."""
        return start(self, n_components)

    def __call__(self, V: Array) -> tuple[float, Array]:
        """Return the mean loss and its gradient by V."""
        return value_and_gradient(self, V)


class LossOfPartitions:
    """The loss of users in partitions, with the methods of `CosineLoss`.

    Parameters
    ----------
    partitions : Partitions
    known : ndarray (n,)
        Items that somebody has chosen.
    total : float
        Sum of the weights of users who have chosen some.
    n_threads : int or None
    """

    def __init__(
        self, partitions: Partitions, known: Array, total: float, n_threads: int | None
    ) -> None:
        self.partitions, self.n_items = partitions, len(known)
        self.options = known, total, threads_of(n_threads, partitions)

    def power(self, Y: Array) -> Array:
        return self.partitions.reduce(_power_of_part, added, Y, *self.options)

    def sums(self, A: Array, S: Array) -> Sums:
        return self.partitions.reduce(_sums_of_part, Sums.combined, A, S, *self.options)


def start(loss: Any, n_components: int) -> Array:
    """Return factors near the leading right singular vectors of the rows of length 1.

    Rows have length 1: of shorter ones, of rare items, derivatives would be larger.
    """
    noise = np.random.default_rng(0).standard_normal((loss.n_items, n_components))
    Y = noise
    with threads.same_bits():
        for _ in range(POWERS):
            Y = np.linalg.qr(loss.power(Y))[0]
    width = min(Y.shape[1], n_components)  # fewer where items are
    V = 1e-3 / np.sqrt(n_components * len(Y)) * noise
    V[:, :width] += Y[:, :width]
    return V / np.linalg.norm(V, axis=1, keepdims=True)


def value_and_gradient(loss: Any, V: Array) -> tuple[float, Array]:
    """Return the mean loss and its gradient by V."""
    lengths = np.linalg.norm(V, axis=1, keepdims=True)
    A = V / lengths
    with threads.same_bits():
        S = A.T @ A
    value, products, cross = loss.sums(A, S)
    with threads.same_bits():
        dA = -2 * products
        dA -= 4 * A @ cross
    dV = (dA - A * np.einsum("dk,dk->d", A, dA)[:, None]) / lengths
    return value, dV


# ---- of one partition ----


def _as_sparse(part: Part) -> Any:
    return check.as_csr(sparse.csr_array(part.X), part.name)


def _loss_of_part(part: Part, known: Array, total: float, n_threads: int | None) -> CosineLoss:
    return CosineLoss(_as_sparse(part)[:, known], part.sample_weight, n_threads, total)


def _power_of_part(part: Part, Y: Array, *options: Any) -> Array:
    return _loss_of_part(part, *options).power(Y)


def _sums_of_part(part: Part, A: Array, S: Array, *options: Any) -> Sums:
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return _loss_of_part(part, *options).sums(A, S)


def _chosen_of_part(part: Part) -> tuple[Array, float]:
    """Return how often each item was chosen, and the weight of the users who chose some."""
    X = _as_sparse(part)
    return _counts(X, part.sample_weight), CosineLoss(X, part.sample_weight, 1).total


def _combined(first: tuple[Array, float], second: tuple[Array, float]) -> tuple[Array, float]:
    return first[0] + second[0], first[1] + second[1]


# ---- fits ----


def fit_partitions(
    partitions: Partitions,
    n_components: int,
    max_iter: int,
    *,
    n_threads: int | None,
    verbose: Any,
) -> tuple[Array, list[float]]:
    """Return what `fit` does, for users in partitions: one call of the engine an evaluation."""
    counts, total = partitions.reduce(_chosen_of_part, _combined)
    known = np.flatnonzero(counts)
    _check_chosen(total)
    loss = LossOfPartitions(partitions, known, total, n_threads)
    return _minimized(loss, known, partitions.n_features, n_components, max_iter, verbose)


def _counts(X: Any, weight: Array | None) -> Array:
    counted = X if weight is None else X[np.flatnonzero(weight > 0)]
    return np.bincount(counted.indices[counted.data != 0], minlength=X.shape[1])


def _check_chosen(total: float) -> None:
    if not total > 0:
        raise ValueError("no user has chosen an item, or all weights are zero")


def fit(
    X: Any,
    weight: Array | None,
    n_components: int,
    max_iter: int,
    *,
    n_threads: int | None,
    verbose: Any,
) -> tuple[Array, list[float]]:
    """Return the factors A (n_items, n_components), and the mean loss after each iteration.

    Items that nobody has chosen have factors of 0: nothing is known of them.
    """
    known = np.flatnonzero(_counts(X, weight))
    loss = CosineLoss(X[:, known], weight, n_threads)
    _check_chosen(loss.total)
    return _minimized(loss, known, X.shape[1], n_components, max_iter, verbose)


def _minimized(
    loss: Any, known: Array, n_items: int, n_components: int, max_iter: int, verbose: Any
) -> tuple[Array, list[float]]:
    V = start(loss, n_components)

    def value(v: Array) -> tuple[float, Array]:
        # entries of great size overflow; parameters that are not finite are refused after the fit
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            found, gradient = value_and_gradient(loss, v.reshape(V.shape))
        return found, gradient.ravel()

    stored = _Stored(V.size)
    with iterations(verbose, "low rank"), threads.same_bits():
        if not stored.is_over:
            most = max_iter - len(stored.curve)
            found = minimize_lbfgs(
                value,
                V.ravel(),
                most_iterations=most,
                after_iteration=stored.after,
                n_corrections=CORRECTIONS,
                state=stored.iterate,
            )
            stored.end(found)
    V = stored.iterate.x.reshape(V.shape)
    A = np.zeros((n_items, n_components))
    A[known] = V / np.linalg.norm(V, axis=1, keepdims=True)
    return A, stored.curve


class _Stored:
    """Iterations so far, which are those of a checkpoint where the fit has one.

    Attributes
    ----------
    iterate : Iterate or None
    curve : list of float
    is_over : bool
    """

    def __init__(self, n: int) -> None:
        self._kept = Kept("low rank")
        self.iterate: Any = None
        self.curve: list[float] = []
        self.is_over, found = self._kept.is_over, self._kept.found
        if found is not None:
            check_entries("low rank", found.state, _CURVE)
            self.curve = found.state["curve"]
            self.iterate = from_saved(found.state["iterate"], found.tensors, n, CORRECTIONS)

    def after(self, iterate: Iterate) -> bool:
        """Record an iteration; return whether the loss has fallen by too little."""
        self.iterate, self.curve = iterate, [*self.curve, float(iterate.loss)]
        iteration(loss=iterate.loss)
        if len(self.curve) > 1:
            before, loss = self.curve[-2:]
            if before - loss <= TOLERANCE * max(abs(before), abs(loss), 1.0):
                return True
        self._kept.keep(len(self.curve), partial(_saved, iterate, self.curve))
        return False

    def end(self, iterate: Iterate) -> None:
        """Store the result, without what further iterations would need."""
        self.iterate = iterate._replace(pairs=())
        self._kept.end(*_saved(self.iterate, self.curve))


def _saved(iterate: Iterate, curve: list[float]) -> tuple[dict[str, Any], dict[str, Array]]:
    state, tensors = saved(iterate)
    return {"curve": curve, "iterate": state}, tensors
