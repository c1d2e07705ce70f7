"""Waits that end: for the results of tasks whose workers may be lost, or may hang."""

import time
from concurrent.futures import CancelledError
from functools import partial
from typing import Any

from distributed import Client
from distributed.scheduler import KilledWorker

from aefast._base.errors import shown

SETTLED = 0.1  # seconds after which the client knows whether its scheduler is lost
SLICE = 0.5  # seconds between looks at the progress of tasks
SCHEDULER_SECONDS = 30.0  # for an answer of the scheduler
# Heartbeats come every half a second, or less often on large clusters and busy machines: a worker
# is silent where none has come for this part of the timeout, and for some seconds.
SILENT, LEAST_SILENCE = 0.5, 3.0
FEW_NAMED = 10  # partitions or workers that an error names


def check_client(client: Client) -> None:
    """Raise an error where a client cannot be used."""
    if not isinstance(client, Client):
        raise TypeError(
            f"client must be a distributed.Client, such as Client(address), got {shown(client)}"
        )
    if client.asynchronous:
        raise TypeError("client must be a synchronous Client, got one with asynchronous=True")
    if client.status != "running":
        scheduler = getattr(client.scheduler, "address", None) or "unknown address"
        raise ConnectionError(
            f"client is {client.status}: expected one that is connected. It has been closed, or "
            f"the scheduler ({scheduler}) is lost"
        )


class Waiting:
    """Wait for the results of a call, with the repair of what does not come.

    Parameters
    ----------
    call : _Call
        Tasks, and the way to submit some of them again.
    numbers : list of int
        Those of the partitions, for errors.
    timeout : float
    retries : int
    """

    def __init__(self, call: Any, numbers: list[int], timeout: float, retries: int) -> None:
        self.call, self.client, self.numbers = call, call.client, numbers
        self.timeout, self.retries, self.n_stalls = timeout, retries, 0
        self.given_up: list[str] = []  # workers

    def results(self) -> list[Any]:
        """Return the results of the call's targets."""
        while True:
            self._wait()
            try:
                return self._gathered()
            except TimeoutError:  # the worker that has a result does not send it
                self._repair()
            except CancelledError:
                self._check_lost()

    def _gathered(self) -> list[Any]:
        gather = partial(self.client.gather, self.call.targets, direct=False, asynchronous=True)
        return self.client.sync(gather, callback_timeout=self.timeout)

    def _wait(self) -> None:
        """Return once all targets have ended well; raise the first error of a task."""
        progress: Any = None
        since = time.monotonic()
        while True:
            check_client(self.client)
            self._wait_for(min(SLICE, self.timeout / 4))
            check_client(self.client)
            states = [future.status for future in self.call.futures]
            if "error" in states:
                raise self._error(self.call.futures[states.index("error")])
            if "cancelled" in states:  # "lost" is what will be computed again
                self._check_lost()
            if all(future.status == "finished" for future in self.call.targets):
                return
            if states != progress:
                progress, since = states, time.monotonic()
            elif time.monotonic() - since >= self.timeout:
                self._repair()
                progress, since = None, time.monotonic()

    def _wait_for(self, seconds: float) -> None:
        """Return once all targets have ended, well or not, or after some seconds.

        `distributed.wait` takes the current client, which may be another one.
        """
        end = time.monotonic() + seconds
        for future in self.call.targets:
            left = end - time.monotonic()
            if not future.done() and left > 0:
                try:
                    future.exception(timeout=left)
                except (TimeoutError, CancelledError):
                    return

    # ---- what may go wrong ----

    def _check_lost(self) -> None:
        """Raise the error for partitions that were lost and cannot be computed again."""
        check_client(self.client)
        time.sleep(SETTLED)  # the client hears of lost tasks and of a lost scheduler at once
        check_client(self.client)
        gone = self._gone()
        were = "were" if len(gone) > 1 else "was"
        what = f"{_named('partition', gone)} of X" if gone else "a task"
        raise RuntimeError(
            f"{what} {were} lost with the worker that held the only copy, and cannot be computed "
            "again, as scattered data cannot: pass a dask collection or Delayed objects that can"
        )

    def _gone(self) -> list[int]:
        """Return the numbers of partitions that the scheduler has forgotten."""
        keys = [part.key for part in self.call.parts]
        forgotten = self._on_scheduler(_forgotten, keys=keys)
        return [number for number, key in zip(self.numbers, keys, strict=True) if key in forgotten]

    def _error(self, future: Any) -> BaseException:
        """Return the error of a task that has failed."""
        error = future.exception(timeout=SCHEDULER_SECONDS)
        if isinstance(error, KilledWorker):
            return RuntimeError(
                f"{self._what(future)}: {error.allowed_failures + 1} workers died while they "
                f"computed it, the last at {error.last_worker.address}. Partitions that are "
                "smaller take less memory"
            )
        return error

    def _what(self, future: Any) -> str:
        for futures in (self.call.parts, self.call.leaves):
            for number, other in zip(self.numbers, futures, strict=True):
                if other.key == future.key:
                    return f"partition {number}"
        return "the merger of partitions"

    def _repair(self) -> None:
        """Give up silent workers, or give tasks of busy ones to others; raise after the retries."""
        keys = [future.key for future in self.call.futures]
        silences, places, running = self._on_scheduler(_places_of, keys=keys)
        held = {worker for workers in places.values() for worker in workers}
        most = max(SILENT * self.timeout, LEAST_SILENCE)
        silent = [worker for worker in sorted(held) if silences.get(worker, 0) > most]
        waited = [
            place for place, future in enumerate(self.call.leaves) if future.status != "finished"
        ]
        busy = {
            worker
            for future in (*self.call.leaves, *self.call.branches, self.call.sent)
            if future.status != "finished"
            for worker in places.get(future.key, ())
        }
        self.n_stalls += 1
        if self.n_stalls > self.retries:
            here = [place for place in waited if self.call.leaves[place].key in running]
            raise self._timeout_error(here or waited, sorted({*silent, *busy}), len(silences))
        if silent:
            self.given_up += silent
            self._on_scheduler(_give_up, workers=silent)
            return
        busy.update(self._on_scheduler(_move, keys=keys))
        self.given_up += sorted(busy)
        self.call.submit(waited, sorted(set(silences) - busy) or None)

    def _on_scheduler(self, function: Any, **options: Any) -> Any:
        """Return the result of a function of the scheduler, or raise ConnectionError in time."""
        try:
            return self.client.run_on_scheduler(
                function, callback_timeout=SCHEDULER_SECONDS, **options
            )
        except (TimeoutError, OSError) as error:
            check_client(self.client)
            raise ConnectionError(
                f"the scheduler ({self.client.scheduler.address}) does not answer"
            ) from error

    def _timeout_error(self, waited: list[int], workers: list[str], n_workers: int) -> Exception:
        numbers = [self.numbers[place] for place in waited]
        what = _named("partition", numbers) if numbers else "the merger of partitions"
        on = f" on {_named('worker', workers)}" if workers else ""
        before = [worker for worker in dict.fromkeys(self.given_up) if worker not in workers]
        if before:
            on += f", given up before: {_named('worker', before)}"
        advice = "where tasks take longer, raise timeout"
        if n_workers == 0:
            advice = "there is no worker; their logs say why, such as a version that lacks a module"
        return TimeoutError(
            f"no task has ended for {self.timeout:g} s, and retries={self.retries} did not help: "
            f"{what}{on}; {advice}"
        )


