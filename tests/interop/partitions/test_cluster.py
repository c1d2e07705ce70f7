"""aefast.dask on a cluster of processes: the same bits anywhere, and what is refused."""

# ruff: noqa: E402  the imports follow the check for Dask

import threading
import time

import numpy as np
import pytest

distributed = pytest.importorskip("distributed", reason="needs dask: pip install 'aefast[dask]'")

import dask
import dask.array as da
from support import dask_tasks
from support.dask_tasks import make_rows

import aefast.dask
from aefast import (
    DictionaryLearning,
    FactorAnalysis,
    MixtureOfFactorAnalyzers,
    ProbabilisticPCA,
    build_info,
)
from aefast._base import _runtime
from aefast.interop.distributed.cluster import Cluster
from aefast.interop.distributed.collections import partitions_of
from aefast.interop.distributed.fitting import engine_of
from aefast.interop.distributed.local import LocalExecutor

X = make_rows()
MODELS = {
    "fa": lambda: FactorAnalysis(2),
    "ppca-cv": lambda: ProbabilisticPCA("cv"),
    "mixture": lambda: MixtureOfFactorAnalyzers(2, 2, random_state=0),
    "dictionary": lambda: DictionaryLearning(8, alpha=0.2, max_epochs=2, random_state=0),
}
WAITS = {"timeout": 60, "retries": 1}


def in_chunks(rows=X):
    return da.from_array(rows, chunks=(90, 6))


def engine(client, rows=None, **waits):
    parts = partitions_of(in_chunks() if rows is None else rows)
    return Cluster(client, parts, **(WAITS | waits))


def everything_of(model):
    names = ("components_", "means_", "noise_variance_", "mean_", "weights_", "objective_curve_")
    return {name: np.asarray(getattr(model, name)) for name in names if hasattr(model, name)}


def assert_same_bits(one, other):
    mine, its = everything_of(one), everything_of(other)
    assert mine.keys() == its.keys() and len(mine) >= 2
    for name, array in mine.items():
        np.testing.assert_array_equal(array, its[name], err_msg=name)


@pytest.mark.parametrize("name", MODELS)
def test_bits_are_those_of_this_process(client, name):
    here = aefast.dask.fit(MODELS[name](), in_chunks())
    assert_same_bits(aefast.dask.fit(MODELS[name](), in_chunks(), client=client, **WAITS), here)


@pytest.mark.extra
@pytest.mark.parametrize("n_workers", [1, 4])
@pytest.mark.parametrize("threads_per_worker", [1, 2])
def test_bits_are_those_of_any_number_of_workers(make_cluster, n_workers, threads_per_worker):
    client = make_cluster(n_workers, threads_per_worker=threads_per_worker)
    for make in MODELS.values():
        here = aefast.dask.fit(make(), in_chunks())
        assert_same_bits(aefast.dask.fit(make(), in_chunks(), client=client, **WAITS), here)
    client.close()


@pytest.mark.parametrize("n", [1, 4, 5, 7, 9, 16, 21])
def test_mergers_happen_in_the_order_of_the_local_engine(client, n):
    """Tasks combine four results each; none is left over, or in another order."""
    rows = [dask.delayed(part) for part in np.array_split(X, n)]
    arguments = dask_tasks.text_of, dask_tasks.bracketed
    of_cluster = engine(client, rows)
    assert of_cluster.reduce(*arguments) == LocalExecutor(partitions_of(rows)).reduce(*arguments)
    assert of_cluster.map(dask_tasks.text_of) == [str(i) for i in range(n)]


def test_what_an_engine_tells(client):
    made = engine(client, [X[:100], X[:0], X[100:].astype(np.float32)])
    assert made.numbers == [0, 2] and made.sizes == [100, 900] and made.n_features == 6
    assert made.dtype == np.float64 and made.columns is None
    assert made.map(dask_tasks.threads_of_kernels, made.n_threads) == [1, 1]
    assert made.origin.isa == build_info()["isa"]
    assert engine(client, [X.astype(np.float32)]).dtype == np.float32


def test_arguments_may_be_large(client, recwarn):
    factor = np.arange(6 * 10**5, dtype=float)  # 5 MB, in one piece for all tasks
    found = engine(client).map(dask_tasks.total, factor[:6])
    assert len(found) == 12
    made = engine(client)
    assert made.map(dask_tasks.threads_of_kernels, factor)[3].nbytes == factor.nbytes
    assert not [warning for warning in recwarn if "graph" in str(warning.message)]


def test_futures_and_persisted_arrays_stay_where_they_are(client):
    expected = aefast.dask.statistics(in_chunks())
    futures = client.scatter(np.split(X, range(90, 1000, 90)))
    for rows in (futures, client.persist(in_chunks())):
        found = aefast.dask.statistics(rows, client=client, **WAITS)
        np.testing.assert_array_equal(found.scatter_, expected.scatter_)
    found = aefast.dask.statistics(futures, **WAITS)  # the client is that of the futures
    np.testing.assert_array_equal(found.scatter_, expected.scatter_)


