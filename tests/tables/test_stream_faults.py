"""Streams of broken input: named errors, which leave earlier results as they were."""

import os
import subprocess
import sys

import numpy as np
import pytest

import aefast

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

D = 3
MEMORY = 1 << 16


def write(path, rows, names=("a", "b", "c"), **options):
    columns = dict(zip(names, np.asarray(rows).T, strict=True))
    parquet.write_table(pa.table(columns), path, row_group_size=200, **options)


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    for i in range(6):
        write(tmp_path / f"{i}.parquet", random.normal(size=(1000, D)).astype(np.float32))
    return tmp_path


def fit(folder, **options):
    rows = aefast.stream(folder, memory=MEMORY, **options)
    return aefast.SufficientStatistics(rows.n_columns).update(rows)


def test_a_truncated_file_is_named(folder):
    path = folder / "4.parquet"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"4\.parquet: cannot be read"):
        fit(folder)


def test_a_file_whose_pages_are_corrupt_is_named_and_nothing_is_added(folder):
    path = folder / "4.parquet"
    content = bytearray(path.read_bytes())
    content[4:3000] = os.urandom(2996)
    path.write_bytes(content)
    statistics = aefast.SufficientStatistics(D).update(np.eye(3))
    with pytest.raises(ValueError, match=r"4\.parquet: cannot be read"):
        statistics.update(aefast.stream(folder, memory=MEMORY))
    assert statistics.n_samples_ == 3


def test_a_fit_that_meets_a_corrupt_file_keeps_the_former_model(folder):
    rows = aefast.stream(folder, memory=MEMORY)
    model = aefast.Autoencoder(2, max_epochs=1, random_state=0).fit(rows)
    before = model._state.parameters.copy()
    path = folder / "5.parquet"
    content = bytearray(path.read_bytes())
    content[4:3000] = os.urandom(2996)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"5\.parquet"):
        model.fit(aefast.stream(folder, memory=MEMORY))
    np.testing.assert_array_equal(model._state.parameters, before)


def test_columns_that_vanish_or_change_their_type_are_named(folder):
    write(folder / "3.parquet", np.ones((10, 2), np.float32), ("a", "b"))
    with pytest.raises(ValueError, match=r"3\.parquet: no column 'c'"):
        fit(folder)
    table = pa.table({"a": [1.0], "b": ["x"], "c": [2.0]})
    parquet.write_table(table, folder / "3.parquet")
    with pytest.raises(ValueError, match=r"3\.parquet: column 'b': expected numbers.* got string"):
        fit(folder)


@pytest.mark.parametrize("change", ("replaced", "removed"))
def test_files_that_change_after_they_were_opened_are_named(folder, change):
    rows = aefast.stream(folder, memory=MEMORY)
    aefast.SufficientStatistics(D).update(rows)
    if change == "removed":
        os.unlink(folder / "2.parquet")
    else:
        write(folder / "2.parquet", np.ones((999, D), np.float32))
    with pytest.raises(ValueError, match=r"2\.parquet has (changed|been removed)"):
        aefast.SufficientStatistics(D).update(rows)


def test_entries_that_are_no_numbers_are_named_with_file_and_row(folder):
    bad = np.zeros((1000, D), np.float32)
    bad[777, 1] = np.nan
    write(folder / "4.parquet", bad)
    where = r"row 4777 \(4\.parquet, row group 3, row 177\), column 'b'"
    rows = aefast.stream(folder, memory=MEMORY)
    for model in (
        aefast.ProbabilisticPCA(1),
        aefast.FactorAnalysis(1),
        aefast.Autoencoder(2, max_epochs=1),
        aefast.DictionaryLearning(2, max_epochs=1),
    ):
        with pytest.raises(ValueError, match=f"NaN at {where}"):
            model.fit(rows)
    fitted = aefast.ProbabilisticPCA(1).fit(np.random.default_rng(0).normal(size=(9, D)))
    fitted.score_samples(rows)  # NaN is missing
    fitted = aefast.Autoencoder(2, max_epochs=1).fit(np.eye(D))
    with pytest.raises(ValueError, match=f"NaN at {where.partition('column')[0]}column 1"):
        fitted.set_params().transform(rows)
    aefast.Autoencoder(2, max_epochs=1, missing="mask").fit(rows)


