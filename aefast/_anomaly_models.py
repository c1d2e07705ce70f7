"""Fitted estimators of aefast as models of `AnomalyDetector`: what it asks of them."""

import inspect
from typing import Any

import numpy as np

from aefast._base.types import Array

SMALLEST_SPREAD = 1e-6  # of the greatest spread: columns that are reproduced exactly


class FittedEstimator:
    """A fitted estimator, and the spread of its residuals.

    The strangeness of a row is minus its log-likelihood where the estimator has one, else the sum
    of Laplace's ``|x − x̂| / s + log 2s`` over columns with mean absolute residuals s.
    """

    def __init__(self, estimator: Any, spread: Array) -> None:
        self.estimator = estimator
        smallest = max(SMALLEST_SPREAD * spread.max(), np.finfo(np.float64).tiny)
        self.spread = np.maximum(spread, smallest)
        self.usual: Array | None = None

    @classmethod
    def of(cls, estimator: Any, rows: Array) -> "FittedEstimator":
        residuals = np.abs(rows - reconstructions(estimator, rows))
        counts = np.maximum((~np.isnan(residuals)).sum(axis=0), 1)
        return cls(estimator, np.nansum(residuals, axis=0, dtype=np.float64) / counts)

    def strangeness(self, rows: Array, name: str, n_threads: int | None) -> Array:
        if hasattr(self.estimator, "score_samples"):
            return -self.estimator.score_samples(rows).astype(np.float64)
        return np.nansum(self._of_residuals(rows, reconstructions(self.estimator, rows)), axis=1)

    def surprise(self, rows: Array, name: str, n_threads: int | None) -> tuple[Array, Array]:
        expected = reconstructions(self.estimator, rows).astype(np.float64)
        if scores_features(self.estimator):
            parts = -self.estimator.score_samples(rows, per_feature=True).astype(np.float64)
            return np.where(np.isnan(rows), np.nan, parts), expected
        return self._of_residuals(rows, expected), expected

    def codes(self, rows: Array) -> Array:
        codes = self.estimator.transform(rows)
        return np.asarray(codes.toarray() if hasattr(codes, "toarray") else codes, np.float64)

    def _of_residuals(self, rows, expected):
        return np.abs(rows - expected) / self.spread + np.log(2 * self.spread)


def scores_features(estimator: Any) -> bool:
    """Return whether the log-likelihood has parts, one for each column."""
    method = getattr(estimator, "score_samples", None)
    return method is not None and "per_feature" in inspect.signature(method).parameters


def reconstructions(estimator: Any, rows: Array) -> Array:
    """Return the reconstructions of rows, of estimators with codes alone too."""
    if hasattr(estimator, "reconstruct"):
        return estimator.reconstruct(rows)
    codes = estimator.transform(rows)
    if hasattr(estimator, "inverse_transform"):
        return np.asarray(estimator.inverse_transform(codes))
    return np.asarray(codes @ estimator.components_)
