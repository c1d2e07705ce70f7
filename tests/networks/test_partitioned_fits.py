"""Fits to rows in partitions: weights, starts, stacks, ends, checkpoints, refusals."""

import numpy as np
import pytest
from scipy import sparse
from support.partitioned import CUTS, D, K, N, bits, fitted, parts_of, rows, same_bits, trained

from aefast import Autoencoder, StackedAutoencoder
from aefast._base.partitions import Part, PartsInMemory
from aefast.networks.training import partitioned, rounds, shares
from aefast.networks.training.partitioned import fit_partitions


@pytest.fixture(autouse=True)
def _small_shares(monkeypatch):
    """Batches of a few rows have several shares."""
    monkeypatch.setattr(shares, "LEAST_SHARE", 8)


# ---- weights ----


def weighted(X, weight, cuts=CUTS):
    pairs = zip(np.split(X, cuts), np.split(weight, cuts), strict=True)
    return PartsInMemory([Part(i, of, sample_weight=w) for i, (of, w) in enumerate(pairs)])


@pytest.mark.parametrize("method", ["rounds", "averaging", "lbfgs"])
def test_weights_of_one_partition_have_the_bits_of_a_fit_in_memory(method):
    X, weight = rows(dtype=np.float32), np.random.default_rng(1).gamma(2.0, size=N)
    options = {"random_state": 0, "batch_size": 64, "max_epochs": 3, "n_components": K}
    options["solver"] = "lbfgs" if method == "lbfgs" else "adam"
    whole = Autoencoder(**options).fit(X, sample_weight=weight)
    alone = fit_partitions(Autoencoder(**options), weighted(X, weight, []), method)
    assert same_bits(alone._state.parameters, whole._state.parameters)
    assert not same_bits(alone._state.parameters, fitted(X, [], method, **options)._state[2])
    assert alone.fit_report_["loss"] == whole.fit_report_["loss"]


def test_a_weight_is_a_number_of_copies():
    """In the loss of all rows, from a start that does not depend on their weights."""
    X, counts = rows(), np.random.default_rng(1).integers(0, 3, N).astype(float)
    counts[[3, 30, 91, 150]] = 1.0  # each partition has some
    ends = np.cumsum(counts)[np.array(CUTS) - 1].astype(int)
    options = {"n_components": K, "solver": "lbfgs", "max_epochs": 3, "random_state": 0, "tol": 0}
    options |= {"init": "glorot", "scale": None}
    found = fit_partitions(Autoencoder(**options), weighted(X, counts))
    copies = fitted(np.repeat(X, counts.astype(int), axis=0), ends, **options)
    np.testing.assert_allclose(found.loss_curve_, copies.loss_curve_, rtol=1e-9)


@pytest.mark.parametrize("method", ["rounds", "averaging"])
def test_weights_of_partitions(method):
    X = rows()
    options = {"n_components": K, "random_state": 0, "batch_size": 64, "max_epochs": 3}
    options["early_stopping"] = True
    equal = fit_partitions(Autoencoder(**options), weighted(X, np.full(N, 0.7)), method)
    plain = fit_partitions(Autoencoder(**options), parts_of(X), method)
    np.testing.assert_allclose(equal.loss_curve_, plain.loss_curve_, rtol=1e-9)
    np.testing.assert_allclose(
        equal.validation_loss_curve_, plain.validation_loss_curve_, rtol=1e-9
    )


def test_weights_that_leave_nothing_are_refused():
    X, weight = rows(), np.zeros(N)
    with pytest.raises(ValueError, match="not all zero"):
        fit_partitions(Autoencoder(K), weighted(X, weight))
    seed = fitted(X, max_epochs=0)._state.seed
    weight[CUTS[-1] + shares.PartitionRows(3, N - CUTS[-1], 12, seed, True).training()] = 1.0
    with pytest.raises(ValueError, match="no row held out has a positive sample_weight"):
        options = {"early_stopping": True, "random_state": 0}
        fit_partitions(Autoencoder(K, **options), weighted(X, weight))


# ---- starts ----


def test_the_start_is_that_of_a_fit_in_memory():
    X = 5 + 100 * rows()
    found, expected = fitted(X, max_epochs=0), Autoencoder(random_state=0, max_epochs=0).fit(X)
    for name in ("parameters", "rates"):
        assert same_bits(getattr(found._state, name), getattr(expected._state, name))
    assert same_bits(found._state.scaling.shift, expected._state.scaling.shift)
    assert found._state.model == expected._state.model


