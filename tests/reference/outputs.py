"""Reference of outputs whose columns may have different distributions: float64 NumPy.

X (n, d) are the observed rows, A_hat (n, d) the pre-activations of the output. `output` is the name
of a distribution, or a list of (name, columns, constant, theta).
"""

from typing import NamedTuple

import numpy as np

from reference.distributions import OUTPUTS, Sizes, total


class Segment(NamedTuple):
    """Columns of one distribution.

    A fixed shape (gamma) or r (negative binomial) is given by its logarithm as theta.
    """

    name: str
    columns: object
    constant: float | None = None
    theta: np.ndarray | None = None


def segments(output, n_features):
    """Return the complete list of segments of `output`, a name or a list of segments.

    Columns become arrays, and missing constants and thetas become the defaults.
    """
    given = [(output, np.arange(n_features))] if isinstance(output, str) else output
    complete = []
    for name, columns, *rest in given:
        columns = np.arange(n_features)[columns]
        constant, theta = (*rest, None, None)[:2]
        entry = OUTPUTS[name]
        if entry.theta_gradient:
            theta = np.broadcast_to(0.0 if theta is None else theta, columns.shape).astype(float)
        complete.append(
            Segment(name, columns, entry.constant if constant is None else constant, theta)
        )
    covered = np.concatenate([segment.columns for segment in complete])
    assert sorted(covered) == list(range(n_features)), "every column belongs to one segment"
    return complete


def by_segments(function, X, A_hat, output):
    """Return ``function(distribution, x, a, theta, c)`` of each segment at its columns, (n, d).

    The result is 0 at missing entries.
    """
    X, out = np.asarray(X, dtype=np.float64), np.zeros(A_hat.shape)
    for name, columns, constant, theta in segments(output, A_hat.shape[1]):
        x, a = X[:, columns], A_hat[:, columns]
        missing = np.isnan(x)
        if OUTPUTS[name].is_group:
            assert (missing.all(axis=1) == missing.any(axis=1)).all(), "half a group is missing"
        values = function(OUTPUTS[name], np.where(missing, 1.0, x), a, theta, constant)
        out[:, columns] = np.where(missing, 0.0, values)
    return out


def losses(X, A_hat, output):
    return by_segments(lambda distribution, *args: distribution.loss(*args), X, A_hat, output)


def residuals(X, A_hat, output):
    return by_segments(lambda distribution, *args: distribution.residual(*args), X, A_hat, output)


def log_bases(X, A_hat, output):
    return by_segments(
        lambda distribution, x, a, theta, c: distribution.log_base(x, c), X, A_hat, output
    )


def means(X, A_hat, output):
    """Return the mean of p(x | mu).

    A multinomial has the number of trials of the row, or one trial if the row is missing.
    """
    out = np.empty(A_hat.shape)
    for name, columns, *_ in segments(output, A_hat.shape[1]):
        out[:, columns] = OUTPUTS[name].mean(A_hat[:, columns])
        if name == "multinomial" and X is not None:
            trials = total(np.asarray(X, dtype=np.float64)[:, columns])
            out[:, columns] *= np.where(np.isnan(trials), 1.0, trials)
    return out


def sizes(X, A_hat, output):
    """Return the `Sizes` of all columns."""
    parts = [
        by_segments(lambda distribution, *args, i=i: distribution.sizes(*args)[i], X, A_hat, output)
        for i in range(len(Sizes._fields) - 1)
    ]
    observed = np.where(np.isnan(X), 1.0, X)  # missing entries have means too
    slope = by_segments(
        lambda distribution, *args: distribution.sizes(*args).slope, observed, A_hat, output
    )
    return Sizes(*parts, slope)


def theta_gradients(X, A_hat, output, share):
    """Return the gradient of the weighted losses for the theta of each segment, or None.

    `share` (n, d) has the weight of each entry's loss.
    """
    gradients = []
    for name, columns, constant, theta in segments(output, A_hat.shape[1]):
        if OUTPUTS[name].theta_gradient is None:
            gradients.append(None)
            continue
        x, a = np.asarray(X, dtype=np.float64)[:, columns], A_hat[:, columns]
        missing = np.isnan(x)
        g = OUTPUTS[name].theta_gradient(np.where(missing, 1.0, x), a, theta, constant)
        gradients.append((share[:, columns] * np.where(missing, 0.0, g)).sum(axis=0))
    return gradients


def collapsed(entries, output):
    """Return entries (n, d) with the sum of each group in its first column and 0 in the others.

    The option `per_feature` of the estimators gives these numbers.
    """
    out = entries.copy()
    for name, columns, *_ in segments(output, entries.shape[1]):
        if OUTPUTS[name].is_group:
            out[:, columns] = 0.0
            out[:, columns.min()] = entries[:, columns].sum(axis=1)
    return out
