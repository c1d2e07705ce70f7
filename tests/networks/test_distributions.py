"""Distributions in Python: constants and samples of the built-in ones, and a user's own."""

from itertools import pairwise

import numpy as np
import pytest
from reference.distributions import OUTPUTS as REFERENCES
from reference.functions import softmax
from scipy.integrate import quad
from scipy.special import i0e

import aefast
from aefast.distributions import (
    FAMILIES,
    Distribution,
    check_distribution,
    distribution_table,
)
from aefast.networks import _autoencoder

CONSTANTS = {
    name: reference_output.constant and 0.7 * reference_output.constant
    for name, reference_output in REFERENCES.items()
}
THETA = np.array([-0.3, 0.2, 0.9])
ETA = np.array([-1.3, 0.2, 1.4])
ELEMENTWISE = [name for name, family in FAMILIES.items() if not family.is_group]
COUNTS = [name for name in ELEMENTWISE if REFERENCES[name].is_discrete]


def theta_of(name):
    return THETA if FAMILIES[name].parameter else None


def log_p(name, x, eta, theta):
    """By the reference's loss and the family's constant."""
    x, constant = np.atleast_2d(np.asarray(x, float)), CONSTANTS[name]
    eta = np.broadcast_to(eta, x.shape)
    loss = REFERENCES[name].loss(x, eta, theta, constant)
    if FAMILIES[name].is_group:
        return -loss.sum(axis=1) - FAMILIES[name].log_base(x, constant)
    return -loss - FAMILIES[name].log_base(x, constant)


def draw(name, n=40_000, seed=0, eta=ETA, **options):
    eta = np.tile(eta, (n, 1))
    random = np.random.default_rng(seed)
    return FAMILIES[name].sample(eta, theta_of(name), CONSTANTS[name], random, **options)


# ---- the built-in ones ----


def test_the_reference_has_the_same_names():
    assert list(FAMILIES) == list(REFERENCES)
    for name, family in FAMILIES.items():
        reference_output = REFERENCES[name]
        assert family.name == name
        assert family.is_group == reference_output.is_group
        assert (family.parameter is None) == (reference_output.theta_gradient is None)
        assert family.default == reference_output.constant
        assert (family.link == "identity") == (
            reference_output.mean(0.7) == 0.7 if not reference_output.is_group else False
        )


@pytest.mark.parametrize("name", FAMILIES)
def test_constants_match_the_reference(name):
    x = np.random.default_rng(1).uniform(0.1, 0.9, (5, 3))
    actual = FAMILIES[name].log_base(x, CONSTANTS[name])
    expected = REFERENCES[name].log_base(x, CONSTANTS[name])
    if FAMILIES[name].is_group:
        expected = expected.sum(axis=1)
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("name", ["bernoulli", *COUNTS])
def test_probabilities_sum_to_one(name):
    support = np.arange(2.0) if name == "bernoulli" else np.arange(2000.0)
    p = np.exp(log_p(name, np.tile(support[:, np.newaxis], 3), ETA, theta_of(name)))
    np.testing.assert_allclose(p.sum(axis=0), 1.0, rtol=1e-9)


@pytest.mark.parametrize(
    "name", [name for name in ELEMENTWISE if name not in ("bernoulli", *COUNTS)]
)
def test_densities_integrate_to_one(name):
    reference_output, delta = REFERENCES[name], CONSTANTS[name] or 0.0
    for j, eta in enumerate(ETA):
        theta = None if theta_of(name) is None else THETA[j]

        def p(x, eta=eta, theta=theta):
            return np.exp(log_p(name, x, eta, theta))[0, 0]

        inside = [-60.0, eta - delta, eta, eta + delta, 1.0, 200.0]  # kinks among them
        ends = [
            reference_output.low,
            *(x for x in sorted(inside) if reference_output.low < x < reference_output.high),
            reference_output.high,
        ]
        total = sum(quad(p, *pair, limit=400, epsabs=1e-11)[0] for pair in pairwise(ends))
        assert total == pytest.approx(1.0, abs=1e-8)


