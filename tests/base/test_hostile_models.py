"""Damaged and hostile model files are refused with a ValueError, or load as objects that work."""

import importlib
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load as read_tensors
from safetensors.numpy import save as foreign_file
from support.helpers import fit_to
from support.model_files import assert_refused, edited, unpack

import aefast
from aefast.model_file import HOMES

N_FEATURES = 8
HEADED = ("aefast autoencoder classifier", "aefast autoencoder regressor")
SMALL_STACK = {"layer_sizes": (3, 2), "pretrain_epochs": 1, "max_epochs": 1, "random_state": 0}
OPTIONS = {
    "aefast autoencoder": {"n_components": 2, "max_epochs": 1, "random_state": 0},
    "aefast multinomial autoencoder": {"n_components": 2, "max_epochs": 1, "random_state": 0},
    **{name: dict(SMALL_STACK) for name in HEADED},
    "aefast anomaly detector": {"n_sets": 2, "n_references": 5},
    "aefast dictionary": {"n_components": 3, "max_epochs": 1, "random_state": 0},
    "aefast sparse coder": {
        "dictionary": np.random.default_rng(1).normal(size=(5, N_FEATURES)),
        "atom_weights": np.arange(1.0, 6.0),
    },
    "aefast probabilistic pca": {"n_components": 2},
    "aefast factor analysis": {"n_components": 2},
    "aefast table autoencoder": {
        "autoencoder": aefast.Autoencoder(2, max_epochs=1, random_state=0)
    },
}


def class_of(file_format):
    module, name = HOMES[file_format]
    return getattr(importlib.import_module(module), name)


def write(file_format, path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 2)) @ rng.normal(size=(2, N_FEATURES))
    X += rng.normal(size=X.shape)
    cls = class_of(file_format)
    if cls is aefast.MultinomialAutoencoder:
        X = abs(X)
    if cls is aefast.SufficientStatistics:
        cls(N_FEATURES).update(X).save(path)
    else:
        fit_to(cls(**OPTIONS.get(file_format, {})), X).save(path)


def use(loaded):
    """Arrays that a user of the object would ask for."""
    if isinstance(loaded, aefast.SufficientStatistics):
        return loaded.covariance()
    method = loaded.transform if hasattr(loaded, "transform") else loaded.score_samples
    return method(np.ones((2, loaded.n_features_in_)))


def leaves(state):
    """(object, key) of each entry of the state, those of objects within included."""
    for key, value in state.items():
        yield state, key
        if isinstance(value, dict):
            yield from leaves(value)


@pytest.fixture(params=HOMES)
def file_format(request):
    return request.param


@pytest.fixture
def written(file_format, path):
    write(file_format, path)
    return path


def test_every_format_is_read(file_format, written):
    assert type(aefast.load(written)) is class_of(file_format)


@pytest.mark.parametrize(
    "value", [-1, 2**80, 0.5, "x", [], {}, [None], [[1.0]], float("inf")], ids=repr
)
def test_no_state_does_harm(value, written):
    """Entries that the object cannot have are refused, never met by another error."""
    contents = written.read_bytes()
    with edited(written) as (_, metadata, _):
        n_entries = len(list(leaves(metadata["state"])))
    n_refused = 0
    for index in range(n_entries):
        written.write_bytes(contents)
        with edited(written) as (_, metadata, _):
            within, key = list(leaves(metadata["state"]))[index]
            within[key] = value
        try:
            loaded = aefast.load(written)
        except ValueError as error:
            assert str(written) in str(error)
            n_refused += 1
            continue
        assert np.isfinite(use(loaded)).all()
    assert n_refused >= n_entries / 2


def test_sizes_that_are_not_those_of_the_arrays(written):
    contents = written.read_bytes()
    for value in (0, -N_FEATURES, N_FEATURES + 1, 2**31, float(N_FEATURES), None):
        written.write_bytes(contents)
        with edited(written) as (_, metadata, _):
            state = metadata["state"].get("model", metadata["state"])
            state["n_features"] = value
        assert_refused(written)


def test_missing_and_added_entries(written):
    contents = written.read_bytes()
    with edited(written) as (_, metadata, _):
        names = [(part, name) for part in ("parameters", "state") for name in metadata[part]]
    for part, name in names:
        written.write_bytes(contents)
        with edited(written) as (_, metadata, _):
            del metadata[part][name]
        assert_refused(written, f"missing.*{name}")
    for part in ("parameters", "state"):
        written.write_bytes(contents)
        with edited(written) as (_, metadata, _):
            metadata[part]["novelty"] = 1
        assert_refused(written, "unknown.*novelty")


