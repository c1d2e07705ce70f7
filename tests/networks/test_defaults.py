"""A fit without arguments: where it starts, when it ends, what it says and what it warns of."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from support.helpers import loss_of_means

from aefast import Autoencoder, StackedAutoencoder
from aefast.networks import _autoencoder
from aefast.networks.training.budget import DECAY_BEGINS, Budget

TABLES = {
    "iris": load_iris,
    "wine": load_wine,
    "diabetes": load_diabetes,
    "cancer": load_breast_cancer,
}
ACTIVATIONS = [row["name"] for row in _autoencoder.activation_table()]


def standardised(name):
    X = TABLES[name]().data
    return (X - X.mean(axis=0)) / X.std(axis=0)


def losses_of_linear_models(X, k):
    """Return the losses of the column means and of PCA with k components."""
    squares = np.linalg.svd(X - X.mean(axis=0), compute_uv=False) ** 2
    return 0.5 * squares.sum() / len(X), 0.5 * squares[k:].sum() / len(X)


# ---- quality ----


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
@pytest.mark.parametrize("name", TABLES)
def test_squared_error_is_about_that_of_pca(name, share):
    X = standardised(name)
    k = max(1, int(share * X.shape[1]))
    ae = Autoencoder(k, random_state=0).fit(X)
    means, pca = losses_of_linear_models(X, k)
    assert -1e-9 < ae.reconstruction_error(X).mean() - pca < 0.01 * means


@pytest.mark.parametrize(
    "sizes, rate", [((8, 4), 0.1), ((16, 8, 4), 1 / 15), ((16, 12, 8, 4), 0.05)]
)
def test_rates_fall_with_the_number_of_layers(sizes, rate, digits):
    """Moves of layers multiply: wide networks of four left their minimum at a rate of 0.1."""
    stack = StackedAutoencoder(sizes, output="bernoulli", pretrain_epochs=1, random_state=0)
    stack.set_params(max_epochs=20).fit(digits[:500])
    assert stack.fit_report_["learning_rate"] == pytest.approx(rate, rel=1e-12)
    assert stack.loss_curve_[-1] < loss_of_means(stack, digits[:500])


@pytest.mark.parametrize("name", ["iris", "wine"])
def test_more_units_than_columns(name):
    X = standardised(name)
    ae = Autoencoder(64, random_state=0).fit(X)
    assert ae.reconstruction_error(X).mean() < 0.01 * losses_of_linear_models(X, 0)[0]


def test_probabilities_are_better_than_pca(digits):
    """The sigmoid at the output bends the space of reconstructions to the cube."""
    train, test = digits[:1400], digits[1400:]
    for k in (8, 16):
        ae = Autoencoder(k, output="bernoulli", random_state=0).fit(train)
        mean = train.mean(axis=0)
        V = np.linalg.svd(train - mean, full_matrices=False)[2][:k]
        of_pca = ((test - mean - (test - mean) @ V.T @ V) ** 2).sum(axis=1).mean()
        assert ((ae.reconstruct(test) - test) ** 2).sum(axis=1).mean() < 0.9 * of_pca


def test_a_stack_is_better_than_pca(digits):
    stack = StackedAutoencoder((24, 6), random_state=0).fit(digits[:1400])
    mean = digits[:1400].mean(axis=0)
    V = np.linalg.svd(digits[:1400] - mean, full_matrices=False)[2][:6]
    test = digits[1400:]
    of_pca = 0.5 * ((test - mean - (test - mean) @ V.T @ V) ** 2).sum(axis=1).mean()
    assert stack.reconstruction_error(test).mean() < 0.9 * of_pca


# ---- the start ----

OPTIONS = {
    "plain": {},
    "untied": {"tied": False},
    "top-k": {"top_k": 3},
    "penalty": {"alpha": 0.01},
    "contractive": {"contraction": 0.1},
    "no gain": {"gain": False, "init": "pca"},
}


def outputs_of(X):
    """Return the table of each output, in its domain."""
    size = np.abs(X)
    return {
        "gaussian": X,
        "gaussian_diagonal": X,
        "laplace": X,
        "bernoulli": (X > 0).astype(float),
        "poisson": np.floor(size * 2),
        "gamma": size + 0.1,
    }


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("output", outputs_of(np.ones(1)))
def test_the_first_loss_is_at_most_that_of_the_column_means(output, activation):
    X = outputs_of(standardised("wine"))[output]
    for options in OPTIONS.values():
        ae = Autoencoder(
            5, output=output, activation=activation, max_epochs=0, random_state=0, **options
        ).fit(X)
        loss, constant = ae.fit_report_["loss"], loss_of_means(ae, X)
        assert loss <= constant + 1e-6 * abs(constant), options


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "linear"])
@pytest.mark.parametrize("tied", [True, False])
def test_the_start_is_near_pca(tied, activation):
    X = standardised("diabetes")
    ae = Autoencoder(4, tied=tied, activation=activation, max_epochs=0, random_state=0).fit(X)
    means, pca = losses_of_linear_models(X, 4)
    assert ae.reconstruction_error(X).mean() - pca < 0.02 * means


def test_missing_entries_count_as_means():
    X = standardised("wine")
    X[np.random.default_rng(0).random(X.shape) < 0.1] = np.nan
    ae = Autoencoder(5, missing="mask", max_epochs=0, random_state=0).fit(X)
    assert ae.fit_report_["loss"] < 0.7 * ae.fit_report_["constant_loss"]


HOSTILE = {
    "one row": np.arange(5.0)[np.newaxis],
    "two rows": np.arange(10.0).reshape(2, 5),
    "one column": np.arange(20.0)[:, np.newaxis],
    "constant": np.ones((20, 4)),
    "a constant column": np.column_stack([np.arange(20.0), np.ones(20), np.zeros(20)]),
    "equal rows": np.tile(np.arange(5.0), (30, 1)),
    "tiny": 1e-30 * standardised("iris"),
    "huge": 1e30 * standardised("iris"),
    "far away": 1e6 + standardised("iris"),
    "a column of nothing": np.column_stack([standardised("iris"), np.full(150, np.nan)]),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("k", [1, 7])
def test_hostile_tables(name, k):
    """A fit ends with finite numbers."""
    X = HOSTILE[name]
    ae = Autoencoder(k, missing="mask", max_epochs=3, random_state=0).fit(X)
    assert np.isfinite(ae._state.parameters).all()
    assert np.isfinite(ae.reconstruct(X)).all()


def test_weights_of_zero_leave_rows_out():
    X = standardised("wine")
    weight = np.r_[np.ones(100), np.zeros(78)]
    far = X.copy()
    far[100:] *= 1e3
    one, other = (
        Autoencoder(4, random_state=0, max_epochs=2).fit(x, None, weight) for x in (X, far)
    )
    assert np.array_equal(one._state.parameters[:4], other._state.parameters[:4])


def test_one_table_at_many_scales():
    """Columns are scaled in the model, and losses are in its units."""
    X = standardised("wine")
    losses = []
    for scale in (1e-6, 1.0, 1e6):
        ae = Autoencoder(4, random_state=0).fit(scale * X)
        losses.append(ae.reconstruction_error(scale * X).mean())
    np.testing.assert_allclose(losses, losses[1], rtol=1e-3)


# ---- the end ----


def test_a_fit_ends_by_itself_and_reports():
    X = standardised("wine")
    ae = Autoencoder(4, random_state=0).fit(X)
    report = ae.fit_report_
    assert report["n_epochs"] == len(ae.loss_curve_) < report["max_epochs"]
    assert report["ended"] == "converged"
    assert (report["batch_size"], report["learning_rate_schedule"]) == (32, "trapezoid")
    assert report["loss"] == pytest.approx(ae.reconstruction_error(X).mean())
    assert report["constant_loss"] == pytest.approx(losses_of_linear_models(X, 4)[0])
    again = Autoencoder(4, random_state=0, n_threads=2).fit(X)
    assert again._state.parameters.tobytes() == ae._state.parameters.tobytes()


def test_choices_are_shown(capsys):
    Autoencoder(4, verbose=1, random_state=0).fit(standardised("iris"))
    shown = capsys.readouterr().err
    assert "converged: loss" in shown and "chosen: batch_size=32, learning_rate=0.1" in shown


def test_numbers_are_obeyed():
    X = standardised("wine")
    ae = Autoencoder(4, max_epochs=7, tol=0, learning_rate=1e-3, batch_size=50, random_state=0).fit(
        X
    )
    assert (ae.n_epochs_, ae._state.n_steps) == (7, 7 * 4)
    assert ae.fit_report_["learning_rate_schedule"] == "constant"
    assert "max_epochs" not in ae.fit_report_
    assert ae.fit_report_["ended"] == "max_epochs"


class Steps:
    """A trainer, as far as a budget knows one."""

    def __init__(self, n_epochs, steps_in_epoch):
        self.steps_in_epoch, self.schedule = steps_in_epoch, (0, n_epochs * steps_in_epoch)

    def epoch(self):
        step, n_steps = self.schedule
        self.schedule = step + self.steps_in_epoch, n_steps


def run_budget(losses, n_epochs=100, tol=1e-4, decays=True):
    """Return the budget after the epochs that it allows, and their number."""
    trainer = Steps(n_epochs, 8)
    budget = Budget(trainer, n_epochs, tol, decays)
    for done, loss in enumerate(losses, 1):
        trainer.epoch()
        if budget.is_over(loss):
            return budget, trainer, done
    return budget, trainer, done


def test_the_rate_decays_once_the_loss_has_stopped_falling():
    losses = [1.0 + 0.5**epoch for epoch in range(100)]
    budget, trainer, done = run_budget(losses)
    assert 30 < done <= 60  # the decay has three tenths of the budget
    assert trainer.schedule[0] == trainer.schedule[1]  # the schedule ends with the training
    assert not budget.still_falls


def test_the_whole_budget():
    falling = [0.97**epoch for epoch in range(100)]
    budget, trainer, done = run_budget(falling)
    assert (done, trainer.schedule) == (100, (800, 800))
    assert budget.still_falls
    _, trainer, done = run_budget([1.0] * 100, tol=0)
    assert (done, trainer.schedule[1]) == (100, 800)
    assert run_budget([1.0] * 100, decays=False)[2] < 30
    late = [1.0] * int(100 * DECAY_BEGINS)
    assert run_budget([0.9**epoch for epoch in range(75)] + late[:25])[2] == 100


# ---- warnings ----


def warnings_of(ae, X):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        ae.fit(X)
    return [str(w.message) for w in found if w.category is ConvergenceWarning]


def test_a_good_fit_is_silent():
    assert warnings_of(Autoencoder(4, random_state=0), standardised("wine")) == []


def test_worse_than_the_column_means():
    textbook = Autoencoder(64, gain=False, max_epochs=1, random_state=0)
    (said,) = warnings_of(textbook, standardised("wine"))
    assert "does not beat the column means" in said


def test_a_budget_that_was_too_small(monkeypatch):
    monkeypatch.setattr("aefast.networks.training.automatic.FEWEST_STEPS", 10)
    monkeypatch.setattr("aefast.networks.training.automatic.FEWEST_PASSES", 100)
    ae = Autoencoder(6, tied=False, init="glorot", learning_rate=0.01, tol=0, random_state=0)
    assert any(
        "while the loss still fell" in said for said in warnings_of(ae, standardised("wine"))
    )
    assert ae.fit_report_["ended"] == "budget"


def test_saturated_codes():
    ae = Autoencoder(8, gain=False, max_epochs=1, learning_rate=1e-9, random_state=0)
    found = warnings_of(ae, 1e4 * standardised("wine"))
    assert any("saturated" in said for said in found)


def test_dead_units(monkeypatch):
    """All rows lie on one side, so that about half of the random units are 0 in all of them."""
    monkeypatch.setattr("aefast.networks.training.report.MOST_DEAD", 0.2)
    ae = Autoencoder(
        40, activation="relu", init="glorot", learning_rate=1e-9, max_epochs=1, random_state=0
    )
    assert any("units are dead" in said for said in warnings_of(ae, 9 + standardised("wine")))
