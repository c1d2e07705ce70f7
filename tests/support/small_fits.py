"""A small fit of every kind of estimator, for tests that inject faults into fits."""

import warnings
from typing import Any, NamedTuple

import numpy as np
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

import aefast


class SmallFit(NamedTuple):
    """Estimator, and two tables of different widths to fit it to."""

    make: Any
    rows: np.ndarray
    others: np.ndarray
    learns: bool  # whether training goes through states between the first and the last

    def fitted(self, rows):
        return fit(self.make(), rows)


def fit(estimator, rows):
    """Fit, without warnings of few iterations."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return estimator.fit(rows)


def _tables(missing=False):
    tables = [np.random.default_rng(d).random((20 + d, d)) for d in (6, 4)]
    for table in tables:
        table[1, 1] = np.nan if missing else table[1, 1]
    return tables


def _of(cls, *arguments, missing=False, learns=False, **options):
    if learns:
        options |= {"random_state": 0, "batch_size": 13}
    return SmallFit(lambda: cls(*arguments, **options), *_tables(missing), learns)


SMALL_FITS = {
    "autoencoder": _of(aefast.Autoencoder, 3, max_epochs=2, learns=True),
    "early stopping": _of(aefast.Autoencoder, 3, max_epochs=2, early_stopping=True, learns=True),
    "untied": _of(aefast.Autoencoder, 3, max_epochs=1, tied=False, learns=True),
    "lbfgs": _of(aefast.Autoencoder, 3, max_epochs=2, solver="lbfgs", learns=True),
    "stacked": _of(aefast.StackedAutoencoder, (3, 2), max_epochs=1, pretrain_epochs=1, learns=True),
    "ensemble": _of(
        aefast.AutoencoderEnsemble, 2, n_components=2, max_epochs=2, random_state=0, learns=True
    ),
    "dictionary": _of(aefast.DictionaryLearning, 3, max_epochs=2, learns=True),
    "ppca": _of(aefast.ProbabilisticPCA, 2),
    "krylov": _of(aefast.ProbabilisticPCA, 2, svd_solver="krylov"),
    "ppca missing": _of(aefast.ProbabilisticPCA, 2, max_iter=2, missing=True),
    "factors": _of(aefast.FactorAnalysis, 1, max_iter=2),
    "factors missing": _of(aefast.FactorAnalysis, 1, max_iter=1, missing=True),
    "mixture": SmallFit(
        lambda: aefast.MixtureOfFactorAnalyzers(2, 1, max_iter=2, random_state=0), *_tables(), True
    ),
    "mixture missing": SmallFit(
        lambda: aefast.MixtureOfProbabilisticPCA(2, 1, max_iter=2, random_state=0),
        *_tables(missing=True),
        True,
    ),
    "imputer": _of(aefast.Imputer, n_components=2, max_iter=2, n_draws=1, missing=True),
    "whitening": _of(aefast.Whitening),
    "marginalized": _of(aefast.MarginalizedAutoencoder),
    "items": _of(aefast.ItemAutoencoder, 1.0),
    "items low rank": _of(aefast.ItemAutoencoder, n_components=2, max_iter=2),
}


def is_fitted(estimator):
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    return True


def codes(estimator, fit_of):
    """Return the bytes of a fitted estimator's codes for the rows of its width."""
    same_width = estimator.n_features_in_ == fit_of.rows.shape[1]
    H = np.asarray(estimator.transform(fit_of.rows if same_width else fit_of.others))
    assert np.isfinite(H).all()
    return H.tobytes()
