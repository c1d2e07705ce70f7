"""Training that prepares for missing entries: completed rows, and noise.

Let a row be x = (x_o, x_m), of which x_m is missing. An autoencoder that was trained to remove
normal noise of variance σ² has the reconstruction (Alain & Bengio 2014)

    x̂(x) ≈ x + σ² ∂ log p(x) / ∂x

so that feeding back the reconstructions of missing entries, x_m ← x̂_m(x), climbs log p(x_m | x_o).
Without noise there is little that draws back to the mean, and feeding back fits the observed
entries too well. For normal rows of covariance C the best linear x̂ is m + C (C + σ²I)⁻¹ (x − m),
and the fixed point is exactly the conditional mean.

Training needs complete rows: with means in the place of what is missing, the encoder learns about
means. Rows are completed by the same iteration with k principal components, λ the eigenvalues,

    x_m ← (m + Σ_j λ_j / (λ_j + σ²) v_j v_jᵀ (x − m))_m

and m, λ, v computed anew from the completed rows: regularised iterative PCA (Josse & Husson 2012).
"""

import numpy as np

from aefast._base import threads
from aefast._base.passes import MappedRows
from aefast._base.sparse_rows import SparseRows
from aefast._base.streams import StreamedRows
from aefast.networks.outputs import columns_of
from aefast.networks.scaling import in_units
from aefast.networks.training import lbfgs
from aefast.networks.training.parts import MOST_ENTRIES
from aefast.networks.training.start import WIDEST, judged_rows

NOISE = 0.5  # σ in root mean squares of the columns' standard deviations
JUDGED_ROWS = 1024  # rows from which these are computed
LEAST_SHARE = 1e-6  # of a class in completed rows
COMPLETIONS = 50  # iterations by which rows are completed
FEEDBACKS = 20  # passes of reconstructions through the network, at imputation


def prepares_for_gaps(estimator):
    """Return whether parameters leave it to the estimator how missing entries are learned."""
    return (
        estimator.missing == "mask"
        and getattr(estimator, "_completes_rows", False)
        and isinstance(estimator.corruption, str)
        and isinstance(estimator.max_epochs, str)
        and estimator.solver != lbfgs.NAME
    )


def feeds_back(estimator, model):
    """Return whether imputation feeds reconstructions back into the network.

    Probabilities take the place of a class that is missing. Totals of a multinomial are not known,
    and users' distributions may not take means as entries.
    """
    parts = model.layers[0].output
    plain = all(
        part.custom is None and (not part.is_group or part.row_total == 1) for part in parts
    )
    return plain and prepares_for_gaps(estimator)


def prepared_for_gaps(estimator, X, train, weight, state, variant, goes_on):
    """Return the rows and the variant of a fit, which are the given ones where nothing is missing.

    A fit that goes on from fitted parameters completes no rows.
    """
    is_sparse = isinstance(X, SparseRows)
    if variant.fill is None or is_sparse or not prepares_for_gaps(estimator):
        return X, variant
    sigma = noise_of(X, train, weight, state.scaling)
    if feeds_back(estimator, state.model) and not goes_on:
        k = state.model.n_components
        groups = [
            columns_of(part, state.model.n_features)
            for part in state.model.layers[0].output
            if part.is_group
        ]
        X = completed_rows(X, train, weight, state.fill, k, sigma, state.scaling, groups)
    return X, variant._replace(corruption="gaussian", corruption_level=sigma)


@threads.with_same_bits
def noise_of(X, train, weight, scaling=None):
    """Return the standard deviation σ of the noise, 0 where columns do not vary.

    Rows are read in the units of the `Scaling`.
    """
    rows, _ = judged_rows(X, train, weight, JUDGED_ROWS)
    rows = in_units(scaling, rows.astype(np.float64))
    seen = ~np.isnan(rows)
    n = np.maximum(seen.sum(axis=0), 1)
    mean = np.where(seen, rows, 0).sum(axis=0) / n
    with np.errstate(all="ignore"):
        variance = np.where(seen, (rows - mean) ** 2, 0).sum(axis=0) / n
        sigma = NOISE * float(np.sqrt(variance.mean()))
    return sigma if np.isfinite(sigma) else 0.0


@threads.with_same_bits
def completed_rows(X, train, weight, fill, k, sigma, scaling=None, groups=()):
    """Return a copy of X whose rows for training are complete, or X where that is too much.

    They are completed in the units of the `Scaling`, in which the noise is. Completions stay
    between the extremes of the column, so that they are in its domain. Those of `groups`, columns
    of one-hot groups, become probabilities.
    """
    d = X.shape[1]
    if X.size > MOST_ENTRIES or d > WIDEST or MappedRows.under(X) is not None:
        return X
    if isinstance(X, StreamedRows):
        return X
    rows = X if isinstance(train, int) else X[train]
    gaps = np.isnan(rows)
    if not gaps.any() or sigma == 0:
        return X
    share = np.full(len(rows), 1.0)
    if weight is not None:
        share = weight if isinstance(train, int) else weight[train]
    with np.errstate(all="ignore"):
        filled = in_units(scaling, np.where(gaps, fill, rows).astype(np.float64))
        filled = _completed(filled, gaps, share, k, sigma)
    if filled is None:
        return X
    if scaling is not None:
        filled = np.where(gaps, scaling.restore_units(filled), rows)
    for columns in groups:
        part, of_group = filled[:, columns], gaps[:, columns]
        part = np.where(of_group, np.maximum(part, LEAST_SHARE), part)
        filled[:, columns] = np.where(of_group, part / part.sum(axis=1, keepdims=True), part)
    if isinstance(train, int):
        return filled.astype(X.dtype)
    completed = X.copy()
    completed[train] = filled
    return completed


def _completed(filled, gaps, share, k, sigma):
    """Return rows with new values in the gaps, or None if numbers leave the range of floats."""
    low, high = filled.min(axis=0), filled.max(axis=0)
    share = share / share.sum()
    for _ in range(COMPLETIONS):
        mean = share @ filled
        centred = filled - mean
        covariance = (centred * share[:, np.newaxis]).T @ centred
        if not np.isfinite(covariance).all():
            return None
        values, vectors = np.linalg.eigh(covariance)
        values, vectors = values[-k:], vectors[:, -k:]
        shrunk = (vectors * (values / (values + sigma**2))) @ vectors.T
        filled = np.where(gaps, np.clip(mean + centred @ shrunk, low, high), filled)
    return filled if np.isfinite(filled).all() else None
