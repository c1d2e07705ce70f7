"""Scores of fitted networks on rows that were held out, for the choice of parameters."""

import warnings

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import _safe_indexing

from aefast._base.arrays import ANYWHERE
from aefast._base.sparse_rows import SparseRows
from aefast._base.sparse_scan import SparseSums
from aefast.networks.one_pass import mean_loss, one_pass
from aefast.networks.outputs import columns_of
from aefast.networks.variants import rows_variant, variant_of_rows

MOST_ENTRIES = 1 << 22  # of sparse rows that are made dense at a time
PARTS = 5  # parts of the columns' entries of which each is hidden in turn


def column_means(rows):
    """Return the means (d,) of the observed entries; 0 where there are none."""
    if isinstance(rows, SparseRows):
        sums = SparseSums(rows.shape[1], rows.absent_missing)
        sums.add(rows, None, ANYWHERE, rows.dtype)
        return sums.means()
    observed = ~np.isnan(rows) if rows.dtype.kind == "f" else np.ones(rows.shape, bool)
    sums = np.where(observed, rows, 0).sum(axis=0, dtype=np.float64)
    return sums / np.maximum(observed.sum(axis=0), 1)


def score_of(scoring, table, rows, weight, model, split, seed):
    """Return the score on held-out rows of a candidate that is trained on the others.

    The table holds the rows, perhaps with names of columns.
    """
    train, held_out = split
    weights = [None if weight is None else weight[part] for part in split]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            model = clone(model).fit(_safe_indexing(table, train), sample_weight=weights[0])
        except FloatingPointError:
            return -np.inf
    rows_out, fill = rows[held_out], column_means(rows[train])
    loss = hidden_loss if scoring == "hidden" else row_loss
    found = loss(model, rows_out, fill, seed, weights[1])
    return -found if np.isfinite(found) else -np.inf


def row_loss(model, rows, fill, seed, weight=None):
    state = model._state
    parameters, variant = state.model.split(state.parameters), rows_variant(state)
    options = {"variant": variant, "sample_weight": weight}
    loss = mean_loss(state.model, parameters, rows, len(rows), model.n_threads, **options)
    return loss + _log_unit(state)


def _log_unit(state):
    """Return the sum of the logarithms of the columns' units, so that losses are those of X."""
    return 0.0 if state.scaling is None else float(state.scaling.log_scale.sum())


def hidden_loss(model, rows, fill, seed, weight=None):
    """Return the mean over rows of the losses of their entries, each of which is hidden once.

    Entries of a row are in PARTS parts at random; the columns of a group with one distribution stay
    together. Hidden entries are replaced by `fill` (d,) where the model has no such values. Sparse
    rows are made dense, some at a time.
    """
    if isinstance(rows, SparseRows):
        step, total = max(1, MOST_ENTRIES // rows.shape[1]), 0.0
        weight = np.ones(len(rows)) if weight is None else weight
        for first in range(0, len(rows), step):
            part = slice(first, first + step)
            if weight[part].sum() > 0:
                dense = rows[part].toarray()
                loss = hidden_loss(model, dense, fill, [seed, first], weight[part])
                total += weight[part].sum() * loss
        return float(total / weight.sum())
    state = model._state
    network, dtype = state.model, state.parameters.dtype
    parameters = network.split(state.parameters)
    reading = state.reading._replace(fill=fill) if state.fill is None else state.reading
    variant = variant_of_rows(reading, dtype)
    options = {"n_threads": model.n_threads, "check": False}
    part = parts_of(network.output, rows.shape, np.random.default_rng(seed))
    total, share = 0.0, np.full(len(rows), 1 / len(rows))
    if weight is not None:
        share = weight / weight.sum()
    for number in range(PARTS):
        hidden = part == number
        shown = np.where(hidden, np.nan, rows.astype(dtype))
        H = one_pass(network, parameters, shown, "codes", variant=variant, **options)
        options_of_loss = {"from_codes": True, "targets": (rows, None), "variant": variant}
        losses = one_pass(network, parameters, H, "feature_losses", **options_of_loss, **options)
        total += float(share @ np.where(hidden, losses, 0).sum(axis=1, dtype=np.float64))
    return total + _log_unit(state)


def parts_of(output, shape, random):
    """Return the number of each entry's part: a row's columns are shared out evenly."""
    n, d = shape
    part = np.argsort(random.random(shape), axis=1) % PARTS
    part = (part + random.integers(PARTS, size=(n, 1))) % PARTS
    for segment in output:
        columns = np.arange(d)[columns_of(segment, d)]
        if segment.custom is None and segment.is_group:
            part[:, columns] = part[:, columns[:1]]
    return part
