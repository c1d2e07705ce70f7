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


@pytest.fixture
def table_model(tmp_path):
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"kind": rng.choice(["a", "b", "c"], 60), "size": rng.normal(size=60)})
    network = aefast.Autoencoder(2, max_epochs=2, random_state=0)
    aefast.TableAutoencoder(network).fit(frame).save(tmp_path / "table.safetensors")
    return str(tmp_path / "table.safetensors")


def test_a_table_as_onnx(table_model, tmp_path):
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "table.onnx"
    assert main(["export", table_model, "--to", "onnx", "-o", str(path)]) == 0
    assert [given.name for given in onnx.load(path).graph.input] == ["kind", "size"]


@pytest.mark.parametrize("form", ["c", "torch"])
def test_tables_have_no_other_form(form, table_model, tmp_path, capsys):
    if form == "torch":
        pytest.importorskip("torch")
    path = tmp_path / "model.out"
    assert main(["export", table_model, "--to", form, "-o", str(path)]) == 2
    error = capsys.readouterr().err
    assert "a model of type TableAutoencoder" in error and "autoencoder_" in error
    assert sorted(file.name for file in tmp_path.iterdir()) == ["table.safetensors"]
