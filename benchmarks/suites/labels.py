"""Test errors of classifiers on codes: ``python -m benchmarks.suites.labels --mnist mnist.npz``.

*mnist*: 60 000 images for training and 10 000 for testing. A stacked denoising autoencoder with
three layers of 1000 units, fine-tuned on labels (Vincent et al. 2010), and k-sparse codes of 1000
units, 25 of them kept, under a logistic regression and fine-tuned (Makhzani & Frey 2013).
*basic*: 10 000 images for training, 2000 for the choice of the epoch and 50 000 for testing, as in
the problem of this name (Larochelle et al. 2007; its rows are not at hand: these are the first
62 000 of the permutation ``numpy.random.default_rng(draw)`` of all 70 000 of MNIST, with --draw).
*few*: labels of 10 images of each class, the first of a permutation, and no others; errors are
those of the 10 000 for testing. Losses are those of labels, and of labels and reconstructions.

scikit-learn's multilayer perceptron and logistic regression stand beside. Without --mnist the
images are scikit-learn's digits, cut in proportion, and units a tenth: a check that all of it runs.
--records keeps each result in a file of JSON lines, and what is there is not computed again.
"""

import argparse
import datetime
import json
import time
import warnings
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline

from aefast import Autoencoder, AutoencoderClassifier
from benchmarks.harness import records
from benchmarks.harness.machine import describe
from benchmarks.harness.report import markdown_lines
from benchmarks.quality import tables

# per cent of test rows, as published: for other draws of rows than ours where these are drawn
PUBLISHED = {
    ("mnist", "k-sparse codes, logistic"): "1.35 (Makhzani & Frey 2013)",
    ("basic", "stacked denoising"): "2.84 (Vincent et al. 2010)",
}
BASIC = (10_000, 2_000, 50_000)
LABELS_PER_CLASS = 10
K_SPARSE = 25 / 1000  # share of the units that a row keeps


# ---- problems: rows and labels for training, for validation (or None), and for testing ----


def mnist(images, draw):
    return images.X, images.y, None, None, images.X_test, images.y_test


