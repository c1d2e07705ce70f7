"""Fits of a mixture: starts, EM to its end, components that lose their rows, sizes by BIC."""

import itertools
from typing import Any, NamedTuple

import numpy as np

from aefast._base import threads
from aefast._base.checkpoints import check_tensors, identified
from aefast._base.progress import progress_bar
from aefast._base.random import random_state_of
from aefast._base.saving import COUNT, CURVE, FLAG, check_entries
from aefast.linear import mixture_start, patterns
from aefast.linear.mixture_fit import (
    FIRST_INNER_STEPS,
    INNER_STEPS,
    Mixture,
    factor_analysis_steps,
    principal_components,
)

MOST_AXES = 64  # principal components that k-means looks at
# checks of a run's state in a checkpoint
_COUNTERS = (
    dict.fromkeys(("n_iter", "n_restarts", "n_removed", "n_reached"), COUNT)
    | dict.fromkeys(("is_restarted", "converged"), FLAG)
    | {"curve": CURVE}
)
PATIENCE = 2  # numbers of components in a row without a better criterion, after which "bic" ends


class Rows(NamedTuple):
    """Rows to fit to, and what is known of them."""

    source: Any  # `RowsOfTable` or `RowsOfPartitions`
    mean: np.ndarray  # (d,)
    covariance: np.ndarray  # (d, d)
    scale: np.ndarray  # (d,), the units of columns in which rows are clustered
    floor: np.ndarray  # (d,), least noise variances
    rank: int
    row_weight: float  # what counts as one row: 1, or the mean weight where it is less


class Options(NamedTuple):
    """Parameters of the estimator that a fit reads."""

    isotropic: bool
    tol: float
    max_iter: int
    n_init: int
    n_threads: int | None
    verbose: int | bool


class Fitted(NamedTuple):
    """Mixture with the record of its iterations."""

    mixture: Any  # Mixture, None before the first pass has ended
    curve: list  # mean log-likelihood of each iteration's parameters; rising
    converged: bool
    n_iter: int
    n_removed: int


