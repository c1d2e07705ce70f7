"""Cost of variants, distributions and constraints: ``python -m benchmarks.suites.variants``.

Two trainings, the plain autoencoder and a variant, take turns in one process for some milliseconds
each. A result is the median of the ratios of adjacent runs, with quartiles. The time of a step is
that of the kernel alone, without the work that a fit does once. ``mask`` times whole passes
(`partial_fit`) instead, to show the cost of ``missing="mask"`` for data without missing entries, in
which rows are searched for NaN before training.
"""

import argparse
from functools import partial
from time import perf_counter

import numpy as np

from aefast import Autoencoder
from aefast.networks.training.minibatches import start_training
from benchmarks.harness.problems import textbook

N_BATCHES = 16
SHAPES = {"mnist-20": (784, 500, 20), "mnist-128": (784, 500, 128)}
PLAIN = {"output": "bernoulli"}
VARIANTS = {
    "the same": {},
    "contraction": {"contraction": 0.1},
    "sparsity kl": {"sparsity": ("kl", 0.1, 0.1)},
    "sparsity l1": {"sparsity": ("l1", 0.01)},
    "corruption masking": {"corruption": ("masking", 0.3)},
    "corruption salt_and_pepper": {"corruption": ("salt_and_pepper", 0.3)},
    "corruption gaussian": {"corruption": ("gaussian", 0.3)},
    "dropout": {"dropout": 0.3},
    "top_k 50": {"top_k": 50},
    "missing, 10 %": {"missing": "mask"},
    "untied": {"tied": False},
    "weight_decay": {"weight_decay": 0.01},
    "alpha": {"alpha": 0.01},
    "clip_norm": {"clip_norm": 1e3},
    "max_norm": {"max_norm": 1e3},
    "activation tanh": {"activation": "tanh"},
    "activation relu": {"activation": "relu"},
    "activation softplus": {"activation": "softplus"},
    "activation linear": {"activation": "linear"},
}
HALF = slice(0, 392), slice(392, 784)
OUTPUTS = {
    name: name
    for name in (
        "gaussian gaussian_diagonal laplace huber continuous_bernoulli poisson negative_binomial"
        " exponential gamma categorical multinomial"
    ).split()
} | {"two halves": [("bernoulli", HALF[0]), ("poisson", HALF[1])]}
TOP_K = ((784, 500, 50), (784, 1024, 128), (784, 2048, 32), (784, 8192, 32))


def rows_for(name, n, d, seed=0):
    """Return random float32 rows (n, d) in the domain of a distribution."""
    random = np.random.default_rng(seed)
    if name == "categorical":
        return np.eye(d, dtype=np.float32)[random.integers(d, size=n)]
    if name in ("poisson", "negative_binomial", "multinomial", "two halves"):
        return random.integers(0, 2, (n, d)).astype(np.float32)
    return random.random((n, d), dtype=np.float32) + np.float32(1e-3) * (name == "gamma")


def trainer_of(X, d, k, n, **options):
    """Return a function that makes N_BATCHES steps on X."""
    settings = {"learning_rate": 1e-4, "batch_size": n, "random_state": 0, "max_epochs": 0}
    ae = Autoencoder(k, **(settings | textbook(Autoencoder) | options)).fit(X)
    state, variant, _ = ae._start(X, X, None, len(X), None, 0, False)
    trainer, order = start_training(ae, X, len(X), state, variant).trainer, np.arange(len(X))

    def run():
        _, status = trainer.run(order, 0.0)
        assert status == 0

    return run


def seconds_of(run, n_calls):
    start = perf_counter()
    for _ in range(n_calls):
        run()
    return perf_counter() - start


def ratios(plain, other, budget, target=0.02):
    """Return the ratios other / plain of adjacent runs, and the median time of a plain call.

    As many pairs are timed as fit into the budget (seconds), but at least five.
    """
    for run in (plain, other):
        run()
    once = seconds_of(plain, 1)
    n_calls, spent, found, times = max(1, int(target / once)), 0.0, [], []
    while spent < budget or len(found) < 5:
        pair = (plain, other) if len(found) % 2 else (other, plain)
        seconds = {run: seconds_of(run, n_calls) for run in pair}
        found.append(seconds[other] / seconds[plain])
        times.append(seconds[plain] / n_calls)
        spent += sum(seconds.values())
    return np.array(found), float(np.median(times))


