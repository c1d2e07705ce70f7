"""Losses for PyTorch, modules from and to PyTorch, tensors as rows. Skipped without PyTorch."""

import numpy as np
import pytest

import aefast

torch = pytest.importorskip("torch")

from support.tables import mixed_table  # noqa: E402

from aefast import ops  # noqa: E402
from aefast.torch import autoencoder_loss, tied_autoencoder_loss  # noqa: E402

nn = torch.nn


def random_tensors(*shapes):
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.rand(shape, generator=generator, dtype=torch.float64) - 0.5).requires_grad_()
        for shape in shapes
    ]


@pytest.mark.parametrize("output", ["gaussian", "bernoulli", "poisson"])
def test_gradients_of_tied_weights(output):
    X = torch.rand((7, 5), dtype=torch.float64)
    W, b, c, gain = random_tensors((3, 5), (3,), (5,), (3,))

    def loss(W, b, c, gain):
        return 3 * tied_autoencoder_loss(X, W, b, c, output=output, gain=gain)

    assert torch.autograd.gradcheck(loss, (W, b, c, gain))


def test_gradients_of_parameters_and_weights():
    X, weight = torch.rand((7, 5), dtype=torch.float64), torch.rand(7, dtype=torch.float64)
    W, b, c, V, theta = random_tensors((3, 5), (3,), (5,), (3, 5), (5,))

    def loss(W, b, c, V, theta):
        named = {"log_variance": theta}
        options = {"output": "gaussian_diagonal", "output_parameters": named}
        return autoencoder_loss(X, W, b, c, V, sample_weight=weight, **options)

    assert torch.autograd.gradcheck(loss, (W, b, c, V, theta))


def test_values_and_types_are_those_of_ops():
    torch.manual_seed(0)
    X = torch.rand(9, 4)
    W, b, c = torch.rand(2, 4).requires_grad_(), torch.zeros(2), torch.zeros(4)
    loss = tied_autoencoder_loss(X, W, b, c, output="bernoulli")
    loss.backward()
    value, gradients = ops.loss_and_gradients(X, W.detach(), b, c, output="bernoulli")
    assert loss.dtype == W.grad.dtype == torch.float32
    assert loss.item() == np.float32(value)
    np.testing.assert_array_equal(W.grad, gradients.W)
    with torch.no_grad():  # another kernel, which adds in another order
        alone = tied_autoencoder_loss(X, W, b, c, output="bernoulli").item()
    assert alone == pytest.approx(loss.item(), rel=1e-6)


def test_kept_memory_is_not_the_gradients():
    X, W = torch.rand(9, 4, dtype=torch.float64), torch.rand(2, 4, dtype=torch.float64)
    b, c = torch.zeros(2, dtype=torch.float64), torch.zeros(4, dtype=torch.float64)
    found = []
    for factor in (1.0, 2.0):
        weights = (factor * W).requires_grad_()
        tied_autoencoder_loss(X, weights, b, c).backward()
        found.append((weights.grad, ops.loss_and_gradients(X, factor * W, b, c)[1].W))
    for actual, expected in found:  # the first one too, after the second call
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": torch.rand(3, 4).requires_grad_()}, "X must not require a gradient"),
        ({"W": np.zeros((2, 4))}, "W must be a Tensor, got ndarray"),
        ({"b": torch.zeros(2, dtype=torch.bfloat16)}, "b must be float32 or float64"),
        ({"c": torch.zeros(4, device="meta")}, "c must be on the CPU"),
        ({"W": torch.zeros(2, 5).requires_grad_()}, "X must have 5 columns to fit W"),
    ],
)
def test_bad_tensors(change, message):
    tensors = {"X": torch.rand(3, 4), "W": torch.rand(2, 4)} | {
        "b": torch.zeros(2),
        "c": torch.zeros(4),
    }
    tensors |= change
    if tensors["W"].shape == (2, 5):
        tensors["c"] = torch.zeros(5)
    with pytest.raises((ValueError, TypeError), match=message):
        tied_autoencoder_loss(**tensors)


