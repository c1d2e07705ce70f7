"""Tables with gaps, drawn from a normal distribution that is known."""

from typing import NamedTuple

import numpy as np
import pytest


class Known(NamedTuple):
    """Rows with gaps, the rows before, and their distribution."""

    X: np.ndarray
    complete: np.ndarray
    gaps: np.ndarray
    mean: np.ndarray
    Sigma: np.ndarray

    def rmse(self, filled):
        errors = ((filled - self.complete) / np.sqrt(np.diagonal(self.Sigma)))[self.gaps]
        return float(np.sqrt(np.mean(errors**2)))


@pytest.fixture(scope="session")
def known():
    """A function that draws rows of two factors in units that differ by millions."""

    def known(n=400, d=6, share=0.2, seed=0):
        rng = np.random.default_rng(seed)
        scale, mean = np.logspace(-3, 3, d), np.linspace(-5, 5, d) * 100
        W = rng.normal(size=(2, d)) * scale
        Sigma = W.T @ W + np.diag((0.4 * scale) ** 2)
        complete = rng.multivariate_normal(mean, Sigma, n, method="eigh")
        gaps = rng.random((n, d)) < share
        return Known(np.where(gaps, np.nan, complete), complete, gaps, mean, Sigma)

    return known
