"""Start of many networks at once: statistics of their rows, units of their columns, initial values.

Each network begins as an `Autoencoder` fitted to its rows alone would: random weights by "glorot"
have the same bits; the start near the principal components takes all eigenvectors in one call, and
one factor of the output's scale for all networks, chosen on a few of them.
"""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from aefast._base import _runtime, threads
from aefast._base.errors import bad_row_error
from aefast._base.random import WEIGHTS, random_stream, rekey
from aefast.networks import outputs
from aefast.networks._autoencoder import BAD_ROWS, survey
from aefast.networks.fitted import FittedState, draw_weights, n_optimizer_states
from aefast.networks.network import single_layer
from aefast.networks.one_pass import one_pass
from aefast.networks.outputs import plain_output
from aefast.networks.reading import Reading, find_logarithms
from aefast.networks.scaling import (
    AUTO,
    COMMON,
    STANDARD,
    Scaling,
    find_scaling,
    real_columns,
    scaling_from,
)
from aefast.networks.training.start import (
    ACTIVATIONS,
    NEAR_THE_BEST,
    SPREAD,
    Directions,
    Spectrum,
    directions_of,
    place_near_pca,
    rates_of_layer,
    significant_pairs,
    start_near_pca,
)

SURVEYED_ROWS = 4096  # of each network, from which its covariance is computed
JUDGED_NETWORKS = 4  # on which the output's scale is chosen
MOST_ENTRIES = 1 << 24  # of covariance matrices in memory at a time


class Survey(NamedTuple):
    """Statistics of the rows of each network, by column; all arrays are float64."""

    means: np.ndarray  # (B, d), 0 where no entry is present
    deviations: np.ndarray
    low: np.ndarray
    high: np.ndarray
    covariances: np.ndarray | None  # (B, d, d)


def survey_rows(X, rows, dtype, n_threads, *, output, name, covariances):
    """Check the rows of groups, and return their `Survey`. Raises ValueError for a bad entry."""
    domain = outputs.domain_of(output, X.shape[1])
    work = 4.0 * len(rows.numbers) * X.shape[1] * (X.shape[1] if covariances else 1)
    n_threads = min(len(rows.counts), threads.effective_n_threads(n_threads, work))
    status, found = survey(
        X,
        (rows.begins, rows.numbers),
        domain,
        np.empty(0, dtype),
        n_threads,
        covariances=covariances,
        scatter_rows=SURVEYED_ROWS,
    )
    if status & BAD_ROWS:
        raise bad_row_error(X, name, domain, dtype, output=output)
    del found["counts"]
    return Survey(**found)


# ---- units ----


class Units(NamedTuple):
    """How each network reads its columns; None: as they are."""

    scalings: list[Scaling | None]
    logarithms: list[Any]

    def reading(self, b):
        return Reading(None, self.scalings[b], self.logarithms[b])


def units_of_groups(settings, X, rows, found, output, name, near_pca):
    """Return the `Units` of networks that each have all columns of their own rows."""
    n, given = len(rows.counts), settings.scale
    if given is None or (given == AUTO and not near_pca):
        return Units([None] * n, [None] * n)
    d = X.shape[1]
    columns = real_columns(output, d)
    scalings: list[Scaling | None] = [None] * n
    logarithms: list[Any] = [None] * n
    has_logarithms = any(outputs.TABLE[s.distribution]["link"] == "log" for s in output)
    for b in range(n):
        if len(columns) and given in (AUTO, STANDARD, COMMON):
            means, deviations, low, high = (array[b] for array in found[:4])
            statistics = means, deviations, low, high
            scalings[b] = scaling_from(given, columns, *statistics, X.dtype, name)
        elif len(columns):
            scalings[b] = find_scaling(given, X, rows.of(b), None, output, found.means[b], name)
        if has_logarithms:
            logarithms[b] = find_logarithms(X, rows.of(b), None, output)
    return Units(scalings, logarithms)


def units_of_columns(scaling, logarithms, columns, n):
    """Return the `Units` of networks that read columns of one table in the table's units."""

    def parts(whole):
        if whole is None or columns is None:
            return [whole] * n
        shape = type(whole)
        rest = whole[2:]
        return [shape(whole[0][c], whole[1][c], *rest) for c in columns]

    return Units(parts(scaling), parts(logarithms))


# ---- initial values ----


def blank_values(model, settings, dtype, n, means):
    """Return values (n, 1 + n_states, n_parameters) with the initial biases and no weights.

    `means` (n, d) are the column means in the networks' units.
    """
    n_states = n_optimizer_states(settings.solver, settings.momentum)
    values = np.zeros((n, 1 + n_states, model.n_parameters), dtype)
    [layer] = model.layers
    views = layer.split(values[:, 0])
    views.c[...] = initial_biases(layer, means)
    if views.theta is not None:
        views.theta[...] = outputs.starting_parameters(layer.output, layer.n_features)
    return values


def initial_biases(layer, means):
    """Return the visible biases (n, d) of `initial_bias` for column means (n, d)."""
    bias = np.empty(means.shape)
    for segment in layer.output:
        columns = outputs.columns_of(segment, layer.n_features)
        part = means[:, columns]
        if outputs.TABLE[segment.distribution]["link"] == "identity" and segment.custom is None:
            bias[:, columns] = part
        elif segment.is_group:
            bias[:, columns] = [segment.link(row) for row in part]
        else:
            bias[:, columns] = segment.link(part.ravel()).reshape(part.shape)
    return bias


