"""Maximisation of the likelihood of the observed entries, for rows with missing ones (NaN).

The mean log-likelihood has a closed gradient: with the posterior moments ``E[h | x_o]`` and
``E[h hᵀ | x_o]`` of each row, the derivatives by the mean, W and ψ are those of EM's expected
log-likelihood (Fisher's identity). A few iterations of EM are followed by L-BFGS in units in which
the curvatures are alike.

Rows are read once: they are scaled, sorted by pattern and packed for the kernel
(``src/kernels/statistics/gaps.h``). The rows of a pattern enter the likelihood only through their
scatter, so that a pattern of many rows is replaced by the triangular factor of ``(1, X_o)``, which
has one row more than the pattern has columns.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy import linalg, optimize

from aefast._base import _statistics, threads
from aefast._base.progress import iteration
from aefast._base.replay import Replayed
from aefast._base.saving import COUNT, CURVE, FLAG, NUMBER
from aefast._base.types import Array
from aefast.linear import patterns
from aefast.linear.gaussian import LOG_2PI

BLOCK_NUMBERS = 1 << 22  # largest number of entries of a block of rows, which is packed together
MOST_PACKED = 1 << 27  # number of entries from which blocks are packed anew for each evaluation
OPERATIONS_OF_CALL = 1 << 28  # multiply-adds of a call of the kernel: some 50 ms
# A team meets at barriers within each evaluation, of hundreds. Where another process holds a
# core, they take longer than a small evaluation, which is left to one thread.
WORK_OF_TEAM = 64
FIRST_STEPS = 10  # iterations of EM before L-BFGS
GRADIENT_TOLERANCE = 1e-7  # for derivatives of the mean log-likelihood, in L-BFGS's units
LEAST_RISE = 1e-11  # largest relative rise of the log-likelihood at which L-BFGS ends


class Parameters(NamedTuple):
    """Parameters of a factor model."""

    mean: Array  # (d,)
    W: Array  # (k, d)
    psi: Array  # (d,)


class PackedRows:
    """Rows with missing entries in units of the columns, by pattern, for repeated evaluation.

    Parameters
    ----------
    rows : ndarray (n, d)
        NaN is a missing entry.
    weight : ndarray (n,)
        Positive.
    centre, scale : ndarray (d,)
        Rows are ``(x − centre) / scale``; so are the parameters of `moments`.
    k : int
        Number of factors.
    n_threads : int or None
    is_completed : bool
        Whether `completed` will be called, rather than `moments`.

    Attributes
    ----------
    weight : float
        Sum of the weights.
    weight_observed : float
        Sum of the weights of rows with an observed entry.
    counts : ndarray (d,)
        Sums of the weights of rows in which a column is observed.
    """

    def __init__(
        self,
        rows: Array,
        weight: Array,
        centre: Array,
        scale: Array,
        k: int,
        n_threads: int | None,
        is_completed: bool = False,
    ) -> None:
        self.rows, self.row_weight, self.k = rows, weight, k
        self.centre, self.scale, self.n_threads = centre, scale, n_threads
        self.n_features, self.weight = rows.shape[1], float(weight.sum())
        self.is_completed, self.weight_observed = is_completed, 0.0
        self.counts = np.zeros(self.n_features)
        self._kept: list[_statistics.Gaps] | None = None
        packed = list(self._packed(count=True)) if rows.size <= MOST_PACKED else None
        if packed is None:
            for _ in self._packed(count=True):
                pass
        self._kept = packed
        triangle = np.zeros((k, k), np.int64)
        triangle[np.tril_indices(k)] = np.arange(k * (k + 1) // 2)
        self._square = np.maximum(triangle, triangle.T)  # places in a packed lower triangle

    def _packed(self, count: bool = False) -> Iterator[_statistics.Gaps]:
        """Yield the blocks of rows."""
        if self._kept is not None:
            yield from self._kept
            return
        step = max(1, BLOCK_NUMBERS // self.n_features)
        like = np.empty(0)
        for first in range(0, len(self.rows), step):
            part = slice(first, first + step)
            with np.errstate(over="ignore"):
                block = (self.rows[part].astype(np.float64) - self.centre) / self.scale
            found = by_pattern(block, self.row_weight[part])
            if count:
                self.counts += found.weight @ found.observed
                self.weight_observed += float(found.weight.sum())
            if len(found.weight):
                work = 2.0 * self._operations(len(found.weight), len(found.scale))
                n_threads = threads.effective_n_threads(self.n_threads, work / WORK_OF_TEAM)
                yield _statistics.Gaps(*found, self.k, self.is_completed, n_threads, like)

    def _operations(self, n_patterns: int, n_rows: int) -> float:
        """Return the number of multiply-adds of an evaluation."""
        k, d = self.k, self.n_features
        of_pattern = d * k * (0.5 * (d + k) if self.is_completed else k + 1.0) + k**3 / 2
        of_row = 2.0 * d * k + (d * d / 2 if self.is_completed else 2.0 * k * k)
        return n_patterns * (of_pattern + d * k * k / 2) + n_rows * of_row

    def moments(self, at: Parameters) -> patterns.Moments:
        """Return the weighted sums over the rows' posteriors, and their log-likelihood."""
        d, k = self.n_features, self.k
        triangle = k * (k + 1) // 2
        second, cross = np.zeros((d + 1, triangle + k)), np.zeros((d, k + 2))
        totals = self._add(at, second=second, cross=cross)
        found = patterns.Moments(k, d)
        found.second[:, :k, :k] = second[:d, self._square]
        found.second[:, :k, k] = found.second[:, k, :k] = second[:d, triangle:]
        found.second[:, k, k] = self.counts
        found.cross, found.squares = cross[:, : k + 1], cross[:, k + 1]
        found.factors = second[d, self._square]
        found.log_likelihood, found.weight = self._log_likelihood(at, totals), self.weight
        return found

    def completed(self, at: Parameters) -> tuple[float, tuple[Array, Array]]:
        """Return the mean log-likelihood, and moments of the rows given their observed entries.

        The moments are the mean (d,) and the covariance (d, d) of rows whose missing entries have
        their conditional distributions.
        """
        d, weight = self.n_features, self.weight_observed
        sums = np.zeros((d, d + 1))
        totals = self._add(at, completed=sums)
        shift, scatter = sums[:, d] / weight, np.tril(sums[:, :d])
        C = (scatter + np.tril(scatter, -1).T) / weight - np.outer(shift, shift)
        C[np.diag_indices(d)] += (1 - self.counts / weight) * at.psi
        return self._log_likelihood(at, totals) / self.weight, (at.mean + shift, C)

    def _add(self, at: Parameters, **sums: Array) -> Array:
        """Add the kernel's sums over all rows to `sums`, and return its totals."""
        totals = np.zeros(2)
        model = at.mean, np.ascontiguousarray(at.W.T), 1 / at.psi
        step = max(16, int(OPERATIONS_OF_CALL / self._operations(8, 8)))
        for block in self._packed():
            for first in range(0, block.n_groups, step):
                block.add(*model, totals, first, first + step, **sums)
        return totals

    def _log_likelihood(self, at: Parameters, totals: Array) -> float:
        constants = self.counts @ (LOG_2PI + np.log(at.psi))
        return float(-0.5 * (constants + totals.sum()))


