"""Models of tables as ONNX files, run by ONNX Runtime. Skipped without either package."""

import datetime as dt
import json

import numpy as np
import pytest

import aefast

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pd = pytest.importorskip("pandas")

from aefast.interop.onnx import table_inputs  # noqa: E402

DAY = 86_400
ORDER = ["S", "M", "L"]


def frame_of(n=240, seed=0):
    """Return a table with a column of each coding, some entries missing."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    frame = pd.DataFrame(
        {
            "real": z,
            "heavy": rng.standard_t(2, n),
            "visits": rng.poisson(np.exp(z)).astype(float),
            "calls": np.floor(np.exp(4 + z)),
            "price": np.exp(1.5 * z + 3),
            "flag": rng.random(n) < 0.3,
            "answer": np.where(z > 0, "yes", "no"),
            "kind": rng.choice(list("abcdefg"), n, p=[0.3, 0.3, 0.2, 0.1, 0.06, 0.02, 0.02]),
            "score": rng.choice([1.5, 2, 7], n),
            "size": rng.choice(ORDER, n),
            "day": pd.Timestamp("1967-12-30") + pd.to_timedelta(rng.integers(0, 3000, n), "D"),
            "moment": pd.Timestamp("2020-02-27 11:00")
            + pd.to_timedelta(rng.integers(0, 10**6, n), "ms"),
            "time": [dt.time(int(hour), 3) for hour in rng.integers(0, 24, n)],
            "lasts": pd.to_timedelta(rng.integers(1, 500, n), "h"),
            "name": [f"person {i}" for i in range(n)],
            "one": 1,
        }
    )
    for number, name in enumerate(frame.columns[:14]):
        if name != "flag":
            frame[name] = frame[name].where(rng.random(n) > 0.02 * (1 + number % 5))
    return frame


ROLES = {"size": ORDER, "score": "category"}


@pytest.fixture(scope="module")
def fitted():
    network = aefast.Autoencoder(4, max_epochs=20, random_state=0)
    model = aefast.TableAutoencoder(network, roles=ROLES, max_categories=5)
    with pytest.warns(UserWarning, match="left out"):
        return model.fit(frame_of())


def strange(frame):
    """Return a table with values that the fit has not seen."""
    frame = frame.copy()
    frame["kind"] = frame["kind"].where(frame.index % 7 != 0, "new")
    frame["answer"] = frame["answer"].where(frame.index % 5 != 0, "maybe")
    frame["score"] = frame["score"].where(frame.index % 6 != 0, 3.0)
    frame["size"] = frame["size"].where(frame.index % 9 != 0, "XL")
    frame["visits"] = frame["visits"].where(frame.index % 4 != 0, -1.0)
    frame["price"] = frame["price"].where(frame.index % 11 != 0, 0.0)
    return frame


def feeds(frame):
    """Return the tensors that the documentation describes, made with pandas alone."""
    found = {}
    for name in frame.columns.drop(["name", "one"]):
        column = frame[name]
        if name in ("answer", "kind", "size"):
            values = column.astype(object).where(column.notna(), "").to_numpy(object)
        elif name in ("day", "moment"):
            values = ((column - pd.Timestamp("1970-01-01")) / pd.Timedelta(days=1)).to_numpy()
        elif name == "time":
            values = [t if t != t else (t.hour * 3600 + t.minute * 60) / DAY for t in column]
        elif name == "lasts":
            values = column.dt.total_seconds().to_numpy()
        else:
            values = column.to_numpy(np.float64)
        kind = object if values is not None and name in ("answer", "kind", "size") else np.float64
        found["score_2" if name == "score" else name] = np.array(values, kind)[:, np.newaxis]
    return found


def run(path, inputs, results=None):
    session = onnxruntime.InferenceSession(path)
    assert {given.name for given in session.get_inputs()} == set(inputs)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


@pytest.mark.parametrize("change", [lambda frame: frame, strange], ids=["seen", "unseen"])
def test_a_table_with_every_coding(fitted, change, tmp_path):
    frame = change(frame_of(seed=1))
    fitted.to_onnx(tmp_path / "table.onnx")
    found = run(tmp_path / "table.onnx", feeds(frame))
    matrix = fitted.encoder_.transform(frame)
    expected = {
        "codes": fitted.transform(frame),
        "reconstruction": fitted.autoencoder_.reconstruct(matrix),
        "score": fitted.score_samples(frame),
    }
    assert list(found) == list(expected)
    for name, values in expected.items():
        scale = np.abs(values).mean()
        np.testing.assert_allclose(found[name], values, rtol=1e-8, atol=1e-8 * scale, err_msg=name)


@pytest.mark.parametrize("change", [lambda frame: frame, strange], ids=["seen", "unseen"])
def test_a_detector(change, tmp_path):
    network = aefast.Autoencoder(4, max_epochs=20, random_state=0)
    detector = aefast.AnomalyDetector(network, roles=ROLES, random_state=0)
    with pytest.warns(UserWarning, match="left out"):
        detector.fit(frame_of())
    frame = change(frame_of(seed=1))
    detector.to_onnx(tmp_path / "model.onnx")
    found = run(tmp_path / "model.onnx", feeds(frame))
    assert set(table_inputs(detector, frame)) == set(feeds(frame))
    for name, values in [
        ("score", detector.score_samples(frame)),
        ("decision", detector.decision_function(frame)),
    ]:
        np.testing.assert_allclose(found[name], values, rtol=1e-8, atol=1e-8, err_msg=name)


@pytest.mark.parametrize("change", [lambda frame: frame, strange], ids=["seen", "unseen"])
def test_the_matrix_of_an_encoder(fitted, change, tmp_path):
    frame, encoder = change(frame_of(seed=1)), fitted.encoder_
    encoder.to_onnx(tmp_path / "encoder.onnx")
    found = run(tmp_path / "encoder.onnx", feeds(frame))
    matrix = encoder.transform(frame)
    assert np.isnan(matrix).any()
    np.testing.assert_allclose(found["matrix"], matrix, rtol=1e-12, atol=1e-9)
    (entry,) = onnx.load(tmp_path / "encoder.onnx").metadata_props
    assert entry.key == "aefast.columns"
    assert json.loads(entry.value) == list(encoder.get_feature_names_out())


def test_inputs_of_a_table(fitted):
    frame = strange(frame_of(seed=1))
    shuffled = frame[frame.columns[::-1]]
    expected = feeds(frame)
    for model in (fitted, fitted.encoder_):
        inputs = table_inputs(model, shuffled)
        assert set(inputs) == set(expected)
        for name, values in inputs.items():
            assert values.shape == expected[name].shape
            if values.dtype == object:
                assert values.tolist() == expected[name].tolist()
            else:
                np.testing.assert_allclose(values, expected[name], rtol=1e-14)
    with pytest.raises(TypeError, match="model must be a fitted TableAutoencoder"):
        table_inputs(aefast.Whitening(), frame)


def test_every_day_of_many_years(tmp_path):
    days = pd.date_range("1595-01-01", "2105-01-01", freq="D").to_series(index=None)
    frame = pd.DataFrame({"day": days.to_numpy()})
    encoder = aefast.TableEncoder().fit(frame)
    encoder.to_onnx(tmp_path / "days.onnx")
    found = run(tmp_path / "days.onnx", table_inputs(encoder, frame))["matrix"]
    np.testing.assert_allclose(found, encoder.transform(frame), rtol=0, atol=1e-10)


def test_files_load_as_the_same_graph(fitted, tmp_path):
    fitted.save(tmp_path / "model.safetensors")
    fitted.to_onnx(tmp_path / "a.onnx", ["score"])
    aefast.load(tmp_path / "model.safetensors").to_onnx(tmp_path / "b.onnx", ["score"])
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    (output,) = onnx.load(tmp_path / "a.onnx").graph.output
    assert output.name == "score"


def test_graphs_have_nothing_that_is_not_used(fitted, tmp_path):
    for results in (["codes"], ["reconstruction"], ["score"], None):
        fitted.to_onnx(tmp_path / "model.onnx", results)
        graph = onnx.load(tmp_path / "model.onnx").graph
        used = {name for node in graph.node for name in node.input}
        made = {name for node in graph.node for name in node.output}
        made |= {tensor.name for tensor in graph.initializer}
        assert made - used == {output.name for output in graph.output}


@pytest.mark.parametrize(
    ("name", "column", "message"),
    [
        (
            "moment",
            pd.date_range("2020-01-01", periods=40, freq="31h", tz="Europe/Berlin"),
            "time zone Europe/Berlin",
        ),
        ("mixed", pd.Series([1, "a", "b", 2] * 10, dtype="category"), "texts and numbers"),
    ],
)
def test_columns_that_no_graph_can_read(name, column, message, tmp_path):
    frame = pd.DataFrame({name: column, "real": np.random.default_rng(0).normal(size=40)})
    encoder = aefast.TableEncoder().fit(frame)
    path = tmp_path / "model.onnx"
    path.write_text("before")
    with pytest.raises(ValueError, match=f"column '{name}' has .*{message}"):
        encoder.to_onnx(path)
    assert path.read_text() == "before"


def test_dates_in_utc(tmp_path):
    dates = pd.date_range("2020-01-01", periods=400, freq="31h", tz="UTC")
    frame = pd.DataFrame({"moment": dates})
    encoder = aefast.TableEncoder().fit(frame)
    encoder.to_onnx(tmp_path / "model.onnx")
    found = run(tmp_path / "model.onnx", table_inputs(encoder, frame))["matrix"]
    np.testing.assert_allclose(found, encoder.transform(frame), rtol=0, atol=1e-10)


@pytest.mark.parametrize("whole", [False, True], ids=["encoder", "autoencoder"])
def test_tables_in_pipelines(whole, tmp_path):
    skl2onnx = pytest.importorskip("skl2onnx")
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    from aefast.interop.onnx import register

    register()
    frame = frame_of()[["real", "visits", "price", "flag", "answer", "kind", "one"]]
    y = (frame["kind"] == "a").to_numpy()
    frame["answer"], frame["kind"] = (
        frame[c].fillna("").astype(object) for c in ("answer", "kind")
    )
    network = aefast.Autoencoder(3, max_epochs=5, random_state=0)
    first = [aefast.TableAutoencoder(network)]
    if not whole:
        first = [aefast.TableEncoder(), network.set_params(missing="mask")]
    with pytest.warns(UserWarning, match="left out"):
        pipeline = make_pipeline(*first, LogisticRegression()).fit(frame, y)
    options = {"target_opset": 18, "options": {"zipmap": False}}
    proto = skl2onnx.to_onnx(pipeline, frame[:1], **options)
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    inputs = {name: frame[[name]].to_numpy() for name in frame}
    assert {given.name for given in session.get_inputs()} == set(inputs)
    _, probabilities = session.run(None, inputs)
    np.testing.assert_allclose(probabilities, pipeline.predict_proba(frame), atol=1e-5)
    with pytest.raises(ValueError, match="column 'real' needs an input of its name"):
        skl2onnx.to_onnx(pipeline, frame[:1].rename(columns={"real": "other"}), **options)
