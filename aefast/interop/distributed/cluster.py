"""The engine on a cluster of Dask: tasks over partitions, and bounded waits for their results.

Whatever a task needs is itself the result of a task, the arguments of a call among them, so that
the scheduler computes again what a lost worker had. There are no actors, no scattered data, and no
connections besides Dask's.
"""

import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

import dask
import numpy as np
from distributed import Client, Future, get_worker

from aefast._base.arrays import real_type
from aefast._base.partitions import merged
from aefast._version import __version__
from aefast.interop.distributed.origin import Origin, Partial, check_same, check_version, origin_of
from aefast.interop.distributed.parts import MOST_WARNINGS, compared, computed, issue, look
from aefast.interop.distributed.waiting import Waiting, check_client

T = TypeVar("T")
# Arguments are sent within a graph on purpose. Settings are the process's: one thread changes them.
_LARGE_GRAPH = "distributed.admin.large-graph-warning-threshold"
_no_warning = threading.Lock()
TIMEOUT = 300.0  # seconds without progress, after which tasks are given to other workers
RETRIES = 2
GROUP = 4  # results that a task combines: a power of 2, so that it is a part of the binary tree


class Cluster:
    """Partitions that stay on the workers of a cluster, and functions of them.

    The partitions are computed once and stay where they are. A worker that is lost, before a call,
    during it or after it, changes no bit of a result: its partitions are computed again elsewhere.

    Parameters
    ----------
    client : distributed.Client
    parts : sequence of Delayed
        Each a `Part`.
    timeout : float, default=300
        Seconds. Where no task of a call has ended for so long, workers that are silent are given
        up, and tasks of those that are not are given to others.
    retries : int, default=2
        How often that is done in one call before it ends with an error.

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
    n_threads : int
        1: a task has one core, since Dask runs as many tasks at once as there are.
    origin : Origin or None
        Version and arithmetic of the last call.

    Raises
    ------
    ConnectionError
        Of any method, where the client is closed or the scheduler lost.
    TimeoutError
        Of any method, where workers make no progress; it names them and their partitions.
    RuntimeError
        Of any method, for workers of another version or of different instruction sets, and for
        partitions that were lost with their worker and cannot be computed again.
    """

    n_threads: int | None = 1

    def __init__(
        self,
        client: Client,
        parts: Sequence[Any],
        *,
        timeout: float = TIMEOUT,
        retries: int = RETRIES,
    ) -> None:
        check_client(client)
        self.client, self.timeout, self.retries = client, float(timeout), int(retries)
        self.origin: Origin | None = None
        self._prefix = f"aefast-{uuid4().hex}"
        self._n_calls = itertools.count()
        self._parts: list[Future] = client.compute(list(parts))
        self.numbers = list(range(len(self._parts)))
        looks = self.map(look)
        places = compared(looks)
        self._parts = [self._parts[place] for place in places]
        self.numbers = [looks[place].number for place in places]
        first = looks[places[0]]
        self.numbers = [looks[place].number for place in places]
        self.sizes = [looks[place].n_rows for place in places]
        self.n_features, self.columns = first.n_features, first.columns
        self.dtype: np.dtype[Any] = real_type(*(looks[place].dtype for place in places))

    def map(
        self, function: Callable[..., T], *arguments: Any, places: Sequence[int] | None = None
    ) -> list[T]:
        """Return ``function(part, *arguments)`` of each partition, in their order.

        Parameters
        ----------
        function : callable
            Importable by name on the workers, or what cloudpickle can send; it must have the same
            result whenever it is called, and may be called twice.
        *arguments
            Sent once a call to each worker that needs them.
        places : sequence of int or None, default=None
            Places of the partitions that are asked, in their order; None: all are.

        Returns
        -------
        results : list
        """
        results = self._call(function, None, arguments, places)
        for result in results:
            check_same(results[0].origin, result.origin)
        self._agree(results[0].origin)
        return [result.value for result in results]

    def reduce(
        self,
        function: Callable[..., T],
        combine: Callable[[T, T], T],
        *arguments: Any,
        places: Sequence[int] | None = None,
    ) -> T:
        """Return the results of ``function(part, *arguments)``, combined on the workers.

        Parameters
        ----------
        function, *arguments, places
            As for `map`.
        combine : callable
            ``combine(a, b)`` of two results, or of two that are combined already. It is called in a
            binary tree that follows from the number of partitions: (0, 1), (2, 3), ... It must not
            change its arguments.

        Returns
        -------
        result : object
        """
        (result,) = self._call(function, combine, arguments, places)
        self._agree(result.origin)
        return result.value

    def _agree(self, origin: Origin) -> None:
        """Compare the arithmetic of a call with that of those before, by workers that have gone."""
        if self.origin is not None:
            check_same(self.origin, origin)
        self.origin = origin

    def _call(
        self,
        function: Any,
        combine: Any,
        arguments: tuple[Any, ...],
        places: Sequence[int] | None,
    ) -> list[Partial]:
        check_client(self.client)
        asked = range(len(self._parts)) if places is None else places
        parts = [self._parts[place] for place in asked]
        numbers = [self.numbers[place] for place in asked]
        task = _Task(function, combine, arguments, __version__)
        call = _Call(self.client, f"{self._prefix}-{next(self._n_calls)}", parts, task)
        waiting = Waiting(call, numbers, self.timeout, self.retries)
        try:
            results = waiting.results()
        finally:
            call.release()
        issue([warning for result in results for warning in result.warnings])
        return results


