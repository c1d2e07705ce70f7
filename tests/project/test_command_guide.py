"""The pages of the command and the quick start are true: what they say runs, as written."""

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest

from aefast.cli import main

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "guide" / "command.md"


def test_the_quick_start_runs(tmp_path, monkeypatch):
    """Its Python first, then its commands."""
    monkeypatch.chdir(tmp_path)
    text, names = (DOCS / "quick-start.md").read_text("utf-8"), {}
    for block in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S):
        exec(compile(block, "quick-start.md", "exec"), names)
    (to_file,) = re.findall(r"`(X\.to_csv\(.*?\))`", text)
    exec(to_file, names)
    lines = re.findall(r"^aefast (.*)$", text, re.M)
    assert [line.split()[0] for line in lines] == ["fit", "score", "report"]
    for line in lines:
        assert main(shlex.split(line, comments=True)) == 0, line
    assert all(Path(name).is_file() for name in ("loss.png", "filters.png", "wine.safetensors"))
    assert len(pd.read_csv("scores.csv")) == len(names["X"])
    assert "<h2>Strangest rows</h2>" in Path("report.html").read_text("utf-8")


def test_the_page_runs(tmp_path, monkeypatch, capsys):
    pytest.importorskip("pyarrow", reason="needs pyarrow, of the extra [io]")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```(python|sh)\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)
    commands = []
    for language, block in blocks:
        if language == "python":
            exec(compile(block, str(PAGE), "exec"), {})
            continue
        for line in block.splitlines():
            program, *arguments = shlex.split(line, comments=True)
            assert program == "aefast"
            assert main(arguments) == 0, line
            commands.append(arguments[0])
    assert commands == ["anomalies", "impute", "fit", "encode", "score", "reconstruct", "info"]
    strange = pd.read_csv("strange.csv")
    assert (strange["person"][0], strange["variable_1"][0]) == ("p007", "tax")
    assert "p007" in capsys.readouterr().out
    full = pd.read_csv("full.csv")
    assert full["pay"].notna().all() and list(full["person"]) == [f"p{i:03}" for i in range(400)]
    assert len(pd.read_parquet("codes.parquet").columns) == 3
    assert len(pd.read_csv("scores.csv").filter(like=" of ").columns) == 4
    pictures = ("anomalies.png", "model/filters.png", "model/loss.png", "model/reconstructions.png")
    assert all(Path(picture).is_file() for picture in pictures)
