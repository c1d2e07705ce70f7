"""k-sparse codes: which units are kept, sparse steps against products, dead units."""

import numpy as np
import pytest
from reference import autoencoder as reference
from reference import top_k as reference_top_k
from sklearn.base import clone
from support.helpers import SOLVER_NAMES, SOLVERS, same_bits
from support.textbook import Autoencoder

from aefast._base import _runtime
from aefast.networks.variants import REVIVE

N, D, K = 149, 21, 130  # no multiples of anything
SPARSE, DENSE = 5, 40  # of K: through the kept units alone, and by products


# ---- which are kept ----


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize(
    "k, kept", [(1, 1), (7, 2), (33, 33), (100, 9), (1003, 1), (1003, 17), (1003, 700), (5000, 32)]
)
@pytest.mark.parametrize("n", [3, 40])
def test_largest_units_are_kept(n, k, kept, dtype, isa):
    """Codes are the inputs, with few values: of equal ones the first are kept.

    Negative values and zeros of both signs are among them.
    """
    random = np.random.default_rng(k)
    X = random.choice([-2.0, -1.5, -0.0, 0.0, 0.5, 1.0, 7.0], (n, k)).astype(dtype)
    ae = Autoencoder(k, activation="linear", top_k=kept, max_epochs=0).fit(X)
    ae.components_[...], ae.hidden_bias_[...] = np.eye(k), 0
    order = np.argsort(-X, axis=1, kind="stable")[:, :kept]
    expected = np.zeros_like(X)
    np.put_along_axis(expected, order, np.take_along_axis(X, order, axis=1), axis=1)
    np.testing.assert_array_equal(ae.transform(X), expected)


# ---- training, dead units ----


def start_with_dead_units(ae, X, n_dead):
    """The parameters of an estimator that has been fitted with no epochs.

    Units that no row keeps lie together, and alone.
    """
    ae.set_params(max_epochs=0, warm_start=True).fit(X)
    dead = np.r_[np.arange(n_dead), np.arange(40, K, 17)]
    ae.hidden_bias_[dead] = -3.0
    return reference.unflatten(ae._state.parameters.astype(np.float64), K, D, ae.tied), dead


def train_both(X, kept, solver, tied, activation, batch_size=32, n_dead=21, n_epochs=4, **options):
    """(estimator, by_reference, how many units were dead in each batch)"""
    settings = {"solver": solver, "batch_size": batch_size, "activation": activation, **options}
    ae = Autoencoder(K, tied=tied, top_k=kept, shuffle=False, tol=0, random_state=0, **settings)
    parameters, dead = start_with_dead_units(ae, X, n_dead)
    ae.set_params(max_epochs=n_epochs).fit(X)
    by_reference, counts = reference_top_k.train(
        X,
        parameters,
        [np.arange(len(X))] * n_epochs,
        output="gaussian",
        top_k=kept,
        revive=REVIVE,
        **{"learning_rate": 1e-3, **settings},
    )
    moved = np.abs(by_reference.parameters.b[dead] - parameters.b[dead])
    assert counts[0] == 0 and counts[-1] > 0
    assert activation == "relu" or moved.max() > 1e-8  # pulled back, where there is a slope
    return ae, by_reference


@pytest.mark.parametrize("kept", [SPARSE, DENSE])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("solver, options", SOLVERS, ids=SOLVER_NAMES)
def test_training_matches_the_reference(solver, options, tied, kept, isa, make_problem):
    """Four epochs with a short last batch: every parameter, optimizer state and loss.

    Some units are kept by no row of a batch.
    """
    X, _ = make_problem(N, D, K)
    for activation in ("softplus", "relu", "linear"):
        ae, by_reference = train_both(X, kept, solver, tied, activation, **options)
        expected = reference.flatten(by_reference.parameters)
        np.testing.assert_allclose(ae._state.parameters, expected, rtol=0, atol=1e-11)
        np.testing.assert_allclose(
            ae._state.optimizer_state, by_reference.state, rtol=0, atol=1e-11
        )
        np.testing.assert_allclose(ae.loss_curve_, by_reference.loss_curve, rtol=1e-12)


