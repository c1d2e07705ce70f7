"""`aefast dictionary` and `aefast denoise`."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image
from support.commands import refused

import aefast
from aefast.cli import main

FILES = ["dictionary.png", "metrics.json", "model.safetensors"]
SMALL = ["-k", "40", "--patches", "2000", "--epochs", "2", "--patch", "6"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_from_the_bundled_photographs(folder, capsys):
    assert main(["dictionary", *SMALL, "--out", "atoms"]) == 0
    assert sorted(os.listdir("atoms")) == FILES
    assert Path("atoms/dictionary.png").read_bytes().startswith(b"\x89PNG")
    model = aefast.load("atoms/model.safetensors")
    assert model.components_.shape == (40, 36)
    metrics = json.loads(Path("atoms/metrics.json").read_text())
    assert metrics["n_rows"] == {"train": 1800, "test": 200}
    assert metrics["objective"]["learnt"] < metrics["objective"]["rows as atoms"]
    assert 0.5 < metrics["energy_explained"] < 1
    shown = capsys.readouterr().out
    for word in ("40 atoms of 36 features from 1800 rows", "200 held-out rows", *FILES):
        assert word in shown


def test_from_rows_and_whitened(folder, capsys):
    np.save("rows.npy", np.random.default_rng(0).normal(size=(300, 7)).astype(np.float32))
    assert main("dictionary rows.npy -k 9 --epochs 1 --quiet --positive --out rows".split()) == 0
    assert sorted(os.listdir("rows")) == FILES[1:]
    assert aefast.load("rows/model.safetensors").components_.min() >= 0
    assert main(["dictionary", "china.jpg", "--whiten", *SMALL, "--no-plots", "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_a_coder_is_a_model_of_rows_and_of_patches(folder, capsys):
    rng = np.random.default_rng(0)
    np.save("rows.npy", rows := rng.normal(size=(10, 16)))
    coder = aefast.SparseCoder(rng.normal(size=(20, 16)), alpha=0.5, split_sign=True)
    coder.save("coder")
    assert main(["info", "coder"]) == 0
    assert re.search(r"model +SparseCoder\nfeatures +16\ncomponents +20", capsys.readouterr().out)
    assert main("encode coder rows.npy -o codes.npy".split()) == 0
    np.testing.assert_array_equal(np.load("codes.npy"), coder.transform(rows))
    noisy = np.clip(np.full((12, 14), 128) + rng.normal(0, 20, (12, 14)), 0, 255)
    Image.fromarray(noisy.astype(np.uint8)).save("noisy.png")
    assert main("denoise noisy.png --dictionary coder -o out.png".split()) == 0
    assert np.std(Image.open("out.png")) < np.std(noisy) / 2


@pytest.mark.extra
def test_denoising(folder, capsys):
    clean = load_sample_image("flower.jpg")[150:270, 200:330]
    Image.fromarray(clean).save("clean.png")
    noise = np.random.default_rng(0).normal(0, 20, clean.shape)
    Image.fromarray(np.clip(clean + noise, 0, 255).astype(np.uint8)).save("noisy.png")
    assert main(["dictionary", "clean.png", *SMALL, "--out", "atoms", "--quiet", "--no-plots"]) == 0
    argv = ["denoise", "noisy.png", "--clean", "clean.png", "--comparison", "three.png"]
    for choice in ([], ["--dictionary", "atoms"], ["--noise", "20"]):
        assert main([*argv, *choice, "-o", "out.png"]) == 0
        shown = capsys.readouterr().out
        before, after = map(
            float, re.search(r"PSNR: ([\d.]+) dB before, ([\d.]+) dB", shown).groups()
        )
        assert after > before + 4
        assert Image.open("out.png").size == (130, 120)
    assert Path("three.png").exists()
    assert main(["denoise", "clean.png", "--add-noise", "20", "-o", "again.png"]) == 0
    assert "PSNR" in capsys.readouterr().out


def test_what_is_refused(folder, capsys):
    np.save("rows.npy", np.eye(5))
    Image.fromarray(np.zeros((5, 5), np.uint8)).save("small.png")
    main("fit rows.npy -k 2 --epochs 1 --quiet --no-plots --test-fraction 0 --out ae".split())
    for argv, fragment in (
        (["dictionary", "--alpha", "0"], "--alpha"),
        (["dictionary", "rows.npy", "-k", "0"], "error: -k must"),
        (["dictionary", "small.png"], "size must fit"),
        (["dictionary", "small.png", "rows.npy"], "got both"),
        (["dictionary", "rows.npy", "rows.npy"], "2 tables"),
        (["dictionary", "nosuch.png"], "nosuch.png"),
        (["denoise", "nosuch.png"], "nosuch.png"),
        (["denoise", "small.png"], "--noise"),
        (["denoise", "small.png", "--noise", "-1"], "--noise"),
        (["denoise", "small.png", "--noise", "9", "--dictionary", "ae"], "got a Autoencoder"),
        (["denoise", "small.png", "--add-noise", "9", "--clean", "small.png"], "--clean"),
    ):
        assert fragment in refused(capsys, *argv)
