"""`Autoencoder.from_parameters`: a fitted estimator without a fit."""

import numpy as np
import pytest

import aefast
from aefast import ops


def parameters(dtype=np.float64):
    rng = np.random.default_rng(0)
    W, b, c = rng.normal(size=(3, 7)), rng.normal(size=3), rng.normal(size=7)
    return {name: array.astype(dtype) for name, array in (("W", W), ("b", b), ("c", c))}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_methods_are_those_of_ops(dtype):
    given, X = parameters(dtype), np.random.default_rng(1).random((5, 7)).astype(dtype)
    model = aefast.Autoencoder.from_parameters(**given, output="bernoulli", random_state=0)
    np.testing.assert_array_equal(model.transform(X), ops.encode(X, given["W"], given["b"]))
    assert model.components_.dtype == dtype
    loss = ops.loss(X, **given, output="bernoulli")
    np.testing.assert_allclose(-model.score(X), loss, rtol=1e-6)
    given["W"][:] = 0  # it is a copy
    assert model.components_.any()


def test_every_kind_of_parameter(tmp_path):
    given, X = parameters(), np.random.default_rng(1).normal(size=(50, 7))
    V, gain, theta = np.ones((3, 7)), np.full(3, 2.0), np.arange(7) / 7
    options = {"output": "gaussian_diagonal", "activation": "tanh", "gain": gain}
    options |= {"output_parameters": {"log_variance": theta}}
    model = aefast.Autoencoder.from_parameters(**given, decoder_weights=V, **options)
    assert not model.tied and model.gain
    np.testing.assert_array_equal(model.output_parameters_["log_variance"], theta)
    expected = ops.decode(model.transform(X), V, given["c"], gain=gain, activation="tanh")
    np.testing.assert_allclose(model.reconstruct(X), expected, rtol=1e-12)
    model.save(tmp_path / "model")
    again = aefast.load(tmp_path / "model")
    np.testing.assert_array_equal(again.reconstruct(X), model.reconstruct(X))
    assert again.partial_fit(X).n_epochs_ == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"b": np.zeros(4)}, "b must have shape \\(3,\\), got \\(4,\\)"),
        ({"W": np.full((3, 7), np.nan)}, "W must be finite"),
        ({"W": np.zeros(3)}, "W must have 2 dimension"),
        ({"activation": "gelu"}, "'activation' parameter"),
        ({"output": "weibull"}, "weibull"),
        ({"n_epochs": 3}, "n_epochs"),
    ],
)
def test_bad_parameters(change, message):
    with pytest.raises((ValueError, TypeError), match=message):
        aefast.Autoencoder.from_parameters(**(parameters() | change))
