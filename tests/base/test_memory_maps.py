"""Training from memory-mapped files: block shuffles, memory use, and unchanged results."""

import itertools
import mmap
import sys
import threading

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from support.helpers import run_python, same_bits
from support.textbook import Autoencoder

from aefast import ProbabilisticPCA
from aefast._base import passes
from aefast._base.passes import MappedRows, RowOrder
from aefast._base.random import SHUFFLE, random_stream, rewind
from aefast._base.sparse_rows import SparseRows


@pytest.fixture
def small_blocks(monkeypatch):
    """Files of kilobytes are cut as files of gigabytes are."""
    monkeypatch.setattr(passes, "BLOCK_BYTES", 1 << 12)
    monkeypatch.setattr(passes, "WINDOW_BLOCKS", 4)
    monkeypatch.setattr(passes, "WINDOW_BATCHES", 2)


@pytest.fixture
def save_and_map(tmp_path):
    """A function that writes an array to a file and maps it."""

    def save_and_map(X, mode="r"):
        np.save(tmp_path / "X.npy", X)
        return np.load(tmp_path / "X.npy", mmap_mode=mode)

    return save_and_map


@pytest.fixture
def table():
    """(4000, 24) float32: 94 blocks of 43 rows, 24 windows, where blocks are small."""
    return np.random.default_rng(0).random((4000, 24), dtype=np.float32)


def seeded(counter=0):
    return random_stream(5, SHUFFLE, counter)


# ---- the order ----


@pytest.mark.parametrize("batch_size", [1, 7, 128, 4000])
@pytest.mark.parametrize("some", [False, True])
@pytest.mark.parametrize("shuffled", [False, True])
def test_each_pass_visits_each_row_once(
    batch_size, some, shuffled, small_blocks, save_and_map, table
):
    rows = np.flatnonzero(np.arange(4000) % 5) if some else 4000
    expected = rows if some else np.arange(4000)
    order = RowOrder(save_and_map(table), rows, batch_size)
    windows = list(order.windows(seeded() if shuffled else None))
    visited = np.concatenate(windows)
    assert (len(windows) > 1) == (batch_size < 2000)
    assert all(len(window) % batch_size == 0 for window in windows[:-1])
    np.testing.assert_array_equal(np.sort(visited), expected)
    assert (visited == expected).all() == (not shuffled)


