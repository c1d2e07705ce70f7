"""Deep autoencoders: gradients, fine-tuning and pre-training, and the estimator."""

import copy
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from reference import autoencoder as reference
from reference import stacked as reference_stacked
from sklearn.utils.estimator_checks import parametrize_with_checks
from support.helpers import SOLVER_NAMES, SOLVERS, WEIGHTS_OF_ROWS, same_bits
from support.model_files import edited
from support.problems import ALL_OUTPUTS, rows_of, with_gaps
from support.textbook import Autoencoder, StackedAutoencoder

import aefast
from aefast.networks import _autoencoder
from aefast.networks.network import stacked_network
from aefast.networks.outputs import plain_output
from aefast.networks.training import minibatches
from aefast.networks.variants import PLAIN

OUTPUTS = ["gaussian", "bernoulli"]
ACTIVATIONS = [entry["name"] for entry in _autoencoder.activation_table()]
SIZES = (23, 19, 9, 5)


def random_layers(sizes, seed=0):
    rng = np.random.default_rng(seed)
    vector = rng.normal(scale=0.5, size=sum(k * d + k + d for d, k in pairwise(sizes)))
    return reference_stacked.unflatten(vector, sizes)


# ---- gradients ----


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("output", OUTPUTS)
def test_gradients_of_the_unrolled_network(output, activation, isa):
    X = np.random.default_rng(1).uniform(size=(7, SIZES[0]))
    layers = random_layers(SIZES)
    activations = [activation, activation, "tanh"]
    network = stacked_network(SIZES[0], SIZES[1:], activation, "tanh", plain_output(output))
    flat = reference_stacked.flatten(layers)
    value, actual, status = _autoencoder.loss_and_gradients(
        network, X, network.split(flat), None, None, 7, 1, PLAIN
    )
    expected = reference_stacked.flatten(
        reference_stacked.gradients(X, layers, activations, output)
    )
    assert status == 0
    assert value == pytest.approx(reference_stacked.loss(X, layers, activations, output), rel=1e-12)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-11 * np.abs(expected).max())


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("output", OUTPUTS)
def test_gradients_of_the_reference_are_differences_of_its_loss(output, activation):
    sizes, activations = (9, 7, 5, 3), [activation, activation, "tanh"]
    X = np.random.default_rng(1).uniform(size=(7, sizes[0]))
    layers = random_layers(sizes)
    expected = reference_stacked.flatten(
        reference_stacked.gradients(X, layers, activations, output)
    )
    differences = reference.finite_differences(
        lambda vector: reference_stacked.loss(
            X, reference_stacked.unflatten(vector, sizes), activations, output
        ),
        reference_stacked.flatten(layers),
    )
    assert np.abs(differences - expected).max() < 1e-7 * np.abs(expected).max()


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("n", [1, 130, 1100])
def test_gradients_of_large_networks(n, dtype, n_threads, isa):
    sizes = (150, 70, 40)
    X = np.random.default_rng(1).uniform(size=(n, sizes[0])).astype(dtype)
    flat = (0.2 * reference_stacked.flatten(random_layers(sizes))).astype(dtype)
    network = stacked_network(sizes[0], sizes[1:], "sigmoid", "sigmoid", plain_output("bernoulli"))
    _, actual, _ = _autoencoder.loss_and_gradients(
        network, X, network.split(flat), None, None, min(n, 512), n_threads, PLAIN
    )
    layers = reference_stacked.unflatten(flat.astype(np.float64), sizes)
    expected = reference_stacked.flatten(
        reference_stacked.gradients(X, layers, ["sigmoid"] * 2, "bernoulli")
    )
    tolerance = 1e-12 if dtype == np.float64 else 2e-5
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())


# ---- fine-tuning ----

LIMITS = {
    "free": {},
    "limited": {"clip_norm": 0.5, "max_norm": 1.5},
    "averaged": {"weight_averaging": 0.7},
}


