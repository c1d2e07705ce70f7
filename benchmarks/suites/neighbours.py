"""Training beside busy processes: ``python -m benchmarks.suites.neighbours``.

Each fit is a process of its own, which trains with one thread, with a thread for each core, and
with the automatic number, in turns. Meanwhile some processes keep cores busy. The table gives the
medians of seconds, and the automatic choice's over the better of the two fixed ones.
"""

import argparse
import json
import subprocess
import sys
from statistics import median

from benchmarks.harness import cores
from benchmarks.harness.problems import SHAPES, textbook

BUSY = "while True: pass"
SECONDS = 1.0  # aimed at by a fit with one thread, at RATE
RATE = 5e10  # operations a second that are assumed for the number of steps


def fit(shape, n_threads):
    """Train, and print the seconds of the fit."""
    import time

    import numpy as np

    from aefast import Autoencoder

    d, k, n = shape.n_features, shape.n_components, shape.n_samples
    X = np.random.default_rng(0).random((shape.n_batches * n, d), dtype=np.float32)
    n_steps = max(200, int(SECONDS * RATE / shape.flop_per_step))
    options = {"output": "bernoulli", "batch_size": n, "tol": 0, "random_state": 0}
    options |= {"learning_rate": 1e-3, "n_threads": n_threads or None, **textbook(Autoencoder)}
    ae = Autoencoder(k, max_epochs=1, **options).fit(X)
    start = time.perf_counter()
    ae.set_params(max_epochs=max(1, n_steps // shape.n_batches)).fit(X)
    print(json.dumps(time.perf_counter() - start))


def seconds_of(name, n_threads):
    command = [sys.executable, "-m", "benchmarks.suites.neighbours", "--fit", name]
    command += ["--threads", str(n_threads)]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def measure(names, n_busy, repeats):
    """Yield a row of the table for each shape, with n_busy busy processes."""
    n_cores = len(cores.usable_cores())
    busy = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(n_busy)]
    try:
        for name in names:
            times = {0: [], 1: [], n_cores: []}
            for _ in range(repeats):
                for n_threads, found in times.items():
                    found.append(seconds_of(name, n_threads))
            automatic, one, all_cores = (median(found) for found in times.values())
            seconds = " | ".join(f"{x:.3f}" for x in (automatic, one, all_cores))
            yield f"| {n_busy} | {name} | {seconds} | {automatic / min(one, all_cores):.2f} |"
    finally:
        for process in busy:
            process.kill()
            process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--busy", nargs="+", type=int, default=[0, 1, 3, 8])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--fit", choices=list(SHAPES), help="run one fit, and print its seconds")
    parser.add_argument("--threads", type=int, default=0, help="of --fit; 0: automatic")
    options = parser.parse_args()
    if options.fit:
        fit(SHAPES[options.fit], options.threads)
        return
    print("| busy processes | shape | automatic, s | one thread, s | all cores, s | ratio |")
    print("|---|---|---|---|---|---|")
    for n_busy in options.busy:
        for row in measure(options.shapes, n_busy, options.repeats):
            print(row, flush=True)


if __name__ == "__main__":
    main()
