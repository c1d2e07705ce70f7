"""Logarithms that the encoder reads of counts and positive numbers, as formulas."""

import numpy as np

OFFSET = 0.1  # of the geometric mean of a column's positive entries


def offset_and_centre(X, is_count, weight=None):
    """Return the offset a and the mean m of log(x + a) of each column, over observed entries."""
    X = np.asarray(X, np.float64)
    w = np.ones(len(X)) if weight is None else np.asarray(weight, np.float64)
    a, m = np.zeros((2, X.shape[1]))
    for j, x in enumerate(X.T):
        seen = ~np.isnan(x) & (w > 0)
        positive = seen & (np.nan_to_num(x) > 0)
        geometric = np.exp(np.average(np.log(x[positive]), weights=w[positive]))
        a[j] = 1.0 if is_count else OFFSET * geometric
        m[j] = np.average(np.log(x[seen] + a[j]), weights=w[seen])
    return a, m


def encoded(X, a, m):
    """Return what the encoder reads: log(max(x, 0) + a) − m in columns with a > 0, else x."""
    X = np.asarray(X, np.float64)
    logarithms = np.log(np.maximum(X, 0) + np.where(a > 0, a, 1)) - m
    return np.where(a > 0, logarithms, X)
