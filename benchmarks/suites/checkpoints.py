"""Cost of checkpoints: ``python -m benchmarks.suites.checkpoints``.

Each pair of fits, one without a checkpoint and one with, runs in turns on the same rows. A fit with
a checkpoint also hashes rows before it and writes once at its end. The time of one checkpoint, from
the values in the kernel to the renamed file on the disk, is measured apart: beside the ten minutes
of the default interval it is what a long fit pays.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from aefast import Autoencoder
from aefast._base.bookkeeping import Epochs

MIB = 1 << 20
DEFAULT_SECONDS = 600  # between two checkpoints


class Stopwatch:
    """Adds up the time of the checkpoints of a fit."""

    def __init__(self):
        self.seconds, self.n_written, self._write = 0.0, 0, Epochs._write

    def __enter__(self):
        def write(epochs, **options):
            start = time.perf_counter()
            self._write(epochs, **options)
            self.seconds += time.perf_counter() - start
            self.n_written += 1

        Epochs._write = write
        return self

    def __exit__(self, *_):
        Epochs._write = self._write


def seconds_of_fit(X, n_components, n_epochs, **options):
    options |= {"max_epochs": n_epochs, "tol": 0, "batch_size": 128, "random_state": 0}
    start = time.perf_counter()
    Autoencoder(n_components, **options).fit(X)
    return time.perf_counter() - start


def measure(shape, n_components, n_epochs, n_pairs, folder):
    X = np.random.default_rng(0).random(shape, np.float32)
    path = Path(folder) / "checkpoint"
    plain, stored = [], []
    seconds_of_fit(X, n_components, 1)
    with Stopwatch() as stopwatch:
        for _ in range(n_pairs):
            plain.append(seconds_of_fit(X, n_components, n_epochs))
            options = {"checkpoint": path, "resume": False}
            stored.append(seconds_of_fit(X, n_components, n_epochs, **options))
        once = stopwatch.seconds / stopwatch.n_written
    ratio = float(np.median(np.array(stored) / np.array(plain)))
    return np.median(plain), ratio, once, path.stat().st_size


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.suites.checkpoints", description=__doc__
    )
    parser.add_argument("--folder", help="on the disk in question; default: the temporary folder")
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--features", type=int, default=784)
    parser.add_argument("--components", type=int, nargs="+", default=[64, 500])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args(arguments)
    print(f"{options.rows} rows of {options.features} float32 features, {options.epochs} epochs")
    print("units, seconds of a fit, with a checkpoint / without, ms of a checkpoint, its MiB,")
    print(f"and its share of {DEFAULT_SECONDS} s")
    shape = options.rows, options.features
    for n_components in options.components:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            plain, ratio, once, size = measure(
                shape, n_components, options.epochs, options.pairs, folder
            )
        share = once / DEFAULT_SECONDS
        figures = f"{plain:8.2f} {ratio:8.4f} {1e3 * once:8.1f} {size / MIB:8.1f} {share:10.5%}"
        print(f"{n_components:5d} {figures}", flush=True)


if __name__ == "__main__":
    main()
