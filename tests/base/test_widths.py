"""Models whose width is changed under them: by an assignment, a fit meanwhile, or an interrupt."""

import sys

import numpy as np
import pytest
from scipy import sparse

import aefast
from aefast._base import _statistics, arrays
from aefast._base.arrays import ANYWHERE
from aefast._base.sparse_rows import add_scatter
from aefast.linear.linear_model import StatisticsMixin
from aefast.sparse_coding import _sparse_coding

WIDE = np.random.default_rng(0).uniform(size=(40, 12))
NARROW = WIDE[:30, :4].copy()

MODELS = {
    "Whitening": (aefast.Whitening, {}, ["transform"]),
    "MarginalizedAutoencoder": (aefast.MarginalizedAutoencoder, {}, ["reconstruct", "transform"]),
    "ItemAutoencoder": (aefast.ItemAutoencoder, {}, ["transform"]),
    "ProbabilisticPCA": (
        aefast.ProbabilisticPCA,
        {"n_components": 2},
        ["transform", "score_samples", "impute", "reconstruct"],
    ),
    "FactorAnalysis": (aefast.FactorAnalysis, {"n_components": 1}, ["transform", "mahalanobis"]),
    "MixtureOfProbabilisticPCA": (
        aefast.MixtureOfProbabilisticPCA,
        {"n_mixtures": 1, "n_components": 2},
        ["transform", "predict", "score_samples", "impute", "reconstruct"],
    ),
    "DictionaryLearning": (
        aefast.DictionaryLearning,
        {"n_components": 3, "max_epochs": 1, "random_state": 0},
        ["transform", "score", "partial_fit", "accumulate"],
    ),
}
TAKING_GAPS = ("ProbabilisticPCA", "FactorAnalysis", "MixtureOfProbabilisticPCA")
OTHERS = ("DictionaryLearning", "MixtureOfProbabilisticPCA")  # fitted by iterations over rows
LINEAR = [name for name in MODELS if name not in OTHERS]
pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning", "ignore:X does not have valid feature names"
)


def made(name):
    cls, options, _ = MODELS[name]
    return cls(**options)


CALLS = [(name, method) for name, (_, _, methods) in MODELS.items() for method in methods]


@pytest.mark.parametrize("kind", ["dense", "sparse", "gaps"])
@pytest.mark.parametrize("name, method", CALLS)
def test_rows_of_an_assigned_width_are_refused(name, method, kind):
    model = made(name).fit(WIDE)
    model.n_features_in_ = 4
    rows = NARROW
    if kind == "sparse":
        if name == "DictionaryLearning" or method not in ("transform", "reconstruct"):
            pytest.skip("takes dense rows alone")
        rows = sparse.csr_matrix(NARROW)
    if kind == "gaps" and name not in TAKING_GAPS:
        pytest.skip("takes complete rows alone")
    if kind == "gaps" or method == "impute":
        rows = np.where(np.arange(4) == 1, np.nan, NARROW)
    with pytest.raises(ValueError, match="model that reads rows of 12 columns got rows of 4"):
        getattr(model, method)(rows)


@pytest.mark.parametrize("name", MODELS)
def test_a_fit_before_the_check_is_noticed(name, monkeypatch):
    """A race: another thread fits between the reading of the model and the check of the rows."""
    model, checked = made(name).fit(WIDE), arrays.estimator_rows

    def checked_around_a_fit(estimator, X, *, reset, **options):
        if estimator is model and not reset:
            before = dict(vars(model))
            model.fit(NARROW)
            rows = checked(estimator, X, reset=reset, **options)
            vars(model).update(before)
            return rows
        return checked(estimator, X, reset=reset, **options)

    monkeypatch.setattr(arrays, "estimator_rows", checked_around_a_fit)
    with pytest.raises(ValueError, match="model that reads rows of 12 columns got rows of 4"):
        model.transform(NARROW)


def test_statistics_of_an_assigned_width():
    for given in (NARROW, sparse.csr_matrix(NARROW)):
        statistics = aefast.SufficientStatistics(12).update(WIDE)
        before = statistics.covariance()
        statistics.n_features_in_ = 4
        with pytest.raises(ValueError):
            statistics.update(given)
        statistics.n_features_in_ = 12
        np.testing.assert_array_equal(statistics.covariance(), before)


# ---- what kernels compare ----


