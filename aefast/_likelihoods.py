"""From losses to log-likelihoods, and from pre-activations to samples: segment by segment of an output."""

import numpy as np

from aefast._outputs import columns_of
from aefast.distributions import FAMILIES

ENTRIES_AT_A_TIME = 1 << 14


def log_likelihoods(output, rows, losses, per_feature, missing):
    """log p(x | mu): minus the losses, (n,) or with per_feature (n, d), minus the terms that these leave out."""
    out = np.negative(losses)
    step = max(1, ENTRIES_AT_A_TIME // rows.shape[1])
    for segment in output:
        if segment.own is not None:  # whose loss is the whole of -log p
            continue
        columns = columns_of(segment, rows.shape[1])
        family = FAMILIES[segment.distribution]
        if family.base_is_constant and not missing:
            base = family.log_base(np.ones((1, 1)), segment.constant).item()
            _subtract(out, columns, np.full(rows[:1, columns].shape, base), per_feature)
            continue
        for first in range(0, len(rows), step):
            part = slice(first, first + step)
            x = rows[part, columns].astype(np.float64)
            gaps = np.isnan(x)
            base = family.log_base(np.where(gaps, 1.0, x), segment.constant)
            if segment.is_group:
                _subtract_group(out[part], columns, np.where(gaps[:, 0], 0.0, base), per_feature)
            else:
                _subtract(out[part], columns, np.where(gaps, 0.0, base), per_feature)
    return out


def _subtract(out, columns, base, per_feature):
    if per_feature:
        out[:, columns] -= base.astype(out.dtype)
    else:
        out -= base.sum(axis=1).astype(out.dtype)


def _subtract_group(out, columns, base, per_feature):
    if not per_feature:
        out -= base.astype(out.dtype)
        return
    group = out[:, columns]
    total = group.sum(axis=1, dtype=np.float64) - base
    group[...] = 0
    group[:, 0] = total
    out[:, columns] = group


def sample_of_outputs(output, eta, theta, random):
    """Draws x from p(x | mu), mu of the pre-activations eta (n, d)."""
    out = np.empty_like(eta)
    for segment in output:
        columns = columns_of(segment, eta.shape[1])
        if segment.own is not None:
            out[:, columns] = segment.own.sample(eta[:, columns].astype(np.float64), random)
            continue
        its_theta = None if theta is None else theta[columns].astype(np.float64)
        family = FAMILIES[segment.distribution]
        out[:, columns] = family.sample(
            eta[:, columns].astype(np.float64), its_theta, segment.constant, random
        )
    return out
