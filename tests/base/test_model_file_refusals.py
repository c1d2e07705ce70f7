"""Model files that are missing, damaged, foreign or hostile are refused with a clear error."""

import os
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load as read_tensors
from safetensors.numpy import save as foreign_file
from support.model_files import assert_refused, edited, pack, unpack
from support.textbook import Autoencoder

import aefast


def test_editing_nothing_changes_nothing(saved, X):
    before = aefast.load(saved).transform(X)
    with edited(saved):
        pass
    assert np.array_equal(aefast.load(saved).transform(X), before)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        aefast.load(tmp_path / "nothing")
    assert_refused(tmp_path, "not a regular file")


def test_pipe_is_refused_without_waiting_for_its_writer(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert_refused(tmp_path / "pipe", "not a regular file")


FOREIGN = {
    "empty": b"",
    "text": b"not a model at all\n",
    "random": np.random.default_rng(0).bytes(4096),
    "npy": b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }",
    "pickle": b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}\x94.",
    "zip": b"PK\x03\x04" + bytes(100),
    "header longer than any memory": struct.pack("<Q", 2**63) + b"{}",
    "header length alone": struct.pack("<Q", 2),
    "header no JSON": pack(b"{{{{", b""),
    "header no object": pack(b"[1, 2]", b""),
    "header no UTF-8": pack(b"\xff\xfe{}", b""),
    "header nested": pack(b"[" * 50_000, b""),
    "no tensors": pack({}, b""),
    "foreign": foreign_file({"components": np.ones((2, 3))}),
    "foreign with metadata": foreign_file({"components": np.ones((2, 3))}, {"format": "np"}),
}


@pytest.mark.parametrize("contents", FOREIGN.values(), ids=FOREIGN)
def test_foreign_files(contents, path):
    path.write_bytes(contents)
    assert_refused(path)


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.3, 0.6, 0.99])
def test_truncated(kept, saved):
    contents = saved.read_bytes()
    saved.write_bytes(contents[: int(kept * len(contents))])
    assert_refused(saved)


def test_trailing_bytes(saved):
    saved.write_bytes(saved.read_bytes() + b"more")
    assert_refused(saved)


def test_newer_version_asks_for_an_upgrade(saved):
    with edited(saved) as (_, metadata, _):
        metadata |= {"format_version": 5, "aefast_version": "9.1", "novelty": {}}
    assert_refused(saved, r"format version 5.*aefast '9\.1'.*upgrade aefast")


@pytest.mark.parametrize("version", [0, -1, 1.0, True, "1", None, [1], 2**80])
def test_bad_version(version, saved):
    with edited(saved) as (_, metadata, _):
        metadata["format_version"] = version
    assert_refused(saved, "format version")


HOSTILE_METADATA = {
    "no JSON": "{",
    "no object": "[]",
    "number": "1",
    "nested": "[" * 100_000,
    "deep object": '{"format":' * 100_000,
    "long integer": "1" * 10_000,
    "NaN": '{"format": NaN}',
    "another format": '{"format": "other", "format_version": 1}',
    "nothing but a format": '{"format": "aefast autoencoder", "format_version": 1}',
}


@pytest.mark.parametrize("text", HOSTILE_METADATA.values(), ids=HOSTILE_METADATA)
def test_hostile_metadata(text, saved):
    header, data = unpack(saved.read_bytes())
    header["__metadata__"]["aefast"] = text
    saved.write_bytes(pack(header, data))
    assert_refused(saved)


BAD_PARAMETERS = {
    "unknown": {"n_layers": 3},
    "another type": {"n_components": "three"},
    "out of range": {"learning_rate": -1},
    "unknown choice": {"output": "cauchy"},
    "list": {"output": ["gaussian"]},
    "object": {"tied": {}},
    "huge integer": {"n_components": 10**30},
    "callbacks": {"callbacks": None},
}


@pytest.mark.parametrize("change", BAD_PARAMETERS.values(), ids=BAD_PARAMETERS)
def test_bad_parameters(change, saved):
    with edited(saved) as (_, metadata, _):
        metadata["parameters"] |= change
    assert_refused(saved, next(iter(change)))


def test_missing_parameter(saved):
    with edited(saved) as (_, metadata, _):
        del metadata["parameters"]["alpha"]
    assert_refused(saved, r"missing \['alpha'\]")


BAD_STATE = {
    "seed": [-1, 2**63, 0.5, None, True, "1"],
    "n_steps": [-1, 1e3, None, 10**40],
    "n_rows_seen": [-1, [], False],
    "n_epochs": [-1, "2"],
    "loss_curve": [None, 3.0, [None], ["1"], [1], [[1.0]], {"0": 1.0}],
    "validation_loss_curve": [None, [float("nan")], [float("inf")]],
    "n_optimizer_states": [-1, 1, 3, 10**9, 2.0, None],
    "feature_names": ["abcdef", ["a"], [1, 2, 3, 4, 5, 6], {}],
    "solver": ["sgd", "rmsprop", None, ["adam"]],
    "model": [None, [], {}],
}


@pytest.mark.parametrize(
    "name, value", [(name, value) for name, values in BAD_STATE.items() for value in values]
)
def test_bad_state(name, value, saved):
    with edited(saved) as (_, metadata, _):
        metadata["state"][name] = value
    assert_refused(saved)


