"""aefast.dask where workers are killed, hang, come and go: the same bits, or an error in time."""

# ruff: noqa: E402  the imports follow the check for Dask

import os
import signal
import threading
import time
from functools import partial

import numpy as np
import pytest

distributed = pytest.importorskip("distributed", reason="needs dask: pip install 'aefast[dask]'")

import dask
import dask.array as da
from support import dask_tasks
from support.dask_tasks import added, make_rows, statistics_slowly, statistics_with_fault

import aefast.dask
from aefast import FactorAnalysis, MixtureOfFactorAnalyzers
from aefast._base.partitions import statistics_of_part
from aefast.interop.distributed.cluster import Cluster
from aefast.interop.distributed.collections import partitions_of

pytestmark = pytest.mark.extra
X = make_rows()
SECONDS = 4  # until a worker counts as one that hangs
WAITS = {"timeout": 60, "retries": 2}


def in_chunks():
    return da.from_array(X, chunks=(90, 6))


def engine(client, rows=None, **waits):
    parts = partitions_of(in_chunks() if rows is None else rows)
    return Cluster(client, parts, **(WAITS | waits))


def processes(client):
    """Numbers of the processes of workers, by their addresses."""
    return client.run(os.getpid)


@pytest.fixture(scope="module")
def expected():
    return aefast.dask.statistics(in_chunks())


@pytest.fixture
def client(make_cluster):
    """A cluster of its own, since tests kill its workers."""
    client = make_cluster(2)
    yield client
    for number in stopped:
        with_no_error(os.kill, number, signal.SIGCONT)
    stopped.clear()
    cluster = client.cluster
    client.close()
    cluster.close()


stopped = set()  # processes to be continued, so that the cluster can end


def with_no_error(function, *arguments):
    try:
        function(*arguments)
    except OSError:
        pass


def strike(client, which, signal_number):
    """Send a signal to a worker; return its address."""
    address, number = sorted(processes(client).items())[which]
    if signal_number == signal.SIGSTOP:
        stopped.add(number)
    os.kill(number, signal_number)
    return address