def _named(what: str, values: list[Any]) -> str:
    plural = "s" if len(values) > 1 else ""
    more = "" if len(values) <= FEW_NAMED else f" and {len(values) - FEW_NAMED} more"
    return f"{what}{plural} {', '.join(map(str, values[:FEW_NAMED]))}{more}"


# ---- on the scheduler ----


def _places_of(dask_scheduler: Any, keys: list[str]) -> tuple[dict, dict, set]:
    """Return the seconds since each worker was heard of, its tasks, and those that are running.

    Tasks are those of the given keys; workers have them, or are to compute them.
    """
    now = time.time()
    silences = {
        address: now - worker.last_seen for address, worker in dask_scheduler.workers.items()
    }
    places: dict[str, list[str]] = {}
    running = {task.key for worker in dask_scheduler.workers.values() for task in worker.executing}
    for key in keys:
        task = dask_scheduler.tasks.get(key)
        if task is not None:
            workers = [*task.who_has] if task.who_has else []
            workers += [task.processing_on] if task.processing_on else []
            places[key] = [worker.address for worker in workers]
    return silences, places, running.intersection(keys)


def _move(dask_scheduler: Any, keys: list[str]) -> list[str]:
    """Give tasks that wait on a worker, and what they need, to workers that have none of them.

    What holds such a worker need not be known: the task of a call that has ended may still run.

    Returns
    -------
    busy : list of str
        Workers that have tasks to do and do not come to them.
    """
    waiting, seen = [], set()
    left = [dask_scheduler.tasks[key] for key in keys if key in dask_scheduler.tasks]
    while left:
        task = left.pop()
        if task not in seen and task.state != "memory":
            seen.add(task)
            left.extend(task.dependencies)
            if task.processing_on is not None:
                waiting.append(task)
    busy = {task.processing_on.address for task in waiting}
    others = set(dask_scheduler.workers) - busy
    moved = [task for task in waiting if others and task not in task.processing_on.executing]
    for task in moved:
        task.worker_restrictions, task.loose_restrictions = set(others), True
    released = dict.fromkeys((task.key for task in moved), "released")  # upon which they wait anew
    dask_scheduler.transitions(released, stimulus_id=f"aefast-move-{time.time()}")
    return sorted(busy)


def _forgotten(dask_scheduler: Any, keys: list[str]) -> set[str]:
    """Return the tasks of these keys that the scheduler does not have, and cannot compute."""
    return {key for key in keys if key not in dask_scheduler.tasks}


async def _give_up(dask_scheduler: Any, workers: list[str]) -> None:
    """Remove workers as the scheduler does after its own, longer limit (worker-ttl)."""
    for worker in workers:
        await dask_scheduler.remove_worker(worker, stimulus_id=f"aefast-silent-{time.time()}")
