"""Ensembles of small autoencoders as detectors, beside the default one.

``python -m benchmarks.suites.anomaly_ensembles --folder TABLES``, tables as in `suites.anomaly`.
*random*: many networks, each on some columns and rows, as DEAN (Böing et al. 2022) and subspace
methods have them; a row's scores are combined as nats, in robust units of each member, or as ranks.
*groups*: as KitNET (Mirsky et al. 2018) columns are grouped by their correlations, a few networks
learn each group, and another one learns the groups' errors. Settings are chosen by leaving tables
out: for each table the one that is best on the others (area + precision), scored on this one.
"""

import argparse
import itertools
import json
import warnings

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, roc_auc_score

from aefast import AnomalyDetector, Autoencoder, AutoencoderEnsemble
from benchmarks.suites.anomaly import tables

FEATURES = (0.25, 0.5, 0.8)
SAMPLES = (64, 256, "auto")
OUTPUTS = ("gaussian", "student_t")
WIDTHS = (3, 6, 10)  # most columns of a group
EPOCHS = 30  # of members; those of DEAN and KitNET are trained briefly, too


def combined(nats):
    """Return scores of rows from surprises (n, members), by name of the combination."""
    middle = np.median(nats, axis=0)
    spread = np.maximum(np.median(np.abs(nats - middle), axis=0), 1e-9)
    ranks = rankdata(nats, axis=0)
    return {"nats": nats.mean(axis=1), "robust": ((nats - middle) / spread).mean(axis=1)} | {
        "ranks": ranks.mean(axis=1)
    }


def random_subsets(X, seed, n_members):
    """Yield names and scores."""
    for share, rows, output in itertools.product(FEATURES, SAMPLES, OUTPUTS):
        width = max(2, round(share * X.shape[1]))
        ensemble = AutoencoderEnsemble(
            n_members,
            max_features=min(width, X.shape[1]),
            max_samples=min(rows, len(X)) if rows != "auto" else rows,
            output=output,
            max_epochs=EPOCHS,
            random_state=seed,
        ).fit(X)
        nats = -ensemble.score_samples(X, per_member=True).astype(float)
        for how, scores in combined(nats).items():
            yield f"random {share} {rows} {output} {how}", scores


def groups_of(X, most):
    """Return lists of at most `most` columns, those of a list correlated."""
    if X.shape[1] <= most:
        return [np.arange(X.shape[1])]
    correlation = np.nan_to_num(np.corrcoef(X, rowvar=False))
    distance = 1 - np.abs(correlation)
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), "average")
    labels = fcluster(tree, max(1, -(-X.shape[1] // most)), "maxclust")
    found = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    return [part for group in found for part in np.array_split(group, -(-len(group) // most))]


def correlated_groups(X, seed):
    for most in WIDTHS:
        errors = []
        for columns in groups_of(X, most):
            part = np.ascontiguousarray(X[:, columns])
            k = max(1, round(0.75 * len(columns)) if len(columns) > 1 else 1)
            k = min(k, max(1, len(columns) - 1))
            network = AutoencoderEnsemble(
                5, n_components=k, max_features=1.0, max_epochs=EPOCHS, random_state=seed
            )
            errors.append(np.sqrt(network.fit(part).reconstruction_error(part)))
        errors = np.column_stack(errors)
        yield f"groups {most} sum", errors.sum(axis=1)
        spread = errors.std(axis=0)
        scaled = (errors - errors.mean(axis=0)) / np.where(spread > 0, spread, 1)
        yield f"groups {most} scaled", scaled.sum(axis=1)
        network = Autoencoder(max(1, errors.shape[1] // 2), random_state=seed).fit(scaled)
        yield f"groups {most} network", network.reconstruction_error(scaled)


def candidates(X, seed, n_members):
    yield "default", -AnomalyDetector(random_state=seed).fit(X).score_samples(X)
    yield from random_subsets(X, seed, n_members)
    yield from correlated_groups(X, seed)


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.suites.anomaly_ensembles")
    parser.add_argument("--folder", help="folder of .npz files with X and y")
    parser.add_argument("--only-folder", action="store_true", help="without bundled tables")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--members", type=int, default=60, help="of random subsets")
    arguments = parser.parse_args(arguments)
    found = {}
    for number, (table, rows_of) in enumerate(tables(arguments)):
        for seed in range(arguments.seeds):
            X, y = rows_of(seed)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                for name, scores in candidates(X, seed, arguments.members):
                    record = [roc_auc_score(y, scores), average_precision_score(y, scores)]
                    found.setdefault(name, {}).setdefault(number, []).append(record)
        print(json.dumps([table, list(X.shape)]), flush=True)
    _print(found)


def _print(found):
    default = np.array([np.mean(of, axis=0) for of in found.pop("default").values()])
    names = list(found)
    values = np.array([[np.mean(of, axis=0) for of in found[name].values()] for name in names])
    print("\n| tried | area under the ROC curve | average precision |\n|---|--:|--:|")
    _row("the default", default)
    order = values.mean(axis=1).sum(axis=1).argsort()[::-1]
    for i in order:
        _row(names[i], values[i])
    for kind in ("random", "groups"):
        of_kind = [i for i, name in enumerate(names) if name.startswith(kind)]
        picked = []
        for table in range(len(default)):
            others = np.delete(values[of_kind], table, axis=1).mean(axis=1).sum(axis=1)
            picked.append(of_kind[int(others.argmax())])
        chosen = values[picked, np.arange(len(default))]
        _row(f"{kind}, chosen on the other tables", chosen)
        gain = chosen - default
        error = gain.std(axis=0, ddof=1) / np.sqrt(len(gain))
        print(f"{kind} - default: {gain.mean(axis=0).round(3)} +- {error.round(3)}")
        print({names[i]: picked.count(i) for i in set(picked)})


def _row(name, values):
    area, precision = values.mean(axis=0)
    print(f"| {name} | {area:.3f} | {precision:.3f} |")


if __name__ == "__main__":
    main()
