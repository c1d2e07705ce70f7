"""Streams of input as it comes: mixed types of numbers, frames, iterators with habits."""

import os
import signal
import sqlite3
import threading
import time

import numpy as np
import pytest

import aefast

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

MEMORY = 1 << 16
PARTS = [np.random.default_rng(i).normal(size=(3000, 4)) for i in range(3)]
WHOLE = np.concatenate(PARTS)


def stream(parts=PARTS, **options):
    return aefast.stream(parts, **({"memory": MEMORY} | options))


# ---- types of numbers ----


@pytest.mark.parametrize(
    "first, second, expected",
    [
        ([True, False], [5, 7], [1, 0, 5, 7]),
        (pa.array([1, 2], pa.int64()), [0.5, 2**53 + 2.0], [1, 2, 0.5, 2**53 + 2.0]),
        (pa.array([1.0], pa.float32()), [100000049.0], [1, 100000049]),
        (pa.array([None, None], pa.null()), [1.5], [np.nan, np.nan, 1.5]),
        (pa.array(np.array([0.5], np.float16)), [1e6], [0.5, 1e6]),
    ],
    ids=["bool", "int", "float", "null", "half"],
)
def test_files_keep_their_values_whatever_the_first_file_holds(tmp_path, first, second, expected):
    for number, values in enumerate((first, second)):
        parquet.write_table(pa.table({"a": values}), tmp_path / f"{number}.parquet")
    rows = aefast.stream(tmp_path)
    np.testing.assert_array_equal(rows.read_whole().rows.ravel(), np.array(expected, float))
    assert rows.dtype == np.float64


@pytest.mark.parametrize("folder", ("dataset", "other"))
def test_a_column_that_a_file_lacks_is_an_error_also_of_datasets(tmp_path, folder):
    dataset = pytest.importorskip("pyarrow.dataset")
    (tmp_path / folder).mkdir()
    parquet.write_table(pa.table({"a": [1.0], "b": [1.0]}), tmp_path / folder / "0.parquet")
    parquet.write_table(pa.table({"a": [1.0]}), tmp_path / folder / "1.parquet")
    for source in (tmp_path / folder, dataset.dataset(str(tmp_path / folder))):
        with pytest.raises(ValueError, match=r"1\.parquet: no column 'b'"):
            aefast.stream(source).read_whole()


def test_columns_in_paths_are_read(tmp_path):
    dataset = pytest.importorskip("pyarrow.dataset")
    table = pa.table({"year": [2020, 2020, 2021], "x": [1.0, 2.0, 3.0]})
    dataset.write_dataset(
        table, tmp_path, format="parquet", partitioning=["year"], partitioning_flavor="hive"
    )
    rows = aefast.stream(dataset.dataset(tmp_path, partitioning="hive"))
    found = rows.read_whole().rows[:, [rows.columns.index("year"), rows.columns.index("x")]]
    np.testing.assert_array_equal(found, [[2020, 1], [2020, 2], [2021, 3]])


# ---- frames ----


def test_frames_with_gaps_further_columns_and_other_orders(tmp_path):
    pandas = pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    first = pandas.DataFrame({"a": pandas.array([1, None], "Int64"), "b": [1.0, 2.0], "t": "x"})
    second = pandas.DataFrame({"t": ["y"], "b": [3.0], "a": [4]})
    third = polars.DataFrame({"b": [5.0], "a": [6]})
    rows = aefast.stream([first, second, third, third.clear()], columns=["a", "b"])
    expected = [[1, 1], [np.nan, 2], [4, 3], [6, 5]]
    np.testing.assert_array_equal(rows.read_whole().rows, expected)
    statistics = aefast.SufficientStatistics(2)
    statistics.update(iter([third, third.clear(), third]))
    assert statistics.n_samples_ == 2


def test_lists_of_files_are_files(tmp_path):
    for number in (1, 0):
        parquet.write_table(pa.table({"a": [float(number)]}), tmp_path / f"{number}.parquet")
    paths = [tmp_path / "1.parquet", str(tmp_path / "0.parquet")]
    np.testing.assert_array_equal(aefast.stream(paths).read_whole().rows, [[1], [0]])


# ---- iterators ----


def test_a_function_whose_iterator_is_used_up_is_an_error():
    used = iter(PARTS)
    rows = stream(lambda: used)
    assert len(rows) == 9000
    for fit in (
        lambda: aefast.DictionaryLearning(3, max_epochs=1).fit(rows),
        lambda: aefast.Autoencoder(2, max_epochs=1).fit(rows),
        lambda: aefast.SufficientStatistics(4).update(rows),
        lambda: rows.take(np.arange(5)),
        lambda: rows.read_whole(),
    ):
        with pytest.raises(ValueError, match="must return a new iterator"):
            fit()


