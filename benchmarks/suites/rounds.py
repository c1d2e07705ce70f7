"""Training by rounds on Dask, and its model: ``python -m benchmarks.suites.rounds``.

Costs are measured on a cluster of one process; from them the seconds of a pass on 1, 2 and more
local processes are predicted, and measured beside. Processes beyond the machine's cores share them:
the prediction, which gives each worker a core, is then too low. The last table predicts passes over
many rows on 2 to 100 workers, with a core each, and links of a given bandwidth.
"""

import argparse
import os

import dask.array as da
import numpy as np
from distributed import Client, LocalCluster

import aefast.dask
from aefast import Autoencoder

WORKERS = (2, 5, 10, 20, 50, 100)


def cluster_of(n_workers):
    options = {"n_workers": n_workers, "threads_per_worker": 1, "dashboard_address": ":0"}
    return LocalCluster(processes=True, silence_logs=50, **options)


def rows_of(options):
    chunk = -(-options.rows // options.partitions)
    shape, chunks = (options.rows, options.features), (chunk, options.features)
    return da.random.default_rng(0).random(shape, chunks=chunks).astype(np.float32)


def estimator_of(options, batch_size, n_epochs=1):
    given = {"max_epochs": n_epochs, "tol": 0, "random_state": 0, "n_threads": 1}
    return Autoencoder(options.components, batch_size=batch_size, **given)


def measured_pass(options, X, method, batch_size):
    """Return the median seconds of a pass, without the first one."""
    ae = estimator_of(options, batch_size, options.epochs)
    aefast.dask.fit(ae, X, method=method)
    return float(np.median(np.diff(ae.history_["seconds"])))


def compare(options):
    X = rows_of(options)
    with cluster_of(1) as cluster, Client(cluster):
        costs = aefast.dask.measured_costs(estimator_of(options, 256), X.persist())
    print("measured on one process:")
    for name, value in costs._asdict().items():
        print(f"  {name:18s} {value:.4g}")
    print("processes, method, batch, rounds, s of a pass: predicted, measured, ratio")
    for n_workers in options.workers:
        with cluster_of(n_workers) as cluster, Client(cluster):
            here = X.persist()
            for method, batch_size in (
                *(("rounds", size) for size in options.batches),
                ("averaging", 256),
            ):
                given = {"method": method, "batch_size": batch_size}
                given["n_partitions"] = options.partitions
                found = aefast.dask.predicted_seconds(costs, options.rows, n_workers, **given)
                seconds = measured_pass(options, here, method, batch_size)
                figures = f"{found.pass_seconds:8.3f} {seconds:8.3f}"
                figures += f" {seconds / found.pass_seconds:6.2f}"
                print(f"{n_workers:3d} {method:10s} {batch_size:6d} {found.n_rounds:5d} {figures}")
    return costs


def predict(costs, n_rows, bandwidth):
    costs = costs._replace(bandwidth=bandwidth)
    alone = n_rows * costs.local_row_seconds
    print(f"predicted for {n_rows:g} rows, {bandwidth:g} bytes/s; one core alone: {alone:.0f} s")
    print("workers, batch that computes half of its time, s of a pass with it,")
    print("with batches of 4096, by averages of 16 local steps of 256 rows")
    for n_workers in WORKERS:
        batch = aefast.dask.suitable_batch(costs, n_rows, n_workers)
        given = costs, n_rows, n_workers
        passes = (
            aefast.dask.predicted_seconds(*given, batch_size=batch),
            aefast.dask.predicted_seconds(*given, batch_size=4096),
            aefast.dask.predicted_seconds(*given, batch_size=256, method="averaging"),
        )
        figures = " ".join(f"{of.pass_seconds:9.1f}" for of in passes)
        print(f"{n_workers:4d} {batch:8d} {figures}")


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.suites.rounds", description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--features", type=int, default=784)
    parser.add_argument("--components", type=int, default=64)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--batches", type=int, nargs="+", default=[1024, 4096])
    parser.add_argument("--predicted-rows", type=float, default=1e8)
    parser.add_argument("--bandwidth", type=float, default=1e9, help="bytes/s, of the prediction")
    options = parser.parse_args(arguments)
    print(f"{options.rows} rows of {options.features} float32 features, {os.cpu_count()} cores")
    costs = compare(options)
    predict(costs, int(options.predicted_rows), options.bandwidth)


if __name__ == "__main__":
    main()
