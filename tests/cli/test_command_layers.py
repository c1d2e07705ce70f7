"""`aefast fit --layers`, and the other commands given a deep autoencoder."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.commands import refused
from support.textbook import StackedAutoencoder

import aefast
from aefast.cli import main
from aefast.plotting import layers

FIT = "fit digits --output bernoulli --layers 20,12,5 --epochs 3 --pretrain-epochs 2 --out deep"


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    """The folder of a fit to the digits."""
    out = tmp_path_factory.mktemp("layers") / "deep"
    assert main([*FIT.split()[:-1], str(out), "--quiet"]) == 0
    return out


def test_what_is_left(deep):
    assert sorted(path.name for path in deep.iterdir()) == [
        "filters.png",
        "loss.png",
        "metrics.json",
        "model.safetensors",
        "reconstructions.png",
    ]
    model = aefast.load(deep / "model.safetensors")
    assert model.layer_sizes == (20, 12, 5)
    assert [len(curve) for curve in model.pretraining_loss_curves_] == [2, 2, 2]
    metrics = json.loads((deep / "metrics.json").read_text())
    assert metrics["pretraining_loss_curves"] == model.pretraining_loss_curves_
    assert metrics["n_rows_seen"] == (3 * 2 + 3) * 1617
    assert metrics["n_epochs"] == 3
    losses = metrics["loss"]["test"]
    assert losses["after"] < losses["before"]
    for name in ("filters", "loss", "reconstructions"):
        with Image.open(deep / f"{name}.png") as image:
            assert min(image.size) > 300


def test_the_other_commands(deep, folder, capsys):
    model = aefast.load(deep / "model.safetensors")
    for command, name in (("encode", "codes"), ("reconstruct", "rows")):
        assert main([command, str(deep), "digits", "-o", f"{name}.npy"]) == 0
    assert np.load("codes.npy").shape == (1797, 5)
    assert np.load("rows.npy").size == 1797 * 64
    assert main(["score", str(deep), "digits", "-o", "scores.csv"]) == 0
    scores = np.genfromtxt("scores.csv", delimiter=",", names=True)
    assert len(scores) == 1797 and (scores["log_likelihood"] < 0).all()
    assert main(["walk", str(deep), "digits", "-o", "chain.npy", "--steps", "2"]) == 0
    assert np.load("chain.npy").shape == (2, 8, 64)
    capsys.readouterr()
    assert main(["info", str(deep)]) == 0
    shown = capsys.readouterr().out
    assert "StackedAutoencoder" in shown and "20 → 12 → 5" in shown
    assert re.search(r"pre-training of layer 3 .*2 epochs", shown)
    assert f"{model._state.parameters.size:,}" in shown


def test_options_of_layers(folder, capsys):
    options = "--activation tanh --code-activation linear --missing mask --corruption masking:0.2"
    options += " --contraction 0.01 --sparsity l1:0.1 --solver sgd --learning-rate 0.01"
    options += " --layers 9,4 --epochs 1 --pretrain-epochs 1 --dropout 0.25 --untied"
    options += " --fine-tuning-corruption gaussian:0.1"
    table = np.random.default_rng(0).normal(size=(60, 12))
    table[::7, 3] = np.nan
    np.save("table.npy", table)
    assert main(["fit", "table.npy", *options.split(), "--out", "m"]) == 0
    assert "held-out rows" in capsys.readouterr().out
    model = aefast.load("m/model.safetensors")
    given = model.get_params()
    expected = {"activation": "tanh", "code_activation": "linear", "missing": "mask"}
    expected |= {"corruption": ("masking", 0.2), "contraction": 0.01, "sparsity": ("l1", 0.1)}
    expected |= {"tied": False, "dropout": 0.25, "fine_tuning_corruption": ("gaussian", 0.1)}
    expected |= {"layer_sizes": (9, 4), "max_epochs": 1, "pretrain_epochs": 1, "solver": "sgd"}
    assert {name: given[name] for name in expected} == expected
    assert Path("m/filters.png").exists()
    assert not np.isnan(model.impute(table)).any()


@pytest.mark.parametrize(
    "options, message",
    [
        ("--layers 9,4 --top-k 5", r"--top-k must be at most layer_sizes\[-1\] = 4, got 5"),
        ("--layers 9,4 -k 2", "--components belongs to one layer: not with --layers"),
        ("--fine-tuning-corruption masking:0.1", "belongs to several layers: give --layers"),
        ("--pretrain-epochs 3", "--pretrain-epochs belongs to several layers: give --layers"),
        ("--layers 9,0", r"--layers must be 1 to 16 integers"),
        ("--layers 9,4 --sparsity kl:0.1:1 --activation relu", "codes in \\(0, 1\\)"),
    ],
)
def test_what_does_not_go_together(options, message, folder, capsys):
    assert re.search(message, refused(capsys, "fit", "digits", *options.split()))


def test_no_numbers_of_layers(folder, capsys):
    with pytest.raises(SystemExit):
        main(["fit", "digits", "--layers", "9,x"])
    assert "expected N,N,... as 500,250,30, got '9,x'" in capsys.readouterr().err


def test_pictures(digits):
    stack = StackedAutoencoder((70, 9), output="bernoulli", pretrain_epochs=2, max_epochs=2)
    stack.set_params(random_state=0).fit(digits)
    figure = layers.layers(stack, digits[:300])
    assert [axes.get_title().split(",")[0] for axes in figure.axes] == [
        "layer 1: 64 of 70 units",
        "layer 2: 9 units",
    ]
    before, after = layers.losses(stack).axes
    for line, curve in zip(before.lines, stack.pretraining_loss_curves_, strict=True):
        np.testing.assert_allclose(line.get_ydata(), np.divide(curve, curve[0]))
    np.testing.assert_array_equal(after.lines[0].get_ydata(), stack.loss_curve_)
    tables = layers.layers(stack, digits[:300], image_shape=())
    assert sum(bool(axes.images) for axes in tables.axes) >= 2
    alone = stack.set_params(pretrain_epochs=0).fit(digits)
    assert not layers.losses(alone).axes[0].lines
