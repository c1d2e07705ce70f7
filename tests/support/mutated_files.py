"""Hypothesis strategies for model files that were damaged or forged."""

import copy
import json
import struct

import numpy as np
from hypothesis import strategies as st

import aefast
from support.helpers import fit_to
from support.model_files import pack, unpack

N_FEATURES = 5
LEAVES = [
    *(None, True, False, "", "x", "nan", -1, 0, 1, 3, 0.5, -0.0, 1e308, float("nan"), float("inf")),
    *(2**31, 2**31 - 1, 2**62, 2**63 - 1, 2**64, 10**40, [], {}, [None], [[]], {"a": 1}),
    *(["gaussian", [0, 1]], "gaussian", "F32", "F64", "I64", "BF16", "adam", "sgd", "lbfgs"),
]
OFFSETS = [0, 1, -1, 7, 8, 2**31, 2**62, 2**63 - 1, 2**64, 10**30, None, "0", 0.5]


def example_files():
    """Return the contents of a small file of each format, and of variants of it."""
    rng = np.random.default_rng(0)
    X = rng.gamma(2, size=(60, 2)) @ rng.random((2, N_FEATURES)) + rng.random((60, N_FEATURES))
    quick = {"max_epochs": 1, "random_state": 0}
    columns = [("gaussian", [0, 1]), ("gamma", [2, 3, 4])]
    examples = [
        aefast.Autoencoder(2, **quick),
        aefast.Autoencoder(2, tied=False, top_k=1, solver="sgd", output=columns, **quick),
        aefast.StackedAutoencoder((3, 2), pretrain_epochs=1, **quick),
        aefast.AutoencoderClassifier((3, 2), pretrain_epochs=1, **quick),
        aefast.AutoencoderRegressor((2,), pretrain_epochs=1, **quick),
        aefast.AutoencoderEnsemble(2, n_components=2, scale="standard", **quick),
        aefast.DictionaryLearning(3, **quick),
        aefast.SparseCoder(np.eye(4, N_FEATURES), alpha=0.1, split_sign=True),
        aefast.SparseCoder(np.eye(4, N_FEATURES), atom_weights=[1, 2, 3, 4], positive=True),
        aefast.ProbabilisticPCA(2),
        aefast.FactorAnalysis(2, rotation="promax"),
        aefast.MixtureOfFactorAnalyzers([1, 2], 1, random_state=0),
        aefast.MixtureOfProbabilisticPCA(2, 1, random_state=0),
        aefast.MarginalizedAutoencoder(),
        aefast.ItemAutoencoder(),
        aefast.ItemAutoencoder(density=0.5),
        aefast.ItemAutoencoder(n_components=2, max_iter=2),
        aefast.MultinomialAutoencoder(2, **quick),
        aefast.Whitening(),
    ]
    return [fit_to(model, X) for model in examples] + [
        aefast.SufficientStatistics(N_FEATURES).update(X)
    ]


