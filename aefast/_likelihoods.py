"""From losses to log-likelihoods, and from pre-activations to samples: segment by segment of an output."""

import numpy as np

from aefast._outputs import columns_of
from aefast.distributions import FAMILIES

ROWS_AT_A_TIME = 1 << 14


def log_likelihoods(output, rows, losses, per_feature):
    """log p(x | mu): minus the losses, (n,) or with per_feature (n, d), minus the terms that these leave out."""
    out = np.negative(losses)
    for first in range(0, len(rows), ROWS_AT_A_TIME):
        part = slice(first, first + ROWS_AT_A_TIME)
        for segment in output:
            columns = columns_of(segment, rows.shape[1])
            x = rows[part, columns].astype(np.float64)
            gaps = np.isnan(x)
            family = FAMILIES[segment.distribution]
            with np.errstate(invalid="ignore"):
                base = family.log_base(np.where(gaps, 1.0, x), segment.constant)
            if segment.is_group:
                base = np.where(gaps.any(axis=1), 0.0, base)
                _subtract_group(out[part], columns, base, per_feature)
            else:
                base = np.where(gaps, 0.0, base)
                if per_feature:
                    out[part, columns] -= base.astype(out.dtype)
                else:
                    out[part] -= base.sum(axis=1).astype(out.dtype)
    return out


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
        its_theta = None if theta is None else theta[columns].astype(np.float64)
        family = FAMILIES[segment.distribution]
        out[:, columns] = family.sample(
            eta[:, columns].astype(np.float64), its_theta, segment.constant, random
        )
    return out
