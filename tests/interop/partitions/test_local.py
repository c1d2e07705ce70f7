"""aefast.dask without a cluster: the order of mergers, fits."""

import numpy as np
import pytest

pytest.importorskip("distributed", reason="needs dask: pip install 'aefast[dask]'")

import dask
import dask.array as da
import dask.bag
import dask.dataframe as dd
import pandas as pd
from scipy import sparse
from support import dask_tasks
from support.dask_tasks import make_ratings
from support.partitioned_rows import MODELS, NAMES, X, assert_same_bits, in_chunks, parameters

import aefast.dask
from aefast import FactorAnalysis, ItemAutoencoder, SufficientStatistics
from aefast._base.partitions import Part, PartsInMemory, merged

# ---- order of mergers ----


@pytest.mark.parametrize("n", [1, 2, 3, 5, 6, 7, 8, 11])
def test_the_tree_of_mergers_is_the_one_of_its_levels(n):
    """`merged`, which keeps few values, combines (0, 1), (2, 3), ... and so on level by level."""
    level = [str(i) for i in range(n)]
    while len(level) > 1:
        couples = [level[first : first + 2] for first in range(0, len(level), 2)]
        level = [dask_tasks.bracketed(*pair) if len(pair) == 2 else pair[0] for pair in couples]
    assert merged((str(i) for i in range(n)), dask_tasks.bracketed) == level[0]


# ---- fits ----


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("weighted", [False, True])
def test_fits_are_those_of_one_table_to_rounding(name, weighted):
    weight = np.random.default_rng(1).random(len(X)) if weighted else None
    model = aefast.dask.fit(MODELS[name](), in_chunks(), sample_weight=weight)
    expected = MODELS[name]().fit(X, sample_weight=weight)
    for attribute, array in parameters(expected).items():
        np.testing.assert_allclose(getattr(model, attribute), array, rtol=1e-8, atol=1e-9)
    assert model.n_features_in_ == 6 and model.n_samples_seen_ == len(X)


@pytest.mark.parametrize("name", MODELS)
def test_bits_follow_from_the_partitioning_alone(name):
    """Arrays, frames and lists of the same rows, and parts in memory, give the same bits."""
    rows = np.split(X, range(130, 1000, 130))
    kinds = [in_chunks(), in_chunks(chunks=(130, 4)), [dask.delayed(part) for part in rows]]
    models = [aefast.dask.fit(MODELS[name](), kind) for kind in kinds]
    parts = PartsInMemory([Part(number, part) for number, part in enumerate(rows)])
    models.append(MODELS[name]()._fit_partitions(parts))
    for model in models[1:]:
        assert_same_bits(model, models[0])


def test_statistics_are_those_of_all_rows():
    statistics = aefast.dask.statistics(in_chunks())
    assert statistics.n_samples_ == len(X)
    np.testing.assert_allclose(statistics.covariance(), np.cov(X.T, ddof=0), rtol=1e-12)
    again = FactorAnalysis(2).fit_statistics(statistics)
    assert_same_bits(again, aefast.dask.fit(FactorAnalysis(2), in_chunks()))


@pytest.mark.parametrize("kind", ["array", "dask array", "other chunks", "list"])
def test_weights_of_any_kind_count_rows(kind):
    weight = (np.arange(len(X)) % 3).astype(float)
    given = {
        "array": weight,
        "dask array": da.from_array(weight, chunks=130),
        "other chunks": da.from_array(weight, chunks=77),
        "list": [dask.delayed(part) for part in np.split(weight, range(130, 1000, 130))],
    }[kind]
    statistics = aefast.dask.statistics(in_chunks(), given)
    assert statistics.weight_sum_ == weight.sum()
    expected = SufficientStatistics(6).update(np.repeat(X, weight.astype(int), axis=0))
    np.testing.assert_allclose(statistics.scatter_, expected.scatter_, rtol=1e-11)