def test_groups_sum_to_one():
    p = np.exp(log_p("categorical", np.eye(3), ETA, None))
    assert p.sum() == pytest.approx(1.0, rel=1e-12)
    n = 4
    x = [[i, j, n - i - j] for i in range(n + 1) for j in range(n + 1 - i)]
    p = np.exp(log_p("multinomial", x, ETA, None))
    assert p.sum() == pytest.approx(1.0, rel=1e-12)


@pytest.mark.parametrize("name", FAMILIES)
def test_samples(name):
    """Samples lie in the domain and have the right mean and average log-likelihood.

    The average log-likelihood is minus the entropy. A seed gives the same samples again.
    """
    x, reference_output = draw(name), REFERENCES[name]
    assert x.shape == (40_000, 3)
    assert x.dtype == np.float64
    assert np.isfinite(x).all()
    assert (x >= reference_output.low).all()
    assert (x <= reference_output.high).all()
    mean = np.broadcast_to(reference_output.mean(ETA[np.newaxis]), (1, 3))[0]
    assert (np.abs(x.mean(axis=0) - mean) < 5 * x.std(axis=0) / 200).all()
    np.testing.assert_array_equal(x, draw(name))
    assert not np.array_equal(x, draw(name, seed=1))
    # E[d log p / d eta] = 0, and its variance is that of a score: E[s²] = -E[s'], by differences
    step, theta, constant = 1e-4, theta_of(name), CONSTANTS[name]
    eta = np.tile(ETA, (len(x), 1))
    score = reference_output.residual(x, eta, theta, constant)
    assert (np.abs(score.mean(axis=0)) < 5 * score.std(axis=0) / 200).all()
    if name != "laplace":  # whose score has a jump
        above = reference_output.residual(x, eta + step * np.eye(3)[0], theta, constant)[:, 0]
        below = reference_output.residual(x, eta - step * np.eye(3)[0], theta, constant)[:, 0]
        information = (above - below).mean() / (2 * step)
        assert (score[:, 0] ** 2).mean() == pytest.approx(information, rel=0.1)


def test_what_is_learnt_has_its_meaning():
    """log_variance, log_shape and log_r are told by the samples' variances."""
    mean = np.exp(ETA)
    gamma = draw("gamma", 100_000).var(axis=0)
    np.testing.assert_allclose(gamma, mean**2 / np.exp(THETA), rtol=0.08)
    counts = draw("negative_binomial", 100_000).var(axis=0)
    np.testing.assert_allclose(counts, mean + mean**2 / np.exp(THETA), rtol=0.08)
    normal = draw("gaussian_diagonal", 100_000).var(axis=0)
    np.testing.assert_allclose(normal, np.exp(THETA), rtol=0.05)


def test_multinomial_samples_have_their_totals():
    totals = np.arange(40_000) % 7
    x = draw("multinomial", totals=totals)
    np.testing.assert_array_equal(x.sum(axis=1), totals)
    share = x.sum(axis=0) / totals.sum()
    np.testing.assert_allclose(share, softmax(ETA[np.newaxis])[0], atol=0.01)


def test_extreme_pre_activations_stay_in_the_domain():
    for eta in (-700.0, -1e-9, 0.0, 1e-9, 700.0):
        x = draw("continuous_bernoulli", 1000, eta=np.full(3, eta))
        assert ((x >= 0) & (x <= 1)).all()
    assert (draw("gamma", 1000, eta=np.full(3, -700.0)) > 0).all()


def test_table():
    table = distribution_table()
    assert [row["name"] for row in table] == list(FAMILIES)
    assert set(table[0]) == {"name", "link", "domain", "is_group", "parameter", "option", "default"}
    assert aefast.distributions.distribution_table() == table


# ---- a user's own ----


