"""Where a partial result comes from: version and arithmetic, which must be those of all others."""

from functools import lru_cache
from typing import Any, NamedTuple

from aefast._base import _runtime, threads
from aefast._base.warnings import Told
from aefast._version import __version__


class Origin(NamedTuple):
    """What the bits of a partial result depend on, besides the rows."""

    worker: str
    version: str
    isa: str  # instruction set of the kernels
    products: str
    blas: str

    @property
    def arithmetic(self) -> str:
        return f"{self.isa}, products by {self.products}, {self.blas}"


class Partial(NamedTuple):
    """Partial result of a task with its origin, and the first warnings on the way to it."""

    value: Any
    origin: Origin
    warnings: tuple[Told, ...] = ()


@lru_cache(maxsize=1)
def _blas() -> str:
    return threads.blas_description()


def origin_of(worker: str) -> Origin:
    """Return the origin of what this process computes."""
    return Origin(worker, __version__, _runtime.isa(), _runtime.products(), _blas())


def check_version(origin: Origin, expected: str) -> None:
    """Raise RuntimeError where a worker has another version than the client."""
    if origin.version != expected:
        raise RuntimeError(
            f"worker {origin.worker} has aefast {origin.version}, and the client has {expected}: "
            "install the same version everywhere"
        )


def check_same(first: Origin, other: Origin) -> None:
    """Raise RuntimeError where two partial results do not have the same arithmetic."""
    if first.arithmetic != other.arithmetic:
        raise RuntimeError(
            f"worker {first.worker} computes with {first.arithmetic}, and worker {other.worker} "
            f"with {other.arithmetic}: results would depend on which of them gets a partition. Use "
            "workers of one kind, or set AEFAST_ISA to what all of them have"
        )