def compare(model, X):
    module = model.to_torch()
    rows = torch.from_numpy(X)
    H = model.transform(X)
    with torch.no_grad():
        pairs = [
            (module.encode(rows), H),
            (module(rows), model.reconstruct(X)),
            (module.decode(torch.from_numpy(H)), model.inverse_transform(H)),
            (module.log_prob(rows), model.score_samples(X)),
        ]
    for actual, expected in pairs:
        assert actual.numpy().dtype == expected.dtype
        np.testing.assert_allclose(actual, expected, rtol=1e-7, atol=1e-9)
    return module


def test_every_distribution():
    X, output = mixed_table()
    X = X.astype(np.float64)
    options = {"output": output, "max_epochs": 20, "random_state": 0}
    compare(aefast.Autoencoder(4, **options).fit(X), X)


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "softplus", "elu", "linear"])
def test_every_activation(activation):
    X = np.random.default_rng(0).normal(3, 9, (40, 7))
    options = {"tied": False, "activation": activation, "max_epochs": 3, "random_state": 0}
    compare(aefast.Autoencoder(3, **options).fit(X), X)


@pytest.mark.parametrize("options", [{"output": "multinomial"}, {"scale": "standard"}])
def test_rows_divided_by_their_norms(options):
    X = np.random.default_rng(0).poisson(2, (80, 9)).astype(np.float64)
    X[3] = 0
    options = {"row_norm": "l2", "tied": False, "max_epochs": 5, "random_state": 0} | options
    module = compare(aefast.Autoencoder(4, **options).fit(X), X)
    rows = torch.from_numpy(X).requires_grad_()
    module.log_prob(rows).sum().backward()
    assert rows.grad.isfinite().all()


def test_layers_missing_entries_and_largest_codes():
    X = np.random.default_rng(0).normal(5, 3, (80, 9))
    for options in ({}, {"tied": False}, {"top_k": 2}):
        stack = aefast.StackedAutoencoder([6, 3], max_epochs=5, random_state=0, **options).fit(X)
        compare(stack, X)
    X[::3, 4] = np.nan
    options = {"missing": "mask", "top_k": 2, "max_epochs": 5, "random_state": 0}
    compare(aefast.Autoencoder(6, **options).fit(X), X)


@pytest.mark.parametrize("options", [{}, {"weight_averaging": 0.9}], ids=str)
def test_there_and_back_after_training_in_torch(options):
    X = np.random.default_rng(0).normal(5, 3, (80, 9))
    model = aefast.Autoencoder(3, max_epochs=5, random_state=0, **options).fit(X)
    module = compare(model, X)
    optimizer = torch.optim.Adam(module.parameters(), 1e-4)
    before = model.score(X)
    for _ in range(20):
        optimizer.zero_grad()
        (-module.log_prob(torch.from_numpy(X)).mean()).backward()
        optimizer.step()
    back = aefast.Autoencoder.from_torch(module, verbose=0)
    assert back.score(X) > before == model.score(X)
    np.testing.assert_allclose(back.transform(X), module.encode(torch.from_numpy(X)).detach())
    before = back.score(X)
    assert back.set_params(learning_rate=1e-9).partial_fit(X).score(X) == pytest.approx(before)
    with pytest.raises(TypeError, match="made from a Autoencoder"):
        aefast.StackedAutoencoder.from_torch(module)