def test_arrays_are_checked(written):
    """Each one must be there, with its shape and type, and finite; no other one may."""
    header, _ = unpack(written.read_bytes())
    tensors = read_tensors(written.read_bytes())

    def refused(changed, match):
        written.write_bytes(foreign_file(changed, header["__metadata__"]))
        assert_refused(written, match)

    for name, tensor in tensors.items():
        refused({key: tensors[key] for key in tensors if key != name}, f"missing.*{name}")
        refused(tensors | {name: tensor[None].copy()}, name)
        refused(tensors | {name: tensor.astype(np.int32)}, name)
        if tensor.size:
            spoilt = tensor.copy()
            spoilt.flat[-1] = np.nan
            refused(tensors | {name: spoilt}, f"{name}.*not finite")
    refused(tensors | {"more": np.ones(3)}, "unknown.*more")


def test_contradictory_statistics(path):
    write("aefast sufficient statistics", path)
    header, _ = unpack(path.read_bytes())
    tensors = read_tensors(path.read_bytes())
    scatter = tensors["scatter"].copy()
    scatter[0, 1] += 1
    path.write_bytes(foreign_file(tensors | {"scatter": scatter}, header["__metadata__"]))
    assert_refused(path, "symmetric")
    path.write_bytes(foreign_file(tensors, header["__metadata__"]))
    with edited(path) as (_, metadata, _):
        metadata["state"]["weight_sum"] = 0.0
    assert_refused(path, "no rows")


@pytest.mark.parametrize(
    "name, change, match",
    [
        ("noise_variance", lambda psi: -psi, "positive noise"),
        ("noise_variance", lambda psi: 0 * psi, "positive noise"),
        ("factor_covariance", lambda Phi: -Phi, "positive definite"),
        ("factor_covariance", lambda Phi: np.triu(Phi + 0.5), "positive definite"),
        ("factor_covariance", np.ones_like, "positive definite"),
    ],
)
def test_impossible_factor_analysis(name, change, match, path):
    write("aefast factor analysis", path)
    header, _ = unpack(path.read_bytes())
    tensors = read_tensors(path.read_bytes())
    changed = tensors | {name: np.ascontiguousarray(change(tensors[name]), dtype=np.float64)}
    path.write_bytes(foreign_file(changed, header["__metadata__"]))
    assert_refused(path, match)


def test_factors_that_cannot_be_told_apart(path):
    """Where equal loadings make the posterior singular to rounding, loading says so."""
    write("aefast factor analysis", path)
    header, _ = unpack(path.read_bytes())
    tensors = read_tensors(path.read_bytes())
    n_refused = 0
    for power in range(9, 40):
        W = np.outer([1.0, 3.0], np.full(N_FEATURES, 10.0**power))
        path.write_bytes(foreign_file(tensors | {"components": W}, header["__metadata__"]))
        try:
            loaded = aefast.load(path)
        except ValueError as error:
            assert "singular to rounding" in str(error)
            n_refused += 1
        else:
            assert np.isfinite(use(loaded)).all()
    assert n_refused > 0


@pytest.fixture(scope="module")
def all_contents(tmp_path_factory):
    path = tmp_path_factory.mktemp("hostile") / "model"
    contents = {}
    for file_format in HOMES:
        write(file_format, path)
        contents[file_format] = path.read_bytes()
    return contents


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_damaged_bytes(data, all_contents, tmp_path_factory):
    """A file of which bytes were changed is refused with a ValueError, or loads.

    Where numbers became too large to use, the error of their use is a ValueError too.
    """
    damaged = bytearray(all_contents[data.draw(st.sampled_from(list(HOMES)))])
    positions = st.integers(0, len(damaged) - 1)
    for position, byte in data.draw(
        st.lists(st.tuples(positions, st.integers(0, 255)), min_size=1, max_size=4)
    ):
        damaged[position] = byte
    path = tmp_path_factory.getbasetemp() / "hostile.safetensors"
    path.write_bytes(damaged)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        try:
            use(aefast.load(path))
        except ValueError:
            return
