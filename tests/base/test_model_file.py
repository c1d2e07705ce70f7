"""Model files: what they keep, and that a failed write leaves everything as it was."""

import contextlib
import io
import os
import resource
import signal

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load as read_tensors
from sklearn.exceptions import NotFittedError
from support.helpers import PLAIN_OUTPUTS
from support.textbook import Autoencoder

import aefast
from aefast.model_file import replacing

OUTPUTS = PLAIN_OUTPUTS  # the others: test_recipe.py
SOLVERS = {
    "adam": {"solver": "adam"},
    "momentum": {"solver": "sgd", "momentum": 0.9},
    "plain": {"solver": "sgd", "momentum": 0.0},
    "adagrad": {"solver": "adagrad"},
}


def assert_same_model(a, b, X):
    """Every bit of the state and of the predictions."""
    assert type(a) is type(b)
    for field in ("model", "solver", "n_steps", "n_rows_seen", "seed"):
        assert getattr(a._state, field) == getattr(b._state, field)
    for field in ("parameters", "optimizer_state"):
        left, right = getattr(a._state, field), getattr(b._state, field)
        assert (left.dtype, left.shape) == (right.dtype, right.shape)
        assert left.tobytes() == right.tobytes()
    for name in ("loss_curve_", "validation_loss_curve_", "n_epochs_", "n_features_in_"):
        assert getattr(a, name) == getattr(b, name)
    assert a.get_params() == b.get_params()
    for predict in ("transform", "reconstruct", "score_samples", "reconstruction_error"):
        assert getattr(a, predict)(X).tobytes() == getattr(b, predict)(X).tobytes()


# ---- round trip ----


