"""Models as ONNX files, run by ONNX Runtime. Skipped without either package."""

import numpy as np
import pytest

import aefast

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from support.tables import mixed_table  # noqa: E402

METHODS = {"codes": "transform", "reconstruction": "reconstruct", "score": "score_samples"}


def compare(model, X, folder, rtol, n_results=3):
    path = folder / "model.onnx"
    model.to_onnx(path)
    session = onnxruntime.InferenceSession(path)
    names = [output.name for output in session.get_outputs()]
    assert names == list(METHODS)[:n_results]
    found = dict(zip(names, session.run(names, {"X": X}), strict=True))
    for name, values in found.items():
        expected = getattr(model, METHODS[name])(X)
        assert values.shape == expected.shape
        scale = np.abs(expected).mean()
        np.testing.assert_allclose(values, expected, rtol=rtol, atol=rtol * scale, err_msg=name)


# float64 scores of counts are those of a series
@pytest.mark.parametrize(("dtype", "rtol"), [(np.float32, 1e-4), (np.float64, 1e-8)])
def test_every_distribution(dtype, rtol, tmp_path):
    X, output = mixed_table()
    options = {"output": output, "max_epochs": 30, "random_state": 0}
    compare(aefast.Autoencoder(4, **options).fit(X.astype(dtype)), X.astype(dtype), tmp_path, rtol)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "softplus", "elu", "linear"])
def test_every_activation(activation, dtype, tmp_path):
    X = np.random.default_rng(0).normal(3, 9, (40, 7)).astype(dtype)
    options = {"tied": False, "activation": activation, "max_epochs": 3, "random_state": 0}
    model = aefast.Autoencoder(3, **options).fit(X)
    compare(model, X, tmp_path, 1e-4 if dtype == np.float32 else 1e-11)


def test_missing_entries_and_largest_codes(tmp_path):
    X = np.random.default_rng(0).normal(5, 3, (80, 9)).astype(np.float32)
    X[::3, 4] = np.nan
    options = {"missing": "mask", "top_k": 2, "max_epochs": 5, "random_state": 0}
    compare(aefast.Autoencoder(6, **options).fit(X), X, tmp_path, 1e-4)


@pytest.mark.parametrize("options", [{"output": "multinomial"}, {"scale": "standard"}])
def test_rows_divided_by_their_norms(options, tmp_path):
    X = np.random.default_rng(0).poisson(2, (80, 9)).astype(np.float32)
    X[3] = 0
    options = {"row_norm": "l2", "tied": False, "max_epochs": 5, "random_state": 0} | options
    compare(aefast.Autoencoder(4, **options).fit(X), X, tmp_path, 1e-4)


@pytest.mark.parametrize("options", [{}, {"tied": False}, {"top_k": 2}], ids=str)
def test_layers(options, tmp_path):
    X = np.random.default_rng(0).normal(5, 3, (80, 9))
    model = aefast.StackedAutoencoder([6, 3], max_epochs=5, random_state=0, **options).fit(X)
    compare(model, X, tmp_path, 1e-10)


def test_linear_models(tmp_path):
    X = np.random.default_rng(0).normal(size=(50, 3)) @ np.random.default_rng(1).normal(size=(3, 8))
    X += np.random.default_rng(2).normal(size=X.shape) + 2
    for model in (aefast.ProbabilisticPCA(2), aefast.FactorAnalysis(2, rotation="promax")):
        compare(model.fit(X), X, tmp_path, 1e-9)
    compare(aefast.MarginalizedAutoencoder().fit(X), X, tmp_path, 1e-9, n_results=2)
    compare(aefast.ItemAutoencoder().fit(abs(X)), abs(X), tmp_path, 1e-9, n_results=1)


def test_mixtures(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 2)) @ rng.normal(size=(2, 6)) + 0.3 * rng.normal(size=(150, 6))
    X[::3] += 5
    for kind in (aefast.MixtureOfFactorAnalyzers, aefast.MixtureOfProbabilisticPCA):
        model = kind(3, 2, random_state=0).fit(X)
        compare(model, X, tmp_path, 1e-9)
        X_gaps = X[:2].copy()
        X_gaps[0, 1] = np.nan
        session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
        (score,) = session.run(["score"], {"X": X_gaps})
        assert np.isnan(score).tolist() == [True, False]


