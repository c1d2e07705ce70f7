"""Every parameter of every public estimator, method and function, with values that nobody means.

The tests walk parameters and signatures: a new parameter is met without an edit here. A call either
works, or raises ValueError or TypeError with the parameter's name in a message of readable length.
"""

import copy
import importlib.util
import inspect
import io

import numpy as np
import pytest
from support.helpers import fit_to, targets_of
from support.hostile import PATHS, check_named

import aefast
from aefast import (
    denoising,
    distributions,
    factors,
    model_file,
    ops,
    patches,
    sparse_coding,
    statistics,
)

X = np.random.default_rng(0).random((30, 4))
pytestmark = pytest.mark.filterwarnings("ignore")

# ---- constructors ----

STACKS = ("StackedAutoencoder", "AutoencoderClassifier", "AutoencoderRegressor")
SMALL_STACK = {"layer_sizes": (3, 2), "max_epochs": 1, "pretrain_epochs": 1}
BASES = {
    "AnomalyDetector": {"n_sets": 2, "n_references": 5},
    "Autoencoder": {"n_components": 2, "max_epochs": 1},
    "AutoencoderCV": {
        "estimator": aefast.Autoencoder(max_epochs=1),
        "param_grid": {"n_components": [1, 2]},
        "cv": 2,
    },
    "AutoencoderEnsemble": {"n_estimators": 2, "n_components": 2, "max_epochs": 1},
    "DictionaryLearning": {"n_components": 2, "max_epochs": 1},
    "FactorAnalysis": {"n_components": 1},
    "Imputer": {"n_components": 1, "n_draws": 1},
    "MultinomialAutoencoder": {"n_components": 2, "max_epochs": 1},
    "ProbabilisticPCA": {"n_components": 1},
    "SparseCoder": {"dictionary": np.eye(4)},
    "TableAutoencoder": {"autoencoder": aefast.Autoencoder(2, max_epochs=1)},
    **{name: dict(SMALL_STACK) for name in STACKS},
}
ESTIMATORS = [name for name in aefast.__all__ if hasattr(getattr(aefast, name), "_get_param_names")]
PARAMETERS = [
    (name, parameter)
    for name in ESTIMATORS
    for parameter in getattr(aefast, name)._get_param_names()
]


def test_estimators_were_found():
    assert {"Autoencoder", "Whitening", "ItemAutoencoder", "SparseCoder"} <= set(ESTIMATORS)
    assert set(BASES) <= set(ESTIMATORS) and len(PARAMETERS) > 100


@pytest.mark.parametrize("name, parameter", PARAMETERS)
def test_constructor_parameters(name, parameter, folder):
    def call(value):
        if parameter == "callbacks" and callable(value):
            return
        options = BASES.get(name, {}) | {parameter: value}
        fitted = fit_to(getattr(aefast, name)(**options), X)
        (fitted.transform if hasattr(fitted, "transform") else fitted.score_samples)(X)

    check_named(call, parameter)


# ---- methods of fitted estimators, and functions ----


class Gaussian(distributions.Distribution):
    name = "own"

    def mean(self, eta):
        return eta

    def loss(self, eta, x):
        return 0.5 * (eta - x) ** 2 + 0.5 * np.log(2 * np.pi), eta - x

    def sample(self, eta, random):
        return random.normal(eta)

    def link(self, mean):
        return mean


IMAGE = np.random.default_rng(0).random((9, 9))
W, H = np.full((2, 4), 0.1), np.full((3, 2), 0.5)


class Contents:
    """A file of a model that is open, and can be read again and again."""

    def __init__(self, model):
        file = io.BytesIO()
        model.save(file)
        self.read = file.getvalue


ARGUMENTS = {
    "encode": {"X": X, "W": W, "b": np.zeros(2)},
    "decode": {"H": H, "W": W, "c": np.zeros(4)},
    "loss": {"X": X, "W": W, "b": np.zeros(2), "c": np.zeros(4)},
    "loss_and_gradients": {"X": X, "W": W, "b": np.zeros(2), "c": np.zeros(4)},
    "sigmoid": {"x": X},
    "softplus": {"x": X},
    "sparse_encode": {"X": X, "dictionary": np.eye(4)},
    "extract_patches": {"images": IMAGE, "size": 3, "n_patches": 4},
    "all_patches": {"image": IMAGE, "size": 3},
    "assemble_patches": {
        "patches": np.ones((49, 9)),
        "total": np.zeros((9, 9)),
        "count": np.zeros((9, 9)),
        "size": 3,
    },
    "denoise": {"image": IMAGE, "dictionary": np.eye(4), "noise": 1.0},
    "estimate_noise": {"image": IMAGE},
    "psnr": {"image": IMAGE, "clean": 0.9 * IMAGE},
    "load": {"path": Contents(aefast.Whitening().fit(X))},
    "stream": {"source": [X]},
    "export_c": {"model": aefast.Whitening().fit(X), "path": "model.h"},
    "bartlett_sphericity": {"X": X},
    "kaiser_meyer_olkin": {"X": X},
    "build_info": {},
    "distribution_table": {},
    "check_distribution": {"distribution": Gaussian(), "n_samples": 200},
}
WRITERS = ("save", "replacing")  # the method `save` of each estimator is tested
MODULES = (
    *(aefast, ops, distributions, patches, denoising, sparse_coding, statistics, factors),
    model_file,
)


