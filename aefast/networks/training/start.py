"""Start of training near the linear optimum: parameters from the rows' principal components.

With squared error and a linear activation, the optimum of an autoencoder is the projection on the
leading eigenvectors of the covariance (Baldi & Hornik 1989). A network whose units stay in the
linear part of their activation can begin there:

    W_j = s v_j,   b = −W m (+ an offset for one-sided activations),
    gain_j (or, untied, the decoder's W*_j / W_j) = f / (s² g')

with the eigenvector v_j, column means m, the slope g' of the activation, and s such that the
largest of the pre-activations' standard deviations is SPREAD (in units of `width_of` the
activation), or LINEAR_SPREAD where the output is linear in the decoder's sum: there PCA is the best
that one layer can do on the rows of training (Bourlard & Kamp 1988), and what units bend is lost,
most of all on rows far from the mean. (Layers of a stack have SPREAD, because together they can
bend.) All units have weights of one length, so that one learning rate suits all. The factor f is 1
for squared error; for other distributions, whose links stretch the output, the best of FACTORS on
some of the rows is taken. The visible bias is such that a row equal to m is reconstructed as the
mean.
"""

import warnings
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning

from aefast._base import threads
from aefast._base.krylov import leading_eigenpairs
from aefast._base.moments import statistics_of
from aefast._base.passes import MappedRows, copied_rows
from aefast._base.random import WEIGHTS, random_stream
from aefast._base.sparse_rows import SparseRows
from aefast._base.streams import StreamedRows
from aefast.networks import outputs
from aefast.networks._autoencoder import N_PARAMETER_ARRAYS, activation_table
from aefast.networks.fitted import initial_bias
from aefast.networks.one_pass import mean_loss, one_pass
from aefast.networks.training.constant import constant_of
from aefast.networks.training.hyperparameters import SOLVERS_OF_MATRICES
from aefast.networks.training.parts import MOST_ENTRIES, spread_rows
from aefast.networks.variants import rows_variant

