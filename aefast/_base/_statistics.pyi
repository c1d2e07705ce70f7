from typing import Any

from numpy.typing import NDArray

class Accumulator:
    def __init__(self, shift: NDArray[Any], n_threads: int) -> None: ...
    def add(self, X: NDArray[Any], weight: NDArray[Any] | None = None) -> int: ...
    def finish(self, sums: NDArray[Any], scatter: NDArray[Any]) -> None: ...

MOST_ROWS: int

class Gaps:
    n_groups: int
    def __init__(
        self,
        observed: NDArray[Any],
        weight: NDArray[Any],
        row_begin: NDArray[Any],
        rows: NDArray[Any],
        scale: NDArray[Any],
        n_factors: int,
        is_completed: bool,
        n_threads: int,
        like: NDArray[Any],
    ) -> None: ...
    def add(
        self,
        mean: NDArray[Any],
        W: NDArray[Any],
        precision: NDArray[Any],
        totals: NDArray[Any],
        first_group: int,
        last_group: int,
        *,
        second: NDArray[Any] | None = None,
        cross: NDArray[Any] | None = None,
        completed: NDArray[Any] | None = None,
    ) -> None: ...

def add_sparse(
    row_begin: NDArray[Any],
    columns: NDArray[Any],
    values: NDArray[Any],
    weight: NDArray[Any] | None,
    sums: NDArray[Any],
    scatter: NDArray[Any],
    n_threads: int,
) -> None: ...
def sparse_product(
    row_begin: NDArray[Any],
    columns: NDArray[Any],
    values: NDArray[Any],
    B: NDArray[Any],
    Y: NDArray[Any],
    n_threads: int,
    *,
    minus: NDArray[Any] | None = None,
) -> int: ...
def project(
    X: NDArray[Any],
    shift: NDArray[Any],
    B: NDArray[Any],
    domain: Any,
    block_rows: int,
    n_threads: int,
    *,
    offset: NDArray[Any] | None = None,
    p: NDArray[Any] | None = None,
    sign: float = 0,
    Z: NDArray[Any] | None = None,
    quadratic: NDArray[Any] | None = None,
) -> int: ...

MOST_RANK: int
MOST_REFERENCES: int

def nearest(
    X: NDArray[Any],
    references: NDArray[Any],
    rank: int,
    units: tuple[NDArray[Any], NDArray[Any]],
    domain: Any,
    missing: bool,
    n_threads: int,
    distance: NDArray[Any],
    place: NDArray[Any],
) -> int: ...
