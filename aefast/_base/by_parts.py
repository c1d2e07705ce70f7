"""Methods of rows on streams: part after part, with the results joined, or written to a file."""

import os
import re
from collections.abc import Callable, Iterator
from functools import wraps
from importlib import import_module
from typing import Any, TypeVar

import numpy as np

from aefast._base.errors import shown
from aefast._base.given_results import PART_ROWS
from aefast._base.paths import as_path
from aefast._base.streams import NamedRows, StreamedRows, opened

# Families stand above this module, so the one that writes files is named here, not imported.
WRITER = "aefast.tables.stream_writers"
LEAST_ROWS = 768  # of a part: a multiple of the blocks of all kernels, which do not shrink for it
_ROW = re.compile(r"\brow (\d+)\b( \()?")
Method = TypeVar("Method", bound=Callable[..., Any])


def takes_streams(method: Method) -> Method:
    """Let a method ``method(self, X, ...)`` with a result for each row take streams as X.

    The method is called with parts of the stream, whose results have the bits of those of all rows
    together. They are joined; or written to `out`, an array, or the path of a .npy or .parquet
    file, which is then what the method returns.
    """

    @wraps(method)
    def of_rows(self: Any, X: Any, *arguments: Any, **options: Any) -> Any:
        # a single row's code takes microseconds
        if type(X) is np.ndarray and (not options or type(options.get("out")) is np.ndarray):
            return method(self, X, *arguments, **options)
        X = opened(X)
        out = options.get("out")
        if isinstance(out, (str, os.PathLike)):
            del options["out"]
            results = _results(method, self, X, arguments, options)
            return _write(_path_of(out), results, self, method.__name__)
        if not isinstance(X, StreamedRows):
            return method(self, X, *arguments, **options)
        if out is not None:
            raise TypeError(
                f"out must be the path of a .npy or .parquet file for a stream, got "
                f"{type(out).__name__}"
            )
        return _joined(list(_results(method, self, X, arguments, options)))

    return of_rows  # type: ignore[return-value]  # the same signature


def _results(
    method: Callable[..., Any], estimator: Any, X: Any, arguments: Any, options: Any
) -> Iterator[Any]:
    """Yield the results of the parts of a stream, or the one of all rows."""
    if not isinstance(X, StreamedRows):
        yield method(estimator, X, *arguments, **options)
        return
    n_rows = X.window_rows()
    n_rows = n_rows // PART_ROWS * PART_ROWS or max(1, n_rows // LEAST_ROWS) * LEAST_ROWS
    for window in X.windows(n_rows):
        part = NamedRows(window.rows, X.columns, X, int(window.numbers[0]))
        try:
            yield method(estimator, part, *arguments, **options)
        except (ValueError, FloatingPointError) as error:
            raise _placed(error, part) from None


def _placed(error: ValueError | FloatingPointError, part: NamedRows) -> Exception:
    """Return an error about a row of a part with the row's place in the stream.

    Kernels number the rows that they have got; other checks tell the place themselves.
    """

    def place(found: re.Match[str]) -> str:
        return found[0] if found[2] else part.place(int(found[1]))

    message = _ROW.sub(place, str(error), count=1)
    kind = FloatingPointError if isinstance(error, FloatingPointError) else ValueError
    return kind(message)


def _path_of(out: Any) -> str:
    """Return the path of a result as text."""
    try:
        path = as_path(out)
    except ValueError as error:
        raise ValueError(f"out: {error}") from None
    if not path.lower().endswith((".npy", ".parquet")):
        raise ValueError(
            f"out must be an array, or a path that ends with .npy or .parquet, got {shown(path)}"
        )
    return path


def _joined(results: list[Any]) -> Any:
    if len(results) == 1:
        return results[0]
    if isinstance(results[0], tuple):
        return tuple(_joined(list(each)) for each in zip(*results, strict=True))
    if hasattr(results[0], "tocsr"):
        from scipy import sparse

        return sparse.vstack(results, format="csr")
    return np.concatenate(results)


def _write(path: str, results: Iterator[Any], estimator: Any, name: str) -> str:
    """Write results to a file, part after part, and return its path."""
    import_module(WRITER).write_parts(path, results, lambda width: _names(estimator, width, name))
    return path


def _names(estimator: Any, width: int | None, name: str) -> list[str]:
    """Return the names of the columns of a result of this width, or of one number a row."""
    if width is None:
        return [name]
    if name == "transform" and hasattr(estimator, "get_feature_names_out"):
        names = [str(label) for label in estimator.get_feature_names_out()]
        if len(names) == width:
            return names
    names = [str(label) for label in getattr(estimator, "feature_names_in_", ())]
    return names if len(names) == width else [f"x{j}" for j in range(width)]