class Run:
    """EM from one start.

    A component whose responsibilities add up to fewer than k + 2 rows cannot
    carry its loadings. It is restarted: it takes half of the component of largest weight, which
    is split along its largest loading. There are as many restarts as components; after them such
    a component is removed.
    """

    def __init__(self, rows, k, n_mixtures, options, random, stage=None):
        self.stage = stage
        self.place: Any = None
        self.rows, self.k, self.options, self.random = rows, k, options, random
        self.n_mixtures, self.n_restarts, self.n_removed = n_mixtures, 0, 0
        self.curve, self.n_iter, self.reached = [], 0, None

    def fitted(self, converged):
        return Fitted(self.reached, self.curve, converged, self.n_iter, self.n_removed)

    def __call__(self):
        """Return the `Fitted` of this start, whose mixture is `reached`."""
        fitted = self._fitted()
        if self.stage is not None and not self.stage.is_over:
            self._remember(self.reached, self.n_iter, False)
            self._store(is_over=True, converged=fitted.converged)
        return fitted

    @threads.with_same_bits
    def _fitted(self):
        options, is_restarted = self.options, False
        stage = f"{self.n_mixtures} x {self.k}: "
        n_rows = self.rows.source.n_rows
        with progress_bar(options.verbose, options.max_iter, n_rows, stage) as report:
            mixture, first = self._started(), 1  # also before going on: it draws random numbers
            if self.stage is not None and self.stage.found is not None:
                mixture, is_restarted, converged = self._go_on_from(self.stage.found)
                first = self.n_iter + 1
                report.go_on(self.n_iter)
                if self.stage.is_over:
                    return self.fitted(converged)
            for self.n_iter in range(first, options.max_iter + 1):
                self._remember(mixture, self.n_iter - 1, is_restarted)
                if self.stage is not None and self.stage.is_due(self.n_iter, after_epoch=True):
                    self._store()
                found = self._pass(mixture, report.begin(self.n_iter, None))
                value = found.log_likelihood
                report.end(self.n_iter, log_likelihood=value)
                if is_restarted:
                    self.curve, is_restarted = [], False
                if self.curve and not value > self.curve[-1]:  # less than rounding errors
                    return self.fitted(True)
                is_last = bool(self.curve) and value - self.curve[-1] < options.tol
                self.curve, self.reached = [*self.curve, value], mixture
                lost = found.masses < (self.k + 2) * self.rows.row_weight
                if lost.any() and len(lost) > 1:
                    mixture, is_restarted = self._without_lost(found, mixture, lost), True
                elif is_last:
                    return self.fitted(True)
                else:
                    mixture = self._maximized(found, mixture, INNER_STEPS)
        return self.fitted(False)

    # ---- checkpoints ----

    def _remember(self, mixture, n_iter, is_restarted):
        """Remember the iteration that comes next, in one assignment."""
        reached = self.reached
        counters = {
            "n_iter": n_iter,
            "n_restarts": self.n_restarts,
            "n_removed": self.n_removed,
            "n_reached": 0 if reached is None else len(reached.weights),
            "is_restarted": is_restarted,
        }
        self.place = mixture, reached, self.curve, counters

    def _store(self, *, is_over=False, converged=False):
        """Store the iteration that is remembered, or the end of the run."""
        mixture, reached, curve, counters = self.place
        values = {"curve": [float(value) for value in curve], "converged": bool(converged)}
        tensors = _arrays("", mixture)
        tensors |= {} if reached is None else _arrays("reached.", reached)
        n_steps = counters["n_iter"] + 1
        self.stage.write(counters | values, tensors, n_steps=n_steps, is_over=is_over)

    def _go_on_from(self, found):
        """Set what a checkpoint has; return the mixture and two flags."""
        state, tensors = found.state, found.tensors
        check_entries("run", state, _COUNTERS)
        n_mixtures, d = len(tensors.get("weights", ())), len(self.rows.mean)
        expected = _arrays("", _blank(n_mixtures, self.k, d))
        if state["n_reached"]:
            expected |= _arrays("reached.", _blank(state["n_reached"], self.k, d))
        if not max(n_mixtures, state["n_reached"]) <= self.n_mixtures:
            raise ValueError(f"expected at most {self.n_mixtures} components, got {n_mixtures}")
        check_tensors(tensors, expected)
        for name in ("n_iter", "n_restarts", "n_removed", "curve"):
            setattr(self, name, state[name])
        fields = Mixture._fields
        if state["n_reached"]:
            self.reached = Mixture(*(tensors[f"reached.{name}"] for name in fields))
        mixture = Mixture(*(tensors[name] for name in fields))
        return mixture, state["is_restarted"], state["converged"]

    # ---- passes ----

    def _pass(self, mixture, on_slice):
        return self.rows.source.expectation(mixture, on_slice)

    def _started(self):
        """Return the mixture of the first M-step, from the clusters of k-means."""
        rows, d = self.rows, len(self.rows.mean)
        q = min(MOST_AXES, rows.rank, d)
        axes = mixture_start.principal_axes(rows.mean, rows.covariance, rows.scale, q)
        codes, weight = rows.source.sampled_codes(axes, self.random)
        centers = mixture_start.cluster_centers(codes, weight, self.n_mixtures, self.random)
        found = rows.source.clusters(axes, centers, rows.mean)
        self.n_removed += self.n_mixtures - len(centers)
        kept = found.masses >= (self.k + 2) * self.rows.row_weight
        if not kept.any():
            kept = found.masses == found.masses.max()
        self.n_removed += int(np.sum(~kept))
        sums = list(itertools.compress(found.sums, kept))
        return self._from_moments(
            found.masses[kept], *zip(*(of.moments() for of in sums), strict=True)
        )

    def _from_moments(self, masses, means, covariances):
        """Return the mixture of these moments, its noise and loadings from principal components."""
        rows, isotropic = self.rows, self.options.isotropic
        unit = np.ones(len(rows.scale)) if isotropic else rows.scale
        found = [
            principal_components(C / np.outer(unit, unit), self.k, rows.floor / unit**2)
            for C in covariances
        ]
        W, psi = (np.array(part) for part in zip(*found, strict=True))
        W, psi = W * unit, psi * unit**2
        if not isotropic:
            W, psi = factor_analysis_steps(
                np.array(covariances), W, psi, rows.floor, FIRST_INNER_STEPS
            )
        return Mixture(masses / masses.sum(), np.array(means), W, psi)

    # ---- M-step ----

    def _maximized(self, found, mixture, n_steps):
        """Return the mixture of the M-step."""
        rows, isotropic = self.rows, self.options.isotropic
        weights = found.masses / found.masses.sum()
        if not rows.source.is_complete:
            fits = [
                patterns._maximize(of, before, isotropic, rows.floor)
                for of, *before in zip(
                    found.sums, mixture.means, mixture.W, mixture.psi, strict=True
                )
            ]
            return Mixture(weights, *(np.array(part) for part in zip(*fits, strict=True)))
        means, covariances = zip(*(of.moments() for of in found.sums), strict=True)
        if isotropic:
            fits = [principal_components(C, self.k, rows.floor) for C in covariances]
            W, psi = (np.array(part) for part in zip(*fits, strict=True))
        else:
            W, psi = factor_analysis_steps(
                np.array(covariances), mixture.W, mixture.psi, rows.floor, n_steps
            )
        return Mixture(weights, np.array(means), W, psi)

    def _without_lost(self, found, mixture, lost):
        """Return the mixture with restarted components, or without them."""
        n_lost = int(lost.sum())
        if lost.all():
            lost = found.masses < found.masses.max()
            lost[np.flatnonzero(~lost)[1:]] = True
        kept = mixture.of(~lost)
        if self.n_restarts + n_lost > self.n_mixtures:
            self.n_removed += n_lost
            return kept
        self.n_restarts += n_lost
        for _ in range(n_lost):
            kept = _with_largest_split(kept)
        return kept