def test_the_current_client_is_taken(client):
    with client.as_current():
        lazy = aefast.dask.transform(FactorAnalysis(2).fit(X), in_chunks())
        np.testing.assert_array_equal(lazy.compute(), FactorAnalysis(2).fit(X).transform(X))
        assert engine_of(in_chunks(), **WAITS).client is client
    assert isinstance(engine_of(in_chunks(), **WAITS), LocalExecutor)


def test_a_fit_leaves_nothing_on_the_cluster(client):
    aefast.dask.fit(MODELS["mixture"](), in_chunks(), client=client, **WAITS)
    end = time.monotonic() + 20
    while client.run_on_scheduler(_keys) and time.monotonic() < end:
        time.sleep(0.05)
    assert client.run_on_scheduler(_keys) == []


def _keys(dask_scheduler):
    return list(dask_scheduler.tasks)


def test_two_fits_at_once(client):
    names, found = ("fa", "mixture"), {}
    expected = {name: aefast.dask.fit(MODELS[name](), in_chunks()) for name in names}

    def fit(key, name):
        found[key] = aefast.dask.fit(MODELS[name](), in_chunks(), client=client, **WAITS)

    threads = [
        threading.Thread(target=fit, args=((name, i), name)) for name in names for i in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(found) == 2 * len(names)
    for (name, _), model in found.items():
        assert_same_bits(model, expected[name])


def test_errors_name_the_partition(client):
    bad = X.copy()
    bad[400, 3] = np.nan
    for model in (MODELS["fa"](), MODELS["mixture"](), MODELS["dictionary"]()):
        with pytest.raises(ValueError, match=r"^partition 4: .*NaN at row 40, column 3"):
            aefast.dask.fit(model, in_chunks(bad), client=client, **WAITS)
    with pytest.raises(TypeError, match=r"partition 1: .*got text"):
        aefast.dask.statistics([X, dask.delayed("1,2")], client=client, **WAITS)
    with pytest.raises(RuntimeError, match="partition 0: ZeroDivisionError"):
        engine(client).map(_divide)
    assert_same_bits(  # the cluster is as before
        aefast.dask.fit(MODELS["fa"](), in_chunks(), client=client, **WAITS),
        aefast.dask.fit(MODELS["fa"](), in_chunks()),
    )


def _divide(part):
    return 1 / 0


_divide.__module__ = "__main__"  # sent by value: workers do not have this file


def test_warnings_of_partitions_are_issued_here(client):
    rows = X.copy()
    rows[:, 2] *= 1e-170
    with pytest.warns(RuntimeWarning, match=r"partition 0: squares of column\(s\) 2") as told:
        aefast.dask.statistics(in_chunks(rows), client=client, **WAITS)
    assert len(told) == 3 and all(warning.filename == __file__ for warning in told)


def test_another_version_is_refused_by_the_name_of_its_worker(client):
    other = sorted(client.scheduler_info()["workers"])[1]
    ((_, version),) = client.run(dask_tasks.pretend_version, "0.0.9", workers=[other]).items()
    try:
        with pytest.raises(RuntimeError, match=rf"worker {other} has aefast 0\.0\.9"):
            aefast.dask.fit(FactorAnalysis(2), in_chunks(), client=client, **WAITS)
    finally:
        client.run(dask_tasks.pretend_version, version, workers=[other])


@pytest.mark.skipif(len(_runtime.isa_available()) < 2, reason="needs two instruction sets")
def test_mixed_instruction_sets_are_refused_by_name(client):
    other = sorted(client.scheduler_info()["workers"])[1]
    ((_, isa),) = client.run(
        dask_tasks.use_isa, _runtime.isa_available()[0], workers=[other]
    ).items()
    try:
        with pytest.raises(RuntimeError, match=f"{other} .*baseline|baseline.* {other}"):
            aefast.dask.fit(FactorAnalysis(2), in_chunks(), client=client, **WAITS)
    finally:
        client.run(dask_tasks.use_isa, isa, workers=[other])
    aefast.dask.fit(FactorAnalysis(2), in_chunks(), client=client, **WAITS)


@pytest.mark.skipif(len(_runtime.isa_available()) < 2, reason="needs two instruction sets")
def test_a_call_has_the_instruction_set_of_the_one_before(client):
    """All workers compute with another one from the second call on, as if they were new ones."""
    made = engine(client)
    former = client.run(dask_tasks.use_isa, _runtime.isa_available()[0])
    try:
        for call in (made.map, lambda function: made.reduce(function, dask_tasks.added)):
            with pytest.raises(RuntimeError, match="results would depend on which"):
                call(dask_tasks.total)
    finally:
        client.run(dask_tasks.use_isa, next(iter(former.values())))


def test_clients_that_cannot_be_used(client):
    closed = distributed.Client(client.scheduler.address, set_as_default=False)
    made = engine(closed)
    closed.close()
    with pytest.raises(ConnectionError, match="client is closed"):
        made.map(dask_tasks.total)
    with pytest.raises(ConnectionError, match="client is closed"):
        aefast.dask.fit(FactorAnalysis(2), in_chunks(), client=closed)
    with pytest.raises(TypeError, match="client must be a "):
        aefast.dask.fit(FactorAnalysis(2), in_chunks(), client=client.scheduler.address)
