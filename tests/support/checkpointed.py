"""Small fits with checkpoints, and all that their results consist of but seconds."""

import json
from functools import partial

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file
from scipy import sparse

from aefast import (
    AnomalyDetector,
    Autoencoder,
    AutoencoderEnsemble,
    DictionaryLearning,
    FactorAnalysis,
    Imputer,
    ItemAutoencoder,
    MixtureOfFactorAnalyzers,
    MixtureOfProbabilisticPCA,
    MultinomialAutoencoder,
    ProbabilisticPCA,
    StackedAutoencoder,
    stream,
)

ROWS = np.random.default_rng(0).random((230, 6))
PLATEAU = {
    "solver": "sgd",
    "learning_rate": 0.05,
    "learning_rate_schedule": "plateau",
    "tol": 0.05,
    "n_epochs_no_change": 1,
    "max_epochs": 6,
}
SMALL = {"random_state": 0, "batch_size": 50}


def _of(cls, *arguments, **given):
    return lambda **options: cls(*arguments, **(SMALL | given | options))


GAPS = ROWS.copy()
GAPS[::5, 1] = np.nan
FACTORED = {"solver": "sgd", "momentum": 0, "scale": None, "learning_rate": 0.1}
WIDE = np.random.default_rng(1).random((40, 2000)).astype(np.float32)
MIXTURE = {"random_state": 0, "max_iter": 25, "tol": 0}
# longer than a quarter of the memory, so that it is read window by window
STREAMED = stream(np.array_split(np.tile(ROWS, (4, 1)), 7), memory=1 << 16)
# estimator and rows by what their checkpoints hold
FITS = {
    "autoencoder": (_of(Autoencoder, 3, max_epochs=3, corruption=("masking", 0.2)), ROWS),
    "streamed": (_of(Autoencoder, 3, max_epochs=3, early_stopping=True, tol=0), STREAMED),
    "streamed dictionary": (_of(DictionaryLearning, 4, alpha=0.1, max_epochs=2), STREAMED),
    "budget": (_of(Autoencoder, 2, max_epochs="auto", tol=0.1, batch_size=230), ROWS),
    "plateau": (_of(Autoencoder, 3, early_stopping=True, **PLATEAU), ROWS),
    "dead units": (_of(Autoencoder, 20, top_k=2, max_epochs=3), ROWS.astype(np.float32)),
    "stacked": (
        _of(StackedAutoencoder, (4, 2), pretrain_epochs=2, max_epochs=2, early_stopping=True),
        ROWS,
    ),
    "lbfgs": (
        _of(Autoencoder, 3, init="glorot", solver="lbfgs", max_epochs=5, tol=0),
        ROWS.astype(np.float32),
    ),
    "stacked lbfgs": (
        _of(StackedAutoencoder, (4, 2), solver="lbfgs", pretrain_epochs=2, max_epochs=3, tol=0),
        ROWS,
    ),
    "dictionary": (
        _of(DictionaryLearning, 7, alpha=0.1, max_epochs=4, early_stopping=True, tol=0),
        ROWS,
    ),
    "sparse rows": (
        _of(MultinomialAutoencoder, 3, max_epochs=3, early_stopping=True),
        sparse.csr_matrix(np.where(ROWS > 0.6, ROWS, 0)),
    ),
    "factored": (
        _of(Autoencoder, 3, sparse_output="factored", tied=False, max_epochs=5, **FACTORED),
        sparse.csr_matrix(np.where(ROWS > 0.6, ROWS, 0)),
    ),
    "ensemble": (_of(AutoencoderEnsemble, 4, n_components=2, max_epochs=3), ROWS),
    "ensemble with a budget": (
        partial(AutoencoderEnsemble, 3, n_components=2, tol=0.1, random_state=0),
        ROWS[:90].astype(np.float32),
    ),
    "anomalies": (partial(AnomalyDetector, Autoencoder(2, max_epochs=3, **SMALL)), ROWS),
    "anomalies by factors": (partial(AnomalyDetector, FactorAnalysis(1)), ROWS),
    "imputer": (partial(Imputer, n_draws=1, max_iter=12), GAPS[:60]),
    "imputer by networks": (
        partial(Imputer, "autoencoder", n_components=2, n_draws=1),
        GAPS[:12].astype(np.float32),
    ),
    "factors": (partial(FactorAnalysis, 2, min_noise=1e-3), ROWS),
    "wide factors": (partial(FactorAnalysis, 2, max_iter=4), WIDE),
    "factors by minres": (partial(FactorAnalysis, 2, method="minres"), ROWS),
    "number of factors": (partial(FactorAnalysis, "cv", rotation="promax"), ROWS),
    "factors with gaps": (partial(FactorAnalysis, 2, max_iter=14), GAPS),
    "number of factors with gaps": (partial(FactorAnalysis, "bic", max_iter=12), GAPS),
    "krylov": (partial(ProbabilisticPCA, 2, svd_solver="krylov", tol=1e-12), WIDE),
    "components with gaps": (partial(ProbabilisticPCA, 2, tol=0, max_iter=25), GAPS),
    "number of components with gaps": (partial(ProbabilisticPCA, "cv", max_iter=8), GAPS),
    "items": (
        partial(ItemAutoencoder, n_components=2, max_iter=5),
        sparse.csr_matrix((ROWS > 0.6).astype(np.float32)),
    ),
    "mixture": (partial(MixtureOfFactorAnalyzers, [2, 3], 1, n_init=2, **MIXTURE), ROWS),
    "mixture with gaps": (partial(MixtureOfProbabilisticPCA, 9, 1, **MIXTURE), GAPS),
}


