"""Moving averages of weights: against the reference, through every way to go on, in files."""

from pathlib import Path

import numpy as np
import pytest
from reference.solvers import averaged
from scipy.sparse import csr_array
from support import kept_files
from support.helpers import SOLVER_NAMES, SOLVERS, same_bits
from support.solver_problems import check_against_reference
from support.textbook import Autoencoder, StackedAutoencoder

import aefast
from aefast.networks import _autoencoder

N, D, K = 149, 37, 21
DATA = Path(__file__).parents[1] / "data"
OPTIONS = {"weight_averaging": 0.9, "tol": 0, "batch_size": 32, "random_state": 0}
VARIANTS = {
    "plain": {},
    "clipped": {"clip_norm": 0.5},
    "rows": {"max_norm": 1.1, "weight_decay": 0.1},
}


def moving(model):
    """Return the parameters that steps go on from."""
    return model._state.optimizer_state[-1]


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("solver, options", SOLVERS, ids=SOLVER_NAMES)
def test_averages_match_the_reference(solver, options, tied, variant, isa, make_problem):
    X, _ = make_problem(N, D, K)
    given = {"tied": tied, "solver": solver, "alpha": 0.01, **options, **variant}
    for decay in (0.5, 0.999):
        check_against_reference(X, weight_averaging=decay, **given)


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_averages_in_float32(variant, isa, make_problem):
    X, _ = make_problem(N, D, K, dtype=np.float32)
    options = {"solver": "adam", "learning_rate": 0.01, "weight_averaging": 0.9}
    check_against_reference(X, tolerance=1e-4, **options, **variant)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_steps_and_losses_are_those_without_averages(variant, dtype, isa, digits):
    """Parameters that nobody averages move by the same bits."""
    X = digits[:600].astype(dtype)
    one = Autoencoder(12, max_epochs=3, **(OPTIONS | variant)).fit(X)
    plain = Autoencoder(12, max_epochs=3, **(OPTIONS | variant | {"weight_averaging": None})).fit(X)
    np.testing.assert_array_equal(moving(one), plain._state.parameters)
    np.testing.assert_array_equal(one._state.optimizer_state[:-1], plain._state.optimizer_state)
    assert one.loss_curve_ == plain.loss_curve_
    assert np.abs(one._state.parameters - plain._state.parameters).max() > 1e-4


@pytest.mark.parametrize("tied", [True, False])
def test_the_same_bits_for_any_number_of_threads(tied, isa, make_problem):
    X, _ = make_problem(700, 300, 130, dtype=np.float32)
    options = {"tied": tied, "max_epochs": 2, "max_norm": 1.5, "clip_norm": 0.7}
    one, two, three = (
        Autoencoder(130, n_threads=n, **(OPTIONS | options)).fit(X) for n in (1, 2, 3)
    )
    assert same_bits(one, two) and same_bits(one, three)


