"""The same bits for any number of BLAS threads and in any floating-point mode of the caller."""

import ctypes
import json

import numpy as np
import pytest
from support.helpers import run_python

from aefast import Autoencoder, DictionaryLearning, ProbabilisticPCA
from aefast._base import _runtime
from aefast.distributions import Distribution

RESULTS = """
    import hashlib
    import json
    import warnings
    import numpy as np
    import aefast

    warnings.simplefilter("ignore")
    n_threads = N_THREADS
    random = np.random.default_rng(0)
    factors = random.standard_normal((12_000, 20)).astype(np.float32)
    X = factors @ random.standard_normal((20, 160)).astype(np.float32)
    X += random.standard_normal(X.shape).astype(np.float32)
    few = X[:600].astype(np.float64)
    wide = few[:, np.arange(480) % 160] + 0.5 * random.standard_normal((600, 480))
    holes = np.where(random.random(few.shape) < 0.05, np.nan, few)
    chosen = np.abs(few) > 4
    D = few[:192] / np.linalg.norm(few[:192], axis=1, keepdims=True)
    weight = random.random(len(X))

    def digest(*parts):
        joined = b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
        return hashlib.sha256(joined).hexdigest()[:16]

    options = {"n_threads": n_threads}
    found = {}

    def keep(name, *parts):
        found[name] = digest(*parts)

    for solver in ("adam", "lbfgs"):
        ae = aefast.Autoencoder(
            96, output="gaussian", solver=solver, max_epochs=2, random_state=0, **options
        ).fit(X, sample_weight=weight)
        keep(solver, ae.components_, ae.transform(few), ae.score(X, sample_weight=weight))
    deep = aefast.StackedAutoencoder(
        (96, 24), output="gaussian", max_epochs=1, random_state=0, **options
    )
    keep("stacked", deep.fit(few).transform(few))
    models = {
        "ppca": (aefast.ProbabilisticPCA(10, **options), few),
        "ppca cv": (aefast.ProbabilisticPCA("cv", **options), few),
        "krylov": (aefast.ProbabilisticPCA(10, svd_solver="krylov", **options), X),
        "ppca missing": (aefast.ProbabilisticPCA(10, max_iter=5, **options), holes),
        "fa": (aefast.FactorAnalysis(10, rotation="promax", max_iter=30, **options), few),
        "fa lanczos": (aefast.FactorAnalysis(10, max_iter=5, **options), wide),
        "fa missing": (aefast.FactorAnalysis(10, max_iter=5, **options), holes),
    }
    for name, (model, rows) in models.items():
        model.fit(rows)
        keep(name, model.components_, model.mean_, model.noise_variance_)
        keep(name + " rows", model.transform(rows), model.score_samples(rows))
        keep(name + " missing rows", *model.posterior(holes)) if rows.shape[1] == 160 else None
        keep(name + " matrices", model.get_precision(), model.get_covariance())
        keep(name + " sample", model.sample(500, random_state=0))
    kinds = {"fa": aefast.MixtureOfFactorAnalyzers, "ppca": aefast.MixtureOfProbabilisticPCA}
    for (name, of), rows in zip(kinds.items(), (X, holes)):
        model = of(2, 5, max_iter=2, random_state=0, **options).fit(rows)
        keep("mixture of " + name, model.components_, model.means_, model.noise_variance_)
        keep("rows of mixture of " + name, model.transform(rows), model.score_samples(rows))
        keep("covariances of mixture of " + name, model.get_covariance(), model.sample(99, 0)[0])
    for method in ("ppca", "fa", "autoencoder"):
        imputer = aefast.Imputer(method, n_components=10, n_draws=1, max_iter=5, **options)
        keep("imputer " + method, imputer.fit(holes).transform(holes), imputer.transform_std(holes))
        keep("draws of imputer " + method, imputer.sample(holes, random_state=0))
    for name, model, rows in (
        ("zca", aefast.Whitening(**options), few),
        ("marginalized", aefast.MarginalizedAutoencoder(0.3, **options), few),
        ("items", aefast.ItemAutoencoder(10.0, **options), chosen),
    ):
        keep(name, model.fit(rows).transform(rows), model.components_
             if hasattr(model, "components_") else model.reconstruct(rows))
    for algorithm, alpha in (("fista", 0.1), ("omp", 1e-6)):
        codes = aefast.sparse_encode(
            few[:40].astype(np.float32), D.astype(np.float32), algorithm=algorithm, alpha=alpha,
            **options,
        )
        keep(algorithm, codes)
    coder = aefast.SparseCoder(D, alpha=1.0, **options)
    keep("coder", coder.inverse_transform(coder.transform(few)))
    learner = aefast.DictionaryLearning(24, max_epochs=1, random_state=0, **options).fit(few)
    keep("dictionary", learner.components_, learner.inverse_transform(learner.transform(few)))
    print(json.dumps(found))
"""