class VonMises(Distribution):
    """Angles in [-π, π] around μ = 2 arctan(η), of concentration κ."""

    domain = (-np.pi, np.pi)

    def __init__(self, concentration=2.0):
        self.concentration = concentration

    def mean(self, eta):
        return 2 * np.arctan(eta)

    def link(self, mean):
        return np.tan(np.clip(mean, -3.0, 3.0) / 2)

    def loss(self, eta, x):
        kappa, angle = self.concentration, x - self.mean(eta)
        log_normalizer = np.log(2 * np.pi * i0e(kappa)) + kappa
        return log_normalizer - kappa * np.cos(angle), -kappa * np.sin(angle) * 2 / (1 + eta**2)

    def sample(self, eta, random):
        return random.vonmises(self.mean(eta), self.concentration)


def mean_direction(x):
    return np.angle(np.exp(1j * x).mean(axis=0))


class Geometric(Distribution):
    """Counts x ≥ 0 with mean exp(η)."""

    domain = (0, np.inf)

    def mean(self, eta):
        return np.exp(eta)

    def link(self, mean):
        return np.log(np.maximum(mean, 1e-4))

    def loss(self, eta, x):
        return (x + 1) * np.logaddexp(0, eta) - x * eta, (np.exp(eta) - x) / (1 + np.exp(eta))

    def sample(self, eta, random):
        return random.geometric(1 / (1 + np.exp(eta))) - 1

    def check(self, x):
        if (x != np.rint(x)).any():
            raise ValueError("expected integers")


class Absolute(Distribution):
    """Laplace's, with its kink."""

    name = "absolute error"

    def mean(self, eta):
        return eta

    def link(self, mean):
        return mean

    def loss(self, eta, x):
        return np.abs(eta - x) + np.log(2), np.sign(eta - x)

    def sample(self, eta, random):
        return random.laplace(eta)


@pytest.mark.parametrize("seed", range(3))
def test_good_distributions_pass(seed):
    check_distribution(VonMises(), average=mean_direction, random_state=seed)
    check_distribution(VonMises(0.3), average=mean_direction, random_state=seed)
    check_distribution(Geometric(), random_state=seed)
    check_distribution(Absolute(), random_state=seed)
    check_distribution(Absolute(), average=lambda x: np.median(x, axis=0), random_state=seed)


def test_names():
    assert VonMises().name == "VonMises"
    assert Absolute().name == "absolute error"


def test_abstract_methods_are_asked_for():
    with pytest.raises(TypeError, match="abstract"):
        Distribution()


def change(base, **methods):
    return type("Wrong", (base,), methods)()


def flipped(self, eta, x):
    loss, derivative = Absolute.loss(self, eta, x)
    return loss, -derivative


def in_place(self, eta, x):
    x -= eta
    return np.abs(x) + np.log(2), -np.sign(x)


def half(self, eta, x):
    loss, derivative = VonMises.loss(self, eta, x)
    return loss + 0.5, derivative


