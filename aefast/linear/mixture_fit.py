"""EM of mixtures of linear Gaussian models, from weighted statistics of each component."""

from typing import NamedTuple

import numpy as np
from scipy import linalg, special

from aefast._base import threads
from aefast._base._statistics import Accumulator
from aefast._base.arrays import real_type
from aefast._base.errors import too_large_error
from aefast._base.float_range import all_finite
from aefast._base.passes import Pace, slices
from aefast._base.sparse_rows import as_dense
from aefast.linear import patterns
from aefast.linear.gaussian import LinearGaussian

SLAB_ROWS = 512  # rows that the statistics' kernel takes between two barriers
CHUNK_ENTRIES = 1 << 19  # entries in a chunk of rows
# Responsibilities below this one count as 0: their rows would be lost in the rounding of sums.
NEGLIGIBLE = float(np.finfo(np.float64).eps)
INNER_STEPS = 10  # steps of EM for loadings and noise in one M-step of factor analysers
FIRST_INNER_STEPS = 50  # in the first M-step, from principal components


class Mixture(NamedTuple):
    """Parameters of a mixture of M linear Gaussian models; float64."""

    weights: np.ndarray  # (M,), positive, of sum 1
    means: np.ndarray  # (M, d)
    W: np.ndarray  # (M, k, d)
    psi: np.ndarray  # (M, d), positive

    def gaussians(self):
        """Return the components as `LinearGaussian`."""
        return [LinearGaussian(*of) for of in zip(self.means, self.W, self.psi, strict=True)]

    def of(self, kept):
        """Return the components of an index array or mask, their weights scaled to sum 1."""
        weights = self.weights[kept]
        return Mixture(weights / weights.sum(), self.means[kept], self.W[kept], self.psi[kept])


