from typing import Any

from numpy.typing import NDArray

ALGORITHMS: list[str]

def algorithm_table() -> list[dict[str, Any]]: ...

class Encoder:
    @property
    def atoms(self) -> NDArray[Any]: ...
    def __init__(
        self,
        atoms: NDArray[Any],
        *,
        algorithm: str,
        alpha: float,
        tol: float,
        max_iter: int,
        positive: bool,
        n_nonzero: int,
        target: float,
        step: float,
        weights: NDArray[Any] | None,
        n_threads: int,
        prepare_threads: int,
    ) -> None: ...
    def share(self, n_threads: int, prepare_threads: int) -> None: ...
    def prepare(self) -> None: ...
    def code(
        self,
        rows: NDArray[Any],
        domain: Any,
        *,
        order: NDArray[Any] | None = None,
        init: NDArray[Any] | None = None,
        codes: NDArray[Any] | None = None,
        indices: NDArray[Any] | None = None,
        values: NDArray[Any] | None = None,
        counts: NDArray[Any] | None = None,
        objectives: NDArray[Any] | None = None,
        gaps: NDArray[Any] | None = None,
    ) -> int: ...

def accumulate(
    rows: NDArray[Any],
    order: NDArray[Any] | None,
    indices: NDArray[Any],
    values: NDArray[Any],
    counts: NDArray[Any],
    A: NDArray[Any],
    B: NDArray[Any],
    n_threads: int,
) -> None: ...
def update(
    atoms: NDArray[Any],
    A: NDArray[Any],
    B: NDArray[Any],
    *,
    positive: bool,
    n_sweeps: int,
    least_use: float,
    n_threads: int,
    scale: float = 1.0,
) -> int: ...