def test_a_multinomial_network(tmp_path):
    X = np.random.default_rng(0).poisson(2, (80, 9)).astype(np.float32)
    model = aefast.MultinomialAutoencoder(3, max_epochs=3, random_state=0).fit(X)
    compare(model, X, tmp_path, 1e-4)


def test_refusals_leave_the_file_alone(tmp_path):
    X = np.random.default_rng(0).normal(size=(50, 4))
    path = tmp_path / "model.onnx"
    path.write_text("before")
    model = aefast.Whitening().fit(X)
    with pytest.raises(ValueError, match="results of a ItemAutoencoder must be some of"):
        aefast.ItemAutoencoder().fit(abs(X)).to_onnx(path, ["score"])
    with pytest.raises(OSError):
        model.to_onnx(tmp_path / "missing" / "model.onnx")
    assert path.read_text() == "before"


class Logistic(aefast.distributions.Distribution):
    """A user's own distribution."""

    def mean(self, eta):
        return eta

    def link(self, mean):
        return mean

    def loss(self, eta, x):
        half = (x - eta) / 2
        return 2 * np.logaddexp(half, -half), -np.tanh(half)

    def sample(self, eta, random):
        return random.logistic(eta)


QUICK = {"max_epochs": 1, "random_state": 0}


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (aefast.SparseCoder(np.eye(4)), "SparseCoder cannot be exported: its codes are found by"),
        (aefast.DictionaryLearning(2, **QUICK), "DictionaryLearning cannot be .* by iterations"),
        (aefast.Imputer(n_components=1), "Imputer cannot be .* solves a system"),
        (aefast.AnomalyDetector(n_sets=2, n_references=5), "AnomalyDetector .* compares a row"),
        (aefast.AnomalyDetector(aefast.Whitening("pca")), "its Whitening has no score_samples"),
        (aefast.AutoencoderEnsemble(2, n_components=2, **QUICK), "Ensemble .* averages over mem"),
        (aefast.Autoencoder(2, output=Logistic(), **QUICK), "'Logistic' is a user-defined"),
    ],
)
def test_models_that_no_graph_computes(estimator, message, tmp_path):
    from aefast.interop.onnx import export

    model = estimator.fit(np.random.default_rng(0).normal(size=(50, 4)))
    path = tmp_path / "model.onnx"
    path.write_text("before")
    with pytest.raises((TypeError, ValueError), match=message):
        export(model, path)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    assert path.read_text() == "before"


def test_scores_of_a_detector(tmp_path):
    X = np.random.default_rng(0).normal(5, 3, (80, 6)).astype(np.float32)
    model = aefast.AnomalyDetector(aefast.Autoencoder(2, **QUICK), random_state=0).fit(X)
    model.to_onnx(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    score, decision = session.run(["score", "decision"], {"X": X})
    np.testing.assert_allclose(score, model.score_samples(X), rtol=1e-4)
    np.testing.assert_allclose(decision, model.decision_function(X), rtol=1e-4, atol=1e-3)
    labels = np.where(np.arange(len(X)) < 20, 1.0, 0.0)
    model.fit(X, anomaly_labels=labels)
    with pytest.raises(TypeError, match="its fit had labels"):
        model.to_onnx(tmp_path / "model.onnx")


def test_pipelines(tmp_path):
    skl2onnx = pytest.importorskip("skl2onnx")
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from aefast.interop.onnx import register

    register()
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 6)).astype(np.float32)
    y = X[:, 0] > 0
    network = aefast.Autoencoder(3, max_epochs=5, random_state=0)
    mixture = aefast.MixtureOfFactorAnalyzers(2, 1, random_state=0)
    steps = StandardScaler(), network, aefast.Whitening("pca"), mixture, LogisticRegression()
    pipeline = make_pipeline(*steps).fit(X, y)
    options = {"target_opset": 18, "options": {"zipmap": False}}
    proto = skl2onnx.to_onnx(pipeline, X[:1], **options)
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    _, probabilities = session.run(None, {"X": X})
    np.testing.assert_allclose(probabilities, pipeline.predict_proba(X), atol=1e-4)
