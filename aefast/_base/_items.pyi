from typing import Any

from numpy.typing import NDArray

NOT_FINITE: int
SINGULAR: int

def gram(
    row_begin: NDArray[Any],
    columns: NDArray[Any],
    values: NDArray[Any],
    column_begin: NDArray[Any],
    rows: NDArray[Any],
    places: NDArray[Any],
    weight: NDArray[Any] | None,
    G: NDArray[Any],
    first: int,
    last: int,
    n_threads: int,
) -> None: ...

class Inversion:
    n_blocks: int
    n_items: int
    def __init__(self, A: NDArray[Any], diagonal: NDArray[Any], n_threads: int) -> None: ...
    def step(self, block: int, first: int, last: int) -> int: ...

def refit(
    G: NDArray[Any],
    diagonal: NDArray[Any],
    begin: NDArray[Any],
    rows: NDArray[Any],
    most: int,
    values: NDArray[Any],
    first: int,
    last: int,
    n_threads: int,
) -> int: ...
def ranking(
    row_begin: NDArray[Any],
    columns: NDArray[Any],
    values: NDArray[Any],
    B: NDArray[Any] | None,
    allowed: NDArray[Any] | None,
    exclude_seen: bool,
    best: NDArray[Any],
    items: NDArray[Any],
    n_threads: int,
    *,
    B_begin: NDArray[Any] | None = None,
    B_columns: NDArray[Any] | None = None,
    scores: NDArray[Any] | None = None,
) -> int: ...
