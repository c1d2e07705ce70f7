"""Schedules, decay and limits on norms against the reference, and what each is for."""

import numpy as np
import pytest
from reference import autoencoder as reference
from reference import solvers as reference_solvers
from support.helpers import SOLVER_NAMES, SOLVERS, same_bits
from support.solver_problems import D, K, N, check_against_reference
from support.textbook import Autoencoder

from aefast.networks import _autoencoder
from aefast.networks.training import schedules

# ---- schedules and decay ----


def test_every_schedule_has_a_reference():
    assert set(_autoencoder.SCHEDULES) == set(reference_solvers.SCHEDULES)


@pytest.mark.parametrize("schedule", _autoencoder.SCHEDULES)
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("solver, options", SOLVERS, ids=SOLVER_NAMES)
def test_rates_and_decay_match_the_reference(solver, options, tied, schedule, isa, make_problem):
    X, _ = make_problem(N, D, K)
    rates = {"learning_rate_schedule": schedule, "weight_decay": 0.5, "alpha": 0.01}
    check_against_reference(X, tied=tied, solver=solver, **options, **rates)


@pytest.mark.parametrize("schedule", _autoencoder.SCHEDULES)
def test_rates_and_decay_in_float32(schedule, isa, make_problem):
    X, _ = make_problem(N, D, K, dtype=np.float32)
    rates = {"learning_rate_schedule": schedule, "weight_decay": 0.5, "learning_rate": 0.01}
    check_against_reference(X, solver="adam", tolerance=1e-4, **rates)


def test_decay_of_plain_descent_is_the_penalty(digits):
    """With Adam, decay and penalty differ."""
    options = {"max_epochs": 2, "learning_rate": 0.01, "momentum": 0.0, "random_state": 0, "tol": 0}

    def weights(**more):
        return Autoencoder(8, **options, **more).fit(digits).components_

    decay, penalty = weights(solver="sgd", weight_decay=0.1), weights(solver="sgd", alpha=0.1)
    np.testing.assert_allclose(decay, penalty, rtol=0, atol=1e-12)
    assert np.abs(weights(weight_decay=0.1) - weights(alpha=0.1)).max() > 1e-3


def test_biases_do_not_decay(digits):
    """A rate of 1 / weight_decay takes all of the weights in a step, and leaves biases."""
    options = {"solver": "sgd", "momentum": 0.0, "learning_rate": 1e-9, "weight_decay": 1e9}
    ae = Autoencoder(8, max_epochs=1, batch_size=2000, random_state=0, **options).fit(digits)
    assert np.abs(ae.components_).max() < 1e-6
    np.testing.assert_allclose(ae.visible_bias_, digits.mean(axis=0), atol=1e-6)


@pytest.mark.parametrize("schedule", _autoencoder.SCHEDULES)
def test_partial_fit_is_an_epoch_of_the_schedule(schedule, digits):
    options = {"learning_rate_schedule": schedule, "max_epochs": 3, "tol": 0, "random_state": 0}
    whole = Autoencoder(6, **options).fit(digits)
    parts = Autoencoder(6, **options)
    for _ in range(3):
        parts.partial_fit(digits)
    assert same_bits(whole, parts)


def test_cosine_begins_anew(digits):
    """A schedule begins again after max_epochs calls of partial_fit, and in each fit."""
    ae = Autoencoder(6, learning_rate_schedule="cosine", max_epochs=4, tol=0, random_state=0)
    moves = []
    for _ in range(5):
        before = ae._state.parameters.copy() if moves else 0
        moves.append(np.abs(ae.partial_fit(digits)._state.parameters - before).max())
    assert moves[3] < 0.3 * moves[1] and moves[4] > 2 * moves[3]
    warm = Autoencoder(6, learning_rate_schedule="cosine", max_epochs=1, warm_start=True, tol=0)
    first = warm.fit(digits)._state.parameters.copy()
    assert np.abs(warm.fit(digits)._state.parameters - first).max() > 1e-3


def test_invscaling_goes_on(digits):
    options = {"learning_rate_schedule": "invscaling", "tol": 0, "random_state": 0}
    warm = Autoencoder(6, max_epochs=2, warm_start=True, **options).fit(digits).fit(digits)
    longer = Autoencoder(6, max_epochs=4, **options).fit(digits)
    np.testing.assert_array_equal(warm.components_, longer.components_)


# ---- plateau ----


class FakeTrainer:
    learning_rate = 1.0


def test_plateau_divides_the_rate_and_ends():
    trainer = FakeTrainer()
    plateau = schedules.Plateau(0.1, 2, trainer)
    over = [plateau.is_over(loss) for loss in (5.0, 4.0, 3.95, 3.92, 3.5, 3.5, 3.5)]
    assert not any(over)
    assert trainer.learning_rate == 1.0 / 25
    assert [plateau.is_over(3.5) for _ in range(6)] == [False] * 5 + [True]
    assert trainer.learning_rate == 1.0 / 625


def test_plateau_without_tol_never_ends():
    trainer = FakeTrainer()
    plateau = schedules.Plateau(0, 1, trainer)
    assert not any(plateau.is_over(1.0) for _ in range(50))
    assert trainer.learning_rate == 1.0 / 625


def test_plateau_goes_on_where_patience_stops(digits):
    """A rate too high to settle with: divided, it brings the loss further down."""
    options = {"solver": "sgd", "momentum": 0.0, "learning_rate": 0.15, "batch_size": 16}
    options |= {"max_epochs": 200, "tol": 0.02, "n_epochs_no_change": 2, "random_state": 0}
    constant = Autoencoder(16, **options).fit(digits)
    plateau = Autoencoder(16, learning_rate_schedule="plateau", **options).fit(digits)
    assert plateau.n_epochs_ > constant.n_epochs_
    assert plateau.loss_curve_[: constant.n_epochs_] == constant.loss_curve_
    assert plateau.loss_curve_[-1] < constant.loss_curve_[-1] - 0.02