def test_frames_bring_their_names_and_their_types():
    frame = pd.DataFrame(X.astype(np.float32), columns=NAMES)
    model = aefast.dask.fit(FactorAnalysis(2), dd.from_pandas(frame, npartitions=3))
    assert list(model.feature_names_in_) == NAMES
    assert model.n_threads is None and model._statistics.n_threads is None
    mixture = aefast.dask.fit(MODELS["mixture-fa"](), dd.from_pandas(frame, npartitions=3))
    assert list(mixture.feature_names_in_) == NAMES


def test_sizes_may_be_unknown_and_partitions_empty():
    whole = in_chunks()
    some = whole[whole[:, 0] > 0]
    assert np.isnan(some.shape[0])
    assert aefast.dask.statistics(some).n_samples_ == (X[:, 0] > 0).sum()
    later = whole[da.from_array(np.arange(1000) >= 300, chunks=130)]
    parts = [X[:0], X[:300], X[:0, :2], X[300:]]
    assert aefast.dask.statistics(later).n_samples_ == 700
    two = aefast.dask.fit(FactorAnalysis(2), parts)
    assert_same_bits(two, aefast.dask.fit(FactorAnalysis(2), [X[:300], X[300:]]))
    weight = np.ones(len(X))
    assert aefast.dask.statistics(parts, weight).weight_sum_ == len(X)


def test_items_from_sparse_partitions():
    ratings = make_ratings()
    model = aefast.dask.fit(ItemAutoencoder(l2=5.0), [ratings[:100], ratings[100:]])
    expected = ItemAutoencoder(l2=5.0).fit(ratings)
    np.testing.assert_allclose(model.components_, expected.components_, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_items_of_low_rank_from_partitions(weighted):
    """The loss and its gradient are sums over users; nobody has chosen one of the items."""
    ratings = make_ratings().tolil()
    ratings[:, 4], ratings[7] = 0, 0
    ratings = ratings.tocsr()
    ratings.eliminate_zeros()
    weight = (np.arange(300) % 3).astype(float) if weighted else None
    options = {"n_components": 3, "max_iter": 8}
    parts = [ratings[:100], ratings[100:].toarray()]
    model = aefast.dask.fit(ItemAutoencoder(**options), parts, sample_weight=weight)
    expected = ItemAutoencoder(**options).fit(ratings, sample_weight=weight)
    np.testing.assert_allclose(model.components_, expected.components_, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(model.loss_curve_, expected.loss_curve_, rtol=1e-9)
    assert not model.components_[:, 4].any() and model.n_samples_seen_ == 300
    with pytest.raises(ValueError, match="no user has chosen an item"):
        aefast.dask.fit(ItemAutoencoder(**options), [np.zeros((3, 5)), np.zeros((2, 5))])


@pytest.mark.parametrize("kind", ["sparse", "nullable", "objects", "bytes"])
def test_frames_of_other_types(kind):
    counts = (np.arange(600).reshape(100, 6) * 7919 % 5).astype(np.uint8)
    frame = pd.DataFrame(counts, columns=NAMES)
    made = {
        "sparse": lambda: pd.DataFrame.sparse.from_spmatrix(sparse.csr_array(counts), None, NAMES),
        "nullable": lambda: frame.astype("Int64"),
        "objects": lambda: frame.astype(object),
        "bytes": lambda: frame,
    }[kind]()
    found = aefast.dask.statistics([made[:30], made[30:]])
    expected = SufficientStatistics(6).update(counts.astype(float))
    np.testing.assert_allclose(found.scatter_, expected.scatter_, rtol=1e-5)
    assert list(found.feature_names_in_) == NAMES


def test_partial_fit_goes_on_from_partitions():
    model = aefast.dask.fit(FactorAnalysis(2), in_chunks(X[:700])).partial_fit(X[700:])
    expected = FactorAnalysis(2).fit(X)
    np.testing.assert_allclose(model.components_, expected.components_, rtol=1e-8, atol=1e-9)


def test_warnings_of_partitions_are_issued_here():
    rows = X.copy()
    rows[:, 2] *= 1e-170
    with pytest.warns(RuntimeWarning, match=r"partition 0: squares of column\(s\) 2") as told:
        aefast.dask.statistics(in_chunks(rows))
    assert len(told) == 3 and all(warning.filename == __file__ for warning in told)
