"""Whole trainings against the reference, and what their results may depend on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from reference import autoencoder as reference
from support.helpers import PLAIN_OUTPUTS, SOLVER_NAMES, SOLVERS, same_bits
from support.textbook import Autoencoder, StackedAutoencoder

from aefast._base import passes

OUTPUTS = PLAIN_OUTPUTS  # the others: test_recipe.py


# ---- training is the reference's ----


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("solver, options", SOLVERS, ids=SOLVER_NAMES)
def test_training_matches_the_reference(
    solver, options, output, tied, n_threads, isa, make_problem
):
    """Four epochs with a short last batch and a penalty: every parameter and optimizer state."""
    X, _ = make_problem(149, 21, 10)
    settings = {
        "output": output,
        "tied": tied,
        "solver": solver,
        "alpha": 0.02,
        "batch_size": 32,
        **options,
    }
    ae = Autoencoder(10, shuffle=False, tol=0, random_state=0, n_threads=n_threads, **settings)
    start = ae.set_params(max_epochs=0).fit(X)._state.parameters.copy()
    ae.set_params(max_epochs=4).fit(X)
    by_reference = reference.train(
        X,
        reference.unflatten(start, 10, 21, tied),
        [np.arange(149)] * 4,
        **{name: value for name, value in settings.items() if name != "tied"},
    )
    # Rounding of 1e-16 grows with each of the 20 steps, most where Adam divides by a small root.
    expected = reference.flatten(by_reference.parameters)
    assert np.abs(expected - start).max() > 0.01
    np.testing.assert_allclose(ae._state.parameters, expected, rtol=0, atol=1e-11)
    np.testing.assert_allclose(ae._state.optimizer_state, by_reference.state, rtol=0, atol=1e-11)
    np.testing.assert_allclose(ae.loss_curve_, by_reference.loss_curve, rtol=1e-12)
    assert (ae.n_epochs_, ae._state.n_steps, ae._state.n_rows_seen) == (4, 4 * 5, 4 * 149)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("solver, options", SOLVERS, ids=SOLVER_NAMES)
def test_training_in_float32(solver, options, output, tied, isa, make_problem):
    X, _ = make_problem(149, 21, 10, dtype=np.float32)
    ae = Autoencoder(
        10,
        shuffle=False,
        tol=0,
        random_state=0,
        output=output,
        tied=tied,
        batch_size=32,
        solver=solver,
        **options,
    )
    start = ae.set_params(max_epochs=0).fit(X)._state.parameters.copy()
    ae.set_params(max_epochs=4).fit(X)
    assert (
        start.dtype == ae._state.parameters.dtype == ae._state.optimizer_state.dtype == np.float32
    )
    by_reference = reference.train(
        X,
        reference.unflatten(start.astype(np.float64), 10, 21, tied),
        [np.arange(149)] * 4,
        batch_size=32,
        output=output,
        solver=solver,
        **options,
    )
    expected = reference.flatten(by_reference.parameters)
    moved = np.abs(expected - start).max()
    assert np.abs(ae._state.parameters - expected).max() < 1e-4 * moved
    np.testing.assert_allclose(ae.loss_curve_, by_reference.loss_curve, rtol=2e-6)


@pytest.mark.parametrize(
    "n, batch_size", [(149, 1), (149, 7), (149, 149), (149, 1000), (1300, 600)]
)
def test_batch_sizes(n, batch_size, make_problem):
    """One row, a short last batch, all rows, more than all rows, more than a chunk of 512 rows."""
    check_plain_training(*make_problem(n, 12, 5), n_epochs=2, batch_size=batch_size)


@given(
    shape=st.tuples(st.integers(1, 70), st.integers(1, 40), st.integers(1, 40)),
    batch_size=st.integers(1, 80),
    tied=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_any_shape(shape, batch_size, tied, seed, make_problem):
    check_plain_training(
        *make_problem(*shape, tied=tied, seed=seed), n_epochs=1, batch_size=batch_size
    )


def check_plain_training(X, parameters, n_epochs, batch_size):
    """Gradient descent in the given order: the reference's parameters, and as many steps."""
    n, d = X.shape
    k, tied = len(parameters.b), parameters.decoder_weights is None
    options = {"solver": "sgd", "learning_rate": 1e-3, "momentum": 0.0, "batch_size": batch_size}
    ae = Autoencoder(k, tied=tied, shuffle=False, tol=0, random_state=0, **options)
    start = ae.set_params(max_epochs=0).fit(X)._state.parameters.copy()
    ae.set_params(max_epochs=n_epochs).fit(X)
    orders = [np.arange(n)] * n_epochs
    by_reference = reference.train(
        X, reference.unflatten(start, k, d, tied), orders, output="gaussian", **options
    )
    expected = reference.flatten(by_reference.parameters)
    np.testing.assert_allclose(ae._state.parameters, expected, rtol=0, atol=1e-11)
    assert ae._state.n_steps == n_epochs * -(-n // batch_size)


# ---- what results depend on ----


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("shape", [(301, 21, 10), (700, 300, 270)], ids=str)
def test_the_number_of_threads_changes_no_bit(shape, tied, dtype, isa, make_problem):
    n, d, k = shape
    X, _ = make_problem(n, d, k, dtype=dtype)
    for output in OUTPUTS:
        options = {
            "output": output,
            "tied": tied,
            "batch_size": 600 if n > 600 else 64,
            "max_epochs": 2,
            "random_state": 0,
        }
        one, *others = (
            Autoencoder(k, n_threads=n_threads, **options).fit(X) for n_threads in (1, 2, 3, 5)
        )
        for other in others:
            assert same_bits(one, other)
            for method in ("transform", "reconstruct", "score_samples", "reconstruction_error"):
                np.testing.assert_array_equal(getattr(one, method)(X), getattr(other, method)(X))
            np.testing.assert_array_equal(
                one.inverse_transform(one.transform(X)), other.inverse_transform(other.transform(X))
            )


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("shape", [(260, 150, 40), (333, 700, 37), (150, 64, 70)], ids=str)
def test_zeros_are_passed_over_without_a_change_of_bits(shape, dtype, tied, n_threads, isa):
    """Products skip zeros, and not numbers so small that sums do not change by them."""
    n, d, k = shape
    rng = np.random.default_rng(0)
    X = rng.random((n, d), dtype) * (rng.random((n, d)) < 0.1)
    X[: n // 2, d // 4 : d // 2] = 0
    options = {"tied": tied, "solver": "sgd", "batch_size": 130, "shuffle": False, "tol": 0}
    options |= {"random_state": 0, "n_threads": n_threads, "max_epochs": 2, "scale": None}
    parameters = [
        Autoencoder(k, **options).fit(rows.astype(dtype))._state.parameters
        for rows in (X, np.where(X == 0, dtype(1e-30), X))
    ]
    np.testing.assert_array_equal(*parameters)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_how_an_epoch_is_sliced_changes_no_bit(early_stopping, monkeypatch, digits):
    def fit(seconds):
        monkeypatch.setattr(passes, "SLICE_SECONDS", seconds)
        return Autoencoder(
            12, batch_size=16, max_epochs=3, random_state=0, early_stopping=early_stopping
        ).fit(digits)

    whole, step_by_step = fit(1e3), fit(1e-9)
    assert same_bits(whole, step_by_step)
    assert whole._state.n_steps == step_by_step._state.n_steps


def test_shuffling_depends_on_the_seed_alone(digits):
    def fit(seed, **options):
        return Autoencoder(6, max_epochs=2, random_state=seed, **options).fit(digits)

    assert same_bits(fit(0), fit(0))
    assert same_bits(fit(np.random.RandomState(5)), fit(np.random.RandomState(5)))
    assert not same_bits(fit(0), fit(1))
    assert not same_bits(fit(0), fit(0, shuffle=False))


TINY_STEPS = {"solver": "sgd", "momentum": 0.0, "tol": 0, "random_state": 0}


def test_each_epoch_visits_each_row_once(digits):
    """With steps too small to matter, a shuffled epoch has the loss of the whole data."""
    ae = Autoencoder(6, learning_rate=1e-17, batch_size=100, max_epochs=5, **TINY_STEPS).fit(digits)
    np.testing.assert_allclose(ae.loss_curve_, np.mean(ae.reconstruction_error(digits)), rtol=1e-11)


@pytest.mark.parametrize("shuffle", [True, False])
def test_each_epoch_has_an_order_of_its_own(shuffle, digits):
    """The order of rows changes from epoch to epoch.

    The first batch has all rows but one: which one is left decides the step of the epoch.
    """
    ends = []

    def remember(epoch, loss, validation_loss, estimator):
        ends.append(estimator._state.parameters.copy())

    options = {
        "learning_rate": 1e-9,
        "batch_size": len(digits) - 1,
        "shuffle": shuffle,
        **TINY_STEPS,
    }
    Autoencoder(6, max_epochs=3, callbacks=[remember], **options).fit(digits)
    step, next_step = np.diff(ends, axis=0)
    change = np.linalg.norm(next_step - step) / np.linalg.norm(step)
    assert change > 0.1 if shuffle else change < 1e-4


# ---- weights with held-out rows ----


@pytest.mark.parametrize("make", [Autoencoder, StackedAutoencoder])
def test_rows_are_held_out_among_those_of_positive_weight(make, make_problem):
    X, _ = make_problem(60, 6, 3)
    weight = np.zeros(60)
    weight[[7, 31, 40]] = 1, 2, 0.5
    size = 3 if make is Autoencoder else (4, 2)
    for seed in range(12):
        ae = make(size, early_stopping=True, max_epochs=2, tol=0, random_state=seed)
        start = ae.set_params(max_epochs=0).fit(X, sample_weight=weight)._state.parameters
        ae.set_params(max_epochs=2).fit(X, sample_weight=weight)
        assert 0 < min(ae.validation_loss_curve_) <= max(ae.validation_loss_curve_) < np.inf
        assert min(ae.loss_curve_) > 0
        assert not np.array_equal(ae._state.parameters, start)


def test_rows_without_weight_leave_the_held_out_rows_as_they_are(make_problem):
    """The validation loss is that of rows of a table without them, and it is right."""
    X, _ = make_problem(50, 6, 3)
    weight = np.linspace(0, 3, 50).round()
    held_out = []

    def validation_loss_is_of_the_held_out_rows(epoch, loss, validation_loss, ae):
        losses = ae.reconstruction_error(X)
        assert_allclose(validation_loss, np.average(losses[rows], weights=weight[rows]))
        held_out.append(validation_loss)

    ae = Autoencoder(3, early_stopping=True, max_epochs=2, random_state=4)
    seed = ae._draw_seed()
    _, rows = ae._parts(X, weight, seed)
    _, of_weighted = ae._parts(X[weight > 0], weight[weight > 0], seed)
    assert np.array_equal(rows, np.flatnonzero(weight)[of_weighted])
    ae.set_params(callbacks=validation_loss_is_of_the_held_out_rows).fit(X, sample_weight=weight)
    assert held_out == ae.validation_loss_curve_


def test_one_row_of_positive_weight_cannot_be_held_out(make_problem):
    X, _ = make_problem(20, 6, 3)
    ae = Autoencoder(3, early_stopping=True)
    with pytest.raises(ValueError, match=r"2 rows of positive sample_weight .* got 1 of 20"):
        ae.fit(X, sample_weight=np.arange(20) == 5)
    assert not hasattr(ae, "n_features_in_")


@pytest.mark.parametrize("dtype, bound", [(np.float32, 3.5), (np.float64, 5.5)])
def test_errors_of_codes_in_training(dtype, bound, isa):
    """Training has exponentials of its own (docs/develop/training-step.md).

    The loss of a row of one 0, reconstructed as its code, is half the square of the code.
    """
    one, zero = np.ones((1, 1), dtype), np.zeros(1, dtype)
    start = {"solver": "sgd", "learning_rate": 1e-3, "momentum": 0.0}
    for a in np.linspace(-12, 12, 101).astype(dtype):
        ae = Autoencoder.from_parameters(one, np.array([a]), zero, one, **start)
        ae.partial_fit(zero[None])
        code = np.sqrt(2 * np.longdouble(ae.loss_curve_[-1]))
        assert abs(code * (1 + np.exp(-np.longdouble(a))) - 1) <= bound * np.finfo(dtype).eps
