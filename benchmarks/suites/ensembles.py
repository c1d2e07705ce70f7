"""Many small networks in one call: ``python -m benchmarks.suites.ensembles``.

Part "rate": the rate of training of many networks of equal shape, as a share of the processor's
multiply-add peak, which is measured beside each fit in the same process. Part "fits": networks a
second in short fits, beside a Python loop over `Autoencoder.fit`. A network has a table of its own.
On a busy machine the quickest of the repeats says what the code can do; the median is given too.
"""

import argparse
import time
import warnings

import numpy as np

from aefast import Autoencoder, AutoencoderEnsemble
from aefast._base import _runtime, threads
from benchmarks.harness.problems import textbook

SHAPES = ((30, 16), (64, 32))
BATCH = 32
STARTS = {
    "textbook": {**textbook(Autoencoder), "output": "bernoulli", "learning_rate": 0.01},
    "defaults": {},
}


def tables_of(n_networks, n_rows, d):
    X = np.random.default_rng(0).random((n_networks * n_rows, d), dtype=np.float32)
    return X, np.repeat(np.arange(n_networks), n_rows)


def seconds_of_fit(X, groups, k, n_epochs, n_threads, options):
    models = AutoencoderEnsemble(
        n_components=k,
        batch_size=BATCH,
        max_epochs=n_epochs,
        tol=0,
        random_state=0,
        n_threads=n_threads,
        **options,
    )
    begin = time.perf_counter()
    models.fit(X, groups=groups)
    return time.perf_counter() - begin


def rates(n_networks, n_steps, n_threads, repeats):
    """Rates of long fits, solver by solver, beside the peak."""
    for d, k in SHAPES:
        X, groups = tables_of(n_networks, 10 * BATCH, d)
        flop = 10.0 * BATCH * d * k * n_networks * n_steps
        for solver in ("sgd", "adam"):
            options = {**STARTS["textbook"], "solver": solver}
            found, peaks = [], []
            for _ in range(repeats):
                peaks.append(_runtime.fma_peak("float32", n_threads, 0.2) / 1e9)
                seconds = seconds_of_fit(X, groups, k, n_steps // 10, n_threads, options)
                found.append(flop / seconds / 1e9)
            best, middle, peak = max(found), np.median(found), max(peaks)
            yield (
                f"{d} x {k}, batches of {BATCH}, {solver}: {n_networks} networks of {n_steps} "
                f"steps, {best:.0f} GFLOP/s ({middle:.0f} median), peak {peak:.0f}: "
                f"{best / peak:.0%} of peak, "
                f"{n_threads * 10 * BATCH * d * k / best / 1e3:.2f} µs a "
                "step and thread"
            )


def many_fits(n_networks, n_threads, repeats):
    """Networks a second in fits of 100 steps, beside a loop over `fit`."""
    for d, k in SHAPES:
        X, groups = tables_of(n_networks, 10 * BATCH, d)
        for name, options in STARTS.items():
            n_alone = min(20, n_networks)
            together, alone = [], []
            for _ in range(repeats):
                together.append(seconds_of_fit(X, groups, k, 10, n_threads, options) / n_networks)
                one = Autoencoder(
                    k,
                    batch_size=BATCH,
                    max_epochs=10,
                    tol=0,
                    random_state=0,
                    n_threads=n_threads,
                    **options,
                )
                begin = time.perf_counter()
                for group in range(n_alone):
                    one.fit(X[10 * BATCH * group :][: 10 * BATCH])
                alone.append((time.perf_counter() - begin) / n_alone)
            ours, loop = min(together), min(alone)
            yield (
                f"{d} x {k}, {name}: {1 / ours:.0f} networks a second of 100 steps, a loop over "
                f"fit {1 / loop:.0f}: {loop / ours:.1f} times"
            )


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.suites.ensembles", description=__doc__
    )
    parser.add_argument("--parts", nargs="+", choices=("rate", "fits"), default=("rate", "fits"))
    parser.add_argument("--networks", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=1000, help="of each network, in part rate")
    parser.add_argument("--threads", type=int, default=threads.default_n_threads())
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    if "rate" in options.parts:
        for line in rates(options.networks, options.steps, options.threads, options.repeats):
            print(line, flush=True)
    if "fits" in options.parts:
        for line in many_fits(options.networks, options.threads, options.repeats):
            print(line, flush=True)


if __name__ == "__main__":
    main()