def paths_of(value, path=()):
    """Yield the path of keys to each entry of nested dicts and lists."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield (*path, key)
            yield from paths_of(value[key], (*path, key))


def edit(draw, value):
    """Change, remove, add or swap one entry of a nested object in place."""
    paths = list(paths_of(value))
    if not paths:
        return
    *above, key = draw(st.sampled_from(paths))
    within = value
    for step in above:
        within = within[step]
    action = draw(st.sampled_from(["set", "set", "set", "near", "remove", "add", "swap"]))
    if action == "set":
        within[key] = copy.deepcopy(draw(st.sampled_from(LEAVES)))
    elif action == "near" and isinstance(within[key], int):
        within[key] += draw(st.sampled_from([-1, 1]))
    elif action == "remove" and isinstance(within, dict):
        del within[key]
    elif action == "add" and isinstance(within, dict):
        added = draw(st.sampled_from(["novelty", "", "components", "state"]))
        within[added] = copy.deepcopy(within[key])
    elif action == "swap" and isinstance(within, dict):
        other = draw(st.sampled_from(sorted(within)))
        within[key], within[other] = within[other], within[key]


@st.composite
def forged_metadata(draw, contents):
    header, data = unpack(contents)
    metadata = json.loads(header["__metadata__"]["aefast"])
    for _ in range(draw(st.integers(1, 3))):
        edit(draw, metadata)
    header["__metadata__"]["aefast"] = json.dumps(metadata)
    return pack(header, data)


@st.composite
def forged_tensors(draw, contents):
    """Shapes, types, offsets and names in the header, which has an entry for each tensor."""
    header, data = unpack(contents)
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from([key for key in header if key != "__metadata__"] or [""]))
        entry = header.get(name)
        action = draw(st.sampled_from(["shape", "dtype", "offsets", "rename", "remove", "copy"]))
        if not isinstance(entry, dict):
            continue
        if action == "shape":
            entry["shape"] = draw(st.lists(st.sampled_from(OFFSETS), max_size=4))
        elif action == "dtype":
            entry["dtype"] = draw(st.sampled_from(["F16", "BF16", "I8", "F64", "F32", "U64", 3]))
        elif action == "offsets":
            entry["data_offsets"] = draw(st.lists(st.sampled_from(OFFSETS), max_size=3))
        elif action == "rename":
            header[name + draw(st.sampled_from(["", "x", "\0", "é"]))] = header.pop(name)
        elif action == "remove":
            del header[name]
        else:
            header["more"] = dict(entry)
    return pack(header, data)


@st.composite
def forged_numbers(draw, contents):
    """Numbers of the tensors, which stay what the header says they are."""
    header, data = unpack(contents)
    data = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        entries = [entry for name, entry in header.items() if name != "__metadata__"]
        entry = draw(st.sampled_from(entries))
        size, form = (8, "<d") if entry["dtype"] == "F64" else (4, "<f")
        begin, end = entry["data_offsets"]
        if begin == end:
            continue
        place = begin + size * draw(st.integers(0, (end - begin) // size - 1))
        choices = [0.0, -0.0, -1.0, 1e-45, 1e-30, 1e30, 3.4e38, float("nan"), float("inf")]
        value = draw(st.sampled_from([*choices, *([1e-320, 1e160, 1.7e308] * (size == 8))]))
        data[place : place + size] = struct.pack(form, value)
    return pack(header, bytes(data))


@st.composite
def flipped_bits(draw, contents):
    damaged = bytearray(contents)
    (n_header,) = struct.unpack("<Q", contents[:8])
    for _ in range(draw(st.integers(1, 6))):
        # most bits of a file are data: half of the flips go to the header
        last = len(damaged) - 1 if draw(st.booleans()) else 7 + n_header
        place = draw(st.integers(0, last))
        damaged[place] ^= 1 << draw(st.integers(0, 7))
    return bytes(damaged)


@st.composite
def cut_and_joined(draw, contents):
    """A file that ends early, goes on, or lacks a piece."""
    begin = draw(st.integers(0, len(contents)))
    end = draw(st.integers(begin, len(contents)))
    action = draw(st.sampled_from(["truncate", "append", "remove", "double"]))
    if action == "truncate":
        return contents[:begin]
    if action == "append":
        return contents + draw(st.binary(min_size=1, max_size=20))
    if action == "remove":
        return contents[:begin] + contents[end:]
    return contents[:end] + contents[begin:]


@st.composite
def forged_lengths(draw, contents):
    """The header's length, in the first eight bytes."""
    length = draw(st.sampled_from([0, 1, 2**20, 10**8, 2**31, 2**40, 2**63, 2**64 - 1]))
    return struct.pack("<Q", length) + contents[8:]


def mutations(contents):
    """A file made from `contents` by one of the kinds of damage above."""
    kinds = [
        *(forged_metadata, forged_metadata, forged_tensors, forged_numbers),
        *(flipped_bits, cut_and_joined, forged_lengths),
    ]
    return st.sampled_from(kinds).flatmap(lambda kind: kind(contents))
