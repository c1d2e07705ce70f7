"""Reference of what `AnomalyDetector` computes from scores, in plain loops."""

import numpy as np


def p_values(calibration, scores):
    """Return conformal p-values of scores, greater ones being stranger."""
    c = len(calibration)
    return np.array([(1 + sum(s >= score for s in calibration)) / (1 + c) for score in scores])


def units(references):
    """Return medians and units of the columns of references (r, d), complete ones that vary."""
    centre = np.median(references, axis=0)
    deviation = np.mean(np.abs(references - centre), axis=0)
    extent = references.max(axis=0) - references.min(axis=0)
    is_two = np.array([len(set(column)) == 2 for column in references.T])
    unit = np.sqrt(deviation * extent)
    if not is_two.all():
        unit *= np.median(deviation[~is_two] / unit[~is_two])
    return centre, np.where(is_two, extent / 3, unit)