class Patterns(NamedTuple):
    """Rows by pattern, as the kernel reads them."""

    observed: Array  # (p, d) of uint8
    weight: Array  # (p,)
    row_begin: Array  # (p + 1,)
    rows: Array  # (n, d), combinations of rows, 0 where missing
    scale: Array  # (n,), the same combinations of ones


def by_pattern(rows: Array, weight: Array) -> Patterns:
    """Sort rows (n, d) of positive weight by pattern, those of the most rows first.

    Rows without an observed entry are left out.
    """
    block = patterns.sorted_by_pattern(rows, 0.0)
    root = np.sqrt(weight[block.places])
    rows, observed = root[:, None] * block.residuals, block.patterns.astype(np.uint8)
    sums = np.add.reduceat(weight[block.places], block.first)
    first, counts, width = block.first, block.counts.copy(), observed.sum(axis=1, dtype=np.int64)
    kept_rows = np.ones(len(rows), bool)
    for p in np.flatnonzero(counts > 2 * (width + 1)):
        begin, n, columns = first[p], counts[p], np.flatnonzero(observed[p])
        m = len(columns) + 1 if len(columns) else 0
        if m:
            whole = np.column_stack([root[begin : begin + n], rows[begin : begin + n, columns]])
            factor = linalg.qr(whole, mode="r", overwrite_a=True, check_finite=False)[0][:m]
            root[begin : begin + m], rows[begin : begin + m, columns] = factor[:, 0], factor[:, 1:]
        kept_rows[begin + m : begin + n] = False
        counts[p] = m
    kept_rows &= np.repeat(width > 0, block.counts)
    observed, sums, counts = (array[width > 0] for array in (observed, sums, counts))
    rows, root = rows[kept_rows], root[kept_rows]
    return _most_rows_first(observed, sums, counts, rows, root)