def draw_weights_of_many(model, values, seeds, init):
    """Draw the weights of `initial_state` for each network."""
    [layer] = model.layers
    random = random_stream(0, WEIGHTS)
    with threads.same_bits():
        for b, seed in enumerate(seeds):
            rekey(random, int(seed), WEIGHTS)
            draw_weights(layer, layer.arrays(values[b, 0]), init, random)


def _eigenpairs(covariances, n_threads):
    """Return eigenvalues and eigenvectors of each matrix, in ascending order."""
    n = len(covariances)
    work = 20.0 * n * covariances.shape[-1] ** 3
    n_threads = min(n, threads.effective_n_threads(n_threads, work))
    if n_threads == 1:
        return np.linalg.eigh(covariances)
    cuts = np.linspace(0, n, n_threads + 1).astype(int)
    parts = [covariances[a:b] for a, b in pairwise(cuts)]
    with ThreadPoolExecutor(n_threads) as pool:
        found = list(pool.map(np.linalg.eigh, parts))
    return tuple(np.concatenate(arrays) for arrays in zip(*found, strict=True))


@threads.with_same_bits
def directions_of_many(layer, means, covariances, seeds, n_threads):
    """Return the `Directions` of all networks from covariances (B, d, d) in their units."""
    n, k, d = len(means), layer.n_components, layer.n_features
    values, vectors = np.empty((n, d)), np.empty((n, d, d))
    step = max(1, MOST_ENTRIES // d**2)
    for first in range(0, n, step):
        part = slice(first, first + step)
        values[part], vectors[part] = _eigenpairs(covariances[part], n_threads)
    values, vectors = values[:, ::-1], np.swapaxes(vectors, 1, 2)[:, ::-1]
    scales, chosen = np.zeros((n, k)), np.empty((n, k, d))
    is_principal = np.ones((n, k), bool)
    whole = values[:, min(k, d) - 1] > np.maximum(values[:, 0], 0) * d * 16 * _EPS
    if k <= d:
        leading = vectors[:, :k]
        largest = np.take_along_axis(leading, np.abs(leading).argmax(2)[..., np.newaxis], axis=2)
        chosen[...] = leading * np.where(largest < 0, -1.0, 1.0)
        scales[whole] = np.sqrt(values[whole, :k])
    for b in np.flatnonzero(~whole) if k <= d else range(n):
        spectrum = Spectrum(means[b], *significant_pairs(values[b], vectors[b], k, d))
        found = directions_of(layer, spectrum, int(seeds[b]))
        chosen[b], scales[b], is_principal[b] = found.vectors, found.scales, found.is_principal
    return Directions(means, chosen, scales, is_principal)


_EPS = np.finfo(np.float64).eps


def start_many_near_pca(model, values, seeds, means, covariances, factor, n_threads, spread):
    """Write initial parameters near the principal components; return the rate factors (B, ...)."""
    [layer] = model.layers
    parameters = layer.split(values[:, 0])
    bias = parameters.c.copy()  # of the means, before the code of the means is subtracted
    directions = directions_of_many(layer, means, covariances, seeds, n_threads)
    with threads.same_bits():
        offset = place_near_pca(layer, parameters, directions, factor, spread)
        parameters.c[...] = bias - _decoded_means(layer, parameters, offset)
        rates = rates_of_layer(layer, values[:, 0], spread)
    return rates * (1.0 if spread == SPREAD else NEAR_THE_BEST)


def _decoded_means(layer, parameters, offset):
    """Return what the decoder makes of the codes of the means, without bias (B, d).

    Their pre-activations are `offset`: 0, or (B, k).
    """
    activation = ACTIVATIONS[layer.activation]
    if np.ndim(offset) == 0:
        codes = np.full(parameters.b.shape, activation["at_zero"])
    else:
        flat = np.ascontiguousarray(offset, np.float64).ravel()
        plain = single_layer(1, flat.size, True, layer.activation, plain_output("gaussian"))
        zeros = np.zeros(plain.n_parameters)
        of_plain = plain.split(zeros)
        of_plain[0].b[...] = flat
        codes = one_pass(plain, of_plain, np.zeros((1, 1)), "codes", n_threads=1, check=False)
        codes = codes.reshape(offset.shape)
    if layer.gain:
        codes = (codes - activation["at_zero"]) * parameters.gain
    with _runtime.IeeeArithmetic():
        return (codes[:, np.newaxis] @ parameters.V.astype(np.float64))[:, 0]


def judged_factor(settings, X, rows, model, values, seeds, units, means, spread):
    """Return the factor of the output's scale that most of a few networks prefer."""
    n = len(seeds)
    factors = []
    for b in np.unique(np.linspace(0, n - 1, min(n, JUDGED_NETWORKS)).astype(int)):
        table = rows.table_of(X, b, slice(0, SURVEYED_ROWS))
        flats = values[b].copy()
        state = FittedState(
            model,
            settings.solver,
            flats[0],
            flats[1:],
            0,
            0,
            int(seeds[b]),
            **units.reading(b)._asdict(),
        )
        given = state, table, len(table), None, means[b], settings.n_threads, spread
        factors.append(start_near_pca(*given).factor)
    return sorted(factors)[len(factors) // 2]


def scaled_covariances(covariances, scalings):
    """Return covariances (B, d, d) in the units of each network."""
    if all(scaling is None for scaling in scalings):
        return covariances
    ones = np.ones(covariances.shape[-1])
    factors = np.stack([ones if s is None else s.factor for s in scalings])
    return covariances * factors[:, :, np.newaxis] * factors[:, np.newaxis, :]
