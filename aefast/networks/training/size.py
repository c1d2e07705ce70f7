"""Number of hidden units that suits a table: n_components="auto" becomes a number here.

A linear model of k factors and equal noise s in all columns (Tipping & Bishop 1999) follows, for
every k, from one decomposition of the covariance of training rows. With its leading eigenvalues
λ_i and eigenvectors u_i the inverse of its covariance is

    P = I/s − Σ_{i<k} (1/s − 1/λ_i) u_i u_iᵀ,

and the best prediction of an entry of a row x from the row's other entries is wrong by
(P x)_j / P_jj. With the second moments T of held-out rows about the training rows' mean, the mean
squared error of all entries is Σ_j (P T P)_jj / P_jj²: a cross-validation of rows and of columns
(compare Bro et al. 2008; Josse & Husson 2012), which rises again where further components are
noise, as the error of reconstructions never does. The number chosen is the smallest one that keeps
all but TOLERATED of what the best one gains on the column means.

Choices follow from the rows alone, never from seeds, times or threads.
"""

import numpy as np
from scipy.sparse import issparse

from aefast._base import threads
from aefast._base.moments import statistics_of
from aefast._base.sparse_rows import SparseRows
from aefast.networks.training.gaps import prepares_for_gaps
from aefast.networks.training.start import (
    WIDEST,
    leading_components,
    rows_for_spectrum,
    spectrum_of,
)

TOLERATED = 0.02  # share of the best number's gain that a smaller one may lose
MOST_UNITS = 256  # chosen along the spectrum, where the covariance matrix is formed
MOST_UNITS_OF_WIDE = 64  # of more than WIDEST columns, whose eigenvectors cost a pass each
FOLDS = 5
MOST_COLUMNS_OF_FOLDS = 256  # of wider tables one fold alone is held out
LEAST_NOISE = 1e-4  # noise variance, as a fraction of the columns' mean variance, at least
OVERCOMPLETE = 2  # units per column of sparse autoencoders
MOST_OVERCOMPLETE = 512
HASHED_ENTRIES = 1 << 17  # of rows that are hashed at a time
UNITS_PER_KEPT = 4  # units for each of top_k, at least


def is_overcomplete(estimator):
    """Return whether units may outnumber columns, because sparsity keeps codes from copying rows.

    Noise does so too, but from a start near PCA more units did not make it fill gaps better.
    """
    return estimator.sparsity is not None or getattr(estimator, "top_k", None) is not None


def overcomplete_size(estimator, n_features):
    """Return the number of units of a sparse autoencoder."""
    size = min(OVERCOMPLETE * n_features, MOST_OVERCOMPLETE)
    return max(size, UNITS_PER_KEPT * int(getattr(estimator, "top_k", None) or 0))


def size_of(estimator, X, train, weight, reading):
    """Return the number of units and the spectrum of the rows, or None where it was not needed.

    Where entries are missing and the network learns to fill gaps, it has as many units as there are
    columns, at most MOST_UNITS: the noise of that training keeps codes from copying, and each of
    nine tables was filled worse with the number that predicts entries best in a linear model.

    The spectrum is that from which `start_near_pca` begins. Dropped units are made up for: with
    `dropout`, k / (1 − dropout) units (Srivastava et al. 2014, section A.1), at most
    MOST_OVERCOMPLETE.
    """
    if is_overcomplete(estimator):
        return overcomplete_size(estimator, X.shape[1]), None
    is_sparse = isinstance(X, SparseRows)
    if reading.fill is not None and prepares_for_gaps(estimator) and not is_sparse:
        return min(X.shape[1], MOST_UNITS), None
    k, spectrum = chosen_size(X, train, weight, reading, estimator.n_threads)
    kept = 1 - float(getattr(estimator, "dropout", 0.0))
    return int(min(np.ceil(k / kept), max(k, MOST_OVERCOMPLETE))), spectrum


