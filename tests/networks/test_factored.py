"""Steps that do not depend on the number of columns, against exact steps and the mathematics."""

import numpy as np
import pytest
from scipy import sparse
from support.textbook import Autoencoder

import aefast
from aefast.networks.training import factored

BASE = {
    "solver": "sgd",
    "momentum": 0.0,
    "learning_rate": 0.05,
    "scale": None,
    "tol": 0,
    "random_state": 0,
}


def rows(n=230, d=83, dtype=np.float64):
    """Return rows of which one is empty, and one column is in all others."""
    X = sparse.random(n, d, 0.1, format="lil", rng=np.random.default_rng(0))
    X[:, 7] = 0.5
    X[3] = 0.0
    return X.tocsr().astype(dtype)


CASES = {
    "tied": {},
    "untied": {"tied": False},
    "tanh": {"activation": "tanh"},
    "relu, a large rate": {"activation": "relu", "learning_rate": 0.3},
    "gain": {"gain": True, "learning_rate": 0.01},
    "decay": {"alpha": 0.01, "weight_decay": 0.02},
    "decay, untied": {"alpha": 0.01, "weight_decay": 0.02, "tied": False},
    "a vanishing encoder": {"weight_decay": 4.0, "tied": False},
    "noise": {"row_norm": "l2", "corruption": ("dropout", 0.3)},
    "noise, untied": {"row_norm": "l2", "corruption": ("masking", 0.3), "tied": False},
    "schedule": {"learning_rate_schedule": "cosine"},
    "early stopping": {"early_stopping": True, "n_epochs_no_change": 100},
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CASES)
def test_steps_are_the_exact_ones(name, dtype):
    """1000 steps, at batches that do not divide the rows, agree to 1e-10 in float64."""
    options = BASE | {"batch_size": 23, "max_epochs": 100} | CASES[name]
    X = rows(dtype=dtype)
    weight = np.random.default_rng(1).integers(0, 3, X.shape[0])
    quick = Autoencoder(6, sparse_output="factored", **options).fit(X, sample_weight=weight)
    exact = Autoencoder(6, **options).fit(X, sample_weight=weight)
    close = {"rtol": 1e-10, "atol": 1e-10} if dtype == np.float64 else {"rtol": 1e-3, "atol": 2e-4}
    for attribute in ("components_", "decoder_components_", "visible_bias_", "hidden_bias_"):
        np.testing.assert_allclose(getattr(quick, attribute), getattr(exact, attribute), **close)
    np.testing.assert_allclose(quick.loss_curve_, exact.loss_curve_, **close)
    np.testing.assert_allclose(quick.validation_loss_curve_, exact.validation_loss_curve_, **close)


def test_factors_are_renewed_before_digits_are_lost():
    """The condition number of F stays below its limit, and F U is the decoder."""
    X = rows()
    seen = []

    class Watched(factored.FactoredTrainer):
        def _renew(self, all_of_it=False):
            seen.append((np.linalg.cond(self.factors.F), all_of_it))
            super()._renew(all_of_it)
            F, F_inverse, Q, U, _ = self.factors
            np.testing.assert_allclose(F @ F_inverse, np.eye(len(F)), atol=1e-9)
            D = F @ U[:, : len(F)].T
            np.testing.assert_allclose(Q, D @ D.T, rtol=1e-9, atol=1e-11)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aefast.networks.training.minibatches.FactoredTrainer", Watched)
        options = BASE | {"batch_size": 23, "max_epochs": 110, "learning_rate": 0.2}
        Autoencoder(6, sparse_output="factored", **options).fit(X)
    assert sum(all_of_it for _, all_of_it in seen) == 1  # after 1000 steps
    assert len(seen) > 5
    limit = factored.LIMITS[np.dtype(np.float64)] * 7
    assert max(condition for condition, _ in seen) < 10 * limit


@pytest.mark.slow
@pytest.mark.parametrize("tied", [True, False])
def test_a_million_steps_stay_at_the_exact_path(tied):
    """The exact path begins anew every 1000 steps, because trajectories part by rounding."""
    X = sparse.random(40, 12, 0.2, format="csr", rng=np.random.default_rng(0))
    options = BASE | {"batch_size": 4, "learning_rate": 0.05, "tied": tied, "max_epochs": 100}
    quick = Autoencoder(3, sparse_output="factored", warm_start=True, **options)
    exact = Autoencoder(3, warm_start=True, **options)
    for turn in range(1000):
        if turn:
            exact._state = exact._state._replace(
                parameters=quick._state.parameters.copy(),
                n_steps=quick._state.n_steps,
                n_rows_seen=quick._state.n_rows_seen,
            )
        quick.fit(X)
        exact.fit(X)
        np.testing.assert_allclose(
            quick._state.parameters, exact._state.parameters, rtol=1e-6, atol=1e-6
        )
    assert quick._state.n_steps == 10**6


def test_bits_do_not_depend_on_threads():
    X = rows(n=500, d=1500, dtype=np.float32)
    options = BASE | {"batch_size": 50, "max_epochs": 10, "learning_rate": 0.2}
    fits = [Autoencoder(5, sparse_output="factored", n_threads=n, **options) for n in (1, 2)]
    one, two = (ae.fit(X) for ae in fits)
    np.testing.assert_array_equal(one.components_, two.components_)
    assert one.loss_curve_ == two.loss_curve_


def test_training_goes_on_and_is_saved(path):
    X = rows()
    options = BASE | {"batch_size": 23, "sparse_output": "factored"}
    split = Autoencoder(4, **options)
    whole = Autoencoder(4, max_epochs=4, **options).fit(X)
    split.set_params(max_epochs=2, warm_start=True).fit(X)
    split.save(path)
    split = aefast.load(path)
    split.fit(X)
    np.testing.assert_allclose(split.components_, whole.components_, rtol=1e-9)


def test_divergence_keeps_the_last_finite_parameters():
    ae = Autoencoder(4, **(BASE | {"learning_rate": 1e3, "max_epochs": 50}))
    with pytest.raises(FloatingPointError, match="diverged in epoch"):
        ae.set_params(sparse_output="factored", activation="linear").fit(rows())
    assert np.isfinite(ae.components_).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output": "poisson"}, "needs output='gaussian', got output='poisson'"),
        ({"momentum": 0.9}, "needs momentum=0, got momentum=0.9"),
        ({"solver": "adam"}, "needs solver='sgd'"),
        ({"dropout": 0.1}, "needs dropout=0"),
        ({"corruption": ("gaussian", 0.1)}, "changes zeros"),
        ({"sparse_means": "missing"}, "needs rows whose zeros stay zeros"),
    ],
)
def test_what_has_no_factored_step_is_named(options, message):
    ae = Autoencoder(4, sparse_output="factored", **(BASE | {"max_epochs": 1} | options))
    with pytest.raises(ValueError, match=message):
        ae.fit(rows())


def test_dense_rows_take_exact_steps():
    X = rows().toarray()
    options = BASE | {"max_epochs": 2}
    quick = Autoencoder(4, sparse_output="factored", **options).fit(X)
    np.testing.assert_array_equal(quick.components_, Autoencoder(4, **options).fit(X).components_)
