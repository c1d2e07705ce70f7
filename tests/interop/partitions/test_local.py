"""aefast.dask without a cluster: collections, mergers, lazy results, refusals."""

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
from scipy import sparse
from support import dask_tasks
from support.dask_tasks import make_ratings, make_rows

import aefast.dask
from aefast import (
    AnomalyDetector,
    Autoencoder,
    DictionaryLearning,
    FactorAnalysis,
    ItemAutoencoder,
    MarginalizedAutoencoder,
    MixtureOfFactorAnalyzers,
    MixtureOfProbabilisticPCA,
    ProbabilisticPCA,
    SufficientStatistics,
    TableAutoencoder,
    Whitening,
    load,
)
from aefast._base.partitions import Part, PartsInMemory, merged

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


# ---- mixtures ----


def test_sizes_of_mixtures_by_bic():
    model = aefast.dask.fit(MixtureOfFactorAnalyzers("bic", 2, random_state=0), in_chunks())
    assert model.n_mixtures_ == 2 and len(model.sizes_tried_) == 4


def test_a_mixture_starts_from_a_sample_of_many_rows():
    many = np.concatenate([X + 1e-3 * i for i in range(12)])
    model = aefast.dask.fit(MODELS["mixture-fa"](), in_chunks(many, (900, 6)))
    expected = MODELS["mixture-fa"]().fit(many)
    assert abs(model.lower_bound_ - expected.lower_bound_) < 1e-2


def test_a_mixture_goes_on_from_its_checkpoint(path):
    """Interrupted by a callable of the engine, it ends with the bits of one that was not."""

    def model():
        return MixtureOfFactorAnalyzers(
            2, 2, tol=0, max_iter=6, random_state=0, checkpoint=path, checkpoint_every="epoch"
        )

    expected = aefast.dask.fit(model().set_params(checkpoint=None), in_chunks())
    parts = PartsInMemory(
        [Part(i, part) for i, part in enumerate(np.split(X, range(130, 1000, 130)))]
    )
    reduce, n_calls = parts.reduce, iter(range(100))

    def broken(*arguments):
        if next(n_calls) == 5:
            raise ConnectionError("the scheduler is lost")
        return reduce(*arguments)

    parts.reduce = broken
    with pytest.raises(ConnectionError):
        model()._fit_partitions(parts)
    assert_same_bits(aefast.dask.fit(model(), in_chunks()), expected)
    with pytest.raises(ValueError, match="to other rows"):
        aefast.dask.fit(model(), in_chunks(chunks=(500, 6)))


def test_items_of_low_rank_go_on_from_their_checkpoint(path):
    def model(**options):
        return ItemAutoencoder(n_components=3, max_iter=8, checkpoint_every="epoch", **options)

    ratings = make_ratings().toarray()
    expected = aefast.dask.fit(model(), [ratings[:100], ratings[100:]])
    parts = PartsInMemory([Part(0, ratings[:100]), Part(1, ratings[100:])])
    reduce, n_calls = parts.reduce, iter(range(100))

    def broken(*arguments):
        if next(n_calls) == 9:
            raise ConnectionError("the scheduler is lost")
        return reduce(*arguments)

    parts.reduce = broken
    with pytest.raises(ConnectionError):
        model(checkpoint=path)._fit_partitions(parts)
    assert path.exists()
    resumed = aefast.dask.fit(model(checkpoint=path), [ratings[:100], ratings[100:]])
    np.testing.assert_array_equal(resumed.components_, expected.components_)
    with pytest.raises(ValueError, match="to other rows"):
        aefast.dask.fit(model(checkpoint=path), [ratings[:90], ratings[90:]])


# ---- dictionaries ----


def dictionary(**options):
    return DictionaryLearning(8, alpha=0.2, random_state=0, **options)


def test_accumulate_adds_the_sums_of_partitions():
    atoms = np.random.default_rng(0).normal(size=(8, 6))
    model = aefast.dask.accumulate(dictionary(dict_init=atoms), in_chunks())
    expected = dictionary(dict_init=atoms).accumulate(X)
    for mine, its in zip(model.statistics_, expected.statistics_, strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-10, atol=1e-10)
    aefast.dask.accumulate(model, in_chunks())
    assert model.statistics_.n_rows == 2 * len(X)
    model.update()
    assert len(model.objective_curve_) == 1


def test_a_dictionary_is_learnt_in_batches():
    """An epoch is one `accumulate` of all rows and one `update`, with the same bits."""
    model = aefast.dask.fit(dictionary(max_epochs=3, tol=0, replace_unused=False), in_chunks())
    assert model.n_epochs_ == 3 and np.diff(model.objective_curve_).max() < 0
    assert model.history_["epoch"] == [1, 2, 3]
    start = aefast.dask.fit(dictionary(max_epochs=1, replace_unused=False), in_chunks())
    by_hand = dictionary()
    for _ in range(3):
        aefast.dask.accumulate(by_hand, in_chunks()).update()
    np.testing.assert_array_equal(by_hand.components_, model.components_)
    assert not np.array_equal(start.components_, model.components_)


def test_unused_atoms_are_replaced_by_rows_that_are_coded_badly():
    atoms = np.zeros((8, 6))
    atoms[:7, :5] = np.random.default_rng(0).normal(size=(7, 5))
    atoms[7] = 1e-30
    model = aefast.dask.fit(dictionary(dict_init=atoms, max_epochs=2, tol=0), in_chunks())
    assert np.linalg.norm(model.components_, axis=1).min() > 0.5


