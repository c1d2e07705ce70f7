"""`aefast fit`: training, the files it leaves, and how it ends."""

import errno
import json
import os
import re
import signal
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits
from support.commands import python_m_aefast, refused

import aefast
from aefast.cli import fit, fit_parameters, main
from aefast.cli.held_out import hold_out
from aefast.tables import readers

FILES = ["filters.png", "loss.png", "metrics.json", "model.safetensors", "reconstructions.png"]


# ---- fit ----


def test_main_job(folder, capsys):
    assert main(["fit", "digits", "--output", "bernoulli"]) == 0
    captured = capsys.readouterr()
    assert sorted(os.listdir("aefast-model")) == FILES
    for name in FILES:
        if name.endswith(".png"):
            assert (folder / "aefast-model" / name).read_bytes().startswith(b"\x89PNG")
    metrics = json.loads((folder / "aefast-model" / "metrics.json").read_text())
    losses = metrics["loss"]["test"]
    assert losses["after"] < losses["before"] < 0.7 * losses["column_means"]
    assert metrics["training"] == "finished"
    n_epochs = metrics["n_epochs"]
    assert 20 < n_epochs == len(metrics["loss_curve"])
    assert metrics["n_rows"] == {"train": 1617, "test": 180}
    assert metrics["n_rows_seen"] == n_epochs * 1617
    assert metrics["rows_per_second"] == pytest.approx(n_epochs * 1617 / metrics["seconds"])
    for word in (f"{losses['after']:.4f}", "held-out", "rows/s", "thread", metrics["isa"], *FILES):
        assert word in captured.out
    assert f"epoch {n_epochs}/" in captured.err
    assert re.search(r"held-out loss ends \d\d\.\d% below", captured.out)


def test_held_out_rows_are_not_trained_on(model):
    """The model is the one that the estimator makes of the training rows alone.

    The metrics are those of both parts.
    """
    X = (load_digits().data / 16).astype(np.float32)
    train, test = hold_out(X, 0.1, 0)
    ae = aefast.Autoencoder(8, output="bernoulli", max_epochs=3, random_state=0).fit(train)
    loaded = aefast.load(model / "model.safetensors")
    assert np.array_equal(loaded.components_, ae.components_)
    metrics = json.loads((model / "metrics.json").read_text())
    for name, rows in (("train", train), ("test", test)):
        losses = metrics["loss"][name]
        assert losses["after"] == ae.reconstruction_error(rows).mean(dtype=float)
        mean = np.clip(train.mean(axis=0, dtype=float), 1e-6, 1 - 1e-6)
        entropy = -(rows * np.log(mean) + (1 - rows) * np.log1p(-mean)).sum(axis=1).mean()
        assert losses["column_means"] == pytest.approx(entropy, rel=1e-4)
        initial = ae.set_params(max_epochs=0).fit(train).reconstruction_error(rows)
        assert losses["before"] == initial.mean(dtype=float)
        ae.set_params(max_epochs=3).fit(train)
    assert metrics["loss_curve"] == ae.loss_curve_


