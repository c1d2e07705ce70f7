"""Number of threads of a team beside other busy processes, chosen anew for each slice of work.

The members of a team wait for each other at barriers. Where another process holds a core, each
barrier waits for it, and a team can be slower than one thread. Results do not depend on the number
of threads, so it may follow the clock.
"""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress

# Time of the slices that are judged together. The system counts the time of threads that run on
# other cores in ticks of up to 10 ms, so that shorter times say little about them.
WINDOW_SECONDS = 0.06
QUIET = 0.8  # share of a team's time on cores from which no core is contended
IDLE = 0.5  # cores that are idle, from which a larger team is tried
FIRST_PAUSE, LONGEST_PAUSE = 4, 256  # windows between trials
UNTIMED = nullcontext()
WORTH = 1.05  # ratio of speeds from which another size is taken


def idle_seconds() -> float | None:
    """Return the time that all cores have been idle, or None where the system does not say."""
    with suppress(OSError, ValueError, IndexError):
        with open("/proc/stat", encoding="ascii") as file:
            fields = file.readline().split()
        return (int(fields[4]) + int(fields[5])) / 100  # idle and waiting for disks
    return None


class TeamSize:
    """Size of a team that sheds members where they wait for cores, and regains them.

    A window of slices is contended where the process has had less time on cores than its team asked
    for: then half the team is tried for a window, and the faster size is kept. A team that has shed
    members tries twice its size when cores are idle (or, where the system does not say, now and
    then). Pauses between trials grow as long as trials are in vain.

    Parameters
    ----------
    most : int
        The largest size.
    is_fixed : bool
        Whether the size never changes: because the user has set it.
    first : int or None, default=None
        The size with which the first slice begins; None: the largest.
    """

    def __init__(self, most: int, is_fixed: bool, first: int | None = None) -> None:
        self.most = most
        self.size = self._best = most if first is None else first
        self._is_fixed = is_fixed or most == 1
        self._is_cold = True  # the first slice waits for threads to start
        self._rows, self._seconds, self._used = 0, 0.0, 0.0  # of the present window
        self._best_speed = 0.0  # rows a second of the best size, in its last window
        self._n_windows, self._pause = 0, 0  # since the last trial, and until the next
        self._idle: tuple[float, float] | None = None

    def slice(self, n_rows: int) -> AbstractContextManager[None]:
        """Time a block that works on n_rows rows with `size` threads, and choose the next size."""
        return UNTIMED if self._is_fixed else self._timed(n_rows)

    @contextmanager
    def _timed(self, n_rows: int) -> Iterator[None]:
        begin, used = time.perf_counter(), time.process_time()
        yield
        if self._is_cold:
            self._is_cold = False
            return
        self._rows += n_rows
        self._seconds += time.perf_counter() - begin
        self._used += time.process_time() - used
        if self._seconds >= WINDOW_SECONDS:
            self._took(self._rows / self._seconds, self._used / (self._seconds * self.size))
            self._rows, self._seconds, self._used = 0, 0.0, 0.0

    def _took(self, speed: float, share: float) -> None:
        """Take account of a window, in which the team had a share of its time on cores."""
        self._n_windows += 1
        if self.size != self._best:
            self._judge(speed)
            return
        self._best_speed = speed
        if self._n_windows > self._pause:
            other = self._size_to_try(share)
            if other is not None:
                self.size = other

    def _size_to_try(self, share: float) -> int | None:
        """Return the size of a trial, or None for no trial now."""
        if share < QUIET and self.size > 1:
            return self.size // 2
        if self.size < self.most and self._cores_are_idle():
            return min(self.most, 2 * self.size)
        return None

    def _cores_are_idle(self) -> bool:
        now, idle = time.perf_counter(), idle_seconds()
        if idle is None:
            return self._n_windows > LONGEST_PAUSE
        before, self._idle = self._idle, (now, idle)
        if before is None:
            return False
        return idle - before[1] > IDLE * (now - before[0])

    def _judge(self, speed: float) -> None:
        """End a trial: keep the faster size."""
        if speed > WORTH * self._best_speed:
            self._best, self._best_speed, self._pause = self.size, speed, FIRST_PAUSE
        else:
            self._pause = min(LONGEST_PAUSE, 2 * max(self._pause, FIRST_PAUSE))
        self.size, self._n_windows, self._idle = self._best, 0, None