def chunks(rows):
    """Yield slices of rows whose sums are added together; they follow from the shape alone."""
    n, d = rows.shape
    size = max(SLAB_ROWS, CHUNK_ENTRIES // d // SLAB_ROWS * SLAB_ROWS)
    return slices(n, Pace.fixed(size), rows)


# ---- E-step ----


def joint_log_densities(rows, gaussians, log_weights, n_threads, name="X"):
    """Return ``log π_m p(x_o | m)`` (n, M) of dense rows, x_o the observed entries of a row."""
    joint = np.empty((len(rows), len(gaussians)))
    for m, gaussian in enumerate(gaussians):
        distances = gaussian.mahalanobis(rows, n_threads, name)
        if distances is None:
            log_p = patterns.distances_of_rows(rows, gaussian)[1]
        else:
            log_p = gaussian.log_likelihood(distances)
        joint[:, m] = log_p + log_weights[m]
    return joint


def normalised(joint):
    """Return log p (n,) of rows, and responsibilities (n, M), from ``log π_m p(x | m)``."""
    log_p = special.logsumexp(joint, axis=1)
    return log_p, np.exp(joint - log_p[:, None])


class Statistics:
    """Sums over rows that a component is responsible for, about its present mean."""

    def __init__(self, center, dtype, n_threads):
        self.center = np.ascontiguousarray(center, dtype)
        self.n_threads = n_threads
        self.accumulator = Accumulator(self.center, n_threads)
        self.mass = 0.0

    def add(self, rows, weight):
        """Add dense rows with these weights (n,).

        Where fewer than half of the rows have a weight, these rows are gathered first.
        """
        counted = weight > 0
        n_counted = np.count_nonzero(counted)
        if n_counted == 0:
            return
        if 2 * n_counted < len(rows):
            rows, weight = rows[counted], weight[counted]
        self.mass += float(weight.sum())
        self.accumulator.add(rows, np.ascontiguousarray(weight))

    def finished(self):
        """Return the sums as `ComponentSums`."""
        d = len(self.center)
        sums, scatter = np.zeros(d), np.zeros((d, d))
        self.accumulator.finish(sums, scatter)
        return ComponentSums(self.center, self.mass, sums, scatter)

    def moments(self):
        """Return mean (d,) and covariance (d, d) of the rows."""
        return self.finished().moments()


class ComponentSums(NamedTuple):
    """Sums over rows that a component is responsible for, about a centre."""

    center: np.ndarray  # (d,)
    mass: float  # sum of responsibilities
    sums: np.ndarray  # (d,) float64
    scatter: np.ndarray  # (d, d) float64

    def combined(self, other):
        """Return the sums over both sets of rows, about the same centre."""
        with np.errstate(over="ignore", invalid="ignore"):
            return ComponentSums(
                self.center,
                self.mass + other.mass,
                self.sums + other.sums,
                self.scatter + other.scatter,
            )

    def moments(self):
        """Return mean (d,) and covariance (d, d) of the rows."""
        offset = self.sums / self.mass
        covariance = self.scatter / self.mass - np.outer(offset, offset)
        if not all_finite(covariance):
            raise too_large_error("the sums of squares of X", np.dtype(np.float64))
        return self.center + offset, covariance


class Pass(NamedTuple):
    """Result of one pass over the rows."""

    log_likelihood: float  # mean log p(x) of the parameters that the pass was made with
    masses: np.ndarray  # (M,), sums of weighted responsibilities
    sums: list  # with `moments` of each component, or `patterns.Moments` where entries are missing


class Sums(NamedTuple):
    """What the rows of one partition contribute to a `Pass`."""

    log_likelihood: float  # sum of weighted log p(x)
    weight: float  # sum of weights
    components: list  # `ComponentSums` of each component

    def combined(self, other):
        """Return the sums over both partitions, of one and the same mixture."""
        pairs = zip(self.components, other.components, strict=True)
        return Sums(
            self.log_likelihood + other.log_likelihood,
            self.weight + other.weight,
            [mine.combined(its) for mine, its in pairs],
        )

    def as_pass(self):
        masses = np.array([component.mass for component in self.components])
        return Pass(float(self.log_likelihood / self.weight), masses, self.components)


def sums_of_pass(rows, weight, share_of, centers, n_threads, *, dtype):
    """Return the `Sums` of one pass over complete rows, dense or CSR, in a real type."""
    total, total_weight, sums = _summed(rows, weight, share_of, centers, n_threads, dtype=dtype)
    return Sums(float(total), float(total_weight), [of.finished() for of in sums])


def complete_pass(rows, weight, share_of, centers, n_threads, *, fill=None, on_slice=None):
    """Return the `Pass` over rows, dense or CSR.

    share_of(dense rows of a chunk) returns log p (n,) and responsibilities (n, M). Missing entries
    are replaced by those of `fill` (d,), where it is given.
    """
    dtype = real_type(rows.dtype) if fill is None else np.dtype(np.float64)
    options = {"dtype": dtype, "fill": fill, "on_slice": on_slice}
    total, total_weight, sums = _summed(rows, weight, share_of, centers, n_threads, **options)
    masses = np.array([of_component.mass for of_component in sums])
    return Pass(float(total / total_weight), masses, sums)


def _summed(rows, weight, share_of, centers, n_threads, *, dtype, fill=None, on_slice=None):
    """Return the sum of log p, that of weights, and `Statistics` of each component."""
    n, d = rows.shape
    size = threads.effective_n_threads(n_threads, float(n) * d * d)
    sums = [Statistics(center, dtype, size) for center in centers]
    total = total_weight = 0.0
    for part in chunks(rows):
        X = as_dense(rows[part])
        X = X if fill is None else np.where(np.isnan(X), fill, X)
        log_p, shares = share_of(X)
        of_rows = np.ones(len(X)) if weight is None else weight[part]
        shares = np.where(shares < NEGLIGIBLE, 0.0, shares) * of_rows[:, None]
        for m, of_component in enumerate(sums):
            of_component.add(X, shares[:, m])
        total, total_weight = total + of_rows @ log_p, total_weight + of_rows.sum()
        if on_slice is not None:
            on_slice(len(X), -total / total_weight)
    return total, total_weight, sums


def incomplete_pass(rows, weight, mixture, on_slice=None):
    """Return the `Pass` over rows with missing entries."""
    k, d = mixture.W.shape[1:]
    sums = [patterns.Moments(k, d) for _ in mixture.weights]
    total = total_weight = 0.0
    with np.errstate(divide="ignore"):
        log_weights = np.log(mixture.weights)
    for part, block in patterns.blocks(rows, np.zeros(d), k * len(sums)):
        posteriors, joint = [], np.empty((len(block.places), len(sums)))
        observed = block.patterns[block.of_row]
        for m, mean in enumerate(mixture.means):
            centred = block._replace(residuals=block.residuals - observed * mean)
            post = patterns.posterior(centred, mixture.W[m], mixture.psi[m])
            joint[:, m] = patterns.log_likelihoods(centred, post) + log_weights[m]
            posteriors.append((centred, post))
        log_p, shares = normalised(joint)
        of_rows = weight[part][block.places]
        for m, (centred, post) in enumerate(posteriors):
            sums[m].add(centred, post, shares[:, m] * of_rows)
        total, total_weight = total + of_rows @ log_p, total_weight + of_rows.sum()
        if on_slice is not None:
            on_slice(len(log_p), -total / total_weight)
    masses = np.array([of_component.weight for of_component in sums])
    return Pass(float(total / total_weight), masses, sums)


# ---- M-step ----


def principal_components(C, k, floor):
    """Return W (k, d) and psi (d,) of probabilistic PCA with the covariance C.

    The noise variance is at least the mean of `floor` (d,).
    """
    d = len(C)
    values, U = linalg.eigh(C, subset_by_index=[d - k, d - 1], check_finite=False)
    values, U = np.maximum(values[::-1], 0.0), U[:, ::-1].T
    left = (np.trace(C) - values.sum()) / (d - k) if d > k else 0.0
    noise = max(left, float(floor.mean()))
    return np.sqrt(np.maximum(values - noise, 0.0))[:, None] * U, np.full(d, noise)


def factor_analysis_steps(C, W, psi, floor, n_steps):
    """Return W (M, k, d) and psi (M, d) after steps of EM on covariances C (M, d, d).

    The covariance of the factors is a parameter of the steps, absorbed into W (Liu, Rubin & Wu
    1998). Each step raises the likelihood of every C.
    """
    identity, variance = np.eye(W.shape[1]), np.diagonal(C, axis1=1, axis2=2)
    for _ in range(n_steps):
        scaled = W / psi[:, None, :]
        inverse = np.linalg.inv(identity + scaled @ W.transpose(0, 2, 1))
        beta = inverse @ scaled
        cross = beta @ C
        factors = inverse + cross @ beta.transpose(0, 2, 1)
        factors = 0.5 * (factors + factors.transpose(0, 2, 1))
        coefficients = np.linalg.solve(factors, cross)
        psi = np.maximum(variance - (coefficients * cross).sum(axis=1), floor)
        W = np.linalg.cholesky(factors).transpose(0, 2, 1) @ coefficients
    return W, psi
