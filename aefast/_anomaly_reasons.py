"""The variables that make rows strange, as a table."""

from typing import Any

import numpy as np

from aefast._anomaly_rows import Usual
from aefast._anomaly_tables import Columns
from aefast._base import scalars
from aefast._base.types import Array

FIELDS = ("row", "variable", "surprise", "value", "expected", "low", "high")


def reasons(
    columns: Columns, X: Any, matrix: Array, excess: Array, expected: Array, usual: Usual, top: int
) -> Any:
    """Return the table of `AnomalyDetector.explain`.

    Parameters
    ----------
    columns : Columns
    X : object
        The user's table.
    matrix, expected : ndarray (n, d)
        Its rows, and what the model expects.
    excess : ndarray (n, n_variables)
        Surprise beyond the usual one; NaN where a value is missing.
    usual : Usual
    top : int
    """
    if scalars.as_integer(top, "top") < 1:
        raise ValueError(f"top must be at least 1, got {top}")
    ranked = np.argsort(np.where(np.isnan(excess), np.inf, -excess), axis=1, kind="stable")
    ranked = ranked[:, : int(top)]
    listed = ~np.isnan(np.take_along_axis(excess, ranked, axis=1))
    row, variable = np.nonzero(listed)[0], ranked[listed]
    values = columns.values_of(X, matrix)
    ends = [columns.decoded(expected + end) for end in (usual.low, usual.high)]
    has_ends = columns.is_numeric
    centres = columns.decoded(expected)
    labels = getattr(X, "index", None) if hasattr(X, "iloc") else None
    found = {
        "row": [i if labels is None else labels[i] for i in row.tolist()],
        "variable": [columns.names[v] for v in variable],
        "surprise": excess[row, variable],
        "value": [values[v][i] for i, v in zip(row, variable, strict=True)],
        "expected": [centres[v][i] for i, v in zip(row, variable, strict=True)],
    }
    for name, end in zip(FIELDS[-2:], ends, strict=True):
        pairs = zip(row, variable, strict=True)
        found[name] = [end[v][i] if has_ends[v] else None for i, v in pairs]
    try:
        import pandas
    except ImportError:
        return {name: list(column) for name, column in found.items()}
    return pandas.DataFrame(found, columns=list(FIELDS))
