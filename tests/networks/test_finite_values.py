"""Values that are not finite enter no model, and leave none as a result."""

import numpy as np
import pandas as pd
import pytest
from support.textbook import Autoencoder, StackedAutoencoder

from aefast.distributions import FAMILIES, Distribution

HUGE = np.full((9, 2), 1e308)  # finite, but not the sum of a column


def make(cls, **options):
    if cls is StackedAutoencoder:
        return cls((3, 2), pretrain_epochs=1, random_state=0, **options)
    return cls(2, random_state=0, **options)


# ---- where training starts ----


@pytest.mark.parametrize("max_epochs", [0, 3])
@pytest.mark.parametrize("cls", [Autoencoder, StackedAutoencoder])
def test_rows_without_a_finite_mean_leave_the_model(cls, max_epochs):
    X = np.random.default_rng(0).normal(size=(9, 2))
    ae = make(cls, max_epochs=max_epochs).fit(X)
    before, codes = ae._state.parameters.copy(), ae.transform(X)
    with pytest.raises(ValueError, match=r"mean of column 0 of X overflows: scale X down"):
        ae.fit(HUGE)
    with pytest.raises(ValueError, match=r"mean of column 'b' of X overflows"):
        ae.fit(pd.DataFrame({"a": X[:, 0], "b": HUGE[:, 1]}))
    assert np.array_equal(ae._state.parameters, before)
    assert np.array_equal(ae.transform(X), codes)
    unfitted = make(cls)
    with pytest.raises(ValueError, match="overflows"):
        unfitted.partial_fit(HUGE)
    assert not hasattr(unfitted, "n_features_in_")


def test_replacements_of_missing_entries_are_finite():
    X = np.random.default_rng(0).uniform(1, 2, (9, 2))
    X[0, 0] = np.nan
    gaps = np.vstack([HUGE, X])
    with pytest.raises(ValueError, match="mean of column 0"):
        Autoencoder(2, output="exponential", missing="mask", max_epochs=0).fit(gaps)
    # training that goes on needs the means only where it begins to replace entries
    ae = Autoencoder(2, max_epochs=0, random_state=0).fit(X[1:])
    ae.set_params(warm_start=True).fit(HUGE)
    with pytest.raises(ValueError, match="mean of column 0"):
        ae.set_params(missing="mask").fit(gaps)


class UnboundedLink(Distribution):
    """A Gaussian whose link is not finite for large means."""

    name = "unbounded"

    def mean(self, eta):
        return eta

    def loss(self, eta, x):
        return (eta - x) ** 2 / 2, eta - x

    def sample(self, eta, random):
        return eta

    def link(self, mean):
        return np.where(mean > 1, np.inf, mean)


def test_a_link_that_is_not_finite_is_named():
    X = np.full((4, 3), [0.5, 0.5, 2.0])
    with pytest.raises(ValueError, match=r"'unbounded' links the mean of column 2 of X, 2, .* inf"):
        Autoencoder(2, output=[("gaussian", [0]), (UnboundedLink(), [1, 2])]).fit(X)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_training_does_not_go_on_from_parameters_that_are_not_finite(solver):
    X = np.random.default_rng(0).normal(size=(9, 2))
    ae = Autoencoder(2, max_epochs=2, random_state=0, solver=solver).fit(X)
    ae.components_[0, 1] = np.nan
    with pytest.raises(FloatingPointError, match=r"not finite: fit anew"):
        ae.set_params(warm_start=True).fit(X)


# ---- what callbacks write ----


@pytest.mark.parametrize("ends", ["last epoch", "stop", "partial_fit"])
@pytest.mark.parametrize("where", ["hidden_bias_", "optimizer_state"])
def test_infinity_that_a_callback_writes_last_is_refused(where, ends):
    X = np.random.default_rng(0).normal(size=(40, 5))
    kept = []

    def callback(epoch, loss, validation_loss, ae):
        if epoch == (1 if ends == "partial_fit" else 3):
            kept.extend([ae._state.parameters.copy(), ae._state.optimizer_state.copy()])
            array = ae._state.optimizer_state if where == "optimizer_state" else ae.hidden_bias_
            array[-1] = np.inf
            return ends == "stop"

    ae = Autoencoder(2, callbacks=callback, random_state=0, tol=0)
    ae.set_params(max_epochs=9 if ends == "stop" else 3)
    train = ae.partial_fit if ends == "partial_fit" else ae.fit
    with pytest.raises(FloatingPointError, match=r"a callback .* finite parameters are kept"):
        train(X)
    assert np.array_equal(ae._state.parameters, kept[0])
    assert np.array_equal(ae._state.optimizer_state, kept[1])
    assert np.isfinite(ae.transform(X)).all()


def test_infinity_that_a_callback_writes_early_ends_the_next_epoch():
    X = np.random.default_rng(0).normal(size=(40, 5))

    def callback(epoch, loss, validation_loss, ae):
        if epoch == 1:
            ae.components_[0] = np.inf

    ae = Autoencoder(2, callbacks=callback, max_epochs=3, random_state=0)
    with pytest.raises(FloatingPointError, match="epoch 2"):
        ae.fit(X)
    assert np.isfinite(ae._state.parameters).all()


# ---- results ----


