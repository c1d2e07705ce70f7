"""Rounds of partitions beside fits in memory and the reference: gradients, averages, all rows."""

import numpy as np
import pytest
from reference import autoencoder as reference
from reference import rounds as reference_rounds
from support.partitioned import (
    CUTS,
    EPOCHS,
    D,
    K,
    N,
    bits,
    fitted,
    parts,
    parts_of,
    rows,
    same_bits,
    trained,
)
from support.textbook import Autoencoder as Textbook

from aefast import Autoencoder, StackedAutoencoder
from aefast._base.partitions import Part, PartsInMemory
from aefast.networks import variants
from aefast.networks._autoencoder import Trainer
from aefast.networks.training import lbfgs, round_tasks, rounds, shares
from aefast.networks.training.hyperparameters import Hyperparameters


@pytest.fixture(autouse=True)
def _small_shares(monkeypatch):
    """Batches of a few rows have several shares."""
    monkeypatch.setattr(shares, "LEAST_SHARE", 8)


VARIANTS = {
    "auto": {"max_epochs": 2, "batch_size": "auto"},
    "bounds": {"clip_norm": 0.5, "max_norm": 1.0, "weight_decay": 0.1, "alpha": 0.01},
    "momentum": {"solver": "sgd", "momentum": 0.9, "nesterov": True},
    "adagrad": {"solver": "adagrad", "early_stopping": True, "tied": False},
    "top-k": {"activation": "relu", "top_k": 3, "n_components": 10},
    "noise": {"corruption": ("gaussian", 0.3), "dropout": 0.2, "contraction": 0.1},
    "in order": {"shuffle": False, "output": "gaussian_diagonal"},
    "averages": {"weight_averaging": 0.9, "max_norm": 1.0},
    "lbfgs": {"solver": "lbfgs", "batch_size": "auto", "alpha": 0.01},
}


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_partition_has_the_bits_of_a_fit_in_memory(name, dtype):
    X, options = rows(dtype=dtype), {"n_components": K} | VARIANTS[name]
    given = {"random_state": 0, "max_epochs": EPOCHS, "batch_size": 64} | options
    in_memory = Autoencoder(**given).fit(X)
    alone = fitted(X, [], **options)
    assert same_bits(in_memory._state.parameters, alone._state.parameters)
    assert same_bits(in_memory._state.optimizer_state, alone._state.optimizer_state)
    np.testing.assert_allclose(alone.loss_curve_, in_memory.loss_curve_, rtol=1e-14)
    assert alone.validation_loss_curve_ == in_memory.validation_loss_curve_
    assert alone.n_epochs_ == in_memory.n_epochs_
    if name != "lbfgs":
        local = fitted(X, [], "averaging", **options)
        assert bits(local)[:2] == bits(in_memory)[:2]
        np.testing.assert_allclose(local.loss_curve_, in_memory.loss_curve_, rtol=1e-14)


