"""Streams: the bits of fits in memory, orders of shuffled passes, results in files, checkpoints."""

from itertools import pairwise

import numpy as np
import pytest

import aefast
from aefast._base.passes import Pace
from aefast._base.progress import Bar
from aefast._base.random import SHUFFLE, random_stream
from aefast._base.stream_parts import AllBut
from aefast._base.streams import StreamedRows
from aefast._base.visits import order_of

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

N, D = 6000, 7
NAMES = [f"c{j}" for j in range(D)]
MEMORY = 1 << 17  # a window has some 580 rows


def rows_of_rank(rank, n=N, dtype=np.float32):
    random = np.random.default_rng(rank)
    X = random.normal(size=(n, rank)) @ random.normal(size=(rank, D))
    return (X + 0.3 * random.normal(size=(n, D)) + np.arange(D)).astype(dtype)


X = rows_of_rank(3)


def frame(rows):
    return pa.table(dict(zip(NAMES, rows.T, strict=True)))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Folders of the same rows in Parquet, Arrow and text files, of unequal lengths."""
    folder = tmp_path_factory.mktemp("streams")
    for kind in ("parquet", "arrow", "csv"):
        (folder / kind).mkdir()
    ends = [0, 2500, 2501, 6000]
    for i, (first, last) in enumerate(pairwise(ends)):
        part = frame(X[first:last])
        parquet.write_table(part, folder / f"parquet/{i}.parquet", row_group_size=700)
        with pa.ipc.new_file(str(folder / f"arrow/{i}.arrow"), part.schema) as file:
            file.write_table(part, max_chunksize=900)
        lines = "\n".join(",".join(map(repr, row)) for row in X[first:last].tolist())
        (folder / f"csv/{i}.csv").write_text(f"{','.join(NAMES)}\n{lines}\n")
    return folder


def source_of(kind, files):
    if kind == "list":
        return [X[:1000], X[1000:1001], X[1001:]]
    if kind == "function":
        return lambda: iter(np.array_split(X, 11))
    if kind == "frames":
        return [frame(X[:999]), frame(X[999:])]
    if kind == "dataset":
        dataset = pytest.importorskip("pyarrow.dataset")
        return dataset.dataset(str(files / "parquet"))
    if kind == "pattern":
        return str(files / "parquet" / "*.parquet")
    return files / kind


KINDS = ("parquet", "pattern", "dataset", "arrow", "csv", "list", "function", "frames")


def stream(kind, files, **options):
    options = {"memory": MEMORY, "dtype": "float32"} | options
    return aefast.stream(source_of(kind, files), **options)


@pytest.mark.parametrize("kind", KINDS)
def test_windows_have_all_rows_in_order(kind, files):
    rows = stream(kind, files)
    assert rows.shape == (N, D) and rows.dtype == np.float32
    for n_rows in (577, N, 2 * N):
        windows = list(rows.windows(n_rows))
        assert [len(window.rows) for window in windows[:-1]] == [n_rows] * (len(windows) - 1)
        np.testing.assert_array_equal(np.concatenate([w.rows for w in windows]), X)
        np.testing.assert_array_equal(np.concatenate([w.numbers for w in windows]), np.arange(N))


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_taken_by_number_and_left_out(kind, files):
    rows = stream(kind, files)
    order = np.sort(np.random.default_rng(1).choice(N, 300, replace=False))
    np.testing.assert_array_equal(rows.take(order), X[order])
    windows = list(rows.windows(501, left_out=order))
    kept = np.delete(np.arange(N), order)
    np.testing.assert_array_equal(np.concatenate([w.numbers for w in windows]), kept)
    np.testing.assert_array_equal(np.concatenate([w.rows for w in windows]), X[kept])


@pytest.mark.parametrize("kind", ("parquet", "list", "function"))
@pytest.mark.parametrize("shuffled", (False, True))
def test_passes_visit_each_row_once_and_go_on_anywhere(kind, shuffled, files):
    rows = stream(kind, files)
    left_out = np.array([0, 5, 2499, 2500, 5999])

    def visited(n_visited):
        random = random_stream(3, SHUFFLE) if shuffled else None
        order = order_of(rows, AllBut(N, left_out), 32)
        found = []
        for table, places, numbers in order.visits(Pace(32), random, n_visited):
            np.testing.assert_array_equal(table[places], X[numbers])
            found.append(numbers)
        return np.concatenate(found)

    whole = visited(0)
    np.testing.assert_array_equal(np.sort(whole), np.delete(np.arange(N), left_out))
    assert shuffled == bool((np.diff(whole) < 0).any())
    for n_visited in (32, 576, 577 * 2, 5000):
        np.testing.assert_array_equal(visited(n_visited), whole[n_visited:])


def test_all_but_is_the_sequence_without_some_rows():
    left_out = np.array([0, 1, 4, 9])
    kept = np.delete(np.arange(10), left_out)
    found = AllBut(10, left_out)
    assert len(found) == 6
    np.testing.assert_array_equal(found[np.arange(6)], kept)
    np.testing.assert_array_equal(found[np.array([2, 5])], kept[[2, 5]])


def equal(one, other):
    """Return whether the fitted arrays of two estimators have the same bits."""
    arrays = {k: v for k, v in vars(one).items() if k.endswith("_") and isinstance(v, np.ndarray)}
    arrays.pop("feature_names_in_", None)
    assert arrays
    return all(np.array_equal(value, getattr(other, name)) for name, value in arrays.items())


@pytest.mark.parametrize("kind", KINDS)
def test_statistics_have_the_bits_of_rows_in_memory(kind, files):
    one = aefast.SufficientStatistics(D).update(X)
    other = aefast.SufficientStatistics(D).update(stream(kind, files))
    assert np.array_equal(one.scatter_, other.scatter_)
    assert np.array_equal(one.mean_, other.mean_) and other.n_samples_ == N


LINEAR = (
    aefast.ProbabilisticPCA(2),
    aefast.FactorAnalysis(2),
    aefast.Whitening(),
    aefast.MarginalizedAutoencoder(),
)


@pytest.mark.parametrize("estimator", LINEAR, ids=lambda e: type(e).__name__)
def test_linear_models_have_the_bits_of_rows_in_memory(estimator, files):
    make = type(estimator)
    weight = np.random.default_rng(2).random(N)
    for options in ({}, {"sample_weight": weight}):
        one = make(**estimator.get_params()).fit(X, **options)
        other = make(**estimator.get_params()).fit(stream("parquet", files), **options)
        assert equal(one, other)
        assert list(other.feature_names_in_) == NAMES
    one = make(**estimator.get_params()).fit(X)
    other = make(**estimator.get_params()).partial_fit(stream("parquet", files))
    assert equal(one, other)


NETWORKS = {
    "plain": {},
    "textbook": {"gain": False, "init": "glorot", "scale": None},
    "robust": {"scale": "robust"},
    "chosen size": {"n_components": "auto"},
    "early stopping": {"early_stopping": True, "validation_fraction": 0.05},
    "noise": {"corruption": ("masking", 0.25)},
    "salt and pepper": {"corruption": ("salt_and_pepper", 0.1)},
    "top k": {"top_k": 2},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_have_the_bits_of_rows_in_memory(name, files):
    options = {"n_components": 4, "max_epochs": 2, "random_state": 0, "shuffle": False}
    options |= NETWORKS[name]
    one = aefast.Autoencoder(**options).fit(X)
    other = aefast.Autoencoder(**options).fit(stream("parquet", files))
    assert np.array_equal(one._state.parameters, other._state.parameters)
    assert one.loss_curve_ == other.loss_curve_
    assert one.validation_loss_curve_ == other.validation_loss_curve_
    assert one.fit_report_ == other.fit_report_


def test_weights_and_validation_rows_have_the_bits_of_rows_in_memory(files):
    weight = np.random.default_rng(2).random(N)
    options = {"n_components": 3, "max_epochs": 2, "random_state": 0, "shuffle": False}
    one = aefast.Autoencoder(**options).fit(X, sample_weight=weight, X_val=X[:1000])
    rows, held_out = stream("list", files), aefast.stream([X[:400], X[400:1000]], memory=MEMORY)
    other = aefast.Autoencoder(**options).fit(rows, sample_weight=weight, X_val=held_out)
    assert np.array_equal(one._state.parameters, other._state.parameters)
    assert one.validation_loss_curve_ == other.validation_loss_curve_


def test_stacked_networks_have_the_bits_of_rows_in_memory(files):
    options = {"layer_sizes": (5, 3), "max_epochs": 2, "pretrain_epochs": 1}
    options |= {"random_state": 0, "shuffle": False}
    one = aefast.StackedAutoencoder(**options).fit(X)
    other = aefast.StackedAutoencoder(**options).fit(stream("parquet", files))
    assert np.array_equal(one._state.parameters, other._state.parameters)


def test_dictionaries_have_the_bits_of_rows_in_memory(files):
    options = {"n_components": 5, "alpha": 0.2, "max_epochs": 2, "random_state": 0}
    options |= {"shuffle": False, "early_stopping": True, "validation_fraction": 0.05}
    one = aefast.DictionaryLearning(**options).fit(X)
    rows = stream("parquet", files)
    other = aefast.DictionaryLearning(**options).fit(rows)
    assert np.array_equal(one.components_, other.components_)
    assert one.validation_objective_curve_ == other.validation_objective_curve_
    assert one.score(X) == other.score(rows)
    one.accumulate(X)
    other.accumulate(rows)
    for mine, its in zip(one.statistics_, other.statistics_, strict=True):
        assert np.array_equal(mine, its)
    one.partial_fit(X)
    other.partial_fit(rows)
    assert np.array_equal(one.components_, other.components_)


def test_shuffled_passes_learn_as_well_as_rows_in_memory(files):
    options = {"n_components": 3, "max_epochs": 20, "random_state": 0}
    one = aefast.Autoencoder(**options).fit(X)
    other = aefast.Autoencoder(**options).fit(stream("parquet", files))
    again = aefast.Autoencoder(**options).fit(stream("parquet", files))
    assert np.array_equal(other._state.parameters, again._state.parameters)
    assert not np.array_equal(one._state.parameters, other._state.parameters)
    assert other.loss_curve_[-1] == pytest.approx(one.loss_curve_[-1], rel=0.02)


def test_small_tables_are_read_whole(files):
    options = {"n_components": 3, "max_epochs": 2, "random_state": 0}
    one = aefast.Autoencoder(**options).fit(X)
    other = aefast.Autoencoder(**options).fit(str(files / "parquet"))
    assert np.array_equal(one._state.parameters, other._state.parameters)
    assert list(other.feature_names_in_) == NAMES


MODELS = {
    "Autoencoder": lambda: aefast.Autoencoder(3, max_epochs=1, random_state=0),
    "ProbabilisticPCA": lambda: aefast.ProbabilisticPCA(2),
    "FactorAnalysis": lambda: aefast.FactorAnalysis(2),
    "MixtureOfProbabilisticPCA": lambda: aefast.MixtureOfProbabilisticPCA(2, 1, random_state=0),
    "Whitening": aefast.Whitening,
    "MarginalizedAutoencoder": aefast.MarginalizedAutoencoder,
    "DictionaryLearning": lambda: aefast.DictionaryLearning(5, max_epochs=1, random_state=0),
}
METHODS = ("transform", "reconstruct", "score_samples", "predict", "predict_proba", "mahalanobis")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", MODELS)
def test_methods_of_rows_have_the_bits_of_rows_in_memory(name, files, tmp_path):
    model, rows, tried = MODELS[name]().fit(X), stream("parquet", files), 0
    for method in METHODS:
        if not hasattr(model, method):
            continue
        expected = getattr(model, method)(X)
        found = getattr(model, method)(rows)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
        tried += 1
    assert tried
    if not hasattr(model, "components_") or name == "DictionaryLearning":
        return
    for suffix in ("npy", "parquet"):
        path = tmp_path / f"codes.{suffix}"
        assert model.transform(rows, out=path) == str(path)
        if suffix == "npy":
            written = np.load(path)
        else:
            table = parquet.read_table(path)
            assert table.schema.names == list(model.get_feature_names_out())
            written = np.column_stack([column.to_numpy() for column in table.columns])
        np.testing.assert_array_equal(written, model.transform(X))


def test_results_of_arrays_and_of_one_number_a_row_are_written(tmp_path, files):
    model = aefast.ProbabilisticPCA(2).fit(X)
    for rows in (X, stream("parquet", files)):
        model.score_samples(rows, out=tmp_path / "scores.parquet")
        table = parquet.read_table(tmp_path / "scores.parquet")
        assert table.schema.names == ["score_samples"]
        np.testing.assert_array_equal(table.column(0).to_numpy(), model.score_samples(X))
        model.score_samples(rows, out=str(tmp_path / "scores.npy"))
        np.testing.assert_array_equal(np.load(tmp_path / "scores.npy"), model.score_samples(X))


def test_results_that_fail_leave_the_file_that_was_there(tmp_path):
    model = aefast.ProbabilisticPCA(2).fit(X)
    bad = X.copy()
    bad[4000, 2] = np.inf
    path = tmp_path / "codes.npy"
    path.write_bytes(b"before")
    rows = aefast.stream([bad[:3000], bad[3000:]], memory=MEMORY)
    with pytest.raises(ValueError, match=r"row 4000 \(source\[1\], row 1000\), column 2"):
        model.transform(rows, out=path)
    assert path.read_bytes() == b"before" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("shuffle", (False, True))
@pytest.mark.parametrize("every", (40, "epoch"))
def test_an_interrupted_fit_goes_on_with_the_same_bits(every, shuffle, files, tmp_path):
    options = {"n_components": 3, "max_epochs": 4, "random_state": 0, "shuffle": shuffle}
    options |= {"batch_size": 32, "early_stopping": True, "validation_fraction": 0.05, "tol": 0}
    whole = aefast.Autoencoder(**options).fit(stream("parquet", files))

    class Stop:
        def __call__(self, epoch, loss, validation_loss, estimator):
            if epoch == 2:
                raise KeyboardInterrupt

    stored = {"checkpoint": tmp_path / "fit.ckpt", "checkpoint_every": every}
    with pytest.raises(KeyboardInterrupt):
        aefast.Autoencoder(**options, **stored, callbacks=Stop()).fit(stream("parquet", files))
    resumed = aefast.Autoencoder(**options, **stored, resume=True).fit(stream("parquet", files))
    assert np.array_equal(whole._state.parameters, resumed._state.parameters)
    assert whole.loss_curve_ == resumed.loss_curve_


def test_a_checkpoint_of_other_files_or_windows_is_refused(files, tmp_path):
    options = {"n_components": 3, "max_epochs": 2, "random_state": 0}
    options |= {"checkpoint": tmp_path / "fit.ckpt", "checkpoint_every": "epoch"}
    aefast.Autoencoder(**options).fit(stream("parquet", files))
    for other in (stream("parquet", files, memory=MEMORY * 2), stream("arrow", files)):
        with pytest.raises(ValueError, match="other rows: the entries of X differ"):
            aefast.Autoencoder(**options, resume=True).fit(other)


def test_iterators_are_read_once():
    parts = np.array_split(X, 5)
    one = aefast.SufficientStatistics(D)
    one.update(iter(parts))
    assert one.n_samples_ == N
    np.testing.assert_allclose(one.covariance(), np.cov(X.T.astype(float), ddof=0), rtol=1e-5)
    model = aefast.ProbabilisticPCA(2).partial_fit(iter(parts))
    assert model.n_samples_seen_ == N
    network = aefast.Autoencoder(3, random_state=0).partial_fit(iter(parts))
    assert network._state.n_rows_seen == N
    assert aefast.DictionaryLearning(4, random_state=0).partial_fit(iter(parts)).n_epochs_ >= 1
    codes = model.transform(iter(parts))
    np.testing.assert_array_equal(codes, model.transform(X))
    rows = aefast.stream(iter(parts))
    assert isinstance(rows, StreamedRows)
    model.transform(rows)
    with pytest.raises(ValueError, match="they come only once"):
        model.transform(rows)
    with pytest.raises(ValueError, match="takes several passes"):
        aefast.Autoencoder(3).fit(iter(parts))


def test_columns_are_chosen_by_name_and_rows_by_a_filter(files):
    compute = pytest.importorskip("pyarrow.compute")
    chosen = ["c5", "c0"]
    for kind in ("parquet", "arrow", "csv", "frames"):
        rows = stream(kind, files, columns=chosen)
        assert rows.columns == tuple(chosen)
        np.testing.assert_array_equal(rows.read_whole().rows, X[:, [5, 0]])
    kept = X[:, 0] > 1
    for kind in ("parquet", "dataset"):
        rows = stream(kind, files, columns=chosen, filter=compute.field("c0") > 1)
        assert len(rows) == kept.sum()
        np.testing.assert_array_equal(rows.read_whole().rows, X[kept][:, [5, 0]])
        one = aefast.ProbabilisticPCA(1).fit(X[kept][:, [5, 0]])
        assert equal(one, aefast.ProbabilisticPCA(1).fit(rows))


def test_types_of_columns_make_the_type_of_rows(tmp_path):
    table = pa.table({"a": pa.array([1, None, 3], pa.int32()), "b": pa.array([True, False, None])})
    parquet.write_table(table, tmp_path / "x.parquet")
    rows = aefast.stream(tmp_path / "x.parquet")
    assert rows.dtype == np.float64
    expected = [[1, 1], [np.nan, 0], [3, np.nan]]
    np.testing.assert_array_equal(rows.read_whole().rows, expected)
    rows = aefast.stream([np.ones((2, 2), np.uint8), np.zeros((1, 2), np.float32)])
    assert rows.dtype == np.float32
    rows = aefast.stream([np.ones((2, 2), np.float32), np.zeros((1, 2))])
    assert rows.dtype == np.float64


def test_a_number_of_rows_that_is_given_saves_a_pass():
    passes = []

    def parts():
        passes.append(1)
        return iter(np.array_split(X, 7))

    options = {"n_components": 3, "max_epochs": 1, "random_state": 0, "init": "glorot"}
    options |= {"gain": False, "scale": None}
    counted = aefast.Autoencoder(**options).fit(aefast.stream(parts, memory=MEMORY))
    n_counted = len(passes)
    passes.clear()
    rows = aefast.stream(parts, memory=MEMORY, n_samples=N)
    given = aefast.Autoencoder(**options).fit(rows)
    assert len(passes) == n_counted - 1
    assert np.array_equal(counted._state.parameters, given._state.parameters)
    for wrong in (N - 1, N + 1):
        with pytest.raises(ValueError, match=f"another number of rows than n_samples={wrong}"):
            aefast.SufficientStatistics(D).update(
                aefast.stream(parts, memory=MEMORY, n_samples=wrong)
            )


def test_the_bar_of_a_stream_shows_bytes_a_second(files):
    shown = {}

    class Drawn:  # as much of tqdm as a bar of training uses
        format_dict = {"rate": 2e6}
        format_sizeof = staticmethod(lambda number: f"{number:g}")

        def set_description(self, text, refresh):
            pass

        def set_postfix(self, refresh, **values):
            shown.update(values)

        def update(self, n):
            pass

    class Watched(aefast.Autoencoder):
        def _run(self, training, *arguments, **options):
            rows.append(training.row_bytes)
            return super()._run(training, *arguments, **options)

    rows = []
    Watched(3, max_epochs=1, random_state=0).fit(stream("parquet", files))
    Watched(3, max_epochs=1, random_state=0).fit(X)
    assert rows == [4 * D, None]
    Bar(Drawn(), 3, N, "", 4 * D).begin(1, None)(100, 0.5)
    assert shown == {"loss": "0.5", "bytes": "5.6e+07B/s"}
