"""The estimator `AnomalyDetector`: scores, thresholds, p-values, weights, streams, labels."""

import numpy as np
import pandas as pd
import pytest
from reference import detection, nearest
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks

import aefast
from aefast import AnomalyDetector

ESTIMATORS = {
    "references": None,
    "autoencoder": aefast.Autoencoder(2, max_epochs=3, random_state=0),
    "stacked": aefast.StackedAutoencoder((3, 2), max_epochs=2, pretrain_epochs=1, random_state=0),
    "k-sparse": aefast.Autoencoder(6, top_k=2, max_epochs=3, random_state=0),
    "ppca": aefast.ProbabilisticPCA(2),
    "fa": aefast.FactorAnalysis(1),
    "mixture": aefast.MixtureOfFactorAnalyzers(2, 1, random_state=0),
    "dictionary": aefast.DictionaryLearning(3, max_epochs=3, random_state=0),
}


def correlated(n=500, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 3)) @ [[1, 1, 0, 2], [0, 1, 1, 0], [0, 0, 0.2, 0.1]]


@pytest.fixture(params=ESTIMATORS)
def detector(request):
    return AnomalyDetector(ESTIMATORS[request.param])


# With all components, the checks' tables of more columns than rows leave no noise: log-likelihoods
# of -1e11, whose rounding errors exceed the checks' tolerances.
@parametrize_with_checks(
    [AnomalyDetector(), AnomalyDetector(aefast.ProbabilisticPCA(1)), AnomalyDetector(n_sets=2)]
)
def test_estimator_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # without it one check skips itself
    check(estimator)


# ---- the default model ----


def test_scores_are_those_of_the_reference():
    X = np.column_stack([correlated(), correlated()[:, 0] > 1])
    detector = AnomalyDetector(n_sets=3, n_references=40).fit(X)
    references = detector.references_
    assert references.shape == (3, 40, 5)
    assert {*map(tuple, references.reshape(-1, 5))} <= {*map(tuple, X)}
    centre, unit = detection.units(references.reshape(-1, 5))
    scaled = (references - centre) / unit
    rank = round(40 / 16)
    expected = nearest.strangeness(X, scaled, rank, centre, 1 / unit)
    np.testing.assert_allclose(-detector.score_samples(X), expected, rtol=1e-5)
    usual = nearest.parts(X, scaled, rank, centre, 1 / unit)
    reasons = detector.explain(X[:20], top=5)
    surprise = reasons.pivot(index="row", columns="variable", values="surprise").to_numpy()
    np.testing.assert_allclose(
        surprise + detector.usual_surprise_, usual[:20], rtol=1e-4, atol=1e-6
    )
    total = surprise.sum(axis=1) + detector.usual_surprise_.sum()
    np.testing.assert_allclose(total, -detector.score_samples(X[:20]), rtol=1e-5)


def test_it_finds_what_isolation_forests_miss_and_what_they_find():
    """Rows off the line of correlated columns, and a clump of equal anomalies."""
    X = correlated(1000)
    off = X[:30] * [1, 1, -1, -1] + [0, 0, 0, 0.5]
    clump = np.full((30, 4), 7.0) + 0.01 * np.random.default_rng(1).normal(size=(30, 4))
    rows = np.vstack([X, off, clump])
    is_anomaly = np.arange(len(rows)) >= 1000
    scores = -AnomalyDetector().fit(rows).score_samples(rows)
    forest = -IsolationForest(random_state=0).fit(rows).score_samples(rows)
    assert roc_auc_score(is_anomaly, scores) > max(0.9, roc_auc_score(is_anomaly, forest))
    assert scores[1030:].min() > np.quantile(scores[:1000], 0.99)


def test_columns_of_any_units_count_alike():
    X = correlated()
    scores = AnomalyDetector().fit(X).score_samples(X)
    scaled = X * [1e-3, 1, 1e6, -4] + [5, 0, -7, 3]
    # the rows that are left out, and the draws, follow from the rows' contents
    detector = AnomalyDetector(calibration_fraction=0, n_sets=64)
    scores = detector.fit(X).score_samples(X)
    others = detector.fit(scaled).score_samples(scaled)
    assert np.corrcoef(scores, others)[0, 1] > 0.99


def test_a_column_that_varies_in_few_rows_and_one_that_never_does():
    X = np.column_stack([correlated(4000), np.zeros((4000, 2))])
    X[7, 4] = 1.0
    detector = AnomalyDetector(n_sets=1, n_references=8, calibration_fraction=0).fit(X)
    assert not detector.references_[:, :, 4].any()
    plain = X[7].copy()
    plain[4] = 0
    other = plain.copy()
    other[5] = 99.0
    scores = -detector.score_samples(np.vstack([X[7], plain, other]))
    assert scores[0] == pytest.approx(scores[1] + 3, rel=1e-5) and scores[2] == scores[1]


# ---- any model: thresholds and p-values ----


