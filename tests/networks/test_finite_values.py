"""Values that are not finite enter no model, and leave none as a result."""

import numpy as np
import pandas as pd
import pytest

from aefast import Autoencoder, StackedAutoencoder
from aefast.distributions import Distribution

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
