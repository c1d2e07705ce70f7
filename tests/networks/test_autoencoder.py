"""The estimator: results of training, the effect of each parameter, accepted data."""

import re
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from reference import autoencoder as reference
from reference import outputs as reference_outputs
from support.helpers import PLAIN_OUTPUTS, SOLVER_NAMES, SOLVERS, same_bits
from support.textbook import Autoencoder

OUTPUTS = PLAIN_OUTPUTS  # the others: test_recipe.py


# ---- what training gives ----


@pytest.mark.parametrize("solver, options", SOLVERS, ids=SOLVER_NAMES)
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("output", OUTPUTS)
def test_digits_are_learnt(output, tied, solver, options, digits):
    """Held-out rows are reconstructed much better than by the mean of each pixel."""
    train, test = digits[:1500], digits[1500:]
    ae = Autoencoder(
        32,
        output=output,
        tied=tied,
        solver=solver,
        batch_size=32,
        max_epochs=40,
        random_state=0,
        **options,
    ).fit(train)
    assert ae.loss_curve_[-1] < ae.loss_curve_[0]
    reference_output = reference.OUTPUTS[output]
    mean = np.clip(train.mean(axis=0), 1e-4, 1 - 1e-4)
    at_mean = np.broadcast_to(reference_output.link(mean), test.shape)
    mean_loss = reference_outputs.losses(test, at_mean, output).sum(axis=1).mean()
    share = 0.9 if output == "bernoulli" else 0.75  # much cross-entropy is the pixels' own entropy
    assert ae.reconstruction_error(test).mean() < share * mean_loss


def test_alpha_shrinks_the_weights(digits):
    norms = [
        np.linalg.norm(
            Autoencoder(8, alpha=alpha, max_epochs=20, learning_rate=0.01, random_state=0)
            .fit(digits)
            .components_
        )
        for alpha in (0.0, 0.1, 1.0)
    ]
    assert norms[2] < 0.5 * norms[1] < 0.5 * norms[0]


def test_score_is_the_mean_log_likelihood(digits):
    ae = Autoencoder(8, max_epochs=2, random_state=0).fit(digits)
    log_p = ae.score_samples(digits)
    assert log_p.shape == (len(digits),)
    np.testing.assert_allclose(
        log_p, -ae.reconstruction_error(digits) - 32 * np.log(2 * np.pi), rtol=1e-13
    )
    assert ae.score(digits) == pytest.approx(log_p.mean(), rel=1e-14)
    per_feature = ae.reconstruction_error(digits, per_feature=True)
    np.testing.assert_allclose(per_feature.sum(axis=1), ae.reconstruction_error(digits), rtol=1e-13)


def test_one_sample():
    X = np.array([[0.2, 0.4, 0.9]])
    ae = Autoencoder(2, max_epochs=1000, solver="sgd", learning_rate=0.1, tol=0, random_state=0)
    ae.fit(X)
    np.testing.assert_allclose(ae.reconstruct(X), X, atol=1e-3)
    assert ae.transform(X).shape == (1, 2)


def test_attributes(digits):
    ae = Autoencoder(5, max_epochs=3, random_state=0)
    assert ae.fit(digits) is ae
    assert ae.components_.shape == (5, 64)
    assert ae.decoder_components_ is ae.components_ or np.shares_memory(
        ae.decoder_components_, ae.components_
    )
    assert ae.hidden_bias_.shape == (5,)
    assert ae.visible_bias_.shape == (64,)
    assert ae.n_features_in_ == 64
    assert not hasattr(ae, "feature_names_in_")
    assert (ae.n_epochs_, len(ae.loss_curve_), len(ae.validation_loss_curve_)) == (3, 3, 0)
    untied = Autoencoder(5, tied=False, max_epochs=1, random_state=0).fit(digits)
    assert not np.shares_memory(untied.decoder_components_, untied.components_)
    assert untied.decoder_components_.shape == (5, 64)


# ---- stopping and going on ----


