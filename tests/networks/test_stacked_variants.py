"""Noise and dropped units in fine-tuning: against the reference, and in everything around."""

import numpy as np
import pytest
from reference import noise as reference_noise
from reference import stacked as reference_stacked
from reference.autoencoder import finite_differences
from reference.variants import Variant, passed
from support.helpers import same_bits
from support.model_files import edited
from support.textbook import StackedAutoencoder

import aefast
from aefast.networks.variants import REVIVE

N, SIZES = 75, (23, 19, 13)
ACTIVATIONS = ["tanh", "softplus"]
VARIANTS = {
    "masking": {"fine_tuning_corruption": ("masking", 0.3)},
    "gaussian": {"fine_tuning_corruption": ("gaussian", 0.2)},
    "salt and pepper": {"fine_tuning_corruption": ("salt_and_pepper", 0.3)},
    "dropout": {"dropout": 0.4},
    "top-k": {"top_k": 3},
    "noise, top-k": {"fine_tuning_corruption": ("dropout", 0.3), "top_k": 5},
    "noise, dropout": {"fine_tuning_corruption": ("masking", 0.3), "dropout": 0.2},
}
TEXTBOOK = {"activation": "tanh", "code_activation": "softplus", "shuffle": False, "tol": 0}
TEXTBOOK |= {"pretrain_epochs": 0, "random_state": 0, "batch_size": 32}


def rows(dtype=np.float64):
    return np.random.default_rng(0).uniform(size=(N, SIZES[0])).astype(dtype)


def reference_variant(options, batch, first, seed, extremes):
    """Return the reference's variant of a batch whose first row has the counter `first`."""
    given = {"top_k": options.get("top_k")}
    noise = options.get("fine_tuning_corruption")
    if noise is not None:
        low, high = extremes
        given["encoded"] = reference_noise.corrupted(batch, *noise, seed, first, low, high)
    if "dropout" in options:
        shape = len(batch), SIZES[-1]
        given["dropout"] = reference_noise.dropout(shape, options["dropout"], seed, first)
    return Variant(**given)


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_fine_tuning_matches_the_reference(solver, options, isa):
    """Epochs with a short last batch; after the first of top-k codes, dead units are revived."""
    X, n_epochs = rows(), 1 if "top_k" in options else 2
    settings = {"solver": solver, "alpha": 0.01, "learning_rate": 0.01}
    stack = StackedAutoencoder(SIZES[1:], **TEXTBOOK, **settings, **options)
    start = stack.set_params(max_epochs=0).fit(X)._state
    stack.set_params(max_epochs=n_epochs).fit(X)
    extremes = X.min(axis=0), X.max(axis=0)
    layers, state, curve = reference_stacked.train(
        X,
        reference_stacked.unflatten(start.parameters, SIZES),
        ACTIVATIONS,
        "gaussian",
        [np.arange(N)] * n_epochs,
        batch_size=32,
        variant_of=lambda batch, n: reference_variant(options, batch, n, start.seed, extremes),
        **settings | ({"momentum": 0.9} if solver == "sgd" else {}),
    )
    expected = reference_stacked.flatten(layers)
    np.testing.assert_allclose(stack._state.parameters, expected, rtol=0, atol=1e-11)
    np.testing.assert_allclose(stack._state.optimizer_state, state, rtol=0, atol=1e-10)
    np.testing.assert_allclose(stack.loss_curve_, curve, rtol=1e-12)


@pytest.mark.parametrize("gain", [False, True])
@pytest.mark.parametrize("options", [{"top_k": 3}, {"dropout": True}], ids=str)
def test_gradients_of_the_reference_are_differences_of_its_loss(options, gain):
    random, X = np.random.default_rng(1), rows()[:9]
    if options.get("dropout"):
        options = {"dropout": reference_noise.dropout((9, SIZES[-1]), 0.4, 3)}
    elif gain:
        pytest.skip("codes of top_k units have no gain")
    variant = Variant(encoded=X + random.normal(size=X.shape), **options)
    vector = random.normal(scale=0.3, size=reference_stacked.flatten(layers_of(0)).size)
    gains = [random.uniform(0.5, 2, k) for k in SIZES[1:]] if gain else None

    def loss(w):
        layers = reference_stacked.unflatten(w, SIZES)
        given = {"gains": gains, "variant": variant}
        return reference_stacked.loss(X, layers, ACTIVATIONS, "gaussian", **given)

    layers = reference_stacked.unflatten(vector, SIZES)
    given = {"gains": gains, "variant": variant}
    found = reference_stacked.gradients(X, layers, ACTIVATIONS, "gaussian", **given)
    expected = reference_stacked.flatten(found[0] if gain else found)
    differences = finite_differences(loss, vector)
    assert np.abs(differences - expected).max() < 1e-6 * np.abs(expected).max()


