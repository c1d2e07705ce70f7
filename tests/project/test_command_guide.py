"""The page of the command is true: its Python runs, then its command lines, as written."""

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest

from aefast.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "guide" / "command.md"


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
