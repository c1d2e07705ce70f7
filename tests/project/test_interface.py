"""The interface as completion shows it: every public name is documented, nothing else is public."""

import ast
import importlib
import inspect
from pathlib import Path

import numpy as np
import pytest
from support.helpers import fit_to

import aefast
from aefast.statistics import SufficientStatistics

STACKS = ("StackedAutoencoder", "AutoencoderClassifier", "AutoencoderRegressor")
SMALL_STACK = {"layer_sizes": (3, 2), "pretrain_epochs": 1, "max_epochs": 1}
OPTIONS = {
    "SparseCoder": {"dictionary": np.eye(5)},
    **{name: dict(SMALL_STACK) for name in STACKS},
}
SIZED = (
    *("Autoencoder", "DictionaryLearning", "FactorAnalysis", "ProbabilisticPCA"),
    *("MixtureOfFactorAnalyzers", "MixtureOfProbabilisticPCA", "AutoencoderEnsemble"),
)
ESTIMATORS = sorted(
    name
    for name in aefast.__all__
    if isinstance(getattr(aefast, name), type) and hasattr(getattr(aefast, name), "fit")
)


def fitted(name):
    options = OPTIONS.get(name, {"n_components": 2} if name in SIZED else {})
    return fit_to(getattr(aefast, name)(**options), np.random.default_rng(0).random((40, 5)))


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
    """Users see `save` alone of the methods that `model_file` asks of an estimator."""
    hooks = vars(aefast.model_file.saving.Saved)
    assert [hook for hook in hooks if not hook.startswith("_")] == ["save"]


@pytest.mark.parametrize("name", ["aefast", *(f"aefast.{module}" for module in aefast._MODULES)])
def test_public_modules_show_their_interface_alone(name):
    module = importlib.import_module(name)
    submodules = aefast._MODULES if module is aefast else ()
    assert dir(module) == sorted({*module.__all__, *submodules})
    for public in dir(module):
        value = getattr(module, public)
        assert public == "__version__" or value.__doc__, public
    with pytest.raises(AttributeError):
        module.np_or_importlib_or_anything  # noqa: B018


def test_type_checkers_see_the_lazy_names():
    """`if TYPE_CHECKING` in `aefast/__init__.py` imports what `__getattr__` does."""
    tree = ast.parse(Path(aefast.__file__).read_text(encoding="utf-8"))
    (block,) = (
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    imported = {alias.name: node.module for node in block.body for alias in node.names}
    assert imported == aefast._HOMES | dict.fromkeys(aefast._MODULES, "aefast")
