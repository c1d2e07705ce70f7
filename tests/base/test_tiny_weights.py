"""Weights below the normal numbers: the same results as for the same weights in another unit."""

import numpy as np
import pytest

import aefast
from aefast import ops

random = np.random.default_rng(0)
X = random.uniform(0.1, 0.9, (40, 4))
GAPS = np.where(random.random(X.shape) < 0.1, np.nan, X)
WEIGHT = random.integers(1, 100, 40).astype(float)
UNITS = [2.0**-1074, 2.0**-1060, 2.0**-1030, 2.0**900]
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def network(weight, **options):
    rows = GAPS if "missing" in options else X
    ae = aefast.Autoencoder(2, max_epochs=2, random_state=0, **options).fit(rows, None, weight)
    return [ae._state.parameters, ae.score(rows, sample_weight=weight)]


FITS = {
    "network": network,
    "gaps": lambda weight: network(weight, missing="mask"),
    "lbfgs": lambda weight: network(weight, solver="lbfgs"),
    "early stopping": lambda weight: network(weight, early_stopping=True),
    "stack": lambda weight: [
        aefast.StackedAutoencoder((3, 2), max_epochs=1, pretrain_epochs=1, random_state=0)
        .fit(X, sample_weight=weight)
        ._state.parameters
    ],
    "ops": lambda weight: [
        ops.loss(X, np.ones((2, 4)), np.zeros(2), np.zeros(4), sample_weight=weight),
        ops.loss_and_gradients(X, np.ones((2, 4)), np.zeros(2), np.zeros(4), sample_weight=weight)[
            1
        ].c,
    ],
}


@pytest.mark.parametrize("name", FITS)
def test_networks_have_the_same_bits(name):
    expected = FITS[name](WEIGHT)
    for unit in UNITS:
        for one, other in zip(FITS[name](WEIGHT * unit), expected, strict=True):
            np.testing.assert_array_equal(one, other)


LINEAR = {
    "whitening": lambda weight: aefast.Whitening().fit(X, None, weight).components_,
    "marginalized": lambda weight: aefast.MarginalizedAutoencoder().fit(X, None, weight).coef_,
    "ppca": lambda weight: aefast.ProbabilisticPCA(1).fit(X, None, weight).components_,
    "krylov": lambda weight: (
        aefast.ProbabilisticPCA(1, svd_solver="krylov").fit(X, None, weight).components_
    ),
    "gaps": lambda weight: aefast.ProbabilisticPCA(1).fit(GAPS, None, weight).mean_,
    "mixture": lambda weight: (
        aefast.MixtureOfProbabilisticPCA(1, 1).fit(X, None, weight).components_
    ),
    "factors": lambda weight: aefast.FactorAnalysis(1).fit(X, None, weight).noise_variance_,
    "statistics": lambda weight: aefast.SufficientStatistics(4).update(X, weight).covariance(),
}


@pytest.mark.parametrize("name", LINEAR)
def test_linear_models_are_right_or_name_the_weights(name):
    expected = LINEAR[name](WEIGHT)
    for unit in UNITS:
        try:
            actual = LINEAR[name](WEIGHT * unit)
        except ValueError as error:
            assert "sample_weight" in str(error) and unit < 1e-300
            continue
        np.testing.assert_allclose(actual, expected, rtol=1e-9)