@pytest.mark.parametrize(
    "options",
    [
        {"top_k": 2, "tied": False},
        {"dropout": 0.3, "fine_tuning_corruption": ("masking", 0.2)},
        {"weight_averaging": 0.9},
    ],
    ids=str,
)
def test_a_stack_on_one_partition_has_the_bits_of_a_fit_in_memory(options):
    X, given = rows(), {"layer_sizes": (9, 6), "pretrain_epochs": 1, "gain": False} | options
    given |= {"batch_size": 64}
    alone = fitted(X, [], cls=StackedAutoencoder, **given)
    in_memory = StackedAutoencoder(random_state=0, max_epochs=EPOCHS, **given).fit(X)
    assert bits(alone)[:2] == bits(in_memory)[:2]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {"solver": "adam", "learning_rate_schedule": "cosine", "alpha": 0.01},
        {"solver": "sgd", "momentum": 0.9, "weight_decay": 0.5, "clip_norm": 0.3},
        {"solver": "adagrad", "max_norm": 0.5},
        {"solver": "muon", "momentum": 0.9, "nesterov": True},
    ],
    ids=lambda options: options["solver"],
)
def test_rounds_are_those_of_the_reference(options, tied, isa):
    """Batches, sums of gradients, steps and losses."""
    X = rows()
    given = options | {"learning_rate": 0.01, "tied": tied, "cls": Textbook, "n_components": K}
    start = fitted(X, max_epochs=0, **given)._state
    ae = fitted(X, batch_size=30, **given)
    of = parts(X)
    sizes = tuple(map(len, of))
    seed = start.seed
    passes = [reference_rounds.batches(sizes, 30, 8, seed, epoch * N) for epoch in range(EPOCHS)]
    parameters = reference.unflatten(start.parameters.copy(), K, D, tied)
    n_steps = sum(map(len, passes))
    alpha = options.get("alpha", 0.0)
    settings = {name: value for name, value in options.items() if name != "alpha"}
    optimizer = reference_rounds.Optimizer(parameters, n_steps, learning_rate=0.01, **settings)
    losses = reference_rounds.train_by_gradients(
        of, passes, optimizer, alpha, output="gaussian", activation="sigmoid"
    )
    assert ae.fit_report_["n_steps"] == n_steps
    expected = reference.flatten(optimizer.parameters)
    np.testing.assert_allclose(ae._state.parameters, expected, rtol=0, atol=1e-11)
    np.testing.assert_allclose(ae._state.optimizer_state, optimizer.state, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(ae.loss_curve_, losses, rtol=1e-11)


def test_averages_are_those_of_the_reference(isa):
    X, batch, steps = rows(), 16, 3
    given = {"learning_rate": 0.01, "cls": Textbook, "n_components": K, "batch_size": batch}
    start = fitted(X, max_epochs=0, **given)._state
    ae = fitted(X, method="averaging", local_steps=steps, **given)
    of = parts(X)
    sizes = tuple(map(len, of))
    passes = [reference_rounds.orders(sizes, start.seed, epoch * N) for epoch in range(EPOCHS)]
    parameters = reference.unflatten(start.parameters.copy(), K, D, True)
    optimizer = reference_rounds.Optimizer(parameters, 1, solver="adam", learning_rate=0.01)
    losses = reference_rounds.train_by_averaging(
        of, passes, optimizer, batch, steps, output="gaussian", activation="sigmoid"
    )
    assert ae.fit_report_["n_steps"] == optimizer.n_steps == EPOCHS * -(-max(sizes) // batch)
    expected = reference.flatten(optimizer.parameters)
    np.testing.assert_allclose(ae._state.parameters, expected, rtol=0, atol=1e-11)
    np.testing.assert_allclose(ae._state.optimizer_state, optimizer.state, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(ae.loss_curve_, losses, rtol=1e-11)


def test_one_machine_with_the_same_batches_differs_by_rounding():
    """A trainer that is given the rows of each round makes the steps of the rounds."""
    X = rows()
    options = {"n_components": K, "cls": Textbook, "learning_rate": 0.01, "batch_size": 32}
    state = fitted(X, max_epochs=0, **options)._state
    ae = fitted(X, max_epochs=1, **options)
    firsts, sizes = [0, *CUTS], tuple(map(len, parts(X)))
    flat, optimizer_state = state.parameters.copy(), state.optimizer_state.copy()
    of_solver = Hyperparameters("adam", 0.01, momentum=0.9)
    given = {"batch_size": N, "n_threads": 1, "n_steps": 0, "variant": variants.PLAIN}
    trainer = Trainer(state.model, X, flat, optimizer_state, of_solver, **given)
    for of_round in reference_rounds.batches(sizes, 32, 8, state.seed, 0):
        trainer.run(np.concatenate([firsts[p] + of for p, of in of_round]), 0.0)
    flat = trainer.values()[0]
    np.testing.assert_allclose(ae._state.parameters, flat, rtol=0, atol=1e-13)


@pytest.mark.parametrize("method", ["rounds", "averaging"])
def test_results_do_not_depend_on_threads(method):
    X = rows(dtype=np.float32)
    options = {"n_components": K, "clip_norm": 0.5}
    one = fitted(X, method=method, n_threads=1, **options)
    assert bits(fitted(X, method=method, n_threads=2, **options)) == bits(one)


@pytest.mark.parametrize("method", ["rounds", "averaging"])
def test_numbers_of_partitions_have_no_part_in_results(method):
    """Partitions without rows are left out by the engines: numbers have gaps then."""
    X = rows()
    of = [Part(3 * i + 1, part) for i, part in enumerate(parts(X))]
    ae = Autoencoder(K, random_state=0, max_epochs=EPOCHS, batch_size=64)
    trained(ae, PartsInMemory(of), method, 3)
    assert bits(ae) == bits(fitted(X, method=method, n_components=K))


def test_the_loss_and_gradient_of_partitions_are_those_of_the_whole():
    X = rows()
    whole = Autoencoder(K, solver="lbfgs", random_state=0, max_epochs=8, tol=0).fit(X)
    ae = fitted(X, n_components=K, solver="lbfgs", max_epochs=8, tol=0)
    assert ae.fit_report_["method"] == "lbfgs"
    np.testing.assert_allclose(ae.loss_curve_[:3], whole.loss_curve_[:3], rtol=1e-12)
    np.testing.assert_allclose(ae.loss_curve_, whole.loss_curve_, rtol=1e-6)


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-6), (np.float64, 1e-14)])
def test_sums_of_partitions_are_those_of_all_rows(dtype, tolerance, isa):
    X = rows(dtype=dtype)
    ae = fitted(X, n_components=K, solver="lbfgs", max_epochs=2, alpha=0.1)
    state, variant = ae._state, variants.PLAIN
    if state.scaling is not None:
        variant = variants.variant_of_rows(state.reading, state.parameters.dtype)
    whole = lbfgs.FullBatch(ae, X, state, variant, None)
    of_parts = [shares.PartitionRows(p, len(of), 0, 0, True) for p, of in enumerate(parts(X))]
    holding = rounds.Holding(parts_of(X), (0, 1, 2, 3), tuple(of_parts))
    problem = round_tasks.Problem(state.model, variant, None)
    by_parts = rounds.FullBatchRounds(ae, holding, problem, state)
    x = state.parameters.astype(np.float64)
    expected, found = whole.loss_and_gradient(x), by_parts.loss_and_gradient(x)
    np.testing.assert_allclose(found[0], expected[0], rtol=tolerance)
    np.testing.assert_allclose(found[1], expected[1], atol=tolerance * np.abs(expected[1]).max())


def test_a_round_of_one_step_of_plain_descent_is_a_step_of_the_mean_gradient():
    X = rows(96)
    options = {"n_components": K, "solver": "sgd", "momentum": 0, "learning_rate": 0.01}
    options |= {"cls": Textbook, "shuffle": False, "max_epochs": 1}
    local = fitted(X, [32, 64], "averaging", local_steps=1, batch_size=32, **options)
    whole = fitted(X, [32, 64], "rounds", batch_size=96, **options)
    np.testing.assert_allclose(local._state.parameters, whole._state.parameters, atol=1e-14)
