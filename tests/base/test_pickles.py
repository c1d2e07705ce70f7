"""Pickles and copies of fitted objects, and pickles of other format versions."""

import copy
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from support.helpers import fit_to

import aefast
from aefast._base.saving import Pickled

QUICK = {"max_epochs": 1, "pretrain_epochs": 1, "random_state": 0}
OBJECTS = {
    "AnomalyDetector": lambda X: aefast.AnomalyDetector(n_sets=2).fit(X),
    "Autoencoder": lambda X: aefast.Autoencoder(2, max_epochs=1, random_state=0).fit(X),
    "AutoencoderClassifier": lambda X: fit_to(aefast.AutoencoderClassifier((3, 2), **QUICK), X),
    "AutoencoderRegressor": lambda X: fit_to(aefast.AutoencoderRegressor((3, 2), **QUICK), X),
    "AutoencoderCV": lambda X: aefast.AutoencoderCV(
        aefast.Autoencoder(max_epochs=1), {"n_components": [1, 2]}, cv=2, random_state=0
    ).fit(X),
    "StackedAutoencoder": lambda X: aefast.StackedAutoencoder(
        (3, 2), max_epochs=1, pretrain_epochs=1, random_state=0
    ).fit(X),
    "AutoencoderEnsemble": lambda X: aefast.AutoencoderEnsemble(
        2, n_components=2, max_epochs=1, random_state=0
    ).fit(X),
    "DictionaryLearning": lambda X: aefast.DictionaryLearning(3, max_epochs=1, random_state=0).fit(
        X
    ),
    "FactorAnalysis": lambda X: aefast.FactorAnalysis(1).fit(X),
    "Imputer": lambda X: aefast.Imputer(n_draws=1).fit(X),
    "MultinomialAutoencoder": lambda X: aefast.MultinomialAutoencoder(
        2, max_epochs=1, random_state=0
    ).fit(np.abs(X)),
    "ItemAutoencoder": lambda X: aefast.ItemAutoencoder().fit(X),
    "MarginalizedAutoencoder": lambda X: aefast.MarginalizedAutoencoder().fit(X),
    "MixtureOfFactorAnalyzers": lambda X: aefast.MixtureOfFactorAnalyzers(1, 1).fit(X),
    "MixtureOfProbabilisticPCA": lambda X: aefast.MixtureOfProbabilisticPCA(1, 1).fit(X),
    "ProbabilisticPCA": lambda X: aefast.ProbabilisticPCA(1).fit(X),
    "SparseCoder": lambda X: aefast.SparseCoder(X[:4]).fit(X),
    "SufficientStatistics": lambda X: aefast.SufficientStatistics(X.shape[1]).update(X),
    "TableAutoencoder": lambda X: aefast.TableAutoencoder(
        aefast.Autoencoder(2, max_epochs=1, random_state=0)
    ).fit(X),
    "TableEncoder": lambda X: aefast.TableEncoder().fit(X),
    "Whitening": lambda X: aefast.Whitening().fit(X),
}
VERSION = Pickled._pickle_version


@pytest.fixture(params=OBJECTS)
def fitted(request):
    return OBJECTS[request.param](np.random.default_rng(0).normal(size=(60, 5)))


def results(fitted):
    if isinstance(fitted, aefast.SufficientStatistics):
        return fitted.covariance()
    method = fitted.transform if hasattr(fitted, "transform") else fitted.score_samples
    return np.asarray(method(np.ones((2, 5))))


def test_every_class_that_pickles_is_here():
    names = {name for name in aefast.__all__ if isinstance(getattr(aefast, name), type)}
    assert names == {*OBJECTS} and all(issubclass(getattr(aefast, n), Pickled) for n in names)


def test_pickles_and_copies_are_the_object(fitted):
    for other in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted), copy.copy(fitted)):
        assert vars(other).keys() == vars(fitted).keys()
        assert results(other).tobytes() == results(fitted).tobytes()
    if not isinstance(fitted, aefast.SufficientStatistics):
        assert repr(clone(fitted)) == repr(fitted)


@pytest.mark.parametrize("version", [VERSION + 1, 0, None, "x"])
def test_other_versions_are_refused_by_name(version, fitted, monkeypatch):
    monkeypatch.setattr(type(fitted), "_pickle_version", version)
    written = pickle.dumps(fitted)
    monkeypatch.undo()
    name = type(fitted).__name__
    match = rf"pickle of {name} has format version {version!r}, .*aefast {aefast.__version__} reads"
    with pytest.raises(ValueError, match=match):
        pickle.loads(written)


def test_pickles_without_a_version_are_refused(fitted):
    """Development versions before 0.1.0 wrote them."""
    made = object.__new__(type(fitted))
    with pytest.raises(ValueError, match=r"version None, written by aefast before 0\.1\.0"):
        made.__setstate__(vars(fitted).copy())
    assert vars(made) == {}
