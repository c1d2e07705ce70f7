"""What is measured: each function yields the rows of one table, its `Measure` says what they are.

Losses are in nats a row. Gaussian losses are half the squared error. "Column means" is the loss of
predicting each column's mean. Seconds are those of the processor, with one thread: results do not
depend on the number of threads, and neighbours on the machine matter less.
"""

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
from sklearn.ensemble import IsolationForest
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold, train_test_split
from sklearn.preprocessing import StandardScaler

from aefast import Autoencoder
from benchmarks.quality import rivals, tables
from benchmarks.quality.rivals import cross_entropy, squared

FOLDS = 5
HIDDEN = 0.2  # share of entries that are hidden for imputation
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)  # C of logistic regressions, chosen on held-out rows


class Data(NamedTuple):
    """All tables of a run, and whether it is a quick one."""

    small: list
    labelled: list
    digits: tables.Images
    mnist: tables.Images | None
    quick: bool

    @property
    def images(self):
        """Images with the numbers of components at which they are compared with PCA."""
        found = [(self.digits, (8, 16))]
        if self.mnist is not None:
            found.append((self.mnist.head(4000), (32, 64)))
        return found


class Measure(NamedTuple):
    """A table of the report: its heading, what it says, its columns, and its rows."""

    title: str
    text: str
    headings: tuple
    rows: Callable[[Data], object]


