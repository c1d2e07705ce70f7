"""A user's own distribution in the estimator, and what is said when it fails.

Built-in distributions written again in NumPy give the same fits.
"""

import copy
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from support.problems import rows_of
from support.textbook import Autoencoder

from aefast import ops
from aefast.distributions import Distribution, check_distribution

D, K = 9, 5


class Counts(Distribution):
    """Poisson's, in NumPy, without log x!: the built-in loss."""

    domain = (0, np.inf)

    def mean(self, eta):
        return np.exp(eta)

    def link(self, mean):
        return np.log(np.clip(mean, 1e-4, None))

    def loss(self, eta, x):
        return np.exp(eta) - x * eta, np.exp(eta) - x

    def sample(self, eta, random):
        return random.poisson(np.exp(eta)).astype(float)

    def check(self, x):
        if (x != np.rint(x)).any():
            raise ValueError(f"expected integers, got {x[x != np.rint(x)][0]}")


class Normal(Distribution):
    name = "my normal"

    def mean(self, eta):
        return eta

    def link(self, mean):
        return mean

    def loss(self, eta, x):
        return 0.5 * (eta - x) ** 2, eta - x

    def sample(self, eta, random):
        return random.normal(eta)


OUTPUTS = {
    "all columns": (Counts(), "poisson"),
    "beside others": (
        [(Counts(), [1, 4, 6]), ("poisson", [0, 2, 3]), (Counts(), 8), ("poisson", [5, 7])],
        "poisson",
    ),
    "two of them": (
        [(Counts(), slice(0, 4)), (Normal(), slice(4, D))],
        [("poisson", slice(0, 4)), ("gaussian", slice(4, D))],
    ),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("gaps", [False, True], ids=["complete", "gaps"])
@pytest.mark.parametrize("name", OUTPUTS)
def test_fits_are_those_of_built_in_ones(name, gaps, dtype, isa):
    own, built_in = OUTPUTS[name]
    X = rows_of("poisson", 150).astype(dtype)
    if gaps:
        X[np.random.default_rng(1).random(X.shape) < 0.2] = np.nan
    ae = Autoencoder(K, missing="mask", learning_rate=0.01, max_epochs=5, tol=0, random_state=0)
    mine, theirs = (clone(ae).set_params(output=output).fit(X) for output in (own, built_in))
    tolerance = {np.float32: 2e-4, np.float64: 1e-11}[dtype]
    np.testing.assert_allclose(mine.components_, theirs.components_, rtol=0, atol=tolerance)
    np.testing.assert_allclose(mine.loss_curve_, theirs.loss_curve_, rtol=tolerance)
    for method in ("reconstruct", "reconstruction_error", "impute"):
        np.testing.assert_allclose(
            getattr(mine, method)(X),
            getattr(theirs, method)(X),
            rtol=1e3 * tolerance,
            atol=tolerance,
        )


def test_gradients_of_ops():
    X = rows_of("poisson", 40)
    random = np.random.default_rng(0)
    W, b, c = random.normal(0, 0.3, (K, D)), random.normal(size=K), random.normal(size=D)
    for own, built_in in OUTPUTS.values():
        mine = ops.loss_and_gradients(X, W, b, c, output=own)
        theirs = ops.loss_and_gradients(X, W, b, c, output=built_in)
        assert mine[0] == pytest.approx(theirs[0], rel=1e-12)
        for one, other in zip(mine[1][:3], theirs[1][:3], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


def test_same_bits_for_any_number_of_threads():
    X = rows_of("poisson", 300, 70)
    output = [(Counts(), slice(0, 50)), ("poisson", slice(50, 70))]
    ae = Autoencoder(33, output=output, batch_size=64, max_epochs=2, random_state=0)
    one, two = (clone(ae).set_params(n_threads=n).fit(X) for n in (1, 2))
    assert one._state.parameters.tobytes() == two._state.parameters.tobytes()


def test_likelihoods_and_samples():
    """The whole loss is the density: nothing is put back."""
    X = rows_of("gaussian", 60)
    ae = Autoencoder(K, output=Normal(), max_epochs=3, random_state=0).fit(X)
    expected = -0.5 * ((ae.reconstruct(X) - X) ** 2)
    np.testing.assert_allclose(ae.score_samples(X, per_feature=True), expected, rtol=1e-9)
    H = np.repeat(ae.transform(X[:1]), 10_000, axis=0)
    drawn = ae.sample_output(H, random_state=0)
    np.testing.assert_allclose(drawn.mean(axis=0), ae.inverse_transform(H[:1])[0], atol=0.06)
    np.testing.assert_allclose(drawn.std(axis=0), 1.0, atol=0.05)


def test_domains_are_checked():
    X = rows_of("poisson", 30)
    for column, value in ((2, -1.0), (8, np.inf)):
        bad = X.copy()
        bad[4, column] = value
        with pytest.raises(ValueError, match=f"row 4, column {column}"):
            Autoencoder(K, output=Counts()).fit(bad)


def test_its_own_check_is_asked():
    """By `fit`, losses and `ops`; the message has the place, and what it said."""
    X = rows_of("poisson", 30)
    ae = Autoencoder(K, output=[(Normal(), [0, 1]), (Counts(), slice(2, D))], missing="mask")
    ae.fit(X)
    X[7, 3], X[21, 5], X[4, 6] = 1.5, 2.5, np.nan
    X[2, 0] = 0.25  # a normal number
    for call in (ae.fit, ae.score_samples, ae.reconstruction_error):
        with pytest.raises(ValueError, match=r"'Counts' refuses X at row 7, column 3: .* got 1\.5"):
            call(X)


def raising(self, eta, x):
    raise RuntimeError("out of paper")


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize(
    "loss, error, message",
    [
        (raising, RuntimeError, "out of paper"),
        (lambda self, eta, x: (eta[:, :1, None], x), ValueError, "broadcast"),
        (lambda self, eta, x: eta, ValueError, "unpack"),
    ],
)
def test_faults_of_its_own_reach_the_caller(loss, error, message, n_threads):
    """An exception of the user's method, or about its result, ends the fit."""
    broken = type("Broken", (Normal,), {"loss": loss})()
    ae = Autoencoder(K, output=broken, n_threads=n_threads)
    with pytest.raises(error, match=message):
        ae.fit(rows_of("gaussian", 300, 70))


def test_clones_copies_and_pickles():
    X = rows_of("poisson", 30)
    ae = Autoencoder(K, output=Counts(), max_epochs=2, random_state=0).fit(X)
    for other in (clone(ae).fit(X), copy.deepcopy(ae), pickle.loads(pickle.dumps(ae))):
        np.testing.assert_array_equal(other.reconstruct(X), ae.reconstruct(X))


def test_files_refuse_what_they_cannot_hold(path):
    ae = Autoencoder(K, output=Normal(), max_epochs=1).fit(rows_of("gaussian", 30))
    with pytest.raises(ValueError, match="'my normal', cannot be saved to a file: pickle"):
        ae.save(path)
    assert not path.exists()


def test_the_check_passes_what_is_no_density():
    check_distribution(Normal(), density=False)
    check_distribution(Counts(), density=False)
