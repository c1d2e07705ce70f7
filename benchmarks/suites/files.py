"""Training from a file on a disk: ``python -m benchmarks.suites.files``.

The suite measures the bytes per second of one epoch from a memory map that is not cached, of a
plain sequential read of the file, and of an epoch over an array in memory, which is the rate of the
kernel alone. An epoch from the file can be as fast as the slower of the other two.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np

from aefast import Autoencoder
from aefast._base import passes
from benchmarks.harness.problems import textbook

MIB = 1 << 20


def write_table(path, n_rows, n_features):
    """Write random numbers to a .npy file and flush it to the disk."""
    rng = np.random.default_rng(0)
    chunk = rng.random((MIB // (4 * n_features) + 1, n_features), dtype=np.float32)
    with open(path, "wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (n_rows, n_features)}
        np.lib.format.write_array_header_1_0(file, header)
        for first in range(0, n_rows, len(chunk)):
            file.write(chunk[: n_rows - first])
        file.flush()
        os.fsync(file.fileno())


def drop_from_cache(path):
    """Drop the pages of a file that no process has mapped from the system's cache."""
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def seconds_of_reading(path):
    drop_from_cache(path)
    start = time.perf_counter()
    with open(path, "rb", buffering=0) as file:
        while file.read(4 * MIB):
            pass
    return time.perf_counter() - start


def seconds_of_epoch(X, n_components, path=None):
    """Return the time of the second epoch of a fit, with no page of the file in memory."""
    times = []

    def forget(*_):
        times.append(time.perf_counter())
        if path is not None:
            passes.MappedRows.under(X).done_with([(0, len(X))])
            drop_from_cache(path)
        times.append(time.perf_counter())

    options = {"solver": "sgd", "batch_size": 500, "tol": 0, "random_state": 0}
    options |= {"learning_rate": 1e-3, **textbook(Autoencoder)}
    Autoencoder(n_components, max_epochs=2, callbacks=forget, **options).fit(X)
    return times[2] - times[1]


def measure(path, n_bytes, n_features, n_components):
    n_rows = n_bytes // (4 * n_features)
    write_table(path, n_rows, n_features)
    mapped = np.load(path, mmap_mode="r")
    part = np.array(mapped[: max(1, min(n_rows, 64 * MIB // (4 * n_features)))])
    rates = {
        "plain read": n_bytes / seconds_of_reading(path),
        "epoch from memory": part.nbytes / seconds_of_epoch(part, n_components),
        "epoch from the file": n_bytes / seconds_of_epoch(mapped, n_components, path),
        "plain read again": n_bytes / seconds_of_reading(path),
    }
    return {name: rate / MIB for name, rate in rates.items()}


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.suites.files", description=__doc__)
    parser.add_argument("--folder", default=tempfile.gettempdir(), help="on the disk in question")
    parser.add_argument("--mib", type=int, default=1024, help="size of the file; default: 1024")
    parser.add_argument("--features", type=int, default=784)
    parser.add_argument("--components", type=int, nargs="+", default=[4, 64])
    options = parser.parse_args(arguments)
    print(f"{options.mib} MiB of {options.features} float32 features; MiB/s")
    for n_components in options.components:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            path = Path(folder, "table.npy")
            rates = measure(path, options.mib * MIB, options.features, n_components)
        figures = ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items())
        print(f"{n_components} components: {figures}")


if __name__ == "__main__":
    main()
