"""The interface as completion shows it: every public name is documented, nothing else is public."""

import inspect

import numpy as np
import pytest

import aefast
from aefast.statistics import SufficientStatistics

OPTIONS = {
    "SparseCoder": {"dictionary": np.eye(5)},
    "StackedAutoencoder": {"layer_sizes": (3, 2), "pretrain_epochs": 1, "max_epochs": 1},
}
SIZED = ("Autoencoder", "DictionaryLearning", "FactorAnalysis", "ProbabilisticPCA")
ESTIMATORS = sorted(
    name
    for name in aefast.__all__
    if isinstance(getattr(aefast, name), type) and hasattr(getattr(aefast, name), "fit")
)


def fitted(name):
    options = OPTIONS.get(name, {"n_components": 2} if name in SIZED else {})
    return getattr(aefast, name)(**options).fit(np.random.default_rng(0).random((40, 5)))


def documentation(cls):
    return "\n".join(parent.__doc__ or "" for parent in cls.__mro__ if parent is not object)


def undocumented(value):
    """Public names that neither scikit-learn nor a docstring explains."""
    cls = type(value)
    for name in dir(value):
        if name.startswith("_"):
            continue
        home = next((parent for parent in cls.__mro__ if name in vars(parent)), None)
        if home is not None and home.__module__.startswith("sklearn."):
            continue
        if callable(getattr(cls, name, None)) and not name.endswith("_"):
            if not inspect.getdoc(getattr(cls, name)):
                yield name
        elif name not in documentation(cls):
            yield name


def test_all_estimators_are_looked_at():
    assert len(ESTIMATORS) >= 9 and set(SIZED) | set(OPTIONS) <= set(ESTIMATORS)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_public_names_of_estimators_are_documented(name):
    assert list(undocumented(fitted(name))) == []


def test_public_names_of_statistics_are_documented():
    assert list(undocumented(SufficientStatistics(3).update(np.eye(3)))) == []


@pytest.mark.parametrize("name", ESTIMATORS)
def test_hooks_of_files_are_not_public(name):
    """Of what `model_file` asks of an estimator, users see `save` alone."""
    hooks = vars(aefast.model_file.saving.Saved)
    assert [hook for hook in hooks if not hook.startswith("_")] == ["save"]