WRONG = {
    "sign": (change(Absolute, loss=flipped), "difference quotient"),
    "domain": (change(Absolute, domain=(1, 0)), r"domain: expected \(low, high\)"),
    "domain is no pair": (change(Absolute, domain=None), "domain: expected"),
    "link": (change(Absolute, link=lambda self, mean: mean + 0.01), r"link: link\(mean\(eta\)\)"),
    "link at an end": (
        change(
            Geometric,
            link=lambda self, mean: np.where(mean == 0, -np.inf, np.log(mean + (mean == 0))),
        ),
        "finite eta for the mean 0",
    ),
    "mean outside": (change(Geometric, mean=lambda self, eta: eta), "means in the domain"),
    "mean not finite": (change(Absolute, mean=lambda self, eta: eta * np.nan), "not finite"),
    "other mean": (
        change(Absolute, sample=lambda self, eta, random: random.laplace(eta + 0.1)),
        "sample: the average",
    ),
    "same mean, other samples": (
        change(Absolute, sample=lambda self, eta, random: random.normal(eta)),
        "do not follow",
    ),
    "other counts": (
        change(Geometric, sample=lambda self, eta, random: random.poisson(np.exp(eta))),
        "do not follow",
    ),
    "not reproducible": (
        change(Absolute, sample=lambda self, eta, random: np.random.default_rng().laplace(eta)),
        "another source of chance",
    ),
    "always the same": (
        change(Absolute, sample=lambda self, eta, random: eta + 0.0),
        "other samples from another seed",
    ),
    "samples outside": (
        change(VonMises, sample=lambda self, eta, random: random.normal(eta)),
        "samples in the domain",
    ),
    "samples refused": (
        change(Geometric, sample=lambda self, eta, random: random.exponential(np.exp(eta))),
        "check refuses the samples: expected integers",
    ),
    "no constant": (change(VonMises, loss=half), "integrate to 1 .* got 0.60653"),
    "no tuple": (change(Absolute, loss=lambda self, eta, x: abs(eta - x)), "a tuple"),
    "shape of the loss": (
        change(Absolute, loss=lambda self, eta, x: (abs(eta - x).sum(axis=1), np.sign(eta - x))),
        r"expected arrays of shape \(20, 9\)",
    ),
    "shape of the mean": (change(Absolute, mean=lambda self, eta: eta[0]), r"shape \(1, 9\)"),
    "type": (change(Absolute, mean=lambda self, eta: eta + 0j), "real numbers"),
    "rows together": (
        change(
            Absolute,
            loss=lambda self, eta, x: (abs(eta - x) + x.mean(), np.sign(eta - x)),
        ),
        "each entry to count by itself",
    ),
    "writes": (change(Absolute, loss=in_place), "writes to its arguments"),
    "overflow": (
        change(Absolute, loss=lambda self, eta, x: (np.exp(np.exp(abs(eta))), np.sign(eta - x))),
        "the loss at eta = -20, .* is not finite",
    ),
}


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("wrong, message", WRONG.values(), ids=WRONG)
def test_faults_are_named(wrong, message):
    average = mean_direction if isinstance(wrong, VonMises) else None
    with pytest.raises(AssertionError, match=message) as error:
        check_distribution(wrong, average=average)
    assert str(error.value).startswith(wrong.name)


def test_what_is_no_density_may_say_so():
    half_of_it = change(VonMises, loss=half)
    check_distribution(half_of_it, density=False, average=mean_direction)


def test_what_is_no_distribution():
    for wrong in ("gaussian", VonMises):
        with pytest.raises(AssertionError, match="instance of a subclass"):
            check_distribution(wrong)


@pytest.mark.parametrize("name", [name for name in REFERENCES if not REFERENCES[name].is_group])
def test_links_match_the_reference(name):
    """On both sides of the middle of the domain: a fit starts from the links of the means."""
    low, high = REFERENCES[name].low, REFERENCES[name].high
    if low > -np.inf and high < np.inf:
        means = np.linspace(0.05, 0.95, 13)
    else:
        means = np.geomspace(0.05, 40.0, 13) if low > -np.inf else np.linspace(-3.0, 3.0, 13)
    expected = REFERENCES[name].link(means)
    np.testing.assert_allclose(
        _autoencoder.output_link(name, means), expected, rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("shape", [(), (3,), (1, 2, 3)])
def test_arrays_of_families_have_two_dimensions(shape):
    for family in (FAMILIES["poisson"], FAMILIES["multinomial"]):
        with pytest.raises(ValueError, match=r"x must have 2 dimension"):
            family.log_base(np.ones(shape))
        with pytest.raises(ValueError, match=r"eta must have 2 dimension"):
            family.sample(np.ones(shape))
    with pytest.raises(ValueError, match=r"theta must be a number or have shape \(3,\)"):
        FAMILIES["gamma"].sample(np.ones((2, 3)), np.ones(2))
    with pytest.raises(ValueError, match=r"totals must be a number or have shape \(2,\)"):
        FAMILIES["multinomial"].sample(np.ones((2, 3)), totals=np.ones(3))
    with pytest.raises(TypeError, match=r"random must be a numpy\.random\.Generator"):
        FAMILIES["poisson"].sample(np.ones((2, 3)), random=0)