def test_every_model_scores_explains_and_is_saved(detector, tmp_path):
    X = correlated(300)
    assert detector.fit(X) is detector
    X[0] = 0.0, 9.0, -9.0, 25.0
    scores = detector.score_samples(X)
    assert scores.argmin() == 0 and scores.shape == (300,)
    np.testing.assert_array_equal(detector.decision_function(X), scores - detector.offset_)
    assert {*detector.predict(X)} == {-1, 1} and detector.predict(X)[0] == -1
    p = detector.p_values(X)
    assert p.min() > 0 and p.max() <= 1 and p[0] == p.min()
    reasons = detector.explain(X[:3], top=2)
    assert list(reasons.row) == [0, 0, 1, 1, 2, 2]
    assert {*reasons.value[:2]} <= {*X[0]}
    assert (reasons.low <= reasons.expected).all() and (reasons.expected <= reasons.high).all()
    detector.save(tmp_path / "model")
    loaded = aefast.load(tmp_path / "model")
    for method in ("score_samples", "predict", "p_values"):
        assert getattr(loaded, method)(X).tobytes() == getattr(detector, method)(X).tobytes()
    pd.testing.assert_frame_equal(loaded.explain(X[:3]), detector.explain(X[:3]))
    assert loaded.offset_ == detector.offset_


def test_p_values_are_those_of_the_rows_left_out():
    X = correlated(400)
    detector = AnomalyDetector().fit(X)
    left_out = ~(X[:, None] == detector.references_.reshape(-1, 4)).all(axis=2).any(axis=1)
    calibration = detector._calibration.rows
    assert 50 < len(calibration) < 110  # a fifth
    assert {*map(tuple, calibration)} <= {*map(tuple, X[left_out])}
    scores = -detector.score_samples(calibration)
    others = -detector.score_samples(correlated(30, seed=1))
    expected = detection.p_values(scores, others)
    np.testing.assert_allclose(detector.p_values(correlated(30, seed=1)), expected, rtol=1e-12)


def test_p_values_of_rows_like_those_of_the_fit_keep_their_promise():
    """Mean of P(p ≤ α) over fits, within four standard errors of a binomial number."""
    alpha, shares = 0.1, []
    for seed in range(25):
        detector = AnomalyDetector(n_sets=4, random_state=seed).fit(correlated(250, seed))
        new = correlated(100, 1000 + seed)
        shares.append(np.mean(detector.p_values(new) <= alpha))
        assert (detector.predict(new) == -1).mean() == np.mean(detector.p_values(new) <= 0.05)
    error = np.std(shares) / np.sqrt(len(shares))
    assert alpha - 0.02 - 4 * error < np.mean(shares) < alpha + 4 * error


@pytest.mark.parametrize("contamination", [0.01, 0.1, 0.5])
def test_contamination_is_the_share_of_the_fits_rows(contamination):
    X = correlated(300)
    labels = AnomalyDetector(contamination=contamination).fit_predict(X)
    assert (labels == -1).sum() == round(300 * contamination)


def test_equal_rows_are_divided_too():
    """A row that comes often is among the references and among the rows left out."""
    X = np.vstack([np.zeros((200, 4)), correlated(100)])
    detector = AnomalyDetector().fit(X)
    zeros = (~detector._calibration.rows.any(axis=1)).mean()
    assert zeros == pytest.approx(2 / 3, abs=0.2)
    assert (~detector.references_.any(axis=2)).mean() == pytest.approx(2 / 3, abs=0.1)
    assert detector.predict(X[:1]) == 1


def test_without_rows_left_out():
    X = correlated(200)
    detector = AnomalyDetector(calibration_fraction=0, false_alarm_rate=0.1).fit(X)
    assert (detector.predict(X) == -1).sum() == 20
    with pytest.raises(ValueError, match="p_values needs rows that were left out"):
        detector.p_values(X)


def test_one_row_and_two():
    for n in (1, 2):
        X = correlated(n)
        detector = AnomalyDetector().fit(X)
        assert np.isfinite(detector.score_samples(X)).all()
        assert len(detector.explain(X)) == 3 * n


# ---- weights, missing entries, streams ----


def test_a_row_of_weight_two_is_two_rows():
    X = correlated(150)
    weight = np.random.default_rng(0).integers(0, 4, 150)
    weighted = AnomalyDetector(contamination=0.1).fit(X, sample_weight=weight)
    repeated = AnomalyDetector(contamination=0.1).fit(np.repeat(X, weight, axis=0)[::-1])
    np.testing.assert_array_equal(weighted.references_, repeated.references_)
    np.testing.assert_array_equal(weighted.score_samples(X), repeated.score_samples(X))
    assert weighted.offset_ == repeated.offset_
    np.testing.assert_allclose(weighted.p_values(X), repeated.p_values(X), rtol=1e-12)


def test_a_missing_entry_is_as_surprising_as_usual():
    X = correlated(400)
    gaps = X.copy()
    gaps[np.random.default_rng(0).random(X.shape) < 0.1] = np.nan
    detector = AnomalyDetector().fit(gaps)
    assert np.isfinite(detector.score_samples(gaps)).all()
    nothing = np.full((1, 4), np.nan)
    expected = detector.usual_surprise_.sum()
    assert -detector.score_samples(nothing)[0] == pytest.approx(expected)
    assert len(detector.explain(nothing)) == 0
    reasons = detector.explain(gaps[:40], top=4)
    assert len(reasons) == (~np.isnan(gaps[:40])).sum() and reasons.surprise.notna().all()