def test_partial_fit_looks_back_at_the_loss_curve(digits):
    options = {"learning_rate_schedule": "plateau", "solver": "sgd", "learning_rate": 0.15}
    options |= {"momentum": 0.0, "batch_size": 16, "tol": 0.1, "n_epochs_no_change": 1}
    whole = Autoencoder(16, max_epochs=12, random_state=0, **options).fit(digits)
    parts = Autoencoder(16, random_state=0, **options)
    for _ in range(whole.n_epochs_):
        parts.partial_fit(digits)
    assert same_bits(whole, parts)
    constant = Autoencoder(16, max_epochs=12, random_state=0, **options)
    constant.set_params(learning_rate_schedule="constant", tol=0).fit(digits)
    assert whole.loss_curve_ != constant.loss_curve_[: whole.n_epochs_]


# ---- limits on norms ----

LIMITS = {
    "clip": {"clip_norm": 0.5},
    "rows": {"max_norm": 1.1},
    "both": {"clip_norm": 2.0, "max_norm": 1.3, "weight_decay": 0.1},
}


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("solver, options", SOLVERS, ids=SOLVER_NAMES)
def test_limits_match_the_reference(solver, options, tied, limits, isa, make_problem):
    X, _ = make_problem(N, D, K)
    check_against_reference(X, tied=tied, solver=solver, alpha=0.01, **options, **limits)


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("batch_size", [32, 149])
def test_limits_in_float32(batch_size, limits, isa, make_problem):
    X, _ = make_problem(N, D, K, dtype=np.float32)
    options = {"solver": "sgd", "momentum": 0.9, "learning_rate": 0.02, "batch_size": batch_size}
    check_against_reference(X, tolerance=1e-4, **options, **limits)


def test_limits_of_large_networks(isa, make_problem):
    """Several strips, blocks and chunks."""
    X, _ = make_problem(600, 150, 100)
    options = {"solver": "sgd", "momentum": 0.0, "learning_rate": 0.01, "batch_size": 600}
    limits = {"clip_norm": 0.5, "max_norm": 6.0}
    ae = Autoencoder(100, shuffle=False, tol=0, random_state=0, max_epochs=2, **options, **limits)
    start = ae.set_params(max_epochs=0).fit(X)._state.parameters.copy()
    ae.set_params(max_epochs=2).fit(X)
    parameters = reference.unflatten(start, 100, 150, True)
    by_reference = reference_solvers.train(
        X, parameters, [np.arange(600)] * 2, output="gaussian", **options, **limits
    )
    np.testing.assert_allclose(
        ae._state.parameters, reference.flatten(by_reference.parameters), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("shape", [(301, 21, 10), (700, 300, 130)], ids=str)
def test_limits_are_the_same_bits_for_any_number_of_threads(shape, tied, dtype, isa, make_problem):
    n, d, k = shape
    X, _ = make_problem(n, d, k, dtype=dtype)
    options = {"tied": tied, "batch_size": 600 if n > 600 else 64, "max_epochs": 2}
    options |= {"clip_norm": 0.7, "max_norm": 1.5, "alpha": 0.01, "random_state": 0}
    one, *others = (Autoencoder(k, n_threads=m, **options).fit(X) for m in (1, 2, 3, 5))
    assert all(same_bits(one, other) for other in others)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
def test_no_row_is_longer_than_max_norm(dtype, isa, digits):
    X = digits.astype(dtype)
    ae = Autoencoder(12, tied=False, max_norm=1.5, learning_rate=0.05, max_epochs=3, random_state=0)
    ae.fit(X)
    for W in (ae.components_, ae.decoder_components_):
        norms = np.linalg.norm(W.astype(np.float64), axis=1)
        assert norms.max() <= 1.5 * (1 + 4 * np.finfo(dtype).eps)
        assert norms.max() > 1.4
    free = Autoencoder(12, tied=False, max_norm=1e6, max_epochs=3, random_state=0).fit(X)
    none = Autoencoder(12, tied=False, max_epochs=3, random_state=0).fit(X)
    assert same_bits(free, none)


def test_a_clipped_step_has_that_length(digits):
    """One step of plain descent with rate 1 is the gradient."""
    options = {"solver": "sgd", "momentum": 0.0, "learning_rate": 1.0, "batch_size": 2000}
    ae = Autoencoder(12, max_epochs=0, random_state=0, **options)
    start = ae.fit(digits)._state.parameters.copy()
    steps = [
        ae.set_params(max_epochs=1, clip_norm=clip_norm).fit(digits)._state.parameters - start
        for clip_norm in (None, 1e-3, 1e6)
    ]
    assert np.linalg.norm(steps[1]) == pytest.approx(1e-3, rel=1e-10)
    assert np.linalg.norm(steps[0]) > 1e-3
    np.testing.assert_allclose(steps[1] / 1e-3, steps[0] / np.linalg.norm(steps[0]), atol=1e-12)
    np.testing.assert_array_equal(steps[2], steps[0])


def test_clipping_saves_a_rate_that_diverges(digits):
    options = {"solver": "sgd", "learning_rate": 2.0, "max_epochs": 5, "random_state": 0}
    with pytest.raises(FloatingPointError, match="diverged"):
        Autoencoder(8, activation="linear", **options).fit(digits)
    ae = Autoencoder(8, activation="linear", clip_norm=0.01, **options).fit(digits)
    assert ae.loss_curve_[-1] < ae.loss_curve_[0]
