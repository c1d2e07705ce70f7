"""Detection of anomalies beside scikit-learn's and PyOD's detectors.

``python -m benchmarks.suites.anomaly --folder TABLES``: each rival is fitted to all rows of a table
and scores them. *detect*: area under the ROC curve, average precision, and seconds of fit and
scores, rivals in turns. *labels*: the same of the rows without a label, where a share of the
anomalies has one. Tables are breast_cancer and digits of scikit-learn with one rare class, and
``X``, ``y`` of each .npz file of a folder, as those of ADBench (Han et al. 2022); of ``--rows``
random rows at most, standardised. PyOD's rivals are there where PyOD is installed, its autoencoder
where PyTorch is, too.
"""

import argparse
import importlib.util
import json
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn import datasets
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score

import aefast
from aefast import AnomalyDetector

BASE = "IsolationForest"  # the rival that differences refer to
SHARES = (0.01, 0.05, 0.1)  # of the anomalies, that are labelled
RARE = 20  # one of so many rows of a bundled table is of its rare class


def tables(arguments):
    """Yield name and a function from a seed to rows and labels of each table."""
    if not arguments.only_folder:
        for name, rare in (("breast_cancer", 0), ("digits", 8)):
            yield name, lambda seed, n=name, r=rare: _bundled(n, r, seed)
    for path in sorted(Path(arguments.folder).glob("*.npz")) if arguments.folder else ():
        yield path.stem, lambda seed, p=path: _of_file(p, arguments.rows, seed)


def _bundled(name, rare, seed):
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    others = np.flatnonzero(y != rare)
    few = np.random.default_rng(seed).choice(np.flatnonzero(y == rare), len(others) // RARE, False)
    chosen = np.r_[others, few]
    return _standardised(X[chosen]), y[chosen] == rare


def _of_file(path, most_rows, seed):
    with np.load(path, allow_pickle=False) as arrays:
        X, y = arrays["X"].astype(float), arrays["y"].astype(bool)
    chosen = np.arange(len(X))
    if len(X) > most_rows:
        chosen = np.random.default_rng(seed).choice(len(X), most_rows, replace=False)
    return _standardised(X[chosen]), y[chosen]


def _standardised(X):
    deviation = X.std(axis=0)
    return np.ascontiguousarray((X - X.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0))


def rivals(named=None):
    """Return, by name, functions from rows and a seed to scores, greater ones being stranger."""
    found = {
        "AnomalyDetector": _ours(lambda seed: None),
        BASE: lambda X, seed: -IsolationForest(random_state=seed).fit(X).score_samples(X),
        "Autoencoder": _ours(lambda seed: aefast.Autoencoder(random_state=seed)),
        "ProbabilisticPCA": _ours(lambda seed: aefast.ProbabilisticPCA()),
        "FactorAnalysis": _ours(lambda seed: aefast.FactorAnalysis()),
        "mixture": _ours(lambda seed: aefast.MixtureOfFactorAnalyzers(4, 2, random_state=seed)),
    }
    if importlib.util.find_spec("pyod"):
        for name, module, seeded in (
            ("ECOD", "ecod", False),
            ("IForest", "iforest", True),
            ("KNN", "knn", False),
            ("AutoEncoder", "auto_encoder", True),
        ):
            if name != "AutoEncoder" or importlib.util.find_spec("torch"):
                found[f"PyOD {name}"] = _of_pyod(name, module, seeded)
    return found if named is None else {name: found[name] for name in named}


def _ours(estimator_of):
    def scores(X, seed):
        detector = AnomalyDetector(estimator_of(seed), random_state=seed)
        return -detector.fit(X).score_samples(X)

    return scores


def _of_pyod(name, module, seeded):
    def scores(X, seed):
        made = getattr(importlib.import_module(f"pyod.models.{module}"), name)
        detector = made(random_state=seed) if seeded else made()
        return detector.fit(X).decision_scores_

    return scores


def detect(arguments):
    found = {}
    for name, rows_of in tables(arguments):
        for seed in range(arguments.seeds):
            X, y = rows_of(seed)
            for rival, scores_of in rivals(arguments.rivals).items():
                started = time.perf_counter()
                scores = scores_of(X.copy(), seed)
                seconds = time.perf_counter() - started
                record = roc_auc_score(y, scores), average_precision_score(y, scores), seconds
                found.setdefault(name, {}).setdefault(rival, []).append(record)
                print(json.dumps([name, list(X.shape), rival, seed, *record]), flush=True)
    names = list(rivals(arguments.rivals))
    means = {name: {r: np.mean(of[r], axis=0) for r in names} for name, of in found.items()}
    _print_tables(means, names)


def _print_tables(means, names):
    for place, title in enumerate(("area under the ROC curve", "average precision")):
        print(f"\n| {title} | " + " | ".join(names) + " |")
        print("|---|" + "--:|" * len(names))
        rows = {name: [of[r][place] for r in names] for name, of in means.items()}
        rows["mean"] = np.mean(list(rows.values()), axis=0)
        for name, row in rows.items():
            best = max(row)
            cells = (f"**{v:.3f}**" if v == best else f"{v:.3f}" for v in row)
            print(f"| {name} | " + " | ".join(cells) + " |")
    seconds = [np.mean([of[r][2] for of in means.values()]) for r in names]
    print("| seconds a table | " + " | ".join(f"{s:.3f}" for s in seconds) + " |")
    if BASE in names and len(means) > 1:
        for rival in names:
            gains = np.array([(of[rival] - of[BASE])[:2] for of in means.values()])
            error = gains.std(axis=0, ddof=1) / np.sqrt(len(gains))
            print(f"{rival} - {BASE}: {gains.mean(axis=0).round(3)} +- {error.round(3)}")


def labels(arguments):
    print("| labelled anomalies | area under the ROC curve | average precision | without labels |")
    print("|---|--:|--:|--:|")
    for share in SHARES:
        found = []
        for _, rows_of in tables(arguments):
            for seed in range(arguments.seeds):
                X, y = rows_of(seed)
                anomalies = np.flatnonzero(y)
                n_known = max(1, round(share * len(anomalies)))
                known = np.full(len(X), np.nan)
                known[np.random.default_rng(seed).choice(anomalies, n_known, replace=False)] = 1
                rest = np.isnan(known)
                record = []
                for given in (known, None):
                    detector = AnomalyDetector(random_state=seed).fit(X, anomaly_labels=given)
                    scores = -detector.score_samples(X)[rest]
                    record += [roc_auc_score(y[rest], scores)]
                    record += [average_precision_score(y[rest], scores)]
                found.append(record)
        auc, precision, *plain = np.mean(found, axis=0)
        without = " / ".join(f"{v:.3f}" for v in plain)
        print(f"| {share:.0%} | {auc:.3f} | {precision:.3f} | {without} |", flush=True)


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.suites.anomaly")
    parser.add_argument("mode", nargs="?", choices=("detect", "labels"), default="detect")
    parser.add_argument("--folder", help="folder of .npz files with X and y")
    parser.add_argument("--only-folder", action="store_true", help="without bundled tables")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rivals", nargs="+")
    arguments = parser.parse_args(arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        {"detect": detect, "labels": labels}[arguments.mode](arguments)


if __name__ == "__main__":
    main()
