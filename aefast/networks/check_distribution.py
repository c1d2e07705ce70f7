"""Checks of user-defined distributions: `aefast.distributions.check_distribution`."""

from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np

from aefast._base import scalars
from aefast._base.errors import shown
from aefast._base.random import random_state_of
from aefast._base.types import DistributionLike, RandomState
from aefast.networks.distribution import Distribution

ETA = np.linspace(-2.6, 2.7, 9)  # values of η at which everything is checked
FAR = np.array([-20.0, 20.0])  # values of η at which losses must still be finite
STEP = 1e-5  # step of finite differences
N_POINTS = 20_001  # number of points of integrals
N_TERMS = 100_000  # number of terms of sums over counts
WORST = 6.0  # largest error of a sample's average, in standard errors
# largest distance of Kolmogorov times √n; the distance is larger once in 30 million samples
WORST_DISTANCE = 3.0


def check_distribution(
    distribution: DistributionLike,
    *,
    density: bool = True,
    average: Callable[..., Any] | None = None,
    n_samples: int = 20_000,
    random_state: RandomState | None = 0,
) -> None:
    """Check a user-defined distribution at values of η between −2.6 and 2.7.

    The checks are:

    * arrays have the right shapes and types;
    * losses are finite, at η = ±20 too;
    * the derivative lies between the one-sided differences of the loss;
    * the loss of an entry does not depend on the others;
    * `link` is the inverse of `mean` and finite at the ends of the domain;
    * samples are reproducible, in the domain, and have the right average;
    * the density integrates to 1 (sums to 1, if samples are integers);
    * samples follow the density (Kolmogorov–Smirnov).

    Parameters
    ----------
    distribution : Distribution
    density : bool, default=True
        False omits the last two checks, for a loss that is not the logarithm of a density, or for a
        distribution with a density and atoms.
    average : callable or None, default=None
        Function of samples (n_samples, m) whose result (m,) is compared with `mean`; None: the
        arithmetic mean. Angles need their mean direction; heavy tails, which have no mean, the
        median.
    n_samples : int, default=20_000
        Number of samples at each η.
    random_state : int, default=0
        Seed of the samples.

    Raises
    ------
    AssertionError
        For the first fault found; the message names the method, the place, the expected value and
        the one found.
    """
    _Check(distribution, random_state, n_samples).run(density, average)