def test_the_start_of_many_rows_has_the_means_of_all_and_a_sample(monkeypatch):
    X = 5 + rows(2000)
    whole = fitted(X, max_epochs=0, scale="standard")
    monkeypatch.setattr(partitioned, "MOST_ENTRIES", 600 * D)
    X[:20] += 1e-3  # rows that a sample has in part
    ae = fitted(X, max_epochs=0, scale="standard")
    np.testing.assert_allclose(ae._state.scaling.shift, X.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(ae._state.scaling.scale, X.std(axis=0), rtol=0.1)
    assert ae._state.model.layers[0].n_components == whole._state.model.layers[0].n_components
    assert same_bits(ae._state.parameters, fitted(X, max_epochs=0, scale="standard")._state[2])


def test_a_fit_without_arguments_is_as_good_as_in_memory():
    X = rows(1500)
    in_memory = Autoencoder(random_state=0).fit(X)
    options = {"max_epochs": "auto", "batch_size": "auto"}
    for method in ("rounds", "averaging"):
        ae = fitted(X, [300, 700, 1100], method, local_steps=16, **options)
        assert ae.fit_report_["ended"] == "converged"
        assert ae.fit_report_["loss"] < 1.05 * in_memory.fit_report_["loss"]
        assert ae.n_components == "auto" == in_memory.n_components
    assert len(ae.history_["epoch"]) == ae.n_epochs_


def test_names_of_columns_are_kept():
    pandas = pytest.importorskip("pandas")
    X, names = rows(), tuple(f"c{i}" for i in range(D))
    ae = Autoencoder(K, random_state=0, max_epochs=1)
    fit_partitions(ae, parts_of(X, columns=names))
    assert ae.feature_names_in_.tolist() == list(names)
    ae.transform(pandas.DataFrame(X, columns=names))
    ae = Autoencoder(
        K, max_epochs=1, output=[("gaussian", ["c1", "c0"]), ("gaussian", slice(2, D))]
    )
    fit_partitions(ae, parts_of(X, columns=names))


# ---- stacks ----


@pytest.mark.parametrize("method", ["rounds", "averaging", "lbfgs"])
def test_stacks_are_pretrained_on_the_sample_and_fine_tuned_on_all_rows(method):
    X = rows(dtype=np.float32)
    options = {"layer_sizes": (9, 4), "pretrain_epochs": 2, "max_epochs": 3, "random_state": 0}
    options |= {"batch_size": 32, "solver": "lbfgs" if method == "lbfgs" else "adam", "tol": 0}
    in_memory = StackedAutoencoder(**options).fit(X)
    alone = trained(StackedAutoencoder(**options), parts_of(X, []), method, 4)
    assert same_bits(alone._state.parameters, in_memory._state.parameters)
    assert alone.pretraining_loss_curves_ == in_memory.pretraining_loss_curves_
    parted = trained(StackedAutoencoder(**options), parts_of(X), method, 4)
    assert parted.pretraining_loss_curves_ == in_memory.pretraining_loss_curves_
    assert parted.loss_curve_[-1] < parted.loss_curve_[0]


@pytest.mark.parametrize("fails_at", [2, 7])
def test_the_checkpoint_of_a_stack(fails_at, tmp_path, monkeypatch):
    options = {"layer_sizes": (9, 4), "pretrain_epochs": 2, "max_epochs": 3, "random_state": 0}
    whole = fit_partitions(StackedAutoencoder(**options), parts_of(rows()))
    stored = StackedAutoencoder(**options, checkpoint=tmp_path / "c", checkpoint_every=1)
    n_calls, step = 0, rounds.GradientRounds._slice

    def fails(*arguments):
        nonlocal n_calls
        n_calls += 1
        if n_calls == fails_at:
            raise ConnectionError
        return step(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(rounds.GradientRounds, "_slice", fails)
        with pytest.raises(ConnectionError):
            fit_partitions(stored, parts_of(rows()))
    assert bits(fit_partitions(stored, parts_of(rows()))) == bits(whole)


# ---- ends ----


def test_early_stopping_watches_rows_of_all_partitions():
    X = rows(600)
    options = {"n_components": K, "early_stopping": True, "max_epochs": 40}
    for method in ("rounds", "averaging"):
        ae = fitted(X, method=method, n_epochs_no_change=2, tol=1e-2, **options)
        assert ae.n_epochs_ < 40
        assert len(ae.validation_loss_curve_) == ae.n_epochs_
        assert ae.validation_loss_curve_[-1] < ae.fit_report_["constant_loss"]


@pytest.mark.parametrize("method", ["rounds", "averaging", "lbfgs"])
def test_callbacks_stop_and_see_the_parameters(method):
    seen = []

    def callback(epoch, loss, validation_loss, estimator):
        seen.append(estimator.components_.copy())
        return epoch == 2

    solver = "lbfgs" if method == "lbfgs" else "adam"
    ae = fitted(rows(), method=method, solver=solver, n_components=K, callbacks=callback)
    assert ae.n_epochs_ == 2 == len(seen)
    assert same_bits(ae.components_, seen[-1])


@pytest.mark.parametrize("method", ["rounds", "averaging", "lbfgs"])
@pytest.mark.parametrize("fails_at", [1, 5, 9])
@pytest.mark.parametrize("error", [ConnectionError, KeyboardInterrupt])
def test_a_fit_that_fails_goes_on_from_its_checkpoint(
    method, fails_at, error, tmp_path, monkeypatch
):
    """The engine is lost in a round: the checkpoint survives, and leads to the bits of one fit."""
    solver = "lbfgs" if method == "lbfgs" else "adam"
    options = {"n_components": K, "solver": solver, "max_epochs": 8, "tol": 0}
    options |= {"early_stopping": method == "rounds", "corruption": ("masking", 0.1)}
    options["batch_size"] = 16 if method == "averaging" else 64
    whole = fitted(rows(), method=method, **options)
    stored = {"checkpoint": tmp_path / "c", "checkpoint_every": 1, "random_state": 0}
    stored |= options
    broken, n_calls = parts_of(rows()), 0

    def reduce(function, *arguments, **given):
        nonlocal n_calls
        if function.__name__ in ("gradients_of_shares", "local_steps", "loss_and_gradient"):
            n_calls += 1
            if n_calls == fails_at:
                raise error("the scheduler is lost")
        return PartsInMemory.reduce(broken, function, *arguments, **given)

    monkeypatch.setattr(broken, "reduce", reduce)
    with pytest.raises(error):
        trained(Autoencoder(**stored), broken, method, 3)
    resumed = trained(Autoencoder(**stored), parts_of(rows()), method, 3)
    assert bits(resumed) == bits(whole)


def test_a_checkpoint_of_another_method_or_other_partitions_is_refused(tmp_path):
    options = {"n_components": K, "checkpoint": tmp_path / "c"}
    fitted(rows(), method="averaging", **options)
    with pytest.raises(ValueError, match="local_steps=3, while this one has local_steps=None"):
        fitted(rows(), **options)
    with pytest.raises(ValueError, match="local_steps=3, while this one has local_steps=4"):
        fitted(rows(), method="averaging", local_steps=4, **options)
    with pytest.raises(ValueError, match="to other rows"):
        fitted(rows(), [100], method="averaging", **options)


def test_warm_starts_go_on():
    X, options = rows(), {"n_components": K, "warm_start": True, "max_epochs": 2}
    options |= {"random_state": 0, "batch_size": 64, "learning_rate": 0.01}
    ae = fit_partitions(Autoencoder(**options), parts_of(X))
    first = ae.n_epochs_, ae.loss_curve_[-1]
    fit_partitions(ae, parts_of(X))
    assert ae.loss_curve_[-1] < first[1]
    assert ae._state.n_rows_seen == 4 * N
    whole = fitted(X, **options | {"max_epochs": 4})
    assert same_bits(whole._state.parameters, ae._state.parameters)


# ---- refusals ----


def test_missing_entries():
    X = rows()
    X[150, 3] = np.nan
    with pytest.raises(ValueError, match="NaN at row 57, column 3"):
        fitted(X)
    ae = fitted(X, missing="mask", n_components=K)
    assert np.isfinite(ae.components_).all()


def test_gaps_in_held_out_rows_alone():
    X = rows()
    seed = fitted(X, max_epochs=0)._state.seed
    held_out = shares.PartitionRows(3, N - CUTS[-1], 12, seed, True).held_out()
    X[CUTS[-1] + held_out[0], 3] = np.nan
    ae = fitted(X, missing="mask", n_components=K, early_stopping=True)
    assert np.isfinite(ae.validation_loss_curve_).all()


def test_zeros_of_dense_rows_are_not_sampled():
    options = {"n_components": K, "random_state": 0, "batch_size": 64}
    plain = fitted(rows(), **options)
    assert bits(fitted(rows(), reconstruction_sampling=3, **options)) == bits(plain)


@pytest.mark.parametrize("method", ["rounds", "averaging"])
def test_divergence_names_the_column_and_keeps_finite_parameters(method):
    X = rows(dtype=np.float32)
    X[100:, 4] *= 1e18
    ae = Autoencoder(K, random_state=0, scale=None, solver="sgd", learning_rate=1e30, max_epochs=3)
    with pytest.raises(FloatingPointError, match="training diverged in epoch 1"):
        fit_partitions(ae, parts_of(X), method)
    assert np.isfinite(ae._state.parameters).all()


@pytest.mark.parametrize(
    "options, method, message",
    [
        ({}, "ring", "method must be one of"),
        ({}, "lbfgs", "needs solver='lbfgs'"),
        ({"solver": "lbfgs"}, "rounds", "needs a solver that works in batches"),
        ({"sparsity": ("kl", 0.1, 1.0)}, "rounds", "a penalty of the mean codes of a batch"),
    ],
)
def test_what_rounds_cannot_train_is_refused(options, method, message):
    with pytest.raises(ValueError, match=message):
        fitted(rows(), method=method, n_components=K, **options)


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="local_steps must be at least 1"):
        fitted(rows(), method="averaging", local_steps=0)
    with pytest.raises(TypeError, match="local_steps must be an integer"):
        fitted(rows(), method="averaging", local_steps=2.5)
    with pytest.raises(ValueError, match="local_steps=3 needs method='averaging'"):
        fit_partitions(Autoencoder(), parts_of(rows()), "rounds", 3)
    stored = PartsInMemory([Part(4, sparse.csr_matrix(rows()))])
    with pytest.raises(TypeError, match=r"partition 4: .* sparse rows"):
        fit_partitions(Autoencoder(), stored)
