"""Inputs, outputs and streams that would hang the command, end in a traceback or lose a file."""

import io
import os
import struct
import subprocess
import sys
import zipfile
import zlib

import numpy as np
import pytest
from support.commands import refused

from aefast.cli import main


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.random.default_rng(0).random((20, 64)))
    return tmp_path


# ---- an output that is an input ----


@pytest.mark.parametrize(
    "argv",
    [
        "score m a.npy -o m/link.csv",
        "score m/model.safetensors a.npy -o link.csv",
        "score m a.npy -o ./a.npy",
        "encode m a.npy -o a.npy",
        "encode m b.npz:a -o b.npy",
        "reconstruct m a.npy -o a.npy",
        "walk m a.npy -o a.npy",
        "sample f -o f/link.csv",
        "dictionary p/dictionary.png --out p",
        "denoise p/dictionary.png -o p/dictionary.png",
        "denoise p/dictionary.png --clean q.png -o q.png",
        "denoise p/dictionary.png --dictionary m -o m/model.safetensors",
        "denoise p/dictionary.png --comparison p/dictionary.png",
        "fit g/filters.csv --out g",
    ],
)
def test_an_output_that_is_an_input_is_refused(argv, folder, model, capsys):
    from PIL import Image

    (folder / "m").mkdir()
    (folder / "f").mkdir()
    (folder / "p").mkdir()
    (folder / "g").mkdir()
    for name in ("m", "f"):
        contents = (model / "model.safetensors").read_bytes()
        (folder / name / "model.safetensors").write_bytes(contents)
    (folder / "link.csv").symlink_to("m/model.safetensors")
    for name in ("m", "f"):
        (folder / name / "link.csv").symlink_to("model.safetensors")
    (folder / "b.npy").symlink_to("b.npz")
    (folder / "g" / "filters.csv").write_text("1,2\n3,4\n")
    (folder / "g" / "filters.png").symlink_to("filters.csv")
    np.savez("b.npz", a=np.ones((3, 64)))
    for name in ("p/dictionary.png", "q.png"):
        Image.fromarray(np.zeros((16, 16), np.uint8)).save(name)
    files = [path for path in folder.rglob("*") if path.is_file()]
    before = {path: path.read_bytes() for path in files}
    assert "is one of the inputs" in refused(capsys, *argv.split())
    assert {path: path.read_bytes() for path in files} == before


def test_two_outputs_in_one_file(folder, capsys):
    argv = "denoise china.jpg -o x.png --comparison ./x.png".split()
    assert "expected two files" in refused(capsys, *argv)


# ---- inputs ----


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.npz:a", "x.csv"])
def test_pipes_are_refused_without_waiting(name, model, folder, capsys):
    os.mkfifo(name.partition(":")[0])
    assert "expected a regular file" in refused(capsys, "score", model, name)
    assert "regular file" in refused(capsys, "score", name.partition(":")[0], "a.npy")


@pytest.mark.parametrize("command", ["dictionary", "denoise"])
def test_pipes_that_are_called_images(command, folder, capsys):
    os.mkfifo("x.png")
    options = ["--out", "y.png"] if command == "denoise" else ["--quiet"]
    assert "expected a regular file" in refused(capsys, command, "x.png", *options)


def npz_of(header, n_bytes):
    with zipfile.ZipFile("bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        contents = io.BytesIO()
        np.lib.format.write_array_header_1_0(contents, header)
        archive.writestr("a.npy", contents.getvalue() + bytes(n_bytes))


def test_archives_whose_arrays_are_larger_than_memory(model, folder, capsys, monkeypatch):
    npz_of({"descr": "<f8", "fortran_order": False, "shape": (2000, 64)}, 2000 * 64 * 8)
    assert (folder / "bomb.npz").stat().st_size < 5000
    pages = {"SC_PHYS_PAGES": 100, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", pages.__getitem__)
    assert "more than this machine's memory" in refused(capsys, "score", model, "bomb.npz:a")


def test_archives_that_hold_less_than_they_say(model, folder, capsys):
    npz_of({"descr": "<f8", "fortran_order": False, "shape": (1 << 24, 64)}, 64)
    assert "its header asks" in refused(capsys, "score", model, "bomb.npz:a")


def png(width, height, data=b""):
    def chunk(kind, contents):
        checked = kind + contents
        return struct.pack(">I", len(contents)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    "contents", [png(60_000, 60_000), png(8, 8, b"x"), b"", b"\x89PNG\r\n\x1a\n", b"text"]
)
@pytest.mark.parametrize("command", ["dictionary", "denoise"])
def test_images_that_cannot_be_read(command, contents, folder, capsys):
    (folder / "x.png").write_bytes(contents)
    assert "x.png" in refused(capsys, command, "x.png", "--out", "out.png")


def test_a_line_of_a_million_columns(model, folder, capsys):
    line = ",".join(["0.5"] * 10**6)
    for name, text in {"x": line, "y": "1,2\n" + line, "z": line.replace("0.5", "v")}.items():
        (folder / f"{name}.csv").write_text(text + "\n")
        assert len(refused(capsys, "score", model, f"{name}.csv")) < 500
    (folder / "w.csv").write_text("1," + "x" * 100_000 + "\n")
    assert len(refused(capsys, "score", model, "w.csv")) < 500


# ---- standard streams ----


def run(argv, **options):
    command = [sys.executable, "-m", "aefast", *argv]
    return subprocess.run(command, text=True, timeout=60, **options)


def test_closed_and_full_standard_output(model, folder):
    """One line on stderr; a result that goes to a file does not need standard output."""
    code = "import os, sys; os.close(1); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"

    def closed(*argv):
        command = [sys.executable, "-c", code, "-m", "aefast", *map(str, argv)]
        return subprocess.run(command, text=True, stderr=subprocess.PIPE, timeout=60)

    done = closed("score", model, "a.npy")
    assert done.returncode == 2
    assert done.stderr.startswith("aefast: error: standard output: closed")
    assert done.stderr.count("\n") == 1
    assert closed("score", model, "a.npy", "-o", "s.csv").returncode == 0
    with open("/dev/full", "w") as full:
        done = run(["info"], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert done.stderr == "aefast: error: standard output: No space left on device\n"


def test_closed_standard_error(capsys, monkeypatch):
    """An error is not printed among the results."""
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["info", "nothing"]) == 2
    assert capsys.readouterr().out == ""