def _arrays(prefix, mixture):
    """Return the arrays of a mixture by their names in checkpoints."""
    return {f"{prefix}{name}": array for name, array in mixture._asdict().items()}


def _blank(n_mixtures, k, d):
    shapes = (n_mixtures,), (n_mixtures, d), (n_mixtures, k, d), (n_mixtures, d)
    return Mixture(*map(np.empty, shapes))


def _with_largest_split(mixture):
    """Return the mixture with its component of largest weight split along its largest loading."""
    m = int(mixture.weights.argmax())
    W, psi = mixture.W[m], mixture.psi[m]
    axis = W[np.square(W / np.sqrt(psi)).sum(axis=1).argmax()]
    weights, means = mixture.weights.copy(), mixture.means.copy()
    weights[m] /= 2
    means[m] -= axis
    return Mixture(
        np.append(weights, weights[m]),
        np.vstack([means, means[m] + 2 * axis]),
        np.concatenate([mixture.W, W[None]]),
        np.vstack([mixture.psi, psi]),
    )


class Search:
    """Fits of all sizes from all starts; the best is kept by its Bayesian criterion.

    Parameters
    ----------
    options : Options
    sizes : (list of int or None, list of int)
        Numbers of components, None for "bic", and of factors.
    random_state : int, RandomState instance or None
    n_parameters : callable
        n_parameters(M, k) returns the number of free parameters.
    checkpoint : Checkpoint or None

    Attributes
    ----------
    rows : Rows
        Set before the search begins.
    best : Fitted or None
    bic : float
        The criterion of the best fit.
    tried : list of (n_mixtures, k, bic)
    """

    rows: Rows

    def __init__(self, options, sizes, random_state, n_parameters, checkpoint=None):
        self.checkpoint, self.options, self.sizes = checkpoint, options, sizes
        self.random_state, self.random = random_state, random_state_of(random_state)
        self.n_parameters = n_parameters
        self.best, self.bic, self.tried, self.run = None, np.inf, [], None

    def identify(self, tables, feature_names):
        """Tell the checkpoint what the fit is, and take the seed that it has."""
        found = identified(self.checkpoint, self.random_state, tables, feature_names)
        self.random = random_state_of(found)

    def __call__(self):
        """Try all sizes."""
        sizes, k_values = self.sizes
        for k in k_values:
            if sizes is None:
                self.rise(k, max(1, self.rows.source.n_rows // (k + 2)))
            for n_mixtures in sizes or ():
                self.try_size(n_mixtures, k)

    def try_size(self, n_mixtures, k):
        """Fit mixtures of one size and return the least criterion of its starts."""
        least = np.inf
        for start in range(1 if n_mixtures == 1 else self.options.n_init):
            name = f"{n_mixtures} x {k}, start {start}"
            stage = None if self.checkpoint is None else self.checkpoint.stage(name)
            self.run = Run(self.rows, k, n_mixtures, self.options, self.random, stage)
            least = min(least, self._compared(self.run()))
        self.run = None
        self.tried.append((n_mixtures, k, least))
        return least

    def rise(self, k, most):
        """Try 1, 2, ... components until PATIENCE of them in a row bring no improvement."""
        least, n_worse = np.inf, 0
        for n_mixtures in range(1, most + 1):
            value = self.try_size(n_mixtures, k)
            n_worse = 0 if value < least else n_worse + 1
            least = min(least, value)
            if n_worse == PATIENCE:
                return

    def keep_interrupted(self):
        """Store and compare what the run that was interrupted has reached."""
        if self.checkpoint is not None and self.run is not None and self.run.place is not None:
            self.run._store()
        if self.run is not None and self.run.reached is not None and self.run.curve:
            self._compared(self.run.fitted(False))

    def _compared(self, fitted):
        """Return the criterion of a fit, which becomes the best one if it is."""
        M, k = fitted.mixture.W.shape[:2]
        weight = self.rows.source.weight_sum
        value = self.n_parameters(M, k) * np.log(weight) - 2 * weight * fitted.curve[-1]
        if self.best is None or value < self.bic:
            self.best, self.bic = fitted, float(value)
        return float(value)