class Stopped(Exception):
    """Raised by a test to end a fit."""


def header_and_tensors(path):
    with safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["aefast"]), {
            name: file.get_tensor(name) for name in file.keys()
        }


def damaged(path, change):
    header, tensors = header_and_tensors(path)
    change(header, tensors)
    save_file(tensors, path, {"aefast": json.dumps(header)})


def result(estimator):
    """Return all values of a fitted estimator from which it would go on, and its curves."""
    if isinstance(estimator, ItemAutoencoder):
        return estimator.components_.tobytes(), estimator.loss_curve_, estimator.n_iter_
    if isinstance(estimator, (FactorAnalysis, ProbabilisticPCA)):
        names = ("mean_", "components_", "noise_variance_")
        values = [np.asarray(getattr(estimator, name)).tobytes() for name in names]
        return values, estimator.log_likelihood_curve_, estimator.n_iter_
    if hasattr(estimator, "weights_"):
        names = ("weights_", "means_", "components_", "noise_variance_")
        curve = estimator.log_likelihood_curve_, estimator.n_iter_, estimator.sizes_tried_
        return [getattr(estimator, name).tobytes() for name in names], curve
    if isinstance(estimator, AnomalyDetector):
        scores = estimator.score_samples(ROWS).tobytes(), estimator.offset_
        return scores, result(estimator.estimator_)
    if isinstance(estimator, Imputer):
        drawn = estimator.sample(GAPS, random_state=0)
        arrays = estimator.transform(GAPS), estimator.transform_std(GAPS), drawn
        return [array.tobytes() for array in arrays], estimator.n_iter_, estimator.method_
    if isinstance(estimator, AutoencoderEnsemble):
        values = estimator._state.values.tobytes(), estimator._state.progress.tolist()
        return values, [curve.tolist() for curve in estimator.loss_curves_], estimator.fit_report_
    state = estimator._state
    arrays = [part.tobytes() for part in state if isinstance(part, np.ndarray)]
    numbers = [part for part in state if isinstance(part, (int, float))]
    rows = [row._replace(seconds=None) for row in estimator._history_rows()]
    further = getattr(estimator, "pretraining_loss_curves_", None)
    report = getattr(estimator, "fit_report_", None)
    curves = [list(curve) for curve in estimator._curves()]
    return arrays, numbers, rows, curves, estimator.n_epochs_, further, report