def assert_equals(found, expected):
    assert found.n_samples_ == expected.n_samples_
    for name in ("_reference", "_sums", "_scatter"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


# ---- killed workers ----


def test_a_worker_is_killed_before_a_call(client, expected):
    made = engine(client)
    strike(client, 0, signal.SIGKILL)
    assert_equals(made.reduce(statistics_of_part, added, 1), expected)


def test_a_worker_is_killed_during_a_call(client, expected, tmp_path):
    made, marker = engine(client), str(tmp_path / "struck")
    arguments = marker, 5, signal.SIGKILL
    assert_equals(made.reduce(statistics_with_fault, added, *arguments), expected)
    assert os.path.exists(marker)


def test_a_worker_is_killed_while_others_wait_for_its_results(client, expected):
    made = engine(client)
    threading.Timer(0.6, strike, (client, 1, signal.SIGKILL)).start()
    assert_equals(made.reduce(statistics_slowly, added, 0.2), expected)


def test_a_worker_is_killed_while_it_computes_partitions(client, expected, tmp_path):
    block = dask.delayed(partial(dask_tasks.block_with_fault, marker=str(tmp_path / "struck")))
    rows = [block(part) for part in np.split(X, range(90, 1000, 90))]
    assert_equals(aefast.dask.statistics(rows, client=client, **WAITS), expected)


def test_a_worker_is_killed_between_iterations_of_a_mixture(client):
    def model():
        return MixtureOfFactorAnalyzers(2, 2, tol=0, max_iter=8, random_state=0)

    here = aefast.dask.fit(model(), in_chunks())
    made, n_calls = engine(client), iter(range(100))
    reduce = made.reduce

    def disturbed(*arguments):
        if next(n_calls) in (1, 3):
            strike(client, 0, signal.SIGKILL)
        return reduce(*arguments)

    made.reduce = disturbed
    found = model()._fit_partitions(made)
    np.testing.assert_array_equal(found.components_, here.components_)
    assert found.log_likelihood_curve_ == here.log_likelihood_curve_


def test_all_workers_are_killed(client, expected):
    made = engine(client)
    for which in (0, 1):
        number = sorted(processes(client).values())[which]
        threading.Timer(0.4, os.kill, (number, signal.SIGKILL)).start()
    assert_equals(made.reduce(statistics_slowly, added, 0.2), expected)


def test_a_partition_that_kills_every_worker_ends_with_its_name(client, tmp_path):
    with pytest.raises(RuntimeError, match=r"partition 3: .* workers died"):
        engine(client).map(partial(_kill, number=3))


def _kill(part, number):
    if part.number == number:
        os.kill(os.getpid(), signal.SIGKILL)


_kill.__module__ = "__main__"  # sent by value: workers do not have this file


# ---- the only copy ----


def test_the_only_copy_of_a_partition_is_lost(client):
    rows = np.split(X, range(90, 1000, 90))
    workers = sorted(processes(client))
    futures = [
        client.scatter(part, workers=[workers[i % 2]], hash=False) for i, part in enumerate(rows)
    ]
    made = engine(client, futures)
    strike(client, 0, signal.SIGKILL)
    with pytest.raises(RuntimeError, match=r"partitions 0, 2, 4, .* of X .* the only copy"):
        made.map(statistics_of_part, 1)


def test_copies_keep_a_partition(client, expected):
    client.amm.stop()  # it would drop copies, as it does every two seconds
    futures = client.scatter(np.split(X, range(90, 1000, 90)), broadcast=True, hash=False)
    made = engine(client, futures)
    strike(client, 0, signal.SIGKILL)
    assert_equals(made.reduce(statistics_of_part, added, 1), expected)


# ---- workers that hang ----


def test_a_worker_stops_and_its_partitions_go_to_another(client, expected):
    made = engine(client, timeout=SECONDS)
    address = strike(client, 0, signal.SIGSTOP)
    assert_equals(made.reduce(statistics_of_part, added, 1), expected)
    assert address not in client.scheduler_info()["workers"]


def test_a_worker_stops_in_the_middle(client, expected, tmp_path):
    made, marker = engine(client, timeout=SECONDS), str(tmp_path / "struck")
    stopped.update(processes(client).values())
    arguments = marker, 5, signal.SIGSTOP
    assert_equals(made.reduce(statistics_with_fault, added, *arguments), expected)


def test_a_task_that_hangs_ends_with_the_names_of_partition_and_worker(client):
    made = engine(client)
    made.timeout, made.retries = 2, 1
    begin = time.monotonic()
    with pytest.raises(TimeoutError, match=r"partition 4 on workers? tcp:.*raise timeout"):
        made.map(dask_tasks.hang, 4, 30)
    assert time.monotonic() - begin < 20


def test_a_call_that_waits_for_a_worker_that_is_busy_is_made_elsewhere(client, expected):
    """Tasks that an earlier call has left behind hold one of two workers; its task hangs there."""
    made = engine(client)
    made.timeout, made.retries = 2, 0
    with pytest.raises(TimeoutError, match="partition 4 on worker"):
        made.map(dask_tasks.hang, 4, 25)
    made = engine(client, timeout=SECONDS)
    assert_equals(made.reduce(statistics_of_part, added, 1), expected)


def test_no_worker_at_all_ends_with_an_error(client):
    made = engine(client)
    made.timeout, made.retries = 1, 1
    client.cluster.scale(0)
    end = time.monotonic() + 60
    while client.scheduler_info()["workers"] and time.monotonic() < end:
        time.sleep(0.1)
    with pytest.raises(TimeoutError, match="there is no worker"):
        made.map(statistics_of_part, 1)


# ---- workers that come, the scheduler that goes ----


def test_a_worker_without_data_and_one_that_joins(client, expected):
    made = engine(client, [X[:90], X[90:]])
    two = made.reduce(statistics_of_part, added, 1)
    client.cluster.scale(3)
    client.wait_for_workers(3, timeout=60)
    assert_equals(made.reduce(statistics_of_part, added, 1), two)
    made = engine(client)
    threading.Timer(0.3, client.cluster.scale, (4,)).start()
    assert_equals(made.reduce(statistics_slowly, added, 0.2), expected)


def test_the_scheduler_is_lost(client, path):
    def model():
        return MixtureOfFactorAnalyzers(
            2, 2, tol=0, max_iter=8, random_state=0, checkpoint=path, checkpoint_every="epoch"
        )

    here = aefast.dask.fit(model().set_params(checkpoint=None), in_chunks())
    made, n_calls = engine(client), iter(range(100))
    reduce = made.reduce

    def disturbed(*arguments):
        if next(n_calls) == 5:
            client.cluster.close()
        return reduce(*arguments)

    made.reduce = disturbed
    begin, estimator = time.monotonic(), model()
    with pytest.raises(ConnectionError, match="the scheduler"):
        estimator._fit_partitions(made)
    assert time.monotonic() - begin < 60
    assert not hasattr(estimator, "weights_")
    resumed = aefast.dask.fit(model(), in_chunks())  # from the checkpoint, in this process
    np.testing.assert_array_equal(resumed.components_, here.components_)


def test_two_fits_at_once_and_a_worker_lost(client, expected):
    found = []

    def fit():
        made = engine(client)
        found.append(made.reduce(statistics_slowly, added, 0.1))

    threads = [threading.Thread(target=fit) for _ in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(0.7)
    strike(client, 0, signal.SIGKILL)
    for thread in threads:
        thread.join(120)
    assert len(found) == 2
    for one in found:
        assert_equals(one, expected)


def test_lazy_results_survive_a_worker(client):
    model = FactorAnalysis(2).fit(X)
    with client.as_current():
        codes = client.persist(aefast.dask.transform(model, in_chunks()))
        distributed.wait(codes)
        strike(client, 0, signal.SIGKILL)
        np.testing.assert_array_equal(codes.compute(), model.transform(X))
