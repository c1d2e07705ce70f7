"""The only thread policy: how many threads, and BLAS limited to one while a kernel runs."""

import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from numbers import Integral
from pathlib import Path
from typing import Any

from aefast._base import _runtime

# A thread more pays from so many floating-point operations of a step or a pass on
# (benchmarks/RESULTS.md).
WORK_PER_THREAD = 1e6
MOST_THREADS = 1024

_process = os.getpid()


@lru_cache(maxsize=1)
def _n_cores() -> int:
    """Cores this process may use: affinity and cgroup limits count."""
    from joblib import cpu_count

    return cpu_count()


def default_n_threads() -> int:
    """What n_threads=None means for large work: the cores this process may use, at most what OpenMP
    was told.
    """
    return max(1, min(_n_cores(), _runtime.openmp_max_threads()))


def effective_n_threads(n_threads: int | None, work: float) -> int:
    """The size of the team for `work` floating-point operations; results do not depend on it.

    A forked child computes alone: GNU's OpenMP would wait for threads that did not survive the
    fork.
    """
    if n_threads is not None and not _is_n_threads(n_threads):
        is_long = isinstance(n_threads, int) and n_threads.bit_length() > 64  # too long to print
        got = "one of more than 64 bits" if is_long else repr(n_threads)
        raise ValueError(f"n_threads must be None or an integer in [1, {MOST_THREADS}], got {got}")
    if n_threads is None and work < 2 * WORK_PER_THREAD:
        return 1
    if not _runtime.OPENMP or os.getpid() != _process:
        return 1
    if n_threads is None:
        return int(min(default_n_threads(), max(1, work // WORK_PER_THREAD)))
    return int(n_threads)


def _is_n_threads(value: object) -> bool:
    return (
        isinstance(value, Integral)
        and not isinstance(value, bool)
        and 1 <= int(value) <= MOST_THREADS
    )


# ---- BLAS ----


@lru_cache(maxsize=1)
def _blas_libraries() -> list[Any]:
    """Controllers of the BLAS behind scipy.linalg.cython_blas.

    NumPy's wheels bring another copy, which is left alone where paths tell the two apart.
    """
    import scipy.linalg.cython_blas  # noqa: F401  so that its library is loaded
    from threadpoolctl import ThreadpoolController

    libraries = ThreadpoolController().select(user_api="blas").lib_controllers
    folders = [Path(library.filepath).parent.as_posix() for library in libraries]
    of_scipy = [
        library for library, folder in zip(libraries, folders, strict=True) if "scipy" in folder
    ]
    return of_scipy or libraries


def blas_description() -> str:
    """Name, version and architecture of the BLAS behind SciPy, as far as it tells."""
    descriptions = []
    for library in _blas_libraries():
        info = library.info()
        words = [info.get("internal_api"), info.get("version"), info.get("architecture")]
        descriptions.append(" ".join(str(word) for word in words if word))
    return ", ".join(descriptions) or _blas_of_scipy_build()


def _blas_of_scipy_build() -> str:
    """What SciPy was built with, for libraries that threadpoolctl does not know (Apple's
    Accelerate).
    """
    import scipy

    return scipy.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]


class _BlasLimit:
    """One BLAS thread while at least one kernel runs, and what was there before once none does.

    The number is the process's, not a thread's: concurrent fits are counted.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.n_holders = 0
        self.found: list[tuple[Any, int]] = []

    def acquire(self) -> None:
        with self.lock:
            if self.n_holders == 0:
                self.found = [(library, library.get_num_threads()) for library in _blas_libraries()]
            for (
                library,
                _,
            ) in self.found:  # again for each holder: somebody may have changed it since
                library.set_num_threads(1)
            self.n_holders += 1

    def release(self) -> None:
        with self.lock:
            self.n_holders -= 1
            if self.n_holders == 0:
                self.restore()

    def restore(self) -> None:
        for library, n_threads in self.found:
            library.set_num_threads(n_threads)


_limit = _BlasLimit()


_no_limit = nullcontext()


def single_threaded_blas(is_used: bool = True) -> AbstractContextManager[Any]:
    """BLAS computes with one thread inside: our own threads share the work, and a threaded BLAS
    would change its bits with their number.

    Where BLAS is not used inside, it is left alone.
    """
    return _held_limit() if is_used else _no_limit


@contextmanager
def _held_limit() -> Iterator[None]:
    held = False
    try:
        _limit.acquire()
        held = True
        yield
    finally:
        if held:
            _limit.release()


def _after_fork_in_child() -> None:
    """The threads that held the limit do not exist here."""
    global _limit
    if _limit.n_holders:
        _limit.restore()
    _limit = _BlasLimit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