def test_rows_are_mixed_within_windows_of_blocks_in_random_order(small_blocks, save_and_map, table):
    order = RowOrder(save_and_map(table), 4000)
    windows = list(order.windows(seeded()))
    blocks = [np.unique(window // order.block_rows) for window in windows]
    assert order.block_rows * 24 * 4 >= passes.BLOCK_BYTES
    assert all(len(found) == 4 for found in blocks[:-1])
    assert max(np.ptp(found) for found in blocks) > 20  # from all over the file
    for window in windows[:-1]:
        changes = np.count_nonzero(np.diff(window // order.block_rows))
        assert changes > 0.6 * len(window)  # a window in which blocks follow each other has 3


@pytest.fixture
def mapped_entries(tmp_path):
    """CSR rows (4000, 200) in three files, of very different lengths, some of them empty."""
    random = np.random.default_rng(0)
    counts = np.where(random.random(4000) < 0.1, 0, random.geometric(1 / 12, 4000).clip(max=200))
    begin = np.concatenate([[0], np.cumsum(counts)])
    arrays = {
        "indptr": begin,
        "indices": np.concatenate([np.sort(random.permutation(200)[:n]) for n in counts]),
        "data": random.random(begin[-1], dtype=np.float32),
    }
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    parts = [np.load(tmp_path / f"{n}.npy", mmap_mode="r") for n in ("data", "indices", "indptr")]
    return sparse.csr_array(tuple(parts), (4000, 200))


@pytest.mark.parametrize("batch_size", [1, 128])
@pytest.mark.parametrize("shuffled", [False, True])
def test_sparse_rows_of_files_come_in_blocks(batch_size, shuffled, small_blocks, mapped_entries):
    rows = SparseRows.of(mapped_entries)
    order = RowOrder(rows, 4000, batch_size)
    windows = list(order.windows(seeded() if shuffled else None))
    assert len(windows) > 10
    assert all(len(window) % batch_size == 0 for window in windows[:-1])
    visited = np.concatenate(windows)
    np.testing.assert_array_equal(np.sort(visited), np.arange(4000))
    if not shuffled:
        np.testing.assert_array_equal(visited, np.arange(4000))
        return
    blocks = [np.unique(window // order.block_rows) for window in windows]
    assert max(map(len, blocks)) <= order.window_blocks * (1 if batch_size == 1 else 2)
    assert max(np.ptp(found) for found in blocks) > 20
    in_memory = SparseRows.of(sparse.csr_array(mapped_entries.toarray()))
    assert len(list(RowOrder(in_memory, 4000, batch_size).windows(seeded()))) == 1


def test_entries_of_sparse_rows_are_asked_for_and_given_back(
    small_blocks, mapped_entries, monkeypatch
):
    asked, given_back = {}, {}

    def collected(into):
        return lambda self, ranges: into.setdefault(id(self), []).extend(ranges)

    monkeypatch.setattr(MappedRows, "will_need", collected(asked))
    monkeypatch.setattr(MappedRows, "done_with", collected(given_back))
    rows = SparseRows.of(mapped_entries)
    for _ in RowOrder(rows, 4000, 16).windows(seeded()):
        pass
    for places in (asked, given_back):
        assert len(places) == 2  # the files of columns and of values
        for ranges in places.values():
            every = np.concatenate([np.arange(*found) for found in ranges])
            assert set(every) == set(range(rows.nnz))


def test_fits_of_sparse_files_have_the_bits_of_fits_in_memory(small_blocks, mapped_entries):
    options = {"max_epochs": 2, "random_state": 0, "batch_size": 32}
    ae = Autoencoder(4, shuffle=False, **options).fit(mapped_entries)
    in_memory = sparse.csr_array(
        tuple(np.array(getattr(mapped_entries, n)) for n in ("data", "indices", "indptr")),
        mapped_entries.shape,
    )
    assert same_bits(ae, clone(ae).fit(in_memory))
    mixed = clone(ae).set_params(shuffle=True, max_epochs=5).fit(mapped_entries)
    assert mixed.loss_curve_[-1] < ae.loss_curve_[-1]


def test_each_pass_has_an_order_of_its_own(small_blocks, save_and_map, table):
    order = RowOrder(save_and_map(table), 4000)
    first, again, other = (
        np.concatenate(list(order.windows(seeded(counter)))) for counter in (0, 0, 4000)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_rewound_stream_is_a_new_one():
    random = random_stream(5, 1)
    for counter in (0, 3, 10**12):
        random.permutation(101)  # leaves half a word behind
        random.integers(7, dtype=np.uint32)  # and half a word more
        expected = random_stream(5, 1, counter).permutation(50)
        np.testing.assert_array_equal(rewind(random, counter).permutation(50), expected)


def test_a_small_file_is_shuffled_as_an_array_is(save_and_map, table):
    X = save_and_map(table)
    options = {"max_epochs": 2, "random_state": 0}
    assert same_bits(Autoencoder(4, **options).fit(X), Autoencoder(4, **options).fit(table))


# ---- which arrays lie in maps, and where ----


def views(X):
    return [X, X[5:], X[::3], X[::-1], X[:, 2:9], np.asarray(X)[1:]]


@pytest.mark.parametrize("index", range(6))
def test_maps_are_found_under_views(index, save_and_map, table):
    view = views(save_and_map(table))[index]
    mapped = MappedRows.under(view)
    assert mapped.is_shared
    for row in (0, 1, len(view) - 1):
        at = mapped.begin + row * mapped.stride
        np.testing.assert_array_equal(
            np.frombuffer(mapped.table, np.uint8)[at : at + mapped.row_bytes],
            np.ascontiguousarray(view[row]).view(np.uint8),
        )
    begin, end = mapped._bytes_of(0, len(view))
    assert 0 <= begin < end <= len(mapped.table)


def test_arrays_in_memory_have_no_map(table):
    assert MappedRows.under(table) is None
    assert MappedRows.under(np.frombuffer(table.tobytes(), np.float32).reshape(4000, 24)) is None


def test_private_pages_are_kept(save_and_map, table):
    """A map that is written to on its own keeps what the file has not."""
    X = save_and_map(table, mode="c")
    X[...] = 1 - table
    mapped = MappedRows.under(X)
    assert not mapped.is_shared
    mapped.done_with([(0, 4000)])
    np.testing.assert_array_equal(X, 1 - table)

    anonymous = mmap.mmap(-1, table.nbytes)
    X = np.frombuffer(anonymous, np.float32).reshape(table.shape)
    X[...] = table
    mapped = MappedRows.under(X)
    mapped.will_need([(0, 4000)])
    mapped.done_with([(0, 4000)])
    np.testing.assert_array_equal(X, table)


def test_shared_pages_come_back(save_and_map, table):
    X = save_and_map(table, mode="r+")
    X[7] = 0.5
    mapped = MappedRows.under(X)
    mapped.done_with([(0, 4000)])
    assert (X[7] == 0.5).all()
    np.testing.assert_array_equal(X[8:], table[8:])


# ---- training ----


@pytest.mark.parametrize("options", [{}, {"early_stopping": True}, {"shuffle": False}], ids=str)
def test_what_a_fit_from_a_file_does_not_depend_on(
    options, small_blocks, save_and_map, table, monkeypatch
):
    X = save_and_map(table)

    def fit(n_threads=1, seconds=0.05):
        monkeypatch.setattr(passes, "SLICE_SECONDS", seconds)
        settings = {"batch_size": 32, "max_epochs": 3, "random_state": 0, **options}
        return Autoencoder(5, n_threads=n_threads, **settings).fit(X)

    first = fit()
    assert first._state.n_rows_seen == 3 * (3600 if "early_stopping" in options else 4000)
    assert same_bits(first, fit(n_threads=3))
    assert same_bits(first, fit(seconds=1e-9))


def test_unshuffled_training_from_a_file_is_training_from_an_array(
    small_blocks, save_and_map, table
):
    options = {"batch_size": 32, "max_epochs": 2, "random_state": 0, "shuffle": False}
    from_file = Autoencoder(5, **options).fit(save_and_map(table))
    assert same_bits(from_file, Autoencoder(5, **options).fit(table))


def test_means_and_held_out_rows_are_those_of_the_array(small_blocks, save_and_map, table):
    options = {"max_epochs": 0, "random_state": 0}
    from_file = Autoencoder(5, **options).fit(save_and_map(table))
    from_array = Autoencoder(5, **options).fit(table)
    np.testing.assert_allclose(from_file.visible_bias_, from_array.visible_bias_, rtol=1e-6)
    tiny = {"solver": "sgd", "learning_rate": 1e-20, "momentum": 0.0, "random_state": 0}
    losses = [
        Autoencoder(5, early_stopping=True, max_epochs=1, **tiny).fit(X).validation_loss_curve_
        for X in (save_and_map(table), table)
    ]
    np.testing.assert_allclose(*losses, rtol=1e-6)


def test_a_bad_entry_is_named_where_it_stands(small_blocks, save_and_map, table):
    table[3211, 17] = np.nan
    with pytest.raises(ValueError, match="NaN at row 3211, column 17"):
        Autoencoder(5).fit(save_and_map(table))


def test_passes_go_on_where_they_stopped(small_blocks, save_and_map, table):
    """Two fits of one pass are one fit of two."""
    X = save_and_map(table)
    two = Autoencoder(5, max_epochs=2, random_state=0).fit(X)
    one = Autoencoder(5, max_epochs=1, random_state=0).fit(X)
    parts = Autoencoder(5, random_state=0)
    assert one.partial_fit(X)._state.parameters.tobytes() == two._state.parameters.tobytes()
    assert same_bits(parts.partial_fit(X).partial_fit(X), two)


def test_no_thread_is_needed_to_read_ahead(small_blocks, save_and_map, table, monkeypatch):
    def start(thread):
        refused.append(thread)
        raise RuntimeError("can't start new thread")

    X, refused, options = save_and_map(table), [], {"max_epochs": 2, "random_state": 0}
    with_thread = Autoencoder(5, **options).fit(X)
    monkeypatch.setattr(threading.Thread, "start", start)
    assert same_bits(Autoencoder(5, **options).fit(X), with_thread)
    assert refused


def test_results_from_a_file_are_those_from_an_array(small_blocks, save_and_map, table):
    ae = Autoencoder(5, max_epochs=1, random_state=0).fit(table)
    X = save_and_map(table)
    for method in (ae.transform, ae.reconstruct, ae.score_samples, ae.reconstruction_error):
        np.testing.assert_array_equal(method(X), method(table))


LARGER_THAN_MEMORY = """
    import os, resource, sys, tempfile
    import numpy as np
    from aefast import Autoencoder

    MiB = 1 << 20

    def memory():
        lines = dict(line.split(":") for line in open("/proc/self/status") if ":" in line)
        return {name: int(lines[name].split()[0]) * 1024 for name in ("VmData", "VmHWM", "RssAnon")}

    def fit(X, early_stopping):
        options = {"batch_size": 500, "max_epochs": 2, "tol": 0, "random_state": 0}
        return Autoencoder(4, early_stopping=early_stopping, **options).fit(X)

    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        n, d = 400_000, 256
        X = np.lib.format.open_memmap(file.name, "w+", np.float32, (n, d))
        random = np.random.default_rng(0)
        for first in range(0, n, 20_000):
            X[first : first + 20_000] = random.random((20_000, d), dtype=np.float32)
            X._mmap.madvise(__import__("mmap").MADV_DONTNEED)
        del X
        X = np.load(file.name, mmap_mode="r")
        for early_stopping in (False, True):  # what is imported and allocated once
            fit(X[:2000], early_stopping)
        before = memory()
        # what the process may allocate; files that are only read do not count
        limit = before["VmData"] + 48 * MiB
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
        for early_stopping in (False, True):
            model = fit(X, early_stopping)
        assert np.isfinite(model.reconstruction_error(X)).all()
        assert X.nbytes > 390 * MiB
        growth = memory()["VmHWM"] - before["VmHWM"]
        print(growth // MiB)
        try:
            np.array(X)
        except MemoryError:
            sys.exit()
        sys.exit("the limit limits nothing")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux says of a process")
def test_a_file_larger_than_the_memory_limit():
    """A file of 390 MiB, with 48 MiB to allocate.

    Only a few windows are in memory at once, pages of the file included.
    """
    done = run_python(LARGER_THAN_MEMORY)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 200


# ---- passes in order ----


@pytest.mark.parametrize("step", [1, 37, 500, 4000])
def test_a_pass_asks_for_all_rows_and_gives_back_none_too_early(
    step, small_blocks, save_and_map, table, monkeypatch
):
    asked, given_back = [], []
    monkeypatch.setattr(MappedRows, "will_need", lambda self, ranges: asked.extend(ranges))
    monkeypatch.setattr(MappedRows, "done_with", lambda self, ranges: given_back.extend(ranges))
    visits = passes.PassInOrder(save_and_map(table))
    window = visits.map.window_rows
    for first in range(0, 4000, step):
        last = min(4000, first + step)
        visits.visit(first, last)
        visits.wait()
        assert asked[-1][1] >= min(4000, last + window // 2)
        assert asked[-1][1] <= min(4000, last + window)
        assert all(end <= first for _, end in given_back)
    for ranges in (asked, given_back):
        assert all(a[1] == b[0] for a, b in itertools.pairwise(ranges))
    assert asked[0][0] == 0 and asked[-1][1] == 4000
    assert first - max((end for _, end in given_back), default=0) < window or step == 4000


def test_a_pass_over_an_array_in_memory_asks_for_nothing(table):
    visits = passes.PassInOrder(table)
    visits.visit(0, 4000)
    assert visits.map is None


def test_slices_of_a_map_are_no_longer_than_a_window(small_blocks, save_and_map, table):
    """A whole window of reading and a whole window of work overlap; rows in memory have no
    windows.
    """
    for X, most in ((save_and_map(table), 170), (table, 4000)):
        parts = list(passes.slices(4000, passes.Pace(10, first=1000), X))
        assert parts[0] == slice(0, most)
    assert passes.MappedRows.under(save_and_map(table)).window_rows == 170


@pytest.mark.parametrize("svd_solver", ["covariance", "krylov"])
def test_factor_models_from_maps(svd_solver, small_blocks, save_and_map, table):
    """Every pass over a memory map has the bits of a pass over memory."""
    X = save_and_map(table)
    model = ProbabilisticPCA(3, svd_solver=svd_solver)
    of_map, of_array = clone(model).fit(X), clone(model).fit(table)
    np.testing.assert_array_equal(of_map.components_, of_array.components_)
    np.testing.assert_array_equal(of_map.score_samples(X), of_array.score_samples(table))
    np.testing.assert_array_equal(of_map.transform(X[::-1]), of_array.transform(table[::-1]))
