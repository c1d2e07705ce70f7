"""Streams from Parquet beside the decoding alone and the kernels alone.

``python -m benchmarks.suites.streams [--rows N] [--repeats N]`` writes files (zstd, float32, 100
columns), and tells seconds and CPU seconds of: decoding alone; windows alone, which are decoded and
interleaved; statistics and an epoch of training from the stream; and the same from memory. The goal
is 1.15 times the largest of decoding alone, the kernel alone, and half the sum of their CPU seconds
on two cores.
"""

import argparse
import resource
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

import aefast

N_COLUMNS = 100
ROW_GROUP = 25_000
TRAINING = {
    "n_components": 50,
    "max_epochs": 3,
    "batch_size": 256,
    "init": "glorot",
    "gain": False,
    "scale": None,
    "learning_rate": 1e-3,
    "random_state": 0,
}


def write(folder, n_rows):
    import pyarrow as pa
    import pyarrow.parquet as parquet

    random = np.random.default_rng(0)
    loadings = random.normal(size=(10, N_COLUMNS))
    for number in range(8):
        n = n_rows // 8
        X = random.normal(size=(n, 10)) @ loadings + random.normal(size=(n, N_COLUMNS))
        columns = {f"c{j}": column for j, column in enumerate(X.T.astype(np.float32))}
        path = folder / f"{number}.parquet"
        parquet.write_table(pa.table(columns), path, compression="zstd", row_group_size=ROW_GROUP)


def measured(work, repeats):
    """Return medians of the seconds and of the CPU seconds of work, after one that is not counted.

    Work may return its seconds itself.
    """
    found = []
    for _ in range(repeats + 1):
        before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        seconds = work()
        seconds = time.perf_counter() - began if seconds is None else seconds
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        found.append((seconds, cpu))
    return tuple(map(statistics.median, zip(*found[1:], strict=True)))


def epoch(rows):
    """Return the seconds of an epoch, the median of those after the first."""
    fitted = aefast.Autoencoder(**TRAINING).fit(rows)
    return float(np.median(np.diff(fitted.history_["seconds"])))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, given.rows)
        rows = aefast.stream(folder)
        whole = rows.read_whole().rows

        def decode():
            for _ in rows.source.read(range(rows.source.n_blocks)):
                pass

        def windows():
            for _ in rows.windows(rows.window_rows()):
                pass

        def sums_of(table):
            aefast.SufficientStatistics(N_COLUMNS).update(table)

        works = {
            "decoding alone": decode,
            "windows alone": windows,
            "statistics, stream": lambda: sums_of(rows),
            "statistics, memory": lambda: sums_of(whole),
            "epoch, stream": lambda: epoch(rows),
            "epoch, memory": lambda: epoch(whole),
        }
        found = {name: measured(work, given.repeats) for name, work in works.items()}
    print(f"{given.rows:,} rows of {N_COLUMNS} float32 columns, zstd")
    for name, (seconds, cpu) in found.items():
        shown = f", {cpu:.2f} CPU s" if "epoch" not in name else ""
        print(f"{name:20} {seconds:6.2f} s{shown}")
    decoding = found["decoding alone"]
    for kind in ("statistics", "epoch"):
        seconds, cpu = found[f"{kind}, memory"]
        cpu = cpu if kind == "statistics" else 2 * seconds  # two threads
        bound = max(decoding[0], seconds, (decoding[1] + cpu) / 2)
        print(f"{kind}: {found[f'{kind}, stream'][0] / bound:.2f} times the bound, {bound:.2f} s")


if __name__ == "__main__":
    main()
