"""Mixtures beside scikit-learn's GaussianMixture: ``python -m benchmarks.suites.mixtures``.

Two questions. *fits*: the time of a fit of clusters with factors, to each library's default end,
and the mean log-likelihood of rows it has not seen. Each fit runs in a process of its own, and
rivals take turns. *digits*: mean held-out log-likelihood of scikit-learn's digits over folds. Their
grey levels are whole numbers, in which a density can be made as large as one likes; as is usual for
densities of images, uniform noise in [0, 1) is added (Uria, Murray & Larochelle 2013).
"""

import argparse
import json
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
RIVALS = ("factor analysers", "probabilistic PCA", "factor analysers, float32", "sklearn full")


def clustered_rows(n, d=100, n_clusters=10, k=10):
    """Draw n rows of clusters with k factors each, whose means differ less than their rows do."""
    rng = np.random.default_rng(0)
    W, means = rng.normal(size=(n_clusters, k, d)), rng.normal(size=(n_clusters, d))
    rows = np.random.default_rng(1)
    labels, X = rows.integers(0, n_clusters, n), np.empty((n, d))
    for m in range(n_clusters):
        of = labels == m
        X[of] = rows.normal(size=(of.sum(), k)) @ W[m] + means[m]
    return X + 0.5 * rows.normal(size=(n, d))


def model_of(rival, n_mixtures, k, seed=0, n_threads=None, reg=1e-6):
    if rival.startswith("sklearn"):
        from sklearn.mixture import GaussianMixture

        return GaussianMixture(n_mixtures, reg_covar=reg, random_state=seed)
    import aefast

    pca = rival == "probabilistic PCA"
    of = aefast.MixtureOfProbabilisticPCA if pca else aefast.MixtureOfFactorAnalyzers
    return of(n_mixtures, k, random_state=seed, n_threads=n_threads)


def fit_once(rival, n, d, threads, seed):
    """Time one fit and print the result as JSON."""
    from threadpoolctl import threadpool_limits

    X = clustered_rows(n + 5000, d)
    X, held_out = X[:n], X[n:]
    X = X.astype(np.float32) if rival.endswith("float32") else X
    model = model_of(rival, 10, 10, seed, threads)
    with threadpool_limits(threads), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model_of(rival, 1, 1).fit(X[:200])  # imports, threads
        wall, cpu = time.perf_counter(), time.process_time()
        model.fit(X)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    score = float(model.score(held_out))
    print(json.dumps([wall, cpu, model.n_iter_, float(model.lower_bound_), score]))


def fits(n, d, threads, rounds):
    print(f"\n{n} x {d}, 10 clusters of 10 factors; {threads} threads, medians of {rounds}\n")
    print("| rival | s | s of CPU | iterations | log p of its rows | of new rows |")
    print("|---|--:|--:|--:|--:|--:|")
    found = {rival: [] for rival in RIVALS}
    for seed in range(rounds):
        for rival in RIVALS:
            command = [sys.executable, "-m", "benchmarks.suites.mixtures", "--worker", rival]
            command += [str(value) for value in (n, d, threads, seed)]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
            found[rival].append(json.loads(done.stdout))
    for rival, results in found.items():
        wall, cpu, n_iter, fitted, score = np.median(results, axis=0)
        print(f"| {rival} | {wall:.2f} | {cpu:.2f} | {n_iter:g} | {fitted:.2f} | {score:.2f} |")


def digits(n_folds, n_rows, sizes):
    from sklearn.datasets import load_digits
    from sklearn.model_selection import KFold

    X = load_digits().data[:n_rows]
    X = X + np.random.default_rng(0).random(X.shape)
    folds = list(KFold(n_folds, shuffle=True, random_state=0).split(X))
    print(f"\ndigits, {len(X)} x 64, noise added; mean log p of held-out rows, {n_folds} folds\n")
    print("| model | " + " | ".join(f"{M} clusters" for M in sizes) + " |")
    print("|---|" + "--:|" * len(sizes))
    rows = [("sklearn full", 0, 1e-6), ("sklearn full", 0, 0.1)]
    rows += [("factor analysers", k, 0) for k in (5, 10)] + [("probabilistic PCA", 10, 0)]
    for rival, k, reg in rows:
        means = []
        for M in sizes:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                models = [model_of(rival, M, k, reg=reg).fit(X[train]) for train, _ in folds]
            scores = [model.score(X[test]) for model, (_, test) in zip(models, folds, strict=True)]
            means.append(f"{np.mean(scores):.2f}")
        name = f"{rival}, reg_covar={reg}" if reg else f"{rival}, k = {k}"
        print(f"| {name} | " + " | ".join(means) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=["fits", "digits"])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--features", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--digits-rows", type=int, default=1797)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 5, 10, 20])
    parser.add_argument("--worker", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        rival, *numbers = arguments.worker
        fit_once(rival, *map(int, numbers))
        return
    parts = arguments.parts or ["fits", "digits"]
    if "fits" in parts:
        fits(arguments.rows, arguments.features, arguments.threads, arguments.rounds)
    if "digits" in parts:
        digits(arguments.folds, arguments.digits_rows, arguments.sizes)


if __name__ == "__main__":
    main()