def test_max_epochs_0_initialises_only(digits):
    ae = Autoencoder(5, max_epochs=0, random_state=0).fit(digits)
    assert (ae.n_epochs_, ae.loss_curve_, ae._state.n_steps) == (0, [], 0)
    assert ae.transform(digits).shape == (len(digits), 5)


def test_tol_stops_when_the_loss_stays(digits):
    """Where no epoch improves the loss by 1e3 nats, n_epochs_no_change follow the first."""
    ae = Autoencoder(5, max_epochs=50, tol=1e3, n_epochs_no_change=3, random_state=0).fit(digits)
    assert ae.n_epochs_ == len(ae.loss_curve_) == 4


def test_tol_0_runs_all_epochs(digits):
    options = {
        "max_epochs": 12,
        "n_epochs_no_change": 1,
        "random_state": 0,
        "solver": "sgd",
        "learning_rate": 1e-16,
    }
    assert Autoencoder(5, tol=0, **options).fit(digits).n_epochs_ == 12
    assert Autoencoder(5, tol=1e-4, **options).fit(digits).n_epochs_ < 12


def test_early_stopping_watches_rows_held_out(digits):
    ae = Autoencoder(
        5,
        max_epochs=60,
        early_stopping=True,
        tol=0.05,
        n_epochs_no_change=2,
        learning_rate=0.01,
        random_state=0,
    )
    ae.fit(digits)
    assert 2 < ae.n_epochs_ < 60
    assert len(ae.validation_loss_curve_) == len(ae.loss_curve_) == ae.n_epochs_
    n_train = ae._state.n_rows_seen // ae.n_epochs_
    assert ae._state.n_rows_seen == n_train * ae.n_epochs_
    assert abs((len(digits) - n_train) - 0.1 * len(digits)) <= 1
    curve = np.array(ae.validation_loss_curve_)
    best_before = np.minimum.accumulate(curve)[:-1]
    assert all(
        curve[1:][-2:] > best_before[-2:] - 0.05
    )  # the last two epochs brought less than tol


def test_rows_held_out_leave_no_trace_in_the_parameters():
    """A row can be changed without changing a bit of what is learnt exactly if it is held out."""
    X = np.random.default_rng(0).normal(size=(24, 6))

    def learn(X):
        options = {"early_stopping": True, "validation_fraction": 0.25, "max_epochs": 2, "tol": 0}
        return Autoencoder(3, random_state=0, **options).fit(X)

    expected = learn(X)
    held_out = 0
    for row in range(len(X)):
        changed = X.copy()
        changed[row] += 1.0
        fitted = learn(changed)
        held_out += fitted._state.parameters.tobytes() == expected._state.parameters.tobytes()
        assert fitted.validation_loss_curve_ != expected.validation_loss_curve_
    assert held_out == 6
    assert expected._state.n_rows_seen == 2 * 18


def test_a_small_validation_fraction_still_holds_a_row_out():
    X = np.random.default_rng(0).random((4, 3))
    ae = Autoencoder(
        2, early_stopping=True, validation_fraction=0.1, max_epochs=2, random_state=0
    ).fit(X)
    assert len(ae.validation_loss_curve_) == 2
    assert np.isfinite(ae.validation_loss_curve_).all()


@pytest.mark.parametrize("solver, options", SOLVERS, ids=SOLVER_NAMES)
def test_partial_fit_is_an_epoch_of_fit(solver, options, digits):
    """The optimizer's state and the count of rows go on: n calls are n epochs, bit for bit."""
    settings = {"solver": solver, "tol": 0, "random_state": 0, **options}
    whole = Autoencoder(6, max_epochs=3, **settings).fit(digits)
    parts = Autoencoder(6, **settings)
    for _ in range(3):
        assert parts.partial_fit(digits) is parts
    assert whole._state.parameters.tobytes() == parts._state.parameters.tobytes()
    assert whole._state.optimizer_state.tobytes() == parts._state.optimizer_state.tobytes()
    assert (whole._state.n_steps, whole._state.n_rows_seen) == (
        parts._state.n_steps,
        parts._state.n_rows_seen,
    )