@pytest.mark.parametrize("rows", ["plain", "weighted, with gaps"])
@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("solver, options", SOLVERS, ids=SOLVER_NAMES)
def test_fine_tuning_matches_the_reference(solver, options, output, limits, rows, isa):
    random = np.random.default_rng(0)
    X, weight, of_rows = random.uniform(size=(75, SIZES[0])), None, {}
    if rows != "plain":
        X[random.random(X.shape) < 0.2] = np.nan
        weight = random.uniform(0.2, 2, 75)
        of_rows = {"fill": np.average(np.nan_to_num(X), axis=0, weights=weight)}
        of_rows["fill"] /= np.average(~np.isnan(X), axis=0, weights=weight)
        of_rows["sample_weight"] = weight / weight.mean()
    settings = {"solver": solver, "batch_size": 32, "alpha": 0.01, **options, **limits}
    stack = StackedAutoencoder(
        SIZES[1:], activation="tanh", code_activation="linear", output=output, shuffle=False,
        tol=0, random_state=0, pretrain_epochs=0, missing="mask", **settings,
    )  # fmt: skip
    start = stack.set_params(max_epochs=0).fit(X, sample_weight=weight)._state.parameters.copy()
    stack.set_params(max_epochs=3).fit(X, sample_weight=weight)
    layers, state, curve = reference_stacked.train(
        X, reference_stacked.unflatten(start, SIZES), ["tanh", "tanh", "linear"], output,
        [np.arange(75)] * 3, **settings, **of_rows,
    )  # fmt: skip
    np.testing.assert_allclose(
        stack._state.parameters, reference_stacked.flatten(layers), rtol=0, atol=1e-11
    )
    np.testing.assert_allclose(stack._state.optimizer_state, state, rtol=0, atol=1e-11)
    np.testing.assert_allclose(stack.loss_curve_, curve, rtol=1e-12)
    assert np.abs(stack._state.parameters - start).max() > 1e-3


@pytest.mark.parametrize("output", ALL_OUTPUTS)
def test_one_layer_is_an_autoencoder(output, isa):
    """Parameters and results are the same for every distribution, with gaps and weights."""
    X = with_gaps(rows_of(ALL_OUTPUTS[output], 60), ALL_OUTPUTS[output])
    options = {"output": ALL_OUTPUTS[output], "max_epochs": 3, "random_state": 0, "tol": 0}
    options["missing"] = "mask"
    weight = np.arange(60) % 4 + 1
    stack = StackedAutoencoder((7,), pretrain_epochs=0, **options).fit(X, sample_weight=weight)
    one = Autoencoder(7, **options).fit(X, sample_weight=weight)
    assert same_bits(stack, one)
    for name in ("transform", "reconstruct", "score_samples", "reconstruction_error", "impute"):
        np.testing.assert_array_equal(getattr(stack, name)(X), getattr(one, name)(X))
    np.testing.assert_array_equal(
        stack.score_samples(X, per_feature=True), one.score_samples(X, per_feature=True)
    )
    assert stack.score(X, sample_weight=weight) == one.score(X, sample_weight=weight)
    H = one.transform(X)
    np.testing.assert_array_equal(stack.inverse_transform(H), one.inverse_transform(H))
    np.testing.assert_array_equal(stack.sample_output(H, 0), one.sample_output(H, 0))


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
def test_the_number_of_threads_changes_no_bit(dtype, isa):
    X = np.random.default_rng(0).uniform(size=(700, 90)).astype(dtype)
    options = {"output": "bernoulli", "batch_size": 300, "max_epochs": 2, "pretrain_epochs": 2}
    options |= {"random_state": 0, "clip_norm": 1.0}
    one, *others = (
        StackedAutoencoder((60, 33, 7), n_threads=n, **options).fit(X) for n in (1, 2, 3, 5)
    )
    assert one._state.parameters.dtype == dtype
    for other in others:
        assert same_bits(one, other)
        np.testing.assert_array_equal(one.score_samples(X), other.score_samples(X))


# ---- pre-training ----


@pytest.fixture(scope="module")
def stack(digits):
    options = {"output": "bernoulli", "learning_rate": 0.005, "random_state": 0}
    return StackedAutoencoder((40, 20, 6), pretrain_epochs=15, max_epochs=15, **options).fit(digits)


def test_layers_reconstruct_the_codes_below(digits):
    stack = StackedAutoencoder(
        (40, 20, 6), output="bernoulli", pretrain_epochs=10, max_epochs=0, random_state=0
    ).fit(digits)
    codes = digits
    for number, layer in enumerate(stack.layers_):
        assert layer.output == "bernoulli"
        curve = stack.pretraining_loss_curves_[number]
        assert layer.loss_curve_ == curve and len(curve) == layer.n_epochs_ == 10
        assert curve[-1] < curve[0]
        assert layer.reconstruction_error(codes).mean() < curve[-2]
        codes = layer.transform(codes)
    np.testing.assert_allclose(stack.transform(digits), codes, rtol=1e-12)
    real = StackedAutoencoder((8, 4), activation="relu", pretrain_epochs=1, max_epochs=0)
    assert [layer.output for layer in real.fit(digits).layers_] == ["gaussian", "gaussian"]


