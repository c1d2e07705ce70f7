"""One-pass operations for `ops` and the estimators: allocation, slices, threads, status."""

import numpy as np

from aefast._base import _runtime, threads
from aefast._base.arrays import ANYWHERE
from aefast._base.errors import bad_row_error, column_label
from aefast._base.passes import Pace, RowOrder, slices, slices_of_windows
from aefast.networks import _autoencoder
from aefast.networks._autoencoder import BAD_ROWS, NOT_FINITE
from aefast.networks.network import DeepModel, Model, Parameters
from aefast.networks.outputs import domain_of, plain_output
from aefast.networks.scan import check_groups
from aefast.networks.variants import without_noise

OPERATIONS_A_SECOND = 2e10  # that a first call reckons with
BLOCK_ROWS = 96  # go through the network together, from FEWEST_BLOCKS of them on; fewer rows are cut finer, to occupy a few threads
FEWEST_BLOCKS = 8
MANY_ROWS = 32  # worth packing the weights for, in each call
MEAN_ROWS = 1 << 16  # whose losses are kept, for their mean
DEEP_ENTRIES = 1 << 22  # of the codes of one layer that are kept at a time
BLOCK_ENTRIES = 1 << 22  # of a block's rows and codes, at most

RESULTS = ("codes", "reconstructions", "row_losses", "feature_losses")