def test_partial_fit_goes_on_after_fit(digits):
    ae = Autoencoder(6, max_epochs=2, tol=0, random_state=0).fit(digits)
    ae.partial_fit(digits)
    longer = Autoencoder(6, max_epochs=3, tol=0, random_state=0).fit(digits)
    assert ae._state.parameters.tobytes() == longer._state.parameters.tobytes()


def test_partial_fit_takes_chunks(digits):
    """Chunks of unequal size lower the loss of all."""
    ae = Autoencoder(16, learning_rate=0.01, random_state=0)
    ae.partial_fit(digits[:100])
    before = ae.reconstruction_error(digits).mean()
    for _ in range(5):
        for start in range(0, len(digits), 500):
            ae.partial_fit(digits[start : start + 500])
    assert ae.reconstruction_error(digits).mean() < 0.7 * before


def test_fit_starts_afresh_and_warm_start_goes_on(digits):
    ae = Autoencoder(6, max_epochs=2, tol=0, random_state=0)
    first = ae.fit(digits)._state.parameters.copy()
    np.testing.assert_array_equal(ae.fit(digits)._state.parameters, first)
    ae.set_params(warm_start=True).fit(digits)
    assert (
        ae.loss_curve_[0]
        < 0.99 * Autoencoder(6, max_epochs=1, random_state=0).fit(digits).loss_curve_[0]
    )
    longer = Autoencoder(6, max_epochs=4, tol=0, random_state=0).fit(digits)
    np.testing.assert_array_equal(ae._state.parameters, longer._state.parameters)


# ---- callbacks and progress ----


def test_callbacks_see_each_epoch(digits):
    calls = []
    ae = Autoencoder(
        5,
        max_epochs=3,
        early_stopping=True,
        random_state=0,
        callbacks=[lambda *arguments: calls.append(arguments)],
    )
    ae.fit(digits)
    epochs, losses, validation_losses, estimators = zip(*calls, strict=True)
    assert list(losses) == ae.loss_curve_
    assert list(validation_losses) == ae.validation_loss_curve_
    assert len(set(np.diff(epochs))) == 1 and np.diff(epochs)[0] == 1
    assert all(estimator is ae for estimator in estimators)


def test_a_callback_may_use_the_estimator(digits):
    errors = []

    def watch(epoch, loss, validation_loss, estimator):
        assert validation_loss is None
        errors.append(estimator.reconstruction_error(digits).mean())

    ae = Autoencoder(5, max_epochs=3, random_state=0, callbacks=watch).fit(digits)
    assert errors[-1] == ae.reconstruction_error(digits).mean()
    assert errors[0] > errors[1] > errors[2]


def test_a_callback_stops_training_by_true(digits):
    watched = []
    callbacks = [lambda epoch, *rest: len(watched) == 2, lambda epoch, *rest: watched.append(epoch)]
    ae = Autoencoder(5, max_epochs=30, random_state=0, callbacks=callbacks).fit(digits)
    assert ae.n_epochs_ == len(ae.loss_curve_) == 3
    assert len(watched) == 3  # every callback hears of the last epoch
    truthy = Autoencoder(5, max_epochs=3, random_state=0, callbacks=[lambda *arguments: "no"]).fit(
        digits
    )
    assert truthy.n_epochs_ == 3


def test_an_error_in_a_callback_comes_through(digits):
    def fail(*arguments):
        raise RuntimeError("from the callback")

    ae = Autoencoder(5, max_epochs=3, random_state=0, callbacks=[fail])
    with pytest.raises(RuntimeError, match="from the callback"):
        ae.fit(digits)


def test_verbose_shows_a_bar(digits, capsys):
    Autoencoder(5, max_epochs=2, random_state=0, verbose=1).fit(digits)
    err = capsys.readouterr().err
    assert re.search(r"epoch 2/2.*rows?/s, loss=\d", err)
    Autoencoder(5, max_epochs=2, random_state=0).fit(digits)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