def line(name, found, more=""):
    low, middle, high = np.percentile(found, [25, 50, 75])
    return f"{name:28s} {middle:6.3f}   ({low:.3f} to {high:.3f}, {len(found)} pairs){more}"


def variants(budget, shapes, only, solvers):
    for shape in shapes:
        d, k, n = SHAPES[shape]
        X = rows_for("bernoulli", N_BATCHES * n, d)
        for solver in solvers:
            options = {"solver": solver, "momentum": 0.0} | PLAIN
            plain = trainer_of(X, d, k, n, **options)
            for name, more in VARIANTS.items():
                if only and name not in only:
                    continue
                rows = X
                if "missing" in more:
                    rows = np.where(np.random.default_rng(1).random(X.shape) < 0.1, np.nan, X)
                found, seconds = ratios(
                    plain, trainer_of(rows.astype(X.dtype), d, k, n, **(options | more)), budget
                )
                step = 1e6 * seconds / N_BATCHES
                yield line(f"{name}", found, f" of {step:.0f} µs: {shape}, {solver}")


def outputs(budget, shapes, only, solvers):
    for shape in shapes:
        d, k, n = SHAPES[shape]
        options = {"solver": "sgd", "momentum": 0.0, "learning_rate": 1e-7}
        plain = trainer_of(rows_for("bernoulli", N_BATCHES * n, d), d, k, n, **(options | PLAIN))
        for name, output in OUTPUTS.items():
            if only and name not in only:
                continue
            X = rows_for(name, N_BATCHES * n, d)
            found, _ = ratios(plain, trainer_of(X, d, k, n, output=output, **options), budget)
            yield line(f"{name}", found, f" of bernoulli: {shape}")


def top_k(budget, shapes, only, solvers):
    """Compare top-k with a step that keeps all units; with normal rows a few units are dead."""
    n = 128
    for d, k, kept in TOP_K:
        X = np.random.default_rng(0).standard_normal((N_BATCHES * n, d), dtype=np.float32)
        for solver in solvers:
            options = {
                "solver": solver,
                "momentum": 0.0,
                "activation": "relu",
                "learning_rate": 1e-6,
            }
            plain, other = (
                trainer_of(X, d, k, n, top_k=kept_, **options) for kept_ in (None, kept)
            )
            found, seconds = ratios(plain, other, budget)
            ms = 1e3 * seconds / N_BATCHES
            yield line(f"{d} x {k}, {kept} kept, {solver}", found, f" of {ms:.1f} ms")


def mask(budget, shapes, only, solvers):
    for shape in shapes:
        d, k, n = SHAPES[shape]
        X = rows_for("bernoulli", 200 * n, d)
        options = {"batch_size": n, "random_state": 0, **textbook(Autoencoder), **PLAIN}
        plain, other = (
            Autoencoder(k, missing=missing, **options).partial_fit(X)
            for missing in ("error", "mask")
        )
        found, _ = ratios(partial(plain.partial_fit, X), partial(other.partial_fit, X), budget)
        yield line("partial_fit, mask, no NaN", found, f" of one without: {shape}, adam")


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.suites.variants", description=__doc__
    )
    parts = {"variants": variants, "outputs": outputs, "mask": mask, "top_k": top_k}
    parser.add_argument("--parts", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--solvers", nargs="+", default=["sgd", "adam"])
    parser.add_argument("--only", nargs="+", help="names of variants or distributions")
    parser.add_argument("--budget", type=float, default=1.0, help="seconds for each figure")
    options = parser.parse_args(arguments)
    for part in options.parts:
        for text in parts[part](options.budget, options.shapes, options.only, options.solvers):
            print(text, flush=True)


if __name__ == "__main__":
    main()
