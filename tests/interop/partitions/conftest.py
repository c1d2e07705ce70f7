"""A cluster of processes for each module, where Dask is installed."""

import pytest

REASON = "needs dask and distributed: pip install 'aefast[dask]'"


@pytest.fixture(scope="module")
def make_cluster():
    """A function that starts a cluster of processes and returns its client."""
    distributed = pytest.importorskip("distributed", reason=REASON)
    opened = []

    def make_cluster(n_workers=2, **options):
        options = {"threads_per_worker": 1, "dashboard_address": ":0"} | options
        cluster = distributed.LocalCluster(n_workers, processes=True, silence_logs=50, **options)
        client = distributed.Client(cluster, set_as_default=False)
        opened.extend([client, cluster])
        return client

    yield make_cluster
    for one in opened:
        one.close()


@pytest.fixture(scope="module")
def client(make_cluster):
    """A client of two workers, which tests share and leave as they were."""
    return make_cluster()
