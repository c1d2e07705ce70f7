"""Figures published for matrices that have been printed, to the printed digits.

Sources: the output of R's `factanal` for `ability.cov` and `Harman74.cor` (R 4.2.2, examples of its
help pages; the same test statistics stand in Bartholomew & Knott 1990 and Jöreskog 1967), and of
psych 2.2.9 with GPArotation 2022.10 for the same matrices.
"""

import functools

import numpy as np
import pytest
from reference import rotations as reference
from sklearn.exceptions import ConvergenceWarning
from support.published import (
    FIVE_FIGURES,
    N_CHILDREN,
    N_PERSONS,
    SIX_TESTS,
    TWENTY_FOUR_TESTS,
    six_tests,
    statistics,
    twenty_four_tests,
)

from aefast import FactorAnalysis
from aefast.factors import bartlett_sphericity, kaiser_meyer_olkin

UNIQUENESSES = """
.438 .780 .644 .651 .352 .312 .283 .485 .257 .240 .551 .435 .491 .646 .696 .549 .598 .593 .762 .592
.583 .601 .497 .500
"""
QUARTIMIN = """
 .056  .687  .026  .069   .059  .430 -.021  .040   .077  .564 -.160  .056   .181  .507 -.031 -.010
 .771  .007  .112 -.020   .807 -.004 -.058  .088   .865  .018  .049 -.110   .559  .219  .126 -.024
 .857 -.017 -.087  .077   .071 -.165  .867  .044   .069  .030  .459  .304  -.109  .239  .699 -.024
 .084  .440  .439 -.054   .126 -.112  .000  .571   .038 -.015 -.012  .544  -.055  .313 -.080  .540
 .041 -.084  .145  .585  -.116  .227  .242  .438   .066  .152  .069  .342   .324  .288 -.020  .218
 .065  .345  .345  .124   .311  .288 -.014  .220   .296  .418  .099  .124   .294  .041  .428  .187
"""


def numbers(text):
    return np.array(text.split(), dtype=float)


def close(value, printed, digits=3):
    """To the printed digits: half of the last one, and a little for the fits' tolerances."""
    np.testing.assert_allclose(value, printed, rtol=0, atol=0.51 * 10.0**-digits)


@functools.cache
def children(rotation=None):
    given = statistics(twenty_four_tests(), N_CHILDREN)
    return FactorAnalysis(4, rotation=rotation).fit_statistics(given)


@functools.cache
def persons(k, rotation=None):
    given = statistics(six_tests(), N_PERSONS)
    return FactorAnalysis(k, rotation=rotation).fit_statistics(given)


def test_the_matrices_are_those_of_the_books():
    """Sums that a mistyped number would change."""
    assert len(TWENTY_FOUR_TESTS) == len(twenty_four_tests()) == 24
    assert len(SIX_TESTS) == len(six_tests()) == 6
    close(bartlett_sphericity(statistics(twenty_four_tests(), N_CHILDREN)).chi_square, 1545.862)
    close(bartlett_sphericity(statistics(six_tests(), N_PERSONS)).chi_square, 268.3538, 4)


def test_one_factor_of_six_tests():
    model = persons(1)
    close(model.uniquenesses_, [0.535, 0.853, 0.748, 0.910, 0.232, 0.280])
    close(model.loadings_[:, 0], [0.682, 0.384, 0.502, 0.300, 0.877, 0.849])
    close(model.ss_loadings_, [2.443])
    close(model.explained_variance_ratio_, [0.407])
    fit = model.goodness_of_fit()
    close(fit.chi_square, 75.18, 2)
    assert fit.degrees_of_freedom == 9 and fit.p_value == pytest.approx(1.46e-12, rel=0.004)


def test_two_factors_of_six_tests():
    """R's varimax with its eps at 1e-15: by default it ends at the second digit."""
    model = persons(2, "varimax")
    close(model.uniquenesses_, [0.455, 0.589, 0.218, 0.769, 0.052, 0.334])
    close(model.loadings_[:, 0], [0.5011, 0.1580, 0.2085, 0.1100, 0.9568, 0.7855], 3)
    close(model.loadings_[:, 1], [0.5419, 0.6210, 0.8593, 0.4674, 0.1791, 0.2224], 3)
    close(model.ss_loadings_, [1.864, 1.718])
    close(model.explained_variance_ratio_.sum(), 0.597)
    fit = model.goodness_of_fit()
    close(fit.chi_square, 6.11, 2)
    close(fit.p_value, 0.191)
    assert fit.degrees_of_freedom == 4


def test_varimax_of_twenty_four_tests():
    model = children("varimax")
    close(model.uniquenesses_, numbers(UNIQUENESSES))
    close(model.ss_loadings_, [3.647, 2.872, 2.657, 2.290])
    close(model.explained_variance_ratio_, [0.152, 0.120, 0.111, 0.095])
    close(model.loadings_[0], [0.160, 0.689, 0.187, 0.160])
    close(model.loadings_[9], [0.167, -0.118, 0.831, 0.166])
    close(model.loadings_[23], [0.370, 0.158, 0.496, 0.304])


