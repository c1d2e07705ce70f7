"""Tests of fit of a factor model, and whether correlations suit one, from sufficient statistics."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize, special
from scipy.sparse import issparse

from aefast._base import arrays as check
from aefast._base import threads
from aefast._base.errors import table_name
from aefast._base.moments import SufficientStatistics, statistics_of
from aefast._base.types import Array, Table

CONFIDENCE = 0.9  # of the interval of the RMSEA


class GoodnessOfFit(NamedTuple):
    """Tests and indices of the fit of k factors to d columns of n rows.

    Attributes
    ----------
    chi_square : float
        ``(n − 1 − (2d + 5)/6 − 2k/3) F`` with Bartlett's (1951) correction; F is the discrepancy.
    degrees_of_freedom : int
        ``((d − k)² − (d + k)) / 2``. Where it is not positive, p value, RMSEA and TLI are NaN.
    p_value : float
        Probability of a larger χ² if k factors are sufficient.
    rmsea : float
        Root mean square error of approximation, ``sqrt(max(χ² − df, 0) / (df (n − 1)))`` (Steiger
        & Lind 1980).
    rmsea_interval : tuple of float
        Its 90 % confidence interval (Browne & Cudeck 1993).
    tli : float
        Tucker & Lewis' (1973) index, with the multipliers of χ²; beyond 1 for good fits.
    cfi : float
        Comparative fit index (Bentler 1990), in [0, 1].
    srmr : float
        Standardised root mean square residual: of the ``d (d + 1) / 2`` residual correlations.
    rmsr : float
        The same of the ``d (d − 1) / 2`` residual correlations off the diagonal.
    discrepancy : float
        ``F = log |Σ| − log |C| + tr C Σ⁻¹ − d``, Σ the model's covariance, C the rows'.
    null_chi_square, null_degrees_of_freedom : float, int
        The same test for no factors, that is Bartlett's test of sphericity.
    n_samples : float
        n, the number of rows or their sum of weights.
    """

    chi_square: float
    degrees_of_freedom: int
    p_value: float
    rmsea: float
    rmsea_interval: tuple[float, float]
    tli: float
    cfi: float
    srmr: float
    rmsr: float
    discrepancy: float
    null_chi_square: float
    null_degrees_of_freedom: int
    n_samples: float


class SphericityTest(NamedTuple):
    """Bartlett's test that all columns are uncorrelated."""

    chi_square: float
    degrees_of_freedom: int
    p_value: float


class SamplingAdequacy(NamedTuple):
    """Kaiser, Meyer & Olkin's measure, of all columns and of each."""

    overall: float
    of_columns: NDArray[np.float64]


# ---- correlations ----


def _statistics(X: Any) -> SufficientStatistics:
    if isinstance(X, SufficientStatistics):
        return X
    name = table_name(X)
    rows = check.as_csr(X, name) if issparse(X) else check.as_rows(X, name)
    return statistics_of(rows, None, name=name)


def _correlation(covariance: Array) -> tuple[Array, Array]:
    """Return the correlations of the columns that vary, and the indices of these columns."""
    variance = np.diagonal(covariance)
    varies = np.flatnonzero(variance > np.finfo(np.float64).eps ** 2 * variance.mean())
    scale = np.sqrt(variance[varies])
    return covariance[np.ix_(varies, varies)] / scale[:, None] / scale, varies


def _log_determinant(R: Array, statistics: SufficientStatistics) -> float:
    values = linalg.eigvalsh(R)
    if statistics._rank(values) < len(values):
        raise ValueError(
            f"the correlation matrix of {len(values)} columns is singular: expected more rows than "
            "columns, got n_samples = "
            f"{statistics.n_samples_}, and no column that follows from others"
        )
    return float(np.log(values).sum())


def _p_value(chi_square, degrees):
    return float(special.chdtrc(degrees, max(chi_square, 0.0))) if degrees > 0 else float("nan")


@threads.with_same_bits
def bartlett_sphericity(X: Table | SufficientStatistics) -> SphericityTest:
    """Test whether all columns are uncorrelated, in which case there is nothing to factor.

    Parameters
    ----------
    X : array-like (n_samples, n_features) or SufficientStatistics
        Complete rows, or their statistics. Constant columns are left out.

    Returns
    -------
    SphericityTest
        ``chi_square = −(n − 1 − (2d + 5)/6) log |R|``, ``degrees_of_freedom = d (d − 1)/2`` and
        ``p_value``, which is small where columns are correlated (Bartlett 1951).

    Raises
    ------
    ValueError
        For a singular correlation matrix.
    """
    statistics = _statistics(X)
    statistics._check_variance()
    R, _ = _correlation(statistics.covariance())
    d = len(R)
    multiplier = statistics.weight_sum_ - 1 - (2 * d + 5) / 6
    chi_square = max(-multiplier * _log_determinant(R, statistics), 0.0)
    degrees = d * (d - 1) // 2
    return SphericityTest(chi_square, degrees, _p_value(chi_square, degrees))