BAD_MODEL = {
    "n_features": [0, -6, 5, 7, 2**31, 2**62, 6.0, None],
    "n_components": [0, -3, 2, 4, 2**31 - 1, 2**80, "3"],
    "tied": [False, 1, None],
    "activation": ["swish", None, 0],
    "output": ["cauchy", None, ["gaussian"]],
}


@pytest.mark.parametrize(
    "name, value", [(name, value) for name, values in BAD_MODEL.items() for value in values]
)
def test_bad_model(name, value, saved):
    with edited(saved) as (_, metadata, _):
        metadata["state"]["model"][name] = value
    assert_refused(saved)


@pytest.mark.parametrize("part", ["parameters", "state", "model"])
def test_missing_entries(part, saved):
    """Each entry of the metadata is needed, and none may be added."""
    contents = saved.read_bytes()

    def entries_of(metadata):
        return metadata["state"]["model"] if part == "model" else metadata[part]

    with edited(saved) as (_, metadata, _):
        names = list(entries_of(metadata))
        entries_of(metadata)["novelty"] = 1
    assert_refused(saved, "unknown.*novelty")
    for name in names:
        saved.write_bytes(contents)
        with edited(saved) as (_, metadata, _):
            del entries_of(metadata)[name]
        assert_refused(saved, f"missing.*{name}")


BAD_TENSORS = {
    "negative size": ("components", {"shape": [-3, -6]}),
    "size past the data": ("components", {"shape": [2**31, 2**31]}),
    "size that overflows": ("components", {"shape": [2**63, 2**63]}),
    "no elements": ("components", {"shape": [0, 2**62]}),
    "other shape": ("components", {"shape": [6, 3]}),
    "one dimension": ("components", {"shape": [18]}),
    "scalar": ("components", {"shape": []}),
    "integers": ("components", {"dtype": "I32"}),
    "float64 of half the size": ("components", {"dtype": "F64", "shape": [3, 3]}),
    "complex": ("components", {"dtype": "C64", "shape": [3, 3]}),
    "half precision": ("components", {"dtype": "F16", "shape": [6, 6]}),
    "bfloat16": ("components", {"dtype": "BF16", "shape": [6, 6]}),
    "no type": ("components", {"dtype": "F31"}),
    "bias of another type": ("hidden_bias", {"dtype": "I32"}),
    "bias as matrix": ("hidden_bias", {"shape": [3, 1]}),
    "state of another shape": ("optimizer.1.components", {"shape": [2, 9]}),
    "offsets past the end": ("components", {"data_offsets": [0, 10**9]}),
    "negative offsets": ("components", {"data_offsets": [-72, 0]}),
}


@pytest.mark.parametrize("name, change", BAD_TENSORS.values(), ids=BAD_TENSORS)
def test_bad_tensors(name, change, saved):
    with edited(saved) as (header, _, _):
        header[name] |= change
    assert_refused(saved)


def test_missing_and_extra_tensors(saved, X):
    """No tensor of the parameters or of the optimizer's state may be missing or added."""
    tensors = read_tensors(saved.read_bytes())
    header, _ = unpack(saved.read_bytes())
    for name in tensors:
        others = {other: tensor for other, tensor in tensors.items() if other != name}
        saved.write_bytes(foreign_file(others, header["__metadata__"]))
        assert_refused(saved, f"missing.*{name}")
    for name in ("decoder_components", "optimizer.2.components", "Components", ""):
        more = tensors | {name: tensors["components"]}
        saved.write_bytes(foreign_file(more, header["__metadata__"]))
        assert_refused(saved, f"unknown.*{name}")


def test_mixed_types(saved):
    tensors = read_tensors(saved.read_bytes())
    header, _ = unpack(saved.read_bytes())
    tensors["visible_bias"] = tensors["visible_bias"].astype(np.float64)
    saved.write_bytes(foreign_file(tensors, header["__metadata__"]))
    assert_refused(saved, "visible_bias")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["components", "visible_bias", "optimizer.1.hidden_bias"])
def test_values_that_are_not_finite(name, value, saved):
    with edited(saved) as (header, _, data):
        _, end = header[name]["data_offsets"]
        data[end - 4 : end] = struct.pack("<f", value)
    assert_refused(saved, f"{name}.*not finite")


def test_no_large_allocation(saved):
    """A header that promises terabytes costs no more than the file."""
    with edited(saved) as (header, metadata, _):
        metadata["state"]["model"] |= {"n_features": 2**31 - 1, "n_components": 2**31 - 1}
        header["components"]["shape"] = [2**31 - 1, 2**31 - 1]
    tracemalloc.start()
    assert_refused(saved)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    X = np.random.default_rng(0).random((20, 4), dtype=np.float32)
    path = tmp_path_factory.mktemp("damaged") / "model"
    Autoencoder(2, max_epochs=1, random_state=0).fit(X).save(path)
    return path.read_bytes()


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damaged_bytes(data, contents, tmp_path_factory):
    """A file of which bytes were changed loads as an estimator, or is refused with a ValueError."""
    damaged = bytearray(contents)
    positions = st.integers(0, len(damaged) - 1)
    changes = st.lists(st.tuples(positions, st.integers(0, 255)), min_size=1, max_size=4)
    for position, byte in data.draw(changes):
        damaged[position] = byte
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    path.write_bytes(damaged)
    try:
        loaded = aefast.load(path)
    except ValueError:
        return
    assert np.isfinite(loaded.transform(np.ones((1, loaded.n_features_in_)))).all()
