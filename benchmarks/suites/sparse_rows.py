"""Training on sparse rows: ``python -m benchmarks.suites.sparse_rows``.

- encoder: a step on sparse rows, on the same rows made dense, and on empty rows, which cost what
  the output costs. The encoder's share is the difference from empty rows.
- factored: the step that does not depend on the number of columns, beside the exact one.
- pass: a pass over a table, codes of its rows, and TruncatedSVD with as many components.
- sampled: steps with sampled zeros beside the exact one, and the variance that sampling adds to a
  gradient, in multiples of that of the choice of a batch.
- curve: held-out loss by seconds of factored SGD, exact SGD and Adam, exact and with sampled zeros.

Everything is measured in turns in one process; the table has medians.
"""

import argparse
import time
from statistics import median

import numpy as np
from scipy import sparse
from sklearn.base import clone

from aefast import Autoencoder

DENSITY = 0.01


def table(n, d, per_row, seed=0):
    """Return rows with some random entries each, as a CSR matrix of float32."""
    random = np.random.default_rng(seed)
    columns = np.sort(random.integers(0, d, (n, per_row), dtype=np.int32), axis=1)
    values = random.random(columns.size, dtype=np.float32)
    begin = np.arange(0, columns.size + 1, per_row)
    X = sparse.csr_matrix((values, columns.ravel(), begin), (n, d))
    X.sum_duplicates()
    return X


def topics(n, d, per_row, k=32, seed=0):
    """Return rows whose columns follow topics: each row draws its entries from two of k topics."""
    random = np.random.default_rng(seed)
    popularity = 1 / np.arange(1, d + 1)
    cumulative = np.cumsum(np.stack([random.permutation(popularity) for _ in range(k)]), axis=1)
    cumulative /= cumulative[:, -1:]
    drawn = np.empty((n, per_row), np.int64)
    for i, topic in enumerate(random.integers(0, k, (n, 2))):
        half = per_row // 2
        for part, t in zip((slice(half), slice(half, None)), topic, strict=True):
            u = random.random(drawn[i, part].size)
            drawn[i, part] = np.minimum(np.searchsorted(cumulative[t], u), d - 1)
    rows = np.repeat(np.arange(n), per_row)
    X = sparse.csr_matrix((np.ones(drawn.size, np.float32), (rows, drawn.ravel())), (n, d))
    X.sum_duplicates()
    return X


def estimator(k, batch_size, **options):
    options = {"init": "glorot", "gain": False, "scale": None, "learning_rate": 1e-3} | options
    return Autoencoder(k, batch_size=batch_size, tol=0, random_state=0, shuffle=False, **options)


def trainer_of(X, k, batch_size, **options):
    """Return a training on X that is ready to run."""
    ae = estimator(k, batch_size, max_epochs=1, **options)
    rows = ae._table(X, reset=True)
    n = len(rows)
    state, variant, _ = ae._start(X, rows, None, n, None, 0, False)
    return ae._training(rows, n, state, variant, None)[1]


def seconds_of_steps(trainings, n_rows, repeats):
    """Return the median seconds of a pass of each training over rows, in turns."""
    times = {name: [] for name in trainings}
    order = np.arange(n_rows)
    for training in trainings.values():
        training._slice(order, 0.0)
    for _ in range(repeats):
        for name, training in trainings.items():
            start = time.perf_counter()
            training._slice(order, 0.0)
            times[name].append(time.perf_counter() - start)
    return {name: median(found) for name, found in times.items()}


def encoder(options):
    d, k, batch = options.columns, options.components, 256
    X = table(2 * batch, d, max(1, int(DENSITY * d)))
    empty = sparse.csr_matrix(X.shape, dtype=np.float32)
    print(
        "| weights, solver | dense rows, ms | sparse rows, ms | empty rows, ms | encoder's share |"
    )
    print("|---|---|---|---|---|")
    for tied in (True, False):
        for solver in ("adam", "sgd"):
            given = {"tied": tied, "solver": solver, "momentum": 0.0}
            tables = {"dense": X.toarray(), "sparse": X, "empty": empty}
            trainings = {name: trainer_of(T, k, batch, **given) for name, T in tables.items()}
            found = seconds_of_steps(trainings, 2 * batch, options.repeats)
            shown = " | ".join(f"{500 * found[name]:.1f}" for name in tables)
            share = (found["sparse"] - found["empty"]) / (found["dense"] - found["empty"])
            name = f"{'tied' if tied else 'untied'}, {solver}"
            print(f"| {name} | {shown} | {share:.1%} |", flush=True)


def factored(options):
    d, k, batch = options.wide, options.components, 128
    print("| type, weights | exact step, ms | factored step, ms | ratio |")
    print("|---|---|---|---|")
    for dtype in (np.float32, np.float64):
        X = table(40 * batch, d, 50).astype(dtype)
        for tied in (True, False):
            given = {"tied": tied, "solver": "sgd", "momentum": 0.0, "learning_rate": 1e-2}
            exact = trainer_of(X, k, batch, **given)
            quick = trainer_of(X, k, batch, sparse_output="factored", **given)
            slow = seconds_of_steps({"exact": exact}, batch, options.repeats)["exact"]
            many = seconds_of_steps({"factored": quick}, 40 * batch, options.repeats)["factored"]
            fast = many / 40
            name = f"{np.dtype(dtype)}, {'tied' if tied else 'untied'}"
            print(
                f"| {name} | {1e3 * slow:.1f} | {1e3 * fast:.2f} | {slow / fast:.0f} |", flush=True
            )


