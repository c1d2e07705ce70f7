"""Solvers, comparisons and processes that several test files use."""

import os
import subprocess
import sys
import textwrap

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin

# Distributions whose kernels also exist in a form without masks.
PLAIN_OUTPUTS = ["gaussian", "bernoulli"]

SOLVERS = [
    ("sgd", {"learning_rate": 0.05, "momentum": 0.0}),
    ("sgd", {"learning_rate": 0.02, "momentum": 0.9}),
    ("sgd", {"learning_rate": 0.02, "momentum": 0.9, "nesterov": True}),
    ("adam", {"learning_rate": 0.01}),
    ("adagrad", {"learning_rate": 0.05}),
    ("muon", {"learning_rate": 0.02, "momentum": 0.9, "nesterov": True}),
]
SOLVER_NAMES = ["plain", "momentum", "nesterov", "adam", "adagrad", "muon"]


def same_bits(a, b):
    """Return whether the fitted states and loss curves of two estimators have the same bits."""
    return (
        a._state.parameters.tobytes() == b._state.parameters.tobytes()
        and a._state.optimizer_state.tobytes() == b._state.optimizer_state.tobytes()
        and a.loss_curve_ == b.loss_curve_
        and a.validation_loss_curve_ == b.validation_loss_curve_
    )


def loss_of_means(estimator, X):
    """Return the mean loss of the column means, with the fit's parameters of distributions."""
    from aefast.networks.scaling import in_units
    from aefast.networks.training.constant import constant_of

    state = estimator._state
    return constant_of(state, in_units(state.scaling, X.mean(axis=0))).loss(X)


def fit_to(estimator, X):
    """Fit an estimator to rows, and to classes or numbers where it needs targets."""
    if isinstance(estimator, (ClassifierMixin, RegressorMixin)):
        return estimator.fit(X, targets_of(X))
    return estimator.fit(X)


def targets_of(X):
    """Return targets of rows: three classes, or numbers, in turn."""
    return np.arange(X.shape[0]) % 3


def run_python(script, **environment):
    """Run a script in a process of its own, in a folder without a checkout."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, **environment},
        cwd=os.path.dirname(sys.executable),
        capture_output=True,
        text=True,
        timeout=120,
    )


# Checks of scikit-learn that take a row of weight 2 for two rows.
WEIGHTS_OF_ROWS = [
    f"check_sample_weight_equivalence_on_{kind}_data" for kind in ("dense", "sparse")
]