def test_every_option_reaches_the_estimator(folder):
    options = {
        "-k": 5,
        "--activation": "softplus",
        "--output": "bernoulli",
        "--untied": None,
        "--column-scale": "robust",
        "--domain": "clip",
        "--init": "glorot",
        "--no-gain": None,
        "--epochs": 2,
        "--batch-size": 50,
        "--solver": "sgd",
        "--learning-rate": 0.01,
        "--momentum": 0.5,
        "--nesterov": None,
        "--alpha": 0.001,
        "--weight-decay": 0.01,
        "--clip-norm": 4.0,
        "--max-norm": 3.5,
        "--weight-averaging": 0.75,
        "--learning-rate-schedule": "cosine",
        "--missing": "mask",
        "--missing-fill": "zero",
        "--sparse-means": "missing",
        "--row-norm": "l2",
        "--corruption": "masking:0.25",
        "--contraction": 0.01,
        "--sparsity": "l1:0.125",
        "--dropout": 0.1,
        "--early-stopping": None,
        "--validation-fraction": 0.2,
        "--patience": 3,
        "--tol": 0.0,
        "--seed": 7,
        "--precision": "auto",
        "--threads": 1,
    }
    words = [str(word) for option in options.items() for word in option if word is not None]
    status = main(["fit", "digits", "--quiet", "--no-plots", "--out", "out", *words])
    assert status == fit.EXIT_POOR  # two epochs with all of this are not enough
    ae = aefast.load("out/model.safetensors")
    assert ae.get_params() == {
        "n_components": 5,
        "activation": "softplus",
        "output": "bernoulli",
        "scale": "robust",
        "domain": "clip",
        "tied": False,
        "gain": False,
        "init": "glorot",
        "max_epochs": 2,
        "batch_size": 50,
        "solver": "sgd",
        "learning_rate": 0.01,
        "momentum": 0.5,
        "nesterov": True,
        "alpha": 0.001,
        "weight_decay": 0.01,
        "clip_norm": 4.0,
        "max_norm": 3.5,
        "weight_averaging": 0.75,
        "learning_rate_schedule": "cosine",
        "missing": "mask",
        "missing_fill": "zero",
        "sparse_means": "missing",
        "row_norm": "l2",
        "sparse_output": "exact",
        "reconstruction_sampling": None,  # not with sparse_means="missing"
        "corruption": ("masking", 0.25),
        "contraction": 0.01,
        "sparsity": ("l1", 0.125),
        "top_k": None,  # not with dropout
        "dropout": 0.1,
        "early_stopping": True,
        "validation_fraction": 0.2,
        "n_epochs_no_change": 3,
        "tol": 0.0,
        "random_state": 7,
        "precision": "auto",
        "n_threads": 1,
        "shuffle": True,
        "warm_start": False,
        "callbacks": None,
        "checkpoint": None,  # of a run, not of its model, as the others of checkpoints
        "checkpoint_every": "10 min",
        "resume": "auto",
        "verbose": 0,
    }
    metrics = json.loads((folder / "out" / "metrics.json").read_text())
    assert metrics["n_threads"] == 1
    assert len(metrics["validation_loss_curve"]) == 2


def test_defaults_are_the_estimators(model):
    parameters = aefast.load(model / "model.safetensors").get_params()
    changed = {"n_components": 8, "output": "bernoulli", "max_epochs": 3, "random_state": 0}
    assert parameters == aefast.Autoencoder(**changed).get_params()


def test_defaults_of_options_are_the_constructors():
    """Except those the command documents as its own."""
    constructors = aefast.StackedAutoencoder().get_params() | aefast.Autoencoder().get_params()
    own = {"layer_sizes": None, "random_state": 0}
    for _, name, default, _ in fit_parameters.PARAMETERS:
        expected = own.get(name, constructors[name])
        assert (type(default), default) == (type(expected), expected), name


def test_hidden_units_are_chosen_for_the_rows(folder, capsys):
    """The first fit, which only checks rows, chooses none; the model has a number and "auto"."""
    argv = "fit digits --output bernoulli --epochs 1 --no-plots --out out".split()
    assert main(argv) == 0
    ae = aefast.load("out/model.safetensors")
    assert ae.n_components == "auto"
    k = len(ae.components_)
    assert 12 <= k <= 32
    assert f"hidden units, chosen for the training rows: {k}" in capsys.readouterr().out
    assert json.loads(Path("out/metrics.json").read_text())["layer_sizes"] == [k]
    assert main([*argv, "--top-k", "9"]) == 0
    assert aefast.load("out/model.safetensors").components_.shape == (128, 64)
    assert main([*argv, "--layers", "auto", "--pretrain-epochs", "1", "--quiet"]) == 0
    capsys.readouterr()
    assert json.loads(Path("out/metrics.json").read_text())["layer_sizes"] == [4 * k, k]
    assert main([*argv, "-k", "3"]) == 0
    assert "hidden units" not in capsys.readouterr().out


def test_same_command_same_model(model, tmp_path):
    argv = (
        "fit digits --output bernoulli -k 8 --epochs 3 --no-plots --quiet --threads 1 --out".split()
    )
    assert main([*argv, str(tmp_path)]) == 0
    again, before = (aefast.load(out / "model.safetensors") for out in (tmp_path, model))
    assert np.array_equal(again.components_, before.components_)