def test_text_columns_are_named_with_a_way_out(tmp_path):
    parquet.write_table(pa.table({"a": [1.0], "town": ["Ulm"]}), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match=r"column 'town': expected numbers.*columns=\[") as error:
        aefast.ProbabilisticPCA(1).fit(str(tmp_path / "x.parquet"))
    assert "TableEncoder" in str(error.value)


@pytest.mark.parametrize(
    "items, message",
    [
        ([], "empty list"),
        ([np.ones((3, 2)), np.ones((3, 3))], r"source\[1\]: expected the columns of the first"),
        ([np.ones((3, 2)), np.ones(2)], r"source\[1\] must have 2 dimension"),
        ([np.ones((0, 2))], "at least one row"),
        ([np.array([["x"]])], r"source\[0\] must be numeric"),
    ],
)
def test_lists_of_unequal_items_are_refused(items, message):
    with pytest.raises(ValueError, match=message):
        aefast.ProbabilisticPCA(1).fit(aefast.stream(items))


def test_an_iterator_that_changes_its_type_or_has_no_rows_is_refused():
    parts = [np.ones((5, 2), np.float32), np.ones((5, 2))]
    with pytest.raises(ValueError, match="item 1: expected float32"):
        aefast.SufficientStatistics(2).update(iter(parts))
    with pytest.raises(ValueError, match="without rows"):
        aefast.SufficientStatistics(2).update(iter([]))
    with pytest.raises(TypeError, match="source must return an iterator"):
        aefast.stream(lambda: 3)

    def broken():
        yield parts[0]
        raise OSError(5, "a disk fails")

    with pytest.raises(OSError, match="a disk fails"):
        aefast.SufficientStatistics(2).update(broken())


def test_a_table_of_other_columns_than_the_fit_is_refused(folder):
    model = aefast.ProbabilisticPCA(1).fit(aefast.stream(folder))
    with pytest.raises(ValueError, match=r"'b' where 'a' is expected"):
        model.transform(aefast.stream(folder, columns=["b", "a", "c"]))
    with pytest.raises(ValueError, match="2 features"):
        model.transform(aefast.stream(folder, columns=["a", "b"]))


_BOUNDED = """
import resource, sys
import numpy as np
import aefast

folder, rows = sys.argv[1], int(sys.argv[2])
stream = aefast.stream(folder, memory="8 MB")
# everything is imported, and threads have their memory
aefast.SufficientStatistics(stream.n_columns).update(stream)
few = aefast.stream([stream.take(np.arange(40_000))], memory="8 MB")
aefast.Autoencoder(4, max_epochs=1, random_state=0).fit(few).transform(few)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limit = used + (160 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
model = aefast.Autoencoder(4, max_epochs=1, random_state=0).fit(stream)
model.transform(stream, out=sys.argv[3])
assert len(stream) == rows and stream.nbytes > 2 * (limit - used), stream.nbytes
"""


@pytest.mark.extra
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux's /proc")
def test_memory_is_bounded_whatever_the_number_of_rows(tmp_path):
    random, n, d = np.random.default_rng(0), 100_000, 64
    data = tmp_path / "data"
    data.mkdir()
    names = [f"c{j}" for j in range(d)]
    part = random.integers(0, 7, size=(n, d)).astype(np.float32)
    columns = pa.table(dict(zip(names, part.T, strict=True)))
    for i in range(14):  # 360 MB of rows
        parquet.write_table(columns, data / f"{i}.parquet", row_group_size=10_000)
    argv = [sys.executable, "-W", "ignore", "-c", _BOUNDED, str(data), str(14 * n)]
    done = subprocess.run(
        [*argv, str(tmp_path / "codes.npy")],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "2"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert np.load(tmp_path / "codes.npy", mmap_mode="r").shape == (14 * n, 4)
