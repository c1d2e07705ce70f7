"""Small fits with checkpoints, and all that their results consist of but seconds."""

from functools import partial

import numpy as np
from scipy import sparse

from aefast import (
    Autoencoder,
    DictionaryLearning,
    MixtureOfFactorAnalyzers,
    MixtureOfProbabilisticPCA,
    MultinomialAutoencoder,
    StackedAutoencoder,
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
MIXTURE = {"random_state": 0, "max_iter": 25, "tol": 0}
# estimator and rows by what their checkpoints hold
FITS = {
    "autoencoder": (_of(Autoencoder, 3, max_epochs=3, corruption=("masking", 0.2)), ROWS),
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
    "mixture": (partial(MixtureOfFactorAnalyzers, [2, 3], 1, n_init=2, **MIXTURE), ROWS),
    "mixture with gaps": (partial(MixtureOfProbabilisticPCA, 9, 1, **MIXTURE), GAPS),
}


def result(estimator):
    """Return all values of a fitted estimator from which it would go on, and its curves."""
    if hasattr(estimator, "weights_"):
        names = ("weights_", "means_", "components_", "noise_variance_")
        curve = estimator.log_likelihood_curve_, estimator.n_iter_, estimator.sizes_tried_
        return [getattr(estimator, name).tobytes() for name in names], curve
    state = estimator._state
    arrays = [part.tobytes() for part in state if isinstance(part, np.ndarray)]
    numbers = [part for part in state if isinstance(part, (int, float))]
    rows = [row._replace(seconds=None) for row in estimator._history_rows()]
    further = getattr(estimator, "pretraining_loss_curves_", None)
    report = getattr(estimator, "fit_report_", None)
    curves = [list(curve) for curve in estimator._curves()]
    return arrays, numbers, rows, curves, estimator.n_epochs_, further, report