def layers_of(seed):
    random = np.random.default_rng(seed)
    sizes = list(zip(SIZES[1:], SIZES[:-1], strict=True))
    return [
        reference_stacked.Layer(random.normal(size=(k, d)), random.normal(size=k), np.zeros(d))
        for k, d in sizes
    ]


@pytest.mark.parametrize("gain", [False, True])
def test_dropped_units_with_a_gain(gain, isa):
    """A step of plain descent has the gradient by the gains too."""
    X, rate = rows(), 1e-3
    options = {"dropout": 0.4, "gain": gain, "solver": "sgd", "momentum": 0.0}
    options |= {"learning_rate": rate, "code_activation": "tanh", "scale": None}
    stack = StackedAutoencoder(SIZES[1:], **(TEXTBOOK | options | {"batch_size": N}))
    before = stack.set_params(max_epochs=0, init="pca").fit(X)
    state, parts = before._state, before._state.model.split(before._state.parameters.copy())
    stack.set_params(max_epochs=1).fit(X)
    layers = [reference_stacked.Layer(p.W, p.b, p.c) for p in parts]
    gains = [p.gain for p in parts] if gain else None
    variant = reference_variant(options, X, 0, state.seed, None)
    given = {"gains": gains, "variant": variant}
    found = reference_stacked.gradients(X, layers, ["tanh", "tanh"], "gaussian", **given)
    of_layers, of_gains = found if gain else (found, [None] * 2)
    moved = stack._state.model.split(stack._state.parameters)
    for old, new, step, of_gain in zip(parts, moved, of_layers, of_gains, strict=True):
        np.testing.assert_allclose(new.W, old.W - rate * step.W, rtol=0, atol=1e-13)
        np.testing.assert_allclose(new.b, old.b - rate * step.b, rtol=0, atol=1e-13)
        assert gain == (new.gain is not None)
        if gain:
            np.testing.assert_allclose(new.gain, old.gain - rate * of_gain, rtol=0, atol=1e-13)


def test_dead_units_of_the_code_come_back(isa):
    """A unit that no row of a first pass has kept moves by the auxiliary loss in the second."""
    X, rate, rare = rows(), 1e-3, 4
    options = {"top_k": 3, "solver": "sgd", "momentum": 0.0, "learning_rate": rate}
    stack = StackedAutoencoder(SIZES[1:], **(TEXTBOOK | options | {"batch_size": N}))
    stack.set_params(max_epochs=0, warm_start=True).fit(X)
    stack._state.model.split(stack._state.parameters)[1].b[rare] = -5.0
    layers = reference_stacked.unflatten(stack._state.parameters.copy(), SIZES)
    codes = reference_stacked.encode(X, layers, ACTIVATIONS)[1][-1]
    is_dead = ~passed(codes, Variant(top_k=3)).any(axis=0)
    for revive in (None, np.where(is_dead, REVIVE, 0.0)):
        variant = Variant(top_k=3, revive=revive)
        of = reference_stacked.gradients(X, layers, ACTIVATIONS, "gaussian", variant=variant)
        layers = [
            layer._replace(W=layer.W - rate * g.W, b=layer.b - rate * g.b, c=layer.c - rate * g.c)
            for layer, g in zip(layers, of, strict=True)
        ]
    found = stack.set_params(max_epochs=2).fit(X)._state
    expected = reference_stacked.flatten(layers)
    np.testing.assert_allclose(found.parameters, expected, rtol=0, atol=1e-13)
    assert is_dead[rare] and found.model.split(found.parameters)[1].b[rare] != -5.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_the_same_bits_for_any_number_of_threads(options, dtype, isa, make_problem):
    X, _ = make_problem(500, 90, 40, dtype=dtype)
    given = options | {"pretrain_epochs": 1, "max_epochs": 2, "random_state": 0, "tol": 0}
    one, two, three = (StackedAutoencoder((70, 40), n_threads=n, **given).fit(X) for n in (1, 2, 3))
    assert same_bits(one, two) and same_bits(one, three)


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_one_layer_is_an_autoencoder(options, isa):
    """Fine-tuning of a stack of one layer has the noise and units of `Autoencoder`."""
    X, names = rows(), {"fine_tuning_corruption": "corruption"}
    given = {"max_epochs": 3, "random_state": 0, "tol": 0, "activation": "tanh", "batch_size": 32}
    stack = StackedAutoencoder((7,), pretrain_epochs=0, **given, **options).fit(X)
    options = {names.get(name, name): value for name, value in options.items()}
    one = aefast.Autoencoder(
        7, gain=False, init="glorot", learning_rate=1e-3, learning_rate_schedule="constant",
        **given, **options,
    ).fit(X)  # fmt: skip
    assert same_bits(stack, one)
    np.testing.assert_array_equal(stack.transform(X), one.transform(X))


