"""Pipelines of scikit-learn as files. Skipped without skops."""

import io
import json
import operator
import os
import pickle
import shutil
import zipfile

import numpy as np
import pytest
from safetensors.numpy import load as read_tensors
from safetensors.numpy import save as serialize
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from support import kept_files
from support.kept_files import DATA
from support.model_files import assert_refused, edited, unpack

import aefast
from aefast.cli import main

skops = pytest.importorskip("skops.io")

from aefast.interop.pipelines import OWN, REST, Placeholder, _is_trusted  # noqa: E402

QUICK = {"max_epochs": 2, "random_state": 0}
NETWORK = aefast.Autoencoder(2, **QUICK)
TREE = "sklearn.tree._tree.Tree"
X = np.random.default_rng(0).normal(size=(80, 6))
Y = X[:, 0] > 0


class Own(TransformerMixin, BaseEstimator):
    """A user's own transformer."""

    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return X


@pytest.fixture(scope="module")
def nested():
    """A pipeline with estimators of aefast at three depths, and unfitted templates of them."""
    codes = make_pipeline(StandardScaler(), aefast.Autoencoder(3, **QUICK))
    columns = make_column_transformer((codes, [0, 1, 2, 3]), (aefast.Whitening(), [4, 5]))
    union = make_union(aefast.ProbabilisticPCA(2), "passthrough")
    return make_pipeline(columns, union, LogisticRegression()).fit(X, Y)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "pipeline.safetensors"


@pytest.fixture
def written(path):
    pipeline = make_pipeline(StandardScaler(), aefast.Autoencoder(2, **QUICK)).fit(X)
    aefast.save(pipeline, path)
    return path


def test_a_pipeline_comes_back(nested, path):
    before = list(vars(nested[0]))
    aefast.save(nested, path)
    loaded = aefast.load(path)
    assert list(vars(nested[0])) == before
    assert isinstance(nested[0].transformers_[0][1][1], aefast.Autoencoder)
    np.testing.assert_array_equal(loaded.predict_proba(X), nested.predict_proba(X))
    assert repr(loaded) == repr(nested)
    again = loaded.fit(X, Y).predict_proba(X)
    np.testing.assert_array_equal(again, nested.predict_proba(X))


def test_sparse_matrices_and_texts_in_the_parts_of_scikit_learn(path):
    texts = ["ash beech", "beech cherry oak", "ash ash oak"] * 10
    steps = TfidfVectorizer(), aefast.Autoencoder(2, **QUICK)
    pipeline = make_pipeline(*steps, NearestCentroid()).fit(texts, [0, 1, 1] * 10)
    pipeline.kept_ = sparse.csr_matrix(np.eye(50))
    aefast.save(pipeline, path)
    loaded = aefast.load(path)
    assert (loaded.predict(texts) == pipeline.predict(texts)).all()
    assert (loaded.kept_ != pipeline.kept_).nnz == 0


def test_open_files_and_searches():
    steps = make_pipeline(aefast.Autoencoder(**QUICK), LogisticRegression())
    search = GridSearchCV(steps, {"autoencoder__n_components": [1, 2]}, cv=2).fit(X, Y)
    file = io.BytesIO()
    aefast.save(search, file)
    loaded = aefast.load(io.BytesIO(file.getvalue()))
    np.testing.assert_array_equal(loaded.predict_proba(X), search.predict_proba(X))
    assert loaded.best_params_ == search.best_params_


def test_tables_in_front(path):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": X[:, 0], "kind": np.where(Y, "yes", "no"), "b": X[:, 1]})
    frame.loc[::5, "kind"] = None
    network = aefast.Autoencoder(2, **QUICK)
    pipeline = make_pipeline(aefast.TableAutoencoder(network), LogisticRegression()).fit(frame, Y)
    aefast.save(pipeline, path)
    loaded = aefast.load(path)
    np.testing.assert_array_equal(loaded.predict_proba(frame), pipeline.predict_proba(frame))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.InconsistentVersionWarning")
def test_a_file_of_version_1():
    loaded = aefast.load(DATA / "pipeline-version-1.safetensors")
    assert [type(step).__name__ for _, step in loaded.steps] == ["StandardScaler", "Whitening"]
    known = [[-1.054876368904654, -0.17147356832429145], [-0.3442762565183732, -0.6610987006]]
    np.testing.assert_allclose(loaded.transform(kept_files.rows()[:2])[:, :2], known, rtol=1e-6)


def test_single_estimators_are_written_as_by_their_method(path):
    model = aefast.Whitening().fit(X)
    aefast.save(model, path)
    first = path.read_bytes()
    model.save(path)
    assert path.read_bytes() == first


def test_no_file_has_a_pickle(written):
    tensors = read_tensors(written.read_bytes())
    with zipfile.ZipFile(io.BytesIO(tensors[REST].tobytes())) as archive:
        assert {name.rpartition(".")[2] for name in archive.namelist()} <= {"json", "npy"}
    assert b"PickleNode" not in written.read_bytes()