@pytest.mark.parametrize("options", SOLVERS.values(), ids=SOLVERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("output", OUTPUTS)
def test_round_trip(output, tied, dtype, options, X, path):
    """A loaded estimator predicts and trains with the bits of one that was never saved."""
    X = X.astype(dtype)
    ae = Autoencoder(
        3, output=output, tied=tied, batch_size=16, max_epochs=3, random_state=1, **options
    ).fit(X)
    ae.save(path)
    loaded = aefast.load(path)
    assert_same_model(ae, loaded, X)
    assert_same_model(ae.partial_fit(X), loaded.partial_fit(X), X)


def test_every_parameter_round_trips(X, path):
    """All constructor parameters at values other than the defaults, some of them of NumPy."""
    parameters = {
        "n_components": np.int64(3),
        "activation": "tanh",
        "output": "bernoulli",
        "tied": False,
        "gain": False,
        "init": "glorot",
        "solver": "sgd",
        "learning_rate": np.float32(0.02),
        "momentum": 0.5,
        "nesterov": np.True_,
        "batch_size": 16,
        "max_epochs": 2,
        "early_stopping": True,
        "validation_fraction": 0.25,
        "n_epochs_no_change": 3,
        "tol": 0.0,
        "alpha": np.longdouble(2**-10),
        "weight_decay": np.float32(0.5),
        "clip_norm": 5.0,
        "max_norm": np.float64(3),
        "weight_averaging": np.float64(0.75),
        "learning_rate_schedule": "plateau",
        "missing": "mask",
        "missing_fill": "zero",
        "sparse_means": "missing",
        "row_norm": "l2",
        "sparse_output": "exact",
        "reconstruction_sampling": None,  # not with sparse_means="missing"
        "scale": "robust",
        "domain": "clip",
        "corruption": ("gaussian", 0.1),
        "contraction": 0.01,
        "sparsity": ("l1", 0.01),
        "top_k": 2,
        "dropout": 0.0,  # not with top_k
        "shuffle": False,
        "warm_start": True,
        "precision": "auto",  # the other is in test_bfloat16.py
        "n_threads": 1,
        "random_state": 7,
        "callbacks": None,
        "checkpoint": None,
        "checkpoint_every": "10 min",
        "resume": "auto",
        "verbose": 0,
    }
    assert set(parameters) == set(Autoencoder().get_params())
    ae = Autoencoder(**parameters).fit(X)
    ae.save(path)
    loaded = aefast.load(path)
    assert_same_model(ae, loaded, X)
    assert len(loaded.validation_loss_curve_) == 2
    assert_same_model(ae.fit(X), loaded.fit(X), X)  # warm_start goes on, too


def test_initialised_only_round_trips(X, path):
    ae = Autoencoder(3, max_epochs=0, random_state=0).fit(X)
    ae.save(path)
    assert_same_model(ae, aefast.load(path), X)


def test_feature_names_round_trip(X, path):
    frame = pd.DataFrame(X, columns=[f"größe {column}" for column in "abcdef"])
    ae = Autoencoder(3, max_epochs=1, random_state=0).fit(frame)
    ae.save(path)
    loaded = aefast.load(path)
    assert loaded.feature_names_in_.dtype == object
    assert list(loaded.feature_names_in_) == list(frame.columns)
    assert_same_model(ae, loaded, frame)


def test_callbacks_and_generators_are_not_saved(X, path):
    """The seed drawn from a generator is: training goes on as without the file."""
    ae = Autoencoder(3, max_epochs=1, random_state=np.random.RandomState(3), callbacks=print).fit(X)
    ae.save(path)
    loaded = aefast.load(path)
    assert loaded.random_state is None and loaded.callbacks is None
    ae.callbacks = None
    assert ae.partial_fit(X)._state.parameters.tobytes() == (
        loaded.partial_fit(X)._state.parameters.tobytes()
    )


def test_same_model_same_bytes(saved, tmp_path):
    copies = []
    for name in ("a", "b"):
        aefast.load(saved).save(tmp_path / name)
        copies.append((tmp_path / name).read_bytes())
    assert copies == [saved.read_bytes()] * 2


def test_tensors_have_public_names(X, path):
    """Another program finds the parameters by the names of the attributes."""
    ae = Autoencoder(3, tied=False, max_epochs=1, random_state=0).fit(X)
    ae.save(path)
    tensors = read_tensors(path.read_bytes())
    for name in ("components", "decoder_components", "hidden_bias", "visible_bias"):
        assert np.array_equal(tensors.pop(name), getattr(ae, f"{name}_"))
        for state in range(2):
            tensors.pop(f"optimizer.{state}.{name}")
    assert not tensors


def test_changing_parameters_after_a_fit_does_not_change_the_model(X, path):
    ae = Autoencoder(3, tied=True, max_epochs=1, random_state=0).fit(X)
    codes = ae.transform(X)
    ae.set_params(n_components=5, tied=False, solver="sgd", output="bernoulli").save(path)
    loaded = aefast.load(path)
    assert loaded.get_params() == ae.get_params()
    assert np.array_equal(loaded.transform(X), codes)


# ---- writing ----


@pytest.mark.parametrize(
    "convert", [str, os.fsencode, lambda path: path], ids=["str", "bytes", "Path"]
)
def test_path_is_used_as_it_is(convert, X, tmp_path):
    path = tmp_path / "no suffix, but a ü"
    Autoencoder(2, max_epochs=0, random_state=0).fit(X).save(convert(path))
    assert os.listdir(tmp_path) == [path.name]
    assert aefast.load(convert(path)).n_features_in_ == X.shape[1]


def test_unfitted_is_not_saved(path):
    with pytest.raises(NotFittedError, match="not fitted"):
        Autoencoder().save(path)
    assert not path.exists()


@pytest.mark.parametrize(
    "parameters, match",
    [
        ({"learning_rate": -1.0}, "learning_rate"),
        ({"tol": np.inf}, "tol.*inf"),
    ],
)
def test_bad_parameters_are_not_saved(parameters, match, X, saved):
    before = saved.read_bytes()
    ae = Autoencoder(2, max_epochs=0).fit(X).set_params(**parameters)
    with pytest.raises(ValueError, match=match):
        ae.save(saved)
    assert saved.read_bytes() == before


def test_link_and_permissions_survive(X, saved, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(saved.name)
    saved.chmod(0o640)
    Autoencoder(2, max_epochs=0).fit(X).save(link)
    assert link.is_symlink()
    assert saved.stat().st_mode & 0o777 == 0o640
    assert aefast.load(saved).n_components == 2


def test_new_file_has_the_usual_permissions(saved, tmp_path):
    (tmp_path / "other").touch()
    assert saved.stat().st_mode == (tmp_path / "other").stat().st_mode


@contextlib.contextmanager
def full_disk(n_bytes):
    """No file can grow past so many bytes: writing fails as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def test_full_disk_leaves_the_old_file(X, saved):
    before = saved.read_bytes()
    ae = Autoencoder(4, max_epochs=0, random_state=0).fit(X)
    with full_disk(100), pytest.raises(OSError, match=r"too large.*model\.safetensors"):
        ae.save(saved)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


def test_failing_rename_leaves_the_old_file(X, saved, monkeypatch):
    def failing_replace(source, target):
        raise PermissionError(13, "Permission denied", source)

    before = saved.read_bytes()
    monkeypatch.setattr(os, "replace", failing_replace)
    with pytest.raises(PermissionError, match=r"model\.safetensors"):
        Autoencoder(4, max_epochs=0).fit(X).save(saved)
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


def test_folders_that_cannot_be_written(X, saved, tmp_path):
    ae = Autoencoder(2, max_epochs=0).fit(X)
    with pytest.raises(FileNotFoundError, match="missing/model"):
        ae.save(tmp_path / "missing" / "model")
    with pytest.raises(NotADirectoryError, match="safetensors/model"):
        ae.save(saved / "model")
    with pytest.raises(IsADirectoryError):
        ae.save(tmp_path)
    assert os.listdir(tmp_path) == [saved.name]


def test_devices_are_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="regular file"), replacing(pipe):
        raise AssertionError("the block must not start")
    assert os.listdir(tmp_path) == ["pipe"]


def test_interrupt_while_writing_leaves_the_old_file(saved):
    before = saved.read_bytes()
    with pytest.raises(KeyboardInterrupt), replacing(saved) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert saved.read_bytes() == before
    assert os.listdir(saved.parent) == [saved.name]


def test_open_files_are_written_and_read(X, tmp_path):
    model = aefast.ProbabilisticPCA(2).fit(X)
    memory = io.BytesIO(b"before")
    memory.seek(6)
    model.save(memory)
    model.save(tmp_path / "model.safetensors")
    assert memory.getvalue() == b"before" + (tmp_path / "model.safetensors").read_bytes()
    memory.seek(6)
    found = [aefast.load(memory)]
    with open(tmp_path / "model.safetensors", "rb") as file:
        found.append(aefast.load(file))
    for other in found:
        np.testing.assert_array_equal(other.transform(X), model.transform(X))


def test_open_files_of_other_contents_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"the open file is not a model file.*it is empty"):
        aefast.load(io.BytesIO())
    with pytest.raises(TypeError, match="path must be open for reading bytes"):
        aefast.load(io.StringIO("text"))