class _Check:
    """The checks of one distribution, of which each is a method that raises AssertionError."""

    def __init__(self, distribution, random_state, n_samples):
        if not isinstance(distribution, Distribution):
            raise AssertionError(
                "expected an instance of a subclass of aefast.distributions.Distribution, got "
                f"{shown(distribution)}"
            )
        self.distribution, self.n_samples = distribution, scalars.as_integer(n_samples, "n_samples")
        if not 1 <= self.n_samples <= scalars.LARGEST_SIZE:
            raise ValueError(f"n_samples must be in [1, {scalars.LARGEST_SIZE}], got {n_samples}")
        if isinstance(random_state, Integral):
            random_state_of(random_state)
            self.seed = int(random_state)
        else:
            self.seed = int(random_state_of(random_state).randint(2**31))
        self.name = distribution.name

    def run(self, density, average):
        density = scalars.as_flag(density, "density")
        if not (average is None or callable(average)):
            raise TypeError(f"average must be a function or None, got {shown(average)}")
        self.attributes()
        self.links()
        x = self.samples()
        self.losses(x)
        self.elementwise(x)
        self.derivatives(x)
        self.averages(x, average)
        if density:
            self.densities(x)

    def require(self, condition, method, message):
        if not condition:
            where = f"{self.name}.{method}" if method else str(self.name)
            raise AssertionError(f"{where}: {message}")

    def call(self, method, *arrays):
        """Call a method with read-only arguments, check shapes and types, return the result."""
        for array in arrays:
            if isinstance(array, np.ndarray):
                array.flags.writeable = False
        try:
            result = getattr(self.distribution, method)(*arrays)
        except ValueError as error:
            if "read-only" in str(error):
                self.require(False, method, f"writes to its arguments: {error}")
            raise
        if method == "loss":
            message = f"expected a tuple (loss, derivative), got {type(result).__name__}"
            self.require(isinstance(result, tuple) and len(result) == 2, method, message)
        for array in result if method == "loss" else (result,):
            expected = arrays[0].shape
            self.require(
                isinstance(array, np.ndarray) and array.shape == expected,
                method,
                f"expected arrays of shape {expected}, as its arguments have, got shape "
                f"{np.shape(array)}",
            )
            self.require(
                array.dtype.kind in "fiub", method, f"expected real numbers, got {array.dtype}"
            )
        return result

    # ---- the checks ----

    def attributes(self):
        name, domain = self.name, self.distribution.domain
        self.require(isinstance(name, str) and name, "name", f"expected a string, got {name!r}")
        try:
            low, high = (float(end) for end in domain)
        except (TypeError, ValueError):
            low = high = np.nan
        self.require(low < high, "domain", f"expected (low, high) with low < high, got {domain!r}")
        self.low, self.high = low, high

    def links(self):
        """Check that the link inverts the mean and is finite at the ends of the domain."""
        means = self.call("mean", ETA[np.newaxis].copy())
        self.require(np.isfinite(means).all(), "mean", f"not finite: {means[0]} at eta = {ETA}")
        outside = (means < self.low) | (means > self.high)
        self.require(
            not outside.any(),
            "mean",
            f"expected means in the domain {(self.low, self.high)}, got {means[outside][:1]}",
        )
        back = self.call("link", means)
        self.compare("link", back[0], ETA, 1e-6, lambda i: f"link(mean(eta)) at eta = {ETA[i]:.4g}")
        for end in (self.low, self.high):
            if np.isfinite(end):
                eta = self.call("link", np.full((1, 1), end))
                message = (
                    f"expected a finite eta for the mean {end:g}, an end of the domain, got "
                    f"{eta[0, 0]}"
                )
                self.require(np.isfinite(eta).all(), "link", message)

    def samples(self):
        """Check that samples are reproducible and in the domain; return one column for each η."""
        eta = np.tile(ETA, (self.n_samples, 1))
        draws = [self.call("sample", eta, np.random.default_rng(self.seed)) for _ in range(2)]
        self.require(
            np.array_equal(*draws),
            "sample",
            "two generators with the same seed gave different samples; is there another source of "
            "chance than `random`?",
        )
        x = draws[0].astype(np.float64)
        other = self.call("sample", eta, np.random.default_rng(self.seed + 1))
        self.require(
            not np.array_equal(x, other), "sample", "expected other samples from another seed"
        )
        inside = np.isfinite(x) & (x >= self.low) & (x <= self.high)
        self.require(
            inside.all(),
            "sample",
            f"expected samples in the domain {(self.low, self.high)}, got {x[~inside][:1]}",
        )
        try:
            self.distribution.check(x)
        except ValueError as error:
            raise AssertionError(f"{self.name}.check refuses the samples: {error}") from error
        return x

    def losses(self, x):
        """Check that losses are finite, for large |η| too, and that float32 agrees with float64."""
        x = x[:20]
        eta = np.tile(ETA, (len(x), 1))
        loss, derivative = self.call("loss", eta, x)
        for far in FAR:
            self.finite(np.full_like(eta, far), x, *self.call("loss", np.full_like(eta, far), x))
        self.finite(eta, x, loss, derivative)
        narrow = [np.asarray(array, np.float32) for array in (eta, x)]
        of_narrow = self.call("loss", *(array.astype(np.float64) for array in narrow))
        for wide, small in zip(of_narrow, self.call("loss", *narrow), strict=True):
            self.compare("loss", small, wide, 1e-3, lambda i: f"float32 at {self.place(eta, x, i)}")

    def finite(self, eta, x, loss, derivative):
        """Check that losses and derivatives are finite."""
        for array, what in ((loss, "loss"), (derivative, "derivative")):
            bad = ~np.isfinite(array)
            if bad.any():
                i = tuple(np.argwhere(bad)[0])
                self.require(
                    False,
                    "loss",
                    f"the {what} at {self.place(eta, x, i)} is not finite: {array[i]}",
                )

    def elementwise(self, x):
        """Check that the loss of an entry does not depend on the other entries."""
        x = x[:3]
        eta = np.tile(ETA, (len(x), 1))
        whole = self.call("loss", eta, x)
        for i in np.ndindex(eta.shape):
            alone = self.call("loss", eta[i].reshape(1, 1).copy(), x[i].reshape(1, 1).copy())
            for one, all_of_them in zip(alone, whole, strict=True):
                self.require(
                    np.isclose(one[0, 0], all_of_them[i], rtol=1e-9, atol=1e-12),
                    "loss",
                    f"expected each entry to count by itself; at {self.place(eta, x, i)} got "
                    f"{one[0, 0]} alone and "
                    f"{all_of_them[i]} among others",
                )

    def derivatives(self, x):
        """Check that derivatives lie between the one-sided differences of the loss.

        The check holds for smooth losses and at the kinks of convex ones.
        """
        x = x[:40]
        eta = np.tile(ETA, (len(x), 1))
        loss, derivative = self.call("loss", eta, x)
        left = (loss - self.call("loss", eta - STEP, x)[0]) / STEP
        right = (self.call("loss", eta + STEP, x)[0] - loss) / STEP
        slack = 1e-6 * (1 + np.abs(left) + np.abs(loss))
        off = (derivative < np.minimum(left, right) - slack) | (
            derivative > np.maximum(left, right) + slack
        )
        if off.any():
            i = tuple(np.argwhere(off)[0])
            self.require(
                False,
                "loss",
                f"the derivative at {self.place(eta, x, i)}: expected "
                f"{(left[i] + right[i]) / 2:.6g}, the difference quotient of the "
                f"loss, got {derivative[i]:.6g}",
            )

    def averages(self, x, average):
        """Compare averages of samples with the mean, in standard errors estimated from batches."""
        average = average or (lambda x: x.mean(axis=0))
        means = self.call("mean", ETA[np.newaxis].copy())[0]
        batches = np.array([average(batch) for batch in np.array_split(x, 40)])
        error = batches.std(axis=0, ddof=1) / np.sqrt(len(batches))
        got = np.asarray(average(x))
        for i, eta in enumerate(ETA):
            self.require(
                abs(got[i] - means[i]) <= WORST * error[i] + 1e-9 * (1 + abs(means[i])),
                "sample",
                f"the average of {len(x)} samples at eta = {eta:.4g}: expected mean(eta) = "
                f"{means[i]:.5g}, got {got[i]:.5g}, "
                f"standard error {error[i]:.2g}",
            )

    def densities(self, x):
        """Check that exp(−loss) integrates (or sums) to 1 and that samples follow it."""
        for i, eta in enumerate(ETA):
            column = np.sort(x[:, i])
            discrete = bool((column == np.rint(column)).all())
            points, weights = self.counts(column) if discrete else self.quadrature(column)
            at = np.full((len(points), 1), eta)
            loss, _ = self.call("loss", at, points[:, np.newaxis].copy())
            with np.errstate(over="ignore", under="ignore"):
                mass = np.exp(-loss[:, 0].astype(np.float64)) * weights
            self.require(
                abs(mass.sum() - 1) < 1e-3,
                "loss",
                f"exp(-loss) at eta = {eta:.4g}: expected it to "
                f"{'sum' if discrete else 'integrate'} to 1 over the domain "
                f"{(self.low, self.high)}, got {mass.sum():.6g} (density=False for a loss that is "
                "no density)",
            )
            n = len(column)
            if discrete:
                expected, at = np.cumsum(mass), np.searchsorted(column, points, side="right") / n
            else:
                expected = np.interp(column, points, np.cumsum(mass) - 0.5 * mass)
                at = (np.arange(n) + 0.5) / n
            distance = np.abs(expected - at).max()
            self.require(
                distance * np.sqrt(n) < WORST_DISTANCE,
                "sample",
                f"{n} samples at eta = {eta:.4g} do not follow exp(-loss): their distribution "
                f"functions are {distance:.3g} apart",
            )

    def counts(self, column):
        """Return the integers at which probabilities of a discrete x are summed, and weights 1."""
        low = self.low if np.isfinite(self.low) else column[0] - N_TERMS // 2
        high = min(self.high, low + N_TERMS)
        points = np.arange(np.ceil(low), np.floor(high) + 1)
        return points, np.ones(len(points))

    def quadrature(self, column):
        """Return points and weights of the trapezoidal rule after a change of variable.

        The substitution moves finite ends of the domain to infinity (Takahasi & Mori 1974).
        """
        low, high = self.low, self.high
        middle, scale = np.median(column), np.subtract(*np.quantile(column, [0.75, 0.25])) + 1e-12
        if np.isfinite(low) and np.isfinite(high):
            t = np.linspace(-3.0, 3.0, N_POINTS)
            half, s = 0.5 * (high - low), 0.5 * np.pi * np.sinh(t)
            points = low + half * np.exp(s) / np.cosh(s)
            slope = half * 0.5 * np.pi * np.cosh(t) / np.cosh(s) ** 2
        elif np.isfinite(low) or np.isfinite(high):
            t = np.linspace(-4.0, 8.0, N_POINTS)
            distance = (abs(middle - (low if np.isfinite(low) else high)) + scale) * np.exp(
                t - np.exp(-t)
            )
            slope = distance * (1 + np.exp(-t))
            points = low + distance if np.isfinite(low) else (high - distance)[::-1]
            slope = slope if np.isfinite(low) else slope[::-1]
        else:
            t = np.linspace(-10.0, 10.0, N_POINTS)
            points, slope = middle + scale * np.sinh(t), scale * np.cosh(t)
        return points, slope * (t[1] - t[0])

    def compare(self, method, actual, expected, tolerance, where):
        """Check that arrays agree; `where` describes an index in the message."""
        off = ~(np.abs(actual - expected) <= tolerance * (1 + np.abs(expected)))
        if off.any():
            i = tuple(np.argwhere(off)[0])
            self.require(
                False,
                method,
                f"{where(i[0] if len(i) == 1 else i)}: expected {expected[i]:.6g}, got "
                f"{actual[i]:.6g}",
            )

    @staticmethod
    def place(eta, x, i):
        return f"eta = {eta[i]:.4g}, x = {x[i]:.4g}"