def _most_rows_first(
    observed: Array, weight: Array, counts: Array, rows: Array, scale: Array
) -> Patterns:
    """Return Patterns whose long patterns are cut, in the order of falling numbers of rows."""
    most = _statistics.MOST_ROWS
    parts = -(-counts // most)
    of_part = np.repeat(np.arange(len(counts)), parts)
    begin = np.cumsum(counts) - counts
    index = np.arange(len(of_part)) - np.repeat(np.cumsum(parts) - parts, parts)
    first = begin[of_part] + most * index
    length = np.minimum(counts[of_part] - most * index, most)
    order = np.argsort(-length, kind="stable")
    length, first, of_part = length[order], first[order], of_part[order]
    row_begin = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
    places = np.repeat(first - row_begin[:-1], length) + np.arange(row_begin[-1])
    return Patterns(
        np.ascontiguousarray(observed[of_part]),
        (weight / parts)[of_part],
        row_begin,
        np.ascontiguousarray(rows[places]),
        scale[places],
    )


class _Coordinates:
    """Coordinates of L-BFGS for the parameters, in which the curvatures are alike at the start.

    With the noise ψ₀ of the start, a mean or loading is divided by ``ψ₀^½``, and the coordinate of
    a noise variance is ``4 (ψ/ψ₀)^¼``. Its derivative by log ψ at the start is 1, and towards ψ = 0
    (a Heywood case) it is neither as flat as log ψ nor as curved as ψ.
    """

    def __init__(self, start: Parameters, isotropic: bool, floor: Array) -> None:
        self.k, self.d = start.W.shape
        self.psi0 = np.maximum(start.psi, 2 * floor)
        self.root, self.isotropic = np.sqrt(self.psi0), isotropic
        self.floor, self.n_noise = floor, 1 if isotropic else self.d

    def of(self, at: Parameters) -> Array:
        noise = 4 * (np.maximum(at.psi, 2 * self.floor) / self.psi0) ** 0.25
        parts = (noise[: self.n_noise], at.mean / self.root, (at.W / self.root).ravel())
        return np.concatenate(parts)

    def parameters(self, x: Array) -> Parameters:
        noise, rest = x[: self.n_noise], x[self.n_noise :]
        psi = np.maximum(self.psi0 * (noise / 4) ** 4, self.floor)
        W = rest[self.d :].reshape(self.k, self.d) * self.root
        return Parameters(rest[: self.d] * self.root, W, psi)

    def bounds(self) -> optimize.Bounds:
        low = np.full(self.n_noise + self.d * (1 + self.k), -np.inf)
        low[: self.n_noise] = 4 * (self.floor / self.psi0)[: self.n_noise] ** 0.25
        return optimize.Bounds(low)

    def gradient(self, x: Array, by_mean: Array, by_W: Array, by_log_psi: Array) -> Array:
        """Return the derivatives by the coordinates."""
        by_noise = by_log_psi.sum(keepdims=True) if self.isotropic else by_log_psi
        by_noise = by_noise * 4 / x[: self.n_noise]
        return np.concatenate([by_noise, by_mean * self.root, (by_W * self.root).ravel()])


def gradient(moments: patterns.Moments, at: Parameters) -> tuple[Array, Array, Array]:
    """Return derivatives of the log-likelihood by the mean (d,), W (k, d) and log ψ (d,)."""
    k, W = len(at.W), at.W
    cross, second = moments.cross[:, :k], moments.second
    explained = (second[:, :k, :k] @ W.T[:, :, None])[:, :, 0]  # Σ E[h hᵀ] w, for each feature
    squares = moments.squares + np.einsum("dk,kd->d", explained - 2 * cross, W)
    by_mean = (moments.cross[:, k] - np.einsum("dk,kd->d", second[:, :k, k], W)) / at.psi
    return by_mean, (cross - explained).T / at.psi, 0.5 * (squares / at.psi - second[:, k, k])


@threads.with_same_bits
def maximize(
    rows: Array,
    weight: Array,
    start: tuple[Array, Array, Array],
    isotropic: bool,
    floor: Array,
    tol: float,
    max_iter: int,
    n_threads: int | None = None,
) -> tuple[Array, Array, Array, list[float], bool]:
    """Maximise the likelihood of rows with missing entries.

    Parameters
    ----------
    rows : ndarray (n, d)
        NaN is a missing entry.
    weight : ndarray (n,)
        Positive weights.
    start : tuple of ndarray
        Starting values of mean (d,), W (k, d) and psi (d,).
    isotropic : bool
        Whether all columns have one noise variance.
    floor : ndarray (d,)
        Least values of psi.
    tol : float
        Iterations end when the mean log-likelihood rises by less than a thousandth of tol and than
        1e-11, relative to its magnitude.
    max_iter : int
    n_threads : int or None

    Returns
    -------
    mean, W, psi : ndarray
        The parameters of the last value of the curve.
    curve : list of float
        Mean log-likelihood after each iteration; rising.
    converged : bool
    """
    mean, W, psi = start
    variance = np.square(W).sum(axis=0) + psi
    scale = np.sqrt(np.full_like(psi, variance.mean()) if isotropic else variance)
    packed = PackedRows(rows, weight, mean, scale, len(W), n_threads)
    unit = float(packed.counts @ np.log(scale)) / packed.weight
    begin = Parameters(np.zeros_like(mean), W / scale, psi / scale**2)
    least = min(1e-3 * float(tol), LEAST_RISE)
    found, curve, converged = _maximize_scaled(
        packed, begin, isotropic, floor / scale**2, least, max_iter
    )
    curve = [value - unit for value in np.maximum.accumulate(curve).tolist()]
    return mean + found.mean * scale, found.W * scale, found.psi * scale**2, curve, converged


def _maximize_scaled(
    packed: PackedRows,
    at: Parameters,
    isotropic: bool,
    floor: Array,
    least: float,
    max_iter: int,
) -> tuple[Parameters, list[float], bool]:
    """Return parameters, curve and whether the iterations have converged, in units of columns."""
    reached, at, curve, is_over = _first_steps(packed, at, isotropic, floor, least, max_iter)
    if is_over or len(curve) == max_iter:
        return reached, curve, is_over
    coordinates = _Coordinates(at, isotropic, floor)

    def loss(x: Array) -> tuple[float, Array]:
        at = coordinates.parameters(x)
        moments = packed.moments(at)
        slope = coordinates.gradient(x, *gradient(moments, at))
        iteration(log_p=moments.log_likelihood / moments.weight)
        return -moments.log_likelihood / moments.weight, slope / -moments.weight

    n_steps, x = max_iter - len(curve), coordinates.of(at)
    evaluations = Replayed("observed entries", loss)
    checks = {"curve": CURVE, "n_iter": COUNT, "loss": NUMBER}
    stored = evaluations.result(checks, {"x": x})
    if stored is None:
        result = optimize.minimize(
            evaluations,
            x,
            jac=True,
            method="L-BFGS-B",
            bounds=coordinates.bounds(),
            callback=lambda intermediate_result: curve.append(-float(intermediate_result.fun)),
            options={
                "maxiter": n_steps,
                "maxfun": 20 * n_steps,
                "maxcor": 30,
                "ftol": least,
                "gtol": GRADIENT_TOLERANCE,
            },
        )
        record: dict[str, Any] = {
            "curve": curve,
            "n_iter": int(result.nit),
            "loss": float(result.fun),
        }
        found = {"x": result.x}
        evaluations.end(record, found)
    else:
        record, found = stored
    if -record["loss"] <= curve[FIRST_STEPS - 1] and record["n_iter"] == 0:
        return reached, curve, True
    return coordinates.parameters(found["x"]), record["curve"], record["n_iter"] < n_steps


def _first_steps(
    packed: PackedRows,
    at: Parameters,
    isotropic: bool,
    floor: Array,
    least: float,
    max_iter: int,
) -> tuple[Parameters, Parameters, list[float], bool]:
    """Return what iterations of EM have reached, the next parameters, the curve, and the end."""
    k, d = at.W.shape

    def step(x: Array) -> tuple[float, Array]:
        at = _unpacked(x, k, d)
        moments = packed.moments(at)
        value = moments.log_likelihood / moments.weight
        iteration(log_p=value)
        return value, _joined(Parameters(*patterns._maximize(moments, at, isotropic, floor)))

    steps = Replayed("expectation maximization", step)
    blank = {"reached": _joined(at), "next": _joined(at)}
    stored = steps.result({"curve": CURVE, "is_over": FLAG}, blank)
    if stored is None:
        curve: list[float] = []
        reached, following, is_over = _joined(at), _joined(at), False
        for _ in range(min(FIRST_STEPS, max_iter)):
            value, found = steps(following)
            if curve and not value > curve[-1] + least * max(abs(value), 1.0):
                is_over = True
                break
            curve.append(value)
            reached, following = following, found
        stored = {"curve": curve, "is_over": is_over}, {"reached": reached, "next": following}
        steps.end(*stored)
    record, tensors = stored
    before, after = (_unpacked(tensors[name], k, d) for name in ("reached", "next"))
    return before, after, list(record["curve"]), record["is_over"]  # a list that will grow


def _joined(at: Parameters) -> Array:
    return np.concatenate([at.mean, at.W.ravel(), at.psi])


def _unpacked(x: Array, k: int, d: int) -> Parameters:
    return Parameters(x[:d], x[d : d + k * d].reshape(k, d), x[d + k * d :])
