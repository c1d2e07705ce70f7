"""Imputation beside scikit-learn's imputers and miceforest.

``python -m benchmarks.suites.imputation --folder TABLES``: a share of the entries of each table is
hidden at random; rivals in turns fill them. *errors*: root-mean-square errors of hidden entries, in
standard deviations of the columns, and seconds of ``fit_transform``. *coverage*: the share of
hidden entries within 90 % intervals, from `transform_std` and from the mean and deviation of draws.
Tables are those of scikit-learn, and ``X`` of each .npz file of a folder, as those of ADBench (Han
et al. 2022); without rows beyond ``--rows`` and columns that are constant.
"""

import argparse
import importlib.util
import json
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn import datasets
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

from aefast import Imputer

OURS = ("auto", "ppca", "fa", "autoencoder")
BEST_OF = "IterativeImputer"  # the rival that ratios refer to
BOUND = 1.645  # of a 90 % interval, in standard deviations


def tables(arguments):
    """Yield name and rows of each table."""
    for name in ("iris", "wine", "diabetes", "breast_cancer", "digits"):
        X = getattr(datasets, f"load_{name}")().data
        if X.shape[1] <= arguments.most_columns:
            yield name, _sampled(X, arguments.rows)
    for path in sorted(Path(arguments.folder).glob("*.npz")) if arguments.folder else ():
        with np.load(path, allow_pickle=False) as arrays:
            X = arrays["X"].astype(float)
        if X.shape[1] <= arguments.most_columns:
            yield path.stem, _sampled(X, arguments.rows)


def _sampled(X, most_rows):
    return X[np.random.default_rng(0).permutation(len(X))[:most_rows]]


def hidden(X, share, seed):
    """Return rows with gaps, the rows in units of the observed entries, and the mask of gaps."""
    gaps = np.random.default_rng(seed).random(X.shape) < share
    holes = np.where(gaps, np.nan, X)
    varies = np.fmax.reduce(holes, axis=0) > np.fmin.reduce(holes, axis=0)
    return holes[:, varies], X[:, varies], gaps[:, varies]


def miceforest(holes):
    """Fill gaps by one data set of five iterations, miceforest's defaults."""
    import miceforest
    import pandas as pd

    frame = pd.DataFrame(holes, columns=[f"x{j}" for j in range(holes.shape[1])])
    kernel = miceforest.ImputationKernel(frame, num_datasets=1, random_state=0)
    kernel.mice(5)
    return kernel.complete_data(0).to_numpy()


def rivals(named=None):
    """Return, by name, functions from rows with gaps to rows without; those named, or all."""
    found = {f"Imputer {method}": Imputer(method).fit_transform for method in OURS}
    found |= {
        "SimpleImputer": SimpleImputer().fit_transform,
        "KNNImputer": KNNImputer().fit_transform,
        "IterativeImputer": IterativeImputer(random_state=0).fit_transform,
    }
    if importlib.util.find_spec("miceforest"):
        found["miceforest"] = miceforest
    return found if named is None else {name: found[name] for name in named}


def rmse(filled, X, gaps):
    """Return the error of hidden entries in standard deviations of their columns."""
    return float(np.sqrt(np.mean((((filled - X) / X.std(axis=0))[gaps]) ** 2)))


def errors(arguments):
    found = {}
    for name, X in tables(arguments):
        for seed in range(arguments.seeds):
            holes, complete, gaps = hidden(X, arguments.share, seed)
            for rival, fill in rivals(arguments.rivals).items():
                started = time.perf_counter()
                filled = fill(holes.copy())
                seconds = time.perf_counter() - started
                record = [name, list(holes.shape), rival, rmse(filled, complete, gaps), seconds]
                found.setdefault(name, {}).setdefault(rival, []).append(record[3:])
                print(json.dumps(record), flush=True)
    _print_errors(found, list(rivals(arguments.rivals)))


def _print_errors(found, names):
    print("\n| table | " + " | ".join(names) + " |")
    print("|---|" + "--:|" * len(names))
    means = {name: {r: np.mean(of[r], axis=0) for r in names} for name, of in found.items()}
    for name, of in means.items():
        best = min(of[rival][0] for rival in names)
        cells = [
            f"**{of[rival][0]:.3f}**" if of[rival][0] == best else f"{of[rival][0]:.3f}"
            for rival in names
        ]
        print(f"| {name} | " + " | ".join(cells) + " |")
    base = BEST_OF if BEST_OF in names else names[0]
    logs = {r: [np.log(of[r][0] / of[base][0]) for of in means.values()] for r in names}
    print(f"| of {base}'s | " + " | ".join(f"{np.exp(np.mean(logs[r])):.3f}" for r in names))
    print(
        "| seconds | " + " | ".join(f"{sum(of[r][1] for of in means.values()):.1f}" for r in names)
    )


def _draws(kind, holes, m):
    """Return m completed tables."""
    if kind == "Imputer":
        return Imputer(n_draws=m).fit(holes).sample(holes, random_state=0)
    return np.stack(
        [
            IterativeImputer(sample_posterior=True, random_state=seed).fit_transform(holes)
            for seed in range(m)
        ]
    )


def coverage(arguments):
    print(
        "\n| table | Imputer, std | autoencoder, std | Imputer, draws | IterativeImputer, draws |"
    )
    print("|---|--:|--:|--:|--:|")
    rows = []
    for name, X in tables(arguments):
        holes, complete, gaps = hidden(X, arguments.share, 0)
        shares = []
        for method in ("auto", "autoencoder"):
            imputer = Imputer(method).fit(holes)
            inside = np.abs(imputer.transform(holes) - complete)
            shares.append(np.mean((inside <= BOUND * imputer.transform_std(holes))[gaps]))
        for kind in ("Imputer", "IterativeImputer"):
            drawn = _draws(kind, holes, arguments.draws)
            half = BOUND * np.sqrt(1 + 1 / arguments.draws) * drawn.std(axis=0, ddof=1)
            shares.append(np.mean((np.abs(drawn.mean(axis=0) - complete) <= half)[gaps]))
        rows.append(shares)
        print(f"| {name} | " + " | ".join(f"{share:.3f}" for share in shares) + " |", flush=True)
    print("| mean | " + " | ".join(f"{share:.3f}" for share in np.mean(rows, axis=0)) + " |")
    off = np.abs(np.array(rows) - 0.9).mean(axis=0)
    print("| mean distance from 0.9 | " + " | ".join(f"{value:.3f}" for value in off) + " |")


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=["errors", "coverage"])
    parser.add_argument("--rivals", nargs="+", choices=list(rivals()))
    parser.add_argument("--most-columns", type=int, default=10**9, help="of a table")
    parser.add_argument("--folder", help="of .npz files with an array X")
    parser.add_argument("--rows", type=int, default=1000, help="at most, of each table")
    parser.add_argument("--share", type=float, default=0.2, help="of entries that are hidden")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--draws", type=int, default=10)
    arguments = parser.parse_args(argv)
    parts = arguments.parts or ["errors", "coverage"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if "errors" in parts:
            errors(arguments)
        if "coverage" in parts:
            coverage(arguments)


if __name__ == "__main__":
    main()