@pytest.mark.parametrize("rows", ["dense", "sparse"])
def test_weights_that_rest_are_averaged(rows, isa):
    """A unit that no row of a batch keeps has no gradient and rests; its average goes on."""
    X = np.random.default_rng(0).poisson(0.05, size=(96, 60)).astype(float)
    table = csr_array(X) if rows == "sparse" else X
    options = {"solver": "sgd", "momentum": 0.0, "activation": "relu", "top_k": 2}
    options |= {"shuffle": False, "scale": None, "weight_averaging": 0.6}
    ae = Autoencoder(40, **(OPTIONS | options))
    average = ae.set_params(max_epochs=0).fit(table)._state.parameters.copy()
    for begin in range(0, 96, 32):
        ae.partial_fit(table[begin : begin + 32])
        average = averaged(average, moving(ae), begin // 32, 0.6)
    np.testing.assert_allclose(ae._state.parameters, average, rtol=0, atol=1e-13)


def test_trainings_in_parts(isa, digits):
    X = digits[:500]
    whole = Autoencoder(8, max_epochs=4, **OPTIONS).fit(X)
    warm = Autoencoder(8, max_epochs=2, warm_start=True, **OPTIONS).fit(X).fit(X)
    np.testing.assert_array_equal(warm._state.parameters, whole._state.parameters)
    np.testing.assert_array_equal(warm._state.optimizer_state, whole._state.optimizer_state)
    calls = Autoencoder(8, **OPTIONS)
    for _ in range(4):
        calls.partial_fit(X)
    assert same_bits(whole, calls)


def test_validation_is_of_the_averages(digits):
    X, others = digits[:600], digits[600:900]
    seen = []

    def keep(epoch, loss, validation_loss, estimator):
        residual = estimator.reconstruct(others) - others
        seen.append(0.5 * (residual**2).sum(axis=1).mean())

    ae = Autoencoder(8, max_epochs=3, callbacks=keep, **OPTIONS).fit(X, X_val=others)
    np.testing.assert_allclose(ae.validation_loss_curve_, seen, rtol=1e-12)


def test_averages_that_begin_and_end(digits):
    """Both go on from the fitted parameters and the solver's state."""
    X = digits[:500]
    ae = Autoencoder(8, max_epochs=1, warm_start=True, **OPTIONS).fit(X)
    average = ae._state.parameters.copy()
    ae.set_params(weight_averaging=None, max_epochs=0).fit(X)
    np.testing.assert_array_equal(ae._state.parameters, average)
    assert len(ae._state.optimizer_state) == 2 and ae._state.n_steps == 16
    assert ae._state.optimizer_state.any(axis=1).all()
    ae.set_params(weight_averaging=0.9).fit(X)
    np.testing.assert_array_equal(moving(ae), average)
    ae.set_params(max_epochs=1, learning_rate=1e-9).fit(X)
    np.testing.assert_allclose(ae._state.parameters, average, atol=1e-6)
    other = ae.set_params(solver="adagrad", max_epochs=0).fit(X)  # begins a state
    np.testing.assert_array_equal(moving(other), other._state.parameters)
    assert other._state.n_steps == 0


def test_a_checkpoint_has_both(digits, tmp_path):
    X, path = digits[:600], tmp_path / "fit.checkpoint"
    options = OPTIONS | {"max_epochs": 4, "early_stopping": True}
    whole = Autoencoder(8, **options).fit(X)

    def power_failure(epoch, loss, validation_loss, estimator):
        if epoch == 2:
            raise SystemExit

    stored = {"checkpoint": path, "checkpoint_every": "epoch"}
    with pytest.raises(SystemExit):
        Autoencoder(8, callbacks=power_failure, **stored, **options).fit(X)
    resumed = Autoencoder(8, **stored, **options).fit(X)
    assert same_bits(whole, resumed)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_files_have_both(solver, digits, tmp_path):
    X, path = digits[:500], tmp_path / "model.safetensors"
    options = OPTIONS | {"solver": solver, "momentum": 0.0, "max_epochs": 2}
    for model in (
        Autoencoder(8, warm_start=True, **options),
        StackedAutoencoder((9, 4), pretrain_epochs=1, warm_start=True, **options),
    ):
        model.fit(X).save(path)
        loaded = aefast.load(path)
        assert same_bits(model, loaded)
        assert same_bits(model.fit(X), loaded.fit(X))


def test_a_file_of_before_averages():
    ae = aefast.load(DATA / "autoencoder-version-3.safetensors")
    assert ae.weight_averaging is None and not ae._state.averages
    assert len(ae._state.optimizer_state) == 2
    again = aefast.Autoencoder(2, max_epochs=2, random_state=0).fit(kept_files.rows())
    np.testing.assert_allclose(ae.components_, again.components_, rtol=1e-4)


def test_a_stack_is_fine_tuned_from_averages(digits):
    """Each layer's pre-training ends with its average, from which all further training goes on."""
    X = digits[:500]
    stack = StackedAutoencoder((9, 4), pretrain_epochs=2, max_epochs=0, **OPTIONS).fit(X)
    np.testing.assert_array_equal(moving(stack), stack._state.parameters)
    first = stack.layers_[0]
    np.testing.assert_array_equal(moving(first), first._state.parameters)
    plain = StackedAutoencoder((9, 4), pretrain_epochs=2, max_epochs=0, **OPTIONS)
    plain.set_params(weight_averaging=None).fit(X)
    assert stack.pretraining_loss_curves_[0] == plain.pretraining_loss_curves_[0]
    assert stack.pretraining_loss_curves_[1] != plain.pretraining_loss_curves_[1]


def test_parameters_from_elsewhere(digits):
    """Arrays that were trained by others are averaged from their values on."""
    X = digits[:200]
    W = np.random.default_rng(0).normal(scale=0.1, size=(5, X.shape[1]))
    b, c = np.zeros(5), np.zeros(X.shape[1])
    options = {"learning_rate": 1e-9, "max_epochs": 1, "warm_start": True}
    ae = aefast.Autoencoder.from_parameters(W, b, c, weight_averaging=0.9, **options)
    ae.fit(X)
    np.testing.assert_allclose(ae.components_, W, atol=1e-6)
    np.testing.assert_allclose(moving(ae)[: W.size], W.ravel(), atol=1e-6)


def test_a_divergence_keeps_finite_parameters(digits):
    ae = Autoencoder(8, max_epochs=5, learning_rate=1e30, **(OPTIONS | {"solver": "sgd"}))
    with pytest.raises(FloatingPointError, match="diverged"):
        ae.fit(digits[:200])
    assert np.isfinite(ae._state.parameters).all() and np.isfinite(moving(ae)).all()


REFUSED = {
    "lbfgs": {"solver": "lbfgs"},
    "factored": {"sparse_output": "factored", "solver": "sgd", "momentum": 0.0},
}


@pytest.mark.parametrize("options", REFUSED.values(), ids=REFUSED)
def test_steps_that_have_no_average(options, digits):
    with pytest.raises(ValueError, match="weight_averaging"):
        Autoencoder(8, weight_averaging=0.9, **options).fit(digits)


def test_the_solvers_state_is_below_the_average():
    assert max(row["n_state"] for row in _autoencoder.solver_table()) == 2


def test_a_grid_compares_averages(digits):
    search = aefast.AutoencoderCV(
        Autoencoder(8, max_epochs=2, random_state=0),
        {"weight_averaging": [None, 0.9]},
        scoring="rows",
        random_state=0,
    ).fit(digits[:300])
    assert len(set(search.cv_results_["mean_test_score"])) == 2