def test_fit_to_twenty_four_tests():
    """The interval of RMSEA is psych's; its point estimate takes n for n − 1 in one place."""
    fit = children().goodness_of_fit()
    close(fit.chi_square, 226.68, 2)
    close(fit.p_value, 0.0224, 4)
    close(fit.discrepancy, 1.710821, 6)
    close(fit.tli, 0.95129, 5)
    close(fit.rmsr, 0.041182, 6)
    close(fit.rmsea_interval, [0.0158196, 0.0556206], 6)
    close(fit.null_chi_square, 1545.862)
    assert (fit.degrees_of_freedom, fit.null_degrees_of_freedom) == (186, 276)
    n, df = N_CHILDREN, fit.degrees_of_freedom
    close(np.sqrt(fit.chi_square / (df * n) - 1 / (n - 1)), 0.0382177, 6)  # psych's
    assert fit.rmsea == pytest.approx(np.sqrt((fit.chi_square - df) / (df * (n - 1))))


def test_quartimin_of_twenty_four_tests():
    model = children("oblimin")
    close(model.loadings_, numbers(QUARTIMIN).reshape(24, 4))
    close(model.ss_loadings_, [4.004, 2.736, 2.413, 2.312])
    printed = [0.404, 0.292, 0.415, 0.255, 0.380, 0.318]
    close(model.factor_covariance_[np.triu_indices(4, 1)], printed)


def test_geomin_of_twenty_four_tests():
    model = children("geomin")
    close(np.square(model.loadings_).sum(axis=0), [3.48717, 2.56277, 2.38230, 1.51270], 4)
    printed = [0.40594, 0.44888, 0.34229, 0.39372, 0.32607, 0.30142]
    close(model.factor_covariance_[np.triu_indices(4, 1)], printed, 4)
    close(model.loadings_[0], [0.01513, 0.07721, 0.70381, 0.01344], 4)


@pytest.mark.parametrize(
    ("rotation", "options", "sums"),
    [
        ("oblimin", {"gamma": -1.0}, [3.38107, 2.17689, 2.11829, 1.85632]),
        ("oblimin", {"normalize": True}, [3.44385, 2.19078, 2.27223, 1.87723]),
        ("quartimax", {"normalize": False}, [5.57350, 2.01247, 2.48453, 1.39570]),
    ],
)
def test_options_of_gparotation(rotation, options, sums):
    given = statistics(twenty_four_tests(), N_CHILDREN)
    model = FactorAnalysis(4, rotation=rotation, rotation_options=options).fit_statistics(given)
    found = np.sort(np.square(model.loadings_).sum(axis=0))
    close(found, np.sort(sums), 4)


def test_orthogonal_geomin_is_lower_than_gparotations():
    """From the unrotated loadings GPArotation ends at the local minimum 1.4291271."""
    given = statistics(twenty_four_tests(), N_CHILDREN)
    options = {"orthogonal": True}
    model = FactorAnalysis(4, rotation="geomin", rotation_options=options).fit_statistics(given)
    assert reference.geomin(model.loadings_, 0.01) < 1.3888


def test_minimum_residuals():
    """psych's fa(fm = "minres"), whose optimiser ends at some five digits."""
    given = statistics(twenty_four_tests(), N_CHILDREN)
    model = FactorAnalysis(4, method="minres").fit_statistics(given)
    printed = [0.44982015, 0.77015627, 0.66152929, 0.65020421, 0.36122390, 0.32391362]
    close(model.uniquenesses_[:6], printed, 5)
    close(model.goodness_of_fit().chi_square, 228.0364, 3)
    given = statistics(six_tests(), N_PERSONS)
    model = FactorAnalysis(2, method="minres").fit_statistics(given)
    printed = [0.432898539, 0.623468492, 0.165273556, 0.797563362, 0.061353014, 0.330491371]
    close(model.uniquenesses_, printed, 4)


def test_minimum_residuals_of_five_figures():
    """A Heywood case: psych ends before the bound, at a uniqueness of .0015, hence two digits."""
    with pytest.warns(ConvergenceWarning, match=r"Heywood case: .* column\(s\) 0 "):
        model = FactorAnalysis(2, method="minres").fit(FIVE_FIGURES)
    close(model.loadings_[0], [0.621, 0.783], 2)
    close(model.loadings_[3], [0.881, -0.144], 2)
    assert model.uniquenesses_[0] == pytest.approx(1e-6, rel=1e-2)


def test_kaiser_meyer_olkin():
    measure = kaiser_meyer_olkin(statistics(twenty_four_tests(), N_CHILDREN))
    close(measure.overall, 0.88, 2)
    close(measure.of_columns[:6], [0.90, 0.84, 0.78, 0.85, 0.88, 0.89], 2)
    measure = kaiser_meyer_olkin(statistics(six_tests(), N_PERSONS))
    close(measure.overall, 0.73, 2)
    close(measure.of_columns, [0.85, 0.73, 0.75, 0.73, 0.67, 0.69], 2)