def gradients_of(ae, rows, n, **options):
    """Return the gradient by W of one step of plain descent on each of n batches, as columns.

    Each step begins at the same weights, and draws zeros of its own.
    """
    found = []
    for first in range(0, n * 128, 128):
        moved = clone(ae).set_params(random_state=first, **options)
        moved._state = ae._state._replace(
            parameters=ae._state.parameters.copy(),
            optimizer_state=np.zeros((0, ae._state.parameters.size), np.float32),
            seed=first,
            solver="sgd",
        )
        vars(moved).update({"n_features_in_": ae.n_features_in_, "_history": []})
        moved.loss_curve_, moved.validation_loss_curve_, moved.n_epochs_ = [], [], 0
        moved.partial_fit(rows(first))
        found.append((ae._state.parameters - moved._state.parameters).astype(np.float64))
    return np.stack(found)


def sampled(options):
    d, k, batch = options.columns, options.components, 128
    X = topics(20 * batch, d, 50)
    X.data[:] = 1
    given = {"output": "bernoulli", "tied": False}
    variants = {"all columns": None, "1 per entry": 1.0, "4 per entry": 4.0, "16 per entry": 16.0}
    solvers = {"adam": {}, "sgd": {"solver": "sgd", "momentum": 0.0}}
    trainings = {
        (name, solver): trainer_of(X, k, batch, reconstruction_sampling=wanted, **given, **more)
        for name, wanted in variants.items()
        for solver, more in solvers.items()
    }
    found = seconds_of_steps(trainings, 4 * batch, options.repeats)
    ae = estimator(16, batch, max_epochs=5, **given).fit(X)
    plain = {"solver": "sgd", "momentum": 0.0, "learning_rate": 1.0}
    batches = gradients_of(ae, lambda first: X[first : first + batch], 20, **plain)
    of_batches = batches.var(axis=0, ddof=1).sum()
    print("| zeros of a row in the loss | adam, ms | sgd, ms | variance added |")
    print("|---|---|---|---|")
    for name, wanted in variants.items():
        again = {"reconstruction_sampling": wanted, **plain}
        draws = gradients_of(ae, lambda first: X[:batch], 20, **again)
        added = draws.var(axis=0, ddof=1).sum() / of_batches
        times = " | ".join(f"{250 * found[name, solver]:.2f}" for solver in solvers)
        print(f"| {name} | {times} | {added:.2f} |", flush=True)


def one_pass(options):
    from sklearn.decomposition import TruncatedSVD

    d, k, n = options.columns, options.components, options.rows
    X = topics(n, d, max(2, int(DENSITY * d)))
    dense = X.toarray()
    ae = estimator(k, 256, max_epochs=1)
    svd = TruncatedSVD(k, random_state=0)
    tasks = {
        "Autoencoder, a pass over sparse rows": lambda: ae.fit(X),
        "Autoencoder, a pass over dense rows": lambda: ae.fit(dense),
        "codes of sparse rows": lambda: ae.transform(X),
        "codes of dense rows": lambda: ae.transform(dense),
        "TruncatedSVD, fit": lambda: svd.fit(X),
        "TruncatedSVD, transform": lambda: svd.transform(X),
    }
    print(f"| {n} rows of {d} columns, {X.nnz / n:.0f} entries each | seconds |\n|---|---|")
    for name, task in tasks.items():
        times = []
        for _ in range(options.repeats):
            start = time.perf_counter()
            task()
            times.append(time.perf_counter() - start)
        print(f"| {name} | {median(times):.3f} |", flush=True)


def curve(options):
    d, k, n = options.wide, options.components, options.rows
    X = topics(n + 256, d, 50)
    train, held_out = X[:n], X[n:]
    momentumless = {"solver": "sgd", "momentum": 0.0}
    rivals = {
        "factored SGD, 0.1": {**momentumless, "sparse_output": "factored", "learning_rate": 0.1},
        "factored SGD, 0.03": {**momentumless, "sparse_output": "factored", "learning_rate": 0.03},
        "exact SGD, 0.1": {**momentumless, "learning_rate": 0.1},
        "exact Adam, 1e-3": {"solver": "adam", "learning_rate": 1e-3},
        "Adam, 4 zeros per entry, 1e-3": {"reconstruction_sampling": 4.0},
    }
    print(f"| budget {options.seconds:g} s | steps | held-out loss |\n|---|---|---|")
    for name, given in rivals.items():
        ae = estimator(k, 128, activation="tanh", max_epochs=10**6, **given)
        training = trainer_of(train, k, 128, activation="tanh", **given)
        ae.set_params(max_epochs=0).fit(train[:256])
        order = np.arange(n)
        training._slice(order[:128], 0.0)  # allocates and packs
        done, end = 0, time.perf_counter() + options.seconds
        while time.perf_counter() < end:
            first = done % (n // 128) * 128
            training._slice(order[first : first + 128], 0.0)
            done += 1
        ae._state.parameters[...] = training.values()[0]
        loss = float(np.mean(ae.reconstruction_error(held_out)))
        print(f"| {name} | {done} | {loss:.4f} |", flush=True)


PARTS = {
    "encoder": encoder,
    "factored": factored,
    "sampled": sampled,
    "pass": one_pass,
    "curve": curve,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--columns", type=int, default=20_000, help="of encoder and pass")
    parser.add_argument("--wide", type=int, default=200_000, help="columns of factored and curve")
    parser.add_argument("--components", type=int, default=128)
    parser.add_argument("--rows", type=int, default=4096, help="of pass and curve")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each solver in curve")
    options = parser.parse_args()
    for part in options.parts:
        print(f"\n### {part}\n")
        PARTS[part](options)


if __name__ == "__main__":
    main()
