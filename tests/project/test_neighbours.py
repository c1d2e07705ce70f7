"""Beside other libraries that bring a copy of OpenMP or BLAS, imported in any order."""

import importlib.util
from itertools import permutations

import pytest
from support.helpers import run_python

# Statements that import a library and let its threads work.
USES = {
    "aefast": """
import aefast.ops
def work_of_aefast():
    X = np.random.default_rng(0).random((512, 64))
    results = [aefast.Autoencoder(16, output="bernoulli", max_epochs=2, random_state=0,
                                  n_threads=n).fit(X).components_ for n in (1, 2)]
    assert (results[0] == results[1]).all()
""",
    "sklearn": """
import sklearn.cluster
def work_of_sklearn():
    X = np.random.default_rng(0).random((512, 8))
    assert sklearn.cluster.KMeans(3, n_init=1, random_state=0).fit(X).inertia_ > 0
""",
    "torch": """
import torch
def work_of_torch():
    X = torch.rand(512, 256, dtype=torch.float64)
    assert torch.allclose((X @ X.T).diagonal(), (X * X).sum(1))
""",
    "jax": """
import jax
def work_of_jax():
    X = jax.numpy.ones((512, 256))
    assert float((X @ X.T)[0, 0]) == 256
""",
}


def orders(*names):
    return list(permutations(names))


def check(order):
    """Import in this order, then let all work, twice, and the first one again at the end."""
    calls = "\n".join(f"work_of_{name}()" for name in (*order, *order, order[0]))
    script = "import numpy as np\nimport warnings; warnings.simplefilter('ignore')\n"
    done = run_python(script + "".join(USES[name] for name in order) + calls + "\nprint('done')")
    assert done.returncode == 0 and done.stdout.strip() == "done", done.stderr


@pytest.mark.parametrize("order", orders("aefast", "sklearn"), ids="-".join)
def test_beside_scikit_learn(order):
    check(order)


@pytest.mark.neighbours
@pytest.mark.parametrize("order", orders("aefast", "sklearn", "torch"), ids="-".join)
def test_beside_pytorch(order):
    if importlib.util.find_spec("torch") is None:
        pytest.skip("needs PyTorch")
    check(order)


@pytest.mark.neighbours
@pytest.mark.parametrize("order", orders("aefast", "sklearn", "jax"), ids="-".join)
def test_beside_jax(order):
    if importlib.util.find_spec("jax") is None:
        pytest.skip("needs JAX")
    check(order)