def basic(images, draw):
    X = np.concatenate([images.X, images.X_test])
    y = np.concatenate([images.y, images.y_test])
    order = np.random.default_rng(draw).permutation(len(X))
    sizes = [size * len(X) // 70_000 for size in BASIC]
    ends = np.cumsum([0, *sizes])
    parts = [order[begin:end] for begin, end in pairwise(ends)]
    return tuple(array[part] for part in parts for array in (X, y))


def few(images, draw):
    order = np.random.default_rng(draw).permutation(len(images.X))
    y = np.full(len(order), -1)
    for label in np.unique(images.y):
        kept = order[images.y[order] == label][:LABELS_PER_CLASS]
        y[kept] = label
    return images.X, y, None, None, images.X_test, images.y_test


PROBLEMS = {"mnist": mnist, "basic": basic, "few": few}

# ---- models: functions of (units, passes, seed) that return an estimator ----


def stacked(units, passes, seed, **options):
    given = {
        "activation": "sigmoid",
        "output": "bernoulli",
        "corruption": ("masking", 0.25),
        "gain": False,
        "pretrain_epochs": passes,
        "max_epochs": 2 * passes,
        "learning_rate": 1e-3,
        "learning_rate_schedule": "cosine",
        "batch_size": 100,
        "tol": 0,
        "random_state": seed,
    }
    return AutoencoderClassifier((units,) * 3, **(given | options))


def k_sparse(units, passes, seed):
    kept = max(1, round(K_SPARSE * units))
    options = {"top_k": kept, "activation": "linear", "tied": True, "max_epochs": passes}
    options |= {"learning_rate": 1e-3, "batch_size": 100, "init": "glorot", "tol": 0}
    return Autoencoder(units, scale=None, random_state=seed, **options)


def k_sparse_and_logistic(units, passes, seed):
    return make_pipeline(k_sparse(units, passes, seed), LogisticRegression(max_iter=passes))


def k_sparse_tuned(units, passes, seed):
    encoder = k_sparse(units, passes, seed)
    return AutoencoderClassifier(encoder=encoder, max_epochs=passes, random_state=seed)


def defaults(units, passes, seed, **options):
    return AutoencoderClassifier(random_state=seed, **options)


def two_layers(units, passes, seed):
    """Return the default with given layers and few passes."""
    epochs = {"pretrain_epochs": max(1, passes // 10), "max_epochs": max(1, passes * 3 // 5)}
    return AutoencoderClassifier((units * 4 // 5, units * 2 // 5), random_state=seed, **epochs)


def perceptron(units, passes, seed):
    return MLPClassifier((units,) * 3, max_iter=passes, random_state=seed)


MODELS = {
    "stacked denoising": stacked,
    "stacked denoising, joint": partial(stacked, reconstruction_weight=1e-3),
    "k-sparse codes, logistic": k_sparse_and_logistic,
    "k-sparse codes, fine-tuned": k_sparse_tuned,
    "two layers": two_layers,
    "AutoencoderClassifier()": defaults,
    "AutoencoderClassifier(), joint": partial(defaults, reconstruction_weight=1e-2),
    "MLPClassifier": perceptron,
    "LogisticRegression": lambda units, passes, seed: LogisticRegression(max_iter=passes),
}
JOINT = ("stacked denoising, joint", "AutoencoderClassifier(), joint")


def is_run(problem, name):
    """Return whether a model belongs to a problem: rows without labels ask for a joint loss."""
    return (name in JOINT) <= (problem == "few")


def measure(problem, name, images, options):
    """Return the record of one fit."""
    X, y, X_val, y_val, X_test, y_test = PROBLEMS[problem](images, options.draw)
    model = MODELS[name](options.units, options.passes, options.seed)
    takes_all = isinstance(model, AutoencoderClassifier)
    if not takes_all:
        X, y = X[y != -1], y[y != -1]
    validation = {}
    if X_val is not None and takes_all:
        model.set_params(early_stopping=True, n_epochs_no_change=options.passes)
        validation = {"X_val": X_val, "y_val": y_val}
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y, **validation)
    seconds = time.perf_counter() - began
    wrong = model.predict(X_test) != y_test
    return {
        "problem": problem,
        "model": name,
        "setting": setting_of(options),
        "per_cent": 100 * float(np.mean(wrong)),
        "n_test": len(y_test),
        "seconds": seconds,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": describe(),
    }


def setting_of(options):
    names = ("units", "passes", "draw", "seed")
    return {name: getattr(options, name) for name in names} | {"rows": options.images}


def known(options):
    """Return the records of a file that were measured with these options."""
    if options.records is None or not Path(options.records).exists():
        return []
    lines = Path(options.records).read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    return [one for one in found if one["setting"] == setting_of(options)]


def table(found, published):
    """Return the lines of the report, with what was published of these images."""
    rows = []
    for one in found:
        share = one["per_cent"] / 100
        error = 196 * np.sqrt(share * (1 - share) / one["n_test"])
        result = f"{one['per_cent']:.2f} ± {error:.2f}"
        rows.append([one["problem"], one["model"], result, f"{one['seconds']:.0f}"])
        rows[-1].append(published.get((one["problem"], one["model"]), ""))
    headings = ["problem", "model", "wrong, per cent", "seconds", "published"]
    return markdown_lines(headings, rows)


def parse(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--mnist", metavar="FILE", help=".npz file with x_train, y_train, x_test and y_test")
    add("--problems", nargs="+", choices=PROBLEMS, default=[*PROBLEMS])
    add("--models", nargs="+", choices=MODELS, default=[*MODELS])
    add("--units", type=int, help="hidden units of a layer (1000; 100 of digits)")
    add("--passes", type=int, default=40, help="of pre-training; twice as many of fine-tuning")
    add("--draw", type=int, default=0, help="seed of the permutation of images")
    add("--seed", type=int, default=0, help="random_state of models")
    add("--records", metavar="FILE", help="JSON lines to keep results in, and to go on from")
    return parser.parse_args(arguments)


def main():
    options = parse()
    images = tables.mnist(options.mnist) if options.mnist else tables.digits_in_parts()
    options.units = options.units or (1000 if options.mnist else 100)
    options.images = images.name
    found = known(options)
    done = {(one["problem"], one["model"]) for one in found}
    for problem in options.problems:
        for name in options.models:
            if (problem, name) in done or not is_run(problem, name):
                continue
            one = measure(problem, name, images, options)
            print(f"{problem}, {name}: {one['per_cent']:.2f} %, {one['seconds']:.0f} s", flush=True)
            found.append(one)
            if options.records is not None:
                records.append(options.records, one)
    wanted = [one for one in found if one["problem"] in options.problems]
    wanted = [one for one in wanted if one["model"] in options.models]
    print("\n".join(table(wanted, PUBLISHED if options.mnist else {})))


if __name__ == "__main__":
    main()