def test_quiet_is_quiet(folder, capfd):
    assert main("fit digits --quiet --no-plots --epochs 1 -k 2".split()) == 0
    assert capfd.readouterr() == ("", "")
    assert sorted(os.listdir("aefast-model")) == ["metrics.json", "model.safetensors"]


def test_without_matplotlib(folder, capsys, monkeypatch):
    loaded = [name for name in sys.modules if name.startswith("matplotlib.")]
    for name in ("matplotlib", *loaded):
        monkeypatch.setitem(sys.modules, name, None)
    assert main("fit digits --epochs 1 -k 2 --out out".split()) == 0
    assert "no pictures" in (out := capsys.readouterr().out) and "pip install 'aefast[plot]'" in out
    assert sorted(os.listdir("out")) == ["metrics.json", "model.safetensors"]


def test_nothing_held_out(folder, capsys):
    assert main("fit digits --epochs 1 -k 2 --test-fraction 0 --no-plots".split()) == 0
    out = capsys.readouterr().out
    assert "0 held out" in out and "held-out rows" not in out
    metrics = json.loads((folder / "aefast-model" / "metrics.json").read_text())
    assert metrics["n_rows"] == {"train": 1797}


@pytest.mark.parametrize("shape", [(1, 3), (2, 1), (3, 64)])
def test_smallest_data(shape, folder):
    np.save("X.npy", np.random.default_rng(0).random(shape))
    assert main("fit X.npy --epochs 2 -k 2".split()) == 0
    assert sorted(os.listdir("aefast-model")) == FILES


def test_initialising_only(folder, capsys):
    assert main("fit digits --epochs 0 -k 2 --no-plots".split()) == 0
    assert "0 epochs" in capsys.readouterr().out
    assert aefast.load("aefast-model/model.safetensors").n_epochs_ == 0


def test_images_keep_their_shape(folder, monkeypatch):
    """Rows of any number of dimensions are flattened to train on, and drawn in their shape."""
    shapes = []
    monkeypatch.setattr(
        fit, "_draw", lambda model, rows, labels, shape, *_: shapes.append(shape) or ""
    )
    X = np.random.default_rng(0).integers(0, 255, (20, 4, 6, 3), dtype=np.uint8)
    np.savez("X.npz", grey=X[..., 0], channel=X[..., :1], colour=X, planes=X.transpose(0, 3, 1, 2))
    for key, options in {
        "grey": [],
        "channel": [],
        "colour": [],
        "planes": [],
        "colour ": ["--image-shape", "12x6"],
        "grey ": ["--image-shape", "none"],
    }.items():
        argv = ["fit", f"X.npz:{key.strip()}", "--scale", "--epochs", "1", "-k", "2", "--quiet"]
        assert main([*argv, *options]) == 0
    assert shapes == [(4, 6), (4, 6), (4, 6, 3), (), (12, 6), ()]
    assert aefast.load("aefast-model/model.safetensors").n_features_in_ == 24


def test_scale(folder):
    X = np.random.default_rng(0).integers(0, 256, (30, 5), dtype=np.uint8)
    np.save("X.npy", X)
    assert (
        main("fit X.npy --scale --output bernoulli --epochs 1 -k 2 --quiet --no-plots".split()) == 0
    )
    ae = aefast.load("aefast-model/model.safetensors")
    assert ae.components_.dtype == np.float32
    assert main("encode aefast-model X.npy --scale -o H.npy".split()) == 0
    assert np.array_equal(np.load("H.npy"), ae.transform(X / np.float32(255)))