def public_functions():
    """Return the public functions of the modules by name."""
    found = {}
    for module in MODULES:
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isfunction(value) and name not in WRITERS:
                found[name] = value
    return found


FUNCTIONS = public_functions()
FUNCTION_PARAMETERS = [
    (name, parameter)
    for name, function in FUNCTIONS.items()
    for parameter in inspect.signature(function).parameters
]


def test_functions_were_found():
    assert {"encode", "sparse_encode", "denoise", "load", "check_distribution"} <= set(FUNCTIONS)


@pytest.mark.parametrize("name, parameter", FUNCTION_PARAMETERS)
def test_functions(name, parameter, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(value):
        if (name, parameter) == ("check_distribution", "distribution"):
            with pytest.raises(AssertionError, match="instance of a subclass"):
                FUNCTIONS[name](value)
            return
        if (name, parameter) == ("check_distribution", "average") and callable(value):
            return
        FUNCTIONS[name](**(ARGUMENTS[name] | {parameter: value}))

    check_named(call, parameter, also=("path",) if parameter in PATHS else ())


STATISTICS = aefast.SufficientStatistics(4).update(X)
VALUES = {
    "X": X,
    "y": targets_of(X),
    "user_rows": X,
    "statistics": STATISTICS,
    "other": STATISTICS,
    "path": "model.safetensors",
    "n": 2,
    "C": np.eye(4),
    "W": W,
    "b": np.zeros(2),
    "c": np.zeros(4),
}
NEEDED = {"to_onnx": "onnx", "to_torch": "torch", "from_torch": "torch"}  # packages of methods
INHERITED = ("get_params", "set_params", "get_metadata_routing", "set_output", "fit_transform")


def fitted_objects():
    """Return a fitted object of each class with methods, by name."""
    found = {}
    for name in ESTIMATORS:
        options = dict(BASES.get(name, {}))
        if "missing" in getattr(aefast, name)._get_param_names():
            options |= {"missing": "mask", "corruption": ("masking", 0.1)}
        found[name] = fit_to(getattr(aefast, name)(**options), X)
    found["SufficientStatistics"] = STATISTICS
    families = distributions.FAMILIES
    return found | {name: families[name] for name in ("poisson", "student_t", "multinomial")}


OBJECTS = fitted_objects()
METHODS = [
    (name, method, parameter)
    for name, thing in OBJECTS.items()
    for method, function in inspect.getmembers(thing, inspect.ismethod)
    if not (method.startswith("_") or method in INHERITED or method.endswith("_request"))
    for parameter in inspect.signature(function).parameters
    if parameter not in ("y", "input_features", "cls", "_")
]


def test_methods_were_found():
    assert ("Autoencoder", "walk_back", "n_steps") in METHODS and len(METHODS) > 100


@pytest.mark.parametrize("name, method, parameter", METHODS)
def test_methods(name, method, parameter, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    thing = OBJECTS[name]
    given = dict(VALUES)
    given["other"] = thing
    given["items"] = [0, 1] if method == "similar_items" else np.zeros((len(X), 2), int)
    package = NEEDED.get(method)
    is_absent = package is not None and importlib.util.find_spec(package) is None
    if (name, method) == ("AnomalyDetector", "to_onnx"):  # of detectors with a network
        thing = aefast.AnomalyDetector(aefast.Autoencoder(2, max_epochs=1)).fit(X)
    if method == "from_torch":
        given["module"] = None if is_absent else thing.to_torch()
    if method == "from_fitted":
        given |= {"encoder": thing.encoder_, "autoencoder": thing.autoencoder_}
    if hasattr(thing, "transform"):
        given |= dict.fromkeys(("H", "Z"), thing.transform(X))
    given |= {"x": np.ones((2, 3)), "eta": np.ones((2, 3))}
    needed = {
        p: given[p]
        for p, entry in inspect.signature(getattr(thing, method)).parameters.items()
        if p in given and entry.default is inspect.Parameter.empty
    }
    if method == "member":
        thing = aefast.AutoencoderEnsemble(**BASES[name]).fit(X, groups=np.arange(len(X)) % 2)
    if (name, method) == ("DictionaryLearning", "update"):
        thing = copy.copy(thing).accumulate(X)

    def call(value):
        used = thing if isinstance(thing, distributions.Family) else copy.copy(thing)
        try:
            getattr(used, method)(**(needed | {parameter: value}))
        except FloatingPointError:  # a theta of 1e308
            if parameter not in ("theta", "eta", "x"):
                raise
        except ImportError as error:
            if not (is_absent and error.name == package):
                raise

    check_named(call, parameter)
