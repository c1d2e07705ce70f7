"""Training on rows in partitions: shares, gradients of rounds, local steps, starts, checkpoints."""

from itertools import chain

import numpy as np
import pytest
from reference import autoencoder as reference
from reference import rounds as reference_rounds
from scipy import sparse
from support.textbook import Autoencoder as Textbook

from aefast import Autoencoder, StackedAutoencoder
from aefast._base.partitions import Part, PartsInMemory
from aefast.networks import variants
from aefast.networks._autoencoder import Trainer
from aefast.networks.training import lbfgs, partitioned, round_tasks, rounds, shares
from aefast.networks.training.hyperparameters import Hyperparameters
from aefast.networks.training.partitioned import fit_partitions

N, D, K, EPOCHS = 211, 13, 7, 3
CUTS = [20, 90, 93]  # partitions of 20, 70, 3 and 118 rows


def rows(n=N, d=D, dtype=np.float64):
    rng = np.random.default_rng(0)
    X = np.tanh(rng.normal(size=(n, 3)) @ rng.normal(size=(3, d))) + 0.1 * rng.normal(size=(n, d))
    return X.astype(dtype)


def parts(X):
    return np.split(X, CUTS)


def parts_of(X, cuts=CUTS, columns=None):
    of = np.split(X, cuts)
    return PartsInMemory([Part(i, part, columns=columns) for i, part in enumerate(of)])


def fitted(X, cuts=CUTS, method="auto", cls=Autoencoder, local_steps=3, **options):
    given = {"random_state": 0, "max_epochs": EPOCHS, "batch_size": 64} | options
    return fit_partitions(cls(**given), parts_of(X, cuts), method, local_steps)


def same_bits(a, b):
    return a.dtype == b.dtype and a.tobytes() == b.tobytes()


def bits(estimator):
    state = estimator._state
    curves = [np.array(curve) for curve in estimator._curves()]
    return [array.tobytes() for array in (state.parameters, state.optimizer_state, *curves)]


# ---- shares ----


@pytest.mark.parametrize("batch_size", [1, 33, 64, 200, 10**6])
def test_a_pass_visits_each_row_once(batch_size):
    sizes = (20, 70, 3, 118, 1)
    division = shares.division_of(sizes, batch_size)
    rounds = list(shares.rounds_of_pass(division, 5, 1000))
    assert len(rounds) == division.n_rounds
    assert max(sum(one.n_rows for one in of_round) for of_round in rounds) <= division.batch_size
    visited = {place: [] for place in range(len(sizes))}
    seen = 1000
    for one in chain.from_iterable(rounds):
        assert one.first_sample == seen
        seen += one.n_rows
        visited[one.partition] += range(one.first, one.last)
    assert visited == {place: list(range(size)) for place, size in enumerate(sizes)}


def test_batches_are_those_of_the_reference(monkeypatch):
    monkeypatch.setattr(shares, "LEAST_SHARE", 8)
    sizes, seed, seen = (20, 70, 3, 118), 7, 422
    of_parts = [shares.PartitionRows(p, n, 0, seed, True) for p, n in enumerate(sizes)]
    found = [
        [
            (one.partition, of_parts[one.partition].order(seen, one.first, one.last).tolist())
            for one in of_round
        ]
        for of_round in shares.rounds_of_pass(shares.division_of(sizes, 30), seed, seen)
    ]
    expected = reference_rounds.batches(sizes, 30, 8, seed, seen)
    assert found == [[(p, of.tolist()) for p, of in of_round] for of_round in expected]


def test_rounds_mix_partitions_in_proportion_to_their_rows():
    sizes = (1000, 3000)
    division = shares.division_of(sizes, 128)
    assert division == (sizes, 64, 2)
    rounds = list(shares.rounds_of_pass(division, 0, 0))
    for some in np.array_split(np.arange(len(rounds)), 4):  # in each quarter of the pass
        of_first = sum(one.n_rows for i in some for one in rounds[i] if one.partition == 0)
        of_all = sum(one.n_rows for i in some for one in rounds[i])
        assert abs(of_first / of_all - 0.25) < 0.07


