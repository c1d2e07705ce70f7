"""aefast.dask without a cluster: bad input, and what the module itself promises."""

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("distributed", reason="needs dask: pip install 'aefast[dask]'")

import dask
import dask.array as da
import dask.bag
import dask.dataframe as dd
import pandas as pd
from sklearn.utils import get_tags
from support.partitioned_rows import MODELS, NAMES, X, assert_same_bits, in_chunks

import aefast.dask
from aefast import AnomalyDetector, FactorAnalysis, SufficientStatistics, load

# ---- bad input ----


def frame_of(rows):
    return dd.from_pandas(pd.DataFrame(rows, columns=NAMES), npartitions=4)


def with_entry(value):
    rows = X.copy()
    rows[400, 3] = value
    return rows


BAD = {
    "nan": (lambda: in_chunks(with_entry(np.nan)), "partition 3: .*NaN at row 10, column 3"),
    "nan in a frame": (lambda: frame_of(with_entry(np.nan)), "partition 1: .*NaN.*column 'd'"),
    "infinity": (lambda: in_chunks(with_entry(np.inf)), "partition 3: .*infinity"),
    "columns": (lambda: [X[:9], X[9:20, :3]], "partition 0 has 6, partition 1 has 3"),
    "names": (
        lambda: [pd.DataFrame(X[:9], columns=NAMES), pd.DataFrame(X[9:], columns=NAMES[::-1])],
        "those of partition 1 ",
    ),
    "no rows": (lambda: [X[:0], X[:0]], "all of its 2 partitions are empty"),
    "one dimension": (lambda: in_chunks()[:, 0], "two dimensions"),
    "a vector": (lambda: [X, X[0]], "partition 1: expected a table of two dimensions"),
    "text": (lambda: [X, dask.delayed("1,2,3")], "partition 1: .*got text"),
    "lines": (lambda: [dask.delayed(["1,2", "3,4"])], "partition 0: .*got text"),
    "a bag": (lambda: dask.bag.from_sequence(["1,2", "3"]), "partition 0: .*got text"),
    "texts": (lambda: [X, dask.delayed(X.astype(str))], "partition 1: expected numbers"),
    "a column of texts": (lambda: frame_of(X).assign(t="x"), "column 't' of X"),
    "complex": (lambda: [X, X.astype(complex)], "partition 1: .*complex"),
    "a table": (lambda: X, "must be a dask array.*got ndarray"),
    "nothing": (lambda: [], "must be a dask array.*got list"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_rows_are_refused_by_partition(case):
    make, message = BAD[case]
    for model in (FactorAnalysis(2), MODELS["mixture-fa"]()):
        with pytest.raises((ValueError, TypeError), match=message):
            aefast.dask.fit(model, make())
        assert not hasattr(model, "n_features_in_")


def test_bad_weights_are_refused():
    for weight in (np.ones(3), da.ones(3, chunks=3), [dask.delayed(np.ones(9))]):
        with pytest.raises(ValueError, match="sample_weight must have"):
            aefast.dask.statistics(in_chunks(), weight)
    weight = np.ones(len(X))
    weight[135] = -1
    with pytest.raises(ValueError, match=r"partition 1: sample_weight .* got -1.0 at row 5"):
        aefast.dask.statistics(in_chunks(), weight)
    with pytest.raises(ValueError, match="all weights are zero"):
        aefast.dask.fit(FactorAnalysis(2), in_chunks(), sample_weight=np.zeros(len(X)))


def test_bad_parameters_are_refused():
    with pytest.raises(TypeError, match="AnomalyDetector has no fit to rows in partitions"):
        aefast.dask.fit(AnomalyDetector(), in_chunks())
    with pytest.raises(ValueError, match="method must be 'auto'"):
        aefast.dask.fit(FactorAnalysis(2), in_chunks(), method="rounds")
    with pytest.raises(TypeError, match="DictionaryLearning, got FactorAnalysis"):
        aefast.dask.accumulate(FactorAnalysis(2), in_chunks())
    for name, value in {"timeout": 0, "retries": -1}.items():
        with pytest.raises(ValueError, match=f"{name} must be"):
            aefast.dask.statistics(in_chunks(), **{name: value})


def estimators():
    for name in aefast.__all__:
        kind = getattr(aefast, name)
        if isinstance(kind, type) and hasattr(kind, "fit"):
            options = {"SparseCoder": (np.eye(6),), "StackedAutoencoder": ((3, 2),)}
            yield pytest.param(kind(*options.get(name, ())), id=name)


@pytest.mark.parametrize("estimator", list(estimators()))
def test_fits_to_tables_refuse_collections_and_say_where_to_go(estimator):
    targets = [np.arange(len(X)) % 2] if get_tags(estimator).target_tags.required else []
    for collection in (in_chunks(), frame_of(X), frame_of(X)["a"], dask.delayed(X)):
        with pytest.raises(TypeError, match=r"collection of Dask .* aefast\.dask\.fit"):
            estimator.fit(collection, *targets)


def test_methods_of_fitted_estimators_refuse_collections():
    model = FactorAnalysis(2).fit(X)
    with pytest.raises(TypeError, match=r"aefast\.dask\.transform"):
        model.transform(in_chunks())
    with pytest.raises(TypeError, match="sample_weight is a collection"):
        FactorAnalysis(2).fit(X, sample_weight=da.ones(1000))
    with pytest.raises(TypeError, match="X is a collection"):
        SufficientStatistics(6).update(in_chunks())


class InMemory:
    """An array that may have a graph, as those of xarray, and has none."""

    shape, ndim = X.shape, 2

    def __dask_graph__(self):
        return None

    def __array__(self, dtype=None, copy=None):
        return np.asarray(X, dtype)


def test_an_array_that_could_have_a_graph_is_a_table():
    assert_same_bits(FactorAnalysis(2).fit(InMemory()), FactorAnalysis(2).fit(X))


# ---- the module ----


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_aefast_imports_no_dask():
    found = run("import sys, aefast; aefast.FactorAnalysis; print('dask' in sys.modules)")
    assert found.stdout.strip() == "False", found.stderr


@pytest.mark.parametrize("library", ["dask", "distributed"])
def test_without_dask_the_error_names_the_extra(library):
    found = run(f"import sys; sys.modules[{library!r}] = None; import aefast.dask")
    assert f"needs the package {library!r}: pip install 'aefast[dask]'" in found.stderr


def test_public_names():
    assert dir(aefast.dask) == sorted(aefast.dask.__all__)
    for name in aefast.dask.__all__:
        assert getattr(aefast.dask, name).__doc__


def test_what_comes_back_is_the_estimator(path):
    model = FactorAnalysis(2)
    assert aefast.dask.fit(model, in_chunks()) is model
    model.save(path)
    assert_same_bits(load(path), model)
