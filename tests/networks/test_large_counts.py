"""Log-likelihoods of large counts, whose terms cancel: against mpmath with 60 digits."""

import mpmath as mp
import numpy as np
import pytest
from reference import autoencoder as reference
from reference.autoencoder import Parameters
from support.textbook import Autoencoder, StackedAutoencoder

from aefast.distributions import FAMILIES

MEANS = [1e-3, 1.0, 17.0, 1e3, 1e5, 1e7, 1e9, 1e12]
RATIOS = [0.0, 0.01, 0.9, 1.0, 1.0 + 1e-6, 1.001, 1.15, 1.3, 50.0]
OPTIONS = {
    "poisson": [None],
    "negative_binomial": [1e-3, 0.5, 10.0, 1e4, 1e8, 1e12],
    "gamma": [0.5, 1e3, 1e6],
}


def poisson(x, eta, theta):
    return mp.exp(eta) - x * eta + mp.loggamma(x + 1)


def negative_binomial(x, eta, theta):
    r, log_sum = mp.exp(theta), mp.log(mp.exp(eta) + mp.exp(theta))
    rising = mp.loggamma(x + r) - mp.loggamma(r) - mp.loggamma(x + 1)
    return -rising - r * (theta - log_sum) - x * (eta - log_sum)


def gamma(x, eta, theta):
    k = mp.exp(theta)
    return mp.loggamma(k) - k * (theta - eta) - (k - 1) * mp.log(x) + k * x * mp.exp(-eta)


EXACT = {"poisson": poisson, "negative_binomial": negative_binomial, "gamma": gamma}


def minus_log_p(name, X, eta, theta):
    """Return −log p in float64, of arrays of one shape."""
    with mp.workdps(60):
        entries = zip(*(np.ravel(a).astype(float) for a in (X, eta, theta)), strict=True)
        exact = [float(EXACT[name](*map(mp.mpf, entry))) for entry in entries]
    return np.reshape(exact, X.shape)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "name, option", [(n, o) for n, options in OPTIONS.items() for o in options]
)
def test_entries(name, option, dtype, isa):
    """A row whose bias alone decides the mean: eta is the same number here and there."""
    means, ratios = (a.ravel() for a in np.meshgrid(MEANS, RATIOS))
    X = (means * ratios).astype(dtype)[None]
    X = np.maximum(X, dtype(1e-3)) if name == "gamma" else np.rint(X)
    key = {"negative_binomial": "r", "gamma": "shape"}.get(name)
    output = (name, {key: option}) if key else name
    ae = Autoencoder(1, output=output, max_epochs=0, random_state=0).fit(X)
    ae.components_[...] = 0
    ae.visible_bias_[...] = np.log(means)
    (parameters,) = ae.output_parameters_.values() if key else ([0.0],)
    theta = np.broadcast_to(parameters, X.shape)
    expected = minus_log_p(name, X, ae.visible_bias_[None], theta)
    actual = ae.score_samples(X, per_feature=True)
    assert actual.dtype == dtype
    rounding = 2.0**-24 if dtype == np.float32 else 1e-15
    # a rounding of eta moves log p by (x - mu) times as much, for gamma by k (x - mu) / mu
    slope = abs(X - means) * (option / means if name == "gamma" else 1)
    error = abs(-actual - expected)
    assert (error <= rounding * abs(expected) + 4e-15 * (30 + slope)).all()
    np.testing.assert_allclose(
        ae.score(X), -expected.sum(), rtol=2e-7 if dtype == np.float32 else 1e-12
    )


@pytest.mark.parametrize("dtype, rtol", [(np.float32, 1e-7), (np.float64, 1e-13)])
def test_multinomial_groups(dtype, rtol):
    shares = np.array([0.5, 0.3, 0.2, 1e-9])
    draws = np.array([1, 10, 1e4, 1e8, 1e12])
    X = np.rint(draws[:, None] * (shares + np.array([1e-3, -1e-3, 0, 0]))).astype(dtype)
    X[0] = [0, 0, 1, 0]
    ae = Autoencoder(1, output="multinomial", max_epochs=0, random_state=0).fit(X)
    ae.components_[...] = 0
    ae.visible_bias_[...] = np.log(shares)
    eta = ae.visible_bias_.astype(float)
    with mp.workdps(60):
        log_sum = mp.log(sum(mp.exp(mp.mpf(e)) for e in eta))
        expected = [
            float(
                mp.loggamma(sum(map(mp.mpf, row)) + 1)
                + sum(
                    x * (mp.mpf(e) - log_sum) - mp.loggamma(x + 1)
                    for x, e in zip(row, eta, strict=True)
                )
            )
            for row in X.astype(float).tolist()
        ]
    np.testing.assert_allclose(ae.score_samples(X), expected, rtol=rtol)
    by_column = ae.score_samples(X, per_feature=True)
    np.testing.assert_allclose(by_column[:, 0], expected, rtol=rtol)
    assert not by_column[:, 1:].any()


@pytest.mark.parametrize("cls", [Autoencoder, StackedAutoencoder])
def test_float32_networks_are_evaluated_in_float64(cls):
    """Codes and pre-activations too: a rounding of eta is worth (x - mu) times as much."""
    random = np.random.default_rng(0)
    X = random.poisson(10.0 ** random.uniform(2, 9, (1, 6)), (50, 6)).astype(np.float32)
    X[3, 2] = np.nan
    output = [("poisson", [0, 3, 4]), ("negative_binomial", [1, 5]), ("gaussian", [2])]
    hidden = 3 if cls is Autoencoder else (4, 3)
    ae = cls(
        hidden, output=output, missing="mask", max_epochs=1, learning_rate=1e-6, random_state=0
    )
    ae.fit(X)
    wide = cls(hidden, output=output, missing="mask", max_epochs=0, random_state=0).fit(
        X.astype(float)
    )
    wide._state.parameters[...] = ae._state.parameters
    wide._state.fill[...] = ae._state.fill
    for per_feature in (False, True):
        expected = wide.score_samples(X.astype(float), per_feature=per_feature)
        actual = ae.score_samples(X, per_feature=per_feature)
        assert actual.dtype == np.float32
        np.testing.assert_array_equal(actual, expected.astype(np.float32))


def test_float32_rows_match_the_reference():
    random = np.random.default_rng(1)
    X = random.poisson(10.0 ** random.uniform(0, 6, (1, 6)), (50, 6)).astype(np.float32)
    ae = Autoencoder(3, output="poisson", max_epochs=1, learning_rate=1e-6, random_state=0).fit(X)
    views = (ae.components_, ae.hidden_bias_, ae.visible_bias_)
    parameters = Parameters(*(view.astype(np.float64) for view in views))
    expected = reference.log_likelihood(X, parameters, "poisson")
    np.testing.assert_allclose(ae.score_samples(X), expected, rtol=1e-6)


def test_constants_of_student_t_with_many_degrees_of_freedom():
    """log Γ(df/2) − log Γ((df + 1)/2) + ½ log(π df) of 1e12 degrees is ½ log 2π."""
    for df in (100.0, 199.0, 201.0, 1e5, 1e12, 1e300):
        with mp.workdps(700 if df > 1e100 else 60):
            half = mp.mpf(df) / 2
            exact = mp.loggamma(half) - mp.loggamma(half + 0.5) + mp.log(mp.pi * df) / 2
        actual = FAMILIES["student_t"].log_base(np.zeros((1, 1)), df)
        np.testing.assert_allclose(actual, float(exact), rtol=2e-13)
