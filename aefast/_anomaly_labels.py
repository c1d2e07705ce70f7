"""Learning from a few labelled anomalies: a logistic regression above a detector."""

from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike

from aefast._base import arrays as check
from aefast._base.types import Array

# of the strangeness, the others having 1: with few labels it should lead
FACTOR_OF_STRANGENESS = 2.0
C = 0.1  # of LogisticRegression, where each known anomaly has the weight 1


def as_labels(value: ArrayLike | None, n_samples: int) -> Array | None:
    """Return labels (n,) of 0, 1 and NaN in float64; None where no row has one."""
    if value is None:
        return None
    labels = check.as_array(value, "anomaly_labels", 1).astype(np.float64)
    if len(labels) != n_samples:
        raise ValueError(f"anomaly_labels must have {n_samples} entries, got {len(labels)}")
    bad = np.flatnonzero(~(np.isnan(labels) | (labels == 0) | (labels == 1)))
    if len(bad):
        raise ValueError(
            f"anomaly_labels must be 0, 1 or NaN, got {labels[bad[0]]} at row {bad[0]}"
        )
    return None if np.isnan(labels).all() else labels


class Head(NamedTuple):
    """Logistic regression on features of rows, whose logit is the strangeness.

    Features are asinh of those given, standardised. Known rows have the weight 1; unknown ones
    count as normal, with as much weight together as the anomalies have (Lee & Liu 2003, Learning
    with positive and unlabeled examples using weighted logistic regression).
    """

    centre: Array
    scale: Array
    weights: Array
    bias: float

    @classmethod
    def fitted(cls, features: Array, labels: Array, weight: Array) -> Self:
        """Fit to features (n, f), the first of which is the strangeness; labels have 0, 1, NaN."""
        from sklearn.linear_model import LogisticRegression

        bent = np.arcsinh(features)
        centre, scale = bent.mean(axis=0), bent.std(axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        scale[0] /= FACTOR_OF_STRANGENESS
        is_anomaly, is_unknown = labels == 1, np.isnan(labels)
        of_anomalies = weight[is_anomaly].sum() or 1.0
        unknown = weight[is_unknown].sum() or 1.0
        row_weight = weight * np.where(is_unknown, of_anomalies / unknown, 1.0)
        if not is_anomaly.any():  # known normal rows alone say nothing of anomalies
            return cls(centre, scale, np.eye(1, len(scale))[0], 0.0)
        model = LogisticRegression(C=C, max_iter=1000)
        model.fit((bent - centre) / scale, is_anomaly, sample_weight=row_weight)
        return cls(centre, scale, model.coef_[0], float(model.intercept_[0]))

    def logits(self, features: Array) -> Array:
        return (np.arcsinh(features) - self.centre) / self.scale @ self.weights + self.bias

    def saved_state(self) -> dict[str, Any]:
        return {"bias": self.bias, "n_weights": len(self.weights)}
