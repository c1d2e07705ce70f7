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


# scripts that .ci/run leaves out: half an hour each, and what others call
NOT_IN_RUN = {
    *("aarch64", "windows", "check_user_code.py", "link_for_old_glibc", "oldest.py"),
    *("recompress.py", "run"),
}


def test_each_script_is_run():
    run = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    called = set(re.findall(r"^within \d+ bash \.ci/(\w+)", run, re.MULTILINE))
    scripts = {path.name for path in (ROOT / ".ci").iterdir() if path.is_file()}
    assert called == scripts - NOT_IN_RUN


def test_the_libraries_of_interop_are_imported_before_its_tests():
    """Where one is missing its tests would be skipped in silence."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    names = {pin.partition("==")[0] for pin in project["dependency-groups"]["interop"]}
    script = (ROOT / ".ci" / "interop").read_text(encoding="utf-8")
    (line,) = re.findall(r"python -c 'import (.*)'$", script, re.MULTILINE)
    assert names <= set(line.split(", "))