def test_a_dictionary_that_cannot_be_learnt_leaves_the_estimator_alone():
    bad = X.copy()
    bad[140, 2] = np.inf
    fresh, known = dictionary(), dictionary(max_epochs=1).fit(X)
    before = known.components_.copy()
    for model in (fresh, known):
        with pytest.raises(ValueError, match=r"partition 1: .*infinity.*row 10, column 2"):
            aefast.dask.fit(model, in_chunks(bad))
    assert not hasattr(fresh, "n_features_in_")
    np.testing.assert_array_equal(known.components_, before)
    with pytest.raises(ValueError, match="early_stopping"):
        aefast.dask.fit(dictionary(early_stopping=True), in_chunks())


# ---- lazy results ----


def test_arrays_stay_arrays():
    model, rows = FactorAnalysis(2).fit(X), in_chunks()
    for method in ("transform", "score_samples", "reconstruct"):
        found = getattr(aefast.dask, method)(model, rows)
        expected = getattr(model, method)(X)
        assert isinstance(found, da.Array) and found.shape == expected.shape
        assert found.dtype == expected.dtype and found.chunks[0] == rows.chunks[0]
        np.testing.assert_array_equal(found.compute(), expected)
    codes = aefast.dask.transform(model, rows)
    back = aefast.dask.inverse_transform(model, codes)
    np.testing.assert_array_equal(back.compute(), model.reconstruct(X))
    single = aefast.dask.transform(model, rows.astype(np.float32))
    assert single.dtype == np.float32 == single.compute().dtype
    some = aefast.dask.transform(model, rows[rows[:, 0] > 1e9])
    assert some.shape[1] == 2 and some.compute().shape == (0, 2)


def test_frames_stay_frames():
    frame = pd.DataFrame(X, columns=NAMES, index=np.arange(len(X)) * 3)
    model, rows = FactorAnalysis(2).fit(frame), dd.from_pandas(frame, npartitions=4)
    codes = aefast.dask.transform(model, rows)
    assert isinstance(codes, dd.DataFrame)
    assert list(codes.columns) == ["factoranalysis0", "factoranalysis1"]
    assert codes.divisions == rows.divisions
    expected = pd.DataFrame(model.transform(frame), frame.index, codes.columns)
    pd.testing.assert_frame_equal(codes.compute(), expected)
    hats = aefast.dask.reconstruct(model, rows)
    assert list(hats.columns) == NAMES == list(hats.compute().columns)
    scores = aefast.dask.score_samples(model, rows).compute()
    assert scores.index.equals(frame.index)
    np.testing.assert_array_equal(scores, model.score_samples(frame))
    back = aefast.dask.inverse_transform(model, codes)
    assert list(back.columns) == NAMES


def test_frames_of_mixed_columns_are_those_of_estimators_of_tables():
    frame = pd.DataFrame({"x": X[:60, 0], "c": list("abc") * 20})
    model = TableAutoencoder(Autoencoder(2, max_epochs=1, random_state=0)).fit(frame)
    rows = dd.from_pandas(frame, npartitions=3)
    back = aefast.dask.reconstruct(model, rows)
    assert list(back.columns) == ["x", "c"]
    pd.testing.assert_frame_equal(
        back.compute().reset_index(drop=True), model.reconstruct(frame), check_dtype=False
    )


def test_lists_stay_lists():
    model = MODELS["mixture-fa"]().fit(X)
    found = aefast.dask.predict(model, [dask.delayed(X[:300]), X[300:]])
    np.testing.assert_array_equal(np.concatenate(dask.compute(*found)), model.predict(X))
    bad = X.copy()
    bad[3, 1] = np.inf
    (_, second) = aefast.dask.predict(model, [X, bad])
    with pytest.raises(ValueError, match=r"partition 1: .*infinity"):
        second.compute()


def test_sparse_codes_of_blocks():
    model = dictionary(max_epochs=1, output_format="csr").fit(X)
    found = aefast.dask.transform(model, in_chunks())
    blocks = [block.compute() for block in found.to_delayed().ravel()]
    assert all(sparse.issparse(block) for block in blocks)
    np.testing.assert_array_equal(sparse.vstack(blocks).toarray(), model.transform(X).toarray())


def test_later_fits_do_not_change_results():
    model = FactorAnalysis(2).fit(X)
    codes, expected = aefast.dask.transform(model, in_chunks()), model.transform(X)
    model.fit(-(X[:500] ** 2))
    np.testing.assert_array_equal(codes.compute(), expected)


def test_errors_of_blocks_name_them():
    bad = X.copy()
    bad[140, 2] = np.inf
    model = FactorAnalysis(2).fit(X)
    with pytest.raises(ValueError, match=r"partition 1: .*infinity.*row 10, column 2"):
        aefast.dask.transform(model, in_chunks(bad)).compute()
    with pytest.raises(ValueError, match="6 features"):
        aefast.dask.transform(model, in_chunks()[:, :3])
    with pytest.raises(TypeError, match="no method 'predict'"):
        aefast.dask.predict(model, in_chunks())


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
    for collection in (in_chunks(), frame_of(X), frame_of(X)["a"], dask.delayed(X)):
        with pytest.raises(TypeError, match=r"collection of Dask .* aefast\.dask\.fit"):
            estimator.fit(collection)


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