def test_compiled_classes_have_to_be_named(path):
    steps = aefast.Whitening(), RandomForestClassifier(3, random_state=0)
    pipeline = make_pipeline(*steps).fit(X, Y)
    with pytest.raises(ValueError, match=rf"not trusted: {TREE}\. Name them in trusted"):
        aefast.save(pipeline, path)
    assert not path.exists()
    aefast.save(pipeline, path, trusted=[TREE])
    assert_refused(path, rf"not trusted: \['{TREE}'\]")
    loaded = aefast.load(path, trusted=[TREE])
    np.testing.assert_array_equal(loaded.predict_proba(X), pipeline.predict_proba(X))


@pytest.mark.parametrize(
    ("estimator", "error", "message"),
    [
        (make_pipeline(Own(), aefast.Whitening()), ValueError, r"not trusted: \S+\.Own\."),
        (
            make_pipeline(aefast.AutoencoderCV(NETWORK, {"gain": [False]}, cv=2)),
            TypeError,
            "AutoencoderCV inside, which no file holds: .*best_estimator_",
        ),
        (make_pipeline(FunctionTransformer(eval, validate=False)), ValueError, "builtins.eval"),
    ],
    ids=["own", "cv", "function"],
)
def test_what_no_file_holds(estimator, error, message, path, monkeypatch):
    path.write_text("before")
    fitted = estimator
    if "eval" not in message:
        fitted = estimator.fit(X)
    with pytest.raises(error, match=message):
        aefast.save(fitted, path)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert path.read_text() == "before"


def test_bad_arguments(path):
    with pytest.raises(NotFittedError):
        aefast.save(make_pipeline(StandardScaler(), aefast.Autoencoder(2)), path)
    pipeline = make_pipeline(StandardScaler()).fit(X)
    for trusted in ("numpy.mean", [3], 7):
        with pytest.raises(TypeError, match="trusted must be a list of names of types"):
            aefast.save(pipeline, path, trusted=trusted)
    for thing in (3, None, "model", aefast.AutoencoderCV(aefast.Autoencoder(), {})):
        with pytest.raises(TypeError, match="estimator must be a fitted object with a method save"):
            aefast.save(thing, path)
    assert not path.exists()


def test_without_skops(written, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "skops", None)
    monkeypatch.delitem(sys.modules, "skops.io")
    monkeypatch.delitem(sys.modules, "aefast.interop.pipelines")
    with pytest.raises(ImportError, match=r"this needs the package 'skops'.*pip install skops"):
        aefast.load(written)
    with pytest.raises(ImportError, match="'skops'"):
        aefast.save(make_pipeline(StandardScaler()).fit(X), written)


# ---- damaged and hostile files ----


def test_a_later_version_is_refused(written):
    with edited(written) as (_, metadata, _):
        metadata["format_version"] = 2
    assert_refused(written, "format version 2, .* reads versions up to 1: upgrade aefast")


def test_a_later_version_of_an_estimator_is_refused(written):
    with edited(written) as (_, metadata, _):
        metadata["models"][0]["format_version"] = 99
    assert_refused(written, "format version 99, .* upgrade aefast")


