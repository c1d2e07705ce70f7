"""Training by rounds on a cluster of processes, with the faults that clusters have.

Each fit ends with the bits of the same fit in this process, whatever happens to the workers.
"""

import os
import signal
import threading
import time

import numpy as np
import pytest

pytest.importorskip("distributed")

import dask
import dask.array as da
from distributed import Client, LocalCluster

import aefast.dask
from aefast import Autoencoder
from aefast.networks.training import shares

pytestmark = pytest.mark.extra

N, D, CHUNK = 400, 9, 90  # partitions of 90, 90, 90, 90 and 40 rows
OPTIONS = {"max_epochs": 3, "batch_size": 128, "random_state": 0, "tol": 0}
METHODS = ("rounds", "averaging", "lbfgs")
FAST = {"timeout": 12.0, "retries": 3}  # a busy machine keeps workers silent for seconds, too


def table():
    rng = np.random.default_rng(0)
    return np.tanh(rng.normal(size=(N, 3)) @ rng.normal(size=(3, D))) + 0.1 * rng.normal(
        size=(N, D)
    )


def collection():
    return da.from_array(table(), chunks=(CHUNK, D))


def estimator(method="rounds", **options):
    given = {"solver": "lbfgs" if method == "lbfgs" else "adam"} | OPTIONS
    if method == "averaging":
        given["batch_size"] = 32  # three steps of a partition, and as many rounds, in a pass
    return Autoencoder(4, **(given | options))


def fitted(method="rounds", client=None, X=None, limits=None, **options):
    X = collection() if X is None else X
    given = {"method": method, "client": client} | (limits or {})
    if method == "averaging":
        given["local_steps"] = 1
    return aefast.dask.fit(estimator(method, **options), X, **given)


def bits(ae):
    state = ae._state
    curves = [list(curve) for curve in ae._curves()]
    return state.parameters.tobytes(), state.optimizer_state.tobytes(), curves


@pytest.fixture(scope="module", autouse=True)
def _small_shares():
    """Batches of 128 rows have four shares."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shares, "LEAST_SHARE", 32)
        yield


@pytest.fixture(scope="module")
def expected():
    return {method: bits(fitted(method)) for method in METHODS}


@pytest.fixture
def cluster():
    """Two workers, each a process that is started anew when it dies: tests may kill them."""
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True}
    with LocalCluster(**options, dashboard_address=None, silence_logs=50) as made:
        yield made


@pytest.fixture
def own_client(cluster):
    with Client(cluster, set_as_default=False) as made:
        made.wait_for_workers(2)
        yield made


def pid_of(client):
    return sorted(client.run(os.getpid).values())[0]


@pytest.fixture
def in_round(monkeypatch):
    """A function that calls another one before, during or after the third round of a training."""

    def in_round(when, act):
        n_rounds, engine_reduce = 0, None
        of_rounds = ("gradients_of_shares", "local_steps", "loss_and_gradient")

        from aefast.interop.distributed.cluster import Cluster

        engine_reduce = Cluster.reduce

        def reduce(self, function, *arguments, **given):
            nonlocal n_rounds
            n_rounds += function.__name__ in of_rounds
            is_third = n_rounds == 3 and function.__name__ in of_rounds
            if is_third and when == "before":
                act()
            timer = threading.Timer(0.004, act)
            if is_third and when == "during":
                timer.start()
            result = engine_reduce(self, function, *arguments, **given)
            if is_third and when == "during":
                timer.join()
            if is_third and when == "after":
                act()
            return result

        monkeypatch.setattr(Cluster, "reduce", reduce)
        return lambda: n_rounds

    return in_round


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n_workers", [1, 3])
def test_any_number_of_workers_gives_the_same_bits(method, n_workers, expected):
    options = {"n_workers": n_workers, "threads_per_worker": 1, "dashboard_address": None}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        assert bits(fitted(method, client)) == expected[method]


@pytest.mark.parametrize("when", ["before", "during", "after"])
@pytest.mark.parametrize("method", METHODS)
def test_a_worker_that_is_killed(when, method, own_client, in_round, expected):
    pid = pid_of(own_client)
    n_rounds = in_round(when, lambda: os.kill(pid, signal.SIGKILL))
    assert bits(fitted(method, own_client)) == expected[method]
    assert n_rounds() > 3


@pytest.mark.parametrize("method", ["rounds", "averaging"])
def test_a_worker_that_hangs(method, own_client, in_round, expected):
    pid = pid_of(own_client)
    in_round("before", lambda: os.kill(pid, signal.SIGSTOP))
    began = time.monotonic()
    try:
        assert bits(fitted(method, own_client, limits=FAST)) == expected[method]
    finally:
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass
    assert time.monotonic() - began < 120


def test_a_worker_that_joins_in_the_middle(cluster, own_client, expected):
    def callback(epoch, *_):
        if epoch == 1:
            cluster.scale(3)
            own_client.wait_for_workers(3)

    assert bits(fitted("rounds", own_client, callbacks=callback)) == expected["rounds"]


def test_two_fits_at_once(client, expected):
    found = {}

    def fit(method):
        found[method] = bits(fitted(method, client))

    threads = [threading.Thread(target=fit, args=(method,)) for method in METHODS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert found == expected


@pytest.mark.parametrize("method", METHODS)
def test_the_scheduler_is_lost_and_the_checkpoint_survives(method, tmp_path, expected):
    stored = {"checkpoint": tmp_path / "c", "checkpoint_every": "epoch"}
    options = {"n_workers": 1, "dashboard_address": None, "silence_logs": 50}
    with LocalCluster(**options) as cluster, Client(cluster) as client:

        def callback(epoch, *_):
            if epoch == 2:
                cluster.close()

        with pytest.raises(ConnectionError):
            fitted(method, client, callbacks=callback, **stored)
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        resumed = fitted(method, client, resume=True, **stored)
        assert bits(resumed) == expected[method]
        assert resumed.n_epochs_ == OPTIONS["max_epochs"]


def test_partitions_that_are_empty_and_unequal(client):
    X = table()
    cuts = [0, 5, 5, 200, 390]
    parts = [dask.delayed(part) for part in np.split(X, cuts)]
    here = bits(fitted("rounds", X=parts, client=None))
    assert bits(fitted("rounds", client, X=parts)) == here
    without = [part for part in np.split(X, cuts) if len(part)]
    assert bits(fitted("rounds", client, X=[dask.delayed(part) for part in without])) == here


def test_entries_that_cannot_be_used_are_named(client):
    X = table()
    X[CHUNK + 7, 3] = np.nan
    wrong = da.from_array(X, chunks=(CHUNK, D))
    with pytest.raises(ValueError, match=r"partition 1: Input X contains NaN at row 7, column 3"):
        fitted("rounds", client, X=wrong)


def test_divergence_keeps_finite_parameters(client):
    ae = estimator(solver="sgd", learning_rate=1e30, scale=None)
    with pytest.raises(FloatingPointError, match="training diverged in epoch"):
        aefast.dask.fit(ae, 1e3 * collection(), client=client)
    assert np.isfinite(ae.components_).all()


def test_rounds_is_what_the_report_says(client):
    report = fitted("auto", client).fit_report_
    assert report["method"] == "rounds"
    assert report["n_partitions"] == 5
    assert report["n_shares"] * report["share_rows"] >= OPTIONS["batch_size"]
