"""aefast.dask on two hosts, each a namespace of the network, with workers of the command line."""

# ruff: noqa: E402  the imports follow the check for Dask

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

distributed = pytest.importorskip("distributed", reason="needs dask: pip install 'aefast[dask]'")

import dask.array as da
from support.dask_tasks import added, make_rows, statistics_slowly

import aefast.dask
from aefast import MixtureOfFactorAnalyzers
from aefast._base.partitions import statistics_of_part
from aefast.interop.distributed import waiting
from aefast.interop.distributed.cluster import Cluster
from aefast.interop.distributed.collections import partitions_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="namespaces of the network are Linux's"),
    pytest.mark.skipif(
        not hasattr(os, "geteuid") or os.geteuid() != 0, reason="namespaces need root"
    ),
    pytest.mark.skipif(shutil.which("ip") is None, reason="needs the command ip of iproute2"),
]
X = make_rows()
NET = "10.231.7"
NAME = f"ae{os.getpid() % 100_000}"
HOSTS = (1, 2)


def ip(*words, check=True):
    """Run the command ip, which refuses where a container has no rights on its network."""
    return subprocess.run(["ip", *map(str, words)], check=check, capture_output=True, text=True)


def inside(host, *words):
    return ip("netns", "exec", f"{NAME}-{host}", "ip", *words)


@pytest.fixture(scope="module")
def network():
    """A bridge, and two namespaces connected to it."""
    try:
        ip("link", "add", f"{NAME}b", "type", "bridge")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no rights on the network: {error.stderr.strip()}")
    try:
        ip("addr", "add", f"{NET}.254/24", "dev", f"{NAME}b")
        ip("link", "set", f"{NAME}b", "up")
        for host in HOSTS:
            outer, inner, space = f"{NAME}o{host}", f"{NAME}i{host}", f"{NAME}-{host}"
            ip("netns", "add", space)
            ip("link", "add", outer, "type", "veth", "peer", "name", inner)
            ip("link", "set", outer, "master", f"{NAME}b")
            ip("link", "set", outer, "up")
            ip("link", "set", inner, "netns", space)
            inside(host, "addr", "add", f"{NET}.{host}/24", "dev", inner)
            inside(host, "link", "set", inner, "up")
            inside(host, "link", "set", "lo", "up")
        yield
    finally:
        for host in HOSTS:
            ip("link", "del", f"{NAME}o{host}", check=False)
            ip("netns", "del", f"{NAME}-{host}", check=False)
        ip("link", "del", f"{NAME}b", check=False)


class Hosts:
    """A scheduler beside the bridge, and a worker on each host."""

    def __init__(self, folder):
        self.folder, self.processes = folder, []
        file = folder / "scheduler.json"
        options = ["--host", f"{NET}.254", "--port", "0", "--no-dashboard"]
        self.scheduler = self.start("scheduler", *options, "--scheduler-file", str(file))
        end = time.monotonic() + 60
        while not file.exists() and time.monotonic() < end:
            time.sleep(0.1)
        time.sleep(0.3)
        self.address = json.loads(file.read_text())["address"]
        self.workers = [self.start_worker(host) for host in HOSTS]

    def start_worker(self, host):
        options = ["--host", f"{NET}.{host}", "--nthreads", "1", "--no-dashboard"]
        before = ["ip", "netns", "exec", f"{NAME}-{host}"]
        folder = ["--local-directory", str(self.folder / f"host-{host}")]
        return self.start("worker", self.address, *options, *folder, before=before)

    def start(self, *words, before=()):
        paths = [Path(__file__).parents[2], Path(aefast.__file__).parents[1]]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))}
        with (self.folder / f"{words[0]}-{len(self.processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                [*before, sys.executable, "-m", "dask", *words],
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def close(self):
        for process in self.processes:
            for number in (signal.SIGCONT, signal.SIGKILL):
                try:
                    os.killpg(process.pid, number)
                except ProcessLookupError:
                    pass
            process.wait(20)


@pytest.fixture
def hosts(network, tmp_path):
    made = Hosts(tmp_path)
    yield made
    made.close()


@pytest.fixture
def client(hosts):
    client = distributed.Client(hosts.address, set_as_default=False, timeout=60)
    client.wait_for_workers(len(HOSTS), timeout=60)
    yield client
    client.close(timeout=5)


def in_chunks():
    return da.from_array(X, chunks=(90, 6))


def engine(client, **waits):
    return Cluster(client, partitions_of(in_chunks()), **({"timeout": 60, "retries": 2} | waits))


def assert_equals(found, expected):
    for name in ("_reference", "_sums", "_scatter"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_two_hosts_have_the_bits_of_one(client):
    workers = client.scheduler_info()["workers"]
    assert {address.split("/")[2].split(":")[0] for address in workers} == {
        f"{NET}.{host}" for host in HOSTS
    }
    expected = aefast.dask.statistics(in_chunks())
    assert_equals(engine(client).reduce(statistics_of_part, added, 1), expected)

    def model():
        return MixtureOfFactorAnalyzers(2, 2, random_state=0)

    there = aefast.dask.fit(model(), in_chunks(), client=client)
    np.testing.assert_array_equal(
        there.components_, aefast.dask.fit(model(), in_chunks()).components_
    )


def test_a_host_that_cannot_be_reached_is_given_up(client):
    """Its link goes down in the middle: no connection is closed, nothing answers."""
    expected = aefast.dask.statistics(in_chunks())
    made = engine(client, timeout=5)
    lost = threading.Timer(0.5, ip, ("link", "set", f"{NAME}o1", "down"))
    lost.start()
    try:
        assert_equals(made.reduce(statistics_slowly, added, 0.2), expected)
        assert len(client.scheduler_info()["workers"]) == 1
    finally:
        lost.join()
        ip("link", "set", f"{NAME}o1", "up")


def test_a_host_is_killed_and_another_joins(client, hosts):
    expected = aefast.dask.statistics(in_chunks())
    made = engine(client)
    os.killpg(hosts.workers[0].pid, signal.SIGKILL)
    assert_equals(made.reduce(statistics_of_part, added, 1), expected)
    hosts.start_worker(1)
    client.wait_for_workers(2, timeout=60)
    assert_equals(made.reduce(statistics_of_part, added, 1), expected)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_scheduler_that_is_killed_or_hangs_ends_with_an_error(client, hosts, monkeypatch, number):
    monkeypatch.setattr(waiting, "SCHEDULER_SECONDS", 3)
    made = engine(client, timeout=3)
    threading.Timer(0.7, os.killpg, (hosts.scheduler.pid, number)).start()
    begin = time.monotonic()
    with pytest.raises(ConnectionError, match="scheduler"):
        made.reduce(statistics_slowly, added, 0.5)
    assert time.monotonic() - begin < 40