def test_partitions_hold_out_their_part():
    assert shares.held_out_sizes((100, 30, 1), 0.1) == (10, 3, 0)
    assert shares.held_out_sizes((3, 4, 1), 0.1) == (0, 1, 0)  # one at least
    with pytest.raises(ValueError, match="at least 2 samples"):
        shares.held_out_sizes((1,), 0.1)
    of = shares.PartitionRows(2, 30, 3, 5, True)
    assert sorted([*of.training(), *of.held_out()]) == list(range(30))
    assert sorted(of.order(60, 0, 27)) == of.training().tolist()


def test_orders_are_kept_as_far_as_there_is_room(monkeypatch):
    monkeypatch.setattr(shares, "MOST_BYTES", 4 * 250)
    kept = shares._Orders()
    of = [shares.PartitionRows(p, 100, 0, 5, True) for p in range(3)]
    for part in of:
        kept.keep(part, 7, np.arange(100))
    assert kept.get(of[0], 7) is None
    assert kept.get(of[1], 7) is not None
    kept.keep(of[0], 7, np.arange(100))
    assert kept.get(of[2], 7) is None  # the one that was longest not asked for
    assert kept.get(of[1], 8) is None  # of another pass


# ---- gradients of rounds ----

VARIANTS = {
    "auto": {"max_epochs": 2, "batch_size": "auto"},
    "bounds": {"clip_norm": 0.5, "max_norm": 1.0, "weight_decay": 0.1, "alpha": 0.01},
    "momentum": {"solver": "sgd", "momentum": 0.9, "nesterov": True},
    "adagrad": {"solver": "adagrad", "early_stopping": True, "tied": False},
    "top-k": {"activation": "relu", "top_k": 3, "n_components": 10},
    "noise": {"corruption": ("gaussian", 0.3), "dropout": 0.2, "contraction": 0.1},
    "in order": {"shuffle": False, "output": "gaussian_diagonal"},
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


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {"solver": "adam", "learning_rate_schedule": "cosine", "alpha": 0.01},
        {"solver": "sgd", "momentum": 0.9, "weight_decay": 0.5, "clip_norm": 0.3},
        {"solver": "adagrad", "max_norm": 0.5},
    ],
    ids=lambda options: options["solver"],
)
def test_rounds_are_those_of_the_reference(options, tied, isa, monkeypatch):
    """Batches, sums of gradients, steps and losses."""
    monkeypatch.setattr(shares, "LEAST_SHARE", 8)
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


def test_one_machine_with_the_same_batches_differs_by_rounding(monkeypatch):
    """A trainer that is given the rows of each round makes the steps of the rounds."""
    monkeypatch.setattr(shares, "LEAST_SHARE", 8)
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
    fit_partitions(ae, PartsInMemory(of), method, 3)
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
    alone = fit_partitions(StackedAutoencoder(**options), parts_of(X, []), method, 4)
    assert same_bits(alone._state.parameters, in_memory._state.parameters)
    assert alone.pretraining_loss_curves_ == in_memory.pretraining_loss_curves_
    parted = fit_partitions(StackedAutoencoder(**options), parts_of(X), method, 4)
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
        fit_partitions(Autoencoder(**stored), broken, method, 3)
    resumed = fit_partitions(Autoencoder(**stored), parts_of(rows()), method, 3)
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
        fitted(rows(), local_steps=0)
    with pytest.raises(TypeError, match="local_steps must be an integer"):
        fitted(rows(), local_steps=2.5)
    stored = PartsInMemory([Part(4, sparse.csr_matrix(rows()))])
    with pytest.raises(TypeError, match=r"partition 4: .* sparse rows"):
        fit_partitions(Autoencoder(), stored)
