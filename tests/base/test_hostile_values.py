"""Every parameter of every public estimator, method and function, with values that nobody means.

The tests walk parameters and signatures: a new parameter is met without an edit here. A call either
works, or raises ValueError or TypeError with the parameter's name in a message of readable length.
"""

import copy
import decimal
import fractions
import inspect
import re

import numpy as np
import pytest

import aefast
from aefast import denoising, distributions, model_file, ops, patches, sparse_coding, statistics

X = np.random.default_rng(0).random((30, 4))
LONGEST_MESSAGE = 5000
pytestmark = pytest.mark.filterwarnings("ignore")


def nested(kind, depth):
    value = kind()
    for _ in range(depth):
        value = kind([value])
    return value


ENDLESS: list = []
ENDLESS.append(ENDLESS)
HOSTILE = {
    "10**400": 10**400,
    "-10**400": -(10**400),
    "10**5000": 10**5000,
    "nan": float("nan"),
    "inf": float("inf"),
    "-inf": float("-inf"),
    "1e308": 1e308,
    "-1": -1,
    "0": 0,
    "None": None,
    "True": True,
    "fraction": fractions.Fraction(1, 3),
    "decimal": decimal.Decimal("NaN"),
    "complex": 1j,
    "date": np.datetime64("NaT"),
    "text": "",
    "long text": "x" * 10**6,
    "surrogate": "\ud800",
    "numpy text": np.str_("adam"),
    "bytes": b"",
    "object": object(),
    "function": lambda *arguments: None,
    "dict": {},
    "set": set(),
    "list": [],
    "tuple": (),
    "seven": [1] * 7,
    "seven in a tuple": (1,) * 7,
    "None in a list": [None],
    "text in a tuple": ("",),
    "deep list": nested(list, 5000),
    "deep tuple": nested(tuple, 50_000),
    "endless list": ENDLESS,
    "0-d": np.array(3),
    "0-d nan": np.array(np.nan),
    "0-d text": np.array("x"),
    "0-d object": np.array(None),
    "array": np.ones(3),
    "array of objects": np.array([object()]),
    # forms that parameters with tuples and lists begin to read
    "pair": ("gaussian", None),
    "pair of a huge number": ("gaussian", 10**400),
    "pair of an array": ("gaussian", np.ones(3)),
    "pair of a deep list": ("gaussian", nested(list, 5000)),
    "option": ("student_t", {"df": []}),
    "option without a name": ("student_t", {1: 2, "a": 3}),
    "half a part": [("gaussian",)],
    "part of a huge column": [("gaussian", 10**400)],
    "part of an object": [("gaussian", object())],
    "part of a dict": [({}, [0])],
    "part of a long range": [("gaussian", range(10**12))],
    "part of a slice": [("gaussian", slice("a", None))],
    "part of a slice of floats": [("gaussian", slice(0.5, None))],
}


def check_named(call, parameter, also=()):
    """Make calls with every value; collect those that fail without naming the parameter."""
    faults = []
    for label, value in HOSTILE.items():
        try:
            call(value)
        except (ValueError, TypeError) as error:
            names = "|".join(map(re.escape, (parameter, *also)))
            message = str(error)
            if not re.search(rf"\b({names})\b", message):
                faults.append(f"{label}: {type(error).__name__} without a name: {message[:200]}")
            elif len(message) > LONGEST_MESSAGE:
                faults.append(f"{label}: a message of {len(message)} characters")
        except OSError:
            if parameter not in PATHS:
                faults.append(f"{label}: OSError")
        except Exception as error:
            faults.append(f"{label}: {type(error).__name__}: {str(error)[:200]}")
    assert not faults, f"{parameter}\n" + "\n".join(faults)


PATHS = ("path", "image", "images")  # texts are names of files, whose errors are the system's

# ---- constructors ----

BASES = {
    "Autoencoder": {"n_components": 2, "max_epochs": 1},
    "DictionaryLearning": {"n_components": 2, "max_epochs": 1},
    "FactorAnalysis": {"n_components": 1},
    "ProbabilisticPCA": {"n_components": 1},
    "SparseCoder": {"dictionary": np.eye(4)},
    "StackedAutoencoder": {"layer_sizes": (3, 2), "max_epochs": 1, "pretrain_epochs": 1},
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
def test_constructor_parameters(name, parameter):
    def call(value):
        if parameter == "callbacks" and callable(value):
            return
        options = BASES.get(name, {}) | {parameter: value}
        getattr(aefast, name)(**options).fit(X).transform(X)

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
    "load": {"path": "nowhere"},
    "build_info": {},
    "distribution_table": {},
    "check_distribution": {"distribution": Gaussian(), "n_samples": 200},
}
WRITERS = ("save", "replacing")  # the method `save` of each estimator is tested
MODULES = (aefast, ops, distributions, patches, denoising, sparse_coding, statistics, model_file)


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
    "user_rows": X,
    "statistics": STATISTICS,
    "other": STATISTICS,
    "path": "model.safetensors",
    "n": 1,
}
INHERITED = ("get_params", "set_params", "get_metadata_routing", "set_output", "fit_transform")


def fitted_objects():
    """Return a fitted object of each class with methods, by name."""
    found = {}
    for name in ESTIMATORS:
        options = dict(BASES.get(name, {}))
        if "missing" in getattr(aefast, name)._get_param_names():
            options |= {"missing": "mask", "corruption": ("masking", 0.1)}
        found[name] = getattr(aefast, name)(**options).fit(X)
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
    if hasattr(thing, "transform"):
        given |= dict.fromkeys(("H", "Z"), thing.transform(X))
    given |= {"x": np.ones((2, 3)), "eta": np.ones((2, 3))}
    needed = {
        p: given[p]
        for p, entry in inspect.signature(getattr(thing, method)).parameters.items()
        if p in given and entry.default is inspect.Parameter.empty
    }
    if (name, method) == ("DictionaryLearning", "update"):
        thing = copy.copy(thing).accumulate(X)

    def call(value):
        used = thing if isinstance(thing, distributions.Family) else copy.copy(thing)
        try:
            getattr(used, method)(**(needed | {parameter: value}))
        except FloatingPointError:  # a theta of 1e308
            if parameter not in ("theta", "eta", "x"):
                raise

    check_named(call, parameter)
