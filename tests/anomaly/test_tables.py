"""Anomalies of data frames: names, categories, gaps, values that the fit has not seen."""

import numpy as np
import pandas as pd
import pytest

import aefast
from aefast import AnomalyDetector


@pytest.fixture(scope="module")
def animals():
    rng = np.random.default_rng(0)
    kind = rng.choice(["cat", "dog", "mouse"], 600, p=[0.5, 0.3, 0.2])
    weight = pd.Series(kind).map({"cat": 4, "dog": 20, "mouse": 0.03}) * rng.lognormal(0, 0.1, 600)
    frame = pd.DataFrame({"kind": kind, "weight": weight, "tail": rng.random(600) < 0.9})
    frame.index = [f"animal {i}" for i in range(600)]
    return frame


@pytest.mark.parametrize("estimator", [None, aefast.Autoencoder(4, random_state=0)], ids=str)
def test_mixed_columns(animals, estimator, tmp_path):
    detector = AnomalyDetector(estimator).fit(animals)
    assert detector.variables_ == ["kind", "weight", "tail"]
    strange = animals.iloc[:2].copy()
    strange.loc[strange.index[0], ["kind", "weight"]] = ["mouse", 20.0]
    reasons = detector.explain(strange, top=2)
    assert list(reasons.row) == ["animal 0"] * 2 + ["animal 1"] * 2
    first = reasons.iloc[0]
    assert first.variable in ("kind", "weight") and first.surprise > 1
    assert detector.p_values(strange)[0] < 0.05 < detector.p_values(strange)[1]
    detector.save(tmp_path / "model")
    loaded = aefast.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.score_samples(animals), detector.score_samples(animals))
    pd.testing.assert_frame_equal(loaded.explain(strange), detector.explain(strange))


def test_a_stream_is_read_once(animals):
    pa = pytest.importorskip("pyarrow", reason="needs pyarrow, of the extra [io]")
    table = pa.Table.from_pandas(animals, preserve_index=False)
    stream = pa.RecordBatchReader.from_batches(table.schema, table.to_batches(100))
    found = AnomalyDetector().fit(stream).score_samples(table)
    np.testing.assert_array_equal(found, AnomalyDetector().fit(animals).score_samples(animals))


def test_unseen_categories_have_a_finite_surprise(animals):
    detector = AnomalyDetector().fit(animals)
    strange = animals.iloc[:1].copy()
    strange["kind"] = "horse"
    reasons = detector.explain(strange, top=1)
    assert list(reasons.variable) == ["kind"] and list(reasons.value) == ["horse"]
    assert reasons.surprise[0] == pytest.approx(np.log(602), abs=0.5)  # (0 + 1) / (600 + 2)
    assert detector.score_samples(strange)[0] < detector.score_samples(animals.iloc[:1])[0]


def test_gaps_of_mixed_columns(animals):
    frame = animals.copy()
    frame.loc[frame.index[::7], "kind"] = None
    detector = AnomalyDetector().fit(frame)
    assert np.isfinite(detector.score_samples(frame)).all()
    assert "kind" not in set(detector.explain(frame.iloc[:1], top=3).variable)


def test_frames_of_numbers_keep_their_names(animals):
    numbers = animals[["weight"]].assign(length=animals.weight**0.33)
    detector = AnomalyDetector().fit(numbers)
    assert detector.encoder_ is None and list(detector.feature_names_in_) == ["weight", "length"]
    assert set(detector.explain(numbers.iloc[:3]).variable) == {"weight", "length"}
    with pytest.raises(ValueError, match="feature names"):
        detector.score_samples(numbers.rename(columns={"length": "size"}))


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
def test_other_libraries(animals, library):
    made = pytest.importorskip(library)
    frame = animals.reset_index(drop=True)
    other = made.from_pandas(frame) if library == "polars" else made.Table.from_pandas(frame)
    scores = AnomalyDetector().fit(frame).score_samples(frame)
    detector = AnomalyDetector().fit(other)
    np.testing.assert_array_equal(detector.score_samples(other), scores)
    assert len(detector.explain(other, top=1)) == 600


def test_roles_are_those_of_the_encoder(animals):
    detector = AnomalyDetector(roles={"tail": "drop"}).fit(animals)
    assert detector.variables_ == ["kind", "weight"]
    assert set(detector.explain(animals.iloc[:2]).variable) == {"kind", "weight"}
