"""Warnings that name the line of the user's code."""

import sys
import warnings

# Packages whose frames lie between the user's call and a warning: scikit-learn wraps `transform`
# and calls estimators from pipelines and searches, joblib from its loops.
INNER_PACKAGES = ("aefast", "sklearn", "joblib")


def warn(message, category):
    """Issue a warning at the innermost line that belongs to none of INNER_PACKAGES.

    Where there is no such line it is issued at the outermost one.
    """
    frame, level = sys._getframe(1), 2
    while _is_inner(frame) and frame.f_back is not None:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _is_inner(frame):
    return str(frame.f_globals.get("__name__")).partition(".")[0] in INNER_PACKAGES


def warn_of_iterations(max_iter):
    """Issue the ConvergenceWarning of iterations that were not enough."""
    from sklearn.exceptions import ConvergenceWarning

    warn(
        f"max_iter={max_iter} iterations were not enough for tol: raise one of them",
        ConvergenceWarning,
    )