def test_kernels_of_statistics_compare_sizes():
    eye, zeros, Z = np.eye(12), np.zeros(12), np.empty((40, 12))
    project = _statistics.project
    assert project(WIDE, zeros, eye, ANYWHERE, 8, 1, Z=Z) == 0
    with pytest.raises(ValueError, match="reads rows of 12 columns got rows of 4"):
        project(NARROW, zeros, eye, ANYWHERE, 8, 1, Z=Z)
    for options in ({"offset": zeros[:4]}, {"p": zeros[:4], "sign": 1.0}):
        with pytest.raises(ValueError, match="array of 12 numbers got one of 4"):
            project(WIDE, zeros, eye, ANYWHERE, 8, 1, Z=Z, **options)
    with pytest.raises(ValueError, match="array of 12 numbers got one of 4"):
        project(WIDE, zeros[:4], eye, ANYWHERE, 8, 1, Z=Z)
    with pytest.raises(ValueError, match="12 columns got rows of 4"):
        _statistics.Accumulator(zeros, 1).add(NARROW)
    for sums, scatter in ((zeros[:4], eye), (zeros, eye[:4])):
        with pytest.raises(ValueError, match="numbers got one of"):
            _statistics.Accumulator(zeros, 1).finish(sums, scatter)
    with pytest.raises(ValueError, match="4 columns got rows of 12"):
        add_scatter(sparse.csr_matrix(WIDE), None, np.zeros(4), np.zeros((4, 4)), 1)


def test_kernels_of_dictionaries_compare_widths():
    indices, counts = np.zeros((30, 1), np.int32), np.zeros(30, np.int64)
    A, B = np.zeros((3, 3)), np.zeros((3, 12))
    with pytest.raises(ValueError, match="12 columns got rows of 4"):
        _sparse_coding.accumulate(NARROW, None, indices, np.zeros((30, 1)), counts, A, B, 1)


# ---- one model or the other, never parts of both ----


def lines_of(function):
    """Return the lines of a function that hold code, counted from its first."""
    code = function.__code__
    return sorted({line - code.co_firstlineno for _, _, line in code.co_lines() if line} - {0})


def interrupted(function, line, call):
    """Make a call with Ctrl-C before a line of a function; return whether the line was reached."""
    code = function.__code__

    def trace(frame, event, argument):
        if frame.f_code is code:
            if event == "line" and frame.f_lineno - code.co_firstlineno == line:
                raise KeyboardInterrupt
            return trace
        return None

    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return False


@pytest.mark.parametrize("name", MODELS)
def test_an_interrupt_leaves_one_model(name):
    cls = MODELS[name][0]
    functions = {"DictionaryLearning": "_begin"}
    function = getattr(cls, functions.get(name, "_become"), StatisticsMixin._become)
    old, new = made(name).fit(WIDE), made(name).fit(NARROW)
    for line in lines_of(function):
        model = made(name).fit(WIDE)
        if not interrupted(function, line, lambda model=model: model.fit(NARROW)):
            continue
        width = model.n_features_in_
        table, expected = (WIDE, old) if width == 12 else (NARROW, new)
        assert model.transform(table).shape == expected.transform(table).shape
        if name in LINEAR:
            np.testing.assert_array_equal(model.transform(table), expected.transform(table))
            assert model._statistics.n_features_in_ == width


@pytest.mark.parametrize("name", LINEAR)
def test_a_fit_that_fails_leaves_the_model(name):
    model = made(name).fit(WIDE)
    before = dict(vars(model))
    with pytest.raises(ValueError):
        model.fit(np.full((30, 4), 1e200))
    with pytest.raises(ValueError):
        model.partial_fit(np.full((30, 12), 1e200))
    assert vars(model) == before


# ---- where dictionaries start ----


@pytest.mark.parametrize("dtype, size", [(np.float64, 1e308), (np.float32, 3e38)])
def test_rows_that_cannot_be_coded_leave_the_dictionary(dtype, size):
    rows = np.full((8, 5), size, dtype)
    model = made("DictionaryLearning").fit(WIDE)
    before = dict(vars(model))
    with pytest.raises(FloatingPointError, match="scale X down"):
        model.fit(rows)
    assert vars(model) == before
    model.set_params(max_epochs=0).fit(rows)  # initial atoms alone are right
    np.testing.assert_allclose(model.components_, np.full((3, 5), 5**-0.5), rtol=1e-6)


def test_initial_atoms_beyond_float32_are_scaled():
    D = np.random.default_rng(0).normal(size=(3, 12))
    options = MODELS["DictionaryLearning"][1] | {"max_epochs": 0}
    model = aefast.DictionaryLearning(dict_init=D * 1e60, **options).fit(WIDE.astype(np.float32))
    assert model.components_.dtype == np.float32
    expected = D / np.linalg.norm(D, axis=1, keepdims=True)
    np.testing.assert_allclose(model.components_, expected, rtol=1e-6)


@pytest.mark.parametrize("max_epochs", [0, 1])
def test_initial_atoms_that_are_not_finite_are_named(max_epochs):
    model = made("DictionaryLearning").fit(WIDE)
    before = dict(vars(model))
    D = np.ones((3, 12))
    for value in (np.nan, np.inf, 1e308):
        D[1, 2] = value
        model.set_params(dict_init=D.copy(), max_epochs=max_epochs)
        with pytest.raises(ValueError, match="dict_init"):
            model.fit(WIDE)
        assert model._state is before["_state"]
