"""The tools of gates: one version each, wherever it is written."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_hooks_have_the_pinned_versions():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    pins = set(project["dependency-groups"]["lint"])
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    named = set(re.findall(r"[\w-]+==[\w.]+", hooks))
    assert all(re.fullmatch(r"[\w-]+==[\w.]+", pin) for pin in pins)
    assert named == pins


def test_gates_run_every_pinned_tool():
    gates = (ROOT / ".ci" / "gates").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for pin in project["dependency-groups"]["lint"]:
        assert re.search(rf"^gate .*\b{pin.partition('==')[0]} ", gates, re.MULTILINE), pin


def test_the_oldest_versions_are_those_of_the_metadata(capsys):
    """`.ci/oldest.py` has a line for each dependency at run time."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    source = (ROOT / ".ci" / "oldest.py").read_text(encoding="utf-8")
    exec(compile(source, ".ci/oldest.py", "exec"), {"__file__": str(ROOT / ".ci" / "oldest.py")})
    printed = capsys.readouterr().out.split()
    assert len(printed) == len(project["project"]["dependencies"])
    for line, requirement in zip(printed, project["project"]["dependencies"], strict=True):
        assert line.removesuffix(".*") == requirement.replace(">=", "==")
