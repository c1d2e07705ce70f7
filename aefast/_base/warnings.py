"""Warnings that name the line of the user's code."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType

# Packages whose frames lie between the user's call and a warning: scikit-learn wraps `transform`
# and calls estimators from pipelines and searches, joblib from its loops.
INNER_PACKAGES = ("aefast", "sklearn", "joblib")

Told = tuple[str, type[Warning]]  # a warning that is yet to be issued
_collected: ContextVar[list[Told] | None] = ContextVar("collected", default=None)


def warn(message: str, category: type[Warning]) -> None:
    """Issue a warning at the innermost line that belongs to none of INNER_PACKAGES.

    Where there is no such line, the warning names the outermost one. Within `collected` it is kept.
    """
    kept = _collected.get()
    if kept is not None:
        kept.append((message, category))
        return
    frame, level = sys._getframe(1), 2
    while _is_inner(frame) and frame.f_back is not None:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


@contextmanager
def collected() -> Iterator[list[Told]]:
    """Keep the warnings of this thread, which somebody else will issue, in a list."""
    kept: list[Told] = []
    token = _collected.set(kept)
    try:
        yield kept
    finally:
        _collected.reset(token)


def _is_inner(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] in INNER_PACKAGES


def warn_of_iterations(max_iter: int) -> None:
    """Issue the ConvergenceWarning for iterations that end at max_iter."""
    from sklearn.exceptions import ConvergenceWarning

    warn(
        f"max_iter={max_iter} iterations were not enough for tol: raise one of them",
        ConvergenceWarning,
    )
