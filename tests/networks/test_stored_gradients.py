"""Training that stores the whole gradient before weights move.

Solvers that look at a whole matrix need it. The flag is given to the bindings with solvers that
work without it.
"""

import numpy as np
import pytest

from aefast.networks import _autoencoder
from aefast.networks.fitted import n_optimizer_states
from aefast.networks.network import single_layer, stacked_network
from aefast.networks.outputs import plain_output, resolve_output
from aefast.networks.training.hyperparameters import Hyperparameters
from aefast.networks.variants import PLAIN, REVIVE, Variant

N, D, K = 300, 37, 29
SOLVERS = {
    "sgd": {"momentum": 0.0},
    "nesterov": {"solver": "sgd", "momentum": 0.9, "nesterov": True},
    "adam": {},
    "adagrad": {"alpha": 0.01, "weight_decay": 0.1, "max_norm": 0.5},
}
MIXED = resolve_output([("gaussian_diagonal", slice(0, 20)), ("categorical", slice(20, D))], D)
NETWORKS = {
    "tied": single_layer(D, K, True, "sigmoid", plain_output("gaussian")),
    "untied, mixed": single_layer(D, K, False, "tanh", MIXED),
    "top-k": single_layer(D, K, True, "relu", plain_output("gaussian"), 3),
    "deep": stacked_network(D, (K, 11), "sigmoid", "linear", plain_output("gaussian")),
}


def same_bits(a, b):
    return a.tobytes() == b.tobytes()


def rows_of(dtype):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, D))
    X[:, 20:] = np.eye(D - 20)[rng.integers(D - 20, size=N)]  # for the group of the mixed output
    return X.astype(dtype)


def trainer_of(network, X, solver, stores_gradient, n_threads=1, **options):
    rng = np.random.default_rng(1)
    flat = rng.normal(scale=0.3, size=network.n_parameters).astype(X.dtype)
    settings = {"solver": solver, "learning_rate": 0.01} | options | SOLVERS.get(solver, {})
    given = Hyperparameters(**settings)
    n_states = n_optimizer_states(given.solver, given.momentum)
    variant = PLAIN
    if network.layers[0].top_k:
        variant = Variant(revive=REVIVE, dead_rows=64, rows_unused=np.zeros(K, np.int64))
    return _autoencoder.Trainer(
        network,
        X,
        flat,
        np.zeros((n_states, flat.size), X.dtype),
        given,
        batch_size=70,
        n_threads=n_threads,
        n_steps=0,
        variant=variant,
        stores_gradient=stores_gradient,
    )


