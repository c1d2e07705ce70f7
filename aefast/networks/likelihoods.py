"""Log-likelihoods from losses, and samples from pre-activations, for each segment of an output."""

import numpy as np

from aefast._base.sparse_rows import dense_rows
from aefast.networks import _autoencoder
from aefast.networks.outputs import TABLE, columns_of

ENTRIES_AT_A_TIME = 1 << 18


def log_likelihoods(output, rows, losses, per_feature, missing, scaling=None):
    """Return log p(x | μ), of shape (n,), or (n, d) with per_feature.

    With a `Scaling` the losses are those of x' = (x − shift) / scale, and the density of x is
    p(x') / scale.

    It is minus the losses, minus the constants of −log p that losses leave out. Where losses leave
    out terms that depend on x, they have been computed with these terms (one_pass's `whole`).
    """
    out = np.negative(losses)
    step = max(1, ENTRIES_AT_A_TIME // rows.shape[1])
    for segment in output:
        if segment.custom is not None:  # user-defined losses are all of -log p
            continue
        columns = columns_of(segment, rows.shape[1])
        if segment.is_group:
            if per_feature:
                _sum_into_first_column(out, columns)
            continue
        if TABLE[segment.distribution]["has_base"]:
            continue
        if not missing:
            n_columns = len(np.arange(rows.shape[1])[columns])
            base = _log_base(segment, np.ones((1, n_columns)))
            _subtract(out, columns, base, per_feature)
            continue
        for first in range(0, len(rows), step):
            part = slice(first, first + step)
            x = dense_rows(rows[part])[:, columns]
            _subtract(out[part], columns, _log_base(segment, x), per_feature)
    if scaling is not None:
        step = step if missing else len(rows)
        for first in range(0, len(rows), step):
            part = slice(first, first + step)
            log_scale = scaling.log_scale[np.newaxis]
            if missing:
                log_scale = np.where(np.isnan(dense_rows(rows[part])), 0, log_scale)
            _subtract(out[part], slice(None), log_scale, per_feature)
    return out


def _log_base(segment, x):
    x = np.ascontiguousarray(x, dtype=np.float64)
    return _autoencoder.output_log_base(segment.distribution, x, segment.constant)


def _subtract(out, columns, base, per_feature):
    if per_feature:
        out[:, columns] -= base.astype(out.dtype)
    else:
        out -= base.sum(axis=1).astype(out.dtype)


def _sum_into_first_column(out, columns):
    group = out[:, columns]
    total = group.sum(axis=1, dtype=np.float64)
    group[...] = 0
    group[:, 0] = total
    out[:, columns] = group


def sample_of_outputs(output, eta, theta, random):
    """Draw x from p(x | mu), with the means mu of the pre-activations eta (n, d)."""
    out = np.empty_like(eta)
    for segment in output:
        columns = columns_of(segment, eta.shape[1])
        if segment.custom is not None:
            x = np.asarray(segment.custom.sample(eta[:, columns].astype(np.float64), random))
            is_finite = np.isfinite(x).all()
        else:
            part_theta = None if theta is None else np.ascontiguousarray(theta[columns], np.float64)
            part_eta = np.ascontiguousarray(eta[:, columns], np.float64)
            x, is_finite = _autoencoder.output_sample(
                segment.distribution, part_eta, part_theta, segment.constant, None, random
            )
        try:
            with np.errstate(over="raise"):
                out[:, columns] = x
        except FloatingPointError:
            is_finite = False
        if not is_finite:
            numbers = np.arange(eta.shape[1])[columns]
            raise overflowing_draw_error(segment.name, eta[:, columns], x, out.dtype, numbers)
    return out


def overflowing_draw_error(name, eta, x, dtype, columns):
    """Return the error for draws x (n, m) of pre-activations eta of which one is not finite.

    `dtype` is the type of the draws, `columns` (m,) are their columns in a table.
    """
    with np.errstate(over="ignore"):
        row, column = np.argwhere(~np.isfinite(x.astype(dtype)))[0]
    return FloatingPointError(
        f"a draw from output {name!r} overflows {dtype} at row {row}, column {columns[column]}: "
        f"its pre-activation is {eta[row, column]:g}"
    )