def test_sequential_modules():
    torch.manual_seed(0)
    X = torch.rand(6, 5)
    module = nn.Sequential(nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, 5), nn.Sigmoid())
    model = aefast.Autoencoder.from_torch(module, random_state=0)
    assert (model.activation, model.output, model.tied) == ("tanh", "bernoulli", False)
    np.testing.assert_allclose(model.reconstruct(X), module(X).detach(), atol=1e-6)
    with torch.no_grad():
        module[2].weight.copy_(module[0].weight.T)
    assert aefast.Autoencoder.from_torch(module[:3], output="poisson").tied
    assert aefast.Autoencoder.from_torch(module[:3]).output == "gaussian"


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Sequential(nn.Linear(5, 3), nn.GELU(), nn.Linear(3, 5)), "1 is a GELU"),
        (nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 4)), r"shape \(5, 3\)"),
        (nn.Sequential(nn.Linear(5, 3), nn.ReLU()), "two Linear layers"),
        (nn.Sequential(nn.Linear(5, 3), nn.ELU(2.0), nn.Linear(3, 5)), "alpha=2.0"),
        (nn.Sequential(nn.Linear(5, 3), nn.ReLU(), nn.Linear(3, 5), nn.Tanh()), "got tanh"),
    ],
)
def test_modules_without_an_equivalent(module, message):
    with pytest.raises((ValueError, TypeError), match=message):
        aefast.Autoencoder.from_torch(module)


class Own(nn.Module):
    """Two layers, and a `forward` that is theirs or adds a function between them."""

    def __init__(self, between):
        super().__init__()
        self.encoder, self.decoder, self.between = nn.Linear(5, 3), nn.Linear(3, 5), between

    def forward(self, x):
        return self.between(self, x)


def test_modules_of_ones_own():
    torch.manual_seed(0)
    module = Own(lambda own, x: own.decoder(own.encoder(x)))
    assert aefast.Autoencoder.from_torch(module).activation == "linear"


@pytest.mark.parametrize(
    ("between", "message"),
    [
        (lambda own, x: own.decoder(torch.relu(own.encoder(x))), "forward is not that of its"),
        (lambda own, x: (own.decoder(own.encoder(x)), x), "must return a tensor.*got tuple"),
        (lambda own, x: own.encoder(x), r"must return a tensor \(3, 5\), got \(3, 3\)"),
        (lambda own, x: own.decoder(x), "cannot be run on rows of 5 columns"),
    ],
)
def test_modules_of_ones_own_that_do_something_else(between, message):
    torch.manual_seed(0)
    with pytest.raises(ValueError, match=message):
        aefast.Autoencoder.from_torch(Own(between))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda m: setattr(m.layers[0], "weight", None), r"layers.0.weight of shape \(3, 5\)"),
        (lambda m: setattr(m.layers[0], "bias", nn.Parameter(torch.zeros(1))), r"got \(1,\)"),
        (lambda m: m.layers[0].half(), "layers.0.weight must be float32 or float64"),
        (lambda m: m.to("meta"), "on the device meta"),
        (lambda m: m.layers[0].bias.data.fill_(np.nan), "not finite"),
        (lambda m: setattr(m, "layers", nn.ModuleList()), "layers.0.weight"),
    ],
)
def test_damaged_modules(damage, message):
    X = np.random.default_rng(0).normal(size=(40, 5))
    module = aefast.Autoencoder(3, max_epochs=1, random_state=0).fit(X).to_torch()
    damage(module)
    with pytest.raises((ValueError, TypeError), match=message):
        aefast.Autoencoder.from_torch(module)


def test_models_without_a_module(tmp_path):
    from aefast.interop.torch_module import save_state

    path = tmp_path / "state.safetensors"
    path.write_text("before")
    X = np.random.default_rng(0).normal(size=(40, 5))
    with pytest.raises(TypeError, match="a model of type Whitening has no module"):
        save_state(aefast.Whitening().fit(X), path)
    assert path.read_text() == "before"


def test_tensors_are_rows():
    X = torch.rand(60, 6)
    model = aefast.Autoencoder(2, max_epochs=2, random_state=0).fit(X)
    assert model.transform(X).dtype == np.float32
    np.testing.assert_array_equal(model.transform(X), model.transform(X.numpy()))
    with pytest.raises(ValueError, match=r"X is a torch\.Tensor that requires a gradient"):
        model.transform(X.clone().requires_grad_())
    with pytest.raises(TypeError, match="bfloat16"):
        model.transform(X.to(torch.bfloat16))