def test_file_is_mapped_and_never_changed(folder):
    """Held-out rows change places in memory only; without them nothing is copied at all."""
    n_bytes = 8_000_000
    np.save("X.npy", np.random.default_rng(0).integers(0, 2, (n_bytes // 100, 100), dtype=np.uint8))
    before = (folder / "X.npy").read_bytes()
    assert main("fit X.npy --epochs 0 -k 1 --quiet --no-plots".split()) == 0
    assert (folder / "X.npy").read_bytes() == before
    tracemalloc.start()
    assert main("fit X.npy --epochs 0 -k 1 --quiet --no-plots --test-fraction 0".split()) == 0
    assert main("encode aefast-model X.npy -o H.npy".split()) == 0
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < n_bytes / 2


def test_file_larger_than_memory(folder, capsys, monkeypatch):
    """Where a copy-on-write map is too large for the system, the error says what to do instead."""
    load = np.load

    def small_memory(name, mmap_mode, **options):
        if mmap_mode == "c":
            raise OSError(errno.ENOMEM, "Cannot allocate memory")
        return load(name, mmap_mode, **options)

    np.save("X.npy", np.random.default_rng(0).random((20, 3)))
    monkeypatch.setattr(np, "load", small_memory)
    error = refused(capsys, "fit", "X.npy")
    assert "X.npy: larger than memory" in error and "--test-fraction 0" in error
    assert main("fit X.npy --epochs 1 -k 1 --quiet --no-plots --test-fraction 0".split()) == 0


def test_read_only_file(folder):
    np.save("X.npy", np.random.default_rng(0).random((20, 3)))
    (folder / "X.npy").chmod(0o400)
    assert main("fit X.npy --epochs 1 -k 1 --quiet --no-plots".split()) == 0


# ---- ends of a fit that are not the usual one ----


def test_divergence_keeps_the_last_finite_parameters(folder, capsys):
    argv = "fit digits -k 4 --solver sgd --learning-rate 1e20 --epochs 5 --out out".split()
    assert main(argv) == 2
    captured = capsys.readouterr()
    last = captured.err.splitlines()[-1]
    assert last.startswith("aefast: error: ") and "diverged in epoch 1" in last and "in out" in last
    assert "Traceback" not in captured.err and captured.out == ""
    assert sorted(os.listdir("out")) == ["metrics.json", "model.safetensors"]
    assert json.loads((folder / "out" / "metrics.json").read_text())["training"] == "diverged"
    ae = aefast.load("out/model.safetensors")
    assert np.isfinite(ae.transform(load_digits().data / 16)).all()


def test_interrupt_saves_what_there_is(folder):
    argv = "fit digits --output bernoulli -k 16 --epochs 1000000 --tol 0 --out out".split()
    process = python_m_aefast(*argv)
    shown = ""
    while not re.search(r"epoch \d{2,}/", shown):  # some epochs are done
        shown += (character := process.stderr.read(1))
        assert character, f"the process ended: {shown}"
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert time.monotonic() - started < 10
    assert "Traceback" not in err and out == ""
    assert re.search(r"aefast: interrupted after \d+ whole epochs; .* saved in out\n$", err)
    metrics = json.loads((folder / "out" / "metrics.json").read_text())
    assert metrics["training"] == "interrupted"
    assert metrics["n_epochs"] >= 9
    assert metrics["loss"]["test"]["after"] < metrics["loss"]["test"]["before"]
    ae = aefast.load("out/model.safetensors")
    assert ae.n_epochs_ == metrics["n_epochs"]
    ae.set_params(verbose=0).partial_fit((load_digits().data / 16).astype(np.float32))


def test_interrupt_outside_training(capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(readers, "read_table", interrupted)
    assert main(["fit", "digits"]) == 130
    assert capsys.readouterr().err == "aefast: interrupted\n"


@pytest.fixture
def no_training(monkeypatch):
    def fit(*_, **__):
        raise AssertionError("training began")

    monkeypatch.setattr(aefast.Autoencoder, "fit", fit)


def test_unwritable_folder_is_found_out_before_training(folder, capsys, no_training):
    (folder / "file").touch()
    (folder / "out" / "metrics.json").mkdir(parents=True)
    cases = {
        "/proc/out": "/proc/out",  # nobody can make a folder there
        "/proc/out/deeper": "/proc/out",
        "file": "file",
        "file/out": "file",
        "out": r"metrics\.json.*directory",
    }
    for out, match in cases.items():
        assert re.search(match, refused(capsys, "fit", "digits", "--out", out))


def test_folders_are_made(folder):
    assert main("fit digits --epochs 0 -k 1 --quiet --no-plots --out a/b/c".split()) == 0
    assert sorted(os.listdir("a/b/c")) == ["metrics.json", "model.safetensors"]


def test_a_mixed_table_with_gaps(folder, capsys):
    """From a .csv file to the pictures, scores and facts."""
    random = np.random.default_rng(0)
    species = np.eye(3)[random.integers(3, size=120)]
    table = np.column_stack([random.normal(size=120), random.poisson(2.0, 120), species])
    table[::7, 1] = np.nan
    header = "age,visits,setosa,versicolor,virginica"
    np.savetxt("table.csv", table, delimiter=",", header=header, comments="", fmt="%.6g")
    output = "gaussian_diagonal:age;poisson:visits;categorical:2-4"
    options = "--missing mask --corruption masking:0.2 -k 3 --epochs 2 --quiet --out model".split()
    assert main(["fit", "table.csv", "--output", output, *options]) == 0
    assert {path.suffix for path in (folder / "model").iterdir()} == {
        ".json",
        ".png",
        ".safetensors",
    }
    assert main(["info", "model"]) == 0
    assert "gaussian_diagonal" in capsys.readouterr().out
    (folder / "gaps.csv").write_text("a,b\n1,\n2,3\n")
    assert main(["fit", "gaps.csv", "--quiet", "--out", "other"]) == 2
    assert "--missing mask takes it as missing" in capsys.readouterr().err


# ---- validation rows, checkpoints and lines ----


def test_validation_rows_are_watched(folder, capsys):
    rows = np.random.default_rng(0).random((300, 5))
    np.save("rows.npy", rows[:200])
    np.savetxt("others.csv", rows[200:], delimiter=",")
    argv = "fit rows.npy -k 2 --epochs 3 --test-fraction 0 --no-plots".split()
    assert main([*argv, "--validation", "others.csv", "--progress", "lines"]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch ")]
    assert len(lines) == 3 and all("validation loss" in line for line in lines)
    metrics = json.loads(Path("aefast-model/metrics.json").read_text())
    ae = aefast.load("aefast-model")
    expected = ae.reconstruction_error(rows[200:]).mean()
    assert metrics["validation_loss_curve"][-1] == pytest.approx(expected, rel=1e-12)
    np.save("others.npy", rows[:, :4])
    error = refused(capsys, *argv, "--validation", "others.npy")
    assert "X_val must have the 5 columns of X, got 4" in error


def test_checkpoints_of_a_command(folder, capsys):
    np.save("rows.npy", np.random.default_rng(0).random((200, 5)))
    argv = "fit rows.npy -k 2 --epochs 3 --no-plots --quiet".split()
    assert main([*argv, "--checkpoint", "stored", "--checkpoint-every", "10"]) == 0
    saved = Path("aefast-model/model.safetensors").read_bytes()
    assert main([*argv, "--checkpoint", "stored", "--resume"]) == 0
    assert Path("aefast-model/model.safetensors").read_bytes() == saved
    assert (
        "checkpoint" not in json.loads(Path("aefast-model/metrics.json").read_text())["parameters"]
    )
    for wrong, what in (
        (["--resume"], "--resume: say from which file"),
        (["--checkpoint", "other", "--resume"], "there is no checkpoint other"),
        (["--checkpoint", "stored", "--epochs", "4"], "with max_epochs=3, while this one"),
        (["--checkpoint", "stored", "--seed", "1"], "is the checkpoint of a fit"),
        (["--checkpoint", "nowhere/stored"], "there is no folder"),
        (["--checkpoint", "stored", "--checkpoint-every", "often"], "checkpoint_every must be"),
    ):
        assert what in refused(capsys, *argv, *wrong)


def test_the_column_means_are_those_of_their_own_variances(tmp_path, capsys):
    """Means of known columns are one model, whatever the activation and the network's variances."""
    z = np.random.default_rng(0).normal(size=(400, 1))
    np.save(tmp_path / "X.npy", z * [1, 20.0, 3] + 0.01 * np.random.default_rng(1).normal(size=3))
    options = "--output gaussian_diagonal --test-fraction 0 --epochs 200 -k 2"
    for activation in ("sigmoid", "relu"):
        out = tmp_path / activation
        argv = ["fit", str(tmp_path / "X.npy"), "--out", str(out), "--activation", activation]
        assert main([*argv, *options.split()]) == 0
        losses = json.loads((out / "metrics.json").read_text())["loss"]["train"]
        assert losses["column_means"] == pytest.approx(1.5, abs=1e-4)  # of standardised columns
        assert losses["after"] < 0 and re.search(r"ends [\d.]+ nats below", capsys.readouterr().out)
