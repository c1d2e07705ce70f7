"""The README is true: its Python runs, its commands run, and its figures are those of a run."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from aefast.cli import main

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_python_blocks_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(blocks("python")) == 1
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), {})


@pytest.mark.extra
def test_command_lines_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.save("data.npy", np.random.default_rng(0).normal(size=(300, 20)).astype(np.float32))
    pairs = "".join(f"{user},{user * item % 7}\n" for user in range(9) for item in (1, 2, 3))
    Path("ratings.csv").write_text(f"user,item\n{pairs}")
    (block,) = (block for block in blocks("sh") if block.startswith("aefast fit data.npy"))
    lines = [shlex.split(line, comments=True) for line in block.splitlines()]
    assert {line[1] for line in lines} == {
        "fit",
        "encode",
        "reconstruct",
        "score",
        "factors",
        "sample",
        "recommend",
        "impute",
        "anomalies",
        "dictionary",
        "denoise",
        "info",
    }
    for _, *arguments in lines:
        assert main(arguments) == 0
    assert np.load("codes.npy").shape == (300, 64)
    assert np.load("samples.npy").shape == (100, 20)
    assert np.load("reconstructions.npy").shape == (300, 20)
    assert len(Path("scores.csv").read_text().splitlines()) == 301


def test_figures_of_the_main_job(tmp_path, monkeypatch, capsys):
    """The command's own summary has the README's figures."""
    monkeypatch.chdir(tmp_path)
    (command,) = re.findall(r"aefast (fit digits --output bernoulli)\n", README)
    assert main([*command.split(), "--no-plots"]) == 0
    shown = capsys.readouterr().out
    said = re.search(r"ends at ([\d.]+) nats a row, ([\d.]+) % below the ([\d.]+) of", README)
    after, means = re.search(r"held-out rows +[\d.]+ +([\d.]+) +([\d.]+)", shown).groups()
    assert float(after) == pytest.approx(float(said[1]), abs=0.05)
    assert float(means) == pytest.approx(float(said[3]), abs=0.05)
    assert f"{float(said[2]):.1f}% below" in shown


@pytest.mark.parametrize("name", ["main job", "tests"])
def test_set_up_is_one_line(name):
    (command,) = re.findall(rf"<!-- command: {name} -->\n```sh\n(.*?)```", README, re.DOTALL)
    assert command.count("\n") == 1
    assert command.startswith("python3 -m venv ")
