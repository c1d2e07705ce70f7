"""Warnings name the line of the user's code that led to them, through however many layers."""

import ast
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from support.helpers import run_python

import aefast
from aefast import (
    DictionaryLearning,
    FactorAnalysis,
    MixtureOfFactorAnalyzers,
    MixtureOfProbabilisticPCA,
    ProbabilisticPCA,
    SparseCoder,
    sparse_encode,
)

PACKAGE = Path(aefast.__file__).parent


def rows(n=60, d=8):
    return np.random.default_rng(0).normal(size=(n, d))


def gaps(X):
    X[0, 0] = np.nan
    return X


def copies(X):
    """Rows of which a factor explains the first two columns altogether."""
    X[:, 1] = X[:, 0]
    return X


OPTIONS = {"alpha": 0.1, "algorithm": "ista"}
LEARNER = {"max_epochs": 1, "code_max_iter": 1, "random_state": 0, **OPTIONS}
CODER = {"code_max_iter": 1, **OPTIONS}
STATISTICS = aefast.SufficientStatistics(8).update(rows())
FLAT = rows()[:, :1] * np.ones(8)

# Each way to each warning: what it says, and a call on one line.
CALLS = {
    "sparse_encode": (
        "duality gap",
        lambda: sparse_encode(rows(), rows(12), max_iter=1, **OPTIONS),
    ),
    "SparseCoder.transform": (
        "duality gap",
        lambda: SparseCoder(rows(12), **CODER).transform(rows()),
    ),
    "SparseCoder.fit_transform": (
        "duality gap",
        lambda: SparseCoder(rows(12), **CODER).fit_transform(rows()),
    ),
    "SparseCoder.duality_gap": (
        "duality gap",
        lambda: SparseCoder(rows(12), **CODER).duality_gap(rows()),
    ),
    "DictionaryLearning.fit": ("duality gap", lambda: DictionaryLearning(9, **LEARNER).fit(rows())),
    "DictionaryLearning.fit_transform": (
        "duality gap",
        lambda: DictionaryLearning(9, **LEARNER).fit_transform(rows()),
    ),
    "DictionaryLearning.partial_fit": (
        "duality gap",
        lambda: DictionaryLearning(9, **LEARNER).partial_fit(rows()),
    ),
    "DictionaryLearning.accumulate": (
        "duality gap",
        lambda: DictionaryLearning(9, **LEARNER).accumulate(rows()),
    ),
    "a pipeline": (
        "duality gap",
        lambda: make_pipeline(StandardScaler(), DictionaryLearning(9, **LEARNER)).fit(rows()),
    ),
    "krylov": (
        "max_iter=1 iterations",
        lambda: ProbabilisticPCA(2, svd_solver="krylov", max_iter=1, tol=1e-12).fit(rows(90, 70)),
    ),
    "ProbabilisticPCA, no noise": (
        "noise variance is bounded",
        lambda: ProbabilisticPCA(2).fit(FLAT),
    ),
    "ProbabilisticPCA.partial_fit": (
        "noise variance is bounded",
        lambda: ProbabilisticPCA(2).partial_fit(FLAT),
    ),
    "ProbabilisticPCA, missing": (
        "max_iter=1 iterations",
        lambda: ProbabilisticPCA(2, max_iter=1).fit(gaps(rows())),
    ),
    "FactorAnalysis": ("max_iter=1 iterations", lambda: FactorAnalysis(2, max_iter=1).fit(rows())),
    "FactorAnalysis, missing": (
        "max_iter=1 iterations",
        lambda: FactorAnalysis(2, max_iter=1).fit(gaps(rows())),
    ),
    "FactorAnalysis.fit_statistics": (
        "max_iter=1 iterations",
        lambda: FactorAnalysis(2, max_iter=1).fit_statistics(STATISTICS),
    ),
    "MixtureOfFactorAnalyzers": (
        "max_iter=1 iterations",
        lambda: MixtureOfFactorAnalyzers(2, max_iter=1, random_state=0).fit(rows()),
    ),
    "MixtureOfProbabilisticPCA, removed": (
        "lost their rows and were removed",
        lambda: MixtureOfProbabilisticPCA(30, random_state=0).fit(rows(60, 4)),
    ),
    "Heywood": ("Heywood case", lambda: FactorAnalysis(1).fit(copies(rows()))),
    "Heywood, missing": (
        "Heywood case",
        lambda: FactorAnalysis(1, max_iter=5).fit(gaps(copies(rows()))[:, :8]),
    ),
}


@pytest.mark.parametrize("says, call", CALLS.values(), ids=CALLS)
def test_a_warning_names_the_callers_file_and_line(says, call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    found = [warning for warning in caught if says in str(warning.message)]
    lines = {line for _, _, line in call.__code__.co_lines()}
    assert found
    for warning in found:
        assert issubclass(warning.category, ConvergenceWarning)
        assert warning.filename == __file__ and warning.lineno in lines


def test_without_a_callers_frame_the_outermost_line_is_named():
    """A function of the package that Python itself calls, at exit: no `sys:1`."""
    done = run_python(
        """
        import atexit, sys
        import numpy as np
        from aefast import ProbabilisticPCA
        X = np.random.default_rng(0).normal(size=(60, 1)) * np.ones(8)
        atexit.register(ProbabilisticPCA(2).fit, X)
        """
    )
    assert "noise variance is bounded" in done.stderr
    assert "sys:1" not in done.stderr and "aefast" in done.stderr.partition("Warning")[0]


def test_the_filter_of_a_users_module_applies():
    """Python tells warnings apart by module and line: each of two lines warns once by default."""
    done = run_python(
        """
        import numpy as np
        from aefast import ProbabilisticPCA
        X = np.random.default_rng(0).normal(size=(60, 1)) * np.ones(8)
        for _ in range(2):
            ProbabilisticPCA(2).fit(X)
        ProbabilisticPCA(2).fit(X)
        """
    )
    assert done.stderr.count("noise variance is bounded") == 2


def test_every_warning_goes_through_the_helper():
    """No other module of the package calls `warnings.warn`, or sets a `stacklevel`."""
    callers = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                is_warn = ast.unparse(node.func) in ("warnings.warn", "warnings.warn_explicit")
                if is_warn or any(keyword.arg == "stacklevel" for keyword in node.keywords):
                    callers.append(path.relative_to(PACKAGE).as_posix())
    assert callers == ["_base/warnings.py"]
