"""Names that other libraries give to parameters: aliases, and errors that name what is here."""

import inspect

import numpy as np
import pytest
from sklearn import decomposition
from sklearn.base import clone

import aefast
from aefast._base.foreign_names import Alias
from aefast.linear import foreign_names
from aefast.sparse_coding import foreign_names as names_of_sparse_coding

TABLES = {
    "FactorAnalysis": foreign_names.FACTOR_ANALYSIS,
    "ProbabilisticPCA": foreign_names.PROBABILISTIC_PCA,
    "Whitening": foreign_names.WHITENING,
    "MarginalizedAutoencoder": foreign_names.MARGINALIZED_AUTOENCODER,
    "ItemAutoencoder": foreign_names.ITEM_AUTOENCODER,
    "DictionaryLearning": names_of_sparse_coding.DICTIONARY_LEARNING,
    "SparseCoder": names_of_sparse_coding.SPARSE_CODER,
}
REQUIRED = {"SparseCoder": {"dictionary": np.eye(3)}}
ALIASES = [
    (estimator, name, alias)
    for estimator, table in TABLES.items()
    for name, alias in table.items()
    if isinstance(alias, Alias)
]


@pytest.mark.parametrize("estimator", TABLES)
def test_foreign_names_say_what_they_are_here(estimator):
    cls, table = getattr(aefast, estimator), TABLES[estimator]
    own = set(cls._get_param_names())
    required = REQUIRED.get(estimator, {})
    hints = {name: hint for name, hint in table.items() if isinstance(hint, str)}
    assert hints and not own & set(table)
    for name, hint in hints.items():
        for call, error in (
            (lambda name=name: cls(**required, **{name: 1}), TypeError),
            (lambda name=name: cls(**required).set_params(**{name: 1}), ValueError),
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
    required = REQUIRED.get(estimator, {})
    with pytest.raises(TypeError, match="unexpected keyword argument 'nonsense'"):
        cls(**required, nonsense=1)
    with pytest.raises(ValueError, match="Invalid parameter 'nonsense'"):
        cls(**required).set_params(nonsense=1)
    assert clone(cls(**required, n_threads=1)).set_params(n_threads=2).n_threads == 2


def test_the_hint_for_a_matrix_works():
    with pytest.raises(TypeError, match=r"fit_statistics\(SufficientStatistics.from_covariance"):
        aefast.FactorAnalysis(covmat=np.eye(3))
    given = aefast.SufficientStatistics.from_covariance(np.full((4, 4), 0.5) + np.eye(4) / 2, 100)
    assert aefast.FactorAnalysis(1).fit_statistics(given).loadings_.shape == (4, 1)


# ---- aliases ----


@pytest.mark.parametrize("estimator, name, alias", ALIASES, ids=lambda value: str(value)[:30])
def test_aliases_set_the_parameter(estimator, name, alias):
    """A copy, a search and `get_params` see the parameter's own name alone."""
    cls, required, value = getattr(aefast, estimator), REQUIRED.get(estimator, {}), object()
    for values in [{value: value}, alias.values]:
        for theirs, ours in values.items():
            for made in (
                cls(**required, **{name: theirs}),
                cls(**required).set_params(**{name: theirs}),
            ):
                assert made.get_params()[alias.parameter] is ours and not hasattr(made, name)
    assert name not in cls._get_param_names() and name in cls.__doc__


@pytest.mark.parametrize("estimator, name, alias", ALIASES, ids=lambda value: str(value)[:30])
def test_a_parameter_has_one_value(estimator, name, alias):
    cls, both = getattr(aefast, estimator), {alias.parameter: 1, name: 1}
    required = REQUIRED.get(estimator, {})
    match = f"^{estimator} got {alias.parameter} twice, once by another name$"
    with pytest.raises(TypeError, match=match):
        cls(**required, **both)
    with pytest.raises(ValueError, match=match):
        cls(**required).set_params(**both)


@pytest.mark.parametrize("value", [[], {}, np.ones(3), ([],)], ids=repr)
def test_aliases_of_values_that_have_no_hash(value):
    assert aefast.SparseCoder(np.eye(2), n_jobs=value).n_threads is value


def test_hints_of_a_function():
    X, D = np.ones((1, 3)), np.eye(3)
    np.testing.assert_array_equal(aefast.sparse_encode(X, D, n_jobs=-1), aefast.sparse_encode(X, D))
    for name, hint in names_of_sparse_coding.SPARSE_ENCODE.items():
        if isinstance(hint, str):
            with pytest.raises(TypeError) as caught:
                aefast.sparse_encode(X, D, **{name: None})
            assert str(caught.value) == f"sparse_encode has no parameter {name!r}: {hint}"
    assert list(inspect.signature(aefast.sparse_encode).parameters)[:3] == [
        *("X", "dictionary", "algorithm")
    ]


@pytest.mark.parametrize(
    "theirs, ours, table",
    [
        (decomposition.FactorAnalysis, "FactorAnalysis", None),
        (decomposition.PCA, "ProbabilisticPCA", None),
        (decomposition.DictionaryLearning, "DictionaryLearning", None),
        (decomposition.MiniBatchDictionaryLearning, "DictionaryLearning", None),
        (decomposition.SparseCoder, "SparseCoder", None),
        (decomposition.sparse_encode, "sparse_encode", names_of_sparse_coding.SPARSE_ENCODE),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_every_parameter_of_scikit_learn_is_known(theirs, ours, table):
    table = TABLES[ours] if table is None else table
    own = set(inspect.signature(getattr(aefast, ours)).parameters)
    assert set(inspect.signature(theirs).parameters) <= own | set(table)
