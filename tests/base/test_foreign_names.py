"""Errors for the names that other libraries give to parameters."""

import inspect

import numpy as np
import pytest
from sklearn.base import clone

import aefast
from aefast.linear import foreign_names

TABLES = {
    "FactorAnalysis": foreign_names.FACTOR_ANALYSIS,
    "ProbabilisticPCA": foreign_names.PROBABILISTIC_PCA,
    "Whitening": foreign_names.WHITENING,
    "MarginalizedAutoencoder": foreign_names.MARGINALIZED_AUTOENCODER,
    "ItemAutoencoder": foreign_names.ITEM_AUTOENCODER,
}


@pytest.mark.parametrize("estimator", TABLES)
def test_foreign_names_say_what_they_are_here(estimator):
    cls, table = getattr(aefast, estimator), TABLES[estimator]
    own = set(cls._get_param_names())
    assert table and not own & set(table)
    for name, hint in table.items():
        for call, error in (
            (lambda name=name: cls(**{name: 1}), TypeError),
            (lambda name=name: cls().set_params(**{name: 1}), ValueError),
        ):
            with pytest.raises(error) as caught:
                call()
            assert str(caught.value) == f"{estimator} has no parameter {name!r}: {hint}"


@pytest.mark.parametrize("estimator", TABLES)
def test_signatures_and_other_errors_are_as_ever(estimator):
    cls = getattr(aefast, estimator)
    assert list(inspect.signature(cls).parameters) == [
        name for name in inspect.signature(cls.__init__).parameters if name != "self"
    ]
    assert set(inspect.signature(cls).parameters) == set(cls._get_param_names())
    with pytest.raises(TypeError, match="unexpected keyword argument 'nonsense'"):
        cls(nonsense=1)
    with pytest.raises(ValueError, match="Invalid parameter 'nonsense'"):
        cls().set_params(nonsense=1)
    assert clone(cls(n_threads=1)).set_params(n_threads=2).n_threads == 2


def test_the_hint_for_a_matrix_works():
    with pytest.raises(TypeError, match=r"fit_statistics\(SufficientStatistics.from_covariance"):
        aefast.FactorAnalysis(covmat=np.eye(3))
    given = aefast.SufficientStatistics.from_covariance(np.full((4, 4), 0.5) + np.eye(4) / 2, 100)
    assert aefast.FactorAnalysis(1).fit_statistics(given).loadings_.shape == (4, 1)
