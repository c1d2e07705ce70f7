"""Files of earlier format versions load and give the numbers that they gave."""

from pathlib import Path

import numpy as np
import pytest

import aefast

DATA = Path(__file__).parents[1] / "data"
X = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)


def test_an_autoencoder_of_version_1():
    ae = aefast.load(DATA / "autoencoder-version-1.safetensors")
    assert (ae.gain, ae.init, ae.gain_) == (False, "glorot", None)
    W, b, c = ae.components_, ae.hidden_bias_, ae.visible_bias_
    H = 1 / (1 + np.exp(-(X @ W.T + b)))
    np.testing.assert_allclose(ae.transform(X), H, rtol=1e-5)
    np.testing.assert_allclose(ae.reconstruct(X), H @ W + c, rtol=1e-4, atol=1e-5)
    known = [1.257197, 0.83509004, -0.6755042, 0.3618404]  # computed by version 0.1 before gains
    np.testing.assert_allclose(ae.reconstruct(X)[0], known, rtol=1e-5)
    before = ae.n_epochs_
    assert ae.partial_fit(X).n_epochs_ == before + 1  # training goes on


def test_a_stack_of_version_1():
    stack = aefast.load(DATA / "stacked-version-1.safetensors")
    assert stack.gain is False
    H = X
    for layer in stack.layers_:
        H = 1 / (1 + np.exp(-(H @ layer.components_.T + layer.hidden_bias_)))
    np.testing.assert_allclose(stack.transform(X), H, rtol=1e-5)
    known = [-1.2328476, 0.7557244, 4.0395246, 0.81619704]
    np.testing.assert_allclose(stack.reconstruct(X)[0], known, rtol=1e-5)
    stack.set_params(warm_start=True, max_epochs=1).fit(X)


@pytest.mark.parametrize("model", [aefast.Autoencoder(2), aefast.StackedAutoencoder((3, 2))])
def test_the_present_version(model, tmp_path):
    """A gain and rate factors are in the file, and training goes on with the same bits."""
    model.set_params(random_state=0, max_epochs=2).fit(X)
    model.save(tmp_path / "model.safetensors")
    loaded = aefast.load(tmp_path / "model.safetensors")
    assert model._state.rates is not None
    np.testing.assert_array_equal(loaded._state.rates, model._state.rates)
    assert loaded.reconstruct(X).tobytes() == model.reconstruct(X).tobytes()
    further = [m.partial_fit(X)._state.parameters.tobytes() for m in (loaded, model)]
    assert further[0] == further[1]