EDITS = {
    "no models": lambda metadata: metadata.pop("models"),
    "models of text": lambda metadata: metadata.update(models="all"),
    "a model less": lambda metadata: metadata["models"].clear(),
    "a model of text": lambda metadata: metadata.update(models=["model"]),
    "a model without a format": lambda metadata: metadata["models"][0].pop("format"),
    "a model of another format": lambda metadata: metadata["models"][0].update(format="pickle"),
    "a pipeline inside": lambda metadata: metadata["models"][0].update(format="aefast pipeline"),
    "a model without a state": lambda metadata: metadata["models"][0].pop("state"),
    "fitted in words": lambda metadata: metadata["models"][0].update(fitted="yes"),
    "not fitted, with arrays": lambda metadata: metadata["models"][0].update(fitted=False),
    "another parameter": lambda metadata: metadata["models"][0]["parameters"].update(other=1),
    "a bad parameter": lambda metadata: metadata["models"][0]["parameters"].update(solver="none"),
    "another entry": lambda metadata: metadata.update(other=1),
    "no version": lambda metadata: metadata.pop("format_version"),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_headers_are_checked(edit, written):
    with edited(written) as (_, metadata, _):
        edit(metadata)
    assert_refused(written)


def rewritten(path, rest, **others):
    """Write the file with another dump, and with other tensors."""
    contents = path.read_bytes()
    metadata = unpack(contents)[0]["__metadata__"]
    tensors = read_tensors(contents) | {REST: np.frombuffer(rest, np.uint8)} | others
    path.write_bytes(serialize(tensors, metadata))


def archive_of(schema, compression=zipfile.ZIP_STORED, **parts):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("schema.json", json.dumps(schema))
        for name, contents in parts.items():
            archive.writestr(name, contents)
    return file.getvalue()


def npy_header(shape):
    file = io.BytesIO()
    header = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue()


class Runs:
    """What runs code when a pickle is read."""

    def __reduce__(self):
        return exec, ("raise SystemExit('a file has run code')",)


def dump_of(estimator):
    return skops.dumps(estimator)


DEEP: dict = {"protocol": 2, "_skops_version": "0.16.0"}
for _ in range(300):
    inner, DEEP = DEEP, {"__loader__": "ListNode", "__class__": "list", "__module__": "builtins"}
    DEEP |= {"content": [inner], "protocol": 2}
DUMPS = {
    "nothing": b"",
    "noise": bytes(range(256)) * 4,
    "a pickle": pickle.dumps(Runs()),
    "an empty archive": archive_of({}),
    "an unknown node": archive_of({"__loader__": "Other", "protocol": 2, "__id__": 1}),
    "a function of the system": dump_of(FunctionTransformer(os.system)),
    "a function of Python": dump_of(FunctionTransformer(shutil.rmtree)),
    "the evaluation of texts": dump_of(FunctionTransformer(eval)),
    "a function of NumPy": dump_of(FunctionTransformer(np.load)),
    "a call": dump_of(FunctionTransformer(operator.methodcaller("save", "somewhere"))),
    "a compiled class": dump_of(RandomForestClassifier(2, random_state=0).fit(X, Y)),
    "no estimator": dump_of([1, 2, 3]),
    "an array that claims more": archive_of(
        {"__loader__": "NdArrayNode"}, array=npy_header((10**12,))
    ),
    "a bomb within": archive_of(
        {"__loader__": "NdArrayNode"},
        sparse=archive_of({}, zipfile.ZIP_DEFLATED, data=bytes(10**7)),
    ),
    "archives within archives": archive_of({}, a=archive_of({}, b=archive_of({}))),
    "a compressed bomb": archive_of(
        {"__loader__": "NdArrayNode"}, zipfile.ZIP_DEFLATED, big=bytes(10**7)
    ),
    "an unknown type": dump_of(Own().fit(X)),
    "a placeholder too many": dump_of(make_pipeline(Placeholder(1))),
    "a negative placeholder": dump_of(make_pipeline(Placeholder(-1))),
    "a placeholder of text": dump_of(make_pipeline(Placeholder("0"))),
    "deep lists": archive_of(DEEP),
}


@pytest.mark.parametrize("dump", DUMPS.values(), ids=DUMPS)
def test_hostile_dumps(dump, written):
    rewritten(written, dump)
    assert_refused(written)


def test_other_tensors_are_refused(written):
    dump = read_tensors(written.read_bytes())[REST].tobytes()
    rewritten(written, dump)
    assert isinstance(aefast.load(written)[1], aefast.Autoencoder)
    for name in ("other", "7.components", "0.other"):
        kept = written.read_bytes()
        rewritten(written, dump, **{name: np.zeros(2)})
        assert_refused(written)
        written.write_bytes(kept)
    rewritten(written, dump, **{REST: np.zeros(3)})
    assert_refused(written, "as bytes")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_cut_files(share, written):
    contents = written.read_bytes()
    written.write_bytes(contents[: int(share * len(contents))])
    assert_refused(written)


def test_changed_bytes(written):
    """Any byte may be wrong: the file is refused, or what loads is an estimator."""
    contents, random = written.read_bytes(), np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(contents)
        damaged[random.integers(len(contents))] ^= 1 << random.integers(8)
        written.write_bytes(damaged)
        try:
            loaded = aefast.load(written)
        except ValueError as error:
            assert str(written) in str(error)
        else:
            assert isinstance(loaded, BaseEstimator)


@pytest.mark.parametrize(
    ("name", "is_trusted"),
    [
        (OWN, True),
        ("sklearn.model_selection._split.KFold", True),
        ("sklearn.gaussian_process.kernels.RBF", True),
        ("sklearn.feature_selection._univariate_selection.f_classif", True),
        (TREE, False),
        ("sklearn.neighbors._kd_tree.KDTree", False),
        ("sklearn.datasets._base.load_files", False),
        ("sklearn.utils._testing.TempMemmap", False),
        ("sklearn.model_selection._split.np", False),
        ("sklearn.model_selection.KFold", False),  # not the name of its module
        ("sklearn.nowhere.Thing", False),
        ("sklearn.os.system", False),
        ("os.system", False),
        ("numpy.load", False),
    ],
)
def test_names_of_types(name, is_trusted):
    assert _is_trusted(name) is is_trusted


# ---- the command ----


def test_info(written, capsys):
    assert main(["info", str(written)]) == 0
    assert "standardscaler: StandardScaler, autoencoder: Autoencoder" in capsys.readouterr().out


def test_encode(written, tmp_path):
    np.save(tmp_path / "X.npy", X)
    paths = str(tmp_path / "X.npy"), "-o", str(tmp_path / "H.npy")
    assert main(["encode", str(written), *paths]) == 0
    codes = aefast.load(written).transform(X)
    np.testing.assert_allclose(np.load(tmp_path / "H.npy"), codes, rtol=1e-6)


def test_export(written, tmp_path, capsys):
    path = tmp_path / "model.h"
    assert main(["export", str(written), "--to", "c", "-o", str(path)]) == 2
    assert "Pipeline cannot be exported: its steps" in capsys.readouterr().err
    assert not path.exists()
