"""The command `export`."""

import numpy as np
import pytest

import aefast
from aefast.cli import main


@pytest.fixture
def model(tmp_path):
    X = np.random.default_rng(0).normal(size=(40, 5))
    aefast.Autoencoder(2, max_epochs=2, random_state=0).fit(X).save(tmp_path / "model.safetensors")
    return str(tmp_path / "model.safetensors")


def test_a_header(model, tmp_path, capsys):
    path = tmp_path / "model.h"
    assert main(["export", model, "--to", "c", "--name", "ae", "-o", str(path)]) == 0
    assert "ae_encode" in path.read_text()
    assert "Autoencoder" in capsys.readouterr().out


def test_a_state_dict(model, tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import load_file

    path = tmp_path / "state.safetensors"
    assert main(["export", model, "--to", "torch", "-o", str(path)]) == 0
    module = aefast.load(model).to_torch()
    module.load_state_dict(load_file(path))
    assert isinstance(module, torch.nn.Module)


def test_an_absent_library_is_named(model, tmp_path, capsys, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "aefast.interop.onnx", None)
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "aefast.interop.onnx")
    assert main(["export", model, "--to", "onnx", "-o", str(tmp_path / "model.onnx")]) == 2
    assert "this needs the package 'onnx'" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.onnx*"))
