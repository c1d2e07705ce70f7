"""Rows and models for the tests of linear factor models."""

import numpy as np

from aefast import FactorAnalysis, ProbabilisticPCA

MODELS = {
    "ppca": ProbabilisticPCA(3),
    "fa": FactorAnalysis(3),
    "varimax": FactorAnalysis(3, rotation="varimax"),
    "promax": FactorAnalysis(3, rotation="promax"),
    "geomin": FactorAnalysis(3, rotation="geomin"),
}


def make_rows(n=600, d=10, k=3, seed=0, mean=2.0):
    """Return rows of a factor model with loadings of simple structure."""
    rng = np.random.default_rng(seed)
    W = rng.normal(size=(k, d)) * (rng.random((k, d)) < 0.7) + 0.1
    return rng.normal(size=(n, k)) @ W + rng.normal(size=(n, d)) * rng.uniform(0.3, 1, d) + mean
