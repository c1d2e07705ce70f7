"""Numbers beyond the machine's are refused by the name of the parameter, as any other bad value."""

from fractions import Fraction

import numpy as np
import pytest

import aefast
from aefast import ops
from aefast.cli import main

HUGE = [10**400, -(10**400), 10**5000, Fraction(10**400), 2**64]  # 10**5000: Python prints none
IDS = ["10**400", "-10**400", "10**5000", "fraction", "2**64"]
X = np.random.default_rng(0).random((30, 4))
ESTIMATORS = {
    "Autoencoder": {"n_components": 2, "max_epochs": 0},
    "StackedAutoencoder": {"layer_sizes": (3, 2), "max_epochs": 0, "pretrain_epochs": 0},
    "DictionaryLearning": {"n_components": 2, "max_epochs": 0},
    "FactorAnalysis": {"n_components": 1},
    "ItemAutoencoder": {},
    "MultinomialAutoencoder": {"n_components": 2, "max_epochs": 0},
    "MarginalizedAutoencoder": {},
    "MixtureOfFactorAnalyzers": {"n_components": 1},
    "MixtureOfProbabilisticPCA": {"n_components": 1},
    "ProbabilisticPCA": {"n_components": 1},
    "SparseCoder": {"dictionary": np.eye(4)},
    "Whitening": {},
}
# names of parameters whose values are numbers, by those of the estimator
NUMBERS = [
    (name, parameter)
    for name in ESTIMATORS
    for parameter, constraints in getattr(aefast, name)._parameter_constraints.items()
    if any(getattr(constraint, "type", None) is not None for constraint in constraints)
]


def test_numbers_were_found():
    assert len(NUMBERS) > 50 and ("Autoencoder", "max_epochs") in NUMBERS


@pytest.mark.parametrize("value", HUGE[:4], ids=IDS[:4])
def test_constructor_parameters(value):
    for name, parameter in NUMBERS:
        estimator = getattr(aefast, name)(**(ESTIMATORS[name] | {parameter: value}))
        with pytest.raises((ValueError, TypeError), match=parameter):
            estimator.fit(X)


@pytest.mark.parametrize("value", [2**63, 2**64, 10**20, -(2**63) - 1])
def test_integers_have_64_bits(value):
    for name, parameter in [
        ("Autoencoder", "max_epochs"),
        ("Autoencoder", "batch_size"),
        ("StackedAutoencoder", "pretrain_epochs"),
        ("DictionaryLearning", "max_epochs"),
        ("FactorAnalysis", "max_iter"),
    ]:
        estimator = getattr(aefast, name)(**(ESTIMATORS[name] | {parameter: value}))
        with pytest.raises(ValueError, match=f"{parameter} must fit 64 bits"):
            estimator.fit(X)


def test_integers_are_good_floats():
    """float64 holds them: only 64-bit counters do not."""
    ae = aefast.Autoencoder(2, max_epochs=1, clip_norm=10**20, random_state=0).fit(X)
    assert np.isfinite(ae.transform(X)).all()


@pytest.mark.parametrize(
    "parameter, make",
    [
        ("corruption", lambda value: ("gaussian", value)),
        ("sparsity", lambda value: ("l1", value)),
        ("sparsity", lambda value: ("kl", 0.1, value)),
        ("layer_sizes", lambda value: (3, value)),
        ("output", lambda value: ("student_t", {"df": value})),
        ("output", lambda value: [("gaussian", [0, value])]),
    ],
)
def test_numbers_within_parameters(parameter, make):
    name = "StackedAutoencoder" if parameter == "layer_sizes" else "Autoencoder"
    for value in HUGE[:2]:
        estimator = getattr(aefast, name)(**(ESTIMATORS[name] | {parameter: make(value)}))
        with pytest.raises((ValueError, TypeError), match=parameter):
            estimator.fit(X)


@pytest.fixture(scope="module")
def fitted():
    options = {"max_epochs": 0, "random_state": 0, "corruption": ("masking", 0.1)}
    return aefast.Autoencoder(2, **options).fit(X)


@pytest.mark.parametrize("value", HUGE, ids=IDS)
def test_arguments(value, fitted):
    pca = aefast.ProbabilisticPCA(1).fit(X)
    calls = {
        "n_steps": lambda: fitted.walk_back(X[:2], value, 0),
        "random_state": lambda: fitted.walk_back(X[:2], 2, value),
        "n_samples": lambda: pca.sample(value),
        "n_features": lambda: aefast.SufficientStatistics(value),
        "n_threads": lambda: aefast.SufficientStatistics(2, n_threads=value),
        "n_patches": lambda: aefast.extract_patches(X, 2, value),
        "size": lambda: aefast.extract_patches(X, value, 2),
        "max_iter": lambda: aefast.sparse_encode(X, np.eye(4), max_iter=value),
    }
    for name, call in calls.items():
        with pytest.raises((ValueError, TypeError), match=name):
            call()
    for call in (
        lambda: pca.sample(1, value),
        lambda: aefast.extract_patches(X, 2, 3, value),
        lambda: fitted.sample_output(np.ones((2, 2)), value),
    ):
        with pytest.raises((ValueError, TypeError), match="random_state"):
            call()


@pytest.mark.parametrize("value", HUGE[:3], ids=IDS[:3])
def test_floats_and_arrays(value, fitted):
    for name in ("alpha", "tol"):
        with pytest.raises(ValueError, match=f"{name} must"):
            aefast.sparse_encode(X, np.eye(4), **{name: value})
    rows = [[value, 1, 1, 1], [1, 2, 3, 4]]
    for call in (
        lambda: fitted.transform(rows),
        lambda: aefast.Autoencoder(2).fit(rows),
        lambda: ops.encode(rows, np.ones((2, 4)), np.zeros(2)),
        lambda: aefast.SufficientStatistics(4).update(rows),
    ):
        with pytest.raises(ValueError, match="X"):
            call()
    with pytest.raises(ValueError, match="sample_weight"):
        aefast.Autoencoder(2).fit(X[:2], sample_weight=[1, value])


def test_options_of_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", X)
    huge = "99999999999999999999"
    for option in ("--epochs", "--batch-size"):
        assert main(["fit", "x.npy", option, huge]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"aefast: error: {option} ") and error.count("\n") == 1
    for option in ("-k", "--threads", "--seed", "--patience", "--top-k"):
        assert main(["fit", "x.npy", option, "9" * 400, "--quiet", "--no-plots"]) == 2
        error = capsys.readouterr().err
        assert error.startswith("aefast: error: ") and error.count("\n") == 1