def results(n_threads, **environment):
    done = run_python(RESULTS.replace("N_THREADS", str(n_threads)), **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def with_one_thread():
    return results(1, OPENBLAS_NUM_THREADS="1")


@pytest.mark.parametrize(
    ("n_threads", "environment"),
    [
        pytest.param(1, {"OPENBLAS_NUM_THREADS": "2"}, marks=pytest.mark.extra),
        (2, {"OPENBLAS_NUM_THREADS": "3", "OMP_NUM_THREADS": "4"}),
    ],
    ids=["blas", "both"],
)
def test_every_family_gives_the_same_bits(n_threads, environment, with_one_thread):
    found = results(n_threads, **environment)
    assert {name for name in found if found[name] != with_one_thread[name]} == set()


# ---- floating-point modes ----

TO_NEAREST, UPWARD, FLUSHED = 0x1F80, 0x5F80, 0x9FC0  # values of MXCSR
MXCSR_PLACE = 28  # offset of MXCSR in fenv_t of x86-64 under Linux

on_x86 = pytest.mark.skipif(
    _runtime.isa() == "generic" or not hasattr(ctypes.CDLL(None), "fegetenv"),
    reason="sets the mode of x86-64",
)


@pytest.fixture
def in_mode():
    """Return a function that calls another one with a given MXCSR."""
    library = ctypes.CDLL(None)
    found, wanted = ctypes.create_string_buffer(32), ctypes.create_string_buffer(32)

    def in_mode(mode, function):
        library.fegetenv(found)
        wanted.raw = found.raw[:MXCSR_PLACE] + mode.to_bytes(4, "little")
        library.fesetenv(wanted)
        try:
            result = function()
            library.fegetenv(wanted)  # the function has left the mode, but for its flags
            assert int.from_bytes(wanted.raw[MXCSR_PLACE:], "little") & ~0x3F == mode & ~0x3F
            return result
        finally:
            library.fesetenv(found)

    return in_mode


def is_flushed():
    """Return whether the calling thread flushes subnormal numbers to zero."""
    return not (np.full(4, np.finfo(np.float64).smallest_subnormal) * 3 > 0).any()


@on_x86
def test_a_mode_can_be_set(in_mode):
    third = np.ones(1) / 3
    assert in_mode(UPWARD, lambda: np.ones(1) / 3) > third
    assert in_mode(FLUSHED, is_flushed) and not is_flushed()


@on_x86
@pytest.mark.parametrize("mode", [UPWARD, FLUSHED], ids=["upward", "flushed"])
@pytest.mark.parametrize(
    "parameters",
    [
        lambda X: Autoencoder(7, max_epochs=0, random_state=0).fit(X)._state.parameters,
        lambda X: DictionaryLearning(7, max_epochs=0, random_state=0).fit(X).components_,
        lambda X: ProbabilisticPCA(2, svd_solver="krylov").fit(X).components_,
    ],
    ids=["network", "dictionary", "krylov"],
)
def test_initial_values_do_not_depend_on_the_mode(parameters, mode, in_mode):
    X = np.random.default_rng(0).random((60, 33))
    expected = in_mode(TO_NEAREST, lambda: parameters(X))
    assert in_mode(mode, lambda: parameters(X)).tobytes() == expected.tobytes()


class WatchesMode(Distribution):
    """The Gaussian distribution of variance 1, which notes the mode in which it computes."""

    def __init__(self):
        self.modes = set()

    def mean(self, eta):
        self.modes.add(is_flushed())
        return eta

    def link(self, mean):
        self.modes.add(is_flushed())
        return mean

    def loss(self, eta, x):
        self.modes.add(is_flushed())
        return 0.5 * (x - eta) ** 2 + 0.5 * np.log(2 * np.pi), eta - x

    def sample(self, eta, random):
        self.modes.add(is_flushed())
        return random.normal(eta)


@on_x86
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("mode", [TO_NEAREST, FLUSHED], ids=["usual", "flushed"])
def test_own_distributions_compute_in_the_users_mode(mode, n_threads, in_mode):
    X, output = np.random.default_rng(0).random((300, 8)), WatchesMode()
    ae = Autoencoder(3, output=output, max_epochs=3, random_state=0, n_threads=n_threads)

    def use():
        ae.fit(X).score(X)
        ae.reconstruct(X)
        ae.sample_output(ae.transform(X), random_state=0)

    in_mode(mode, use)
    assert output.modes == {mode == FLUSHED}
