"""One partition as a table that kernels can read; errors that name the partition."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from aefast._base import arrays as check
from aefast._base.errors import shown
from aefast._base.partitions import Part
from aefast._base.warnings import Told, collected, warn

# Errors that are raised anew with the number of the partition; others become a RuntimeError.
_RAISED_AGAIN = (FloatingPointError, OverflowError, ValueError, TypeError, MemoryError)
MOST_WARNINGS = 3  # that a call issues, of all its partitions


@contextmanager
def naming(number: int) -> Iterator[None]:
    """Let the errors of a block begin with the number of a partition."""
    try:
        yield
    except Exception as error:
        for kind in _RAISED_AGAIN:
            if isinstance(error, kind):
                raise kind(f"partition {number}: {error}") from error
        raise RuntimeError(f"partition {number}: {type(error).__name__}: {error}") from error


def computed(function: Any, part: Part, arguments: tuple[Any, ...]) -> tuple[Any, list[Told]]:
    """Return ``function(part, *arguments)`` and the warnings on the way, naming the partition."""
    with naming(part.number), collected() as told:
        result = function(part, *arguments)
    return result, [(f"partition {part.number}: {message}", kind) for message, kind in told]


def issue(warnings: Sequence[Told]) -> None:
    """Issue the first of these warnings."""
    for message, category in warnings[:MOST_WARNINGS]:
        warn(message, category)


class Look(NamedTuple):
    """What is known of a partition without a look at its entries."""

    number: int
    n_rows: int
    n_features: int
    columns: tuple[str, ...] | None
    dtype: np.dtype[Any]
    has_y: bool
    n_bytes: int


def as_part(X: Any, y: Any, sample_weight: Any, number: int) -> Part:
    """Return the `Part` of a partition as a collection has it, which may have no rows."""
    with naming(number):
        columns = _names(X)
        table = _as_table(X)
        n = table.shape[0]
        weight = None
        if sample_weight is not None:
            weight = check.as_row_weights(_column(sample_weight, "sample_weight", n), n)
        y = None if y is None else _column(y, "y", n)
        return Part(number, table, y, weight, columns)


def look(part: Part) -> Look:
    """Return what is known of a partition."""
    X = part.X
    arrays = [X.data, X.indices, X.indptr] if sparse.issparse(X) else [X]
    n_bytes = sum(int(array.nbytes) for array in arrays)
    n, d = map(int, X.shape)
    dtype = check.real_type(X.dtype)
    return Look(part.number, n, d, part.columns, dtype, part.y is not None, n_bytes)


def compared(looks: Sequence[Look]) -> list[int]:
    """Return the places of the partitions that have rows, after a comparison of their columns.

    Raises ValueError where no partition has rows, or where the columns of two differ.
    """
    places = [place for place, one in enumerate(looks) if one.n_rows > 0]
    if not places:
        raise ValueError(f"X has no rows: all of its {len(looks)} partitions are empty")
    first = looks[places[0]]
    for one in (looks[place] for place in places):
        if one.n_features != first.n_features:
            raise ValueError(
                f"partitions of X must have the same columns: partition {first.number} has "
                f"{first.n_features}, partition {one.number} has {one.n_features}"
            )
        if one.columns != first.columns:
            raise ValueError(
                f"partitions of X must have the same columns: those of partition {first.number} "
                f"are {shown(first.columns)}, those of partition {one.number} "
                f"{shown(one.columns)}"
            )
    return places


def _names(X: Any) -> tuple[str, ...] | None:
    names = check.feature_names(X)
    return None if names is None else tuple(map(str, names))


def _as_table(X: Any) -> Any:
    """Return rows as an array of one of ROW_TYPES or as a CSR matrix; it may have no rows."""
    if isinstance(X, (str, bytes)) or (isinstance(X, (list, tuple)) and _has_text(X)):
        raise TypeError("expected rows of numbers, got text: parse it into arrays or frames first")
    if not hasattr(X, "shape"):
        X = np.asarray(X)
    if len(X.shape) != 2:
        raise ValueError(
            f"expected a table of two dimensions (rows, columns), got shape {tuple(X.shape)}"
        )
    dtypes = list(X.dtypes) if hasattr(X, "dtypes") else [X.dtype]
    _refuse_text(X, dtypes)
    check.refuse_types("X", dtypes, "cmM")
    if 0 in X.shape:
        return np.empty(X.shape)
    if hasattr(X, "columns") and hasattr(X, "sparse"):  # pandas has it where all columns are
        X = X.sparse.to_coo()
    if sparse.issparse(X):
        return check.as_csr(X, "X")
    if isinstance(X, np.ndarray):
        return check.as_rows(X, "X")
    from sklearn.utils.validation import check_array

    table = check_array(X, dtype=list(check.ROW_TYPES), ensure_all_finite=False, input_name="X")
    return check.as_rows(table, "X")


def _has_text(rows: Any) -> bool:
    return bool(len(rows)) and isinstance(rows[0], (str, bytes))


def _refuse_text(X: Any, dtypes: list[Any]) -> None:
    names = list(getattr(X, "columns", range(len(dtypes))))
    for name, dtype in zip(names, dtypes, strict=False):
        if getattr(dtype, "kind", "f") in "SU" or str(dtype) in ("str", "string", "category"):
            where = f"column {name!r} is" if hasattr(X, "columns") else "it is"
            raise TypeError(f"expected numbers, but {where} of dtype {dtype}: encode it first")


def _column(value: Any, name: str, n: int) -> Any:
    array = np.asarray(value)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.shape[:1] != (n,):
        raise ValueError(f"{name} must have an entry for each of its {n} rows, got {array.shape}")
    return array
