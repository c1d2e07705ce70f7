"""Rows in partitions, and fits that see nothing of them but merged sums: the protocol of engines.

An *engine* (Dask, threads of this process, any other) holds rows in partitions and has the two
methods of `Partitions`. An estimator whose fit is *mergeable* has a method
``_fit_partitions(partitions)``, which calls them as often as it needs: what a partition contributes
is the result of a function of a `Part`, and how two contributions are merged is another function.
Neither knows the engine, and the engine does not know the estimator.

Sums have the same bits wherever they are computed, because `merged` says in which order: pairwise,
in a binary tree that follows from the number of partitions alone.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from aefast._base.arrays import real_type
from aefast._base.errors import TableName
from aefast._base.fingerprints import fingerprint
from aefast._base.moments import SufficientStatistics, statistics_of
from aefast._base.types import Array

T = TypeVar("T")


class Part(NamedTuple):
    """Rows of one partition, as a table that kernels can read, and what belongs to them.

    X is an array (n, d) of one of `arrays.ROW_TYPES` whose columns are adjacent, or a CSR matrix;
    entries of arrays have not been looked at.
    """

    number: int  # of the partition, in the order of the collection
    X: Any
    y: Array | None = None
    sample_weight: Array | None = None  # (n,) float64, finite, not negative
    columns: tuple[str, ...] | None = None

    @property
    def n_rows(self) -> int:
        return int(self.X.shape[0])

    @property
    def name(self) -> TableName:
        """Name of the rows in errors, with the names of columns."""
        return TableName("X", self.columns)


class Partitions(Protocol):
    """Rows in partitions that are not empty, and the two ways to learn something of them."""

    numbers: list[int]  # of the partitions: those without rows are left out
    sizes: list[int]  # numbers of rows, of each partition
    n_features: int
    columns: tuple[str, ...] | None
    dtype: np.dtype[Any]  # real type of a computation on all rows: float64 if any needs it
    n_threads: int | None  # in which a function computes where its estimator does not say

    def map(
        self, function: Callable[..., T], *arguments: Any, places: Sequence[int] | None = None
    ) -> list[T]:
        """Return ``function(part, *arguments)`` of each partition, in their order.

        Functions are importable by name; they and their arguments can be pickled. `places` has the
        places of the partitions that are asked, in their order; None: all are.
        """
        ...

    def reduce(
        self,
        function: Callable[..., T],
        combine: Callable[[T, T], T],
        *arguments: Any,
        places: Sequence[int] | None = None,
    ) -> T:
        """Return the results of ``function(part, *arguments)``, merged as `merged` does."""
        ...


def merged(values: Iterable[T], combine: Callable[[T, T], T]) -> T:
    """Return the values combined pairwise, in levels: (0, 1), (2, 3), ...; the last may be alone.

    At most one value of each level is kept, so that values may come from a generator. There must be
    at least one value, and `combine` must not change its arguments.
    """
    waiting: list[tuple[int, T]] = []  # (level, value) of values without a partner so far
    for value in values:
        level = 0
        while waiting and waiting[-1][0] == level:
            value = combine(waiting.pop()[1], value)
            level += 1
        waiting.append((level, value))
    _, total = waiting.pop()
    while waiting:
        total = combine(waiting.pop()[1], total)
    return total


def threads_of(n_threads: int | None, partitions: Partitions) -> int | None:
    """Return the number of threads for work on one partition, given an estimator's n_threads."""
    return partitions.n_threads if n_threads is None else n_threads


def first_rows(partitions: Partitions) -> dict[int, int]:
    """Return the number of each partition's first row among all rows, by its number."""
    begins = np.cumsum([0, *partitions.sizes])[:-1].tolist()
    return dict(zip(partitions.numbers, begins, strict=True))


def set_features(estimator: Any, partitions: Partitions) -> None:
    """Set n_features_in_ and feature_names_in_ of an estimator from the partitions' columns."""
    estimator.n_features_in_ = partitions.n_features
    vars(estimator).pop("feature_names_in_", None)
    if partitions.columns is not None:
        estimator.feature_names_in_ = np.asarray(partitions.columns, dtype=object)


def fingerprint_of_partitions(partitions: Partitions) -> dict[str, Any]:
    """Return the description of all rows, weights and targets for a checkpoint.

    The partitioning belongs to it, since the bits of sums follow from it.
    """
    parts = partitions.map(_fingerprint_of_part)
    digest = hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()
    shape = [sum(partitions.sizes), partitions.n_features]
    return {"shape": shape, "dtype": str(partitions.dtype), "contents": digest}


def _fingerprint_of_part(part: Part) -> list[Any]:
    of_part = (part.X, part.y, part.sample_weight)
    return [None if table is None else fingerprint(table) for table in of_part]


# ---- sufficient statistics, from which most mergeable fits follow ----


def statistics_of_partitions(
    partitions: Partitions, n_threads: int | None = None
) -> SufficientStatistics:
    """Return the `SufficientStatistics` of all rows, with the names of columns."""
    size = threads_of(n_threads, partitions)
    statistics = partitions.reduce(statistics_of_part, added, size)
    return named(statistics, partitions, n_threads)


def named(
    statistics: SufficientStatistics, partitions: Partitions, n_threads: int | None
) -> SufficientStatistics:
    """Return merged statistics with the names of columns, and with the user's n_threads."""
    statistics.n_threads = n_threads
    if partitions.columns is not None:
        statistics.feature_names_in_ = np.asarray(partitions.columns, dtype=object)
    return statistics


def statistics_of_part(part: Part, n_threads: int | None) -> SufficientStatistics:
    return statistics_of(part.X, part.sample_weight, n_threads=n_threads, name=part.name)


def added(first: Any, second: Any) -> Any:
    """Return the sum of two partial results."""
    return first + second


class PartsInMemory:
    """The engine without an engine: parts in a sequence, one after the other in this thread.

    Parameters
    ----------
    parts : sequence of Part
        At least one; none is empty.
    """

    n_threads: int | None = None

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts
        self.numbers = [part.number for part in parts]
        self.sizes = [part.n_rows for part in parts]
        self.n_features, self.columns = int(parts[0].X.shape[1]), parts[0].columns
        self.dtype = real_type(*(part.X.dtype for part in parts))

    def map(
        self, function: Callable[..., T], *arguments: Any, places: Sequence[int] | None = None
    ) -> list[T]:
        return [function(part, *arguments) for part in self._asked(places)]

    def reduce(
        self,
        function: Callable[..., T],
        combine: Callable[[T, T], T],
        *arguments: Any,
        places: Sequence[int] | None = None,
    ) -> T:
        return merged((function(part, *arguments) for part in self._asked(places)), combine)

    def _asked(self, places: Sequence[int] | None) -> Sequence[Part]:
        return self.parts if places is None else [self.parts[place] for place in places]
