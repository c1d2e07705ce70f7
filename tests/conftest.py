"""Fixtures that several test files share."""

import numpy as np
import pytest
from reference.autoencoder import Parameters, flatten
from sklearn.datasets import load_digits

from aefast import Autoencoder
from aefast._base import _runtime
from aefast.cli import main

# What no instruction set here has cannot be tested here: CONTRIBUTING.md, "Sanitizers", says how it is.
collect_ignore = [] if _runtime.bfloat16_available() else ["test_bfloat16_training.py"]


@pytest.fixture(params=[*_runtime.isa_available(), "blas"])
def isa(request):
    """Run the test once with each instruction set that this processor has, and once with SciPy's matrix products."""
    isa, products = _runtime.isa(), _runtime.products()
    if request.param == "blas":
        _runtime.set_products("blas")
    else:
        _runtime.set_isa(request.param)
        _runtime.set_products("tiles")
    yield request.param
    _runtime.set_isa(isa)
    _runtime.set_products(products)


@pytest.fixture(scope="session")
def digits():
    """scikit-learn's handwritten digits, (1797, 64) float64 in [0, 1], read-only."""
    X = load_digits().data / 16.0
    X.flags.writeable = False
    return X


@pytest.fixture(scope="session")
def make_problem():
    """A function that draws rows in [0, 1], the domain of every output, and parameters of a size met in training."""

    def make_problem(n_samples, n_features, n_components, *, tied=True, dtype=np.float64, seed=0):
        rng = np.random.default_rng(seed)
        k, d = n_components, n_features
        r = 4.0 * np.sqrt(6.0 / (d + k))

        def draw(low, high, shape):
            return rng.uniform(low, high, shape).astype(dtype)

        X = draw(0.0, 1.0, (n_samples, d))
        W, b, c = draw(-r, r, (k, d)), draw(-1.0, 1.0, k), draw(-1.0, 1.0, d)
        return X, Parameters(W, b, c, None if tied else draw(-r, r, (k, d)))

    return make_problem


@pytest.fixture(scope="session")
def make_fitted():
    """A function that gives an initialised estimator the parameters wanted: the kernels behind its methods, without a training."""

    def make_fitted(X, parameters, **options):
        estimator = Autoencoder(
            len(parameters.b), tied=parameters.decoder_weights is None, max_epochs=0, **options
        ).fit(X)
        estimator._state.parameters[:] = flatten(parameters)
        return estimator

    return make_fitted


# ---- of the command's tests, and of the model files' ----


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The folder of a fit to the digits."""
    out = tmp_path_factory.mktemp("fit") / "model"
    argv = "fit digits --output bernoulli -k 8 --epochs 3 --no-plots --quiet --out".split()
    assert main([*argv, str(out)]) == 0
    return out


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def X():
    """A small table, (40, 6) float32."""
    return np.random.default_rng(0).random((40, 6), dtype=np.float32)


@pytest.fixture
def path(tmp_path):
    """Where a model file goes."""
    return tmp_path / "model.safetensors"


@pytest.fixture
def saved(X, path):
    """A model file: tied, two optimizer states, float32."""
    Autoencoder(3, max_epochs=2, batch_size=16, random_state=0).fit(X).save(path)
    return path
