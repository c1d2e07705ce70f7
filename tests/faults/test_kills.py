"""Processes that are killed while they save or run a command: what stood there stands."""

import os
import signal
import subprocess
import time

import numpy as np
import pytest
from support.commands import python_m_aefast
from support.processes import killed, moments, seconds_of

import aefast
from aefast.cli import main

N_KILLS = 12  # in the default tier
MORE = [pytest.param(40, marks=pytest.mark.extra), pytest.param(150, marks=pytest.mark.slow)]

many = pytest.mark.parametrize("n", [N_KILLS, *MORE])


def temporary_files(folder):
    return [path.name for path in folder.rglob(".aefast-*.tmp")]


@many
def test_a_model_outlasts_kills_of_its_saver(n, tmp_path):
    """Two models are saved in turns; after every kill the file is one of them, whole."""
    path = tmp_path / "model"
    models = [aefast.Autoencoder(200, max_epochs=0, random_state=seed) for seed in (0, 1)]
    for model in models:
        model.fit(np.random.default_rng(0).random((20, 300)))
    expected = {model.components_.tobytes() for model in models}

    def save_in_turns():
        while True:
            for model in models:
                model.save(path)

    models[0].save(path)
    for after in moments(n, 0.05):
        assert killed(save_in_turns, after=after) == -signal.SIGKILL
        assert aefast.load(path).components_.tobytes() in expected
        assert len(temporary_files(tmp_path)) <= 1
    models[0].save(path)
    assert os.listdir(tmp_path) == ["model"]


COMMANDS = {
    "fit": "fit rows.npy -k 40 --epochs 2 --no-plots --quiet --out out",
    "factors": "factors rows.npy -k 30 --no-plots --quiet --out out",
    "dictionary": "dictionary rows.npy -k 20 --epochs 1 --no-plots --quiet --out out",
    "encode": "encode model rows.npy -o result.npy",
    "reconstruct": "reconstruct model rows.npy -o result.npy",
    "score": "score model rows.npy -o result.csv",
    "walk": "walk model rows.npy --steps 3 -o result.npy",
}


@pytest.fixture
def inputs(folder):
    rows = np.random.default_rng(0).random((400, 60))
    np.save("rows.npy", rows)
    ae = aefast.Autoencoder(3, corruption=("masking", 0.2), max_epochs=1, random_state=0)
    ae.fit(rows).save("model")
    return folder


def results(folder):
    """Return the contents of the files that commands have written, by name."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in ("rows.npy", "model"):
            found[path.name] = path.read_bytes()
    return found


@many
@pytest.mark.parametrize("name", COMMANDS)
def test_results_outlast_kills_of_a_command(name, n, inputs):
    """Every file is the old one or the new one; the command runs again and leaves no litter."""
    argv = COMMANDS[name].split()
    assert main(argv) == 0  # the modules are loaded, and the results exist
    names, seconds = set(results(inputs)), seconds_of(main, argv)
    for after in moments(n if n > N_KILLS else 4, seconds):
        assert killed(main, argv, after=after) in (-signal.SIGKILL, 0)
        found = results(inputs)
        assert {name for name in found if not name.endswith(".tmp")} == names
        if "out" in argv:
            aefast.load("out").transform(np.load("rows.npy"))
        elif "result.npy" in argv:
            assert np.isfinite(np.load("result.npy")).all()
        else:
            assert (inputs / "result.csv").read_text().count("\n") == 401
    assert main(argv) == 0
    assert set(results(inputs)) == names and not temporary_files(inputs)


extra = [
    pytest.param(number, marks=pytest.mark.extra) for number in (signal.SIGHUP, signal.SIGKILL)
]


@pytest.mark.parametrize("number", [signal.SIGTERM, *extra])
def test_a_signal_ends_a_fit_and_its_exit_status_says_so(number, inputs):
    """No part of a result is left, and an earlier model stays."""
    argv = ["fit", "rows.npy", "--epochs", "1000000", "--tol", "0", "--no-plots", "--out", "out"]
    (inputs / "out").mkdir()
    os.rename("model", "out/model.safetensors")
    before = results(inputs)
    ours = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # children of nohup would ignore it
    try:
        command = python_m_aefast(*argv, stderr=subprocess.PIPE)
    finally:
        signal.signal(signal.SIGHUP, ours)
    shown = command.stderr.read(1)  # the progress bar: training has begun
    time.sleep(0.05)
    command.send_signal(number)
    _, error = command.communicate(timeout=20)
    assert shown and command.returncode == -number
    assert "Traceback" not in error
    assert results(inputs) == before
    aefast.load("out").transform(np.load("rows.npy"))
