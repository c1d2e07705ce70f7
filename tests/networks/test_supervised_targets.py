"""Targets of supervised autoencoders: labels and numbers, and missing ones."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes, load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression

import aefast
from aefast import Autoencoder, AutoencoderClassifier, AutoencoderRegressor

DIGITS = load_digits()
X, Y = DIGITS.data[:600] / 16, DIGITS.target[:600]
QUICK = {"pretrain_epochs": 3, "max_epochs": 5, "random_state": 0}


def classifier(sizes=(20, 9), **options):
    return AutoencoderClassifier(sizes, **(QUICK | options))


def regressor(sizes=(20, 9), **options):
    return AutoencoderRegressor(sizes, **(QUICK | options))


def same_bits(a, b):
    return a.dtype == b.dtype and a.tobytes() == b.tobytes()


# ---- labels ----


@pytest.mark.parametrize(
    "labels",
    [
        np.where(Y == 0, None, "d" + Y.astype(str).astype(object)),
        np.where(Y == 0, np.nan, Y.astype(float)),
        np.where(Y == 0, -1, Y),
        np.array([None if y == 0 else int(y) for y in Y], object),
        pd.Series(np.where(Y == 0, None, Y)).astype("Int64"),
        pd.Series(Y.astype(str)).where(Y != 0),
        [None if y == 0 else f"d{y}" for y in Y],
        np.array([pd.NA if y == 0 else f"d{y}" for y in Y], object),
    ],
    ids=["strings", "NaN", "-1", "objects", "nullable", "series", "list", "NA"],
)
def test_missing_labels(labels):
    model = classifier().fit(X, labels)
    assert len(model.classes_) == 9 and model.classes_.dtype.kind in "iufO"
    assert set(model.predict(X)) <= set(model.classes_)


def test_minus_one():
    signs = np.where(Y < 5, -1, 1)
    assert list(classifier().fit(X, signs).classes_) == [-1, 1]
    assert list(classifier(missing_label=None).fit(X, Y - 1).classes_) == list(range(-1, 9))
    assert list(classifier().fit(X, Y - 1).classes_) == list(range(9))
    assert list(classifier(missing_label=3).fit(X, Y).classes_) == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    named = classifier(missing_label="").fit(X, np.where(Y == 3, "", Y.astype(str)))
    assert "" not in named.classes_ and len(named.classes_) == 9


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.full(600, -1), "no label"),
        (np.zeros(600), "at least 2 classes, got 1 class"),
        (np.array(["a", 1] * 300, object), "both numbers and strings"),
        (np.random.default_rng(0).normal(size=600), "Unknown label type"),
        (Y[:5], "inconsistent numbers of samples"),
        (None, "requires y"),
    ],
)
def test_labels_that_are_none(y, message):
    with pytest.raises((ValueError, TypeError), match=message):
        classifier().fit(X, y)


def test_arguments_that_contradict_each_other():
    with pytest.raises(ValueError, match="X_val and y_val belong together"):
        classifier().fit(X, Y, X_val=X)
    with pytest.raises(ValueError, match="y_val has the label 12, but"):
        classifier().fit(X, Y, X_val=X[:2], y_val=[1, 12])
    with pytest.raises(ValueError, match="rows in memory, got a stream"):
        classifier().fit(aefast.stream(iter([X[:300], X[300:]])), Y)
    with pytest.raises(TypeError, match="encoder must be an Autoencoder"):
        classifier(encoder=LogisticRegression()).fit(X, Y)
    with pytest.raises(ValueError, match="fitted to 64"):
        encoder = Autoencoder(3, max_epochs=0).fit(X)
        classifier(encoder=encoder).fit(X[:, :5], Y)
    with pytest.raises(ValueError, match="2 targets, the fit has 1"):
        model = regressor(warm_start=True).fit(X, Y)
        model.fit(X, np.stack([Y, Y], axis=1))
    with pytest.raises(NotFittedError):
        classifier().predict(X)
    for name in ("partial_fit", "to_onnx", "to_torch", "from_torch"):
        assert not hasattr(classifier(), name)


def test_a_fit_that_fails_changes_nothing():
    model = classifier().fit(X, Y)
    before = model.predict_proba(X)
    with pytest.raises(ValueError, match="NaN"):
        model.fit(np.where(X == 0, np.nan, X), Y)
    assert same_bits(model.predict_proba(X), before)


# ---- regression ----


def test_regression_of_several_targets():
    rows, y = load_diabetes(return_X_y=True)
    targets = np.stack([y, 1000 * rows[:, 2] + 5, np.full(len(y), 7.0)], axis=1)
    targets[::5, 1] = np.nan
    targets[1::7] = np.nan
    model = AutoencoderRegressor((16,), max_epochs=100, random_state=0).fit(rows, targets)
    known = ~np.isnan(targets[:, 1])
    found = model.predict(rows)
    assert found.shape == targets.shape
    assert np.corrcoef(found[known, 1], targets[known, 1])[0, 1] > 0.97
    np.testing.assert_allclose(found[:, 2], 7.0, atol=1.0)
    assert model.target_means_[2] == 7.0 and model.target_deviations_[2] == 1.0


def test_units_of_the_target_do_not_matter():
    rows, y = load_diabetes(return_X_y=True)
    plain = regressor().fit(rows, y).predict(rows)
    scaled = regressor().fit(rows, 1e6 * y - 5e8).predict(rows)
    np.testing.assert_allclose(scaled, 1e6 * plain - 5e8, rtol=1e-6)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.full(600, np.nan), "no target in column 0"),
        (np.full(600, np.inf), "infinity"),
        (np.where(Y == 0, 1e300, 0), "overflows: scale y down"),
        (np.zeros((600, 2, 2)), "dim"),
        (["a"] * 600, "could not convert"),
    ],
)
def test_targets_that_are_none(y, message):
    with pytest.raises(ValueError, match=message):
        regressor().fit(X, y)