def _block_rows(model, n):
    """Rows in a block: from the shape alone."""
    widest = max(1, BLOCK_ENTRIES // (model.n_features + model.n_components))
    return min(BLOCK_ROWS, widest, max(8, -(-n // FEWEST_BLOCKS)))


def _allocate(model, result, n, dtype):
    """row_losses are float64 in every type; the others have the computation's."""
    if result == "row_losses":
        return np.empty(n)
    width = model.n_components if result == "codes" else model.n_features
    return np.empty((n, width), dtype)


def forward(
    model,
    parameters,
    rows,
    result,
    *,
    name="X",
    order=None,
    from_codes=False,
    targets=None,
    n_threads=None,
    check=True,
    variant=None,
    first_row=0,
    out=None,
):
    """One of RESULTS for each row: codes (n, k), reconstructions (n, d), row_losses (n,) or feature_losses (n, d).

    Of `variant` it takes what becomes of inputs: with its `fill` NaN means missing. targets: for losses from codes, and for means of as many trials as rows
    have, (rows, order) of X; first_row: what errors call row 0; out: an array for the result, of one layer, else a new one. Computed in the parameters' real type. Raises ValueError for entries that are not finite (or, for losses, outside the output's
    domain), FloatingPointError where finite input gives results that are not.
    """
    if isinstance(model, DeepModel):
        assert out is None
        return through_layers(
            model, parameters, rows, result, name, order, from_codes, n_threads, check, variant
        )
    n, dtype = len(rows) if order is None else len(order), parameters.W.dtype
    out = _allocate(model, result, n, dtype) if out is None else out
    of_loss, missing = result.endswith("losses"), variant is not None and variant.fill is not None
    domain = domain_of(model.output, model.n_features) if of_loss else ANYWHERE
    block_rows = _block_rows(model, n)
    work = 2.0 * model.n_features * model.n_components * (1 if result == "codes" else 2)
    pace = Pace.expecting(block_rows, work * block_rows / OPERATIONS_A_SECOND)
    n_threads = threads.effective_n_threads(n_threads, work * n)
    uses_blas = _runtime.products() == "blas"
    for part in slices(n, pace, rows if order is None and n >= MANY_ROWS else None):
        first = part.start
        data, places = (rows[part], None) if order is None else (rows, order[part])
        with threads.single_threaded_blas(uses_blas):
            status = _autoencoder.forward(
                model,
                data,
                parameters,
                places,
                domain if check else None,
                block_rows,
                n_threads,
                n >= MANY_ROWS,
                from_codes=from_codes,
                targets=_part_of(targets, part),
                variant=variant
                if first == 0 or variant is None
                else variant._replace(first_sample=variant.first_sample + first),
                **{result: out[part]},
            )
        table, numbers = (data, places) if targets is None else _part_of(targets, part)
        if status & BAD_ROWS:
            where = {"output": model.output, "first_row": first_row + first}
            raise bad_row_error(table, name, domain, dtype, missing=missing, **where)
        if check and of_loss:
            check_groups(table, name, model.output, numbers, missing, first_row=first_row + first)
        if status & NOT_FINITE:
            # the columns of codes are units: they do not have the names of X's columns
            named = str(name) if result == "codes" else name
            raise overflow_error(named, parameters, out[part] if out.ndim == 2 else None)
    return out


def _part_of(targets, part):
    if targets is None:
        return None
    rows, order = targets
    return (rows[part], None) if order is None else (rows, order[part])


def through_layers(
    model, parameters, rows, result, name, order, from_codes, n_threads, check, variant
):
    """`forward` of a deep model: up to the last layer's codes, and down again, some rows at a time."""
    layers, n = model.layers, len(rows) if order is None else len(order)
    out = _allocate(model, result, n, parameters[0].W.dtype)
    step = max(BLOCK_ROWS, DEEP_ENTRIES // max(model.layer_sizes) // BLOCK_ROWS * BLOCK_ROWS)
    decoders = [] if result == "codes" else _decoders(model, parameters)
    for first in range(0, n, step):
        part, options = slice(first, first + step), {"n_threads": n_threads, "first_row": first}
        data, places = (rows[part], None) if order is None else (rows, order[part])
        codes, encoders = data, [] if from_codes else list(zip(layers, parameters, strict=True))
        for number, (encoder, own) in enumerate(encoders):
            of_rows = {"order": places, "name": name, "check": check} if number == 0 else {}
            if number == 0 and variant is not None:
                counter = variant.first_sample + first
                of_rows["variant"] = variant._replace(first_sample=counter)
            codes = forward(encoder, own, codes, "codes", **options, **of_rows)
        for decoder, own in decoders:
            codes = forward(decoder, own, codes, "codes", name=name, **options)
        if result == "codes":
            out[part] = codes
            continue
        options |= {"from_codes": True, "name": name, "check": check}
        if result.endswith("losses") or (model.has_groups and not from_codes):
            options |= {"targets": (data, places), "variant": variant and without_noise(variant)}
        out[part] = forward(layers[0], parameters[0], codes, result, **options)
    return out


def _decoders(model, parameters):
    """From the last layer to the second, the network that makes the codes below: an encoder by the transposed weights."""
    decoders, output = [], plain_output("gaussian")
    for layer, below, own in zip(model.layers[1:], model.layers, parameters[1:], strict=False):
        W = np.ascontiguousarray(own.W.T)
        encoder = Model(layer.n_components, layer.n_features, True, below.activation, output)
        decoders.insert(0, (encoder, Parameters(W, W, own.c, None)))
    return decoders


def overflow_error(name, parameters, results=None):
    """The error for finite rows with a result that is not: the parameters' fault, or the size of the numbers. results (n, columns) tell the column."""
    layers = parameters if isinstance(parameters, list) else [parameters]
    for part, array in (item for layer in layers for item in layer._asdict().items()):
        if array is not None and not np.isfinite(array).all():
            argument = {"V": "decoder_weights", "theta": "output_parameters"}.get(part, part)
            found = "NaN" if np.isnan(array).any() else "infinity"
            return ValueError(f"{argument} contains {found}: expected finite numbers")
    bad = [] if results is None else np.flatnonzero(~np.isfinite(results).all(axis=0))
    where = f" in column {column_label(name, bad[0])}" if len(bad) else ""
    return FloatingPointError(
        f"a result overflows {layers[0].W.dtype}{where} though {name} and the parameters are finite: scale {name} down"
    )


def mean_loss(model, parameters, rows, order, n_threads=None, *, sample_weight=None, variant=None):
    """(Weighted) mean of the losses of these rows, which are known to be good; may be infinite. No array of n losses is kept."""
    total, weights = 0.0, 0.0
    options = {"n_threads": n_threads, "check": False, "variant": variant}
    for part in slices_of_windows(RowOrder(rows, order).windows(), Pace.fixed(MEAN_ROWS)):
        losses = forward(model, parameters, rows, "row_losses", order=part, **options)
        if sample_weight is None:
            total += losses.sum()
            weights += len(part)
        else:
            total += sample_weight[part] @ losses
            weights += sample_weight[part].sum()
    return float(total / weights)
