"""The engine where there is no cluster: partitions one after the other, in this process."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import dask
import numpy as np

from aefast._base.arrays import real_type
from aefast._base.memory import available_bytes
from aefast._base.partitions import Part, merged
from aefast._base.warnings import Told
from aefast.interop.distributed.parts import compared, computed, issue, look

T = TypeVar("T")
SHARE_KEPT = 0.25  # of the free memory, up to which partitions are kept between passes


class LocalExecutor:
    """Partitions of Dask, computed one after the other by the threads of this process.

    Partitions are kept between passes as far as a quarter of the free memory has room for them, and
    computed again otherwise. The methods are those of `Cluster`, and the order of sums too.

    Parameters
    ----------
    parts : sequence of Delayed
        Each a `Part`.

    Attributes
    ----------
    numbers : list of int
        Those of the partitions that have rows; the others are left out.
    sizes : list of int
        Number of rows of each of these partitions.
    n_features : int
    columns : tuple of str or None
    dtype : dtype
        float32 where all partitions compute in float32, else float64.
    n_threads : None
        All cores, where an estimator does not say.
    """

    n_threads: int | None = None

    def __init__(self, parts: Sequence[Any]) -> None:
        self._tasks = list(parts)
        self._kept: dict[int, Part] = {}
        self._room = SHARE_KEPT * (available_bytes() or 0)
        looks = [look(part) for part in self._each()]
        places = compared(looks)
        self._tasks = [self._tasks[place] for place in places]
        self._kept = {new: self._kept[old] for new, old in enumerate(places) if old in self._kept}
        self.numbers = [looks[place].number for place in places]
        self.sizes = [looks[place].n_rows for place in places]
        self.n_features, self.columns = looks[places[0]].n_features, looks[places[0]].columns
        self.dtype: np.dtype[Any] = real_type(*(looks[place].dtype for place in places))

    def map(
        self, function: Callable[..., T], *arguments: Any, places: Sequence[int] | None = None
    ) -> list[T]:
        """Return ``function(part, *arguments)`` of each partition, or of those at some places."""
        return list(self._results(function, arguments, places))

    def reduce(
        self,
        function: Callable[..., T],
        combine: Callable[[T, T], T],
        *arguments: Any,
        places: Sequence[int] | None = None,
    ) -> T:
        """Return the results of ``function(part, *arguments)``, combined in a binary tree."""
        return merged(self._results(function, arguments, places), combine)

    def _results(
        self,
        function: Callable[..., T],
        arguments: tuple[Any, ...],
        places: Sequence[int] | None,
    ) -> Iterator[T]:
        warnings: list[Told] = []
        for part in self._each(places):
            result, told = computed(function, part, arguments)
            warnings += told
            yield result
        issue(warnings)

    def _each(self, places: Sequence[int] | None = None) -> Iterator[Part]:
        for place in range(len(self._tasks)) if places is None else places:
            part = self._kept.get(place)
            if part is None:
                task = self._tasks[place]
                (part,) = dask.compute(task, scheduler="threads")
                n_bytes = look(part).n_bytes
                if n_bytes <= self._room:
                    self._room -= n_bytes
                    self._kept[place] = part
            yield part