@threads.with_same_bits
def chosen_size(X, train, weight, reading, n_threads):
    """Return the number of components that held-out rows support, and the `Spectrum` of the rows.

    `train` has the numbers of the rows for training, or how many there are from the first on.
    """
    d = X.shape[1]
    most = min(d - 1, MOST_UNITS if d <= WIDEST else MOST_UNITS_OF_WIDE)
    rows, weight = rows_for_spectrum(X, train, weight, reading, most + 1, copies=True)
    if d <= WIDEST:
        spectrum, errors = _from_covariance(rows, weight, most, n_threads)
    elif issparse(rows):
        spectrum, errors = _from_leading_of_sparse(rows, weight, most, n_threads)
    else:
        spectrum, errors = _from_leading(rows, weight, most, n_threads)
    return smallest_good(errors, -(-d // 2)), spectrum


def smallest_good(errors, most):
    """Return the smallest k whose gain is all but TOLERATED of the best one up to `most`.

    errors[k] are held-out errors with k components, from 0 on.
    """
    errors = errors[: most + 1]
    if len(errors) < 2 or not np.isfinite(errors).all():
        return 1
    good = errors <= errors.min() + TOLERATED * max(errors[0] - errors.min(), 0.0)
    return max(1, int(np.argmax(good)))


def _weight_of(weight, part):
    return None if weight is None else weight[part]


def folds_of(rows, weight):
    """Return the number of each row's fold, which its entries and the other rows determine.

    Equal rows are in one fold, and the order of the rows does not matter, so that a weight has the
    effect of as many copies of a row, the weight 0 that of none.
    """
    n, d = rows.shape
    factors = np.random.default_rng(0).integers(2**64 - 1, size=d, dtype=np.uint64) | np.uint64(1)
    hashes = (_hashes_of_sparse if issparse(rows) else _hashes)(rows, factors)
    folds = np.zeros(n, np.int64)
    used = np.ones(n, bool) if weight is None else weight > 0
    folds[used] = np.unique(hashes[used], return_inverse=True)[1] % FOLDS
    return folds


def _hashes(rows, factors):
    n, d = rows.shape
    step, hashes = max(1, HASHED_ENTRIES // d), np.empty(n, np.uint64)
    for i in range(0, n, step):
        hashes[i : i + step] = _bits(rows[i : i + step]) @ factors
    return hashes


def _hashes_of_sparse(rows, factors):
    terms = _bits(rows.data) * factors[rows.indices]
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms)])
    return sums[rows.indptr[1:]] - sums[rows.indptr[:-1]]


def _bits(values):
    bits = values.view(f"u{values.dtype.itemsize}").astype(np.uint64)
    bits ^= bits >> np.uint64(32)  # the low bits of whole numbers are 0
    return bits


def _from_covariance(rows, weight, most, n_threads):
    fold_of = folds_of(rows, weight)
    if rows.shape[1] > MOST_COLUMNS_OF_FOLDS:
        fold_of = np.minimum(fold_of, 1)
    parts = []
    for fold in range(fold_of.max() + 1):
        part = np.flatnonzero(fold_of == fold)
        weight_of_part = _weight_of(weight, part)
        parts.append(statistics_of(rows[part], weight_of_part, n_threads=n_threads))
    spectrum = spectrum_of(_sum(parts), rows.shape[1])
    errors = np.zeros(most + 1)
    n_folds = FOLDS if rows.shape[1] <= MOST_COLUMNS_OF_FOLDS else 1
    for fold, held_out in enumerate(parts[:n_folds]):
        train = _sum([part for other, part in enumerate(parts) if other != fold])
        if train is None or train.weight_sum_ == 0 or held_out.weight_sum_ == 0:
            continue
        values, U = np.linalg.eigh(train.covariance())
        values, U = np.maximum(values[::-1], 0.0)[:most], U[:, ::-1][:, :most]
        delta = held_out.mean_ - train.mean_
        T = held_out.covariance() + np.outer(delta, delta)
        total = float(np.trace(train.covariance()))
        error = entry_errors(values, U, total, np.diagonal(T), U.T @ T)
        errors += held_out.weight_sum_ * error
    return spectrum, errors