def trained(*arguments, **options):
    """Return parameters, optimizer state and losses after two passes."""
    trainer = trainer_of(*arguments, **options)
    order, losses = np.arange(N), []
    for _ in range(2):
        loss, status = trainer.run(order, 0.0)
        assert status == 0
        losses.append(loss)
    flat, state, n_steps = trainer.values()
    assert n_steps == 2 * -(-N // 70)
    return flat, state, np.array(losses)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", NETWORKS)
def test_training_is_that_of_the_fused_update(name, solver, isa):
    for dtype, tolerance in ((np.float32, 1e-5), (np.float64, 1e-13)):
        X = rows_of(dtype)
        fused, stored = (trained(NETWORKS[name], X, solver, stores) for stores in (False, True))
        for one, other in zip(fused, stored, strict=True):
            bound = tolerance * np.abs(one).max(initial=1)
            np.testing.assert_allclose(other, one, rtol=0, atol=bound)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", NETWORKS)
def test_bits_do_not_depend_on_threads(name, solver, isa):
    X = rows_of(np.float32)
    one, *others = (trained(NETWORKS[name], X, solver, True, n) for n in (1, 2, 5))
    for other in others:
        assert all(same_bits(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("stores_gradient", [False, True])
def test_units_that_die_within_a_pass_die_in_all_threads_at_once(stores_gradient):
    """All threads find the same units dead, though each asks at its own pace all through a step.

    There are many repetitions, since threads are seldom far apart.
    """
    X, network = rows_of(np.float32), NETWORKS["top-k"]
    one = trained(network, X, "adagrad", stores_gradient)[0]
    for n_threads in [2, 5] * 75:
        assert same_bits(trained(network, X, "adagrad", stores_gradient, n_threads)[0], one)


@pytest.mark.parametrize(
    ("name", "size"), [("tied", 2.4e19), ("untied, mixed", 1.5e19), ("deep", 2.4e19)]
)
def test_nothing_moves_before_the_whole_gradient_is_known(name, size, isa):
    """Where a gradient's squares overflow, stored gradients end the call before weights move.

    The loss is finite; a fused update moves the weights.
    """
    X = rows_of(np.float32)
    X[:, 0] = size
    options = {"learning_rate": 1e-30}
    before = trainer_of(NETWORKS[name], X, "sgd", True, **options).values()[0].copy()
    statuses, moved = [], []
    for stores in (False, True):
        trainer = trainer_of(NETWORKS[name], X, "sgd", stores, **options)
        _, status = trainer.run(np.arange(70), 0.0)
        statuses.append(status)
        moved.append(not same_bits(trainer.values()[0], before))
    assert statuses == [0, _autoencoder.NOT_FINITE] and moved[1] is False


def test_clipping_and_the_flag_take_one_path():
    """A norm that no gradient reaches changes no bit of training with stored gradients."""
    X = rows_of(np.float32)
    plain, clipped = (
        trained(NETWORKS["tied"], X, "adam", True, clip_norm=norm) for norm in (0.0, 1e9)
    )
    assert all(same_bits(a, b) for a, b in zip(plain, clipped, strict=True))
    short = trained(NETWORKS["tied"], X, "sgd", True, clip_norm=1e-3)[0]
    assert not same_bits(short, trained(NETWORKS["tied"], X, "sgd", True)[0])


def test_no_solver_stores_gradients_for_nothing():
    assert {row["name"] for row in _autoencoder.solver_table() if row["whole_gradient"]} == {"muon"}


# ---- gradients that were computed elsewhere ----


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("clip_norm", [0.0, 0.2])
def test_a_given_gradient_makes_the_step_of_its_batch(solver, name, dtype, clip_norm, isa):
    """Batches of 70 rows and a smaller one; losses include the penalty."""
    network, X = NETWORKS[name], rows_of(dtype)
    options = {"stores_gradient": False, "clip_norm": clip_norm}
    by_rows, by_gradients = (trainer_of(network, X, solver, **options) for _ in range(2))
    for batch in np.array_split(np.arange(N), [70, 140, 210, 280]):
        unused = by_gradients.variant.rows_unused
        before = None if unused is None else unused.copy()
        variant = by_gradients.variant._replace(rows_unused=before)
        parameters = network.split(by_gradients.values()[0])
        rows = X[batch]
        loss, gradient, status = _autoencoder.loss_and_gradients(
            network, rows, parameters, None, None, len(rows), 1, variant
        )
        assert status == 0
        found, status = by_gradients.step(gradient, loss, len(rows), 1.0, before)
        expected, _ = by_rows.run(batch, 1.0)
        assert status == 0
        np.testing.assert_allclose(found, expected, rtol=1e-15)
    for one, other in zip(by_rows.values()[:2], by_gradients.values()[:2], strict=True):
        assert same_bits(one, other)
    if unused is not None:
        assert same_bits(unused, by_rows.variant.rows_unused)
    for name in ("n_steps", "n_rows_done", "rate", "schedule"):
        assert getattr(by_rows, name) == getattr(by_gradients, name)


@pytest.mark.parametrize("clip_norm", [0.0, 0.2])
def test_a_given_loss_that_is_not_finite_changes_nothing(clip_norm):
    network, X = NETWORKS["tied"], rows_of(np.float64)
    trainer = trainer_of(network, X, "adam", False, clip_norm=clip_norm)
    before = [array.copy() for array in trainer.values()[:2]]
    gradient = np.full(network.n_parameters, 0.1)
    assert trainer.step(gradient, np.nan, 70, 0.0)[1] == _autoencoder.NOT_FINITE
    if clip_norm:
        gradient[5] = np.inf
        assert trainer.step(gradient, 1.0, 70, 0.0)[1] == _autoencoder.NOT_FINITE
    assert all(map(same_bits, before, trainer.values()[:2]))
    assert trainer.n_steps == trainer.n_rows_done == 0