def test_pretraining_and_fine_tuning_pay(stack, digits):
    """Six sigmoid codes after three layers are better pre-trained, and better fine-tuned."""
    random = StackedAutoencoder((40, 20, 6), pretrain_epochs=0, max_epochs=15)
    settings = {"output": "bernoulli", "learning_rate": 0.005, "random_state": 0}
    random.set_params(**settings).fit(digits)
    greedy = StackedAutoencoder((40, 20, 6), pretrain_epochs=15, max_epochs=0, **settings)
    assert stack.score(digits) > greedy.fit(digits).score(digits) + 1
    assert stack.score(digits) > random.score(digits) + 1


def test_rows_held_out_are_not_pretrained_on():
    X = np.random.default_rng(0).uniform(size=(24, 6))

    def learn(X):
        options = {"early_stopping": True, "validation_fraction": 0.25, "max_epochs": 2, "tol": 0}
        return StackedAutoencoder((4, 3), pretrain_epochs=2, random_state=0, **options).fit(X)

    expected, held_out = learn(X), 0
    for row in range(len(X)):
        changed = X.copy()
        changed[row] += 0.5
        held_out += (
            learn(changed)._state.parameters.tobytes() == expected._state.parameters.tobytes()
        )
    assert held_out == 6
    assert len(expected.validation_loss_curve_) == 2


# ---- estimator ----


def test_methods_match_the_reference(stack, digits, isa):
    activations, layers = (
        ["sigmoid"] * 3,
        reference_stacked.unflatten(stack._state.parameters, (64, 40, 20, 6)),
    )
    _, H = reference_stacked.encode(digits, layers, activations)
    B, _, _ = reference_stacked.decode(H[-1], layers, activations)
    np.testing.assert_allclose(stack.transform(digits), H[-1], rtol=1e-10)
    np.testing.assert_allclose(stack.inverse_transform(H[-1]), reference.sigmoid(B[1]), rtol=1e-9)
    np.testing.assert_allclose(stack.reconstruct(digits), reference.sigmoid(B[1]), rtol=1e-9)
    losses = reference.OUTPUTS["bernoulli"].loss(digits, B[1], None, None)
    np.testing.assert_allclose(
        stack.reconstruction_error(digits, per_feature=True), losses, atol=1e-10
    )
    np.testing.assert_allclose(stack.score_samples(digits), -losses.sum(axis=1), rtol=1e-11)
    assert stack.score(digits) == pytest.approx(-losses.sum(axis=1).mean(), rel=1e-12)
    for n in (1, 5, 40):
        np.testing.assert_allclose(stack.transform(digits[:n]), H[-1][:n], rtol=1e-10)


def test_layers_share_the_weights(stack):
    for layer in stack.layers_:
        assert np.shares_memory(layer.components_, stack._state.parameters)
    assert [layer.components_.shape for layer in stack.layers_] == [(40, 64), (20, 40), (6, 20)]


def test_long_tables_go_through_in_parts(stack, digits, monkeypatch):
    whole = stack.score_samples(digits), stack.transform(digits), stack.reconstruct(digits)
    monkeypatch.setattr("aefast.networks.one_pass.DEEP_ENTRIES", 1)
    parts = stack.score_samples(digits), stack.transform(digits), stack.reconstruct(digits)
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    X = digits.copy()
    X[1500, 7] = np.nan
    with pytest.raises(ValueError, match="row 1500, column 7"):
        stack.transform(X)
    X[1500, 7] = 1.5
    with pytest.raises(ValueError, match="row 1500, column 7"):
        stack.score_samples(X)


def test_partial_fit_is_an_epoch_of_fine_tuning(digits):
    options = {"tol": 0, "random_state": 0, "pretrain_epochs": 2}
    whole = StackedAutoencoder((20, 5), max_epochs=3, **options).fit(digits)
    parts = StackedAutoencoder((20, 5), max_epochs=0, **options).fit(digits)
    for _ in range(3):
        parts.partial_fit(digits)
    assert same_bits(whole, parts)
    warm = StackedAutoencoder((20, 5), max_epochs=1, warm_start=True, **options).fit(digits)
    warm.set_params(max_epochs=2).fit(digits)
    np.testing.assert_array_equal(warm._state.parameters, whole._state.parameters)


def test_files(stack, digits, path):
    stack.save(path)
    loaded = aefast.load(path)
    assert same_bits(stack, loaded)
    assert loaded.get_params() == stack.get_params()
    assert loaded.pretraining_loss_curves_ == stack.pretraining_loss_curves_
    np.testing.assert_array_equal(loaded.transform(digits), stack.transform(digits))
    np.testing.assert_array_equal(
        loaded.partial_fit(digits)._state.parameters,
        copy.deepcopy(stack).partial_fit(digits)._state.parameters,
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header["parameters"].update(layer_sizes=[0]),
        lambda header: header["parameters"].update(layer_sizes=3),
        lambda header: header["state"]["model"].update(layer_sizes=[40, 20]),
        lambda header: header["state"]["model"].update(layer_sizes=[2**31 - 1] * 17),
        lambda header: header["state"]["model"].update(code_activation="swish"),
        lambda header: header["state"].update(pretraining_loss_curves=[[1.0]]),
        lambda header: header["state"].update(pretraining_loss_curves=[1.0, 2.0, 3.0]),
    ],
)
def test_bad_files_are_refused(change, stack, path):
    stack.save(path)
    with edited(path) as (_, header, _):
        change(header)
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        aefast.load(path)


