from typing import Any

import numpy as np
from numpy.typing import NDArray

NOT_FINITE: int
BAD_ROWS: int

def is_plain(array: object, n_dimensions: int) -> bool: ...
def may_overlap(out: NDArray[Any], array: NDArray[Any]) -> bool: ...
def scan(
    X: NDArray[Any],
    order: NDArray[np.int64] | None,
    domain: Any,
    real_example: NDArray[Any],
    n_threads: int,
    sums: NDArray[np.float64],
    weights: NDArray[np.float64],
    *,
    missing: bool = False,
    sample_weight: NDArray[np.float64] | None = None,
    low: NDArray[np.float64] | None = None,
    high: NDArray[np.float64] | None = None,
) -> int: ...
def restore_units(
    values: NDArray[Any], scale: NDArray[np.float64], shift: NDArray[np.float64], n_threads: int
) -> int: ...
def interleave(columns: list[NDArray[Any]], out: NDArray[Any], first: int) -> None: ...
def csr_fault(
    row_begin: NDArray[np.int64], columns: NDArray[np.int64], n_columns: int, n_entries: int
) -> tuple[str, int] | None: ...
