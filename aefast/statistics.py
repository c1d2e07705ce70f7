"""Sufficient statistics of rows (`aefast.SufficientStatistics`), and their error."""

from aefast._base.moments import SufficientStatistics, TooFewRowsError

__all__ = ["SufficientStatistics", "TooFewRowsError"]


def __dir__() -> list[str]:
    return __all__