def _sum(parts):
    total = None
    for part in parts:
        total = part if total is None else total + part
    return total


def _from_leading(rows, weight, most, n_threads):
    is_held_out = folds_of(rows, weight) == 0
    order = np.flatnonzero(~is_held_out)
    found, total = leading_components(rows[order], _weight_of(weight, order), most, n_threads)
    R = rows[is_held_out].astype(np.float64) - found.mean
    share = np.ones(len(R)) if weight is None else weight[is_held_out].astype(np.float64)
    if not len(found.values) or not share.sum() > 0:
        return found, np.zeros(1)
    R *= np.sqrt(share / share.sum())[:, np.newaxis]
    U = found.vectors.T
    return found, entry_errors(found.values, U, total, np.square(R).sum(axis=0), (R @ U).T @ R)


def _from_leading_of_sparse(rows, weight, most, n_threads):
    """Return what `_from_leading` returns, of a CSR matrix, which is centred within products."""
    is_held_out = folds_of(rows, weight) == 0
    order = np.flatnonzero(~is_held_out)
    most = min(most, max(1, len(order) - 1))
    found, total = leading_components(rows[order], _weight_of(weight, order), most, n_threads)
    R = rows[np.flatnonzero(is_held_out)].astype(np.float64)
    share = np.ones(R.shape[0]) if weight is None else weight[is_held_out].astype(np.float64)
    if not len(found.values) or not share.sum() > 0:
        return found, np.zeros(1)
    share, U, mean = share / share.sum(), found.vectors.T, found.mean
    codes = R @ U - mean @ U
    sums = share @ R
    squares = share @ R.multiply(R) - 2 * mean * sums + mean**2
    UT = (R.T @ (codes * share[:, np.newaxis])).T - np.outer(share @ codes, mean)
    return found, entry_errors(found.values, U, total, np.maximum(squares, 0), UT)


def entry_errors(values, U, total, second_moments, UT):
    """Return the summed squared errors of entries predicted from the others, for k = 0, ..., K.

    Parameters
    ----------
    values : ndarray (K,)
        Leading eigenvalues of the training rows' covariance, descending.
    U : ndarray (d, K)
        Their eigenvectors.
    total : float
        Trace of that covariance.
    second_moments : ndarray (d,)
        Diagonal of T, the second moments of held-out rows about the training rows' mean.
    UT : ndarray (K, d)
        Uᵀ T.
    """
    d, K = U.shape
    least = LEAST_NOISE * total / d
    if not total > 0 or K == 0:
        return np.full(K + 1, second_moments.sum())
    k = np.arange(1, K + 1)
    a = 1 / np.maximum((total - np.cumsum(values)) / np.maximum(d - k, 1), least)
    V = U / np.maximum(values, least)
    # P = a I − (a U − V) Uᵀ with V = U/λ, for all k at once: sums over i < k are cumulative.
    diagonal = a - (a * np.cumsum(U * U, axis=1) - np.cumsum(U * V, axis=1))
    linear = a * np.cumsum(U * UT.T, axis=1) - np.cumsum(V * UT.T, axis=1)
    A = UT @ U
    inner, above = np.diagonal(A), np.triu(A, 1)
    U_above, V_above = U @ above, V @ above
    UU = np.cumsum(2 * U * U_above + inner * U * U, axis=1)
    UV = np.cumsum(U * V_above + V * U_above + inner * U * V, axis=1)
    VV = np.cumsum(2 * V * V_above + inner * V * V, axis=1)
    squares = a**2 * (second_moments[:, np.newaxis] + UU) - 2 * a * (UV + linear) + VV
    errors = np.maximum(squares, 0.0) / diagonal**2
    return np.concatenate([[second_moments.sum()], errors.sum(axis=0)])
