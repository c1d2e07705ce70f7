"""One-pass operations of networks: allocation, slices, threads, errors from the status."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from aefast._base import _runtime, threads
from aefast._base.arrays import ANYWHERE
from aefast._base.errors import bad_row_error, column_label
from aefast._base.passes import Pace, slices
from aefast._base.team_size import TeamSize
from aefast._base.visits import order_of
from aefast.networks import _autoencoder
from aefast.networks._autoencoder import BAD_ROWS, NOT_FINITE
from aefast.networks.network import Layer, Parameters
from aefast.networks.outputs import plain_output
from aefast.networks.scan import check_groups
from aefast.networks.variants import without_noise

OPERATIONS_A_SECOND = 2e10  # assumed speed, for the length of the first slice
# number of rows that go through the network together; smaller where that would make fewer than
# FEWEST_BLOCKS blocks, so that a few threads have work
BLOCK_ROWS = 96
FEWEST_BLOCKS = 8
MANY_ROWS = 32  # number of rows from which packing the weights in each call is worth its time
MEAN_ROWS = 1 << 16  # number of rows whose losses are kept at a time for their mean
MEAN_ENTRIES = 1 << 22  # largest number of entries of these rows
DEEP_ENTRIES = 1 << 22  # number of entries of a layer's codes that are kept at a time
BLOCK_ENTRIES = 1 << 22  # largest number of entries of a block's rows and codes

AT_ZERO = {row["name"]: row["at_zero"] for row in _autoencoder.activation_table()}

LOSSES = ("row_losses", "feature_losses")
RESULTS = ("codes", "reconstructions", *LOSSES)
ALONE = TeamSize(1, is_fixed=True)


def _block_rows(layer, n):
    """Return the number of rows in a block, which depends on the shapes alone."""
    widest = max(1, BLOCK_ENTRIES // (layer.n_features + layer.n_components))
    return min(BLOCK_ROWS, widest, max(8, -(-n // FEWEST_BLOCKS)))


def _allocate(shape, result, n, dtype):
    """Return an array for the result of n rows through a layer or a network.

    Row losses are always float64, the other results have the type of the computation.
    """
    if result == "row_losses":
        return np.empty(n)
    width = shape.n_components if result == "codes" else shape.n_features
    return np.empty((n, width), dtype)


def one_pass(network, parameters, rows, result, *, out=None, **options):
    """Compute one of RESULTS for each row.

    Shapes are (n, k) for codes, (n, d) for reconstructions and feature losses, (n,) for row losses.

    Parameters
    ----------
    network : Network
    parameters : sequence of Parameters
        The parameters of each layer. The computation has their real type.
    rows : ndarray
        X (n, d), or H (n, k) with `from_codes`.
    result : str
        One of RESULTS.
    name : str, default="X"
        Name of the rows in error messages.
    order : ndarray of int64 or None
        Numbers of the rows to visit; None: all.
    from_codes : bool, default=False
        Whether the rows are codes.
    n_threads : int or None
    check : bool, default=True
        Whether to check the rows; False if they are known to be good.
    in_domain : bool, default=False
        Whether rows of X must lie in the output's domain for codes and reconstructions too.
    variant : Variant or None
        How rows are read: scaling, replacement of missing entries, corruption. With its `fill`, NaN
        means a missing entry. Reconstructions are in the units of the scaled columns.
    targets : (rows, order) or None
        Rows of X for losses from codes, and for the numbers of trials of multinomial means. For
        networks of one layer only.
    first_row : int, default=0
        Number of row 0 in error messages. For networks of one layer only.
    whole : bool, default=False
        Whether losses are all of −log p where they leave out terms in x otherwise.
    out : ndarray or None
        Array for the result; None: a new one. For networks of one layer only.

    Raises
    ------
    ValueError
        For entries that are not finite (or, for losses, outside the output's domain).
    FloatingPointError
        For finite input with results that are not finite.
    """
    if len(network.layers) > 1:
        assert out is None
        return _through_layers(network, parameters, rows, result, **options)
    return _through_layer(network.layers[0], parameters[0], rows, result, out=out, **options)


def _through_layer(
    layer,
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
    in_domain=False,
    variant=None,
    first_row=0,
    whole=False,
    out=None,
):
    """Run `one_pass` through one layer, in kernel calls between which Ctrl-C is noticed."""
    n, dtype = len(rows) if order is None else len(order), parameters.W.dtype
    out = _allocate(layer, result, n, dtype) if out is None else out
    of_loss, missing = result in LOSSES, variant is not None and variant.fill is not None
    domain = layer.domain if of_loss or (in_domain and not from_codes) else ANYWHERE
    block_rows = _block_rows(layer, n)
    work = layer.n_multiplied * (2.0 if result == "codes" else 4.0)
    most_threads = threads.effective_n_threads(n_threads, work * n)
    parts: Iterable[slice]
    if n <= block_rows:  # one thread takes the block, and there is nothing to pace
        parts, team = (slice(0, n),), ALONE
    else:
        pace = Pace.expecting(block_rows, work * block_rows / OPERATIONS_A_SECOND)
        parts = slices(n, pace, rows if order is None and n >= MANY_ROWS else None)
        team = TeamSize(most_threads, n_threads is not None)
    uses_blas = _runtime.products() == "blas"
    for part in parts:
        first = part.start
        data, places = (rows[part], None) if order is None else (rows, order[part])
        with threads.single_threaded_blas(uses_blas), team.slice(part.stop - first):
            status = _autoencoder.one_pass(
                layer,
                data,
                parameters,
                places,
                domain if check else None,
                block_rows,
                team.size,
                n >= MANY_ROWS,
                from_codes=from_codes,
                whole_losses=whole,
                targets=_part_of(targets, part),
                variant=_from_row(variant, first),
                **{result: out[part]},
            )
        table, numbers = (data, places) if targets is None else _part_of(targets, part)
        if status & BAD_ROWS:
            raise _bad_row_error(
                layer, table, name, domain, dtype, variant, first_row=first_row + first
            )
        if check and of_loss:
            check_groups(table, name, layer.output, numbers, missing, first_row=first_row + first)
        if status & NOT_FINITE:
            # columns of codes are units, without the names of X's columns; str has no names
            named = str(name) if result == "codes" else name
            raise overflow_error(named, [parameters], out[part] if out.ndim == 2 else None)
    return out


def _bad_row_error(layer, rows, name, domain, dtype, variant, first_row):
    """Return the error for rows that the loader refused; it read them as `variant` says."""
    options = {"output": layer.output, "first_row": first_row}
    if variant is None:
        return bad_row_error(rows, name, domain, dtype, **options)
    domain = ANYWHERE if variant.clips else domain
    options["missing"] = variant.fill is not None
    if variant.shift is not None:
        options["units"] = (variant.shift, variant.factor)
    return bad_row_error(rows, name, domain, dtype, **options)


def _from_row(variant, first):
    """Return the variant for rows from `first` on, with the counter of its noise advanced."""
    if variant is None or first == 0:
        return variant
    return variant._replace(first_sample=variant.first_sample + first)


def _part_of(targets, part):
    """Return (rows, order) of the targets of a part."""
    if targets is None:
        return None
    rows, order = targets
    return (rows[part], None) if order is None else (rows, order[part])


def _through_layers(
    network,
    parameters,
    rows,
    result,
    *,
    name="X",
    order=None,
    from_codes=False,
    n_threads=None,
    check=True,
    in_domain=False,
    variant=None,
    whole=False,
):
    """Run `one_pass` through several layers, some rows at a time.

    Rows are encoded up to the last layer's codes and, for other results, decoded down again.
    """
    layers, n = network.layers, len(rows) if order is None else len(order)
    out = _allocate(network, result, n, parameters[0].W.dtype)
    widest = max(layer.n_components for layer in layers)
    step = max(BLOCK_ROWS, DEEP_ENTRIES // widest // BLOCK_ROWS * BLOCK_ROWS)
    encoders = [] if from_codes else list(zip(layers, parameters, strict=True))
    decoders = [] if result == "codes" else _decoders(layers, parameters)
    for first in range(0, n, step):
        part, options = slice(first, first + step), {"n_threads": n_threads, "first_row": first}
        data, places = (rows[part], None) if order is None else (rows, order[part])
        codes = data
        for number, (encoder, of_layer) in enumerate(encoders):
            of_rows = {}
            if number == 0:
                of_rows = {"order": places, "name": name, "check": check, "in_domain": in_domain}
                of_rows["variant"] = _from_row(variant, first)
            codes = _through_layer(encoder, of_layer, codes, "codes", **options, **of_rows)
        for decoder, of_layer in decoders:
            codes = _through_layer(decoder, of_layer, codes, "codes", name=name, **options)
        if result == "codes":
            out[part] = codes
            continue
        options |= {"from_codes": True, "name": name, "check": check, "whole": whole}
        if result in LOSSES or (network.has_groups and not from_codes):
            options |= {"targets": (data, places), "variant": variant and without_noise(variant)}
        out[part] = _through_layer(layers[0], parameters[0], codes, result, **options)
    return out


def _decoders(layers, parameters):
    """Return the decoders of the upper layers, from the last layer to the second.

    Each is an encoder with the transposed weights, which computes the codes of the layer below.
    """
    decoders: list[tuple[Layer, Parameters]] = []
    output = plain_output("gaussian")
    for layer, below, of_layer in zip(layers[1:], layers, parameters[1:], strict=False):
        V, bias = of_layer.V, of_layer.c
        if of_layer.gain is not None:  # ((r − g(0)) ∘ gain) V + c
            V = V * of_layer.gain[:, np.newaxis]
            bias = bias - (AT_ZERO[layer.activation] * V.sum(axis=0, dtype=np.float64))
            bias = bias.astype(V.dtype)
        W = np.ascontiguousarray(V.T)
        encoder = Layer(layer.n_components, layer.n_features, True, below.activation, output)
        decoders.insert(0, (encoder, Parameters(W, W, bias, None)))
    return decoders


def overflow_error(name, parameters, results=None, dtype=None):
    """Return the error for finite rows with a result that is not finite in a type.

    It is a ValueError if one of the parameters (one `Parameters` for each layer) is not finite, and
    a FloatingPointError otherwise. The error names the column if `results` (n, columns) are given.
    """
    for field, array in (item for layer in parameters for item in layer._asdict().items()):
        if array is not None and not np.isfinite(array).all():
            argument = {"V": "decoder_weights", "theta": "output_parameters"}.get(field, field)
            found = "NaN" if np.isnan(array).any() else "infinity"
            return ValueError(f"{argument} contains {found}: expected finite numbers")
    bad: Any = [] if results is None else np.flatnonzero(~np.isfinite(results).all(axis=0))
    where = f" in column {column_label(name, bad[0])}" if len(bad) else ""
    kind = dtype or parameters[0].W.dtype
    return FloatingPointError(
        f"a result overflows {kind}{where} though {name} and the parameters are finite: scale "
        f"{name} down"
    )


def as_type(results, dtype, name, what="a result"):
    """Return results of one pass in another type, which NumPy checks while it converts them.

    Raises FloatingPointError, with the words `what` for a result, where one overflows the type.
    """
    if results.dtype == dtype:
        return results
    try:
        with np.errstate(over="raise"):
            return results.astype(dtype)
    except FloatingPointError:
        place = first_overflow(results, dtype, name)
    raise FloatingPointError(
        f"{what} overflows {dtype} {place}, though {name} and the parameters are finite: pass "
        f"{name} as float64, or scale it down"
    )


def first_overflow(results, dtype, name):
    """Return the place of the first result that is not finite in a type, for an error."""
    with np.errstate(over="ignore"):
        row, *column = np.argwhere(~np.isfinite(results.astype(dtype)))[0]
    return f"at row {row}" + "".join(f", column {column_label(name, c)}" for c in column)


def mean_loss(
    network, parameters, rows, order, n_threads=None, *, sample_weight=None, variant=None
):
    """Return the (weighted) mean of the losses of rows, without an array of n losses.

    The rows, whose numbers are `order`, are known to be good. The mean may be infinite.
    """
    options = {"sample_weight": sample_weight, "variant": variant}
    total, weights = loss_sums(network, parameters, rows, order, n_threads, **options)
    return float(total / weights)


def loss_sums(
    network, parameters, rows, order, n_threads=None, *, sample_weight=None, variant=None
):
    """Return the (weighted) sum of the losses of rows, and the sum of their weights."""
    total, weights = 0.0, 0.0
    options = {"n_threads": n_threads, "check": False, "variant": variant}
    unit = max(1, min(MEAN_ROWS, MEAN_ENTRIES // rows.shape[1]))
    for table, places, numbers in order_of(rows, order, unit=unit).visits(Pace.fixed(unit)):
        losses = one_pass(network, parameters, table, "row_losses", order=places, **options)
        if sample_weight is None:
            total += losses.sum()
            weights += len(places)
        else:
            with threads.single_threaded_blas():  # a long dot product is shared among threads too
                total += sample_weight[numbers] @ losses
            weights += sample_weight[numbers].sum()
    return total, weights