@pytest.mark.parametrize("kept", [SPARSE, DENSE])
@pytest.mark.parametrize("tied", [True, False])
def test_training_in_float32(tied, kept, isa, make_problem):
    X, _ = make_problem(N, D, K, dtype=np.float32)
    options = {"momentum": 0.0, "learning_rate": 0.01}
    ae, by_reference = train_both(X, kept, "sgd", tied, "softplus", **options)
    expected = reference.flatten(by_reference.parameters)
    start = reference.flatten(start_with_dead_units(clone(ae), X, 21)[0])
    moved = np.abs(expected - start).max()
    assert np.abs(ae._state.parameters - expected).max() < 2e-5 * max(moved, 1.0)
    np.testing.assert_allclose(ae.loss_curve_, by_reference.loss_curve, rtol=2e-6)


@pytest.mark.each_value_once
@pytest.mark.parametrize("n_dead", [0, 21, K - 9])
@pytest.mark.parametrize("batch_size", [1, 300, 700])
def test_batch_sizes(batch_size, n_dead, isa, make_problem):
    """One row, several blocks of rows, more than a chunk of 512; few or most units are dead."""
    X, _ = make_problem(1500, D, K)
    options = {"momentum": 0.0, "learning_rate": 0.001, "n_epochs": 2}
    ae, by_reference = train_both(
        X[: 100 if batch_size == 1 else None],
        SPARSE,
        "sgd",
        True,
        "softplus",
        batch_size,
        n_dead,
        **options,
    )
    np.testing.assert_allclose(
        ae._state.parameters, reference.flatten(by_reference.parameters), rtol=0, atol=1e-11
    )


@pytest.mark.parametrize(
    "options",
    [
        {"alpha": 0.1},
        {"weight_decay": 0.1},
        {"clip_norm": 0.3},
        {"max_norm": 0.5},
        {"clip_norm": 0.3, "max_norm": 0.5, "alpha": 0.1, "weight_decay": 0.1},
        {"missing": "mask", "corruption": ("masking", 0.2)},
        {"output": [("bernoulli", slice(0, 9)), ("categorical", slice(9, 21))]},
        {"output": "gaussian_diagonal", "tied": False},
        {"solver": "lbfgs", "batch_size": 128},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "solver, momentum", [("sgd", 0.0), ("sgd", 0.9), ("adam", 0.9), ("adagrad", 0.9)]
)
def test_kept_units_are_the_products(options, solver, momentum, make_problem):
    """Steps through kept units alone in tiles agree with whole products by BLAS."""
    X = make_problem(N, D, K)[0].copy()
    if "missing" in options:
        X[::5, 3] = np.nan
    if "categorical" in str(options):
        X[:, 9:] = np.eye(12)[np.arange(N) % 12]
    settings = {"solver": solver, "momentum": momentum, "learning_rate": 0.01, "batch_size": 32}
    ae = Autoencoder(K, top_k=SPARSE, max_epochs=4, tol=0, random_state=0, **(settings | options))
    products, fitted = _runtime.products(), []
    for kind in ("tiles", "blas"):
        _runtime.set_products(kind)
        fitted.append(clone(ae).fit(X)._state.parameters)
    _runtime.set_products(products)
    np.testing.assert_allclose(*fitted, rtol=0, atol=1e-9 * np.abs(fitted[1]).max())


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("kept", [SPARSE, DENSE])
def test_same_bits_for_any_number_of_threads(kept, dtype, isa, make_problem):
    X, _ = make_problem(700, 70, 270, dtype=dtype)
    ae = Autoencoder(270, top_k=kept, batch_size=300, max_epochs=3, random_state=0, tol=0)
    one, *others = (clone(ae).set_params(n_threads=n).fit(X) for n in (1, 2, 3))
    assert all(same_bits(one, other) for other in others)