def test_a_stream_ends_with_a_sample_of_all_of_it():
    detector = AnomalyDetector(n_sets=32)
    parts = [np.full((n, 1), float(i)) for i, n in enumerate((300, 100, 600))]
    for part in parts:
        assert detector.partial_fit(part) is detector
    shares = [np.mean(detector.references_ == i) for i in range(3)]
    error = 4 * 0.5 / np.sqrt(32 * 128)
    np.testing.assert_allclose(shares, [0.3, 0.1, 0.6], atol=error + 0.05)  # of rows not left out
    assert detector._calibration.is_held_out
    assert len(detector._calibration.rows) == pytest.approx(200, abs=60)


def test_a_stream_of_parts_detects_as_one_fit():
    X = correlated(900)
    stream = AnomalyDetector()
    for part in np.array_split(X, 5):
        stream.partial_fit(part)
    whole = AnomalyDetector().fit(X)
    new = correlated(300, 1)
    assert np.corrcoef(stream.score_samples(new), whole.score_samples(new))[0, 1] > 0.95
    assert stream.offset_ == pytest.approx(whole.offset_, rel=0.2)
    assert len(stream._calibration.rows) == pytest.approx(180, abs=60)


def test_partial_fit_is_the_estimators():
    detector = AnomalyDetector(aefast.Autoencoder(2, max_epochs=2, random_state=0))
    detector.partial_fit(correlated(200)).partial_fit(correlated(200, 1))
    assert detector.estimator_._state.n_rows_seen > 200
    assert not hasattr(AnomalyDetector(aefast.MixtureOfFactorAnalyzers(2)), "partial_fit")


# ---- labels ----


def test_a_few_labels_tell_anomalies_from_other_strange_rows():
    X, y = load_breast_cancer(return_X_y=True)
    rng = np.random.default_rng(0)
    is_anomaly = y == 0
    rows = np.r_[np.flatnonzero(~is_anomaly), rng.choice(np.flatnonzero(is_anomaly), 40, False)]
    X, is_anomaly = X[rows], is_anomaly[rows]
    labels = np.full(len(X), np.nan)
    labels[rng.choice(np.flatnonzero(is_anomaly), 4, False)] = 1
    unknown = np.isnan(labels)
    plain = AnomalyDetector().fit(X)
    taught = AnomalyDetector(contamination=0.1).fit(X, anomaly_labels=labels)
    found = [
        average_precision_score(is_anomaly[unknown], -d.score_samples(X[unknown]))
        for d in (plain, taught)
    ]
    assert found[1] > found[0] + 0.05
    assert (taught.predict(X[labels == 1]) == -1).all()
    assert not (X[labels == 1][:, None] == taught._calibration.rows).all(axis=2).any()


def test_labels_of_normal_rows_alone_change_no_order():
    X = correlated(300)
    labels = np.where(np.arange(300) < 20, 0.0, np.nan)
    taught = AnomalyDetector(calibration_fraction=0).fit(X, anomaly_labels=labels)
    plain = AnomalyDetector(calibration_fraction=0).fit(X)
    order = np.argsort(plain.score_samples(X), kind="stable")
    np.testing.assert_array_equal(np.argsort(taught.score_samples(X), kind="stable"), order)


def test_labels_that_say_nothing_are_none():
    X = correlated(100)
    unknown = AnomalyDetector().fit(X, anomaly_labels=np.full(100, np.nan))
    plain = AnomalyDetector().fit(X, y=np.arange(100))
    assert unknown.score_samples(X).tobytes() == plain.score_samples(X).tobytes()


# ---- refusals ----


@pytest.mark.parametrize(
    "options, message",
    [
        (
            {"anomaly_labels": [0, 1, 2] * 10},
            "anomaly_labels must be 0, 1 or NaN, got 2.0 at row 2",
        ),
        ({"anomaly_labels": [0, 1]}, "anomaly_labels must have 30 entries, got 2"),
        ({"sample_weight": np.zeros(30)}, "all weights are zero"),
        ({"sample_weight": -np.ones(30)}, "sample_weight must be finite and not negative"),
    ],
)
def test_bad_labels_and_weights(options, message):
    detector = AnomalyDetector()
    with pytest.raises(ValueError, match=message):
        detector.fit(correlated(30), **options)
    assert not hasattr(detector, "offset_")


def test_a_failed_fit_leaves_the_last_one():
    X = correlated(100)
    detector = AnomalyDetector().fit(X)
    before = detector.score_samples(X)
    for fit in (detector.fit, detector.partial_fit):
        with pytest.raises(ValueError, match="row 3, column 1"):
            fit(np.where(np.arange(400).reshape(100, 4) == 13, np.inf, X))
        np.testing.assert_array_equal(detector.score_samples(X), before)


def test_top_must_be_positive():
    with pytest.raises(ValueError, match="top must be at least 1, got 0"):
        AnomalyDetector().fit(correlated(50)).explain(correlated(5), top=0)