def sizes_of(table, quick):
    """Return some numbers of components below the rank."""
    r = table.rank
    return sorted({max(1, r // 2)} if quick else {1, max(1, r // 4), max(1, r // 2), r - 1})


def training_loss(data):
    for table in (*data.small, *data.labelled):
        n, d = table.X.shape
        means = squared(table.X, table.X.mean(axis=0))
        excesses, seconds = [], 0.0
        for k in sizes_of(table, data.quick):
            fits = [fit(table.X, k) for fit in (rivals.fit_aefast, rivals.fit_pca)]
            ours, pca = (squared(table.X, fit.reconstruct(table.X)) for fit in fits)
            excesses.append(f"{100 * (ours - pca) / means:.2f} (k = {k})")
            seconds += fits[0].seconds
        yield table.name, f"{n} x {d}", f"{means:.2f}", ", ".join(excesses), f"{seconds:.2f}"


def folds(X, fit, n_folds=FOLDS, loss=squared):
    """Return the held-out losses of the folds, and the seconds of all fits."""
    losses, seconds = [], 0.0
    for train, test in KFold(n_folds, shuffle=True, random_state=0).split(X):
        fitted = fit(X[train])
        losses.append(loss(X[test], fitted.reconstruct(X[test])))
        seconds += fitted.seconds
    return np.array(losses), seconds


def held_out_loss(data):
    for table in (*data.small, *data.labelled[: 2 if data.quick else None]):
        n, d = table.X.shape
        k = max(1, table.rank // 2)
        constant = np.mean(folds(table.X, means_of)[0])
        pca, _ = folds(table.X, lambda X, k=k: rivals.fit_pca(X, k))
        error = pca.std(ddof=1) / np.sqrt(FOLDS)
        cells = []
        others = {"aefast": rivals.fit_aefast} | rivals.all_rivals()
        del others["PCA"]
        for name, fit in others.items():
            if (table not in data.small or data.quick) and name not in ("aefast", "FactorAnalysis"):
                cells.append("")
                continue
            losses, seconds = folds(table.X, lambda X, fit=fit, k=k: fit(X, k))
            cells.append(f"{np.mean(losses - pca):+.3f} ({seconds / FOLDS:.2f} s)")
        if not rivals.has_torch():
            cells.append("not installed")
        yield (
            *(table.name, f"{n} x {d}", f"{k}", f"{constant:.2f}"),
            *(f"{pca.mean():.3f} ± {error:.3f}", *cells),
        )


def means_of(X):
    mean = X.mean(axis=0)
    return rivals.Fitted(lambda Y: mean, None, 0.0, None)


def pixels(data):
    for images, sizes in data.images:
        for k in sizes[:1] if data.quick else sizes:
            pca = squared(images.X_test, rivals.fit_pca(images.X, k).reconstruct(images.X_test))
            fits = {
                "Autoencoder, gaussian": lambda X, k=k: rivals.fit_aefast(X, k),
                "Autoencoder, bernoulli": lambda X, k=k: rivals.fit_aefast(X, k, "bernoulli"),
                "StackedAutoencoder, bernoulli": lambda X, k=k: rivals.fit_stacked(
                    X, k, "bernoulli"
                ),
            }
            if rivals.has_torch() and not data.quick:
                n_epochs = 300 if images is data.digits else 50
                fits["PyTorch, tuned, bernoulli"] = lambda X, k=k, n=n_epochs: rivals.fit_torch(
                    X, k, "bernoulli", n
                )
            for name, fit in fits.items():
                fitted = fit(images.X)
                loss = squared(images.X_test, fitted.reconstruct(images.X_test))
                change = f"{100 * (loss / pca - 1):+.1f} %"
                yield (
                    *(images.name, f"{k}", f"{pca:.4f}", name),
                    *(f"{loss:.4f}", change, f"{fitted.seconds:.2f}"),
                )


def entropy_floor(data):
    images = data.digits
    floor = cross_entropy(images.X_test, images.X_test)
    constant = cross_entropy(images.X_test, images.X.mean(axis=0))
    for name in ("aefast", "PyTorch, tuned"):
        if name != "aefast" and (not rivals.has_torch() or data.quick):
            continue
        fit = rivals.fit_aefast if name == "aefast" else rivals.fit_torch
        fitted = fit(images.X, 64, "bernoulli")
        loss = cross_entropy(images.X_test, fitted.reconstruct(images.X_test))
        fraction = (loss - floor) / (constant - floor)
        yield name, f"{loss:.3f}", f"{floor:.3f}", f"{fraction:.4f}", f"{fitted.seconds:.2f}"


def imputation(data):
    for table in data.small[1:] + data.labelled[: 0 if data.quick else None]:
        if table not in data.small and len(table.X) > 2000:
            continue
        X, d = table.X, table.X.shape[1]
        hidden = np.random.default_rng(0).random(X.shape) < HIDDEN
        holes = np.where(hidden, np.nan, X)

        def error(filled, X=X, hidden=hidden):
            return float(np.sqrt(np.mean((np.asarray(filled) - X)[hidden] ** 2)))

        mean = error(np.broadcast_to(np.nanmean(holes, axis=0), X.shape))
        others = {"KNN": KNNImputer(), "iterative": IterativeImputer(random_state=0)}
        found = {name: error(quietly(other.fit_transform, holes)) for name, other in others.items()}
        best, cells = min(found.values()), []
        for k in (None, max(1, d // 2)):
            fitted = rivals.fit_aefast(holes, k, missing="mask")
            ours = error(fitted.estimator.impute(holes))
            cells.append(f"{ours:.3f} ({ours / best:.2f}; {fitted.seconds:.2f} s)")
        yield table.name, f"{mean:.3f}", *(f"{value:.3f}" for value in found.values()), *cells


def quietly(call, *arguments):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return call(*arguments)


def linear_accuracy(H, y, H_test, y_test):
    """Return the accuracy of logistic regression on standardised columns, C chosen on a fifth."""
    scaler = StandardScaler().fit(H)
    H, H_test = scaler.transform(H), scaler.transform(H_test)
    parts = train_test_split(H, y, test_size=0.2, random_state=0, stratify=y)

    def fitted(C, rows, labels):
        return quietly(LogisticRegression(C=C, max_iter=300).fit, rows, labels)

    best = max(STRENGTHS, key=lambda C: fitted(C, parts[0], parts[2]).score(parts[1], parts[3]))
    return fitted(best, H, y).score(H_test, y_test)


def codes(data):
    for images, _ in data.images:
        for k in (16,) if data.quick else (16, 64) if images is data.digits else (64, 256):
            n = min(k, *images.X.shape)
            sides = {
                "raw pixels": rivals.Fitted(None, np.asarray, 0.0, None),
                f"PCA, {n}": rivals.fit_pca(images.X, n),
                "Autoencoder, gaussian": rivals.fit_aefast(images.X, k),
                "Autoencoder, bernoulli": rivals.fit_aefast(images.X, k, "bernoulli"),
            }
            cells = []
            for side in sides.values():
                H, H_test = side.encode(images.X), side.encode(images.X_test)
                accuracy = linear_accuracy(H, images.y, H_test, images.y_test)
                cells.append(f"{accuracy:.4f}" + f" ({side.seconds:.1f} s)" * (side.seconds > 0))
            yield images.name, f"{k}", *cells


def ten_times(data):
    jobs = [(table.name, table.X, "gaussian", max(1, table.rank // 2)) for table in data.small]
    jobs += [(data.digits.name, data.digits.X, "bernoulli", 64)]
    for name, X, output, k in jobs:
        train, test = next(KFold(FOLDS, shuffle=True, random_state=0).split(X))
        first = rivals.fit_aefast(X[train], k, output)
        n = first.estimator.n_epochs_
        schedule = first.estimator.fit_report_["learning_rate_schedule"]
        longer = {"max_epochs": 10 * n, "tol": 0, "learning_rate_schedule": schedule}
        second = rivals.fit_aefast(X[train], k, output, **longer)
        loss = rivals.LOSSES[output]
        once, often = (loss(X[test], fit.reconstruct(X[test])) for fit in (first, second))
        yield (
            *(name, f"{k}", f"{n}", first.estimator.fit_report_["ended"], f"{once:.4f}"),
            *(f"{often:.4f}", f"{100 * (once - often) / once:+.2f} %"),
            f"{first.seconds:.2f}",
        )


def anomalies(data):
    found = []
    for table in data.labelled[: 2 if data.quick else None]:
        X, y = table.X, table.y
        fits = {
            "default": Autoencoder(random_state=0, n_threads=1),
            "half": Autoencoder(max(1, table.rank // 2), random_state=0, n_threads=1),
        }
        areas, seconds = [], []
        for estimator in fits.values():
            seconds.append(rivals.timed(estimator, X))
            areas.append(roc_auc_score(y, estimator.reconstruction_error(X)))
        pca = rivals.fit_pca(X, max(1, table.rank // 2))
        areas.append(roc_auc_score(y, np.sum((X - pca.reconstruct(X)) ** 2, axis=1)))
        forest = IsolationForest(random_state=0)
        seconds.append(rivals.timed(forest, X))
        areas.append(roc_auc_score(y, -forest.score_samples(X)))
        if find_spec("pyod") is not None and rivals.has_torch():
            areas.append(roc_auc_score(y, pyod_scores(X)))
        else:
            areas.append(np.nan)
        found.append(areas)
        yield table.name, *map(shown, areas), *(f"{value:.2f}" for value in seconds)
    if found:
        yield "mean", *map(shown, np.mean(found, axis=0)), "", "", ""


def pyod_scores(X):
    from pyod.models.auto_encoder import AutoEncoder

    return quietly(AutoEncoder(verbose=0, random_state=0).fit, X).decision_scores_


def shown(area):
    return "not installed" if np.isnan(area) else f"{area:.3f}"


def whole_mnist(data):
    """MNIST's 60 000 rows, k = 64, Bernoulli: one fit."""
    if data.mnist is None or data.quick:
        return
    images = data.mnist
    fitted = rivals.fit_aefast(images.X, 64, "bernoulli")
    loss = cross_entropy(images.X_test, fitted.reconstruct(images.X_test))
    error = squared(images.X_test, fitted.reconstruct(images.X_test))
    pca = squared(images.X_test, rivals.fit_pca(images.X, 64).reconstruct(images.X_test))
    report = fitted.estimator.fit_report_
    yield (
        *(images.name, f"{fitted.seconds:.1f}", f"{report['n_epochs']}", report["ended"]),
        *(f"{loss:.3f}", f"{error:.4f}", f"{pca:.4f}"),
    )


MEASURES = {
    "training": Measure(
        "Training loss beside PCA's",
        "Excess of the final training loss over PCA's with as many components, in % of the loss of "
        "the column means. No network with one layer and linear output can be below 0 (Bourlard & "
        "Kamp 1988). Goal: at most 1.",
        ("table", "rows x columns", "column means", "excess, %", "s of all fits"),
        training_loss,
    ),
    "held-out": Measure(
        "Held-out loss beside PCA's",
        "Five folds, k half the rank. PCA's loss with its standard error over the folds; of the "
        "others the mean difference to PCA's, and the seconds of one fit. Goal: at most one "
        "standard error above where n is at least 10 d.",
        (
            *("table", "rows x columns", "k", "column means", "PCA", "aefast"),
            *("FactorAnalysis", "MLPRegressor", "PyTorch, tuned"),
        ),
        held_out_loss,
    ),
    "pixels": Measure(
        "Squared error of images",
        "Half the squared error of held-out images. Goal: 10 % below PCA's, which a linear output "
        "of one layer cannot reach.",
        ("images", "k", "PCA", "method", "error", "beside PCA", "s"),
        pixels,
    ),
    "entropy": Measure(
        "Digits, cross-entropy",
        "Held-out excess over the entropy floor as a fraction of the mean predictor's, 64 "
        "components. Goal: at most 0.065 in less than 2 s.",
        ("method", "loss", "floor", "fraction", "s"),
        entropy_floor,
    ),
    "mnist": Measure(
        "MNIST, all 60 000 rows",
        "64 components, Bernoulli: held-out cross-entropy and half the squared error. Goal: at "
        "most 60 s.",
        ("images", "s", "passes", "ended", "cross-entropy", "error", "PCA's error"),
        whole_mnist,
    ),
    "imputation": Measure(
        "Imputation",
        "Root mean squared error of the 20 % of all entries that are hidden, in standard "
        "deviations; in brackets over the better one of the two imputers, and the seconds of the "
        "fit. Goal: at most 1.1 times it.",
        ("table", "mean", "KNNImputer", "IterativeImputer", "aefast", "aefast, k = d/2"),
        imputation,
    ),
    "codes": Measure(
        "Linear classifier on codes",
        "Held-out accuracy of logistic regression on standardised columns. Goals: on MNIST at "
        "least PCA's at k = 64, raw pixels' at k = 256.",
        ("images", "k", "raw pixels", "PCA", "codes, gaussian", "codes, bernoulli"),
        codes,
    ),
    "steps": Measure(
        "Ten times the steps",
        "Held-out loss of a fit that ended by itself, and of one with ten times its passes. Goal: "
        "an improvement below 1 %.",
        ("table", "k", "passes", "ended", "loss", "ten times", "improvement", "s"),
        ten_times,
    ),
    "anomalies": Measure(
        "Anomalies",
        "ROC-AUC of the reconstruction error of the rows of training.",
        (
            *("table", "aefast", "aefast, k = half", "PCA, k = half", "IsolationForest", "PyOD"),
            *("s", "s, k = half", "s, forest"),
        ),
        anomalies,
    ),
}
