"""Loading: folders and files of other kinds, sizes and values that a model cannot have."""

import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest
from safetensors.numpy import load as read_tensors
from safetensors.numpy import save as foreign_file
from support.model_files import assert_refused, edited, unpack

import aefast
from aefast.cli import common
from aefast.model_file import MODEL_NAME


def rows():
    return np.random.default_rng(0).normal(size=(60, 4)) @ np.diag([1.0, 2.0, 3.0, 4.0])


# ---- what is no model file ----


def test_folder_of_a_fit(saved, tmp_path, X):
    folder = tmp_path / "fit"
    folder.mkdir()
    saved.rename(folder / MODEL_NAME)
    from_folder, from_file = aefast.load(folder), aefast.load(folder / MODEL_NAME)
    assert np.array_equal(from_folder.transform(X), from_file.transform(X))
    assert MODEL_NAME == common.MODEL_NAME


def test_other_folders(tmp_path):
    assert_refused(tmp_path, r"folder, with no model\.safetensors in it: give the path")
    (tmp_path / MODEL_NAME).mkdir()
    assert_refused(tmp_path, "not a regular file")


def write_zip(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.npy", b"")


KINDS = {
    "csv": (lambda path: path.write_text("a,b\n1,2\n"), "text, a table perhaps: .*read_csv"),
    "numbers": (lambda path: path.write_text("1;2\n3;4\n" * 999), "text, a table perhaps"),
    "cut character": (lambda path: path.write_text("a," + "ü" * 600), "text, a table perhaps"),
    "text": (lambda path: path.write_text("not a model\n"), "text: give the path of a file that"),
    "empty": (lambda path: path.write_bytes(b""), "it is empty"),
    "npy": (lambda path: np.save(path.open("wb"), np.ones(3)), r"NumPy array: .*numpy\.load"),
    "npz": (write_zip, "zip archive, as numpy.savez and torch.save"),
    **{
        f"pickle {protocol}": (
            lambda path, protocol=protocol: path.write_bytes(
                pickle.dumps(aefast.Autoencoder(), protocol)
            ),
            "is a pickle, which could run any code: .*method save",
        )
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)
    },
}


@pytest.mark.parametrize("write, match", KINDS.values(), ids=KINDS)
def test_files_of_other_kinds_are_named(write, match, path):
    write(path)
    assert_refused(path, match)


# ---- sizes ----


@pytest.mark.parametrize("where", [("parameters",), ("state",), ("parameters", "state")])
def test_statistics_allocate_nothing_before_the_tensors_are_checked(where, path):
    """n_features = 20000 would be 3 GiB."""
    aefast.SufficientStatistics(4).update(rows()).save(path)
    with edited(path) as (_, metadata, _):
        for part in where:
            metadata[part]["n_features"] = 20_000
    tracemalloc.start()
    try:
        assert_refused(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_loaded_statistics_go_on(path):
    stats = aefast.SufficientStatistics(4, n_threads=1).update(rows())
    stats.save(path)
    loaded = aefast.load(path)
    assert (loaded.n_features_in_, loaded.n_threads, loaded.n_samples_) == (4, 1, 60)
    assert np.array_equal(loaded.update(rows()).scatter_, stats.update(rows()).scatter_)


@pytest.mark.parametrize("name", ["n_steps", "n_rows_seen", "n_epochs"])
def test_counters_that_would_wrap_are_refused(name, saved):
    with edited(saved) as (_, metadata, _):
        metadata["state"][name] = 2**63 - 1
    assert_refused(saved, rf"integer in \[0, 2\*\*62\).*{name}")


def test_large_counters_go_on(saved, X):
    with edited(saved) as (_, metadata, _):
        metadata["state"]["n_steps"] = metadata["state"]["n_rows_seen"] = 2**62 - 1
        metadata["state"]["seed"] = 2**63 - 1
    loaded = aefast.load(saved).partial_fit(X)
    assert loaded._state.n_steps > 2**62 - 1 and np.isfinite(loaded.transform(X)).all()


# ---- finite values that overflow later ----


def spoil(path, name, value):
    header, _ = unpack(path.read_bytes())
    tensors = read_tensors(path.read_bytes())
    changed = tensors | {name: np.full_like(tensors[name], value)}
    path.write_bytes(foreign_file(changed, header["__metadata__"]))


HOSTILE = {
    "sums": (lambda: aefast.SufficientStatistics(4).update(rows()), "sums", 1e308),
    "square of the mean": (lambda: aefast.SufficientStatistics(4).update(rows()), "sums", 1e200),
    "components of ppca": (lambda: aefast.ProbabilisticPCA(2).fit(rows()), "components", 1e308),
    "their squares": (lambda: aefast.ProbabilisticPCA(2).fit(rows()), "components", 1e200),
    "components of fa": (lambda: aefast.FactorAnalysis(1).fit(rows()), "components", -1e308),
    "noise of fa": (lambda: aefast.FactorAnalysis(1).fit(rows()), "noise_variance", 1e-320),
}


@pytest.mark.parametrize("make, name, value", HOSTILE.values(), ids=HOSTILE)
def test_values_whose_covariance_overflows_are_refused(make, name, value, path):
    make().save(path)
    aefast.load(path)
    spoil(path, name, value)
    assert_refused(path, "overflows float64")


@pytest.mark.parametrize("scale", [1e-100, 1e100])
def test_models_of_extreme_scale_load(scale, path):
    for model in (aefast.ProbabilisticPCA(2), aefast.FactorAnalysis(1)):
        model.fit(rows() * scale).save(path)
        assert np.array_equal(aefast.load(path).get_covariance(), model.get_covariance())