@pytest.mark.parametrize("sizes", [(), (0,), (3, -1), (2.5,), "ab", 7, [3] * 17, (2**31,)])
def test_bad_sizes(sizes, digits):
    with pytest.raises((ValueError, TypeError), match="layer_sizes"):
        StackedAutoencoder(sizes).fit(digits)


def test_what_was_fitted_cannot_change_its_shape(digits):
    stack = StackedAutoencoder((9, 4), pretrain_epochs=1, max_epochs=1, random_state=0).fit(digits)
    for name, value in (("layer_sizes", (9, 5)), ("activation", "tanh"), ("output", "bernoulli")):
        before = getattr(stack, name)
        with pytest.raises(ValueError, match=f"{name}.*does not continue"):
            stack.set_params(**{name: value}).partial_fit(digits)
        stack.set_params(**{name: before})


def test_divergence_names_the_layer(digits):
    options = {"solver": "sgd", "learning_rate": 1e6, "activation": "linear", "random_state": 0}
    stack = StackedAutoencoder((9, 4), **options)
    with pytest.raises(FloatingPointError, match="pre-training of layer 1: training diverged"):
        stack.fit(digits)
    assert np.isfinite(stack.transform(digits)).all()
    with pytest.raises(FloatingPointError, match=r"^training diverged"):
        stack.set_params(pretrain_epochs=0).fit(digits)


@pytest.mark.parametrize("n_calls", [2, 7])
def test_an_interrupt_leaves_what_was_reached(n_calls, digits, monkeypatch):
    """In the first layer's pre-training, or in the second's."""
    run, calls = minibatches.MiniBatches.epoch, []

    def epoch(self, *arguments):
        calls.append(self)
        if len(calls) == n_calls:
            raise KeyboardInterrupt
        return run(self, *arguments)

    monkeypatch.setattr(minibatches.MiniBatches, "epoch", epoch)
    stack = StackedAutoencoder((9, 4), pretrain_epochs=5, max_epochs=5, random_state=0)
    with pytest.raises(KeyboardInterrupt):
        stack.fit(digits)
    assert sum(map(len, stack.pretraining_loss_curves_)) == n_calls - 1
    assert stack.transform(digits).shape == (len(digits), 4)
    before = stack.score(digits)
    assert stack.set_params(warm_start=True).fit(digits).score(digits) > before


def test_callbacks_progress_and_names(digits, capsys):
    epochs = []
    frame = pd.DataFrame(digits, columns=[f"pixel {i}" for i in range(64)])
    stack = StackedAutoencoder(
        (9, 4), pretrain_epochs=2, max_epochs=3, verbose=1, random_state=0, tol=0,
        callbacks=lambda epoch, loss, validation_loss, estimator: epochs.append(epoch),
    ).fit(frame)  # fmt: skip
    assert epochs == [1, 2, 3]
    assert capsys.readouterr().err.count("epoch 2/2") and stack.n_epochs_ == 3
    assert list(stack.get_feature_names_out()) == [f"stackedautoencoder{i}" for i in range(4)]
    assert list(stack.feature_names_in_) == list(frame.columns)


def what_batches_exclude(estimator):
    """The rows that are held out are other ones where rows come twice."""
    if not estimator.early_stopping:
        return {}
    return dict.fromkeys(WEIGHTS_OF_ROWS, "rows are held out, not weight")


@parametrize_with_checks(
    [
        StackedAutoencoder((8, 3), pretrain_epochs=3, max_epochs=5),
        StackedAutoencoder((8, 3), pretrain_epochs=3, max_epochs=5, missing="mask"),
        StackedAutoencoder((5,), max_epochs=3, contraction=0.1, sparsity=("kl", 0.1, 0.1)),
        StackedAutoencoder((5, 2), activation="relu", output="student_t", max_epochs=3),
        StackedAutoencoder((8, 3), code_activation="linear", max_epochs=5, early_stopping=True),
        StackedAutoencoder(max_epochs=3, pretrain_epochs=2),
    ],
    expected_failed_checks=what_batches_exclude,
)
def test_estimator_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # without it one check skips itself
    check(estimator)
