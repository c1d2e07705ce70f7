"""Units of the columns, as formulas: a model reads X' = (X − shift) / scale instead of X."""

import numpy as np

REAL = ("gaussian", "gaussian_diagonal", "laplace", "huber", "student_t")


def standard(X, weight=None):
    """Return the weighted means and standard deviations of the observed entries."""
    X = np.asarray(X, np.float64)
    w = np.ones(len(X)) if weight is None else np.asarray(weight, np.float64)
    w = np.where(np.isnan(X), 0.0, w[:, np.newaxis])
    X = np.nan_to_num(X)
    mean = (w * X).sum(axis=0) / w.sum(axis=0)
    return mean, np.sqrt((w * (X - mean) ** 2).sum(axis=0) / w.sum(axis=0))


def robust(X):
    """Return medians, and the interquartile ranges in standard deviations of a normal variable."""
    low, median, high = np.nanquantile(np.asarray(X, np.float64), [0.25, 0.5, 0.75], axis=0)
    return median, (high - low) / 1.349


def scaled(X, shift, scale):
    """Return X' in the type of the computation: float32 unless X is float64."""
    dtype = np.float64 if X.dtype == np.float64 else np.float32
    return ((X.astype(np.float64) - shift) * (1 / scale)).astype(dtype)


def in_users_units(X, shift, scale):
    return X * scale + shift


def log_density(log_p, X, scale):
    """Return the entries of log p(x) from those of log p(x'): dx' = dx / scale."""
    return log_p - np.where(np.isnan(X), 0.0, np.log(scale))
