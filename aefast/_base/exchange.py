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
        it; entries are not checked. Linear models and mixtures read complete rows: a row with NaN
        gives NaN. Results are the estimator's to rounding, but for scores of
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


class DetectorToOnnx:
    """The method `to_onnx` of a detector of anomalies."""

    def to_onnx(self, path: PathLike, results: Collection[str] | None = None) -> None:
        """Write the scores of a detector with a network as an ONNX file (opset 18).

        The inputs are those of `TableAutoencoder.to_onnx` for tables with columns that are not
        numbers, else ``X`` (n, n_features) as for `Autoencoder.to_onnx`, with NaN for a missing
        entry where the network takes them. Outputs (n,) are ``score``: `score_samples`, and
        ``decision``: `decision_function`, which is negative for anomalies.

        Parameters
        ----------
        path : str or path-like
            File to write; it is written beside and renamed into place.
        results : list of {"score", "decision"}, optional
            Outputs to include; default all.

        Raises
        ------
        ImportError
            Without the package onnx.
        TypeError
            For a detector without an estimator, which compares rows with others, one that was
            fitted with labels, and one whose estimator is no network or linear model with a score.
        ValueError
            For another result, and for columns that `TableAutoencoder.to_onnx` refuses.
        """
        interop("onnx").export(self, path, results)


class TableToOnnx:
    """The method `to_onnx` of a model of tables whose results are computed row by row."""

    def to_onnx(self, path: PathLike, results: Collection[str] | None = None) -> None:
        """Write the fitted model as an ONNX file (opset 18, ai.onnx.ml 3).

        The graph has one input (n, 1) for each of `variables_`, by its name (`_2` is added to the
        names of outputs):

        ========================  =======  =================================================
        column                    tensor   entries
        ========================  =======  =================================================
        numbers, booleans         float64  the numbers, NaN where an entry is missing;
                                           booleans as 0 and 1
        texts, categories         string   the texts, "" where an entry is missing (unless ""
                                           is one of the texts of the fit)
        dates                     float64  days since 1970-01-01 with their fractions, in UTC
                                           or without a zone as in the fit; NaN is missing
        times of a day            float64  fractions of a day; NaN is missing
        durations                 float64  seconds; NaN is missing
        ========================  =======  =================================================

        and the outputs ``codes`` (n, n_components): `transform`; ``reconstruction`` (n, number of
        columns of the encoder's matrix): means of these columns, whose names the file's metadata
        has as ``aefast.columns``, a list in JSON; ``score`` (n,): `score_samples`, in nats. All
        are float64. Values that the fit has not seen are read as in the estimator; entries are not
        checked. The series in place of the logarithm of the gamma function is exact to 1e-9.

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
            For another result; for a column with dates in a time zone other than UTC, whose clock
            ONNX cannot compute, and one with texts and numbers among its levels.
        """
        interop("onnx").export(self, path, results)
