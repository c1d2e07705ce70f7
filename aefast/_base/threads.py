"""Thread policy: the number of threads, and BLAS on one thread while results depend on it."""

import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache, wraps
from numbers import Integral
from pathlib import Path
from typing import Any, TypeVar

from aefast._base import _runtime
from aefast._base.errors import shown

# Floating-point operations of a step or a pass from which a further thread is worth its cost
# (benchmarks/results).
WORK_PER_THREAD = 1e6
# The same for a team that the clock judges: on idle cores smaller steps gain from it too.
TRIED_WORK_PER_THREAD = 1.5e5
MOST_THREADS = 1024

_process = os.getpid()


@lru_cache(maxsize=1)
def _n_cores() -> int:
    """Return the number of cores that affinity and cgroup limits allow this process."""
    from joblib import cpu_count

    return cpu_count()


def default_n_threads() -> int:
    """Return the number of threads that n_threads=None means for large work.

    Large work takes all cores that this process may use, up to OpenMP's maximum.
    """
    return max(1, min(_n_cores(), _runtime.openmp_max_threads()))


def effective_n_threads(n_threads: int | None, work: float) -> int:
    """Return the team's size for `work` floating-point operations; results do not depend on it.

    A forked child process uses one thread: GNU's OpenMP would wait for threads that do not exist
    after the fork.
    """
    if n_threads is not None and not _is_n_threads(n_threads):
        is_long = isinstance(n_threads, int) and n_threads.bit_length() > 64  # too long to print
        got = "one of more than 64 bits" if is_long else shown(n_threads)
        raise ValueError(f"n_threads must be None or an integer in [1, {MOST_THREADS}], got {got}")
    if n_threads is None and work < 2 * WORK_PER_THREAD:
        return 1
    if not _runtime.OPENMP or os.getpid() != _process:
        return 1
    if n_threads is None:
        return int(min(default_n_threads(), max(1, work // WORK_PER_THREAD)))
    return int(n_threads)


def largest_team(n_threads: int | None, work: float) -> int:
    """Return the size to which a team for `work` operations may grow where that is faster.

    `TeamSize` measures. A number that the user has set does not change.
    """
    size = effective_n_threads(n_threads, work)
    if n_threads is not None or not _runtime.OPENMP or os.getpid() != _process:
        return size
    return max(size, int(min(default_n_threads(), work // TRIED_WORK_PER_THREAD)))


def _is_n_threads(value: object) -> bool:
    return (
        isinstance(value, Integral)
        and not isinstance(value, bool)
        and 1 <= int(value) <= MOST_THREADS
    )


# ---- BLAS ----


@lru_cache(maxsize=1)
def _blas_libraries() -> list[Any]:
    """Return controllers of the BLAS libraries of NumPy and SciPy, whose wheels have a copy each.

    Other libraries that are loaded later keep their threads.
    """
    import scipy.linalg.cython_blas  # noqa: F401  imported to load its BLAS library
    from threadpoolctl import ThreadpoolController

    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


def _blas_of_scipy() -> list[Any]:
    """Return controllers of the BLAS behind scipy.linalg.cython_blas, which kernels call."""
    libraries = _blas_libraries()
    folders = [Path(library.filepath).parent.as_posix() for library in libraries]
    of_scipy = [
        library for library, folder in zip(libraries, folders, strict=True) if "scipy" in folder
    ]
    return of_scipy or libraries


def blas_description() -> str:
    """Return name, version and architecture of the BLAS behind SciPy, as far as known."""
    descriptions = []
    for library in _blas_of_scipy():
        info = library.info()
        words = [info.get("internal_api"), info.get("version"), info.get("architecture")]
        descriptions.append(" ".join(str(word) for word in words if word))
    return ", ".join(descriptions) or _blas_of_scipy_build()


def _blas_of_scipy_build() -> str:
    """Return the name of the BLAS that SciPy was built with.

    This name serves for libraries that threadpoolctl does not know (Apple's Accelerate).
    """
    import scipy

    return scipy.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]


class _BlasLimit:
    """Limit of BLAS to one thread while at least one holder computes.

    The number of BLAS threads is a setting of the process, not of a thread, so concurrent holders
    are counted, and the setting found before the first one is restored after the last one. Holders
    are objects and not a number, so that a release after an interrupted `acquire` is right whether
    or not the holder had been counted.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.holders: set[object] = set()
        self.found: list[tuple[Any, int]] = []

    def acquire(self, holder: object) -> None:
        with self.lock:
            if not self.holders:
                self.found = [(library, library.get_num_threads()) for library in _blas_libraries()]
            # Set for each holder, since other code may have changed the number meanwhile.
            for library, _ in self.found:
                library.set_num_threads(1)
            self.holders.add(holder)

    def release(self, holder: object) -> None:
        with self.lock:
            self.holders.discard(holder)
            if not self.holders:
                self.restore()
                self.found = []

    def restore(self) -> None:
        for library, n_threads in self.found:
            library.set_num_threads(n_threads)


_limit = _BlasLimit()


_no_limit = nullcontext()


def single_threaded_blas(is_used: bool = True) -> AbstractContextManager[Any]:
    """Return a context in which BLAS computes with one thread.

    Kernels share their work among the threads of a team, and results of a multithreaded BLAS would
    have different bits for different numbers of threads. Where `is_used` is False, the context
    does nothing.
    """
    return _runtime.Holding(_limit) if is_used else _no_limit


def same_bits() -> AbstractContextManager[Any]:
    """Return a context in which NumPy's and SciPy's linear algebra gives the same bits everywhere.

    BLAS computes with one thread, whatever its environment variables and limits say, and the
    calling thread rounds to nearest and keeps subnormal numbers, whatever other libraries have set.
    """
    return _runtime.SameBits(_limit)


_Function = TypeVar("_Function", bound=Callable[..., Any])


def with_same_bits(function: _Function) -> _Function:
    """Decorate a function that computes within `same_bits`."""

    @wraps(function)
    def computed(*arguments: Any, **options: Any) -> Any:
        with same_bits():
            return function(*arguments, **options)

    return computed  # type: ignore[return-value]


def _after_fork_in_child() -> None:
    """Forget the limit in a forked child, where the threads that held it do not exist."""
    global _limit
    if _limit.holders:
        _limit.restore()
    _limit = _BlasLimit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
