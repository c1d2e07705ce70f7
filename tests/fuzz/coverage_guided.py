"""Fuzz the loader of model files, guided by the coverage of its lines (Atheris, libFuzzer).

    python tests/fuzz/coverage_guided.py CORPUS [options of libFuzzer]

CORPUS is a folder of model files. Contents for which `load` ends with anything but an object or a
ValueError are written to the current folder as crash-…
"""

import json
import os
import random
import struct
import sys
import tempfile

import atheris

with atheris.instrument_imports(include=["aefast"]):
    import aefast
    from aefast import model_file
    from aefast._base import arrays, files, moments, saving  # noqa: F401
    from aefast.linear import (  # noqa: F401
        autoencoders,
        factor_analysis,
        probabilistic_pca,
        whitening,
    )
    from aefast.networks import autoencoder, fitted, network, outputs, stacked  # noqa: F401
    from aefast.sparse_coding import dictionary_learning  # noqa: F401

in_memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
PATH = os.path.join(tempfile.mkdtemp(dir=in_memory), "model.safetensors")


def load(contents):
    """Load a file with these contents."""
    with open(PATH, "wb") as file:
        file.write(contents)
    try:
        model_file.load(PATH)
    except ValueError as error:
        if PATH not in str(error):
            raise RuntimeError("the error does not name the file") from error


def changed_text(text, limit):
    return atheris.Mutate(text.encode(), limit).decode(errors="replace")


def mutate(contents, max_size, seed):
    """Mutate the bytes, the header, the metadata in it, or the data; lengths stay consistent.

    Blind changes hardly ever leave a header that is JSON of the length that the file gives.
    """
    kind = random.Random(seed).randrange(8)
    try:
        (n_header,) = struct.unpack("<Q", contents[:8])
        text, data = contents[8 : 8 + n_header].decode(), contents[8 + n_header :]
        header = json.loads(text)
        if kind < 4:
            limit = max(1, max_size - len(data) - 8)
            metadata = header["__metadata__"]
            metadata["aefast"] = changed_text(metadata["aefast"], limit)
            text = json.dumps(header)
        elif kind < 6:
            text = changed_text(text, max(1, max_size - len(data) - 8))
        elif kind < 7:
            data = atheris.Mutate(data, len(data))
        else:
            return atheris.Mutate(contents, max_size)
    except (ValueError, KeyError, TypeError, AttributeError, struct.error):
        return atheris.Mutate(contents, max_size)
    text = text.encode()
    return (struct.pack("<Q", len(text)) + text + data)[:max_size]


def main():
    assert aefast.load is model_file.load
    atheris.Setup(sys.argv, load, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
