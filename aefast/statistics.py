"""Sufficient statistics of rows: the public name of `aefast._base.moments`."""

from aefast._base.moments import SufficientStatistics, TooFewRowsError

__all__ = ["SufficientStatistics", "TooFewRowsError"]


def __dir__() -> list[str]:
    return __all__
