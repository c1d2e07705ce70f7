"""Where EM of a mixture finds its rows: in a table, or in the partitions of an engine.

A source has `n_rows`, `weight_sum`, and three ways to look at its rows: a sample of their codes,
the pass over clusters from which the first mixture follows, and the pass of an E-step.
"""

from typing import Any, NamedTuple

import numpy as np

from aefast._base import threads
from aefast._base.partitions import Partitions, threads_of
from aefast._base.types import Array
from aefast.linear import mixture_start
from aefast.linear.mixture_fit import (
    Sums,
    complete_pass,
    incomplete_pass,
    joint_log_densities,
    normalised,
    sums_of_pass,
)


def of_clusters(axes, centers, n_threads):
    """Return the function of an E-step whose responsibilities are 1 for the nearest centre."""

    def share_of(X):
        labels = mixture_start.nearest(axes.codes(X, n_threads), centers)
        return np.zeros(len(X)), np.equal.outer(labels, np.arange(len(centers))).astype(float)

    return share_of


def of_mixture(mixture, n_threads, name="X"):
    """Return the function of an E-step of a mixture."""
    gaussians, log_weights = mixture.gaussians(), np.log(mixture.weights)

    def share_of(X):
        return normalised(joint_log_densities(X, gaussians, log_weights, n_threads, name))

    return share_of


class RowsOfTable(NamedTuple):
    """Rows of one table."""

    table: Any  # ndarray or CSR matrix (n, d)
    weight: Array | None  # (n,) or None
    is_complete: bool
    n_threads: int | None

    @property
    def n_rows(self):
        return self.table.shape[0]

    @property
    def weight_sum(self):
        return float(self.n_rows if self.weight is None else self.weight.sum())

    def sampled_codes(self, axes, random):
        """Return codes and weights of a sample of rows, sorted by code."""
        return mixture_start.sampled_codes(self.table, self.weight, axes, random, self.n_threads)

    def clusters(self, axes, centers, mean):
        """Return the `Pass` in which a row belongs to the nearest centre."""
        share_of = of_clusters(axes, centers, self.n_threads)
        return complete_pass(
            self.table,
            self.weight,
            share_of,
            np.tile(mean, (len(centers), 1)),
            self.n_threads,
            fill=None if self.is_complete else mean,
        )

    def expectation(self, mixture, on_slice):
        """Return the `Pass` of an E-step."""
        if not self.is_complete:
            return incomplete_pass(self.table, self.weight, mixture, on_slice)
        share_of = of_mixture(mixture, self.n_threads)
        of_rows = self.table, self.weight, share_of, mixture.means
        return complete_pass(*of_rows, self.n_threads, on_slice=on_slice)


class RowsOfPartitions:
    """Complete rows in partitions.

    Parameters
    ----------
    partitions : Partitions
    is_weighted : bool
        Whether rows have weights.
    weight_sum : float
        Sum of weights in the unit of computation.
    exponent : int
        Weights are divided by 2 to this power.
    n_threads : int or None
    """

    is_complete = True

    def __init__(
        self, partitions: Partitions, weight_sum: float, exponent: int, n_threads: int | None
    ) -> None:
        self.partitions, self.weight_sum, self.exponent = partitions, weight_sum, exponent
        self.n_threads = threads_of(n_threads, partitions)
        self.n_rows = sum(partitions.sizes)

    def sampled_codes(self, axes, random):
        """Return codes and weights of a sample of rows, sorted by code."""
        counts = self.partitions.map(_n_counted)
        begins = np.cumsum([0, *counts])
        picks: dict[int, Array] = {}
        if begins[-1] > mixture_start.MOST_ROWS:
            from sklearn.utils.random import sample_without_replacement

            drawn = np.sort(
                sample_without_replacement(begins[-1], mixture_start.MOST_ROWS, random_state=random)
            )
            of_part = np.split(drawn, np.searchsorted(drawn, begins[1:-1]))
            picks = {
                number: places - begin
                for number, places, begin in zip(
                    self.partitions.numbers, of_part, begins[:-1], strict=True
                )
            }
        found = self.partitions.map(_codes_of_part, axes, picks, self.exponent, self.n_threads)
        codes, weight = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
        return mixture_start.sorted_codes(codes, weight)

    def clusters(self, axes, centers, mean):
        """Return the `Pass` in which a row belongs to the nearest centre."""
        dtype, means = self.partitions.dtype, np.tile(mean, (len(centers), 1))
        arguments = axes, centers, means, dtype, self.exponent, self.n_threads
        return self.partitions.reduce(_clusters_of_part, Sums.combined, *arguments).as_pass()

    def expectation(self, mixture, on_slice):
        """Return the `Pass` of an E-step."""
        arguments = mixture, self.partitions.dtype, self.exponent, self.n_threads
        found = self.partitions.reduce(_mixture_of_part, Sums.combined, *arguments).as_pass()
        if on_slice is not None:
            on_slice(self.n_rows, -found.log_likelihood)
        return found


# ---- of one partition ----


def weights_of_part(part):
    """Return sum, number of positive ones and largest of a partition's weights."""
    if part.sample_weight is None:
        return float(part.n_rows), part.n_rows, 1.0
    weight = part.sample_weight
    return float(weight.sum()), int(np.count_nonzero(weight)), float(weight.max())


def combined_weights(first, second):
    return first[0] + second[0], first[1] + second[1], max(first[2], second[2])


def _counted(part):
    """Return the places of rows of positive weight, None for all."""
    return None if part.sample_weight is None else np.flatnonzero(part.sample_weight)


def _n_counted(part):
    places = _counted(part)
    return part.n_rows if places is None else len(places)


def _scaled(weight, exponent):
    return weight if weight is None or not exponent else np.ldexp(weight, -exponent)


@threads.with_same_bits
def _codes_of_part(part, axes, picks, exponent, n_threads):
    """Return codes and weights of those rows of positive weight that `picks` has, or of all."""
    places = _counted(part)
    if part.number in picks:
        picked = picks[part.number]
        places = picked if places is None else places[picked]
    rows = part.X if places is None else part.X[places]
    if rows.shape[0] == 0:
        return np.empty((0, axes.B.shape[1])), np.empty(0)
    weight = _scaled(part.sample_weight, exponent)
    codes = axes.codes(rows, n_threads)
    return codes, np.ones(len(codes)) if weight is None else weight[places]


@threads.with_same_bits
def _clusters_of_part(part, axes, centers, means, dtype, exponent, n_threads):
    share_of = of_clusters(axes, centers, n_threads)
    return _sums_of_part(part, share_of, means, dtype, exponent, n_threads)


@threads.with_same_bits
def _mixture_of_part(part, mixture, dtype, exponent, n_threads):
    share_of = of_mixture(mixture, n_threads, part.name)
    return _sums_of_part(part, share_of, mixture.means, dtype, exponent, n_threads)


def _sums_of_part(part, share_of, means, dtype, exponent, n_threads):
    weight = _scaled(part.sample_weight, exponent)
    return sums_of_pass(part.X, weight, share_of, means, n_threads, dtype=dtype)