class _Task(NamedTuple):
    """What the tasks of a call have in common, sent to each worker once."""

    function: Any
    combine: Any
    arguments: tuple[Any, ...]
    version: str


class _Sent:
    """A `_Task` that Dask takes as it is, without a look for tasks inside."""

    def __init__(self, task: _Task) -> None:
        self.task = task


class _Call:
    """Tasks of one call: one of each partition, and those that combine their results.

    Attributes
    ----------
    parts, leaves, targets : list of Future
        Partitions; their results; the results of the call.
    """

    def __init__(self, client: Client, key: str, parts: list[Future], task: _Task) -> None:
        self.client, self.key, self.parts = client, key, parts
        self.task, self.is_reduced = task, task.combine is not None
        self.sent: Any = None
        self.attempt = 0
        self.leaves: list[Any] = [None] * len(parts)
        self.branches: list[Future] = []
        self.submit(list(range(len(parts))), None)

    def submit(self, places: list[int], workers: list[str] | None) -> None:
        """Give tasks of these partitions to the cluster, rather to these workers; build the tree.

        Results that there are already stay.
        """
        options = {} if workers is None else {"workers": workers, "allow_other_workers": True}
        options |= {"pure": False}
        key = f"{self.key}-{self.attempt}"
        if self.sent is None or self.sent.status != "finished":
            self.sent = self._send(f"{key}-arguments", options)
        made = self.client.map(
            _result,
            [self.parts[place] for place in places],
            [self.sent] * len(places),
            key=[f"{key}-{place}" for place in places],
            **options,
        )
        for place, future in zip(places, made, strict=True):
            self.leaves[place] = future
        self.targets, self.branches, level = self.leaves, [], 0
        while self.is_reduced and len(self.targets) > 1:
            level += 1
            self.targets = self._level(f"{key}-level-{level}", self.targets, options)
        self.attempt += 1

    def _send(self, key: str, options: dict[str, Any]) -> Future:
        with _no_warning, dask.config.set({_LARGE_GRAPH: "1 TiB"}):
            return self.client.submit(_received, _Sent(self.task), key=key, **options)

    def _level(self, key: str, below: list[Future], options: dict[str, Any]) -> list[Future]:
        """Return the tasks that combine GROUP results each, as two levels of the binary tree do."""
        firsts = range(0, len(below), GROUP)
        groups = [below[first : first + GROUP] for first in firsts]
        alone = groups.pop() if len(groups[-1]) == 1 else []
        columns = [
            [group[place] if place < len(group) else None for group in groups]
            for place in range(GROUP)
        ]
        keys = [f"{key}-{first}" for first in firsts[: len(groups)]]
        made = self.client.map(_combined, [self.sent] * len(groups), *columns, key=keys, **options)
        self.branches += made
        return [*made, *alone]

    @property
    def futures(self) -> list[Future]:
        """All that the call waits for, in the order in which it is computed."""
        return [*self.parts, self.sent, *self.leaves, *self.branches]

    def release(self) -> None:
        for future in (self.sent, *self.leaves, *self.branches):
            future.release()


# ---- on the workers ----


def _received(sent: _Sent) -> _Sent:
    return sent


def _result(part: Any, sent: _Sent) -> Partial:
    origin = origin_of(get_worker().address)
    check_version(origin, sent.task.version)
    value, told = computed(sent.task.function, part, sent.task.arguments)
    return Partial(value, origin, tuple(told[:MOST_WARNINGS]))


def _combined(sent: _Sent, *partials: Partial | None) -> Partial:
    given = [partial for partial in partials if partial is not None]
    first, told = given[0].origin, [warning for partial in given for warning in partial.warnings]
    here = origin_of(get_worker().address)
    check_version(here, sent.task.version)
    for origin in (*(partial.origin for partial in given[1:]), here):
        check_same(first, origin)
    value = merged((partial.value for partial in given), sent.task.combine)
    return Partial(value, first, tuple(told[:MOST_WARNINGS]))