@pytest.fixture
def large():
    """A float64 network whose results float32 cannot hold: h = x + 1, x̂ = 1e100 h, but 0 in x̂₁."""
    ae = Autoencoder(2, activation="linear", tied=False, max_epochs=0, random_state=0)
    ae.fit(np.ones((3, 2)))
    ae.components_[...] = np.eye(2)
    ae.hidden_bias_[...] = 1.0
    ae.decoder_components_[...] = [[0, 1e100], [0, 0]]
    ae.visible_bias_[...] = 0.0
    return ae


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_results_of_a_float64_network_for_float32_rows(large):
    rows = np.array([[-1, 0], [0, 0], [1, 1]], np.float32)
    expected = large.transform(rows.astype(np.float64)).astype(np.float32)
    codes = large.transform(rows)
    assert codes.dtype == np.float32 and np.array_equal(codes, expected)
    assert large.reconstruct(rows.astype(np.float64))[2, 1] == 2e100
    where = r"overflows float32 at row 1, column 1, though X .* pass X as float64"
    with pytest.raises(FloatingPointError, match=where):
        large.reconstruct(rows)
    with pytest.raises(FloatingPointError, match=r"overflows float32 in column 1 though X"):
        large.reconstruction_error(rows, per_feature=True)
    with pytest.raises(FloatingPointError, match=r"overflows float32 though X"):
        large.reconstruction_error(rows)
    with pytest.raises(FloatingPointError, match=r"at row 0, column 1, though H .* pass H as"):
        large.inverse_transform(np.ones((1, 2), bool))
    large.components_[...] = [[1e39, 0], [0, 1]]
    with pytest.raises(FloatingPointError, match=r"at row 2, column 0, though X"):
        large.transform(rows[[1, 1, 2]])


def test_overflowing_columns_have_their_names():
    X = pd.DataFrame(np.ones((3, 2)), columns=["a", "b"])
    ae = Autoencoder(2, max_epochs=0, random_state=0).fit(X)
    ae.visible_bias_[1] = 1e100
    with pytest.raises(FloatingPointError, match=r"at row 0, column 'b', though X"):
        ae.reconstruct(X.astype(np.float32))


def test_log_likelihoods_that_overflow_float32():
    """log x! of a count of 1e37 is 8e38."""
    X = np.array([[1, 2], [1, 1e37]], np.float32)
    ae = Autoencoder(1, output="poisson", max_epochs=0, random_state=0).fit(X[:1])
    with pytest.raises(
        FloatingPointError, match=r"log-likelihood overflows float32 at row 1, .*pass X as float64"
    ):
        ae.score_samples(X)
    with pytest.raises(FloatingPointError, match=r"at row 1, column 1, .*pass X as float64"):
        ae.score_samples(X, per_feature=True)
    assert np.isfinite(ae.score_samples(X.astype(np.float64))).all()


@pytest.mark.parametrize("columns", [[0, 1, 2], [0, 2], [2]])
@pytest.mark.parametrize("dtype, eta", [(np.float32, 100.0), (np.float64, 800.0)])
@pytest.mark.parametrize("output", ["poisson", "exponential", "gamma", "negative_binomial"])
def test_draws_whose_mean_overflows(output, dtype, eta, columns):
    """exp(100) is no float32, exp(800) no float64."""
    rest = [column for column in range(3) if column not in columns]
    parts = [(output, columns)] + ([("bernoulli", rest)] if rest else [])
    X = np.random.default_rng(0).integers(1, 2, (6, 3)).astype(dtype)
    ae = Autoencoder(2, output=parts, max_epochs=0, random_state=0).fit(X)
    H = np.zeros((4, 2), dtype)
    assert np.isfinite(ae.sample_output(H, random_state=0)).all()
    ae.visible_bias_[columns[-1]] = eta
    where = f"{output!r} overflows {np.dtype(dtype)} at row 0, column {columns[-1]}: "
    with pytest.raises(FloatingPointError, match=f"{where}its pre-activation is {eta:g}"):
        ae.sample_output(H, random_state=0)
    with pytest.raises(FloatingPointError, match=where):
        ae.walk_back(X, 3, random_state=0)


def test_draws_of_own_distributions_are_finite():
    class Wild(UnboundedLink):
        def sample(self, eta, random):
            return np.where(eta > 1, np.inf, eta)

    X = np.full((4, 3), 0.5)
    ae = Autoencoder(2, output=Wild(), max_epochs=0, random_state=0).fit(X)
    assert np.isfinite(ae.sample_output(np.zeros((4, 2)))).all()
    ae.visible_bias_[1] = 2
    with pytest.raises(
        FloatingPointError, match=r"'unbounded' overflows float64 at row 0, column 1"
    ):
        ae.sample_output(np.zeros((4, 2)))


@pytest.mark.parametrize("name", ["poisson", "exponential", "gamma", "negative_binomial"])
def test_draws_of_families_are_finite(name):
    eta = np.full((3, 2), 700.0)
    random = np.random.default_rng(0)
    eta[2, 1] = 705.0
    assert np.isfinite(FAMILIES[name].sample(eta - 20, random=random)).all()
    eta[2, 1] = 800.0
    with pytest.raises(FloatingPointError, match=r"overflows float64 at row 2, column 1"):
        FAMILIES[name].sample(eta - 20, random=random)
