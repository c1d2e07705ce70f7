"""Fixtures that the tests of several folders share."""

import os

# Workers of pytest-xdist share the cores: OpenMP and BLAS read their limits when they are loaded.
if "PYTEST_XDIST_WORKER" in os.environ:
    share = max(1, (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
    for limit in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(limit, str(share))
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # who spins holds another worker's core

import numpy as np
import pytest
from reference.autoencoder import Parameters, flatten
from sklearn.datasets import load_digits
from support.textbook import Autoencoder
from support.tiers import mark_tiers

from aefast._base import _runtime


@pytest.hookimpl(tryfirst=True)  # before -m and -k select
def pytest_collection_modifyitems(items):
    mark_tiers(items)


@pytest.fixture(params=[*_runtime.isa_available(), "blas"])
def isa(request):
    """Run the test with each instruction set that this processor has, and with SciPy's products."""
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
    """A function that draws rows in [0, 1] and parameters of a size met in training."""

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
    """A function that gives an estimator chosen parameters, without training it."""

    def make_fitted(X, parameters, **options):
        estimator = Autoencoder(
            len(parameters.b), tied=parameters.decoder_weights is None, max_epochs=0, **options
        ).fit(X)
        estimator._state.parameters[:] = flatten(parameters)
        return estimator

    return make_fitted


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def path(tmp_path):
    """Where a model file goes."""
    return tmp_path / "model.safetensors"