SPREAD = 1.0  # standard deviation of the pre-activations along the leading eigenvector
LINEAR_SPREAD = 0.05  # the same where all columns have the identity as link
OFFSET = 2.0  # standard deviations from the bend of a one-sided activation to its mean
NEAR_THE_BEST = 0.3  # of the rates of a start that is nearly the best of its kind already
LEAST_FACTOR = 2.0**-64  # where smaller ones are tried for want of a loss below the constant's
FACTORS = (2.0**-6, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
JUDGED_ROWS = 1024  # rows on which starts are compared
MOST_OPERATIONS = 2e10  # of a covariance; rows are thinned out beyond
WIDEST = 1024  # columns from which the covariance matrix is not formed
BIAS_SPREAD = 0.1  # rate factor of the visible bias, in spreads of the output
THETA_SPREAD = 0.3  # rate factor of the distributions' parameters, which are logarithms

ACTIVATIONS = {row["name"]: row for row in activation_table()}


def width_of(activation):
    """Return the unit of pre-activations in which an activation bends.

    It is a quarter of the length over which the tangent at 0 crosses the activation's range: 1 for
    the sigmoid, 1/2 for tanh. Activations without bounds have no such length.
    """
    width = activation["high"] - activation["low"]
    return 0.25 * width / activation["slope"] if np.isfinite(width) else 1.0


class Start(NamedTuple):
    """Losses of a start and of the best constant, on the same rows, and the start's factor."""

    loss: float
    constant_loss: float
    factor: float


def starts_near_pca(estimator, network):
    """Return whether the estimator's `init` asks for this start; textbook networks begin at random.

    "auto" is "pca" unless `gain=False` asks for the textbook's network, or the solver's steps have
    one size for all units.
    """
    return len(network.layers) == 1 and layers_start_near_pca(estimator)


def layers_start_near_pca(estimator):
    """Return whether each layer starts near the principal components of what it reads."""
    textbook = estimator.gain is False and getattr(estimator, "tied", True)
    chooses = estimator.init == "auto" and not textbook
    return estimator.init == "pca" or (chooses and estimator.solver not in SOLVERS_OF_MATRICES)


def encoder_rows(X, order, reading):
    """Return some rows as the encoder reads them, in a new array of float32 or float64.

    `SparseRows` become a matrix of SciPy where zeros stay zeros.
    """
    rows = copied_rows(X, order)
    if isinstance(rows, SparseRows):
        rows = reading.encoder_rows(rows)
        return rows.to_csr() if isinstance(rows, SparseRows) else rows
    rows = rows if rows.dtype in (np.float32, np.float64) else rows.astype(np.float64)
    return reading.encoder_rows(rows)


class Spectrum(NamedTuple):
    """Leading eigenpairs of the covariance of rows, without those that are rounding errors."""

    mean: np.ndarray  # (d,)
    values: np.ndarray  # descending
    vectors: np.ndarray  # one eigenvector a row; its largest entry is positive


def rows_for_spectrum(X, train, weight, reading, k, copies=False):
    """Return the rows whose k leading eigenpairs are computed, as the encoder reads them.

    These are X itself where all of it is used and affordable, or copies. With `copies`, parts of
    the rows are to be copied further, so that more than MOST_ENTRIES entries are thinned out.
    """
    n, d = len(X), X.shape[1]
    if isinstance(X, SparseRows):
        per_row = max(1, X.nnz // n) if reading.keeps_zeros(X.absent_missing) else d
        most = min(MOST_OPERATIONS / (50 * per_row * (k + 8)), MOST_ENTRIES // per_row)
        order = spread_rows(train, max(2, int(most)))
        rows = encoder_rows(X, order, reading)
        return rows, None if weight is None else weight[order]
    most = MOST_OPERATIONS / d**2 if d <= WIDEST else MOST_OPERATIONS / (50 * d * (k + 8))
    if isinstance(X, StreamedRows):
        in_memory = not copies  # sums over all rows take one pass
    else:
        in_memory = X.size <= MOST_ENTRIES or (not copies and MappedRows.under(X) is None)
    whole = (
        isinstance(train, int) and train == n <= max(2, int(most)) and not reading.changes_rows()
    )
    if whole and in_memory and d <= WIDEST:
        return X, weight
    order = spread_rows(train, max(2, min(int(most), MOST_ENTRIES // d)))
    rows = encoder_rows(X, order, reading)
    return rows, None if weight is None else weight[order]


def principal_components(X, train, weight, reading, k, n_threads):
    """Return the `Spectrum` of the rows, at most k pairs of it; there may be none."""
    rows, weight = rows_for_spectrum(X, train, weight, reading, k)
    if X.shape[1] > WIDEST:
        return leading_components(rows, weight, k, n_threads)[0]
    return spectrum_of(statistics_of(rows, weight, n_threads=n_threads), k)


def spectrum_of(statistics, k):
    """Return the `Spectrum` of rows from their `SufficientStatistics`, at most k pairs of it."""
    d = statistics.n_features_in_
    if statistics.weight_sum_ == 0:
        return Spectrum(np.zeros(d), np.zeros(0), np.zeros((0, d)))
    covariance = statistics.scatter_ / statistics.weight_sum_
    values, vectors = np.linalg.eigh(covariance)
    return Spectrum(statistics.mean_, *significant_pairs(values[::-1], vectors.T[::-1], k, d))


def leading_components(rows, weight, k, n_threads):
    """Return the `Spectrum` of wide rows, at most k pairs of it, and the total variance.

    rows : ndarray or CSR matrix
    """
    d = rows.shape[1]
    used = rows if weight is None else rows[weight > 0]
    if not used.shape[0] or _are_equal(used):
        mean = dense_row(used, 0) if used.shape[0] else np.zeros(d)
        return Spectrum(mean, np.zeros(0), np.zeros((0, d))), 0.0
    k = min(k, rows.shape[0] - 1, d)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = leading_eigenpairs(rows, k, 1e-2, 30, 0, n_threads, weight=weight)
    if found is None:
        mean = np.asarray(rows.mean(axis=0, dtype=np.float64)).ravel()
        return Spectrum(mean, np.zeros(0), np.zeros((0, d))), 0.0
    return Spectrum(found.mean, *significant_pairs(found.values, found.vectors, k, d)), found.total


def _are_equal(rows):
    """Return whether all rows, dense or sparse, are equal."""
    if issparse(rows):
        return (rows.max(axis=0) - rows.min(axis=0)).nnz == 0
    return (rows == rows[0]).all()


def dense_row(rows, number):
    """Return a row of an ndarray or a CSR matrix as float64."""
    row = rows[[number]]
    return (row.toarray() if issparse(row) else row)[0].astype(np.float64)


def significant_pairs(values, vectors, k, d):
    """Return the leading pairs, with signs such that the largest entry of a vector is positive."""
    rank = int(np.sum(values > max(values[0], 0) * d * np.finfo(np.float64).eps * 16))
    values, vectors = values[: min(k, rank)], vectors[: min(k, rank)]
    if len(values):
        largest = np.take_along_axis(vectors, np.abs(vectors).argmax(1)[:, np.newaxis], axis=1)
        vectors = vectors * np.where(largest < 0, -1.0, 1.0)
    return values, vectors


class Directions(NamedTuple):
    """Directions of a layer's units, and what they mean for the rows.

    Those of many networks have the number of the network as their first dimension.
    """

    mean: np.ndarray  # (d,)
    vectors: np.ndarray  # (k, d), of length 1
    scales: np.ndarray  # (k,), standard deviations of the rows along them
    is_principal: np.ndarray  # (k,)


@threads.with_same_bits
def directions_of(layer, spectrum, seed):
    """Return the leading principal components, and random directions of the rows for more units."""
    k, d = layer.n_components, layer.n_features
    mean, values, vectors = spectrum.mean, spectrum.values[:k], spectrum.vectors[:k]
    n = 0 if layer.top_k else min(k, len(values))  # top-k units take turns: no few are the leading
    random = random_stream(seed, WEIGHTS)
    others = random.normal(size=(k - n, d))
    if len(values):
        others = random.normal(size=(k - n, len(values))) * np.sqrt(values) @ vectors
    length = np.linalg.norm(others, axis=1, keepdims=True)
    others /= np.where(length > 0, length, 1)
    spread = np.sqrt((others @ vectors.T) ** 2 @ values) if len(values) else np.zeros(k - n)
    return Directions(
        mean,
        np.concatenate([vectors[:n], others]),
        np.concatenate([np.sqrt(values[:n]), spread]),
        np.arange(k) < n,
    )


def spread_of(network, linear_spread):
    """Return the standard deviation of pre-activations along the leading eigenvector.

    It is `linear_spread` for one layer whose columns all have the identity as link.
    """
    parts = network.layers[0].output
    is_linear = all(outputs.TABLE[part.distribution]["link"] == "identity" for part in parts)
    return linear_spread if is_linear and len(network.layers) == 1 else SPREAD


@threads.with_same_bits
def place_near_pca(layer, parameters, directions, factor, spread):
    """Write the encoder, and the gain or the decoder's weights, of a start with this factor.

    Parameters and `Directions` are those of one network or of many. Return the pre-activations of
    a row equal to the column means, but for rounding: 0 or (..., k).
    """
    activation = ACTIVATIONS[layer.activation]
    largest = directions.scales.max(axis=-1, initial=0, keepdims=True)
    is_free = layer.gain or not layer.tied  # the decoder's scale does not follow from the encoder's
    scale = np.ones_like(largest)
    if is_free and not activation["one_sided"] and layer.activation != "linear":
        unit = spread * width_of(activation)
        scale = np.divide(unit, largest, out=scale, where=largest > 0)
    if not is_free:
        scale *= np.sqrt(factor)
    parameters.W[...] = scale[..., np.newaxis] * directions.vectors
    offset: Any = 0.0
    if activation["one_sided"] and not layer.top_k:
        offset = activation["linear_from"] + OFFSET * scale * directions.scales
    centre = np.where(np.isfinite(directions.mean), directions.mean, 0.0)
    parameters.b[...] = offset - (parameters.W.astype(np.float64) @ centre[..., np.newaxis])[..., 0]
    if is_free:
        free = np.where(directions.is_principal, factor / (scale**2 * activation["slope"]), 0.0)
        if layer.gain:
            parameters.gain[...] = free
        else:
            parameters.V[...] = free[..., np.newaxis] * parameters.W
    return offset


def _centre_output(network, parameters, means, logarithms, dtype):
    """Set the visible bias: a row equal to the column means is reconstructed as their means.

    Where the encoder reads logarithms, it is the row of their means.
    """
    [layer], [p] = network.layers, parameters
    p.c[...] = 0
    row = np.where(np.isfinite(means), means, 0.0)[np.newaxis].astype(dtype)
    if logarithms is not None:
        row[:, logarithms.offset > 0] = 0
    plain = network.with_output(outputs.plain_output("gaussian"))
    shift = one_pass(plain, parameters, row, "reconstructions", n_threads=1, check=False)[0]
    bias = initial_bias(layer, means)  # a user's link computes in the user's floating-point mode
    with threads.same_bits():
        p.c[...] = bias - shift.astype(np.float64)


@threads.with_same_bits
def _spectrum(layer, X, train, weight, state, n_threads):
    k = layer.n_components
    return principal_components(X, train, weight, state.reading, k, n_threads)


def start_near_pca(state, X, train, weight, means, n_threads, spread, spectrum=None):
    """Write initial parameters into the state of a network of one layer; return a `Start`.

    `spread` is that of `spread_of`. `means` (d,) are the column means of the rows in the model's
    units, those of observed entries where some are missing. The spectrum of the rows in these units
    is computed unless it is given.
    """
    [layer] = state.model.layers
    dtype = state.parameters.dtype
    if spectrum is None:
        spectrum = _spectrum(layer, X, train, weight, state, n_threads)
    directions = directions_of(layer, spectrum, state.seed)
    parameters = state.model.split(state.parameters)
    variant = rows_variant(state)
    rows, weight = judged_rows(X, train, weight, JUDGED_ROWS)
    losses = {}

    def place(factor):
        place_near_pca(layer, parameters[0], directions, factor, spread)
        _centre_output(state.model, parameters, means, state.logarithms, dtype)

    def loss():
        options = {"sample_weight": weight, "variant": variant}
        return mean_loss(state.model, parameters, rows, len(rows), n_threads, **options)

    constant = constant_of(state, means).loss(rows, weight, n_threads)

    def judge(factor):
        place(factor)
        losses[factor] = found = loss()
        return found if np.isfinite(found) else np.inf

    best = min(FACTORS, key=judge)
    # links stretch the output of heavy tails beyond all of FACTORS; towards 0 it is the constant's
    while not losses[best] <= constant and best > LEAST_FACTOR:
        best = best / 16
        judge(best)
    place(best)
    return Start(losses[best], constant, best)


def judged_rows(X, train, weight, n):
    """Return copies of at most n rows for training, and their weights, or None for equal ones."""
    order = spread_rows(train, max(1, min(n, MOST_ENTRIES // X.shape[1])))
    weight = None if weight is None or not weight[order].any() else weight[order]
    return copied_rows(X, order), weight


@threads.with_same_bits
def rate_factors(network, flat, spread=SPREAD):
    """Return factors of the learning rate (n_layers, N_PARAMETER_ARRAYS) that suit the parameters.

    With them a rate of 0.01 moves parameters by about one hundredth of their size in a step of
    Adam: weights and gains in units of their root mean square, hidden biases in those of the
    pre-activations, the visible bias in those of the output. A start that bends less than SPREAD,
    because PCA is the best there, has smaller ones: large steps would leave it.
    """
    factors = [
        rates_of_layer(layer, of_layer, spread) for layer, of_layer in network.layer_views(flat)
    ]
    return np.stack(factors) * (1.0 if spread == SPREAD else NEAR_THE_BEST)


def rates_of_layer(layer, flat, spread):
    """Return factors (..., N_PARAMETER_ARRAYS) for the flat arrays of one layer, or of many."""
    W, V, _, c, _, gain = layer.split(flat)
    activation = ACTIVATIONS[layer.activation]
    slope = activation["slope"]
    decoder = slope * (V if gain is None else V * gain[..., np.newaxis]).astype(np.float64)
    factors = np.ones((*flat.shape[:-1], N_PARAMETER_ARRAYS))
    factors[..., 0], factors[..., 1] = _size(W), _size(V)
    factors[..., 2] = spread * width_of(activation)
    factors[..., 3] = BIAS_SPREAD * np.sqrt((decoder**2).sum(axis=(-2, -1)) / c.shape[-1])
    factors[..., 4] = THETA_SPREAD
    if gain is not None:
        factors[..., 5] = _size(gain[..., np.newaxis])
    return factors


def _size(matrices):
    size = np.sqrt(np.mean(np.square(matrices, dtype=np.float64), axis=(-2, -1)))
    return np.where(size > 0, size, 1.0)
