"""Rows in partitions of dask, models that are fitted to them, and their comparison."""

import dask.array as da
import numpy as np

from aefast import (
    DictionaryLearning,
    FactorAnalysis,
    ItemAutoencoder,
    MarginalizedAutoencoder,
    MixtureOfFactorAnalyzers,
    MixtureOfProbabilisticPCA,
    ProbabilisticPCA,
    Whitening,
)
from support.dask_tasks import make_rows

X = make_rows()
NAMES = ["a", "b", "c", "d", "e", "f"]
CHUNKS = (130, 6)
MODELS = {
    "ppca": lambda: ProbabilisticPCA(2),
    "ppca-cv": lambda: ProbabilisticPCA("cv"),
    "fa": lambda: FactorAnalysis(2),
    "whitening": lambda: Whitening(),
    "marginalized": lambda: MarginalizedAutoencoder(0.3),
    "items": lambda: ItemAutoencoder(l2=5.0),
    "mixture-fa": lambda: MixtureOfFactorAnalyzers(2, 2, random_state=0),
    "mixture-ppca": lambda: MixtureOfProbabilisticPCA(2, 2, random_state=0),
}


def in_chunks(rows=X, chunks=CHUNKS):
    return da.from_array(rows, chunks=chunks)


def parameters(model):
    names = ("components_", "coef_", "means_", "noise_variance_", "weights_")
    return {name: np.asarray(getattr(model, name)) for name in names if hasattr(model, name)}


def assert_same_bits(one, other):
    mine, its = parameters(one), parameters(other)
    assert mine.keys() == its.keys() and mine
    for name, array in mine.items():
        np.testing.assert_array_equal(array, its[name], err_msg=name)


def dictionary(**options):
    return DictionaryLearning(8, alpha=0.2, random_state=0, **options)