def test_iterators_are_advanced_by_the_thread_of_the_caller():
    threads = set()

    def parts():
        for part in PARTS:
            threads.add(threading.get_ident())
            yield part

    aefast.SufficientStatistics(4).update(stream(parts()))
    aefast.Autoencoder(2, max_epochs=1, random_state=0).fit(stream(parts))
    assert threads == {threading.get_ident()}
    pandas = pytest.importorskip("pandas")
    connection = sqlite3.connect(":memory:")
    pandas.DataFrame(WHOLE, columns=list("abcd")).to_sql("t", connection, index=False)
    found = aefast.SufficientStatistics(4)
    found.update(pandas.read_sql("select * from t", connection, chunksize=1000))
    assert found.n_samples_ == 9000
    connection.close()


def test_much_memory_is_not_taken_before_there_are_rows():
    statistics = aefast.SufficientStatistics(4)
    assert statistics.update(stream(iter(PARTS), memory="1000 GB")).n_samples_ == 9000


def test_a_reader_that_is_not_wanted_ends(tmp_path):
    for number in range(40):
        parquet.write_table(pa.table({"a": np.arange(2000.0)}), tmp_path / f"{number}.parquet")
    rows = aefast.stream(tmp_path, memory=MEMORY)
    windows = rows.windows(100)
    next(windows)
    windows.close()
    limit = time.monotonic() + 20
    while any(thread.name.startswith("aefast-") for thread in threading.enumerate()):
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_ctrl_c_within_a_pass_is_heard_at_once(tmp_path):
    def parts():
        yield PARTS[0]
        signal.raise_signal(signal.SIGINT)  # in this thread, at once
        yield PARTS[1]
        raise AssertionError("the pass went on")

    with pytest.raises(KeyboardInterrupt):
        aefast.SufficientStatistics(4).update(stream(parts(), memory="1 GB"))


# ---- results ----


def test_posteriors_of_a_stream_have_the_covariance_of_rows_in_memory():
    model = aefast.FactorAnalysis(2).fit(WHOLE)
    for found, expected in zip(model.posterior(stream()), model.posterior(WHOLE), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("memory", (1 << 16, 100_000, 10**6))
def test_results_of_short_windows_have_the_bits_of_rows_in_memory(memory):
    X = np.random.default_rng(0).normal(size=(3001, 37))
    model = aefast.Autoencoder(3, max_epochs=1, random_state=0).fit(X)
    stack = aefast.StackedAutoencoder((5, 2), max_epochs=1, random_state=0).fit(X)
    for each in (model, stack):
        rows = aefast.stream([X], memory=memory)
        for method in ("transform", "reconstruct", "score_samples"):
            found, expected = getattr(each, method)(rows), getattr(each, method)(X)
            np.testing.assert_array_equal(found, expected)


def test_a_fit_that_fails_in_an_epoch_keeps_the_former_model(tmp_path):
    for number, part in enumerate(PARTS):
        columns = dict(zip("abcd", part.T, strict=True))
        parquet.write_table(pa.table(columns), tmp_path / f"{number}.parquet")
    model = aefast.Autoencoder(2, max_epochs=3, random_state=0).fit(WHOLE)
    before = model.transform(WHOLE)

    def touch(*arguments):
        os.utime(tmp_path / "2.parquet", (1, 1))

    model.set_params(callbacks=touch, random_state=7)
    with pytest.raises(ValueError, match=r"2\.parquet has changed"):
        model.fit(aefast.stream(tmp_path, memory=MEMORY))
    np.testing.assert_array_equal(model.transform(WHOLE), before)
    new = aefast.Autoencoder(2, max_epochs=3, callbacks=touch)
    with pytest.raises(ValueError, match=r"2\.parquet has changed"):
        os.utime(tmp_path / "2.parquet", (5, 5))
        new.fit(aefast.stream(tmp_path, memory=MEMORY))
    assert not new.__sklearn_is_fitted__()


# ---- estimators that need all rows ----


@pytest.mark.filterwarnings("ignore")
def test_estimators_that_need_all_rows_read_them():
    rows, memory = stream(), WHOLE
    for make in (
        lambda: aefast.AutoencoderEnsemble(n_estimators=2, n_components=2, max_epochs=1),
        lambda: aefast.AnomalyDetector(n_sets=2, n_references=5),
    ):
        one, other = make().set_params(random_state=0), make().set_params(random_state=0)
        one.fit(memory)
        other.fit(rows)
        np.testing.assert_array_equal(one.score_samples(memory), other.score_samples(rows))
    with pytest.raises(TypeError, match="is a stream of rows"):
        np.asarray(rows)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="n_samples must be a positive number"):
        stream(n_samples=-5)
    with pytest.raises(TypeError, match="filter must be a pyarrow"):
        stream(filter="a > 3")
    with pytest.raises(TypeError, match="must return an iterator or a list"):
        stream(lambda: WHOLE)
    bad = [PARTS[0], PARTS[1].copy()]
    bad[1][5, 2] = np.nan
    with pytest.raises(ValueError, match=r"source\[1\], row 5.*read_whole"):
        aefast.ProbabilisticPCA(1).fit(stream(bad))
    assert repr(stream()) == "<stream of 9,000 rows of 4 columns, float64, from source>"
