"""A network that is fitted anew, to other columns, while it is used or interrupted."""

import sys
import threading

import numpy as np
import pandas as pd
import pytest
from support.textbook import Autoencoder, StackedAutoencoder

from aefast._base import arrays
from aefast.networks import _autoencoder
from aefast.networks.training.hyperparameters import hyperparameters_of
from aefast.networks.training.minibatches import Trainer
from aefast.networks.variants import PLAIN

WIDE = np.random.default_rng(0).uniform(size=(12, 30))
NARROW = WIDE[:, :4].copy()

METHODS = {
    "transform": lambda ae, X: ae.transform(X),
    "reconstruct": lambda ae, X: ae.reconstruct(X),
    "reconstruction_error": lambda ae, X: ae.reconstruction_error(X, per_feature=True),
    "score_samples": lambda ae, X: ae.score_samples(X),
    "impute": lambda ae, X: ae.impute(X),
    "walk_back": lambda ae, X: ae.walk_back(X, 2, random_state=0),
}


def make(cls=Autoencoder, **options):
    size = (3, 2) if cls is StackedAutoencoder else 2
    return cls(size, max_epochs=1, missing="mask", random_state=0, **options)


# ---- another thread fits between the check of the rows and the kernel ----


@pytest.mark.parametrize("cls", [Autoencoder, StackedAutoencoder])
@pytest.mark.parametrize("method", METHODS)
def test_a_fit_meanwhile_leaves_a_result_of_the_fitted_state(cls, method, monkeypatch):
    expected = METHODS[method](make(cls).fit(NARROW), NARROW)
    ae, checked = make(cls).fit(NARROW), arrays.estimator_rows

    def checked_before_a_fit(estimator, X, *, reset, **options):
        rows = checked(estimator, X, reset=reset, **options)
        if estimator is ae and not reset:
            ae.fit(WIDE)
        return rows

    monkeypatch.setattr(arrays, "estimator_rows", checked_before_a_fit)
    assert np.array_equal(METHODS[method](ae, NARROW), expected)
    assert ae.n_features_in_ == 30


@pytest.mark.parametrize("method", ["transform", "reconstruct", "reconstruction_error"])
def test_a_fit_before_the_check_is_noticed_by_the_kernel(method, monkeypatch):
    ae, checked = make().fit(WIDE), arrays.estimator_rows

    def checked_after_a_fit(estimator, X, *, reset, **options):
        if estimator is ae and not reset:
            ae.fit(NARROW)
        return checked(estimator, X, reset=reset, **options)

    monkeypatch.setattr(arrays, "estimator_rows", checked_after_a_fit)
    with pytest.raises(ValueError, match="reads rows of 30 columns got rows of 4"):
        METHODS[method](ae, NARROW)


def test_transforms_while_another_thread_fits():
    ae, stop = make().fit(WIDE), threading.Event()

    def fit_again():
        while not stop.is_set():
            ae.fit(NARROW).fit(WIDE)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread = threading.Thread(target=fit_again)
    thread.start()
    expected = make().fit(NARROW).transform(NARROW)
    try:
        for _ in range(200):
            try:
                codes = ae.transform(NARROW)
            except ValueError as error:
                assert "expecting 30 features" in str(error) or "of 30 columns" in str(error)
            else:
                # the training in the other thread changes the parameters meanwhile
                assert codes.shape == expected.shape and np.isfinite(codes).all()
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)


# ---- the kernels compare rows and weights with the network ----


def test_kernels_refuse_rows_of_another_width():
    state = make().fit(WIDE)._state
    (layer,), (parameters,) = state.model.layers, state.model.split(state.parameters)

    def one_pass(rows, **options):
        n = len(rows)
        out = {"row_losses": np.empty(n)}
        _autoencoder.one_pass(layer, rows, parameters, None, None, n, 1, False, **options, **out)

    one_pass(WIDE)
    codes = np.zeros((12, 2))
    one_pass(codes, from_codes=True, targets=(WIDE, None))
    for rows, options in (
        (NARROW, {}),
        (WIDE, {"from_codes": True, "targets": (WIDE, None)}),
        (codes, {"from_codes": True, "targets": (NARROW, None)}),
    ):
        with pytest.raises(ValueError, match="columns got rows of"):
            one_pass(rows, **options)
    with pytest.raises(ValueError, match="reads rows of 30 columns got rows of 4"):
        _autoencoder.loss_and_gradients(state.model, NARROW, (parameters,), None, None, 4, 1, PLAIN)
    with pytest.raises(ValueError, match="reads rows of 30 columns got rows of 4"):
        arguments = (state.parameters, state.optimizer_state, hyperparameters_of(make()))
        Trainer(
            state.model, NARROW, *arguments, batch_size=4, n_threads=1, n_steps=0, variant=PLAIN
        )


def test_kernels_refuse_weights_of_another_shape():
    state, other = make().fit(WIDE)._state, make().fit(NARROW)._state
    (parameters,) = other.model.split(other.parameters)
    out = {"codes": np.empty((12, 2))}
    with pytest.raises(ValueError, match=r"layer of shape \(2, 30\) got weights of shape \(2, 4\)"):
        _autoencoder.one_pass(
            state.model.layers[0], WIDE, parameters, None, None, 12, 1, False, **out
        )


# ---- one truth about the width ----


@pytest.mark.parametrize("cls", [Autoencoder, StackedAutoencoder])
def test_the_width_cannot_be_assigned(cls):
    ae = make(cls)
    assert not hasattr(ae, "n_features_in_")
    ae.fit(WIDE)
    with pytest.raises(AttributeError):
        ae.n_features_in_ = 4
    with pytest.raises(ValueError, match="30 features"):
        ae.transform(NARROW)


def lines_of(code):
    """Return the lines of a function that hold code, counted from its first."""
    first = code.co_firstlineno
    return sorted({line - first for _, _, line in code.co_lines() if line} - {0})


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize("line", lines_of(Autoencoder._begin.__code__))
@pytest.mark.parametrize("cls", [Autoencoder, StackedAutoencoder])
def test_an_interrupt_leaves_width_and_state_alike(cls, line):
    """Ctrl-C before each line of the method that makes the estimator a fitted one."""
    named = pd.DataFrame(NARROW, columns=list("abcd"))
    for before, after in ((WIDE, NARROW), (WIDE, named), (named, WIDE)):
        ae = make(cls).fit(before)

        def trace(frame, event, argument):
            code = Autoencoder._begin.__code__
            if frame.f_code is code:
                if event == "line" and frame.f_lineno - code.co_firstlineno == line:
                    raise KeyboardInterrupt
                return trace
            return None

        sys.settrace(trace)
        try:
            ae.fit(after)
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(None)
        assert ae.n_features_in_ == ae._state.model.n_features
        table = before if ae.n_features_in_ == before.shape[1] else after
        if hasattr(ae, "feature_names_in_"):
            assert list(ae.feature_names_in_) == list(named.columns)
            assert ae.n_features_in_ == 4
        assert ae.transform(np.asarray(table)).shape == (12, 2)
        assert len(ae.loss_curve_) == ae.n_epochs_
