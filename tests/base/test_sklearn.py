"""The estimator within scikit-learn: its checks, pipelines, searches, copies and workers."""

import copy
import pickle
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from support.helpers import WEIGHTS_OF_ROWS
from support.problems import DomainAutoencoder
from support.textbook import Autoencoder

import aefast
from aefast.networks import _autoencoder

ACTIVATIONS = [row["name"] for row in _autoencoder.activation_table()]


def what_batches_exclude(estimator):
    """A row that comes twice fills two places in batches; a row of weight 2 fills one.

    Automatic choices of a fit count rows, too: batches, passes, the rows on which starts compare.
    """
    if estimator.early_stopping or estimator.batch_size in (1, "auto"):
        return dict.fromkeys(WEIGHTS_OF_ROWS, "batches hold rows, not weight")
    return {}


@parametrize_with_checks(
    [
        Autoencoder(),
        Autoencoder(tied=False),
        Autoencoder(solver="sgd", learning_rate=0.01, nesterov=True, alpha=0.01),
        Autoencoder(solver="adagrad", weight_decay=0.01, learning_rate_schedule="plateau"),
        Autoencoder(solver="muon", max_epochs=20),
        Autoencoder(clip_norm=1.0, max_norm=2.0),
        Autoencoder(weight_averaging=0.9),
        Autoencoder(early_stopping=True, shuffle=False),
        Autoencoder(batch_size=1, max_epochs=3),
        Autoencoder(solver="lbfgs"),
        *(Autoencoder(activation=name) for name in ACTIVATIONS if name != "sigmoid"),
        DomainAutoencoder(output="bernoulli", tied=False, early_stopping=True),
        DomainAutoencoder(output="bernoulli"),
    ],
    expected_failed_checks=what_batches_exclude,
)
def test_estimator_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # without it one check skips itself
    check(estimator)


def test_pipeline_and_grid_search(digits):
    """Rows held out by the search may lie outside the domain: those of the scaler's other rows."""
    y = np.arange(len(digits)) % 2
    ae = Autoencoder(8, domain="clip", max_epochs=2, random_state=0)
    pipeline = make_pipeline(MinMaxScaler(), ae, LogisticRegression())
    search = GridSearchCV(
        pipeline,
        {"autoencoder__n_components": [2, 4], "autoencoder__output": ["gaussian", "bernoulli"]},
        cv=2,
    )
    search.fit(digits, y)
    assert len(search.cv_results_["params"]) == 4
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_grid_search_by_the_log_likelihood(digits):
    """A search by `score` finds that more components reconstruct held-out digits better."""
    ae = Autoencoder(output="gaussian", learning_rate=0.01, max_epochs=30, random_state=0)
    search = GridSearchCV(ae, {"n_components": [1, 24]}, cv=2).fit(digits)
    assert search.best_params_ == {"n_components": 24}


def test_clone_takes_the_parameters_only(digits):
    ae = Autoencoder(
        7, output="bernoulli", alpha=0.1, callbacks=None, max_epochs=1, random_state=3
    ).fit(digits)
    copy = clone(ae)
    assert copy.get_params() == ae.get_params()
    assert not hasattr(copy, "components_")


def test_pandas(digits):
    frame = pd.DataFrame(digits[:50], columns=[f"pixel {i}" for i in range(64)])
    ae = Autoencoder(3, max_epochs=1, random_state=0).set_output(transform="pandas").fit(frame)
    assert list(ae.feature_names_in_) == list(frame.columns)
    H = ae.transform(frame)
    assert isinstance(H, pd.DataFrame)
    assert (
        list(H.columns)
        == list(ae.get_feature_names_out())
        == ["autoencoder0", "autoencoder1", "autoencoder2"]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for method in ("reconstruct", "reconstruction_error", "score_samples", "score"):
            assert np.isfinite(getattr(ae, method)(frame)).all()
    with pytest.raises(ValueError, match="feature names"):
        ae.transform(frame[frame.columns[::-1]])
    with pytest.warns(UserWarning, match="feature names"):
        ae.transform(frame.to_numpy())


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda ae: pickle.loads(pickle.dumps(ae))], ids=["deepcopy", "pickle"]
)
def test_copies_transform_and_go_on_training(copied, digits):
    ae = Autoencoder(6, tied=False, max_epochs=2, random_state=0).fit(digits)
    other = copied(ae)
    np.testing.assert_array_equal(ae.transform(digits), other.transform(digits))
    assert not np.shares_memory(ae._state.parameters, other._state.parameters)
    np.testing.assert_array_equal(
        ae.partial_fit(digits).components_, other.partial_fit(digits).components_
    )


def test_joblib_file(tmp_path, digits):
    ae = Autoencoder(6, max_epochs=2, random_state=0).fit(digits)
    joblib.dump(ae, tmp_path / "model.joblib")
    mapped = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
    np.testing.assert_array_equal(mapped.transform(digits), ae.transform(digits))


def test_joblib_workers(digits):
    """Fits in worker processes give the bits of a fit here."""
    fits = joblib.Parallel(n_jobs=2)(
        joblib.delayed(Autoencoder(5, max_epochs=2, random_state=seed).fit)(digits)
        for seed in (0, 1)
    )
    for seed, there in enumerate(fits):
        here = Autoencoder(5, max_epochs=2, random_state=seed).fit(digits)
        np.testing.assert_array_equal(here.components_, there.components_)


def test_parameters_are_shown():
    assert repr(aefast.Autoencoder()) == "Autoencoder()"
    assert repr(aefast.Autoencoder(3, tied=False)) == "Autoencoder(n_components=3, tied=False)"


def test_defaults():
    assert aefast.Autoencoder().get_params() == {
        "n_components": "auto",
        "activation": "sigmoid",
        "output": "gaussian",
        "scale": "auto",
        "domain": "error",
        "tied": True,
        "gain": "auto",
        "init": "auto",
        "solver": "adam",
        "learning_rate": "auto",
        "momentum": 0.9,
        "nesterov": False,
        "batch_size": "auto",
        "max_epochs": "auto",
        "early_stopping": False,
        "validation_fraction": 0.1,
        "n_epochs_no_change": 5,
        "tol": 1e-4,
        "alpha": 0.0,
        "weight_decay": 0.0,
        "clip_norm": None,
        "max_norm": None,
        "weight_averaging": None,
        "learning_rate_schedule": "auto",
        "missing": "error",
        "missing_fill": "mean",
        "sparse_means": "zero",
        "row_norm": None,
        "sparse_output": "exact",
        "reconstruction_sampling": None,
        "corruption": "auto",
        "contraction": 0.0,
        "sparsity": None,
        "top_k": None,
        "dropout": 0.0,
        "shuffle": True,
        "warm_start": False,
        "precision": "auto",
        "n_threads": None,
        "random_state": None,
        "callbacks": None,
        "checkpoint": None,
        "checkpoint_every": "10 min",
        "resume": "auto",
        "verbose": 0,
    }
