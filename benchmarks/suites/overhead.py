"""Start-up, one row, many small fits: ``python -m benchmarks.suites.overhead``.

Start-up is the time of a process that imports aefast and ends, compared with one that imports its
dependencies. The time of one row is the smallest mean of many calls. The rate of fits, each with
one thread, is measured in two Python threads and compared with one Python thread and with two
processes, which share no lock.
"""

import argparse
import os
import subprocess
import sys
import threading
import time
import timeit

import numpy as np

from benchmarks.harness.problems import textbook

STARTS = (
    ("pass", "import aefast"),
    ("import numpy, scipy.linalg.cython_blas", "import aefast.ops"),
    ("import numpy, scipy.linalg.cython_blas, sklearn.base", "from aefast import Autoencoder"),
)


def start_up(repeats):
    for before, statement in STARTS:
        seconds = {code: [] for code in (before, statement)}
        for _ in range(repeats):
            for code, times in seconds.items():
                start = time.perf_counter()
                subprocess.run([sys.executable, "-c", code], check=True)
                times.append(time.perf_counter() - start)
        base, whole = (min(times) for times in seconds.values())
        yield f"{statement}: {whole:.3f} s, {whole - base:+.3f} s beyond `{before}`"


def one_row(d, k, repeats):
    from aefast import Autoencoder, ops

    rng = np.random.default_rng(0)
    rows, W = rng.random((100, d), dtype=np.float32), rng.random((k, d), dtype=np.float32)
    b, c = np.zeros(k, np.float32), np.zeros(d, np.float32)
    X, H = rows[:1], np.zeros((1, k), np.float32)
    estimator = Autoencoder(k, max_epochs=0, **textbook(Autoencoder)).fit(rows)
    calls = {
        "ops.encode": lambda: ops.encode(X, W, b),
        "ops.decode": lambda: ops.decode(H, W, c),
        "transform": lambda: estimator.transform(X),
        "reconstruct": lambda: estimator.reconstruct(X),
        "score_samples": lambda: estimator.score_samples(X),
    }
    for name, call in calls.items():
        times = timeit.repeat(call, number=300, repeat=5 * repeats)
        yield f"{name}, one row, {d} x {k}: {1e6 * min(times) / 300:.1f} µs"


def run_fits(n, n_epochs, X):
    from aefast import Autoencoder

    options = {"batch_size": 32, "tol": 0, "max_epochs": n_epochs, "n_threads": 1}
    options |= {"learning_rate": 1e-3, **textbook(Autoencoder)}
    for seed in range(n):
        Autoencoder(32, random_state=seed, **options).fit(X)


def in_threads(n_threads, *arguments):
    threads = [threading.Thread(target=run_fits, args=arguments) for _ in range(n_threads)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return n_threads * arguments[0] / (time.perf_counter() - start)


def in_processes(n_processes, *arguments):
    start, children = time.perf_counter(), []
    for _ in range(n_processes):
        child = os.fork()
        if child == 0:
            run_fits(*arguments)
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    return n_processes * arguments[0] / (time.perf_counter() - start)


def many_fits(repeats):
    X = np.random.default_rng(0).random((1797, 64), dtype=np.float32)
    for n_epochs in (1, 5, 20, 50):
        n = max(5, 100 // n_epochs)
        run_fits(2, n_epochs, X)
        found = []
        for _ in range(repeats):
            alone = in_threads(1, n, n_epochs, X)
            found.append((alone, in_threads(2, n, n_epochs, X), in_processes(2, n, n_epochs, X)))
        alone = np.median([rate for rate, _, _ in found])
        by_threads, by_processes = np.median([(t / a, p / a) for a, t, p in found], axis=0)
        yield (
            f"fits of {n_epochs} epochs ({1e3 / alone:.1f} ms): {alone:.0f} a second, "
            f"{by_threads:.2f} times as many in two Python threads, "
            f"{by_processes:.2f} in two processes"
        )


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.suites.overhead", description=__doc__
    )
    parts = ("start", "row", "fits")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(arguments)
    lines = {
        "start": lambda: start_up(options.repeats),
        "row": lambda: (
            line for d, k in ((64, 32), (784, 500)) for line in one_row(d, k, options.repeats)
        ),
        "fits": lambda: many_fits(options.repeats),
    }
    for part in options.parts:
        for line in lines[part]():
            print(line, flush=True)


if __name__ == "__main__":
    main()
