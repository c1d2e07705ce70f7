"""Every file that aefast writes, on a disk that is full: RLIMIT_FSIZE stands for it."""

import contextlib
import json
import os
import resource
import signal

import numpy as np
import pytest
from support.small_fits import SMALL_FITS, codes

import aefast
from aefast.cli import main

# Results of each command: arguments after the model and the data, and its files.
COMMANDS = {
    "fit": ("fit rows.npy -k 2 --epochs 1 --no-plots --quiet --out out", "out"),
    "fit with pictures": ("fit rows.npy -k 2 --epochs 1 --quiet --out out", "out"),
    "factors": ("factors rows.npy -k 1 --no-plots --quiet --out out", "out"),
    "factors with pictures": ("factors rows.npy -k 1 --quiet --out out", "out"),
    "dictionary": ("dictionary rows.npy -k 3 --epochs 1 --no-plots --quiet --out out", "out"),
    "encode": ("encode model rows.npy -o result.npy", "result.npy"),
    "reconstruct": ("reconstruct model rows.npy -o result.npy", "result.npy"),
    "score": ("score model rows.npy -o result.csv", "result.csv"),
    "walk": ("walk model rows.npy --steps 30 -o result.npy", "result.npy"),
    "sample": ("sample factors -n 500 -o result.npy", "result.npy"),
    "denoise": ("denoise photo.png --dictionary atoms -o result.png", "result.png"),
}


@contextlib.contextmanager
def full_disk(n_bytes):
    """No file can grow past so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


@pytest.fixture
def inputs(folder):
    """Data and models that the commands read, in the current folder."""
    random = np.random.default_rng(0)
    np.save("rows.npy", random.random((500, 9)))
    autoencoder = aefast.Autoencoder(3, corruption=("masking", 0.2), max_epochs=1, random_state=0)
    autoencoder.fit(np.load("rows.npy")).save("model")
    aefast.ProbabilisticPCA(2).fit(np.load("rows.npy")).save("factors")
    aefast.DictionaryLearning(4, max_epochs=1, random_state=0).fit(np.load("rows.npy")).save(
        "atoms"
    )
    image = pytest.importorskip("PIL.Image")
    image.fromarray((255 * random.random((90, 90))).astype(np.uint8)).save("photo.png")
    return folder


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("n_bytes", [0, 700])
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.extra) if "pictures" in name else name
        for name in COMMANDS
    ],
)
def test_a_command_on_a_full_disk_leaves_the_old_results(name, n_bytes, inputs, capsys):
    """One line of error that calls the disk full, and no part of a file beside the old ones."""
    argv, out = COMMANDS[name]
    assert main(argv.split()) == 0
    capsys.readouterr()
    before = files(inputs)
    with full_disk(n_bytes):
        assert main(argv.split()) == 2
    assert files(inputs) == before
    error = capsys.readouterr().err
    assert error.startswith("aefast: error: ") and error.count("\n") == 1, error
    assert "too large" in error and out in error, error


@pytest.mark.parametrize("name", SMALL_FITS)
def test_an_estimator_on_a_full_disk_leaves_the_old_file(name, path):
    """The error comes whatever part of the file the disk still takes."""
    of = SMALL_FITS[name]
    old, new = of.fitted(of.others), of.fitted(of.rows)
    old.save(path)
    contents = path.read_bytes()
    new.save(path)
    size = path.stat().st_size
    old.save(path)
    for n_bytes in (0, 1, size // 2, size - 1):
        with full_disk(n_bytes), pytest.raises(OSError, match=r"too large.*model\.safetensors"):
            new.save(path)
        assert os.listdir(path.parent) == [path.name] and path.read_bytes() == contents
    with full_disk(size):
        new.save(path)
    assert codes(aefast.load(path), of) == codes(new, of)


@pytest.mark.extra
def test_a_fit_whose_pictures_find_no_room_leaves_its_model(inputs, capsys):
    """The model is written first: what is lost can be drawn again."""
    argv = COMMANDS["fit with pictures"][0].split()
    assert main(argv) == 0
    sizes = {path.name: path.stat().st_size for path in (inputs / "out").iterdir()}
    largest = max(sizes["model.safetensors"], sizes["metrics.json"])
    assert max(sizes.values()) > largest
    for path in (inputs / "out").iterdir():
        path.unlink()
    with full_disk(largest):
        assert main(argv) == 2
    assert {path.name for path in (inputs / "out").iterdir()} >= {"model.safetensors"}
    assert all(not path.name.endswith(".tmp") for path in (inputs / "out").iterdir())
    assert aefast.load("out/model.safetensors").transform(np.load("rows.npy")).shape == (500, 2)
    json.loads((inputs / "out" / "metrics.json").read_text())
    assert "too large" in capsys.readouterr().err