def test_codes_and_reconstructions_keep_the_largest_units():
    X = rows()
    stack = StackedAutoencoder(SIZES[1:], top_k=3, pretrain_epochs=2, max_epochs=2, random_state=0)
    H = stack.fit(X).transform(X)
    assert ((H != 0).sum(axis=1) <= 3).all() and (H != 0).any(axis=0).sum() > 3
    np.testing.assert_allclose(stack.inverse_transform(H), stack.reconstruct(X), rtol=1e-12)
    below, last = stack.layers_
    assert (below.top_k, last.top_k) == (None, 3)
    np.testing.assert_allclose(last.transform(below.transform(X)), H, rtol=1e-12)


def test_dropout_is_of_the_last_layer_in_both_stages():
    X, given = rows(), {"pretrain_epochs": 2, "max_epochs": 0, "random_state": 0}
    plain = StackedAutoencoder(SIZES[1:], **given).fit(X)
    dropped = StackedAutoencoder(SIZES[1:], dropout=0.5, **given).fit(X)
    assert plain.pretraining_loss_curves_[0] == dropped.pretraining_loss_curves_[0]
    assert plain.pretraining_loss_curves_[1] != dropped.pretraining_loss_curves_[1]


def test_a_validation_reads_clean_rows():
    X = rows()
    given = {"fine_tuning_corruption": ("masking", 0.9), "dropout": 0.5, "max_epochs": 1}
    stack = StackedAutoencoder(SIZES[1:], pretrain_epochs=0, random_state=0, **given)
    stack.fit(X, X_val=X)
    residual = stack.reconstruct(X) - X
    loss = 0.5 * (residual**2).sum(axis=1).mean()
    assert stack.validation_loss_curve_[0] == pytest.approx(loss, rel=1e-12)


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_files_and_checkpoints(options, tmp_path):
    X = rows()
    given = options | {"pretrain_epochs": 1, "max_epochs": 3, "random_state": 0, "tol": 0}
    whole = StackedAutoencoder(SIZES[1:], **given).fit(X)

    def power_failure(epoch, loss, validation_loss, estimator):
        if epoch == 2:
            raise SystemExit

    stored = {"checkpoint": tmp_path / "checkpoint", "checkpoint_every": "epoch"}
    with pytest.raises(SystemExit):
        StackedAutoencoder(SIZES[1:], callbacks=power_failure, **stored, **given).fit(X)
    assert same_bits(whole, StackedAutoencoder(SIZES[1:], **stored, **given).fit(X))
    whole.save(tmp_path / "model.safetensors")
    loaded = aefast.load(tmp_path / "model.safetensors")
    assert same_bits(whole, loaded)
    assert loaded.get_params() == whole.get_params()
    np.testing.assert_array_equal(loaded.transform(X), whole.transform(X))
    assert same_bits(whole.partial_fit(X), loaded.partial_fit(X))


def test_a_file_that_keeps_more_units_than_there_are(tmp_path):
    path = tmp_path / "model.safetensors"
    StackedAutoencoder(SIZES[1:], top_k=3, pretrain_epochs=0, max_epochs=1).fit(rows()).save(path)
    with edited(path) as (_, metadata, _):
        metadata["state"]["model"]["top_k"] = 14
    with pytest.raises(ValueError, match="'top_k' of at most 13 units, got 14"):
        aefast.load(path)


REFUSED = {
    "top_k must be at most layer_sizes": {"top_k": 14},
    "choose one of them": {"top_k": 3, "dropout": 0.5},
    "fine_tuning_corruption must be None or": {"fine_tuning_corruption": ("noise", 0.5)},
    "'fine_tuning_corruption' parameter": {"fine_tuning_corruption": "auto"},
    "fine_tuning_corruption=.*probability": {"fine_tuning_corruption": ("masking", 1.5)},
    "gain=True leaves top_k": {"top_k": 3, "gain": True},
}


@pytest.mark.parametrize("message", REFUSED)
def test_refusals(message):
    with pytest.raises(ValueError, match=message):
        StackedAutoencoder(SIZES[1:], **REFUSED[message]).fit(rows())


def test_a_warm_start_keeps_the_code():
    stack = StackedAutoencoder(SIZES[1:], top_k=3, max_epochs=1, pretrain_epochs=0).fit(rows())
    with pytest.raises(ValueError, match="top_k"):
        stack.set_params(top_k=4, warm_start=True).fit(rows())
