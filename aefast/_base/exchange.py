"""Methods of estimators that turn them into the forms of other libraries.

The forms are built in `aefast.interop`, above the families; they are found by name when a method is
called, so that no estimator imports them, or the libraries that they need.
"""

from collections.abc import Collection
from importlib import import_module
from typing import Any

from aefast._base.types import PathLike


def interop(name: str) -> Any:
    """Return the module of `aefast.interop` of this name.

    Raises ImportError, with the name of the package to install, where its library is absent.
    """
    try:
        return import_module(f"aefast.interop.{name}")
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library in ("", "aefast"):
            raise
        raise ImportError(
            f"this needs the package {library!r}, which is not installed: pip install {library}",
            name=library,
        ) from error


class ToOnnx:
    """The method `to_onnx` of an estimator whose results are computed row by row."""

    def to_onnx(self, path: PathLike, results: Collection[str] | None = None) -> None:
        """Write the fitted model as an ONNX file (opset 18), for ONNX Runtime and others.

        The graph has one input, ``X`` (n, n_features), of the type of the parameters, and the
        outputs ``codes`` (n, n_components): `transform`; ``reconstruction`` (n, n_features):
        `reconstruct`; ``score`` (n,): `score_samples`, in nats; as far as the estimator has these
        methods. Units of columns, replacements of missing entries (NaN) and logarithms are part of
        it; entries are not checked. Results are the estimator's to rounding, but for scores of
        counts: ai.onnx has no logarithm of the gamma function, and the series in its place is exact
        to 1e-9 in float64 and to rounding in float32.

        Parameters
        ----------
        path : str or path-like
            File to write; it is written beside and renamed into place.
        results : list of {"codes", "reconstruction", "score"}, optional
            Outputs to include; default all.

        Raises
        ------
        ImportError
            Without the package onnx.
        ValueError
            For a user-defined distribution, or a result that the estimator does not have.
        """
        interop("onnx").export(self, path, results)
