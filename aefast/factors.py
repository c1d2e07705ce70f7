"""Tests before and after a factor analysis, from rows or from their sufficient statistics.

bartlett_sphericity  test whether all columns are uncorrelated
kaiser_meyer_olkin   whether columns suit a factor analysis
GoodnessOfFit        result of `aefast.FactorAnalysis.goodness_of_fit`
"""

from aefast.linear.goodness_of_fit import (
    GoodnessOfFit,
    SamplingAdequacy,
    SphericityTest,
    bartlett_sphericity,
    kaiser_meyer_olkin,
)

__all__ = [
    "GoodnessOfFit",
    "SamplingAdequacy",
    "SphericityTest",
    "bartlett_sphericity",
    "kaiser_meyer_olkin",
]


def __dir__() -> list[str]:
    return __all__