@threads.with_same_bits
def kaiser_meyer_olkin(X: Table | SufficientStatistics) -> SamplingAdequacy:
    """Return Kaiser, Meyer & Olkin's measure of sampling adequacy (Kaiser & Rice 1974).

    Parameters
    ----------
    X : array-like (n_samples, n_features) or SufficientStatistics
        Complete rows, or their statistics.

    Returns
    -------
    SamplingAdequacy
        ``overall`` and ``of_columns`` (n_features,): sums of squared correlations divided by the
        sums of squared correlations and squared partial correlations given all other columns. From
        0.8 on columns suit a factor analysis well, below 0.5 they do not. NaN for constant columns
        and for columns without any correlation.

    Raises
    ------
    ValueError
        For a singular correlation matrix.
    """
    statistics = _statistics(X)
    statistics._check_variance()
    R, varies = _correlation(statistics.covariance())
    _log_determinant(R, statistics)  # refuses singular ones
    inverse = linalg.inv(R)
    scale = np.sqrt(np.diagonal(inverse))
    squares, partial = np.square(R), np.square(inverse / scale[:, None] / scale)
    np.fill_diagonal(squares, 0.0)
    np.fill_diagonal(partial, 0.0)
    of_columns = np.full(statistics.n_features_in_, np.nan)
    with np.errstate(invalid="ignore"):
        of_columns[varies] = squares.sum(axis=0) / (squares + partial).sum(axis=0)
        overall = float(squares.sum() / (squares + partial).sum())
    return SamplingAdequacy(overall, of_columns)


# ---- fit of a model ----


@threads.with_same_bits
def goodness_of_fit(statistics: SufficientStatistics, Sigma: Array, k: int) -> GoodnessOfFit:
    """Return the fit of a model with covariance Σ (d, d) of k factors to statistics of rows."""
    statistics._check_variance()
    R, varies = _correlation(statistics.covariance())
    d, n = len(R), statistics.weight_sum_
    scale = np.sqrt(np.diagonal(statistics.covariance())[varies])
    model = Sigma[np.ix_(varies, varies)] / scale[:, None] / scale
    log_det = _log_determinant(R, statistics)
    factor = linalg.cho_factor(model, lower=True)
    F = float(
        2 * np.log(np.diagonal(factor[0])).sum()
        - log_det
        + np.trace(linalg.cho_solve(factor, R))
        - d
    )
    F = max(F, 0.0)
    multiplier = n - 1 - (2 * d + 5) / 6 - 2 * k / 3
    if multiplier <= 0:
        raise ValueError(
            f"a test of {k} factors in {d} columns needs more rows, got a sum of weights of {n:g}"
        )
    degrees, null_degrees = ((d - k) ** 2 - (d + k)) // 2, d * (d - 1) // 2
    chi_square, null = multiplier * F, -(n - 1 - (2 * d + 5) / 6) * log_det
    excess, null_excess = max(chi_square - degrees, 0.0), null - null_degrees
    residual = np.square(R - model)
    off_diagonal = residual.sum() - np.trace(residual)
    return GoodnessOfFit(
        chi_square=chi_square,
        degrees_of_freedom=degrees,
        p_value=_p_value(chi_square, degrees),
        rmsea=np.sqrt(excess / (degrees * (n - 1))).item() if degrees > 0 else float("nan"),
        rmsea_interval=_rmsea_interval(chi_square, degrees, n),
        tli=_tucker_lewis(F, degrees, -log_det, null_degrees, multiplier),
        cfi=1 - excess / max(null_excess, excess) if max(null_excess, excess) > 0 else 1.0,
        srmr=np.sqrt((off_diagonal / 2 + np.trace(residual)) / (d * (d + 1) / 2)).item(),
        rmsr=np.sqrt(off_diagonal / max(d * (d - 1), 1)).item(),
        discrepancy=F,
        null_chi_square=null,
        null_degrees_of_freedom=null_degrees,
        n_samples=n,
    )


def _tucker_lewis(F, degrees, null_F, null_degrees, multiplier):
    if degrees <= 0:
        return float("nan")
    null = null_F / null_degrees
    return (null - F / degrees) / (null - 1 / multiplier)


def _rmsea_interval(chi_square, degrees, n):
    """Return the RMSEA of the noncentralities for which χ² is the 95 % and the 5 % quantile."""
    if degrees <= 0:
        return float("nan"), float("nan")

    def at(probability):
        def excess(noncentrality):
            return special.chndtr(chi_square, degrees, noncentrality) - probability

        if excess(0.0) <= 0:
            return 0.0
        high = max(chi_square, 1.0)
        while excess(high) > 0:
            high *= 2
        return np.sqrt(optimize.brentq(excess, 0.0, high) / (degrees * (n - 1))).item()

    tail = (1 - CONFIDENCE) / 2
    return at(1 - tail), at(tail)
