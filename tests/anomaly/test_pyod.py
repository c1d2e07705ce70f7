"""The detector of `aefast.interop.pyod` among PyOD's own."""

import numpy as np
import pytest

pytest.importorskip("pyod", reason="PyOD is not installed")

from pyod.utils.data import evaluate_print, generate_data
from pyod.utils.utility import standardizer

import aefast
from aefast.interop.pyod import AnomalyDetector


@pytest.fixture(scope="module")
def data():
    X, X_test, y, y_test = generate_data(
        n_train=300, n_test=100, n_features=4, contamination=0.1, random_state=0
    )
    return X, X_test, y, y_test


def test_signs_labels_and_threshold(data):
    X, X_test, y, _ = data
    detector = AnomalyDetector(contamination=0.1).fit(X)
    np.testing.assert_array_equal(detector.decision_scores_, detector.decision_function(X))
    assert detector.decision_scores_[y == 1].mean() > detector.decision_scores_[y == 0].mean()
    assert {*detector.labels_} == {0, 1} and detector.labels_.sum() == 30
    np.testing.assert_array_equal(detector.labels_, detector.decision_scores_ > detector.threshold_)
    np.testing.assert_array_equal(
        detector.predict(X_test), detector.decision_function(X_test) > detector.threshold_
    )
    probabilities = detector.predict_proba(X_test)
    assert probabilities.shape == (100, 2) and np.allclose(probabilities.sum(axis=1), 1)
    plain = aefast.AnomalyDetector(calibration_fraction=0).fit(X)
    np.testing.assert_array_equal(detector.decision_function(X_test), -plain.score_samples(X_test))


def test_pyods_combinations_and_evaluation_take_it(data, capsys):
    pytest.importorskip("combo", reason="PyOD's combinations need the package combo")
    from pyod.models.combination import average, maximization

    X, X_test, _, y_test = data
    detectors = [
        AnomalyDetector(random_state=0),
        AnomalyDetector(estimator=aefast.ProbabilisticPCA(2)),
    ]
    train = np.column_stack([detector.fit(X).decision_scores_ for detector in detectors])
    test = np.column_stack([detector.decision_function(X_test) for detector in detectors])
    _, test = standardizer(train, test)
    for combine in (average, maximization):
        evaluate_print("aefast", y_test, combine(test))
    assert "ROC:" in capsys.readouterr().out


def test_parameters_and_reasons(data):
    detector = AnomalyDetector(contamination=0.2, n_sets=3)
    assert detector.get_params()["n_sets"] == 3
    detector.set_params(n_references=20).fit(data[0])
    assert detector.detector_.references_.shape == (3, 20, 4)
    assert len(detector.explain(data[1][:2], top=1)) == 2


def test_bad_contamination():
    with pytest.raises(ValueError, match="contamination"):
        AnomalyDetector(contamination=0.9)