# ---- what data is accepted ----


def test_float32_stays_float32(digits):
    X = digits.astype(np.float32)
    ae = Autoencoder(5, max_epochs=2, early_stopping=True, random_state=0).fit(X)
    results = [
        ae.components_,
        ae.hidden_bias_,
        ae.visible_bias_,
        ae.decoder_components_,
        ae._state.optimizer_state,
    ]
    results += [
        ae.transform(X),
        ae.reconstruct(X),
        ae.inverse_transform(ae.transform(X)),
        ae.partial_fit(X).components_,
    ]
    assert {result.dtype for result in results} == {np.dtype(np.float32)}


@pytest.mark.parametrize("dtype", [np.uint8, np.bool_])
def test_bytes_are_the_same_numbers_as_float32(dtype, digits):
    X = (digits > 0.5).astype(dtype)
    options = {"output": "bernoulli", "max_epochs": 2, "random_state": 0}
    narrow, wide = (Autoencoder(5, **options).fit(data) for data in (X, X.astype(np.float32)))
    assert same_bits(narrow, wide)
    assert narrow.components_.dtype == np.float32
    for method in ("transform", "reconstruct", "score_samples", "reconstruction_error"):
        np.testing.assert_array_equal(
            getattr(narrow, method)(X), getattr(wide, method)(X.astype(np.float32))
        )


@pytest.mark.parametrize("dtype", [np.uint8, np.bool_, np.float32, np.float64])
def test_the_data_is_not_copied(dtype):
    """Memory that Python allocates during a fit and a pass stays far under the size of the data."""
    X = (np.random.default_rng(0).random((40_000, 256)) < 0.5).astype(dtype)
    ae = Autoencoder(4, output="bernoulli", max_epochs=1, random_state=0)
    allowed = {"fit": 0.2, "partial_fit": 0.2, "transform": 0.2, "score_samples": 0.2}
    for method, share in allowed.items():
        tracemalloc.start()
        getattr(ae, method)(X)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < share * X.nbytes, f"{method}: {peak} bytes for {X.nbytes} of data"


def test_memory_maps_lists_and_frames(tmp_path, digits):
    X = digits[:200]
    np.save(tmp_path / "X.npy", X)
    expected = Autoencoder(5, max_epochs=2, random_state=0).fit(X)
    for data in (
        np.load(tmp_path / "X.npy", mmap_mode="r"),
        X.tolist(),
        pd.DataFrame(X),
        np.asfortranarray(X),
        X[::-1].copy()[::-1],
    ):
        fitted = Autoencoder(5, max_epochs=2, random_state=0).fit(data)
        assert same_bits(expected, fitted)
        np.testing.assert_array_equal(fitted.transform(data), expected.transform(X))


def test_integers_are_float64(digits):
    X = (digits * 16).astype(np.int64)
    ae = Autoencoder(5, max_epochs=2, random_state=0).fit(X)
    assert same_bits(ae, Autoencoder(5, max_epochs=2, random_state=0).fit(X.astype(np.float64)))
    assert ae.components_.dtype == np.float64


def test_parameters_are_checked_at_each_fit(digits):
    estimator = Autoencoder(4, batch_size=1, max_epochs=0).fit(digits[:3])
    with pytest.raises(ValueError, match="tied"):
        estimator.set_params(tied=1).fit(digits[:3])  # 1 == True
    with pytest.raises(ValueError, match="batch_size"):
        estimator.set_params(tied=True, batch_size=[1]).fit(digits[:3])  # has no hash
    with pytest.raises(ValueError, match="random_state"):
        estimator.set_params(batch_size=1, random_state=0.5).fit(digits[:3])


def test_integer_seeds_are_those_of_random_state(digits):
    seeds = (3, np.random.RandomState(3))
    assert same_bits(*(Autoencoder(4, max_epochs=1, random_state=s).fit(digits) for s in seeds))
