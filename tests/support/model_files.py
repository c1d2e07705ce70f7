"""Helpers that decode, edit and encode model files."""

import contextlib
import json
import struct

import pytest

import aefast


def unpack(contents):
    """Return the header (a dict) and the data of a safetensors file."""
    (n_header,) = struct.unpack("<Q", contents[:8])
    return json.loads(contents[8 : 8 + n_header]), contents[8 + n_header :]


def pack(header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def assert_refused(path, match=None):
    """Assert that loading a file raises a ValueError that names the file."""
    with pytest.raises(ValueError, match=match) as caught:
        aefast.load(path)
    assert str(path) in str(caught.value)


@contextlib.contextmanager
def edited(path):
    """Yield the header, decoded metadata and data of a model file, and write them back changed."""
    header, data = unpack(path.read_bytes())
    metadata = json.loads(header["__metadata__"]["aefast"])
    data = bytearray(data)
    yield header, metadata, data
    header["__metadata__"]["aefast"] = json.dumps(metadata)
    path.write_bytes(pack(header, bytes(data)))
