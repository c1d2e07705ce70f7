"""Every public estimator takes sparse rows in every method of rows, or says why it does not."""

import inspect

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import sparse
from support.helpers import fit_to

import aefast

DENSE = ("AnomalyDetector", "AutoencoderEnsemble", "Imputer", "TableAutoencoder", "TableEncoder")
STACKS = ("StackedAutoencoder", "AutoencoderClassifier", "AutoencoderRegressor")
SMALL_STACK = {"layer_sizes": (4, 2), "pretrain_epochs": 1}
OPTIONS = {
    "SparseCoder": {"dictionary": np.eye(3, 12)},
    **{name: dict(SMALL_STACK) for name in STACKS},
}
ESTIMATORS = sorted(
    name
    for name in aefast.__all__
    if isinstance(getattr(aefast, name), type) and hasattr(getattr(aefast, name), "fit")
)
# what trains, what draws at random, and what asks for missing entries
OTHER_METHODS = ("accumulate", "fit_predict", "fit_transform", "impute", "partial_fit", "walk_back")


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    return np.where(rng.random((90, 12)) > 0.7, rng.random((90, 12)), 0)


def made(name):
    cls = getattr(aefast, name)
    known = inspect.signature(cls).parameters
    small = {"random_state": 0, "max_epochs": 2}
    return cls(**{k: v for k, v in small.items() if k in known} | OPTIONS.get(name, {}))


def methods_of_rows(estimator):
    for name in sorted(set(dir(estimator)) - set(OTHER_METHODS)):
        method = getattr(estimator, name, None)
        if name.startswith("_") or name.startswith("fit") or not inspect.ismethod(method):
            continue
        first, *others = (*inspect.signature(method).parameters.values(), None)
        if first is not None and first.name == "X":
            if all(one is None or one.default is not one.empty for one in others):
                yield name, method


def as_list(result):
    parts = result if isinstance(result, tuple) or inspect.isgenerator(result) else [result]
    return [part.toarray() if sparse.issparse(part) else np.asarray(part) for part in parts]


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name not in DENSE])
def test_methods_give_what_they_give_for_dense_rows(name, rows):
    estimator = fit_to(made(name), sparse.csr_matrix(rows))
    n_methods = 0
    for method_name, method in methods_of_rows(estimator):
        of_sparse, of_dense = as_list(method(sparse.csr_array(rows))), as_list(method(rows))
        for one, other in zip(of_sparse, of_dense, strict=True):
            assert_allclose(one, other, rtol=1e-6, atol=1e-9, err_msg=method_name)
        n_methods += 1
    assert n_methods


@pytest.mark.parametrize("name", DENSE)
def test_what_takes_dense_rows_alone_says_why(name, rows):
    with pytest.raises(TypeError, match=r"takes no sparse X: .*toarray\(\)"):
        made(name).fit(sparse.csr_matrix(rows))
